"""How the daemon is put together, starts and ends, on a real reactor and without the network."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import attrs
from twisted.application.service import IService
from twisted.internet import reactor as installed
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.python.usage import UsageError
from twisted.trial.unittest import SynchronousTestCase, TestCase

from gma import service, tap
from gma.config import Config
from gma.service import StartFailed, make_service
from tests.support import World

reactor: Any = installed


def _config(folder: str, **changes: Any) -> Config:
    path = Path(folder)
    path.mkdir()
    file = path / "gma.yaml"
    file.write_text(
        "app_name: Test\napp_hostname: auth.example\napp_website: https://app.example\n"
        f"db_path: {path.absolute()}/gma.sqlite\nscopes: [read]\n"
    )
    options = tap.Options()
    options.parseOptions(["--config", str(file)])
    return attrs.evolve(options.checked, **changes)


class OptionsTests(SynchronousTestCase):
    """The command line."""

    def test_no_config(self) -> None:
        """Without a file there is a usage error."""
        self.assertRaises(UsageError, tap.Options().parseOptions, [])

    def test_mistakes(self) -> None:
        """Mistakes end the start with their lines alone."""
        path = Path(self.mktemp())
        path.write_text("app_name: x\n")
        error = self.assertRaises(SystemExit, tap.Options().parseOptions, ["--config", str(path)])
        lines = str(error).splitlines()
        self.assertEqual(len(lines), 4)
        for line in lines:
            self.assertTrue(line.startswith(f"{path}: "))

    def test_service(self) -> None:
        """A good file makes a service."""
        options = tap.Options()
        options.checked = _config(self.mktemp())
        self.assertTrue(IService.providedBy(tap.makeService(options)))


class StartTests(TestCase):
    """Starting and ending for real."""

    async def test_serves(self) -> None:
        """It listens where it is told, on several places at once, and ends without a trace."""
        places = ("tcp:0:interface=127.0.0.1", "tcp:0:interface=127.0.0.1")
        root = make_service(_config(self.mktemp(), listen=places), reactor)
        root.privilegedStartService()
        root.startService()
        listening: Any = root.getServiceNamed("listening")
        for port in listening.ports:
            answer = await _ask(port.getHost().port, b"GET /healthz HTTP/1.0\r\n\r\n")
            self.assertTrue(answer.startswith(b"HTTP/1.0 200 OK"))
            self.assertTrue(answer.endswith(b'{"status":"ok"}'))
        await root.stopService()

    async def test_large_body(self) -> None:
        """A body beyond 8 KiB is refused before it is read, with a length or without."""
        root = make_service(_config(self.mktemp(), listen=("tcp:0:interface=127.0.0.1",)), reactor)
        root.privilegedStartService()
        root.startService()
        listening: Any = root.getServiceNamed("listening")
        number = listening.ports[0].getHost().port
        large = b"a=b&" * 2049
        for head, body in (
            (b"Content-Length: 1000000000", b""),
            (b"Content-Length: %d" % len(large), large),
            (b"Transfer-Encoding: chunked", b"%x\r\n%s\r\n0\r\n\r\n" % (len(large), large)),
        ):
            question = b"POST / HTTP/1.1\r\nHost: a\r\n%s\r\n\r\n%s" % (head, body)
            answer = await _ask(number, question)
            self.assertTrue(answer.startswith(b"HTTP/1.1 413 "), answer[:100])
            self.assertEqual(answer.count(b"HTTP/1.1"), 1)
        await root.stopService()

    async def test_port_taken(self) -> None:
        """A place where somebody else listens ends the start with one clear line."""
        taken = reactor.listenTCP(0, Factory(), interface="127.0.0.1")
        place = f"tcp:{taken.getHost().port}:interface=127.0.0.1"
        root = make_service(_config(self.mktemp(), listen=(place,)), reactor)
        error = self.assertRaises(StartFailed, root.privilegedStartService)
        self.assertIn(f"cannot listen on {place}", str(error))
        self.assertIn("in use", str(error))
        await taken.stopListening()

    def test_no_database(self) -> None:
        """A database that cannot be used ends the start with one clear line."""
        config = _config(self.mktemp())
        config.db_path.write_text("this is no database, but long enough to be looked at" * 20)
        root = make_service(config, reactor)
        error = self.assertRaises(StartFailed, root.startService)
        self.assertIn(str(config.db_path), str(error))
        self.assertIn("not a database", str(error))


class FailedStartTests(SynchronousTestCase):
    """A start that fails when it is too late to say so at the command line."""

    def test_given_up(self) -> None:
        """The daemon does not go on without having looked at what an earlier run left."""
        stopped: list[bool] = []
        world = World(self)
        world.stop()
        self.patch(type(world.reactor), "stop", lambda _: stopped.append(True))
        self.patch(service, "prepare", lambda path: _break(path))
        world.core = world._start()
        self.assertEqual(stopped, [True])
        self.assertEqual(len(self.flushLoggedErrors(sqlite3.OperationalError)), 1)


def _break(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("ALTER TABLE requests RENAME TO gone")
    connection.close()


class _Collect(Protocol):
    def __init__(self, question: bytes, finished: Deferred[bytes]) -> None:
        self._question = question
        self._finished = finished
        self._received = b""

    def connectionMade(self) -> None:
        assert self.transport is not None
        self.transport.write(self._question)

    def dataReceived(self, data: bytes) -> None:
        self._received += data

    def connectionLost(self, reason: object = None) -> None:
        self._finished.callback(self._received)


async def _ask(port: int, question: bytes) -> bytes:
    finished: Deferred[bytes] = Deferred()
    endpoint = HostnameEndpoint(reactor, "127.0.0.1", port)
    await endpoint.connect(Factory.forProtocol(lambda: _Collect(question, finished)))
    return await finished
