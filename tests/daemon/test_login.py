"""Logins from end to end: an app, a person's browser, the daemon and a host, all for real."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any
from urllib.parse import urlsplit

from websockets.asyncio.client import connect

from gma.web.pages import texts
from tests.daemon.browser import Shown
from tests.daemon.processes import SECONDS, Daemon
from tests.daemon.world import WorldTestCase

_EXCHANGE = "/oauth/token"
_REGISTRATION = "/api/v1/apps"
_MANY = 200


class _LoginTestCase(WorldTestCase):
    """A daemon that serves, an app on its socket and a browser."""

    def setUp(self) -> None:
        """Start them."""
        super().setUp()
        self.daemon = self.start_daemon()
        self.client = self.connect(self.daemon)
        self.person = self.browser(self.daemon)

    def begin(self) -> dict[str, Any]:
        """What a new request's ``set-id`` carries."""
        return self.client.begin(self.host.authority)

    def check_done(self, page: Shown) -> None:
        """See that the page is that of a login which is complete."""
        done = texts.done("Test app", self.host.authority)
        self.assertEqual((page.status, page.heading), (200, done.title))

    def check_undelivered(self, page: Shown) -> None:
        """See that the page says that the app was gone."""
        undelivered = texts.undelivered("Test app", self.host.authority)
        self.assertEqual((page.status, page.heading), (200, undelivered.title))

    def check_exchanges(self, number: int) -> None:
        """See that the host was asked for so many tokens, by so many different codes."""
        codes = [form["code"] for form in self.host.asked(_EXCHANGE)]
        self.assertEqual((len(codes), len(set(codes))), (number, number))


class LoginTests(_LoginTestCase):
    """Logins that nothing disturbs."""

    def test_login(self) -> None:
        """A person opens the link, signs in and consents, and the app has the token."""
        begun = self.begin()
        self.assertEqual(begun["url"], f"{self.daemon.origin}/auth/{begun['id']}")
        page = self.person.log_in(begun["url"])
        self.check_done(page)
        self.assertEqual(page.url, begun["url"])
        fulfilled = self.client.receive_fulfilled()
        self.assertEqual(fulfilled["id"], begun["id"])
        self.assertEqual(fulfilled["host"], self.host.authority)
        self.assertEqual(fulfilled["scope"], "read write")
        self.assertRegex(fulfilled["token"], r"\Atoken-alice-\d+\Z")

    def test_pages_of_a_login(self) -> None:
        """The link and the callback lead on with 303, and no address keeps the code."""
        link = self.begin()["url"]
        departure = self.person.open(link)
        self.assertEqual(departure.status, 303)
        authorize = f"https://{self.host.authority}/oauth/authorize?"
        self.assertTrue(departure.location.startswith(authorize), departure.location)
        cookie = departure.headers["Set-Cookie"]
        self.assertIn("HttpOnly", cookie)
        self.assertIn("SameSite=lax", cookie)
        returned = self.person.open(self.person.decide(link))
        self.assertEqual((returned.status, returned.location), (303, link))

    def test_invalid_then_valid(self) -> None:
        """After hosts that cannot be used the same socket takes one that can."""
        for typed, reason in (("", "malformed"), ("no-such-host.invalid", "unreachable")):
            answer = self.client.auth(typed)
            self.assertEqual(answer["type"], "invalid-host")
            self.assertEqual(answer["parameters"]["reason"], reason)
        self.check_done(self.person.log_in(self.begin()["url"]))
        self.client.receive_fulfilled()

    def test_decline(self) -> None:
        """A person who says no is told so, and the app hears of it within a second."""
        begun = self.begin()
        callback = self.person.decide(begun["url"], "deny")
        since = time.monotonic()
        page = self.person.go(callback)
        error = self.client.receive()
        self.assertLess(time.monotonic() - since, 1)
        declined = texts.declined("Test app", self.host.authority)
        self.assertEqual((page.status, page.heading), (200, declined.title))
        self.assertEqual(error["type"], "error")
        self.assertEqual(error["parameters"]["error"], "access_denied")
        self.assertEqual(error["parameters"]["id"], begun["id"])
        self.check_exchanges(0)

    def test_second_login(self) -> None:
        """The same person logs in once more on the same socket, with a consent of its own."""
        for _ in range(2):
            begun = self.begin()
            self.check_done(self.person.log_in(begun["url"]))
            self.assertEqual(self.client.receive_fulfilled()["id"], begun["id"])
        self.check_exchanges(2)
        self.assertEqual(len(self.host.asked(_REGISTRATION)), 1)

    def test_any_order(self) -> None:
        """Requests on one socket end in the order in which their people come back."""
        begun = [self.begin() for _ in range(3)]
        for index, name in ((2, "carol"), (0, "alice"), (1, "bob")):
            self.check_done(self.browser(self.daemon).log_in(begun[index]["url"], name))
            fulfilled = self.client.receive_fulfilled()
            self.assertEqual(fulfilled["id"], begun[index]["id"])
            self.assertRegex(fulfilled["token"], rf"\Atoken-{name}-")

    def test_several_sockets(self) -> None:
        """Each app hears of its own request and of no other's."""
        clients = [self.connect(self.daemon) for _ in range(3)]
        begun = [client.begin(self.host.authority) for client in clients]
        for client, request in reversed(list(zip(clients, begun, strict=True))):
            self.browser(self.daemon).log_in(request["url"])
            self.assertEqual(client.receive_fulfilled()["id"], request["id"])
        for client in clients:
            client.check_silence()

    def test_narrowed(self) -> None:
        """An app may ask for less than is configured, and the token grants no more."""
        begun = self.client.begin(self.host.authority, scopes=["read"])
        self.check_done(self.person.log_in(begun["url"]))
        self.assertEqual(self.client.receive_fulfilled()["scope"], "read")


