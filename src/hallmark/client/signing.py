"""Signing without a key to keep.

    with Signer(trust_config, token_source) as signer:
        signed = signer.sign_digest(digest_file(path).value)

Token -> ephemeral P-256 key -> certificate -> signature -> timestamp -> all of that verified -> log entry ->
bundle, verified before anybody gets it. The entry comes last, because nothing takes it back: a signature that
could not end well must not stand in the log. The key lives in memory only, and no longer than the signer.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from threading import Lock
from typing import Final, Self

import msgspec
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

from hallmark.client.fulcio import API_VERSIONS as CA_VERSIONS
from hallmark.client.fulcio import FulcioClient
from hallmark.client.http import HttpClient, one_line
from hallmark.client.identity_token import IdentityToken
from hallmark.client.rekor import LOG_FROZEN, LogClient, RekorV2Client, Submission
from hallmark.client.rekor_v1 import RekorV1Client
from hallmark.client.timestamp import API_VERSIONS as TSA_VERSIONS
from hallmark.client.timestamp import TimestampClient
from hallmark.client.witnessed import WitnessWait
from hallmark.core.algorithms import HASHES, SHA2_256
from hallmark.core.bundle import Bundle, MessageSignature
from hallmark.core.dsse import IN_TOTO_PAYLOAD_TYPE, Envelope, EnvelopeSignature, pae
from hallmark.core.signing_config import ANY, ClientTrustConfig, Service, SigningConfig, select
from hallmark.core.statement import parse_statement
from hallmark.core.transparency_log_entry import TransparencyLogEntry
from hallmark.core.trusted_root import TrustedRoot
from hallmark.core.x509.certificate import SigningCertificate, parse_signing_certificate
from hallmark.errors import (
    ConfigurationError,
    HallmarkError,
    MalformedInput,
    RemoteError,
    TrustError,
    VerificationError,
)
from hallmark.policy.identity import Identity
from hallmark.ports import Clock
from hallmark.verify.verifier import Artifact, Thresholds, Verified, Verifier

TokenSource = Callable[[], IdentityToken]
"""Gives an identity token: read from somewhere, or by letting a person log in."""

AUDIENCE: Final = "sigstore"

_KEY_DETAILS: Final = "PKIX_ECDSA_P256_SHA_256"
_PREHASHED: Final = ec.ECDSA(Prehashed(hashes.SHA256()))
_THREADS: Final = 16
_RENEW_BEFORE: Final = timedelta(seconds=30)
_LOG_CLIENTS: Final[dict[int, Callable[[str, HttpClient], LogClient]]] = {1: RekorV1Client, 2: RekorV2Client}
_UNLOGGED: Final = Thresholds(tlog=0)
_LOGGED: Final = Thresholds()
_MAX_CLOCK_SKEW: Final = timedelta(minutes=5)


class Signed(msgspec.Struct, frozen=True):
    """A bundle, and what verifying it proved.

    `witnessed` says whether its log entries carry the cosignatures that were waited for.
    """

    bundle: Bundle
    verified: Verified
    witnessed: bool = False


class _Place(msgspec.Struct, frozen=True):
    """Where one signature is made, and what its bundle must verify against."""

    trusted_root: TrustedRoot
    services: "SigningServices"


class _NothingLogged(Exception):
    """A log takes no more entries, and no other log has made one for this signature."""

    def __init__(self, error: HallmarkError) -> None:
        super().__init__(error.message)
        self.error = error


class SigningServices(msgspec.Struct, frozen=True, kw_only=True):
    """The services of one instance that a signature needs."""

    certificate_authority: FulcioClient
    logs: tuple[LogClient, ...]
    timestamp_authorities: tuple[TimestampClient, ...]


class _Session(msgspec.Struct, frozen=True):
    """One key and the certificate for it."""

    key: ec.EllipticCurvePrivateKey
    certificate: SigningCertificate


def choose_services(config: SigningConfig, http: HttpClient, now: datetime) -> SigningServices:
    """Choose the services to sign with; raises `TrustError` (`no_service`) where one is missing."""
    authorities = select(config.ca_urls, CA_VERSIONS, ANY, now)
    if not authorities:
        raise TrustError("the signing config names no certificate authority", code="no_service")
    logs = select(config.rekor_tlog_urls, _LOG_CLIENTS.keys(), config.rekor_tlog_config, now)
    if not logs:
        raise TrustError("the signing config names no transparency log", code="no_service")
    timestamps = select(config.tsa_urls, TSA_VERSIONS, config.tsa_config, now)
    if not timestamps and logs[0].major_api_version != 1:  # `select` gives services of one version
        raise TrustError(
            "the signing config names no timestamp authority, and its log states no times", code="no_service"
        )
    return SigningServices(
        certificate_authority=FulcioClient(authorities[0].url, http),
        logs=tuple(_log_client(log, http) for log in logs),
        timestamp_authorities=tuple(TimestampClient(item.url, http) for item in timestamps),
    )


def _log_client(service: Service, http: HttpClient) -> LogClient:
    return _LOG_CLIENTS[service.major_api_version](service.url, http)


def system_clock() -> datetime:
    """Tell the machine's time."""
    return datetime.now(UTC)


