"""What the signatures of an envelope cost the log: operations with public keys, counted by their pauses."""

import hashlib
import itertools
import json
import os

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from tests.support.rekor import b64, dsse, private_key, sign, spki

from hallmark.core.algorithms import ALGORITHMS
from hallmark.core.keys import fits_key, parse_public_key, wrap_public_key
from hallmark.errors import InvalidSignature, MalformedInput
from hallmark.tlog.checks import EnvelopeCheck
from hallmark.tlog.requests import parse_create_entry

P256 = "PKIX_ECDSA_P256_SHA_256"
P521 = "PKIX_ECDSA_P521_SHA_512"
ALLOWED = frozenset(ALGORITHMS)
DSSE = "dsseRequestV002"


def request(kinds, order=None, keyids=None, signatures=None) -> dict:
    """An envelope; `order[i]` is where the verifier of signature i stands in the list."""
    made = dsse(*kinds)[DSSE]
    if order is not None:
        made["verifiers"] = [made["verifiers"][order.index(place)] for place in range(len(order))]
    for number, item in enumerate(made["envelope"]["signatures"]):
        if keyids is not None:
            item["keyid"] = keyids[number]
        if signatures is not None:
            item["sig"] = b64(signatures[number])
    return {DSSE: made}


def count(made: dict) -> tuple[int, object]:
    """Check an envelope: how many operations it took, and the entry or the code of the refusal."""
    check = EnvelopeCheck(parse_create_entry(json.dumps(made).encode()), ALLOWED)
    operations = 0
    try:
        for _ in check.steps():
            operations += 1
        return operations, check.entry()
    except InvalidSignature as error:
        return operations, error.code


def test_signatures_in_the_order_of_their_verifiers_take_one_operation_each():
    for kinds in ([P256], [P256] * 10, ["PKIX_ED25519"] * 10, [P256, P521, "PKIX_ED25519"]):
        operations, entry = count(request(kinds))
        assert (operations, len(entry.signatures)) == (len(kinds), len(kinds))


def test_any_order_of_five_signers_is_found():
    for order in itertools.permutations(range(5)):
        operations, entry = count(request([P256] * 5, order))
        assert len(entry.signatures) == 5
        assert operations <= 15


@pytest.mark.parametrize(
    ("order", "operations", "found"),
    [((4, 0, 1, 2, 3), 15, True), ((5, 4, 3, 2, 1, 0), 18, True), ((5, 4, 1, 2, 0, 3), 15, False)],
    ids=["ten failures of ten", "twelve of twelve", "thirteen of twelve"],
)
def test_two_checks_for_each_signature_may_fail(order, operations, found):
    """The operation that is one too many ends it before its pause."""
    took, entry = count(request([P256] * len(order), order))
    assert took == operations
    assert (entry == "too_many_checks") is not found


def test_a_keyid_names_the_verifier_in_any_order():
    order = tuple(reversed(range(10)))
    assert count(request([P256] * 10, order))[1] == "too_many_checks"
    for spell in (str.lower, str.upper):
        keyids = [spell(hashlib.sha256(spki(P256, number)).hexdigest()) for number in range(10)]
        operations, entry = count(request([P256] * 10, order, keyids))
        assert (operations, len(entry.signatures)) == (10, 10)


def test_a_keyid_that_names_no_verifier_is_no_more_than_a_hint():
    for keyid in ("", "my key", "0" * 64, "0" * 63, "0" * 65):
        operations, entry = count(request([P256] * 2, (1, 0), [keyid] * 2))
        assert (operations, len(entry.signatures)) == (3, 2)


def test_a_signature_by_another_than_its_keyid_names_is_refused_after_one_operation():
    keyids = [hashlib.sha256(spki(P256, 1 - number)).hexdigest() for number in range(2)]
    assert count(request([P256] * 2, None, keyids)) == (1, "invalid_signature")


