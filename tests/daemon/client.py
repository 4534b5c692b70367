"""An app on the socket."""

from __future__ import annotations

import json
import socket
import ssl
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any
from urllib.parse import urlsplit

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect
from websockets.typing import Origin

from tests.daemon.processes import SECONDS


class Client:
    """An app that has connected.

    :param url: of the socket.
    :param explain: tells what the daemon logged, for the message of a failure.
    :param origin: the web page's, where the app is one.
    :raises websockets.exceptions.InvalidStatus: where it is refused.
    """

    def __init__(
        self,
        url: str,
        explain: Callable[[], str],
        *,
        origin: str | None = None,
        context: ssl.SSLContext | None = None,
    ) -> None:
        self._explain = explain
        place = urlsplit(url)
        # A connection of our own: no proxy comes between.
        connection = socket.create_connection((place.hostname, place.port or 0), SECONDS)
        self._leaving = ExitStack()
        self._socket = self._leaving.enter_context(
            connect(
                url,
                sock=connection,
                ssl=context,
                origin=None if origin is None else Origin(origin),
                open_timeout=SECONDS,
                close_timeout=SECONDS,
            )
        )

    def send(self, message: object) -> None:
        """Send a message."""
        self._socket.send(json.dumps(message))

    def receive(self) -> dict[str, Any]:
        """The next message."""
        try:
            message: dict[str, Any] = json.loads(self._socket.recv(SECONDS))
        except (TimeoutError, ConnectionClosed) as error:
            raise AssertionError(f"no message: {error!r}\n{self._explain()}") from error
        return message

    def auth(self, host: str, **parameters: object) -> dict[str, Any]:
        """Ask for a login: the next message."""
        self.send({"type": "auth", "parameters": {"host": host, **parameters}})
        return self.receive()

    def begin(self, host: str, **parameters: object) -> dict[str, Any]:
        """Ask for a login at a host that can be used: what ``set-id`` carries."""
        answer = self.auth(host, **parameters)
        assert answer["type"] == "set-id", f"{answer}\n{self._explain()}"
        begun: dict[str, Any] = answer["parameters"]
        return begun

    def receive_fulfilled(self) -> dict[str, Any]:
        """What the next message carries, a ``fulfill``."""
        message = self.receive()
        assert message["type"] == "fulfill", f"{message}\n{self._explain()}"
        fulfilled: dict[str, Any] = message["parameters"]
        return fulfilled

    def check_silence(self) -> None:
        """See that nothing has come that was not received: the next answer is to a new question."""
        self.send({"type": "auth", "parameters": {"host": ""}, "ref": "still there?"})
        message = self.receive()
        assert message.get("ref") == "still there?", f"{message}\n{self._explain()}"

    def receive_close(self) -> int | None:
        """The code that the socket is closed with; ``None`` where it just breaks off."""
        try:
            message = self._socket.recv(SECONDS)
        except ConnectionClosed as closed:
            return None if closed.rcvd is None else closed.rcvd.code
        except TimeoutError as error:
            raise AssertionError(f"the socket stays open\n{self._explain()}") from error
        raise AssertionError(f"{message!r} before the close\n{self._explain()}")

    def close(self) -> None:
        """Say goodbye."""
        self._leaving.close()
