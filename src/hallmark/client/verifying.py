"""Verifying files: find what vouches for each, hash it once, and judge every signature by itself."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Final

import msgspec

from hallmark.client.artifact import Digest, Watch, unwatched
from hallmark.client.files import file_error
from hallmark.client.renewing import RenewingVerifiers
from hallmark.client.signature_files import Signatures, find_signatures, read_signatures
from hallmark.client.streams import descriptor_of, digest_input_with, read_input
from hallmark.core.algorithms import HashAlgorithm
from hallmark.core.bundle import Bundle
from hallmark.core.keys import PublicKey
from hallmark.core.signature_file import FoundBundle
from hallmark.errors import (
    ConfigurationError,
    HallmarkError,
    InvalidSignature,
    SignatureNotFound,
)
from hallmark.policy.identity import unsafe_any_identity
from hallmark.verify.verifier import Artifact, IdentityPolicy, Verified, Verifier, required_hashes

_MAX_MESSAGE_BYTES: Final = 64 << 20


class Signer(msgspec.Struct, frozen=True, kw_only=True):
    """Who must have signed: an identity policy, a key, or a policy under a CA of one's own (`chain`).

    Neither policy nor key shows who did, and proves nothing.
    """

    policy: IdentityPolicy | None = None
    key: PublicKey | None = None
    chain: tuple[bytes, ...] = ()


class Item(msgspec.Struct, frozen=True, kw_only=True):
    """One thing to verify: a file or a digest, and the file with its signatures where one is named."""

    name: str
    path: Path | None
    digest: Digest | None = None
    bundle: Path | None = None


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What came of one signature of an item: what was verified, or the error.

    `bundle` is the file with the signature, `place` where in it the signature stands if there are several.
    """

    item: Item
    bundle: Path | None = None
    place: str = ""
    verified: Verified | None = None
    error: HallmarkError | None = None


class FileVerifier(msgspec.Struct, frozen=True, kw_only=True):
    """Verifies files as signed by one signer, against the trusted root of one instance or of several.

    `now` is when a certificate of one's own CA must be valid if nothing proves a time; `watch` is told how
    far a file has been read.
    """

    verifiers: RenewingVerifiers
    signer: Signer
    now: datetime
    watch: Watch = unwatched

    def verify(self, item: Item) -> tuple[Outcome, ...]:
        """Verify every signature of an item; nothing is raised, and there is at least one outcome."""
        try:
            if item.path is not None:
                _check_file(item.path)
            signatures = _signatures(item)
            _check_keys(signatures, self.signer)
            artifact = _artifact(item, signatures, self.signer.key, self.watch)
        except HallmarkError as error:
            return (Outcome(item=item, bundle=item.bundle, error=error),)
        except OSError as error:  # a name too long, a folder that may not be entered
            failed = file_error(error, Path(item.name), doing="read")
            return (Outcome(item=item, bundle=item.bundle, error=failed),)
        judged = [self._judge(item, signatures, found, artifact) for found in signatures.file.bundles]
        broken = [
            Outcome(item=item, bundle=signatures.path, place=part.place, error=part.error)
            for part in signatures.file.broken
        ]
        return tuple(sorted((*judged, *broken), key=lambda outcome: _number(outcome.place)))

    def _judge(self, item: Item, signatures: Signatures, found: FoundBundle, artifact: Artifact) -> Outcome:
        outcome = Outcome(item=item, bundle=signatures.path, place=found.place)
        try:
            if found.bundle.certificate is None and self.signer.key is None:
                raise _key_needed(signatures.path)
            verified = self.verifiers.verify(
                found.bundle, lambda verifier: self._verify(verifier, found.bundle, artifact)
            )
        except InvalidSignature as error:
            return msgspec.structs.replace(outcome, error=_explain(error, signatures.path))
        except HallmarkError as error:
            return msgspec.structs.replace(outcome, error=_name_kind(error, signatures))
        return msgspec.structs.replace(outcome, verified=verified)

    def _verify(self, verifier: Verifier, bundle: Bundle, artifact: Artifact) -> Verified:
        signer, policy = self.signer, self.signer.policy or unsafe_any_identity
        if signer.key is not None:
            return verifier.verify_with_key(bundle, artifact, signer.key)
        if signer.chain:
            return verifier.verify_with_chain(bundle, artifact, policy, chain=signer.chain, now=self.now)
        return verifier.verify(bundle, artifact, policy)


