"""What an operator decides about a Rekor v2 log."""

from typing import Annotated, Final

import msgspec

DEFAULT_ALGORITHMS: Final = frozenset(
    {
        "PKIX_ECDSA_P256_SHA_256",
        "PKIX_ECDSA_P384_SHA_384",
        "PKIX_ECDSA_P521_SHA_512",
        "PKIX_ED25519_PH",
        "PKIX_RSA_PKCS1V15_2048_SHA256",
        "PKIX_RSA_PKCS1V15_3072_SHA256",
        "PKIX_RSA_PKCS1V15_4096_SHA256",
    }
)
PURE_ED25519: Final = "PKIX_ED25519"

_MIB: Final = 1024 * 1024
_Bytes = Annotated[int, msgspec.Meta(ge=4096, le=4096 * _MIB)]
_Seconds = Annotated[float, msgspec.Meta(gt=0, le=600)]


class TlogConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of the log service.

    `max_body_bytes` bounds a request, `max_body_bytes_in_flight` all that the process holds of them yet,
    and `body_timeout` the seconds that one may take to arrive. `algorithms` are the key details that entries
    may use, some of the registry's. `accept_dsse` takes envelopes of clients that still send them; these may
    be signed with pure Ed25519 too. `append_timeout` says how many seconds a caller waits for a commit before
    it is told to try again; `max_waiting_entries` and `max_waiting_bytes` say how many of a process may wait.
    `read_only` refuses every entry as a frozen log does.
    """

    read_only: bool = False
    accept_dsse: bool = True
    algorithms: frozenset[str] = DEFAULT_ALGORITHMS
    max_body_bytes: _Bytes = 4 * _MIB
    max_body_bytes_in_flight: _Bytes = 64 * _MIB
    body_timeout: _Seconds = 20.0
    append_timeout: _Seconds = 20.0
    max_waiting_entries: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 8192
    max_waiting_bytes: _Bytes = 64 * _MIB

    def __post_init__(self) -> None:
        if PURE_ED25519 in self.algorithms:
            raise ValueError(
                f"{PURE_ED25519} signs no digests: it serves envelopes only, without being named"
            )
        unknown = self.algorithms - DEFAULT_ALGORITHMS
        if unknown or not self.algorithms:
            what = f"not {min(unknown)}" if unknown else "at least one"
            raise ValueError(f"algorithms are of {', '.join(sorted(DEFAULT_ALGORITHMS))}; {what}")
