"""A browser without a screen: cookies, redirects and forms, one step at a time."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Mapping
from email.message import Message
from html.parser import HTMLParser
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from http.cookies import SimpleCookie
from urllib.parse import urlencode, urljoin, urlsplit

import attrs

from tests.daemon.processes import SECONDS

_MAX_STEPS = 10


@attrs.frozen
class Shown:
    """What a browser was answered, be it a page or the way on.

    :ivar url: where it was.
    """

    status: int
    url: str
    headers: Message
    body: str

    @property
    def location(self) -> str:
        """Where it leads on to."""
        location = self.headers.get("Location")
        assert location is not None, f"{self.url} leads nowhere: {self.status} {self.body}"
        return urljoin(self.url, str(location))

    @property
    def heading(self) -> str:
        """The page's only heading."""
        (heading,) = _Reading.of(self.body).headings
        return heading

    @property
    def text(self) -> str:
        """All that a person reads on the page."""
        return _Reading.of(self.body).text


@attrs.frozen
class _Cookie:
    value: str
    secure: bool
    ends_at: float


class Browser:
    """A person's browser: keeps cookies as long as they last, whatever the port they came from.

    :param context: whose certificates it trusts.
    :param explain: tells what the daemon logged, for the message of a failure.
    :ivar history: every answer so far.
    """

    def __init__(self, context: ssl.SSLContext, explain: Callable[[], str]) -> None:
        self._context = context
        self._explain = explain
        self._cookies: dict[str, _Cookie] = {}
        self.history: list[Shown] = []

    @property
    def cookies(self) -> dict[str, str]:
        """The values of the cookies that have not ended."""
        now = time.monotonic()
        return {name: it.value for name, it in self._cookies.items() if it.ends_at > now}

    def open(self, url: str, form: Mapping[str, str] | None = None) -> Shown:
        """One request, a POST if there is a form; its answer, wherever that leads."""
        method, headers = "GET", {"Cookie": self._cookies_for(url)}
        if form is not None:
            method, headers["Content-Type"] = "POST", "application/x-www-form-urlencoded"
        body = None if form is None else urlencode(form)
        target = url.partition("://")[2].partition("/")[2].partition("#")[0]
        connection = self._connection(url)
        try:
            connection.request(method, f"/{target}", body, {k: v for k, v in headers.items() if v})
            answer = connection.getresponse()
            shown = Shown(answer.status, url, answer.headers, answer.read().decode())
        except (OSError, HTTPException) as error:
            raise AssertionError(f"no answer from {url}: {error!r}\n{self._explain()}") from error
        finally:
            connection.close()
        self._keep_cookies(shown)
        self.history.append(shown)
        return shown

    def go(self, url: str) -> Shown:
        """The page that is reached from there by following redirects."""
        return self._follow(self.open(url))

    def submit(self, page: Shown, **answers: str) -> Shown:
        """Fill in the form of a page and send it; the answer to that alone."""
        reading = _Reading.of(page.body)
        assert reading.action is not None, f"no form at {page.url}: {page.body}"
        return self.open(urljoin(page.url, reading.action), {**reading.fields, **answers})

    def decide(self, link: str, decision: str = "allow", name: str = "alice") -> str:
        """Open a link, sign in if the host asks, decide: the callback's address, not opened yet.

        :param decision: ``allow`` or ``deny``.
        """
        page = self.go(link)
        if "password" in _Reading.of(page.body).fields:
            signed_in = self.submit(page, username=name, password=f"{name}-password")
            page = self._follow(signed_in)
        return self.submit(page, decision=decision).location

    def log_in(self, link: str, name: str = "alice") -> Shown:
        """Open a link, sign in, consent: the page at the end."""
        return self.go(self.decide(link, name=name))

    def decline(self, link: str) -> Shown:
        """Open a link, sign in, say no: the page at the end."""
        return self.go(self.decide(link, "deny"))

    def _follow(self, shown: Shown) -> Shown:
        for _ in range(_MAX_STEPS):
            if not 300 <= shown.status < 400:
                return shown
            shown = self.open(shown.location)
        raise AssertionError(f"redirected for ever: {shown.url}\n{self._explain()}")

    def _connection(self, url: str) -> HTTPConnection:
        parts = urlsplit(url)
        assert parts.hostname is not None, url
        if parts.scheme == "https":
            return HTTPSConnection(
                parts.hostname, parts.port, timeout=SECONDS, context=self._context
            )
        return HTTPConnection(parts.hostname, parts.port, timeout=SECONDS)

    def _cookies_for(self, url: str) -> str:
        safe = url.startswith("https:")
        return "; ".join(
            f"{name}={value}"
            for name, value in self.cookies.items()
            if safe or not self._cookies[name].secure
        )

    def _keep_cookies(self, shown: Shown) -> None:
        for header in shown.headers.get_all("Set-Cookie", []):
            for name, morsel in SimpleCookie(header).items():
                age = float(morsel["max-age"] or "inf")
                self._cookies[name] = _Cookie(
                    morsel.value, bool(morsel["secure"]), time.monotonic() + age
                )


class _Reading(HTMLParser):
    """The words and the first form of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.action: str | None = None
        self.fields: dict[str, str] = {}
        self.headings: list[str] = []
        self._words: list[str] = []
        self._within: list[str] = []

    @classmethod
    def of(cls, body: str) -> _Reading:
        """What stands in this HTML."""
        reading = cls()
        reading.feed(body)
        reading.close()
        return reading

    @property
    def text(self) -> str:
        """All words, separated by single spaces."""
        return " ".join(" ".join(self._words).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """See :class:`HTMLParser`."""
        given = {name: value or "" for name, value in attrs}
        if tag == "form" and self.action is None:
            self.action = given.get("action", "")
        elif tag == "input":
            self.fields[given["name"]] = given.get("value", "")
        elif tag == "h1":
            self.headings.append("")
        self._within.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """See :class:`HTMLParser`."""
        while tag in self._within and self._within.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        """See :class:`HTMLParser`."""
        if "style" in self._within or "script" in self._within:
            return
        if "h1" in self._within:
            self.headings[-1] += data
        self._words.append(data)
