"""What can be set for the certificate authority."""

from typing import Final

import msgspec

from hallmark.core.algorithms import DEFAULT_ALGORITHMS

DEFAULT_CLIENT_ALGORITHMS: Final = frozenset(row.name for row in DEFAULT_ALGORITHMS.values())


class CaConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Limits and policy of the authority; keys, chain and issuers come with what is handed to it.

    `client_signing_algorithms` names the algorithms, as in the registry (`ecdsa-sha2-256-nistp256`), that
    certificates are issued for. `max_body_bytes` bounds a request's body,
    `max_body_bytes_in_flight` all that the process holds of them yet, and `body_timeout` the seconds that
    one may take. `max_calls` bounds the requests that a process works on at once.
    """

    client_signing_algorithms: frozenset[str] = DEFAULT_CLIENT_ALGORITHMS
    max_body_bytes: int = 192 * 1024  # a token and a signing request of the largest size that is looked at
    max_body_bytes_in_flight: int = 16 * 1024 * 1024
    body_timeout: float = 10.0
    max_calls: int = 1024  # of a millisecond each
