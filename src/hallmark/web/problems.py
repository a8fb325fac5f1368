"""Errors as HTTP answers: the one mapping from the exception tree to status and gRPC codes.

Where a protocol fixes another status or text, its own http module says so. An exception that is not a
`HallmarkError` becomes a plain 500 with a request id; what it was goes to the log, never to the caller.
"""

import json
import logging
import secrets
from typing import Final

from hallmark.errors import (
    Conflict,
    Frozen,
    HallmarkError,
    MalformedInput,
    NotFound,
    Overloaded,
    PolicyViolation,
    RemoteError,
    Unauthenticated,
    VerificationError,
)

logger = logging.getLogger("hallmark.web")

_STATUS: Final[tuple[tuple[type[HallmarkError], int, int], ...]] = (
    (MalformedInput, 400, 3),
    (VerificationError, 400, 3),
    (PolicyViolation, 403, 7),
    (Unauthenticated, 401, 16),
    (NotFound, 404, 5),
    (Conflict, 409, 6),
    (Frozen, 405, 12),
    (Overloaded, 503, 14),
    (RemoteError, 502, 14),
)
INTERNAL_ERROR: Final = (500, 13)


def status_of(error: HallmarkError) -> tuple[int, int]:
    """Say which HTTP status and gRPC code an error has."""
    for kind, status, grpc_code in _STATUS:
        if isinstance(error, kind):
            return status, grpc_code
    return INTERNAL_ERROR


def grpc_problem(grpc_code: int, message: str, details: list[dict[str, object]] | None = None) -> bytes:
    """Print a problem as grpc-gateway does: `{"code", "message", "details"}`."""
    problem = {"code": grpc_code, "message": message, "details": details or []}
    return json.dumps(problem, ensure_ascii=False, separators=(",", ":")).encode()


def error_info(error: HallmarkError, **metadata: str) -> dict[str, object]:
    """Describe an error as `google.rpc.ErrorInfo`, for the details of a problem."""
    return {
        "@type": "type.googleapis.com/google.rpc.ErrorInfo",
        "reason": error.code.upper(),
        "domain": "hallmark",
        "metadata": {"message": error.message, **metadata},
    }


def report_unexpected(error: BaseException, where: str) -> str:
    """Log an unexpected exception under a new request id, and return the id."""
    request_id = secrets.token_hex(8)
    logger.error("unexpected error in %s (request %s)", where, request_id, exc_info=error)
    return request_id
