"""Which endpoints are used, by what a host says of itself."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.support import World

_USUAL = ("https://mastodon.example/oauth/authorize", "https://mastodon.example/oauth/token")
_PATH = "/.well-known/oauth-authorization-server"


class DiscoveryTests(SynchronousTestCase):
    """RFC 8414 metadata, good, bad and absent."""

    def setUp(self) -> None:
        """A daemon and a client."""
        self.world = World(self)
        self.client = self.world.connect()

    def stored(self, switch: str) -> tuple[str, str, str]:
        """Issuer and endpoints of a request that began while the host answered so."""
        self.world.restart()
        self.world.host.behaviour.metadata = switch
        client = self.world.connect()
        answer = client.auth("mastodon.example")
        self.assertEqual(answer["type"], "set-id", switch)
        rows = self.world.query(
            "SELECT issuer, authorization_endpoint, token_endpoint FROM requests ORDER BY rowid"
        )
        issuer, authorize, token = rows[-1]
        return issuer, authorize, token

    def test_metadata(self) -> None:
        """Endpoints are the host's own, and its issuer is kept as it writes it."""
        self.assertEqual(self.stored("normal"), ("https://mastodon.example", *_USUAL))
        self.assertEqual(self.stored("slash"), ("https://mastodon.example/", *_USUAL))

    def test_usual_paths(self) -> None:
        """Metadata that is absent, unreadable or not the host's own does not count."""
        for switch in (
            "404 html",
            "200 html",
            "500 html",
            "bad json",
            "deep json",
            "json list",
            "bad types",
            "other issuer",
            "foreign endpoints",
            "http endpoints",
            "odd endpoints",
            "401 json",
            "moved",
            "gzip",
            "huge",
            "reset",
            "redirect loop",
        ):
            self.assertEqual(self.stored(switch), ("https://mastodon.example", *_USUAL), switch)

    def test_redirect(self) -> None:
        """A redirect within the host is followed."""
        self.assertEqual(self.stored("redirect"), ("https://mastodon.example", *_USUAL))
        self.assertEqual(self.world.host.count("/moved/oauth-authorization-server"), 1)

    def test_redirect_loop(self) -> None:
        """More than three redirects are not followed."""
        self.world.host.behaviour.metadata = "redirect loop"
        self.client.auth("mastodon.example")
        self.assertEqual(self.world.host.count(_PATH), 4)

    def test_remembered(self) -> None:
        """What was found is good for an hour."""
        for _ in range(3):
            self.client.auth("mastodon.example")
        self.assertEqual(self.world.host.count(_PATH), 1)
        for _ in range(6):
            self.world.advance(601)
        self.client.look()
        self.client.auth("mastodon.example")
        self.assertEqual(self.world.host.count(_PATH), 2)

    def test_trouble_is_not_remembered(self) -> None:
        """A host that could not be reached is asked again by the next client."""
        self.world.host.behaviour.metadata = "hang"
        self.client.send({"type": "auth", "parameters": {"host": "mastodon.example"}})
        self.world.advance(16)
        self.assertEqual([it["type"] for it in self.client.look()], ["invalid-host"])
        self.world.host.behaviour.metadata = "normal"
        self.assertEqual(self.client.auth("mastodon.example")["type"], "set-id")
