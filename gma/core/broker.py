"""The order of work: begin, send to the host, take the callback, deliver, expire.

Knows the rules and the ports; knows no protocol, SQL or HTTP. Every coroutine here may be cancelled
by the border that started it: what must not end half-way runs in flights that the broker owns.
"""

from __future__ import annotations

import math
import secrets
from base64 import urlsafe_b64encode
from collections.abc import Callable

import attrs
from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from gma.core import ports, sealing
from gma.core.hostname import Host, HostRules, Malformed
from gma.core.messages import (
    Auth,
    Error,
    ErrorParameters,
    Fulfill,
    FulfillParameters,
)
from gma.core.request import (
    DECIDED,
    OPEN,
    Endpoints,
    Registration,
    RegistrationKey,
    Request,
    State,
    Visit,
    is_within,
)
from gma.core.single_flight import SingleFlight
from gma.core.waiting_room import WaitingRoom

PREPARE_SECONDS = 9.0
"""What a host may take of the ten seconds in which an ``auth`` is answered."""

FORGET_SECONDS = 60.0
"""How often requests that have been over for long are deleted."""

_ID_OCTETS = 18
_SECRET_OCTETS = 32

# What a client is told, by OAuth code (RFC 6749 §4.1.2.1); the host's own words stay with us.
_SENTENCES = {
    "access_denied": "The user declined the request.",
    "expired_token": "The user did not authorize in time.",
    "invalid_grant": "The host did not accept the login, which may have taken too long.",
    "invalid_scope": "The host does not grant these scopes.",
    "temporarily_unavailable": "The host could not answer just now; try again later.",
    "server_error": "The host did not complete the login.",
}


class UnknownRequest(Exception):
    """No such request, or none that this browser has to do with: told alike to outsiders."""


class ExpiredRequest(Exception):
    """The request's time was up before the user authorized."""


class ScopeRefused(Exception):
    """A client asked for scopes that are not configured."""


@attrs.frozen
class App:
    """The application whose users log in here, as configured.

    :ivar origin: our own public origin, without a trailing slash.
    :ivar request_ttl: seconds that a user has to authorize.
    """

    name: str
    website: str
    scopes: tuple[str, ...]
    origin: str
    request_ttl: float

    def redirect_uri(self, api_host: str) -> str:
        """Where this host sends browsers back: one of its own for each host (RFC 9700 §4.4)."""
        return f"{self.origin}/callback/{api_host}"

    def link(self, request_id: str) -> str:
        """The link that a user opens."""
        return f"{self.origin}/auth/{request_id}"


@attrs.frozen
class Departure:
    """A browser goes on to the host.

    :ivar cookie: the secret that this browser must bring back.
    :ivar max_age: seconds for which it is good.
    """

    request_id: str
    location: str
    cookie: str = attrs.field(repr=False)
    max_age: int


@attrs.frozen
class Callback:
    """What a host sent a browser back with (RFC 6749 §4.1.2, RFC 9207).

    :ivar api_host: the one whose redirect URI it came to.
    """

    api_host: str
    state: str = attrs.field(repr=False)
    code: str | None = attrs.field(default=None, repr=False)
    error: str | None = None
    iss: str | None = None


