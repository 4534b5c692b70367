"""Frames of the socket to messages and back; no rules.

The Autobahn subclasses hold no logic: their hooks hand over to a :class:`Session`, because an
exception that leaves a hook drops the connection without a word, and a coroutine as hook is never
awaited.
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, Protocol

from autobahn.exception import Disconnected
from autobahn.twisted.websocket import WebSocketServerFactory, WebSocketServerProtocol
from twisted.internet.defer import CancelledError, Deferred, DeferredList
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from txaio.tx import make_logger

from gma.core.broker import Broker, ScopeRefused
from gma.core.messages import (
    Auth,
    Error,
    ErrorParameters,
    InvalidHost,
    InvalidHostParameters,
    InvalidMessage,
    RequestId,
    ServerMessage,
    SetId,
    SetIdParameters,
    decode,
    encode,
)
from gma.core.ports import HostUnusable
from gma.core.request import Request

MAX_MESSAGE_OCTETS = 8 * 1024
MAX_BAD_MESSAGES = 10

# RFC 6455 §7.4.1
UNSUPPORTED_DATA = 1003
POLICY_VIOLATION = 1008
INTERNAL_ERROR = 1011
SERVICE_RESTART = 1012

_PING_SECONDS = 25
_PONG_SECONDS = 20
_CLOSE_SECONDS = 1


class Frames(Protocol):
    """A connection that frames are written to."""

    def write(self, payload: bytes) -> bool:
        """Send a text frame, unless the connection is closing; whether it was sent."""
        ...

    def close(self, code: int, reason: str) -> None:
        """Begin the closing handshake (RFC 6455 §7.1.2)."""
        ...


class Session:
    """One client on one socket: its messages in, the answers out.

    Provides :class:`gma.core.ports.Client`.
    """

    _log = Logger()

    def __init__(self, broker: Broker, frames: Frames) -> None:
        self._broker = broker
        self._frames = frames
        self._bad_messages = 0
        self._open = True
        self._work: set[Deferred[None]] = set()

    def receive(self, payload: bytes, is_binary: bool) -> None:
        """Take a frame; never raises."""
        if not self._open:
            return
        try:
            self._take(payload, is_binary)
        except Exception:
            self._log.failure("a frame failed")
            self.close(INTERNAL_ERROR, "something went wrong here")

    def send(self, message: ServerMessage) -> bool:
        """See :meth:`gma.core.ports.Client.send`."""
        return self._open and self._frames.write(encode(message))

    def close(self, code: int, reason: str) -> None:
        """Say goodbye; nothing is heard or said after it."""
        if self._open:
            self.lost()
            self._frames.close(code, reason)

    def lost(self) -> None:
        """The connection is gone: give up what was under way for this client."""
        self._open = False
        self._broker.leave(self)
        for work in list(self._work):
            work.cancel()

    def _take(self, payload: bytes, is_binary: bool) -> None:
        if is_binary:
            self.close(UNSUPPORTED_DATA, "text frames only")
            return
        try:
            message = decode(payload)
        except InvalidMessage as error:
            self._reject(error)
            return
        self._bad_messages = 0
        self._start(self._auth(message))

    def _start(self, working: Coroutine[Deferred[Any], Any, None]) -> None:
        work = Deferred.fromCoroutine(working)
        self._work.add(work)
        work.addBoth(self._finish, work)

    def _finish(self, result: Failure | None, work: Deferred[None]) -> None:
        self._work.discard(work)
        if isinstance(result, Failure):
            self._log.failure("an answer failed", result)

    async def _auth(self, auth: Auth) -> None:
        """The guard of this border: whatever happens, the client has an answer."""
        try:
            answer: ServerMessage = _set_id(
                await self._broker.begin(auth, self), self._broker, auth
            )
        except HostUnusable as error:
            answer = _invalid_host(error, auth)
        except ScopeRefused:
            answer = _error(
                "invalid_scope", "A scope was asked for that is not configured.", auth.ref
            )
        except CancelledError:
            return
        except Exception:
            self._log.failure("an auth failed")
            answer = _error("server_error", "Something went wrong here; try again later.", auth.ref)
        self.send(answer)

    def _reject(self, error: InvalidMessage) -> None:
        self.send(_error("invalid_request", error.sentence, error.ref))
        self._bad_messages += 1
        if self._bad_messages >= MAX_BAD_MESSAGES:
            self.close(POLICY_VIOLATION, "too many messages that are none of the protocol's")


def _set_id(request: Request, broker: Broker, auth: Auth) -> SetId:
    parameters = SetIdParameters(
        id=request.id,
        url=broker.app.link(request.id),
        expires_in=int(request.expires_at - request.created_at),
    )
    return SetId(RequestId(request.id), parameters, ref=auth.ref)


def _invalid_host(error: HostUnusable, auth: Auth) -> InvalidHost:
    parameters = InvalidHostParameters(error.reason, error.sentence, error.retry_after)
    return InvalidHost(parameters, ref=auth.ref)


def _error(code: str, sentence: str, ref: str | None) -> Error:
    return Error(ErrorParameters(code, sentence), ref=ref)


class Socket(WebSocketServerProtocol):
    """Autobahn's side of one connection: hands hooks over to a :class:`Session`."""

    # Below this level Autobahn tells of every peer that breaks off, with its address.
    log = make_logger(level="error")
    session: Session | None = None

    def onOpen(self) -> None:
        """The handshake is done."""
        self.session = self.factory.open_session(self)

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        """A whole message has come in."""
        if self.session is not None:
            self.session.receive(payload, isBinary)

    def connectionLost(self, reason: Any) -> None:  # type: ignore[override]
        """The connection is gone, cleanly or not."""
        super().connectionLost(reason)
        if self.session is not None:
            self.factory.forget_session(self.session)
            self.session.lost()

    def write(self, payload: bytes) -> bool:
        """See :class:`Frames`."""
        try:
            self.sendMessage(payload, isBinary=False)
        except Disconnected:
            # The closing handshake has begun, from either side, and the connection is still there.
            return False
        return True

    def close(self, code: int, reason: str) -> None:
        """See :class:`Frames`; ``sendClose`` would refuse the codes that we need."""
        self.sendCloseFrame(code, reason.encode())


