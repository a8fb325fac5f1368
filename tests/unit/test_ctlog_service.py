"""The CT log's write side over its wire: what it takes, what it promises, what it refuses."""

import base64
import hashlib
import json
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat import asn1
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509 import oid
from tests.support.asgi_call import call
from tests.support.small_ca import NOW, ORIGIN, SmallCa, certificates_of, der, key_request, rsa_key, spki

from hallmark.adapters.keys.file import SoftwareKey
from hallmark.adapters.storage.issuers import ObjectIssuerStore
from hallmark.core.tiles import TileId
from hallmark.core.x509.oids import PRECERTIFICATE_POISON
from hallmark.core.x509.sct import (
    PrecertEntry,
    Sct,
    X509Entry,
    merkle_tree_leaf,
    parse_leaf_index,
    parse_sct,
    verify_sct,
)
from hallmark.core.x509.sth import verify_sth_note
from hallmark.core.x509.tbs import POISON_VALUE, remove_poison
from hallmark.ctlog.acceptance import MAX_CERTIFICATE_BYTES, AcceptedRoots
from hallmark.ctlog.config import CtLogConfig
from hallmark.ctlog.http import routes as ctlog_routes
from hallmark.ctlog.service import CtLog
from hallmark.errors import ConfigurationError, Overloaded
from hallmark.wiring.entry_rules import certificate_rules
from hallmark.wiring.logs import STATIC_CT

KEY = ec.generate_private_key(ec.SECP256R1())
PRE, FINAL = "/ctlog/ct/v1/add-pre-chain", "/ctlog/ct/v1/add-chain"
CODE_SIGNING = [oid.ExtendedKeyUsageOID.CODE_SIGNING]


@pytest.fixture
def small(tmp_path):
    made = SmallCa(tmp_path)
    yield made
    made.close()


def leaf(small: SmallCa, *, poison: bool = True, **changes) -> bytes:
    """Make a certificate as another software would."""
    settings = {
        "issuer": x509.load_der_x509_certificate(small.chain[0]).subject,
        "signer": small.issuing_key,
        "purposes": CODE_SIGNING,
        "serial": 77,
        "ca": None,
        "padding": 0,
        "poison_value": POISON_VALUE,
        "critical": True,
        **changes,
    }
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(settings["issuer"])
        .public_key(KEY.public_key())
        .serial_number(settings["serial"])
        .not_valid_before(NOW)
        .not_valid_after(NOW + timedelta(minutes=10))
        .add_extension(x509.SubjectAlternativeName([x509.RFC822Name("a@b.c")]), critical=True)
    )
    if settings["purposes"]:
        builder = builder.add_extension(x509.ExtendedKeyUsage(settings["purposes"]), critical=False)
    if settings["ca"] is not None:
        builder = builder.add_extension(x509.BasicConstraints(settings["ca"], None), critical=True)
    if settings["padding"]:
        padding = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3"), bytes(settings["padding"]))
        builder = builder.add_extension(padding, critical=False)
    if poison:
        value = x509.UnrecognizedExtension(PRECERTIFICATE_POISON, settings["poison_value"])
        builder = builder.add_extension(value, critical=settings["critical"])
    return der(builder.sign(settings["signer"], hashes.SHA256()))


def service(small: SmallCa, **changes) -> CtLog:
    parts = {
        "log": small.sequencer,
        "key": SoftwareKey(small.log_key),
        "roots": [small.chain[-1]],
        "issuers": small.ctlog._issuers,
    }
    return CtLog(**{**parts, **changes})


def submit(small: SmallCa, path: str, *chain: bytes):
    body = json.dumps({"chain": [base64.b64encode(item).decode() for item in chain]}).encode()
    return small.request("POST", path, body, {"content-type": "application/json"})


def read_sct(answer) -> Sct:
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    found = answer.json()
    assert found["sct_version"] == 0
    fields = {name: base64.b64decode(found[name]) for name in ("id", "extensions", "signature")}
    time, extensions = found["timestamp"].to_bytes(8, "big"), fields["extensions"]
    length = len(extensions).to_bytes(2, "big")
    return parse_sct(b"\x00" + fields["id"] + time + length + extensions + fields["signature"])


def refused(answer, status: int, text: str) -> None:
    assert (answer.status, answer.headers["content-type"]) == (status, "text/plain; charset=utf-8")
    assert text in answer.text()


def common(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])


