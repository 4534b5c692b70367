"""Mastodon's API as far as a login needs it: register, send, exchange.

Knows the paths' forms and answers; a host's trouble becomes an exception of the ports, and nothing
that a host sends can raise past this module. Source: Mastodon documentation, ``POST /api/v1/apps``,
``GET /oauth/authorize``, ``POST /oauth/token``, and what other servers make of them.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.parse import quote, urlencode

import attrs
import msgspec
from twisted.logger import Logger

from gma.core.hostname import Host
from gma.core.ports import (
    Credentials,
    ExchangeFailed,
    HostBusy,
    HostUnreachable,
    HostUnusable,
    NotMastodon,
    Token,
)
from gma.core.request import Endpoints, RegistrationKey, Request
from gma.fediverse.discovery import Discovery
from gma.fediverse.outbound import Answer, Outbound, OutboundFailed

# Mastodon counts registrations over ten minutes; who does not say when to come back gets that.
DEFAULT_RETRY_SECONDS = 600
MAX_RETRY_SECONDS = 86_400
MAX_SECRET_OCTETS = 8 * 1024

_UNPRINTABLE = re.compile(r"[^\x20-\x7e]")
_MILLISECONDS = 100_000_000_000
# Of RFC 6749 §5.2, what says something to an app and its user.
_TOLD_ON = ("invalid_grant", "invalid_scope")


class _App(msgspec.Struct):
    """A registered app; some servers have numbers for ids."""

    client_id: str | int
    client_secret: str | int


class _Token(msgspec.Struct):
    """A token, of which hosts agree on the first member only."""

    access_token: str
    token_type: object = None
    scope: object = None
    created_at: object = None
    refresh_token: object = None
    expires_in: object = None


class _Error(msgspec.Struct):
    """An error, of which hosts agree on nothing: a code, a sentence, an object."""

    error: object = None


_app_decoder = msgspec.json.Decoder(_App)
_token_decoder = msgspec.json.Decoder(_Token)
_error_decoder = msgspec.json.Decoder(_Error)


@attrs.frozen
class Fediverse:
    """The fediverse port over HTTP.

    :ivar now: seconds since the epoch.
    """

    _outbound: Outbound
    _discovery: Discovery
    _now: Callable[[], float]

    _log = Logger()

    async def discover(self, host: Host) -> Endpoints:
        """See :meth:`gma.core.ports.Fediverse.discover`."""
        return await self._discovery.discover(host)

    async def register(self, endpoints: Endpoints, key: RegistrationKey) -> Credentials:
        """See :meth:`gma.core.ports.Fediverse.register`."""
        form = {
            "client_name": key.client_name,
            "redirect_uris": key.redirect_uri,
            "scopes": " ".join(key.scopes),
            "website": key.website,
        }
        try:
            answer = await self._outbound.post(endpoints.registration, form)
        except OutboundFailed as error:
            self._log.info("no registration at {host}: {error}", host=key.api_host, error=error)
            raise HostUnreachable("The host cannot be reached.") from error
        if 200 <= answer.status < 300:
            return _credentials(answer)
        self._log.info(
            "no registration at {host}: status {status}", host=key.api_host, status=answer.status
        )
        raise _refusal(answer, self._now())

    def authorize_url(self, request: Request, state: str, code_challenge: str) -> str:
        """See :meth:`gma.core.ports.Fediverse.authorize_url`; RFC 6749 §4.1.1, RFC 7636 §4.3."""
        parameters = {
            "response_type": "code",
            "client_id": request.registration.client_id,
            "redirect_uri": request.registration.key.redirect_uri,
            "scope": " ".join(request.scopes),
            "state": state,
            "code_challenge": code_challenge,
            "code_challenge_method": "S256",
        }
        if request.force_login:
            parameters["force_login"] = "true"
        if request.lang is not None:
            parameters["lang"] = request.lang
        # An endpoint may have a query of its own (RFC 6749 §3.1). Spaces as %20: not every host
        # reads a plus as one.
        endpoint = request.endpoints.authorization
        separator = "&" if "?" in endpoint else "?"
        return endpoint + separator + urlencode(parameters, quote_via=quote, safe="")

    async def exchange(self, request: Request, code: str, code_verifier: str) -> Token:
        """See :meth:`gma.core.ports.Fediverse.exchange`; RFC 6749 §4.1.3, RFC 7636 §4.5."""
        registration = request.registration
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "client_id": registration.client_id,
            "client_secret": registration.client_secret,
            "redirect_uri": registration.key.redirect_uri,
            "scope": " ".join(request.scopes),
            "code_verifier": code_verifier,
        }
        try:
            answer = await self._outbound.post(request.endpoints.token, form)
        except OutboundFailed as error:
            self._log.warn("no exchange at {host}: {error}", host=request.api_host, error=error)
            raise ExchangeFailed("temporarily_unavailable") from error
        token = _token(answer, request, self._now()) if 200 <= answer.status < 300 else None
        if token is None:
            self._log.warn(
                "no token from {host}: status {status}", host=request.api_host, status=answer.status
            )
            raise ExchangeFailed(_exchange_error(answer))
        return token


def _credentials(answer: Answer) -> Credentials:
    try:
        app = _app_decoder.decode(answer.body)
    except (msgspec.DecodeError, RecursionError):
        raise NotMastodon("The host does not speak Mastodon's API.") from None
    client_id, client_secret = str(app.client_id), str(app.client_secret)
    if not (_is_plain(client_id) and _is_plain(client_secret)):
        raise NotMastodon("The host does not speak Mastodon's API.")
    return Credentials(client_id, client_secret)


def _refusal(answer: Answer, now: float) -> HostUnusable:
    if answer.status == 429:
        return HostBusy(
            "The host lets nobody register an app just now; try again later.",
            _retry_after(answer, now),
        )
    if answer.status >= 500:
        return HostUnreachable("The host has trouble and cannot answer just now.")
    if answer.status in (401, 403):
        return HostUnreachable("The host turns us away.")
    if answer.status in (400, 422):
        return NotMastodon("The host does not accept the app's registration.")
    return NotMastodon("The host does not speak Mastodon's API.")


def _retry_after(answer: Answer, now: float) -> int:
    """Seconds to wait: ``Retry-After`` (RFC 9110 §10.2.3) or Mastodon's ``X-RateLimit-Reset``."""
    for value in (answer.header("Retry-After"), answer.header("X-RateLimit-Reset")):
        seconds = None if value is None else _seconds_until(value.strip(), now)
        if seconds is not None:
            return min(max(1, seconds), MAX_RETRY_SECONDS)
    return DEFAULT_RETRY_SECONDS


