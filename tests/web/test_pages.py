"""The pages as a browser gets them: complete, escaped, and in words of our own."""

from __future__ import annotations

import base64
import hashlib
from html.parser import HTMLParser

import attrs
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from gma.web.pages import texts
from gma.web.pages.page import STYLE_HASH, Page, Tone, isolated, render

APP = "Fedi Reader"
HOST = "mastodon.example"
WEBSITE = "https://reader.example/"
SOCKET = "wss://auth.reader.example/ws"

PAGES = {
    "front": (200, texts.front(APP, WEBSITE, SOCKET)),
    "done": (200, texts.done(APP, HOST)),
    "undelivered": (200, texts.undelivered(APP, HOST)),
    "declined": (200, texts.declined(APP, HOST)),
    "host_failed": (502, texts.host_failed(APP, HOST, "invalid_scope")),
    "expired": (410, texts.expired()),
    "unknown": (404, texts.unknown()),
    "not_found": (404, texts.not_found()),
    "bad_request": (400, texts.bad_request()),
    "method_not_allowed": (405, texts.method_not_allowed("GET, HEAD")),
    "upgrade_required": (426, texts.upgrade_required()),
    "foreign_origin": (403, texts.foreign_origin()),
    "unrecorded": (503, texts.unrecorded(APP, HOST)),
    "server_error": (500, texts.server_error()),
}

ERROR_CODES = (
    "access_denied",
    "invalid_client",
    "invalid_grant",
    "invalid_request",
    "invalid_scope",
    "server_error",
    "slow_down",
    "temporarily_unavailable",
    "unauthorized_client",
    "unsupported_grant_type",
    "unsupported_response_type",
)

# Each would be something else than text, were it not escaped; the last would end the isolation
# around it and turn the direction of what follows.
HOSTILE = (
    "<script>alert(1)</script>",
    "</title></style></main><h1>Your password, please</h1>",
    '" onmouseover="alert(1)" x=\'',
    "&lt;b&gt; &amp; &copy",
    "\u2069\u202e\u2067drow\u200f",
)

VOID_ELEMENTS = frozenset({"meta"})


@attrs.define
class FoundElement:
    """An element of a page.

    :ivar text: all the text in it, that of the elements within included.
    """

    name: str
    attributes: dict[str, str | None]
    text: str = ""


class ReadPage(HTMLParser):
    """A page, read the way a browser reads HTML, which must have come out well-formed.

    :ivar elements: its elements, in order.
    :ivar doctype: what it says it is.
    """

    def __init__(self, document: bytes) -> None:
        super().__init__()
        self.elements: list[FoundElement] = []
        self.doctype = ""
        self._open: list[FoundElement] = []
        self.feed(document.decode("utf-8"))
        self.close()
        if self._open:
            raise AssertionError(f"never closed: {self._open}")

    def handle_decl(self, decl: str) -> None:
        """The document type."""
        self.doctype = decl

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """An element begins."""
        if len(dict(attrs)) != len(attrs):
            raise AssertionError(f"an attribute twice: {tag} {attrs}")
        self.elements.append(FoundElement(tag, dict(attrs)))
        if tag not in VOID_ELEMENTS:
            self._open.append(self.elements[-1])

    def handle_endtag(self, tag: str) -> None:
        """An element ends, and it is the one that began last."""
        if tag not in VOID_ELEMENTS and self._open.pop().name != tag:
            raise AssertionError(f"{tag} is closed before what it holds")

    def handle_data(self, data: str) -> None:
        """Text, which belongs to every element around it."""
        for element in self._open:
            element.text += data

    def all(self, name: str) -> list[FoundElement]:
        """Every element of that name."""
        return [element for element in self.elements if element.name == name]

    def only(self, name: str) -> FoundElement:
        """The one element of that name."""
        [element] = self.all(name)
        return element


class PageTestCase(SynchronousTestCase):
    """What all tests of pages need."""

    def read(self, page: Page) -> ReadPage:
        """The page, rendered and read again."""
        return ReadPage(self.rendered(page))

    def rendered(self, page: Page) -> bytes:
        """The page as it is served."""
        return self.successResultOf(Deferred.fromCoroutine(render(page)))


