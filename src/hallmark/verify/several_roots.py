"""Verification against several trusted roots: each stands for an instance, with its own demands.

They are not joined to one: what one instance lacks (a log, a CT log) must not be waived for another.
"""

from collections.abc import Callable, Sequence

from hallmark.errors import HallmarkError, VerificationError
from hallmark.verify.verified import Verified
from hallmark.verify.verifier import Verifier

_FOREIGN = frozenset({"no_time", "unknown_ca"})  # what any other instance says of a good bundle


def verify_with_any(verifiers: Sequence[Verifier], verify: Callable[[Verifier], Verified]) -> Verified:
    """Verify with the first of the verifiers that has no objection.

    Raises the error that tells most: of an instance that knows the signer's CA rather than of one that does
    not. Raises `ValueError` without any verifier.
    """
    errors: list[HallmarkError] = []
    for verifier in verifiers:
        try:
            return verify(verifier)
        except VerificationError as error:
            errors.append(error)
    if not errors:
        raise ValueError("there is nothing to verify with")
    raise next((error for error in errors if error.code not in _FOREIGN), errors[0])
