"""The certificate authority: a token and a key in, a ten-minute certificate out.

The order of the steps is what makes mis-issuance hard; `issue_certificate` reads like the list:

1. Verify the token; nothing is looked at for somebody who has none.
2. Say who that is: the principal, by the issuer's type.
3. Check the proof of possession, and that the key's algorithm is allowed.
4. Plan the certificate and lint the plan. Only a plan can be signed.
5. Sign the precertificate, have the CT log append it, durably, and promise so.
6. Sign the certificate with that promise in it, and compare it with the precertificate.
"""

import secrets
from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from hallmark.ca.config import CaConfig
from hallmark.ca.issuers import OidcIssuers
from hallmark.ca.possession import SubjectKey, prove_possession
from hallmark.core.keys import PublicKey
from hallmark.core.oidc.identity import Principal, identify
from hallmark.core.oidc.token import parse_token, verify_token
from hallmark.core.x509.authority import read_authority
from hallmark.core.x509.profile import MAX_SERIAL_BITS, IssuancePlan, plan_issuance
from hallmark.core.x509.sct import Sct
from hallmark.errors import ConfigurationError, HallmarkError, Overloaded, RemoteError, Unauthenticated
from hallmark.ports import Clock, KeyPair
from hallmark.web.turns import Turns


class CtLog(Protocol):
    """The CT log as the authority sees it.

    The returned SCT is signed by the log's key over the precertificate without its poison, and the entry is
    durable. Raises `Overloaded` when the log has too much to do.
    """

    async def add_precertificate(self, precertificate: bytes, issuing_chain: Sequence[bytes]) -> Sct:
        """Append a precertificate; `issuing_chain` is DER from the issuing certificate to the root."""
        ...


class IssuedChain(msgspec.Struct, frozen=True):
    """A certificate and what stands above it, as PEM with a final newline each."""

    certificate: str
    issuers: tuple[str, ...]


class CertificateAuthority:
    """Issues signing certificates."""

    def __init__(
        self,
        *,
        issuing_key: KeyPair,
        issuing_chain: Sequence[bytes],
        ctlog: CtLog,
        ctlog_key: PublicKey,
        issuers: OidcIssuers,
        clock: Clock,
        config: CaConfig | None = None,
        new_serial: Callable[[], int] | None = None,
        turns: Turns | None = None,
    ) -> None:
        self.config = config or CaConfig()
        self.turns = turns or Turns()
        self.issuers = issuers
        self._authority = read_authority(issuing_chain)
        if issuing_key.spki != self._authority.public_key.spki:
            raise ConfigurationError("the issuing key is not the key of the issuing certificate")
        self._key = issuing_key
        self._ctlog = ctlog
        self._ctlog_key = ctlog_key
        self._clock = clock
        self._new_serial = new_serial or random_serial
        self.chain = tuple(_pem(der) for der in self._authority.chain)
        """The issuing chain, PEM, from the issuing certificate to the root."""

    async def issue_certificate(self, raw_token: str, subject: SubjectKey) -> IssuedChain:
        """Issue a certificate to whom the token names, for the key that the request proves.

        Raises `Unauthenticated`, what `prove_possession` and `plan_issuance` raise, `Overloaded`, or
        `RemoteError` with code `ctlog_failed` or `ca_backend_failed`.
        """
        flow = token_flow(raw_token)
        principal = await self._authenticate(raw_token, flow)
        plan = await self.turns.heavy(lambda: self._plan(subject, principal), flow)
        return IssuedChain(_pem(await self._issue(plan, flow)), self.chain)

    def _plan(self, subject: SubjectKey, principal: Principal) -> IssuancePlan:
        public_key = prove_possession(subject, principal, self.config.client_signing_algorithms)
        return plan_issuance(
            self._authority, principal, public_key, now=self._clock(), serial=self._new_serial()
        )

    async def _authenticate(self, raw_token: str, flow: str) -> Principal:
        if not raw_token:
            raise Unauthenticated("there is no identity token", code="missing_token")
        token = parse_token(raw_token)
        issuer = self.issuers.find(token)
        keys = await issuer.keys.keys(token.key_id)
        verify = partial(
            verify_token, token, keys, oidc_issuer=issuer.url, audience=issuer.audience, now=self._clock()
        )
        return identify(await self.turns.heavy(verify, flow), issuer.issuer_type)

    async def _issue(self, plan: IssuancePlan, flow: str) -> bytes:
        """Sign, log and sign again; takes nothing but a linted plan, which serves once."""
        precertificate = await self.turns.heavy(lambda: plan.sign_precertificate(self._sign), flow)
        try:
            sct = await self._ctlog.add_precertificate(precertificate, self._authority.chain)
        except Overloaded:
            raise
        except HallmarkError as error:
            raise RemoteError(f"the CT log: {error.message}", code="ctlog_failed") from error
        sign = partial(plan.sign_certificate, sct, self._ctlog_key, self._sign)
        return await self.turns.heavy(sign, flow)

    def _sign(self, message: bytes) -> bytes:
        try:
            return self._key.sign(message)
        except HallmarkError as error:
            raise RemoteError(f"the issuing key: {error.message}", code="ca_backend_failed") from error


def token_flow(raw_token: str) -> str:
    """Name the flow in which a token's requests wait: what one token is used for delays no other."""
    return f"token {hash(raw_token)}"


def random_serial() -> int:
    """Choose a random positive serial number of at most 159 bits."""
    return secrets.randbits(MAX_SERIAL_BITS) or 1


def _pem(der: bytes) -> str:
    return x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM).decode("ascii")
