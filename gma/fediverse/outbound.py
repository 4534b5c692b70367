"""Requests to strangers: to public addresses only, bounded in time and size, with no memory.

Knows HTTP and treq; knows nothing of OAuth or Mastodon.
"""

from __future__ import annotations

from collections.abc import Coroutine, Mapping
from http.cookiejar import DefaultCookiePolicy
from typing import Any, cast

import attrs
from hyperlink import URL
from OpenSSL import SSL
from treq.client import HTTPClient
from treq.cookies import IndexableCookieJar
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.error import ConnectError, ConnectionLost, DNSLookupError
from twisted.internet.interfaces import IConsumer, IReactorTime
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IBodyProducer, IResponse
from zope.interface import implementer

from gma.core.hostname import HostRules
from gma.fediverse.agent import ClosableAgent

REQUEST_SECONDS = 15.0
MAX_BODY_OCTETS = 256 * 1024
MAX_REDIRECTS = 3


class OutboundFailed(Exception):
    """No answer: not resolved, refused, not trusted, too slow, too large or not HTTP.

    Which of these it was is for the log alone.
    """


class AnswerUnusable(OutboundFailed):
    """The host answers, but with nothing that can be taken: too large, broken off, led astray."""


# Errors whose text is of the system's or of our own making.
_PLAIN = (OutboundFailed, ConnectError, ConnectionLost, DNSLookupError, SSL.Error)


@attrs.frozen
class Answer:
    """A host's answer, whole.

    :ivar body: at most :data:`MAX_BODY_OCTETS`.
    """

    status: int
    headers: Headers
    body: bytes = attrs.field(repr=False)

    def header(self, name: str) -> str | None:
        """The last value of this header, if there is one."""
        values = self.headers.getRawHeaders(name)
        return values[-1] if values else None


class Outbound:
    """Makes requests to hosts that the rules allow.

    :param agent: connects; :class:`PublicAgent` is the one that guards where to.
    :param user_agent: says who we are, with a contact address.
    """

    def __init__(
        self, agent: ClosableAgent, rules: HostRules, clock: IReactorTime, user_agent: str
    ) -> None:
        no_cookies = IndexableCookieJar(DefaultCookiePolicy(allowed_domains=()))
        self._http = HTTPClient(_IdentityAgent(agent), no_cookies, _Form)
        self._rules = rules
        self._clock = clock
        self._user_agent = user_agent

    async def get(self, url: str) -> Answer:
        """GET, following at most three redirects to places that the rules allow.

        :raises AnswerUnusable: where the host answers, but not with anything that can be taken.
        :raises OutboundFailed: where there is no answer in time.
        """
        return await self._in_time(self._get(url))

    async def post(self, url: str, form: Mapping[str, str]) -> Answer:
        """POST a form; no redirect is followed and nothing is sent twice.

        :raises OutboundFailed: where there is no answer in time. The host may have acted even so.
        """
        return await self._in_time(self._request("POST", url, form))

    async def _in_time(self, answering: Coroutine[Deferred[Any], Any, Answer]) -> Answer:
        try:
            return await _cancelled_plainly(answering, self._clock)
        except (OutboundFailed, CancelledError):
            raise
        except Exception as error:
            # Whatever Twisted, OpenSSL or the other side may raise, it comes to the same.
            raise OutboundFailed(_explain(error)) from error

    async def _get(self, url: str) -> Answer:
        answer = await self._request("GET", url, None)
        for _ in range(MAX_REDIRECTS):
            location = answer.header("Location")
            if answer.status not in (301, 302, 303, 307, 308) or location is None:
                return answer
            try:
                url = URL.from_text(url).click(location).normalize().to_text()
                answer = await self._request("GET", url, None)
            except CancelledError:
                raise
            except Exception as error:
                raise AnswerUnusable(f"redirected astray: {_explain(error)}") from error
        return answer

    async def _request(self, method: str, url: str, form: Mapping[str, str] | None) -> Answer:
        target = URL.from_text(url)
        if target.userinfo or not self._rules.allows(target.scheme, target.host, target.port or 0):
            raise OutboundFailed("a place that is not allowed")
        response = await self._http.request(
            method,
            url,
            data=None if form is None else dict(form),
            headers=Headers({"User-Agent": [self._user_agent], "Accept": ["application/json"]}),
            allow_redirects=False,
            # treq would keep the whole body in memory once more.
            unbuffered=True,
            reactor=cast(Any, self._clock),
        )
        body = await _read(response)
        return Answer(response.code, response.headers, body)