def _seconds_until(value: str, now: float) -> int | None:
    if value.isascii() and value.isdecimal() and len(value) < 10:
        return int(value)
    for parse in (datetime.fromisoformat, parsedate_to_datetime):
        try:
            moment = parse(value)
            aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
            return int(aware.timestamp() - now) + 1
        except (ValueError, OverflowError):
            continue
    return None


def _token(answer: Answer, request: Request, now: float) -> Token | None:
    """The token in an answer, whatever else is wrong with it; ``None`` where there is none."""
    try:
        raw = _token_decoder.decode(answer.body)
    except (msgspec.DecodeError, RecursionError):
        return None
    if not _is_plain(raw.access_token):
        return None
    return Token(
        access_token=raw.access_token,
        token_type=raw.token_type if isinstance(raw.token_type, str) else "Bearer",
        scope=_scope(raw.scope, request),
        created_at=_created_at(raw.created_at, now),
        refresh_token=raw.refresh_token
        if isinstance(raw.refresh_token, str) and _is_plain(raw.refresh_token)
        else None,
        expires_in=_positive(raw.expires_in),
    )


def _exchange_error(answer: Answer) -> str:
    """The code of ours for an answer that is no token."""
    if answer.status >= 500 or answer.status == 429:
        return "temporarily_unavailable"
    try:
        error = _error_decoder.decode(answer.body).error
    except (msgspec.DecodeError, RecursionError):
        return "server_error"
    return error if isinstance(error, str) and error in _TOLD_ON else "server_error"


def _is_plain(secret: str) -> bool:
    return 0 < len(secret) <= MAX_SECRET_OCTETS and _UNPRINTABLE.search(secret) is None


def _scope(scope: object, request: Request) -> str:
    """What was granted; what was asked for where the host does not say (RFC 6749 §5.1)."""
    if isinstance(scope, str):
        return scope
    if isinstance(scope, list):
        return " ".join(it for it in scope if isinstance(it, str))
    return " ".join(request.scopes)


def _created_at(value: object, now: float) -> int:
    """Seconds since the epoch: some hosts say milliseconds, some write a date, some nothing."""
    if isinstance(value, int | float) and 0 < value < _MILLISECONDS * 1000:
        return int(value / 1000) if value > _MILLISECONDS else int(value)
    if isinstance(value, str):
        try:
            return int(datetime.fromisoformat(value).timestamp())
        except (ValueError, OverflowError):
            pass
    return int(now)


def _positive(value: object) -> int | None:
    return int(value) if isinstance(value, int | float) and 1 <= value < _MILLISECONDS else None
