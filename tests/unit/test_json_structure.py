"""What a JSON text costs to parse, told before it is parsed."""

import pytest

from hallmark.errors import MalformedInput
from hallmark.web.json_structure import MAX_DIGITS, MAX_MARKS, MIN_BYTES_OF_ESCAPE, check_structure


@pytest.mark.parametrize("mark", [b"{", b"[", b",", b":"])
def test_so_many_marks_of_structure(mark):
    check_structure(mark * MAX_MARKS)
    with pytest.raises(MalformedInput) as refused:
        check_structure(mark * (MAX_MARKS + 1))
    assert refused.value.code == "malformed_json"


def test_so_many_escapes():
    check_structure(b"\\" * MAX_MARKS)
    escaped = b"\\" + b"x" * (MIN_BYTES_OF_ESCAPE - 1)
    check_structure(escaped * (MAX_MARKS + 1))
    with pytest.raises(MalformedInput) as refused:
        check_structure(escaped * MAX_MARKS + escaped[:-1])
    assert refused.value.code == "malformed_json"


def test_a_long_string_costs_little():
    check_structure(b'{"payload":"%s"}' % (b"QUJD" * 1_000_000))


@pytest.mark.parametrize("before", [b'{"a":', b'{"a" : -', b"[", b"[0,\n"])
def test_numbers_have_so_many_digits(before):
    check_structure(before + b"9" * (MAX_DIGITS - 1))
    with pytest.raises(MalformedInput):
        check_structure(before + b"9" * MAX_DIGITS)
    check_structure(b'{"a":"' + b"9" * 1000 + b'"}')
