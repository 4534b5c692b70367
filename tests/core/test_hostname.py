"""From what a person typed to a host: what is understood, what is refused, what is opened."""

from __future__ import annotations

from collections.abc import Iterable

from twisted.trial.unittest import SynchronousTestCase

from gma.core.hostname import (
    Host,
    HostRules,
    Malformed,
    format_origin,
    parse_private_host,
    to_a_labels,
)

_LONG_LABEL = "a" * 63
_LONGEST_NAME = ".".join([_LONG_LABEL] * 3 + ["b" * 61])

# What a person may type, and the name that is meant.
UNDERSTOOD = {
    "mastodon.example": "mastodon.example",
    "MASTODON.Example": "mastodon.example",
    "mastodon.example.": "mastodon.example",
    "  mastodon.example\t": "mastodon.example",
    "mastodon.example\n": "mastodon.example",
    "mastodon.example:443": "mastodon.example",
    "mastodon.example/": "mastodon.example",
    "mastodon.example/@user": "mastodon.example",
    "a.b": "a.b",
    "example.co.uk": "example.co.uk",
    "ab--cd.example": "ab--cd.example",
    "3com.example": "3com.example",
    "127.0.0.1.example": "127.0.0.1.example",
    "0x7f.example": "0x7f.example",
    "local.example": "local.example",
    "mylocalhost.example": "mylocalhost.example",
    "notlocal.notonion": "notlocal.notonion",
    "sub.auth.example": "sub.auth.example",
    "auth.example.org": "auth.example.org",
    "notauth.example": "notauth.example",
    # Web addresses.
    "https://mastodon.example": "mastodon.example",
    "http://mastodon.example": "mastodon.example",
    "HTTPS://MASTODON.EXAMPLE/": "mastodon.example",
    "https://mastodon.example:443/": "mastodon.example",
    "https://mastodon.example/@user": "mastodon.example",
    "https://mastodon.example/users/x?page=1#top": "mastodon.example",
    "https://mastodon.example?x": "mastodon.example",
    "https://mastodon.example#x": "mastodon.example",
    "https://mastodon.example/@other.example": "mastodon.example",
    "https://mastodon.example?@other.example": "mastodon.example",
    "https://mastodon.example#@other.example": "mastodon.example",
    # Handles.
    "@user@mastodon.example": "mastodon.example",
    "user@mastodon.example": "mastodon.example",
    "@user@mastodon.example:443": "mastodon.example",
    "@user@mastodon.example/": "mastodon.example",
    "acct:user@mastodon.example": "mastodon.example",
    "ACCT:@User@Mastodon.Example": "mastodon.example",
    "other.example@mastodon.example": "mastodon.example",
    "@mastodon.example": "mastodon.example",
    # Unicode, by the mapping of UTS 46 and without its transitional part.
    "bücher.example": "xn--bcher-kva.example",
    "BÜCHER.example": "xn--bcher-kva.example",
    "bu\u0308cher.example": "xn--bcher-kva.example",
    "xn--bcher-kva.example": "xn--bcher-kva.example",
    "XN--BCHER-KVA.Example": "xn--bcher-kva.example",
    "faß.example": "xn--fa-hia.example",
    "βόλος.example": "xn--nxasmm1c.example",
    "اختبار.example": "xn--mgbachtv.example",
    "mastodon。example": "mastodon.example",
    "mastodon．example": "mastodon.example",
    "mastodon.example。": "mastodon.example",
    "ｍａｓｔｏｄｏｎ.ＥＸＡＭＰＬＥ": "mastodon.example",
    "masto\u00addon.example": "mastodon.example",
    "masto\u200bdon.example": "mastodon.example",
    "ﬁsh.example": "fish.example",
    # As long as can be.
    f"{_LONG_LABEL}.example": f"{_LONG_LABEL}.example",
    _LONGEST_NAME: _LONGEST_NAME,
    f"{_LONGEST_NAME}.": _LONGEST_NAME,
    "https://mastodon.example/" + "x" * (1012 - 25): "mastodon.example",
}

