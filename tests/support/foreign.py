"""Signatures in the forms of other tools, made of the small world's."""

import json
from datetime import timedelta

from hallmark.core.bundle import Bundle
from tests.support import world as w


def cosign_bundle(bundle: Bundle, cert: bytes | None) -> dict[str, object]:
    """What cosign wrote before version 3, of a bundle with a promise."""
    entry = bundle.tlog_entries[0]
    payload = {
        "body": w.b64(entry.canonicalized_body),
        "integratedTime": entry.integrated_time,
        "logIndex": entry.log_index,
        "logID": entry.log_id.hex(),
    }
    return {
        "base64Signature": w.b64(bundle.signature),
        "cert": None if cert is None else w.b64(cert),
        "rekorBundle": {"SignedEntryTimestamp": w.b64(entry.inclusion_promise), "Payload": payload},
    }


def own_bundle(world: w.World) -> tuple[bytes, bytes]:
    """A current bundle with a chain below a CA of one's own, and that CA's root in PEM."""
    root = w.authority_certificate("own root", "own root", key="p384-own", issuing_key="p384-own")
    leaf = world.certificate(
        issuer="own root",
        issuing_key="p384-own",
        hash_name="sha384",
        scts=(),
        claims={},
        not_after=w.NOW + timedelta(days=36500),
    )
    certificates = [{"rawBytes": w.b64(item)} for item in (leaf, root)]
    document = {
        "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
        "verificationMaterial": {"x509CertificateChain": {"certificates": certificates}},
        "messageSignature": {"signature": w.b64(w.sign("p256-leaf", w.MESSAGE))},
    }
    return json.dumps(document).encode(), w.certificate_pem(root)
