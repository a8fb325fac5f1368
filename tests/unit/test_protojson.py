"""The JSON mapping of protocol buffers, and canonical JSON."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from hallmark.core.encoding.canonical_json import canonical_json
from hallmark.core.encoding.protojson import (
    format_bytes,
    format_timestamp,
    parse_bytes,
    parse_int32,
    parse_int64,
    parse_timestamp,
)
from hallmark.errors import MalformedInput


@pytest.mark.parametrize("text", ["+/8=", "-_8=", "+/8", "-_8"])
def test_reads_both_alphabets_with_or_without_padding(text):
    assert parse_bytes(text, what="x") == b"\xfb\xff"


@pytest.mark.parametrize(
    "text", ["!", "a", "abcde", "YQ==YQ==", "Y Q==", "YQ==\n", "\u00e9\u00e9\u00e9\u00e9"]
)
def test_refuses_what_is_no_base64(text):
    with pytest.raises(MalformedInput) as caught:
        parse_bytes(text, what="the field")
    assert caught.value.code == "malformed_base64"
    assert "the field" in caught.value.message


def test_prints_standard_padded_base64():
    assert format_bytes(b"\xfb\xff") == "+/8="


@pytest.mark.parametrize(
    ("value", "number"),
    [
        ("0", 0),
        ("-5", -5),
        ("5".zfill(19), 5),
        (7, 7),
        (str(2**63 - 1), 2**63 - 1),
        (-(2**63), -(2**63)),
        (2.0**53, 2**53),
        (-(2.0**53), -(2**53)),
    ],
)
def test_reads_integers_as_strings_or_numbers(value, number):
    assert parse_int64(value, what="x") == number


@pytest.mark.parametrize(
    "value",
    [
        "",
        "-",
        "+5",
        "1.0",
        "1e3",
        " 5",
        "0x5",
        "5".zfill(20),
        "\u0665",
        "9" * 5000,
        2**63,
        -(2**63) - 1,
        True,
        float(2**53 + 2),
        -float(2**53 + 2),
        float("inf"),
    ],
)
def test_refuses_what_is_no_integer_of_64_bits(value):
    with pytest.raises(MalformedInput):
        parse_int64(value, what="x")


@pytest.mark.parametrize(("most", "beyond"), [(2**31 - 1, 2**31), (-(2**31), -(2**31) - 1)])
def test_an_int32_has_bounds(most, beyond):
    assert parse_int32(most, what="x") == most
    with pytest.raises(MalformedInput):
        parse_int32(beyond, what="x")


def test_reads_and_prints_times():
    noon = datetime(2026, 3, 1, 12, tzinfo=UTC)
    assert parse_timestamp("2026-03-01T12:00:00Z", what="x") == noon
    assert parse_timestamp("2026-03-01T13:00:00+01:00", what="x") == noon
    assert parse_timestamp("2026-03-01T12:00:00.250Z", what="x") == noon + timedelta(milliseconds=250)
    assert format_timestamp(noon) == "2026-03-01T12:00:00Z"
    assert format_timestamp(noon.astimezone(timezone(timedelta(hours=5)))) == "2026-03-01T12:00:00Z"
    assert format_timestamp(noon + timedelta(microseconds=5)) == "2026-03-01T12:00:00.000005Z"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "now",
        "2026-03-01T12:00:00",
        "2026-13-01T12:00:00Z",
        "2026-03-01T25:00:00Z",
        "0001-01-01T00:00:00+14:00",
    ],
)
def test_refuses_what_is_no_time(text):
    with pytest.raises(MalformedInput):
        parse_timestamp(text, what="x")


def test_canonical_json_sorts_and_has_no_white_space():
    assert (
        canonical_json({"b": [1, True, None], "a": "\u20ac"}) == '{"a":"\u20ac","b":[1,true,null]}'.encode()
    )


@pytest.mark.parametrize("value", [2**60, float("nan"), {"a": object()}])
def test_refuses_what_canonical_json_cannot_say(value):
    with pytest.raises(MalformedInput):
        canonical_json(value)