ADDRESSES = (
    "127.0.0.1",
    "127.0.0.1.",
    "127.0.0.1:443",
    "https://127.0.0.1/",
    "@user@127.0.0.1",
    "8.8.8.8",
    "127.1",
    "127.0.1",
    "2130706433",
    "0177.0.0.1",
    "017700000001",
    "0x7f000001",
    "0X7F000001",
    "0x7f.0.0.1",
    "0x7f.1",
    "0x",
    "1",
    "999.999.999.999",
    "mastodon.1",
    "mastodon.09",
    "mastodon.0x7f",
    "mastodon.0x",
    "１２７.０.０.１",
    "１２７．０．０．１",
    "127。0。0。1",
    "①②⑦.0.0.①",
    "127.0.0.¹",
    "０ｘ７ｆ.1",
    "[::1]",
    "[::1]:443",
    "https://[::1]/",
    "https://[::ffff:127.0.0.1]/",
    "@user@[::1]",
    "[v1.x]",
)

WITH_USERINFO = (
    "https://user@mastodon.example",
    "https://user:password@mastodon.example/",
    "user:password@mastodon.example",
    "https://mastodon.example@other.example",
    "https://mastodon.example:443@other.example/",
    "user@mastodon.example@other.example",
    "@user@mastodon.example@other.example",
)

SINGLE_LABELS = ("mastodon", "com", "com.", "https://mastodon/", "arpa", "foo/mastodon.example")

SPECIAL = (
    "localhost",
    "LOCALHOST",
    "localhost.",
    "localhost:443",
    "https://localhost/",
    "@user@localhost",
    "mastodon.localhost",
    "printer.local",
    "a.b.Local.",
    "local",
    "mastodon.loca\u00adl",
    "metadata.internal",
    "internal",
    "home.arpa",
    "router.home.arpa",
    "onion",
    "mastodon.onion",
    "mastodon.ONION.",
    "mastodon.ｏｎｉｏｎ",
)

OUR_OWN = (
    "auth.example",
    "AUTH.Example",
    "auth.example.",
    "auth.example:443",
    "AUTH.EXAMPLE.:443",
    " auth.example ",
    "https://auth.example",
    "https://auth.example:443/auth/x",
    "http://auth.example/",
    "@user@auth.example",
    "ａｕｔｈ.example",
    "au\u00adth.example",
    "auth。example",
)

OTHER_PORTS = (
    "mastodon.example:80",
    "mastodon.example:8443",
    "http://mastodon.example:80",
    "https://mastodon.example:4430/",
    "@user@mastodon.example:3000",
    "mastodon.example:65535",
    "auth.example:80",
    "localhost:3000",
)

NO_PORTS = ("mastodon.example:0", "mastodon.example:65536", "mastodon.example:99999")

TOO_LONG = (
    ".".join([_LONG_LABEL] * 3 + ["b" * 62]),
    "a." * 127 + "b",
    "ü" * 50 + (".ü" * 60),
    "x" * 1013,
    "https://mastodon.example/" + "x" * (1013 - 25),
)

NO_NAMES = (
    ".",
    "..",
    ".mastodon.example",
    "mastodon..example",
    "mastodon．．example",
    "mastodon.example:",
    "mastodon.example:-1",
    "mastodon.example:+443",
    "mastodon.example: 443",
    "mastodon.example:٤٤٣",
    "mastodon.example:000443",
    "mastodon.example:443:443",
    "::1",
    "fe80::1%eth0",
    f"{_LONG_LABEL}a.example",
    "é" * 60 + ".example",
    "-mastodon.example",
    "mastodon-.example",
    "masto_don.example",
    "*.example",
    "masto don.example",
    "mastodon.example other.example",
    "mastodon.example,other.example",
    "mastodon%2eexample",
    "mastodon.example%00",
    "masto\x00don.example",
    "masto\ndon.example",
    "masto\tdon.example",
    "masto\x7fdon.example",
    "masto\u2028don.example",
    "masto\u202edon.example",
    "masto\ufffddon.example",
    "masto\ud800don.example",
    "https://mastodon.example\\@other.example",
    "xn--.example",
    "xn--a.example",
    "xn--99999999.example",
    "xn--mastodon-.example",
    "xn--bücher.example",
    "xn--\u00df.example",
    "☃.example",
    "💩.example",
    "a·b.example",
    "١٢٧.٠.٠.١",
    "\u0301mastodon.example",
    "mastodon.exa\u200dmple",
    "℀.example",
    "mastodon⁄other.example",
    "<script>alert(1)</script>",
    "javascript:alert(1)",
    "ftp://mastodon.example",
    "file:///etc/passwd",
    "https:mastodon.example",
    "https:/mastodon.example",
)

