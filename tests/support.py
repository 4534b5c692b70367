"""The whole daemon in memory, with a real database, pretend hosts, clients and browsers."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from email.parser import BytesHeaderParser
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import attrs
from autobahn.twisted.testing import create_memory_agent
from autobahn.twisted.websocket import WebSocketClientProtocol
from treq.testing import RequestTraversalAgent
from twisted.enterprise.adbapi import ConnectionPool
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import DNSLookupError
from twisted.internet.testing import MemoryReactorClock, StringTransportWithDisconnection
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool
from twisted.test.iosim import IOPump
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IBodyProducer, IResponse
from zope.interface import implementer

from gma.config import Config
from gma.core.hostname import Host
from gma.service import Core
from gma.storage.database import open_pool
from tests.pretend_host.mastodon import Mastodon
from tests.pretend_host.site import PretendHost

START = 1_767_225_600.0
"""When tests begin: 2026-01-01T00:00:00Z."""


class Reactor(MemoryReactorClock):
    """Time and connections that stand still; threads that run where they are called."""

    def __init__(self) -> None:
        super().__init__()
        self.advance(START)

    def callFromThread(self, call: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        """Call at once."""
        call(*args, **kwargs)


class InlineThreadPool:
    """Runs work where it is asked for."""

    def callInThreadWithCallback(
        self, on_result: Callable[[bool, Any], None], work: Callable[..., Any], *args: Any
    ) -> None:
        """Run the work, then tell of it."""
        try:
            result = work(*args)
        except Exception:
            on_result(False, Failure())
        else:
            on_result(True, result)

    def start(self) -> None:
        """Nothing to start."""

    def stop(self) -> None:
        """Nothing to stop."""


def inline_pool(path: Path, reactor: Any) -> ConnectionPool:
    """The database's pool, without threads."""
    pool = open_pool(path, reactor)
    pool.threadpool = cast(ThreadPool, InlineThreadPool())
    return pool


@implementer(IAgent)
class PretendFediverse:
    """An agent that reaches the pretend hosts, and them alone."""

    def __init__(self) -> None:
        self.hosts: dict[str, PretendHost] = {}
        self._agents: dict[str, RequestTraversalAgent] = {}

    def add(self, authority: str, host: PretendHost) -> None:
        """Make a host reachable."""
        self.hosts[authority] = host
        self._agents[authority] = RequestTraversalAgent(host)

    def request(
        self,
        method: bytes,
        uri: bytes,
        headers: Headers | None = None,
        bodyProducer: IBodyProducer | None = None,
    ) -> Deferred[IResponse]:
        """See :class:`IAgent`."""
        agent = self._agents.get(urlsplit(uri.decode()).netloc)
        if agent is None:
            return fail(DNSLookupError())
        requesting: Deferred[IResponse] = agent.request(method, uri, headers, bodyProducer)
        return requesting

    def flush(self) -> None:
        """Let what is on its way arrive."""
        for agent in self._agents.values():
            agent.flush()

    def close(self) -> Deferred[None]:
        """Nothing is kept."""
        return succeed(None)


@attrs.frozen
class Shown:
    """What a browser was answered."""

    status: int
    headers: dict[str, str]
    body: str

    @property
    def location(self) -> str:
        """Where to go on to."""
        return self.headers["location"]


class Browser:
    """Keeps cookies as a browser does, and shows what it gets."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._transport = StringTransportWithDisconnection()
        self.cookies: dict[str, str] = {}

    def start(
        self, path: str, method: str = "GET", body: bytes = b"", **headers: str
    ) -> Callable[[], Shown | None]:
        """Ask for a path; calling what is returned gives the answer, or ``None`` so far."""
        self._transport = transport = StringTransportWithDisconnection()
        transport.peerAddr = IPv4Address("TCP", "203.0.113.9", 4711)
        protocol = self._world.core.site.buildProtocol(transport.peerAddr)
        transport.protocol = protocol
        protocol.makeConnection(transport)
        host = headers.pop("Host", "somewhere.example")
        lines = [f"{method} {path} HTTP/1.1", f"Host: {host}", "Connection: close"]
        if self.cookies:
            lines.append("Cookie: " + "; ".join(f"{k}={v}" for k, v in self.cookies.items()))
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        protocol.dataReceived("\r\n".join([*lines, "", ""]).encode() + body)
        return lambda: self._shown(transport.value())

    def get(self, path: str, method: str = "GET", body: bytes = b"", **headers: str) -> Shown:
        """The answer to a path, or to an address of the daemon's."""
        origin = self._world.config.app_origin
        shown = self.start(path.removeprefix(origin), method, body, **headers)()
        assert shown is not None, "no answer yet"
        return shown

    def drop(self) -> None:
        """Cut the connection of the last request."""
        self._transport.loseConnection()

    def _shown(self, raw: bytes) -> Shown | None:
        head, found, body = raw.partition(b"\r\n\r\n")
        if not found:
            return None
        status_line, _, header_lines = head.partition(b"\r\n")
        message = BytesHeaderParser().parsebytes(header_lines)
        for value in message.get_all("Set-Cookie", []):
            for name, morsel in SimpleCookie(value).items():
                self.cookies[name] = morsel.value
        headers = {name.lower(): value for name, value in message.items()}
        return Shown(int(status_line.split()[1]), headers, body.decode())


