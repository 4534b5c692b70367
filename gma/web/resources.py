"""The tree of web pages, and the guard before the socket; no rules.

Every answer of ours is a :class:`Reply`, so that all have the same headers and the one guard.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Any, cast

import attrs
import msgspec
from autobahn.twisted.resource import WebSocketResource
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.web import http
from twisted.web.resource import IResource, Resource
from twisted.web.server import NOT_DONE_YET, Site
from twisted.web.server import Request as HTTPRequest

from gma.core.broker import Broker, Callback, Departure, ExpiredRequest, UnknownRequest
from gma.core.request import Request, State
from gma.web.addresses import Origins
from gma.web.pages import texts
from gma.web.pages.page import STYLE_HASH, Page, render
from gma.web.websocket import SocketFactory

MAX_CODE_OCTETS = 8 * 1024

_STATE = re.compile(r"[A-Za-z0-9_-]{16,43}")
_SHAPES = {b"auth": "/auth/{id}", b"callback": "/callback/{host}", b"ws": "/ws", b"": "/"}

_HEADERS = {
    "Server": "gma",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    # No form-action: Chromium applies it to every redirect that follows a form.
    "Content-Security-Policy": (
        f"default-src 'none'; style-src {STYLE_HASH}; base-uri 'none'; frame-ancestors 'none'"
    ),
}


@attrs.frozen
class Cookie:
    """A cookie of one request, for this browser alone.

    :ivar max_age: seconds.
    """

    name: str
    value: str = attrs.field(repr=False)
    max_age: int
    secure: bool


@attrs.frozen
class Reply:
    """An answer to a browser: a page, some JSON, or the way on."""

    status: int
    body: bytes = b""
    content_type: str = "text/html; charset=utf-8"
    headers: Mapping[str, str] = attrs.field(factory=dict)
    cookie: Cookie | None = None


Answer = Callable[[HTTPRequest], Awaitable[Reply]]


class Leaf(Resource):
    """One page: an answer for GET and HEAD, whose border this is."""

    isLeaf = True
    _log = Logger()

    def __init__(self, answer: Answer) -> None:
        super().__init__()
        self._answer = answer

    def render(self, request: HTTPRequest) -> int:
        """Start the answer; it is given up when the browser goes away."""
        answering = Deferred.fromCoroutine(self._respond(request))
        request.notifyFinish().addErrback(lambda _: answering.cancel())
        return NOT_DONE_YET

    async def _respond(self, request: HTTPRequest) -> None:
        try:
            _write(request, await self._reply(request))
        except CancelledError:
            return
        except Exception:
            self._log.failure("a page failed")
            _write(request, await page_reply(texts.server_error()))

    async def _reply(self, request: HTTPRequest) -> Reply:
        if request.postpath:
            return await page_reply(texts.not_found())
        if request.method not in (b"GET", b"HEAD"):
            return await page_reply(texts.method_not_allowed("GET, HEAD"))
        return await self._answer(request)


class Branch(Resource):
    """A path with pages below it; what is not there is a page as well.

    :param child: what answers for the name that follows, where it is not a fixed one.
    """

    def __init__(self, child: Callable[[str], Answer] | None = None) -> None:
        super().__init__()
        self._child = child

    def getChild(self, path: bytes, request: HTTPRequest) -> IResource:
        """The page of this name."""
        try:
            name = path.decode("ascii")
        except UnicodeDecodeError:
            name = ""
        if self._child is None or not name:
            return Leaf(_not_found)
        return Leaf(self._child(name))

    def render(self, request: HTTPRequest) -> int:
        """The path itself, with nothing after it, is no page."""
        return Leaf(_not_found).render(request)


class Pages:
    """What each path answers.

    :param healthy: returns while the daemon can serve, raises where it cannot.
    :param socket_url: the address of the socket, for the front page.
    """

    _log = Logger()

    def __init__(self, broker: Broker, healthy: Callable[[], Awaitable[None]], socket_url: str):
        self._broker = broker
        self._healthy = healthy
        self._socket_url = socket_url
        self._secure = broker.app.origin.startswith("https:")

    async def front(self, request: HTTPRequest) -> Reply:
        """``GET /``: what this is."""
        app = self._broker.app
        return await page_reply(texts.front(app.name, app.website, self._socket_url))

    async def health(self, request: HTTPRequest) -> Reply:
        """``GET /healthz``: whether the daemon can serve and its database answers."""
        try:
            await self._healthy()
        except CancelledError:
            raise
        except Exception:
            self._log.failure("not healthy")
            return _json(503, {"status": "unavailable"})
        return _json(200, {"status": "ok"})

    def auth(self, request_id: str) -> Answer:
        """``GET /auth/{id}``: on to the host, or the outcome."""

        async def answer(request: HTTPRequest) -> Reply:
            cookie = _cookie(request, self._cookie_name(request_id))
            try:
                if request.method == b"HEAD":
                    return await self._glance(await self._broker.look(request_id, cookie))
                reached = await self._broker.follow_link(request_id, cookie)
            except UnknownRequest:
                return await page_reply(texts.unknown())
            except ExpiredRequest:
                return await page_reply(texts.expired())
            if isinstance(reached, Departure):
                return self._depart(reached)
            return await self._outcome(reached)

        return answer

    def callback(self, api_host: str) -> Answer:
        """``GET /callback/{host}``: where hosts send the browser back."""

        async def answer(request: HTTPRequest) -> Reply:
            if request.method == b"HEAD":
                return await page_reply(texts.method_not_allowed("GET"))
            try:
                callback = _callback(api_host, request)
                reached = await self._broker.take_callback(
                    callback, lambda request_id: _cookie(request, self._cookie_name(request_id))
                )
            except _BadCallback:
                return await page_reply(texts.bad_request())
            except UnknownRequest:
                return await page_reply(texts.unknown())
            except ExpiredRequest:
                return await page_reply(texts.expired())
            if isinstance(reached, Departure):
                return self._depart(reached)
            # The outcome has an address of its own: code and state leave the address bar.
            return Reply(303, headers={"Location": self._broker.app.link(reached)})

        return answer

    def _depart(self, departure: Departure) -> Reply:
        name = self._cookie_name(departure.request_id)
        cookie = Cookie(name, departure.cookie, departure.max_age, self._secure)
        return Reply(303, headers={"Location": departure.location}, cookie=cookie)

    async def _glance(self, request: Request) -> Reply:
        return Reply(200) if request.state is State.WAITING else await self._outcome(request)

    async def _outcome(self, request: Request) -> Reply:
        name, host = self._broker.app.name, request.api_host
        match request.state:
            case State.FULFILLED:
                page = texts.done(name, host)
            case State.UNDELIVERED:
                page = texts.undelivered(name, host)
            case State.DECLINED:
                page = texts.declined(name, host)
            case State.FAILED:
                page = texts.host_failed(name, host, request.error or "server_error")
            case _:
                # Its outcome could not be recorded; the next start finds and mends that.
                page = texts.unavailable()
        return await page_reply(page)

    def _cookie_name(self, request_id: str) -> str:
        return f"__Host-gma-{request_id}" if self._secure else f"gma-{request_id}"


class SocketGuard(Resource):
    """Stands before Autobahn: only a proper handshake from where it may come from gets through."""

    isLeaf = True

    def __init__(self, factory: SocketFactory, origins: Origins, authority: str) -> None:
        super().__init__()
        self._websocket = WebSocketResource(factory)
        self._origins = origins
        self._authority = authority

    def render(self, request: HTTPRequest) -> int:
        """Hand the connection over to Autobahn, or say in a page why not."""
        refusal = self._refusal(request)
        if refusal is not None:
            return Leaf(refusal).render(request)
        headers = request.requestHeaders
        # What has been decided here, and what we do not speak, is not for Autobahn to judge again.
        for name in ("Origin", "Sec-WebSocket-Extensions", "Sec-WebSocket-Protocol"):
            headers.removeHeader(name)
        headers.setRawHeaders("Host", [self._authority])
        request.uri = b"/ws"
        taken = self._websocket.render(request)
        return cast(int, taken)

    def _refusal(self, request: HTTPRequest) -> Answer | None:
        if request.postpath:
            return _not_found
        if request.method != b"GET" or not _asks_for_upgrade(request):
            return _upgrade_required
        if not self._origins.admit(_origin(request)):
            return _foreign_origin
        return None if _has_key(request) else _bad_request


class Pathways(Site):
    """The site; its log tells the shape of a path, never an id, a host, a code or a state."""

    noisy = False
    _access_log = Logger()

    def log(self, request: http.Request) -> None:
        """One line for each page but the health check."""
        first = request.path.split(b"/")[1] if request.path.startswith(b"/") else None
        if first == b"healthz":
            return
        self._access_log.info(
            "{method} {shape} {status}",
            method=request.method.decode("ascii", "replace")[:16],
            shape=_SHAPES.get(first, "(other)") if first is not None else "(other)",
            status=request.code,
        )


def tree(pages: Pages, guard: SocketGuard) -> Resource:
    """The resource tree: docs/protocol.md, "HTTP"."""
    root = Branch()
    root.putChild(b"", Leaf(pages.front))
    root.putChild(b"healthz", Leaf(pages.health))
    root.putChild(b"auth", Branch(pages.auth))
    root.putChild(b"callback", Branch(pages.callback))
    root.putChild(b"ws", guard)
    return root


async def page_reply(page: Page) -> Reply:
    """A page as an answer."""
    return Reply(page.status, await render(page), headers=dict(page.headers))


class _BadCallback(Exception):
    """A callback that no host sends: a parameter twice, or beyond all measure."""


def _callback(api_host: str, request: HTTPRequest) -> Callback:
    state = _argument(request, b"state") or ""
    if _STATE.fullmatch(state) is None:
        raise UnknownRequest
    return Callback(
        api_host=api_host,
        state=state,
        code=_argument(request, b"code"),
        error=_argument(request, b"error"),
        iss=_argument(request, b"iss"),
    )


def _argument(request: HTTPRequest, name: bytes) -> str | None:
    values: list[bytes] = request.args.get(name, [])
    if len(values) > 1 or any(len(value) > MAX_CODE_OCTETS for value in values):
        raise _BadCallback
    return values[0].decode("utf-8", "replace") if values and values[0] else None


def _cookie(request: HTTPRequest, name: str) -> str | None:
    value: bytes | None = request.getCookie(name.encode("ascii"))
    return None if value is None else value.decode("ascii", "replace")


def _json(status: int, value: Any) -> Reply:
    return Reply(status, msgspec.json.encode(value), "application/json")


def _write(request: HTTPRequest, reply: Reply) -> None:
    request.setResponseCode(reply.status, HTTPStatus(reply.status).phrase.encode())
    headers = {**_HEADERS, "Content-Type": reply.content_type, **reply.headers}
    for name, value in headers.items():
        request.setHeader(name, value)
    request.setHeader("Content-Length", str(len(reply.body)))
    if reply.cookie is not None:
        request.addCookie(
            reply.cookie.name,
            reply.cookie.value,
            path="/",
            max_age=str(reply.cookie.max_age),
            secure=reply.cookie.secure,
            httpOnly=True,
            sameSite="lax",
        )
    request.write(reply.body)
    request.finish()


async def _not_found(request: HTTPRequest) -> Reply:
    return await page_reply(texts.not_found())


async def _bad_request(request: HTTPRequest) -> Reply:
    return await page_reply(texts.bad_request())


async def _foreign_origin(request: HTTPRequest) -> Reply:
    return await page_reply(texts.foreign_origin())


async def _upgrade_required(request: HTTPRequest) -> Reply:
    reply = await page_reply(texts.upgrade_required())
    # RFC 6455 §4.4: which version there is, for one who asked for another.
    return attrs.evolve(reply, headers={**reply.headers, "Sec-WebSocket-Version": "13"})


def _asks_for_upgrade(request: HTTPRequest) -> bool:
    return (
        "websocket" in _tokens(request, "Upgrade")
        and "upgrade" in _tokens(request, "Connection")
        and request.requestHeaders.getRawHeaders("Sec-WebSocket-Version") == ["13"]
    )


def _tokens(request: HTTPRequest, name: str) -> set[str]:
    values = request.requestHeaders.getRawHeaders(name, [])
    return {token.strip().lower() for value in values for token in value.split(",")}


def _origin(request: HTTPRequest) -> str | None:
    values = request.requestHeaders.getRawHeaders("Origin", [])
    return ", ".join(values) if values else None


def _has_key(request: HTTPRequest) -> bool:
    keys = request.requestHeaders.getRawHeaders("Sec-WebSocket-Key", [])
    try:
        return len(keys) == 1 and len(base64.b64decode(keys[0].strip(), validate=True)) == 16
    except (binascii.Error, ValueError):
        return False
