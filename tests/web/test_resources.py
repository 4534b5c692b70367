"""The pages: what browsers are answered, with the whole site in memory."""

from __future__ import annotations

from typing import Any, cast

from twisted.logger import ILogObserver, LogEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from tests.support import Browser, Client, Shown, World


class PageTestCase(SynchronousTestCase):
    """A daemon with a client and a browser, in the middle of a login."""

    def setUp(self) -> None:
        """Begin a request."""
        self.world = World(self)
        self.client = self.world.connect()
        self.browser = self.world.browser()
        self.request_id = self.begin(self.client)

    def begin(self, client: Client) -> str:
        """A request of this client: its id. What came in before is not looked at any more."""
        client.look()
        return cast(str, client.auth("mastodon.example")["parameters"]["id"])

    def leave_for_host(self, browser: Browser | None = None) -> str:
        """Open the link: where the browser is sent."""
        return (browser or self.browser).get(f"/auth/{self.request_id}").location

    def approved(self) -> str:
        """Open the link and authorize: where the host sends the browser back to."""
        return self.world.host.approve(self.leave_for_host())

    def outcome(self, callback: str) -> Shown:
        """Follow the host's redirect to the outcome page."""
        shown = self.browser.get(callback)
        self.assertEqual(shown.status, 303)
        self.assertEqual(shown.location, f"https://auth.example/auth/{self.request_id}")
        return self.browser.get(shown.location)

    def heard(self) -> dict[str, Any]:
        """The one message that the client has got since the last look."""
        (message,) = self.client.look()
        return message

    def assert_page(self, shown: Shown, status: int, words: str) -> None:
        """It is this page, complete and with the headers of every page."""
        self.assertEqual(shown.status, status)
        self.assertIn(words, shown.body)
        self.assertTrue(shown.body.startswith("<!DOCTYPE html>"))
        self.assert_headers(shown)

    def assert_headers(self, shown: Shown) -> None:
        """The headers that every answer has."""
        self.assertEqual(shown.headers["cache-control"], "no-store")
        self.assertEqual(shown.headers["referrer-policy"], "no-referrer")
        self.assertEqual(shown.headers["x-content-type-options"], "nosniff")
        policy = shown.headers["content-security-policy"]
        self.assertRegex(
            policy,
            r"\Adefault-src 'none'; style-src 'sha256-[A-Za-z0-9+/=]+'; base-uri 'none';"
            r" frame-ancestors 'none'\Z",
        )
        self.assertEqual(shown.headers["server"], "gma")


