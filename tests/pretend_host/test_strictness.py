"""The pretend host refuses what Mastodon refuses; a lenient one would prove nothing."""

from __future__ import annotations

import hashlib
from base64 import urlsafe_b64encode
from urllib.parse import parse_qs, urlencode, urlsplit

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.pretend_host.mastodon import App, Mastodon, PageShown, Refused, Wish, callback_url

_URI = "https://auth.example/callback/mastodon.example"
_VERIFIER = "v" * 43
_CHALLENGE = (
    urlsafe_b64encode(hashlib.sha256(_VERIFIER.encode()).digest()).rstrip(b"=").decode("ascii")
)


class StrictnessTests(SynchronousTestCase):
    """One app at one host."""

    def setUp(self) -> None:
        """Register an app."""
        self.clock = Clock()
        self.host = Mastodon(self.clock.seconds)
        self.app = self.register()

    def register(self, **changes: str) -> App:
        """Register an app, with these fields other than usual."""
        form = {"client_name": "App", "redirect_uris": _URI, "scopes": "read write"}
        return self.host.register({**form, **changes})

    def wish(self, **changes: str) -> Wish:
        """An authorize request, with these parameters other than usual; empty ones are left out."""
        parameters = {
            "response_type": "code",
            "client_id": self.app.client_id,
            "redirect_uri": _URI,
            "scope": "read",
            "state": "s&=",
            "code_challenge": _CHALLENGE,
            "code_challenge_method": "S256",
            **changes,
        }
        given = {name: value for name, value in parameters.items() if value}
        return self.host.authorize(urlencode(given))

    def exchange(self, code: str, basic: tuple[str, str] | None = None, **changes: str) -> str:
        """A token request: the token. Empty fields are left out."""
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "client_id": self.app.client_id,
            "client_secret": self.app.client_secret,
            "redirect_uri": _URI,
            "code_verifier": _VERIFIER,
            **changes,
        }
        given = {name: value for name, value in form.items() if value}
        return str(self.host.exchange(given, basic)["access_token"])

    def code(self) -> str:
        """A fresh code of alice's."""
        return self.host.approve(self.wish(), "alice")["code"]

    def assert_refused(self, error: str, status: int, code: str, **changes: str) -> None:
        """The token request is refused with this error."""
        refused = self.assertRaises(Refused, self.exchange, code, **changes)
        self.assertEqual((refused.body["error"], refused.status), (error, status))

    def test_registration(self) -> None:
        """Long names, relative URIs, fragments, unknown scopes and odd websites are refused."""
        for change in (
            {"client_name": ""},
            {"client_name": "x" * 61},
            {"redirect_uris": ""},
            {"redirect_uris": "/callback"},
            {"redirect_uris": "javascript:alert(1)"},
            {"redirect_uris": f"{_URI}#fragment"},
            {"scopes": "read bogus"},
            {"scopes": "read  write"},
            {"website": "not a URL"},
        ):
            refused = self.assertRaises(Refused, self.register, **change)
            self.assertEqual(refused.status, 422, change)

    def test_authorize(self) -> None:
        """What is wrong with an authorize request is shown, and nobody is sent back."""
        for status, change in (
            (401, {"client_id": "unknown"}),
            (400, {"redirect_uri": f"{_URI}/"}),
            (400, {"response_type": "token"}),
            (400, {"scope": "read push"}),
            (400, {"scope": "read:accounts"}),
            (400, {"code_challenge_method": "plain"}),
            (400, {"code_challenge_method": ""}),
        ):
            shown = self.assertRaises(PageShown, self.wish, **change)
            self.assertEqual(shown.status, status, change)

    def test_state(self) -> None:
        """The state comes back as it was, encoded."""
        wish = self.wish()
        query = urlsplit(callback_url(wish, self.host.decline(wish))).query
        self.assertEqual(parse_qs(query)["state"], ["s&="])

    def test_code_once(self) -> None:
        """A code is good once."""
        code = self.code()
        self.exchange(code)
        self.assert_refused("invalid_grant", 400, code)

    def test_code_for_ten_minutes(self) -> None:
        """A code is good for ten minutes."""
        early, late = self.code(), self.code()
        self.clock.advance(599)
        self.exchange(early)
        self.clock.advance(1)
        self.assert_refused("invalid_grant", 400, late)

    def test_exchange(self) -> None:
        """Every part of a token request has to be right."""
        other = self.register(client_name="Other")
        for error, status, change in (
            ("invalid_grant", 400, {"redirect_uri": f"{_URI}/"}),
            ("invalid_grant", 400, {"code_verifier": "w" * 43}),
            ("invalid_grant", 400, {"code_verifier": "short"}),
            ("invalid_grant", 400, {"code_verifier": ""}),
            ("invalid_grant", 400, {"code": "unknown"}),
            (
                "invalid_grant",
                400,
                {"client_id": other.client_id, "client_secret": other.client_secret},
            ),
            ("invalid_client", 401, {"client_secret": "wrong"}),
            ("invalid_client", 401, {"client_id": "unknown"}),
            ("invalid_request", 400, {"redirect_uri": ""}),
            ("invalid_request", 400, {"code": ""}),
            ("unsupported_grant_type", 400, {"grant_type": "password"}),
        ):
            self.assert_refused(error, status, **{"code": self.code(), **change})

    def test_one_kind_of_credentials(self) -> None:
        """Credentials in the body and in a header at once are refused; either alone is taken."""
        basic = (self.app.client_id, self.app.client_secret)
        refused = self.assertRaises(Refused, self.exchange, self.code(), basic)
        self.assertEqual(refused.body["error"], "invalid_request")
        self.exchange(self.code(), basic, client_id="", client_secret="")
        self.exchange(self.code())

    def test_same_token(self) -> None:
        """The same app, account and scopes get the same token, as at Mastodon."""
        self.assertEqual(self.exchange(self.code()), self.exchange(self.code()))

    def test_verify(self) -> None:
        """A token tells its account; others tell nothing."""
        self.assertEqual(self.host.verify(self.exchange(self.code())), "alice")
        self.assertEqual(self.assertRaises(Refused, self.host.verify, "x").status, 401)