class CallbackTests(_LoginTestCase):
    """Callbacks that come twice, or from elsewhere."""

    def test_replayed(self) -> None:
        """A callback that is opened again shows the same page and exchanges nothing."""
        callback = self.person.decide(self.begin()["url"])
        first = self.person.go(callback)
        second = self.person.go(callback)
        self.check_done(first)
        self.assertEqual(second.body, first.body)
        self.check_exchanges(1)
        self.client.receive_fulfilled()
        self.client.check_silence()

    def test_at_once(self) -> None:
        """Two callbacks at the same instant make one exchange, and end on the same page."""
        callback = self.person.decide(self.begin()["url"])
        self.host.switch(token_seconds=0.3)
        barrier = Barrier(2)

        def come_back() -> Shown:
            barrier.wait(SECONDS)
            return self.person.go(callback)

        with ThreadPoolExecutor() as threads:
            coming = [threads.submit(come_back) for _ in range(2)]
            first, second = (each.result() for each in coming)
        self.check_done(first)
        self.assertEqual(second.body, first.body)
        self.check_exchanges(1)
        self.client.receive_fulfilled()
        self.client.check_silence()

    def test_other_browser(self) -> None:
        """Another browser's callback is not known, sends the code nowhere and spoils nothing."""
        callback = self.person.decide(self.begin()["url"])
        stranger = self.browser(self.daemon)
        page = stranger.go(callback)
        self.assertEqual((page.status, page.heading), (404, texts.unknown().title))
        self.check_exchanges(0)
        self.check_done(self.person.go(callback))
        self.client.receive_fulfilled()

    def test_browsers_of_one_link(self) -> None:
        """Of two browsers that opened the same link, neither can come back with the other's state.

        The first that comes back has the login, and the other has nothing more to do with it.
        """
        link = self.begin()["url"]
        stranger = self.browser(self.daemon)
        callbacks = self.person.decide(link), stranger.decide(link, name="mallory")
        self.assertEqual(stranger.go(callbacks[0]).status, 404)
        self.assertEqual(self.person.go(callbacks[1]).status, 404)
        self.check_exchanges(0)
        self.check_done(self.person.go(callbacks[0]))
        self.assertEqual(stranger.go(callbacks[1]).status, 404)
        self.assertEqual(stranger.go(link).status, 404)
        self.check_exchanges(1)
        self.assertRegex(self.client.receive_fulfilled()["token"], r"\Atoken-alice-")

    def test_outcome_for_its_browser(self) -> None:
        """What became of a login is shown to the browser that made it, and to no other."""
        link = self.begin()["url"]
        self.person.log_in(link)
        self.check_done(self.person.go(link))
        self.assertEqual(self.browser(self.daemon).go(link).status, 404)

    def test_two_tabs(self) -> None:
        """A link that is opened in two tabs can be finished in either."""
        link = self.begin()["url"]
        first = self.person.decide(link)
        self.person.decide(link)
        self.check_done(self.person.go(first))
        self.client.receive_fulfilled()


class ExpiryTests(WorldTestCase):
    """Requests whose time is up."""

    def test_expired(self) -> None:
        """The app is told which request has expired, and the link says so, too."""
        daemon = self.start_daemon(request_ttl=1)
        client, person = self.connect(daemon), self.browser(daemon)
        begun = client.begin(self.host.authority)
        self.assertEqual(begun["expires_in"], 1)
        error = client.receive()
        self.assertEqual(error["type"], "error")
        self.assertEqual(error["parameters"]["error"], "expired_token")
        self.assertEqual(error["parameters"]["id"], begun["id"])
        page = person.go(begun["url"])
        self.assertEqual((page.status, page.heading), (410, texts.expired().title))

    def test_late(self) -> None:
        """A person who comes back from the host too late is told so, and nothing is exchanged."""
        daemon = self.start_daemon(request_ttl=3)
        client, person = self.connect(daemon), self.browser(daemon)
        callback = person.decide(client.begin(self.host.authority)["url"])
        self.assertEqual(client.receive()["parameters"]["error"], "expired_token")
        page = person.go(callback)
        self.assertEqual((page.status, page.heading), (410, texts.expired().title))
        self.assertEqual(self.host.asked("/oauth/token"), [])


