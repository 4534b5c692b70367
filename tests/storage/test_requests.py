"""Requests and visits: kept, claimed once, decided, forgotten."""

from __future__ import annotations

from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

import attrs
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from gma.core.request import Endpoints, Request, State, Visit
from gma.storage.database import Database, prepare
from gma.storage.registrations import SqliteRegistrations
from gma.storage.requests import SqliteRequests
from tests.storage.test_registrations import CREDENTIALS, KEY
from tests.support import Reactor, inline_pool

Result = TypeVar("Result")


class RequestsTests(SynchronousTestCase):
    """The port over SQLite."""

    def setUp(self) -> None:
        """A database with one request."""
        path = Path(self.mktemp()).absolute()
        prepare(path)
        self.database = Database(inline_pool(path, Reactor()))
        self.addCleanup(self.database.close)
        self.requests = SqliteRequests(self.database)
        registration = self.run_now(SqliteRegistrations(self.database).add(KEY, CREDENTIALS, 1.0))
        self.request = Request(
            id="id",
            registration=registration,
            endpoints=Endpoints("issuer/", "authorize", "token", "apps"),
            scopes=("read", "write:statuses"),
            force_login=False,
            lang="pt-BR",
            created_at=1000.25,
            expires_at=1600.25,
        )
        self.run_now(self.requests.add(self.request))

    def run_now(self, work: Coroutine[Deferred[Any], Any, Result]) -> Result:
        """The result of work that takes no time."""
        return self.successResultOf(Deferred.fromCoroutine(work))

    def visit(self, number: int = 0) -> Visit:
        """Begin a visit."""
        visit = Visit("id", b"state%d" % number, b"cookie%d" % number, b"sealed", 1001.0)
        self.run_now(self.requests.add_visit(visit))
        return visit

    def claim(self, visit: Visit, now: float = 1100.0) -> bool:
        """Claim the request for a visit's callback."""
        return self.run_now(self.requests.claim(visit, State.EXCHANGING, now))

    def found(self) -> Request:
        """The request as it stands now."""
        request = self.run_now(self.requests.find("id"))
        assert request is not None
        return request

    def count(self, table: str) -> int:
        """How many rows a table has."""
        sql = {"visits": "SELECT count(*) FROM visits", "requests": "SELECT count(*) FROM requests"}

        (count,) = self.run_now(self.database.read(lambda it: it.execute(sql[table]).fetchone()))
        return int(count)

    def test_found(self) -> None:
        """A request is found as it was, its registration included."""
        self.assertEqual(self.found(), self.request)
        other = attrs.evolve(self.request, id="other", force_login=True, lang=None)
        self.run_now(self.requests.add(other))
        self.assertEqual(self.run_now(self.requests.find("other")), other)

    def test_unknown(self) -> None:
        """What is not there is not found."""
        self.assertIsNone(self.run_now(self.requests.find("none")))
        self.assertIsNone(self.run_now(self.requests.find_visit(b"none")))

    def test_visit(self) -> None:
        """A visit is found by its state, with its request."""
        visit = self.visit()
        found = self.run_now(self.requests.find_visit(visit.state_hash))
        self.assertEqual(found, (visit, self.request))

    def test_has_visit(self) -> None:
        """A browser is known by its cookie for this request alone."""
        self.visit()
        for request_id, cookie, known in (
            ("id", b"cookie0", True),
            ("id", b"cookie1", False),
            ("other", b"cookie0", False),
        ):
            self.assertEqual(self.run_now(self.requests.has_visit(request_id, cookie)), known)

    def test_oldest_visit_dies(self) -> None:
        """Of more than five visits the oldest dies."""
        visits = [self.visit(number) for number in range(7)]
        alive = [
            visit
            for visit in visits
            if self.run_now(self.requests.find_visit(visit.state_hash)) is not None
        ]
        self.assertEqual(alive, visits[2:])

    def test_claim(self) -> None:
        """A claim goes through once; the other visits die, and the winner is marked."""
        winner, loser = self.visit(1), self.visit(2)
        self.assertTrue(self.claim(winner))
        self.assertFalse(self.claim(winner))
        self.assertFalse(self.claim(loser))
        self.assertEqual(self.found().state, State.EXCHANGING)
        found = self.run_now(self.requests.find_visit(winner.state_hash))
        assert found is not None
        self.assertTrue(found[0].is_claimed)
        self.assertIsNone(self.run_now(self.requests.find_visit(loser.state_hash)))

    def test_claim_outcome(self) -> None:
        """A claim can be the decision itself."""
        claiming = self.requests.claim(self.visit(), State.FAILED, 1100.0, "invalid_scope")
        self.assertTrue(self.run_now(claiming))
        request = self.found()
        self.assertEqual(
            (request.state, request.error, request.decided_at),
            (State.FAILED, "invalid_scope", 1100.0),
        )

    def test_claim_too_late(self) -> None:
        """At the end of its time a request cannot be claimed any more."""
        visit = self.visit()
        self.assertFalse(self.claim(visit, 1600.25))
        self.assertTrue(self.claim(visit, 1600.0))

    def test_claim_of_dead_visit(self) -> None:
        """A visit that has died claims nothing."""
        visits = [self.visit(number) for number in range(6)]
        self.assertFalse(self.claim(visits[0]))
        self.assertEqual(self.found().state, State.WAITING)

    def test_interrupted(self) -> None:
        """What is found exchanging is interrupted; a new visit may claim it, the old one not."""
        old = self.visit(1)
        self.claim(old)
        self.run_now(self.requests.interrupt())
        self.assertEqual(self.found().state, State.INTERRUPTED)
        new = self.visit(2)
        self.assertFalse(self.claim(old))
        self.assertTrue(self.claim(new))

    def test_interrupt_leaves_others(self) -> None:
        """What is waiting or decided is not interrupted."""
        self.run_now(self.requests.interrupt())
        self.assertEqual(self.found().state, State.WAITING)

    def test_decide(self) -> None:
        """A claimed request is decided; one that is not is left as it is."""
        self.run_now(self.requests.decide("id", State.FULFILLED, 1101.0, None))
        self.assertEqual(self.found().state, State.WAITING)
        self.claim(self.visit())
        self.run_now(self.requests.decide("id", State.FAILED, 1101.0, "server_error"))
        self.run_now(self.requests.decide("id", State.FULFILLED, 1102.0, None))
        request = self.found()
        self.assertEqual(
            (request.state, request.error, request.decided_at),
            (State.FAILED, "server_error", 1101.0),
        )

    def test_forget(self) -> None:
        """What has been over for a lifetime goes, visits and all, and nothing sooner."""
        self.visit()
        self.run_now(self.requests.forget(2200.0, 600.0))
        self.assertEqual(self.count("requests"), 1)
        self.run_now(self.requests.forget(2200.25, 600.0))
        self.assertEqual((self.count("requests"), self.count("visits")), (0, 0))

    def test_forget_decided(self) -> None:
        """A decision gives a request another lifetime."""
        self.claim(self.visit(), 1600.0)
        self.run_now(self.requests.decide("id", State.FULFILLED, 1610.0, None))
        self.run_now(self.requests.forget(2209.0, 600.0))
        self.assertEqual(self.count("requests"), 1)
        self.run_now(self.requests.forget(2210.0, 600.0))
        self.assertEqual(self.count("requests"), 0)