@pytest.mark.parametrize("kind", [P256, P521, "PKIX_RSA_PKCS1V15_2048_SHA256", "PKIX_ED25519"])
def test_signatures_of_no_verifier_cost_no_more_than_one_round(kind):
    garbage = [stranger(kind, number) for number in range(10)]
    operations, refusal = count(request([kind] * 10, None, None, garbage))
    assert (operations, refusal) == (10, "invalid_signature")


def stranger(kind: str, number: int) -> bytes:
    """A signature of the right form by a key of the kind over another message."""
    return sign(kind, b"another message %d" % number)


def test_a_signature_whose_form_fits_no_verifier_costs_nothing():
    for kind, signature in ((P256, b"\x30" + bytes(73)), (P256, bytes(70)), ("PKIX_ED25519", bytes(63))):
        assert count(request([kind] * 2, None, None, [signature, signature + b"\1"]))[0] == 0


def test_more_verifiers_than_signatures_are_refused_before_any_work():
    made = request([P256] * 10)
    made[DSSE]["envelope"]["signatures"].pop()
    with pytest.raises(InvalidSignature) as caught:
        EnvelopeCheck(parse_create_entry(json.dumps(made).encode()), ALLOWED)
    assert caught.value.code == "unused_verifier"


def test_one_verifier_may_have_made_several_signatures():
    made = request([P256] * 2)
    message = parse_create_entry(json.dumps(made).encode()).envelope.pae()
    made[DSSE]["envelope"]["signatures"][1]["sig"] = b64(sign(P256, message, 0))
    made[DSSE]["verifiers"].pop()
    operations, entry = count(made)
    assert (operations, len(entry.signatures)) == (2, 2)


def test_a_verifier_that_signed_nothing_is_refused_though_every_signature_verifies():
    made = request([P256] * 2)
    message = parse_create_entry(json.dumps(made).encode()).envelope.pae()
    made[DSSE]["envelope"]["signatures"][1]["sig"] = b64(sign(P256, message, 0))
    assert count(made)[1] == "unused_verifier"


def test_verifiers_with_large_exponents_are_refused_before_any_signature_is_checked():
    kind = "PKIX_RSA_PKCS1V15_2048_SHA256"
    made = request([kind] * 10)
    numbers = private_key(kind, 9).public_key().public_numbers()
    large = rsa.RSAPublicNumbers(2**2040 + 1, numbers.n).public_key()
    made[DSSE]["verifiers"][9]["publicKey"]["rawBytes"] = b64(
        large.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    )
    with pytest.raises(MalformedInput) as caught:
        EnvelopeCheck(parse_create_entry(json.dumps(made).encode()), ALLOWED)
    assert caught.value.code == "weak_key"


@pytest.mark.parametrize("kind", ["PKIX_ED25519", "PKIX_RSA_PKCS1V15_2048_SHA256"])
def test_signatures_of_fixed_length_fit_their_keys_at_that_length_alone(kind):
    key, length = parse_public_key(spki(kind)).key, len(sign(kind, b"x"))
    assert [size for size in range(length - 2, length + 3) if fits_key(bytes(size), key)] == [length]


@pytest.mark.parametrize(
    ("curve", "most"),
    [(ec.SECP256R1(), 73), (ec.SECP384R1(), 105), (ec.SECP521R1(), 141)],
    ids=lambda value: getattr(value, "name", value),
)
def test_signatures_by_curves_fit_up_to_their_longest_form(curve, most):
    key = wrap_public_key(ec.generate_private_key(curve).public_key()).key
    assert fits_key(b"\x30" + bytes(most - 1), key)
    assert not fits_key(b"\x30" + bytes(most), key)
    assert not fits_key(b"\x31" + bytes(most - 1), key)
    assert not fits_key(b"", key)


def test_every_true_signature_fits_its_key():
    for kind in ALGORITHMS:
        key = parse_public_key(spki(kind)).key
        assert all(fits_key(sign(kind, os.urandom(8)), key) for _ in range(50))
    assert fits_key(bytes(64), ed25519.Ed25519PrivateKey.generate().public_key())
