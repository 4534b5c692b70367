"""The socket: frames in, frames out, with the whole site in memory."""

from __future__ import annotations

import json
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from gma.web import websocket
from tests.support import World


def _auth(**parameters: object) -> dict[str, Any]:
    return {"type": "auth", "parameters": parameters}


class AuthTests(SynchronousTestCase):
    """What a client gets for an ``auth``."""

    def setUp(self) -> None:
        """A daemon and a client."""
        self.world = World(self)
        self.client = self.world.connect()

    def test_set_id(self) -> None:
        """The id stands where old and new clients look, with the link and its time."""
        answer = self.client.auth("mastodon.example")
        request_id = answer["parameters"]["id"]
        self.assertEqual(
            answer,
            {
                "type": "set-id",
                "arguments": {"id": request_id},
                "parameters": {
                    "id": request_id,
                    "url": f"https://auth.example/auth/{request_id}",
                    "expires_in": 600,
                },
            },
        )
        self.assertGreaterEqual(len(request_id), 22)

    def test_hostname_is_host(self) -> None:
        """``hostname`` is the same thing as ``host``."""
        (answer,) = self.client.send(_auth(hostname="mastodon.example"))
        self.assertEqual(answer["type"], "set-id")

    def test_spelling(self) -> None:
        """A handle leads to its host, and the token comes with that host's name."""
        link = self.client.auth(" @Alice@Mastodon.Example. ")["parameters"]["url"]
        browser = self.world.browser()
        browser.get(self.world.host.approve(browser.get(link).location))
        (fulfilled,) = self.client.look()
        self.assertEqual(fulfilled["parameters"]["host"], "mastodon.example")

    def test_invalid_then_valid(self) -> None:
        """After a host that cannot be used the socket takes the next one."""
        self.assertEqual(self.client.auth("nowhere.example")["type"], "invalid-host")
        self.assertEqual(self.client.auth("mastodon.example")["type"], "set-id")

    def test_malformed(self) -> None:
        """What is no host name is told apart from a host that cannot be reached."""
        answer = self.client.auth("127.0.0.1")
        self.assertEqual(answer["type"], "invalid-host")
        self.assertEqual(answer["parameters"]["reason"], "malformed")
        self.assertIn("address", answer["parameters"]["description"])

    def test_empty_host(self) -> None:
        """An empty host is a malformed one."""
        self.assertEqual(self.client.auth("")["parameters"]["reason"], "malformed")

    def test_unreachable(self) -> None:
        """A host that does not resolve is unreachable, in words that tell no more."""
        self.assertEqual(
            self.client.auth("nowhere.example")["parameters"],
            {"reason": "unreachable", "description": "The host cannot be reached."},
        )

    def test_busy(self) -> None:
        """A host that asks us to wait is busy, with the seconds."""
        self.world.host.behaviour.registration = "429 seconds"
        parameters = self.client.auth("mastodon.example")["parameters"]
        self.assertEqual((parameters["reason"], parameters["retry_after"]), ("busy", 120))

    def test_ref_of_answers(self) -> None:
        """Every first answer carries the ``ref`` of its question."""
        asked = [
            {**_auth(host="mastodon.example"), "ref": "a"},
            {**_auth(host="127.0.0.1"), "ref": "a"},
            {**_auth(host="mastodon.example", scopes=["push"]), "ref": "a"},
            {**_auth(host=5), "ref": "a"},
            {**_auth(), "ref": "a"},
        ]
        answers = [self.client.send(message)[0] for message in asked]
        self.assertEqual(
            [answer["type"] for answer in answers],
            ["set-id", "invalid-host", "error", "error", "error"],
        )
        self.assertEqual([answer["ref"] for answer in answers], ["a"] * 5)

    def test_fulfill_without_ref(self) -> None:
        """Later messages carry no ``ref``: the id tells what they are about."""
        (answer,) = self.client.send({**_auth(host="mastodon.example"), "ref": "a"})
        browser = self.world.browser()
        location = browser.get(answer["parameters"]["url"]).location
        browser.get(self.world.host.approve(location))
        self.assertNotIn("ref", self.client.look()[0])

    def test_answer_within_ten_seconds(self) -> None:
        """A host that never answers is unreachable within ten seconds."""
        for switch in ("metadata", "registration"):
            setattr(self.world.host.behaviour, switch, "hang")
            self.client.send(_auth(host="mastodon.example"))
            self.assertEqual(self.client.look(), [])
            self.world.advance(9.5)
            (answer,) = self.client.look()
            self.assertEqual(answer["parameters"]["reason"], "unreachable")
            self.world.advance(20)
            setattr(self.world.host.behaviour, switch, "normal")

    def test_several_requests(self) -> None:
        """A socket holds several requests; each outcome names its own."""
        browser = self.world.browser()
        links = [self.client.auth("mastodon.example")["parameters"] for _ in range(3)]
        for account, link in zip("cab", reversed(links), strict=True):
            location = browser.get(link["url"]).location
            browser.get(self.world.host.approve(location, account))
        outcomes = [message["parameters"] for message in self.client.look()]
        self.assertEqual(
            [(it["id"], it["token"].split("-")[1]) for it in outcomes],
            [(link["id"], it) for it, link in zip("cab", reversed(links), strict=True)],
        )

    def test_own_outcome_only(self) -> None:
        """A client hears of its own requests and of nobody else's."""
        other = self.world.connect()
        other.auth("mastodon.example")
        browser = self.world.browser()
        location = self.world.log_in(self.client, browser)
        browser.get(self.world.host.approve(location))
        self.assertEqual([it["type"] for it in self.client.look()], ["fulfill"])
        self.assertEqual(other.look(), [])

    def test_second_login(self) -> None:
        """After a login the socket stays open for the next."""
        for _ in range(2):
            browser = self.world.browser()
            location = self.world.log_in(self.client, browser)
            browser.get(self.world.host.approve(location))
            self.assertEqual([it["type"] for it in self.client.look()], ["fulfill"])

    def test_unexpected_failure(self) -> None:
        """A failure of ours is logged once and told as a server error without its text."""
        self.world.query("DROP TABLE visits")
        self.world.query("ALTER TABLE requests RENAME TO gone")
        answer = self.client.auth("mastodon.example")
        self.assertEqual(answer["parameters"]["error"], "server_error")
        self.assertNotIn("gone", json.dumps(answer))
        self.assertEqual(len(self.flushLoggedErrors()), 1)

    def test_frame_fails(self) -> None:
        """A frame that we fail at closes with 1011, without the failure's text."""

        def decode(payload: bytes) -> None:
            raise ZeroDivisionError("of ours")

        self.patch(websocket, "decode", decode)
        self.assertEqual(self.client.send("{}"), [])
        self.assertEqual(self.client.protocol.close_code, 1011)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_answer_fails(self) -> None:
        """An answer that cannot be sent is logged and harms no other."""

        def encode(message: object) -> None:
            raise ZeroDivisionError

        self.patch(websocket, "encode", encode)
        self.assertEqual(self.client.send(_auth(host="mastodon.example")), [])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_gone_before_the_answer(self) -> None:
        """A client that leaves before its answer leaves nothing behind."""
        self.world.host.behaviour.registration_seconds = 5
        self.client.send(_auth(host="mastodon.example"))
        self.client.leave()
        self.world.advance(6)
        self.assertEqual(self.world.query("SELECT count(*) FROM requests"), [(0,)])
        self.assertEqual(self.world.query("SELECT count(*) FROM registrations"), [(1,)])


