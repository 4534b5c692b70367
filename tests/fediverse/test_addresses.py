"""Which addresses are public, and what a name may resolve to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.interfaces import IAddress, IHostnameResolver, IHostResolution
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from gma.core.hostname import Host, HostRules
from gma.fediverse.addresses import PublicResolver, is_public

_PUBLIC = (
    *("8.8.8.8", "1.1.1.1", "198.17.255.255", "100.128.0.1", "172.32.0.1", "11.0.0.0"),
    *("2606:4700::1111", "2a00:1450::1", "64:ff9b::808:808"),
    *("3fff:1000::1", "2001:4860:4860::8888", "2620:4f:8000::1"),
)
_NOT_PUBLIC = (
    *("0.0.0.0", "0.1.2.3", "10.0.0.1", "127.0.0.1", "127.255.255.255", "169.254.169.254"),
    *("172.16.0.1", "172.31.255.255", "192.168.0.1", "100.64.0.1", "100.127.255.255"),
    *(
        "192.0.0.1",
        "192.0.0.8",
        "64:ff9b::c000:8",
        "192.0.2.1",
        "198.18.0.1",
        "198.19.0.1",
        "198.51.100.1",
        "203.0.113.1",
    ),
    *("192.88.99.1", "224.0.0.1", "239.1.2.3", "240.0.0.1", "255.255.255.255"),
    *("::", "::1", "::127.0.0.1", "::8.8.8.8", "::ffff:127.0.0.1", "::ffff:8.8.8.8"),
    *(
        "64:ff9b::7f00:1",
        "64:ff9b::a00:1",
        "64:ff9b:1::808:808",
        "64:ff9b::1:808:808",
        "64:ff9b::c058:6301",
    ),
    *("2002:7f00:1::", "2002:a00:1::1", "2002:808:808::1", "2001::1", "2001:db8::1", "3fff::1"),
    *("fc00::1", "fd12:3456::1", "fe80::1", "fe80::1%eth0", "fec0::1", "ff02::1", "100::1"),
    *("4000::1", "5f00::1", "", "nonsense", "8.8.8", "08.8.8.8"),
)


class IsPublicTests(SynchronousTestCase):
    """The table of addresses."""

    def test_public(self) -> None:
        """Addresses of the public internet."""
        for text in _PUBLIC:
            self.assertTrue(is_public(text), text)

    def test_not_public(self) -> None:
        """Everything else, in whatever form it is embedded."""
        for text in _NOT_PUBLIC:
            self.assertFalse(is_public(text), text)


@implementer(IHostnameResolver)
class _Scripted:
    """Resolves every name to these addresses."""

    def __init__(self, *addresses: IAddress) -> None:
        self._addresses = addresses
        self.asked: list[object] = []
        self.resolution: Any = object()

    def resolveHostName(
        self,
        resolutionReceiver: Any,
        hostName: str,
        portNumber: int = 0,
        addressTypes: Sequence[type[IAddress]] | None = None,
        transportSemantics: str = "TCP",
    ) -> IHostResolution:
        """Tell them, one after the other."""
        self.asked += [hostName, portNumber, addressTypes, transportSemantics]
        resolutionReceiver.resolutionBegan(self.resolution)
        for address in self._addresses:
            resolutionReceiver.addressResolved(address)
        resolutionReceiver.resolutionComplete()
        return self.resolution  # type: ignore[no-any-return]


class _Receiver:
    def __init__(self) -> None:
        self.heard: list[object] = []
        self.resolution: object = None

    def resolutionBegan(self, resolution: object) -> None:
        self.resolution = resolution
        self.heard.append("began")

    def addressResolved(self, address: IAddress) -> None:
        self.heard.append(address)

    def resolutionComplete(self) -> None:
        self.heard.append("complete")


_GOOD_4 = IPv4Address("TCP", "8.8.8.8", 443)
_GOOD_6 = IPv6Address("TCP", "2606:4700::1111", 443)
_BAD = IPv4Address("TCP", "127.0.0.1", 443)


class PublicResolverTests(SynchronousTestCase):
    """What the resolver passes on."""

    def resolve(self, name: str, port: int, *addresses: IAddress) -> list[object]:
        """What is heard of a name with these addresses."""
        rules = HostRules.with_private("auth.example", [Host("box.local", 8443)])
        receiver: Any = _Receiver()
        PublicResolver(_Scripted(*addresses), rules).resolveHostName(receiver, name, port)
        heard: list[object] = receiver.heard
        return heard

    def test_public(self) -> None:
        """Public addresses are passed on in their order."""
        heard = self.resolve("a.example", 443, _GOOD_6, _GOOD_4)
        self.assertEqual(heard, ["began", _GOOD_6, _GOOD_4, "complete"])

    def test_mixed(self) -> None:
        """One private address among public ones takes the whole name away."""
        for addresses in ((_GOOD_4, _BAD), (_BAD, _GOOD_4), (_BAD,), ()):
            self.assertEqual(self.resolve("a.example", 443, *addresses), ["began", "complete"])

    def test_other_kinds(self) -> None:
        """An address that is not of the internet takes the whole name away."""
        strange = UNIXAddress("/run/8.8.8.8")
        self.assertEqual(self.resolve("a.example", 443, _GOOD_4, strange), ["began", "complete"])

    def test_question(self) -> None:
        """The question is asked as it was put, and who asked can call the work off."""
        resolver, receiver = _Scripted(_GOOD_4), _Receiver()
        question = ("a.example", 443, (IPv4Address,), "UDP")
        asked: Any = receiver
        returned = PublicResolver(resolver, HostRules("auth.example")).resolveHostName(
            asked, *question
        )
        self.assertEqual(resolver.asked, [*question])
        self.assertIs(returned, resolver.resolution)
        self.assertIs(receiver.resolution, resolver.resolution)

    def test_private_host(self) -> None:
        """A private host may lie anywhere, on its own port."""
        self.assertEqual(self.resolve("box.local", 8443, _BAD), ["began", _BAD, "complete"])
        self.assertEqual(self.resolve("box.local", 443, _BAD), ["began", "complete"])
        self.assertEqual(self.resolve("other.local", 8443, _BAD), ["began", "complete"])
