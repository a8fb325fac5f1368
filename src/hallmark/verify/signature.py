"""Step 9: the signature itself, over the artifact or over a statement about it."""

import msgspec

from hallmark.core.algorithms import ALGORITHMS, SHA2_256, SHA2_384, SHA2_512, HashAlgorithm
from hallmark.core.bundle import Bundle
from hallmark.core.dsse import IN_TOTO_PAYLOAD_TYPE, Envelope
from hallmark.core.entries.signed_content import SignedContent
from hallmark.core.keys import PublicKey
from hallmark.core.statement import Statement, parse_statement
from hallmark.core.x509.certificate import certificate_key, load_certificate
from hallmark.errors import InvalidSignature, MalformedInput


class Artifact(msgspec.Struct, frozen=True, kw_only=True):
    """What was signed, by its digest. `message` is needed only for keys that sign messages (Ed25519)."""

    hash_algorithm: HashAlgorithm
    digest: bytes
    message: bytes | None = None

    def __post_init__(self) -> None:
        if len(self.digest) != self.hash_algorithm.size:
            raise MalformedInput(
                f"a {self.hash_algorithm.name} digest has {self.hash_algorithm.size} bytes, "
                f"not {len(self.digest)}",
                code="malformed_digest",
            )

    @classmethod
    def from_bytes(cls, message: bytes, hash_algorithm: HashAlgorithm = SHA2_256) -> "Artifact":
        """Hash a message that is in memory."""
        return cls(hash_algorithm=hash_algorithm, digest=hash_algorithm.digest(message), message=message)


def required_hash(bundle: Bundle, key: PublicKey | None = None) -> HashAlgorithm:
    """Say with which hash the artifact must be hashed to verify this bundle.

    `key` is the key of a bundle without certificate. Nothing is verified by this. Raises `MalformedInput`.
    """
    if bundle.envelope is not None:
        return _subject_hash(bundle.envelope)
    if bundle.certificate is not None:
        key = certificate_key(load_certificate(bundle.certificate))
    if key is None:
        raise MalformedInput("the bundle holds no certificate, so its public key must be given")
    return _message_hash(bundle, key)


def _subject_hash(envelope: Envelope) -> HashAlgorithm:
    """The strongest-known-first hash that the statement's subjects have; SHA-256 where nothing fits."""
    if envelope.payload_type != IN_TOTO_PAYLOAD_TYPE:
        return SHA2_256
    subjects = parse_statement(envelope.payload).subjects
    names = {name for subject in subjects for name, _ in subject.digests}
    return next((item for item in (SHA2_256, SHA2_512, SHA2_384) if item.name in names), SHA2_256)


def _message_hash(bundle: Bundle, key: PublicKey) -> HashAlgorithm:
    """The key's own hash, or the one that the bundle names if the registry has it for this key."""
    default = key.algorithm.hash or SHA2_256
    named = bundle.message_signature.hash_algorithm if bundle.message_signature else None
    allowed = any(
        (row.key_type, row.parameter, row.hash) == (key.algorithm.key_type, key.algorithm.parameter, named)
        for row in ALGORITHMS.values()
    )
    return named if named is not None and allowed else default


def signed_content(bundle: Bundle, artifact: Artifact, key: PublicKey) -> SignedContent:
    """Gather what the signature is over, for its check and for the comparison with log entries.

    Raises `InvalidSignature` when the artifact is not the one that the bundle names.
    """
    if bundle.envelope is not None:
        hash_algorithm = key.algorithm.hash or SHA2_256
        digest = hash_algorithm.digest(bundle.envelope.pae())
    else:
        hash_algorithm, digest = _message_hash(bundle, key), artifact.digest
        _check_message_digest(bundle, artifact, hash_algorithm)
    return SignedContent(
        certificate=bundle.certificate,
        public_key=key,
        signature=bundle.signature,
        hash_algorithm=hash_algorithm,
        digest=digest,
        envelope=bundle.envelope,
    )


def _check_message_digest(bundle: Bundle, artifact: Artifact, expected: HashAlgorithm) -> None:
    if artifact.hash_algorithm != expected:
        raise InvalidSignature(
            f"the signature is over a {expected.name} digest, not {artifact.hash_algorithm.name}",
            code="wrong_hash",
        )
    named = bundle.message_signature
    if named is None or named.hash_algorithm is None:
        return
    if (named.hash_algorithm, named.digest) != (artifact.hash_algorithm, artifact.digest):
        raise InvalidSignature(
            f"the bundle is of an artifact with digest {named.digest.hex()}, not {artifact.digest.hex()}",
            code="wrong_artifact",
        )


def verify_signature(content: SignedContent, artifact: Artifact) -> Statement | None:
    """Check the signature; returns the statement of an attestation, which must be about the artifact.

    Raises `InvalidSignature`, and `MalformedInput` for a statement that does not parse.
    """
    if content.envelope is None:
        _verify(content, artifact.message)
        return None
    _verify(content, content.envelope.pae())
    return _statement_about(content.envelope, artifact)


def _verify(content: SignedContent, message: bytes | None) -> None:
    key = content.public_key
    if key.algorithm.prehash:
        key.verify_digest(content.signature, content.digest, hash_algorithm=content.hash_algorithm)
    elif message is None:
        raise InvalidSignature(
            f"{key.algorithm.name} signs messages, so the artifact itself is needed, not its digest",
            code="message_needed",
        )
    else:
        _check_message(content, message)
        key.verify(content.signature, message)


def _check_message(content: SignedContent, message: bytes) -> None:
    """An artifact's message must be the one its digest is of, or another one could be passed off."""
    if content.hash_algorithm.digest(message) != content.digest:
        raise InvalidSignature("the message and the digest are of different artifacts", code="wrong_artifact")


def _statement_about(envelope: Envelope, artifact: Artifact) -> Statement:
    if envelope.payload_type != IN_TOTO_PAYLOAD_TYPE:
        raise InvalidSignature(
            f"payloads of type {envelope.payload_type[:100]!r} are not about artifacts",
            code="unsupported_payload_type",
        )
    statement = parse_statement(envelope.payload)
    wanted = (artifact.hash_algorithm.name, artifact.digest.hex())
    if not any(wanted in subject.digests for subject in statement.subjects):
        raise InvalidSignature(
            f"the statement is not about an artifact with {wanted[0]} digest {wanted[1]}",
            code="wrong_artifact",
        )
    return statement
