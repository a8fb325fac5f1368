"""Witnesses for tests: the real service over real HTTP, in a thread or in a process of its own."""

import contextlib
import subprocess
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey

from hallmark.adapters.storage.witness_state import SqliteWitnessState
from hallmark.core.vkey import VerifierKey
from hallmark.witness import http
from hallmark.witness.config import WitnessConfig, parse_logs
from hallmark.witness.service import CosigningKeys, Witness
from tests.support.asgi_call import Answer, call
from tests.support.instance import HALLMARK, isolated_environment

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def never(error: BaseException) -> None:
    raise AssertionError(f"the process would have ended: {error}")


class SmallWitness:
    """A witness with two keys whose state is a file; `restart` opens that file anew."""

    def __init__(self, path: Path, name: str, *logs: VerifierKey) -> None:
        self.path = path
        self.config = WitnessConfig(logs=parse_logs(tuple(log.to_text() for log in logs)))
        self.keys = CosigningKeys(name, [Ed25519PrivateKey.generate(), MLDSA44PrivateKey.generate()])
        self.now = NOW
        self._lock = threading.Lock()  # one thread at a time, as in the event loop of a real one
        self._open()

    def restart(self) -> None:
        self.close()
        self._open()

    def close(self) -> None:
        self.state.close()

    def _open(self) -> None:
        self.state = SqliteWitnessState(self.path)
        self.witness = Witness(self.config, self.keys, self.state, lambda: self.now, on_failure=never)

    def post(self, body: bytes) -> Answer:
        with self._lock:
            return call(http.routes(self.witness), "POST", "/add-checkpoint", body)

    def get(self, path: str) -> Answer:
        return call(http.routes(self.witness), "GET", path)


class WitnessServer:
    """Serves on a loopback port; `handle` gives each POST's answer, `show` that of each GET."""

    def __init__(
        self, handle: Callable[[bytes], Answer], show: Callable[[str], Answer] | None = None
    ) -> None:
        self.handle = handle
        self.show = show or (lambda _path: Answer(404, {"Content-Length": "0"}, b""))
        self.requests: list[bytes] = []
        lock = threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                with lock:
                    outer.requests.append(body)
                    answer = outer.handle(body)
                self._send(answer)

            def do_GET(self):
                with lock:
                    answer = outer.show(self.path)
                self._send(answer)

            def _send(self, answer: Answer):
                with contextlib.suppress(BrokenPipeError):  # whoever asked has gone
                    self.send_response(answer.status)
                    for name, value in answer.headers.items():
                        self.send_header(name, value)
                    self.end_headers()
                    self.wfile.write(answer.body)

            def log_message(self, *_arguments):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class RunningWitness:
    """`hallmark witness` in a process of its own."""

    def __init__(
        self, root: Path, home: Path, *logs: str, name: str = "", listen: str = "127.0.0.1:0"
    ) -> None:
        self.root = root
        log_file = (home / "witness.log").open("ab")
        named = [word for log in logs for word in ("--log", log)]
        self.process = subprocess.Popen(
            [*HALLMARK, "witness", "--data", str(root), *named, "--listen", listen, "--name", name],
            env=isolated_environment(home),
            stdout=subprocess.PIPE,
            stderr=log_file,
            text=True,
        )
        log_file.close()
        lines = [self.process.stdout.readline().strip() for _ in range(3)]
        if not lines[0].startswith("ready "):
            raise AssertionError((home / "witness.log").read_text()[-4000:])
        self.url = lines[0].removeprefix("ready ")
        self.vkeys = [line.removeprefix("vkey ") for line in lines[1:]]

    def end(self, *, kill: bool = False) -> int:
        (self.process.kill if kill else self.process.terminate)()
        status = self.process.wait(30)
        self.process.stdout.close()
        return status


def wait_until(condition: Callable[[], bool], seconds: float = 20) -> None:
    """Wait for something that is to happen soon; fails when it does not."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
