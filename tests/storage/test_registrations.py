"""Registrations, kept and found."""

from __future__ import annotations

import attrs

from gma.core.ports import Credentials
from gma.core.request import Registration
from gma.storage.registrations import SqliteRegistrations
from tests.storage.support import CREDENTIALS, KEY, StorageTestCase
from tests.support import START

# Every way in which a key can be another.
_OTHERS = (
    attrs.evolve(KEY, api_host="other.example"),
    attrs.evolve(KEY, api_host="mastodon.example:8443"),
    attrs.evolve(KEY, redirect_uri="https://auth.example:8443/callback/mastodon.example"),
    attrs.evolve(KEY, redirect_uri="http://auth.example/callback/mastodon.example"),
    attrs.evolve(KEY, scopes=("read",)),
    attrs.evolve(KEY, scopes=("write:statuses", "read")),
    attrs.evolve(KEY, scopes=("read", "write:statuses", "push")),
    attrs.evolve(KEY, client_name="Test app"),
    attrs.evolve(KEY, client_name="tëst app"),
    attrs.evolve(KEY, website="https://app.example/about/"),
)


class RegistrationsTests(StorageTestCase):
    """What is kept of an app at a host."""

    def setUp(self) -> None:
        """No registration so far."""
        super().setUp()
        self.registrations = SqliteRegistrations(self.database)

    def test_none(self) -> None:
        """Where nothing was kept, nothing is found."""
        self.assertIsNone(self.successResultOf(self.registrations.find(KEY)))

    def test_add(self) -> None:
        """What is handed back has the key, the credentials and the time."""
        added = self.successResultOf(self.registrations.add(KEY, CREDENTIALS, START))
        self.assertEqual(
            added, Registration(added.number, KEY, "client id", "client secret", START)
        )

    def test_round_trip(self) -> None:
        """What was kept is found again in each of its fields."""
        added = self.successResultOf(self.registrations.add(KEY, CREDENTIALS, START + 0.25))
        self.assertEqual(self.successResultOf(self.registrations.find(KEY)), added)

    def test_odd_credentials(self) -> None:
        """Credentials are kept as they are, quotes, spaces and numbers."""
        for text in ("0012", "'; DROP TABLE visits; --", "a b", "ü", ""):
            self.successResultOf(self.registrations.add(KEY, Credentials(text, text), START))
            found = self.successResultOf(self.registrations.find(KEY))
            assert found is not None
            self.assertEqual((found.client_id, found.client_secret), (text, text))

    def test_other_keys(self) -> None:
        """Where anything in the key differs, it is not found."""
        self.register(KEY)
        found = [self.successResultOf(self.registrations.find(other)) for other in _OTHERS]
        self.assertEqual(found, [None] * len(_OTHERS))

    def test_side_by_side(self) -> None:
        """Each key finds its own registration among those of other keys."""
        added = [self.register(key) for key in (KEY, *_OTHERS)]
        found = [self.successResultOf(self.registrations.find(key)) for key in (KEY, *_OTHERS)]
        self.assertEqual(found, added)

    def test_newest(self) -> None:
        """Of several with one key the one that was kept last is found, whatever its time."""
        for secret, now in (("first", START), ("last", START - 60)):
            self.successResultOf(self.registrations.add(KEY, Credentials("id", secret), now))
        found = self.successResultOf(self.registrations.find(KEY))
        self.assertEqual(found and found.client_secret, "last")

    def test_numbers(self) -> None:
        """Each registration has a number of its own."""
        self.assertEqual(len({self.register().number for _ in range(5)}), 5)
