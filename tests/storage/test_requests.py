"""Requests and their visits, kept, claimed, decided and forgotten."""

from __future__ import annotations

import sqlite3

import attrs

from gma.core.request import DECIDED, OPEN, Endpoints, Registration, Request, State, Visit
from gma.storage.requests import SqliteRequests
from tests.storage.support import KEY, StorageTestCase, make_request, make_visit

_NOW = 1200.0
_TTL = 600.0


class RequestsTestCase(StorageTestCase):
    """A registration, and requests that use it."""

    def setUp(self) -> None:
        """No request so far."""
        super().setUp()
        self.registration = self.register()
        self.requests = SqliteRequests(self.database)

    def add(self, request_id: str = "r1", **changes: object) -> Request:
        """A request that is kept."""
        request = make_request(self.registration, request_id, **changes)
        self.successResultOf(self.requests.add(request))
        return request

    def visit(self, name: str, request_id: str = "r1") -> Visit:
        """A visit that is kept."""
        visit = make_visit(name, request_id)
        self.successResultOf(self.requests.add_visit(visit))
        return visit

    def find(self, request_id: str = "r1") -> Request:
        """The request as it is kept."""
        found: Request | None = self.successResultOf(self.requests.find(request_id))
        assert found is not None
        return found

    def claim(
        self,
        visit: Visit,
        state: State = State.EXCHANGING,
        now: float = _NOW,
        error: str | None = None,
    ) -> bool:
        """Whether the claim of a visit was taken."""
        taken: bool = self.successResultOf(self.requests.claim(visit, state, now, error))
        return taken

    def alive(self, *visits: Visit) -> list[bool]:
        """Which of these visits are still known."""
        found = [self.successResultOf(self.requests.find_visit(it.state_hash)) for it in visits]
        return [it is not None for it in found]


class KeepTests(RequestsTestCase):
    """What is kept of a request."""

    def test_unknown(self) -> None:
        """An id that was never kept finds nothing."""
        self.add("r1")
        for request_id in ("", "r", "R1", "r2", "r1' OR '1'='1"):
            self.assertIsNone(self.successResultOf(self.requests.find(request_id)))

    def test_waiting(self) -> None:
        """A new request is found again as it was."""
        request = self.add()
        self.assertEqual(self.find(), request)

    def test_round_trip(self) -> None:
        """Each field of a request is kept, with its kind."""
        request = self.add(
            endpoints=Endpoints("https://i", "https://a/?x=1", "https://t", "https://r"),
            scopes=("write:statuses", "read"),
            force_login=False,
            lang="pt-BR",
            created_at=1000.125,
            expires_at=1600.25,
            state=State.FAILED,
            error="server_error",
            decided_at=1234.5,
        )
        found = self.find()
        self.assertEqual(found, request)
        self.assertEqual([type(it) for it in (found.force_login, found.state)], [bool, State])

    def test_states(self) -> None:
        """A request is found in the state in which it was kept."""
        for state in State:
            self.add(f"r-{state}", state=state)
        self.assertEqual([self.find(f"r-{state}").state for state in State], [*State])

    def test_own_registration(self) -> None:
        """A request keeps to the registration that it began with, also when there is a newer."""
        self.add()
        self.register()
        self.assertEqual(self.find().registration, self.registration)

    def test_registrations_side_by_side(self) -> None:
        """Requests of several hosts find each its own registration."""
        other: Registration = self.register(attrs.evolve(KEY, api_host="other.example"))
        self.add("r1")
        self.successResultOf(self.requests.add(make_request(other, "r2")))
        found = [self.find(request_id).api_host for request_id in ("r1", "r2")]
        self.assertEqual(found, ["mastodon.example", "other.example"])

    def test_same_id(self) -> None:
        """A second request of the same id is not kept, and the first stays."""
        first = self.add()
        second = make_request(self.registration, lang="de")
        self.failureResultOf(self.requests.add(second), sqlite3.IntegrityError)
        self.assertEqual(self.find(), first)

    def test_unknown_registration(self) -> None:
        """A request of a registration that is not kept is not kept either."""
        registration = attrs.evolve(self.registration, number=99)
        self.failureResultOf(self.requests.add(make_request(registration)), sqlite3.IntegrityError)


