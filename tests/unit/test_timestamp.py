"""Timestamp requests and tokens: ours, those of others, and what is refused."""

import hashlib
import subprocess
from datetime import timedelta

import pytest
import rfc3161_client
from cryptography import x509
from cryptography.hazmat import asn1
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509 import ObjectIdentifier
from tests.support.timestamps import DIGEST, TIME_STAMPING, refused, replace_v2, replaced
from tests.support.tsa_authority import (
    HASHES,
    MESSAGE,
    NOW,
    POLICY,
    Authority,
    certificate,
    name,
    private_key,
    tlv,
)

from hallmark.core.algorithms import SHA2_256, SHA2_384, SHA2_512
from hallmark.core.cms import CONTENT_TYPE, MESSAGE_DIGEST, AlgorithmIdentifier, Attribute
from hallmark.core.timestamp import (
    Accuracy,
    Extension,
    TimeStampResp,
    build_request,
    parse_request,
    parse_timestamp,
    verify_timestamp,
)
from hallmark.errors import MalformedInput

# Requests


@pytest.mark.parametrize("nonce", [None, 0, 1, 2**64 + 5, 2**160])
@pytest.mark.parametrize("cert_req", [False, True])
def test_reads_the_requests_it_builds(nonce, cert_req):
    der = build_request(DIGEST, nonce=nonce, cert_req=cert_req)
    assert der[2:5] == b"\x02\x01\x01"  # version 1: other authorities check it
    request = parse_request(der)
    assert (request.digest, request.hash_algorithm) == (DIGEST, SHA2_256)
    assert (request.nonce, request.cert_req) == (nonce, cert_req)
    assert request.policy is None
    assert not request.has_extensions


@pytest.mark.parametrize("option", ["-sha256", "-sha384", "-sha512"])
def test_reads_the_requests_of_openssl(tmp_path, option):
    (tmp_path / "data").write_bytes(MESSAGE)
    command = [
        "openssl",
        "ts",
        "-query",
        "-data",
        "data",
        option,
        "-cert",
        "-tspolicy",
        "1.2.3.4",
        "-out",
        "q",
    ]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    request = parse_request((tmp_path / "q").read_bytes())
    assert request.digest == hashlib.new(option[1:], MESSAGE).digest()
    assert request.cert_req
    assert request.nonce is not None
    assert request.policy == "1.2.3.4"


def test_reads_the_requests_of_rfc3161_client():
    request = rfc3161_client.TimestampRequestBuilder().data(MESSAGE).build()
    parsed = parse_request(request.as_bytes())
    assert parsed.nonce == request.nonce
    assert parsed.digest == hashlib.new(parsed.hash_algorithm.name, MESSAGE).digest()


def test_refuses_a_request_with_bytes_behind_it():
    with pytest.raises(MalformedInput):
        parse_request(build_request(DIGEST) + b"\0")


def test_refuses_a_request_over_sha1():
    der = build_request(DIGEST).replace(
        bytes.fromhex("0609608648016503040201"), bytes.fromhex("06052b0e03021a")
    )
    shortened = bytes([der[0], der[1] - 4, *der[2:6], der[6] - 4, der[7], der[8] - 4]) + der[9:]
    with pytest.raises(MalformedInput) as caught:
        parse_request(shortened)
    assert caught.value.code == "weak_hash"


def test_refuses_a_request_whose_digest_has_the_wrong_length():
    der = build_request(DIGEST).replace(
        bytes.fromhex("0609608648016503040201"), bytes.fromhex("0609608648016503040203")
    )
    with pytest.raises(MalformedInput) as caught:
        parse_request(der)
    assert caught.value.code == "digest_length"


def test_refuses_a_request_of_any_length():
    with pytest.raises(MalformedInput) as caught:
        parse_request(build_request(DIGEST, nonce=2 ** (8 * 20_000)))
    assert caught.value.code == "request_too_large"


# Good responses


@pytest.mark.parametrize("kind", ["p256", "p384", "p521", "rsa"])
@pytest.mark.parametrize("hash_name", list(HASHES))
def test_verifies_what_it_builds(kind, hash_name):
    authority = Authority(kind, hash_name)
    for imprint in (SHA2_256, SHA2_384, SHA2_512):
        stamped = authority.stamp(imprint=imprint, nonce=2**70)
        verified = verify_timestamp(stamped, MESSAGE, authority.chain)
        assert verified.time == NOW.replace(microsecond=0)
        assert (verified.nonce, verified.policy) == (2**70, POLICY)
        assert verified.hash_algorithm == imprint
        assert verified.authority == "CN=tsa"


