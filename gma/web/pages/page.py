"""A page as a value, and the one layout that turns it into HTML.

Knows twisted.web.template and the two files beside it. Knows no words of any page, no request and
no response: whoever serves a page sends its status, its headers and :data:`STYLE_HASH`.
"""

from __future__ import annotations

import base64
import enum
import hashlib
import re
from pathlib import Path

import attrs
from twisted.python.filepath import FilePath
from twisted.web.iweb import IRequest
from twisted.web.template import Element, Flattenable, Tag, XMLFile, flattenString, renderer, tags

_LAYOUT = XMLFile(FilePath(__file__).sibling("layout.xml"))
_STYLE = Path(__file__).with_name("style.css").read_text("utf-8")

STYLE_HASH = f"'sha256-{base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()}'"
"""The source that lets the pages' one style sheet pass a Content-Security-Policy."""

_FIRST_STRONG_ISOLATE = "\u2068"
_POP_DIRECTIONAL_ISOLATE = "\u2069"
_ISOLATED = re.compile(
    f"{_FIRST_STRONG_ISOLATE}([^{_POP_DIRECTIONAL_ISOLATE}]*){_POP_DIRECTIONAL_ISOLATE}"
)

# What HTML cannot carry (controls, lone surrogates, noncharacters), and the embeddings, overrides
# and isolates with which a value could turn the words around it.
_UNSHOWABLE = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]"
)


class Tone(enum.Enum):
    """How a page feels: its icon and the icon's colour. The words say the same without either."""

    GOOD = "good"
    NEUTRAL = "neutral"
    BAD = "bad"


def _check_links(page: Page, attribute: object, links: tuple[tuple[str, str], ...]) -> None:
    """A link leads to the web, never to a ``javascript:`` or ``data:`` URL.

    :raises ValueError: if one leads elsewhere.
    """
    for _, url in links:
        if not url.lower().startswith(("https://", "http://")):
            raise ValueError(f"a page links to http(s) URLs only, not to {url!r}")


@attrs.frozen
class Page:
    """A complete page, to be rendered.

    A value from outside stands in a sentence, in the title or in the text of a link as
    :func:`isolated` gives it, and in a fact as it is.

    :ivar status: the HTTP status that goes with it.
    :ivar title: its heading, and its name in the browser.
    :ivar sentences: its paragraphs: what happened, and what to do next.
    :ivar facts: names with their values, such as the app and the host.
    :ivar links: texts with the http(s) URLs they lead to.
    :ivar tone: how it feels.
    :ivar notes: paragraphs in small print, for developers and operators.
    :ivar headers: names and values of the HTTP headers that this page wants beside the usual ones.
    """

    status: int
    title: str
    sentences: tuple[str, ...]
    facts: tuple[tuple[str, str], ...] = ()
    links: tuple[tuple[str, str], ...] = attrs.field(default=(), validator=_check_links)
    tone: Tone = Tone.NEUTRAL
    notes: tuple[str, ...] = ()
    headers: tuple[tuple[str, str], ...] = ()


async def render(page: Page) -> bytes:
    """The page as a complete HTML document in UTF-8."""
    return b"<!DOCTYPE html>\n" + await flattenString(None, _Document(page))


def isolated(value: str) -> str:
    """A value from outside as a part of our own words.

    It keeps the direction of its own script and cannot change that of the words around it; what
    HTML cannot carry is shown as U+FFFD.
    """
    showable = _UNSHOWABLE.sub("\ufffd", value)
    return f"{_FIRST_STRONG_ISOLATE}{showable}{_POP_DIRECTIONAL_ISOLATE}"


def _marked_up(text: str) -> Flattenable:
    """Text whose isolated values have become elements of their own, which style can reach."""
    parts = _ISOLATED.split(text)
    return [tags.bdi(part) if index % 2 else part for index, part in enumerate(parts)]


class _Document(Element):
    """The layout, filled with one page.

    :ivar _page: that page.
    """

    loader = _LAYOUT

    def __init__(self, page: Page) -> None:
        super().__init__()
        self._page = page

    @renderer
    def title(self, request: IRequest | None, tag: Tag) -> Flattenable:
        """The name of the page in the browser, where there can be no elements."""
        return tag(_ISOLATED.sub(r"\1", self._page.title))

    @renderer
    def style(self, request: IRequest | None, tag: Tag) -> Flattenable:
        """The style sheet, to the byte: :data:`STYLE_HASH` was taken of it."""
        return tag(_STYLE)

    @renderer
    def good(self, request: IRequest | None, tag: Tag) -> Flattenable:
        """The icon of a page that went well."""
        return self._if(self._page.tone is Tone.GOOD, tag)

    @renderer
    def neutral(self, request: IRequest | None, tag: Tag) -> Flattenable:
        """The icon of a page that only tells."""
        return self._if(self._page.tone is Tone.NEUTRAL, tag)

    @renderer
    def bad(self, request: IRequest | None, tag: Tag) -> Flattenable:
        """The icon of a page that something went wrong for."""
        return self._if(self._page.tone is Tone.BAD, tag)

    @renderer
    def heading(self, request: IRequest | None, tag: Tag) -> Flattenable:
        """The only heading."""
        return tag(_marked_up(self._page.title))

    @renderer
    def sentences(self, request: IRequest | None, tag: Tag) -> Flattenable:
        """A paragraph for each sentence."""
        return [tag.clone().fillSlots(sentence=_marked_up(each)) for each in self._page.sentences]

    @renderer
    def facts(self, request: IRequest | None, tag: Tag) -> Flattenable:
        """The list of facts, where there are any."""
        return self._if(self._page.facts, tag)

    @renderer
    def each_fact(self, request: IRequest | None, tag: Tag) -> Flattenable:
        """A name and its value for each fact."""
        return [
            tag.clone().fillSlots(name=name, value=_marked_up(isolated(value)))
            for name, value in self._page.facts
        ]

    @renderer
    def links(self, request: IRequest | None, tag: Tag) -> Flattenable:
        """The list of links, where there are any."""
        return self._if(self._page.links, tag)

    @renderer
    def each_link(self, request: IRequest | None, tag: Tag) -> Flattenable:
        """A text that leads somewhere for each link."""
        return [
            tag.clone().fillSlots(text=_marked_up(text), url=url) for text, url in self._page.links
        ]

    @renderer
    def notes(self, request: IRequest | None, tag: Tag) -> Flattenable:
        """The small print, where there is any."""
        return self._if(self._page.notes, tag)

    @renderer
    def each_note(self, request: IRequest | None, tag: Tag) -> Flattenable:
        """A paragraph for each note."""
        return [tag.clone().fillSlots(sentence=_marked_up(each)) for each in self._page.notes]

    @staticmethod
    def _if(wanted: object, tag: Tag) -> Flattenable:
        """The tag where it is wanted, else nothing."""
        return tag if wanted else ""