class VisitTests(RequestsTestCase):
    """Browsers on their way."""

    def setUp(self) -> None:
        """Two requests."""
        super().setUp()
        self.request = self.add("r1")
        self.add("r2")

    def test_round_trip(self) -> None:
        """A visit is found by its state, in each of its fields and with its request."""
        visit = self.visit("a")
        found = self.successResultOf(self.requests.find_visit(visit.state_hash))
        self.assertEqual(found, (visit, self.request))

    def test_octets(self) -> None:
        """Hashes and seals may hold any octets."""
        octets = bytes(range(256))
        visit = make_visit(
            "a", state_hash=octets, cookie_hash=octets[::-1], sealed_verifier=octets[5:]
        )
        self.successResultOf(self.requests.add_visit(visit))
        found = self.successResultOf(self.requests.find_visit(octets))
        self.assertEqual(found and found[0], visit)

    def test_unknown(self) -> None:
        """A state that no visit has finds nothing."""
        visit = self.visit("a")
        for state_hash in (b"", visit.state_hash[:-1], visit.cookie_hash):
            self.assertIsNone(self.successResultOf(self.requests.find_visit(state_hash)))

    def test_no_request(self) -> None:
        """A visit of a request that is not kept is not kept either."""
        self.failureResultOf(self.requests.add_visit(make_visit("a", "r9")), sqlite3.IntegrityError)

    def test_has_visit(self) -> None:
        """A browser is known by its cookie, at the request that it visits and at no other."""
        visit = self.visit("a")
        other = self.visit("b", "r2")
        asked = [
            ("r1", visit.cookie_hash),
            ("r1", other.cookie_hash),
            ("r2", visit.cookie_hash),
            ("r1", visit.state_hash),
            ("r1", b""),
            ("r9", visit.cookie_hash),
        ]
        known = [self.successResultOf(self.requests.has_visit(*it)) for it in asked]
        self.assertEqual(known, [True, False, False, False, False, False])

    def test_five(self) -> None:
        """Five visits of a request live side by side."""
        visits = [self.visit(name) for name in "abcde"]
        self.assertEqual(self.alive(*visits), [True] * 5)

    def test_oldest_dies(self) -> None:
        """With each visit more than five the oldest dies."""
        visits = [self.visit(name) for name in "gfedcba"]
        self.assertEqual(self.alive(*visits), [False] * 2 + [True] * 5)

    def test_each_request_for_itself(self) -> None:
        """The visits of one request leave those of another alone."""
        other = self.visit("other", "r2")
        for name in "abcdefgh":
            self.visit(name)
        self.assertEqual(self.alive(other), [True])

    def test_dead_cookie(self) -> None:
        """A browser whose visit has died is not known any more."""
        first, *_ = [self.visit(name) for name in "abcdef"]
        self.assertFalse(self.successResultOf(self.requests.has_visit("r1", first.cookie_hash)))


