"""Certification paths from a signing certificate to a trusted root (RFC 5280 section 6).

Only the root is an anchor. Path building that is given intermediates as anchors accepts an expired root, so
the library's store is not used: every certificate of the path must count at the time in question.

    leaf -> issuing CA -> ... -> root
            `IssuingPath`, checked once for each authority; per leaf only its signature and the times
"""

from collections.abc import Iterable
from datetime import datetime
from functools import lru_cache
from hashlib import sha256
from typing import Final

import msgspec
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.x509.oid import ExtendedKeyUsageOID, SignatureAlgorithmOID

from hallmark.core.x509.certificate import (
    SigningCertificate,
    certificate_key,
    check_critical,
    load_certificate,
    read_extensions,
)
from hallmark.errors import InvalidCertificate, MalformedInput

_CACHED_AUTHORITIES: Final = 64
_UNDERSTOOD: Final = (x509.BasicConstraints, x509.KeyUsage, x509.ExtendedKeyUsage)
_PURPOSES: Final = (ExtendedKeyUsageOID.CODE_SIGNING, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE)
_SIGNATURE_ALGORITHMS: Final = frozenset(
    {
        SignatureAlgorithmOID.ECDSA_WITH_SHA256,
        SignatureAlgorithmOID.ECDSA_WITH_SHA384,
        SignatureAlgorithmOID.ECDSA_WITH_SHA512,
        SignatureAlgorithmOID.RSA_WITH_SHA256,
        SignatureAlgorithmOID.RSA_WITH_SHA384,
        SignatureAlgorithmOID.RSA_WITH_SHA512,
        SignatureAlgorithmOID.ED25519,
    }
)


class IssuingPath(msgspec.Struct, frozen=True, kw_only=True):
    """A CA and the way from it to its root, checked; `not_before` to `not_after` is when all of it counts.

    `issuer_key_hash` is SHA-256 of the CA's SubjectPublicKeyInfo, as an SCT names it.
    """

    certificates: tuple[x509.Certificate, ...]
    issuer_key_hash: bytes
    not_before: datetime
    not_after: datetime


@lru_cache(maxsize=_CACHED_AUTHORITIES)
def issuing_paths(certificates: tuple[bytes, ...]) -> tuple[IssuingPath, ...]:
    """Build the paths of an authority: one for each of its certificates (DER) that may issue leaves.

    The last certificate is the root; those that do not lead to it are left out. Raises `MalformedInput`.
    """
    pool = [load_certificate(der) for der in certificates]
    climbs = (_climb(start, pool, [start]) for start in pool)
    return tuple(_issuing_path(climb) for climb in climbs if climb and _is_path(climb))


def _climb(
    certificate: x509.Certificate, pool: list[x509.Certificate], seen: list[x509.Certificate]
) -> list[x509.Certificate]:
    """The first way up to the root; empty where there is none. Each certificate is tried once."""
    if certificate == pool[-1]:
        return [certificate]
    for issuer in pool:
        if issuer not in seen and _is_issued_by(certificate, issuer):
            seen.append(issuer)
            rest = _climb(issuer, pool, seen)
            if rest:
                return [certificate, *rest]
    return []


def _is_issued_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    if certificate.signature_algorithm_oid not in _SIGNATURE_ALGORITHMS:
        return False
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def _is_path(climb: list[x509.Certificate]) -> bool:
    try:
        for below, certificate in enumerate(climb):
            _check_authority(certificate, below, is_root=below == len(climb) - 1)
    except (InvalidCertificate, MalformedInput):
        return False
    return True


def _check_authority(certificate: x509.Certificate, below: int, *, is_root: bool) -> None:
    """Check that a certificate may stand above `below` other CAs and a code-signing leaf."""
    extensions = read_extensions(certificate)
    check_critical(extensions, _UNDERSTOOD)  # critical name constraints are refused, not honoured
    found = {type(item.value): item.value for item in extensions}
    certificate_key(certificate)  # refuses weak keys
    constraints, usage = found.get(x509.BasicConstraints), found.get(x509.KeyUsage)
    purposes = found.get(x509.ExtendedKeyUsage)
    if not isinstance(constraints, x509.BasicConstraints) or not constraints.ca:
        raise InvalidCertificate("the certificate is not a CA certificate")
    if constraints.path_length is not None and constraints.path_length < below:
        raise InvalidCertificate(f"the CA may stand above {constraints.path_length} others, not {below}")
    if isinstance(usage, x509.KeyUsage):
        if not usage.key_cert_sign:
            raise InvalidCertificate("the CA's key is not for signing certificates")
    elif not is_root:
        raise InvalidCertificate("the CA's certificate does not say what its key is for")
    if isinstance(purposes, x509.ExtendedKeyUsage) and not any(item in purposes for item in _PURPOSES):
        raise InvalidCertificate("the CA is not for code signing")
    if x509.NameConstraints in found:
        raise InvalidCertificate("the CA has name constraints, which are not supported")


def _issuing_path(climb: list[x509.Certificate]) -> IssuingPath:
    return IssuingPath(
        certificates=tuple(climb),
        issuer_key_hash=sha256(certificate_key(climb[0]).spki).digest(),
        not_before=max(item.not_valid_before_utc for item in climb),
        not_after=min(item.not_valid_after_utc for item in climb),
    )


def find_issuing_path(leaf: SigningCertificate, certificates: tuple[bytes, ...]) -> IssuingPath:
    """Find the CA of an authority that issued `leaf`.

    Raises `InvalidCertificate` with code `unknown_ca` when none of the authority's certificates did, or the
    one that did does not lead to the authority's root.
    """
    for path in issuing_paths(certificates):
        if _is_issued_by(leaf.certificate, path.certificates[0]):
            return path
    raise InvalidCertificate("the signing certificate was not issued by a trusted CA", code="unknown_ca")


def check_chain_times(leaf: SigningCertificate, path: IssuingPath, times: Iterable[datetime]) -> None:
    """Check that leaf and path count at every time, both ends included; raises `InvalidCertificate`."""
    for time in times:
        if not leaf.not_before <= time <= leaf.not_after:
            raise InvalidCertificate(
                f"the signing certificate counts from {leaf.not_before} to {leaf.not_after}, not at {time}",
                code="outside_validity",
            )
        if not path.not_before <= time <= path.not_after:
            raise InvalidCertificate(
                f"the CA's certificates count from {path.not_before} to {path.not_after}, not at {time}",
                code="outside_validity",
            )
