"""A database of its own for each test, and values to keep in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from gma.core.ports import Credentials
from gma.core.request import Endpoints, Registration, RegistrationKey, Request, Visit
from gma.storage.database import Database, prepare
from gma.storage.registrations import SqliteRegistrations
from tests.support import START, Reactor, inline_pool

KEY = RegistrationKey(
    api_host="mastodon.example",
    redirect_uri="https://auth.example/callback/mastodon.example",
    scopes=("read", "write:statuses"),
    client_name="Tëst app",
    website="https://app.example/about",
)
CREDENTIALS = Credentials("client id", "client secret")


class StorageTestCase(SynchronousTestCase):
    """A new SQLite file, prepared and open."""

    def setUp(self) -> None:
        """Make the file and open it."""
        self.path = Path(self.mktemp()).absolute()
        prepare(self.path)
        self.database = Database(inline_pool(self.path, Reactor()))
        self.addCleanup(self.database.close)

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """What the database's own connection answers."""
        rows: list[tuple[Any, ...]] = self.successResultOf(
            self.database.read(lambda cursor: cursor.execute(sql).fetchall())
        )
        return rows

    def register(self, key: RegistrationKey = KEY) -> Registration:
        """A registration that is kept."""
        registrations = SqliteRegistrations(self.database)
        kept: Registration = self.successResultOf(registrations.add(key, CREDENTIALS, START))
        return kept


def make_request(registration: Registration, request_id: str = "r1", **changes: Any) -> Request:
    """A request that waits, from 1000 to 1600."""
    origin = "https://mastodon.example"
    values: dict[str, Any] = {
        "endpoints": Endpoints(
            issuer=f"{origin}/",
            authorization=f"{origin}/oauth/authorize",
            token=f"{origin}/oauth/token",
            registration=f"{origin}/api/v1/apps",
        ),
        "scopes": ("read",),
        "force_login": True,
        "lang": None,
        "created_at": 1000.0,
        "expires_at": 1600.0,
    }
    return Request(request_id, registration, **(values | changes))


def make_visit(name: str, request_id: str = "r1", **changes: Any) -> Visit:
    """A visit that is told from others by its name."""
    values: dict[str, Any] = {
        "state_hash": f"state of {name}".encode(),
        "cookie_hash": f"cookie of {name}".encode(),
        "sealed_verifier": f"verifier of {name}".encode(),
        "begun_at": 1000.5,
    }
    return Visit(request_id, **(values | changes))