class ClaimTests(RequestsTestCase):
    """One visit consumes its request."""

    def setUp(self) -> None:
        """A request with two visits, and another with one."""
        super().setUp()
        self.request = self.add("r1")
        self.add("r2")
        self.first = self.visit("first")
        self.second = self.visit("second")
        self.other = self.visit("other", "r2")

    def test_claim(self) -> None:
        """A claim takes the request to the state that it names, and decides nothing yet."""
        taken = self.claim(self.first)
        self.assertEqual(
            (taken, self.find()), (True, attrs.evolve(self.request, state=State.EXCHANGING))
        )

    def test_claimed(self) -> None:
        """The visit that claimed is marked, and found so."""
        self.claim(self.first)
        found = self.successResultOf(self.requests.find_visit(self.first.state_hash))
        self.assertEqual(found and found[0], attrs.evolve(self.first, is_claimed=True))

    def test_deciding(self) -> None:
        """A claim may decide at once, with the error and the time."""
        self.claim(self.first, State.DECLINED, error="access_denied")
        self.assertEqual(
            self.find(),
            attrs.evolve(
                self.request, state=State.DECLINED, error="access_denied", decided_at=_NOW
            ),
        )

    def test_others_die(self) -> None:
        """The other visits of the request die, and those of other requests live."""
        self.claim(self.first)
        self.assertEqual(self.alive(self.first, self.second, self.other), [True, False, True])

    def test_other_requests(self) -> None:
        """Other requests go on waiting."""
        self.claim(self.first)
        self.assertEqual(self.find("r2").state, State.WAITING)

    def test_once(self) -> None:
        """A second claim of the same visit is not taken and changes nothing."""
        self.claim(self.first)
        before = self.find()
        taken = self.claim(self.first, State.FAILED, error="server_error")
        self.assertEqual((taken, self.find()), (False, before))

    def test_second_visit(self) -> None:
        """The claim of a second visit is not taken and kills nothing."""
        self.claim(self.first)
        self.assertEqual(
            (self.claim(self.second), self.alive(self.first, self.second)), (False, [True, False])
        )

    def test_in_time(self) -> None:
        """A claim is taken in the last moment of the request's time."""
        self.assertTrue(self.claim(self.first, now=1599.999))

    def test_too_late(self) -> None:
        """A claim is not taken once the time is up, and changes nothing."""
        taken = [self.claim(self.first, now=now) for now in (1600.0, 1600.001, 9999.0)]
        self.assertEqual((taken, self.find()), ([False] * 3, self.request))

    def test_too_late_kills_nobody(self) -> None:
        """A claim that comes too late leaves the visits as they are."""
        self.claim(self.first, now=1600.0)
        self.assertEqual(self.alive(self.first, self.second), [True, True])

    def test_dead_visit(self) -> None:
        """A claim of a visit that has died is not taken."""
        for name in "abcde":
            self.visit(name)
        self.assertEqual((self.claim(self.first), self.find()), (False, self.request))

    def test_unknown_visit(self) -> None:
        """A claim of a visit that never was is not taken."""
        self.assertEqual((self.claim(make_visit("none")), self.find()), (False, self.request))

    def test_states(self) -> None:
        """A request can be claimed while it is open, and in no other state."""
        taken = {}
        for state in State:
            self.add(f"r-{state}", state=state)
            taken[state] = self.claim(self.visit(state, f"r-{state}"))
        self.assertEqual(taken, {state: state in OPEN for state in State})

    def test_interrupted(self) -> None:
        """After an interruption a new visit may claim, and the one before it dies."""
        self.claim(self.first)
        self.successResultOf(self.requests.interrupt())
        third = self.visit("third")
        taken = self.claim(third)
        self.assertEqual(
            (taken, self.find().state, self.alive(self.first, third)),
            (True, State.EXCHANGING, [False, True]),
        )

    def test_interrupted_code(self) -> None:
        """After an interruption the visit that had claimed cannot claim again."""
        self.claim(self.first)
        self.successResultOf(self.requests.interrupt())
        self.assertEqual((self.claim(self.first), self.find().state), (False, State.INTERRUPTED))