class Signer:
    """Signs any number of artifacts with one identity; safe to share between threads.

    The first signature takes a token and a certificate; all that follow share them, until the certificate is
    about to expire. Use it as a context manager: at the end the key is forgotten. With `witnesses` it waits
    until the witnesses of the log have signed, as long as that says; see `Signed.witnessed`. `renew` gives
    newer trust material where the log turns out to be frozen; the signature then goes to the log it names.
    """

    def __init__(
        self,
        trust: ClientTrustConfig,
        token_source: TokenSource,
        http: HttpClient | None = None,
        *,
        clock: Clock = system_clock,
        witnesses: WitnessWait | None = None,
        renew: Callable[[], ClientTrustConfig] | None = None,
    ) -> None:
        self._witnesses = witnesses
        self._http = http or HttpClient()
        self._clock = clock
        self._renew = renew
        self._place = self._place_of(trust)
        self._token_source = token_source
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="hallmark-signer")
        self._lock = Lock()
        self._session: _Session | None = None
        self._closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Forget the key; it signs nothing from then on."""
        self._closed, self._session = True, None  # without the lock: somebody may be logging in under it
        self._threads.shutdown(wait=False, cancel_futures=True)

    def sign_artifact(self, message: bytes) -> Signed:
        """Sign bytes that are in memory; raises as `sign_digest` does."""
        return self.sign_digest(SHA2_256.digest(message))

    def sign_digest(self, digest: bytes) -> Signed:
        """Sign an artifact by its SHA-256 digest.

        Raises `RemoteError` (a service failed), `Unauthenticated` and `PolicyViolation` (the authority
        refused), and `VerificationError` where the services' answers do not verify: then nothing leaves.
        """
        artifact = Artifact(hash_algorithm=SHA2_256, digest=digest)
        session = self._current_session()
        signature = session.key.sign(digest, _PREHASHED)
        bundle = Bundle(
            certificate=session.certificate.der,
            message_signature=MessageSignature(SHA2_256, digest, signature),
        )
        return self._complete(bundle, _submission(session, digest, signature), artifact, session)

    def sign_statement(self, statement: bytes) -> Signed:
        """Sign an in-toto statement (its JSON) in a DSSE envelope; raises as `sign_digest` does."""
        artifact = _first_subject(statement)
        digest = SHA2_256.digest(pae(IN_TOTO_PAYLOAD_TYPE, statement))
        session = self._current_session()
        signature = session.key.sign(digest, _PREHASHED)
        envelope = Envelope(
            payload=statement,
            payload_type=IN_TOTO_PAYLOAD_TYPE,
            signatures=(EnvelopeSignature(signature),),
        )
        bundle = Bundle(certificate=session.certificate.der, envelope=envelope)
        submission = _submission(session, digest, signature, envelope)
        return self._complete(bundle, submission, artifact, session)

    def _place_of(self, trust: ClientTrustConfig) -> _Place:
        return _Place(trust.trusted_root, choose_services(trust.signing_config, self._http, self._clock()))

    def _complete(
        self, bundle: Bundle, submission: Submission, artifact: Artifact, session: _Session
    ) -> Signed:
        """Sign once more, with newer trust material, where the log is frozen and nothing has been logged."""
        place = self._place
        try:
            return self._complete_at(place, bundle, submission, artifact, session)
        except _NothingLogged as frozen:
            newer = self._renewed(place, frozen.error)
        try:
            return self._complete_at(newer, bundle, submission, artifact, session)
        except _NothingLogged as frozen:
            raise frozen.error from None

    def _complete_at(
        self, place: _Place, bundle: Bundle, submission: Submission, artifact: Artifact, session: _Session
    ) -> Signed:
        """Gather the evidence, the log entry last, and verify the bundle as its reader will."""
        times = [
            self._threads.submit(authority.fetch, submission.signature)
            for authority in place.services.timestamp_authorities
        ]
        timestamped = _with(bundle, timestamps=tuple(time.result() for time in times))
        if times:  # without, nothing but the log's entry states a time to verify at
            self._verify(Verifier(place.trusted_root, _UNLOGGED), timestamped, artifact, session)
        entries = self._log_all(place.services.logs, submission)
        try:
            complete = _with(timestamped, tlog_entries=entries)
            verified = self._verify(Verifier(place.trusted_root, _LOGGED), complete, artifact, session)
        except RemoteError as error:
            raise logged_error(error, entries) from None
        wait = self._witnesses
        witnessed = wait is not None and all(wait.is_witnessed(entry) for entry in entries)
        return Signed(complete, verified, witnessed)

    def _renewed(self, place: _Place, frozen: HallmarkError) -> _Place:
        """Find where to sign in place of `place`, once for all threads; raises `RemoteError`."""
        with self._lock:
            if self._place is not place:  # another thread was here first
                return self._place
            if self._renew is None:
                raise frozen
            renew, self._renew = self._renew, None
            try:
                newer = self._place_of(renew())
            except HallmarkError as error:
                raise RemoteError(
                    f"{frozen.message}; newer trust material may name another log, but {error.message}",
                    code=frozen.code,
                    hint=frozen.hint,
                ) from None
            if _log_urls(newer) == _log_urls(place):
                raise RemoteError(
                    frozen.message,
                    code=frozen.code,
                    hint="the newest trust material names no other log: ask the operator of the instance",
                )
            self._place, self._renew = newer, renew
            return newer

    def _verify(self, verifier: Verifier, bundle: Bundle, artifact: Artifact, session: _Session) -> Verified:
        identity = session.certificate.identity
        policy = Identity(identity=identity.identity, oidc_issuer=identity.oidc_issuer)
        try:
            return verifier.verify(bundle, artifact, policy)
        except VerificationError as error:
            raise _unusable(error, self._clock(), session) from None

    def _log_all(
        self, logs: tuple[LogClient, ...], submission: Submission
    ) -> tuple[TransparencyLogEntry, ...]:
        """Ask all logs at once; where one fails, the error names the entries that others made."""
        asked = [self._threads.submit(self._log, log, submission) for log in logs]
        made, failures = [], []
        for answer in asked:
            try:
                made.append(answer.result())
            except HallmarkError as error:
                failures.append(error)
        if not failures:
            return tuple(made)
        frozen = next((error for error in failures if error.code == LOG_FROZEN), None)
        if frozen is not None and not made:
            raise _NothingLogged(frozen)
        raise logged_error(failures[0], tuple(made)) from None

    def _log(self, log: LogClient, submission: Submission) -> TransparencyLogEntry:
        entry = log.submit(submission)
        if self._witnesses is None or not isinstance(log, RekorV2Client):
            return entry
        return self._witnesses.wait(log, entry)

    def _current_session(self) -> _Session:
        with self._lock:
            if self._closed:  # else it would log in and get another certificate first
                raise ConfigurationError(
                    "the signer is closed",
                    code="signer_closed",
                    hint="make a new one, and sign inside its with",
                )
            session = self._session
            if session is None or self._clock() > session.certificate.not_after - _RENEW_BEFORE:
                session = self._session = self._new_session()
            return session

    def _new_session(self) -> _Session:
        token = self._token_source()
        token.check(audience=AUDIENCE, now=self._clock())
        key = ec.generate_private_key(ec.SECP256R1())
        issued = self._place.services.certificate_authority.issue(token.raw, key)
        try:
            return _Session(key, parse_signing_certificate(issued.certificate))
        except (MalformedInput, VerificationError) as error:
            raise RemoteError(
                f"the certificate authority issued no signing certificate: {error.message}",
                code="malformed_answer",
            ) from None


def _with(bundle: Bundle, **evidence: tuple[object, ...]) -> Bundle:
    """Add evidence; what cannot stand in a bundle, such as one entry from two logs, is a service's fault."""
    try:
        return msgspec.structs.replace(bundle, **evidence)
    except MalformedInput as error:
        raise RemoteError(
            f"what the services answered makes no bundle: {error.message}", code="unverifiable_answer"
        ) from None


