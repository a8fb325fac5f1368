"""Rekor v2 over gRPC, with the client of grpcio against a server in the same event loop."""

import asyncio
import base64
import gc
import tracemalloc
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from tests.support.rekor import RekorLog, changed, dsse, hashedrekord

pytest.importorskip("grpc_reflection", reason="the grpc extra is not installed")

import grpc
from google.api.httpbody_pb2 import HttpBody
from google.protobuf import descriptor_pb2, json_format
from google.protobuf.empty_pb2 import Empty
from google.rpc import error_details_pb2, status_pb2
from grpc import aio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from hallmark.core.merkle import leaf_hash, verify_inclusion
from hallmark.tiledlog.sequencer import QueueLimits
from hallmark.tlog.config import TlogConfig
from hallmark.tlog.grpc.rekor_v2_pb2 import CreateEntryRequest, EntryBundleRequest, TileRequest
from hallmark.tlog.grpc.server import SERVICE, GrpcServer
from hallmark.tlog.grpc.sigstore_rekor_pb2 import TransparencyLogEntry


class Client:
    """Stubs of the four methods."""

    def __init__(self, channel, address: str = "") -> None:
        self.channel = channel
        self.address = address
        self.create_entry = self._stub("CreateEntry", TransparencyLogEntry)
        self.get_tile = self._stub("GetTile", HttpBody)
        self.get_entry_bundle = self._stub("GetEntryBundle", HttpBody)
        self.get_checkpoint = self._stub("GetCheckpoint", HttpBody)

    def _stub(self, method, answer):
        return self.channel.unary_unary(
            f"/{SERVICE}/{method}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=answer.FromString,
        )


def serve(log, talk, *, tls=None, credentials=None):
    """Serve the log while `talk(client)` runs; returns what that returns."""

    async def run():
        with log:
            server = GrpcServer(log.service, log.metrics, "127.0.0.1:0", tls=tls)
            await server.start()
            address = f"127.0.0.1:{server.port}"
            secure = credentials and aio.secure_channel(address, credentials)
            try:
                async with secure or aio.insecure_channel(address) as channel:
                    return await asyncio.wait_for(talk(Client(channel, address)), 30)
            finally:
                await server.stop()

    return asyncio.run(run())


def message_of(request: dict) -> CreateEntryRequest:
    return json_format.ParseDict(request, CreateEntryRequest())


@pytest.mark.parametrize("make", [hashedrekord, dsse])
def test_creates_an_entry_and_reads_the_log(make):
    async def talk(client):
        created = await client.create_entry(message_of(make()))
        checkpoint = await client.get_checkpoint(Empty())
        bundle = await client.get_entry_bundle(EntryBundleRequest(N="000.p/1"))
        tile = await client.get_tile(TileRequest(L=0, N="000.p/1"))
        return created, checkpoint, bundle, tile

    log = RekorLog()
    created, checkpoint, bundle, tile = serve(log, talk)
    stated = log.log.signer.verify(created.inclusion_proof.checkpoint.envelope.encode())
    hashed = leaf_hash(created.canonicalized_body)
    verify_inclusion(hashed, created.log_index, stated.size, created.inclusion_proof.hashes, stated.root)
    assert created.log_id.key_id == log.log.signer.log_id
    assert created.kind_version.kind == make.__name__
    assert checkpoint.data.decode() == created.inclusion_proof.checkpoint.envelope
    assert (checkpoint.content_type, tile.data) == ("text/plain; charset=utf-8", hashed)
    assert bundle.data[2:] == created.canonicalized_body
    text = log.meter.to_text().decode()
    called = 'grpc_type="unary",grpc_service="dev.sigstore.rekor.v2.Rekor",grpc_method="CreateEntry"'
    assert f"grpc_server_started_total{{{called}}} 1.0" in text
    assert f'grpc_server_handled_total{{{called},grpc_code="OK"}} 1.0' in text
    assert f"rekor_v2_new_{make.__name__}_entries 1.0" in text
    sizes = "rekor_v2_grpc_api_request_size_sum"
    for method, message in (("CreateEntry", message_of(make())), ("GetTile", TileRequest(L=0, N="000.p/1"))):
        (line,) = (line for line in text.splitlines() if line.startswith(sizes) and f'"{method}"' in line)
        assert float(line.split()[-1]) == pytest.approx(message.ByteSize(), abs=4)  # of another signature


async def refused(call):
    with pytest.raises(aio.AioRpcError) as error:
        await call
    return error.value


