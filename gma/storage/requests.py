"""All SQL about requests and their visits; rows become values at once."""

from __future__ import annotations

import sqlite3
from typing import Any

from gma.core.request import (
    DECIDED,
    MAX_LIVE_VISITS,
    OPEN,
    Endpoints,
    Request,
    State,
    Visit,
)
from gma.storage import registrations
from gma.storage.database import Database

_COLUMNS = (
    "id, issuer, authorization_endpoint, token_endpoint, registration_endpoint, requests.scopes,"
    " force_login, lang, created_at, expires_at, state, error, decided_at"
)
_VISIT_COLUMNS = "request, state_hash, cookie_hash, sealed_verifier, begun_at, is_claimed"
_REQUESTS = "requests JOIN registrations ON registrations.number = requests.registration"


class SqliteRequests:
    """The requests port over SQLite."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, request: Request) -> None:
        """See :meth:`gma.core.ports.Requests.add`."""
        await self._database.write(lambda cursor: _insert(cursor, request))

    async def find(self, request_id: str) -> Request | None:
        """See :meth:`gma.core.ports.Requests.find`."""
        return await self._database.read(lambda cursor: _find(cursor, request_id))

    async def add_visit(self, visit: Visit) -> None:
        """See :meth:`gma.core.ports.Requests.add_visit`."""
        await self._database.write(lambda cursor: _insert_visit(cursor, visit))

    async def find_visit(self, state_hash: bytes) -> tuple[Visit, Request] | None:
        """See :meth:`gma.core.ports.Requests.find_visit`."""
        return await self._database.read(lambda cursor: _find_visit(cursor, state_hash))

    async def has_visit(self, request_id: str, cookie_hash: bytes) -> bool:
        """See :meth:`gma.core.ports.Requests.has_visit`."""
        return await self._database.read(lambda cursor: _has_visit(cursor, request_id, cookie_hash))

    async def claim(self, visit: Visit, state: State, now: float, error: str | None = None) -> bool:
        """See :meth:`gma.core.ports.Requests.claim`."""
        return await self._database.write(lambda cursor: _claim(cursor, visit, state, now, error))

    async def decide(self, request_id: str, state: State, now: float, error: str | None) -> None:
        """See :meth:`gma.core.ports.Requests.decide`."""
        await self._database.write(
            lambda cursor: cursor.execute(
                "UPDATE requests SET state = ?, error = ?, decided_at = ?"
                " WHERE id = ? AND state = ?",
                (state, error, now, request_id, State.EXCHANGING),
            )
        )

    async def interrupt(self) -> None:
        """See :meth:`gma.core.ports.Requests.interrupt`."""
        await self._database.write(
            lambda cursor: cursor.execute(
                "UPDATE requests SET state = ? WHERE state = ?",
                (State.INTERRUPTED, State.EXCHANGING),
            )
        )

    async def forget(self, now: float, ttl: float) -> None:
        """See :meth:`gma.core.ports.Requests.forget`."""
        # A decision comes at most one exchange after the expiry; the index narrows by the latter.
        await self._database.write(
            lambda cursor: cursor.execute(
                "DELETE FROM requests WHERE expires_at <= ?"
                " AND (decided_at IS NULL OR decided_at <= ?)",
                (now - ttl, now - ttl),
            )
        )


def _insert(cursor: sqlite3.Cursor, request: Request) -> None:
    endpoints = request.endpoints
    cursor.execute(
        "INSERT INTO requests VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            request.id,
            request.registration.number,
            endpoints.issuer,
            endpoints.authorization,
            endpoints.token,
            endpoints.registration,
            " ".join(request.scopes),
            request.force_login,
            request.lang,
            request.created_at,
            request.expires_at,
            request.state,
            request.error,
            request.decided_at,
        ),
    )


def _find(cursor: sqlite3.Cursor, request_id: str) -> Request | None:
    cursor.execute(
        f"SELECT {registrations.COLUMNS}, {_COLUMNS} FROM {_REQUESTS} WHERE id = ?",  # noqa: S608
        (request_id,),
    )
    row = cursor.fetchone()
    return None if row is None else _from_row(row)


def _insert_visit(cursor: sqlite3.Cursor, visit: Visit) -> None:
    cursor.execute(
        f"INSERT INTO visits ({_VISIT_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?)",  # noqa: S608
        (
            visit.request_id,
            visit.state_hash,
            visit.cookie_hash,
            visit.sealed_verifier,
            visit.begun_at,
            visit.is_claimed,
        ),
    )
    cursor.execute(
        "DELETE FROM visits WHERE request = ? AND rowid NOT IN"
        " (SELECT rowid FROM visits WHERE request = ? ORDER BY rowid DESC LIMIT ?)",
        (visit.request_id, visit.request_id, MAX_LIVE_VISITS),
    )


def _find_visit(cursor: sqlite3.Cursor, state_hash: bytes) -> tuple[Visit, Request] | None:
    cursor.execute(
        f"SELECT {_VISIT_COLUMNS} FROM visits WHERE state_hash = ?",  # noqa: S608
        (state_hash,),
    )
    row = cursor.fetchone()
    if row is None:
        return None
    *values, is_claimed = row
    visit = Visit(*values, is_claimed=bool(is_claimed))  # type: ignore[misc]
    request = _find(cursor, visit.request_id)
    assert request is not None, "visits refer to requests"
    return visit, request


def _has_visit(cursor: sqlite3.Cursor, request_id: str, cookie_hash: bytes) -> bool:
    cursor.execute(
        "SELECT 1 FROM visits WHERE request = ? AND cookie_hash = ?", (request_id, cookie_hash)
    )
    return cursor.fetchone() is not None


def _claim(
    cursor: sqlite3.Cursor, visit: Visit, state: State, now: float, error: str | None
) -> bool:
    cursor.execute(
        "UPDATE requests SET state = ?, error = ?, decided_at = ? WHERE id = ? AND expires_at > ?"
        " AND state IN (?, ?)"
        " AND EXISTS (SELECT 1 FROM visits WHERE state_hash = ? AND NOT is_claimed)",
        (
            state,
            error,
            now if state in DECIDED else None,
            visit.request_id,
            now,
            *sorted(OPEN),
            visit.state_hash,
        ),
    )
    if cursor.rowcount != 1:
        return False
    cursor.execute("UPDATE visits SET is_claimed = 1 WHERE state_hash = ?", (visit.state_hash,))
    cursor.execute(
        "DELETE FROM visits WHERE request = ? AND state_hash != ?",
        (visit.request_id, visit.state_hash),
    )
    return True


def _from_row(row: tuple[Any, ...]) -> Request:
    registration = registrations.from_row(row[:9])
    (
        request_id,
        issuer,
        authorization,
        token,
        registration_endpoint,
        scopes,
        force_login,
        lang,
        created_at,
        expires_at,
        state,
        error,
        decided_at,
    ) = row[9:]
    return Request(
        id=request_id,
        registration=registration,
        endpoints=Endpoints(issuer, authorization, token, registration_endpoint),
        scopes=tuple(scopes.split()),
        force_login=bool(force_login),
        lang=lang,
        created_at=created_at,
        expires_at=expires_at,
        state=State(state),
        error=error,
        decided_at=decided_at,
    )
