"""Decide whether a bundle is true, by the steps of the Sigstore client specification.

    verifier = Verifier(parse_trusted_root(root_json))
    bundle = parse_bundle(bundle_json)
    artifact = Artifact.from_bytes(message, required_hash(bundle))
    verified = verifier.verify(bundle, artifact, Identity(identity=..., oidc_issuer=...))

Nothing here opens a socket or looks at a clock: what counts is when the signature was made.
"""

from datetime import datetime
from typing import Protocol

from hallmark.core.bundle import Bundle
from hallmark.core.entries.signed_content import SignedContent
from hallmark.core.keys import PublicKey
from hallmark.core.trusted_root import TrustedRoot
from hallmark.core.x509.certificate import CertificateIdentity
from hallmark.core.x509.chain import check_chain_times
from hallmark.core.x509.own_certificate import find_own_path
from hallmark.errors import InvalidSignature
from hallmark.verify.certificate import (
    certificate_chain,
    certificate_transparency,
    own_certificate,
    signing_certificate,
)
from hallmark.verify.log_entries import CheckpointPolicy, log_entries
from hallmark.verify.signature import (
    Artifact,
    SignedArtifact,
    required_hash,
    required_hashes,
    signed_content,
    verify_signature,
)
from hallmark.verify.thresholds import Thresholds, thresholds_of
from hallmark.verify.times import check_times, established_times
from hallmark.verify.verified import EstablishedTime, Verified, VerifiedEntry

__all__ = [
    "Artifact",
    "CheckpointPolicy",
    "EstablishedTime",
    "IdentityPolicy",
    "Thresholds",
    "Verified",
    "VerifiedEntry",
    "Verifier",
    "required_hash",
    "required_hashes",
]


class IdentityPolicy(Protocol):
    """Whom to believe."""

    def check(self, identity: CertificateIdentity) -> None:
        """Check a proven identity; raises `UntrustedIdentity`."""
        ...


class Verifier:
    """Verifies bundles against one trusted root.

    Without `thresholds`, one of each kind of evidence that the instance has is demanded. `checkpoints` is
    what checkpoints must carry beside the log's signature: see `verify.witnesses`.
    """

    def __init__(
        self,
        trusted_root: TrustedRoot,
        thresholds: Thresholds | None = None,
        *,
        checkpoints: CheckpointPolicy | None = None,
    ) -> None:
        self._root = trusted_root
        self._thresholds = thresholds or thresholds_of(trusted_root)
        if checkpoints is not None and self._thresholds.tlog < 1:
            raise ValueError("without a log entry there is no checkpoint to demand anything of")
        self._checkpoints = checkpoints

    def verify(self, bundle: Bundle, artifact: Artifact, policy: IdentityPolicy) -> Verified:
        """Verify a bundle that was signed with a certificate.

        Raises `VerificationError` in its kinds, and `MalformedInput`. The numbers are the specification's
        steps. The identity comes last, so that `UntrustedIdentity` is said only of what is true otherwise.
        """
        leaf = signing_certificate(bundle)  # 0; a Bundle is well-formed by construction
        times = established_times(bundle, self._root)  # 1 timestamps, 6 promises
        check_times(bundle, times, self._thresholds.timestamps)
        path = certificate_chain(leaf, self._root, times)  # 2, 7
        scts = certificate_transparency(leaf, path, self._root, self._thresholds.scts)  # 3
        content = signed_content(bundle, artifact, leaf.public_key)
        entries = self._log_entries(bundle, content, times)  # 5, 8
        signed = verify_signature(content, artifact)  # 9
        policy.check(leaf.identity)  # 4
        return _verified(leaf.identity, times, entries, scts, signed)

    def verify_with_chain(
        self,
        bundle: Bundle,
        artifact: Artifact,
        policy: IdentityPolicy,
        *,
        chain: tuple[bytes, ...],
        now: datetime,
    ) -> Verified:
        """Verify a bundle that was signed under a CA of one's own, which the caller trusts.

        `chain` is what `parse_own_chain` gives. The certificate must be valid at every established time, and
        where there is none, `now`. SCTs are not asked for. Raises as `verify` does.
        """
        leaf = own_certificate(bundle)  # 0
        times = established_times(bundle, self._root)  # 1, 6
        path = find_own_path(leaf, chain, bundle.intermediates)  # 2
        check_chain_times(leaf, path, [item.time for item in times] or [now])  # 7
        content = signed_content(bundle, artifact, leaf.public_key)
        entries = self._log_entries(bundle, content, times)  # 5, 8
        signed = verify_signature(content, artifact)  # 9
        policy.check(leaf.identity)  # 4
        return _verified(leaf.identity, times, entries, (), signed)

    def verify_with_key(self, bundle: Bundle, artifact: Artifact, key: PublicKey) -> Verified:
        """Verify a bundle that was signed with a bare key, which the caller trusts.

        There is no chain, no SCT and no identity, and times are not needed. Raises as `verify` does.
        """
        if bundle.certificate is not None:  # 0
            raise InvalidSignature(
                "the bundle is signed with a certificate, not with a bare key",
                code="no_public_key",
                hint="name the identity to verify it with",
            )
        times = established_times(bundle, self._root)  # 1, 6
        content = signed_content(bundle, artifact, key)
        entries = self._log_entries(bundle, content, times)  # 5, 8
        signed = verify_signature(content, artifact)  # 9
        return _verified(key.key_id.hex(), times, entries, (), signed)

    def _log_entries(
        self, bundle: Bundle, content: SignedContent, times: tuple[EstablishedTime, ...]
    ) -> tuple[VerifiedEntry, ...]:
        return log_entries(
            bundle,
            content,
            self._root,
            times,
            required=self._thresholds.tlog,
            checkpoints=self._checkpoints,
        )


def _verified(
    signer: CertificateIdentity | str,
    times: tuple[EstablishedTime, ...],
    entries: tuple[VerifiedEntry, ...],
    sct_log_ids: tuple[bytes, ...],
    signed: SignedArtifact,
) -> Verified:
    return Verified(
        signer=signer,
        times=times,
        entries=entries,
        sct_log_ids=sct_log_ids,
        hash_algorithm=signed.hash_algorithm,
        digest=signed.digest,
        statement=signed.statement,
    )
