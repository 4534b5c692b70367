"""The configuration: one YAML file, checked in full before anything opens.

Knows YAML and the kinds of the keys; what each key means to users is in docs/protocol.md and
config.example.yaml. Nobody but :mod:`gma.service` sees the whole of it.
"""

from __future__ import annotations

import difflib
import re
import stat
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any, Literal, TypeVar

import attrs
import msgspec
import yaml
from hyperlink import URL
from twisted.internet.endpoints import serverFromString

from gma.core.hostname import Host, Malformed, format_origin, parse_private_host, to_a_labels
from gma.core.request import SCOPE_PATTERN

Value = TypeVar("Value")

_SCOPE = re.compile(SCOPE_PATTERN)
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^/?#@\s]+")
_AUTHORITY = re.compile(r"(?P<name>[^:/?#@\s]+)(?::(?P<port>[0-9]{1,5}))?")
_VISIBLE = re.compile(r"[^\s\x00-\x1f\x7f-\x9f]+")
_IPV4 = re.compile(r"[0-9]{1,3}(\.[0-9]{1,3}){3}")
_PORT = re.compile(r"(?:haproxy:)?(?:tcp6?|ssl|tls):(?:port=)?([0-9]+)(?::|$)")
_MAX_NAME = 60  # Mastodon refuses longer ones


class ConfigError(Exception):
    """The configuration cannot be used.

    :ivar lines: one for each mistake: the file, the key, what is wrong, what would be right.
    """

    def __init__(self, lines: list[str]) -> None:
        super().__init__("\n".join(lines))
        self.lines = lines


class _Unusable(Exception):
    """A value of the right kind that cannot be used; each text says why and what would be right."""

    def __init__(self, *problems: str) -> None:
        super().__init__(*problems)
        self.problems = problems


class Kinds(msgspec.Struct, frozen=True, kw_only=True):
    """Each key with its kind and default, as the file has them."""

    app_name: str
    app_hostname: str
    app_scheme: Literal["http", "https"] = "https"
    app_website: str
    db_path: str
    scopes: list[str]
    listen: list[str] = msgspec.field(default_factory=lambda: ["tcp:8080:interface=127.0.0.1"])
    allowed_origins: list[str] = []
    private_hosts: list[str] = []
    request_ttl: int = 600


@attrs.frozen
class Config:
    """A configuration that can be used.

    :ivar app_origin: our own public origin, without a trailing slash and without the scheme's own
        port.
    :ivar own_name: our own host name as A-labels.
    :ivar request_ttl: seconds.
    """

    app_name: str
    app_origin: str
    own_name: str
    app_website: str
    db_path: Path
    scopes: tuple[str, ...]
    listen: tuple[str, ...]
    allowed_origins: tuple[str, ...]
    private_hosts: tuple[Host, ...]
    request_ttl: int


def load(path: str) -> Config:
    """Read and check a configuration file.

    :raises ConfigError: with every mistake that is in it.
    """
    return _Reading(path, _read(path)).config()


def _read(path: str) -> dict[Any, Any]:
    try:
        document = yaml.load(Path(path).read_bytes(), _Loader)  # noqa: S506 - a SafeLoader
    except OSError as error:
        raise ConfigError([f"{path}: cannot be read: {error.strerror}"]) from error
    except Exception as error:
        # PyYAML has errors of its own, and lets through what Python makes of a bad date or number.
        raise ConfigError([f"{path}: is not YAML: {' '.join(str(error).split())}"]) from error
    if not isinstance(document, dict):
        raise ConfigError([f"{path}: must hold keys with values, such as: app_name: My app"])
    return document


class _Loader(yaml.SafeLoader):
    """Refuses a key that stands twice, where YAML's last one would win in silence."""


def _mapping(loader: yaml.SafeLoader, node: yaml.MappingNode) -> dict[Any, Any]:
    seen: set[Any] = set()
    for key_node, _ in node.value:
        key = key_node.value if isinstance(key_node, yaml.ScalarNode) else None
        if key in seen:
            raise yaml.constructor.ConstructorError(
                None, None, f"the key {key} stands here twice", key_node.start_mark
            )
        seen.add(key)
    return loader.construct_mapping(node, deep=True)


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


