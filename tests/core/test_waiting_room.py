"""Who waits for what, and until when."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from gma.core.messages import ServerMessage
from gma.core.ports import Client
from gma.core.waiting_room import WaitingRoom


class _App:
    """A client that is told nothing here: the room only knows it."""

    def send(self, message: ServerMessage) -> bool:
        raise AssertionError("the room sends nothing")


class WaitingRoomTests(SynchronousTestCase):
    """Clients who come, are called, leave, or wait in vain."""

    def setUp(self) -> None:
        """An empty room at the time 0, and two clients."""
        self.clock = Clock()
        self.expired: list[tuple[float, str, Client]] = []
        self.room = WaitingRoom(self.clock, self.clock.seconds, self.expire)
        self.first = _App()
        self.second = _App()

    def expire(self, request_id: str, client: Client) -> None:
        """Note who waited in vain, and when."""
        self.expired.append((self.clock.seconds(), request_id, client))

    def expired_ids(self) -> list[str]:
        """Whose time has come, in order."""
        return [request_id for _, request_id, _ in self.expired]

    def test_one_timer(self) -> None:
        """One timer serves all who wait, and rings for the first."""
        for number in range(100):
            self.room.enter(f"r{number}", self.first, 10.0 + number)
        self.assertEqual([call.getTime() for call in self.clock.getDelayedCalls()], [10.0])

    def test_empty(self) -> None:
        """An empty room has no timer."""
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_expire(self) -> None:
        """Each waits in vain until its own time, and the first in is the first out."""
        self.room.enter("r1", self.first, 10.0)
        self.room.enter("r2", self.second, 12.0)
        self.room.enter("r3", self.first, 13.0)
        self.clock.pump([1.0] * 20)
        self.assertEqual(
            self.expired,
            [(10.0, "r1", self.first), (12.0, "r2", self.second), (13.0, "r3", self.first)],
        )

    def test_taken_over(self) -> None:
        """Who enters for a request takes the place of who waited for it before."""
        self.room.enter("r1", self.first, 10.0)
        self.room.enter("r1", self.second, 10.0)
        self.room.leave(self.first)
        self.assertEqual(self.room.call("r1"), self.second)
        self.room.leave(self.second)

    def test_not_too_early(self) -> None:
        """Nobody's time comes early."""
        self.room.enter("r1", self.first, 10.0)
        self.clock.advance(9.999)
        self.assertEqual(self.expired, [])

    def test_together(self) -> None:
        """All whose time has come go at once, in the order in which they came."""
        for request_id in ("r3", "r1", "r2"):
            self.room.enter(request_id, self.first, 10.0)
        self.room.enter("r4", self.first, 30.0)
        self.clock.advance(20.0)
        self.assertEqual(self.expired_ids(), ["r3", "r1", "r2"])

    def test_last_out(self) -> None:
        """Once all have waited in vain, no timer is left."""
        self.room.enter("r1", self.first, 10.0)
        self.clock.advance(10.0)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_late(self) -> None:
        """Whoever comes with its time behind it goes at the next turn, not within the call."""
        self.clock.advance(20.0)
        self.room.enter("r1", self.first, 10.0)
        within = self.expired_ids()
        rings_at = [call.getTime() for call in self.clock.getDelayedCalls()]
        self.clock.advance(0.0)
        self.assertEqual((within, rings_at, self.expired_ids()), ([], [20.0], ["r1"]))

    def test_early_timer(self) -> None:
        """A timer that rings before the time by the clock on the wall is set anew."""
        wall = [0.0]
        room = WaitingRoom(self.clock, lambda: wall[0], self.expire)
        room.enter("r1", self.first, 10.0)
        wall[0] = 9.0
        self.clock.advance(10.0)
        early = self.expired_ids()
        wall[0] = 10.0
        self.clock.advance(1.0)
        self.assertEqual((early, self.expired_ids()), ([], ["r1"]))

    def test_out_by_then(self) -> None:
        """Whoever has waited in vain is out of the room by the time that it is told."""
        found: list[Client | None] = []
        room = WaitingRoom(
            self.clock, self.clock.seconds, lambda it, _: found.append(room.call(it))
        )
        room.enter("r1", self.first, 10.0)
        self.clock.advance(10.0)
        self.assertEqual(found, [None])

    def test_back_in(self) -> None:
        """Whoever is let in again on its time waits until the new one."""

        def again(request_id: str, client: Client) -> None:
            self.expire(request_id, client)
            if len(self.expired) == 1:
                room.enter(request_id, client, self.clock.seconds() + 10.0)

        room = WaitingRoom(self.clock, self.clock.seconds, again)
        room.enter("r1", self.first, 10.0)
        room.enter("r2", self.first, 15.0)
        self.clock.pump([1.0] * 30)
        self.assertEqual(
            [(when, request_id) for when, request_id, _ in self.expired],
            [(10.0, "r1"), (15.0, "r2"), (20.0, "r1")],
        )

    def test_call(self) -> None:
        """The client of a request is called once, and then waits no longer."""
        self.room.enter("r1", self.first, 10.0)
        self.room.enter("r2", self.second, 10.0)
        called = (self.room.call("r2"), self.room.call("r2"))
        self.clock.advance(10.0)
        self.assertEqual((called, self.expired_ids()), ((self.second, None), ["r1"]))

    def test_call_nobody(self) -> None:
        """For a request that nobody waits for, nobody is called."""
        self.assertIsNone(self.room.call("r1"))

    def test_call_one_of_many(self) -> None:
        """A client that is called for one request waits on for its others."""
        self.room.enter("r1", self.first, 10.0)
        self.room.enter("r2", self.first, 10.0)
        self.room.call("r1")
        self.assertIs(self.room.call("r2"), self.first)

    def test_leave(self) -> None:
        """A client that leaves waits for none of its requests any more, and the others wait on."""
        self.room.enter("r1", self.first, 10.0)
        self.room.enter("r2", self.second, 10.0)
        self.room.enter("r3", self.first, 10.0)
        self.room.leave(self.first)
        called = self.room.call("r1")
        self.clock.advance(10.0)
        self.assertEqual((called, self.expired_ids()), (None, ["r2"]))

    def test_leave_after_call(self) -> None:
        """A client may leave after it was called, and twice, and without having waited."""
        self.room.enter("r1", self.first, 10.0)
        self.room.enter("r2", self.first, 10.0)
        self.room.call("r1")
        self.room.leave(self.first)
        self.room.leave(self.first)
        self.room.leave(self.second)
        self.clock.advance(10.0)
        self.assertEqual(self.expired, [])

    def test_no_timer_for_the_gone(self) -> None:
        """A timer that rings for those who have gone is not set again."""
        self.room.enter("r1", self.first, 10.0)
        self.room.enter("r2", self.second, 20.0)
        self.room.leave(self.first)
        self.room.call("r2")
        self.clock.advance(10.0)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_come_again(self) -> None:
        """A room that was empty has a timer again for whoever comes next."""
        self.room.enter("r1", self.first, 10.0)
        self.clock.advance(10.0)
        self.room.enter("r2", self.second, 20.0)
        self.clock.advance(10.0)
        self.assertEqual(self.expired_ids(), ["r1", "r2"])

    def test_close(self) -> None:
        """A room that is closed leaves no timer and nobody in it."""
        self.room.enter("r1", self.first, 10.0)
        self.room.enter("r2", self.second, 12.0)
        self.room.close()
        self.room.leave(self.first)
        self.assertEqual((self.clock.getDelayedCalls(), self.room.call("r2")), ([], None))

    def test_close_twice(self) -> None:
        """A room may be closed twice, and when nobody has ever been in it."""
        self.room.close()
        self.room.enter("r1", self.first, 10.0)
        self.room.close()
        self.room.close()
        self.assertEqual(self.clock.getDelayedCalls(), [])
