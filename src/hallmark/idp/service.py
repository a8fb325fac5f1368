"""An OpenID Connect provider for development: it believes whoever types an e-mail address.

Authorization code with PKCE (RFC 6749, RFC 7636), device flow (RFC 8628), and a grant for the command line
that proves itself with a secret. It runs on loopback only. Codes serve once; what they stand for is kept
under their hashes in `Grants`, which all processes of the instance share.
"""

import base64
import hashlib
import hmac
import secrets
from typing import Final
from urllib.parse import urlencode, urlsplit

import msgspec
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from joserfc import jwt
from joserfc.jwk import RSAKey

from hallmark.core.oidc.identity import parse_email
from hallmark.core.oidc.jwks import KeySet, parse_jwks
from hallmark.errors import MalformedInput
from hallmark.idp.config import IdpConfig, check_loopback, exact_host, is_loopback_host
from hallmark.idp.grants import Grants
from hallmark.idp.problems import OAuthError
from hallmark.ports import Clock

OUT_OF_BAND: Final = "urn:ietf:wg:oauth:2.0:oob"
MAX_PARAMETER_CHARACTERS: Final = 1024

_USER_CODE_LETTERS: Final = "BCDFGHJKLMNPQRSTVWXZ"  # RFC 8628 section 6.1: no vowels, no words
_CHALLENGE_CHARACTERS: Final = 43  # SHA-256 in base64url


class AuthorizationRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A checked request of the authorization endpoint (RFC 6749 section 4.1.1, RFC 7636 section 4.3)."""

    redirect_uri: str
    code_challenge: str
    state: str = ""
    nonce: str = ""


class DeviceCodes(msgspec.Struct, frozen=True, kw_only=True):
    """What a device is told (RFC 8628 section 3.2); lifetimes in seconds."""

    device_code: str
    user_code: str
    expires_in: int
    interval: int


class _CodeGrant(msgspec.Struct, frozen=True, kw_only=True, tag="code"):
    email: str
    redirect_uri: str
    code_challenge: str
    nonce: str


class _DeviceGrant(msgspec.Struct, frozen=True, kw_only=True, tag="device"):
    code_challenge: str
    nonce: str
    ends_at: int
    user_key: bytes
    email: str = ""


class _UserCode(msgspec.Struct, frozen=True, tag="user"):
    device_key: bytes


_Grant = _CodeGrant | _DeviceGrant | _UserCode
_decode_grant: Final = msgspec.json.Decoder(_Grant).decode


class IdentityProvider:
    """The provider's operations; `http` gives them their wire form."""

    def __init__(self, *, config: IdpConfig, key: rsa.RSAPrivateKey, grants: Grants, clock: Clock) -> None:
        check_loopback(config.base_url)
        self.config = config
        self._grants = grants
        self._clock = clock
        spki = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        self._key_id = _b64url(hashlib.sha256(spki).digest())[:16]
        self._key = RSAKey.import_key(key)
        public = self._key.as_dict(private=False)
        self.jwks = msgspec.json.encode(
            {"keys": [{**public, "kid": self._key_id, "alg": "RS256", "use": "sig"}]}
        )
        """The key set that the provider publishes, JSON."""

    @property
    def key_set(self) -> KeySet:
        """The keys that tokens are signed with, for a certificate authority of the same process."""
        return parse_jwks(self.jwks)

    def check_authorization(self, parameters: dict[str, str]) -> AuthorizationRequest:
        """Check the parameters of an authorization request; raises `OAuthError`.

        An error goes to the person, never to the redirect URI of a request that is not right.
        """
        self._check_client(parameters)
        redirect_uri = parameters.get("redirect_uri", "")
        if redirect_uri != OUT_OF_BAND and not _is_loopback_uri(redirect_uri):
            raise OAuthError("invalid_request", f"redirect_uri {redirect_uri[:80]!r} is not on loopback")
        if parameters.get("response_type") != "code":
            raise OAuthError("unsupported_response_type", "response_type must be code")
        return AuthorizationRequest(
            redirect_uri=redirect_uri,
            code_challenge=_code_challenge(parameters, required=True),
            state=parameters.get("state", ""),
            nonce=parameters.get("nonce", ""),
        )

    def authorize(self, request: AuthorizationRequest, email: str) -> str:
        """Make an authorization code for an e-mail address; raises `MalformedInput` (`malformed_email`)."""
        grant = _CodeGrant(
            email=parse_email(email.strip()),
            redirect_uri=request.redirect_uri,
            code_challenge=request.code_challenge,
            nonce=request.nonce,
        )
        code = secrets.token_urlsafe(32)
        self._remember(code, grant, self.config.code_lifetime_seconds)
        return code

    def start_device(self, parameters: dict[str, str]) -> DeviceCodes:
        """Begin a device flow; raises `OAuthError`."""
        self._check_client(parameters)
        lifetime = self.config.device_lifetime_seconds
        device_code = secrets.token_urlsafe(32)
        letters = "".join(secrets.choice(_USER_CODE_LETTERS) for _ in range(8))
        grant = _DeviceGrant(
            code_challenge=_code_challenge(parameters, required=False),
            nonce=parameters.get("nonce", ""),
            ends_at=self._now() + lifetime,
            user_key=_hash(letters),
        )
        silence = min(lifetime, self.config.device_silence_seconds)
        self._remember(device_code, grant, silence)
        self._remember(letters, _UserCode(_hash(device_code)), silence)
        return DeviceCodes(
            device_code=device_code,
            user_code=f"{letters[:4]}-{letters[4:]}",
            expires_in=lifetime,
            interval=self.config.poll_interval_seconds,
        )

    def approve_device(self, user_code: str, email: str) -> None:
        """Let the device with this code sign in as `email`; raises `OAuthError` or `MalformedInput`."""
        address = parse_email(email.strip())
        letters = user_code.upper().replace("-", "").replace(" ", "")
        now = self._now()
        found = self._grants.take(_hash(letters), now=now)
        user = _decode_grant(found) if found else None
        pending = self._grants.get(user.device_key, now=now) if isinstance(user, _UserCode) else None
        if pending is None or not isinstance(user, _UserCode):
            raise OAuthError("invalid_request", "no device waits with this code")
        grant = _decode_grant(pending)
        if isinstance(grant, _DeviceGrant):
            self._keep_waiting(user.device_key, grant, now)
            approved = msgspec.json.encode(msgspec.structs.replace(grant, email=address))
            self._grants.replace(user.device_key, pending, approved, now=now)

    def exchange_code(self, parameters: dict[str, str]) -> str:
        """Give a token for an authorization code, which is used up; raises `OAuthError`."""
        found = self._grants.take(_hash(parameters.get("code", "")), now=self._now())
        grant = _decode_grant(found) if found else None
        if not isinstance(grant, _CodeGrant):
            raise OAuthError("invalid_grant", "the code is unknown, used or expired")
        if parameters.get("redirect_uri") != grant.redirect_uri:
            raise OAuthError("invalid_grant", "redirect_uri is not the one of the authorization")
        _check_verifier(parameters, grant.code_challenge)
        return self._token(grant.email, grant.nonce)

    def exchange_device_code(self, parameters: dict[str, str]) -> str:
        """Give a token for a device code once it is approved; raises `OAuthError`."""
        key, now = _hash(parameters.get("device_code", "")), self._now()
        found = self._grants.get(key, now=now)
        grant = _decode_grant(found) if found else None
        if not isinstance(grant, _DeviceGrant):
            raise OAuthError("expired_token", "the device code is unknown, used or expired")
        if grant.code_challenge:
            _check_verifier(parameters, grant.code_challenge)
        if not grant.email:
            self._keep_waiting(key, grant, now)
            raise OAuthError("authorization_pending", "nobody has entered the code yet")
        if self._grants.take(key, now=now) is None:
            raise OAuthError("expired_token", "the device code is used")
        return self._token(grant.email, grant.nonce)

    def exchange_secret(self, parameters: dict[str, str], secret: str) -> str:
        """Give a token to a command line that knows the instance's secret.

        Raises `OAuthError`, or `MalformedInput` for what is no e-mail address.
        """
        expected = self.config.token_secret_sha256
        if expected is None or not hmac.compare_digest(_hash(secret), expected):
            raise OAuthError("invalid_client", "the secret is not the one of this instance", status=401)
        return self._token(parse_email(parameters.get("email", "")), parameters.get("nonce", ""))

    def _check_client(self, parameters: dict[str, str]) -> None:
        if parameters.get("client_id") != self.config.client_id:
            raise OAuthError("invalid_client", f"the only client is {self.config.client_id!r}", status=401)

    def _remember(self, code: str, grant: _Grant, lifetime_seconds: int) -> None:
        now = self._now()
        self._grants.add(
            _hash(code),
            msgspec.json.encode(grant),
            kind=type(grant).__name__,
            most=self.config.max_grants,
            expires_at=now + lifetime_seconds,
            now=now,
        )

    def _keep_waiting(self, key: bytes, grant: _DeviceGrant, now: int) -> None:
        """Let a device that asks go on waiting; the person may take minutes."""
        until = min(now + self.config.device_silence_seconds, grant.ends_at)
        for item in (key, grant.user_key):
            self._grants.extend(item, expires_at=until, now=now)

    def _token(self, email: str, nonce: str) -> str:
        now = self._now()
        claims: dict[str, object] = {
            "iss": self.config.oidc_issuer,
            "sub": _subject(email),
            "aud": self.config.client_id,
            "iat": now,
            "exp": now + self.config.token_lifetime_seconds,
            "email": email,
            "email_verified": True,
        }
        if nonce:
            claims["nonce"] = nonce
        return jwt.encode({"alg": "RS256", "kid": self._key_id}, claims, self._key)

    def _now(self) -> int:
        return int(self._clock().timestamp())


