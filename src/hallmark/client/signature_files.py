"""Where signatures stand: beside their files, under the names that the tools of the field give them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from hallmark.client.files import read_file
from hallmark.client.streams import read_input
from hallmark.core.bundle import MAX_BUNDLE_BYTES
from hallmark.core.foreign_signatures import parse_detached_signature
from hallmark.core.signature_file import FoundBundle, SignatureFile, parse_signature_file
from hallmark.errors import MalformedInput, SignatureNotFound

SUFFIX: Final = ".sigstore.json"
OWN_SUFFIXES: Final = (SUFFIX, ".sigstore", ".sigstore.jsonl")
"""Endings of files that hold nothing but Sigstore bundles."""
SUFFIXES: Final = (
    *OWN_SUFFIXES,
    ".bundle",  # cosign's documentation
    ".publish.attestation",  # PEP 740
    ".provenance",
)
DETACHED: Final = ".sig"
_CERTIFICATES: Final = (".pem", ".crt", ".cert")
_MAX_DETACHED_BYTES: Final = 256 * 1024


class Signatures(msgspec.Struct, frozen=True):
    """What was found, and in which file."""

    path: Path
    file: SignatureFile


def read_signatures(path: Path) -> Signatures:
    """Read a file with signatures, or a stream; raises as `parse_signatures` does."""
    return parse_signatures(path, read_input(path, max_bytes=MAX_BUNDLE_BYTES))


def parse_signatures(path: Path, data: bytes) -> Signatures:
    """Read what stands at `path`; raises `MalformedInput` (`unreadable_signature`, or `not_a_signature`)."""
    try:
        if path.suffix == DETACHED and data.strip()[:1] != b"{":
            return Signatures(path, _detached(path, data))
        return Signatures(path, parse_signature_file(data))
    except MalformedInput as error:
        known = error.code == "not_a_signature"
        raise MalformedInput(
            f"{path} cannot be used: {error.message}",
            code=error.code if known else "unreadable_signature",
            hint=error.hint or "see that it is the file you meant; if so, ask who wrote it for another",
        ) from None


def find_signatures(artifact: Path) -> Signatures:
    """Read the first file with signatures that stands beside an artifact.

    Raises `SignatureNotFound`, and as `read_signatures` does.
    """
    places = [artifact.with_name(artifact.name + suffix) for suffix in (*SUFFIXES, DETACHED)]
    found = next((place for place in places if place.exists()), None)
    if found is None:
        raise SignatureNotFound(
            f"no bundle at {places[0]}", hint="pass --bundle FILE, or sign it with hallmark sign"
        )
    return read_signatures(found)


def _detached(path: Path, signature: bytes) -> SignatureFile:
    """A bare signature, with the certificate that stands beside it under the same name."""
    places = [path.with_suffix(suffix) for suffix in _CERTIFICATES]
    beside = next((place for place in places if place.exists()), None)
    certificate = b"" if beside is None else read_file(beside, max_bytes=_MAX_DETACHED_BYTES)
    bundle = parse_detached_signature(signature, certificate)
    return SignatureFile("a detached signature", (FoundBundle(bundle),))


def without_signatures(names: Sequence[str]) -> list[str]:
    """Leave out the signatures of files that are named too: `dist/*` means the files in it."""
    named = set(names)
    return [name for name in dict.fromkeys(names) if not (named & set(_owners(name)))]


def _owners(name: str) -> list[str]:
    """Name the files that a file could hold the signature of."""
    endings = (*SUFFIXES, DETACHED, *_CERTIFICATES)
    return [name.removesuffix(suffix) for suffix in endings if name.endswith(suffix)]