class LinkTests(PageTestCase):
    """``GET /auth/{id}``."""

    def test_to_the_host(self) -> None:
        """The browser is sent to the host's authorize page, with a cookie for this request."""
        shown = self.browser.get(f"/auth/{self.request_id}")
        self.assertEqual(shown.status, 303)
        self.assertTrue(shown.location.startswith("https://mastodon.example/oauth/authorize?"))
        self.assert_headers(shown)
        name, _, rest = shown.headers["set-cookie"].partition("=")
        self.assertEqual(name, f"__Host-gma-{self.request_id}")
        value, *attributes = rest.split("; ")
        self.assertEqual(len(value), 43)
        self.assertEqual(
            {it.lower() for it in attributes},
            {"path=/", "max-age=1200", "secure", "httponly", "samesite=lax"},
        )

    def test_max_age_is_what_is_left(self) -> None:
        """The cookie lives as long as the request and its last page."""
        self.world.advance(200)
        shown = self.browser.get(f"/auth/{self.request_id}")
        self.assertIn("Max-Age=1000", shown.headers["set-cookie"])

    def test_over_http(self) -> None:
        """Where there is no https the cookie has no prefix that would need it."""
        self.world.restart(app_origin="http://localhost:8080", own_name="localhost")
        client, browser = self.world.connect(), self.world.browser()
        request_id = self.begin(client)
        header = browser.get(f"/auth/{request_id}").headers["set-cookie"]
        self.assertTrue(header.startswith(f"gma-{request_id}="))
        self.assertNotIn("Secure", header)

    def test_head_is_harmless(self) -> None:
        """HEAD begins no visit, however often."""
        for _ in range(20):
            shown = self.browser.get(f"/auth/{self.request_id}", "HEAD")
            self.assertEqual((shown.status, shown.body), (200, ""))
        self.assertEqual(self.world.query("SELECT count(*) FROM visits"), [(0,)])

    def test_unknown(self) -> None:
        """An id that never was gets the page for unknown links."""
        for path in ("/auth/x", "/auth/" + "A" * 24, "/auth/%C3%A9", "/auth/" + "x" * 4000):
            self.assertEqual(self.browser.get(path).status, 404, path)
        self.assert_page(self.browser.get("/auth/x"), 404, "not known")

    def test_foreign_like_unknown(self) -> None:
        """After the login a foreign browser sees exactly what it sees for an unknown id."""
        self.outcome(self.approved())
        foreign = self.world.browser()
        self.assertEqual(
            foreign.get(f"/auth/{self.request_id}").body, foreign.get("/auth/nonsense").body
        )
        self.assertEqual(foreign.get(f"/auth/{self.request_id}", "HEAD").status, 404)

    def test_expired(self) -> None:
        """An expired link is told so for one more lifetime, then it is unknown."""
        self.world.advance(600)
        self.assert_page(self.browser.get(f"/auth/{self.request_id}"), 410, "expired")
        self.assertEqual(self.browser.get(f"/auth/{self.request_id}", "HEAD").status, 410)
        self.world.advance(599)
        self.assertEqual(self.browser.get(f"/auth/{self.request_id}").status, 410)
        self.world.advance(1)
        self.assertEqual(self.browser.get(f"/auth/{self.request_id}").status, 404)

    def test_two_tabs(self) -> None:
        """A browser that opens the link twice can go on in either tab."""
        first, second = self.leave_for_host(), self.leave_for_host()
        self.assertNotEqual(first, second)
        self.assertEqual(self.browser.get(self.world.host.approve(first)).status, 303)
        self.assertEqual(self.heard()["type"], "fulfill")

    def test_other_cookie_is_not_kept(self) -> None:
        """A cookie that is not from here is replaced, never taken up."""
        name = f"__Host-gma-{self.request_id}"
        self.browser.cookies[name] = "planted-by-somebody-else"
        self.leave_for_host()
        self.assertNotEqual(self.browser.cookies[name], "planted-by-somebody-else")

    def test_five_visits(self) -> None:
        """Of more than five browsers under way the first one's visit dies."""
        browsers = [self.world.browser() for _ in range(6)]
        locations = [self.leave_for_host(browser) for browser in browsers]
        first = browsers[0].get(self.world.host.approve(locations[0]))
        self.assertEqual(first.status, 404)
        last = browsers[5].get(self.world.host.approve(locations[5]))
        self.assertEqual(last.status, 303)


