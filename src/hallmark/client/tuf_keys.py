"""The keys of TUF metadata pass the gate that all public keys pass: none may be one that nobody holds."""

from collections.abc import Iterable, Mapping
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from securesystemslib.signer import Key
from tuf.api.metadata import Metadata, Root, Targets

from hallmark.core.keys import parse_public_key_pem, wrap_public_key
from hallmark.errors import MalformedInput, TrustError

_ED25519: Final = "ed25519"


def check_tuf_keys(documents: Iterable[bytes]) -> None:
    """Check every key that roots and targets delegate to; raises `TrustError` with code `weak_key`."""
    for document in documents:
        for key in _keys(Metadata.from_bytes(document).signed).values():
            _check_key(key)


def _keys(signed: object) -> Mapping[str, Key]:
    if isinstance(signed, Root):
        return signed.keys
    if isinstance(signed, Targets) and signed.delegations is not None:
        return signed.delegations.keys
    return {}


def _check_key(key: Key) -> None:
    public = key.keyval.get("public", "")
    try:
        if key.keytype == _ED25519:
            wrap_public_key(Ed25519PublicKey.from_public_bytes(bytes.fromhex(public)))
        else:  # as the other kinds are written
            parse_public_key_pem(public.encode())
    except (MalformedInput, ValueError, UnsupportedAlgorithm) as error:
        raise TrustError(
            f"the TUF repository has the key {key.keyid[:16]} that nothing may be trusted with: {error}",
            code="weak_key",
            hint="tell the operator; do not sign or verify with it",
        ) from None