def redirect_with_code(request: AuthorizationRequest, code: str) -> str:
    """Build the URL that takes the code to the client (RFC 6749 section 4.1.2)."""
    answer = {"code": code, **({"state": request.state} if request.state else {})}
    separator = "&" if urlsplit(request.redirect_uri).query else "?"
    return f"{request.redirect_uri}{separator}{urlencode(answer)}"


def _is_loopback_uri(uri: str) -> bool:
    """Say whether a redirect stays on this machine; any port will do (RFC 8252 section 7.3)."""
    if not uri.isascii() or not uri.isprintable() or any(char in uri for char in ' \\#"<>'):
        return False
    try:
        parts = urlsplit(uri)
        _ = parts.port
    except ValueError:
        return False
    return parts.scheme == "http" and is_loopback_host(exact_host(parts))


def _code_challenge(parameters: dict[str, str], *, required: bool) -> str:
    challenge = parameters.get("code_challenge", "")
    if not challenge and not required:
        return ""
    if parameters.get("code_challenge_method") != "S256" or len(challenge) != _CHALLENGE_CHARACTERS:
        raise OAuthError("invalid_request", "PKCE with code_challenge_method S256 is required")
    return challenge


def _check_verifier(parameters: dict[str, str], challenge: str) -> None:
    computed = _b64url(_hash(parameters.get("code_verifier", "")))
    if not hmac.compare_digest(computed.encode(), challenge.encode()):
        raise OAuthError("invalid_grant", "code_verifier does not belong to code_challenge")


def _subject(email: str) -> str:
    """Make the stable subject of an e-mail address."""
    return _b64url(hashlib.sha256(b"hallmark development subject\n" + email.encode()).digest()[:24])


def _hash(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


def _b64url(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).decode("ascii").rstrip("=")


def check_parameters(parameters: dict[str, str]) -> dict[str, str]:
    """Bound every parameter of a request; raises `MalformedInput`."""
    for name, value in parameters.items():
        if len(name) > 64 or len(value) > MAX_PARAMETER_CHARACTERS:
            raise MalformedInput(f"the parameter {name[:64]!r} is too long", code="malformed_form")
    return parameters
