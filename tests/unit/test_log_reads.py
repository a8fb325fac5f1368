"""The reading side of a log over HTTP: what may be cached, asked for again, and compressed."""

import asyncio
import gzip
import os
from contextlib import ExitStack

import pytest
from starlette.applications import Starlette
from tests.support.asgi_call import call
from tests.support.small_log import SmallLog

from hallmark.adapters.storage.filesystem import FileObjectStore
from hallmark.adapters.storage.memory import MemoryHeadStore, MemoryObjectStore
from hallmark.core.tiles import TileId
from hallmark.ports import StoredBytes
from hallmark.web import log_reads
from hallmark.web.log_reads import MAX_BUNDLE_READS, MAX_COMPRESSIBLE_BYTES, ReadLoad, read_routes
from hallmark.web.outgoing import Outgoing

FOREVER = "public, max-age=31536000, immutable"
BUNDLE = "/tile/entries/000"


@pytest.fixture(scope="module")
def log():
    filled = SmallLog(MemoryHeadStore(), MemoryObjectStore()).create()
    filled.append(*(b"a leaf that repeats itself, a leaf that repeats itself %d" % n for n in range(300)))
    filled.publisher.publish()
    filled.append(*(b"a leaf that is not published %d" % n for n in range(300)))
    return filled


@pytest.fixture(scope="module")
def routes(log):
    return [
        *read_routes(log.reader, folder="entries"),
        *read_routes(log.reader, folder="entries", prefix="/p"),
    ]


def test_the_checkpoint_is_asked_for_each_time_but_sent_once(log, routes):
    answer = call(routes, "GET", "/checkpoint")
    assert (answer.status, answer.body) == (200, log.reader.checkpoint())
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.headers["cache-control"] == "no-cache"
    again = call(routes, "GET", "/p/checkpoint", headers={"If-None-Match": answer.headers["etag"]})
    assert (again.status, again.body) == (304, b"")
    assert again.headers["cache-control"] == "no-cache"


@pytest.mark.parametrize(
    "path",
    [
        "/tile/0/000",
        "/tile/0/001.p/44",
        "/tile/1/000.p/1",
        "/p/tile/entries/001.p/3",
        "/tile/entries/002.p/88",
    ],
)
def test_tiles_may_be_kept_for_ever(routes, path):
    answer = call(routes, "GET", path, headers={"Accept-Encoding": "gzip"})
    assert answer.status == 200
    assert answer.headers["cache-control"] == FOREVER
    assert answer.headers["content-type"] == "application/octet-stream"
    assert "content-encoding" not in answer.headers
    held = f'"other", W/{answer.headers["etag"]}'
    assert call(routes, "GET", path, headers={"If-None-Match": held}).status == 304
    assert call(routes, "GET", path, headers={"If-None-Match": '"other"'}).body == answer.body
    head = call(routes, "HEAD", path)
    assert (head.status, head.body) == (200, b"")
    assert head.headers["content-length"] == str(len(answer.body))
    assert head.headers["etag"] == answer.headers["etag"]


@pytest.mark.parametrize("accepted", ["gzip", "br, GZIP;q=0.5, *"])
def test_full_bundles_are_compressed_for_who_accepts_it(routes, accepted):
    plain = call(routes, "GET", BUNDLE)
    small = call(routes, "GET", BUNDLE, headers={"Accept-Encoding": accepted})
    assert small.headers["content-encoding"] == "gzip"
    assert len(small.body) < len(plain.body) // 2
    assert gzip.decompress(small.body) == plain.body
    assert small.headers["vary"] == plain.headers["vary"] == "Accept-Encoding"
    assert small.headers["etag"] != plain.headers["etag"]
    headers = {"Accept-Encoding": accepted, "If-None-Match": small.headers["etag"]}
    assert call(routes, "GET", BUNDLE, headers=headers).status == 304
    assert call(routes, "GET", BUNDLE, headers={"Accept-Encoding": accepted}).body == small.body


@pytest.mark.parametrize("accepted", ["", "br", "gzip;q=0", "identity, gzip; q=0.0"])
def test_nobody_gets_gzip_who_did_not_ask_for_it(routes, accepted):
    answer = call(routes, "GET", BUNDLE, headers={"Accept-Encoding": accepted})
    assert "content-encoding" not in answer.headers


@pytest.mark.parametrize(
    "path",
    [
        "/tile/0/003",
        "/tile/entries/002.p/89",
        "/tile/0/000.p/256",
        "/tile/0/0",
        "/tile/9/000",
        "/tile/../checkpoint",
        "/tile/",
    ],
)
def test_what_is_not_there_is_not_cached(routes, path):
    answer = call(routes, "GET", path)
    assert answer.status == 404
    assert answer.headers["cache-control"] == "no-cache"


@pytest.mark.parametrize("path", ["/tile/entries/000", "/tile/entries/001", "/tile/0/000"])
def test_an_unchanged_tile_and_a_head_read_nothing(log, path):
    """Whatever they cost would be free for the caller: a few bytes each."""
    counting = CountingReads(log.reader)
    routes = read_routes(counting, folder="entries")
    tag = f'"{path.removeprefix("/tile/")}"'
    for held in (tag, f"W/{tag}", f'"other", {tag[:-1]}-gzip"', "*"):
        assert call(routes, "GET", path, headers={"If-None-Match": held}).status == 304
    if path != "/tile/entries/001":  # partly staged: it stands in no object that would tell its size
        assert call(routes, "HEAD", path).status == 200
    assert counting.bytes_read == 0
    assert call(routes, "GET", path).status == 200
    assert counting.bytes_read > 0


