"""The reading side of a log over HTTP: what may be cached, asked for again, and compressed."""

import gzip

import pytest
from tests.support.asgi_call import call
from tests.support.small_log import SmallLog

from hallmark.adapters.storage.memory import MemoryHeadStore, MemoryObjectStore
from hallmark.web.log_reads import read_routes

FOREVER = "public, max-age=31536000, immutable"
BUNDLE = "/tile/entries/000"


@pytest.fixture(scope="module")
def log():
    filled = SmallLog(MemoryHeadStore(), MemoryObjectStore()).create()
    filled.append(*(b"a leaf that repeats itself, a leaf that repeats itself %d" % n for n in range(300)))
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
    "path", ["/tile/0/000", "/tile/0/001.p/44", "/tile/1/000.p/1", "/p/tile/entries/001.p/3"]
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
    "path", ["/tile/0/002", "/tile/0/000.p/256", "/tile/0/0", "/tile/9/000", "/tile/../checkpoint", "/tile/"]
)
def test_what_is_not_there_is_not_cached(routes, path):
    answer = call(routes, "GET", path)
    assert answer.status == 404
    assert answer.headers["cache-control"] == "no-cache"


def test_only_so_many_compressed_bundles_are_kept():
    large = SmallLog(MemoryHeadStore(), MemoryObjectStore()).create()
    for start in range(0, 66 * 256, 4224):
        large.append(*(b"%d" % number for number in range(start, start + 4224)))
    routes = read_routes(large.reader, folder="entries")
    for index in range(66):
        path = f"/tile/entries/{index:03}"
        assert call(routes, "GET", path, headers={"Accept-Encoding": "gzip"}).status == 200
    kept = [index for index, _tag in routes[0].endpoint.__self__._compressed]
    assert kept == list(range(2, 66))
