"""Which web pages may use the socket."""

from __future__ import annotations

from collections.abc import Iterable

from twisted.trial.unittest import SynchronousTestCase

from gma.web.addresses import Origins, origin_of

_FURTHER = (
    "https://Other.Example:443",
    "http://localhost:3000",
    "https://bücher.example",
    "tauri://localhost",
    "chrome-extension://abcdefgh",
)


class OriginsTests(SynchronousTestCase):
    """What a browser sends as ``Origin``, against what is configured."""

    def setUp(self) -> None:
        """Our own origin, a website below a path, and further origins of several kinds."""
        self.origins = Origins.of(
            "https://auth.example:8443", "https://App.Example/about?x#y", _FURTHER
        )

    def assert_admitted(self, origins: Iterable[str], admitted: bool) -> None:
        """All of these are admitted, or none."""
        expected = dict.fromkeys(origins, admitted)
        self.assertEqual({it: self.origins.admit(it) for it in expected}, expected)

    def test_admitted(self) -> None:
        """Our own origin, the website's and the further ones are admitted as browsers send them."""
        self.assert_admitted(
            (
                "https://auth.example:8443",
                "https://app.example",
                "https://other.example",
                "http://localhost:3000",
                "https://xn--bcher-kva.example",
                "tauri://localhost",
                "chrome-extension://abcdefgh",
            ),
            True,
        )

    def test_other_schemes(self) -> None:
        """The same name under another scheme is another origin."""
        self.assert_admitted(
            ("http://app.example", "https://localhost:3000", "wss://app.example", "app.example"),
            False,
        )

    def test_other_ports(self) -> None:
        """The same name on another port is another origin."""
        self.assert_admitted(
            (
                "https://auth.example",
                "https://auth.example:443",
                "https://app.example:8443",
                "https://app.example:80",
                "http://localhost",
                "http://localhost:30000",
                "tauri://localhost:3000",
            ),
            False,
        )

    def test_look_alikes(self) -> None:
        """A name that merely looks like an allowed one is refused."""
        self.assert_admitted(
            (
                "https://app.example.evil.example",
                "https://evil-app.example",
                "https://www.app.example",
                "https://example",
                "https://app.exampl",
                "https://app.example.",
                "https://appxexample",
                "https://app.example:443.evil.example",
                "https://app.example@evil.example",
                "https://evil.example/https://app.example",
                "https://evil.example#https://app.example",
                "https://app.example https://evil.example",
                "tauri://localhost.evil.example",
                "https://аpp.example",
            ),
            False,
        )

    def test_whole(self) -> None:
        """What no browser sends as an origin is refused, though it names an allowed one."""
        self.assert_admitted(
            (
                "https://app.example/",
                "https://app.example/about",
                "https://app.example/about?x#y",
                "https://app.example:443",
                "https://APP.EXAMPLE",
                "HTTPS://app.example",
                " https://app.example",
                "https://app.example\n",
                "https://bücher.example",
                "",
                "*",
            ),
            False,
        )

    def test_none(self) -> None:
        """A program, which sends no origin, is welcome."""
        self.assertTrue(self.origins.admit(None))

    def test_null(self) -> None:
        """A page that hides its origin is refused."""
        self.assert_admitted(("null",), False)

    def test_any(self) -> None:
        """Where any origin is allowed, every page is admitted that tells its own."""
        self.origins = Origins.of("https://auth.example", "https://app.example", ["*"])
        self.assert_admitted(("https://evil.example", "tauri://localhost", "http://1.2.3.4"), True)

    def test_any_but_null(self) -> None:
        """Where any origin is allowed, a page that hides its own is still refused."""
        self.origins = Origins.of("https://auth.example", "https://app.example", ["*"])
        self.assert_admitted(("null",), False)

    def test_no_patterns(self) -> None:
        """A star stands for any origin when it stands alone, and for nothing within one."""
        self.origins = Origins.of("https://auth.example", "https://app.example", ["tauri://*"])
        self.assert_admitted(("tauri://localhost", "https://evil.example", "*"), False)


class OriginOfTests(SynchronousTestCase):
    """The origin of the website."""

    def test_origins(self) -> None:
        """An origin has scheme and name in small A-labels, and the port where it is not usual."""
        table = {
            "https://app.example": "https://app.example",
            "https://app.example/": "https://app.example",
            "https://app.example/a/b?c=d#e": "https://app.example",
            "https://app.example:443/": "https://app.example",
            "https://app.example:80/": "https://app.example:80",
            "http://app.example:80": "http://app.example",
            "http://app.example:443": "http://app.example:443",
            "http://localhost:3000/x": "http://localhost:3000",
            "https://App.EXAMPLE": "https://app.example",
            "HTTPS://app.example": "https://app.example",
            "https://user:password@app.example/": "https://app.example",
            "https://bücher.example/": "https://xn--bcher-kva.example",
            "https://127.0.0.1:8443": "https://127.0.0.1:8443",
        }
        self.assertEqual({url: origin_of(url) for url in table}, table)
