"""What becomes of each answer that a host may give, through the whole daemon in memory."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, urlsplit

from twisted.trial.unittest import SynchronousTestCase

from tests.support import START, World


class RegistrationTests(SynchronousTestCase):
    """``POST /api/v1/apps``."""

    def setUp(self) -> None:
        """A daemon and a client."""
        self.world = World(self)
        self.client = self.world.connect()

    def answer(self, switch: str) -> dict[str, Any]:
        """What the client is told where the host answers so."""
        self.world.host.behaviour.registration = switch
        return self.client.auth("mastodon.example")

    def test_form(self) -> None:
        """What every kind of host takes is sent, and nothing that a strict one refuses."""
        self.client.auth("mastodon.example")
        (form,) = self.world.host.forms("/api/v1/apps")
        self.assertEqual(
            form,
            {
                "client_name": "Test app",
                "redirect_uris": "https://auth.example/callback/mastodon.example",
                "scopes": "read write",
                "website": "https://app.example/about",
            },
        )

    def test_headers(self) -> None:
        """We say who we are and what we take; we ask for no compression and bring no cookie."""
        for _ in range(2):
            self.answer("503 html")
        for seen in self.world.host.journal:
            self.assertRegex(
                seen.headers["user-agent"], r"\Agma/[0-9][^ ]* \(\+https://app.example/about\)\Z"
            )
            self.assertEqual(seen.headers["accept"], "application/json")
            self.assertEqual(seen.headers["accept-encoding"], "identity")
            self.assertNotIn("cookie", seen.headers)

    def test_accepted(self) -> None:
        """Registrations with few members or with numbers for ids are as good as any."""
        for switch in ("normal", "minimal"):
            self.assertEqual(self.answer(switch)["type"], "set-id", switch)

    def test_number(self) -> None:
        """A number as client id is used as it is written."""
        parameters = self.answer("number client")["parameters"]
        location = self.world.browser().get(parameters["url"]).location
        self.assertEqual(parse_qs(urlsplit(location).query)["client_id"], ["42"])

    def test_reasons(self) -> None:
        """Whatever else a host answers, the client is told which kind of trouble it is."""
        for switch, reason in (
            ("404 html", "not-mastodon"),
            ("200 html", "not-mastodon"),
            ("bad json", "not-mastodon"),
            ("deep json", "not-mastodon"),
            ("json list", "not-mastodon"),
            ("no client", "not-mastodon"),
            ("empty client", "not-mastodon"),
            ("422 json", "not-mastodon"),
            ("empty 400", "not-mastodon"),
            ("moved", "not-mastodon"),
            ("307", "not-mastodon"),
            ("401 json", "unreachable"),
            ("403 challenge", "unreachable"),
            ("500 html", "unreachable"),
            ("503 html", "unreachable"),
            ("gzip", "unreachable"),
            ("huge", "unreachable"),
            ("reset", "unreachable"),
            ("429 bare", "busy"),
        ):
            answer = self.answer(switch)
            self.assertEqual(answer["type"], "invalid-host", switch)
            self.assertEqual(answer["parameters"]["reason"], reason, switch)
            self.assertTrue(answer["parameters"]["description"].endswith("."), switch)

    def test_retry_after(self) -> None:
        """How long to wait is read in every form that hosts use."""
        for switch, seconds in (
            ("429 seconds", 120),
            ("429 date", 301),
            ("429 reset", 181),
            ("429 nonsense", 600),
            ("429 bare", 600),
        ):
            self.assertEqual(self.answer(switch)["parameters"]["retry_after"], seconds, switch)

    def test_five_in_ten_minutes(self) -> None:
        """A failed registration is tried anew by the next who asks."""
        self.assertEqual(self.answer("503 html")["type"], "invalid-host")
        self.assertEqual(self.answer("normal")["type"], "set-id")

    def test_drip(self) -> None:
        """A host that drips is cut off: within ten seconds for the client, soon after for good."""
        self.world.host.behaviour.registration = "drip"
        self.client.send({"type": "auth", "parameters": {"host": "mastodon.example"}})
        self.world.advance(9)
        (answer,) = self.client.look()
        self.assertEqual(answer["parameters"]["reason"], "unreachable")

    def test_one_flight(self) -> None:
        """Clients that name a new host at once share one registration."""
        self.world.host.behaviour.registration_seconds = 3
        clients = [self.world.connect() for _ in range(50)]
        for client in clients:
            client.send({"type": "auth", "parameters": {"host": "mastodon.example"}})
        self.world.advance(3)
        ids = {message["parameters"]["id"] for client in clients for message in client.look()}
        self.assertEqual(len(ids), 50)
        self.assertEqual(self.world.host.count("/api/v1/apps"), 1)

    def test_flight_outlives_its_first_client(self) -> None:
        """The registration goes on when the client that began it leaves."""
        self.world.host.behaviour.registration_seconds = 3
        other = self.world.connect()
        for client in (self.client, other):
            client.send({"type": "auth", "parameters": {"host": "mastodon.example"}})
        self.client.leave()
        self.world.advance(3)
        self.assertEqual([it["type"] for it in other.look()], ["set-id"])

    def test_failure_is_shared(self) -> None:
        """Clients that wait for the same registration share its failure."""
        self.world.host.behaviour.registration_seconds = 3
        self.world.host.behaviour.registration = "503 html"
        clients = [self.client, self.world.connect()]
        for client in clients:
            client.send({"type": "auth", "parameters": {"host": "mastodon.example"}})
        self.world.advance(3)
        for client in clients:
            self.assertEqual([it["type"] for it in client.look()], ["invalid-host"])


class TokenTests(SynchronousTestCase):
    """``POST /oauth/token``."""

    def setUp(self) -> None:
        """A daemon and a client."""
        self.world = World(self)
        self.client = self.world.connect()

    def outcome(self, switch: str) -> tuple[dict[str, Any], str]:
        """What the client and the user are told where the host answers so."""
        self.world.host.behaviour.token = switch
        browser = self.world.browser()
        callback = self.world.host.approve(self.world.log_in(self.client, browser))
        link = browser.get(callback).location
        (message,) = self.client.look()
        return message["parameters"], browser.get(link).body

    def test_akkoma(self) -> None:
        """Refresh token and a far expiry are passed on, and so is a wider scope."""
        parameters, _ = self.outcome("akkoma token")
        del parameters["id"]
        self.assertEqual(
            parameters,
            {
                "token": "akkoma-token",
                "host": "mastodon.example",
                "token_type": "Bearer",
                "scope": "read write",
                "created_at": 1767225600,
                "refresh_token": "akkoma-refresh",
                "expires_in": 3153600000,
            },
        )

    def test_pixelfed(self) -> None:
        """What the host leaves out is what was asked for, and now."""
        parameters, _ = self.outcome("pixelfed token")
        self.assertEqual(len(parameters["token"]), 1500)
        self.assertEqual(parameters["scope"], "read write")
        self.assertEqual(parameters["created_at"], START)

    def test_hollo(self) -> None:
        """Milliseconds are read as such."""
        self.assertEqual(self.outcome("hollo token")[0]["created_at"], 1767225600)

    def test_odd(self) -> None:
        """Members of any kind and none are made what the contract promises, or left out."""
        parameters, _ = self.outcome("odd token")
        self.assertEqual(parameters["token_type"], "Bearer")
        self.assertEqual(parameters["scope"], "read write")
        self.assertEqual(parameters["created_at"], 1767225600)
        self.assertNotIn("expires_in", parameters)
        self.assertNotIn("refresh_token", parameters)
        parameters, _ = self.outcome("odder token")
        self.assertEqual(parameters["created_at"], START)
        self.assertNotIn("expires_in", parameters)

    def test_refused(self) -> None:
        """Whatever a host says instead of a token, client and user are told in our words."""
        for switch, error in (
            ("invalid client", "server_error"),
            ("invalid grant", "invalid_grant"),
            ("invalid credentials", "server_error"),
            ("error object", "server_error"),
            ("empty 400", "server_error"),
            ("200 html", "server_error"),
            ("bad json", "server_error"),
            ("deep json", "server_error"),
            ("json list", "server_error"),
            ("no token", "server_error"),
            ("bad token", "server_error"),
            ("307", "server_error"),
            ("500 html", "temporarily_unavailable"),
            ("429 bare", "temporarily_unavailable"),
            ("huge", "temporarily_unavailable"),
            ("reset", "temporarily_unavailable"),
            ("gzip", "temporarily_unavailable"),
        ):
            parameters, page = self.outcome(switch)
            self.assertEqual(parameters["error"], error, switch)
            self.assertTrue(parameters["error_description"].endswith("."))
            self.assertIn("mastodon.example", page)

    def test_sent_once(self) -> None:
        """No answer makes us send a code twice."""
        for number, switch in enumerate(("500 html", "reset", "307", "429 bare"), 1):
            self.outcome(switch)
            self.assertEqual(self.world.host.count("/oauth/token"), number)

    def test_silence(self) -> None:
        """A host that takes the code and never answers: told after 15 seconds, not sent again."""
        self.world.host.behaviour.token = "hang"
        browser = self.world.browser()
        callback = self.world.host.approve(self.world.log_in(self.client, browser))
        shown = browser.start(callback.removeprefix("https://auth.example"))
        self.world.advance(14)
        self.assertIsNone(shown())
        self.world.advance(1)
        self.assertIsNotNone(shown())
        (message,) = self.client.look()
        self.assertEqual(message["parameters"]["error"], "temporarily_unavailable")
        self.assertEqual(self.world.host.count("/oauth/token"), 1)

    def test_works(self) -> None:
        """The token that the client gets is the user's."""
        parameters, _ = self.outcome("normal")
        self.assertEqual(self.world.host.mastodon.verify(parameters["token"]), "alice")