def _cancelled_plainly(
    answering: Coroutine[Deferred[Any], Any, Answer], clock: IReactorTime
) -> Deferred[Answer]:
    """The answer within the deadline; who cancels gets :exc:`CancelledError` and nothing else.

    Twisted's client ends a cancelled request in one of several errors of a broken connection.
    """

    is_wanted = True

    def give_up(_: Deferred[Answer]) -> None:
        nonlocal is_wanted
        is_wanted = False
        working.cancel()

    def settle(result: Answer | Failure) -> None:
        if is_wanted:
            waiting.callback(result)

    waiting: Deferred[Answer] = Deferred(give_up)
    working = Deferred.fromCoroutine(answering).addTimeout(REQUEST_SECONDS, clock)
    working.addBoth(settle)
    return waiting


def _explain(error: BaseException) -> str:
    """What went wrong, for the log: never in the other side's words, which may echo our secrets."""
    reasons = getattr(error, "reasons", None)
    if reasons:
        return _explain(reasons[0].value)
    name = type(error).__name__
    return f"{name}: {error}" if isinstance(error, _PLAIN) else name


@implementer(IBodyProducer)
class _Form:
    """A small body, written at once: treq's own way takes a turn of the global reactor."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self.length = len(body)

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        consumer.write(self._body)
        return succeed(None)

    def stopProducing(self) -> None:
        """All is written already."""

    def pauseProducing(self) -> None:
        """All is written already."""

    def resumeProducing(self) -> None:
        """All is written already."""


@implementer(IAgent)
@attrs.frozen
class _IdentityAgent:
    """Asks for the body as it is, and takes no other: treq would unpack a bomb."""

    _agent: ClosableAgent

    def request(
        self,
        method: bytes,
        uri: bytes,
        headers: Headers | None = None,
        bodyProducer: IBodyProducer | None = None,
    ) -> Deferred[IResponse]:
        headers = Headers() if headers is None else headers.copy()
        headers.setRawHeaders("Accept-Encoding", ["identity"])
        requesting = self._agent.request(method, uri, headers, bodyProducer)
        return requesting.addCallback(_identical)


def _identical(response: IResponse) -> IResponse:
    encodings = response.headers.getRawHeaders("Content-Encoding", [])
    if any(encoding.strip().lower() not in ("", "identity") for encoding in encodings):
        unread = _Body(None)
        response.deliverBody(unread)
        unread.abort()
        raise AnswerUnusable("an encoding that was not asked for")
    return response


async def _read(response: IResponse) -> bytes:
    finished: Deferred[bytes] = Deferred(lambda _: body.give_up())
    body = _Body(finished)
    response.deliverBody(body)
    return await finished


class _Body(Protocol):
    """Collects a body up to a limit; past it, or when cancelled, the connection is cut.

    :param finished: fires with the body; ``None`` where nobody waits for it.
    """

    def __init__(self, finished: Deferred[bytes] | None) -> None:
        self._finished = finished
        self._chunks: list[bytes] = []
        self._size = 0

    def dataReceived(self, data: bytes) -> None:
        self._size += len(data)
        if self._size > MAX_BODY_OCTETS:
            self.abort()
            self._finish(Failure(AnswerUnusable("a body that is too large")))
            return
        self._chunks.append(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        # A body without a length ends with its connection; JSON tells whether it is whole.
        if reason.check(ResponseDone, PotentialDataLoss):
            self._finish(b"".join(self._chunks))
        else:
            self._finish(Failure(AnswerUnusable("a body that broke off")))

    def give_up(self) -> None:
        """Nobody waits for the body any more."""
        self._finished = None
        self.abort()

    def abort(self) -> None:
        """Cut the connection; over TLS ``loseConnection`` would wait for the other side."""
        # Twisted hands bodies a proxy of the transport that cannot abort.
        for transport in (self.transport, getattr(self.transport, "_producer", None)):
            abort = getattr(transport, "abortConnection", None)
            if abort is not None:
                abort()
                return
        if self.transport is not None:
            self.transport.loseConnection()

    def _finish(self, result: bytes | Failure) -> None:
        finished, self._finished = self._finished, None
        if finished is not None:
            finished.callback(result)
