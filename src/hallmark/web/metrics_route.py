"""GET /metrics."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from hallmark.web.kept import Kept
from hallmark.web.metrics import CONTENT_TYPE, Meter, ReadSamples


def metrics_routes(meter: Meter, read_samples: ReadSamples) -> list[BaseRoute]:
    """Serve the metrics of every process of the instance, and samples that are read with them."""
    kept = Kept(lambda: meter.to_text(read_samples()))

    async def metrics(_request: Request) -> Response:
        return Response(await kept.read(), headers={"content-type": CONTENT_TYPE})

    return [Route("/metrics", metrics, methods=["GET"])]