NOTHING_MEANT = (
    "",
    "   ",
    "\n",
    "/",
    "//mastodon.example",
    "?mastodon.example",
    "#mastodon.example",
    "mastodon.example\\other.example",
    "https:\\\\mastodon.example",
)


class ParseTests(SynchronousTestCase):
    """What people type where no private host is opened."""

    def setUp(self) -> None:
        """The rules of an authenticator at auth.example."""
        self.rules = HostRules("auth.example")

    def outcome(self, typed: str) -> str:
        """The host's origin, or why there is none."""
        try:
            return self.rules.parse(typed).origin
        except Malformed as error:
            return error.sentence

    def assert_refused(self, spellings: Iterable[str], sentence: str) -> None:
        """Each is refused, for this reason."""
        outcomes = {typed: self.outcome(typed) for typed in spellings}
        self.assertEqual({it: got for it, got in outcomes.items() if got != sentence}, {})

    def test_understood(self) -> None:
        """Each way to write a public host leads to that host over https."""
        outcomes = {
            typed: (self.outcome(typed), f"https://{name}") for typed, name in UNDERSTOOD.items()
        }
        self.assertEqual({it: both for it, both in outcomes.items() if both[0] != both[1]}, {})

    def test_allowed(self) -> None:
        """What was understood may be spoken to."""
        hosts = map(self.rules.parse, UNDERSTOOD)
        self.assertEqual(
            [it for it in hosts if not self.rules.allows(it.scheme, it.name, it.port)], []
        )

    def test_addresses(self) -> None:
        """An IP address is refused in every notation."""
        self.assert_refused(ADDRESSES, "This is an address; only names can be used.")

    def test_userinfo(self) -> None:
        """A user name or password before the host is refused."""
        self.assert_refused(
            WITH_USERINFO, "There must be no user name or password before the host."
        )

    def test_single_labels(self) -> None:
        """A name without a dot is refused."""
        self.assert_refused(
            SINGLE_LABELS, "This is not a full host name: a dot and an ending are missing."
        )

    def test_special_names(self) -> None:
        """Names that never are on the public internet are refused, and those below them."""
        self.assert_refused(SPECIAL, "Names of this kind exist only inside a network of one's own.")

    def test_own_name(self) -> None:
        """Our own name is refused however it is written."""
        self.assert_refused(
            OUR_OWN, "This is the name of the authenticator itself, not of a Mastodon host."
        )

    def test_own_single_label(self) -> None:
        """Our own name is refused as such where it is localhost."""
        self.rules = HostRules("localhost")
        self.assert_refused(
            ("localhost", "LOCALHOST."),
            "This is the name of the authenticator itself, not of a Mastodon host.",
        )

    def test_ports(self) -> None:
        """A port other than 443 is refused."""
        self.assert_refused(OTHER_PORTS, "Only the usual port can be used: leave the port out.")

    def test_impossible_ports(self) -> None:
        """A port that no TCP knows is refused."""
        self.assert_refused(NO_PORTS, "This port does not exist.")

    def test_length(self) -> None:
        """Names of more than 253 octets are refused, and input of more than four times as much."""
        self.assert_refused(TOO_LONG, "This is too long for the name of a host.")

    def test_invalid_names(self) -> None:
        """What neither DNS nor IDNA takes for a host name is refused."""
        self.assert_refused(NO_NAMES, "This is not a valid host name.")

    def test_other_text(self) -> None:
        """Text that names no host at all is refused."""
        self.assert_refused(
            NOTHING_MEANT, "This is not a host name, a web address or a @user@host handle."
        )

    def test_empty_handles(self) -> None:
        """A handle without a user or without a host is refused."""
        understood = [it for it in ("@", "@@", "user@", "@user@") if "://" in self.outcome(it)]
        self.assertEqual(understood, [])

    def test_odd_ends(self) -> None:
        """A dot too many, a backslash in a handle and an empty user before a host are refused."""
        for typed in ("mastodon.example..", "a\\@mastodon.example", "https://@mastodon.example"):
            self.assertNotIn("://", self.outcome(typed), typed)

    def test_sentence(self) -> None:
        """The sentence of a refusal repeats nothing of what was typed."""
        typed = (
            "canary",
            "canary.local",
            "canary.1",
            "canary..example",
            "canary_.example",
            "mastodon.example:canary",
            "https://canary:canary@mastodon.example",
            "//canary",
            "xn--canary-.example",
            "canary" * 200,
        )
        outcomes = map(self.outcome, typed)
        self.assertEqual([it for it in outcomes if "canary" in it or "://" in it], [])


