"""The timestamp authority: says that a digest existed at a time (RFC 3161)."""

import secrets
from datetime import datetime
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from hallmark.core.timestamp import TimestampRequest
from hallmark.core.timestamp_response import build_response, token_signer
from hallmark.core.x509.tsa_chain import check_tsa_chain
from hallmark.errors import ConfigurationError, HallmarkError, InvalidCertificate, PolicyViolation, TrustError
from hallmark.ports import Clock, KeyPair
from hallmark.tsa.config import TsaConfig

_SERIAL_BITS: Final = 160


class TimestampAuthority:
    """Stamps digests under one key and chain; keeps no state, so any number of processes may run it.

    `chain` is DER, leaf first, root last. It is checked here, once: `ConfigurationError` says what is wrong
    with it, be it that it is not valid now or that its leaf belongs to another key.
    """

    def __init__(self, config: TsaConfig, chain: tuple[bytes, ...], key: KeyPair, clock: Clock) -> None:
        self.config = config
        self._clock = clock
        try:
            self._chain = check_tsa_chain(chain)
            self._chain.check_time(clock())
        except HallmarkError as error:
            raise ConfigurationError(error.message, code=error.code) from None
        if self._chain.key.spki != key.spki:
            raise ConfigurationError(f"the certificate {self._chain.name} belongs to another key")
        if config.require_intermediate_key_usage:
            _check_intermediates(chain[1:-1])
        hash_algorithm = self._chain.key.algorithm.hash
        if hash_algorithm is None:
            raise ConfigurationError("a timestamp authority signs with ECDSA or RSA")
        self._signer = token_signer(
            chain, key.sign, hash_algorithm=hash_algorithm, include_chain=config.include_chain
        )
        self.chain_pem = "".join(_to_pem(der) for der in chain)

    @property
    def not_after(self) -> datetime:
        """Tell when the chain ends, and with it this authority."""
        return self._chain.not_after

    def stamp(self, request: TimestampRequest) -> bytes:
        """Grant a request: the bytes of a TimeStampResp.

        Raises `PolicyViolation` with code `unaccepted_policy` or `unaccepted_extension`, and `TrustError`
        when the chain is not valid now: what it signs could not be verified.
        """
        policy = request.policy or self.config.default_policy
        if policy not in self.config.accepted_policies:
            raise PolicyViolation(f"policy {policy} is not accepted", code="unaccepted_policy")
        if request.has_extensions:
            raise PolicyViolation("extensions in requests are not accepted", code="unaccepted_extension")
        now = self._clock()
        try:
            self._chain.check_time(now.replace(microsecond=0))
        except InvalidCertificate as error:
            raise TrustError(error.message, code=error.code) from None
        serial = secrets.randbits(_SERIAL_BITS) or 1
        return build_response(request, self._signer, time=now, serial=serial, policy=policy)


def _check_intermediates(chain: tuple[bytes, ...]) -> None:
    for der in chain:
        certificate = x509.load_der_x509_certificate(der)
        try:
            usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        except x509.ExtensionNotFound:
            usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE])
        if ExtendedKeyUsageOID.TIME_STAMPING not in usage:
            raise ConfigurationError(
                f"the intermediate {certificate.subject.rfc4514_string()} is not restricted to timestamping",
                hint="set require_intermediate_key_usage = false to use it all the same",
            )


def _to_pem(der: bytes) -> str:
    return x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM).decode("ascii")