class EveryPageTests(PageTestCase):
    """What holds for each of the pages."""

    def test_status(self) -> None:
        """Each page goes with its own status."""
        for name, (status, page) in PAGES.items():
            self.assertEqual(page.status, status, name)

    def test_complete(self) -> None:
        """Each is a whole document: type, language, encoding, viewport, title, one heading."""
        for name, (_, page) in PAGES.items():
            read = self.read(page)
            self.assertEqual(read.doctype, "DOCTYPE html", name)
            self.assertEqual(read.only("html").attributes["lang"], "en")
            self.assertEqual(read.all("meta")[0].attributes, {"charset": "utf-8"})
            metas = {meta.attributes.get("name"): meta.attributes for meta in read.all("meta")}
            self.assertEqual(metas["viewport"]["content"], "width=device-width, initial-scale=1")
            self.assertEqual(metas["color-scheme"]["content"], "light dark")
            self.assertEqual(metas["robots"]["content"], "noindex")
            self.assertEqual(read.only("title").text, read.only("h1").text)
            self.assertIn(read.only("h1").text, read.only("main").text)

    def test_says_what_to_do(self) -> None:
        """Each says what happened and what to do next, in at least two paragraphs."""
        for name, (_, page) in PAGES.items():
            self.assertGreaterEqual(len(self.read(page).all("p")), 2, name)

    def test_style_passes_its_hash(self) -> None:
        """The style sheet that a browser reads is the very one that the policy's hash allows."""
        for name, (_, page) in PAGES.items():
            served = self.read(page).only("style").text.encode()
            digest = base64.b64encode(hashlib.sha256(served).digest()).decode()
            self.assertEqual(STYLE_HASH, f"'sha256-{digest}'", name)

    def test_nothing_that_the_policy_forbids(self) -> None:
        """No page holds a script, a handler, a style attribute, or anything that is loaded."""
        for name, (_, page) in PAGES.items():
            read = self.read(page)
            loading = {"script", "link", "img", "iframe", "object", "embed", "base", "form"}
            self.assertEqual(loading & {element.name for element in read.elements}, set(), name)
            for element in read.elements:
                for attribute in element.attributes:
                    self.assertNotIn(attribute, {"style", "src", "srcset"})
                    self.assertFalse(attribute.startswith("on"), attribute)

    def test_style_loads_nothing(self) -> None:
        """The style sheet names no other resource."""
        style = self.read(texts.expired()).only("style").text
        self.assertNotIn("url(", style)
        self.assertNotIn("@import", style)

    def test_one_icon(self) -> None:
        """Each page has the icon of its tone, which is not read aloud."""
        for name, (_, page) in PAGES.items():
            icon = self.read(page).only("svg")
            self.assertEqual(icon.attributes["class"], f"icon {page.tone.value}", name)
            self.assertEqual(icon.attributes["aria-hidden"], "true")


class HostileTests(PageTestCase):
    """Values from outside stay values."""

    def test_facts(self) -> None:
        """A hostile name of an app or a host adds no element to a page, and is still shown."""
        for make in (texts.done, texts.undelivered, texts.declined):
            harmless = [element.name for element in self.read(make(APP, HOST)).elements]
            for hostile in HOSTILE:
                read = self.read(make(hostile, hostile))
                self.assertEqual([element.name for element in read.elements], harmless)
                self.assertIn(shown(hostile), read.all("dd")[0].text)

    def test_front(self) -> None:
        """Neither does one in the title, in an address or in the text of a link."""
        harmless = [each.name for each in self.read(texts.front(APP, WEBSITE, SOCKET)).elements]
        for hostile in HOSTILE:
            website = WEBSITE + hostile
            read = self.read(texts.front(hostile, website, hostile))
            self.assertEqual([element.name for element in read.elements], harmless)
            self.assertEqual(read.only("a").attributes, {"href": website})
            self.assertIn(shown(hostile), read.only("title").text)

    def test_host_failed(self) -> None:
        """Braces in a name are no place to put other values in."""
        read = self.read(texts.host_failed("{host} {0} {", HOST, "server_error"))
        self.assertIn("{host} {0} {", read.all("p")[1].text)

    def test_direction(self) -> None:
        """A value keeps its direction to itself: it stands alone in an element that isolates it."""
        read = self.read(texts.done("\u05e9\u05dc\u05d5\u05dd", HOST))
        self.assertIn("\u05e9\u05dc\u05d5\u05dd", [element.text for element in read.all("bdi")])

    def test_controls(self) -> None:
        """What HTML cannot carry or what turns the text around it is shown as U+FFFD."""
        for control in "\x00\x1b\x7f\x85\u202a\u202e\u2066\u2068\u2069\ud800\uffff":
            read = self.read(texts.done(f"a{control}b", HOST))
            self.assertEqual(read.all("dd")[0].text, "a\ufffdb", ascii(control))

    def test_directional_marks_stay(self) -> None:
        """The marks that names in right-to-left scripts need are left in them."""
        self.assertIn("\u05d0\u200f!", isolated("\u05d0\u200f!"))


