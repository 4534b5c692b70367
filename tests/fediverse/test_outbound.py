"""The guarded client against real sockets, and real TLS."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from typing import Any

import trustme
from OpenSSL import SSL
from twisted.internet import reactor as installed
from twisted.internet import ssl
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IListeningPort, IProtocolFactory
from twisted.internet.protocol import Factory, Protocol
from twisted.trial.unittest import TestCase
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request, Site

from gma.core.hostname import Host, HostRules
from gma.fediverse import outbound
from gma.fediverse.agent import PublicAgent
from gma.fediverse.outbound import Answer, AnswerUnusable, Outbound, OutboundFailed

reactor: Any = installed


class _Tree(Resource):
    """Answers by path, and counts."""

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Request] = []
        self.finished: Deferred[None] = Deferred()

    def render(self, request: Request) -> bytes | int:
        """Whatever the path says."""
        self.seen.append(request)
        match request.path:
            case b"/hello":
                return b"hello"
            case b"/cookie":
                request.addCookie("a", "b", path="/")
                return b""
            case b"/drip":
                request.write(b"x")
                request.notifyFinish().addErrback(lambda _: self.finished.callback(None))
                return NOT_DONE_YET
            case b"/away":
                request.redirect(b"http://127.0.0.1/")
                return b""
            case b"/gzip":
                request.setHeader("Content-Encoding", "gzip")
                request.write(b"")
                request.notifyFinish().addErrback(lambda _: self.finished.callback(None))
                return NOT_DONE_YET
            case b"/endless":
                self._pour(request)
                request.notifyFinish().addErrback(lambda _: self.finished.callback(None))
                return NOT_DONE_YET
        request.setResponseCode(307)
        request.setHeader("Location", "/hello")
        return b""

    def _pour(self, request: Request) -> None:
        if not request._disconnected:
            request.write(b"x" * 65536)
            reactor.callLater(0, self._pour, request)


class _Silent(Protocol):
    """Accepts, and says nothing."""


class _EndlessHeaders(Protocol):
    """Answers with headers, and more headers."""

    sent = 0
    lost: Deferred[None]

    def connectionMade(self) -> None:
        self._write(b"HTTP/1.1 200 OK\r\n")

    def _write(self, data: bytes) -> None:
        if self.connected and self.transport is not None:
            self.transport.write(data)
            type(self).sent += len(data)
            reactor.callLater(0, self._write, b"X-n: " + b"a" * 8000 + b"\r\n")

    def connectionLost(self, reason: object = None) -> None:
        self.connected = 0
        self.lost.callback(None)


class OutboundTestCase(TestCase):
    """A server on loopback and an outbound client that may reach it."""

    def setUp(self) -> None:
        """Start a plain server."""
        self.tree = _Tree()
        self.port = self.listen(Site(self.tree))
        self.private = [Host("localhost", self.port, "http")]

    def listen(self, factory: IProtocolFactory, context: Any = None) -> int:
        """Listen on a free port until the test ends."""
        port: IListeningPort
        if context is None:
            port = reactor.listenTCP(0, factory, interface="127.0.0.1")
        else:
            port = reactor.listenSSL(0, factory, context, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        address: Any = port.getHost()
        return int(address.port)

    def client(self) -> Outbound:
        """A client that may reach the private hosts of this test."""
        rules = HostRules.with_private("auth.example", self.private)
        agent = PublicAgent(reactor, rules)
        self.addCleanup(agent.close)
        return Outbound(agent, rules, reactor, "gma/test (+https://app.example)")

    def url(self, path: str) -> str:
        """A path of the plain server."""
        return f"http://localhost:{self.port}{path}"

    def ask(self, asking: Awaitable[Answer]) -> Deferred[Answer]:
        """Start a request."""
        return Deferred.fromCoroutine(asking)  # type: ignore[arg-type]


class RequestTests(OutboundTestCase):
    """What is sent, and what is taken."""

    async def test_get(self) -> None:
        """A private host is reached where it was named."""
        answer = await self.client().get(self.url("/hello"))
        self.assertEqual((answer.status, answer.body), (200, b"hello"))

    async def test_no_cookies(self) -> None:
        """A cookie that was set is never brought back."""
        client = self.client()
        for _ in range(2):
            await client.get(self.url("/cookie"))
        self.assertIsNone(self.tree.seen[-1].getHeader("cookie"))

    async def test_get_follows(self) -> None:
        """GET follows a redirect within the host."""
        self.assertEqual((await self.client().get(self.url("/x"))).body, b"hello")

    async def test_post_does_not_follow(self) -> None:
        """POST follows no redirect, not even one that would keep the method."""
        answer = await self.client().post(self.url("/x"), {"a": "b c"})
        self.assertEqual(answer.status, 307)
        self.assertEqual(len(self.tree.seen), 1)
        self.assertEqual(self.tree.seen[0].args, {b"a": [b"b c"]})

    async def test_redirect_to_an_address(self) -> None:
        """A redirect to a place that is not allowed is not followed."""
        await self.assertFailure(self.ask(self.client().get(self.url("/away"))), AnswerUnusable)

    async def test_connection_is_kept(self) -> None:
        """Requests to one host use one connection."""
        client = self.client()
        for _ in range(3):
            await client.post(self.url("/hello"), {})
        self.assertEqual(len({request.getClientAddress() for request in self.tree.seen}), 1)


class BoundTests(OutboundTestCase):
    """Nothing that a host does is without end."""

    async def test_drip(self) -> None:
        """The deadline covers the body, and the connection is cut."""
        self.patch(outbound, "REQUEST_SECONDS", 0.2)
        await self.assertFailure(self.ask(self.client().get(self.url("/drip"))), OutboundFailed)
        await self.tree.finished

    async def test_endless_body(self) -> None:
        """A body beyond 256 KiB is not read on, and the connection is cut."""
        await self.assertFailure(self.ask(self.client().get(self.url("/endless"))), AnswerUnusable)
        await self.tree.finished

    async def test_endless_headers(self) -> None:
        """Headers without end are not read on, and the connection is cut."""
        _EndlessHeaders.sent = 0
        _EndlessHeaders.lost = Deferred()
        self.port = self.listen(Factory.forProtocol(_EndlessHeaders))
        self.private = [Host("localhost", self.port, "http")]
        await self.assertFailure(self.ask(self.client().get(self.url("/"))), OutboundFailed)
        await _EndlessHeaders.lost
        self.assertLess(_EndlessHeaders.sent, 8 * 1024 * 1024)

    async def test_compressed(self) -> None:
        """A compressed body that was not asked for is not read at all."""
        await self.assertFailure(self.ask(self.client().get(self.url("/gzip"))), AnswerUnusable)
        await self.tree.finished

    async def test_silence(self) -> None:
        """A server that accepts and never answers is given up."""
        self.patch(outbound, "REQUEST_SECONDS", 0.2)
        self.port = self.listen(Factory.forProtocol(_Silent))
        self.private = [Host("localhost", self.port, "http")]
        await self.assertFailure(self.ask(self.client().get(self.url("/"))), OutboundFailed)

    async def test_cancel(self) -> None:
        """Who gives up closes the connection."""
        asking = self.ask(self.client().get(self.url("/drip")))
        await _until(lambda: bool(self.tree.seen))
        asking.cancel()
        await self.assertFailure(asking, CancelledError)
        await self.tree.finished


class PlaceTests(OutboundTestCase):
    """Where requests may go."""

    async def assert_refused(self, url: str) -> None:
        """No request goes there."""
        await self.assertFailure(self.ask(self.client().get(url)), OutboundFailed)
        self.assertEqual(self.tree.seen, [])

    async def test_private_address(self) -> None:
        """A public name that lies on a private address is not connected to."""
        resolving = _Resolving(reactor, "localhost")
        rules = HostRules("auth.example")
        client = Outbound(PublicAgent(resolving, rules), rules, reactor, "gma/test")
        await self.assertFailure(self.ask(client.get("https://rebound.example/")), OutboundFailed)
        self.assertEqual(resolving.asked, ["rebound.example"])
        self.assertEqual(resolving.connected, [])

    async def test_other_port(self) -> None:
        """A private host is open on its port alone."""
        self.private = [Host("localhost", self.port + 1, "http")]
        await self.assert_refused(self.url("/hello"))

    async def test_other_scheme(self) -> None:
        """A private host that was named without http:// is not spoken to in clear."""
        self.private = [Host("localhost", self.port)]
        await self.assert_refused(self.url("/hello"))

    async def test_never(self) -> None:
        """Addresses, users in the URL, other schemes and other ports are refused."""
        for url in (
            f"http://127.0.0.1:{self.port}/hello",
            f"http://[::1]:{self.port}/hello",
            f"http://user@localhost:{self.port}/hello",
            f"http://LOCALHOST.:{self.port}/hello",
            "http://mastodon.example/",
            "https://mastodon.example:444/",
            "ftp://mastodon.example/",
            "https://auth.example/",
            "nonsense",
            "",
        ):
            await self.assert_refused(url)