class ParameterTests(SynchronousTestCase):
    """What an ``auth`` can ask for besides its host."""

    def setUp(self) -> None:
        """A daemon and a client."""
        self.world = World(self)
        self.client = self.world.connect()

    def _query(self, **parameters: object) -> str:
        answer = self.client.auth("mastodon.example", **parameters)
        return self.world.browser().get(answer["parameters"]["url"]).location

    def test_defaults(self) -> None:
        """All configured scopes are asked for, and the consent page is always shown."""
        query = self._query()
        self.assertIn("scope=read%20write&", query)
        self.assertIn("force_login=true", query)
        self.assertNotIn("lang=", query)

    def test_narrower(self) -> None:
        """Scopes narrow the authorize request; the registration keeps the configured ones."""
        self.assertIn("scope=write%3Astatuses&", self._query(scopes=["write:statuses"]))
        (form,) = self.world.host.forms("/api/v1/apps")
        self.assertEqual(form["scopes"], "read write")

    def test_scopes_do_not_register_anew(self) -> None:
        """However scopes vary, there is one registration."""
        for scopes in (["read"], ["write"], ["read:accounts", "write:media"], None):
            self._query(scopes=scopes)
        self.assertEqual(self.world.host.count("/api/v1/apps"), 1)

    def test_wider(self) -> None:
        """Scopes that are not configured are refused, and so are none at all."""
        for scopes in (["push"], ["read", "admin:read"], ["readable"], []):
            answer = self.client.auth("mastodon.example", scopes=scopes)
            self.assertEqual(answer["parameters"]["error"], "invalid_scope", scopes)

    def test_several_in_one(self) -> None:
        """What is no scope is refused: several with spaces between would pass for one."""
        for scope in ("read: write admin:write", "read:\twrite", "read:\nwrite", "", 'read:"x"'):
            answer = self.client.auth("mastodon.example", scopes=[scope])
            self.assertEqual(answer["parameters"]["error"], "invalid_request", scope)
        answer = self.client.auth("mastodon.example", scopes=["read"] * 101)
        self.assertEqual(answer["parameters"]["error"], "invalid_request")

    def test_no_force_login(self) -> None:
        """A client may leave it to the host whether to ask again."""
        self.assertNotIn("force_login", self._query(force_login=False))

    def test_lang(self) -> None:
        """The language goes to the host."""
        self.assertIn("lang=pt-BR", self._query(lang="pt-BR"))


