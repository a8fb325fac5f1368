"""The registry of algorithms, beside the enum that speaks of them on the wire."""

import hashlib

import pytest

from hallmark.core.algorithms import (
    ALGORITHMS,
    ALGORITHMS_BY_NUMBER,
    DEFAULT_ALGORITHMS,
    HASH_NUMBERS,
    HASHES,
    LEGACY_RSA,
    parse_key_details,
)
from hallmark.errors import MalformedInput
from hallmark.tlog.grpc.sigstore_common_pb2 import PublicKeyDetails


def test_every_algorithm_has_its_number_on_the_wire():
    numbers = dict(PublicKeyDetails.items())
    assert numbers.pop("PUBLIC_KEY_DETAILS_UNSPECIFIED") == 0
    assert {name: parse_key_details(name).number for name in ALGORITHMS} == numbers
    assert len(ALGORITHMS_BY_NUMBER) == len(ALGORITHMS)


def test_refuses_an_algorithm_that_is_not_in_the_registry():
    with pytest.raises(MalformedInput) as caught:
        parse_key_details("PKIX_ML_DSA_65")
    assert caught.value.code == "unknown_algorithm"


def test_hashes_and_old_rsa_keys_have_their_numbers_on_the_wire():
    """`HashAlgorithm` and `PublicKeyDetails` of protobuf-specs, whose old names our own enum leaves out."""
    assert HASH_NUMBERS == {1: "SHA2_256", 2: "SHA2_384", 3: "SHA2_512"}
    assert LEGACY_RSA == {1: "PKCS1_RSA_PKCS1V5", 3: "PKIX_RSA_PKCS1V5"}


def test_a_digest_has_the_size_that_its_hash_names():
    for item in HASHES.values():
        assert item.size == len(item.digest(b"")) == hashlib.new(item.name).digest_size


def test_what_is_signed_by_its_digest_has_a_hash():
    assert {row.name for row in ALGORITHMS.values() if not row.prehash} == {"ed25519"}
    assert DEFAULT_ALGORITHMS["ed25519", "ed25519"].name == "ed25519"
