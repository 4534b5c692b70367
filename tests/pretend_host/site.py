"""The pretend host as a tree for twisted.web, in memory or on a real server."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Awaitable, Callable
from html import escape
from typing import Any
from urllib.parse import parse_qsl, quote

import attrs
import msgspec
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall, deferLater
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request

from tests.pretend_host.behaviour import CANNED, Behaviour, Canned
from tests.pretend_host.mastodon import (
    REGISTRATIONS_PER_TEN_MINUTES,
    Mastodon,
    PageShown,
    Refused,
    Wish,
    callback_url,
)


@attrs.frozen
class Seen:
    """A request that came in."""

    method: str
    path: str
    headers: dict[str, str]
    form: dict[str, str]


class PretendHost(Resource):
    """One host: what it is asked, it notes, checks and answers.

    :param origin: its own, as browsers see it.
    :param clock: for delays.
    """

    isLeaf = True

    def __init__(self, origin: str, mastodon: Mastodon, clock: IReactorTime) -> None:
        super().__init__()
        self.origin = origin
        self.mastodon = mastodon
        self.behaviour = Behaviour()
        self.journal: list[Seen] = []
        self.registered_at: list[float] = []
        self._clock = clock
        self._authorized: set[tuple[str, str]] = set()
        self._routes: dict[tuple[bytes, str], Callable[[Request], Awaitable[None]]] = {
            (b"GET", "/.well-known/oauth-authorization-server"): self._metadata,
            (b"GET", "/moved/oauth-authorization-server"): self._moved_metadata,
            (b"POST", "/api/v1/apps"): self._register,
            (b"GET", "/oauth/authorize"): self._authorize,
            (b"POST", "/oauth/authorize"): self._answer_consent,
            (b"GET", "/auth/sign_in"): self._sign_in_form,
            (b"POST", "/auth/sign_in"): self._sign_in,
            (b"POST", "/oauth/token"): self._token,
            (b"GET", "/api/v1/accounts/verify_credentials"): self._verify,
            (b"OPTIONS", "/api/v1/accounts/verify_credentials"): self._preflight,
        }

    def count(self, path: str) -> int:
        """How often a path has been asked for."""
        return sum(seen.path == path for seen in self.journal)

    def forms(self, path: str) -> list[dict[str, str]]:
        """What was posted there."""
        return [seen.form for seen in self.journal if seen.path == path]

    def approve(self, url: str, account: str = "alice") -> str:
        """What a user's browser does who signs in and authorizes: the callback's URL.

        :raises PageShown: where the host would show a page instead.
        """
        wish = self.mastodon.authorize(self._query(url))
        return self._callback(wish, self.mastodon.approve(wish, account))

    def decline(self, url: str) -> str:
        """As :meth:`approve`, of a user who says no."""
        wish = self.mastodon.authorize(self._query(url))
        return self._callback(wish, self.mastodon.decline(wish))

    def render(self, request: Request) -> int:
        """Note the request and answer it."""
        path = request.path.decode("ascii")
        if path != "/oauth/authorize" or request.method == b"POST":
            form = {k.decode(): v[-1].decode() for k, v in request.args.items()}
        else:
            form = {}
        headers = {
            name.decode().lower(): values[-1].decode()
            for name, values in request.requestHeaders.getAllRawHeaders()
        }
        self.journal.append(Seen(request.method.decode(), path, headers, form))
        route = self._routes.get((request.method, path), self._absent)
        answering = Deferred.fromCoroutine(self._answer(request, route))
        request.notifyFinish().addErrback(lambda _: answering.cancel())
        return NOT_DONE_YET

    async def _answer(self, request: Request, route: Callable[[Request], Awaitable[None]]) -> None:
        try:
            await route(request)
        except Refused as refusal:
            _send_json(request, refusal.status, refusal.body)
        except PageShown as page:
            _send_html(request, page.status, f"<h1>An error occurred</h1><p>{escape(page.text)}")
        except CancelledError:
            return

    async def _absent(self, request: Request) -> None:
        raise Refused(404, error="Not Found")

    async def _metadata(self, request: Request) -> None:
        switch = self.behaviour.metadata
        if switch in ("redirect", "redirect loop"):
            path = "/moved" if switch == "redirect" else "/.well-known"
            request.redirect(f"{path}/oauth-authorization-server".encode())
            request.finish()
        elif not await self._misbehaves(request, switch):
            _send_json(request, 200, self._described(switch))

    async def _moved_metadata(self, request: Request) -> None:
        _send_json(request, 200, self._described("normal"))

    def _described(self, switch: str) -> dict[str, Any]:
        place = {
            "foreign endpoints": "https://elsewhere.example",
            "http endpoints": self.origin.replace("https:", "http:"),
            "odd endpoints": f"https://user@{self.origin.partition('://')[2]}",
        }.get(switch, self.origin)
        issuer = {"slash": f"{self.origin}/", "other issuer": "https://elsewhere.example"}
        described: dict[str, Any] = {
            "issuer": issuer.get(switch, self.origin),
            "authorization_endpoint": f"{place}/oauth/authorize",
            "token_endpoint": f"{place}/oauth/token",
            "app_registration_endpoint": f"{place}/api/v1/apps",
            "scopes_supported": ["read", "write"],
            "response_types_supported": ["code"],
            "code_challenge_methods_supported": ["S256"],
        }
        if switch == "bad types":
            described["token_endpoint"] = 5
        return described

    async def _register(self, request: Request) -> None:
        await self._pause(self.behaviour.registration_seconds)
        if await self._misbehaves(request, self.behaviour.registration):
            return
        now = self.mastodon.now()
        recent = [at for at in self.registered_at if at > now - 600]
        if self.behaviour.limits_registrations and len(recent) >= REGISTRATIONS_PER_TEN_MINUTES:
            raise Refused(429, error="Too many requests")
        app = self.mastodon.register(_body(request))
        self.registered_at.append(now)
        body: dict[str, Any] = {
            "id": "1",
            "name": app.name,
            "website": app.website,
            "redirect_uri": "\n".join(app.redirect_uris),
            "client_id": app.client_id,
            "client_secret": app.client_secret,
            "vapid_key": "x",
        }
        if self.behaviour.registration == "normal":
            body |= {
                "scopes": list(app.scopes),
                "redirect_uris": list(app.redirect_uris),
                "client_secret_expires_at": 0,
            }
        _send_json(request, 200, body)

    async def _authorize(self, request: Request) -> None:
        account = _cookie(request)
        query = request.uri.decode("ascii").partition("?")[2]
        if account is None:
            self._redirect(request, f"/auth/sign_in?next={quote(query, safe='')}")
            return
        wish = self.mastodon.authorize(query)
        known = (account, wish.app.client_id) in self._authorized
        if known and self.behaviour.regrants and not wish.force_login:
            self._redirect(request, self._callback(wish, self.mastodon.approve(wish, account)))
            return
        _send_html(request, 200, _consent(wish, query))

    async def _answer_consent(self, request: Request) -> None:
        account, form = _cookie(request), _body(request)
        if account is None:
            raise PageShown(401, "Sign in first")
        wish = self.mastodon.authorize(form["query"])
        if form["decision"] == "deny":
            self._redirect(request, self._callback(wish, self.mastodon.decline(wish)))
            return
        self._authorized.add((account, wish.app.client_id))
        self._redirect(request, self._callback(wish, self.mastodon.approve(wish, account)))

    async def _sign_in_form(self, request: Request) -> None:
        query = request.args[b"next"][0].decode()
        _send_html(request, 200, _sign_in(query))

    async def _sign_in(self, request: Request) -> None:
        form = _body(request)
        if form["password"] != f"{form['username']}-password":
            raise PageShown(401, "Invalid password")
        request.addCookie("session", form["username"], path="/", httpOnly=True, sameSite="lax")
        self._redirect(request, f"/oauth/authorize?{form['next']}")

    async def _token(self, request: Request) -> None:
        if await self._misbehaves(request, self.behaviour.token):
            return
        answer = self.mastodon.exchange(_body(request), _basic(request))
        await self._pause(self.behaviour.token_seconds)
        _send_json(request, 200, answer)

    async def _verify(self, request: Request) -> None:
        bearer = (request.getHeader("authorization") or "").removeprefix("Bearer ")
        account = self.mastodon.verify(bearer)
        request.setHeader("Access-Control-Allow-Origin", "*")
        _send_json(request, 200, {"username": account, "acct": account, "display_name": ""})

    async def _preflight(self, request: Request) -> None:
        # What a web page's browser asks before it sends a token (Fetch standard, "CORS-preflight").
        request.setHeader("Access-Control-Allow-Origin", "*")
        request.setHeader("Access-Control-Allow-Headers", "authorization")
        request.finish()

    def _query(self, url: str) -> str:
        place, _, query = url.partition("?")
        assert place == f"{self.origin}/oauth/authorize", place
        return query

    def _callback(self, wish: Wish, parameters: dict[str, str]) -> str:
        if self.behaviour.iss:
            parameters["iss"] = self.behaviour.iss
        state = parameters.get("state", "")
        match self.behaviour.callback:
            case "access token":
                parameters = {"access_token": "raw-token", "state": state}
            case "no state":
                del parameters["state"]
            case "other state":
                parameters["state"] = "A" * 43
            case "two states":
                return f"{callback_url(wish, parameters)}&state={state}"
            case "long code":
                code = parameters["code"] + "x" * 2048
                self.mastodon.codes[code] = self.mastodon.codes.pop(parameters["code"])
                parameters["code"] = code
            case "invalid scope":
                parameters = {"error": "invalid_scope", "state": state}
            case "strange error":
                parameters = {"error": "<script>alert(1)</script>", "state": state}
        return callback_url(wish, parameters)

    async def _misbehaves(self, request: Request, switch: str) -> bool:
        canned = CANNED.get(switch)
        if canned is not None:
            _send(request, canned)
        elif switch in ("drip", "huge", "reset"):
            await self._stream(request, switch)
        elif switch == "hang":
            await Deferred()
        elif switch == "echo":
            assert request.content is not None
            request.channel.write(b"Odd: " + request.content.read() + b"\r\n\r\n")
            request.channel.loseConnection()
        else:
            return False
        return True

    async def _stream(self, request: Request, switch: str) -> None:
        request.setHeader("Content-Type", "application/json")
        if switch == "reset":
            request.setHeader("Content-Length", "1000")
            request.write(b"{")
            request.loseConnection()
        elif switch == "huge":
            request.write(b" " * (300 * 1024))
            request.finish()
        else:
            dripping = LoopingCall(request.write, b" ")
            dripping.clock = self._clock
            request.notifyFinish().addErrback(lambda _: dripping.stop())
            await dripping.start(1)

    async def _pause(self, seconds: float) -> None:
        if seconds:
            await deferLater(self._clock, seconds)

    def _redirect(self, request: Request, location: str) -> None:
        request.setResponseCode(302)
        request.setHeader("Location", location)
        request.finish()


def _body(request: Request) -> dict[str, str]:
    assert request.content is not None
    request.content.seek(0)
    content = request.content.read()
    if (request.getHeader("content-type") or "").startswith("application/json"):
        return msgspec.json.decode(content, type=dict[str, str])
    return dict(parse_qsl(content.decode(), keep_blank_values=True))


def _basic(request: Request) -> tuple[str, str] | None:
    header = request.getHeader("authorization") or ""
    if not header.startswith("Basic "):
        return None
    try:
        user, _, password = base64.b64decode(header[6:]).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return None
    return user, password


def _cookie(request: Request) -> str | None:
    value = request.getCookie(b"session")
    return None if value is None else value.decode()


def _consent(wish: Wish, query: str) -> str:
    return (
        f"<h1>Authorization required</h1><p>{escape(wish.app.name)} wants: "
        f"{escape(' '.join(wish.scopes))}</p>"
        '<form method="post" action="/oauth/authorize">'
        f'<input type="hidden" name="query" value="{escape(query)}">'
        '<button name="decision" value="allow">Authorize</button> '
        '<button name="decision" value="deny">Deny</button></form>'
    )


def _sign_in(query: str) -> str:
    return (
        '<h1>Sign in</h1><form method="post" action="/auth/sign_in">'
        f'<input type="hidden" name="next" value="{escape(query)}">'
        '<label>Name <input name="username"></label> '
        '<label>Password <input type="password" name="password"></label> '
        "<button>Sign in</button></form>"
    )


def _send(request: Request, canned: Canned) -> None:
    request.setResponseCode(canned.status)
    request.setHeader("Content-Type", canned.content_type)
    for name, value in canned.headers.items():
        request.setHeader(name, value)
    # A cookie that no careful client brings back.
    request.addCookie("tracker", "1")
    request.write(canned.body)
    request.finish()


def _send_json(request: Request, status: int, body: object) -> None:
    _send(request, Canned(status, msgspec.json.encode(body)))


def _send_html(request: Request, status: int, body: str) -> None:
    page = f'<!DOCTYPE html><html lang="en"><title>Pretend host</title><body>{body}</body></html>'
    request.setResponseCode(status)
    request.setHeader("Content-Type", "text/html; charset=utf-8")
    request.write(page.encode())
    request.finish()
