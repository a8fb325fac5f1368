"""The application of a worker: every service of the instance on one port."""

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Final

import msgspec
from cryptography.hazmat.primitives.asymmetric import rsa
from starlette.routing import BaseRoute

from hallmark.adapters.keys.file import read_key
from hallmark.adapters.storage.grants import SqliteGrants
from hallmark.adapters.storage.issuers import ObjectIssuerStore
from hallmark.ca import http as ca_http
from hallmark.ca.issuers import FixedKeys, OidcIssuer, OidcIssuers
from hallmark.ca.service import CertificateAuthority
from hallmark.core.keys import parse_public_key
from hallmark.core.oidc.issuers import ISSUER_TYPES
from hallmark.core.vkey import ctlog_vkey
from hallmark.ctlog import http as ctlog_http
from hallmark.ctlog.service import CtLog
from hallmark.errors import ConfigurationError
from hallmark.idp import http as idp_http
from hallmark.idp.config import IdpConfig
from hallmark.idp.service import IdentityProvider
from hallmark.ports import LogAppender
from hallmark.tiledlog.cosigned_answers import CosignedAnswers
from hallmark.tiledlog.sequencer import QueueLimits, Sequencer
from hallmark.tlog import http as tlog_http
from hallmark.tlog.config import TlogConfig
from hallmark.tlog.service import TlogService, WriteBounds
from hallmark.trustroot import http as tuf_http
from hallmark.tsa import http as tsa_http
from hallmark.tsa.config import TsaConfig
from hallmark.tsa.service import TimestampAuthority
from hallmark.web.application import Dispatcher, mount
from hallmark.web.asgi import App, Receive, Scope, Send
from hallmark.web.front_page import front_routes
from hallmark.web.health import HealthCheck, health_routes, well_known_routes
from hallmark.web.log_reads import ReadLoad, read_routes
from hallmark.web.metrics import Meter
from hallmark.web.metrics_route import metrics_routes
from hallmark.wiring.chains import read_chain
from hallmark.wiring.description import CLIENT_FILES, description
from hallmark.wiring.layout import InstanceFile, Layout
from hallmark.wiring.logs import STATIC_CT, open_ctlog
from hallmark.wiring.metrics import FAMILIES, InstanceMetrics, InstanceStates
from hallmark.wiring.processes import family_of
from hallmark.wiring.settings import Settings
from hallmark.wiring.shards import FIRST, Shard, ShardTable, open_shard
from hallmark.wiring.vkeys import shard_keys
from hallmark.wiring.witnessing import open_ctlog_witnessed, open_witnessed

OnFailure = Callable[[BaseException], None]
_SHARDS: Final = "/shards/"
_SHARE_OF_WAIT: Final = 0.9  # of a caller's patience: it is told what is missing before that is over
_LAST_WAIT: Final = 5.0  # seconds that answers may still wait for witnesses once the process is to end


def utc_now() -> datetime:
    """The clock of a running instance."""
    return datetime.now(UTC)


