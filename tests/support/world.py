"""A complete little Sigstore in memory, for tests: CA, CT log, both kinds of Rekor log, timestamp authority.

Everything it makes is true unless a test changes one thing. Keys are made once a process: what is tested
does not depend on them.
"""

import base64
import hashlib
import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import cache

import msgspec
import rfc8785
from cryptography import x509
from cryptography.hazmat import asn1
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from hallmark.core.algorithms import SHA2_256
from hallmark.core.bundle import BUNDLE_V01, BUNDLE_V03, Bundle, MessageSignature
from hallmark.core.checkpoint import Checkpoint
from hallmark.core.dsse import IN_TOTO_PAYLOAD_TYPE, Envelope, EnvelopeSignature, pae
from hallmark.core.entries.hashedrekord import hashedrekord_v002_body
from hallmark.core.keys import PublicKey, wrap_public_key
from hallmark.core.merkle import Growth, leaf_hash
from hallmark.core.note import Note, NoteSignature, ed25519_key_hash, note_key_hash
from hallmark.core.timestamp import build_request, parse_request
from hallmark.core.timestamp_response import build_response, token_signer
from hallmark.core.transparency_log_entry import InclusionProof, TransparencyLogEntry
from hallmark.core.trusted_root import CertificateAuthority, TransparencyLog, TrustedRoot, Validity
from hallmark.core.x509.oids import FULCIO_EXTENSIONS
from hallmark.core.x509.sct import (
    PrecertEntry,
    Sct,
    leaf_index_extension,
    merkle_tree_leaf,
    sct_list_extension,
)
from hallmark.verify.verifier import Artifact

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
BEGINNING = NOW - timedelta(days=30)
HOST = "127.0.0.1"
URL = f"http://{HOST}:8080"
EMAIL = "alice@example.com"
OIDC_ISSUER = f"{URL}/oidc"
MESSAGE = b"the artifact"
TREE_ID = 1193050959916656506

_ROWS = {row.name: row for row in FULCIO_EXTENSIONS}
_HASHES = {"sha256": hashes.SHA256(), "sha384": hashes.SHA384(), "sha512": hashes.SHA512()}
PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey


@cache
def private_key(name: str) -> PrivateKey:
    """The key of this name; what stands before the first dash says its kind."""
    kind = name.partition("-")[0]
    if kind == "ed25519":
        return ed25519.Ed25519PrivateKey.generate()
    if kind == "rsa":
        return rsa.generate_private_key(65537, 2048)
    curve = {"p256": ec.SECP256R1(), "p384": ec.SECP384R1(), "p521": ec.SECP521R1()}[kind]
    return ec.generate_private_key(curve)


def public_key(name: str) -> PublicKey:
    return wrap_public_key(private_key(name).public_key())


def sign(name: str, message: bytes, hash_name: str | None = None) -> bytes:
    key, wanted = private_key(name), public_key(name).algorithm.hash
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return key.sign(message)
    return key.sign(message, ec.ECDSA(_HASHES[hash_name or wanted.name]))


def x509_name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, common_name)])


def key_usage(**yes: bool) -> x509.KeyUsage:
    names = (
        "digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
        "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
    )  # fmt: skip
    return x509.KeyUsage(**{name: yes.get(name, False) for name in names})


DIGITAL_SIGNATURE = key_usage(digital_signature=True)
CODE_SIGNING = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING])
TIME_STAMPING = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING])


def authority_certificate(
    subject: str,
    issuer: str,
    *,
    key: str,
    issuing_key: str,
    path_length: int | None = None,
    extensions: Sequence[tuple[x509.ExtensionType, bool]] = (),
    ca: bool | None = True,
    usage: x509.KeyUsage | None = None,
    not_before: datetime = BEGINNING,
    not_after: datetime = NOW + timedelta(days=3650),
    hash_name: str = "sha256",
) -> bytes:
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509_name(subject))
        .issuer_name(x509_name(issuer))
        .public_key(private_key(key).public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(not_before)
        .not_valid_after(not_after)
        .add_extension(usage or key_usage(key_cert_sign=True, crl_sign=True), critical=True)
    )
    if ca is not None:
        length = path_length if ca else None
        builder = builder.add_extension(x509.BasicConstraints(ca=ca, path_length=length), critical=True)
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical=critical)
    return builder.sign(private_key(issuing_key), _HASHES[hash_name]).public_bytes(Encoding.DER)


