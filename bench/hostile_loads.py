"""The loads of `bench.hostile`, each as a program: NAME BASE_URL DIRECTORY WORKER SECONDS."""

import base64
import json
import os
import resource
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlencode, urlsplit

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA512
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from bench.hostile_crowd import CROWD, ENTRIES

BUNDLE = "/api/v2/tile/entries/000"
BIG = 60_000  # bytes of a certificate that makes an entry large
PAYLOAD_TYPE = "application/vnd.in-toto+json"
MIB = 1024 * 1024


class Target(NamedTuple):
    """What a load is aimed at, and for how long."""

    base_url: str
    root: Path
    worker: int
    seconds: float

    @property
    def address(self) -> tuple[str, int]:
        parts = urlsplit(self.base_url)
        return parts.hostname or "", parts.port or 80


class Load(NamedTuple):
    """A load, and what it needs of the instance."""

    run: Callable[[Target], str]
    large_bundle: bool = False
    grpc: bool = False


def fill_large_bundle(base_url: str) -> None:
    """Append 256 entries, nearly as large as entries can be, and wait until they are published."""
    from tests.support.rekor import b64, hashedrekord

    connection = HTTPConnection(urlsplit(base_url).netloc, timeout=60)
    for number in range(256):
        entry = hashedrekord(message=b"%d" % number)
        verifier = entry["hashedRekordRequestV002"]["signature"]["verifier"]
        verifier.clear()
        verifier.update(
            x509Certificate={"rawBytes": b64(_large_certificate())}, keyDetails="PKIX_ECDSA_P256_SHA_256"
        )
        connection.request("POST", ENTRIES, json.dumps(entry).encode())
        answer = connection.getresponse()
        text = answer.read()
        assert answer.status == 201, text
    connection.close()
    time.sleep(2)


_certificates: list[bytes] = []


def _large_certificate() -> bytes:
    """A certificate of the key that `tests.support.rekor` signs with, nearly as large as an entry."""
    if not _certificates:
        from datetime import UTC, datetime, timedelta

        from cryptography import x509
        from cryptography.hazmat.primitives.hashes import SHA256
        from tests.support.rekor import private_key

        key = private_key("PKIX_ECDSA_P256_SHA_256", 0)
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "large")])
        start = datetime(2026, 1, 1, tzinfo=UTC)
        large = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3"), bytes(46_000))
        builder = x509.CertificateBuilder(name, name, key.public_key(), 1, start, start + timedelta(days=1))
        built = builder.add_extension(large, critical=False).sign(key, SHA256())
        _certificates.append(built.public_bytes(Encoding.DER))
    return _certificates[0]


def _begin() -> None:
    print("begin", flush=True)


def _connect(target: Target, receive_bytes: int | None = None) -> socket.socket:
    sock = socket.socket()
    if receive_bytes is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    sock.connect(target.address)
    return sock


def _send_all(target: Target, requests: list[tuple[str, str, bytes]], connections: int) -> str:
    """Send requests over some connections, each as fast as it is answered; gives the statuses."""
    statuses: Counter[str] = Counter()
    left, lock, end = list(requests), threading.Lock(), time.monotonic() + target.seconds

    def work() -> None:
        connection = HTTPConnection(*target.address, timeout=60)
        while time.monotonic() < end:
            with lock:
                if not left:
                    return
                method, path, body = left.pop()
            try:
                connection.request(method, path, body or None)
                answer = connection.getresponse()
                answer.read()
                statuses[str(answer.status)] += 1
            except (OSError, HTTPException) as error:
                statuses[type(error).__name__] += 1
                connection.close()

    threads = [threading.Thread(target=work, daemon=True) for _ in range(connections)]
    _begin()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(target.seconds + 60)
    return _told(statuses)


def _told(statuses: Counter[str]) -> str:
    return ", ".join(f"{count} x {status}" for status, count in statuses.most_common())


def heads(target: Target) -> str:
    """1,000 HEADs of a 16 MB bundle at once, on as many connections, every second."""
    socks = [_connect(target) for _ in range(1000)]
    _begin()
    count, end = 0, time.monotonic() + target.seconds
    while time.monotonic() < end:
        for sock in socks:
            sock.sendall(f"HEAD {BUNDLE} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        for sock in socks:
            count += bool(sock.recv(4096))
        time.sleep(1)
    return f"{count} answers"


def envelope(signers: int, number: int) -> bytes:
    """An envelope with P-521 keys, and its verifiers in the other order: what costs most to check."""
    payload = b'{"number":%d,"random":"%s"}' % (number, os.urandom(8).hex().encode())
    kind = PAYLOAD_TYPE.encode()
    message = b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)
    keys = _p521_keys(signers)
    signatures = [{"sig": _b64(key.sign(message, ec.ECDSA(SHA512()))), "keyid": ""} for key in keys]
    verifiers = [
        {"publicKey": {"rawBytes": _b64(_spki(key))}, "keyDetails": "PKIX_ECDSA_P521_SHA_512"}
        for key in (*keys[1:], keys[0])
    ]
    body = {"payload": _b64(payload), "payloadType": PAYLOAD_TYPE, "signatures": signatures}
    return json.dumps({"dsseRequestV002": {"envelope": body, "verifiers": verifiers}}).encode()


