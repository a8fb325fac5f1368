"""A whole log on any stores, with a checker that looks at every byte of it."""

import asyncio
import hashlib
from collections.abc import Callable
from datetime import UTC, datetime

from cryptography.hazmat.primitives.asymmetric import ed25519

from hallmark.adapters.keys.file import SoftwareKey
from hallmark.core.merkle import EMPTY_ROOT, leaf_hash, node_hash, verify_consistency
from hallmark.core.tiles import TILE_WIDTH, TileId, split_hashes
from hallmark.tiledlog.commit import fixed_leaf
from hallmark.tiledlog.log import create_log
from hallmark.tiledlog.publisher import Publisher
from hallmark.tiledlog.reader import LogReader
from hallmark.tiledlog.records import TLOG_TILES
from hallmark.tiledlog.sequencer import QueueLimits, Sequencer
from hallmark.tiledlog.signer import NoteSigner


def tree_hash(leaves: list[bytes]) -> bytes:
    """The Merkle tree hash by its definition (RFC 6962 section 2.1)."""
    if not leaves:
        return EMPTY_ROOT
    if len(leaves) == 1:
        return leaves[0]
    split = 1 << ((len(leaves) - 1).bit_length() - 1)
    return node_hash(tree_hash(leaves[:split]), tree_hash(leaves[split:]))


class SmallLog:
    """A log with its own key on the given stores. `now` is the clock, in milliseconds."""

    def __init__(self, store, objects, *, key=None, limits: QueueLimits | None = None) -> None:
        self.store = store
        self.objects = objects
        self.limits = limits
        self.key = key or ed25519.Ed25519PrivateKey.generate()
        self.signer = NoteSigner("log.example", SoftwareKey(self.key))
        self.now = 1_700_000_000_000
        self.failures: list[BaseException] = []
        self.reader = LogReader(store, objects, TLOG_TILES)
        self.publisher = Publisher(store, objects, self.signer, TLOG_TILES)

    def create(self) -> "SmallLog":
        create_log(self.store, self.signer, time=self.now)
        return self

    def clock(self) -> datetime:
        return datetime.fromtimestamp(self.now / 1000, UTC)

    def sequencer(self) -> Sequencer:
        return Sequencer(
            self.store, self.signer, self.clock, on_failure=self.failures.append, limits=self.limits
        )

    def append(self, *leaves: bytes):
        """Append leaves at once; returns their answers, errors included."""

        async def run():
            sequencer = self.sequencer()
            sequencer.start()
            try:
                waiting = [
                    sequencer.append(hashlib.sha256(leaf).digest(), fixed_leaf(leaf)) for leaf in leaves
                ]
                return await asyncio.wait_for(asyncio.gather(*waiting, return_exceptions=True), 30)
            finally:
                sequencer.stop()

        return asyncio.run(run())

    def check(self, leaves: list[bytes], *, read: Callable[[TileId], bytes] | None = None) -> None:
        """Check the whole log against the definition of the tree: every hash, entry and kind of proof."""
        read = read or self.reader.tile
        hashes = [leaf_hash(leaf) for leaf in leaves]
        stated = self.signer.verify(self.reader.checkpoint())
        assert (stated.size, stated.root) == (len(leaves), tree_hash(hashes))
        for level in range(3):
            width = TILE_WIDTH**level
            nodes = [
                tree_hash(hashes[start : start + width]) for start in range(0, len(hashes) - width + 1, width)
            ]
            for start in range(0, len(nodes), TILE_WIDTH):
                expected = nodes[start : start + TILE_WIDTH]
                assert split_hashes(read(TileId(level, start // TILE_WIDTH, len(expected)))) == expected
        for start in range(0, len(leaves), TILE_WIDTH):
            expected = leaves[start : start + TILE_WIDTH]
            records = TLOG_TILES.split(read(TileId(None, start // TILE_WIDTH, len(expected))))
            assert [TLOG_TILES.entry(record) for record in records] == expected
        for index in {0, len(leaves) // 2, len(leaves) - 1} & set(range(len(leaves))):
            assert self.reader.entry(index).leaf == leaves[index]
        for old in {1, len(leaves) // 3, len(leaves) - 1} & set(range(1, len(leaves))):
            proof = self.reader.consistency_proof(old, len(leaves))
            verify_consistency(old, tree_hash(hashes[:old]), len(leaves), stated.root, proof)

    def published_tile(self, tile: TileId) -> bytes:
        """Read a tile as a static web server would."""
        return self.objects.get(f"tile/{tile.path()}")