class _ClientProtocol(WebSocketClientProtocol):
    def __init__(self) -> None:
        super().__init__()
        self.received: list[dict[str, Any]] = []
        self.close_code: int | None = None

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        self.received.append(json.loads(payload))

    def onClose(self, wasClean: bool, code: int, reason: str) -> None:
        self.close_code = code


class Client:
    """An app on a socket."""

    def __init__(self, world: World, protocol: _ClientProtocol) -> None:
        self._world = world
        self.protocol = protocol

    def send(self, message: object) -> list[dict[str, Any]]:
        """Send a JSON message, or raw text; what came back since the last look."""
        text = message if isinstance(message, str) else json.dumps(message)
        return self.send_raw(text.encode())

    def send_raw(self, payload: bytes, binary: bool = False) -> list[dict[str, Any]]:
        """Send one frame; what came back since the last look."""
        self.protocol.sendMessage(payload, isBinary=binary)
        return self.look()

    def auth(self, host: str, **parameters: object) -> dict[str, Any]:
        """Ask for a login; the one answer."""
        (answer,) = self.send({"type": "auth", "parameters": {"host": host, **parameters}})
        return answer

    def look(self) -> list[dict[str, Any]]:
        """What has come in since the last look."""
        self._world.flush()
        received, self.protocol.received = self.protocol.received, []
        return received

    def leave(self) -> None:
        """Drop the connection without a word."""
        transport: Any = self.protocol.transport
        transport.loseConnection()
        self._world.flush()


class World:
    """A daemon, its hosts, clients and browsers, as one test has them."""

    def __init__(self, test: SynchronousTestCase, **changes: Any) -> None:
        self._test = test
        self.reactor = Reactor()
        # Autobahn's timers go by txaio's loop, not by the reactor of the factory.
        test.patch(sys.modules["txaio"].config, "loop", self.reactor)
        self.fediverse = PretendFediverse()
        self._pumps: list[IOPump] = []
        self.config = _config(Path(test.mktemp()), **changes)
        self.core = self._start()
        self.host = self.add_host("mastodon.example")

    def add_host(self, authority: str, scheme: str = "https") -> PretendHost:
        """A host at this place."""
        mastodon = Mastodon(self.reactor.seconds)
        host = PretendHost(f"{scheme}://{authority}", mastodon, self.reactor)
        self.fediverse.add(authority, host)
        return host

    def add(self, pump: IOPump) -> None:
        """See Autobahn's ``IPumper``."""
        self._pumps.append(pump)

    def flush(self) -> None:
        """Let everything that is on its way arrive."""
        moved = True
        while moved:
            self.fediverse.flush()
            moved = sum(pump.pump() for pump in list(self._pumps)) > 0

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.reactor.advance(seconds)
        self.flush()

    def connect(self, **options: Any) -> Client:
        """A client on a new socket."""
        address = IPv4Address("TCP", "203.0.113.9", 4711)
        agent = create_memory_agent(
            self.reactor, self, lambda: self.core.site.buildProtocol(address)
        )
        opening = agent.open("ws://localhost:8080/ws", options, _ClientProtocol)
        self.flush()
        return Client(self, self._test.successResultOf(opening))

    def browser(self) -> Browser:
        """A browser of its own."""
        return Browser(self)

    def restart(self, **changes: Any) -> None:
        """End the daemon and start it anew on the same database."""
        self.stop()
        self.config = attrs.evolve(self.config, **changes)
        self.core = self._start()

    def stop(self) -> None:
        """End the daemon."""
        stopping = self.core.stopService()
        self.flush()
        self.advance(3)
        self._test.successResultOf(stopping)

    def log_in(self, client: Client, browser: Browser, host: str = "mastodon.example") -> str:
        """Begin and go as far as the host: its authorize URL."""
        answer = client.auth(host)
        return browser.get(answer["parameters"]["url"]).location

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """What the database holds."""
        pool = self.core._database._pool
        rows: list[tuple[Any, ...]] = self._test.successResultOf(pool.runQuery(sql))
        return rows

    def _start(self) -> Core:
        core = Core(
            self.config,
            self.reactor,
            agent=self.fediverse,
            pool=inline_pool(self.config.db_path, self.reactor),
            now=self.reactor.seconds,
        )
        core.startService()
        return core


def _config(db_path: Path, **changes: Any) -> Config:
    config = Config(
        app_name="Test app",
        app_origin="https://auth.example",
        own_name="auth.example",
        app_website="https://app.example/about",
        db_path=db_path.absolute(),
        scopes=("read", "write"),
        listen=("tcp:0",),
        allowed_origins=(),
        private_hosts=(Host("localhost", 3000, "http"),),
        request_ttl=600,
    )
    return attrs.evolve(config, **changes)