_keys: list[ec.EllipticCurvePrivateKey] = []


def _p521_keys(count: int) -> list[ec.EllipticCurvePrivateKey]:
    while len(_keys) < count:
        _keys.append(ec.generate_private_key(ec.SECP521R1()))
    return _keys[:count]


def _spki(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def envelopes(target: Target) -> str:
    """2,800 envelopes with ten P-521 signatures and ten verifiers, on 700 connections."""
    made = [envelope(10, number) for number in range(140)]
    return _send_all(target, [("POST", ENTRIES, body) for body in made * 20], 700)


def exponents(target: Target) -> str:
    """300 envelopes with RSA exponents of 3,060 bits, ten signatures by ten keys, again and again."""
    from cryptography.hazmat.primitives.asymmetric import rsa

    verifiers = []
    for _ in range(10):
        modulus = rsa.generate_private_key(65537, 3072).public_key().public_numbers().n
        exponent = int.from_bytes(os.urandom(383), "big") >> 4 | 1
        verifiers.append(
            {
                "publicKey": {"rawBytes": _b64(_rsa_spki(modulus, exponent))},
                "keyDetails": "PKIX_RSA_PKCS1V15_3072_SHA256",
            }
        )
    signatures = [{"sig": _b64(b"\0" + os.urandom(383)), "keyid": ""} for _ in range(10)]
    body = {"payload": _b64(b"{}"), "payloadType": PAYLOAD_TYPE, "signatures": signatures}
    made = json.dumps({"dsseRequestV002": {"envelope": body, "verifiers": verifiers}}).encode()
    return _send_all(target, [("POST", ENTRIES, made)] * 3000, 300)


def _rsa_spki(modulus: int, exponent: int) -> bytes:
    def element(tag: int, content: bytes) -> bytes:
        size = len(content)
        if size < 128:
            return bytes((tag, size)) + content
        width = (size.bit_length() + 7) // 8
        return bytes((tag, 0x80 | width)) + size.to_bytes(width, "big") + content

    def integer(value: int) -> bytes:
        return element(2, value.to_bytes(value.bit_length() // 8 + 1, "big"))

    key = element(0x30, integer(modulus) + integer(exponent))
    algorithm = bytes.fromhex("300d06092a864886f70d0101010500")
    return element(0x30, algorithm + element(3, b"\0" + key))


def bodies(target: Target) -> str:
    """60 bodies of 4 MiB JSON at once: lists of empty objects where the message has a few."""
    items = b"{}," * (4 * MIB // 3 - 100)
    body = b'{"dsseRequestV002":{"verifiers":[' + items + b"{}]}}"
    return _send_all(target, [("POST", ENTRIES, body)] * 600, 60)


def payloads(target: Target) -> str:
    """60 envelopes of 4 MiB at once: one long payload each, and nothing that costs more than its length."""
    body = {"payload": _b64(bytes(3 * MIB - 1024)), "payloadType": PAYLOAD_TYPE}
    made = json.dumps({"dsseRequestV002": {"envelope": body, "verifiers": []}}).encode()
    return _send_all(target, [("POST", ENTRIES, made)] * 600, 60)


def messages(target: Target) -> str:
    """64 gRPC calls at once, each with a message of 4 MB, again and again."""
    import grpc

    port = next(port for port in _listening(target.worker) if port != target.address[1])
    channel = grpc.insecure_channel(f"127.0.0.1:{port}", options=(("grpc.use_local_subchannel_pool", 1),))
    method = channel.unary_unary("/dev.sigstore.rekor.v2.Rekor/CreateEntry")
    request = _field(1, _field(2, bytes(4 * MIB - 1024)))
    statuses: Counter[str] = Counter()
    _begin()
    end = time.monotonic() + target.seconds
    while time.monotonic() < end:
        for call in [method.future(request) for _ in range(64)]:
            statuses[str(call.code())] += 1
    return _told(statuses)


def _field(number: int, content: bytes) -> bytes:
    """A field of a protobuf message that has a length."""
    size, varint = len(content), b""
    while size > 0x7F:
        varint += bytes((size & 0x7F | 0x80,))
        size >>= 7
    return bytes((number << 3 | 2,)) + varint + bytes((size,)) + content


def unread(target: Target) -> str:
    """60 sockets with one GET of a 16 MB bundle each, and nobody reads."""
    socks = [_connect(target, 4096) for _ in range(60)]
    _begin()
    for sock in socks:
        sock.sendall(f"GET {BUNDLE} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    time.sleep(target.seconds)
    return "60 stalled"


def readers(target: Target) -> str:
    """10,000 connections: half idle, half with a GET of a 16 MB bundle that nobody reads."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    _begin()
    socks = []
    for number in range(10_000):
        sock = _connect(target, 4096)
        if number % 2:
            sock.sendall(f"GET {BUNDLE} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        socks.append(sock)
    time.sleep(target.seconds)
    return "10,000 connected"


def calls(target: Target) -> str:
    """One gRPC connection with 60 calls for a 16 MB bundle, none of which is read."""
    import grpc

    port = next(port for port in _listening(target.worker) if port != target.address[1])
    channel = grpc.insecure_channel(
        f"127.0.0.1:{port}",
        options=(("grpc.max_receive_message_length", -1), ("grpc.http2.bdp_probe", 0)),
    )
    method = channel.unary_stream("/dev.sigstore.rekor.v2.Rekor/GetEntryBundle")
    request = b"\x0a\x03000"
    _begin()
    streams = [method(request) for _ in range(60)]  # of a call that nobody iterates, nothing is asked for
    time.sleep(target.seconds)
    statuses = Counter(str(stream.code()) if stream.done() else "held" for stream in streams)
    for stream in streams:
        stream.cancel()
    return _told(statuses)


def _listening(process: int) -> set[int]:
    """The TCP ports on which a process listens."""
    links = [path.readlink().name for path in Path(f"/proc/{process}/fd").iterdir() if path.is_symlink()]
    inodes = {link.removeprefix("socket:[").removesuffix("]") for link in links if link.startswith("socket:")}
    rows = [
        row.split()
        for name in ("tcp", "tcp6")
        for row in Path(f"/proc/net/{name}").read_text().splitlines()[1:]
    ]
    return {int(row[1].rpartition(":")[2], 16) for row in rows if row[3] == "0A" and row[9] in inodes}


def half_sent(target: Target) -> str:
    """16 clients that send all but a byte of 4 MiB to the authority; others ask it for certificates."""
    for _ in range(16):
        sock = _connect(target)
        head = f"POST /api/v2/signingCert HTTP/1.1\r\nHost: x\r\nContent-Length: {4 * MIB}\r\n\r\n"
        sock.sendall(head.encode())
        threading.Thread(target=_send_and_wait, args=(sock, b" " * (4 * MIB - 1)), daemon=True).start()
    time.sleep(1)
    request = json.dumps({"credentials": {"oidcIdentityToken": "x" * 60_000}}).encode()
    _begin()
    return _send_all(target, [("POST", "/api/v2/signingCert", request)] * 500, 2)


def _send_and_wait(sock: socket.socket, data: bytes) -> None:
    try:
        sock.sendall(data)
        sock.recv(1)
    except OSError:
        pass
    time.sleep(60)


def devices(target: Target) -> str:
    """5,000 device requests, and then a login."""
    netloc = urlsplit(target.base_url).netloc
    form = urlencode({"client_id": "sigstore"}).encode()
    headers = {"Host": netloc, "Content-Type": "application/x-www-form-urlencoded"}
    connection = HTTPConnection(*target.address, timeout=60)
    statuses: Counter[str] = Counter()
    _begin()
    for _ in range(5000):
        connection.request("POST", "/oidc/device/code", form, headers)
        answer = connection.getresponse()
        answer.read()
        statuses[str(answer.status)] += 1
    login = {
        "client_id": "sigstore",
        "redirect_uri": "http://127.0.0.1:1/",
        "response_type": "code",
        "code_challenge": "x" * 43,
        "code_challenge_method": "S256",
        "email": "alice@example.com",
    }
    connection.request("POST", "/oidc/auth", urlencode(login).encode(), headers)
    return f"{_told(statuses)}; then a login: {connection.getresponse().status}"


LOADS = {
    "heads": Load(heads, large_bundle=True),
    "envelopes": Load(envelopes),
    "exponents": Load(exponents),
    "bodies": Load(bodies),
    "payloads": Load(payloads),
    "messages": Load(messages, grpc=True),
    "unread": Load(unread, large_bundle=True),
    "readers": Load(readers, large_bundle=True),
    "calls": Load(calls, large_bundle=True, grpc=True),
    "half-sent": Load(half_sent),
    "devices": Load(devices),
    **{name: Load(run) for name, run in CROWD.items()},
}


def main(name: str, base_url: str, root: str, worker: str, seconds: str) -> None:
    """Run one load."""
    print(LOADS[name].run(Target(base_url, Path(root), int(worker), float(seconds))), flush=True)
    os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
