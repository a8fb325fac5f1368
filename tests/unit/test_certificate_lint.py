"""The lint of planned certificates: in each case one thing is wrong and everything else is right."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat import asn1
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509 import ObjectIdentifier, oid
from tests.support.small_ca import ISSUER, NOW, der, spki

from hallmark.core.keys import parse_public_key
from hallmark.core.oidc.identity import Principal
from hallmark.core.x509.authority import issuing_certificate, read_authority, root_certificate
from hallmark.core.x509.lint import lint_certificate
from hallmark.core.x509.profile import LIFETIME, plan_issuance
from hallmark.core.x509.tbs import Extension, SignedCertificate, TbsCertificate, Validity, encode_tbs
from hallmark.errors import InvalidCertificate, PolicyViolation

ROOT_KEY, ISSUING_KEY, USER_KEY = (ec.generate_private_key(ec.SECP256R1()) for _ in range(3))
NAMES = {"organization": "Hallmark tests", "now": NOW}
ROOT = root_certificate(ROOT_KEY, common_name="root", serial=1, **NAMES)
ISSUING = issuing_certificate(
    ISSUING_KEY.public_key(), common_name="issuing", root=ROOT, root_key=ROOT_KEY, serial=2, **NAMES
)
AUTHORITY = read_authority([der(ISSUING), der(ROOT)])
USER = parse_public_key(spki(USER_KEY))
PRINCIPAL = Principal(
    oidc_issuer=ISSUER,
    name="alice@example.com",
    san_kind="email",
    san="alice@example.com",
    extensions=((1, ISSUER), (8, ISSUER), (24, "subject-1")),
)
BEGIN = NOW.replace(microsecond=0)
USAGE, PURPOSE, SUBJECT_KEY, AUTHORITY_KEY, NAME, ISSUER_V1, ISSUER_V2, SUBJECT = range(8)

Change = Callable[[TbsCertificate], object]


def planned() -> TbsCertificate:
    made = plan_issuance(AUTHORITY, PRINCIPAL, USER, now=NOW, serial=5)
    return asn1.decode_der(TbsCertificate, made.entry.tbs_certificate)


def certificate(change: Change = lambda _: None) -> bytes:
    """The planned certificate with one change, and as the lint gets it: without signature."""
    tbs = planned()
    extensions = list(tbs.extensions)
    tbs.extensions = extensions
    change(tbs)
    encoded = encode_tbs(tbs, tbs.extensions)
    return asn1.encode_der(
        SignedCertificate(
            tbs=asn1.decode_der(asn1.TLV, encoded),
            signature_algorithm=AUTHORITY.signature_algorithm,
            signature=asn1.BitString(b"", 0),
        )
    )


def lint(data: bytes, **changes: object) -> None:
    fields = {"not_before": BEGIN, "lifetime": LIFETIME, **changes}
    lint_certificate(data, AUTHORITY, PRINCIPAL, USER, **fields)


def field(name: str, value: object) -> Change:
    return lambda tbs: setattr(tbs, name, value)


def tlv(value: object) -> asn1.TLV:
    return asn1.decode_der(asn1.TLV, asn1.encode_der(value))


def raw(data: bytes) -> asn1.TLV:
    return asn1.decode_der(asn1.TLV, data)


def extension(place: int, *, value: bytes | None = None, turn: bool = False) -> Change:
    """Give an extension another value, or turn its criticality."""

    def change(tbs: TbsCertificate) -> None:
        old = tbs.extensions[place]
        critical = not old.critical if turn else old.critical
        tbs.extensions[place] = Extension(oid=old.oid, critical=critical, value=value or old.value)

    return change


def validity(begin: int, end: int) -> Change:
    """Move both ends by seconds."""
    times = [asn1.UTCTime(moment) for moment in (moved(BEGIN, begin), moved(BEGIN + LIFETIME, end))]
    return field("validity", tlv(Validity(not_before=times[0], not_after=times[1])))


def moved(moment, seconds: int):
    return moment + timedelta(seconds=seconds)


def names(*found: x509.GeneralName) -> bytes:
    return x509.SubjectAlternativeName(found).public_bytes()


def purposes(*found: ObjectIdentifier) -> bytes:
    return x509.ExtendedKeyUsage(found).public_bytes()


def common_name(text: str) -> asn1.TLV:
    return raw(x509.Name([x509.NameAttribute(oid.NameOID.COMMON_NAME, text)]).public_bytes())


EXTRA = Extension(oid=ObjectIdentifier("1.2.3"), critical=False, value=b"\5\0")
EMAIL = x509.RFC822Name(PRINCIPAL.san)
WRONG: dict[str, tuple[Change, str]] = {
    "serial zero": (field("serial_number", 0), "serial number"),
    "serial negative": (field("serial_number", -5), "serial number"),
    "serial of 160 bits": (field("serial_number", 2**159), "serial number"),
    "another issuer": (field("issuer", common_name("issuing")), "issuer"),
    "a subject": (field("subject", common_name("alice")), "subject"),
    "another key": (field("public_key", raw(spki(ISSUING_KEY))), "public key"),
    "begins early": (validity(-1, 0), "validity"),
    "begins late": (validity(1, 0), "validity"),
    "ends early": (validity(0, -1), "validity"),
    "ends late": (validity(0, 1), "validity"),
    "an extension more": (lambda tbs: tbs.extensions.append(EXTRA), "list of extensions"),
    "an extension less": (lambda tbs: tbs.extensions.pop(), "list of extensions"),
    "two extensions swapped": (lambda tbs: tbs.extensions.reverse(), "list of extensions"),
    "another usage": (extension(USAGE, value=b"\x03\x02\x06\xc0"), "key usage"),
    "usage for certificates": (extension(USAGE, value=b"\x03\x02\x02\x84"), "key usage"),
    "usage not critical": (extension(USAGE, turn=True), "key usage"),
    "another purpose": (
        extension(PURPOSE, value=purposes(oid.ExtendedKeyUsageOID.TIME_STAMPING)),
        "purpose",
    ),
    "a purpose more": (
        extension(
            PURPOSE,
            value=purposes(oid.ExtendedKeyUsageOID.CODE_SIGNING, oid.ExtendedKeyUsageOID.TIME_STAMPING),
        ),
        "purpose",
    ),
    "purpose critical": (extension(PURPOSE, turn=True), "purpose"),
    "another authority's key": (
        extension(AUTHORITY_KEY, value=b"\x30\x16\x80\x14" + bytes(20)),
        "authority key identifier",
    ),
    "another name": (
        extension(NAME, value=names(x509.RFC822Name("b@example.com"))),
        "subject alternative name",
    ),
    "a name more": (extension(NAME, value=names(EMAIL, EMAIL)), "subject alternative name"),
    "a name of another kind": (
        extension(NAME, value=names(x509.UniformResourceIdentifier(PRINCIPAL.san))),
        "subject alternative name",
    ),
    "name not critical": (extension(NAME, turn=True), "subject alternative name"),
    "another issuer's name": (extension(ISSUER_V1, value=b"https://other.test"), "extension issuer-v1"),
    "another issuer's name, new form": (
        extension(ISSUER_V2, value=asn1.encode_der("https://other.test")),
        "extension issuer",
    ),
    "issuer's name in the old form": (extension(ISSUER_V2, value=ISSUER.encode()), "extension issuer"),
    "another token subject": (extension(SUBJECT, value=asn1.encode_der("subject-2")), "extension"),
    "claim critical": (extension(SUBJECT, turn=True), "extension"),
}


def test_takes_what_was_planned():
    lint(certificate())


@pytest.mark.parametrize("serial", [1, 2**159 - 1])
def test_takes_serials_at_both_bounds(serial):
    lint(certificate(field("serial_number", serial)))


@pytest.mark.filterwarnings("ignore:Parsed a serial number")
@pytest.mark.parametrize("case", WRONG)
def test_sees_the_one_thing_that_is_wrong(case):
    change, what = WRONG[case]
    with pytest.raises(InvalidCertificate, match=f"wrong {what}") as caught:
        lint(certificate(change))
    assert caught.value.code == "lint"


@pytest.mark.parametrize("version", [1, 3])
def test_sees_a_version_that_there_is_not(version):
    with pytest.raises(InvalidCertificate, match="not a valid X509 version"):
        lint(certificate(field("version", version)))


def test_sees_version_1():
    """It is encoded by saying none."""
    version = b"\xa0\x03\x02\x01\x02"
    made = certificate()
    outer, inner, rest = made[:4], made[4:8], made[8:]
    assert (outer[:2], inner[:2], rest[:5]) == (b"\x30\x82", b"\x30\x82", version)
    lengths = [int.from_bytes(header[2:]) - len(version) for header in (outer, inner)]
    headers = b"".join(b"\x30\x82" + length.to_bytes(2) for length in lengths)
    with pytest.raises(InvalidCertificate, match="wrong version"):
        lint(headers + rest[5:])


def test_sees_another_lifetime_than_was_asked_for():
    for changes in ({"lifetime": LIFETIME + timedelta(seconds=1)}, {"not_before": moved(BEGIN, 1)}):
        with pytest.raises(InvalidCertificate, match="validity"):
            lint(certificate(), **changes)


def test_sees_what_does_not_parse():
    for data in (b"", certificate()[:-1], certificate(extension(NAME, value=b"\x30\x01"))):
        with pytest.raises(InvalidCertificate, match="does not parse"):
            lint(data)


@pytest.mark.parametrize(("kind", "san"), [("email", "b\u00fccher@x"), ("uri", "https://b\u00fccher")])
def test_no_plan_is_made_of_a_name_that_no_certificate_can_hold(kind, san):
    principal = Principal(oidc_issuer=ISSUER, name="n", san_kind=kind, san=san, extensions=())
    with pytest.raises(PolicyViolation) as caught:
        plan_issuance(AUTHORITY, principal, USER, now=NOW, serial=5)
    assert caught.value.code == "malformed_claim"
