"""Work that many may want at once and that is done once."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

Key = TypeVar("Key")
Result = TypeVar("Result")


class SingleFlight(Generic[Key, Result]):
    """Runs at most one piece of work for each key; whoever asks meanwhile shares its result.

    The work belongs to this object, not to those who wait: one who gives up leaves it running.
    """

    _log = Logger()

    def __init__(self) -> None:
        self._flights: dict[Key, Deferred[None]] = {}
        self._waiters: dict[Key, list[Deferred[Result]]] = {}

    def __contains__(self, key: Key) -> bool:
        """Whether work for this key is under way."""
        return key in self._flights

    def join(
        self, key: Key, start: Callable[[], Coroutine[Deferred[Any], Any, Result]]
    ) -> Deferred[Result]:
        """The result of the work for this key, which is started unless it is under way.

        Cancelling what is returned ends the wait, not the work.
        """
        waiter: Deferred[Result] = Deferred()
        if key in self._flights:
            self._waiters[key].append(waiter)
            return waiter
        self._waiters[key] = [waiter]
        flight = Deferred.fromCoroutine(start())
        # Kept before the callback is added: work that is done at once removes itself.
        self._flights[key] = flight  # type: ignore[assignment]
        flight.addBoth(self._land, key)
        return waiter

    def stop(self) -> None:
        """Cancel all work under way; those who wait get :exc:`CancelledError`."""
        for flight in list(self._flights.values()):
            flight.cancel()

    def _land(self, result: Result | Failure, key: Key) -> None:
        del self._flights[key]
        waiters = [waiter for waiter in self._waiters.pop(key) if not waiter.called]
        if not waiters and isinstance(result, Failure) and not result.check(CancelledError):
            self._log.info("work ended in vain: {error}", error=result.getErrorMessage())
        for waiter in waiters:
            if not waiter.called:
                waiter.callback(result)
