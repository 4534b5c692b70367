"""Which network addresses are public, and a resolver that tells of no others."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network

import attrs
from twisted.internet.address import IPv4Address as TCP4
from twisted.internet.address import IPv6Address as TCP6
from twisted.internet.interfaces import (
    IAddress,
    IHostnameResolver,
    IHostResolution,
    IResolutionReceiver,
)
from zope.interface import implementer

from gma.core.hostname import HostRules

_UNICAST = IPv6Network("2000::/3")
# RFC 6052: an IPv6-only network reaches every IPv4 host through these.
_NAT64 = IPv6Network("64:ff9b::/96")
# What ipaddress of Python 3.11 takes for global and is not: 6to4 (RFC 7526), documentation
# (RFC 9637), the 6to4 relays, protocol assignments (RFC 6890). Whatever else is reserved lies
# outside 2000::/3 or is known to it.
_NOT_PUBLIC = tuple(map(ip_network, ("2002::/16", "3fff::/20", "192.88.99.0/24", "192.0.0.0/24")))


def is_public(text: str) -> bool:
    """Whether an IP address is one of the public internet, whatever form embeds it."""
    try:
        return _is_public(ip_address(text))
    except ValueError:
        return False


def _is_public(address: IPv4Address | IPv6Address) -> bool:
    if isinstance(address, IPv6Address):
        if address in _NAT64:
            return _is_public(IPv4Address(address.packed[-4:]))
        if address not in _UNICAST:
            return False
    return (
        address.is_global
        and not address.is_multicast
        and not any(address in network for network in _NOT_PUBLIC)
    )


@implementer(IHostnameResolver)
@attrs.frozen
class PublicResolver:
    """Resolves like the one it wraps, but only names all of whose addresses are public.

    The connection goes to the very address that was looked at, so a name that changes its mind
    (DNS rebinding) gains nothing. Private hosts of the rules are let through, on their port.
    """

    _resolver: IHostnameResolver
    _rules: HostRules

    def resolveHostName(
        self,
        resolutionReceiver: IResolutionReceiver,
        hostName: str,
        portNumber: int = 0,
        addressTypes: Sequence[type[IAddress]] | None = None,
        transportSemantics: str = "TCP",
    ) -> IHostResolution:
        """See :class:`IHostnameResolver`; a refused name looks like one that does not exist."""
        if not self._rules.is_private(hostName, portNumber):
            resolutionReceiver = _PublicOnly(resolutionReceiver)
        return self._resolver.resolveHostName(
            resolutionReceiver, hostName, portNumber, addressTypes, transportSemantics
        )


@implementer(IResolutionReceiver)
@attrs.define
class _PublicOnly:
    """Holds addresses back until all are known to be public."""

    _receiver: IResolutionReceiver
    _addresses: list[IAddress] = attrs.field(factory=list)

    def resolutionBegan(self, resolutionInProgress: IHostResolution) -> None:
        self._receiver.resolutionBegan(resolutionInProgress)

    def addressResolved(self, address: IAddress) -> None:
        self._addresses.append(address)

    def resolutionComplete(self) -> None:
        if all(isinstance(it, TCP4 | TCP6) and is_public(it.host) for it in self._addresses):
            for address in self._addresses:
                self._receiver.addressResolved(address)
        self._receiver.resolutionComplete()