class SocketFactory(WebSocketServerFactory):
    """Makes the sockets, with the bounds of the contract, and closes them at the end.

    :param reactor: for Autobahn; its timers go by txaio's loop even so.
    """

    protocol = Socket

    def __init__(self, broker: Broker, reactor: Any) -> None:
        super().__init__(server="", reactor=reactor)
        self._broker = broker
        self._sessions: dict[Session, Deferred[None]] = {}
        self.setProtocolOptions(
            versions=[13],
            webStatus=False,
            maxMessagePayloadSize=MAX_MESSAGE_OCTETS,
            # Dropping would keep 1007 and 1009 from the peer.
            failByDrop=False,
            closeHandshakeTimeout=_CLOSE_SECONDS,
            autoPingInterval=_PING_SECONDS,
            autoPingTimeout=_PONG_SECONDS,
            # A pong is what counts: a client that talks and never reads would be kept for ever.
            autoPingRestartOnAnyTraffic=False,
        )

    def open_session(self, socket: Socket) -> Session:
        """A session for a socket that has just opened."""
        session = Session(self._broker, socket)
        self._sessions[session] = Deferred()
        return session

    def forget_session(self, session: Session) -> None:
        """The session's connection is gone."""
        self._sessions.pop(session).callback(None)

    def close_all(self, clock: IReactorTime) -> Deferred[Any]:
        """Ask every client to come back later; fires when all are gone, or soon after."""
        gone = DeferredList(list(self._sessions.values()), consumeErrors=True)
        for session in list(self._sessions):
            session.close(SERVICE_RESTART, "the service restarts; come back soon")
        return gone.addTimeout(2 * _CLOSE_SECONDS, clock, lambda *_: None)