class TLSTests(OutboundTestCase):
    """Whom we believe to be the host."""

    def setUp(self) -> None:
        """A certificate authority that the platform's trust is made of."""
        super().setUp()
        self.authority = trustme.CA()
        path = self.mktemp()
        self.authority.cert_pem.write_to_path(path)
        previous = os.environ.get("SSL_CERT_FILE")
        os.environ["SSL_CERT_FILE"] = os.path.abspath(path)
        self.addCleanup(self._restore, previous)

    def _restore(self, previous: str | None) -> None:
        if previous is None:
            del os.environ["SSL_CERT_FILE"]
        else:
            os.environ["SSL_CERT_FILE"] = previous

    def serve(self, authority: trustme.CA, name: str, maximum: int | None = None) -> str:
        """A TLS server with a certificate for this name: its address."""
        issued = authority.issue_cert(name)
        pem = issued.private_key_and_cert_chain_pem.bytes()
        context = ssl.PrivateCertificate.loadPEM(pem).options()
        if maximum is not None:
            context.getContext().set_min_proto_version(SSL.TLS1_VERSION)
            context.getContext().set_max_proto_version(maximum)
            context.getContext().set_cipher_list(b"ALL:@SECLEVEL=0")
        port = self.listen(Site(self.tree), context)
        self.private = [Host("localhost", port)]
        return f"https://localhost:{port}/hello"

    async def test_trusted(self) -> None:
        """SSL_CERT_FILE says whom to trust."""
        url = self.serve(self.authority, "localhost")
        answer = await self.client().get(url)
        self.assertEqual(answer.body, b"hello")

    async def test_other_authority(self) -> None:
        """A certificate from nobody we trust is refused."""
        url = self.serve(trustme.CA(), "localhost")
        await self.assertFailure(self.ask(self.client().get(url)), OutboundFailed)
        self.assertEqual(self.tree.seen, [])

    async def test_other_name(self) -> None:
        """A certificate for another name is refused."""
        url = self.serve(self.authority, "other.example")
        await self.assertFailure(self.ask(self.client().get(url)), OutboundFailed)
        self.assertEqual(self.tree.seen, [])

    async def test_old_tls(self) -> None:
        """A server that speaks nothing newer than TLS 1.1 is refused."""
        url = self.serve(self.authority, "localhost", SSL.TLS1_1_VERSION)
        await self.assertFailure(self.ask(self.client().get(url)), OutboundFailed)
        self.assertEqual(self.tree.seen, [])

    async def test_endless_body(self) -> None:
        """Over TLS, too, the connection of an endless body is cut at once."""
        url = self.serve(self.authority, "localhost").replace("/hello", "/endless")
        await self.assertFailure(self.ask(self.client().get(url)), AnswerUnusable)
        await self.tree.finished


class _Resolving:
    """The reactor, with a name server that answers every name with another's address."""

    def __init__(self, wrapped: Any, name: str) -> None:
        self._wrapped = wrapped
        self._name = name
        self.nameResolver = self
        self.asked: list[str] = []
        self.connected: list[Any] = []

    def __getattr__(self, attribute: str) -> Any:
        return getattr(self._wrapped, attribute)

    def connectTCP(self, *arguments: Any, **options: Any) -> Any:
        """Connect, and note it."""
        self.connected.append(arguments)
        return self._wrapped.connectTCP(*arguments, **options)

    def resolveHostName(self, receiver: Any, name: str, *arguments: Any) -> Any:
        """Resolve the other name."""
        self.asked.append(name)
        return self._wrapped.nameResolver.resolveHostName(receiver, self._name, *arguments)


async def _until(holds: Callable[[], bool]) -> None:
    """Wait for what another connection of this process is about to do."""
    while not holds():
        turn: Deferred[None] = Deferred()
        reactor.callLater(0, turn.callback, None)
        await turn
