"""The guard before the socket: what of a handshake is for us to decide, and not for Autobahn.

Autobahn cannot answer a refusal with headers or a page, matches origins by pattern, and puts what
it dislikes into its answer; so nothing but a proper handshake reaches it (RFC 6455 §4.2).
"""

from __future__ import annotations

import base64
import binascii
from typing import cast

import attrs
from autobahn.twisted.resource import WebSocketResource
from twisted.web.resource import Resource
from twisted.web.server import Request as HTTPRequest

from gma.web.addresses import Origins
from gma.web.pages import texts
from gma.web.replies import Answer, Leaf, Reply, not_found, page_reply
from gma.web.websocket import SocketFactory


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
        taken = self._websocket.render(request)
        return cast(int, taken)

    def _refusal(self, request: HTTPRequest) -> Answer | None:
        if request.postpath:
            return not_found
        if request.method != b"GET" or not _asks_for_upgrade(request):
            return _upgrade_required
        if not self._origins.admit(_origin(request)):
            return _foreign_origin
        return None if _has_key(request) else _bad_request


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
