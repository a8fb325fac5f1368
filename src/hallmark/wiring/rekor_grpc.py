"""The gRPC servers of the signature log, an extra: imported only where they are asked for.

The protocol has no paths, so every shard has a port of its own: the first that of `--grpc-listen`, shard N
the one N - 1 higher. A shard that is opened while the instance runs is served a moment later.
"""

import asyncio
import logging
from pathlib import Path
from typing import Final

from hallmark.errors import ConfigurationError
from hallmark.tlog.grpc.server import GrpcServer
from hallmark.wiring.application import Application
from hallmark.wiring.settings import GrpcSettings
from hallmark.wiring.shards import FIRST

logger = logging.getLogger("hallmark.grpc")

_LOOK_SECONDS: Final = 1.0


class GrpcServers:
    """Serves every shard of the signature log in one worker; `address` is `HOST:PORT` of the first."""

    def __init__(self, application: Application, address: str, settings: GrpcSettings) -> None:
        self._application = application
        self._host, _, port = address.rpartition(":")
        self._first_port = int(port)
        self._tls = _read_tls(settings)
        self._servers: dict[int, GrpcServer | None] = {}
        self._looking: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Serve the shards that there are, and look for others from then on."""
        await self._open_new()
        self._looking = asyncio.create_task(self._look())

    async def stop(self) -> None:
        """Take no more calls and finish those that there are, for a bounded time."""
        if self._looking is not None:
            self._looking.cancel()
        await asyncio.gather(*(server.stop() for server in self._servers.values() if server is not None))

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            await self._open_new()

    async def _open_new(self) -> None:
        for number, service in self._application.shards.services().items():
            if number in self._servers:
                continue
            address = f"{self._host}:{self._first_port + number - FIRST}"
            try:
                server = GrpcServer(service, self._application.metrics.rekor, address, tls=self._tls)
            except ConfigurationError as error:
                if number == FIRST:
                    raise
                logger.error("shard %d is not served over gRPC: %s", number, error)
                self._servers[number] = None
                continue
            self._servers[number] = server
            await server.start()


def open_grpc(application: Application, address: str, settings: GrpcSettings) -> GrpcServers:
    """Make the servers; raises `ConfigurationError`."""
    return GrpcServers(application, address, settings)


def _read_tls(settings: GrpcSettings) -> tuple[bytes, bytes] | None:
    if settings.tls_key is None or settings.tls_certificate is None:
        return None
    return Path(settings.tls_key).read_bytes(), Path(settings.tls_certificate).read_bytes()
