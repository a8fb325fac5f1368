"""Signed certificate timestamps and the log's entries (RFC 6962 section 3, C2SP static-ct-api).

    struct {
        Version sct_version = v1(0);        Version version = v1(0);
        SignatureType = certificate_        MerkleLeafType leaf_type =
            timestamp(0);                       timestamped_entry(0);
        uint64 timestamp;                   (the same from here on)
        LogEntryType entry_type;            x509_entry(0), precert_entry(1)
        select (entry_type) {
            case x509_entry:    opaque ASN.1Cert<1..2^24-1>;
            case precert_entry: opaque issuer_key_hash[32]; opaque TBSCertificate<1..2^24-1>;
        }
        CtExtensions extensions<0..2^16-1>;
    }

What an SCT signs and what the Merkle tree hashes are therefore the same bytes.
"""

from collections.abc import Sequence
from typing import Final

import msgspec
from cryptography.hazmat import asn1

from hallmark.core.encoding.tls import Reader, uint, vector
from hallmark.core.keys import PublicKey
from hallmark.errors import InvalidCertificate, InvalidSignature, MalformedInput

_V1: Final = b"\x00"
_HASH_SHA256: Final = 4
_SIGNATURE_ALGORITHMS: Final = {"ecdsa": 3, "rsa": 1}
_LEAF_INDEX: Final = 0
MAX_SCTS: Final = 32


class X509Entry(msgspec.Struct, frozen=True):
    """A final certificate, DER."""

    certificate: bytes

    def to_bytes(self) -> bytes:
        """Encode entry type and signed entry."""
        return b"\x00\x00" + vector(self.certificate, 3)


class PrecertEntry(msgspec.Struct, frozen=True):
    """A precertificate: SHA-256 of the issuing key's SPKI, and the TBSCertificate without poison and SCTs."""

    issuer_key_hash: bytes
    tbs_certificate: bytes

    def to_bytes(self) -> bytes:
        """Encode entry type and signed entry."""
        return b"\x00\x01" + self.issuer_key_hash + vector(self.tbs_certificate, 3)


LogEntry = X509Entry | PrecertEntry


class Sct(msgspec.Struct, frozen=True):
    """A signed certificate timestamp; `timestamp` in milliseconds, `signature` without its TLS header."""

    log_id: bytes
    timestamp: int
    extensions: bytes
    hash_algorithm: int
    signature_algorithm: int
    signature: bytes

    def digitally_signed(self) -> bytes:
        """Encode the signature with its algorithms (TLS DigitallySigned)."""
        return uint(self.hash_algorithm, 1) + uint(self.signature_algorithm, 1) + vector(self.signature, 2)

    def to_bytes(self) -> bytes:
        """Encode the SignedCertificateTimestamp."""
        header = _V1 + self.log_id + uint(self.timestamp, 8) + vector(self.extensions, 2)
        return header + self.digitally_signed()


def parse_sct(data: bytes) -> Sct:
    """Read one serialised SCT; raises `MalformedInput`."""
    reader = Reader(data, "the SCT")
    if reader.take(1) != _V1:
        raise MalformedInput("the SCT is not of version 1")
    sct = Sct(
        log_id=reader.take(32),
        timestamp=reader.uint(8),
        extensions=reader.vector(2),
        hash_algorithm=reader.uint(1),
        signature_algorithm=reader.uint(1),
        signature=reader.vector(2),
    )
    reader.finish()
    return sct


def parse_sct_list(extension_value: bytes) -> tuple[Sct, ...]:
    """Read the value of a certificate's SCT list extension (a DER OCTET STRING around the TLS list)."""
    try:
        content = asn1.decode_der(bytes, extension_value)
    except ValueError:
        raise MalformedInput("the SCT list is not a DER octet string") from None
    outer = Reader(content, "the SCT list")
    items = Reader(outer.vector(2), "the SCT list")
    outer.finish()
    scts: list[Sct] = []
    while not items.at_end:
        if len(scts) == MAX_SCTS:
            raise MalformedInput(f"the certificate has more than {MAX_SCTS} SCTs")
        scts.append(parse_sct(items.vector(2)))
    return tuple(scts)


def sct_list_extension(scts: Sequence[Sct]) -> bytes:
    """Build the value of the SCT list extension."""
    content = vector(b"".join(vector(sct.to_bytes(), 2) for sct in scts), 2)
    return asn1.encode_der(content)


def leaf_index_extension(index: int) -> bytes:
    """Build the `leaf_index` SCT extension of static-ct-api: type 0, length 5, uint40."""
    return uint(_LEAF_INDEX, 1) + vector(uint(index, 5), 2)


def parse_leaf_index(extensions: bytes) -> int | None:
    """Find the leaf index in SCT extensions; None where there is none."""
    reader = Reader(extensions, "the SCT extensions")
    found: int | None = None
    while not reader.at_end:
        kind, content = reader.uint(1), reader.vector(2)
        if kind == _LEAF_INDEX:
            if len(content) != 5 or found is not None:
                raise MalformedInput("the leaf_index extension is malformed")
            found = int.from_bytes(content, "big")
    return found


def timestamped_entry(timestamp: int, entry: LogEntry, extensions: bytes) -> bytes:
    """Encode a TimestampedEntry."""
    return uint(timestamp, 8) + entry.to_bytes() + vector(extensions, 2)


def merkle_tree_leaf(timestamp: int, entry: LogEntry, extensions: bytes) -> bytes:
    """Encode the MerkleTreeLeaf, which is also what the SCT signs."""
    return b"\x00\x00" + timestamped_entry(timestamp, entry, extensions)


def verify_sct(sct: Sct, entry: LogEntry, log_key: PublicKey) -> None:
    """Check an SCT against the entry and the log's key; raises `InvalidCertificate`.

    RFC 6962 section 3.2. The caller has chosen `log_key` by `sct.log_id` and checks the time.
    """
    expected = (_HASH_SHA256, _SIGNATURE_ALGORITHMS.get(log_key.algorithm.key_type))
    if (sct.hash_algorithm, sct.signature_algorithm) != expected:
        raise InvalidCertificate("the SCT names other algorithms than its log's key", code="invalid_sct")
    signed = merkle_tree_leaf(sct.timestamp, entry, sct.extensions)
    try:
        log_key.verify(sct.signature, signed)
    except InvalidSignature:
        raise InvalidCertificate("the SCT's signature does not verify", code="invalid_sct") from None
