"""The certificate authority's client (Fulcio, `POST /api/v2/signingCert`)."""

from typing import Final

import msgspec
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from hallmark.client.http import Answer, HttpClient, problem_text, refused
from hallmark.core.encoding.protojson import format_bytes
from hallmark.errors import PolicyViolation, RemoteError, Unauthenticated

SERVICE: Final = "the certificate authority"
API_VERSIONS: Final = (1,)
_MAX_CHAIN: Final = 10


class IssuedCertificate(msgspec.Struct, frozen=True):
    """What the authority answered, unverified but for its key: the leaf and its chain to the root, DER."""

    certificate: bytes
    chain: tuple[bytes, ...]


class _Chain(msgspec.Struct, frozen=True):
    certificates: list[str]


class _Embedded(msgspec.Struct, frozen=True):
    chain: _Chain


class _SigningCertificate(msgspec.Struct, frozen=True, rename="camel"):
    signed_certificate_embedded_sct: _Embedded | None = None


class FulcioClient:
    """Asks one certificate authority for certificates."""

    def __init__(self, url: str, http: HttpClient) -> None:
        self._url = url.rstrip("/") + "/api/v2/signingCert"
        self._http = http

    def issue(self, token: str, key: ec.EllipticCurvePrivateKey) -> IssuedCertificate:
        """Ask for a certificate for `key` and the identity in `token`.

        The signing request proves the possession of the key. Raises `Unauthenticated` where the token is
        refused, `PolicyViolation` where its identity is, and `RemoteError`.
        """
        request = {"certificateSigningRequest": format_bytes(_signing_request(key))}
        answer = self._http.post(
            self._url,
            msgspec.json.encode(request),
            service=SERVICE,
            headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
            idempotent=False,
        )
        if answer.status not in {200, 201}:
            raise _refused(answer, self._url)
        issued = _parse_answer(answer.body)
        _check_key(issued.certificate, key)
        return issued


def _signing_request(key: ec.EllipticCurvePrivateKey) -> bytes:
    builder = x509.CertificateSigningRequestBuilder(subject_name=x509.Name([]))
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)


def _refused(answer: Answer, url: str) -> Exception:
    """Fulcio answers 400 to bad tokens and bad keys alike; our keys are sound, so it is the token."""
    error = refused(answer, service=SERVICE, url=url)
    if answer.status in {400, 401} and "token" in problem_text(answer.body).lower():
        return Unauthenticated(
            error.message,
            code="token_refused",
            hint="get a new token for this instance",
        )
    if answer.status == 403:
        return PolicyViolation(
            error.message, code="identity_refused", hint="ask the operator who may sign on this instance"
        )
    return error


def _parse_answer(body: bytes) -> IssuedCertificate:
    try:
        found = msgspec.json.decode(body, type=_SigningCertificate).signed_certificate_embedded_sct
        pems = found.chain.certificates[: _MAX_CHAIN + 1] if found else []
        chain = [x509.load_pem_x509_certificate(pem.encode()).public_bytes(Encoding.DER) for pem in pems]
    except (msgspec.MsgspecError, ValueError, RecursionError, x509.InvalidVersion):
        raise RemoteError(f"{SERVICE} answered with no certificate", code="malformed_answer") from None
    if not 2 <= len(chain) <= _MAX_CHAIN:
        raise RemoteError(
            f"{SERVICE} answered with {len(chain)} certificates with an embedded SCT, not a chain",
            code="malformed_answer",
        )
    return IssuedCertificate(chain[0], tuple(chain[1:]))


def _check_key(certificate: bytes, key: ec.EllipticCurvePrivateKey) -> None:
    spki = PublicFormat.SubjectPublicKeyInfo
    try:
        certified = x509.load_der_x509_certificate(certificate).public_key().public_bytes(Encoding.DER, spki)
    except (ValueError, UnsupportedAlgorithm):
        certified = b""
    if certified != key.public_key().public_bytes(Encoding.DER, spki):
        raise RemoteError(f"{SERVICE} certified another key than ours", code="malformed_answer")
