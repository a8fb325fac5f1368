"""Standard input and output, and what a shell puts in a file's place with `<(...)`: read or written once."""

import hashlib
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from hallmark.client.artifact import Digest, Watch, digest_file_with, unwatched
from hallmark.client.files import file_error, read_file
from hallmark.core.algorithms import SHA2_256, HashAlgorithm
from hallmark.errors import ConfigurationError

STANDARD_INPUT: Final = 0
STANDARD_OUTPUT: Final = 1
_CHUNK: Final = 1 << 20
_STANDARD: Final = {"/dev/stdin": 0, "/dev/stdout": 1, "/dev/stderr": 2}
_DESCRIPTOR: Final = re.compile(r"/(?:dev|proc/self)/fd/([0-9]{1,6})", re.ASCII)


def descriptor_of(path: Path, *, dash: int = STANDARD_INPUT) -> int | None:
    """Find the open descriptor that a name stands for, None for a file; `-` is the one of `dash`.

    By name and not by kind: a named pipe that nobody writes to would hang a command for ever.
    """
    name = str(path)
    if name == "-":
        return dash
    match = _DESCRIPTOR.fullmatch(name)
    return int(match[1]) if match else _STANDARD.get(name)


def digest_input(path: Path, watch: Watch = unwatched) -> Digest:
    """Hash a file or a stream with SHA-256; see `digest_input_with`."""
    return digest_input_with(path, (SHA2_256,), watch)[0]


def digest_input_with(
    path: Path, hash_algorithms: Sequence[HashAlgorithm], watch: Watch = unwatched
) -> tuple[Digest, ...]:
    """Hash a file or a stream with several hash functions at once, in constant memory whatever its size.

    Raises `ConfigurationError`.
    """
    descriptor = descriptor_of(path)
    if descriptor is None:
        return digest_file_with(path, hash_algorithms, watch)
    hashers = [hashlib.new(item.name) for item in hash_algorithms]
    try:
        while data := os.read(descriptor, _CHUNK):
            for hasher in hashers:
                hasher.update(data)
    except OSError as error:
        raise file_error(error, path, doing="read") from None
    return tuple(Digest(item, hasher.digest()) for item, hasher in zip(hash_algorithms, hashers, strict=True))


def read_input(path: Path, *, max_bytes: int) -> bytes:
    """Read a small file or stream whole; raises `ConfigurationError`, also for more than `max_bytes`."""
    descriptor = descriptor_of(path)
    if descriptor is None:
        return read_file(path, max_bytes=max_bytes)
    data = bytearray()
    try:
        while len(data) <= max_bytes and (read := os.read(descriptor, _CHUNK)):
            data += read
    except OSError as error:
        raise file_error(error, path, doing="read") from None
    if len(data) > max_bytes:
        raise ConfigurationError(
            f"{path} has more than {max_bytes} bytes", code="file_too_large", hint="check the input"
        )
    return bytes(data)
