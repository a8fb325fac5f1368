"""Witnesses as a demand: the checkpoint that proves an entry must carry a quorum of cosignatures.

    Verifier(trusted_root, checkpoints=RequiredWitnesses(parse_witness_policy(policy)))

A log can show one history to one person and another to the next; a quorum of witnesses that have seen its
checkpoint, and that it only grew, is the evidence that everybody sees the same one.
"""

from hallmark.core.keys import PublicKey
from hallmark.core.note import parse_note
from hallmark.core.vkey import note_material
from hallmark.core.witness_policy import NONE, WitnessPolicy
from hallmark.errors import ConfigurationError, InvalidProof

_SIGN_AGAIN = (
    "the bundle holds the checkpoint that the log answered before its witnesses signed, or the log has none; "
    "the signer can wait for them with hallmark sign --wait-for-witnesses SECONDS"
)


class RequiredWitnesses:
    """Demands the quorum of a policy (`verify.log_entries.CheckpointPolicy`).

    Raises `ConfigurationError` (`empty_quorum`) for a policy that demands nobody.
    """

    def __init__(self, policy: WitnessPolicy) -> None:
        if policy.quorum == NONE:
            raise ConfigurationError(
                "the witness policy has no quorum",
                code="empty_quorum",
                hint="name a witness or a group in its quorum line, or leave the policy out",
            )
        self._policy = policy

    def check(self, envelope: bytes, origin: str, key: PublicKey) -> tuple[str, ...]:
        """Check a checkpoint that the log with this origin and key has signed; returns who witnessed it.

        Raises `InvalidProof` (`not_witnessed`, `no_witness_quorum`, `log_not_in_policy`) or
        `InvalidSignature`.
        """
        self._check_log(origin, key)
        try:
            return tuple(self._policy.verify_witnessed(parse_note(envelope)))
        except InvalidProof as error:
            raise InvalidProof(
                f"the checkpoint of {origin}: {error.message}", code=error.code, hint=_SIGN_AGAIN
            ) from None

    def _check_log(self, origin: str, key: PublicKey) -> None:
        if not self._policy.logs:
            return
        material = note_material(key)
        if all((log.key.name, log.key.material) != (origin, material) for log in self._policy.logs):
            raise InvalidProof(
                f"the witness policy names logs, but not {origin} with the key of the trusted root",
                code="log_not_in_policy",
                hint="the entry is of a log that the policy does not trust",
            )
