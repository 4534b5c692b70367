"""One request: its states and its times, and which scope contains which."""

from __future__ import annotations

import attrs
from twisted.trial.unittest import SynchronousTestCase

from gma.core.request import (
    DECIDED,
    OPEN,
    Endpoints,
    Registration,
    RegistrationKey,
    Request,
    State,
    is_within,
)

_CREATED = 1000.0
_EXPIRES = 1600.0
_TTL = 600.0

_REQUEST = Request(
    id="r1",
    registration=Registration(
        number=1,
        key=RegistrationKey(
            api_host="mastodon.example:8443",
            redirect_uri="https://auth.example/callback/mastodon.example:8443",
            scopes=("read", "write"),
            client_name="Test app",
            website="https://app.example",
        ),
        client_id="client",
        client_secret="canary-secret",
        registered_at=_CREATED,
    ),
    endpoints=Endpoints(
        issuer="https://mastodon.example:8443",
        authorization="https://mastodon.example:8443/oauth/authorize",
        token="https://mastodon.example:8443/oauth/token",
        registration="https://mastodon.example:8443/api/v1/apps",
    ),
    scopes=("read",),
    force_login=True,
    lang=None,
    created_at=_CREATED,
    expires_at=_EXPIRES,
)


class ScopesTests(SynchronousTestCase):
    """Which scopes a client may ask for."""

    def test_within(self) -> None:
        """A scope is granted by itself and by what stands before a colon of it."""
        table: dict[tuple[tuple[str, ...], tuple[str, ...]], bool] = {
            (("read",), ("read",)): True,
            (("read",), ("write",)): False,
            (("read", "write"), ("write", "read")): True,
            (("read", "write"), ("read",)): False,
            (("read", "read"), ("read",)): True,
            (("write:statuses",), ("write",)): True,
            (("write:statuses",), ("read", "write:statuses")): True,
            (("write",), ("write:statuses",)): False,
            (("write:statuses",), ("write:media",)): False,
            (("write:statuses",), ("write:status",)): False,
            (("admin:read:accounts",), ("admin:read",)): True,
            (("admin:read:accounts",), ("admin",)): True,
            (("admin:read:accounts",), ("read",)): False,
            (("admin:read",), ("admin:write",)): False,
            (("reading",), ("read",)): False,
            (("rea",), ("read",)): False,
            (("Read",), ("read",)): False,
            (("",), ("read",)): False,
            (("read ",), ("read",)): False,
            (("read write",), ("read", "write")): False,
            (("read",), ()): False,
            ((), ("read",)): True,
            ((), ()): True,
        }
        self.assertEqual({it: is_within(*it) for it in table}, table)

    def test_iterators(self) -> None:
        """What is granted may be an iterator, and counts for each scope that is asked for."""
        self.assertTrue(is_within(iter(["write", "read"]), iter(["read", "write"])))


class StatesTests(SynchronousTestCase):
    """What the states mean."""

    def test_each_once(self) -> None:
        """Every state but exchanging is either open or decided, and none is both."""
        self.assertEqual(
            (OPEN | DECIDED, OPEN & DECIDED), (frozenset(State) - {State.EXCHANGING}, frozenset())
        )


class TimesTests(SynchronousTestCase):
    """When a request is over, and when it is forgotten."""

    def test_expired(self) -> None:
        """A request expires at its time and only while it is open."""
        times = (_CREATED, _EXPIRES - 0.001, _EXPIRES, _EXPIRES + 1e9)
        expired = {
            state: [attrs.evolve(_REQUEST, state=state).is_expired(now) for now in times]
            for state in State
        }
        self.assertEqual(
            expired,
            {
                state: [False, False, True, True] if state in OPEN else [False] * 4
                for state in State
            },
        )

    def test_forgotten_undecided(self) -> None:
        """A request without a decision is forgotten one lifetime after its time was up."""
        times = (_CREATED, _EXPIRES, _EXPIRES + _TTL - 0.001, _EXPIRES + _TTL)
        for state in set(State) - DECIDED:
            request = attrs.evolve(_REQUEST, state=state)
            forgotten = [request.is_forgotten(now, _TTL) for now in times]
            self.assertEqual(forgotten, [False, False, False, True], state)

    def test_forgotten_decided(self) -> None:
        """A decided request is forgotten one lifetime after the decision, early or late."""
        for decided_at in (_CREATED, _EXPIRES - 1, _EXPIRES + 10, 0.0):
            request = attrs.evolve(_REQUEST, state=State.FULFILLED, decided_at=decided_at)
            times = (decided_at, decided_at + _TTL - 0.001, decided_at + _TTL)
            forgotten = [request.is_forgotten(now, _TTL) for now in times]
            self.assertEqual(forgotten, [False, False, True], f"decided at {decided_at}")


class ValuesTests(SynchronousTestCase):
    """What a request shows of itself."""

    def test_api_host(self) -> None:
        """A request's API host is the one that its registration is for."""
        self.assertEqual(_REQUEST.api_host, "mastodon.example:8443")

    def test_repr(self) -> None:
        """A request shows the host and no client secret: a repr may end in a log."""
        shown = repr(_REQUEST)
        self.assertEqual(("mastodon.example" in shown, "canary" in shown), (True, False))
