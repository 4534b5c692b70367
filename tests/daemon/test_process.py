"""The daemon as a process: how it starts and refuses to, what it logs and keeps, how it ends."""

from __future__ import annotations

import os
import re
import select
import signal
import socket
import sys
import time
from contextlib import suppress
from urllib.parse import parse_qs, urlsplit

import yaml
from websockets.exceptions import InvalidStatus

from tests.daemon.processes import CHECKOUT, SECONDS, Daemon, Program, Trust, run, twistd
from tests.daemon.world import WorldTestCase

_GMA = twistd("--nodaemon", "--pidfile=", "gma")

# Stands for a name server of which an attacker has the say: it leads to the pretend host's port.
_RESOLVER = """
import os, socket

ask = socket.getaddrinfo

def getaddrinfo(host, *arguments, **more):
    if not host.endswith(".example"):
        return ask(host, *arguments, **more)
    place = ("127.0.0.1", int(os.environ["PRETEND_PORT"]))
    return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", place)]

socket.getaddrinfo = getaddrinfo
"""


class CommandTests(WorldTestCase):
    """The command line, up to the point where the daemon would serve."""

    def setUp(self) -> None:
        """A daemon that is yet to be started, and its configuration."""
        super().setUp()
        self.daemon = self.make_daemon()
        self.file = self.folder / "gma.yaml"

    def refuse(self, *arguments: str) -> list[str]:
        """The lines of a start that is refused without ado."""
        done = run([*_GMA, *arguments], self.folder)
        self.assertGreater(done.returncode, 0, done.stdout)
        self.assertNotIn("Traceback", done.stdout)
        return done.stdout.splitlines()

    def refuse_config(self, **changes: object) -> list[str]:
        """What a daemon with a good file says of itself as it refuses to start."""
        self.file.write_text(yaml.safe_dump({**self.daemon.config, **changes}), "utf-8")
        lines = self.refuse("--config", str(self.file))
        return [line.partition("] ")[2] for line in lines if "gma:" in line]

    def test_listed(self) -> None:
        """twistd lists the command among its own."""
        done = run(twistd("--help"), self.folder)
        self.assertEqual(done.returncode, 0)
        self.assertRegex(done.stdout, r"(?m)^ +gma +The Generic Mastodon Authenticator$")

    def test_no_config(self) -> None:
        """Without a file the usage is shown, and what is missing."""
        lines = self.refuse()
        self.assertIn("--config=", "\n".join(lines))
        self.assertIn("--config FILE is missing", lines[-1])

    def test_no_file(self) -> None:
        """A file that does not exist is named, on one line."""
        self.assertEqual(
            self.refuse("--config", "absent.yaml"),
            ["absent.yaml: cannot be read: No such file or directory"],
        )

    def test_every_mistake(self) -> None:
        """All that is wrong with a file is told in one go, a line for each mistake."""
        wrong = {
            "app_nam": "Test app",
            "app_hostname": "not a name",
            "app_scheme": "gopher",
            "app_website": "app.example",
            "db_path": "gma.sqlite",
            "scopes": [],
            "listen": ["carrier-pigeon:1"],
            "allowed_origins": ["app.example"],
            "private_hosts": ["https://localhost"],
            "request_ttl": 0,
        }
        self.file.write_text(yaml.safe_dump(wrong), "utf-8")
        lines = self.refuse("--config", str(self.file))
        keys = [re.fullmatch(rf"{self.file}: (\w+): .+", line) for line in lines]
        self.assertEqual(
            sorted(match[1] if match else "" for match in keys), sorted([*wrong, "app_name"])
        )
        self.assertIn(f"{self.file}: app_nam: there is no such key; did you mean app_name?", lines)

    def test_example(self) -> None:
        """The example is complete but for the folder of its database, which it says."""
        example = (CHECKOUT / "config.example.yaml").read_text("utf-8")
        self.assertIn("db_path: /var/lib/gma/gma.sqlite", example)
        # There may be a real gma on this machine.
        absent = self.folder / "absent"
        self.file.write_text(example.replace("/var/lib/gma/", f"{absent}/"), "utf-8")
        self.assertEqual(
            self.refuse("--config", str(self.file)),
            [f"{self.file}: db_path: the folder {absent} does not exist; make it, or name another"],
        )

    def test_port_in_use(self) -> None:
        """A port that another listens on is named in one line."""
        with socket.create_server(("127.0.0.1", self.daemon.port)):
            (line,) = self.refuse_config()
        self.assertIn(f"cannot listen on tcp:{self.daemon.port}:interface=127.0.0.1", line)
        self.assertIn("in use", line)

    def test_no_database(self) -> None:
        """A file that is no database is named in one line, and left as it was."""
        path = self.folder / "letters.txt"
        path.write_text("Dear Sir or Madam,\n" * 1000)
        (line,) = self.refuse_config(db_path=str(path))
        self.assertEqual(line, f"gma: {path}: file is not a database")
        self.assertEqual(path.read_text(), "Dear Sir or Madam,\n" * 1000)
        self.assertEqual([it.name for it in self.folder.glob("letters*")], ["letters.txt"])


