"""Write load on a log, remembering every answer; and a check of the whole log against all of them."""

import base64
import hashlib
import json
import os
import random
import threading

import urllib3
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from hallmark.core.checkpoint import parse_checkpoint, verify_checkpoint
from hallmark.core.keys import PublicKey
from hallmark.core.merkle import Growth, leaf_hash, root_of_edge, verify_inclusion
from hallmark.core.note import parse_note
from hallmark.core.tiles import TILE_WIDTH, TileId
from hallmark.tiledlog.records import TLOG_TILES

_KEY = ec.generate_private_key(ec.SECP256R1())
_SPKI = base64.b64encode(
    _KEY.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
).decode()
_PREHASHED = ec.ECDSA(Prehashed(SHA256()))


def entry_request() -> bytes:
    """A request that no log has seen before."""
    digest = os.urandom(32)
    verifier = {"publicKey": {"rawBytes": _SPKI}, "keyDetails": "PKIX_ECDSA_P256_SHA_256"}
    signature = base64.b64encode(_KEY.sign(digest, _PREHASHED)).decode()
    entry = {
        "digest": base64.b64encode(digest).decode(),
        "signature": {"content": signature, "verifier": verifier},
    }
    return json.dumps({"hashedRekordRequestV002": entry}).encode()


class Load:
    """Threads that append entries until `stop`; `answers` holds every 201 there was."""

    def __init__(self, base_url: str, threads: int = 6) -> None:
        self.answers: list[dict] = []
        self.other: set[int] = set()
        self._url = f"{base_url}/api/v2/log/entries"
        self._stopping = threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(threads)]
        for thread in self._threads:
            thread.start()

    def _run(self) -> None:
        pool = urllib3.PoolManager(retries=False, timeout=10)
        while not self._stopping.is_set():
            try:
                answer = pool.request("POST", self._url, body=entry_request())
            except urllib3.exceptions.HTTPError:
                self._stopping.wait(0.01)
                continue
            if answer.status == 201:
                self.answers.append(answer.json())
            else:
                self.other.add(answer.status)
        pool.clear()

    def stop(self) -> list[dict]:
        """Stop the threads and return the answers."""
        self._stopping.set()
        for thread in self._threads:
            thread.join()
        return self.answers


def check_log(base_url: str, key: PublicKey, answers: list[dict]) -> int:
    """Check the whole log: every hash, and that every answer ever given is true of it. Returns its size.

    The root of every prefix is computed from the entries themselves, so a fork at any answered size shows.
    """
    pool = urllib3.PoolManager(retries=False, timeout=30)
    note = pool.request("GET", f"{base_url}/checkpoint").data
    origin = parse_checkpoint(parse_note(note).text).origin
    stated = verify_checkpoint(note, origin=origin, key_name=origin, key=key)
    leaves = _read_leaves(pool, base_url, stated.size)
    wanted = {int(answer["inclusionProof"]["treeSize"]) for answer in answers}
    roots: dict[int, bytes] = {}
    tree = Growth(0, ())
    for leaf in leaves:
        tree.append(leaf_hash(leaf))
        if tree.size in wanted:
            roots[tree.size] = root_of_edge(tree.edge())
    assert tree.root() == stated.root
    for answer in answers:
        _check_answer(answer, leaves, roots)
    indexes = [answer["logIndex"] for answer in answers]
    assert len(set(indexes)) == len(indexes)
    for answer in random.sample(answers, min(5, len(answers))):
        again = pool.request("GET", f"{base_url}/api/v2/log/entries/{answer['logIndex']}")
        assert again.json()["canonicalizedBody"] == answer["canonicalizedBody"]
    pool.clear()
    return stated.size


def _check_answer(answer: dict, leaves: list[bytes], roots: dict[int, bytes]) -> None:
    proof = answer["inclusionProof"]
    index, size = int(answer["logIndex"]), int(proof["treeSize"])
    assert leaves[index] == base64.b64decode(answer["canonicalizedBody"])
    assert base64.b64decode(proof["rootHash"]) == roots[size]
    hashes = [base64.b64decode(item) for item in proof["hashes"]]
    verify_inclusion(leaf_hash(leaves[index]), index, size, hashes, roots[size])


def _read_leaves(pool: urllib3.PoolManager, base_url: str, size: int) -> list[bytes]:
    leaves: list[bytes] = []
    for start in range(0, size, TILE_WIDTH):
        tile = TileId(None, start // TILE_WIDTH, min(TILE_WIDTH, size - start))
        answer = pool.request("GET", f"{base_url}/tile/{tile.path()}")
        assert answer.status == 200, tile
        leaves += [TLOG_TILES.entry(record) for record in TLOG_TILES.split(answer.data)]
    assert len({hashlib.sha256(leaf).digest() for leaf in leaves}) == size
    return leaves
