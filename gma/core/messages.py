"""Every message of the socket as a frozen value, with its JSON form.

The wire contract is docs/protocol.md. Knows JSON (RFC 8259) and msgspec; knows no rule of what a
message may lead to.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal

import msgspec

from gma.core.request import SCOPE_PATTERN

_PATH = re.compile(r"^(?P<problem>.*?)(?: - at `\$\.?(?P<path>[^`]*)`)?$", re.DOTALL)


class InvalidMessage(Exception):
    """A frame that is no message of the contract.

    :ivar sentence: names what is wrong, for people.
    :ivar ref: the ``ref`` it carried, if that much could be read.
    """

    def __init__(self, sentence: str, ref: str | None = None) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.ref = ref


Ref = Annotated[str, msgspec.Meta(max_length=64)]
Scope = Annotated[str, msgspec.Meta(max_length=100, pattern=rf"\A{SCOPE_PATTERN}\Z")]
# BCP 47 (RFC 5646) as far as its shape goes; no registered tag comes near 35 characters.
LanguageTag = Annotated[
    str, msgspec.Meta(max_length=35, pattern=r"^[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*\Z")
]


class AuthParameters(msgspec.Struct, frozen=True):
    """What a client asks for.

    :ivar host: what a person typed; ``hostname`` is the same thing in older documentation.
    :ivar scopes: narrows the authorize request; ``None`` asks for all that is configured.
    :ivar force_login: whether the host shows its consent page in any case.
    """

    host: str | None = None
    hostname: str | None = None
    scopes: Annotated[list[Scope], msgspec.Meta(max_length=100)] | None = None
    force_login: bool = True
    lang: LanguageTag | None = None


class Auth(msgspec.Struct, frozen=True):
    """A client wants a user to log in at a host.

    :ivar type: a plain member and no tag of msgspec's: it asks for a tag only where a message may
        be of several types.
    """

    type: Literal["auth"]
    parameters: AuthParameters
    ref: Ref | None = None

    @property
    def host(self) -> str:
        """What was typed, by either name; a message with neither is not decoded."""
        named = self.parameters.host
        return (self.parameters.hostname or "") if named is None else named


class InvalidHostParameters(msgspec.Struct, frozen=True, omit_defaults=True):
    """Why a host cannot be used: a ``reason`` for programs, a ``description`` for people."""

    reason: str
    description: str
    retry_after: int | None = None


class InvalidHost(msgspec.Struct, frozen=True, omit_defaults=True, tag="invalid-host"):
    """The host cannot be used; the client may ask again on the same socket."""

    parameters: InvalidHostParameters
    ref: str | None = None


class RequestId(msgspec.Struct, frozen=True):
    """The id alone, where older clients look for it."""

    id: str


class SetIdParameters(msgspec.Struct, frozen=True):
    """The link to open and the seconds it is good for."""

    id: str
    url: str
    expires_in: int


class SetId(msgspec.Struct, frozen=True, omit_defaults=True, tag="set-id"):
    """A request waits for its user.

    The id stands under both ``arguments`` and ``parameters``: one is what the documentation has
    always said, the other is what clients read.
    """

    arguments: RequestId
    parameters: SetIdParameters
    ref: str | None = None


class FulfillParameters(msgspec.Struct, frozen=True, omit_defaults=True):
    """The token and what the host said of it (RFC 6749 §5.1).

    :ivar host: the host that answers API calls with this token.
    :ivar created_at: seconds since the epoch.
    """

    token: str
    id: str
    host: str
    token_type: str
    scope: str
    created_at: int
    refresh_token: str | None = None
    expires_in: int | None = None

    def __repr__(self) -> str:
        """Without the token: a repr may end in a log."""
        return f"FulfillParameters(id={self.id!r}, host={self.host!r})"


class Fulfill(msgspec.Struct, frozen=True, tag="fulfill"):
    """The user has authorized: here is the token."""

    parameters: FulfillParameters


class ErrorParameters(msgspec.Struct, frozen=True, omit_defaults=True):
    """An OAuth error code and a sentence for people."""

    error: str
    error_description: str
    id: str | None = None
    retry_after: int | None = None


class Error(msgspec.Struct, frozen=True, omit_defaults=True, tag="error"):
    """A message or a request has failed."""

    parameters: ErrorParameters
    ref: str | None = None


ClientMessage = Auth
ServerMessage = InvalidHost | SetId | Fulfill | Error


class _Envelope(msgspec.Struct):
    """As much of a bad message as is needed to answer it."""

    ref: Ref | None = None


_decoder = msgspec.json.Decoder(ClientMessage)
_envelope_decoder = msgspec.json.Decoder(_Envelope)
_encoder = msgspec.json.Encoder()


def decode(payload: bytes) -> ClientMessage:
    """The message that a client sent.

    :param payload: one text frame, valid UTF-8.
    :raises InvalidMessage: where it is no JSON object, of no known type, lacks a parameter or has
        one of the wrong kind. Members that are not known are ignored.
    """
    try:
        message = _decoder.decode(payload)
    except msgspec.ValidationError as error:
        raise InvalidMessage(_explain(str(error)), _ref_of(payload)) from None
    except (msgspec.DecodeError, RecursionError):
        raise InvalidMessage("The message is not valid JSON.") from None
    if message.parameters.host is None and message.parameters.hostname is None:
        raise InvalidMessage("The member parameters.host is missing.", message.ref)
    return message


def encode(message: ServerMessage) -> bytes:
    """The message as one text frame."""
    return _encoder.encode(message)


def _ref_of(payload: bytes) -> str | None:
    try:
        return _envelope_decoder.decode(payload).ref
    except (msgspec.DecodeError, RecursionError):
        return None


def _explain(problem: str) -> str:
    """A sentence of ours from what msgspec found; it tells the client of its own message only."""
    match = _PATH.match(problem)
    path = match["path"] if match is not None else None
    found = problem if match is None else match["problem"]
    where = f"The member {path}" if path else "The message"
    return f"{where} is not as the protocol has it: {found.replace('`', '')}."
