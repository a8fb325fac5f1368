"""What a gRPC request costs to parse, told before it is parsed."""

import pytest
from tests.support.rekor import dsse, hashedrekord

pytest.importorskip("grpc_reflection", reason="the grpc extra is not installed")

from google.protobuf import json_format

from hallmark.errors import MalformedInput
from hallmark.tlog.grpc.rekor_v2_pb2 import CreateEntryRequest
from hallmark.tlog.grpc.structure import MAX_FIELDS, check_structure


def nested(path: tuple[int, ...], content: bytes) -> bytes:
    """Put a message's bytes below a path of field numbers."""
    for number in reversed(path):
        content = bytes((number << 3 | 2,)) + varint(len(content)) + content
    return content


def varint(value: int) -> bytes:
    found = bytearray()
    while value >= 0x80:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*found, value))


def is_refused(data: bytes) -> bool:
    try:
        check_structure(data)
    except MalformedInput as error:
        return error.code == "malformed_json"
    return False


FIELDS = {
    "varint": b"\x78\x01",
    "long varint": b"\x78\xff\xff\xff\xff\x01",
    "longest varint": b"\x78" + b"\xff" * 9 + b"\x01",
    "fixed64": b"\x79" + bytes(8),
    "bytes": b"\x7a\x03abc",
    "empty bytes": b"\x7a\x00",
    "group": b"\x7b\x7c",
    "fixed32": b"\x7d" + bytes(4),
}


@pytest.mark.parametrize("path", [(), (2,), (2, 1)])
@pytest.mark.parametrize("field", FIELDS.values(), ids=FIELDS.keys())
def test_so_many_fields_of_the_messages_that_repeat(path, field):
    each = 2 if field == FIELDS["group"] else 1
    room = (MAX_FIELDS - 1 - len(path)) // each
    assert not is_refused(nested(path, field * room))
    assert is_refused(nested(path, field * (room + 1)))


def test_fields_in_parts_of_one_message_count_together():
    half = nested((2, 1), FIELDS["varint"] * (MAX_FIELDS // 2))
    assert not is_refused(half)
    assert is_refused(half + half)


def test_fields_behind_a_group_count_too():
    assert is_refused(nested((2, 1), FIELDS["group"] + b"\x1a\x00" * MAX_FIELDS))


def test_behind_a_varint_longer_than_any_nothing_counts():
    too_long = b"\x78" + b"\xff" * 10 + b"\x01"
    assert not is_refused(too_long + FIELDS["varint"] * MAX_FIELDS)


def test_a_number_where_a_message_belongs_counts_once():
    field = b"\x10\x01"  # number 2, which is a message where the request is one
    assert not is_refused(field * (MAX_FIELDS - 1))
    assert is_refused(field * MAX_FIELDS)


@pytest.mark.parametrize("make", [hashedrekord, lambda: dsse(*["PKIX_ECDSA_P256_SHA_256"] * 10)])
def test_a_true_request_has_few(make):
    check_structure(json_format.ParseDict(make(), CreateEntryRequest()).SerializeToString())


@pytest.mark.parametrize(
    "data", [b"\xff" * 20, b"\x12", b"\x12\xff", b"\x12\x05\x0a", b"\x0f" * 300, b"\x7f"]
)
def test_damaged_bytes_are_left_to_the_parser(data):
    check_structure(data)
