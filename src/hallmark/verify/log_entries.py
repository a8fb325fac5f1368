"""Steps 5 and 8: every entry of a trusted log stands in it, and is about this very signature."""

from typing import Final, Protocol
from urllib.parse import urlsplit

from hallmark.core.bundle import Bundle
from hallmark.core.checkpoint import Checkpoint, verify_checkpoint
from hallmark.core.entries.kinds import parse_entry_body
from hallmark.core.entries.signed_content import SignedContent
from hallmark.core.keys import PublicKey
from hallmark.core.merkle import leaf_hash, verify_inclusion
from hallmark.core.transparency_log_entry import InclusionProof, TransparencyLogEntry
from hallmark.core.trusted_root import TransparencyLog, TrustedRoot
from hallmark.errors import InvalidEntry, InvalidProof, InvalidSignature, TrustError
from hallmark.verify.verified import EstablishedTime, VerifiedEntry

_V1_SEPARATOR: Final = " - "


class CheckpointPolicy(Protocol):
    """What checkpoints must carry beside the signature of their log."""

    def check(self, envelope: bytes, origin: str, key: PublicKey) -> tuple[str, ...]:
        """Check a checkpoint whose log signature holds; returns the names of its witnesses.

        Raises `VerificationError`.
        """
        ...


def log_entries(
    bundle: Bundle,
    content: SignedContent,
    trusted_root: TrustedRoot,
    times: tuple[EstablishedTime, ...],
    *,
    required: int,
    checkpoints: CheckpointPolicy | None = None,
) -> tuple[VerifiedEntry, ...]:
    """Check the bundle's entries; those of unknown logs count for nothing.

    With `checkpoints`, every entry of a trusted log must have a checkpoint that it accepts.
    Inclusion promises have been checked with the times. Raises `InvalidProof`, `InvalidSignature`,
    `InvalidEntry`, `MalformedInput` or, for a log without a host name, `TrustError`; `InvalidEntry` with code
    `no_entry` when fewer than `required` trusted logs are left.
    """
    entries: list[VerifiedEntry] = []
    for entry in bundle.tlog_entries:
        log = _trusted_log(entry, trusted_root, times)
        if log is not None:
            parse_entry_body(entry.kind, entry.version, entry.canonicalized_body).check(content)
            entries.append(_verify_entry(entry, log, checkpoints))
    if len({item.log_id for item in entries}) < required:
        raise InvalidEntry(
            f"{len(entries)} entries of trusted logs vouch for the signature, {required} needed "
            f"(the bundle has {len(bundle.tlog_entries)})",
            code="no_entry",
        )
    return tuple(entries)


def _trusted_log(
    entry: TransparencyLogEntry, trusted_root: TrustedRoot, times: tuple[EstablishedTime, ...]
) -> TransparencyLog | None:
    """The entry's log; None if it is unknown. Its key must count at all the times that we know of."""
    logs = [log for log in trusted_root.tlogs if log.log_id == entry.log_id]
    for log in logs:
        if all(log.valid_for.contains(item.time) for item in times):
            return log
    if logs:
        raise InvalidEntry(
            f"the key of log {logs[0].name} is not valid at the time of the signature",
            code="outside_validity",
        )
    return None


def _verify_entry(
    entry: TransparencyLogEntry, log: TransparencyLog, checkpoints: CheckpointPolicy | None
) -> VerifiedEntry:
    proof = entry.inclusion_proof
    origin, tree_size = "", 0
    witnesses: tuple[str, ...] = ()
    if proof is not None:  # bundles of v0.1 may lack it; then the promise alone vouches
        _verify_path(entry, proof)
        checkpoint = _verify_checkpoint(proof, log)
        _check_index(entry, proof, checkpoint)
        origin, tree_size = checkpoint.origin, checkpoint.size
    if checkpoints is not None:
        witnesses = _check_witnesses(proof, origin, log, checkpoints)
    return VerifiedEntry(
        log_id=entry.log_id,
        log_index=_proven_index(entry),
        kind=entry.kind,
        version=entry.version,
        log=log.name,
        origin=origin,
        tree_size=tree_size,
        witnesses=witnesses,
    )


def _check_index(entry: TransparencyLogEntry, proof: InclusionProof, checkpoint: Checkpoint) -> None:
    """Only Rekor v1, whose trees are shards, counts an entry otherwise than its proof does."""
    if entry.log_index != proof.log_index and not _is_v1_origin(checkpoint.origin):
        raise InvalidProof(
            f"the entry calls itself {entry.log_index}, its inclusion proof is of {proof.log_index}",
            code="wrong_index",
        )


def _proven_index(entry: TransparencyLogEntry) -> int:
    """The index that the log's promise states, or else the one in the tree: anybody can write another."""
    proof = entry.inclusion_proof
    return entry.log_index if proof is None or entry.inclusion_promise is not None else proof.log_index


def _check_witnesses(
    proof: InclusionProof | None, origin: str, log: TransparencyLog, checkpoints: CheckpointPolicy
) -> tuple[str, ...]:
    if proof is None:
        raise InvalidProof(
            f"the entry of {log.name} has no checkpoint that witnesses could have signed",
            code="not_witnessed",
            hint="a promise of the log alone proves it; sign again with a log that has witnesses",
        )
    return checkpoints.check(proof.checkpoint, origin, log.key)


def _verify_path(entry: TransparencyLogEntry, proof: InclusionProof) -> None:
    leaf = leaf_hash(entry.canonicalized_body)
    verify_inclusion(leaf, proof.log_index, proof.tree_size, proof.hashes, proof.root_hash)


def _verify_checkpoint(proof: InclusionProof, log: TransparencyLog) -> Checkpoint:
    """Check that the log signed this tree: the root hash and size that the proof leads to."""
    if not proof.checkpoint:
        raise InvalidProof(
            "the inclusion proof has no checkpoint, so nothing says that the log has this root hash",
            code="no_checkpoint",
            hint="the program that wrote the bundle left it out; ask the publisher to sign again",
        )
    origin, key_name = _expected_origin(proof.checkpoint, log)
    try:
        checkpoint = verify_checkpoint(proof.checkpoint, origin=origin, key_name=key_name, key=log.key)
    except InvalidSignature as error:
        raise InvalidSignature(
            f"the checkpoint of {log.name}: {error.message}", code="invalid_checkpoint"
        ) from None
    if (checkpoint.root, checkpoint.size) != (proof.root_hash, proof.tree_size):
        raise InvalidProof("the inclusion proof is for another tree than its checkpoint", code="wrong_tree")
    return checkpoint


def _expected_origin(checkpoint: bytes, log: TransparencyLog) -> tuple[str, str]:
    """The origin and key name that the checkpoint must have.

    Rekor v1 writes `<host> - <tree id>` and signs as `<host>`; the trusted root knows neither. Rekor v2
    writes the host name of its base URL, without the port, for both.
    """
    found = checkpoint.partition(b"\n")[0].decode("utf-8", errors="replace")
    if _is_v1_origin(found):
        return found, found.rpartition(_V1_SEPARATOR)[0]
    name = urlsplit(log.base_url).hostname
    if not name:
        raise TrustError(
            f"the trusted root gives the log {log.name} no base URL with a host, which its checkpoints name",
            hint="the bundle is not to blame: take the trusted root from whoever runs the log",
        )
    return name, name


def _is_v1_origin(origin: str) -> bool:
    _, separator, tree_id = origin.rpartition(_V1_SEPARATOR)
    return bool(separator) and tree_id.isascii() and tree_id.isdigit()
