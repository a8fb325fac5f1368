"""Trust material that has to be fetched: keeping up with an instance."""

from datetime import datetime, timedelta
from typing import Final

from hallmark.client.contexts import Context
from hallmark.client.http import HttpClient
from hallmark.client.kept_trust import kept_trust, stored_trust
from hallmark.client.pinned_roots import pinned_root
from hallmark.client.trust_cache import TrustMaterial, save_trust
from hallmark.client.tuf import fetch_trust

_FRESH: Final = timedelta(hours=1)


def update_trust(context: Context, http: HttpClient, now: datetime) -> TrustMaterial:
    """Fetch the newest trust material of a context and keep it; raises `TrustError` or `RemoteError`."""
    known = kept_trust(context)  # verified: what is damaged must not pass for the repository's fault
    material = fetch_trust(context.tuf_url, pinned_root(context), http, known=known, now=now)
    save_trust(context.root_fingerprint, material)
    return material


def fresh_trust(context: Context, http: HttpClient, now: datetime) -> TrustMaterial:
    """Find trust material to sign with: what was kept within the last hour, else the newest."""
    material = stored_trust(context, now)
    if material is not None and timedelta(0) <= now - material.fetched < _FRESH:
        return material
    return update_trust(context, http, now)