def authority(name: x509.Name, key, issuer: x509.Name, signer) -> bytes:
    builder = x509.CertificateBuilder(issuer, name, key.public_key(), 5, NOW, NOW + timedelta(days=1))
    usage = x509.KeyUsage(*([False] * 5), True, *([False] * 3))
    for value in (x509.BasicConstraints(ca=True, path_length=None), usage):
        builder = builder.add_extension(value, critical=True)
    return der(builder.sign(signer, hashes.SHA256()))


def test_a_chain_is_checked_from_its_root_down(small):
    """A chain that does not hang on a root costs one operation, however long and well signed it is below."""
    key = ec.generate_private_key(ec.SECP256R1())
    root = x509.load_der_x509_certificate(small.chain[-1]).subject
    known = authority(common("known"), key, root, small.root_key)
    middle = authority(common("middle"), KEY, common("known"), KEY)  # of this issuer's name, not signed by it
    low = authority(common("low"), KEY, common("another"), KEY)  # not even of its issuer's name
    certificate = leaf(small, issuer=common("low"), signer=KEY)
    refused(submit(small, PRE, certificate, low, middle, known), 400, "not signed by the next")
    refused(submit(small, PRE, certificate, low, middle), 400, "accepted root")


def precert_entry(small: SmallCa, certificate: bytes) -> PrecertEntry:
    tbs = x509.load_der_x509_certificate(certificate).tbs_certificate_bytes
    return PrecertEntry(hashlib.sha256(spki(small.issuing_key)).digest(), remove_poison(tbs))


def test_promises_a_precertificate_its_place(small):
    certificate = leaf(small)
    sct = read_sct(submit(small, PRE, certificate, *small.chain))
    entry = precert_entry(small, certificate)
    verify_sct(sct, entry, small.ctlog_key)
    assert (sct.log_id, parse_leaf_index(sct.extensions)) == (small.ctlog_key.key_id, 0)
    assert small.reader.entry(0).leaf == merkle_tree_leaf(sct.timestamp, entry, sct.extensions)


def test_promises_a_final_certificate_its_place(small):
    certificate = leaf(small, poison=False)
    sct = read_sct(submit(small, FINAL, certificate, *small.chain))
    verify_sct(sct, X509Entry(certificate), small.ctlog_key)


def test_the_precertificate_without_poison_is_the_certificate_that_was_never_poisoned(small):
    poisoned = x509.load_der_x509_certificate(leaf(small))
    plain = x509.load_der_x509_certificate(leaf(small, poison=False))
    assert remove_poison(poisoned.tbs_certificate_bytes) == plain.tbs_certificate_bytes


def test_the_tile_leaf_holds_entry_precertificate_and_issuers(small):
    certificate = leaf(small)
    sct = read_sct(submit(small, PRE, certificate, small.chain[0]))
    body = merkle_tree_leaf(sct.timestamp, precert_entry(small, certificate), sct.extensions)[2:]
    fingerprints = b"".join(hashlib.sha256(item).digest() for item in small.chain)
    expected = body + len(certificate).to_bytes(3, "big") + certificate + b"\x00\x40" + fingerprints
    assert small.reader.tile(TileId(None, 0, 1)) == expected


def test_serves_the_issuers_that_entries_name(small):
    submit(small, PRE, leaf(small), *small.chain)
    for certificate in small.chain:
        answer = small.request("GET", f"/ctlog/issuer/{hashlib.sha256(certificate).hexdigest()}")
        assert (answer.status, answer.headers["content-type"]) == (200, "application/pkix-cert")
        assert answer.body == certificate
    true = hashlib.sha256(small.chain[0]).hexdigest()
    assert true != true.upper()
    for name in ("0" * 64, true.upper(), "z" * 64, true[:62], true[:63], "x", "..%2f"):
        assert small.request("GET", f"/ctlog/issuer/{name}").status == 404


def test_a_duplicate_gets_the_same_place_and_time(small):
    first = read_sct(submit(small, PRE, leaf(small), *small.chain))
    other = read_sct(submit(small, PRE, leaf(small, serial=78), *small.chain))
    small.pass_time(minutes=1)
    again = read_sct(submit(small, PRE, leaf(small), *small.chain))
    assert (again.timestamp, again.extensions) == (first.timestamp, first.extensions)
    assert parse_leaf_index(other.extensions) == 1
    verify_sct(again, precert_entry(small, leaf(small)), small.ctlog_key)


def test_a_certificate_and_its_precertificate_are_two_entries(small):
    answer = small.sign(key_request(KEY), small.token())
    final = der(certificates_of(answer)[0])
    sct = read_sct(submit(small, FINAL, final, *small.chain))
    assert parse_leaf_index(sct.extensions) == 1


