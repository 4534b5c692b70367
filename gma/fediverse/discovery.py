"""From a host to its OAuth endpoints: RFC 8414 metadata, or else the usual paths."""

from __future__ import annotations

import re

import msgspec
from cachetools import TTLCache
from hyperlink import URL
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from gma.core.hostname import Host, format_origin
from gma.core.ports import HostUnreachable
from gma.core.request import Endpoints
from gma.fediverse.outbound import AnswerUnusable, Outbound, OutboundFailed

CACHE_SECONDS = 3600.0
CACHE_HOSTS = 10_000

_VISIBLE = re.compile(r"[!-~]+")
_PATH = "/.well-known/oauth-authorization-server"


class _Metadata(msgspec.Struct):
    """As much of RFC 8414 §2 as is used, with Mastodon's own member for registration."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    app_registration_endpoint: str | None = None


_decoder = msgspec.json.Decoder(_Metadata)


class Discovery:
    """Asks hosts for their metadata and remembers the answer for an hour.

    :param clock: for the age of what is remembered.
    """

    _log = Logger()

    def __init__(self, outbound: Outbound, clock: IReactorTime) -> None:
        self._outbound = outbound
        self._known: TTLCache[Host, Endpoints] = TTLCache(
            CACHE_HOSTS, CACHE_SECONDS, timer=clock.seconds
        )

    async def discover(self, host: Host) -> Endpoints:
        """The endpoints of a host.

        :raises HostUnreachable: where it does not answer at all.
        """
        known = self._known.get(host)
        if known is not None:
            return known
        endpoints = await self._ask(host)
        self._known[host] = endpoints
        return endpoints

    async def _ask(self, host: Host) -> Endpoints:
        try:
            answer = await self._outbound.get(host.origin + _PATH)
        except AnswerUnusable:
            return usual_endpoints(host)
        except OutboundFailed as error:
            self._log.info("no answer from {host}: {error}", host=host.authority, error=error)
            raise HostUnreachable("The host cannot be reached.") from error
        if answer.status != 200:
            return usual_endpoints(host)
        return _from_metadata(host, answer.body) or usual_endpoints(host)


def usual_endpoints(host: Host) -> Endpoints:
    """Where every server that speaks Mastodon's API has its endpoints."""
    return Endpoints(
        issuer=host.origin,
        authorization=f"{host.origin}/oauth/authorize",
        token=f"{host.origin}/oauth/token",
        registration=f"{host.origin}/api/v1/apps",
    )


def _from_metadata(host: Host, body: bytes) -> Endpoints | None:
    """The endpoints of the metadata, if it counts: its issuer and its endpoints are the host's."""
    try:
        metadata = _decoder.decode(body)
    except (msgspec.DecodeError, RecursionError):
        return None
    endpoints = Endpoints(
        issuer=metadata.issuer,
        authorization=metadata.authorization_endpoint,
        token=metadata.token_endpoint,
        registration=metadata.app_registration_endpoint or usual_endpoints(host).registration,
    )
    if metadata.issuer.removesuffix("/") != host.origin:
        return None
    places = (endpoints.authorization, endpoints.token, endpoints.registration)
    return endpoints if all(_origin_of(place) == host.origin for place in places) else None


def _origin_of(url: str) -> str | None:
    if _VISIBLE.fullmatch(url) is None:
        return None
    try:
        parsed = URL.from_text(url)
    except ValueError:
        return None
    if parsed.userinfo or parsed.fragment:
        return None
    return format_origin(parsed.scheme, parsed.host, parsed.port or 0)
