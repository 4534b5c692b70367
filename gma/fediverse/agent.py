"""Connections to strangers: to public addresses only, over TLS that is verified."""

from __future__ import annotations

import typing
from collections.abc import Iterable
from typing import Any

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.interfaces import (
    IDelayedCall,
    IHostnameResolver,
    IReactorPluggableNameResolver,
    IStreamClientEndpoint,
)
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.web.client import URI, Agent, BrowserLikePolicyForHTTPS, HTTPConnectionPool
from twisted.web.http_headers import Headers
from twisted.web.iweb import (
    IAgent,
    IAgentEndpointFactory,
    IBodyProducer,
    IPolicyForHTTPS,
    IResponse,
)
from zope.interface import implementer

from gma.core.hostname import HostRules
from gma.fediverse.addresses import PublicResolver

CONNECT_SECONDS = 5.0
MAX_RESPONSE_OCTETS = 512 * 1024
# Servers drop idle connections after 5 s (Node) or more: a POST on one that is being dropped would
# be lost, and must not be sent twice.
IDLE_SECONDS = 4


class ClosableAgent(typing.Protocol):
    """An agent that keeps connections."""

    def request(
        self,
        method: bytes,
        uri: bytes,
        headers: Headers | None = None,
        bodyProducer: IBodyProducer | None = None,
    ) -> Deferred[IResponse]:
        """See :class:`IAgent`."""
        ...

    def close(self) -> Deferred[None]:
        """Close the connections that are kept for the next request; fires when they are closed."""
        ...


@implementer(IAgent)
class PublicAgent:
    """Connects to public addresses, and to the private hosts of the rules.

    :param policy: how TLS is verified; the platform's trust where none is given, which
        ``SSL_CERT_FILE`` and ``SSL_CERT_DIR`` replace. TLS 1.2 is the least in either case.
    """

    def __init__(
        self, reactor: Any, rules: HostRules, policy: IPolicyForHTTPS | None = None
    ) -> None:
        self._pool = HTTPConnectionPool(reactor)
        self._pool.cachedConnectionTimeout = IDLE_SECONDS
        endpoints = _PublicEndpoints(
            _PublicReactor(reactor, PublicResolver(reactor.nameResolver, rules)),
            policy or BrowserLikePolicyForHTTPS(),
        )
        self._agent: IAgent = Agent.usingEndpointFactory(reactor, endpoints, self._pool)

    def request(
        self,
        method: bytes,
        uri: bytes,
        headers: Headers | None = None,
        bodyProducer: IBodyProducer | None = None,
    ) -> Deferred[IResponse]:
        """See :class:`IAgent`."""
        return self._agent.request(method, uri, headers, bodyProducer)

    def close(self) -> Deferred[None]:
        """Close the connections that are kept for the next request; fires when they are closed."""
        closing: Deferred[None] = self._pool.closeCachedConnections()
        return closing


@implementer(IReactorPluggableNameResolver)
class _PublicReactor:
    """The reactor as far as an endpoint needs it, with a name resolver of ours."""

    def __init__(self, reactor: Any, resolver: IHostnameResolver) -> None:
        self._reactor = reactor
        self.nameResolver = resolver

    def installNameResolver(self, resolver: IHostnameResolver) -> IHostnameResolver:
        raise NotImplementedError("the guard stays where it is")

    def connectTCP(self, *args: Any, **kwargs: Any) -> Any:
        return self._reactor.connectTCP(*args, **kwargs)

    def callLater(self, delay: float, call: Any, *args: Any, **kwargs: Any) -> IDelayedCall:
        later: IDelayedCall = self._reactor.callLater(delay, call, *args, **kwargs)
        return later

    def seconds(self) -> float:
        now: float = self._reactor.seconds()
        return now


@implementer(IAgentEndpointFactory)
@attrs.frozen
class _PublicEndpoints:
    _reactor: _PublicReactor
    _policy: IPolicyForHTTPS

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:
        # As text: of octets Twisted would make Unicode, and the system's resolver A-labels again,
        # by the older rules of IDNA 2003.
        name = uri.host.decode("ascii")
        endpoint = HostnameEndpoint(self._reactor, name, uri.port, timeout=CONNECT_SECONDS)
        if uri.scheme == b"http":
            return _Bounded(endpoint)
        return _Bounded(wrapClientTLS(self._policy.creatorForNetloc(uri.host, uri.port), endpoint))


@implementer(IStreamClientEndpoint)
@attrs.frozen
class _Bounded:
    """Connects without two lines in the log for each connection, and bounds what comes back."""

    _endpoint: IStreamClientEndpoint

    def connect(self, protocolFactory: Any) -> Deferred[Any]:
        protocolFactory.noisy = False
        bounded = WrappingFactory(protocolFactory)
        bounded.noisy = False
        bounded.protocol = _BoundedResponse
        connecting: Deferred[Any] = self._endpoint.connect(bounded)
        return connecting.addCallback(lambda wrapper: wrapper.wrappedProtocol)


class _BoundedResponse(ProtocolWrapper):
    """Cuts the connection when a response grows past all measure.

    Twisted's client reads headers without end; a body has a cap of its own.
    """

    _received = 0

    def write(self, data: bytes) -> None:
        self._received = 0
        super().write(data)

    def writeSequence(self, data: Iterable[bytes]) -> None:
        self._received = 0
        super().writeSequence(data)

    def dataReceived(self, data: bytes) -> None:
        self._received += len(data)
        if self._received <= MAX_RESPONSE_OCTETS:
            super().dataReceived(data)
        else:
            transport: Any = self.transport
            transport.abortConnection()
