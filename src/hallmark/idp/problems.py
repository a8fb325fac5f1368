"""OAuth errors (RFC 6749 section 5.2, RFC 8628 section 3.5)."""

from hallmark.errors import Unauthenticated


class OAuthError(Unauthenticated):
    """A refusal with the error code that OAuth gives it; `status` is its HTTP status."""

    def __init__(self, oauth_code: str, message: str, *, status: int = 400) -> None:
        super().__init__(message, code=oauth_code)
        self.status = status
