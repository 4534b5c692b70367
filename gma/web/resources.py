"""The tree of web pages; no rules."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from twisted.internet.defer import CancelledError
from twisted.logger import Logger
from twisted.web import http
from twisted.web.resource import Resource
from twisted.web.server import Request as HTTPRequest
from twisted.web.server import Site

from gma.core.broker import Broker, Callback, Departure, ExpiredRequest, UnknownRequest
from gma.core.request import Request, State
from gma.web.handshake import SocketGuard
from gma.web.pages import texts
from gma.web.replies import Answer, Branch, Cookie, Leaf, Reply, page_reply

MAX_CODE_OCTETS = 8 * 1024
MAX_BODY_OCTETS = 8 * 1024

_STATE = re.compile(r"[A-Za-z0-9_-]{16,43}")
_SHAPES = {b"auth": "/auth/{id}", b"callback": "/callback/{host}", b"ws": "/ws", b"": "/"}


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
        return lambda request: _told(self._open_link(request, request_id))

    def callback(self, api_host: str) -> Answer:
        """``GET /callback/{host}``: where hosts send the browser back."""
        return lambda request: _told(self._come_back(request, api_host))

    async def _open_link(self, request: HTTPRequest, request_id: str) -> Reply:
        cookie = _cookie(request, self._cookie_name(request_id))
        if request.method == b"HEAD":
            return await self._glance(await self._broker.look(request_id, cookie))
        reached = await self._broker.follow_link(request_id, cookie)
        if isinstance(reached, Departure):
            return self._depart(reached)
        return await self._outcome(reached)

    async def _come_back(self, request: HTTPRequest, api_host: str) -> Reply:
        if request.method == b"HEAD":
            return await page_reply(texts.method_not_allowed("GET"))
        reached = await self._broker.take_callback(
            _callback(api_host, request),
            lambda request_id: _cookie(request, self._cookie_name(request_id)),
        )
        if isinstance(reached, Departure):
            return self._depart(reached)
        # The outcome has an address of its own: code and state leave the address bar.
        return Reply(303, headers={"Location": self._broker.app.link(reached)})

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
                page = texts.unrecorded(name, host)
        return await page_reply(page)

    def _cookie_name(self, request_id: str) -> str:
        return f"__Host-gma-{request_id}" if self._secure else f"gma-{request_id}"


class SmallRequest(HTTPRequest):
    """A request whose body is refused once it is too large for any page of ours.

    twisted.web reads and parses a body whole before it asks for the page, whatever its size.
    """

    _is_refused = False

    def gotLength(self, length: int | None) -> None:
        """The headers have been read."""
        super().gotLength(length)
        if length is not None and length > MAX_BODY_OCTETS:
            self._refuse()

    def handleContentChunk(self, data: bytes) -> None:
        """A part of the body has come; it may have no length of its own."""
        assert self.content is not None
        if self.content.tell() + len(data) > MAX_BODY_OCTETS:
            self._refuse()
        else:
            super().handleContentChunk(data)

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        """All of it has come."""
        if not self._is_refused:
            super().requestReceived(command, path, version)

    def _refuse(self) -> None:
        if not self._is_refused:
            self._is_refused = True
            channel: Any = self.channel
            channel.transport.write(
                b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            )
            channel.loseConnection()


class GmaSite(Site):
    """The site; its log tells the shape of a path, never an id, a host, a code or a state."""

    noisy = False
    requestFactory = SmallRequest
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


async def _told(answering: Awaitable[Reply]) -> Reply:
    """The answer, or the page for why there is none."""
    try:
        return await answering
    except _BadCallback:
        return await page_reply(texts.bad_request())
    except UnknownRequest:
        return await page_reply(texts.unknown())
    except ExpiredRequest:
        return await page_reply(texts.expired())


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
