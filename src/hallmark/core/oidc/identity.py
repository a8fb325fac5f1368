"""Identities: what verified claims say about who asks for a certificate."""

import re
from typing import Final

import msgspec

from hallmark.core.oidc.issuers import IssuerType
from hallmark.core.oidc.token import Claims
from hallmark.errors import MalformedInput, Unauthenticated

MAX_EMAIL_CHARACTERS: Final = 254  # RFC 5321 section 4.5.3.1, less the angle brackets
MAX_CLAIM_CHARACTERS: Final = 2048

_ATOM: Final = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LABEL: Final = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_EMAIL: Final = re.compile(rf"{_ATOM}(?:\.{_ATOM})*@{_LABEL}(?:\.{_LABEL})*")


class Principal(msgspec.Struct, frozen=True, kw_only=True):
    """Who asks for a certificate.

    `name` is the text that proof of possession signs. `san_kind` and `san` make the subject alternative
    name; `extensions` are (number below the Fulcio arc, value), in the order of the certificate.
    """

    oidc_issuer: str
    name: str
    san_kind: str
    san: str
    extensions: tuple[tuple[int, str], ...]


def identify(claims: Claims, issuer_type: IssuerType) -> Principal:
    """Make the principal that the claims prove, as the issuer's type says.

    Raises `Unauthenticated` with code `unverified_email`, `missing_claim` or `malformed_claim`.
    """
    name = _text(claims, issuer_type.name_claim)
    if issuer_type.verified_by is not None:
        _check_verified(claims, issuer_type.verified_by, name)
    san = _text(claims, issuer_type.san_claim)
    if issuer_type.san_kind == "email":
        san = _email_claim(san)
    extensions = tuple((number, _text(claims, claim)) for number, claim in issuer_type.extensions.items())
    return Principal(
        oidc_issuer=claims.oidc_issuer,
        name=name,
        san_kind=issuer_type.san_kind,
        san=san,
        extensions=extensions,
    )


def parse_email(text: str) -> str:
    """Check the form of an e-mail address; raises `MalformedInput` with code `malformed_email`.

    ASCII only: the certificate's rfc822Name is an IA5String (RFC 5280 section 4.2.1.6).
    """
    if len(text) > MAX_EMAIL_CHARACTERS or not _EMAIL.fullmatch(text):
        raise MalformedInput(f"{text[:80]!r} is not an e-mail address", code="malformed_email")
    return text


def _email_claim(text: str) -> str:
    try:
        return parse_email(text)
    except MalformedInput as error:
        raise Unauthenticated(error.message, code="malformed_claim") from None


def _text(claims: Claims, name: str) -> str:
    value = claims.values.get(name)
    if value is None or value == "":
        raise Unauthenticated(f"the token has no claim {name!r}", code="missing_claim")
    if not isinstance(value, str) or len(value) > MAX_CLAIM_CHARACTERS or not value.isprintable():
        raise Unauthenticated(
            f"the token's claim {name!r} is not a text of at most {MAX_CLAIM_CHARACTERS} characters",
            code="malformed_claim",
        )
    return value


def _check_verified(claims: Claims, flag: str, name: str) -> None:
    """Check a claim like `email_verified`; some providers print it as a text."""
    value = claims.values.get(flag, False)
    if value is True or (isinstance(value, str) and value in {"true", "True"}):
        return
    if value is False or (isinstance(value, str) and value in {"false", "False"}):
        raise Unauthenticated(
            f"the identity provider has not verified {name!r}",
            code="unverified_email",
            hint="confirm the e-mail address at the identity provider, then get a new token",
        )
    raise Unauthenticated(f"the token's claim {flag!r} is neither true nor false", code="malformed_claim")
