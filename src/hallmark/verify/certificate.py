"""Steps 0, 2, 3 and 7: the signing certificate, its chain at the established times, its SCTs."""

from datetime import UTC, datetime, timedelta
from typing import Final

from hallmark.core.bundle import Bundle
from hallmark.core.trusted_root import CertificateAuthority, TrustedRoot
from hallmark.core.x509.certificate import SigningCertificate, load_certificate, parse_signing_certificate
from hallmark.core.x509.chain import IssuingPath, check_chain_times, find_issuing_path
from hallmark.core.x509.own_certificate import parse_own_certificate
from hallmark.core.x509.sct import PrecertEntry, Sct, verify_sct
from hallmark.errors import InvalidCertificate
from hallmark.verify.verified import EstablishedTime

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MAX_MILLISECONDS: Final = 253_402_300_799_999


def signing_certificate(bundle: Bundle) -> SigningCertificate:
    """Read the bundle's leaf; raises `MalformedInput` and `InvalidCertificate`.

    The rest of its chain is not trusted, and not needed: the trusted root holds the CA's certificates. Many
    real bundles carry a root there, which client-spec section 5 forbids to writers; it is ignored.
    """
    der = _certificate(bundle)
    if bundle.holds_chain:
        raise InvalidCertificate(
            "the bundle holds a certificate chain, as signatures under a CA of one's own do",
            code="chain_in_bundle",
            hint="name the CA's root certificate to verify it with",
        )
    for other in bundle.intermediates:
        load_certificate(other)
    return parse_signing_certificate(der)


def own_certificate(bundle: Bundle) -> SigningCertificate:
    """Read the leaf of a CA of one's own; raises `MalformedInput` and `InvalidCertificate`."""
    return parse_own_certificate(_certificate(bundle))


def _certificate(bundle: Bundle) -> bytes:
    if bundle.certificate is None:
        raise InvalidCertificate(
            "the bundle is signed with a bare key, not with a certificate",
            code="no_certificate",
            hint="name the public key to verify it with",
        )
    return bundle.certificate


def certificate_chain(
    leaf: SigningCertificate, trusted_root: TrustedRoot, times: tuple[EstablishedTime, ...]
) -> IssuingPath:
    """Find the trusted CA that issued the leaf, and check that all of it counted at every time.

    Raises `InvalidCertificate` with code `unknown_ca` or `outside_validity`.
    """
    failure = InvalidCertificate("the trusted root has no certificate authority", code="unknown_ca")
    for authority in trusted_root.certificate_authorities:
        try:
            return _chain_below(leaf, authority, [item.time for item in times])
        except InvalidCertificate as error:
            if (
                failure.code != "outside_validity"
            ):  # a CA that did issue it explains more than one that did not
                failure = error
    raise failure


def _chain_below(
    leaf: SigningCertificate, authority: CertificateAuthority, times: list[datetime]
) -> IssuingPath:
    path = find_issuing_path(leaf, authority.certificates)
    for time in times:
        if not authority.valid_for.contains(time):
            raise InvalidCertificate(
                f"the certificate authority {authority.uri} is not trusted at {time}", code="outside_validity"
            )
    check_chain_times(leaf, path, times)
    return path


def certificate_transparency(
    leaf: SigningCertificate, path: IssuingPath, trusted_root: TrustedRoot, required: int
) -> tuple[bytes, ...]:
    """Check the embedded SCTs; returns the ids of the logs that vouch for the certificate.

    SCTs of unknown logs count for nothing. Raises `InvalidCertificate`, with code `missing_sct` when fewer
    than `required` trusted logs are left.
    """
    logs = {sct.log_id for sct in leaf.scts if _is_logged(sct, leaf, path, trusted_root)}
    if len(logs) < required:
        raise InvalidCertificate(
            f"{len(logs)} trusted certificate transparency logs vouch for the certificate, {required} needed",
            code="missing_sct",
        )
    return tuple(sorted(logs))


def _is_logged(sct: Sct, leaf: SigningCertificate, path: IssuingPath, trusted_root: TrustedRoot) -> bool:
    """Whether the SCT is of a trusted log in its time; one of such a log that is false is refused."""
    if sct.timestamp > _MAX_MILLISECONDS:
        return False
    time = _EPOCH + timedelta(milliseconds=sct.timestamp)
    for log in trusted_root.ctlogs:
        if log.log_id == sct.log_id and log.valid_for.contains(time):
            entry = PrecertEntry(path.issuer_key_hash, leaf.certificate.tbs_precertificate_bytes)
            verify_sct(sct, entry, log.key)
            return True
    return False
