"""What the tools know of the entries of each kind of log: their keys, and what they must agree with."""

import hashlib
from collections.abc import Callable
from functools import lru_cache

from hallmark.core.x509.certificate import certificate_key, load_certificate
from hallmark.core.x509.sct import PrecertEntry
from hallmark.core.x509.tile_entry import TileEntry, parse_tile_entry
from hallmark.errors import InvalidEntry, NotFound
from hallmark.ports import ObjectStore
from hallmark.tiledlog.fsck import EntryRules
from hallmark.tiledlog.records import TLOG_TILES, RecordFormat

_MAX_ISSUERS = 1024


def rules_of(records: RecordFormat, objects: ObjectStore) -> EntryRules:
    """The rules for the entries of a log with this kind of bundle."""
    return signature_rules() if records is TLOG_TILES else certificate_rules(objects)


def signature_rules() -> EntryRules:
    """Entries of a signature log: any bytes, named by their SHA-256."""
    return EntryRules(
        dedup_key=lambda record: hashlib.sha256(TLOG_TILES.entry(record)).digest(),
        check=lambda _index, _record: None,
        time=lambda _record: None,
    )


def certificate_rules(objects: ObjectStore) -> EntryRules:
    """Entries of a CT log: they state index and time, and refer to the certificates of their issuers."""
    issuer_key_id = _issuers(objects)

    def check(index: int, record: bytes) -> None:
        entry = parse_tile_entry(record)
        if entry.index is not None and entry.index != index:
            raise InvalidEntry(f"the entry states index {entry.index}")
        for fingerprint in entry.issuers:
            issuer_key_id(fingerprint)

    def dedup_key(record: bytes) -> bytes:
        return hashlib.sha256(_identity(parse_tile_entry(record), issuer_key_id)).digest()

    return EntryRules(
        dedup_key=dedup_key, check=check, time=lambda record: parse_tile_entry(record).timestamp
    )


def _identity(tile_entry: TileEntry, issuer_key_id: Callable[[bytes], bytes]) -> bytes:
    """The identity that the CT log computed when it took the entry."""
    encoded = tile_entry.entry.to_bytes()
    if isinstance(tile_entry.entry, PrecertEntry):
        return encoded
    if not tile_entry.issuers:
        raise InvalidEntry("the entry names no issuer")
    return encoded[:2] + issuer_key_id(tile_entry.issuers[0]) + encoded[2:]


def _issuers(objects: ObjectStore) -> Callable[[bytes], bytes]:
    """Read issuers' certificates, check them against their fingerprints, and give their key ids."""

    @lru_cache(maxsize=_MAX_ISSUERS)
    def issuer_key_id(fingerprint: bytes) -> bytes:
        path = f"issuer/{fingerprint.hex()}"
        try:
            der = objects.get(path)
        except NotFound:
            raise InvalidEntry(f"the certificate of its issuer, {path}, is missing") from None
        if hashlib.sha256(der).digest() != fingerprint:
            raise InvalidEntry(f"the certificate in {path} has SHA-256 {hashlib.sha256(der).hexdigest()}")
        return certificate_key(load_certificate(der)).key_id

    return issuer_key_id
