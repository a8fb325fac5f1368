"""A TUF client of the reference implementation, the time it believes in, and a web server of static files."""

import contextlib
import datetime as dt
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tuf.ngclient import Updater
from tuf.ngclient._internal import trusted_metadata_set
from tuf.ngclient.fetcher import FetcherInterface


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_arguments: object) -> None:
        pass


@contextlib.contextmanager
def serve(folder: Path) -> Iterator[str]:
    """Serve a folder on a free loopback port; yields its URL."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=folder)) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


class Client:
    """A client with its own cache, started from one root."""

    def __init__(self, cache: Path, url: str, root: bytes, fetcher: FetcherInterface | None = None) -> None:
        cache.mkdir()
        self._cache, self._url, self._root, self._fetcher = cache, url, root, fetcher

    def fetch(self, *names: str) -> dict[str, bytes]:
        """Refresh, then download these targets."""
        updater = Updater(
            str(self._cache), self._url, str(self._cache), f"{self._url}/targets", self._fetcher,
            bootstrap=self._root,
        )  # fmt: skip
        updater.refresh()
        return {
            name: Path(updater.download_target(updater.get_targetinfo(name))).read_bytes() for name in names
        }


class FakeTime:
    """Makes TUF clients believe in `now`."""

    def __init__(self, monkeypatch, now: dt.datetime) -> None:
        self.now = now
        monkeypatch.setattr(trusted_metadata_set, "datetime", self._module())

    def _module(self):
        told = self

        class datetime(dt.datetime):  # noqa: N801
            @classmethod
            def now(cls, tz=None):
                return told.now

        replaced = type(dt)("datetime")
        replaced.datetime, replaced.timezone = datetime, dt.timezone
        return replaced
