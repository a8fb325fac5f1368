"""A folder that a web server serves, as anybody may serve a mirror."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class _Handler(SimpleHTTPRequestHandler):
    def __init__(self, *arguments, answers: Callable[[str], bool], **options) -> None:
        self._answers = answers
        super().__init__(*arguments, **options)

    def do_GET(self) -> None:
        if self._answers(self.path):
            super().do_GET()
        else:
            self.close_connection = True  # without a word

    def log_message(self, *_arguments) -> None:
        pass


@contextmanager
def served_folder(folder: Path, answers: Callable[[str], bool] = lambda _path: True) -> Iterator[str]:
    """Serve a folder, and give its URL; `answers` is called with each path, and says whether to answer."""
    handler = partial(_Handler, directory=str(folder), answers=answers)
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