@pytest.mark.parametrize("include_chain", [False, True])
def test_carries_certificates_only_when_asked(authority, include_chain):
    count = 2 if include_chain else 1
    asked = authority.stamp(cert_req=True, include_chain=include_chain)
    assert parse_timestamp(asked).signed.certificate_count == count
    assert parse_timestamp(authority.stamp()).signed.certificate_count == 0
    verify_timestamp(asked, MESSAGE, authority.chain)


def test_stamps_and_verifies_after_2049(authority):
    late = NOW.replace(year=2051)
    lasting = Authority(not_after=late + timedelta(days=1))
    chain = (
        lasting.leaf,
        certificate(
            subject="root", issuer="root", key=lasting.root_key, issuing_key=lasting.root_key, ca=True,
            not_after=late + timedelta(days=1),
        ),
    )  # fmt: skip
    assert verify_timestamp(lasting.stamp(time=late), MESSAGE, chain).time == late.replace(microsecond=0)


@pytest.mark.parametrize("kind", ["p256", "p384", "rsa"])
def test_rfc3161_client_verifies_what_it_builds(kind):
    authority = Authority(kind)
    verifier = (
        rfc3161_client.VerifierBuilder()
        .add_root_certificate(x509.load_der_x509_certificate(authority.root))
        .tsa_certificate(x509.load_der_x509_certificate(authority.leaf))
        .build()
    )
    for response in (authority.stamp(), authority.stamp(cert_req=True)):
        parsed = rfc3161_client.decode_timestamp_response(response)
        assert verifier.verify_message(parsed, MESSAGE)
        assert parsed.tst_info.serial_number == 2**159 + 1
        assert parsed.tst_info.gen_time == NOW.replace(microsecond=0)


def pem(der: bytes) -> bytes:
    return x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM)


def openssl(directory, *arguments: str) -> None:
    subprocess.run(["openssl", "ts", *arguments], cwd=directory, check=True, capture_output=True)


@pytest.mark.parametrize("kind", ["p256", "p384", "rsa"])
def test_openssl_verifies_what_it_builds(tmp_path, kind):
    authority = Authority(kind)
    (tmp_path / "data").write_bytes(MESSAGE)
    (tmp_path / "root.pem").write_bytes(pem(authority.root))
    (tmp_path / "leaf.pem").write_bytes(pem(authority.leaf))
    (tmp_path / "reply").write_bytes(authority.stamp(cert_req=True))
    (tmp_path / "bare").write_bytes(authority.stamp())
    at = ["-attime", str(int(NOW.timestamp()))]
    openssl(tmp_path, "-verify", "-data", "data", "-in", "reply", "-CAfile", "root.pem", *at)
    bare = ["-in", "bare", "-CAfile", "root.pem", "-untrusted", "leaf.pem"]
    openssl(tmp_path, "-verify", "-data", "data", *bare, *at)


OPENSSL_CONFIG = """
[tsa]
default_tsa = own
[own]
serial = serial
crypto_device = builtin
signer_digest = {digest}
default_policy = 1.2.3.4
digests = sha256, sha384, sha512
accuracy = secs:1, millisecs:500, microsecs:100
ordering = yes
tsa_name = yes
ess_cert_id_chain = {chain}
ess_cert_id_alg = {ess}
"""


@pytest.mark.parametrize("kind", ["p256", "p384", "p521", "rsa"])
@pytest.mark.parametrize(
    ("digest", "ess", "chain"),
    [("sha256", "sha1", "no"), ("sha384", "sha256", "yes"), ("sha512", "sha512", "no")],
)
def test_verifies_the_tokens_of_openssl(tmp_path, kind, digest, ess, chain):
    # openssl stamps with the machine's time
    long_ago, far_off = NOW.replace(year=2000), NOW.replace(year=2049)
    authority = Authority(kind, not_before=long_ago, not_after=far_off)
    root = certificate(
        subject="root", issuer="root", key=authority.root_key, issuing_key=authority.root_key, ca=True,
        not_before=long_ago, not_after=far_off,
    )  # fmt: skip
    (tmp_path / "config").write_text(OPENSSL_CONFIG.format(digest=digest, ess=ess, chain=chain))
    (tmp_path / "serial").write_text("01")
    (tmp_path / "data").write_bytes(MESSAGE)
    (tmp_path / "leaf.pem").write_bytes(pem(authority.leaf))
    (tmp_path / "chain.pem").write_bytes(pem(root))
    key = authority.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (tmp_path / "key.pem").write_bytes(key)
    sign = ["-config", "config", "-signer", "leaf.pem", "-inkey", "key.pem", "-chain", "chain.pem"]
    for certificates in ([], ["-cert"]):
        openssl(tmp_path, "-query", "-data", "data", f"-{digest}", *certificates, "-out", "query")
        openssl(tmp_path, "-reply", "-queryfile", "query", *sign, "-out", "reply")
        verified = verify_timestamp((tmp_path / "reply").read_bytes(), MESSAGE, (authority.leaf, root))
        assert verified.policy == "1.2.3.4"


