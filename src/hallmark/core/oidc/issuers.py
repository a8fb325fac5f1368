"""Issuer types: how the tokens of an identity provider become an identity, as one table of rows.

A row says which claims must be there, which claim is the name that a client proves possession for, what
the certificate's subject alternative name is, and which claim each certificate extension takes its value
from. A new kind of provider is a new row.
"""

from typing import Final

import msgspec

from hallmark.core.x509.oids import FULCIO_EXTENSIONS
from hallmark.errors import ConfigurationError


class IssuerType(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the table.

    `name_claim` is what the client signs as proof of possession; `san_kind` is `email` or `uri` and
    `san_claim` the claim behind it; `verified_by` names the claim that must be true for `name_claim` to
    count; `extensions` maps numbers of `FULCIO_EXTENSIONS` to claims.
    """

    name: str
    name_claim: str
    san_kind: str
    san_claim: str
    verified_by: str | None
    extensions: dict[int, str]


ISSUER_EXTENSIONS: Final = {1: "iss", 8: "iss", 24: "sub"}
"""What every certificate says: the issuer in its old and its new form, and the token's subject."""

ISSUER_TYPES: Final = {
    row.name: row
    for row in (
        IssuerType(
            name="email",
            name_claim="email",
            san_kind="email",
            san_claim="email",
            verified_by="email_verified",
            extensions=ISSUER_EXTENSIONS,
        ),
    )
}

EXTENSION_ROWS: Final = {row.number: row for row in FULCIO_EXTENSIONS}


def find_issuer_type(name: str) -> IssuerType:
    """Find the row of an issuer type; raises `ConfigurationError`."""
    try:
        return ISSUER_TYPES[name]
    except KeyError:
        known = ", ".join(sorted(ISSUER_TYPES))
        raise ConfigurationError(
            f"unknown issuer type {name!r}", code="unknown_issuer_type", hint=f"known types: {known}"
        ) from None