class RestartTests(_LoginTestCase):
    """Logins that the daemon's end gets in the way of."""

    def test_between_logins(self) -> None:
        """After a restart the registration of before is used again."""
        self.person.log_in(self.begin()["url"])
        self.client.receive_fulfilled()
        self.daemon.restart()
        self.client = self.connect(self.daemon)
        self.check_done(self.person.log_in(self.begin()["url"]))
        self.client.receive_fulfilled()
        self.assertEqual(len(self.host.asked(_REGISTRATION)), 1)

    def test_before_callback(self) -> None:
        """A person who was at the host during a restart can finish, and learns the app is gone."""
        callback = self.person.decide(self.begin()["url"])
        self.daemon.restart()
        self.assertEqual(self.client.receive_close(), 1012)
        self.check_undelivered(self.person.go(callback))
        self.check_exchanges(1)

    def test_killed_before_callback(self) -> None:
        """A daemon that was killed outright has forgotten nothing of what it had promised."""
        callback = self.person.decide(self.begin()["url"])
        self.daemon.restart(signal.SIGKILL)
        self.assertIsNone(self.client.receive_close())
        self.check_undelivered(self.person.go(callback))
        self.check_exchanges(1)

    def test_killed_before_visit(self) -> None:
        """A link is good as soon as the app has it, even if the daemon is killed right then."""
        link = self.begin()["url"]
        self.daemon.restart(signal.SIGKILL)
        self.check_undelivered(self.person.log_in(link))
        self.check_exchanges(1)

    def test_killed_while_exchanging(self) -> None:
        """Where an exchange was cut off, the person is sent to the host once more and is done."""
        self.check_cut_off(signal.SIGKILL)

    def test_ended_while_exchanging(self) -> None:
        """An exchange that an ordinary end cut off is begun anew as well."""
        self.check_cut_off(signal.SIGTERM)
        self.assertNotIn("Traceback", self.daemon.log())

    def check_cut_off(self, by: signal.Signals) -> None:
        """End the daemon within an exchange, and finish the login after its restart."""
        callback = self.person.decide(self.begin()["url"])
        self.host.switch(token_seconds=SECONDS)
        with ThreadPoolExecutor() as threads:
            cut_off = threads.submit(self.person.go, callback)
            self.host.wait_until_asked(_EXCHANGE)
            self.daemon.restart(by)
            self.assertIsInstance(cut_off.exception(), AssertionError)
        self.host.switch()
        again = self.person.open(callback)
        self.assertEqual((again.status, urlsplit(again.location).path), (303, "/oauth/authorize"))
        consent = self.person.go(again.location)
        self.check_undelivered(
            self.person.go(self.person.submit(consent, decision="allow").location)
        )
        self.check_exchanges(2)


class CrowdTests(WorldTestCase):
    """Many at once."""

    def test_one_registration(self) -> None:
        """Two hundred apps that name a new host at once get an id each, by one registration."""
        daemon = self.start_daemon()
        self.host.switch(registration_seconds=1)
        answers = asyncio.run(_ask_at_once(daemon, self.host.authority))
        self.assertEqual({answer["type"] for answer in answers}, {"set-id"}, daemon.log())
        self.assertEqual(len({answer["parameters"]["id"] for answer in answers}), _MANY)
        self.assertEqual(len(self.host.asked(_REGISTRATION)), 1)


async def _ask_at_once(daemon: Daemon, host: str) -> list[dict[str, Any]]:
    """What each of many apps is answered, which connect one by one and ask together."""
    url = f"ws{daemon.origin.removeprefix('http')}/ws"
    message = json.dumps({"type": "auth", "parameters": {"host": host}})
    sockets = [
        await connect(url, sock=socket.create_connection(("127.0.0.1", daemon.port)))
        for _ in range(_MANY)
    ]
    try:
        async with asyncio.timeout(SECONDS):
            await asyncio.gather(*(each.send(message) for each in sockets))
            answers = await asyncio.gather(*(each.recv() for each in sockets))
    except TimeoutError:
        raise AssertionError(f"not all were answered\n{daemon.log()}") from None
    finally:
        await asyncio.gather(*(each.close() for each in sockets))
    return [json.loads(answer) for answer in answers]
