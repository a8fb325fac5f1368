"""Exit codes: the one mapping from the exception tree to what a shell sees (docs/operate/exit-codes.md)."""

from typing import Final

from hallmark.errors import (
    Frozen,
    HallmarkError,
    NotFound,
    ProofPending,
    RemoteError,
    SignatureNotFound,
    TrustError,
    UntrustedIdentity,
    VerificationError,
)

DONE: Final = 0
VERIFICATION_FAILED: Final = 1
USAGE: Final = 2
NO_SIGNATURE: Final = 3
OTHER_IDENTITY: Final = 4
TRUST_MATERIAL: Final = 5
SERVICE_FAILED: Final = 6
PROOF_PENDING: Final = 7
BUG: Final = 70
OUTPUT_CLOSED: Final = 141


class UnexpectedFault(HallmarkError):
    """What no code expected, met at one file of several: told like any failure, so that it hides no other."""

    default_code = "bug"


# The first row that fits counts. What is in no row is the user's to mend: the command, a file, a token.
_ROWS: Final[tuple[tuple[type[HallmarkError], int], ...]] = (
    (UnexpectedFault, BUG),
    (UntrustedIdentity, OTHER_IDENTITY),
    (VerificationError, VERIFICATION_FAILED),
    (SignatureNotFound, NO_SIGNATURE),
    (TrustError, TRUST_MATERIAL),
    (RemoteError, SERVICE_FAILED),
    (Frozen, SERVICE_FAILED),
    (NotFound, SERVICE_FAILED),
    (ProofPending, PROOF_PENDING),
)

# Where several files fail in several ways, the gravest decides.
_GRAVITY: Final = (
    BUG,
    VERIFICATION_FAILED,
    OTHER_IDENTITY,
    NO_SIGNATURE,
    TRUST_MATERIAL,
    SERVICE_FAILED,
    USAGE,
    PROOF_PENDING,
)


def exit_code_of(error: HallmarkError) -> int:
    """Say which exit code an error has."""
    return next((code for kind, code in _ROWS if isinstance(error, kind)), USAGE)


def gravest(codes: list[int]) -> int:
    """Choose the exit code of a command that did several things."""
    return next((code for code in _GRAVITY if code in codes), DONE)
