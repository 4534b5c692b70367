"""A pretend host on a real socket: python -m tests.pretend_host --port 0 [--certificate FILE]."""

from __future__ import annotations

import argparse
import time
from typing import Any

import attrs
import msgspec
from twisted.internet import reactor as installed
from twisted.internet import ssl
from twisted.web.resource import Resource
from twisted.web.server import Request, Site

from tests.pretend_host.behaviour import Behaviour
from tests.pretend_host.mastodon import Mastodon
from tests.pretend_host.site import PretendHost

reactor: Any = installed


class Control(Resource):
    """For tests in another process: ``GET`` tells what was seen, ``POST`` sets switches."""

    isLeaf = True

    def __init__(self, host: PretendHost) -> None:
        super().__init__()
        self._host = host

    def render_GET(self, request: Request) -> bytes:
        """The journal, as JSON."""
        return msgspec.json.encode([attrs.asdict(seen) for seen in self._host.journal])

    def render_POST(self, request: Request) -> bytes:
        """Switches by name; what is not named goes back to its default."""
        assert request.content is not None
        switches = msgspec.json.decode(request.content.read(), type=Behaviour)
        self._host.behaviour = switches
        return b"{}"


class _Root(Resource):
    def __init__(self, host: PretendHost) -> None:
        super().__init__()
        self._host = host

    def getChild(self, path: bytes, request: Request) -> Resource:
        return self._host


def main() -> None:
    """Serve until told to stop."""
    parser = argparse.ArgumentParser(prog="tests.pretend_host")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--certificate", help="PEM file with key and chain; without it, plain HTTP")
    arguments = parser.parse_args()
    host = PretendHost("", Mastodon(time.time), reactor)
    root = _Root(host)
    root.putChild(b"_pretend", Control(host))
    site = Site(root)
    if arguments.certificate is None:
        port = reactor.listenTCP(arguments.port, site, interface="127.0.0.1")
    else:
        with open(arguments.certificate, "rb") as file:
            certificate = ssl.PrivateCertificate.loadPEM(file.read())
        options = certificate.options()
        port = reactor.listenSSL(arguments.port, site, options, interface="127.0.0.1")
    number = port.getHost().port
    host.origin = f"{'http' if arguments.certificate is None else 'https'}://localhost:{number}"
    print(f"listening on {number}", flush=True)
    reactor.run()


if __name__ == "__main__":
    main()