def _log_urls(place: _Place) -> tuple[str, ...]:
    return tuple(log.url for log in place.services.logs)


def _submission(
    session: _Session, digest: bytes, signature: bytes, envelope: Envelope | None = None
) -> Submission:
    return Submission(
        digest=digest,
        hash_algorithm=SHA2_256,
        signature=signature,
        certificate=session.certificate.der,
        key_details=_KEY_DETAILS,
        envelope=envelope,
    )


def _first_subject(statement: bytes) -> Artifact:
    """Any subject will do for the check of our own bundle; one without a digest we know cannot be signed."""
    names = {item.name: item for item in HASHES.values()}
    for subject in parse_statement(statement).subjects:
        for name, value in subject.digests:
            if name in names and len(value) == 2 * names[name].size:
                return Artifact(hash_algorithm=names[name], digest=bytes.fromhex(value))
    raise MalformedInput("no subject of the statement has a SHA-256, SHA-384 or SHA-512 digest")


def logged_error(error: HallmarkError, entries: tuple[TransparencyLogEntry, ...]) -> HallmarkError:
    """Say in an error that log entries were made before it: they stay, whatever becomes of the bundle."""
    if not entries:
        return error
    made = ", ".join(f"{entry.log_index} of {_origin(entry)}" for entry in entries)
    return type(error)(f"{error.message}; log entry {made} was made", code=error.code, hint=error.hint)


def _origin(entry: TransparencyLogEntry) -> str:
    """Name an entry's log as its checkpoint does, or by its id: nothing here has been verified."""
    if entry.inclusion_proof is not None:
        origin = entry.inclusion_proof.checkpoint.partition(b"\n")[0].decode("ascii", "replace")
        if origin:
            return one_line(origin)
    return f"the log {entry.log_id.hex()[:16]}"


def _unusable(error: VerificationError, now: datetime, session: _Session) -> RemoteError:
    """Our own bundle does not verify: a service lied, or the trusted root is not of this instance."""
    ahead = session.certificate.not_before - now
    hint = "is the trusted root of this instance? fetch it again with hallmark context update"
    if ahead > _MAX_CLOCK_SKEW:
        hint = f"this machine's clock seems to be {ahead} behind the instance's"
    return RemoteError(
        f"what the services answered does not verify: {error.message}", code="unverifiable_answer", hint=hint
    )