def test_the_checkpoint_is_a_signed_tree_head(small):
    submit(small, PRE, leaf(small), *small.chain)
    head = verify_sth_note(small.reader.checkpoint(), origin=ORIGIN, key=small.ctlog_key)
    assert head.checkpoint.size == 1
    assert head.timestamp >= int(NOW.timestamp() * 1000)


def test_lists_its_roots(small):
    answer = small.request("GET", "/ctlog/ct/v1/get-roots")
    assert [base64.b64decode(item) for item in answer.json()["certificates"]] == [small.chain[-1]]


def test_the_root_may_be_left_out(small):
    assert submit(small, PRE, leaf(small), small.chain[0]).status == 200
    by_root = leaf(
        small, issuer=x509.load_der_x509_certificate(small.chain[1]).subject, signer=small.root_key
    )
    assert submit(small, PRE, by_root).status == 200


def test_refuses_a_chain_to_another_root(small, tmp_path):
    stranger = SmallCa(tmp_path / "..")
    try:
        foreign = leaf(stranger)
        refused(submit(small, PRE, foreign, *stranger.chain), 400, "accepted root")
        refused(submit(small, PRE, foreign), 400, "accepted root")
        refused(submit(small, PRE, foreign, *small.chain), 400, "not signed by the next")
        assert (
            verify_sth_note(small.reader.checkpoint(), origin=ORIGIN, key=small.ctlog_key).checkpoint.size
            == 0
        )
    finally:
        stranger.close()


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"purposes": None}, "code signing"),
        ({"purposes": [oid.ExtendedKeyUsageOID.SERVER_AUTH]}, "code signing"),
        ({"ca": True}, "authority"),
        ({"poison": False}, "precertificate"),
        ({"poison_value": b"\x05\x00\x00"}, "malformed"),
        ({"poison_value": b"\x04\x00"}, "malformed"),
        ({"critical": False}, "poison"),
        ({"signer": KEY}, "not signed by the next"),
        ({"issuer": x509.Name([x509.NameAttribute(oid.NameOID.COMMON_NAME, "x")])}, "not issued by the next"),
    ],
    ids=lambda value: str(value)[:24],
)
def test_refuses_what_is_not_for_this_log(small, changes, text):
    refused(submit(small, PRE, leaf(small, **changes), *small.chain), 400, text)


def test_takes_a_certificate_that_says_that_it_is_no_authority_s(small):
    read_sct(submit(small, PRE, leaf(small, ca=False), *small.chain))


def test_refuses_a_precertificate_as_a_certificate(small):
    refused(submit(small, FINAL, leaf(small), *small.chain), 400, "precertificate")


def test_refuses_a_chain_in_which_a_leaf_issues(small):
    plain = leaf(small, poison=False)
    below = leaf(small, issuer=x509.Name([]), signer=KEY)
    refused(submit(small, PRE, below, plain, *small.chain), 400, "authority")
    refused(submit(small, PRE, leaf(small), *reversed(small.chain)), 400, "")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"[]",
        b'{"chain":7}',
        b'{"chain":["***"]}',
        b'{"chain":["AAAA"]}',
        b'{"chain":[]}',
        b"\xff",
        b"[" * 50_000,
    ],
    ids=range(9),
)
def test_refuses_a_malformed_submission(small, body):
    refused(small.request("POST", PRE, body), 400, "Bad Request\n")


VERSION = bytes.fromhex("a003020102"), bytes.fromhex("a003020107")
REPEATED = bytes.fromhex("0603551d25"), bytes.fromhex("0603551d11")
ALGORITHM = bytes.fromhex("2a8648ce3d040302"), bytes.fromhex("2a8648ce3d04037f")


@pytest.mark.parametrize("change", [VERSION, REPEATED, ALGORITHM], ids=["version", "repeated", "algorithm"])
@pytest.mark.parametrize("path", [PRE, FINAL])
def test_refuses_a_certificate_that_breaks_its_parser_late(small, path, change):
    refused(submit(small, path, leaf(small).replace(*change), *small.chain), 400, "malformed")
    refused(submit(small, path, leaf(small), leaf(small).replace(*change)), 400, "malformed")


def test_refuses_too_long_a_chain_and_too_large_a_body(small):
    refused(submit(small, PRE, leaf(small), *[small.chain[0]] * 10), 400, "1 to 10")
    refused(submit(small, PRE, b"x" * (MAX_CERTIFICATE_BYTES)), 400, "malformed")
    refused(submit(small, PRE, b"x" * (MAX_CERTIFICATE_BYTES + 1)), 400, "too large")
    refused(submit(small, PRE, leaf(small), b"x" * MAX_CERTIFICATE_BYTES), 400, "malformed")
    refused(submit(small, PRE, leaf(small), b"x" * (MAX_CERTIFICATE_BYTES + 1)), 400, "too large")
    refused(small.request("POST", PRE, b" " * (512 * 1024 + 1)), 413, "524288")


