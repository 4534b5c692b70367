"""Whose connection this is: which web pages may use the socket."""

from __future__ import annotations

from collections.abc import Iterable

import attrs
from hyperlink import URL

from gma.core.hostname import format_origin


@attrs.frozen
class Origins:
    """The origins of web pages that may use the socket (RFC 6455 §10.2).

    Compared whole, scheme, host and port: matching by pattern is how such checks are got round.
    """

    _allowed: frozenset[str]

    @classmethod
    def of(cls, own: str, website: str, further: Iterable[str]) -> Origins:
        """Our own origin, the application's website's, and the further ones; ``"*"`` for any."""
        return cls(frozenset({own, origin_of(website), *map(_normal, further)}))

    def admit(self, origin: str | None) -> bool:
        """Whether the sender of this ``Origin`` header may use the socket.

        A program sends none and is welcome. ``null`` hides who it is, and is refused.
        """
        if origin is None:
            return True
        if origin == "null":
            return False
        return origin in self._allowed or "*" in self._allowed


def origin_of(url: str) -> str:
    """The origin of a web address, as browsers write it (RFC 6454 §6.2)."""
    parsed = URL.from_text(url).to_uri().normalize()
    return format_origin(parsed.scheme, parsed.host, parsed.port or 0)


def _normal(origin: str) -> str:
    return origin_of(origin) if origin.startswith(("http://", "https://")) else origin