def test_accepts_a_fraction_of_a_second(authority):
    def set_time(info):
        info.gen_time = asn1.GeneralizedTime(NOW)
        info.accuracy = Accuracy(seconds=None, millis=5, micros=None)

    assert verify_timestamp(authority.forge(info=set_time), MESSAGE, authority.chain).time == NOW


def test_accepts_an_intermediate_and_a_non_critical_token_extension(authority):
    middle_key = private_key("p384-middle")
    middle = certificate(
        subject="middle",
        issuer="root",
        key=middle_key,
        issuing_key=authority.root_key,
        ca=True,
        eku=[TIME_STAMPING],
    )
    below = Authority()
    below.leaf = certificate(
        subject="tsa", issuer="middle", key=below.key, issuing_key=middle_key, ca=False, eku=[TIME_STAMPING]
    )
    below.chain = (below.leaf, middle, authority.root)

    def add(info):
        info.extensions = [Extension(extn_id=ObjectIdentifier("1.2.3"), critical=None, extn_value=b"x")]

    verify_timestamp(below.forge(info=add), MESSAGE, below.chain)


# Refusals: the token


def test_refuses_a_token_over_another_message(authority):
    refused(authority.stamp(b"another"), authority.chain, "timestamp_imprint")


def test_refuses_a_response_that_is_not_granted(authority):
    for status in (1, 2, 5, -1):

        def reject(response, status=status):
            response.status.status = status

        refused(authority.forge(reject), authority.chain, "timestamp_rejected")


def test_refuses_a_granted_response_without_a_token(authority):
    def strip(response):
        response.time_stamp_token = None

    refused(authority.forge(strip), authority.chain, "malformed_timestamp", MalformedInput)


def test_refuses_bytes_behind_the_response(authority):
    refused(authority.stamp() + b"\0", authority.chain, "malformed_timestamp", MalformedInput)


def test_refuses_a_huge_response(authority):
    refused(bytes(70_000), authority.chain, "malformed_timestamp", MalformedInput)


def test_refuses_two_signers(authority):
    def double(response):
        data = response.time_stamp_token.content
        (signer,) = data.signer_infos.as_list()
        data.signer_infos = asn1.SetOf([signer, signer])

    refused(authority.forge(double), authority.chain, "signer_count", MalformedInput)


def test_refuses_a_token_without_signers(authority):
    def strip(response):
        response.time_stamp_token.content.signer_infos = asn1.SetOf([])

    refused(authority.forge(strip), authority.chain, "signer_count", MalformedInput)


@pytest.mark.parametrize("field", ["issuer", "serial_number"])
def test_refuses_a_signer_that_is_not_the_trusted_leaf(authority, field):
    def rename(response):
        data = response.time_stamp_token.content
        (signer,) = data.signer_infos.as_list()
        setattr(signer.sid, field, {"issuer": name("other root"), "serial_number": 8}[field])
        data.signer_infos = asn1.SetOf([signer])

    refused(authority.forge(rename), authority.chain, "timestamp_signer")


def test_refuses_the_signature_of_another_key(authority):
    other = Authority("p256-other")
    refused(other.forge(attributes=replace_v2(authority.leaf)), authority.chain, "invalid_signature")


def test_refuses_a_changed_token(authority):
    response = bytearray(authority.stamp())
    position = response.find(b"20260301120000Z")
    response[position + 13] ^= 1
    refused(bytes(response), authority.chain, "invalid_signature")


def test_refuses_an_rsa_signature_under_an_ecdsa_name(authority):
    def rename(response):
        data = response.time_stamp_token.content
        (signer,) = data.signer_infos.as_list()
        signer.signature_algorithm = AlgorithmIdentifier(
            algorithm=ObjectIdentifier("1.2.840.113549.1.1.11"), parameters=asn1.Null()
        )
        data.signer_infos = asn1.SetOf([signer])

    refused(authority.forge(rename), authority.chain, "invalid_signature")