class CallbackTests(PageTestCase):
    """``GET /callback/{host}``."""

    def exchanges(self) -> int:
        """How many codes the host was given."""
        return self.world.host.count("/oauth/token")

    def assert_refused(self, callback: str, browser: Browser | None = None) -> None:
        """The callback gets the page for unknown links, and its code goes nowhere."""
        self.assertEqual((browser or self.browser).get(callback).status, 404)
        self.assertEqual(self.exchanges(), 0)
        self.assertEqual(self.client.look(), [])

    def test_done(self) -> None:
        """After the exchange the user is told, at an address without code and state."""
        self.assert_page(self.outcome(self.approved()), 200, "logged in")
        self.assertEqual(self.heard()["type"], "fulfill")

    def test_fulfill(self) -> None:
        """The client gets the token with all that the contract promises."""
        self.outcome(self.approved())
        self.assertEqual(
            self.heard()["parameters"],
            {
                "token": "token-alice-3",
                "id": self.request_id,
                "host": "mastodon.example",
                "token_type": "Bearer",
                "scope": "read write",
                "created_at": 1767225600,
            },
        )

    def test_exchange(self) -> None:
        """The code is exchanged with all that hosts want, credentials in the body alone."""
        self.outcome(self.approved())
        (form,) = self.world.host.forms("/oauth/token")
        self.assertEqual(len(form.pop("code_verifier")), 43)
        self.assertEqual(
            form,
            {
                "grant_type": "authorization_code",
                "code": "code-2",
                "client_id": "client-1",
                "client_secret": "secret-1",
                "redirect_uri": "https://auth.example/callback/mastodon.example",
                "scope": "read write",
            },
        )

    def test_declined(self) -> None:
        """The user says no: the client is told with the id, the user sees it taken."""
        shown = self.outcome(self.world.host.decline(self.leave_for_host()))
        self.assert_page(shown, 200, "declined")
        parameters = self.heard()["parameters"]
        self.assertEqual(
            (parameters["error"], parameters["id"]), ("access_denied", self.request_id)
        )

    def test_replayed(self) -> None:
        """A callback that comes again shows the same outcome and exchanges nothing."""
        callback = self.approved()
        first, second = self.outcome(callback), self.outcome(callback)
        self.assertEqual(first.body, second.body)
        self.assertEqual(self.exchanges(), 1)
        self.assertEqual(len(self.client.look()), 1)

    def test_at_the_same_instant(self) -> None:
        """A second callback waits for the first; there is one exchange, and both see its end."""
        self.world.host.behaviour.token_seconds = 3
        callback = self.approved().removeprefix("https://auth.example")
        first, second = self.browser.start(callback), self.browser.start(callback)
        link = self.browser.start(f"/auth/{self.request_id}")
        self.assertEqual([first(), second(), link()], [None, None, None])
        self.world.advance(3)
        for answer in (first(), second()):
            assert answer is not None
            self.assertEqual(answer.status, 303)
        outcome = link()
        assert outcome is not None
        self.assert_page(outcome, 200, "logged in")
        self.assertEqual(self.exchanges(), 1)

    def test_browser_leaves_while_exchanging(self) -> None:
        """A browser that goes away does not stop the exchange."""
        self.world.host.behaviour.token_seconds = 3
        leave = self.browser.start(self.approved().removeprefix("https://auth.example"))
        self.assertIsNone(leave())
        self.browser.drop()
        self.world.advance(3)
        self.assertEqual(self.heard()["type"], "fulfill")

    def test_exchange_outlives_expiry(self) -> None:
        """A callback that came in time is not overtaken by the expiry."""
        callback = self.approved()
        self.world.host.behaviour.token_seconds = 5
        self.world.advance(598)
        self.browser.start(callback.removeprefix("https://auth.example"))
        self.world.advance(3)
        self.assertEqual(self.client.look(), [])
        self.world.advance(3)
        self.assertEqual(self.heard()["type"], "fulfill")

    def test_other_browser(self) -> None:
        """The callback in another browser is refused; the right one can still go on."""
        callback = self.approved()
        self.assert_refused(callback, self.world.browser())
        self.assert_page(self.outcome(callback), 200, "logged in")

    def test_other_browser_with_a_visit(self) -> None:
        """A state works with its own browser's cookie alone, not with one of another visit."""
        other = self.world.browser()
        self.leave_for_host(other)
        self.assert_refused(self.approved(), other)

    def test_cookie_of_another_request(self) -> None:
        """The cookie of one request is none for another."""
        callback = self.approved()
        name = f"__Host-gma-{self.request_id}"
        stranger = self.world.browser()
        second = self.begin(self.client)
        stranger.get(f"/auth/{second}")
        stranger.cookies[name] = stranger.cookies.pop(f"__Host-gma-{second}")
        self.assert_refused(callback, stranger)

    def test_other_state(self) -> None:
        """A state that is none of ours is refused, in any shape."""
        self.leave_for_host()
        for state in ("A" * 43, "", "x", "a%20b", "%00", "A" * 44, "%C3%BC" * 20):
            self.assert_refused(f"/callback/mastodon.example?code=x&state={state}")
        self.assert_refused("/callback/mastodon.example?code=x")

    def test_other_host(self) -> None:
        """A callback to another host's redirect URI is refused (mix-up, RFC 9700 §4.4)."""
        callback = self.approved()
        self.assert_refused(
            callback.replace("/callback/mastodon.example", "/callback/evil.example")
        )

    def test_other_issuer(self) -> None:
        """An ``iss`` that is not the stored issuer is refused (RFC 9207)."""
        self.world.host.behaviour.iss = "https://evil.example"
        self.assert_refused(self.approved())

    def test_right_issuer(self) -> None:
        """The stored issuer is taken, with a slash at its end or without."""
        self.world.host.behaviour.iss = "https://mastodon.example/"
        self.assert_page(self.outcome(self.approved()), 200, "logged in")

    def test_twice_a_parameter(self) -> None:
        """A parameter that stands twice makes a bad request, and nothing is exchanged."""
        self.world.host.behaviour.callback = "two states"
        self.assert_page(self.browser.get(self.approved()), 400, "")
        self.assertEqual(self.exchanges(), 0)

    def test_endless_code(self) -> None:
        """A code beyond 8 KiB makes a bad request."""
        state = self.approved().rpartition("state=")[2]
        path = f"/callback/mastodon.example?state={state}&code={'x' * 8193}"
        self.assertEqual(self.browser.get(path).status, 400)
        self.assertEqual(self.exchanges(), 0)

    def test_long_code(self) -> None:
        """A code of two kilobytes is one like any other."""
        self.world.host.behaviour.callback = "long code"
        self.assert_page(self.outcome(self.approved()), 200, "logged in")

    def test_state_once(self) -> None:
        """When one visit has consumed the request, the others are dead."""
        first = self.approved()
        other = self.world.browser()
        second = self.world.host.approve(self.leave_for_host(other))
        self.outcome(first)
        self.assertEqual(other.get(second).status, 404)
        self.assertEqual(self.exchanges(), 1)

    def test_too_late(self) -> None:
        """After the time is up no callback is taken."""
        callback = self.approved()
        self.world.advance(600)
        self.assertEqual(self.browser.get(callback).status, 410)
        self.assertEqual(self.exchanges(), 0)
        self.assertEqual(self.heard()["parameters"]["error"], "expired_token")

    def test_forgotten(self) -> None:
        """A lifetime after the decision even the callback's own browser finds nothing."""
        callback = self.approved()
        self.outcome(callback)
        self.world.advance(599)
        self.assertEqual(self.browser.get(f"/auth/{self.request_id}").status, 200)
        self.world.advance(1)
        self.assertEqual(self.browser.get(callback).status, 404)
        self.assertEqual(self.browser.get(f"/auth/{self.request_id}").status, 404)

    def test_access_token_instead_of_a_code(self) -> None:
        """A token in the address is not taken; the login has failed."""
        self.world.host.behaviour.callback = "access token"
        self.assert_page(self.outcome(self.approved()), 502, "mastodon.example")
        self.assertEqual(self.heard()["parameters"]["error"], "server_error")

    def test_errors(self) -> None:
        """What a host says with an error is told in words of ours."""
        for switch, error in (
            ("invalid scope", "invalid_scope"),
            ("strange error", "server_error"),
        ):
            self.request_id = self.begin(self.client)
            self.world.host.behaviour.callback = switch
            shown = self.outcome(self.approved())
            self.assert_page(shown, 502, "mastodon.example")
            self.assertNotIn("alert", shown.body)
            self.assertEqual(self.heard()["parameters"]["error"], error)

    def test_client_gone(self) -> None:
        """Where the client has left, the user is told the truth."""
        callback = self.approved()
        self.client.leave()
        self.assert_page(self.outcome(callback), 200, "no longer connected")

    def test_head(self) -> None:
        """HEAD consumes nothing."""
        callback = self.approved()
        self.assertEqual(self.browser.get(callback, "HEAD").status, 405)
        self.assert_page(self.outcome(callback), 200, "logged in")

    def test_outcome_not_recorded(self) -> None:
        """Where the outcome cannot be stored the client has its token all the same."""
        callback = self.approved()
        self.world.query(
            "CREATE TRIGGER full BEFORE UPDATE OF state ON requests"
            " WHEN NEW.state = 'fulfilled' BEGIN SELECT RAISE(ABORT, 'disk full'); END"
        )
        shown = self.browser.get(callback)
        self.assert_page(shown, 500, "")
        self.assertNotIn("disk", shown.body)
        self.assertEqual(len(self.flushLoggedErrors()), 1)
        self.assertEqual(self.heard()["type"], "fulfill")
        self.assert_page(self.browser.get(f"/auth/{self.request_id}"), 503, "may have worked")


