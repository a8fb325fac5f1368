"""Verifiers that ask for newer trust material once, before a verdict that it could change.

After a rotation of the log, or of a certificate authority, material that is valid for days does not know the
new key yet. Then "not true" would be wrong: "not known here" is all that can be said.
"""

from collections.abc import Callable
from threading import Lock
from typing import Final

import msgspec

from hallmark.core.bundle import Bundle
from hallmark.core.trusted_root import TrustedRoot
from hallmark.errors import HallmarkError, TrustError, VerificationError
from hallmark.verify.several_roots import verify_with_any
from hallmark.verify.verifier import Verified, Verifier

# What says that a key or an authority is not known, or not at that time; all else is false whoever is known.
_PASSING: Final = frozenset({"unknown_ca", "missing_sct", "no_entry", "no_time", "outside_validity"})


class RootMaterial(msgspec.Struct, frozen=True):
    """Trusted roots, and how to get newer ones: None for files, and for what was fetched just now."""

    roots: tuple[TrustedRoot, ...]
    renew: Callable[[], "RootMaterial"] | None = None
    update_command: str = ""

    def renewed(self) -> "RootMaterial":
        """Get the newest; raises `TrustError` or `RemoteError`."""
        return self if self.renew is None else self.renew()


class RenewingVerifiers:
    """Verifies against the newest trust material that a verdict needs; safe to share between threads."""

    def __init__(
        self, material: RootMaterial, make: Callable[[tuple[TrustedRoot, ...]], tuple[Verifier, ...]]
    ) -> None:
        self._material = material
        self._make = make
        self._verifiers = make(material.roots)
        self._failure: HallmarkError | None = None
        self._lock = Lock()

    def verify(self, bundle: Bundle, verify: Callable[[Verifier], Verified]) -> Verified:
        """Let `verify` decide, twice at most; raises `TrustError` where newer material cannot be had."""
        verifiers = self._verifiers
        try:
            return verify_with_any(verifiers, verify)
        except VerificationError as error:
            if not could_change(error, bundle):
                raise
            with self._lock:
                if verifiers is self._verifiers:  # no other thread has renewed them meanwhile
                    if self._material.renew is None:
                        raise
                    self._renew(error)
        return verify_with_any(self._verifiers, verify)

    def _renew(self, cause: VerificationError) -> None:
        """Try once for all files: each of them would wait as long for the same answer."""
        command = self._material.update_command
        if self._failure is None:
            try:
                self._material = self._material.renewed()
                self._verifiers = self._make(self._material.roots)
            except HallmarkError as error:
                self._failure = error
        if self._failure is not None:
            raise TrustError(
                f"{cause.message}; newer trust material could change that, but {self._failure.message}",
                code="stale_trust_material",
                hint=f"{command}, then verify again",
            ) from None


def could_change(error: VerificationError, bundle: Bundle) -> bool:
    """Say whether other trust material could make the bundle verify; not where it holds nothing to verify."""
    if error.code == "no_entry":
        return bool(bundle.tlog_entries)
    if error.code == "no_time":
        return bool(bundle.timestamps or bundle.tlog_entries)
    return error.code in _PASSING