class PartsTests(PageTestCase):
    """What a page is put together from."""

    def test_facts(self) -> None:
        """Facts are a list of names and values."""
        read = self.read(texts.done(APP, HOST))
        self.assertEqual([name.text for name in read.all("dt")], ["App", "Host"])
        self.assertEqual([value.text for value in read.all("dd")], [APP, HOST])

    def test_no_empty_parts(self) -> None:
        """A page without facts, links and notes has no empty lists of them."""
        read = self.read(Page(status=200, title="Title", sentences=("Sentence.",)))
        self.assertEqual([read.all("dl"), read.all("ul"), read.all("div")], [[], [], []])

    def test_tones(self) -> None:
        """Each tone has an icon of another shape, so that colour is not all that tells."""
        shapes = set()
        for tone in Tone:
            read = self.read(Page(status=200, title="", sentences=(), tone=tone))
            shapes.add(read.only("path").attributes["d"])
        self.assertEqual(len(shapes), len(Tone))

    def test_links_lead_to_the_web(self) -> None:
        """A link of any other scheme is refused."""
        for url in ("javascript:alert(1)", "data:text/html,x", "//example.org", "", " https://a/"):
            with self.assertRaises(ValueError):
                Page(status=200, title="", sentences=(), links=(("here", url),))

    def test_link(self) -> None:
        """A link of the web is a link on the page, whatever the case of its scheme."""
        page = Page(status=200, title="", sentences=(), links=(("here", "HTTP://a.example/"),))
        link = self.read(page).only("a")
        self.assertEqual((link.text, link.attributes["href"]), ("here", "HTTP://a.example/"))


class WordsTests(PageTestCase):
    """What single pages say."""

    def test_names(self) -> None:
        """The outcome pages name the app and the host in their sentences."""
        failed = [texts.host_failed(APP, HOST, code) for code in (*ERROR_CODES, "other")]
        for page in (
            texts.done(APP, HOST),
            texts.undelivered(APP, HOST),
            texts.declined(APP, HOST),
            *failed,
        ):
            words = " ".join(paragraph.text for paragraph in self.read(page).all("p"))
            self.assertIn(APP, words)
            self.assertIn(HOST, words)
            self.assertNotIn("{", words)

    def test_error_codes(self) -> None:
        """Each code of the table has words, which are not those for other codes."""
        other = texts.host_failed(APP, HOST, "other").sentences
        for code in ERROR_CODES:
            page = texts.host_failed(APP, HOST, code)
            self.assertNotEqual(page.sentences, other, code)
            self.assertIn(("Error", code), page.facts)

    def test_other_error_codes(self) -> None:
        """A code that is not in the table is not shown: it may be anything."""
        page = texts.host_failed(APP, HOST, "call 555-1234")
        self.assertEqual(page, texts.host_failed(APP, HOST, ""))
        self.assertNotIn(b"555-1234", self.rendered(page))

    def test_front(self) -> None:
        """The front page names the app, its website, the socket and what serves it."""
        read = self.read(texts.front(APP, WEBSITE, SOCKET))
        self.assertEqual(read.only("a").attributes["href"], WEBSITE)
        self.assertIn(APP, read.only("h1").text)
        self.assertIn(SOCKET, read.only("main").text)
        self.assertIn("MIT licence", read.only("main").text)
        self.assertIn("gma, the Generic Mastodon Authenticator", read.only("body").text)

    def test_method_not_allowed(self) -> None:
        """The page that refuses a method says which ones there are, in words and as a header."""
        page = texts.method_not_allowed("GET, HEAD")
        self.assertEqual(page.headers, (("Allow", "GET, HEAD"),))
        self.assertEqual(self.read(page).only("dd").text, "GET, HEAD")

    def test_upgrade_required(self) -> None:
        """The page at the socket's address says in a header what to upgrade to (RFC 9110)."""
        headers = texts.upgrade_required().headers
        self.assertEqual(headers, (("Upgrade", "websocket"), ("Connection", "Upgrade")))

    def test_foreign_origin(self) -> None:
        """The page that refuses an origin names the key of the configuration that allows it."""
        words = self.read(texts.foreign_origin()).only("main").text
        self.assertIn("allowed_origins", words)


def shown(value: str) -> str:
    """A value as people see it, without the marks that isolate it in a sentence."""
    return isolated(value)[1:-1]