class ExpiryTests(PageTestCase):
    """What happens when a user does not authorize."""

    def test_told(self) -> None:
        """The client is told when the time is up, with the id."""
        self.world.advance(599)
        self.assertEqual(self.client.look(), [])
        self.world.advance(1)
        parameters = self.heard()["parameters"]
        self.assertEqual(
            (parameters["error"], parameters["id"]), ("expired_token", self.request_id)
        )

    def test_after_leaving(self) -> None:
        """Nobody is told of the request of a client that has left."""
        self.client.leave()
        self.world.advance(600)

    def test_forgotten(self) -> None:
        """Rows of requests and visits go when their last page has gone."""
        self.leave_for_host()
        self.world.advance(1199)
        self.assertEqual(self.world.query("SELECT count(*) FROM visits"), [(1,)])
        self.world.advance(61)
        self.assertEqual(self.world.query("SELECT count(*) FROM visits"), [(0,)])
        self.assertEqual(self.world.query("SELECT count(*) FROM requests"), [(0,)])

    def test_forgetting_survives_failure(self) -> None:
        """A failing disk does not stop the cleaning for good."""
        self.world.query("ALTER TABLE requests RENAME TO gone")
        self.world.advance(61)
        self.assertEqual(len(self.flushLoggedErrors()), 1)
        self.world.query("ALTER TABLE gone RENAME TO requests")
        self.world.advance(1300)
        self.assertEqual(self.world.query("SELECT count(*) FROM requests"), [(0,)])


