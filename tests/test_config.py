"""What a configuration may hold, and how mistakes are told."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec
import yaml
from twisted.trial.unittest import SynchronousTestCase

from gma.config import Config, ConfigError, Kinds, load
from gma.core.hostname import Host

_ROOT = Path(__file__).parent.parent


class ConfigTestCase(SynchronousTestCase):
    """A file with the required keys, to be changed."""

    def setUp(self) -> None:
        """A folder for the file and the database."""
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        self.path = self.folder / "gma.yaml"
        self.values: dict[str, Any] = {
            "app_name": "My app",
            "app_hostname": "auth.example",
            "app_website": "https://app.example",
            "db_path": str(self.folder / "gma.sqlite"),
            "scopes": ["read"],
        }

    def load(self, **changes: Any) -> Config:
        """Load the file with these changes."""
        self.path.write_text(yaml.safe_dump({**self.values, **changes}))
        return load(str(self.path))

    def mistakes(self, **changes: Any) -> list[str]:
        """The lines of a file with these changes, without the file's name."""
        error = self.assertRaises(ConfigError, self.load, **changes)
        return self.stripped(error)

    def stripped(self, error: ConfigError) -> list[str]:
        """Lines of one line each, without the file's name that each begins with."""
        for line in error.lines:
            self.assertTrue(line.startswith(f"{self.path}: "), line)
            self.assertNotIn("\n", line)
        return [line.removeprefix(f"{self.path}: ") for line in error.lines]

    def assert_mistake(self, *fragments: str, **changes: Any) -> None:
        """The one mistake is told with the key and these words."""
        (key,) = changes
        (line,) = self.mistakes(**changes)
        self.assertTrue(line.startswith(f"{key}: "), line)
        for fragment in fragments:
            self.assertIn(fragment, line)


class GoodTests(ConfigTestCase):
    """Files that can be used."""

    def test_defaults(self) -> None:
        """Five keys are enough."""
        self.assertEqual(
            self.load(),
            Config(
                app_name="My app",
                app_origin="https://auth.example",
                own_name="auth.example",
                app_website="https://app.example",
                db_path=self.folder / "gma.sqlite",
                scopes=("read",),
                listen=("tcp:8080:interface=127.0.0.1",),
                allowed_origins=(),
                private_hosts=(),
                request_ttl=600,
            ),
        )

    def test_all(self) -> None:
        """Every key has its effect."""
        config = self.load(
            app_hostname="localhost:8080",
            app_scheme="http",
            scopes=["read", "write:statuses", "read"],
            listen=["tcp:8080", "unix:/tmp/gma"],
            allowed_origins=["tauri://localhost", "*"],
            private_hosts=["box", "box:8443", "http://localhost:3000"],
            request_ttl=3600,
        )
        self.assertEqual(
            (config.app_origin, config.own_name), ("http://localhost:8080", "localhost")
        )
        self.assertEqual(config.scopes, ("read", "write:statuses"))
        self.assertEqual(config.listen, ("tcp:8080", "unix:/tmp/gma"))
        self.assertEqual(config.allowed_origins, ("tauri://localhost", "*"))
        self.assertEqual(
            config.private_hosts,
            (Host("box"), Host("box", 8443), Host("localhost", 3000, "http")),
        )
        self.assertEqual(config.request_ttl, 3600)

    def test_origin(self) -> None:
        """Our own origin has the port only where it is not the scheme's, and A-labels."""
        for scheme, hostname, origin in (
            ("https", "auth.example:443", "https://auth.example"),
            ("https", "Auth.Example", "https://auth.example"),
            ("https", "auth.example:8443", "https://auth.example:8443"),
            ("http", "localhost", "http://localhost"),
            ("http", "localhost:80", "http://localhost"),
            ("http", "localhost:443", "http://localhost:443"),
            ("https", "bücher.example", "https://xn--bcher-kva.example"),
        ):
            config = self.load(app_scheme=scheme, app_hostname=hostname)
            self.assertEqual(config.app_origin, origin)

    def test_name(self) -> None:
        """Spaces around the app's name do not belong to it."""
        self.assertEqual(self.load(app_name=" My app ").app_name, "My app")