class _Reading:
    """Goes through a document key by key and collects what is wrong."""

    def __init__(self, path: str, document: dict[Any, Any]) -> None:
        self._path = path
        self._document = document
        self._lines: list[str] = []

    def config(self) -> Config:
        self._check_keys()
        scheme = self._key("app_scheme", str) or "https"
        authority = self._key("app_hostname", lambda text: _authority(text, scheme))
        config = Config(
            app_name=self._key("app_name", _app_name),
            app_origin=authority and format_origin(scheme, *authority),
            own_name=authority and authority[0],
            app_website=self._key("app_website", _web_url),
            db_path=self._key("db_path", _db_path),
            scopes=self._key("scopes", _scopes),
            listen=self._key("listen", _endpoints),
            allowed_origins=self._key("allowed_origins", _each(_allowed_origin)),
            private_hosts=self._key("private_hosts", _each(_private_host)),
            request_ttl=self._key("request_ttl", _request_ttl),
        )
        if self._lines:
            raise ConfigError(self._lines)
        return config

    def _check_keys(self) -> None:
        known = Kinds.__struct_fields__
        for key in self._document:
            if key not in known:
                near = difflib.get_close_matches(str(key), known, n=1)
                hint = f"; did you mean {near[0]}?" if near else ""
                self._add(str(key), f"there is no such key{hint}")

    def _key(self, key: str, check: Callable[[Any], Value]) -> Any:
        """The checked value, or ``None`` once a mistake is noted: then no Config is handed out."""
        field = _FIELDS[key]
        if key not in self._document:
            if field.required:
                self._add(key, f"is missing; it needs {_kind(key)}")
                return None
            return check(_default(field))
        try:
            return check(msgspec.convert(self._document[key], field.type))
        except msgspec.ValidationError:
            self._add(key, f"is {_shown(self._document[key])}; it needs {_kind(key)}")
        except _Unusable as error:
            for problem in error.problems:
                self._add(key, problem)
        return None

    def _add(self, key: str, problem: str) -> None:
        self._lines.append(f"{self._path}: {key}: {problem}")


_FIELDS = {field.name: field for field in msgspec.structs.fields(Kinds)}

_KINDS = {
    str: "a text",
    int: "a whole number",
    list[str]: "a list of texts, such as [one, two]",
    Literal["http", "https"]: "http or https",
}


def _default(field: msgspec.structs.FieldInfo) -> Any:
    made = field.default_factory
    return field.default if made is msgspec.NODEFAULT else made()


def _kind(key: str) -> str:
    return _KINDS[_FIELDS[key].type]


def _shown(value: Any) -> str:
    if value is None:
        return "empty"
    shown = str(value) if isinstance(value, date) else repr(value)
    return shown if len(shown) <= 60 else f"{shown[:57]}..."


def _each(check: Callable[[str], Value]) -> Callable[[list[str]], tuple[Value, ...]]:
    def check_all(texts: list[str]) -> tuple[Value, ...]:
        values: list[Value] = []
        problems: list[str] = []
        for text in texts:
            try:
                values.append(check(text))
            except _Unusable as error:
                problems.extend(error.problems)
        if problems:
            raise _Unusable(*problems)
        return tuple(values)

    return check_all


def _app_name(text: str) -> str:
    if not text.strip() or len(text) > _MAX_NAME or not text.isprintable():
        raise _Unusable(f"needs between 1 and {_MAX_NAME} characters on one line")
    return text.strip()


def _authority(text: str, scheme: str) -> tuple[str, int]:
    match = _AUTHORITY.fullmatch(text)
    problem = _Unusable(
        f"{_shown(text)} is not a host name; it needs one such as auth.example.org, with :port"
        " where it is not the usual one"
    )
    if match is None:
        raise problem
    try:
        name = to_a_labels(match["name"])
    except Malformed:
        raise problem from None
    port = int(match["port"] or (443 if scheme == "https" else 80))
    if not 0 < port < 65536:
        raise problem
    return name, port


