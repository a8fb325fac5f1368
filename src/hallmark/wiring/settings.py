"""What an operator may set in a file: `hallmark up --config FILE` (docs/operate/settings.md)."""

import re
import tomllib
from pathlib import Path
from typing import Final, Literal
from urllib.parse import urlsplit

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from hallmark.adapters.keys.file import read_key
from hallmark.errors import ConfigurationError
from hallmark.tlog.config import TlogConfig
from hallmark.wiring.layout import is_url

MAX_SETTINGS_BYTES: Final = 64 * 1024
_SCHEME: Final = re.compile("[A-Za-z][A-Za-z0-9+.-]*://|file:")  # RFC 3986 section 3.1
_HINT: Final = "docs/operate/settings.md lists every setting with its default"


class GrpcSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where and how the signature log is served over gRPC.

    `listen` is `HOST:PORT` of the first shard; shard N is served N - 1 ports higher. `tls_certificate` is a
    PEM file with the server's certificate and its chain, `tls_key` one with its private key: both or neither.
    """

    listen: str | None = None
    tls_certificate: str | None = None
    tls_key: str | None = None

    def __post_init__(self) -> None:
        if (self.tls_certificate is None) is not (self.tls_key is None):
            raise ValueError("tls_certificate and tls_key go together")


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything that can be set; the defaults are what an instance without a file does."""

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_file: str | None = None
    log_requests: bool = False
    mirrors: tuple[str, ...] = ()
    tlog: TlogConfig = TlogConfig()
    grpc: GrpcSettings = GrpcSettings()


def parse_settings(data: bytes, path: Path) -> Settings:
    """Read a settings file; paths in it count from its own folder.

    Raises `ConfigurationError` (`wrong_setting`), also for a TLS key that others can read or that is not the
    certificate's.
    """
    try:
        found = msgspec.convert(tomllib.loads(data.decode()), Settings)
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise ConfigurationError(f"{path}: {error}", code="wrong_setting", hint=_HINT) from None
    if found.tlog.max_body_bytes_in_flight < found.tlog.max_body_bytes:
        raise ConfigurationError(
            f"{path}: tlog.max_body_bytes_in_flight is smaller than tlog.max_body_bytes",
            code="wrong_setting",
            hint=_HINT,
        )
    if found.log_file is not None:
        found = msgspec.structs.replace(found, log_file=str(path.parent.absolute() / found.log_file))
    found = msgspec.structs.replace(found, mirrors=tuple(_placed(item, path) for item in found.mirrors))
    if found.grpc.tls_certificate is None or found.grpc.tls_key is None:
        return found
    certificate = path.parent / found.grpc.tls_certificate
    key = path.parent / found.grpc.tls_key
    _check_tls(certificate, key)
    grpc = msgspec.structs.replace(found.grpc, tls_certificate=str(certificate), tls_key=str(key))
    return msgspec.structs.replace(found, grpc=grpc)


def _placed(place: str, path: Path) -> str:
    """Give the place of a mirror, a URL or a folder, so that it holds in any working directory.

    Raises `ConfigurationError` (`wrong_setting`) for one that could never be asked.
    """
    if is_url(place):
        if not _has_host(place):
            raise _wrong_mirror(path, place, "is a URL without a host, or with a user name")
        return place
    if _SCHEME.match(place):
        raise _wrong_mirror(path, place, "is neither an http or https URL nor a folder")
    folder = path.parent.absolute() / place
    if not place.strip() or not folder.is_dir():
        raise _wrong_mirror(path, place, "is not a folder")
    return str(folder)


def _has_host(url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:  # brackets that do not close
        return False
    return bool(parts.hostname) and parts.username is None


def _wrong_mirror(path: Path, place: str, what: str) -> ConfigurationError:
    return ConfigurationError(f"{path}: mirrors: {place!r} {what}", code="wrong_setting", hint=_HINT)


def _check_tls(certificate: Path, key: Path) -> None:
    try:
        first = x509.load_pem_x509_certificates(certificate.read_bytes())[0]
    except OSError as error:
        raise ConfigurationError(
            f"{certificate} cannot be read: {error.strerror}", code="wrong_setting", hint=_HINT
        ) from None
    except ValueError:
        raise ConfigurationError(
            f"{certificate} holds no certificate in PEM", code="wrong_setting", hint=_HINT
        ) from None
    spki = first.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if read_key(key).spki != spki:
        raise ConfigurationError(
            f"the key in {key} is not that of the certificate in {certificate}",
            code="wrong_setting",
            hint="name the key that the certificate was issued for",
        )
