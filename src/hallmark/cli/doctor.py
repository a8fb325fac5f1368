"""`hallmark doctor`: look at everything between this machine and an instance, and say how to fix it."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Final, Protocol
from urllib.parse import urlsplit

import click
import msgspec

from hallmark.cli.clock import HINT as CLOCK_HINT
from hallmark.cli.clock import ask_clock, blame_clock, describe_clock
from hallmark.cli.exit_codes import exit_code_of, gravest
from hallmark.cli.options import PATH, instance_option, json_option, trust_config_option
from hallmark.cli.output import CommandFailed, Output, describe_error, print_json
from hallmark.cli.trust import TrustOptions, trust_to_sign
from hallmark.client.contexts import Context, load_contexts
from hallmark.client.http import HttpClient, ServerClock, one_line, refused
from hallmark.client.kept_trust import kept_trust
from hallmark.client.oidc import discover
from hallmark.client.signing import choose_services
from hallmark.client.timestamp import TimestampClient
from hallmark.client.trust import choose_source, local_client_trust_config, read_client_trust_config
from hallmark.core.signing_config import ClientTrustConfig
from hallmark.core.timestamp import parse_timestamp
from hallmark.errors import HallmarkError, RemoteError, TrustError

_SOON: Final = timedelta(days=2)
_MAX_CHECKS: Final = 2000  # of an instance with the most shards that there may be, and as much again
_HEALTH_HINT: Final = "its operator finds what to do with hallmark doctor --data DIR"
_OWN_HINT: Final = "see the standard error of hallmark up, or its log file"


class _HealthCheck(Protocol):
    """What an instance tells of one thing that it looked at, from afar or from within."""

    @property
    def check(self) -> str: ...
    @property
    def ok(self) -> bool: ...
    @property
    def found(self) -> str: ...
    @property
    def soon(self) -> bool: ...


class _OwnCheck(_HealthCheck, Protocol):
    """What is told from within: what to do, too."""

    @property
    def hint(self) -> str: ...


class _Told(msgspec.Struct, frozen=True):
    check: str
    ok: bool
    found: str
    soon: bool = False


class _Health(msgspec.Struct, frozen=True):
    checks: Annotated[tuple[_Told, ...], msgspec.Meta(max_length=_MAX_CHECKS)]


class _Finding(msgspec.Struct, frozen=True):
    """One check: what was looked at, what was found, and the error if there is one."""

    check: str
    found: str
    error: HallmarkError | None = None
    soon: bool = False


@click.command("doctor")
@click.option("--data", type=PATH, metavar="DIR", help="The directory of an instance, running or stopped.")
@trust_config_option
@instance_option
@json_option
def command(*, data: Path | None, instance: str, trust_config: Path | None, as_json: bool) -> None:
    """Check contexts, trust material, services and clocks; say what is wrong, and what to do.

    With --data look at nothing but that directory, from within.
    """
    output = Output(as_json=as_json)
    findings = _directory(data) if data is not None else _from_outside(instance, trust_config)
    for item in findings:
        if item.error is None and item.soon:
            output.note(f"soon {item.check}: {item.found}")
        elif item.error is None:
            output.line(f"{item.check}: {item.found}", good="ok")
        else:
            output.error(item.error, about=item.check)
    _finish(output, findings)


def _from_outside(instance: str, trust_config: Path | None) -> list[_Finding]:
    """Look at the clock first: a wrong one explains what comes after it, whose hints would mislead."""
    clock = _clock(instance, trust_config)
    findings = [_check("contexts", _contexts), *_instance(instance, trust_config)]
    if clock is None:
        return findings
    if clock.error is not None:
        findings = [
            msgspec.structs.replace(item, error=item.error and blame_clock(item.error)) for item in findings
        ]
    return [clock, *findings]


def _clock(instance: str, trust_config: Path | None) -> _Finding | None:
    """Compare this machine's clock with that of the instance; None where nothing can be asked."""
    try:
        url = _service_url(instance, trust_config)
    except HallmarkError:  # told by what needs it
        return None
    told = ask_clock(url) if url else None
    if told is None:
        return None
    wrong = describe_clock(told)
    error = TrustError(wrong, code="clock_skew", hint=CLOCK_HINT) if wrong else None
    return _Finding("clock", f"that of {told.host}, to a minute", error)


def _service_url(instance: str, trust_config: Path | None) -> str:
    """Find a service to ask for the time, without any trust material that a wrong clock would spoil."""
    source = None if trust_config is not None else choose_source(instance)
    if isinstance(source, Context):
        return source.url
    if trust_config is not None:
        trust = read_client_trust_config(trust_config)
    elif source is not None:
        trust = local_client_trust_config(source)
    else:
        return ""
    return next((service.url for service in trust.signing_config.ca_urls), "")


def _check(name: str, look: Callable[[], str]) -> _Finding:
    try:
        return _Finding(name, look())
    except HallmarkError as error:
        return _Finding(name, "", error)


def _contexts() -> str:
    contexts = load_contexts()
    for context in contexts.contexts.values():
        _check_stored(context, datetime.now(UTC))
    return f"{len(contexts.contexts)}, current: {contexts.current or 'none'}"


