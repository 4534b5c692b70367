"""From what a person typed to a host that may be spoken to, or why not.

Knows spellings, IDNA and the names that are never a public server. Knows nothing of DNS:
whether a name leads to a public address is the outbound client's to find out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Self

import attrs
import idna

MAX_NAME_OCTETS = 253

_LDH_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_NUMBER_LABEL = re.compile(r"[0-9]+|0x[0-9a-f]*")
_AUTHORITY = re.compile(r"(?P<name>[^:]+)(?::(?P<port>[0-9]{1,5}))?")
_HANDLE = re.compile(r"(?:acct:)?@?[^@:/?#\\\s]+@(?P<authority>[^@/?#]+)/?", re.IGNORECASE)
_ADDRESS = re.compile(
    r"(?:https?://|@)?(?P<authority>[^/?#\\]+)(?:[/?#].*)?", re.IGNORECASE | re.DOTALL
)

# Special-use names: RFC 6761, 6762, 7686, 8375 and ICANN's .internal.
_SPECIAL_SUFFIXES = ("localhost", "local", "internal", "home.arpa", "onion")

_DEFAULT_PORTS = {"https": 443, "http": 80}


class Malformed(Exception):
    """What was typed is not the name of a host that can be used.

    :ivar sentence: says why, for people; holds nothing of what was typed.
    """

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence)
        self.sentence = sentence


@attrs.frozen
class Host:
    """A host that may be spoken to.

    :ivar name: the name as lower-case A-labels, without a trailing dot.
    :ivar scheme: ``https``, or ``http`` for a private host that was named so.
    """

    name: str
    port: int = 443
    scheme: str = "https"

    @property
    def authority(self) -> str:
        """The name, with ``:port`` where that is not 443: how the host is written to clients."""
        return self.name if self.port == 443 else f"{self.name}:{self.port}"

    @property
    def origin(self) -> str:
        """Scheme, name and port as RFC 6454 writes them, without a trailing slash."""
        return format_origin(self.scheme, self.name, self.port)


@attrs.frozen
class HostRules:
    """Which hosts may be spoken to.

    :ivar own_name: our own public name, which is never a host.
    :ivar private: the hosts of ``private_hosts``, by name and port; rules for public names do not
        concern them.
    """

    own_name: str
    private: Mapping[tuple[str, int], Host] = attrs.field(factory=dict)

    @classmethod
    def with_private(cls, own_name: str, private: Iterable[Host]) -> Self:
        """The rules with these hosts opened."""
        return cls(own_name, {(host.name, host.port): host for host in private})

    def parse(self, typed: str) -> Host:
        """The host that a person means.

        Understood are ``host``, a web address, and the handles ``@user@host`` and ``user@host``,
        in capitals or not, with spaces around them or a trailing dot, in Unicode or A-labels.

        :raises Malformed: where it is none of these, or no public name.
        """
        if len(typed) > 4 * MAX_NAME_OCTETS:
            raise Malformed("This is too long for the name of a host.")
        name, port = _name_and_port(_authority_of(typed.strip()))
        private = self._private(name, port)
        if private is not None:
            return private
        if port not in (None, 443):
            raise Malformed("Only the usual port can be used: leave the port out.")
        return self.public(name)

    def public(self, name: str) -> Host:
        """The public host of this name, at port 443.

        :raises Malformed: where the name cannot be one of a public server, or is our own.
        """
        if name == self.own_name:
            raise Malformed("This is the name of the authenticator itself, not of a Mastodon host.")
        check_public_name(name)
        return Host(name)

    def allows(self, scheme: str, name: str, port: int) -> bool:
        """Whether a request may go there: to a private host as it was named, or a public one."""
        private = self.private.get((name, port))
        if private is not None:
            return private.scheme == scheme
        if scheme != "https" or port != 443:
            return False
        try:
            return self.public(to_a_labels(name)).name == name
        except Malformed:
            return False

    def is_private(self, name: str, port: int) -> bool:
        """Whether this name may lie on a private address, on this port."""
        return (name, port) in self.private

    def _private(self, name: str, port: int | None) -> Host | None:
        if port is not None:
            return self.private.get((name, port))
        return next(
            (self.private[key] for key in ((name, 443), (name, 80)) if key in self.private), None
        )


def format_origin(scheme: str, name: str, port: int) -> str:
    """An origin as RFC 6454 §6.2 writes it: the port only where it is not the scheme's own."""
    return (
        f"{scheme}://{name}" if port == _DEFAULT_PORTS.get(scheme) else f"{scheme}://{name}:{port}"
    )


def parse_private_host(text: str) -> Host:
    """One entry of ``private_hosts``: ``host``, ``host:port`` or ``http://host:port``.

    :raises Malformed: where it is none of these.
    """
    if text.startswith("http://"):
        name, port = _name_and_port(text.removeprefix("http://"))
        return Host(name, port or 80, "http")
    if "://" in text:
        raise Malformed("Only http:// may stand before the name.")
    name, port = _name_and_port(text)
    return Host(name, port or 443)


def to_a_labels(name: str) -> str:
    """A name as lower-case A-labels (RFC 5891, with the mapping of UTS 46), without a trailing dot.

    :raises Malformed: where it is no host name, an address in any notation among them.
    """
    try:
        mapped = idna.uts46_remap(name, std3_rules=False, transitional=False)
        labels = [_to_a_label(label) for label in mapped.removesuffix(".").split(".")]
    except (idna.IDNAError, UnicodeError) as error:
        raise Malformed("This is not a valid host name.") from error
    ascii_name = ".".join(labels)
    if len(ascii_name) > MAX_NAME_OCTETS:
        raise Malformed("This is too long for the name of a host.")
    # A name whose last label is a number is an address to every URL parser (WHATWG URL, "ends in a
    # number"): decimal, octal, hexadecimal and short forms all fall under this.
    if _NUMBER_LABEL.fullmatch(labels[-1]):
        raise Malformed("This is an address; only names can be used.")
    return ascii_name


def check_public_name(name: str) -> None:
    """See that an A-label name can be one of a public server.

    :raises Malformed: for single labels and special-use names.
    """
    if any(name == suffix or name.endswith(f".{suffix}") for suffix in _SPECIAL_SUFFIXES):
        raise Malformed("Names of this kind exist only inside a network of one's own.")
    if "." not in name:
        raise Malformed("This is not a full host name: a dot and an ending are missing.")


def _authority_of(typed: str) -> str:
    if "[" in typed:
        raise Malformed("This is an address; only names can be used.")
    for form in (_HANDLE, _ADDRESS):
        match = form.fullmatch(typed)
        if match is not None:
            authority = match["authority"]
            if "@" in authority:
                raise Malformed("There must be no user name or password before the host.")
            return authority
    raise Malformed("This is not a host name, a web address or a @user@host handle.")


def _name_and_port(authority: str) -> tuple[str, int | None]:
    match = _AUTHORITY.fullmatch(authority)
    if match is None:
        raise Malformed("This is not a valid host name.")
    port = None if match["port"] is None else int(match["port"])
    if port is not None and not 0 < port < 65536:
        raise Malformed("This port does not exist.")
    return to_a_labels(match["name"]), port


def _to_a_label(label: str) -> str:
    if label.isascii() and not label.startswith("xn--"):
        # idna would refuse "ab--cd", which is in use; LDH (RFC 1123) is the rule for ASCII.
        if _LDH_LABEL.fullmatch(label) is None:
            raise Malformed("This is not a valid host name.")
        return label
    return idna.alabel(label).decode("ascii")
