"""Logins with a real browser."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal, TypeVar

from selenium.common.exceptions import TimeoutException
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support import expected_conditions
from selenium.webdriver.support.wait import WebDriverWait

from gma.web.pages import texts
from tests.daemon.processes import CHECKOUT, SECONDS, free_port
from tests.daemon.world import WorldTestCase

_FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--ignore-certificate-errors",
)
_NO_SCRIPTS = {"profile.managed_default_content_settings.javascript": 2}

Found = TypeVar("Found")


class _BrowserTestCase(WorldTestCase):
    """A daemon that serves, and a browser with a new profile."""

    scripts = True

    def setUp(self) -> None:
        """Start them."""
        super().setUp()
        self.website_port = free_port()
        self.daemon = self.start_daemon(app_website=f"http://localhost:{self.website_port}")
        self.browser_window = self.start_browser()

    def start_browser(self) -> Chrome:
        """A browser."""
        chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
        assert chromium is not None, "chromium is missing"
        assert driver is not None, "chromedriver is missing"
        options = ChromeOptions()
        options.binary_location = chromium
        for flag in (*_FLAGS, f"--user-data-dir={self.folder / 'profile'}"):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        if not self.scripts:
            options.add_experimental_option("prefs", _NO_SCRIPTS)
        browser = Chrome(options, Service(driver))
        self.addCleanup(browser.quit)
        return browser

    def wait_for(self, condition: Callable[[Any], Literal[False] | Found], what: str) -> Found:
        """What the condition finds at last."""
        window = self.browser_window
        try:
            return WebDriverWait(window, SECONDS).until(condition)
        except TimeoutException:
            where = f"{window.current_url}\n{window.page_source}\n{self.daemon.log()}"
            raise AssertionError(f"no {what} in {SECONDS:.0f} s: {where}") from None

    def element(self, selector: str) -> WebElement:
        """The first element on the page that matches, once there is one."""
        place = (By.CSS_SELECTOR, selector)
        return self.wait_for(expected_conditions.visibility_of_element_located(place), selector)

    def decide(self, decision: str) -> None:
        """Sign in at the host, which asks for it, and press ``allow`` or ``deny`` there."""
        self.element("[name=username]").send_keys("alice")
        self.element("[name=password]").send_keys("alice-password")
        self.element("button").click()
        self.element(f"button[value={decision}]").click()

    def check_page(self, heading: str) -> None:
        """See that the page of gma's with this heading is reached, and that it has its style."""
        place = (By.TAG_NAME, "h1")
        self.wait_for(expected_conditions.text_to_be_present_in_element(place, heading), heading)
        self.assertTrue(self.browser_window.current_url.startswith(self.daemon.origin))
        self.assertEqual(self.element("body").value_of_css_property("display"), "flex")

    def check_console(self) -> None:
        """See that no page of gma's has made the browser complain."""
        entries: list[dict[str, Any]] = self.browser_window.get_log("browser")
        self.assertEqual([it for it in entries if self.daemon.origin in it["message"]], [])


class WebsiteTests(_BrowserTestCase):
    """The example web page, as an app's users have it before them."""

    def setUp(self) -> None:
        """Serve the page, which asks this daemon."""
        super().setUp()
        site = self.folder / "site"
        site.mkdir()
        example = (CHECKOUT / "examples" / "login.html").read_text("utf-8")
        self.assertIn("ws://localhost:8080/ws", example)
        adapted = example.replace("localhost:8080", f"localhost:{self.daemon.port}")
        (site / "index.html").write_text(adapted, "utf-8")
        handler = partial(_Quiet, directory=str(site))
        server = ThreadingHTTPServer(("127.0.0.1", self.website_port), handler)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        self.addCleanup(server.server_close)
        self.addCleanup(thread.join)
        self.addCleanup(server.shutdown)
        self.browser_window.get(f"http://localhost:{self.website_port}/")
        self.tab = self.browser_window.current_window_handle

    def go_to_host(self, host: str) -> None:
        """Type a host into the page, and look at the new tab."""
        self.element("[name=host]").send_keys(host)
        self.element("button").click()
        self.wait_for(expected_conditions.number_of_windows_to_be(2), "second tab")
        (new,) = set(self.browser_window.window_handles) - {self.tab}
        self.browser_window.switch_to.window(new)

    def check_status(self, text: str) -> None:
        """See that the example says so at last."""
        self.browser_window.switch_to.window(self.tab)
        place = (By.CSS_SELECTOR, "p[role=status]")
        self.wait_for(expected_conditions.text_to_be_present_in_element(place, text), text)

    def test_login(self) -> None:
        """A person logs in in a new tab, and the page they came from greets them by name."""
        self.go_to_host(self.host.authority)
        self.decide("allow")
        self.check_page(texts.done("Test app", self.host.authority).title)
        self.check_status("Hello alice!")
        self.check_console()

    def test_decline(self) -> None:
        """A person says no in the new tab, and the page they came from knows."""
        self.go_to_host(self.host.authority)
        self.decide("deny")
        self.check_status("The user declined the request.")
        self.check_console()

    def test_invalid_host(self) -> None:
        """A host that cannot be used is told on the page, where the next one can be typed."""
        self.element("[name=host]").send_keys("127.0.0.1")
        self.element("button").click()
        self.check_status("This is an address; only names can be used.")
        self.check_console()


class PageTests(_BrowserTestCase):
    """gma's own pages."""

    def test_decline(self) -> None:
        """A person who says no is shown that nothing was handed over."""
        client = self.connect(self.daemon)
        self.browser_window.get(client.begin(self.host.authority)["url"])
        self.decide("deny")
        self.check_page(texts.declined("Test app", self.host.authority).title)
        self.assertEqual(client.receive()["parameters"]["error"], "access_denied")
        self.check_console()

    def test_reload(self) -> None:
        """The page at the end may be reloaded: it stays what it is."""
        client = self.connect(self.daemon)
        self.browser_window.get(client.begin(self.host.authority)["url"])
        self.decide("allow")
        done = texts.done("Test app", self.host.authority).title
        self.check_page(done)
        self.browser_window.refresh()
        self.check_page(done)
        self.assertEqual(len(self.host.asked("/oauth/token")), 1)
        self.check_console()

    def test_front(self) -> None:
        """The front page stands there with its style, and nothing to complain about."""
        self.browser_window.get(f"{self.daemon.origin}/")
        self.check_page("Log in to Test app with Mastodon")
        self.check_console()


class NoScriptsTests(_BrowserTestCase):
    """gma's pages where scripts are off."""

    scripts = False

    def test_login(self) -> None:
        """A person logs in without any script."""
        self.browser_window.get(
            "data:text/html,<p>off<script>document.body.innerText='on'</script>"
        )
        self.assertEqual(self.element("body").text, "off")
        client = self.connect(self.daemon)
        self.browser_window.get(client.begin(self.host.authority)["url"])
        self.decide("allow")
        self.check_page(texts.done("Test app", self.host.authority).title)
        client.receive_fulfilled()
        self.check_console()


class _Quiet(SimpleHTTPRequestHandler):
    """Serves files without a word."""

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""
