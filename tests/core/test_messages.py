"""The wire contract: what is taken from clients and what is sent to them."""

from __future__ import annotations

import json
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from gma.core.messages import (
    Auth,
    AuthParameters,
    Error,
    ErrorParameters,
    Fulfill,
    FulfillParameters,
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

_MAX_FRAME_OCTETS = 8 * 1024
_NOT_JSON = "The message is not valid JSON."

_FULFILL = Fulfill(
    FulfillParameters(
        token="canary-token",
        id="r1",
        host="mastodon.example",
        token_type="Bearer",
        scope="read write",
        created_at=1_767_225_600,
        refresh_token="canary-refresh",
        expires_in=7200,
    )
)


def _auth(**parameters: object) -> bytes:
    return json.dumps({"type": "auth", "parameters": parameters}).encode()


def _deep(before: bytes, opening: bytes) -> bytes:
    """A frame of full size that opens something again and again."""
    return before + opening * ((_MAX_FRAME_OCTETS - len(before)) // len(opening))


class DecodeTests(SynchronousTestCase):
    """Messages as the contract has them."""

    def test_whole(self) -> None:
        """An auth with all its members is read whole."""
        payload = {
            "type": "auth",
            "parameters": {
                "host": "mastodon.example",
                "scopes": ["read", "write:statuses"],
                "force_login": False,
                "lang": "pt-BR",
            },
            "ref": "7",
        }
        parameters = AuthParameters(
            host="mastodon.example",
            scopes=["read", "write:statuses"],
            force_login=False,
            lang="pt-BR",
        )
        self.assertEqual(decode(json.dumps(payload).encode()), Auth("auth", parameters, "7"))

    def test_defaults(self) -> None:
        """An auth of a host alone asks for all scopes and for the consent page."""
        message = decode(_auth(host="mastodon.example"))
        parameters = message.parameters
        self.assertEqual(
            (parameters.scopes, parameters.force_login, parameters.lang, message.ref),
            (None, True, None, None),
        )

    def test_null(self) -> None:
        """Null stands for an optional member that is absent."""
        message = decode(
            b'{"type": "auth", "ref": null, "parameters":'
            b' {"host": "a.example", "hostname": null, "scopes": null, "lang": null}}'
        )
        self.assertEqual(message, Auth("auth", AuthParameters(host="a.example")))

    def test_hostname(self) -> None:
        """The member hostname is another name for host."""
        self.assertEqual(decode(_auth(hostname="mastodon.example")).host, "mastodon.example")

    def test_host_first(self) -> None:
        """Of host and hostname the first counts, even where it is empty."""
        found = [
            decode(_auth(host=typed, hostname="other.example")).host for typed in ("a.example", "")
        ]
        self.assertEqual(found, ["a.example", ""])

    def test_host_as_typed(self) -> None:
        """What was typed is passed on untouched."""
        for typed in ("", " @User@MASTODON.example\n", "bücher.example", "\x00", "💩"):
            self.assertEqual(decode(_auth(host=typed)).host, typed)

    def test_unknown_members(self) -> None:
        """Members that are not known are ignored, whatever is in them."""
        payload = (
            b'{"v": [1, {"a": null}], "type": "auth", "arguments": {"host": 5},'
            b' "parameters": {"host": "a.example", "state": 1e999, "Lang": 5}, "REF": 5}'
        )
        self.assertEqual(decode(payload), Auth("auth", AuthParameters(host="a.example")))

    def test_ref_length(self) -> None:
        """A ref may have 64 characters."""
        ref = "é" * 64
        payload = {"type": "auth", "parameters": {"host": "a.example"}, "ref": ref}
        self.assertEqual(decode(json.dumps(payload).encode()).ref, ref)

    def test_languages(self) -> None:
        """Every shape of a language tag that names a language is taken."""
        tags = ("en", "PT-br", "zh-Hant-TW", "de-CH-1996", "sr-Latn", "es-419", "x" * 8 + "-a-b-c")
        self.assertEqual(
            [decode(_auth(host="", lang=tag)).parameters.lang for tag in tags], [*tags]
        )


class InvalidMessageTests(SynchronousTestCase):
    """Messages that are not as the contract has them."""

    def refusal(self, payload: bytes) -> InvalidMessage:
        """Why this is not taken."""
        try:
            message = decode(payload)
        except InvalidMessage as error:
            return error
        raise self.failureException(f"{payload!r} was taken: {message}")

    def assert_named(self, payloads: dict[bytes, str]) -> None:
        """The sentence of each refusal says this."""
        sentences = {payload: self.refusal(payload).sentence for payload in payloads}
        wrong = {it: said for it, said in sentences.items() if payloads[it] not in said}
        self.assertEqual(wrong, {})

    def test_not_json(self) -> None:
        """What is not exactly one JSON value is called so."""
        payloads = (
            b"",
            b" ",
            b"auth",
            b"{",
            b"{'type': 'auth'}",
            b'{"type": "auth", "parameters": {"host": "a.example"}',
            b'{"type": "auth", "parameters": {"host": "a.example"},}',
            b'{"type": "auth", "parameters": {"host": "a.example"}} {}',
            b'\xef\xbb\xbf{"type": "auth", "parameters": {"host": "a.example"}}',
            b'{"type": "auth", "parameters": {"host": "\\ud800"}}',
            b'{"type": "auth", "parameters": {"host": "\n"}}',
        )
        sentences = {payload: self.refusal(payload).sentence for payload in payloads}
        self.assertEqual(sentences, dict.fromkeys(payloads, _NOT_JSON))

    def test_no_object(self) -> None:
        """A JSON value that is no object is told what was expected."""
        payloads = (b"[]", b'"auth"', b"null", b"1", b"true", b'[{"type": "auth"}]')
        self.assert_named(dict.fromkeys(payloads, "Expected object"))

    def test_type(self) -> None:
        """A type that is missing, unknown or no text is named."""
        self.assert_named(
            {
                b"{}": "missing required field type",
                b'{"parameters": {"host": "a.example"}}': "missing required field type",
                b'{"TYPE": "auth", "parameters": {}}': "missing required field type",
                b'{"type": "fulfill", "parameters": {}}': "member type",
                b'{"type": "Auth", "parameters": {"host": "a.example"}}': "'Auth'",
                b'{"type": "", "parameters": {"host": "a.example"}}': "member type",
                b'{"type": 1, "parameters": {"host": "a.example"}}': "member type",
                b'{"type": null, "parameters": {"host": "a.example"}}': "member type",
                b'{"type": ["auth"], "parameters": {"host": "a.example"}}': "member type",
            }
        )

    def test_parameters(self) -> None:
        """Parameters that are missing or no object are named."""
        self.assert_named(
            {
                b'{"type": "auth"}': "missing required field parameters",
                b'{"type": "auth", "arguments": {"host": "a"}}': "field parameters",
                b'{"type": "auth", "parameters": null}': "member parameters ",
                b'{"type": "auth", "parameters": []}': "member parameters ",
                b'{"type": "auth", "parameters": "a.example"}': "member parameters ",
            }
        )

    def test_host_missing(self) -> None:
        """A message with neither host nor hostname is told that the host is missing."""
        payloads = (_auth(), _auth(Host="a.example"), _auth(host=None), _auth(hostname=None))
        self.assert_named(dict.fromkeys(payloads, "The member parameters.host is missing."))

    def test_kinds(self) -> None:
        """A parameter of the wrong kind is named by its place."""
        self.assert_named(
            {
                _auth(host=1): "parameters.host ",
                _auth(host=["a.example"]): "parameters.host ",
                _auth(hostname={}): "parameters.hostname ",
                _auth(host="a.example", hostname=5): "parameters.hostname ",
                _auth(host="", scopes="read"): "parameters.scopes ",
                _auth(host="", scopes={"read": True}): "parameters.scopes ",
                _auth(host="", scopes=["read", "write", 3]): "parameters.scopes[2] ",
                _auth(host="", scopes=[None]): "parameters.scopes[0] ",
                _auth(host="", force_login="true"): "parameters.force_login ",
                _auth(host="", force_login=1): "parameters.force_login ",
                _auth(host="", force_login=None): "parameters.force_login ",
                _auth(host="", lang=1): "parameters.lang ",
                _auth(host="", lang=["en"]): "parameters.lang ",
            }
        )

    def test_languages(self) -> None:
        """What has not the shape of a language tag is refused by its place."""
        tags = (
            "",
            "e",
            "1",
            "en_US",
            "en-",
            "-en",
            "en us",
            "en&x=1",
            "é",
            "a" * 9,
            "en-" + "a" * 9,
            "en\n",
        )
        overlong = "en" + "-abcdefgh" * 4
        payloads = [_auth(host="", lang=tag) for tag in (*tags, overlong)]
        self.assert_named(dict.fromkeys(payloads, "parameters.lang "))

    def test_refs(self) -> None:
        """A ref that is too long or no text is named."""
        refs: tuple[object, ...] = (5, True, [], {}, "r" * 65)
        payloads = [
            json.dumps({"type": "auth", "parameters": {"host": ""}, "ref": ref}).encode()
            for ref in refs
        ]
        self.assert_named(dict.fromkeys(payloads, "member ref "))

    def test_ref_given_back(self) -> None:
        """A bad message that is JSON gives its ref back."""
        payloads = (
            b'{"ref": "7"}',
            b'{"type": "fulfill", "ref": "7"}',
            b'{"type": 1, "ref": "7"}',
            b'{"type": "auth", "ref": "7"}',
            b'{"type": "auth", "parameters": [], "ref": "7"}',
            b'{"type": "auth", "parameters": {}, "ref": "7"}',
            b'{"type": "auth", "parameters": {"host": 5}, "ref": "7"}',
            b'{"ref": "7", "type": "auth", "parameters": {"host": "", "scopes": [5]}}',
        )
        refs = {payload: self.refusal(payload).ref for payload in payloads}
        self.assertEqual(refs, dict.fromkeys(payloads, "7"))

    def test_ref_unreadable(self) -> None:
        """A bad message gives no ref back where none could be read."""
        payloads = (
            b"{}",
            b"[]",
            b'"ref"',
            b'{"ref": null}',
            b'{"ref": 7}',
            b'{"ref": ["7"]}',
            b'{"parameters": {"ref": "7"}}',
            b'{"ref": "' + b"r" * 65 + b'"}',
            b'{"ref": "7"',
            b"",
        )
        refs = {payload: self.refusal(payload).ref for payload in payloads}
        self.assertEqual(refs, dict.fromkeys(payloads))

    def test_deep(self) -> None:
        """A frame that is nested as deeply as its size allows is a bad message like any other."""
        begun = b'{"type": "auth", "parameters": {"host": "a.example"'
        for payload in (
            _deep(b"", b"["),
            _deep(b"", b'{"ref":'),
            _deep(begun + b', "more": ', b"["),
            _deep(begun + b', "more": ', b'{"a":'),
            _deep(begun + b'}, "more": ', b"["),
            _deep(b'{"type": "auth", "parameters": {"host": ', b"["),
            _deep(b'{"type": "auth", "parameters": {"scopes": [', b"["),
            _deep(b'{"ref": "7", "type": 5, "more": ', b"["),
        ):
            self.refusal(payload)

    def test_no_markup(self) -> None:
        """The sentence holds none of the backquotes that the decoder puts around names."""
        for payload in (b"[]", b"{}", b'{"type": "`a`"}', _auth(host=5), b'{"type": "auth"}'):
            self.assertNotIn("`", self.refusal(payload).sentence)


class EncodeTests(SynchronousTestCase):
    """Messages to clients."""

    def sent(self, message: ServerMessage) -> Any:
        """What a client reads."""
        return json.loads(encode(message))

    def test_invalid_host(self) -> None:
        """An invalid-host says why, when to come back, and what it answers."""
        message = InvalidHost(InvalidHostParameters("busy", "Later.", 60), ref="7")
        self.assertEqual(
            self.sent(message),
            {
                "type": "invalid-host",
                "parameters": {"reason": "busy", "description": "Later.", "retry_after": 60},
                "ref": "7",
            },
        )

    def test_set_id(self) -> None:
        """A set-id has the id under both arguments and parameters, with link and time."""
        url = "https://auth.example/auth/r1"
        message = SetId(RequestId("r1"), SetIdParameters("r1", url, 600), ref="7")
        self.assertEqual(
            self.sent(message),
            {
                "type": "set-id",
                "arguments": {"id": "r1"},
                "parameters": {"id": "r1", "url": url, "expires_in": 600},
                "ref": "7",
            },
        )

    def test_fulfill(self) -> None:
        """A fulfill has the token and all that the host said of it."""
        self.assertEqual(
            self.sent(_FULFILL),
            {
                "type": "fulfill",
                "parameters": {
                    "token": "canary-token",
                    "id": "r1",
                    "host": "mastodon.example",
                    "token_type": "Bearer",
                    "scope": "read write",
                    "created_at": 1_767_225_600,
                    "refresh_token": "canary-refresh",
                    "expires_in": 7200,
                },
            },
        )

    def test_error(self) -> None:
        """An error has its code, a sentence, and what it concerns."""
        message = Error(ErrorParameters("slow_down", "Later.", "r1", 5), ref="7")
        self.assertEqual(
            self.sent(message),
            {
                "type": "error",
                "parameters": {
                    "error": "slow_down",
                    "error_description": "Later.",
                    "id": "r1",
                    "retry_after": 5,
                },
                "ref": "7",
            },
        )

    def test_absent(self) -> None:
        """Optional members without a value are absent, not null."""
        url = "https://auth.example/auth/r1"
        fulfilled = FulfillParameters("t", "r1", "a.example", "Bearer", "read", 1)
        members: list[tuple[ServerMessage, set[str], set[str]]] = [
            (
                InvalidHost(InvalidHostParameters("malformed", "No.")),
                {"type", "parameters"},
                {"reason", "description"},
            ),
            (
                SetId(RequestId("r1"), SetIdParameters("r1", url, 600)),
                {"type", "arguments", "parameters"},
                {"id", "url", "expires_in"},
            ),
            (
                Fulfill(fulfilled),
                {"type", "parameters"},
                {"token", "id", "host", "token_type", "scope", "created_at"},
            ),
            (
                Error(ErrorParameters("server_error", "No.")),
                {"type", "parameters"},
                {"error", "error_description"},
            ),
        ]
        for message, outer, inner in members:
            sent = self.sent(message)
            self.assertEqual((set(sent), set(sent["parameters"])), (outer, inner))

    def test_one_line(self) -> None:
        """A message is UTF-8 JSON without line breaks, whatever it says."""
        said = "a\nb\u2028“ü”"
        encoded = encode(Error(ErrorParameters("server_error", said)))
        self.assertEqual((encoded.count(b"\n"), json.loads(encoded.decode())["type"]), (0, "error"))


class ReprTests(SynchronousTestCase):
    """What of a message could end in a log."""

    def test_fulfill(self) -> None:
        """A fulfill shows its id and no token, however it is printed."""
        parameters = _FULFILL.parameters
        shown = f"{_FULFILL} {_FULFILL!r} {parameters} {parameters!r} {[_FULFILL]}"
        self.assertEqual(("'r1'" in shown, "canary" in shown), (True, False))
