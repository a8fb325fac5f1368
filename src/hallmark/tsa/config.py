"""What an operator decides about a timestamp authority."""

import msgspec

from hallmark.core.timestamp import MAX_REQUEST_BYTES
from hallmark.core.x509.oids import DEFAULT_TSA_POLICY
from hallmark.errors import ConfigurationError


class TsaConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of the timestamp service.

    `default_policy` is the policy (a dotted object identifier) of tokens whose request names none;
    `accepted_policies` are those that a request may name. `include_chain` gives clients that ask for
    certificates the whole chain instead of the leaf. `require_intermediate_key_usage` refuses a chain whose
    intermediates are not restricted to timestamping. `success_status` is 200, or 201 for clients of
    authorities before 2025. `max_body_bytes` bounds a request, `max_body_bytes_in_flight` all that the
    process holds of them yet, `body_timeout` the seconds that one may take, `max_calls` the requests at work.
    """

    default_policy: str = DEFAULT_TSA_POLICY
    accepted_policies: frozenset[str] = frozenset({DEFAULT_TSA_POLICY})
    include_chain: bool = False
    require_intermediate_key_usage: bool = True
    success_status: int = 200
    max_body_bytes: int = MAX_REQUEST_BYTES
    max_body_bytes_in_flight: int = 8 * 1024 * 1024
    body_timeout: float = 10.0
    max_calls: int = 8192  # of a tenth of a millisecond each

    def __post_init__(self) -> None:
        if self.success_status not in {200, 201}:
            raise ConfigurationError(f"the success status is 200 or 201, not {self.success_status}")
        if self.default_policy not in self.accepted_policies:
            raise ConfigurationError(f"the default policy {self.default_policy} is not among the accepted")
