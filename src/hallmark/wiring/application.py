"""The application of a worker: every service of the instance on one port."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from starlette.routing import BaseRoute

from hallmark.tiledlog.sequencer import Sequencer
from hallmark.tlog import http as tlog_http
from hallmark.tlog.config import TlogConfig
from hallmark.tlog.service import TlogService
from hallmark.web.application import Dispatcher
from hallmark.web.asgi import App, Receive, Scope, Send
from hallmark.web.health import health_routes
from hallmark.wiring.layout import InstanceFile, Layout
from hallmark.wiring.logs import open_tlog


def utc_now() -> datetime:
    """The clock of a running instance."""
    return datetime.now(UTC)


class Application:
    """The services of one worker process, and the committing threads of its logs."""

    def __init__(self, instance: InstanceFile, app: App, sequencers: Sequence[Sequencer]) -> None:
        self.instance = instance
        self._app = app
        self._sequencers = sequencers

    def start(self) -> None:
        """Start the committing threads."""
        for sequencer in self._sequencers:
            sequencer.start()

    def stop(self) -> None:
        """Commit what waits, then stop."""
        for sequencer in self._sequencers:
            sequencer.stop()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        await self._app(scope, receive, send)


def open_application(layout: Layout, *, on_failure: Callable[[BaseException], None]) -> Application:
    """Open every service of the instance in this directory."""
    instance = layout.read_instance()
    tlog, signer = open_tlog(layout, instance)
    sequencer = tlog.sequencer(utc_now, on_failure)
    service = TlogService(sequencer, tlog.reader(), log_id=signer.log_id, config=TlogConfig())
    routes: list[BaseRoute] = [*tlog_http.routes(service), *health_routes()]
    return Application(instance, Dispatcher(routes, tlog_http.hot_routes(service)), [sequencer])
