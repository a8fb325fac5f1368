"""The first start: makes keys, authorities, logs, trust root and client files of a new instance.

Everything is written below `.new`; the caller syncs it and moves it into place, so that a start which was
killed leaves nothing that looks like an instance.
"""

import hashlib
import secrets
from datetime import datetime
from typing import Final

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import random_serial_number

from hallmark.adapters.keys.file import SoftwareKey, write_key
from hallmark.adapters.storage.grants import SqliteGrants
from hallmark.core.algorithms import SHA2_256
from hallmark.core.entries.hashedrekord import hashedrekord_v002_body
from hallmark.core.keys import parse_public_key
from hallmark.core.x509.authority import BACKDATING, issuing_certificate, root_certificate
from hallmark.core.x509.tsa_profile import issue_tsa_chain
from hallmark.durable_files import write_durably
from hallmark.tiledlog.commit import Waiting, fixed_leaf
from hallmark.tiledlog.log import append_now, create_log
from hallmark.trustroot.client_files import (
    InstanceFacts,
    client_files,
    instance_signing_config,
    instance_trusted_root,
    tuf_targets,
)
from hallmark.trustroot.keys import create_key_files
from hallmark.trustroot.repository import TrustRepository
from hallmark.wiring.chains import pem_of_chain
from hallmark.wiring.layout import DIRECTORIES, InstanceFile, Layout
from hallmark.wiring.logs import OpenLog, open_ctlog
from hallmark.wiring.shards import FIRST, Shard, open_tlog

ORGANIZATION: Final = "Hallmark"
TOKEN_SECRET_BYTES: Final = 32
_PRIVATE: Final = ("keys", "idp")
_RSA_BITS: Final = 2048


def create_instance(layout: Layout, instance: InstanceFile, *, now: datetime) -> None:
    """Make a new instance below `layout.new`."""
    new = Layout(layout.new)
    for name in DIRECTORIES:
        (new.root / name).mkdir(parents=True, mode=0o700 if name in _PRIVATE else 0o755)
    ca_chain, tsa_chain = _create_ca(new, now), _create_tsa(new, now)
    _create_other_keys(new)
    tlog, tlog_signer = open_tlog(new, instance)
    ctlog, ctlog_key = open_ctlog(new, instance)
    _create_logs(tlog, ctlog, now)
    facts = InstanceFacts(
        base_url=instance.base_url,
        operator=instance.public_host,
        start=now.replace(microsecond=0) - BACKDATING,
        ca_chain=ca_chain,
        ct_log_key=parse_public_key(ctlog_key.spki),
        log_key=tlog_signer.public_key,
        log_origin=tlog_signer.origin,
        log_url=Shard(FIRST).trusted_url(instance),
        tsa_chain=tsa_chain,
    )
    _publish_trust(new, facts, now)
    SqliteGrants(new.grants).close()
    write_durably(new.client / "token_secret", secrets.token_urlsafe(TOKEN_SECRET_BYTES).encode(), mode=0o600)
    write_durably(new.instance_file, msgspec.json.format(msgspec.json.encode(instance), indent=2))


def _create_ca(new: Layout, now: datetime) -> tuple[bytes, ...]:
    """Make the root (P-384) and the issuing CA (P-256), whose speed is the speed of issuing."""
    root_key, key = ec.generate_private_key(ec.SECP384R1()), ec.generate_private_key(ec.SECP256R1())
    root = root_certificate(
        root_key,
        common_name=f"{ORGANIZATION} Root",
        organization=ORGANIZATION,
        now=now,
        serial=random_serial_number(),
    )
    issuing = issuing_certificate(
        key.public_key(),
        common_name=f"{ORGANIZATION} Issuing CA",
        organization=ORGANIZATION,
        root=root,
        root_key=root_key,
        now=now,
        serial=random_serial_number(),
    )
    write_key(new.key("ca_root"), root_key)
    write_key(new.key("ca"), key)
    return _write_chain(new, "ca", tuple(item.public_bytes(Encoding.DER) for item in (issuing, root)))


def _create_tsa(new: Layout, now: datetime) -> tuple[bytes, ...]:
    root_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    chain = issue_tsa_chain(
        root_key,
        key.public_key(),
        organization=ORGANIZATION,
        now=now,
        root_serial=random_serial_number(),
        leaf_serial=random_serial_number(),
    )
    write_key(new.key("tsa_root"), root_key)
    write_key(new.key("tsa"), key)
    return _write_chain(new, "tsa", chain)


def _write_chain(new: Layout, service: str, chain: tuple[bytes, ...]) -> tuple[bytes, ...]:
    write_durably(new.chain(service), pem_of_chain(chain).encode())
    return chain


def _create_other_keys(new: Layout) -> None:
    write_key(new.key("ctlog"), ec.generate_private_key(ec.SECP256R1()))
    write_key(new.key("tlog"), ed25519.Ed25519PrivateKey.generate())
    write_key(new.key("idp"), rsa.generate_private_key(public_exponent=65537, key_size=_RSA_BITS))


def _create_logs(tlog: OpenLog, ctlog: OpenLog, now: datetime) -> None:
    """Create both logs; the signature log begins with a bootstrap entry.

    Some clients cannot read an entry with index 0, because their peers leave zeros out.
    """
    milliseconds = int(now.timestamp() * 1000)
    for log in (tlog, ctlog):
        store = log.store(new=True)
        create_log(store, log.signer, time=milliseconds)
        if log is tlog:
            append_now(store, log.signer, bootstrap_entry(), now=milliseconds)
        store.close()


def bootstrap_entry() -> Waiting:
    """Make a true entry, signed by a key that nobody has any more: the first of every shard."""
    key = SoftwareKey(ec.generate_private_key(ec.SECP256R1()))
    message = b"the first entry of a new log"
    body = hashedrekord_v002_body(
        SHA2_256.digest(message),
        SHA2_256,
        key.sign(message),
        parse_public_key(key.spki).algorithm.key_details,
        public_key=key.spki,
    )
    return Waiting(hashlib.sha256(body).digest(), fixed_leaf(body))


def _publish_trust(new: Layout, facts: InstanceFacts, now: datetime) -> None:
    root, config = instance_trusted_root(facts), instance_signing_config(facts)
    keys = create_key_files(new.tuf_keys)
    repository = TrustRepository.create(new.tuf, tuf_targets(root, config), keys, now)
    for name, data in client_files(root, config, repository.newest_root()).items():
        write_durably(new.client / name, data)