class PrivateHostsTests(SynchronousTestCase):
    """What ``private_hosts`` opens, and what stays shut."""

    def setUp(self) -> None:
        """Rules with one host of each form."""
        named = ("localhost:3000", "http://plain.test:3001", "http://web.test", "secure", "dev:444")
        self.rules = HostRules.with_private("auth.example", map(parse_private_host, named))

    def test_parse(self) -> None:
        """A private host is understood as it was named, whatever scheme is typed."""
        meant = {
            "localhost:3000": "https://localhost:3000",
            "LOCALHOST.:3000": "https://localhost:3000",
            "http://localhost:3000/": "https://localhost:3000",
            "@user@localhost:3000": "https://localhost:3000",
            "plain.test:3001": "http://plain.test:3001",
            "https://plain.test:3001": "http://plain.test:3001",
            "web.test": "http://web.test",
            "web.test:80": "http://web.test",
            "secure": "https://secure",
            "secure:443": "https://secure",
            "dev:444": "https://dev:444",
        }
        outcomes = {typed: self.rules.parse(typed).origin for typed in meant}
        self.assertEqual(outcomes, meant)

    def test_other_ports(self) -> None:
        """A private host is opened on its port alone."""
        for typed in ("localhost", "localhost:443", "localhost:3001", "dev", "dev:3000"):
            self.assertRaises(Malformed, self.rules.parse, typed)

    def test_other_names(self) -> None:
        """Names beside and below a private host stay shut."""
        for typed in ("mastodon.localhost:3000", "host:3000", "localhost.test:3000", "127.0.0.1"):
            self.assertRaises(Malformed, self.rules.parse, typed)

    def test_public_on_443(self) -> None:
        """A public name that is private on another port stays public on 443."""
        self.assertEqual(self.rules.parse("plain.test"), Host("plain.test"))

    def test_https_first(self) -> None:
        """Of a name that is private on 443 and on 80, the bare name means 443."""
        rules = HostRules.with_private(
            "auth.example", [Host("dev", 80, "http"), Host("dev"), Host("dev", 3000)]
        )
        self.assertEqual(rules.parse("dev"), Host("dev"))

    def test_is_private(self) -> None:
        """Only a name together with its port may lie on a private address."""
        table = {
            ("localhost", 3000): True,
            ("localhost", 443): False,
            ("localhost", 3001): False,
            ("plain.test", 3001): True,
            ("plain.test", 443): False,
            ("web.test", 80): True,
            ("web.test", 443): False,
            ("secure", 443): True,
            ("secure", 80): False,
            ("mastodon.example", 443): False,
        }
        self.assertEqual({it: self.rules.is_private(*it) for it in table}, table)

    def test_allows(self) -> None:
        """Requests go to a private host as it was named, or to a public name over https and 443."""
        table = {
            ("https", "mastodon.example", 443): True,
            ("https", "xn--bcher-kva.example", 443): True,
            ("http", "mastodon.example", 443): False,
            ("http", "mastodon.example", 80): False,
            ("https", "mastodon.example", 8443): False,
            ("https", "mastodon.example", 0): False,
            ("ftp", "mastodon.example", 443): False,
            ("HTTPS", "mastodon.example", 443): False,
            ("https", "MASTODON.example", 443): False,
            ("https", "mastodon.example.", 443): False,
            ("https", "bücher.example", 443): False,
            ("https", "masto_don.example", 443): False,
            ("https", "mastodon.example\n", 443): False,
            ("https", "127.0.0.1", 443): False,
            ("https", "2130706433", 443): False,
            ("https", "0x7f.1", 443): False,
            ("https", "[::1]", 443): False,
            ("https", "::1", 443): False,
            ("https", "", 443): False,
            ("https", "mastodon", 443): False,
            ("https", "localhost", 443): False,
            ("https", "printer.local", 443): False,
            ("https", "metadata.internal", 443): False,
            ("https", "mastodon.onion", 443): False,
            ("https", "auth.example", 443): False,
            ("https", "localhost", 3000): True,
            ("http", "localhost", 3000): False,
            ("http", "plain.test", 3001): True,
            ("https", "plain.test", 3001): False,
            ("https", "plain.test", 443): True,
            ("http", "web.test", 80): True,
            ("https", "web.test", 80): False,
            ("https", "secure", 443): True,
            ("http", "secure", 443): False,
            ("https", "dev", 444): True,
            ("https", "dev", 443): False,
        }
        self.assertEqual({it: self.rules.allows(*it) for it in table}, table)