class AuthorizeUrlTests(SynchronousTestCase):
    """Where browsers are sent."""

    def setUp(self) -> None:
        """A daemon."""
        self.world = World(self)

    def location(self) -> str:
        """Where a browser is sent that opens the link."""
        return self.world.log_in(self.world.connect(), self.world.browser())

    def test_query(self) -> None:
        """All that RFC 6749 and RFC 7636 ask for, once each."""
        query = parse_qs(urlsplit(self.location()).query, strict_parsing=True)
        self.assertRegex(query.pop("state")[0], r"\A[A-Za-z0-9_-]{43}\Z")
        self.assertRegex(query.pop("code_challenge")[0], r"\A[A-Za-z0-9_-]{43}\Z")
        self.assertEqual(
            query,
            {
                "response_type": ["code"],
                "client_id": ["client-1"],
                "redirect_uri": ["https://auth.example/callback/mastodon.example"],
                "scope": ["read write"],
                "code_challenge_method": ["S256"],
                "force_login": ["true"],
            },
        )

    def test_independent(self) -> None:
        """No two visits have a state or a challenge in common, and none holds the id."""
        client, browser = self.world.connect(), self.world.browser()
        link = client.auth("mastodon.example")["parameters"]
        queries = [parse_qs(urlsplit(browser.get(link["url"]).location).query) for _ in range(3)]
        for name in ("state", "code_challenge"):
            self.assertEqual(len({query[name][0] for query in queries}), 3)
            self.assertNotIn(link["id"], str(queries))

    def test_no_plus(self) -> None:
        """Spaces are written as %20, which every host reads."""
        self.assertNotIn("+", self.location())
        self.assertIn("read%20write", self.location())

    def test_strange_client_id(self) -> None:
        """A client id with any characters arrives as it is."""
        self.location()
        self.world.query("UPDATE registrations SET client_id = 'a+b/c=&d e'")
        query = parse_qs(urlsplit(self.location()).query)
        self.assertEqual(query["client_id"], ["a+b/c=&d e"])

    def test_endpoint_with_a_query(self) -> None:
        """An endpoint may have a query of its own (RFC 6749 §3.1)."""
        client = self.world.connect()
        link = client.auth("mastodon.example")["parameters"]["url"]
        place = "https://mastodon.example/oauth/authorize?a=b"
        self.world.query(f"UPDATE requests SET authorization_endpoint = '{place}'")  # noqa: S608
        location = self.world.browser().get(link).location
        self.assertTrue(location.startswith(f"{place}&response_type=code&"))


class PrivateHostTests(SynchronousTestCase):
    """A host of ``private_hosts``, over plain HTTP."""

    def test_login(self) -> None:
        """A login works there, and port and scheme are the ones that were named."""
        world = World(self)
        host = world.add_host("localhost:3000", "http")
        client, browser = world.connect(), world.browser()
        callback = host.approve(world.log_in(client, browser, "localhost:3000"))
        self.assertTrue(callback.startswith("https://auth.example/callback/localhost:3000?"))
        browser.get(callback)
        (message,) = client.look()
        self.assertEqual(message["parameters"]["host"], "localhost:3000")
