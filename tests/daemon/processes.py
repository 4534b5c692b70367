"""Real processes: the pretend host, and the daemon as a user starts it.

Knows how to start them, to wait for them within a deadline, and to end them.
"""

from __future__ import annotations

import os
import random
import re
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path
from typing import TypeVar

import msgspec
import trustme
import yaml

from tests.pretend_host.site import Seen

CHECKOUT = Path(__file__).resolve().parent.parent.parent

SECONDS = 20.0
"""How long anything may take that is not a test's subject; only a failing test waits so long."""

_LOOK_SECONDS = 0.02

Found = TypeVar("Found")


def twistd(*arguments: str) -> list[str]:
    """The command line of the twistd that belongs to this Python."""
    return [str(Path(sys.executable).with_name("twistd")), *arguments]


def environment(**further: str) -> dict[str, str]:
    """What a program is started with: this checkout's code, and no proxy before localhost."""
    kept = {name: it for name, it in os.environ.items() if not name.lower().endswith("_proxy")}
    return {**kept, "PYTHONPATH": str(CHECKOUT), **further}


def run(
    arguments: Sequence[str], folder: Path, inherited: Sequence[int] = ()
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end; what it writes to either stream is in ``stdout``.

    :param inherited: file descriptors that it keeps open.
    """
    try:
        return subprocess.run(
            arguments,
            cwd=folder,
            pass_fds=inherited,
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise AssertionError(f"{arguments} has no end: {error.output!r}") from None


def free_port() -> int:
    """A loopback port that stays free until it is listened on.

    It lies below those that systems hand to clients: a restart must find it free again.
    """
    while True:
        port = random.randrange(10_000, 32_000)  # noqa: S311 - no secret
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


class Trust:
    """A certificate authority, and those who trust it.

    :param folder: where its files go.
    :ivar path: of its own certificate, in PEM.
    :ivar context: trusts it and no other.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._authority = trustme.CA()
        self.path = folder / "authority.pem"
        self._authority.cert_pem.write_to_path(str(self.path))
        self.context = ssl.create_default_context(cafile=str(self.path))

    def certificate(self, *names: str) -> Path:
        """A PEM file with a key and the certificate for these names."""
        path = self._folder / f"{names[0]}.pem"
        issued = self._authority.issue_cert(*names)
        issued.private_key_and_cert_chain_pem.write_to_path(str(path))
        return path


class Program:
    """A program that runs beside the test.

    :param log: the file that it writes to, after what is there already.
    """

    def __init__(self, arguments: Sequence[str], log: Path, **variables: str) -> None:
        self._log = log
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                arguments,
                cwd=log.parent,
                env=environment(**variables),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def output(self) -> str:
        """What it has written so far."""
        return self._log.read_text("utf-8", "replace")

    def wait_for(self, look: Callable[[], Found | None], what: str) -> Found:
        """What ``look`` finds at last, while the program runs.

        :param what: the name of it, for the one who reads of the failure.
        """
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline:
            ended = self._has_ended()
            found = look()
            if found is not None:
                return found
            if ended:
                raise AssertionError(f"ended before {what}:\n{self.output()}")
        raise AssertionError(f"no {what} in {SECONDS:.0f} s:\n{self.output()}")

    def wait_for_output(self, pattern: str) -> re.Match[str]:
        """The first place in its output that matches."""
        return self.wait_for(lambda: re.search(pattern, self.output()), f"output {pattern!r}")

    def wait_for_end(self) -> int:
        """Its exit status, once it has ended of itself."""
        try:
            return self._process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still runs after {SECONDS:.0f} s:\n{self.output()}") from None

    def end(self, by: signal.Signals = signal.SIGTERM) -> int:
        """End it if it still runs; its exit status, which is negative for a signal."""
        self._process.send_signal(by)
        try:
            return self.wait_for_end()
        finally:
            self._process.kill()
            self._process.wait()

    def _has_ended(self) -> bool:
        try:
            self._process.wait(_LOOK_SECONDS)
        except subprocess.TimeoutExpired:
            return False
        return True


class Host(Program):
    """The pretend host, over TLS.

    :param folder: its own, for its log.
    :param certificate: its key and chain.
    :ivar authority: its name and port.
    """

    def __init__(self, folder: Path, trust: Trust, certificate: Path) -> None:
        self._context = trust.context
        super().__init__(
            [
                *(sys.executable, "-m", "tests.pretend_host"),
                *("--port", "0", "--certificate", str(certificate)),
            ],
            folder / "host.log",
        )
        try:
            self.port = int(self.wait_for_output(r"listening on (\d+)")[1])
        except BaseException:
            self.end()
            raise
        self.authority = f"localhost:{self.port}"

    def journal(self) -> list[Seen]:
        """What it has been asked, without what this class asks."""
        return msgspec.json.decode(self._ask("GET"), type=list[Seen])

    def asked(self, path: str) -> list[dict[str, str]]:
        """The form of each request for a path."""
        return [seen.form for seen in self.journal() if seen.path == path]

    def wait_until_asked(self, path: str) -> None:
        """Return once a request for the path has come."""
        self.wait_for(lambda: self.asked(path) or None, f"request for {path}")

    def switch(self, **switches: str | float | bool) -> None:
        """Set its behaviour; what is not named goes back to its default."""
        self._ask("POST", msgspec.json.encode(switches))

    def _ask(self, method: str, body: bytes | None = None) -> bytes:
        connection = HTTPSConnection("localhost", self.port, timeout=SECONDS, context=self._context)
        try:
            connection.request(method, "/_pretend/", body)
            answer = connection.getresponse()
            assert answer.status == 200, f"the pretend host answers {answer.status}"
            return answer.read()
        finally:
            connection.close()


class Daemon:
    """gma as a user starts it, on a port and a database that outlive its restarts.

    :param folder: its own: for its configuration, its log and, in ``database``, its database.
    :param trust: whose certificates it trusts.
    :param changes: keys of the configuration that differ from the usual ones for tests.
    :ivar origin: where browsers reach it, unless ``changes`` put something before it.
    :ivar database: the folder of its database.
    """

    def __init__(self, folder: Path, trust: Trust, **changes: object) -> None:
        self.port = free_port()
        self.origin = f"http://localhost:{self.port}"
        self.database = folder / "database"
        self.database.mkdir(exist_ok=True)
        self.config: dict[str, object] = {
            "app_name": "Test app",
            "app_hostname": f"localhost:{self.port}",
            "app_scheme": "http",
            "app_website": "https://app.example/about",
            "db_path": str(self.database / "gma.sqlite"),
            "scopes": ["read", "write"],
            "listen": [f"tcp:{self.port}:interface=127.0.0.1"],
            **changes,
        }
        self._folder = folder
        self._trust = trust
        self._program: Program | None = None

    def start(self, **variables: str) -> None:
        """Start it; it serves on return.

        :param variables: of its environment, besides the usual ones.
        """
        assert self._program is None, "it runs already"
        file = self._folder / "gma.yaml"
        file.write_text(yaml.safe_dump(self.config), "utf-8")
        self._program = Program(
            twistd("--nodaemon", "--pidfile=", "gma", "--config", str(file)),
            self._folder / "gma.log",
            **{"SSL_CERT_FILE": str(self._trust.path), **variables},
        )
        try:
            self._program.wait_for(self._serves, "answer to /healthz")
        except BaseException:
            self.end()
            raise

    def end(self, by: signal.Signals = signal.SIGTERM) -> int | None:
        """End it; its exit status, which is negative for a signal, or ``None`` if none runs."""
        program, self._program = self._program, None
        return None if program is None else program.end(by)

    def restart(self, by: signal.Signals = signal.SIGTERM) -> None:
        """End it and start it again: same port, same database, same log."""
        self.end(by)
        self.start()

    def log(self) -> str:
        """All that it has logged, in every run."""
        log = self._folder / "gma.log"
        return log.read_text("utf-8", "replace") if log.exists() else ""

    def health(self) -> tuple[int, bytes] | None:
        """What it answers to the health check, if anything."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=SECONDS)
        try:
            connection.request("GET", "/healthz")
            answer = connection.getresponse()
            return answer.status, answer.read()
        except (OSError, HTTPException):
            return None
        finally:
            connection.close()

    def _serves(self) -> bool | None:
        health = self.health()
        return True if health is not None and health[0] == 200 else None