def details_of(error) -> list:
    """The details of `google.rpc.Status`."""
    raw = dict(error.trailing_metadata())["grpc-status-details-bin"]
    status = status_pb2.Status.FromString(raw)
    assert (status.code, status.message) == (error.code().value[0], error.details())
    return list(status.details)


def reason_of(error) -> str:
    info = error_details_pb2.ErrorInfo()
    assert details_of(error)[0].Unpack(info)
    assert info.domain == "hallmark"
    return info.reason


REQUEST = "hashedRekordRequestV002"
BAD = {
    "nothing": ({}, "invalid type, must be either hashedrekord or dsse", "UNSUPPORTED_ENTRY"),
    "no digest": (
        changed(hashedrekord(), REQUEST, "digest", value=...),
        "invalid hashedrekord request",
        "MISSING_FIELD",
    ),
    "other digest": (
        changed(hashedrekord(), REQUEST, "digest", value=base64.b64encode(bytes(32)).decode()),
        "invalid hashedrekord request",
        "INVALID_SIGNATURE",
    ),
    "unknown algorithm": (
        changed(hashedrekord(), REQUEST, "signature", "verifier", "keyDetails", value=0),
        "invalid hashedrekord request",
        "UNKNOWN_ALGORITHM",
    ),
    "no verifiers": (
        changed(dsse(), "dsseRequestV002", "verifiers", value=...),
        "invalid dsse request",
        "WRONG_NUMBER_OF_VERIFIERS",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_says_which_check_failed(case):
    request, message, reason = BAD[case]

    async def talk(client):
        return await refused(client.create_entry(message_of(request)))

    log = RekorLog()
    error = serve(log, talk)
    assert (error.code(), error.details()) == (grpc.StatusCode.INVALID_ARGUMENT, message)
    assert reason_of(error) == reason
    assert 'grpc_method="CreateEntry",grpc_code="InvalidArgument"} 1.0' in log.meter.to_text().decode()


def test_an_unexpected_error_is_told_to_the_operator_and_not_to_the_caller(caplog):
    def fail():
        raise OSError("private detail")

    async def talk(client):
        return await refused(client.get_checkpoint(Empty()))

    log = RekorLog()
    log.service.reads.checkpoint = fail
    error = serve(log, talk)
    assert (error.code(), error.details()) == (grpc.StatusCode.INTERNAL, "internal server error")
    assert "private detail" in caplog.text
    text = log.meter.to_text().decode()
    assert 'grpc_method="GetCheckpoint",grpc_code="Internal"} 1.0' in text
    assert "rekor_v2_grpc_req_panics_recovered_total 1.0" in text


def test_a_duplicate_carries_the_index_in_its_headers():
    async def talk(client):
        await client.create_entry(message_of(hashedrekord(message=b"first")))
        message = message_of(hashedrekord())
        await client.create_entry(message)
        call = client.create_entry(message)
        return await refused(call), await call.initial_metadata()

    error, headers = serve(RekorLog(), talk)
    assert error.code() is grpc.StatusCode.ALREADY_EXISTS
    assert error.details() == "an equivalent entry already exists in the transparency log with index 1"
    assert dict(headers)["x-log-index"] == "1"


@pytest.mark.parametrize(
    ("log", "code", "message"),
    [
        (RekorLog(TlogConfig(read_only=True)), grpc.StatusCode.UNIMPLEMENTED, "log frozen"),
        (
            RekorLog(limits=QueueLimits(max_entries=0)),
            grpc.StatusCode.UNAVAILABLE,
            "reached max pushback; retry",
        ),
        (
            RekorLog(TlogConfig(max_body_bytes_in_flight=10)),
            grpc.StatusCode.UNAVAILABLE,
            "reached max pushback; retry",
        ),
    ],
)
def test_says_what_the_log_cannot_do_now(log, code, message):
    async def talk(client):
        return await refused(client.create_entry(message_of(hashedrekord())))

    error = serve(log, talk)
    assert (error.code(), error.details()) == (code, message)
    if code is grpc.StatusCode.UNAVAILABLE:
        retry = error_details_pb2.RetryInfo()
        assert details_of(error)[1].Unpack(retry)
        assert retry.retry_delay.seconds == 1


def test_what_is_not_there_is_not_found():
    async def talk(client):
        return (
            await refused(client.get_tile(TileRequest(L=0, N="001"))),
            await refused(client.get_tile(TileRequest(L=9, N="001"))),
            await refused(client.get_entry_bundle(EntryBundleRequest(N="../x"))),
        )

    errors = serve(RekorLog(), talk)
    assert errors[0].details() == "the log has no such tile yet"
    assert [error.code() for error in errors] == [
        grpc.StatusCode.NOT_FOUND,
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.INVALID_ARGUMENT,
    ]


def test_tells_its_health_and_describes_itself():
    async def talk(client):
        health = health_pb2_grpc.HealthStub(client.channel)
        states = [
            (await health.Check(health_pb2.HealthCheckRequest(service=name))).status for name in ("", SERVICE)
        ]
        stub = reflection_pb2_grpc.ServerReflectionStub(client.channel)
        asked = reflection_pb2.ServerReflectionRequest(list_services="")
        answers = stub.ServerReflectionInfo(iter([asked]))
        listed = [item.name async for answer in answers for item in answer.list_services_response.service]
        return states, listed

    states, listed = serve(RekorLog(), talk)
    assert states == [health_pb2.HealthCheckResponse.SERVING] * 2
    assert set(listed) >= {SERVICE, "grpc.health.v1.Health"}


def test_serves_over_tls_with_the_certificate_it_is_given():
    key, certificate = tls_files()
    credentials = grpc.ssl_channel_credentials(certificate)

    async def talk(client):
        return await client.create_entry(message_of(hashedrekord()))

    created = serve(RekorLog(), talk, tls=(key, certificate), credentials=credentials)
    assert created.log_index == 0

    async def fail(client):
        return await refused(client.create_entry(message_of(hashedrekord()), timeout=10))

    assert serve(RekorLog(), fail, tls=(key, certificate)).code() is grpc.StatusCode.UNAVAILABLE


def test_a_call_is_described_as_the_unary_one_it_is():
    async def talk(client):
        stub = reflection_pb2_grpc.ServerReflectionStub(client.channel)
        asked = reflection_pb2.ServerReflectionRequest(file_containing_symbol=SERVICE)
        return [
            descriptor_pb2.FileDescriptorProto.FromString(file)
            async for answer in stub.ServerReflectionInfo(iter([asked]))
            for file in answer.file_descriptor_response.file_descriptor_proto
        ]

    (file,) = (item for item in serve(RekorLog(), talk) if item.service)
    methods = {method.name: method.client_streaming for method in file.service[0].method}
    assert methods["CreateEntry"] is False


@pytest.mark.parametrize("data", [b"\xff\xff\xff", b"\x0a\x05"])
def test_bytes_that_are_no_message_are_refused_as_such(data):
    async def talk(client):
        create = client.channel.unary_unary(f"/{SERVICE}/CreateEntry")
        return await refused(create(data))

    assert serve(RekorLog(), talk).code() is grpc.StatusCode.INVALID_ARGUMENT


def test_only_so_many_messages_arrive_at_one_time_and_the_others_get_their_turn():
    """A client that begins a message and stalls holds a place for as long as a body may take, no longer."""
    config = TlogConfig(max_body_bytes_in_flight=16 * 1024 * 1024, body_timeout=0.5)  # two places

    async def talk(client):
        create = f"/{SERVICE}/CreateEntry"
        stalled = [client.channel.stream_unary(create)() for _ in range(2)]
        for call in stalled:
            await call.wait_for_connection()
        created = await client.create_entry(message_of(hashedrekord()), timeout=20)
        return created, [await refused(call) for call in stalled]

    created, errors = serve(RekorLog(config), talk)
    assert created.log_index == 0
    assert [error.code() for error in errors] == [grpc.StatusCode.INVALID_ARGUMENT] * 2


def test_where_every_place_is_taken_for_long_a_call_is_told_to_come_back():
    config = TlogConfig(max_body_bytes_in_flight=4 * 1024 * 1024, body_timeout=0.6, append_timeout=0.1)

    async def talk(client):
        stalled = [client.channel.stream_unary(f"/{SERVICE}/CreateEntry")() for _ in range(3)]
        return [(await refused(call)).code() for call in stalled]

    codes = serve(RekorLog(config), talk)
    assert grpc.StatusCode.UNAVAILABLE in codes
    assert grpc.StatusCode.INVALID_ARGUMENT in codes


@pytest.mark.parametrize("refused_for", ["no_message", "no_entry"])
def test_nothing_that_was_received_is_held_after_the_call(refused_for):
    """Not even until garbage is collected: grpcio keeps a generator for ever that nobody closes."""
    size = 1024 * 1024
    data = b"\xff" * size if refused_for == "no_message" else b"\x0a\x83\x80\x40\x12" + b"\xff\xff\x3f"
    data += bytes(size - len(data))

    async def talk(client):
        create = client.channel.unary_unary(f"/{SERVICE}/CreateEntry")
        await refused(create(data))  # what is made once, is made
        tracemalloc.start()
        before, _ = tracemalloc.get_traced_memory()
        for _ in range(4):
            await refused(create(data))
        await asyncio.sleep(0)
        return tracemalloc.get_traced_memory()[0] - before

    gc.disable()
    try:
        assert serve(RekorLog(), talk) < size
    finally:
        tracemalloc.stop()
        gc.enable()


def tls_files():
    """A key and a certificate for 127.0.0.1, PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "log")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(minutes=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, SHA256())
    )
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return pem, certificate.public_bytes(Encoding.PEM)


def fill_bundle(log, size: int) -> None:
    log.log.append(*(bytes([number]) * size for number in range(256)))
    log.log.publisher.publish()


def test_only_so_many_bytes_of_answers_are_held_for_readers_that_do_not_read():
    """A call that nobody reads holds its answer as long as its connection stands, and so may few."""
    log = RekorLog()
    fill_bundle(log, 60_000)

    async def talk(client):
        large = ("grpc.max_receive_message_length", -1)
        async with aio.insecure_channel(client.address, options=(large, ("grpc.http2.bdp_probe", 0))) as slow:
            stub = slow.unary_stream(
                f"/{SERVICE}/GetEntryBundle", request_serializer=EntryBundleRequest.SerializeToString
            )
            calls = [stub(EntryBundleRequest(N="000")) for _ in range(8)]
            ended = [asyncio.create_task(call.code()) for call in calls]
            done, held = await asyncio.wait(ended, timeout=5)
            codes = [task.result() for task in done]
            tile = await client.get_tile(TileRequest(L=0, N="000"))  # of another connection
            for call in calls:
                call.cancel()
            await asyncio.wait(held)
        return codes, len(held), tile

    codes, held, tile = serve(log, talk)
    assert codes == [grpc.StatusCode.UNAVAILABLE] * 6
    assert held == 2
    assert len(tile.data) == 256 * 32


def test_what_was_held_for_a_reader_is_given_back_when_it_has_read():
    log = RekorLog()
    fill_bundle(log, 60_000)

    async def talk(client):
        async with aio.insecure_channel(
            client.address, options=(("grpc.max_receive_message_length", -1),)
        ) as channel:
            stub = Client(channel).get_entry_bundle
            return [len((await stub(EntryBundleRequest(N="000"))).data) for _ in range(8)]

    assert serve(log, talk) == [256 * 60_002] * 8


def test_only_so_many_bytes_of_answers_are_held_for_all_connections():
    log = RekorLog()
    fill_bundle(log, 60_000)

    async def stall(channel):
        stub = channel.unary_stream(
            f"/{SERVICE}/GetEntryBundle", request_serializer=EntryBundleRequest.SerializeToString
        )
        calls = [stub(EntryBundleRequest(N="000")) for _ in range(2)]
        ended = [asyncio.create_task(call.code()) for call in calls]
        done, _ = await asyncio.wait(ended, timeout=1)
        return calls, [task.result() for task in done]

    async def talk(client):
        options = (
            ("grpc.max_receive_message_length", -1),
            ("grpc.http2.bdp_probe", 0),
            ("grpc.use_local_subchannel_pool", 1),  # a connection of its own
        )
        channels = [aio.insecure_channel(client.address, options=options) for _ in range(3)]
        found = [await stall(channel) for channel in channels]
        for calls, _ in found:
            for call in calls:
                call.cancel()
        for channel in channels:
            await channel.close()
        return [codes for _, codes in found]

    refused_twice = [grpc.StatusCode.UNAVAILABLE] * 2
    assert serve(log, talk) == [[], [], refused_twice]


def test_a_message_of_many_fields_is_refused_before_it_is_parsed():
    async def talk(client):
        create = client.channel.unary_unary(f"/{SERVICE}/CreateEntry")
        return details_of(await refused(create(b"\x12\x00" * 300)))

    info = error_details_pb2.ErrorInfo()
    assert serve(RekorLog(), talk)[0].Unpack(info)
    assert "fields" in info.metadata["message"]


@pytest.mark.parametrize(
    ("more", "code"), [(64, grpc.StatusCode.INVALID_ARGUMENT), (65, grpc.StatusCode.RESOURCE_EXHAUSTED)]
)
def test_a_message_has_room_for_a_body_of_the_largest_size_and_little_more(more, code):
    async def talk(client):
        return await refused(client.channel.unary_unary(f"/{SERVICE}/CreateEntry")(b"\xff" * (5000 + more)))

    assert serve(RekorLog(TlogConfig(max_body_bytes=5000)), talk).code() is code
