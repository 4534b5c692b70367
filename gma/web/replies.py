"""Answers to browsers: one shape, one set of headers, one guard for every page.

Every answer of ours is a :class:`Reply`, written in one place.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus

import attrs
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.web.resource import IResource, Resource
from twisted.web.server import NOT_DONE_YET
from twisted.web.server import Request as HTTPRequest

from gma.web.pages import texts
from gma.web.pages.page import STYLE_HASH, Page, render

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
            return Leaf(not_found)
        return Leaf(self._child(name))

    def render(self, request: HTTPRequest) -> int:
        """The path itself, with nothing after it, is no page."""
        return Leaf(not_found).render(request)


async def page_reply(page: Page) -> Reply:
    """A page as an answer."""
    return Reply(page.status, await render(page), headers=dict(page.headers))


async def not_found(request: HTTPRequest) -> Reply:
    """What is not there."""
    return await page_reply(texts.not_found())


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
