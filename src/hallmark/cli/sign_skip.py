"""What `hallmark sign --skip-signed` demands of the bundle that is there: what signing would give now."""

from pathlib import Path
from typing import Final

from msgspec.structs import replace

from hallmark.cli.sign_jobs import is_bundle
from hallmark.client.renewing import RenewingVerifiers, RootMaterial
from hallmark.client.streams import digest_input_with, read_input
from hallmark.client.witnessed import WitnessWait
from hallmark.core.bundle import MAX_BUNDLE_BYTES, Bundle, parse_bundle
from hallmark.core.trusted_root import TrustedRoot
from hallmark.errors import HallmarkError, InvalidProof, ProofPending, TrustError
from hallmark.policy.identity import unsafe_any_identity
from hallmark.verify.thresholds import thresholds_of
from hallmark.verify.verifier import Artifact, CheckpointPolicy, Verified, Verifier, required_hash

_UNWITNESSED: Final = frozenset({"not_witnessed", "no_witness_quorum"})
_OVERWRITE: Final = "sign this file again with --overwrite in place of --skip-signed"


class SignedFiles:
    """Verifies bundles that are there; safe to share between threads.

    `witnesses` is what a new bundle would wait for, so a bundle without their cosignatures is not skipped.
    """

    def __init__(self, material: RootMaterial, witnesses: WitnessWait | None) -> None:
        self._update_command = material.update_command
        self._witnesses = witnesses
        self._verifiers = RenewingVerifiers(material, lambda roots: tuple(map(Verifier, roots)))
        self._witnessed: RenewingVerifiers | None = None
        if witnesses is not None and witnesses.policy is not None:
            from hallmark.verify.witnesses import RequiredWitnesses

            policy = RequiredWitnesses(witnesses.policy)
            self._witnessed = RenewingVerifiers(
                material, lambda roots: tuple(_demanding(root, policy) for root in roots)
            )

    def verify(self, file: Path, bundle_file: Path) -> Verified:
        """Verify the bundle of a file; any error says that the file is not skipped, and what to do."""
        try:
            bundle = parse_bundle(read_input(bundle_file, max_bytes=MAX_BUNDLE_BYTES))
            digest = digest_input_with(file, (required_hash(bundle),))[0]
            artifact = Artifact(hash_algorithm=digest.hash_algorithm, digest=digest.value)
            return self._verify(bundle, artifact)
        except ProofPending:
            raise
        except TrustError as error:
            raise TrustError(
                f"whether the bundle that is there holds is not known: {error.message}",
                code=error.code,
                hint=f"{self._update_command}, then run the command again",
            ) from None
        except HallmarkError as error:
            raise type(error)(
                f"the bundle that is there does not hold: {error.message}",
                code=error.code,
                hint=_OVERWRITE if is_bundle(bundle_file) else f"move {bundle_file} away, then sign again",
            ) from None

    def _verify(self, bundle: Bundle, artifact: Artifact) -> Verified:
        """Witnesses come last, so that nothing is called pending that is false."""

        def verify(verifier: Verifier) -> Verified:
            return verifier.verify(bundle, artifact, unsafe_any_identity)

        verified = self._verifiers.verify(bundle, verify)
        if self._witnesses is None:
            return verified
        if self._witnessed is not None:
            try:
                return self._witnessed.verify(bundle, verify)
            except InvalidProof as error:
                if error.code not in _UNWITNESSED:
                    raise
                raise _pending(error.message) from None
        if not all(map(self._witnesses.is_witnessed, bundle.tlog_entries)):
            raise _pending("its checkpoint carries no cosignature")
        return verified


def _demanding(root: TrustedRoot, checkpoints: CheckpointPolicy) -> Verifier:
    """Witnesses sign the checkpoint of a log entry, so there must be one."""
    thresholds = thresholds_of(root)
    return Verifier(root, replace(thresholds, tlog=max(1, thresholds.tlog)), checkpoints=checkpoints)


def _pending(reason: str) -> ProofPending:
    return ProofPending(
        f"the bundle that is there is not witnessed: {reason}", code="not_witnessed", hint=_OVERWRITE
    )