class MistakeTests(ConfigTestCase):
    """Files that cannot be used."""

    def test_missing(self) -> None:
        """Each required key that is missing is named, all in one go."""
        self.path.write_text("request_ttl: 60\n")
        lines = self.stripped(self.assertRaises(ConfigError, load, str(self.path)))
        self.assertEqual(
            {line.split(":")[0] for line in lines},
            {"app_name", "app_hostname", "app_website", "db_path", "scopes"},
        )
        self.assertTrue(all("is missing" in line for line in lines))

    def test_all_at_once(self) -> None:
        """Every mistake is told, each entry of a list for itself."""
        lines = self.mistakes(
            app_name="",
            app_scheme="ftp",
            private_hosts=["127.0.0.1", "box", "a b"],
            listen=["nonsense", "tcp:x"],
            unknown=1,
        )
        self.assertEqual(
            sorted(line.split(":")[0] for line in lines),
            ["app_name", "app_scheme", *["listen"] * 2, *["private_hosts"] * 2, "unknown"],
        )

    def test_unknown_key(self) -> None:
        """An unknown key is told with the nearest known one."""
        self.assert_mistake("no such key", "app_website", app_webside="https://app.example")
        self.assert_mistake("no such key", confirm="never")

    def test_wrong_kind(self) -> None:
        """A value of the wrong kind is shown beside the right one."""
        for key, value, right in (
            ("app_name", 5, "a text"),
            ("app_scheme", "ftp", "http or https"),
            ("scopes", "read", "a list of texts"),
            ("scopes", [1], "a list of texts"),
            ("listen", "tcp:8080", "a list of texts"),
            ("allowed_origins", {}, "a list of texts"),
            ("request_ttl", "600", "a whole number"),
            ("request_ttl", 1.5, "a whole number"),
            ("request_ttl", True, "a whole number"),
        ):
            self.assert_mistake(right, repr(value), **{key: value})

    def test_empty_value(self) -> None:
        """A key without a value is told as what it looks like."""
        self.assert_mistake("is empty", "a text", app_name=None)

    def test_date(self) -> None:
        """What YAML takes for a date is shown as it was written."""
        self.path.write_text("app_name: 2026-01-01\n")
        lines = self.stripped(self.assertRaises(ConfigError, load, str(self.path)))
        self.assertIn("app_name: is 2026-01-01; it needs a text", lines)

    def test_long_value(self) -> None:
        """Of a long value only the beginning is shown."""
        self.assert_mistake(f"is '{'x' * 56}...; it needs", request_ttl="x" * 1000)

    def test_unusable(self) -> None:
        """A value of the right kind that cannot be used is told with one that could."""
        folder = str(self.folder)
        cases: list[tuple[str, Any, str]] = [
            ("app_name", "", "60"),
            ("app_name", " ", "60"),
            ("app_name", "x" * 61, "60"),
            ("app_name", "a\nb", "one line"),
            ("app_hostname", "https://auth.example", "auth.example.org"),
            ("app_hostname", "auth.example/", "auth.example.org"),
            ("app_hostname", "127.0.0.1", "auth.example.org"),
            ("app_hostname", "auth.example:0", "auth.example.org"),
            ("app_hostname", "auth.example:99999", "auth.example.org"),
            ("app_hostname", "", "auth.example.org"),
            ("app_website", "app.example", "https://"),
            ("app_website", "ftp://app.example", "https://"),
            ("app_website", "ftp://127.0.0.1", "https://"),
            ("app_website", "https://", "https://"),
            ("app_website", "https://a:b:c", "https://"),
            ("app_website", "https://exa mple.org", "https://"),
            ("app_website", "https://a.example/a b", "https://"),
            ("app_website", "https://a.example/\nb", "https://"),
            ("app_website", "https://[::1]/", "https://"),
            ("app_website", "https://_a.org", "https://"),
            ("app_website", "https://a%20b.org", "https://"),
            ("app_website", "https://ä..org", "https://"),
            ("app_website", f"https://{'a' * 70}.org", "https://"),
            ("app_website", "https://user:word@app.example", "https://"),
            ("app_website", "https://app.example\\x", "https://"),
            ("app_website", f"https://app.example/{'x' * 2000}", "https://"),
            ("db_path", "gma.sqlite", "absolute"),
            ("db_path", f"{folder}/none/gma.sqlite", f"the folder {folder}/none does not exist"),
            ("db_path", folder, "is not a file"),
            ("db_path", f"{folder}/{'a' * 300}", "name too long"),
            ("db_path", f"{folder}/a\0b", "absolute"),
            ("db_path", "/dev/null", "is not a file"),
            ("db_path", f"{__file__}/gma.sqlite", "does not exist"),
            ("scopes", [], "at least one"),
            ("scopes", ["read write"], "read or write:statuses"),
            ("scopes", [""], "read or write:statuses"),
            ("scopes", ['a"b'], "read or write:statuses"),
            ("scopes", ["a\\b"], "read or write:statuses"),
            ("scopes", ["é"], "read or write:statuses"),
            ("listen", [], "at least one"),
            ("listen", ["nonsense"], "tcp:8080"),
            ("listen", ["tcp:99999"], "65535"),
            ("listen", ["haproxy:tcp:port=65536:interface=::"], "65535"),
            ("listen", ["systemd:domain=INET:index=7"], "tcp:8080"),
            ("listen", ["ssl:443:privateKey=/none:certKey=/none"], "tcp:8080"),
            ("allowed_origins", ["app.example"], "https://example.org"),
            ("allowed_origins", ["https://app.example/"], "https://example.org"),
            ("allowed_origins", ["https://user@app.example"], "https://example.org"),
            ("allowed_origins", ["null"], "https://example.org"),
            ("allowed_origins", ["https://example.org:port"], "https://example.org"),
            ("allowed_origins", ["https://*.example.org"], "https://example.org"),
            ("allowed_origins", ["https://[::1]:3000"], "https://example.org"),
            ("allowed_origins", ["https://a]b"], "https://example.org"),
            ("private_hosts", ["127.0.0.1"], "host:port"),
            ("private_hosts", ["https://box"], "host:port"),
            ("request_ttl", 0, "1 to 3600"),
            ("request_ttl", 3601, "1 to 3600"),
        ]
        for key, value, right in cases:
            self.assert_mistake(right, **{key: value})

    def test_file(self) -> None:
        """A file that is no mapping of keys, or none at all, is told in one line."""
        for content, fragment in (
            (b"", "must hold keys"),
            (b"- a\n- b\n", "must hold keys"),
            (b"just text", "must hold keys"),
            (b"a: [", "is not YAML"),
            (b"\xff\xfe\x00\xd8", "is not YAML"),
            (b"a: !!python/object:os.system x", "is not YAML"),
            (b"app_name: 2001-99-99", "is not YAML"),
            (b"app_name: !!int foo", "is not YAML"),
            (b"app_name: !!bool foo", "is not YAML"),
            (b"app_name: !!timestamp foo", "is not YAML"),
            (b"[" * 5000, "is not YAML"),
            (b"app_name: a\napp_name: b\n", "twice"),
            (b"scopes: [{a: 1, a: 2}]", "twice"),
        ):
            self.path.write_bytes(content)
            (line,) = self.stripped(self.assertRaises(ConfigError, load, str(self.path)))
            self.assertIn(fragment, line)

    def test_unreadable(self) -> None:
        """A file that cannot be read is told with the reason."""
        self.path.mkdir()
        (line,) = self.stripped(self.assertRaises(ConfigError, load, str(self.path)))
        self.assertIn("cannot be read: Is a directory", line)
        self.path = self.folder / "none.yaml"
        (line,) = self.stripped(self.assertRaises(ConfigError, load, str(self.path)))
        self.assertIn("No such file", line)