class World:
    """The honest instance; `root` is what verifiers trust of it."""

    def __init__(self, *, ca_chain: tuple[bytes, ...] | None = None) -> None:
        self.ca_chain = ca_chain or (
            authority_certificate(
                "issuing", "root", key="p256-ca", issuing_key="p384-root", path_length=0,
                extensions=[(CODE_SIGNING, False)],
            ),
            authority_certificate("root", "root", key="p384-root", issuing_key="p384-root"),
        )  # fmt: skip
        self.tsa_chain = (
            authority_certificate(
                "tsa", "tsa root", key="p256-tsa", issuing_key="p256-tsaroot", ca=False,
                usage=key_usage(digital_signature=True), extensions=[(TIME_STAMPING, True)],
            ),
            authority_certificate("tsa root", "tsa root", key="p256-tsaroot", issuing_key="p256-tsaroot"),
        )  # fmt: skip
        since = Validity(BEGINNING)
        self.root = TrustedRoot(
            tlogs=(v2_log(), v1_log()),
            certificate_authorities=(authority("ca", self.ca_chain, since),),
            ctlogs=(ct_log(),),
            timestamp_authorities=(authority("tsa", self.tsa_chain, since),),
        )

    def sct(self, tbs: bytes, *, key: str = "p256-ct", time: datetime = NOW, **changes: object) -> Sct:
        issuer_key_hash = hashlib.sha256(public_key("p256-ca").spki).digest()
        milliseconds = int(time.timestamp() * 1000)
        extensions = leaf_index_extension(7)
        signed = merkle_tree_leaf(milliseconds, PrecertEntry(issuer_key_hash, tbs), extensions)
        sct = Sct(public_key(key).key_id, milliseconds, extensions, 4, 3, sign(key, signed))
        return msgspec.structs.replace(sct, **changes)

    def certificate(
        self,
        *,
        key: str = "p256-leaf",
        public: CertificatePublicKeyTypes | None = None,
        names: Sequence[x509.GeneralName] = (x509.RFC822Name(EMAIL),),
        names_critical: bool = True,
        usage: x509.KeyUsage | None = DIGITAL_SIGNATURE,
        purposes: x509.ExtendedKeyUsage | None = CODE_SIGNING,
        claims: dict[str, str] | None = None,
        extensions: Sequence[tuple[x509.ExtensionType, bool]] = (),
        not_before: datetime = NOW - timedelta(minutes=1),
        not_after: datetime = NOW + timedelta(minutes=9),
        subject: x509.Name | None = None,
        issuer: str = "issuing",
        issuing_key: str = "p256-ca",
        hash_name: str = "sha256",
        scts: Sequence[dict[str, object]] = ({},),
    ) -> bytes:
        """Issue a leaf for a key, or for `public`, of which no private key need exist.

        Each item of `scts` is an embedded SCT with what is changed in it.
        """
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([]) if subject is None else subject)
            .issuer_name(x509_name(issuer))
            .public_key(public or private_key(key).public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(not_before)
            .not_valid_after(not_after)
        )
        if usage is not None:
            builder = builder.add_extension(usage, critical=True)
        if purposes is not None:
            builder = builder.add_extension(purposes, critical=False)
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=names_critical)
        found = {"issuer-v1": OIDC_ISSUER, "issuer": OIDC_ISSUER} if claims is None else claims
        for extension, critical in [*map(claim, found, found.values()), *extensions]:
            builder = builder.add_extension(extension, critical=critical)
        signing_key, algorithm = private_key(issuing_key), _HASHES[hash_name]
        if scts:
            tbs = builder.sign(signing_key, algorithm).tbs_certificate_bytes
            value = sct_list_extension([self.sct(tbs, **changes) for changes in scts])
            builder = builder.add_extension(
                x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.11129.2.4.2"), value), False
            )
        return builder.sign(signing_key, algorithm).public_bytes(Encoding.DER)

    def timestamp(self, signature: bytes, time: datetime = NOW) -> bytes:
        query = parse_request(build_request(hashlib.sha256(signature).digest()))
        signer = token_signer(self.tsa_chain, lambda data: sign("p256-tsa", data), hash_algorithm=SHA2_256)
        return build_response(query, signer, time=time, serial=2**100, policy="1.3.6.1.4.1.57264.2")

    def bundle(self, message: bytes = MESSAGE, *, key: str = "p256-leaf", **changes: object) -> Bundle:
        """Sign a message; `changes` replace fields of the bundle, and `certificate` the leaf signed under."""
        algorithm = public_key(key).algorithm.hash
        signature = sign(key, message)
        digest = algorithm.digest(message)
        certificate = changes.pop("certificate", None) or self.certificate(key=key)
        body = hashedrekord_v002_body(
            digest, algorithm, signature, public_key(key).algorithm.key_details, certificate=certificate
        )
        fields = {
            "certificate": certificate,
            "message_signature": MessageSignature(algorithm, digest, signature),
            "tlog_entries": (v2_entry(body),),
            "timestamps": (self.timestamp(signature),),
            **changes,
        }
        return Bundle(**fields)

    def key_bundle(self, message: bytes = MESSAGE, *, key: str = "p256-bare", **changes: object) -> Bundle:
        """Sign a message with a bare key."""
        signature, algorithm = sign(key, message), public_key(key).algorithm
        digest = algorithm.hash.digest(message)
        body = hashedrekord_v002_body(
            digest, algorithm.hash, signature, algorithm.key_details, public_key=public_key(key).spki
        )
        fields = {
            "public_key_hint": "hint",
            "message_signature": MessageSignature(algorithm.hash, digest, signature),
            "tlog_entries": (v2_entry(body),),
            **changes,
        }
        return Bundle(**fields)

    def v1_bundle(self, message: bytes = MESSAGE, *, version: str = BUNDLE_V03, **changes: object) -> Bundle:
        """Sign a message and log it in Rekor v1, whose promise gives the time."""
        signature, certificate = sign("p256-leaf", message), self.certificate()
        digest = hashlib.sha256(message).digest()
        body = hashedrekord_v001_body(digest, signature, certificate_pem(certificate))
        fields = {
            "media_type": version,
            "certificate": certificate,
            "message_signature": MessageSignature(SHA2_256, digest, signature),
            "tlog_entries": (v1_entry(body, proof=version != BUNDLE_V01),),
            **changes,
        }
        return Bundle(**fields)

    def attestation(
        self,
        statement: dict[str, object] | bytes | None = None,
        *,
        payload_type: str = IN_TOTO_PAYLOAD_TYPE,
        **changes: object,
    ) -> Bundle:
        """Sign a statement about MESSAGE."""
        payload = (
            statement if isinstance(statement, bytes) else json.dumps(statement or a_statement()).encode()
        )
        signature, certificate = sign("p256-leaf", pae(payload_type, payload)), self.certificate()
        body = hashedrekord_v002_body(
            hashlib.sha256(pae(payload_type, payload)).digest(),
            SHA2_256,
            signature,
            "PKIX_ECDSA_P256_SHA_256",
            certificate=certificate,
        )
        fields = {
            "certificate": certificate,
            "envelope": Envelope(
                payload=payload, payload_type=payload_type, signatures=(EnvelopeSignature(signature),)
            ),
            "tlog_entries": (v2_entry(body),),
            "timestamps": (self.timestamp(signature),),
            **changes,
        }
        return Bundle(**fields)


