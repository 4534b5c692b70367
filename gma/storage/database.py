"""The SQLite file: its making, its schema's steps, its transactions.

Knows SQLite and adbapi; what stands in the tables is the business of the modules beside it.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, TypeVar

from twisted.enterprise.adbapi import ConnectionPool

Result = TypeVar("Result")

_STEPS: tuple[tuple[str, ...], ...] = (
    (
        """
        CREATE TABLE registrations (
            number INTEGER PRIMARY KEY,
            api_host TEXT NOT NULL,        -- A-labels, with :port where it is not 443
            redirect_uri TEXT NOT NULL,    -- ours for this host, the bytes that were registered
            scopes TEXT NOT NULL,          -- separated by spaces
            client_name TEXT NOT NULL,     -- the app's
            website TEXT NOT NULL,         -- the app's
            client_id TEXT NOT NULL,       -- from the host
            client_secret TEXT NOT NULL,   -- from the host
            registered_at REAL NOT NULL    -- seconds since the epoch
        ) STRICT
        """,
        """
        CREATE INDEX registrations_by_key
            ON registrations (api_host, redirect_uri, scopes, client_name, website)
        """,
        """
        CREATE TABLE requests (
            id TEXT PRIMARY KEY,           -- the secret part of the link
            registration INTEGER NOT NULL REFERENCES registrations (number),
            issuer TEXT NOT NULL,          -- this and the endpoints: the host's when it began
            authorization_endpoint TEXT NOT NULL,
            token_endpoint TEXT NOT NULL,
            registration_endpoint TEXT NOT NULL,
            scopes TEXT NOT NULL,          -- asked for, separated by spaces
            force_login INTEGER NOT NULL,  -- 0 or 1
            lang TEXT,                     -- BCP 47
            created_at REAL NOT NULL,      -- seconds since the epoch
            expires_at REAL NOT NULL,      -- seconds since the epoch
            state TEXT NOT NULL,           -- gma.core.request.State
            error TEXT,                    -- OAuth error code of a failed one
            decided_at REAL                -- seconds since the epoch
        ) STRICT
        """,
        "CREATE INDEX requests_by_expiry ON requests (expires_at)",
        """
        CREATE TABLE visits (
            state_hash BLOB PRIMARY KEY,   -- SHA-256 of the OAuth state
            request TEXT NOT NULL REFERENCES requests (id) ON DELETE CASCADE,
            cookie_hash BLOB NOT NULL,     -- SHA-256 of the browser's cookie
            sealed_verifier BLOB NOT NULL, -- PKCE verifier in a SecretBox that the cookie opens
            begun_at REAL NOT NULL,        -- seconds since the epoch
            is_claimed INTEGER NOT NULL    -- 1 once its callback was taken
        ) STRICT
        """,
        "CREATE INDEX visits_by_request ON visits (request)",
    ),
)
"""What leads from each version of the schema to the next. A released step is never edited."""

SCHEMA_VERSION = len(_STEPS)


_APPLICATION_ID = 0x676D6100
"""Stands in the file's head and tells it from the SQLite files of others; "gma" in ASCII."""


class _NotOurs(Exception):
    """The file is of somebody else, or of a newer gma."""


class DatabaseUnusable(Exception):
    """The file cannot be used; the text says why, for the operator."""


def prepare(path: Path) -> None:
    """Make the file where there is none, and bring its schema up to date in one transaction.

    Blocks; to be called before the reactor serves anyone.

    :raises DatabaseUnusable: where it is no database of ours, is newer than this program, or the
        system does not let us.
    """
    try:
        _create(path)
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            # Looked at before anything is changed, the way it keeps its journal included.
            _check(connection)
            _configure(connection)
            _upgrade(connection)
    except (OSError, sqlite3.Error, _NotOurs) as error:
        raise DatabaseUnusable(f"{path}: {error}") from error


class Database:
    """One connection and one writer, on a thread of its own; each unit of work is a transaction.

    :param pool: of one connection, see :func:`open_pool`.
    """

    def __init__(self, pool: ConnectionPool) -> None:
        self._pool = pool

    async def read(self, unit: Callable[[sqlite3.Cursor], Result]) -> Result:
        """Run a unit that changes nothing."""
        return await self._run("BEGIN", unit)

    async def write(self, unit: Callable[[sqlite3.Cursor], Result]) -> Result:
        """Run a unit that changes something: committed and on the disk on return, or undone."""
        return await self._run("BEGIN IMMEDIATE", unit)

    async def check(self) -> None:
        """See that the database answers.

        :raises Exception: whatever kept it from answering.
        """
        await self.read(lambda cursor: cursor.execute("SELECT 1 FROM registrations").fetchone())

    def close(self) -> None:
        """Close the connection and end its thread."""
        self._pool.close()

    async def _run(self, begin: str, unit: Callable[[sqlite3.Cursor], Result]) -> Result:
        def work(cursor: Any) -> Result:
            cursor.execute(begin)
            return unit(cursor)

        result: Result = await self._pool.runInteraction(work)
        return result


def open_pool(path: Path, reactor: Any) -> ConnectionPool:
    """The pool for :class:`Database`; it starts with the reactor."""
    return ConnectionPool(
        "sqlite3",
        str(path),
        # adbapi closes on another thread than the one that opened.
        check_same_thread=False,
        # Transactions are begun by hand: Python's sqlite3 would leave reads outside of any.
        isolation_level=None,
        cp_min=1,
        cp_max=1,
        cp_openfun=_configure,
        cp_noisy=False,
        cp_reactor=reactor,
    )


def _configure(connection: sqlite3.Connection) -> None:
    for pragma in (
        "journal_mode = WAL",
        # A commit is on the disk when it returns: clients act on what they are told.
        "synchronous = FULL",
        "foreign_keys = ON",
        "busy_timeout = 5000",
    ):
        connection.execute(f"PRAGMA {pragma}")


def _create(path: Path) -> None:
    # SQLite would make it readable for all; its journals take the rights of the file.
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        os.fchmod(descriptor, 0o600)
        # SQLite takes a file of a few octets for an empty one, and would write over it.
        if os.fstat(descriptor).st_size and os.read(descriptor, 16) != b"SQLite format 3\0":
            raise _NotOurs("file is not a database")
    finally:
        os.close(descriptor)


def _check(connection: sqlite3.Connection) -> None:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if application != _APPLICATION_ID and (application or version or tables):
        raise _NotOurs("is the database of another program")
    if version > SCHEMA_VERSION:
        raise _NotOurs(
            f"was made by a newer gma: schema {version}, where this one knows {SCHEMA_VERSION}"
        )


def _upgrade(connection: sqlite3.Connection) -> None:
    connection.execute("BEGIN IMMEDIATE")
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    for step in _STEPS[version:]:
        for statement in step:
            connection.execute(statement)
    connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    connection.execute("COMMIT")
