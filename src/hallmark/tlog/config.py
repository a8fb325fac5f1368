"""What an operator decides about a Rekor v2 log."""

from typing import Final

import msgspec

from hallmark.core.algorithms import ALGORITHMS

DEFAULT_ALGORITHMS: Final = frozenset(
    {
        "PKIX_ECDSA_P256_SHA_256",
        "PKIX_ECDSA_P384_SHA_384",
        "PKIX_ECDSA_P521_SHA_512",
        "PKIX_RSA_PKCS1V15_2048_SHA256",
        "PKIX_RSA_PKCS1V15_3072_SHA256",
        "PKIX_RSA_PKCS1V15_4096_SHA256",
    }
)


class TlogConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of the log service.

    `max_body_bytes` bounds a request. `algorithms` are the key details that entries may use, a subset of the
    registry. `append_timeout` says how many seconds a caller waits for a commit before it is told to try
    again.
    """

    max_body_bytes: int = 4 * 1024 * 1024
    algorithms: frozenset[str] = DEFAULT_ALGORITHMS
    append_timeout: float = 20.0

    def __post_init__(self) -> None:
        unknown = self.algorithms - ALGORITHMS.keys()
        if unknown:
            raise ValueError(f"unknown algorithms: {sorted(unknown)}")
