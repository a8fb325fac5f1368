"""What a certificate must say of itself to be a signing certificate."""

import pytest
from cryptography import x509
from cryptography.hazmat import asn1
from cryptography.x509.oid import ExtendedKeyUsageOID
from tests.support import world as w

from hallmark.core.bundle import BUNDLE_V02
from hallmark.core.entries.summary import summarise_certificate
from hallmark.core.x509.certificate import (
    MAX_CERTIFICATE_BYTES,
    MAX_EXTENSIONS,
    load_certificate,
    parse_signing_certificate,
)
from hallmark.core.x509.oids import FULCIO_EXTENSIONS, OTHER_NAME_SAN, PRECERTIFICATE_POISON
from hallmark.errors import HallmarkError, InvalidCertificate, MalformedInput
from hallmark.policy.identity import unsafe_any_identity
from hallmark.verify.verifier import Verifier

WORLD = w.World()


def parse(**changes: object):
    return parse_signing_certificate(WORLD.certificate(**changes))


def test_reads_identity_issuer_times_and_scts():
    leaf = parse()
    assert (leaf.identity.identity, leaf.identity.kind) == (w.EMAIL, "email")
    assert leaf.identity.oidc_issuer == w.OIDC_ISSUER
    assert leaf.not_before < w.NOW < leaf.not_after
    assert len(leaf.scts) == 1
    assert leaf.public_key == w.public_key("p256-leaf")


@pytest.mark.parametrize(
    ("name", "kind", "identity"),
    [
        (x509.RFC822Name("a@b.c"), "email", "a@b.c"),
        (x509.UniformResourceIdentifier("https://x.test/y"), "uri", "https://x.test/y"),
        (x509.OtherName(OTHER_NAME_SAN, asn1.encode_der("user!domain")), "other_name", "user!domain"),
    ],
)
def test_reads_every_kind_of_identity(name, kind, identity):
    leaf = parse(names=[name])
    assert (leaf.identity.kind, leaf.identity.identity) == (kind, identity)


def test_reads_every_claim_by_its_name():
    claims = {row.name: f"value of {row.name} \u00e9" for row in FULCIO_EXTENSIONS}
    claims["issuer"] = claims["issuer-v1"] = "https://issuer.test"
    leaf = parse(claims=claims)
    del claims["issuer"], claims["issuer-v1"]
    assert leaf.identity.extensions == claims