def artifact(message: bytes = MESSAGE) -> Artifact:
    return Artifact.from_bytes(message)


def a_statement(message: bytes = MESSAGE) -> dict[str, object]:
    return {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": "artifact", "digest": {"sha256": hashlib.sha256(message).hexdigest()}}],
        "predicateType": "https://example.com/tested/v1",
        "predicate": {"tested": True},
    }


def claim(name: str, value: str) -> tuple[x509.UnrecognizedExtension, bool]:
    row = _ROWS[name]
    return x509.UnrecognizedExtension(row.oid, value.encode() if row.raw else asn1.encode_der(value)), False


def authority(name: str, chain: tuple[bytes, ...], valid_for: Validity) -> CertificateAuthority:
    return CertificateAuthority(
        organization="test", common_name=name, uri=f"{URL}/{name}", certificates=chain, valid_for=valid_for
    )


def v2_log(key: str = "ed25519-log", host: str = HOST, valid_for: Validity | None = None) -> TransparencyLog:
    found = public_key(key)
    return TransparencyLog(
        base_url=f"http://{host}:8080",
        key=found,
        key_details=found.algorithm.key_details,
        log_id=note_key_hash(host, found),
        valid_for=valid_for or Validity(BEGINNING),
    )


def v1_log(key: str = "p256-log") -> TransparencyLog:
    found = public_key(key)
    return TransparencyLog(
        base_url="http://rekor.local:3000",
        key=found,
        key_details=found.algorithm.key_details,
        log_id=found.key_id,
        valid_for=Validity(BEGINNING),
    )