def _check_stored(context: Context, now: datetime) -> None:
    material = kept_trust(context)
    command = f"hallmark context update {context.name}"
    if material is None:
        raise TrustError(
            f"no trust material for {context.name!r}", code="missing_trust_material", hint=command
        )
    if material.expires - now < _SOON:
        raise TrustError(
            f"the trust material for {context.name!r} ends at {material.expires:%Y-%m-%d %H:%M} UTC",
            code="expired_trust_material",
            hint=command,
        )


def _instance(instance: str, trust_config: Path | None) -> list[_Finding]:
    """Every service that signing needs; without trust material there is none to ask."""
    try:
        trust = trust_to_sign(TrustOptions(instance=instance, trust_config=trust_config)).config
    except HallmarkError as error:
        return [_Finding("instance", "", error)]
    http = HttpClient(timeout_seconds=5.0, deadline_seconds=15.0)
    checks = {
        "signing config": lambda: _signing_config(trust, http),
        "identity provider": lambda: _identity_provider(trust, http),
        "certificate authority": lambda: _certificate_authority(trust, http),
        "timestamp authority": lambda: _timestamp_authority(trust, http),
    }
    return [*(_check(name, look) for name, look in checks.items()), *_health(trust, http)]


def _health(trust: ClientTrustConfig, http: HttpClient) -> list[_Finding]:
    """Ask each instance what it finds in itself; services of others do not tell."""
    found: list[_Finding] = []
    for url in sorted({service.url.rstrip("/") for service in trust.signing_config.ca_urls}):
        try:
            answer = http.get(f"{url}/health", service="the instance")
            if answer.status == 200:
                checks = msgspec.json.decode(answer.body, type=_Health).checks
                found += [_finding(f"{urlsplit(url).netloc} {item.check}", item) for item in checks]
        except (msgspec.MsgspecError, UnicodeDecodeError):
            continue
        except HallmarkError as error:
            found.append(_Finding(f"health of {url}", "", error))
    return found


def _directory(data: Path) -> list[_Finding]:
    from hallmark.instance.ownership import check_owner
    from hallmark.wiring.health import ask_witnesses, examine_instance
    from hallmark.wiring.layout import Layout

    layout = Layout(data)
    layout.check_exists()
    check_owner(data)
    found = [*examine_instance(layout, datetime.now(UTC)), *ask_witnesses(layout)]
    return [_own_finding(item) for item in found]


def _own_finding(item: _OwnCheck) -> _Finding:
    """The reader is the operator, and the instance may be stopped."""
    return _finding(item.check, item, one_line(item.hint) or _OWN_HINT)


def _finding(name: str, item: _HealthCheck, hint: str = _HEALTH_HINT) -> _Finding:
    check, found = one_line(name), one_line(item.found)
    if item.ok:
        return _Finding(check, found, soon=item.soon)
    return _Finding(check, found, RemoteError(found, code="unhealthy_instance", hint=hint))


def _signing_config(trust: ClientTrustConfig, http: HttpClient) -> str:
    services = choose_services(trust.signing_config, http, datetime.now(UTC))
    return f"{len(services.logs)} logs, {len(services.timestamp_authorities)} timestamp authorities"


def _identity_provider(trust: ClientTrustConfig, http: HttpClient) -> str:
    return ", ".join(discover(item.url, http).issuer for item in trust.signing_config.oidc_urls) or "none"


def _certificate_authority(trust: ClientTrustConfig, http: HttpClient) -> str:
    for service in trust.signing_config.ca_urls:
        url = service.url.rstrip("/") + "/api/v2/configuration"
        answer = http.get(url, service="the certificate authority")
        if answer.status != 200:
            raise refused(answer, service="the certificate authority", url=url)
    return ", ".join(item.url for item in trust.signing_config.ca_urls)


def _timestamp_authority(trust: ClientTrustConfig, http: HttpClient) -> str:
    """Its timestamps tell its clock."""
    for service in trust.signing_config.tsa_urls:
        time = parse_timestamp(TimestampClient(service.url, http).fetch(b"hallmark doctor")).time
        clock = ServerClock(urlsplit(service.url).netloc, datetime.now(UTC) - time)
        if wrong := describe_clock(clock):
            raise TrustError(wrong, code="clock_skew", hint=CLOCK_HINT)
    return ", ".join(item.url for item in trust.signing_config.tsa_urls) or "none"


def _finish(output: Output, findings: list[_Finding]) -> None:
    errors = [item.error for item in findings if item.error is not None]
    checks = [
        {"check": item.check, "found": item.found, "ok": item.error is None}
        | ({"soon": True} if item.soon else {})
        | ({"error": describe_error(item.error)} if item.error else {})
        for item in findings
    ]
    if not errors:
        output.finish(checks=checks)
        return
    if output.as_json:
        print_json({"ok": False, "error": describe_error(errors[0]), "checks": checks})
    raise CommandFailed(gravest([exit_code_of(error) for error in errors]))
