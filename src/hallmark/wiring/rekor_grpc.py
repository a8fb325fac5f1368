"""The gRPC server of the signature log, an extra: imported only where it is asked for."""

from hallmark.tlog.grpc.server import GrpcServer
from hallmark.wiring.application import Application


def open_grpc(application: Application, address: str) -> GrpcServer:
    """Open the server of the log's first shard at `HOST:PORT`."""
    return GrpcServer(application.tlog, application.metrics.rekor, address)
