"""Identity tokens (OpenID Connect Core 1.0 section 2, RFC 7519): read, then verified.

`parse_token` reads a token without believing it; `verify_token` checks it against the issuer's keys and
returns `Claims`, the only type that identities are made of. Tokens are bounded before anything is decoded,
and never appear in an error's text.
"""

import base64
import binascii
from datetime import datetime
from typing import Any, Final

import msgspec
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import Key

from hallmark.core.encoding.json_document import check_names
from hallmark.core.oidc.jwks import ALLOWED_ALGORITHMS, KeySet
from hallmark.errors import MalformedInput, Unauthenticated

MAX_TOKEN_BYTES: Final = 32 * 1024
NOT_BEFORE_LEEWAY_SECONDS: Final = 300
MAX_AUDIENCES: Final = 64
MAX_CANDIDATE_KEYS: Final = 8
"""A token that names no key is checked with each that fits; OpenID Connect Core 10.1 wants it to name one."""
MAX_TIME: Final = 2**40

_URL_SAFE: Final = str.maketrans("-_", "+/")


class UnverifiedToken(msgspec.Struct, frozen=True):
    """A token that parses. Nothing of it is verified: use it to choose an issuer, and for nothing else."""

    raw: str
    algorithm: str
    key_id: str | None
    oidc_issuer: str
    unverified_claims: dict[str, Any]


class Claims(msgspec.Struct, frozen=True):
    """What a verified token says; `expires_at` in seconds since 1970, `values` holds every claim."""

    oidc_issuer: str
    subject: str
    audience: tuple[str, ...]
    expires_at: float
    values: dict[str, Any]


class _Header(msgspec.Struct, frozen=True):
    alg: str
    kid: str | None = None
    crit: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    b64: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


_decode_header: Final = msgspec.json.Decoder(_Header).decode
_decode_claims: Final = msgspec.json.Decoder(dict[str, Any]).decode


def parse_token(raw: str) -> UnverifiedToken:
    """Read a compact JWS; raises `Unauthenticated` with code `malformed_token`.

    Length and dots are counted first: a token of a million dots must not become a million strings.
    """
    if len(raw) > MAX_TOKEN_BYTES:
        raise _malformed(f"it has {len(raw)} characters, more than {MAX_TOKEN_BYTES}")
    if raw.count(".") != 2:
        raise _malformed("it is not three parts with two dots between them")
    header_part, claims_part, _ = raw.split(".")
    try:
        header_json, claims_json = _decode_part(header_part), _decode_part(claims_part)
        header, claims = _decode_header(header_json), _decode_claims(claims_json)
        check_names(header_json, what="the header")
        check_names(claims_json, what="the claims")
    except (msgspec.DecodeError, binascii.Error, ValueError, RecursionError):
        raise _malformed("its header or claims are not JSON in base64url") from None
    except MalformedInput as error:
        raise _malformed(error.message) from None
    if header.crit is not msgspec.UNSET or header.b64 is not msgspec.UNSET:
        raise _malformed("its header demands extensions that identity tokens do not have")
    oidc_issuer = claims.get("iss")
    if not isinstance(oidc_issuer, str) or not oidc_issuer:
        raise _malformed("it names no issuer")
    return UnverifiedToken(raw, header.alg, header.kid, oidc_issuer, claims)


def verify_token(
    token: UnverifiedToken, keys: KeySet, *, oidc_issuer: str, audience: str, now: datetime
) -> Claims:
    """Check signature, issuer, audience and times of a token.

    Expiry has no leeway; `nbf` has five minutes. Raises `Unauthenticated` with one of the codes
    `invalid_token_signature`, `wrong_token_issuer`, `wrong_token_audience`, `expired_token`,
    `token_not_yet_valid`, `malformed_token`.
    """
    _verify_signature(token, keys)
    values = token.unverified_claims  # verified from here on
    if token.oidc_issuer != oidc_issuer:
        raise Unauthenticated(
            f"the token is of issuer {token.oidc_issuer[:200]!r}, not {oidc_issuer!r}",
            code="wrong_token_issuer",
        )
    audiences = _audiences(values.get("aud"))
    if audience not in audiences:
        raise Unauthenticated(
            f"the token is for audience {', '.join(audiences)[:200]!r}, not {audience!r}",
            code="wrong_token_audience",
            hint=f"ask the identity provider for a token with audience {audience!r}",
        )
    expires_at = _check_times(values, now.timestamp())
    subject = values.get("sub")
    if not isinstance(subject, str) or not subject:
        raise _malformed("it names no subject")
    return Claims(oidc_issuer, subject, audiences, expires_at, values)


def _verify_signature(token: UnverifiedToken, keys: KeySet) -> None:
    if token.algorithm not in ALLOWED_ALGORITHMS:
        raise Unauthenticated(
            f"the token's algorithm {token.algorithm[:20]!r} is not allowed", code="invalid_token_signature"
        )
    candidates = keys.candidates(token.key_id, token.algorithm)
    if len(candidates) > MAX_CANDIDATE_KEYS:
        raise Unauthenticated(
            f"{len(candidates)} keys of its issuer fit the token: it must name one by `kid`",
            code="invalid_token_signature",
        )
    if not any(_signed_by(token.raw, key) for key in candidates):
        raise Unauthenticated(
            "the token is not signed by a key of its issuer", code="invalid_token_signature"
        )


class _Registry(jws.JWSRegistry):
    """The signature algorithms of identity tokens, and headers with members that we do not know."""

    max_header_length = 4096

    def get_alg(self, name: str) -> Any:
        return self.algorithms[name]  # `_verify_signature` has compared it with those allowed


_registry: Final = _Registry(strict_check_header=False)


def _signed_by(raw: str, key: Key) -> bool:
    try:
        jws.deserialize_compact(raw, key, registry=_registry)
    except (JoseError, ValueError):
        return False
    return True


def _check_times(values: dict[str, Any], now: float) -> float:
    expires_at: Any = values.get("exp")
    not_before: Any = values.get("nbf", now)
    if not _is_time(expires_at) or not _is_time(not_before):
        raise _malformed("its times are not numbers of seconds")
    if expires_at <= now:  # "on or after" it: RFC 7519 section 4.1.4
        raise Unauthenticated(
            f"the token expired {int(now - expires_at)} seconds ago",
            code="expired_token",
            hint="get a new token; they live for minutes",
        )
    if not_before > now + NOT_BEFORE_LEEWAY_SECONDS:
        raise Unauthenticated(
            f"the token is not valid for another {int(not_before - now)} seconds",
            code="token_not_yet_valid",
            hint="compare the clocks of this machine and of the identity provider",
        )
    return float(expires_at)


def _is_time(value: Any) -> bool:
    """Booleans are integers in Python, and JSON's integers have no bound: neither is a time."""
    return type(value) in {int, float} and abs(value) < MAX_TIME


def _audiences(value: object) -> tuple[str, ...]:
    audiences = value if isinstance(value, list) else [value]
    if len(audiences) > MAX_AUDIENCES or not all(isinstance(item, str) for item in audiences):
        raise _malformed("its audience is neither a text nor a list of texts")
    return tuple(audiences)


def _decode_part(part: str) -> bytes:
    return base64.b64decode(part.translate(_URL_SAFE) + "=" * (-len(part) % 4), validate=True)


def _malformed(why: str) -> Unauthenticated:
    return Unauthenticated(f"the token is malformed: {why}", code="malformed_token")