class RestartTests(PageTestCase):
    """What is left when the daemon has ended and begun anew."""

    def test_registration_is_found(self) -> None:
        """A login after a restart needs no second registration."""
        self.world.restart()
        self.begin(self.world.connect())
        self.assertEqual(self.world.host.count("/api/v1/apps"), 1)

    def test_registration_is_made_anew(self) -> None:
        """Whatever the registration depends on, a change of it makes another."""
        changes: list[dict[str, Any]] = [
            {"app_name": "Other app"},
            {"app_website": "https://other.example"},
            {"scopes": ("read",)},
            {"app_origin": "https://other.example", "own_name": "other.example"},
        ]
        for number, change in enumerate(changes, 2):
            self.world.restart(**change)
            self.begin(self.world.connect())
            self.assertEqual(self.world.host.count("/api/v1/apps"), number)

    def test_between_link_and_callback(self) -> None:
        """A callback works after a restart: the browser alone holds what opens the verifier."""
        callback = self.approved()
        self.world.restart()
        self.assert_page(self.outcome(callback), 200, "no longer connected")
        self.assertEqual(self.world.host.count("/oauth/token"), 1)
        self.assertEqual(len(self.world.host.mastodon.tokens), 1)

    def test_while_exchanging(self) -> None:
        """An interrupted exchange: the browser goes to the host once more, and ends well."""
        callback = self.approved()
        self.world.host.behaviour.token = "hang"
        self.browser.start(callback.removeprefix("https://auth.example"))
        self.world.restart()
        self.world.host.behaviour.token = "normal"
        for again in (f"/auth/{self.request_id}", callback):
            shown = self.browser.get(again)
            self.assertEqual(shown.status, 303)
            self.assertTrue(shown.location.startswith("https://mastodon.example/oauth/authorize"))
        self.assertEqual(self.world.browser().get(f"/auth/{self.request_id}").status, 404)
        second = self.world.host.approve(shown.location)
        self.assert_page(self.outcome(second), 200, "no longer connected")

    def test_endpoints_are_pinned(self) -> None:
        """The endpoints are those stored when the request began, whatever the host says later."""
        callback = self.approved()
        self.world.query("UPDATE requests SET token_endpoint = 'https://other.example/token'")
        self.world.add_host("other.example")
        self.outcome(callback)
        self.assertEqual(self.world.host.count("/oauth/token"), 0)


