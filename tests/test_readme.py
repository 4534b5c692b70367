"""The README shows what the examples really are."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from gma.config import Kinds

_ROOT = Path(__file__).parent.parent


class ReadmeTests(SynchronousTestCase):
    """What a newcomer copies from the README."""

    def test_examples(self) -> None:
        """Each client stands in the README as it stands in the folder, whole."""
        readme = (_ROOT / "README.md").read_text()
        for language, file in (("python", "login.py"), ("html", "login.html")):
            blocks = re.findall(rf"```{language}\n(.*?)```", readme, re.DOTALL)
            self.assertEqual(blocks, [(_ROOT / "examples" / file).read_text()])

    def test_links(self) -> None:
        """Each file that a document points to exists."""
        for document in [_ROOT / "README.md", *(_ROOT / "docs").glob("*.md")]:
            for target in re.findall(r"\]\(([^):#]+)\)", document.read_text()):
                self.assertTrue((document.parent / target).exists(), f"{document.name}: {target}")

    def test_configuration(self) -> None:
        """The keys that the README calls needed are the ones that are."""
        readme = (_ROOT / "README.md").read_text()
        (block,) = re.findall(r"```yaml\n(.*?)```", readme, re.DOTALL)
        needed = [it.split(":")[0] for it in block.splitlines()]
        required = [field.name for field in msgspec.structs.fields(Kinds) if field.required]
        self.assertEqual(sorted(needed), sorted(required))
