"""A witness in a directory of its own: its name and keys, what it remembers, its application.

witness.json             the name; written last, so its presence makes the witness
keys/                    ed25519.pem and ml-dsa-44.pem, 0600
heads.db                 the newest checkpoint that was cosigned of each log
"""

from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey

from hallmark.adapters.keys.file import load_private_key, write_key
from hallmark.adapters.storage.witness_state import SqliteWitnessState
from hallmark.core.cosignature import CosigningKey
from hallmark.core.vkey import VerifierKey
from hallmark.durable_files import sync_folder, write_durably
from hallmark.errors import ConfigurationError, MalformedInput
from hallmark.web.application import Dispatcher
from hallmark.web.asgi import App
from hallmark.web.health import health_routes
from hallmark.web.turns import Turns
from hallmark.wiring.application import utc_now
from hallmark.witness import http
from hallmark.witness.config import WitnessConfig
from hallmark.witness.service import CosigningKeys, Witness

VERSION: Final = 1
_KEYS: Final = ("ed25519", "ml-dsa-44")


class WitnessFile(msgspec.Struct, frozen=True, kw_only=True):
    """The content of witness.json. The name never changes: cosignatures and policies carry it."""

    version: int
    name: str


class OpenWitness(msgspec.Struct, frozen=True):
    """A witness that can serve; `vkeys` are what policies name."""

    app: App
    vkeys: tuple[VerifierKey, ...]


def open_witness(
    root: Path, name: str, config: WitnessConfig, *, on_failure: Callable[[BaseException], None]
) -> OpenWitness:
    """Open the witness in this directory, which the caller has locked; the first time makes its keys.

    An empty `name` stands for the name it has. Raises `ConfigurationError`.
    """
    if not (root / "witness.json").exists():
        _create(root, name)
    known = _read(root, name)
    state = SqliteWitnessState(root / "heads.db")
    keys = CosigningKeys(known.name, [_load(root, key) for key in _KEYS])
    witness = Witness(config, keys, state, utc_now, on_failure=on_failure)
    turns = Turns()
    hot = http.hot_routes(witness, turns)
    routes = [*health_routes(), *http.routes(witness, hot)]
    return OpenWitness(Dispatcher(routes, hot, turns), keys.vkeys)


def _create(root: Path, name: str) -> None:
    """Make keys and an empty memory; a start that was killed here leaves no witness, and begins again."""
    keys: dict[str, Ed25519PrivateKey | MLDSA44PrivateKey] = {
        "ed25519": Ed25519PrivateKey.generate(),
        "ml-dsa-44": MLDSA44PrivateKey.generate(),
    }
    try:
        CosigningKeys(name, list(keys.values()))
    except MalformedInput as error:
        raise ConfigurationError(
            error.message,
            code="bad_witness_name",
            hint="pass --name HOST/PATH, without spaces and plus signs",
        ) from None
    (root / "keys").mkdir(mode=0o700, exist_ok=True)
    for file, key in keys.items():
        _key_path(root, file).unlink(missing_ok=True)
        write_key(_key_path(root, file), key)
    SqliteWitnessState(root / "heads.db").close()
    sync_folder(root / "keys")
    write_durably(root / "witness.json", msgspec.json.encode(WitnessFile(version=VERSION, name=name)))


def _read(root: Path, name: str) -> WitnessFile:
    try:
        known = msgspec.json.decode((root / "witness.json").read_bytes(), type=WitnessFile)
    except (OSError, msgspec.MsgspecError) as error:
        raise ConfigurationError(
            f"{root / 'witness.json'} cannot be read: {error}", code="damaged_state", hint=_RESTORE
        ) from None
    if known.version != VERSION:
        raise ConfigurationError(
            f"{root} was made by another version of Hallmark ({known.version}, not {VERSION})",
            code="other_version",
        )
    if not (root / "heads.db").is_file():
        raise ConfigurationError(
            f"{root / 'heads.db'} is missing: the witness no longer knows what it has cosigned",
            code="damaged_state",
            hint=_RESTORE,
        )
    if name not in {"", known.name}:
        raise ConfigurationError(
            f"the witness is {known.name} for good, not {name}",
            code="name_is_fixed",
            hint="leave --name out, or make another witness with another --data",
        )
    return known


def _load(root: Path, name: str) -> CosigningKey:
    key = load_private_key(_key_path(root, name))
    if not isinstance(key, CosigningKey):
        raise ConfigurationError(
            f"{_key_path(root, name)} holds no {name} key", code="damaged_state", hint=_RESTORE
        )
    return key


def _key_path(root: Path, name: str) -> Path:
    return root / "keys" / f"{name}.pem"


_RESTORE: Final = (
    "restore its newest copy only if it has cosigned nothing since; otherwise make a new witness in a new "
    "directory"
)