class LifeTests(WorldTestCase):
    """From the first answer to the last."""

    def test_health(self) -> None:
        """The health check tells that all is well, in JSON."""
        health = self.start_daemon().health()
        self.assertEqual(health, (200, b'{"status":"ok"}'))

    def test_end(self) -> None:
        """At its end the daemon bids its apps come back, and is gone without complaint."""
        daemon = self.start_daemon()
        client = self.connect(daemon)
        client.begin(self.host.authority)
        self.check_ends(daemon)
        self.assertEqual(client.receive_close(), 1012)

    def test_end_with_deaf_app(self) -> None:
        """An app that never answers does not hold up the end."""
        daemon = self.start_daemon()
        with socket.create_connection(("127.0.0.1", daemon.port)) as deaf:
            deaf.sendall(
                b"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
                b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
            )
            deaf.settimeout(5)
            self.assertIn(b" 101 ", deaf.recv(100))
            self.check_ends(daemon)

    def check_ends(self, daemon: Daemon) -> None:
        """End the daemon, which takes at most a few seconds and leaves no traceback."""
        since = time.monotonic()
        # twistd ends itself by the signal when all is done.
        self.assertIn(daemon.end(), (0, -signal.SIGTERM))
        self.assertLess(time.monotonic() - since, 5)
        self.assertNotIn("Traceback", daemon.log())
        self.assertIn("Server Shut Down", daemon.log())


class BackgroundTests(WorldTestCase):
    """twistd without ``--nodaemon``: it goes into the background once the daemon serves."""

    def setUp(self) -> None:
        """A daemon that is yet to be started, its configuration, and a pipe that it inherits."""
        super().setUp()
        self.daemon = self.make_daemon()
        (self.folder / "gma.yaml").write_text(yaml.safe_dump(self.daemon.config), "utf-8")
        self.pid_file = self.folder / "gma.pid"
        self.reading, self.writing = os.pipe()
        self.addCleanup(os.close, self.reading)
        self.addCleanup(self.kill)

    def kill(self) -> None:
        """End what a failed test has left in the background."""
        if self.pid_file.exists():
            with suppress(ProcessLookupError):
                os.kill(int(self.pid_file.read_text()), signal.SIGKILL)

    def start(self) -> int:
        """Start it in the background; the exit status of the start."""
        options = ("--pidfile=gma.pid", "--logfile=gma.log")
        command = twistd(*options, "gma", "--config", "gma.yaml")
        try:
            return run(command, self.folder, [self.writing]).returncode
        finally:
            os.close(self.writing)

    def wait_for_end(self) -> None:
        """Return once no process is left of it: each has the pipe open as long as it lives."""
        ended, _, _ = select.select([self.reading], [], [], SECONDS)
        self.assertEqual(ended, [self.reading], self.daemon.log())

    def test_serves(self) -> None:
        """It serves when the command returns, until the process in the pid file is ended."""
        self.assertEqual(self.start(), 0, self.daemon.log())
        self.assertEqual(self.daemon.health(), (200, b'{"status":"ok"}'), self.daemon.log())
        os.kill(int(self.pid_file.read_text()), signal.SIGTERM)
        self.wait_for_end()
        self.assertFalse(self.pid_file.exists())
        self.assertNotIn("Traceback", self.daemon.log())

    def test_refuses(self) -> None:
        """A start that fails makes the command fail, says why and leaves no pid file behind."""
        with socket.create_server(("127.0.0.1", self.daemon.port)):
            self.assertEqual(self.start(), 1)
            self.wait_for_end()
        self.assertIn("gma: cannot listen on", self.daemon.log())
        self.assertNotIn("Traceback", self.daemon.log())
        self.assertFalse(self.pid_file.exists())