@pytest.mark.parametrize("name", ["issuer", "issuer-v1"])
def test_one_spelling_of_the_issuer_is_enough(name):
    assert parse(claims={name: "https://one.test"}).identity.oidc_issuer == "https://one.test"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"extensions": [(x509.BasicConstraints(ca=True, path_length=None), True)]}, "CA's"),
        ({"usage": None}, "digital signatures"),
        ({"usage": w.key_usage(crl_sign=True)}, "digital signatures"),
        ({"usage": w.key_usage(digital_signature=True, key_cert_sign=True)}, "digital signatures"),
        ({"purposes": None}, "code signing"),
        ({"purposes": x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])}, "code signing"),
        ({"names": []}, "no identity"),
        ({"names_critical": False}, "not critical"),
        ({"names": [x509.DNSName("x.test")]}, "unknown kind"),
        ({"names": [x509.OtherName(x509.ObjectIdentifier("1.2.3"), b"\x0c\x01a")]}, "unknown kind"),
        ({"names": [x509.RFC822Name("a@b.c"), x509.RFC822Name("d@e.f")]}, "2 identities"),
        ({"claims": {"issuer": "https://a.test", "issuer-v1": "https://b.test"}}, "two OIDC issuers"),
        ({"claims": {"issuer": "https://a.test", "issuer-v1": ""}}, "two OIDC issuers"),
        ({"extensions": [(x509.PrecertPoison(), True)], "scts": ()}, PRECERTIFICATE_POISON.dotted_string),
        (
            {"extensions": [(x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3"), b"\x05\x00"), True)]},
            "1.2.3",
        ),
    ],
)
def test_refuses_what_is_no_signing_certificate(changes, reason):
    with pytest.raises(InvalidCertificate, match=reason):
        parse(**changes)


@pytest.mark.parametrize(
    "extension",
    [
        x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.57264.1.9"), b"raw text"),
        x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.57264.1.9"), b"\x0c\x05ab"),
        x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.57264.1.2"), b"\xff\xfe"),
        x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.11129.2.4.2"), b"\x04\x03\x00\x05a"),
    ],
)
def test_refuses_an_extension_that_does_not_parse(extension):
    with pytest.raises(MalformedInput):
        parse(extensions=[(extension, False)], scts=())


def test_refuses_another_name_that_is_no_text():
    with pytest.raises(MalformedInput, match="UTF8String"):
        parse(names=[x509.OtherName(OTHER_NAME_SAN, b"\x05\x00")])


@pytest.mark.parametrize("der", [b"", b"\x30\x00", b"\x30" * 100_000])
def test_refuses_bytes_that_are_no_certificate(der):
    with pytest.raises(MalformedInput):
        parse_signing_certificate(der)


def test_every_truncation_and_bit_flip_is_refused_cleanly_or_parses():
    der = WORLD.certificate()
    for position in range(0, len(der), 3):
        flipped = bytearray(der)
        flipped[position] ^= 0x41
        for candidate in (der[:position], bytes(flipped)):
            try:
                parse_signing_certificate(candidate)
            except HallmarkError:
                continue


@pytest.mark.parametrize("value", [b"\x03\x07\x00ssuing", b"\x0c\x07\xffssuing", b"\x05\x07issuing"])
def test_refuses_a_certificate_whose_names_do_not_parse(value):
    issuing = WORLD.ca_chain[0].replace(b"\x0c\x07issuing", value)
    with pytest.raises(MalformedInput):
        load_certificate(issuing)
    bundle = WORLD.v1_bundle(version=BUNDLE_V02, intermediates=(issuing,))
    with pytest.raises(MalformedInput):
        Verifier(WORLD.root).verify(bundle, w.artifact(), unsafe_any_identity)


def test_a_certificate_without_names_is_summarised_without_identity():
    summary = summarise_certificate(WORLD.certificate(names=[]))
    assert (summary.identity, summary.issuing_ca) == (None, "CN=issuing")


def test_a_certificate_may_name_no_issuer():
    leaf = parse_signing_certificate(w.World().certificate(claims={}))
    assert (leaf.identity.identity, leaf.identity.oidc_issuer) == (w.EMAIL, "")


def test_a_leaf_may_say_that_it_is_no_ca():
    assert parse(extensions=[(x509.BasicConstraints(ca=False, path_length=None), True)]).identity


def test_names_beside_a_subject_need_not_be_critical():
    assert parse(names_critical=False, subject=w.x509_name("alice")).identity.identity == w.EMAIL


def with_extensions(count: int, value: bytes = b"\x05\x00") -> bytes:
    """A leaf with so many extensions more, the last with this value."""
    arc = [x509.ObjectIdentifier(f"1.2.3.{number}") for number in range(count)]
    values = [*[b"\x05\x00"] * (count - 1), value]
    found = [(x509.UnrecognizedExtension(oid, data), False) for oid, data in zip(arc, values, strict=True)]
    return WORLD.certificate(extensions=found, scts=())


def test_a_certificate_has_up_to_64_extensions():
    own = len(load_certificate(WORLD.certificate(scts=())).extensions)
    assert parse_signing_certificate(with_extensions(MAX_EXTENSIONS - own))
    with pytest.raises(MalformedInput, match="more than 64"):
        parse_signing_certificate(with_extensions(MAX_EXTENSIONS - own + 1))


def test_a_certificate_has_up_to_64_kibibytes():
    """The length of an ECDSA signature differs by some bytes from one certificate to the next."""
    short = MAX_CERTIFICATE_BYTES - 2000
    while True:
        short += MAX_CERTIFICATE_BYTES - len(made := with_extensions(1, bytes(short)))
        if len(made) == MAX_CERTIFICATE_BYTES:
            break
    assert load_certificate(made)
    while len(made) != MAX_CERTIFICATE_BYTES + 1:
        made = with_extensions(1, bytes(short + 1))
    with pytest.raises(MalformedInput, match="too large"):
        load_certificate(made)
