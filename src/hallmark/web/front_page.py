"""The page at `/`: what this is, how to use it, and what its root is."""

from collections.abc import Callable
from html import escape

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import BaseRoute, Route

from hallmark.web.kept import Kept

_HEADERS = {"content-security-policy": "default-src 'none'", "x-content-type-options": "nosniff"}


def front_routes(base_url: str, root_fingerprint: Callable[[], str]) -> list[BaseRoute]:
    """Serve the page; the fingerprint is shown to be compared, and proves nothing."""

    kept = Kept(root_fingerprint)

    async def front(_request: Request) -> Response:
        url, fingerprint = escape(base_url), escape(await kept.read())
        page = f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Hallmark at {url}</title></head><body>
<h1>Hallmark</h1>
<p>This is a Sigstore instance: certificate authority, transparency logs, timestamps and trust root.</p>
<p>To use it, get the fingerprint of its root from its operator, and compare it with the one shown here:</p>
<pre>hallmark context add NAME {url} --root-fingerprint {fingerprint}</pre>
<p>cosign and sigstore-python take its trust root from <code>{url}/tuf</code>;
<a href="{url}/.well-known/hallmark.json">its services</a>, <a href="{url}/health">its health</a>.</p>
</body></html>
"""
        return HTMLResponse(page, headers=_HEADERS)

    return [Route("/", front, methods=["GET"])]