class ParsePrivateHostTests(SynchronousTestCase):
    """The entries of ``private_hosts``."""

    def test_forms(self) -> None:
        """Each of the three forms names a host, in http only where that is written."""
        table = {
            "localhost": Host("localhost", 443, "https"),
            "localhost:3000": Host("localhost", 3000, "https"),
            "localhost:80": Host("localhost", 80, "https"),
            "http://localhost:3000": Host("localhost", 3000, "http"),
            "http://localhost": Host("localhost", 80, "http"),
            "http://localhost:443": Host("localhost", 443, "http"),
            "Mastodon.Test.:3000": Host("mastodon.test", 3000, "https"),
            "bücher.test:3000": Host("xn--bcher-kva.test", 3000, "https"),
            "mastodon.internal": Host("mastodon.internal", 443, "https"),
        }
        self.assertEqual({text: parse_private_host(text) for text in table}, table)

    def test_mistakes(self) -> None:
        """Whatever has none of the three forms is refused, and the sentence says why."""
        scheme = "Only http:// may stand before the name."
        address = "This is an address; only names can be used."
        port = "This port does not exist."
        name = "This is not a valid host name."
        table = {
            "https://localhost:3000": scheme,
            "ftp://localhost": scheme,
            "http://http://localhost": name,
            "://localhost": scheme,
            "127.0.0.1": address,
            "http://127.0.0.1:3000": address,
            "0x7f.1:3000": address,
            "localhost:0": port,
            "localhost:65536": port,
            "localhost:http": name,
            "localhost:": name,
            "[::1]:3000": name,
            "::1": name,
            ":3000": name,
            "": name,
            "http://": name,
            "http:localhost": name,
            "//localhost": name,
            "localhost/": name,
            "http://localhost:3000/": name,
            "user@localhost": name,
            " localhost": name,
            "*.test": name,
        }
        sentences = {}
        for text in table:
            with self.assertRaises(Malformed) as caught:
                parse_private_host(text)
            sentences[text] = caught.exception.sentence
        self.assertEqual(sentences, table)


class HostTests(SynchronousTestCase):
    """How a host is written."""

    def test_authority(self) -> None:
        """The authority has the port where it is not 443, over http as well."""
        table = {
            Host("mastodon.example"): "mastodon.example",
            Host("localhost", 3000): "localhost:3000",
            Host("localhost", 80): "localhost:80",
            Host("localhost", 80, "http"): "localhost:80",
            Host("localhost", 443, "http"): "localhost",
        }
        self.assertEqual({host: host.authority for host in table}, table)

    def test_origin(self) -> None:
        """The origin has the port where it is not the scheme's own."""
        table = {
            Host("mastodon.example"): "https://mastodon.example",
            Host("localhost", 3000): "https://localhost:3000",
            Host("localhost", 80): "https://localhost:80",
            Host("localhost", 80, "http"): "http://localhost",
            Host("localhost", 443, "http"): "http://localhost:443",
        }
        self.assertEqual({host: host.origin for host in table}, table)

    def test_format_origin(self) -> None:
        """A scheme without a port of its own keeps the port."""
        self.assertEqual(
            format_origin("gemini", "mastodon.example", 443), "gemini://mastodon.example:443"
        )

    def test_a_labels_are_final(self) -> None:
        """A name that was made of A-labels stays as it is."""
        names = set(UNDERSTOOD.values())
        self.assertEqual({to_a_labels(name) for name in names}, names)
