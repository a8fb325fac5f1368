"""The one exception tree of Hallmark.

    HallmarkError
      MalformedInput          the bytes do not parse                     HTTP 400, exit 2
      VerificationError       they parse, but are not true               exit 1
        InvalidSignature
        InvalidProof
        InvalidCertificate
        InvalidTimestamp
        InvalidEntry
        UntrustedIdentity     true, but not by who you named             exit 4
      SignatureNotFound       nothing to verify                          exit 3
      TrustError              missing, stale or expired trust material   exit 5
      PolicyViolation         true, but not allowed                      HTTP 403
      Unauthenticated         no token, or not a valid one               HTTP 401
      NotFound                                                           HTTP 404
      Conflict                                                           HTTP 409
      Frozen                  the log takes no more entries              HTTP 405
      Overloaded              back-pressure; `retry_after` seconds       HTTP 503
      RemoteError             a peer failed                              HTTP 502, exit 6
      ProofPending            done, but a proof is still to come         exit 7
      ConfigurationError      the command or the set-up is wrong         exit 2

Each error has a stable `code` (what programs compare), a message (one line: what is wrong, with the
values) and a `hint` (one line: what to do, or empty). Where a wire protocol fixes a status or a body,
the protocol wins. Programmer errors are `ValueError` or `RuntimeError`, never one of these.
"""

from typing import ClassVar


class HallmarkError(Exception):
    """Base of every error that Hallmark raises on purpose."""

    default_code: ClassVar[str] = "error"

    def __init__(self, message: str, *, code: str | None = None, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.code = code or self.default_code
        self.hint = hint


class MalformedInput(HallmarkError):
    """The bytes do not parse."""

    default_code = "malformed_input"


class VerificationError(HallmarkError):
    """The bytes parse, but what they say is not true."""

    default_code = "verification_failed"


class InvalidSignature(VerificationError):
    """A signature does not verify."""

    default_code = "invalid_signature"


class InvalidProof(VerificationError):
    """A Merkle proof or a checkpoint does not hold."""

    default_code = "invalid_proof"


class InvalidCertificate(VerificationError):
    """A certificate, its chain or its SCT does not hold."""

    default_code = "invalid_certificate"


class InvalidTimestamp(VerificationError):
    """A timestamp does not hold."""

    default_code = "invalid_timestamp"


class InvalidEntry(VerificationError):
    """A log entry does not say what it must say."""

    default_code = "invalid_entry"


class UntrustedIdentity(VerificationError):
    """Everything is true, but not by the identity that was named."""

    default_code = "untrusted_identity"


class SignatureNotFound(HallmarkError):
    """There is nothing to verify."""

    default_code = "signature_not_found"


class TrustError(HallmarkError):
    """Trust material is missing, stale or expired."""

    default_code = "trust_material"


class PolicyViolation(HallmarkError):
    """True, but not allowed."""

    default_code = "policy_violation"


class Unauthenticated(HallmarkError):
    """No token, or not a valid one."""

    default_code = "unauthenticated"


class NotFound(HallmarkError):
    """The thing asked for does not exist."""

    default_code = "not_found"


class Conflict(HallmarkError):
    """The thing exists already, or the state forbids the request."""

    default_code = "conflict"


class Frozen(HallmarkError):
    """The log takes no more entries."""

    default_code = "frozen"


class Overloaded(HallmarkError):
    """The service has too much to do; try again after `retry_after` seconds."""

    default_code = "overloaded"

    def __init__(
        self, message: str, *, retry_after: int = 1, code: str | None = None, hint: str = ""
    ) -> None:
        super().__init__(message, code=code, hint=hint)
        self.retry_after = retry_after


class RemoteError(HallmarkError):
    """A service or the network failed."""

    default_code = "remote_error"


class ProofPending(HallmarkError):
    """What was asked for is done, but a proof of it is still to come."""

    default_code = "proof_pending"


class ConfigurationError(HallmarkError):
    """The command line, a file or the set-up is wrong."""

    default_code = "configuration"