class OtherPageTests(PageTestCase):
    """The pages beside the login."""

    def test_front(self) -> None:
        """The front page says for which app this is, and where its socket is."""
        shown = self.browser.get("/")
        self.assert_page(shown, 200, "Test app")
        self.assertIn("wss://auth.example/ws", shown.body)
        self.assertIn("https://app.example/about", shown.body)

    def test_health(self) -> None:
        """The health check is JSON, and has the headers as well."""
        shown = self.browser.get("/healthz")
        self.assertEqual((shown.status, shown.body), (200, '{"status":"ok"}'))
        self.assertEqual(shown.headers["content-type"], "application/json")
        self.assert_headers(shown)

    def test_ill_health(self) -> None:
        """Without its database the daemon is not healthy, and says no more than that."""
        self.world.query("ALTER TABLE registrations RENAME TO gone")
        shown = self.browser.get("/healthz")
        self.assertEqual((shown.status, shown.body), (503, '{"status":"unavailable"}'))
        self.assertEqual(len(self.flushLoggedErrors()), 1)

    def test_failure(self) -> None:
        """A failure of ours is a page without its text, logged once."""
        self.world.query("DROP TABLE visits")
        shown = self.browser.get(f"/auth/{self.request_id}")
        self.assert_page(shown, 500, "")
        self.assertNotIn("visits", shown.body)
        self.assertEqual(len(self.flushLoggedErrors()), 1)

    def test_not_found(self) -> None:
        """Every other path is a page."""
        for path in (
            "/x",
            "/favicon.ico",
            "/auth",
            "/auth/",
            "/callback",
            "/callback/",
            f"/auth/{self.request_id}/x",
            "/healthz/x",
            "//",
            "/auth/%ff",
        ):
            self.assert_page(self.browser.get(path), 404, "")

    def test_methods(self) -> None:
        """Only GET and HEAD; the answer to others says so."""
        for method in ("POST", "PUT", "DELETE", "OPTIONS", "BREW"):
            for path in ("/", f"/auth/{self.request_id}", "/healthz", "/callback/x"):
                shown = self.browser.get(path, method)
                self.assert_page(shown, 405, "")
                self.assertEqual(shown.headers["allow"], "GET, HEAD")

    def test_head(self) -> None:
        """HEAD has the headers of GET and no body."""
        got, head = self.browser.get("/"), self.browser.get("/", "HEAD")
        self.assertEqual((head.status, head.body), (200, ""))
        self.assertEqual(head.headers["content-length"], got.headers["content-length"])

    def test_small_body(self) -> None:
        """A small body does no harm."""
        self.assertEqual(self.browser.get("/", "POST", b"a=b", Content_Length="3").status, 405)

    def test_upgrade_in_words(self) -> None:
        """The socket's address, opened in a browser, explains itself."""
        self.assert_page(self.browser.get("/ws"), 426, "WebSocket")

    def test_foreign_origin_in_words(self) -> None:
        """A web page that may not use the socket gets the reason as a page."""
        shown = self.browser.get(
            "/ws",
            Upgrade="websocket",
            Connection="Upgrade",
            Sec_WebSocket_Version="13",
            Sec_WebSocket_Key="dGhlIHNhbXBsZSBub25jZQ==",
            Origin="https://evil.example",
        )
        self.assert_page(shown, 403, "allowed_origins")