def ct_log(key: str = "p256-ct", valid_for: Validity | None = None) -> TransparencyLog:
    found = public_key(key)
    return TransparencyLog(
        base_url=f"{URL}/ctlog",
        key=found,
        key_details=found.algorithm.key_details,
        log_id=found.key_id,
        valid_for=valid_for or Validity(BEGINNING),
    )


def signed_checkpoint(checkpoint: Checkpoint, key_name: str, key: str) -> bytes:
    text = checkpoint.to_text()
    signature = NoteSignature(
        key_name, note_key_hash(key_name, public_key(key))[:4], sign(key, text.encode())
    )
    return Note(text, (signature,)).to_bytes()


def inclusion_proof(
    body: bytes, *, origin: str, key_name: str, key: str, index: int = 3, size: int = 6
) -> InclusionProof:
    """Log `body` at `index` of a tree of `size`, and prove it."""
    growth = Growth(0, ())
    for position in range(size):
        growth.append(leaf_hash(body if position == index else b"another entry %d" % position))
    root = growth.root()
    return InclusionProof(
        log_index=index,
        root_hash=root,
        tree_size=size,
        hashes=tuple(growth.proofs().inclusion_proof(index)),
        checkpoint=signed_checkpoint(Checkpoint(origin, size, root), key_name, key),
    )


def v2_entry(
    body: bytes, *, host: str = HOST, key: str = "ed25519-log", **changes: object
) -> TransparencyLogEntry:
    proof = inclusion_proof(body, origin=host, key_name=host, key=key)
    head = json.loads(body)
    entry = TransparencyLogEntry(
        log_index=proof.log_index,
        log_id=note_key_hash(host, public_key(key)),
        kind=head["kind"],
        version=head["apiVersion"],
        inclusion_proof=proof,
        canonicalized_body=body,
    )
    return msgspec.structs.replace(entry, **changes)


def v1_entry(
    body: bytes, *, time: datetime = NOW, proof: bool = True, promise: bool = True, **changes: object
) -> TransparencyLogEntry:
    host, key = "rekor.local", "p256-log"
    head = json.loads(body)
    log_index, log_id, seconds = 1_000_003, public_key(key).key_id, int(time.timestamp())
    entry = TransparencyLogEntry(
        log_index=log_index,
        log_id=log_id,
        kind=head["kind"],
        version=head["apiVersion"],
        integrated_time=seconds,
        inclusion_promise=signed_entry_timestamp(body, seconds, log_id, log_index) if promise else None,
        inclusion_proof=inclusion_proof(body, origin=f"{host} - {TREE_ID}", key_name=host, key=key)
        if proof
        else None,
        canonicalized_body=body,
    )
    return msgspec.structs.replace(entry, **changes)


def signed_entry_timestamp(body: bytes, seconds: int, log_id: bytes, log_index: int) -> bytes:
    payload = {
        "body": base64.b64encode(body).decode(),
        "integratedTime": seconds,
        "logID": log_id.hex(),
        "logIndex": log_index,
    }
    return sign("p256-log", rfc8785.dumps(payload))


def certificate_pem(der: bytes) -> bytes:
    return x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM)


def hashedrekord_v001_body(digest: bytes, signature: bytes, pem: bytes) -> bytes:
    spec = {
        "data": {"hash": {"algorithm": "sha256", "value": digest.hex()}},
        "signature": {"content": b64(signature), "publicKey": {"content": b64(pem)}},
    }
    return rfc8785.dumps({"apiVersion": "0.0.1", "kind": "hashedrekord", "spec": spec})


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def log_key_hash(host: str = HOST, key: str = "ed25519-log") -> bytes:
    return ed25519_key_hash(host, public_key(key).spki[-32:])