def _is_web_url(text: str) -> bool:
    """Whether it is a web address that browsers, hosts and we read alike, its origin included."""
    if _VISIBLE.fullmatch(text) is None or "\\" in text or len(text) > 2000:
        return False
    try:
        url = URL.from_text(text).to_uri().normalize()
    except ValueError:
        return False
    if url.scheme not in ("http", "https") or url.userinfo:
        return False
    try:
        to_a_labels(url.host)
    except Malformed:
        return _IPV4.fullmatch(url.host) is not None
    return True


def _web_url(text: str) -> str:
    if not _is_web_url(text):
        raise _Unusable(
            f"{_shown(text)} is not a web address; it needs one such as https://example.org"
        )
    return text


def _db_path(text: str) -> Path:
    path = Path(text)
    if not path.is_absolute() or "\0" in text:
        raise _Unusable(
            f"{_shown(text)} is not an absolute path; it needs one such as /var/lib/gma/gma.sqlite"
        )
    try:
        return _usable_file(path)
    except OSError as error:
        raise _Unusable(f"{_shown(text)} cannot be used: {error.strerror}") from error


def _usable_file(path: Path) -> Path:
    # stat, not is_dir and exists: these hide why they say no.
    try:
        folder = stat.S_ISDIR(path.parent.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        folder = False
    if not folder:
        raise _Unusable(f"the folder {path.parent} does not exist; make it, or name another")
    try:
        is_file = stat.S_ISREG(path.stat().st_mode)
    except FileNotFoundError:
        return path
    if not is_file:
        raise _Unusable(f"{path} is not a file; it needs the path of one, which is made if missing")
    return path


def _scopes(scopes: list[str]) -> tuple[str, ...]:
    if not scopes:
        raise _Unusable("needs at least one scope, such as [read]")
    return tuple(dict.fromkeys(_each(_scope)(scopes)))


def _scope(text: str) -> str:
    if _SCOPE.fullmatch(text) is None:
        raise _Unusable(
            f"{_shown(text)} is not a scope; it needs one such as read or write:statuses"
        )
    return text


def _endpoints(descriptions: list[str]) -> tuple[str, ...]:
    if not descriptions:
        raise _Unusable("needs at least one endpoint, such as tcp:8080")
    return _each(_endpoint)(descriptions)


def _endpoint(description: str) -> str:
    port = _PORT.match(description)
    if port is not None and int(port[1]) > 65535:
        raise _Unusable(f"{_shown(description)}: there is no port above 65535")
    try:
        serverFromString(_NoReactor(), description)
    except Exception as error:
        # Each kind of endpoint has a parser of its own, and each fails in its own way.
        raise _Unusable(
            f"{_shown(description)} is not an endpoint ({error}); it needs one such as"
            " tcp:8080:interface=127.0.0.1"
        ) from error
    return description


class _NoReactor:
    """Parsing an endpoint opens nothing, so nothing of a reactor is needed for it."""


def _allowed_origin(text: str) -> str:
    usable = _ORIGIN.fullmatch(text) is not None and (
        not text.startswith(("http://", "https://")) or _is_web_url(text)
    )
    if text != "*" and not usable:
        raise _Unusable(
            f'{_shown(text)} is not an origin; it needs one such as https://example.org, or "*"'
        )
    return text


def _private_host(text: str) -> Host:
    try:
        return parse_private_host(text)
    except Malformed as error:
        raise _Unusable(
            f"{_shown(text)} cannot be used: {error.sentence} It needs host, host:port or"
            " http://host:port"
        ) from None


def _request_ttl(seconds: int) -> int:
    if not 1 <= seconds <= 3600:
        raise _Unusable(f"{seconds} is out of range; it needs 1 to 3600 seconds")
    return seconds
