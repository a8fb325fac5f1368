"""How much evidence is enough."""

import msgspec


class Thresholds(msgspec.Struct, frozen=True, kw_only=True):
    """How many independent logs, sources of time and CT logs must vouch for a signature.

    A certificate lives for minutes, so without one time nothing says that it counted: `timestamps` is at
    least 1. Signatures by a bare key need no time.
    """

    tlog: int = 1
    timestamps: int = 1
    scts: int = 1

    def __post_init__(self) -> None:
        if self.tlog < 0 or self.timestamps < 1 or self.scts < 0:
            raise ValueError("thresholds are not negative, and one time is needed")
