import hashlib
from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given, settings
from hypothesis import strategies as st

from hallmark.core.algorithms import SHA2_256, SHA2_384, SHA2_512
from hallmark.core.timestamp import build_request, parse_request, parse_timestamp, verify_timestamp
from hallmark.core.timestamp_response import build_response, token_signer
from hallmark.core.x509.tsa_profile import issue_tsa_chain
from hallmark.errors import HallmarkError

NOW = datetime(2026, 3, 1, tzinfo=UTC)
LEAF_KEY = ec.generate_private_key(ec.SECP256R1())
CHAIN = issue_tsa_chain(
    ec.generate_private_key(ec.SECP256R1()),
    LEAF_KEY.public_key(),
    organization="example",
    now=NOW,
    root_serial=1,
    leaf_serial=2,
)
SIGNER = token_signer(
    CHAIN, lambda data: LEAF_KEY.sign(data, ec.ECDSA(hashes.SHA256())), hash_algorithm=SHA2_256
)
HASHES = st.sampled_from([SHA2_256, SHA2_384, SHA2_512])


def stamped(message: bytes) -> bytes:
    request = parse_request(build_request(hashlib.sha256(message).digest(), nonce=5, cert_req=True))
    return build_response(request, SIGNER, time=NOW, serial=77, policy="1.2.3")


GOOD = stamped(b"message")


@given(
    message=st.binary(max_size=64),
    hash_algorithm=HASHES,
    nonce=st.none() | st.integers(min_value=-(2**200), max_value=2**200),
    cert_req=st.booleans(),
    serial=st.integers(min_value=1, max_value=2**160 - 1),
    seconds=st.integers(min_value=0, max_value=5 * 365 * 86400),
)
def test_what_is_asked_for_comes_back_and_verifies(message, hash_algorithm, nonce, cert_req, serial, seconds):
    digest = hash_algorithm.digest(message)
    request = parse_request(
        build_request(digest, hash_algorithm=hash_algorithm, nonce=nonce, cert_req=cert_req)
    )
    moment = datetime.fromtimestamp(NOW.timestamp() + seconds, UTC)
    response = build_response(request, SIGNER, time=moment, serial=serial, policy="1.2.3")
    verified = verify_timestamp(response, message, CHAIN)
    assert (verified.nonce, verified.serial, verified.time) == (nonce, serial, moment)


@given(position=st.integers(0, len(GOOD) - 1), flip=st.integers(1, 255))
@settings(max_examples=400)
def test_no_changed_byte_yields_another_verdict_than_the_same_facts(position, flip):
    # bytes outside the signature (the embedded certificate) may change: what is told must stay the same
    changed = bytearray(GOOD)
    changed[position] ^= flip
    try:
        verified = verify_timestamp(bytes(changed), b"message", CHAIN)
    except HallmarkError:
        return
    assert verified == verify_timestamp(GOOD, b"message", CHAIN)


@given(st.binary(max_size=400))
def test_junk_is_refused_with_an_error_of_the_tree(data):
    for parse in (parse_request, parse_timestamp):
        with pytest.raises(HallmarkError):
            parse(data)


@given(start=st.integers(0, len(GOOD)), length=st.integers(0, 40), inserted=st.binary(max_size=40))
@settings(max_examples=400)
def test_a_spliced_token_is_refused_with_an_error_of_the_tree_or_tells_the_same(start, length, inserted):
    spliced = GOOD[:start] + inserted + GOOD[start + length :]
    try:
        verified = verify_timestamp(spliced, b"message", CHAIN)
    except HallmarkError:
        return
    assert verified == verify_timestamp(GOOD, b"message", CHAIN)
