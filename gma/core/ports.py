"""What the core needs from outside, with the values and exceptions that are spoken there.

The rooms beside the core (fediverse, storage, web) provide these; nothing here knows how.
"""

from __future__ import annotations

from typing import Protocol

import attrs

from gma.core.hostname import Host
from gma.core.messages import ServerMessage
from gma.core.request import Endpoints, Registration, RegistrationKey, Request, State, Visit


class HostUnusable(Exception):
    """A host cannot be used.

    :ivar reason: the word for it on the wire (docs/protocol.md, ``invalid-host``).
    :ivar sentence: for people; never what the host said.
    :ivar retry_after: seconds, where waiting helps.
    """

    reason = "unreachable"
    retry_after: int | None = None

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence)
        self.sentence = sentence


class HostMalformed(HostUnusable):
    """What was typed is no public host name."""

    reason = "malformed"


class HostUnreachable(HostUnusable):
    """No answer that helps: which kind of none is not told, it would tell of the network."""

    reason = "unreachable"


class NotMastodon(HostUnusable):
    """The host answers, but not as one that speaks Mastodon's API."""

    reason = "not-mastodon"


class HostBusy(HostUnusable):
    """The host asks us to wait."""

    reason = "busy"

    def __init__(self, sentence: str, retry_after: int) -> None:
        super().__init__(sentence)
        self.retry_after = retry_after


class ExchangeFailed(Exception):
    """The host gave no token for the code.

    :ivar error: an OAuth error code of ours, see docs/protocol.md.
    """

    def __init__(self, error: str) -> None:
        super().__init__(error)
        self.error = error


@attrs.frozen
class Credentials:
    """What a host gives an app that registers."""

    client_id: str
    client_secret: str = attrs.field(repr=False)


@attrs.frozen
class Token:
    """A successful answer of the token endpoint (RFC 6749 §5.1).

    :ivar created_at: seconds since the epoch.
    :ivar expires_in: seconds, where the host limits the token's life.
    """

    access_token: str = attrs.field(repr=False)
    token_type: str
    scope: str
    created_at: int
    refresh_token: str | None = attrs.field(repr=False)
    expires_in: int | None


class Fediverse(Protocol):
    """The hosts out there."""

    async def discover(self, host: Host) -> Endpoints:
        """The OAuth endpoints of a host.

        :raises HostUnusable: where none can be told.
        """
        ...

    async def register(self, endpoints: Endpoints, key: RegistrationKey) -> Credentials:
        """Register the app anew.

        :raises HostUnusable: where the host does not register it.
        """
        ...

    def authorize_url(self, request: Request, state: str, code_challenge: str) -> str:
        """Where to send the browser, ``state`` and PKCE challenge (S256) included."""
        ...

    async def exchange(self, request: Request, code: str, code_verifier: str) -> Token:
        """Exchange an authorization code, once.

        :raises ExchangeFailed: where the host gives no token.
        """
        ...


class Registrations(Protocol):
    """The app's registrations, durable."""

    async def find(self, key: RegistrationKey) -> Registration | None:
        """The newest registration with this key, if there is one."""
        ...

    async def add(self, key: RegistrationKey, credentials: Credentials, now: float) -> Registration:
        """Keep a new one; it is durable on return."""
        ...


class Requests(Protocol):
    """Requests and their visits, durable: each change is committed on return."""

    async def add(self, request: Request) -> None:
        """Keep a new request."""
        ...

    async def find(self, request_id: str) -> Request | None:
        """The request, if it is known."""
        ...

    async def add_visit(self, visit: Visit) -> None:
        """Keep a new visit; of more than :data:`MAX_LIVE_VISITS` the oldest dies."""
        ...

    async def find_visit(self, state_hash: bytes) -> tuple[Visit, Request] | None:
        """The visit that a ``state`` belongs to, with its request."""
        ...

    async def has_visit(self, request_id: str, cookie_hash: bytes) -> bool:
        """Whether a browser with this secret has a visit of this request."""
        ...

    async def claim(self, visit: Visit, state: State, now: float, error: str | None = None) -> bool:
        """Let one visit consume its request, which goes from open to ``state``; the others die.

        :returns: whether it did: another was first, or the time was up, where it did not.
        """
        ...

    async def decide(self, request_id: str, state: State, now: float, error: str | None) -> None:
        """Record the outcome of a claimed request."""
        ...

    async def interrupt(self) -> None:
        """What is found exchanging, by a daemon that has just started, is interrupted."""
        ...

    async def forget(self, now: float, ttl: float) -> None:
        """Delete every request whose last page is gone, with its visits."""
        ...


class Client(Protocol):
    """The one who began a request and waits for its outcome."""

    def send(self, message: ServerMessage) -> bool:
        """Send a message; never raises, whatever the state of the connection.

        :returns: whether it went out: not to a client that is gone or about to go.
        """
        ...
