"""All SQL about registrations; rows become values at once."""

from __future__ import annotations

import sqlite3

from gma.core.ports import Credentials
from gma.core.request import Registration, RegistrationKey
from gma.storage.database import Database

COLUMNS = (
    "number, api_host, redirect_uri, registrations.scopes, client_name, website,"
    " client_id, client_secret, registered_at"
)
"""In the order that :func:`from_row` takes."""


class SqliteRegistrations:
    """The registrations port over SQLite."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def find(self, key: RegistrationKey) -> Registration | None:
        """See :meth:`gma.core.ports.Registrations.find`."""
        row = await self._database.read(lambda cursor: _select(cursor, key))
        return None if row is None else from_row(row)

    async def add(self, key: RegistrationKey, credentials: Credentials, now: float) -> Registration:
        """See :meth:`gma.core.ports.Registrations.add`."""
        number = await self._database.write(lambda cursor: _insert(cursor, key, credentials, now))
        return Registration(number, key, credentials.client_id, credentials.client_secret, now)


def from_row(row: tuple[int, str, str, str, str, str, str, str, float]) -> Registration:
    """The registration that stands in these columns."""
    number, api_host, redirect_uri, scopes, client_name, website, client_id, secret, at = row
    key = RegistrationKey(api_host, redirect_uri, tuple(scopes.split()), client_name, website)
    return Registration(number, key, client_id, secret, at)


def _key_columns(key: RegistrationKey) -> tuple[str, str, str, str, str]:
    return key.api_host, key.redirect_uri, " ".join(key.scopes), key.client_name, key.website


def _select(
    cursor: sqlite3.Cursor, key: RegistrationKey
) -> tuple[int, str, str, str, str, str, str, str, float] | None:
    cursor.execute(
        f"SELECT {COLUMNS} FROM registrations"  # noqa: S608 - a constant of ours
        " WHERE api_host = ? AND redirect_uri = ? AND scopes = ? AND client_name = ?"
        " AND website = ? ORDER BY number DESC LIMIT 1",
        _key_columns(key),
    )
    row: tuple[int, str, str, str, str, str, str, str, float] | None = cursor.fetchone()
    return row


def _insert(
    cursor: sqlite3.Cursor, key: RegistrationKey, credentials: Credentials, now: float
) -> int:
    cursor.execute(
        "INSERT INTO registrations (api_host, redirect_uri, scopes, client_name, website,"
        " client_id, client_secret, registered_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (*_key_columns(key), credentials.client_id, credentials.client_secret, now),
    )
    assert cursor.lastrowid is not None
    return cursor.lastrowid
