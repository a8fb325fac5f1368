"""Files with several trusted roots, and how much a root or a signing config may list."""

import json

import msgspec
import pytest
from tests.support.world import World

from hallmark.core.signing_config import _MAX_COUNT, Selector, parse_signing_config
from hallmark.core.trusted_root import MAX_INSTANCES, MAX_ROOTS, parse_trusted_root, parse_trusted_roots
from hallmark.errors import MalformedInput

ROOT = World().root
LINE = ROOT.to_json()
PRETTY = json.dumps(json.loads(LINE), indent=2).encode()


def test_a_file_holds_one_root_in_any_form():
    for data in (
        LINE,
        LINE + b"\n",
        PRETTY,
        b"\n\n" + PRETTY + b"\n",
        json.dumps(json.loads(LINE), indent=0).encode(),
    ):
        assert parse_trusted_roots(data) == (parse_trusted_root(LINE),)


@pytest.mark.parametrize("between", [b"\n", b"\r\n", b"\n\n \n"])
def test_a_file_holds_several_roots_one_a_line(between):
    other = msgspec.structs.replace(ROOT, ctlogs=()).to_json()
    assert parse_trusted_roots(between.join([LINE, other]) + between) == (
        parse_trusted_root(LINE),
        parse_trusted_root(other),
    )


@pytest.mark.parametrize("start", [b'{"later":{}\n,', b'{"later":[\n{}],', b'{"later":[\n{}\n],'])
def test_a_root_may_break_its_lines_anywhere(start):
    assert parse_trusted_roots(LINE.replace(b"{", start, 1)) == (parse_trusted_root(LINE),)


@pytest.mark.parametrize("data", [b"", b"\n", b" \n\n"])
def test_an_empty_file_is_no_root(data):
    with pytest.raises(MalformedInput):
        parse_trusted_roots(data)


@pytest.mark.parametrize("second", [b"{", b"}", b"x", b"{}", LINE[:-1], b"x" + LINE])
def test_a_line_that_is_no_root_is_refused(second):
    for lines in ((LINE, second), (second, LINE), (LINE, second, LINE)):
        with pytest.raises(MalformedInput):
            parse_trusted_roots(b"\n".join(lines))


def test_a_file_holds_up_to_16_roots():
    assert len(parse_trusted_roots(b"\n".join([LINE] * MAX_ROOTS))) == 16
    with pytest.raises(MalformedInput, match="more than 16") as caught:
        parse_trusted_roots(b"\n".join([LINE] * (MAX_ROOTS + 1)))
    assert caught.value.code == "too_large"


@pytest.mark.parametrize("kind", ["tlogs", "ctlogs", "certificateAuthorities", "timestampAuthorities"])
@pytest.mark.parametrize("more", [0, 1])
def test_a_root_lists_so_many_of_a_kind(kind, more):
    found = json.loads(LINE)
    found[kind] = [found[kind][0]] * (MAX_INSTANCES + more)
    data = json.dumps(found).encode()
    if more:
        with pytest.raises(MalformedInput, match="of one kind"):
            parse_trusted_root(data)
    else:
        assert parse_trusted_root(data)


@pytest.mark.parametrize(
    ("count", "good"), [(0, False), (1, True), (_MAX_COUNT, True), (_MAX_COUNT + 1, False)]
)
def test_a_selector_wants_1_to_32_services(count, good):
    found = {
        "mediaType": "application/vnd.dev.sigstore.signingconfig.v0.2+json",
        "tsaConfig": {"selector": "EXACT", "count": count},
    }
    data = json.dumps(found).encode()
    if good:
        assert parse_signing_config(data).tsa_config == Selector("EXACT", count)
    else:
        with pytest.raises(MalformedInput, match=f"count {count}"):
            parse_signing_config(data)
