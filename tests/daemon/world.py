"""A host, a daemon, apps and browsers: what one test has to itself."""

from __future__ import annotations

import tempfile
import unittest
from pathlib import Path

from tests.daemon.browser import Browser
from tests.daemon.client import Client
from tests.daemon.processes import Daemon, Host, Trust


class WorldTestCase(unittest.TestCase):
    """A pretend host that runs, and the means to start the rest; all of it ends with the test."""

    def setUp(self) -> None:
        """A folder, a certificate authority and a host."""
        folder = tempfile.TemporaryDirectory(prefix="gma-")
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.trust = Trust(self.folder)
        certificate = self.trust.certificate("localhost", "mastodon.example")
        self.host = Host(self.folder, self.trust, certificate)
        self.addCleanup(self.host.end)

    def make_daemon(self, **changes: object) -> Daemon:
        """A daemon that does not run yet, and may talk to the host.

        :param changes: keys of the configuration that differ from the usual ones for tests.
        """
        private = {"private_hosts": [self.host.authority]}
        daemon = Daemon(self.folder, self.trust, **{**private, **changes})
        self.addCleanup(daemon.end)
        return daemon

    def start_daemon(self, **changes: object) -> Daemon:
        """A daemon that serves, and may talk to the host.

        :param changes: as for :meth:`make_daemon`.
        """
        daemon = self.make_daemon(**changes)
        daemon.start()
        return daemon

    def connect(self, daemon: Daemon, origin: str | None = None) -> Client:
        """An app on a socket of the daemon's."""
        url = f"ws{daemon.origin.removeprefix('http')}/ws"
        secure = daemon.origin.startswith("https:")
        context = self.trust.context if secure else None
        client = Client(url, daemon.log, origin=origin, context=context)
        self.addCleanup(client.close)
        return client

    def browser(self, daemon: Daemon) -> Browser:
        """A browser that has been nowhere yet."""
        return Browser(self.trust.context, daemon.log)
