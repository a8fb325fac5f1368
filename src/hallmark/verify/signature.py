"""Step 9: the signature itself, over the artifact or over a statement about it."""

from typing import Final

import msgspec

from hallmark.core.algorithms import ALGORITHMS, SHA2_256, SHA2_384, SHA2_512, HashAlgorithm
from hallmark.core.bundle import Bundle
from hallmark.core.dsse import IN_TOTO_PAYLOAD_TYPE, Envelope
from hallmark.core.entries.signed_content import SignedContent
from hallmark.core.keys import PublicKey
from hallmark.core.statement import Statement, Subject, parse_statement
from hallmark.core.x509.certificate import certificate_key, load_certificate
from hallmark.errors import InvalidSignature, MalformedInput

_STRONGEST_FIRST: Final = (SHA2_512, SHA2_384, SHA2_256)


class Artifact(msgspec.Struct, frozen=True, kw_only=True):
    """What was signed, by its digest.

    `others` holds digests of the same bytes with other hash functions: the subjects of a statement need not
    all use one. `message` is needed only for keys that sign messages (Ed25519); with it, every digest is
    known.
    """

    hash_algorithm: HashAlgorithm
    digest: bytes
    message: bytes | None = None
    others: tuple[tuple[HashAlgorithm, bytes], ...] = ()

    def __post_init__(self) -> None:
        for hash_algorithm, digest in ((self.hash_algorithm, self.digest), *self.others):
            if len(digest) != hash_algorithm.size:
                raise MalformedInput(
                    f"a {hash_algorithm.name} digest has {hash_algorithm.size} bytes, not {len(digest)}",
                    code="malformed_digest",
                )

    @classmethod
    def from_bytes(cls, message: bytes, hash_algorithm: HashAlgorithm = SHA2_256) -> "Artifact":
        """Hash a message that is in memory."""
        return cls(hash_algorithm=hash_algorithm, digest=hash_algorithm.digest(message), message=message)

    def digest_with(self, hash_algorithm: HashAlgorithm) -> bytes | None:
        """Find the artifact's digest with this hash function; None where it is not known."""
        known = ((self.hash_algorithm, self.digest), *self.others)
        found = next((digest for item, digest in known if item == hash_algorithm), None)
        if found is None and self.message is not None:
            return hash_algorithm.digest(self.message)
        return found


class SignedArtifact(msgspec.Struct, frozen=True, kw_only=True):
    """What a signature vouches for: the artifact's digest, and the statement about it for attestations."""

    hash_algorithm: HashAlgorithm
    digest: bytes
    statement: Statement | None = None


def required_hash(bundle: Bundle, key: PublicKey | None = None) -> HashAlgorithm:
    """Say with which hash the artifact must be hashed to verify this bundle: the first of `required_hashes`.

    Enough where the artifact is in memory, see `Artifact.from_bytes`. Raises `MalformedInput`.
    """
    return required_hashes(bundle, key)[0]


def required_hashes(bundle: Bundle, key: PublicKey | None = None) -> tuple[HashAlgorithm, ...]:
    """Say with which hashes the artifact must be hashed to verify this bundle, the strongest first.

    More than one for a statement whose subjects use different ones. `key` is the key of a bundle without
    certificate. Nothing is verified by this. Raises `MalformedInput`.
    """
    if bundle.envelope is not None:
        return _subject_hashes(bundle.envelope)
    if bundle.certificate is not None:
        key = certificate_key(load_certificate(bundle.certificate))
    if key is None:
        raise MalformedInput("the bundle holds no certificate, so its public key must be given")
    return (_message_hash(bundle, key),)


def _subject_hashes(envelope: Envelope) -> tuple[HashAlgorithm, ...]:
    """The strongest hash of each subject that has one we know; SHA-256 where nothing fits."""
    if envelope.payload_type != IN_TOTO_PAYLOAD_TYPE:
        return (SHA2_256,)
    subjects = parse_statement(envelope.payload).subjects
    strongest = {next(iter(_known_digests(subject)), None) for subject in subjects}
    return tuple(item for item in _STRONGEST_FIRST if item in strongest) or (SHA2_256,)


def _known_digests(subject: Subject) -> dict[HashAlgorithm, str]:
    """The digests of a subject that can vouch for an artifact, the strongest first.

    What is not in the registry (SHA-1, a git tree) vouches for nothing.
    """
    named = dict(subject.digests)
    return {item: named[item.name] for item in _STRONGEST_FIRST if item.name in named}


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
        hash_algorithm = _message_hash(bundle, key)
        digest = _message_digest(bundle, artifact, hash_algorithm)
    return SignedContent(
        certificate=bundle.certificate,
        public_key=key,
        signature=bundle.signature,
        hash_algorithm=hash_algorithm,
        digest=digest,
        envelope=bundle.envelope,
    )


def _message_digest(bundle: Bundle, artifact: Artifact, expected: HashAlgorithm) -> bytes:
    digest = artifact.digest_with(expected)
    if digest is None:
        raise InvalidSignature(
            f"the signature is over a {expected.name} digest, not {artifact.hash_algorithm.name}",
            code="wrong_hash",
        )
    named = bundle.message_signature
    if named is None or named.hash_algorithm is None:
        return digest
    if (named.hash_algorithm, named.digest) != (expected, digest):
        raise InvalidSignature(
            f"the bundle is of an artifact with {named.hash_algorithm.name} digest {named.digest.hex()}, "
            f"not {digest.hex()}",
            code="wrong_artifact",
        )
    return digest


def verify_signature(content: SignedContent, artifact: Artifact) -> SignedArtifact:
    """Check the signature; an attestation's statement must be about the artifact.

    Raises `InvalidSignature`, and `MalformedInput` for a statement that does not parse.
    """
    if content.envelope is None:
        _verify(content, artifact.message)
        return SignedArtifact(hash_algorithm=content.hash_algorithm, digest=content.digest)
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


def _statement_about(envelope: Envelope, artifact: Artifact) -> SignedArtifact:
    if envelope.payload_type != IN_TOTO_PAYLOAD_TYPE:
        raise InvalidSignature(
            f"payloads of type {envelope.payload_type[:100]!r} are not about artifacts",
            code="unsupported_payload_type",
        )
    statement = parse_statement(envelope.payload)
    digests = _digests_for(statement, artifact)
    for subject in statement.subjects:
        named = _known_digests(subject)
        strongest = next((item for item in named if item in digests), None)
        if strongest is not None and named[strongest] == digests[strongest].hex():
            return SignedArtifact(hash_algorithm=strongest, digest=digests[strongest], statement=statement)
    wanted = f"{artifact.hash_algorithm.name} digest {artifact.digest.hex()}"
    weak = _only_weak_digests(statement)
    raise InvalidSignature(
        f"the statement is not about an artifact with {wanted}{weak}",
        code="wrong_artifact",
        hint="ask the publisher for an attestation with a SHA-256 digest of the file" if weak else "",
    )


def _digests_for(statement: Statement, artifact: Artifact) -> dict[HashAlgorithm, bytes]:
    """The artifact's digests with the hashes that the statement's subjects use, as far as they are known."""
    used = {item for subject in statement.subjects for item in _known_digests(subject)}
    found = {item: artifact.digest_with(item) for item in used}
    return {item: digest for item, digest in found.items() if digest is not None}


def _only_weak_digests(statement: Statement) -> str:
    names = sorted({name for subject in statement.subjects for name, _ in subject.digests})
    if any(_known_digests(subject) for subject in statement.subjects):
        return ""
    return f": its subjects have only {', '.join(names[:5])[:80]} digests, which vouch for no file"
