"""Registrations, kept and found."""

from __future__ import annotations

from pathlib import Path

import attrs
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from gma.core.ports import Credentials
from gma.core.request import Registration, RegistrationKey
from gma.storage.database import Database, prepare
from gma.storage.registrations import SqliteRegistrations
from tests.support import Reactor, inline_pool

KEY = RegistrationKey(
    api_host="mastodon.example",
    redirect_uri="https://auth.example/callback/mastodon.example",
    scopes=("read", "write:statuses"),
    client_name="It's «my» app; DROP TABLE",
    website="https://app.example",
)
CREDENTIALS = Credentials("client", "secret")


class RegistrationsTests(SynchronousTestCase):
    """The port over SQLite."""

    def setUp(self) -> None:
        """An empty database."""
        path = Path(self.mktemp()).absolute()
        prepare(path)
        database = Database(inline_pool(path, Reactor()))
        self.addCleanup(database.close)
        self.registrations = SqliteRegistrations(database)

    def add(self, key: RegistrationKey, credentials: Credentials = CREDENTIALS) -> Registration:
        """Keep a registration."""
        adding = Deferred.fromCoroutine(self.registrations.add(key, credentials, 1234.5))
        return self.successResultOf(adding)

    def find(self, key: RegistrationKey) -> Registration | None:
        """Look for one."""
        return self.successResultOf(Deferred.fromCoroutine(self.registrations.find(key)))

    def test_found(self) -> None:
        """What was kept is found as it was."""
        added = self.add(KEY)
        self.assertEqual(added, Registration(added.number, KEY, "client", "secret", 1234.5))
        self.assertEqual(self.find(KEY), added)

    def test_other_key(self) -> None:
        """Whatever the key differs in, it is another registration."""
        self.add(KEY)
        changes: list[dict[str, object]] = [
            {"api_host": "mastodon.example:8443"},
            {"redirect_uri": "https://auth.example/callback/mastodon.example/"},
            {"scopes": ("read",)},
            {"scopes": ("write:statuses", "read")},
            {"client_name": "Other"},
            {"website": "https://app.example/"},
        ]
        for change in changes:
            other = attrs.evolve(KEY, **change)  # type: ignore[arg-type]
            self.assertIsNone(self.find(other), change)

    def test_newest(self) -> None:
        """Of several with one key the newest counts."""
        self.add(KEY)
        newer = self.add(KEY, Credentials("newer", "secret"))
        self.assertEqual(self.find(KEY), newer)

    def test_secret_is_not_shown(self) -> None:
        """A registration that ends in a log shows no secret."""
        self.assertNotIn("secret", repr(self.add(KEY)))
