"""What is signed or verified: a file, read as a stream, or a digest named in its place."""

import hashlib
import os
import re
import stat
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import msgspec

from hallmark.client.files import file_error
from hallmark.core.algorithms import SHA2_256, SHA2_384, SHA2_512, HashAlgorithm
from hallmark.errors import ConfigurationError

_CHUNK: Final = 1 << 20
_NAMED: Final = {item.name: item for item in (SHA2_256, SHA2_384, SHA2_512)}
_DIGEST: Final = re.compile(r"(sha256|sha384|sha512):([0-9A-Fa-f]+)", re.ASCII)


class Digest(msgspec.Struct, frozen=True):
    """A digest with the hash function that made it."""

    hash_algorithm: HashAlgorithm
    value: bytes

    def __str__(self) -> str:
        return f"{self.hash_algorithm.name}:{self.value.hex()}"


def parse_digest(text: str) -> Digest:
    """Read `sha256:HEX` (or sha384, sha512); raises `ConfigurationError`."""
    match = _DIGEST.fullmatch(text)
    if match and len(match[2]) == 2 * _NAMED[match[1]].size:
        return Digest(_NAMED[match[1]], bytes.fromhex(match[2]))
    raise ConfigurationError(
        f"{text[:140]!r} is not a digest",
        code="bad_digest",
        hint="a digest is written sha256:, sha384: or sha512:, and all its hexadecimal digits",
    )


def is_digest(text: str) -> bool:
    """Say whether a command's argument means a digest: it reads like one, and no file has that name."""
    return _DIGEST.fullmatch(text) is not None and not os.path.exists(text)


Watch = Callable[[int, int], None]
"""Is told, now and then, how many bytes of how many have been hashed."""


def unwatched(_done: int, _total: int) -> None:
    """Watch nothing."""


def digest_file(path: Path, hash_algorithm: HashAlgorithm = SHA2_256) -> Digest:
    """Hash a file; see `digest_file_with`."""
    return digest_file_with(path, (hash_algorithm,))[0]


def digest_file_with(
    path: Path, hash_algorithms: Sequence[HashAlgorithm], watch: Watch = unwatched
) -> tuple[Digest, ...]:
    """Hash a file with several hash functions at once, in constant memory whatever its size.

    A directory or a device is refused, and so is a file that changes while it is read: no signature should
    stand for bytes that were never together. Raises `ConfigurationError`.
    """
    try:
        before = path.stat()
        if not stat.S_ISREG(before.st_mode):
            raise _no_file(path, before.st_mode)
        hashers = [hashlib.new(item.name) for item in hash_algorithms]
        buffer = memoryview(bytearray(_CHUNK))
        done = 0
        with path.open("rb", buffering=0) as file:
            while count := file.readinto(buffer):
                for hasher in hashers:
                    hasher.update(buffer[:count])
                done += count
                watch(done, before.st_size)
        after = path.stat()
    except OSError as error:
        raise file_error(error, path, doing="read") from None
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise ConfigurationError(
            f"{path} changed while it was read", code="file_changed", hint="run the command again"
        )
    return tuple(Digest(item, hasher.digest()) for item, hasher in zip(hash_algorithms, hashers, strict=True))


def _no_file(path: Path, mode: int) -> ConfigurationError:
    if stat.S_ISDIR(mode):
        return ConfigurationError(
            f"{path} is a directory", code="is_a_directory", hint="name the files in it"
        )
    return ConfigurationError(
        f"{path} is not a regular file", code="not_a_file", hint="copy its content to a file first"
    )
