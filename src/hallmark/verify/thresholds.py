"""How much evidence is enough."""

import msgspec

from hallmark.core.trusted_root import TrustedRoot


class Thresholds(msgspec.Struct, frozen=True, kw_only=True):
    """How many independent logs, sources of time and CT logs must vouch for a signature.

    A certificate lives for minutes, so without one time nothing says that it was valid: `timestamps` is at
    least 1. Signatures by a bare key need no time.
    """

    tlog: int = 1
    timestamps: int = 1
    scts: int = 1

    def __post_init__(self) -> None:
        if self.tlog < 0 or self.timestamps < 1 or self.scts < 0:
            raise ValueError("thresholds are not negative, and one time is needed")


def thresholds_of(trusted_root: TrustedRoot) -> Thresholds:
    """Demand one of each kind of evidence that the instance has.

    An instance without a signature log (GitHub's own, for private repositories) or without a CT log can give
    none of theirs. One that lists logs whose keys this program cannot read still has them.
    """
    return Thresholds(
        tlog=1 if trusted_root.tlogs or trusted_root.unread_tlogs else 0,
        scts=1 if trusted_root.ctlogs or trusted_root.unread_ctlogs else 0,
    )
