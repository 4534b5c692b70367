"""What is packed: the plugin, the packages by name, the pins."""

from configparser import ConfigParser
from pathlib import Path

from twisted.application.service import IServiceMaker, ServiceMaker
from twisted.plugin import getPlugins
from twisted.trial.unittest import SynchronousTestCase

CHECKOUT = Path(__file__).resolve().parent.parent


def _packages_under(folder: Path) -> set[str]:
    """The dotted names of the folders that hold an ``__init__.py``, ``folder`` among them."""
    return {
        ".".join(init.parent.relative_to(CHECKOUT).parts) for init in folder.rglob("__init__.py")
    }


class PluginTests(SynchronousTestCase):
    """twistd and the command gma."""

    def test_found(self) -> None:
        """twistd finds one command gma, which is the one of this package."""
        modules = [
            maker.module
            for maker in getPlugins(IServiceMaker)
            if isinstance(maker, ServiceMaker) and maker.tapname == "gma"
        ]
        self.assertEqual(modules, ["gma.tap"])

    def test_alone_under_twisted(self) -> None:
        """The folder twisted/ is no package of its own, else it would hide Twisted."""
        self.assertEqual(_packages_under(CHECKOUT / "twisted"), set())


class PackagesTests(SynchronousTestCase):
    """The list of packages in setup.cfg, and what trial can load."""

    def test_all_listed(self) -> None:
        """setup.cfg lists the packages under gma/ and the plugin's folder, and nothing else."""
        setup = ConfigParser()
        setup.read(CHECKOUT / "setup.cfg", encoding="utf-8")
        listed = setup["options"]["packages"].split()
        self.assertEqual(
            sorted(listed), sorted(_packages_under(CHECKOUT / "gma") | {"twisted.plugins"})
        )

    def test_tests_found(self) -> None:
        """Each folder that holds test modules is a package: trial passes over any other."""
        folders = {module.parent for module in (CHECKOUT / "tests").rglob("test_*.py")}
        self.assertEqual([str(each) for each in folders if not (each / "__init__.py").exists()], [])


class RequirementsTests(SynchronousTestCase):
    """The pins under requirements/."""

    def test_no_index(self) -> None:
        """No file says where packages come from: that is for whoever installs them."""
        files = sorted((CHECKOUT / "requirements").glob("*.txt"))
        self.assertEqual([file.stem for file in files], ["dev", "run", "test"])
        for file in files:
            pins = file.read_text(encoding="utf-8").lower()
            for word in ("http", "index-url", "find-links", "trusted-host"):
                self.assertNotIn(word, pins, f"in {file.name}")
