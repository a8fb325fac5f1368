"""A log in memory with three witnesses over real HTTP."""

from hallmark.adapters.storage.memory import MemoryHeadStore, MemoryObjectStore
from hallmark.core.note import parse_note
from hallmark.core.vkey import ED25519_COSIGNATURE, log_vkey
from hallmark.core.witness_policy import parse_witness_policy
from hallmark.errors import NotFound
from hallmark.tiledlog.publisher import Publisher
from hallmark.tiledlog.reader import LogReader
from hallmark.tiledlog.records import TLOG_TILES
from hallmark.tiledlog.witnessing import WitnessedCheckpoint
from hallmark.witness.config import AskingConfig, WitnessMode
from hallmark.witness.gathering import Witnesses
from tests.support.asgi_call import Answer
from tests.support.small_log import SmallLog
from tests.support.witness_server import SmallWitness, WitnessServer

ROUND = 0.4


class Setting:
    """A log with three witnesses, two of which make a quorum; `clock` is the monotonic one of the asking."""

    def __init__(self, folder, mode: WitnessMode, signature_type: int = ED25519_COSIGNATURE) -> None:
        self.log = SmallLog(MemoryHeadStore(), MemoryObjectStore()).create()
        self.mode = mode
        vkey = log_vkey(self.log.signer.origin, self.log.signer.public_key)
        self.witnesses = [SmallWitness(folder / f"{n}.db", f"w.example/{n}", vkey) for n in range(3)]
        self.servers = [WitnessServer(witness.post, witness.get) for witness in self.witnesses]
        lines = []
        for n, (witness, server) in enumerate(zip(self.witnesses, self.servers, strict=True)):
            (key,) = [item for item in witness.keys.vkeys if item.signature_type == signature_type]
            lines.append(f"witness w{n} {key.to_text()} {server.url}/")
        self.policy = parse_witness_policy("\n".join([*lines, "group g 2 w0 w1 w2", "quorum g"]).encode())
        self.start()

    def start(self) -> None:
        """What a start of the instance makes anew."""
        log = self.log
        asking = Witnesses(self.policy, self.mode, AskingConfig(round_seconds=ROUND, longest_pause=0.2))
        self.publisher = Publisher(log.store, log.objects, log.signer, TLOG_TILES, cosigner=asking)
        strict = self.mode is WitnessMode.STRICT
        witnessed = WitnessedCheckpoint(log.objects, log.signer, self.policy, strict=strict)
        self.reader = LogReader(log.store, log.objects, TLOG_TILES, witnessed=witnessed)

    def publish(self) -> None:
        """Publish until there is nothing new."""
        while self.publisher.publish():
            pass

    def signers(self) -> list[str]:
        """Who signed the published checkpoint, the log itself left out."""
        return [line.name for line in parse_note(self.log.objects.get("checkpoint")).signatures[1:]]

    def published_size(self) -> int:
        try:
            return self.log.signer.verify(self.log.objects.get("checkpoint")).size
        except NotFound:
            return -1

    def unavailable(self, *numbers: int) -> None:
        for number in numbers:
            self.servers[number].handle = lambda _body: Answer(503, {"Content-Length": "0"}, b"")

    def available(self) -> None:
        for server, witness in zip(self.servers, self.witnesses, strict=True):
            server.handle = witness.post

    def close(self) -> None:
        for server, witness in zip(self.servers, self.witnesses, strict=True):
            server.close()
            witness.close()
