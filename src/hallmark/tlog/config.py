"""What an operator decides about a Rekor v2 log."""

from typing import Final

import msgspec

from hallmark.core.algorithms import ALGORITHMS

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


class TlogConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of the log service.

    `max_body_bytes` bounds a request, `max_body_bytes_in_flight` all of the process that are still arriving,
    and `body_timeout` the seconds that one may take to arrive. `algorithms` are the key details that entries
    may use, a subset of the registry. `accept_dsse` takes envelopes of clients that still send them; these
    may be signed with pure Ed25519 too. `append_timeout` says how many seconds a caller waits for a commit
    before it is told to try again. `read_only` refuses every entry as a frozen log does.
    """

    max_body_bytes: int = 4 * 1024 * 1024
    max_body_bytes_in_flight: int = 256 * 1024 * 1024
    body_timeout: float = 20.0
    algorithms: frozenset[str] = DEFAULT_ALGORITHMS
    accept_dsse: bool = True
    append_timeout: float = 20.0
    read_only: bool = False

    def __post_init__(self) -> None:
        unknown = self.algorithms - ALGORITHMS.keys()
        if unknown:
            raise ValueError(f"unknown algorithms: {sorted(unknown)}")
        if PURE_ED25519 in self.algorithms:
            raise ValueError(
                f"{PURE_ED25519} signs no digests: it serves envelopes only, without being named"
            )