def test_takes_a_chain_of_as_many_certificates_as_it_may_have(small):
    """The root may stand in the chain or not: the path that is checked is the same."""
    small.parts["/ctlog"] = ctlog_routes(service(small, config=CtLogConfig(max_chain=2)))
    read_sct(submit(small, PRE, leaf(small), small.chain[0]))
    refused(submit(small, PRE, leaf(small), *small.chain), 400, "1 to 2")


def test_certificates_are_counted_before_they_are_decoded(small):
    for count, text in ((10, "base64"), (11, "1 to 10"), (100_000, "1 to 10")):
        body = json.dumps({"chain": ["*"] * count}).encode()
        refused(small.request("POST", PRE, body), 400, text)


def test_unfinished_submissions_are_bounded_together(small):
    bounded = service(small, config=CtLogConfig(max_body_bytes_in_flight=1000))
    answer = call(ctlog_routes(bounded), "POST", "/ct/v1/add-chain", b" " * 2000, chunk=500)
    assert answer.status == 503


def test_refuses_another_method(small):
    answer = small.request("GET", PRE)
    refused(answer, 405, "POST")
    assert answer.headers["allow"] == "POST"


class _Noting:
    """A log that notes what it is asked to append, and has it appended."""

    def __init__(self, log) -> None:
        self.log, self.keys, self.sizes = log, [], []

    def append(self, dedup_key, finalize, *, size=0):
        self.keys.append(dedup_key)
        self.sizes.append(size)
        return self.log.append(dedup_key, finalize, size=size)


@pytest.mark.parametrize(("path", "poison"), [(PRE, True), (FINAL, False)])
def test_an_entry_is_known_again_by_the_key_that_is_computed_from_its_record(small, path, poison):
    noting = _Noting(small.sequencer)
    small.parts["/ctlog"] = ctlog_routes(service(small, log=noting))
    read_sct(submit(small, path, leaf(small, poison=poison), *small.chain))
    (record,) = STATIC_CT.split(small.reader.tile(TileId(None, 0, 1)))
    assert noting.keys == [certificate_rules(small.objects).dedup_key(record)]


def test_the_largest_certificate_makes_an_entry_within_its_bounds(small):
    """What it is said to hold while it waits is no less than its record, and no more than an entry has."""
    noting = _Noting(small.sequencer)
    small.parts["/ctlog"] = ctlog_routes(service(small, log=noting))
    around = len(leaf(small, padding=10_000)) - 10_000 + 16  # signatures have more bytes or fewer
    spare = MAX_CERTIFICATE_BYTES - around
    read_sct(submit(small, PRE, leaf(small, padding=spare), *small.chain))
    (size,) = noting.sizes
    assert len(small.reader.tile(TileId(None, 0, 1))) <= size < 65_536


def test_an_issuer_is_stored_once_and_not_with_every_entry(small):
    class Counting(ObjectIssuerStore):
        def put_issuer(self, fingerprint, certificate):
            stored.append(certificate)
            super().put_issuer(fingerprint, certificate)

    stored = []
    small.parts["/ctlog"] = ctlog_routes(service(small, issuers=Counting(small.objects)))
    for serial in (1, 2):
        read_sct(submit(small, PRE, leaf(small, serial=serial), *small.chain))
    assert stored == list(small.chain)


class _FullLog:
    def append(self, dedup_key, finalize, *, size=0):
        raise Overloaded("too many wait", retry_after=3)


class _BrokenLog:
    def append(self, dedup_key, finalize, *, size=0):
        raise OSError("private detail")


def test_a_full_or_broken_log_says_so_and_no_more(small):
    for log, status in ((_FullLog(), 503), (_BrokenLog(), 500)):
        small.parts["/ctlog"] = ctlog_routes(service(small, log=log))
        answer = submit(small, PRE, leaf(small), *small.chain)
        assert answer.status == status
        assert "private" not in answer.text()
        assert answer.headers.get("retry-after") == ("3" if status == 503 else None)


def test_does_not_start_on_a_key_or_roots_that_do_not_fit(small):
    with pytest.raises(ConfigurationError):
        AcceptedRoots([])
    with pytest.raises(ConfigurationError, match="P-256"):
        service(small, key=SoftwareKey(rsa_key()))


def test_null_is_the_poison():
    assert bytes.fromhex("0500") == POISON_VALUE
    assert asn1.decode_der(asn1.Null, POISON_VALUE) == asn1.Null()