class BadInputTests(SynchronousTestCase):
    """What is no message."""

    def setUp(self) -> None:
        """A daemon and a client."""
        self.world = World(self)
        self.client = self.world.connect()

    def test_told(self) -> None:
        """Each kind of bad input is named, and the socket stays open."""
        for text, named in (
            ("{", "JSON"),
            ("[]", "object"),
            ('"auth"', "object"),
            ("{}", "type"),
            ('{"type": "aut", "parameters": {}}', "type"),
            ('{"type": "auth"}', "parameters"),
            ('{"type": "auth", "parameters": {}}', "parameters.host"),
            ('{"type": "auth", "parameters": {"host": 1}}', "parameters.host"),
        ):
            (answer,) = self.client.send(text)
            self.assertEqual(answer["type"], "error", text)
            self.assertEqual(answer["parameters"]["error"], "invalid_request", text)
            self.assertIn(named, answer["parameters"]["error_description"])
        self.assertIsNone(self.client.protocol.close_code)

    def test_ten_in_a_row(self) -> None:
        """The tenth bad message in a row is answered and closes the socket with 1008."""
        for _ in range(9):
            self.client.send("{")
        self.assertIsNone(self.client.protocol.close_code)
        self.assertEqual(len(self.client.send("{")), 1)
        self.assertEqual(self.client.protocol.close_code, 1008)

    def test_not_in_a_row(self) -> None:
        """A well-formed message starts the count anew, whatever becomes of it."""
        for _ in range(3):
            for _ in range(9):
                self.client.send("{")
            self.client.auth("127.0.0.1")
        self.assertIsNone(self.client.protocol.close_code)

    def test_binary(self) -> None:
        """A binary frame closes with 1003, and nothing after it is heard."""
        self.client.send_raw(b"{}", binary=True)
        self.assertEqual(self.client.protocol.close_code, 1003)
        self.assertEqual(self.client.look(), [])

    def test_deaf_after_goodbye(self) -> None:
        """Frames that were on their way when the socket was closed start nothing."""
        message = json.dumps(_auth(host="mastodon.example")).encode()
        self.client.protocol.sendMessage(b"{}", isBinary=True)
        self.client.protocol.sendMessage(message)
        self.world.flush()
        self.assertEqual(self.world.host.journal, [])

    def test_invalid_utf8(self) -> None:
        """Invalid UTF-8 closes with 1007."""
        self.client.send_raw(b'{"type": "\xff"}')
        self.assertEqual(self.client.protocol.close_code, 1007)

    def test_too_large(self) -> None:
        """A message over 8 KiB closes with 1009."""
        self.client.send_raw(b" " * 8193)
        self.assertEqual(self.client.protocol.close_code, 1009)

    def test_too_large_announced(self) -> None:
        """A frame that announces a gigabyte closes with 1009 before any of it has come."""
        self.client.protocol.sendData(b"\x81\xff" + (1 << 30).to_bytes(8, "big") + b"mask")
        self.world.flush()
        self.assertEqual(self.client.protocol.close_code, 1009)

    def test_too_large_in_pieces(self) -> None:
        """A message over 8 KiB in many small frames closes with 1009, too."""
        protocol = self.client.protocol
        protocol.beginMessage()
        for _ in range(5):
            protocol.sendMessageFrame(b" " * 2000)
        self.world.flush()
        self.assertEqual(protocol.close_code, 1009)

    def test_just_not_too_large(self) -> None:
        """A message of 8 KiB is read."""
        text = json.dumps(_auth(host="mastodon.example", padding=""))
        (answer,) = self.client.send(text.replace('""', f'"{"x" * (8192 - len(text))}"'))
        self.assertEqual(answer["type"], "set-id")