class OutcomeTests(RequestsTestCase):
    """What becomes of requests that were claimed."""

    def setUp(self) -> None:
        """A request in each state."""
        super().setUp()
        for state in State:
            self.add(f"r-{state}", state=state, error="before")

    def states(self) -> dict[State, State]:
        """What has become of the request that was in each state."""
        return {state: self.find(f"r-{state}").state for state in State}

    def test_decide(self) -> None:
        """A decision is kept with its error and its time."""
        decide = self.requests.decide("r-exchanging", State.FAILED, _NOW, "server_error")
        self.successResultOf(decide)
        found = self.find("r-exchanging")
        self.assertEqual(
            (found.state, found.error, found.decided_at), (State.FAILED, "server_error", _NOW)
        )

    def test_decide_well(self) -> None:
        """A good outcome has no error."""
        decide = self.requests.decide("r-exchanging", State.FULFILLED, _NOW, None)
        self.successResultOf(decide)
        found = self.find("r-exchanging")
        self.assertEqual((found.state, found.error), (State.FULFILLED, None))

    def test_decide_only_what_is_claimed(self) -> None:
        """Only a request that is exchanging can be decided."""
        for state in State:
            self.successResultOf(self.requests.decide(f"r-{state}", State.UNDELIVERED, _NOW, None))
        self.assertEqual(
            self.states(),
            {it: State.UNDELIVERED if it is State.EXCHANGING else it for it in State},
        )

    def test_decide_the_one(self) -> None:
        """A decision concerns one request, and leaves others that are exchanging."""
        for request_id in ("r1", "r2", "r3"):
            self.add(request_id, state=State.EXCHANGING)
        self.successResultOf(self.requests.decide("r2", State.FULFILLED, _NOW, None))
        found = [self.find(request_id).state for request_id in ("r1", "r2", "r3")]
        self.assertEqual(found, [State.EXCHANGING, State.FULFILLED, State.EXCHANGING])

    def test_interrupt(self) -> None:
        """All that is exchanging is interrupted, and nothing else changes."""
        self.add("r9", state=State.EXCHANGING)
        self.successResultOf(self.requests.interrupt())
        after = {it: State.INTERRUPTED if it is State.EXCHANGING else it for it in State}
        self.assertEqual((self.states(), self.find("r9").state), (after, State.INTERRUPTED))


class ForgetTests(RequestsTestCase):
    """What is over for long is deleted."""

    def remaining(self, now: float) -> list[str]:
        """The ids that are left after forgetting at this time."""
        self.successResultOf(self.requests.forget(now, _TTL))
        return [request_id for (request_id,) in self.query("SELECT id FROM requests ORDER BY id")]

    def test_undecided(self) -> None:
        """A request without a decision is deleted one lifetime after its time was up."""
        for state in sorted(set(State) - DECIDED):
            self.add(f"r-{state}", state=state)
        kept = ["r-exchanging", "r-interrupted", "r-waiting"]
        remaining = [self.remaining(1600.0 + _TTL - 0.001), self.remaining(1600.0 + _TTL)]
        self.assertEqual(remaining, [kept, []])

    def test_decided_late(self) -> None:
        """A request that was decided after its time lives one lifetime from the decision."""
        self.add(state=State.FULFILLED, decided_at=1615.0)
        remaining = [self.remaining(1615.0 + _TTL - 0.001), self.remaining(1615.0 + _TTL)]
        self.assertEqual(remaining, [["r1"], []])

    def test_decided_early(self) -> None:
        """A request that was decided early is gone one lifetime after its time at the latest."""
        self.add(state=State.DECLINED, decided_at=1001.0)
        remaining = [self.remaining(1001.0 + _TTL - 0.001), self.remaining(1600.0 + _TTL)]
        self.assertEqual(remaining, [["r1"], []])

    def test_no_more(self) -> None:
        """Nothing is deleted that a page can still be shown of."""
        for number, expires_at in enumerate(range(1000, 3000, 100)):
            self.add(f"w{number:02}", expires_at=float(expires_at))
            self.add(
                f"d{number:02}",
                expires_at=float(expires_at),
                state=State.DECLINED,
                decided_at=float(expires_at) - 50.0,
            )
        requests = [
            self.find(request_id) for (request_id,) in self.query("SELECT id FROM requests")
        ]
        alive = {it.id for it in requests if not it.is_forgotten(2100.0, _TTL)}
        self.assertEqual(alive - set(self.remaining(2100.0)), set())

    def test_visits(self) -> None:
        """The visits of a request go with it, and those of others stay."""
        self.add("r1")
        self.add("r2", expires_at=9000.0)
        gone, kept = self.visit("a", "r1"), self.visit("b", "r2")
        self.remaining(1600.0 + _TTL)
        self.assertEqual(
            (self.alive(gone, kept), self.query("SELECT request FROM visits")),
            ([False, True], [("r2",)]),
        )

    def test_registrations_stay(self) -> None:
        """Registrations outlive the requests that used them."""
        self.add()
        self.remaining(1e9)
        self.assertEqual(self.query("SELECT count(*) FROM registrations"), [(1,)])

    def test_nothing(self) -> None:
        """Forgetting where there is nothing is no error."""
        self.assertEqual(self.remaining(1e9), [])