class LogTests(PageTestCase):
    """What stands in the log, and what never does."""

    def setUp(self) -> None:
        """Watch the log from the start."""
        self.events: list[LogEvent] = []
        observer = cast(ILogObserver, self.events.append)
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        super().setUp()

    def written(self) -> str:
        """All that any observer could write of it."""
        return "\n".join(repr(event) for event in self.events)

    def lines(self, namespace: str) -> list[str]:
        """The lines of one logger, as text."""
        return [
            event["log_format"].format(**event)
            for event in self.events
            if event.get("log_namespace") == namespace
        ]

    def test_access(self) -> None:
        """The access log has the shapes of paths and leaves the health check out."""
        self.outcome(self.approved())
        for path in ("/", "/healthz", "/nonsense/of/any?kind=1"):
            self.browser.get(path)
        self.assertEqual(
            self.lines("gma.web.resources.GmaSite"),
            [
                "GET /auth/{id} 303",
                "GET /callback/{host} 303",
                "GET /auth/{id} 200",
                "GET / 200",
                "GET (other) 404",
            ],
        )

    def test_one_line_for_each_outcome(self) -> None:
        """Each login ends in one line that says how."""
        self.outcome(self.approved())
        self.request_id = self.begin(self.client)
        self.outcome(self.world.host.decline(self.leave_for_host()))
        self.begin(self.client)
        self.world.advance(600)
        self.request_id = self.begin(self.client)
        callback = self.approved()
        self.client.leave()
        self.outcome(callback)
        lines = [it for it in self.lines("gma.core.broker.Broker") if it.startswith("login")]
        self.assertEqual(
            lines,
            [
                "login at mastodon.example: fulfilled",
                "login at mastodon.example: access_denied",
                "login: expired_token",
                "login at mastodon.example: undelivered",
            ],
        )

    def test_end_blames_nobody(self) -> None:
        """What the end of the daemon breaks off is not told as a host's failure."""
        self.world.add_host("slow.example").behaviour.registration = "hang"
        self.client.send({"type": "auth", "parameters": {"host": "slow.example"}})
        self.world.stop()
        self.assertEqual(self.lines("gma.fediverse.mastodon.Fediverse"), [])
        self.assertEqual(self.lines("gma.core.single_flight.SingleFlight"), [])

    def test_no_address(self) -> None:
        """No address of a client is in the log, however its socket ends."""
        self.client.send_raw(b" " * 9000)
        silent = self.world.connect()
        self.patch(silent.protocol, "sendPong", lambda payload=None: None)
        for _ in range(6):
            self.world.advance(10)
        self.assertIsNotNone(silent.protocol.close_code)
        self.assertNotIn("127.0.0.1", self.written())

    def test_no_secret(self) -> None:
        """Neither a good login nor a failed one leaves a secret in the log."""
        secrets = [self.request_id]
        for switch in ("normal", "invalid grant", "echo"):
            self.world.host.behaviour.token = switch
            self.request_id = self.begin(self.client)
            callback = self.approved()
            self.outcome(callback)
            secrets += [self.request_id, callback.rpartition("state=")[2]]
        for form in self.world.host.forms("/oauth/token"):
            secrets += [form["code"], form["code_verifier"], form["client_secret"]]
        secrets += [*self.world.host.mastodon.tokens, *self.browser.cookies.values()]
        self.assertGreater(len(set(secrets)), 10)
        written = self.written()
        for secret in secrets:
            self.assertNotIn(secret, written)