class ExampleTests(SynchronousTestCase):
    """``config.example.yaml``."""

    def setUp(self) -> None:
        """Read it, with the keys that are commented out and without."""
        self.text = (_ROOT / "config.example.yaml").read_text()
        self.given = yaml.safe_load(self.text)
        uncommented = re.sub(r"^#(?=[a-z_]+: )", "", self.text, flags=re.MULTILINE)
        self.all = yaml.safe_load(uncommented)
        self.fields = {field.name: field for field in msgspec.structs.fields(Kinds)}

    def test_every_key(self) -> None:
        """Every key stands in it once, and none that there is not."""
        self.assertEqual(set(self.all), set(self.fields))
        for key in self.fields:
            found = re.findall(rf"^#?{key}: ", self.text, flags=re.MULTILINE)
            self.assertEqual(len(found), 1, key)

    def test_required(self) -> None:
        """What stands there uncommented is what is required."""
        required = {name for name, field in self.fields.items() if field.required}
        self.assertEqual(set(self.given), required)

    def test_defaults(self) -> None:
        """What is commented out is the code's default."""
        for name, field in self.fields.items():
            if not field.required:
                made = field.default_factory
                default = made() if made is not msgspec.NODEFAULT else field.default
                self.assertEqual(self.all[name], default, name)

    def test_usable(self) -> None:
        """Where the folder of the database exists it can be used as it is."""
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        path = folder / "gma.yaml"
        path.write_text(self.text.replace("/var/lib/gma/", f"{folder}/"))
        self.assertEqual(load(str(path)).app_origin, "https://auth.example.org")

    def test_explained(self) -> None:
        """Every key is explained by what stands above it."""
        for key in self.fields:
            above = self.text.split(f"{key}: ")[0].rstrip("#\n").rpartition("\n")[2]
            self.assertTrue(above.startswith("# "), key)