class SecretsTests(WorldTestCase):
    """What may stand in no file in clear."""

    def setUp(self) -> None:
        """A daemon, an app and a person's browser."""
        super().setUp()
        self.daemon = self.start_daemon()
        self.client = self.connect(self.daemon)
        self.person = self.browser(self.daemon)

    def test_log_of_a_login(self) -> None:
        """The log of a login and of its callback's repetition holds none of its secrets."""
        begun = self.client.begin(self.host.authority)
        callback = self.person.decide(begun["url"])
        self.browser(self.daemon).go(callback)
        self.person.go(callback)
        self.person.go(callback)
        fulfilled = self.client.receive_fulfilled()
        self.daemon.end()
        secrets = {begun["id"], fulfilled["token"], *self.passing(), *self.client_secrets()}
        self.assertEqual(len(secrets), 7)
        self.check_log(secrets)
        self.assertIn("fulfilled", self.daemon.log())

    def test_log_of_failures(self) -> None:
        """Neither does the log of logins that fail, each in its own way."""
        secrets: set[str] = set()
        for switches in (
            {"token": "invalid grant"},
            {"token": "bad token"},
            {"token": "deep json"},
            {"token": "reset"},
            {"token": "echo"},
            {"callback": "strange error"},
            {"callback": "two states"},
        ):
            begun = self.connect(self.daemon).begin(self.host.authority)
            self.host.switch(**switches)
            callback = self.person.decide(begun["url"])
            self.assertNotEqual(self.person.go(callback).status, 200)
            self.browser(self.daemon).go(callback)
            secrets.add(begun["id"])
        self.daemon.end()
        secrets |= {*self.passing(), *self.client_secrets()}
        self.check_log(secrets)

    def test_files(self) -> None:
        """The database's folder holds nothing with which a login could be taken over."""
        begun = self.client.begin(self.host.authority)
        callback = self.person.decide(begun["url"])
        while_waiting = self.files()
        self.person.go(callback)
        fulfilled = self.client.receive_fulfilled()
        after = self.files()
        self.daemon.end()
        found = while_waiting + after + self.files()
        self.assertIn(begun["id"].encode(), found)
        for secret in {fulfilled["token"], *self.passing()}:
            self.assertNotIn(secret.encode(), found)

    def test_rights(self) -> None:
        """The files of the database are for the daemon's own user alone."""
        self.client.begin(self.host.authority)
        modes = {path.name: path.stat().st_mode & 0o777 for path in self.daemon.database.iterdir()}
        self.assertIn("gma.sqlite", modes)
        self.assertEqual(set(modes.values()), {0o600}, modes)

    def passing(self) -> set[str]:
        """The states, codes, cookies and verifiers that the browser and the host have seen."""
        found = {it for name, it in self.person.cookies.items() if name.startswith("gma-")}
        for shown in self.person.history:
            query = parse_qs(urlsplit(shown.headers.get("Location", "")).query)
            for name in ("state", "code"):
                found.update(query.get(name, []))
        for form in self.host.asked("/oauth/token"):
            found.update((form["code"], form["code_verifier"]))
        return found

    def client_secrets(self) -> set[str]:
        """What the daemon proves with that it is the registered app."""
        return {form["client_secret"] for form in self.host.asked("/oauth/token")}

    def check_log(self, secrets: set[str]) -> None:
        """See that the log holds none of these, and no traceback."""
        log = self.daemon.log()
        for secret in secrets:
            self.assertNotIn(secret, log)
        self.assertNotIn("Traceback", log)

    def files(self) -> bytes:
        """All that stands in the files of the database."""
        return b"".join(path.read_bytes() for path in sorted(self.daemon.database.iterdir()))


