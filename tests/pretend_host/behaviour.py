"""The switches: how a host may differ from a well-behaved Mastodon 4.5."""

from __future__ import annotations

import attrs
import msgspec

Headers = dict[str, str]


@attrs.frozen
class Canned:
    """An answer that is given whatever was asked."""

    status: int
    body: bytes = b""
    content_type: str = "application/json"
    headers: Headers = attrs.field(factory=dict)


def _json(status: int, body: object, **headers: str) -> Canned:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Canned(status, msgspec.json.encode(body), headers=named)


def _html(status: int, **headers: str) -> Canned:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Canned(status, b"<!DOCTYPE html><title>Hello</title>", "text/html", named)


_TOO_MANY = {"error": "Too many requests"}

CANNED = {
    "404 html": _html(404),
    "200 html": _html(200),
    "403 challenge": _html(403, cf_mitigated="challenge"),
    "401 json": _json(401, {"error": "This method requires an authenticated user"}),
    "422 json": _json(422, {"error": "Validation failed: no"}),
    "500 html": _html(500),
    "503 html": _html(503),
    "bad json": Canned(200, b'{"client_id": '),
    "deep json": Canned(200, b"[" * 100_000),
    "json list": _json(200, []),
    "no client": _json(200, {"name": "x", "client_id": "", "client_secret": None}),
    "empty client": _json(200, {"client_id": "", "client_secret": "x"}),
    "number client": _json(200, {"client_id": 42, "client_secret": "x"}),
    "429 seconds": _json(429, _TOO_MANY, Retry_After="120"),
    "429 date": _json(429, _TOO_MANY, Retry_After="Thu, 01 Jan 2026 00:05:00 GMT"),
    "429 reset": _json(429, _TOO_MANY, X_RateLimit_Reset="2026-01-01T00:03:00.000000Z"),
    "429 nonsense": _json(429, _TOO_MANY, Retry_After="soon", X_RateLimit_Reset="later"),
    "429 bare": _json(429, _TOO_MANY),
    "gzip": Canned(200, b"\x1f\x8b" + b"\0" * 64, headers={"Content-Encoding": "gzip"}),
    "moved": Canned(301, headers={"Location": "https://elsewhere.example/api/v1/apps"}),
    "307": Canned(307, headers={"Location": "https://elsewhere.example/oauth/token"}),
    "empty 400": Canned(400),
    "invalid client": _json(401, {"error": "invalid_client", "error_description": "no"}),
    "invalid grant": _json(400, {"error": "invalid_grant", "error_description": "no"}),
    "invalid credentials": _json(400, {"error": "Invalid credentials"}),
    "error object": _json(401, {"error": {"message": "No such session.", "code": "NO"}}),
    "bad token": _json(200, {"access_token": "a\nb"}),
    "no token": _json(200, {"access_token": None}),
    "akkoma token": _json(
        200,
        {
            "id": 7,
            "access_token": "akkoma-token",
            "refresh_token": "akkoma-refresh",
            "expires_in": 3_153_600_000,
            "scope": "read write",
            "created_at": 1_767_225_600,
            "me": "https://host.example/users/a",
        },
    ),
    "pixelfed token": _json(200, {"access_token": "j" * 1500, "token_type": "Bearer"}),
    "hollo token": _json(200, {"access_token": "hollo-token", "created_at": 1_767_225_600_123}),
    "odd token": _json(
        200,
        {
            "access_token": "odd-token",
            "token_type": 1,
            "scope": ["read", 2, "write"],
            "created_at": "2026-01-01T00:00:00Z",
            "expires_in": 0,
            "refresh_token": "a b\u0007",
        },
    ),
    "odder token": _json(
        200, {"access_token": "odd-token", "created_at": "yesterday", "expires_in": "60"}
    ),
}
"""By name, what ``registration``, ``token`` or ``metadata`` of the behaviour can be set to."""


@attrs.define
class Behaviour:
    """What is switched on; the defaults are a well-behaved Mastodon 4.5.

    :ivar registration: a name of :data:`CANNED`, or ``normal``, ``minimal`` (Akkoma's members
        only), ``hang``, ``drip`` (a byte a second, for ever), ``huge``, ``reset`` or ``echo`` (the
        body, as the first line of what is no HTTP).
    :ivar token: as ``registration``.
    :ivar metadata: as ``registration``; also ``slash`` (at the issuer's end), ``other issuer``,
        ``foreign endpoints``, ``http endpoints``, ``odd endpoints``, ``bad types``, ``redirect``
        and ``redirect loop``.
    :ivar callback: ``normal``, ``access token`` (instead of a code), ``no state``, ``other state``,
        ``two states``, ``long code``, ``invalid scope`` or ``strange error``.
    :ivar iss: sent with the callback (RFC 9207) where it is not empty.
    :ivar regrants: whether a user who has authorized once is not asked again.
    :ivar registration_seconds: how long a registration takes.
    :ivar token_seconds: how long an exchange takes, once the host has read it.
    :ivar limits_registrations: to five in ten minutes.
    """

    registration: str = "normal"
    token: str = "normal"
    metadata: str = "normal"
    callback: str = "normal"
    iss: str = ""
    regrants: bool = True
    registration_seconds: float = 0
    token_seconds: float = 0
    limits_registrations: bool = False
