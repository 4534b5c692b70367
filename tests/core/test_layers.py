"""The drawing in docs/architecture.md, held against the imports of the code."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

_ROOT = Path(__file__).parent.parent.parent
_MAY_IMPORT = {
    "core": {"core"},
    "fediverse": {"core", "fediverse"},
    "storage": {"core", "storage"},
    "web": {"core", "web"},
    "config": {"core"},
    "service": {"core", "fediverse", "storage", "web", "config", "service", ""},
    "tap": {"config", "service", ""},
    "": set(),
}
_ONE_ROOM = {
    "autobahn": "web",
    "twisted.web.resource": "web",
    "treq": "fediverse",
    "cachetools": "fediverse",
    "sqlite3": "storage",
    "yaml": "config",
    "nacl": "core",
    "cryptography": "core",
}


def _imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _modules() -> Iterator[tuple[str, str, list[str]]]:
    for path in sorted((_ROOT / "gma").rglob("*.py")):
        parts = path.relative_to(_ROOT / "gma").with_suffix("").parts
        yield str(path), "" if parts == ("__init__",) else parts[0], list(_imports(path))


class LayerTests(SynchronousTestCase):
    """Arrows point down."""

    def test_arrows(self) -> None:
        """Each room imports the rooms below it and no others."""
        for path, room, imports in _modules():
            for name in imports:
                if name.split(".")[0] == "gma":
                    below = name.split(".")[1]
                    below = "" if below.startswith("__") else below
                    self.assertIn(below, _MAY_IMPORT[room], f"{path} imports {name}")

    def test_libraries(self) -> None:
        """Each library of the edges is known to one room."""
        for path, room, imports in _modules():
            for name in imports:
                for library, home in _ONE_ROOM.items():
                    if f"{name}.".startswith(f"{library}."):
                        self.assertEqual(room, home, f"{path} imports {name}")

    def test_core(self) -> None:
        """The core knows no socket, no file and no URL."""
        for path, room, imports in _modules():
            if room == "core":
                for name in imports:
                    self.assertNotRegex(
                        name, r"^(socket|pathlib|os|urllib|hyperlink|twisted\.web)\b", path
                    )

    def test_reactor(self) -> None:
        """The real reactor is imported in one place."""
        found = [path for path, _, names in _modules() if "twisted.internet.reactor" in names]
        self.assertEqual([Path(path).name for path in found], ["tap.py"])

    def test_plugin(self) -> None:
        """The plugin names its module and imports nothing of it."""
        names = list(_imports(_ROOT / "twisted" / "plugins" / "gma_plugin.py"))
        self.assertEqual(names, ["twisted.application.service.ServiceMaker"])
