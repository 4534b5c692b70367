"""What Mastodon accepts and refuses, without HTTP.

Source: Mastodon 4.5 with doorkeeper 5.9, as its documentation and its source have them.
"""

from __future__ import annotations

import hashlib
import itertools
import re
from base64 import urlsafe_b64encode
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import attrs

CODE_SECONDS = 600
REGISTRATIONS_PER_TEN_MINUTES = 5

_READ = "accounts blocks bookmarks favourites filters follows lists mutes notifications search"
_WRITE = "accounts blocks bookmarks conversations favourites filters follows lists media mutes"

SCOPES = frozenset(
    ["read", "write", "follow", "push", "profile", "admin:read", "admin:write"]
    + [f"read:{part}" for part in f"{_READ} statuses".split()]
    + [f"write:{part}" for part in f"{_WRITE} notifications reports statuses".split()]
)


class Refused(Exception):
    """The host answers with an error, as JSON."""

    def __init__(self, status: int, **body: object) -> None:
        super().__init__(status, body)
        self.status = status
        self.body = body


class PageShown(Exception):
    """The host shows the user a page of its own, and sends nobody back."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(status, text)
        self.status = status
        self.text = text


@attrs.frozen
class App:
    """A registered app."""

    client_id: str
    client_secret: str
    name: str
    redirect_uris: tuple[str, ...]
    scopes: tuple[str, ...]
    website: str | None


@attrs.frozen
class Wish:
    """An authorize request that the host has found in order."""

    app: App
    redirect_uri: str
    scopes: tuple[str, ...]
    state: str | None
    code_challenge: str | None
    force_login: bool


@attrs.define
class Code:
    """An authorization code."""

    wish: Wish
    account: str
    made_at: float
    used: bool = False


@attrs.define
class Mastodon:
    """One host: its apps, codes and tokens.

    :ivar now: seconds since the epoch.
    """

    now: Callable[[], float]
    apps: dict[str, App] = attrs.field(factory=dict)
    codes: dict[str, Code] = attrs.field(factory=dict)
    tokens: dict[str, tuple[str, tuple[str, ...]]] = attrs.field(factory=dict)
    granted: dict[tuple[str, str, tuple[str, ...]], str] = attrs.field(factory=dict)
    _numbers: itertools.count[int] = attrs.field(factory=lambda: itertools.count(1))

    def register(self, form: Mapping[str, str]) -> App:
        """``POST /api/v1/apps``."""
        name, uris = form.get("client_name", ""), form.get("redirect_uris", "")
        if not 0 < len(name) <= 60:
            raise _invalid("Application name can't be blank or too long")
        for uri in uris.split("\n"):
            parts = urlsplit(uri)
            if parts.scheme not in ("http", "https") or not parts.netloc or parts.fragment:
                raise _invalid("Redirect URI must be an absolute URI.")
        scopes = tuple(form.get("scopes", "read").split(" "))
        if not SCOPES.issuperset(scopes):
            raise _invalid("Scopes doesn't match configured on the server.")
        website = form.get("website")
        if website is not None and not website.startswith(("http://", "https://")):
            raise _invalid("Website must be a valid URL")
        number = next(self._numbers)
        app = App(
            f"client-{number}", f"secret-{number}", name, tuple(uris.split("\n")), scopes, website
        )
        self.apps[app.client_id] = app
        return app

    def authorize(self, query: str) -> Wish:
        """``GET /oauth/authorize``; what is wrong is shown to the user, not sent back."""
        given = {name: values[-1] for name, values in parse_qs(query).items()}
        app = self.apps.get(given.get("client_id", ""))
        if app is None:
            raise PageShown(401, "Client authentication failed due to unknown client")
        if given.get("redirect_uri") not in app.redirect_uris:
            raise PageShown(400, "The requested redirect uri is malformed or doesn't match")
        if given.get("response_type") != "code":
            raise PageShown(400, "The authorization server does not support this response type.")
        scopes = tuple(given.get("scope", "read").split(" "))
        # Exactly: an app with "write" is not sent on with "write:statuses" (mastodon#22140).
        if not set(app.scopes).issuperset(scopes):
            raise PageShown(400, "The requested scope is invalid, unknown, or malformed.")
        challenge = given.get("code_challenge")
        if challenge is not None and given.get("code_challenge_method") != "S256":
            raise PageShown(400, "The code challenge method must be S256.")
        return Wish(
            app,
            given["redirect_uri"],
            scopes,
            given.get("state"),
            challenge,
            given.get("force_login") == "true",
        )

    def approve(self, wish: Wish, account: str) -> dict[str, str]:
        """The user authorizes: what the browser is sent back with."""
        code = f"code-{next(self._numbers)}"
        self.codes[code] = Code(wish, account, self.now())
        return {"code": code, **_state(wish)}

    def decline(self, wish: Wish) -> dict[str, str]:
        """The user declines: what the browser is sent back with."""
        sentence = "The resource owner or authorization server denied the request."
        return {"error": "access_denied", "error_description": sentence, **_state(wish)}

    def exchange(self, form: Mapping[str, str], basic: tuple[str, str] | None) -> dict[str, Any]:
        """``POST /oauth/token``."""
        if form.get("grant_type") != "authorization_code":
            raise Refused(400, error="unsupported_grant_type", error_description="Unsupported.")
        app = self._authenticated(form, basic)
        for name in ("code", "redirect_uri"):
            if not form.get(name):
                raise Refused(400, error="invalid_request", error_description=f"Missing {name}.")
        code = self.codes.get(form["code"])
        if code is None or not self._may_use(code, app, form):
            raise Refused(400, error="invalid_grant", error_description="The grant is invalid.")
        code.used = True
        key = (app.client_id, code.account, code.wish.scopes)
        token = self.granted.setdefault(key, f"token-{code.account}-{next(self._numbers)}")
        self.tokens[token] = (code.account, code.wish.scopes)
        return {
            "access_token": token,
            "token_type": "Bearer",
            "scope": " ".join(code.wish.scopes),
            "created_at": int(self.now()),
        }

    def verify(self, token: str) -> str:
        """``GET /api/v1/accounts/verify_credentials``: the account a token belongs to."""
        account, scopes = self.tokens.get(token, (None, ()))
        if account is None:
            raise Refused(401, error="The access token is invalid")
        if not {"read", "read:accounts", "profile"}.intersection(scopes):
            raise Refused(403, error="This action is outside the authorized scopes")
        return account

    def _authenticated(self, form: Mapping[str, str], basic: tuple[str, str] | None) -> App:
        in_body = "client_id" in form or "client_secret" in form
        if basic is not None and in_body:
            raise Refused(400, error="invalid_request", error_description="Two credentials.")
        client_id, secret = basic or (form.get("client_id"), form.get("client_secret"))
        app = self.apps.get(client_id or "")
        if app is None or app.client_secret != secret:
            raise Refused(401, error="invalid_client", error_description="Unknown client.")
        return app

    def _may_use(self, code: Code, app: App, form: Mapping[str, str]) -> bool:
        return (
            not code.used
            and code.wish.app == app
            and code.wish.redirect_uri == form["redirect_uri"]
            and self.now() < code.made_at + CODE_SECONDS
            and _is_proven(code.wish.code_challenge, form.get("code_verifier"))
        )


def _state(wish: Wish) -> dict[str, str]:
    return {} if wish.state is None else {"state": wish.state}


def _is_proven(challenge: str | None, verifier: str | None) -> bool:
    if challenge is None:
        return True
    if verifier is None or re.fullmatch(r"[A-Za-z0-9._~-]{43,128}", verifier) is None:
        return False
    hashed = hashlib.sha256(verifier.encode()).digest()
    return urlsafe_b64encode(hashed).rstrip(b"=").decode() == challenge


def _invalid(what: str) -> Refused:
    return Refused(422, error=f"Validation failed: {what}")


def callback_url(wish: Wish, parameters: Mapping[str, str]) -> str:
    """Where the browser is sent back to."""
    return f"{wish.redirect_uri}?{urlencode(parameters)}"