@pytest.mark.parametrize("field", ["digest_algorithm", "signature_algorithm"])
def test_refuses_algorithms_outside_the_table(authority, field):
    def rename(response):
        data = response.time_stamp_token.content
        (signer,) = data.signer_infos.as_list()
        sha1_names = {"digest_algorithm": "1.3.14.3.2.26", "signature_algorithm": "1.2.840.10045.4.1"}
        setattr(
            signer, field, AlgorithmIdentifier(algorithm=ObjectIdentifier(sha1_names[field]), parameters=None)
        )
        data.signer_infos = asn1.SetOf([signer])

    codes = {"digest_algorithm": "unsupported_hash", "signature_algorithm": "unknown_algorithm"}
    refused(authority.forge(rename), authority.chain, codes[field], MalformedInput)


@pytest.mark.parametrize("oid", [CONTENT_TYPE, MESSAGE_DIGEST])
def test_refuses_a_token_without_a_required_attribute(authority, oid):
    response = authority.forge(attributes=lambda found: [item for item in found if item.type != oid])
    refused(response, authority.chain, "malformed_cms", MalformedInput)


@pytest.mark.parametrize(
    ("oid", "value"), [(CONTENT_TYPE, ObjectIdentifier("1.2.840.113549.1.7.1")), (MESSAGE_DIGEST, bytes(32))]
)
def test_refuses_an_attribute_with_another_value(authority, oid, value):
    forged = authority.forge(attributes=replaced(oid, value))
    refused(forged, authority.chain, "invalid_signature")


def test_refuses_an_attribute_of_another_type(authority):
    forged = authority.forge(attributes=replaced(MESSAGE_DIGEST, 5))
    refused(forged, authority.chain, "malformed_cms", MalformedInput)


def test_refuses_an_attribute_twice(authority):
    def double(found):
        again = Attribute(type=MESSAGE_DIGEST, values=asn1.SetOf([tlv(bytes(32))]))
        return [*found, again]

    with pytest.raises(MalformedInput):
        verify_timestamp(authority.forge(attributes=double), MESSAGE, authority.chain)


@pytest.mark.parametrize("count", [0, 2])
def test_refuses_an_attribute_without_exactly_one_value(authority, count):
    def change(found):
        values = [tlv(bytes([number])) for number in range(count)]
        return [*found, Attribute(type=ObjectIdentifier("1.2.3"), values=asn1.SetOf(values))]

    with pytest.raises(MalformedInput, match="more or less than one value"):
        verify_timestamp(authority.forge(attributes=change), MESSAGE, authority.chain)


def test_refuses_a_message_that_is_no_signed_data(authority):
    def rename(response):
        response.time_stamp_token.content_type = ObjectIdentifier("1.2.840.113549.1.7.1")

    refused(authority.forge(rename), authority.chain, "malformed_cms", MalformedInput)


def test_refuses_an_unknown_critical_extension_of_the_token(authority):
    def add(info):
        info.extensions = [Extension(extn_id=ObjectIdentifier("1.2.3"), critical=True, extn_value=b"x")]

    refused(authority.forge(info=add), authority.chain, "unknown_critical_extension")


def test_refuses_another_version_of_the_token(authority):
    def change(info):
        info.version = 2

    refused(authority.forge(info=change), authority.chain, "malformed_timestamp", MalformedInput)


def test_refuses_other_content_than_a_timestamp(authority):
    def rename(response):
        data = response.time_stamp_token.content
        data.encap_content_info.e_content_type = ObjectIdentifier("1.2.840.113549.1.7.1")

    refused(authority.forge(rename), authority.chain, "malformed_timestamp", MalformedInput)


def with_all_parts(response: TimeStampResp) -> None:
    data = response.time_stamp_token.content
    (signer,) = data.signer_infos.as_list()
    extra = Attribute(type=ObjectIdentifier("1.2.840.113549.1.9.16.2.14"), values=asn1.SetOf([tlv(b"x")]))
    signer.unsigned_attrs = [tlv(extra)]
    data.signer_infos = asn1.SetOf([signer])
    data.crls = [tlv(7)]


def test_reads_a_token_with_revocation_lists_and_unsigned_attributes():
    """Nothing is taken from them; another reader says that they stand where CMS has them."""
    authority = Authority()
    response = authority.forge(with_all_parts)
    assert rfc3161_client.decode_timestamp_response(response).tst_info
    assert verify_timestamp(response, MESSAGE, authority.chain).time == NOW.replace(microsecond=0)