class CountingReads:
    """A log's reading side that counts the bytes which are read of tiles and bundles."""

    def __init__(self, reader) -> None:
        self._reader = reader
        self.has_tile = reader.has_tile
        self.bytes_read = 0

    def tile(self, tile):
        return self._count(self._reader.tile(tile))

    def stored(self, tile):
        found = self._reader.stored(tile)
        if found is None:
            return None
        return StoredBytes(found.size, lambda start, count: self._count(found.read(start, count)))

    def _count(self, data: bytes) -> bytes:
        self.bytes_read += len(data)
        return data


def test_a_large_bundle_is_sent_in_pieces_of_its_file(tmp_path):
    log = SmallLog(MemoryHeadStore(), FileObjectStore(tmp_path)).create()
    log.append(*(os.urandom(60_000) for _ in range(256)))
    log.publisher.publish()
    log.append(*(os.urandom(30_000) for _ in range(20)))
    counting = CountingReads(log.reader)
    routes = read_routes(counting, folder="entries")
    large = call(routes, "GET", "/tile/entries/000", headers={"Accept-Encoding": "gzip"})
    assert large.body == log.reader.tile(TileId(None, 0))
    assert large.headers["content-length"] == str(len(large.body)) == str(256 * 60_002)
    assert call(routes, "HEAD", "/tile/entries/000").headers == large.headers
    staged = call(routes, "GET", "/tile/entries/001.p/20")
    assert staged.body == log.reader.tile(TileId(None, 1, 20))
    assert staged.headers["content-length"] == str(20 * 30_002)


def test_a_reader_that_does_not_read_is_told_of_by_the_length(log):
    """The answer that has begun cannot be taken back: the server ends the connection."""
    load = ReadLoad(outgoing=Outgoing(seconds=0.02))
    large = SmallLog(MemoryHeadStore(), MemoryObjectStore()).create()
    large.append(*(os.urandom(1000) for _ in range(256)))
    large.publisher.publish()
    app = Starlette(routes=read_routes(large.reader, folder="entries", load=load))
    sent = []

    async def send(message):
        if len(sent) == 2:
            await asyncio.Event().wait()
        sent.append(message)

    scope = {"type": "http", "method": "GET", "path": "/tile/entries/000", "headers": [], "root_path": ""}
    asyncio.run(app(scope, None, send))
    assert [message.get("more_body") for message in sent] == [None, True]


def test_more_large_answers_than_a_process_sends_are_refused():
    large = SmallLog(MemoryHeadStore(), MemoryObjectStore()).create()
    large.append(*(os.urandom(1000) for _ in range(256)))
    large.publisher.publish()
    routes = read_routes(large.reader, folder="entries", load=ReadLoad(outgoing=Outgoing(most=0)))
    refused = call(routes, "GET", "/tile/entries/000")
    assert (refused.status, refused.headers["retry-after"]) == (503, "1")
    assert refused.headers["cache-control"] == "no-cache"
    assert call(routes, "GET", "/tile/0/000").status == 200


def test_more_reads_of_bundles_than_wait_are_refused(log):
    load = ReadLoad()
    routes = read_routes(log.reader, folder="entries", load=load)
    with ExitStack() as full:
        for _ in range(MAX_BUNDLE_READS - 1):
            full.enter_context(load.bundles.entered(""))
        assert call(routes, "GET", BUNDLE).status == 200
        full.enter_context(load.bundles.entered(""))
        assert call(routes, "GET", BUNDLE).status == 503
        assert call(routes, "GET", "/tile/0/000").status == 200


@pytest.mark.parametrize(("extra", "compressed"), [(0, True), (256, False)])
def test_bundles_up_to_a_size_are_compressed(extra, compressed):
    large = SmallLog(MemoryHeadStore(), MemoryObjectStore()).create()
    each = (MAX_COMPRESSIBLE_BYTES + extra) // 256 - 2
    large.append(*(b"%04d" % n + bytes(each - 4) for n in range(256)))
    large.publisher.publish()
    routes = read_routes(large.reader, folder="entries")
    answer = call(routes, "GET", BUNDLE, headers={"Accept-Encoding": "gzip"})
    assert ("content-encoding" in answer.headers) is compressed


def test_compressed_bundles_are_kept_up_to_so_many_bytes(monkeypatch):
    large = SmallLog(MemoryHeadStore(), MemoryObjectStore()).create()
    for _ in range(6):
        large.append(*(os.urandom(50) for _ in range(256)))
    large.publisher.publish()
    load = ReadLoad()
    routes = read_routes(large.reader, folder="entries", load=load)

    def read(index: int) -> int:
        return len(call(routes, "GET", f"/tile/entries/{index:03}", headers={"Accept-Encoding": "gzip"}).body)

    sizes = [read(index) for index in range(4)]
    monkeypatch.setattr(log_reads, "MAX_COMPRESSED_BYTES", sum(sizes) + 100)
    read(0)  # so that bundle 1 is the one that was asked for least recently
    read(4)
    kept = [tag for _, tag in load.compressed._known]
    assert kept == ["entries/002", "entries/003", "entries/000", "entries/004"]
    assert load.compressed._size == sum(map(len, load.compressed._known.values()))