class Broker:
    """Takes each request from a client's wish to its outcome.

    :param clock: for deadlines and expiry.
    :param now: seconds since the epoch.
    :param token_bytes: that many unpredictable octets, as :func:`secrets.token_bytes`.
    """

    _log = Logger()

    def __init__(
        self,
        app: App,
        rules: HostRules,
        *,
        registrations: ports.Registrations,
        requests: ports.Requests,
        fediverse: ports.Fediverse,
        clock: IReactorTime,
        now: Callable[[], float],
        token_bytes: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self.app = app
        self._rules = rules
        self._registrations = registrations
        self._requests = requests
        self._fediverse = fediverse
        self._clock = clock
        self._now = now
        self._token_bytes = token_bytes
        self._waiting = WaitingRoom(clock, now, self._expire)
        self._registering: SingleFlight[RegistrationKey, Registration] = SingleFlight()
        self._discovering: SingleFlight[Host, Endpoints] = SingleFlight()
        self._exchanging: SingleFlight[str, None] = SingleFlight()
        self._forgetting = LoopingCall(self._forget)
        self._forgetting.clock = clock

    async def start(self) -> None:
        """Take up what an earlier run left, before anything else is asked of this object."""
        await self._requests.interrupt()
        self._forgetting.start(FORGET_SECONDS)

    def stop(self) -> None:
        """Cancel all work and every timer; waiting clients hear nothing of it from here."""
        if self._forgetting.running:
            self._forgetting.stop()
        self._waiting.close()
        for flights in (self._registering, self._discovering, self._exchanging):
            flights.stop()

    async def begin(self, auth: Auth, client: ports.Client) -> Request:
        """Begin a request; it is durable on return, and the client waits for its outcome.

        Answers within ten seconds, whatever the host does.

        :raises gma.core.ports.HostUnusable: where there is no host to log in at.
        :raises ScopeRefused: where more is asked for than is configured.
        """
        scopes = self._narrowed(auth.parameters.scopes)
        registration, endpoints = await self._prepared(self._host(auth.host))
        now = self._now()
        request = Request(
            id=self._random_text(_ID_OCTETS),
            registration=registration,
            endpoints=endpoints,
            scopes=scopes,
            force_login=auth.parameters.force_login,
            lang=auth.parameters.lang,
            created_at=now,
            expires_at=now + self.app.request_ttl,
        )
        await self._requests.add(request)
        self._waiting.enter(request.id, client, request.expires_at)
        return request

    def leave(self, client: ports.Client) -> None:
        """The client is gone. Its requests live on until their time is up."""
        self._waiting.leave(client)

    async def look(self, request_id: str, cookie: str | None) -> Request:
        """What a browser may see of a request; changes nothing.

        :param cookie: the secret that the browser brought for this request, if any.
        :raises UnknownRequest: where there is none, none any more, or it is in another browser's
            hands.
        :raises ExpiredRequest: where its time was up.
        """
        request = await self._requests.find(request_id)
        if request is None or request.is_forgotten(self._now(), self.app.request_ttl):
            raise UnknownRequest
        if request.is_expired(self._now()):
            raise ExpiredRequest
        if request.state is not State.WAITING and not await self._knows(request, cookie):
            raise UnknownRequest
        return request

    async def follow_link(self, request_id: str, cookie: str | None) -> Departure | Request:
        """A browser has opened the link: on to the host, or the outcome if there is one.

        :raises UnknownRequest: as :meth:`look`.
        :raises ExpiredRequest: as :meth:`look`.
        """
        request = await self.look(request_id, cookie)
        if request.state in OPEN:
            return await self._depart(request, cookie)
        if request.id in self._exchanging:
            await self._exchanging.join(request.id, _nothing)
            return await self.look(request_id, cookie)
        return request

    async def take_callback(
        self, callback: Callback, cookie_of: Callable[[str], str | None]
    ) -> str | Departure:
        """A host has sent a browser back: claim the request, exchange the code, deliver.

        A second callback with the same state from the same browser waits for the first.

        :param cookie_of: the secret that the browser brought for a request id.
        :returns: the id whose outcome can be shown, or where to go on to, if an earlier exchange
            was interrupted.
        :raises UnknownRequest: for every callback that is not the one this browser was sent for;
            the code it carries goes nowhere.
        :raises ExpiredRequest: where it comes too late.
        """
        visit, request, cookie = await self._recognized(callback, cookie_of)
        if request.is_expired(self._now()):
            raise ExpiredRequest
        if visit.is_claimed and request.state is State.INTERRUPTED:
            # Its code is spent, or may be: a code is never sent twice.
            return await self._depart(request, cookie)
        if request.state not in DECIDED:
            await self._exchanging.join(
                request.id, lambda: self._consume(request, visit, cookie, callback)
            )
        return request.id

    def _host(self, typed: str) -> Host:
        try:
            return self._rules.parse(typed)
        except Malformed as error:
            raise ports.HostMalformed(error.sentence) from error

    def _narrowed(self, asked: list[str] | None) -> tuple[str, ...]:
        if asked is None:
            return self.app.scopes
        scopes = tuple(dict.fromkeys(asked))
        if not scopes or not is_within(scopes, self.app.scopes):
            raise ScopeRefused
        return scopes

    async def _prepared(self, host: Host) -> tuple[Registration, Endpoints]:
        preparing = Deferred.fromCoroutine(self._prepare(host))
        try:
            return await preparing.addTimeout(PREPARE_SECONDS, self._clock)
        except TimeoutError as error:
            raise ports.HostUnreachable("The host did not answer in time.") from error

    async def _prepare(self, host: Host) -> tuple[Registration, Endpoints]:
        endpoints = await self._discovering.join(host, lambda: self._fediverse.discover(host))
        key = RegistrationKey(
            api_host=host.authority,
            redirect_uri=self.app.redirect_uri(host.authority),
            scopes=self.app.scopes,
            client_name=self.app.name,
            website=self.app.website,
        )
        registration = await self._registering.join(key, lambda: self._registered(endpoints, key))
        return registration, endpoints

    async def _registered(self, endpoints: Endpoints, key: RegistrationKey) -> Registration:
        found = await self._registrations.find(key)
        if found is not None:
            return found
        credentials = await self._fediverse.register(endpoints, key)
        self._log.info("registered at {host}", host=key.api_host)
        return await self._registrations.add(key, credentials, self._now())

    async def _depart(self, request: Request, cookie: str | None) -> Departure:
        # A browser that opens the link in two tabs keeps its secret: else the first would be lost.
        if cookie is None or not await self._knows(request, cookie):
            cookie = self._random_text(_SECRET_OCTETS)
        state = self._random_text(_SECRET_OCTETS)
        verifier = self._random_text(_SECRET_OCTETS)
        nonce = self._token_bytes(sealing.NONCE_OCTETS)
        await self._requests.add_visit(
            Visit(
                request_id=request.id,
                state_hash=sealing.digest(state),
                cookie_hash=sealing.digest(cookie),
                sealed_verifier=sealing.seal_verifier(verifier, cookie, nonce),
                begun_at=self._now(),
            )
        )
        location = self._fediverse.authorize_url(request, state, sealing.code_challenge(verifier))
        return Departure(request.id, location, cookie, self._cookie_seconds(request))

    def _cookie_seconds(self, request: Request) -> int:
        # Until the last page is gone, which tells of the outcome, or that the time was up.
        return math.ceil(request.expires_at + self.app.request_ttl - self._now())

    async def _knows(self, request: Request, cookie: str | None) -> bool:
        return cookie is not None and await self._requests.has_visit(
            request.id, sealing.digest(cookie)
        )

    async def _recognized(
        self, callback: Callback, cookie_of: Callable[[str], str | None]
    ) -> tuple[Visit, Request, str]:
        found = await self._requests.find_visit(sealing.digest(callback.state))
        if found is None:
            raise UnknownRequest
        visit, request = found
        cookie = cookie_of(request.id)
        if (
            cookie is None
            or not secrets.compare_digest(sealing.digest(cookie), visit.cookie_hash)
            or request.api_host != callback.api_host
            or not _is_issuer(callback.iss, request.endpoints.issuer)
            or request.is_forgotten(self._now(), self.app.request_ttl)
        ):
            raise UnknownRequest
        return visit, request, cookie

    async def _consume(
        self, request: Request, visit: Visit, cookie: str, callback: Callback
    ) -> None:
        if callback.code is None:
            await self._refuse(request, visit, callback.error)
        elif await self._requests.claim(visit, State.EXCHANGING, self._now()):
            verifier = sealing.open_verifier(visit.sealed_verifier, cookie)
            await self._exchange(request, callback.code, verifier)

    async def _refuse(self, request: Request, visit: Visit, error: str | None) -> None:
        state = State.DECLINED if error == "access_denied" else State.FAILED
        known = error if error in _SENTENCES and error != "expired_token" else "server_error"
        if await self._requests.claim(visit, state, self._now(), known):
            self._conclude(request, known)

    async def _exchange(self, request: Request, code: str, verifier: str) -> None:
        error: str | None = None
        try:
            token = await self._fediverse.exchange(request, code, verifier)
        except ports.ExchangeFailed as failure:
            state, error = State.FAILED, failure.error
            self._conclude(request, failure.error)
        else:
            # Delivered before it is recorded: a token that the disk kept from its client is lost.
            state = self._deliver(request, token)
        await self._requests.decide(request.id, state, self._now(), error)

    def _deliver(self, request: Request, token: ports.Token) -> State:
        client = self._waiting.call(request.id)
        is_sent = client is not None and client.send(Fulfill(_fulfilled(request, token)))
        state = State.FULFILLED if is_sent else State.UNDELIVERED
        self._log.info("login at {host}: {outcome}", host=request.api_host, outcome=state.value)
        return state

    def _conclude(self, request: Request, error: str) -> None:
        self._log.info("login at {host}: {error}", host=request.api_host, error=error)
        client = self._waiting.call(request.id)
        if client is not None:
            client.send(_error(request.id, error))

    def _expire(self, request_id: str, client: ports.Client) -> None:
        if request_id in self._exchanging:
            # Claimed in time: its outcome is on the way, and bounded by the exchange's deadline.
            self._waiting.enter(request_id, client, self._now() + self.app.request_ttl)
            return
        self._log.info("login: expired_token")
        client.send(_error(request_id, "expired_token"))

    async def _forget(self) -> None:
        try:
            await self._requests.forget(self._now(), self.app.request_ttl)
        except Exception:
            # The timer outlives a failing disk; what was not deleted is deleted next time.
            self._log.failure("old requests could not be deleted")

    def _random_text(self, octets: int) -> str:
        return urlsafe_b64encode(self._token_bytes(octets)).rstrip(b"=").decode("ascii")


async def _nothing() -> None:
    """Stands for work that ended between the look and the wait."""


def _is_issuer(iss: str | None, issuer: str) -> bool:
    # Hosts write their issuer with and without the slash at its end.
    return iss is None or iss.removesuffix("/") == issuer.removesuffix("/")


def _error(request_id: str, error: str) -> Error:
    sentence = _SENTENCES.get(error, _SENTENCES["server_error"])
    return Error(ErrorParameters(error, sentence, id=request_id))


def _fulfilled(request: Request, token: ports.Token) -> FulfillParameters:
    return FulfillParameters(
        token=token.access_token,
        id=request.id,
        host=request.api_host,
        token_type=token.token_type,
        scope=token.scope,
        created_at=token.created_at,
        refresh_token=token.refresh_token,
        expires_in=token.expires_in,
    )
