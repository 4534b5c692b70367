"""The command line: ``twistd gma --config FILE``."""

from __future__ import annotations

from typing import ClassVar

from twisted.application.service import IService
from twisted.python import usage

from gma import config, service


class Options(usage.Options):
    """The one option; everything else belongs in the file that it names."""

    synopsis = "[options]"
    longdesc = "Run the Generic Mastodon Authenticator."
    optParameters: ClassVar[list[list[str | None]]] = [
        ["config", "c", None, "The YAML file to read; config.example.yaml explains every key."]
    ]
    checked: config.Config

    def postOptions(self) -> None:
        """Read and check the file before anything opens.

        :raises usage.UsageError: where no file is named.
        :raises SystemExit: with one line for each mistake. A UsageError would bury them under the
            help of twistd.
        """
        if self["config"] is None:
            raise usage.UsageError("--config FILE is missing.")
        try:
            self.checked = config.load(self["config"])
        except config.ConfigError as error:
            raise SystemExit("\n".join(error.lines)) from None


def makeService(options: Options) -> IService:
    """The daemon, on the real reactor."""
    from twisted.internet import reactor

    return service.make_service(options.checked, reactor)
