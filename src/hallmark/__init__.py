"""Hallmark: a complete, self-hosted Sigstore in one package.

    import hallmark

    verifier = hallmark.Verifier(hallmark.parse_trusted_root(trusted_root_json))
    bundle = hallmark.parse_bundle(bundle_json)
    artifact = hallmark.Artifact.from_bytes(message, hallmark.required_hash(bundle))
    verified = verifier.verify(bundle, artifact, hallmark.Identity(identity=..., oidc_issuer=...))

The names below are the public API, with `__version__`; docs/howto/python.md shows their use. Each is loaded
when it is first used, so that importing the package costs nothing (PEP 562).
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hallmark.client.http import HttpClient
    from hallmark.client.identity_token import IdentityToken, parse_identity_token
    from hallmark.client.signing import Signed, Signer
    from hallmark.core.bundle import Bundle, parse_bundle
    from hallmark.core.signing_config import (
        ClientTrustConfig,
        SigningConfig,
        parse_client_trust_config,
        parse_signing_config,
    )
    from hallmark.core.trusted_root import TrustedRoot, parse_trusted_root
    from hallmark.errors import (
        ConfigurationError,
        HallmarkError,
        InvalidCertificate,
        InvalidEntry,
        InvalidProof,
        InvalidSignature,
        InvalidTimestamp,
        MalformedInput,
        RemoteError,
        SignatureNotFound,
        TrustError,
        UntrustedIdentity,
        VerificationError,
    )
    from hallmark.policy.identity import AllOf, AnyOf, Identity, IdentityPattern, unsafe_any_identity
    from hallmark.verify.verifier import Artifact, Thresholds, Verified, Verifier, required_hash

_MODULES = {
    "hallmark.client.http": ("HttpClient",),
    "hallmark.client.identity_token": ("IdentityToken", "parse_identity_token"),
    "hallmark.client.signing": ("Signed", "Signer"),
    "hallmark.core.bundle": ("Bundle", "parse_bundle"),
    "hallmark.core.signing_config": (
        "ClientTrustConfig",
        "SigningConfig",
        "parse_client_trust_config",
        "parse_signing_config",
    ),
    "hallmark.core.trusted_root": ("TrustedRoot", "parse_trusted_root"),
    "hallmark.errors": (
        "ConfigurationError",
        "HallmarkError",
        "InvalidCertificate",
        "InvalidEntry",
        "InvalidProof",
        "InvalidSignature",
        "InvalidTimestamp",
        "MalformedInput",
        "RemoteError",
        "SignatureNotFound",
        "TrustError",
        "UntrustedIdentity",
        "VerificationError",
    ),
    "hallmark.policy.identity": ("AllOf", "AnyOf", "Identity", "IdentityPattern", "unsafe_any_identity"),
    "hallmark.verify.verifier": ("Artifact", "Thresholds", "Verified", "Verifier", "required_hash"),
}
_HOMES = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "AllOf",
    "AnyOf",
    "Artifact",
    "Bundle",
    "ClientTrustConfig",
    "ConfigurationError",
    "HallmarkError",
    "HttpClient",
    "Identity",
    "IdentityPattern",
    "IdentityToken",
    "InvalidCertificate",
    "InvalidEntry",
    "InvalidProof",
    "InvalidSignature",
    "InvalidTimestamp",
    "MalformedInput",
    "RemoteError",
    "SignatureNotFound",
    "Signed",
    "Signer",
    "SigningConfig",
    "Thresholds",
    "TrustError",
    "TrustedRoot",
    "UntrustedIdentity",
    "VerificationError",
    "Verified",
    "Verifier",
    "parse_bundle",
    "parse_client_trust_config",
    "parse_identity_token",
    "parse_signing_config",
    "parse_trusted_root",
    "required_hash",
    "unsafe_any_identity",
]


def __getattr__(name: str) -> Any:
    """Load a public name from its module."""
    if name == "__version__":
        from importlib.metadata import version

        return version("hallmark-sigstore")
    module = _HOMES.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(module), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
