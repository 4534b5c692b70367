"""Which client waits for which request, and until when."""

from __future__ import annotations

from collections.abc import Callable

import attrs
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from gma.core.ports import Client


@attrs.frozen(eq=False)
class _Place:
    client: Client
    expires_at: float


class WaitingRoom:
    """The clients that wait, in the order in which their time ends.

    One timer serves them all: every request gets the same time, so the first in is the first out.

    :param clock: for the timer.
    :param now: seconds since the epoch, as ``expires_at``.
    :param expire: called with the id of each request whose time has come and its client, who is
        out of the room by then.
    """

    def __init__(
        self, clock: IReactorTime, now: Callable[[], float], expire: Callable[[str, Client], None]
    ) -> None:
        self._clock = clock
        self._now = now
        self._expire = expire
        self._places: dict[str, _Place] = {}
        self._ids: dict[Client, set[str]] = {}
        self._timer: IDelayedCall | None = None

    def enter(self, request_id: str, client: Client, expires_at: float) -> None:
        """A client begins to wait for a request; who waited for it before waits no longer."""
        self.call(request_id)
        self._places[request_id] = _Place(client, expires_at)
        self._ids.setdefault(client, set()).add(request_id)
        self._set_timer()

    def call(self, request_id: str) -> Client | None:
        """The client that waits for this request, and waits no longer; ``None`` if it is gone."""
        place = self._places.pop(request_id, None)
        if place is None:
            return None
        ids = self._ids[place.client]
        ids.discard(request_id)
        if not ids:
            del self._ids[place.client]
        return place.client

    def leave(self, client: Client) -> None:
        """A client is gone; it waits for nothing any more."""
        for request_id in self._ids.pop(client, ()):
            del self._places[request_id]

    def close(self) -> None:
        """No one waits any more, and no timer is left."""
        self._places.clear()
        self._ids.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _set_timer(self) -> None:
        if self._timer is None and self._places:
            first = next(iter(self._places.values()))
            delay = max(0.0, first.expires_at - self._now())
            self._timer = self._clock.callLater(delay, self._ring)

    def _ring(self) -> None:
        self._timer = None
        now = self._now()
        due: list[tuple[str, Client]] = []
        for request_id, place in self._places.items():
            if place.expires_at > now:
                break
            due.append((request_id, place.client))
        for request_id, _ in due:
            self.call(request_id)
        # Before anybody is told: what goes wrong with one must not stop the clock for the others.
        self._set_timer()
        for request_id, client in due:
            self._expire(request_id, client)
