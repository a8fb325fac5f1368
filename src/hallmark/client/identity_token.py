"""An identity token as its bearer sees it: passed on, never trusted here.

Only the certificate authority verifies a token. The client reads its claims to say early, and in words, why
the authority would refuse it.
"""

import base64
import binascii
import re
from datetime import UTC, datetime
from typing import Final

import msgspec

from hallmark.core.encoding.json_document import check_names
from hallmark.errors import MalformedInput, Unauthenticated

_MAX_CHARACTERS: Final = 64 << 10
_JWT: Final = re.compile(r"[\w-]*\.[\w-]*\.[\w-]*", re.ASCII)


class _Claims(msgspec.Struct, frozen=True):
    iss: str
    aud: str | list[str]
    exp: float
    sub: str = ""
    email: str = ""
    nonce: str = ""


class IdentityToken(msgspec.Struct, frozen=True, kw_only=True):
    """A token, and what it claims of itself, unverified."""

    raw: str
    unverified_oidc_issuer: str
    unverified_identity: str
    unverified_audiences: tuple[str, ...]
    unverified_nonce: str
    expires: datetime

    def __repr__(self) -> str:
        """Show everything but the token itself, which is a secret as long as it is valid."""
        return f"IdentityToken({self.unverified_identity!r} by {self.unverified_oidc_issuer!r})"

    def check(self, *, audience: str, now: datetime) -> None:
        """Check that a CA could accept the token now; raises `Unauthenticated`."""
        if now >= self.expires:
            raise Unauthenticated(
                f"the identity token expired at {self.expires:%Y-%m-%d %H:%M:%S} UTC",
                code="expired_token",
                hint="get a new token",
            )
        if audience not in self.unverified_audiences:
            named = ", ".join(self.unverified_audiences) or "nobody"
            raise Unauthenticated(
                f"the identity token is for {named[:200]!r}, not for {audience!r}",
                code="wrong_audience",
                hint=f"ask the token's issuer for one with the audience {audience}",
            )


def parse_identity_token(raw: str) -> IdentityToken:
    """Read a JWT without verifying it; raises `MalformedInput`, never with the token in the text."""
    text = raw.strip()
    if not text:
        raise MalformedInput(
            "the identity token is empty",
            code="malformed_token",
            hint="get one: an empty file is what a command that failed leaves behind",
        )
    # Anything else could not stand in a header, and the error about that would print the token.
    if len(text) > _MAX_CHARACTERS or not _JWT.fullmatch(text):
        raise MalformedInput(
            "the identity token is not a JWT",
            code="malformed_token",
            hint="a JWT has three parts of letters, digits, - and _, with dots between them, on one line",
        )
    try:
        part = text.split(".")[1]
        payload = base64.b64decode(part + "=" * (-len(part) % 4), altchars=b"-_", validate=True)
        claims = msgspec.json.decode(payload, type=_Claims)
        check_names(payload, what="the claims")
        expires = datetime.fromtimestamp(claims.exp, UTC)
    except (
        binascii.Error,
        ValueError,
        msgspec.MsgspecError,
        OverflowError,
        OSError,
        RecursionError,
        MalformedInput,
    ):
        raise MalformedInput(
            "the identity token's claims do not parse", code="malformed_token", hint="get a new token"
        ) from None
    return IdentityToken(
        raw=text,
        unverified_oidc_issuer=claims.iss,
        unverified_identity=claims.email or claims.sub,
        unverified_audiences=(claims.aud,) if isinstance(claims.aud, str) else tuple(claims.aud),
        unverified_nonce=claims.nonce,
        expires=expires,
    )
