"""One authorization request: its values, its states, what may follow what."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

import attrs

SCOPE_PATTERN = r"[!#-\[\]-~]+"
"""One scope (RFC 6749 §3.3): no spaces, or one would pass for several."""

MAX_LIVE_VISITS = 5
"""How many visits of one request may be under way; the oldest makes room for a new one."""


class State(StrEnum):
    """Where a request stands. Each step is durable before it counts."""

    WAITING = "waiting"  # for a browser to come back from the host
    EXCHANGING = "exchanging"  # a callback has claimed it; its code is being exchanged
    INTERRUPTED = "interrupted"  # the daemon ended while exchanging; the code is spent or unknown
    FULFILLED = "fulfilled"  # the token was handed to the client
    UNDELIVERED = "undelivered"  # the host gave a token, but the client was gone
    DECLINED = "declined"  # the user said no
    FAILED = "failed"  # the host said no, or could not be understood


OPEN = frozenset({State.WAITING, State.INTERRUPTED})
"""A callback may claim the request."""

DECIDED = frozenset({State.FULFILLED, State.UNDELIVERED, State.DECLINED, State.FAILED})
"""Nothing follows; only the outcome page is left to show."""


@attrs.frozen
class RegistrationKey:
    """What an app's registration at a host depends on: where one of these differs, it is another.

    :ivar api_host: the host that answers API calls, as ``Host.authority``.
    :ivar redirect_uri: ours for this host; registration and requests use the same bytes.
    :ivar scopes: all that are configured, in their order.
    :ivar website: the application's website.
    """

    api_host: str
    redirect_uri: str
    scopes: tuple[str, ...]
    client_name: str
    website: str


@attrs.frozen
class Registration:
    """An app registered at a host (Mastodon documentation, ``POST /api/v1/apps``).

    :ivar number: ours, for the requests that use it.
    :ivar registered_at: seconds since the epoch.
    """

    number: int
    key: RegistrationKey
    client_id: str
    client_secret: str = attrs.field(repr=False)
    registered_at: float


@attrs.frozen
class Endpoints:
    """Where a host does OAuth (RFC 8414 §2). All of one origin, the host's.

    :ivar issuer: as the metadata has it; the host's origin where there is no metadata.
    """

    issuer: str
    authorization: str
    token: str
    registration: str


@attrs.frozen
class Request:
    """One user's login for one client, from ``auth`` to its outcome.

    :ivar id: the secret part of the link; good for opening it, for nothing else.
    :ivar endpoints: those of the host when the request began; no others are used for it.
    :ivar scopes: what the host is asked for, a subset of the registration's.
    :ivar lang: BCP 47, or ``None``.
    :ivar created_at: seconds since the epoch, as are the other times.
    :ivar expires_at: after this no callback is taken.
    :ivar error: an OAuth error code (RFC 6749 §4.1.2.1, §5.2) where the state is failed.
    """

    id: str
    registration: Registration
    endpoints: Endpoints
    scopes: tuple[str, ...]
    force_login: bool
    lang: str | None
    created_at: float
    expires_at: float
    state: State = State.WAITING
    error: str | None = None
    decided_at: float | None = None

    @property
    def api_host(self) -> str:
        """The host that answers API calls."""
        return self.registration.key.api_host

    def is_expired(self, now: float) -> bool:
        """Whether the user's time is up without a decision."""
        return self.state in OPEN and now >= self.expires_at

    def is_forgotten(self, now: float, ttl: float) -> bool:
        """Whether even the page of what became of it is gone: ``ttl`` seconds after its end."""
        if self.decided_at is not None:
            return now >= self.decided_at + ttl
        return now >= self.expires_at + ttl


@attrs.frozen
class Visit:
    """One browser's way to the host and back (security.md, "A visit").

    :ivar state_hash: of the ``state`` that the callback must carry.
    :ivar cookie_hash: of the secret that only this browser has.
    :ivar sealed_verifier: the PKCE verifier, to be opened with the cookie alone.
    :ivar is_claimed: whether its callback has been taken; it is taken once.
    """

    request_id: str
    state_hash: bytes
    cookie_hash: bytes
    sealed_verifier: bytes
    begun_at: float
    is_claimed: bool = False


def contains(granted: str, asked: str) -> bool:
    """Whether one scope grants another: ``write`` contains ``write:statuses``.

    Source: Mastodon documentation, "OAuth scopes".
    """
    return asked == granted or asked.startswith(f"{granted}:")


def is_within(asked: Iterable[str], granted: Iterable[str]) -> bool:
    """Whether each scope asked for is contained in one that is granted."""
    given = tuple(granted)
    return all(any(contains(scope, wanted) for scope in given) for wanted in asked)
