"""GET /metrics."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from hallmark.web.metrics import CONTENT_TYPE, Meter, ReadSamples


def metrics_routes(meter: Meter, read_samples: ReadSamples) -> list[BaseRoute]:
    """Serve the metrics of every process of the instance, and samples that are read at this moment."""

    async def metrics(_request: Request) -> Response:
        return Response(meter.to_text(read_samples()), headers={"content-type": CONTENT_TYPE})

    return [Route("/metrics", metrics, methods=["GET"])]
