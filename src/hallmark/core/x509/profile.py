"""The certificate profile: what a signing certificate holds, and how one is made without mistakes.

`plan_issuance` builds the whole certificate but for its signature and lints it; the `IssuancePlan` it
returns is the only way to a signature. A plan gives one precertificate, then one certificate, in this
order, once:

    plan = plan_issuance(authority, principal, public_key, now=now, serial=serial)
    precertificate = plan.sign_precertificate(sign)        # poison last
    sct = ...                                              # the CT log's promise
    certificate = plan.sign_certificate(sct, log_key, sign)  # SCT list last, in place of the poison

Both come from one ordered list of extensions, and differ in the last one only (RFC 6962 section 3.1).
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.hazmat import asn1
from cryptography.x509 import ObjectIdentifier, oid

from hallmark.core.keys import PublicKey
from hallmark.core.oidc.identity import Principal
from hallmark.core.oidc.issuers import EXTENSION_ROWS
from hallmark.core.x509.authority import AuthorityCertificate
from hallmark.core.x509.lint import lint_certificate
from hallmark.core.x509.oids import PRECERTIFICATE_POISON, SCT_LIST
from hallmark.core.x509.sct import PrecertEntry, Sct, sct_list_extension, verify_sct
from hallmark.core.x509.tbs import (
    POISON_VALUE,
    VERSION_3,
    Extension,
    SignedCertificate,
    TbsCertificate,
    Validity,
    encode_tbs,
)
from hallmark.errors import InvalidCertificate, PolicyViolation

LIFETIME: Final = timedelta(minutes=10)
MAX_SERIAL_BITS: Final = 159  # RFC 5280 section 4.1.2.2: 20 bytes at most, and positive
FIRST_GENERALIZED_YEAR: Final = 2050  # RFC 5280 section 4.1.2.5

Sign = Callable[[bytes], bytes]
"""Signs a message with the authority's key and that key's hash; ECDSA signatures are DER."""

_POISON: Final = Extension(oid=PRECERTIFICATE_POISON, critical=True, value=POISON_VALUE)
_KEY_USAGE: Final = Extension(
    oid=oid.ExtensionOID.KEY_USAGE,
    critical=True,
    value=x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    ).public_bytes(),
)
_EXTENDED_KEY_USAGE: Final = Extension(
    oid=oid.ExtensionOID.EXTENDED_KEY_USAGE,
    critical=False,
    value=x509.ExtendedKeyUsage([oid.ExtendedKeyUsageOID.CODE_SIGNING]).public_bytes(),
)
_EMPTY_NAME: Final = asn1.decode_der(asn1.TLV, x509.Name([]).public_bytes())


class IssuancePlan:
    """A linted certificate that waits for its signature. Made by `plan_issuance`; used once.

    Asking twice, or in another order, is a programmer's error and raises `RuntimeError`.
    """

    __slots__ = ("_authority", "_extensions", "_stage", "_tbs", "entry", "serial")

    def __init__(self, authority: AuthorityCertificate, tbs: TbsCertificate) -> None:
        self._authority = authority
        self._tbs = tbs
        self._extensions = tbs.extensions
        self._stage = "planned"
        self.serial = tbs.serial_number
        self.entry = PrecertEntry(authority.public_key.key_id, asn1.encode_der(tbs))
        """What the CT log signs: the certificate without poison and SCT list."""

    def sign_precertificate(self, sign: Sign) -> bytes:
        """Sign the certificate with the poison as its last extension; the first step."""
        self._advance("planned", "precertificate")
        return _assemble(self._authority, encode_tbs(self._tbs, [*self._extensions, _POISON]), sign)

    def sign_certificate(self, sct: Sct, log_key: PublicKey, sign: Sign) -> bytes:
        """Sign the certificate with the SCT list as its last extension; the second and last step.

        Before it leaves, the SCT is checked against the log's key, and the certificate against the
        precertificate and the authority's key. Raises `InvalidCertificate`.
        """
        self._advance("precertificate", "issued")
        verify_sct(sct, self.entry, log_key)
        scts = Extension(oid=SCT_LIST, critical=False, value=sct_list_extension([sct]))
        der = _assemble(self._authority, encode_tbs(self._tbs, [*self._extensions, scts]), sign)
        certificate = x509.load_der_x509_certificate(der)
        if certificate.tbs_precertificate_bytes != self.entry.tbs_certificate:
            raise InvalidCertificate("the certificate is not the one that the CT log has seen")
        self._authority.public_key.verify(certificate.signature, certificate.tbs_certificate_bytes)
        return der

    def _advance(self, expected: str, following: str) -> None:
        if self._stage != expected:
            raise RuntimeError(f"an issuance plan is used once: it is {self._stage}, not {expected}")
        self._stage = following


def plan_issuance(
    authority: AuthorityCertificate,
    principal: Principal,
    public_key: PublicKey,
    *,
    now: datetime,
    serial: int,
) -> IssuancePlan:
    """Lay out the certificate for a principal's key, valid for ten minutes from `now`, and lint it.

    Raises `PolicyViolation` where the authority cannot vouch for the whole lifetime, and
    `InvalidCertificate` where the lint finds the result to be other than what was asked for.
    """
    if not 0 < serial < 1 << MAX_SERIAL_BITS:
        raise ValueError("a serial number has 1 to 159 bits")
    not_before = now.astimezone(UTC).replace(microsecond=0)
    not_after = not_before + LIFETIME
    if not (authority.not_before <= not_before and not_after <= authority.not_after):
        raise PolicyViolation(
            f"the issuing certificate is valid from {authority.not_before:%Y-%m-%d %H:%M} to "
            f"{authority.not_after:%Y-%m-%d %H:%M}, which does not cover the certificate's lifetime",
            code="authority_not_valid",
            hint="its operator has to replace the issuing certificate; trying again does not help",
        )
    tbs = TbsCertificate(
        version=VERSION_3,
        serial_number=serial,
        signature=authority.signature_algorithm,
        issuer=authority.subject,
        validity=_validity(not_before, not_after),
        subject=_EMPTY_NAME,
        public_key=asn1.decode_der(asn1.TLV, public_key.spki),
        extensions=_extensions(authority, principal, public_key),
    )
    plan = IssuancePlan(authority, tbs)
    unsigned = _assemble(authority, plan.entry.tbs_certificate, lambda _: b"")
    lint_certificate(unsigned, authority, principal, public_key, not_before=not_before, lifetime=LIFETIME)
    return plan


def _extensions(
    authority: AuthorityCertificate, principal: Principal, public_key: PublicKey
) -> list[Extension]:
    key_identifier = x509.SubjectKeyIdentifier.from_public_key(public_key.key)
    return [
        _KEY_USAGE,
        _EXTENDED_KEY_USAGE,
        _extension(oid.ExtensionOID.SUBJECT_KEY_IDENTIFIER, key_identifier.public_bytes()),
        _extension(oid.ExtensionOID.AUTHORITY_KEY_IDENTIFIER, authority.authority_key_identifier),
        Extension(
            oid=oid.ExtensionOID.SUBJECT_ALTERNATIVE_NAME,
            critical=True,
            value=_subject_alternative_name(principal),
        ),
        *(_fulcio_extension(number, value) for number, value in sorted(principal.extensions)),
    ]


def _subject_alternative_name(principal: Principal) -> bytes:
    kind = x509.RFC822Name if principal.san_kind == "email" else x509.UniformResourceIdentifier
    try:
        return x509.SubjectAlternativeName([kind(principal.san)]).public_bytes()
    except ValueError:
        raise PolicyViolation(
            f"{principal.san[:80]!r} cannot stand in a certificate", code="malformed_claim"
        ) from None


def _fulcio_extension(number: int, value: str) -> Extension:
    row = EXTENSION_ROWS[number]
    return _extension(row.oid, value.encode() if row.raw else asn1.encode_der(value))


def _extension(identifier: ObjectIdentifier, value: bytes) -> Extension:
    return Extension(oid=identifier, critical=False, value=value)


def _validity(not_before: datetime, not_after: datetime) -> asn1.TLV:
    validity = Validity(not_before=_time(not_before), not_after=_time(not_after))
    return asn1.decode_der(asn1.TLV, asn1.encode_der(validity))


def _time(moment: datetime) -> asn1.UTCTime | asn1.GeneralizedTime:
    if moment.year < FIRST_GENERALIZED_YEAR:
        return asn1.UTCTime(moment)
    return asn1.GeneralizedTime(moment)


def _assemble(authority: AuthorityCertificate, tbs: bytes, sign: Sign) -> bytes:
    return asn1.encode_der(
        SignedCertificate(
            tbs=asn1.decode_der(asn1.TLV, tbs),
            signature_algorithm=authority.signature_algorithm,
            signature=asn1.BitString(sign(tbs), 0),
        )
    )
