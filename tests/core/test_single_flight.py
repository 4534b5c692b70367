"""Work that is done once for all who want it."""

from __future__ import annotations

import gc

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from gma.core.single_flight import SingleFlight


class _Work:
    """Work that goes on until the test ends it.

    :ivar ends: one for each run.
    """

    def __init__(self) -> None:
        self.ends: list[Deferred[str]] = []

    async def run(self) -> str:
        """Wait for the end."""
        self.ends.append(Deferred())
        return await self.ends[-1]


async def _at_once() -> str:
    return "done"


async def _failing() -> str:
    raise ValueError("in vain")


class SingleFlightTests(SynchronousTestCase):
    """One key, many who wait."""

    def setUp(self) -> None:
        """Flights and work."""
        self.flights: SingleFlight[str, str] = SingleFlight()
        self.work = _Work()

    def join(self, key: str = "a") -> Deferred[str]:
        """One more who waits."""
        return self.flights.join(key, self.work.run)

    def assert_nothing_lost(self) -> None:
        """No error is left that nobody took."""
        gc.collect()
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_one_run(self) -> None:
        """Many who wait for one key share one run and its result."""
        waiters = [self.join() for _ in range(3)]
        (end,) = self.work.ends
        end.callback("done")
        self.assertEqual([self.successResultOf(it) for it in waiters], ["done"] * 3)

    def test_no_result_yet(self) -> None:
        """Nobody gets a result before there is one."""
        for waiter in [self.join() for _ in range(3)]:
            self.assertNoResult(waiter)

    def test_keys(self) -> None:
        """Work for another key is another run, with a result of its own."""
        first, second = self.join("a"), self.join("b")
        for end, result in zip(self.work.ends, ("of a", "of b"), strict=True):
            end.callback(result)
        results = (self.successResultOf(first), self.successResultOf(second))
        self.assertEqual(results, ("of a", "of b"))

    def test_under_way(self) -> None:
        """A key is in the flights for as long as its work is under way."""
        before = "a" in self.flights
        self.join()
        during = ("a" in self.flights, "b" in self.flights)
        self.work.ends[0].callback("done")
        self.assertEqual((before, during, "a" in self.flights), (False, (True, False), False))

    def test_gone_before_told(self) -> None:
        """The work is over by the time that its result is told."""
        seen: list[bool] = []
        self.join().addCallback(lambda _: seen.append("a" in self.flights))
        self.work.ends[0].callback("done")
        self.assertEqual(seen, [False])

    def test_give_up(self) -> None:
        """One who gives up ends the wait and leaves the work to the others."""
        first, second = self.join(), self.join()
        first.cancel()
        self.failureResultOf(first, CancelledError)
        self.work.ends[0].callback("done")
        self.assertEqual(self.successResultOf(second), "done")

    def test_all_give_up(self) -> None:
        """Work goes on where all have given up, and a newcomer shares it."""
        for waiter in (self.join(), self.join()):
            waiter.cancel()
            self.failureResultOf(waiter, CancelledError)
        newcomer = self.join()
        (end,) = self.work.ends
        end.callback("done")
        self.assertEqual(self.successResultOf(newcomer), "done")

    def test_give_up_when_told(self) -> None:
        """One who is cancelled by another's callback hears of nothing else."""
        first, second = self.join(), self.join()
        first.addCallback(lambda _: second.cancel())
        self.work.ends[0].callback("done")
        self.failureResultOf(second, CancelledError)

    def test_failure(self) -> None:
        """A failure reaches all who wait, as it is."""
        waiters = [self.join() for _ in range(3)]
        error = ValueError("in vain")
        self.work.ends[0].errback(error)
        failures = [self.failureResultOf(waiter, ValueError) for waiter in waiters]
        self.assertEqual([failure.value for failure in failures], [error] * 3)

    def test_failure_for_nobody(self) -> None:
        """A failure that nobody waits for is no error of the program."""
        waiter = self.join()
        waiter.cancel()
        self.failureResultOf(waiter, CancelledError)
        self.work.ends[0].errback(ValueError("in vain"))
        self.assert_nothing_lost()

    def test_log(self) -> None:
        """A failure goes to the log where nobody waits for it, and there alone."""
        with capturedLogs() as events:
            self.failureResultOf(self.flights.join("a", _failing), ValueError)
            waiter = self.join("b")
            waiter.cancel()
            self.failureResultOf(waiter, CancelledError)
            self.work.ends[0].errback(ValueError("for nobody"))
        self.assertEqual([event["error"] for event in events], ["for nobody"])

    def test_next_flight(self) -> None:
        """Whoever asks after the end gets a new run."""
        self.join()
        self.work.ends[0].callback("first")
        second = self.join()
        self.assertNoResult(second)
        self.work.ends[1].callback("second")
        self.assertEqual(self.successResultOf(second), "second")

    def test_next_after_failure(self) -> None:
        """A failure is not remembered."""
        self.failureResultOf(self.flights.join("a", _failing), ValueError)
        self.assertEqual(self.successResultOf(self.flights.join("a", _at_once)), "done")

    def test_next_from_callback(self) -> None:
        """Whoever asks anew on hearing the result gets a new run."""
        again: list[Deferred[str]] = []
        self.join().addCallback(lambda _: again.append(self.join()))
        self.work.ends[0].callback("first")
        self.work.ends[1].callback("second")
        self.assertEqual(self.successResultOf(again[0]), "second")

    def test_at_once(self) -> None:
        """Work that is done at once gives its result at once and is over."""
        waiter = self.flights.join("a", _at_once)
        self.assertEqual((self.successResultOf(waiter), "a" in self.flights), ("done", False))

    def test_stop(self) -> None:
        """Stopping cancels all work, and all who wait hear of it."""
        waiters = [self.join("a"), self.join("a"), self.join("b")]
        self.flights.stop()
        for waiter in waiters:
            self.failureResultOf(waiter, CancelledError)
        self.assertTrue(all(end.called for end in self.work.ends))

    def test_stop_for_nobody(self) -> None:
        """Stopping work that nobody waits for loses no error."""
        waiter = self.join()
        waiter.cancel()
        self.failureResultOf(waiter, CancelledError)
        self.flights.stop()
        self.assert_nothing_lost()
        self.assertNotIn("a", self.flights)