def _number(place: str) -> int:
    """The number in `bundle 2 of 3`, so that outcomes come in the order of their file."""
    return int(place.split()[1]) if place else 0


def _check_keys(signatures: Signatures, signer: Signer) -> None:
    """Check that at least one of the signatures can be verified with what was named."""
    for found in signatures.file.bundles:
        if found.bundle.certificate is not None or signer.key is not None:
            return
    raise _key_needed(signatures.path)


def _key_needed(path: Path) -> ConfigurationError:
    return ConfigurationError(
        f"{path} is signed with a bare key", code="key_needed", hint="pass the public key with --key"
    )


def _explain(error: InvalidSignature, bundle: Path) -> InvalidSignature:
    if error.code != "wrong_artifact" or error.hint:
        return error
    hint = f"the file has changed since it was signed, or {bundle} belongs to another file"
    return InvalidSignature(error.message, code=error.code, hint=hint)


def _name_kind(error: HallmarkError, signatures: Signatures) -> HallmarkError:
    """Say of what lacks its evidence what it is: no other copy of it would have more."""
    if error.code not in {"no_time", "no_entry"} or signatures.file.kind not in _BARE:
        return error
    return type(error)(
        f"{error.message}; {signatures.path} is {signatures.file.kind}, which carries none",
        code=error.code,
        hint="ask the publisher for a Sigstore bundle, or verify it with --key and --allow-unlogged",
    )


_BARE: Final = frozenset({"a DSSE envelope", "a detached signature", "a bundle of cosign 1 or 2"})


def _check_file(path: Path) -> None:
    """Looked at first: a missing file is not a missing signature."""
    if descriptor_of(path) is not None:
        return
    if not path.exists():
        raise ConfigurationError(f"{path} does not exist", code="file_not_found", hint="check the path")
    if path.is_dir():
        raise ConfigurationError(f"{path} is a directory", code="is_a_directory", hint="name the files in it")


def _signatures(item: Item) -> Signatures:
    if item.bundle is None:
        return find_signatures(item.path or Path(item.name))
    if descriptor_of(item.bundle) is None and not item.bundle.exists():
        raise SignatureNotFound(
            f"no bundle at {item.bundle}", hint="pass --bundle FILE, or sign it with hallmark sign"
        )
    return read_signatures(item.bundle)


def _artifact(item: Item, signatures: Signatures, key: PublicKey | None, watch: Watch) -> Artifact:
    if item.digest is not None:
        return Artifact(hash_algorithm=item.digest.hash_algorithm, digest=item.digest.value)
    path = item.path or Path(item.name)
    bundles = [found.bundle for found in signatures.file.bundles]
    hashes, message = _hashes(bundles, key), None
    if key is not None and not key.algorithm.prehash and any(one.envelope is None for one in bundles):
        # Ed25519 signs messages, not digests
        message = read_input(path, max_bytes=_MAX_MESSAGE_BYTES)
        first, *others = [Digest(item, item.digest(message)) for item in hashes]
    else:
        first, *others = digest_input_with(path, hashes, watch)
    return Artifact(
        hash_algorithm=first.hash_algorithm,
        digest=first.value,
        message=message,
        others=tuple((other.hash_algorithm, other.value) for other in others),
    )


def _hashes(bundles: Sequence[Bundle], key: PublicKey | None) -> tuple[HashAlgorithm, ...]:
    """The hashes that the bundles need, of those that have what says so."""
    usable = [bundle for bundle in bundles if bundle.certificate is not None or key is not None]
    return tuple(dict.fromkeys(item for bundle in usable for item in required_hashes(bundle, key)))