class HandshakeTests(SynchronousTestCase):
    """Who gets a socket at all."""

    def setUp(self) -> None:
        """A daemon."""
        self.world = World(self, allowed_origins=("tauri://localhost",))

    def _handshake(self, **changes: str | None) -> tuple[int, dict[str, str]]:
        headers: dict[str, str | None] = {
            "Upgrade": "websocket",
            "Connection": "keep-alive, Upgrade",
            "Sec_WebSocket_Version": "13",
            "Sec_WebSocket_Key": "dGhlIHNhbXBsZSBub25jZQ==",
            **changes,
        }
        given = {name: value for name, value in headers.items() if value is not None}
        raw = self.world.browser().start("/ws?x=1", "GET", b"", **given)
        shown = raw()
        assert shown is not None
        return shown.status, shown.headers

    def test_upgrade(self) -> None:
        """A proper handshake gets the answer of RFC 6455 §1.3, without name or version."""
        status, headers = self._handshake()
        self.assertEqual(status, 101)
        self.assertEqual(headers["sec-websocket-accept"], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
        self.assertNotIn("server", headers)

    def test_origins(self) -> None:
        """Pages of our own, the website's and the allowed origins are let in, no others."""
        for origin, status in (
            ("https://auth.example", 101),
            ("https://app.example", 101),
            ("tauri://localhost", 101),
            ("https://app.example:8443", 403),
            ("http://app.example", 403),
            ("https://app.example.evil.example", 403),
            ("https://evil.example", 403),
            ("null", 403),
            ("", 403),
        ):
            self.assertEqual(self._handshake(Origin=origin)[0], status, origin)

    def test_no_compression_or_subprotocol(self) -> None:
        """What is offered besides the plain protocol is left alone, however odd."""
        status, headers = self._handshake(
            Sec_WebSocket_Extensions="permessage-deflate; client_max_window_bits=99",
            Sec_WebSocket_Protocol="a, a",
        )
        self.assertEqual(status, 101)
        self.assertNotIn("sec-websocket-extensions", headers)
        self.assertNotIn("sec-websocket-protocol", headers)

    def test_no_upgrade(self) -> None:
        """Without an upgrade, or with an old version of it, the answer is 426 and says so."""
        for changes in (
            {"Upgrade": None},
            {"Connection": None},
            {"Sec_WebSocket_Version": "8"},
            {"Sec_WebSocket_Version": None},
        ):
            status, headers = self._handshake(**changes)
            self.assertEqual(status, 426)
            self.assertEqual(headers["upgrade"], "websocket")
            self.assertEqual(headers["sec-websocket-version"], "13")

    def test_host(self) -> None:
        """The Host header is not looked at, whatever it holds."""
        for host in ("evil.example", "a:b", "a:99999", "[::1]:x", ""):
            self.assertEqual(self._handshake(Host=host)[0], 101, host)

    def test_any_origin(self) -> None:
        """Where any origin is allowed, every one is, in whatever form, but for none at all."""
        self.world.restart(allowed_origins=("*",))
        for origin, status in (
            ("https://any.example:1", 101),
            ("app-x://some/where", 101),
            ("https://a b", 101),
            ("strange", 101),
            ("null", 403),
        ):
            self.assertEqual(self._handshake(Origin=origin)[0], status, origin)

    def test_bad_key(self) -> None:
        """A handshake without a proper key is a bad request."""
        for key in (None, "x", "dGhlIHNhbXBsZSBub25jZQ", "dGhlIHNhbXBsZQ==", "é" * 24):
            self.assertEqual(self._handshake(Sec_WebSocket_Key=key)[0], 400)

    def test_below_the_socket(self) -> None:
        """There is nothing below the socket's address."""
        self.assertEqual(self.world.browser().get("/ws/x").status, 404)

    def test_post(self) -> None:
        """Nothing can be posted to the socket's address."""
        self.assertEqual(self.world.browser().get("/ws", "POST").status, 405)


class LifeTests(SynchronousTestCase):
    """How sockets are kept and how they end."""

    def setUp(self) -> None:
        """A daemon and a client."""
        self.world = World(self)
        self.client = self.world.connect()

    def test_ping(self) -> None:
        """A quiet socket is pinged within 30 seconds, and stays while the client answers."""
        pings: list[float] = []
        answer = self.client.protocol.onPing

        def on_ping(payload: bytes) -> None:
            pings.append(self.world.reactor.seconds())
            answer(payload)

        self.patch(self.client.protocol, "onPing", on_ping)
        for _ in range(20):
            self.world.advance(10)
        self.assertIsNone(self.client.protocol.close_code)
        self.assertGreaterEqual(len(pings), 6)

    def test_talks_and_never_reads(self) -> None:
        """A client that sends and never reads is dropped like one that is silent."""
        self.patch(self.client.protocol, "sendPong", lambda payload=None: None)
        talked = 0
        while self.client.protocol.close_code is None and talked < 10:
            self.client.send(_auth(host="127.0.0.1"))
            self.world.advance(10)
            talked += 1
        self.assertLess(talked, 7)

    def test_closing(self) -> None:
        """What cannot be told to a client that is on its way out harms nobody else."""
        other = self.world.connect()
        browser = self.world.browser()
        location = self.world.log_in(self.client, browser)
        self.world.advance(599)
        other.auth("mastodon.example")
        self.client.auth("mastodon.example")
        self.patch(self.client.protocol, "onCloseFrame", lambda code, reason: None)
        self.client.send_raw(b" " * 9000)
        link = browser.get(self.world.host.approve(location)).location
        self.assertIn("no longer connected", browser.get(link).body)
        self.world.advance(0.5)
        self.client.send_raw(b" " * 9000)
        for _ in range(60):
            self.world.advance(10)
        self.assertEqual([it["parameters"]["error"] for it in other.look()], ["expired_token"])

    def test_expiry_while_closing(self) -> None:
        """The clock goes on for others when one cannot be told that the time is up."""
        self.world.stop()
        self.world = World(self, request_ttl=10)
        self.client, other = self.world.connect(), self.world.connect()
        self.client.auth("mastodon.example")
        self.world.advance(1)
        other.auth("mastodon.example")
        self.world.advance(8.8)
        self.patch(self.client.protocol, "onCloseFrame", lambda code, reason: None)
        self.client.send_raw(b" " * 9000)
        self.world.advance(0.5)
        self.world.advance(1)
        self.assertEqual([it["parameters"]["error"] for it in other.look()], ["expired_token"])

    def test_no_pong(self) -> None:
        """A client that answers no ping is gone within 50 seconds."""
        self.patch(self.client.protocol, "sendPong", lambda payload=None: None)
        for _ in range(5):
            self.world.advance(10)
        self.assertIsNotNone(self.client.protocol.close_code)

    def test_restart(self) -> None:
        """At the end each client is asked to come back: 1012."""
        self.world.stop()
        self.assertEqual(self.client.protocol.close_code, 1012)

    def test_nothing_left(self) -> None:
        """After the end there is no timer left."""
        self.client.auth("mastodon.example")
        self.world.stop()
        self.assertEqual(self.world.reactor.getDelayedCalls(), [])

    def test_stop_with_a_silent_client(self) -> None:
        """A client that never answers the goodbye does not hold up the end."""
        self.patch(self.client.protocol, "onCloseFrame", lambda code, reason: None)
        stopping = self.world.core.stopService()
        self.world.advance(1)
        self.world.advance(1.5)
        self.successResultOf(stopping)

    def test_stop_in_the_middle(self) -> None:
        """An ``auth`` that is under way does not hold up the end."""
        self.world.host.behaviour.registration = "hang"
        self.client.send(_auth(host="mastodon.example"))
        self.world.stop()
        self.assertEqual(self.world.reactor.getDelayedCalls(), [])
