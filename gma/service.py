"""The composition root: builds every object and hands each what it needs."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from twisted.application.service import MultiService, Service
from twisted.enterprise.adbapi import ConnectionPool
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.server import Site

from gma import __version__
from gma.config import Config
from gma.core.broker import App, Broker
from gma.core.hostname import HostRules
from gma.fediverse.agent import ClosableAgent, PublicAgent
from gma.fediverse.discovery import Discovery
from gma.fediverse.mastodon import Fediverse
from gma.fediverse.outbound import Outbound
from gma.storage.database import Database, DatabaseUnusable, open_pool, prepare
from gma.storage.registrations import SqliteRegistrations
from gma.storage.requests import SqliteRequests
from gma.web.addresses import Origins
from gma.web.handshake import SocketGuard
from gma.web.resources import GmaSite, Pages, tree
from gma.web.websocket import SocketFactory


class StartFailed(SystemExit, Exception):
    """The daemon cannot start; the text says why.

    An Exception, so that twistd takes its process file away and tells whoever waits for a daemon in
    the background; a SystemExit, so that Python prints the text alone.
    """


class Listening(Service):
    """Listens while it runs.

    :param descriptions: Twisted endpoint strings.
    """

    name = "listening"

    def __init__(self, reactor: Any, descriptions: tuple[str, ...], site: Site) -> None:
        self._reactor = reactor
        self._descriptions = descriptions
        self._site = site
        self.ports: list[IListeningPort] = []

    def privilegedStartService(self) -> None:
        """Listen, while still allowed to on ports below 1024.

        :raises StartFailed: where an endpoint cannot be listened on; that ends the start.
        """
        for description in self._descriptions:
            listening = serverFromString(self._reactor, description).listen(self._site)
            listening.addCallbacks(self.ports.append, self._end, errbackArgs=(description,))
            _raise_at_once(listening)

    def stopService(self) -> Deferred[Any]:
        """Take no new connections."""
        super().stopService()
        ports, self.ports = self.ports, []
        stopping = [maybeDeferred(port.stopListening) for port in ports]
        return Deferred.fromCoroutine(_all(stopping))

    def _end(self, failure: Failure, description: str) -> None:
        reason = failure.value
        if isinstance(reason, CannotListenError):
            reason = reason.socketError
        raise StartFailed(f"gma: cannot listen on {description}: {reason}")


class Core(Service):
    """Everything behind the listening ports, from the database to the sockets.

    :param agent: makes the connections to hosts, where it is not the guarded one.
    :param pool: of the database, where it is not one with a thread.
    :param now: seconds since the epoch.
    :ivar site: what is to be listened with.
    """

    name = "core"
    _log = Logger()

    def __init__(
        self,
        config: Config,
        reactor: Any,
        *,
        agent: ClosableAgent | None = None,
        pool: ConnectionPool | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._config = config
        self._reactor = reactor
        rules = HostRules.with_private(config.own_name, config.private_hosts)
        self._agent = agent or PublicAgent(reactor, rules)
        outbound = Outbound(
            self._agent, rules, reactor, f"gma/{__version__} (+{config.app_website})"
        )
        self._database = Database(pool or open_pool(config.db_path, reactor))
        self._broker = Broker(
            App(
                name=config.app_name,
                website=config.app_website,
                scopes=config.scopes,
                origin=config.app_origin,
                request_ttl=config.request_ttl,
            ),
            rules,
            registrations=SqliteRegistrations(self._database),
            requests=SqliteRequests(self._database),
            fediverse=Fediverse(outbound, Discovery(outbound, reactor), now),
            clock=reactor,
            now=now,
        )
        self._sockets = SocketFactory(self._broker, reactor)
        self.site = _site(config, self._broker, self._sockets, self._database, reactor)

    def startService(self) -> None:
        """Open the database and take up what an earlier run left.

        :raises StartFailed: where the database cannot be used; that ends the start.
        """
        super().startService()
        try:
            prepare(self._config.db_path)
        except DatabaseUnusable as error:
            raise StartFailed(f"gma: {error}") from None
        # Queued before the first request can be: the database has one thread.
        Deferred.fromCoroutine(self._begin()).addErrback(self._give_up)

    async def _begin(self) -> None:
        await self._broker.start()
        self._log.info(
            "gma {version} serves {name} at {origin}",
            version=__version__,
            name=self._config.app_name,
            origin=self._config.app_origin,
        )

    def stopService(self) -> Deferred[None]:
        """Close the sockets, then what they stand on."""
        super().stopService()
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        await self._sockets.close_all(self._reactor)
        self._broker.stop()
        await self._agent.close()
        self._database.close()

    def _give_up(self, failure: Failure) -> None:
        self._log.failure("the start failed", failure)
        self._reactor.stop()


def make_service(config: Config, reactor: Any) -> MultiService:
    """The daemon as one service: stops listening first, the database last.

    :param reactor: a reactor with all that a daemon needs, or a stand-in.
    """
    root = MultiService()
    core = Core(config, reactor)
    # A MultiService stops its children in reverse order.
    core.setServiceParent(root)
    Listening(reactor, config.listen, core.site).setServiceParent(root)
    return root


def _site(
    config: Config, broker: Broker, sockets: SocketFactory, database: Database, reactor: Any
) -> Site:
    scheme, _, authority = config.app_origin.partition("://")
    socket_url = f"{'wss' if scheme == 'https' else 'ws'}://{authority}/ws"
    origins = Origins.of(config.app_origin, config.app_website, config.allowed_origins)
    root = tree(Pages(broker, database.check, socket_url), SocketGuard(sockets, origins, authority))
    return GmaSite(root, reactor=reactor)


def _raise_at_once(listening: Deferred[Any]) -> None:
    """Raise what a Deferred has failed with: there it would be lost."""
    failures: list[Failure] = []
    listening.addErrback(failures.append)
    for failure in failures:
        failure.raiseException()


async def _all(waiting: list[Deferred[Any]]) -> None:
    for each in waiting:
        await each
