"""What can be set for the certificate transparency log."""

import msgspec


class CtLogConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Limits of the log; origin, keys and roots come with what is handed to `CtLog`.

    `max_body_bytes` bounds a submission's body, `max_body_bytes_in_flight` all that the process holds of them
    yet, `max_chain` the number of certificates in a submission.
    """

    max_body_bytes: int = 512 * 1024
    max_body_bytes_in_flight: int = 16 * 1024 * 1024
    max_chain: int = 10