class Application:
    """The services of one worker process, and the committing threads of its logs."""

    def __init__(
        self,
        instance: InstanceFile,
        app: App,
        *,
        sequencers: Sequence[Sequencer],
        shards: "OpenShards",
        metrics: InstanceMetrics,
    ) -> None:
        self.instance = instance
        self.metrics = metrics
        self.shards = shards
        self._base = f"{instance.base_path}/" if instance.base_path else ""
        self._app = app
        self._sequencers = sequencers
        self.calls = 0
        """How many requests have come in."""

    def start(self) -> None:
        """Start the committing threads."""
        for sequencer in self._sequencers:
            sequencer.start()

    def longest_lock(self) -> float:
        """Tell for how many seconds a commit of this process has held a log's lock."""
        return max(item.lock_held() for item in (*self._sequencers, *self.shards.sequencers))

    def hurry(self) -> None:
        """Let nobody wait long for witnesses any more: the process is about to end."""
        self.shards.hurry(_LAST_WAIT)

    def stop(self) -> None:
        """Commit what waits, then stop."""
        for sequencer in self._sequencers:
            sequencer.stop()
        self.shards.stop()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; the path of the base URL may be in front of it, or taken away by a proxy."""
        self.calls += 1
        if self._base and scope.get("path", "").startswith(self._base):
            scope = {**scope, "path": f"/{scope['path'].removeprefix(self._base)}"}
        shard = self.shards.find(scope["path"]) if scope["type"] == "http" else None
        await (shard or self._app)(scope, receive, send)


class OpenShards:
    """The shards of the signature log; later ones are opened when they are first asked for."""

    def __init__(self, opening: "TlogOpening", first: TlogService) -> None:
        self._opening = opening
        self._table = ShardTable(opening.layout)
        self._services = {FIRST: first}
        self._apps: dict[str, App] = {}
        self.sequencers: list[Sequencer] = []

    def find(self, path: str) -> App | None:
        """Find the application of the shard that a path lies in; None where it lies in none."""
        if not path.startswith(_SHARDS):
            return None
        number = path.removeprefix(_SHARDS).partition("/")[0]
        if number not in self._apps:
            shard = next((item for item in self._table.read() if str(item.number) == number), None)
            if shard is None or shard.number == FIRST:
                return None
            self._apps[number] = self._mount(shard)
        return self._apps[number]

    def services(self) -> Mapping[int, TlogService]:
        """Open every shard that there is now; gives their services by their numbers."""
        for shard in self._table.read():
            self._service(shard)
        return self._services

    def hurry(self, seconds: float) -> None:
        """Let nobody wait longer than this for witnesses."""
        for answers in self._opening.waiting:
            answers.hurry(seconds)

    def stop(self) -> None:
        """Commit what waits, then stop."""
        for sequencer in self.sequencers:
            sequencer.stop()

    def _service(self, shard: Shard) -> TlogService:
        if shard.number not in self._services:
            service, sequencer = self._opening.open(shard)
            sequencer.start()
            self.sequencers.append(sequencer)
            self._services[shard.number] = service
        return self._services[shard.number]

    def _mount(self, shard: Shard) -> App:
        service, rekor = self._service(shard), self._opening.metrics.rekor
        hot = {f"{shard.path}{path}": app for path, app in tlog_http.hot_routes(service, rekor).items()}
        routes = tlog_http.routes(service, rekor, self._opening.load)
        return Dispatcher([mount(shard.path, routes)], hot, self._opening.load.turns)


class TlogOpening(msgspec.Struct, frozen=True):
    """What it takes to open a shard of the signature log for serving.

    `waiting` collects those whose answers wait for witnesses; `load` and `bounds` are shared by all that the
    process serves.
    """

    layout: Layout
    instance: InstanceFile
    metrics: InstanceMetrics
    config: TlogConfig
    on_failure: OnFailure
    waiting: list[CosignedAnswers]
    load: ReadLoad
    bounds: WriteBounds

    def open(self, shard: Shard) -> tuple[TlogService, Sequencer]:
        """Open the shard's service, and its committing thread, not yet started."""
        log, signer = open_shard(self.layout, self.instance, shard)
        limits = QueueLimits(
            max_entries=self.config.max_waiting_entries, max_bytes=self.config.max_waiting_bytes
        )
        sequencer = log.sequencer(utc_now, self.on_failure, self.metrics.log(shard.folder), limits)
        witnessed = open_witnessed(self.layout, log)
        reader = log.reader(witnessed)
        appender: LogAppender = sequencer
        if witnessed is not None and witnessed.strict:
            seconds = _SHARE_OF_WAIT * self.config.append_timeout
            appender = CosignedAnswers(sequencer, reader, seconds=seconds, limits=limits)
            self.waiting.append(appender)
        service = TlogService(
            appender,
            reader,
            log_id=signer.log_id,
            config=self.config,
            turns=self.load.turns,
            bounds=self.bounds,
        )
        return service, sequencer


class Process(msgspec.Struct, frozen=True):
    """Which of the instance's workers this is, and the memory of their metrics; see `web.metrics`."""

    slot: int = 0
    metrics_memory: int | None = None

    def family(self) -> tuple[int, ...]:
        """List the processes of the instance: the parent and its workers; alone without a parent."""
        return (os.getpid(),) if self.metrics_memory is None else family_of(os.getppid())


def _examine(layout: Layout, grpc_certificate: str | None) -> tuple[HealthCheck, ...]:
    # 50 ms of each start and 8 MiB of each worker, with the libraries of TUF: for whoever asks
    from hallmark.wiring.health import examine_instance  # noqa: PLC0415

    return examine_instance(layout, utc_now(), grpc_certificate)


def open_application(
    layout: Layout,
    *,
    on_failure: OnFailure,
    process: Process | None = None,
    settings: Settings | None = None,
) -> Application:
    """Open every service of the instance in this directory; raises `ConfigurationError` for damaged state."""
    instance = layout.read_instance()
    process, settings = process or Process(), settings or Settings()
    certificate = settings.grpc.tls_certificate
    metrics = InstanceMetrics(Meter(FAMILIES, memory=process.metrics_memory, slot=process.slot))
    bounds = WriteBounds(settings.tlog.max_body_bytes_in_flight)
    opening = TlogOpening(layout, instance, metrics, settings.tlog, on_failure, [], ReadLoad(), bounds)
    turns = opening.load.turns
    parts = _Parts(opening)
    tlog, tsa, idp = parts.tlog(), parts.tsa(), parts.idp()
    ctlog, ctlog_reads = parts.ctlog()
    ca = parts.ca(ctlog, idp)
    ca_hot, tsa_hot = ca_http.hot_routes(ca), tsa_http.hot_routes(tsa, turns)
    ctlog_hot = ctlog_http.hot_routes(ctlog, turns)
    hot = {
        **tlog_http.hot_routes(tlog, metrics.rekor),
        **ca_hot,
        **tsa_hot,
        **{f"/ctlog{path}": app for path, app in ctlog_hot.items()},
    }
    routes: list[BaseRoute] = [
        *health_routes(lambda: _examine(layout, certificate)),
        *parts.well_known(),
        *front_routes(instance.base_url, parts.root_fingerprint),
        *metrics_routes(metrics.meter, InstanceStates(layout, utc_now, process.family, certificate)),
        *tlog_http.routes(tlog, metrics.rekor, opening.load),
        *ca_http.routes(ca, ca_hot),
        *tsa_http.routes(tsa, tsa_hot),
        mount("/ctlog", [*ctlog_http.routes(ctlog, ctlog_hot), *ctlog_reads]),
        mount("/oidc", idp_http.routes(idp, turns)),
        mount("/tuf", tuf_http.routes(layout.tuf)),
    ]
    return Application(
        instance,
        Dispatcher(routes, hot, turns),
        sequencers=parts.sequencers,
        shards=OpenShards(opening, tlog),
        metrics=metrics,
    )