class OriginTests(WorldTestCase):
    """Which web pages may use the socket."""

    def test_foreign(self) -> None:
        """A page from elsewhere, or one that hides where it is from, is refused at the door."""
        daemon = self.start_daemon()
        for origin in ("https://evil.example", "http://app.example", "null"):
            with self.assertRaises(InvalidStatus) as refused:
                self.connect(daemon, origin)
            self.assertEqual(refused.exception.response.status_code, 403)

    def test_own(self) -> None:
        """A page of the app's website logs people in."""
        daemon = self.start_daemon()
        client = self.connect(daemon, "https://app.example")
        self.browser(daemon).log_in(client.begin(self.host.authority)["url"])
        client.receive_fulfilled()


class HostTests(WorldTestCase):
    """Hosts that must not be spoken to."""

    def test_unknown_authority(self) -> None:
        """A host whose certificate nobody vouches for is as good as not there."""
        elsewhere = self.folder / "elsewhere"
        elsewhere.mkdir()
        daemon = Daemon(elsewhere, Trust(elsewhere), private_hosts=[self.host.authority])
        self.addCleanup(daemon.end)
        daemon.start()
        self.check_refused(daemon, self.host.authority, "unreachable")

    def test_not_opened(self) -> None:
        """A host on a port of its own that private_hosts does not name is no host at all."""
        daemon = self.start_daemon(private_hosts=["localhost:1"])
        self.check_refused(daemon, self.host.authority, "malformed")

    def test_private_address(self) -> None:
        """A public name that leads to a private address is as good as not there."""
        daemon = self.start_resolving(private_hosts=[])
        self.check_refused(daemon, "mastodon.example", "unreachable")

    def test_private_address_opened(self) -> None:
        """The same name and address will do where private_hosts opens them."""
        daemon = self.start_resolving(private_hosts=["mastodon.example"])
        self.connect(daemon).begin("mastodon.example")

    def test_wrong_name(self) -> None:
        """A host that shows the certificate of another name is as good as not there."""
        daemon = self.start_resolving(private_hosts=["other.example"])
        self.check_refused(daemon, "other.example", "unreachable")

    def start_resolving(self, **changes: object) -> Daemon:
        """A daemon to which every ``.example`` resolves to the pretend host's address."""
        (self.folder / "sitecustomize.py").write_text(_RESOLVER)
        daemon = self.make_daemon(**changes)
        daemon.start(
            PYTHONPATH=os.pathsep.join((str(self.folder), str(CHECKOUT))),
            PRETEND_PORT=str(self.host.port),
        )
        return daemon

    def check_refused(self, daemon: Daemon, host: str, reason: str) -> None:
        """See that a host is refused for a reason, and that nothing was asked of it."""
        answer = self.connect(daemon).auth(host)
        self.assertEqual(answer["type"], "invalid-host", answer)
        self.assertEqual(answer["parameters"]["reason"], reason)
        self.assertEqual(self.host.journal(), [])


class ExampleTests(WorldTestCase):
    """The example client, run as its readers run it."""

    def test_login(self) -> None:
        """It shows a link, and then the token of the person who logged in there."""
        daemon = self.start_daemon()
        example = self.start_example(daemon, self.host.authority)
        link = example.wait_for_output(r"Open this link and log in: (\S+)\n")[1]
        self.browser(daemon).log_in(link)
        self.assertEqual(example.wait_for_end(), 0, example.output())
        self.assertRegex(
            example.output(), rf"Your token for {self.host.authority} is token-alice-\d+\n"
        )

    def test_decline(self) -> None:
        """It tells that the person declined."""
        daemon = self.start_daemon()
        example = self.start_example(daemon, self.host.authority)
        self.browser(daemon).decline(example.wait_for_output(r"http:\S+")[0])
        self.assertEqual(example.wait_for_end(), 1)
        self.assertIn("No login: The user declined the request.\n", example.output())

    def test_unusable_host(self) -> None:
        """It tells why a host cannot be used."""
        example = self.start_example(self.start_daemon(), "127.0.0.1")
        self.assertEqual(example.wait_for_end(), 1)
        self.assertIn("127.0.0.1 cannot be used: This is an address", example.output())

    def start_example(self, daemon: Daemon, host: str) -> Program:
        """The example, which is to log in at this host."""
        script = str(CHECKOUT / "examples" / "login.py")
        socket_url = f"ws://localhost:{daemon.port}/ws"
        example = Program([sys.executable, script, host, socket_url], self.folder / "example.log")
        self.addCleanup(example.end)
        return example
