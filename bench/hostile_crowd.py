"""Loads of ordinary requests that are cheap to send and cost much, from many connections at once."""

import base64
import json
import os
import random
import resource
import select
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

if TYPE_CHECKING:
    from bench.hostile_loads import Target

ENTRIES = "/api/v2/log/entries"
CONNECTIONS = 1000
_ANSWER_BYTES = 256 * 1024


class _Connection:
    """One connection that sends its next request as soon as the last one is answered."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.sock = socket.create_connection(address)
        self.sock.setblocking(False)
        self._received = b""

    def send(self, request: bytes) -> None:
        self.sock.send(request)

    def answer(self, *, head: bool) -> str | None:
        """Read what has come; gives the status once the answer is whole."""
        self._received += self.sock.recv(_ANSWER_BYTES)
        if not self._received:
            raise ConnectionResetError
        header, found, body = self._received.partition(b"\r\n\r\n")
        if not found:
            return None
        size = header.lower().partition(b"content-length:")[2].split(b"\r\n")[0]
        if not head and len(body) < int(size or 0):
            return None
        self._received = b""
        return header[9:12].decode()


def crowd(target: "Target", requests: Sequence[bytes], connections: int = CONNECTIONS) -> str:
    """Send these requests, over so many connections at once, for a while; gives the statuses."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    statuses: Counter[str] = Counter()
    opened = [_Connection(target.address) for _ in range(connections)]
    by_number = {item.sock.fileno(): item for item in opened}
    poll = select.epoll()
    head = requests[0].startswith(b"HEAD")
    print("begin", flush=True)
    for item in opened:
        poll.register(item.sock, select.EPOLLIN)
        item.send(random.choice(requests))
    end = time.monotonic() + target.seconds
    while time.monotonic() < end:
        for number, _ in poll.poll(0.1):
            try:
                status = by_number[number].answer(head=head)
                if status is not None:
                    statuses[status] += 1
                    by_number[number].send(random.choice(requests))
            except OSError as error:
                statuses[type(error).__name__] += 1
                poll.unregister(number)
    return ", ".join(f"{count} x {status}" for status, count in statuses.most_common())


def sockets(target: "Target") -> str:
    """10,000 connections opened as fast as can be, which then say nothing."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    print("begin", flush=True)
    began, opened = time.monotonic(), []
    for _ in range(10_000):
        sock = socket.socket()
        sock.setblocking(False)
        sock.connect_ex(target.address)
        opened.append(sock)
    took = time.monotonic() - began
    time.sleep(target.seconds)
    return f"{len(opened)} opened in {took:.1f} s"


def _post(path: str, body: bytes, more: str = "") -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\n{more}Content-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def _get(path: str, method: str = "GET") -> bytes:
    return f"{method} {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode()


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _wrong_entries(spki: bytes, details: str, make_signature: Callable[[], bytes]) -> list[bytes]:
    """Entries whose signature has the right form and holds over nothing."""
    verifier = {"publicKey": {"rawBytes": _b64(spki)}, "keyDetails": details}
    made = []
    for _ in range(200):
        signature = {"content": _b64(make_signature()), "verifier": verifier}
        entry = {"digest": _b64(os.urandom(64 if "512" in details else 32)), "signature": signature}
        made.append(_post(ENTRIES, json.dumps({"hashedRekordRequestV002": entry}).encode()))
    return made


def wrong_p521(target: "Target") -> str:
    """Entries with wrong signatures by a P-521 key: what costs most in an entry of ordinary size."""
    from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

    key = ec.generate_private_key(ec.SECP521R1()).public_key()
    spki = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)

    def sign() -> bytes:
        return encode_dss_signature(random.getrandbits(512), random.getrandbits(512))

    return crowd(target, _wrong_entries(spki, "PKIX_ECDSA_P521_SHA_512", sign))


def wrong_rsa(target: "Target") -> str:
    """Entries with wrong signatures by an RSA key of 4,096 bits."""
    key = rsa.generate_private_key(65537, 4096).public_key()
    spki = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    details = "PKIX_RSA_PKCS1V15_4096_SHA256"
    return crowd(target, _wrong_entries(spki, details, lambda: b"\0" + os.urandom(511)))


def one_token(target: "Target") -> str:
    """Signing requests, all with one token, which somebody may have stolen."""
    from bench.entry_bodies import certificate_request

    token = _token(target)
    made = [certificate_request(token, "alice@example.com") for _ in range(20)]
    return crowd(target, [_post("/api/v2/signingCert", body) for body in made])


def _token(target: "Target") -> str:
    command = [sys.executable, "-m", "hallmark.cli.main", "token", "--email", "alice@example.com"]
    done = subprocess.run(
        [*command, "--data", str(target.root)], capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout.strip()


def _few_entries(target: "Target", count: int = 600) -> None:
    from http.client import HTTPConnection

    from tests.support.load import entry_request

    connection = HTTPConnection(*target.address, timeout=60)
    for _ in range(count):
        connection.request("POST", ENTRIES, entry_request())
        connection.getresponse().read()
    connection.close()
    time.sleep(2)


def single_entries(target: "Target") -> str:
    """Reads of single entries, any of them: each is a proof and a line of a bundle."""
    _few_entries(target)
    return crowd(target, [_get(f"{ENTRIES}/{number}") for number in range(600)])


def small_heads(target: "Target") -> str:
    """HEADs of a bundle of ordinary size."""
    _few_entries(target)
    return crowd(target, [_get("/api/v2/tile/entries/000", "HEAD")])


def bundles(target: "Target") -> str:
    """GETs of a bundle of ordinary size."""
    _few_entries(target)
    return crowd(target, [_get("/api/v2/tile/entries/000")])


def checkpoints(target: "Target") -> str:
    """GETs of the checkpoint."""
    return crowd(target, [_get("/checkpoint")])


def trust_files(target: "Target") -> str:
    """Reads of the trust root's files."""
    return crowd(target, [_get(f"/tuf/{name}") for name in ("1.root.json", "timestamp.json")], 500)


def issuers(target: "Target") -> str:
    """Reads of the CT log's issuers: one that there is not."""
    return crowd(target, [_get(f"/ctlog/issuer/{number:064x}") for number in range(100)], 500)


def login_pages(target: "Target") -> str:
    """Reads of the login pages."""
    return crowd(target, [_get("/oidc/device"), _get("/oidc/keys")], 500)


def chains(target: "Target") -> str:
    """Chains for the CT log that are all names and lead to nothing: what costs most to parse."""
    from tests.support.world import authority_certificate

    names = x509.SubjectAlternativeName([x509.DNSName("a")] * 3_800)
    top = authority_certificate("x", "y", key="p256-x", issuing_key="p256-x", extensions=[(names, False)])
    body = json.dumps({"chain": [_b64(top)] * 10}).encode()
    return crowd(target, [_post("/ctlog/ct/v1/add-chain", body)], 64)


CROWD = {
    "wrong-p521": wrong_p521,
    "wrong-rsa": wrong_rsa,
    "one-token": one_token,
    "single-entries": single_entries,
    "small-heads": small_heads,
    "bundles": bundles,
    "checkpoints": checkpoints,
    "trust-files": trust_files,
    "issuers": issuers,
    "login-pages": login_pages,
    "chains": chains,
    "sockets": sockets,
}