class _Parts:
    """Constructs the services of one worker."""

    def __init__(self, opening: TlogOpening) -> None:
        self._opening = opening
        self._layout = opening.layout
        self._instance = opening.instance
        self.sequencers: list[Sequencer] = []

    def tlog(self) -> TlogService:
        service, sequencer = self._opening.open(Shard(FIRST))
        self.sequencers.append(sequencer)
        return service

    def ctlog(self) -> tuple[CtLog, list[BaseRoute]]:
        log, key = open_ctlog(self._layout, self._instance)
        sequencer = log.sequencer(utc_now, self._opening.on_failure, self._opening.metrics.log("ctlog"))
        self.sequencers.append(sequencer)
        service = CtLog(
            log=sequencer,
            key=key,
            roots=read_chain(self._layout, "ca")[-1:],
            issuers=ObjectIssuerStore(log.objects()),
            turns=self._opening.load.turns,
        )
        witnessed = open_ctlog_witnessed(self._layout, log, parse_public_key(key.spki))
        return service, read_routes(log.reader(witnessed), folder=STATIC_CT.folder, load=self._opening.load)

    def tsa(self) -> TimestampAuthority:
        return TimestampAuthority(
            TsaConfig(), read_chain(self._layout, "tsa"), read_key(self._layout.key("tsa")), utc_now
        )

    def idp(self) -> IdentityProvider:
        key = read_key(self._layout.key("idp")).private_key
        if not isinstance(key, rsa.RSAPrivateKey):
            raise ConfigurationError("the identity provider's key is not RSA", code="damaged_state")
        secret = self._read_client_file("token_secret").strip()
        config = IdpConfig(
            base_url=self._instance.base_url, token_secret_sha256=hashlib.sha256(secret).digest()
        )
        return IdentityProvider(
            config=config, key=key, grants=SqliteGrants(self._layout.grants), clock=utc_now
        )

    def ca(self, ctlog: CtLog, idp: IdentityProvider) -> CertificateAuthority:
        """The issuer of this very instance is asked in process, never over HTTP."""
        issuer = OidcIssuer(
            url=idp.config.oidc_issuer,
            issuer_type=ISSUER_TYPES["email"],
            audience=idp.config.client_id,
            keys=FixedKeys(idp.key_set),
        )
        return CertificateAuthority(
            issuing_key=read_key(self._layout.key("ca")),
            issuing_chain=read_chain(self._layout, "ca"),
            ctlog=ctlog,
            ctlog_key=parse_public_key(read_key(self._layout.key("ctlog")).spki),
            issuers=OidcIssuers([issuer]),
            clock=utc_now,
            turns=self._opening.load.turns,
        )

    def well_known(self) -> list[BaseRoute]:
        """The client files are read for each request, the description too: a rotation changes both."""
        files = {name: partial(self._read_client_file, name) for name in CLIENT_FILES}
        return well_known_routes(self._describe, files)

    def root_fingerprint(self) -> str:
        """SHA-256 of the root that clients are to pin, in hex."""
        return hashlib.sha256(self._read_client_file("root.json")).hexdigest()

    def _describe(self) -> bytes:
        shards = shard_keys(self._layout)
        ctlog = parse_public_key(read_key(self._layout.key("ctlog")).spki)
        vkeys = {
            "tlog": shards[-1].vkey,
            "ctlog": ctlog_vkey(self._instance.ctlog_origin, ctlog).to_text(),
        }
        described = description(self._instance, self._read_client_file("root.json"), vkeys, shards)
        return msgspec.json.format(msgspec.json.encode(described), indent=2)

    def _read_client_file(self, name: str) -> bytes:
        try:
            return (self._layout.client / name).read_bytes()
        except OSError as error:
            raise ConfigurationError(
                f"{self._layout.client / name} cannot be read: {error.strerror}",
                code="damaged_state",
                hint="restore the directory from a copy",
            ) from None
