"""`hallmark context`: named instances, each pinned to the fingerprint of its root."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import click

from hallmark.cli.options import PATH, json_option
from hallmark.cli.output import Output
from hallmark.client.contexts import (
    Context,
    change_contexts,
    load_contexts,
    parse_context_name,
    parse_fingerprint,
)
from hallmark.client.files import read_file
from hallmark.core.encoding.protojson import format_timestamp
from hallmark.errors import ConfigurationError, HallmarkError, TrustError

_MAX_ROOT_BYTES: Final = 512_000


@click.group("context")
def command() -> None:
    """Name instances, and pin each to the root it must have."""


@command.command("add")
@click.argument("name")
@click.argument("url")
@click.option("--root-fingerprint", metavar="HEX", help="SHA-256 of its root.json, from its operator.")
@click.option("--root", type=PATH, metavar="FILE", help="The root.json itself, got from the operator.")
@click.option("--trust-on-first-use", is_flag=True, help="Pin whatever root answers now. Unsafe.")
@click.option("--tuf", metavar="URL", help="The TUF repository of a Sigstore that is not Hallmark.")
@click.option("--use", is_flag=True, help="Make it the current context.")
@json_option
def add(
    *,
    name: str,
    url: str,
    root_fingerprint: str | None,
    root: Path | None,
    trust_on_first_use: bool,
    tuf: str | None,
    use: bool,
    as_json: bool,
) -> None:
    """Add the instance at URL under a NAME, or replace it.

    Its root must be pinned: by fingerprint or by file, which come from the operator and not from the URL.
    """
    output = Output(as_json=as_json)
    parse_context_name(name)
    pin = parse_fingerprint(root_fingerprint) if root_fingerprint else ""
    if not (pin or root or trust_on_first_use):
        raise TrustError(
            f"nothing vouches for {url}",
            code="unpinned_instance",
            hint="pass --root-fingerprint HEX or --root FILE, which the operator tells you",
        )
    context, material = _pin(name, url, pin=pin, root=root, tuf=tuf)
    contexts = change_contexts(lambda known: known.with_context(context, use=use))
    current = contexts.current == name
    output.line(f"context {name}: {context.url}" + (", now current" if current else ""), good="added")
    output.line(f"root fingerprint {context.root_fingerprint}")
    output.line(f"trust material valid until {material:%Y-%m-%d %H:%M} UTC")
    output.finish(**_to_json(context, current=current), expires=format_timestamp(material))


def _pin(name: str, url: str, *, pin: str, root: Path | None, tuf: str | None) -> tuple[Context, datetime]:
    """Fetch what the pinned root vouches for before anything is kept."""
    from hallmark.cli.clock import explain_clock
    from hallmark.client.http import HttpClient
    from hallmark.client.pinned_roots import fingerprint_of, pin_root
    from hallmark.client.trust import parse_material
    from hallmark.client.trust_update import update_trust
    from hallmark.client.tuf import fetch_root, fetch_unpinned_root
    from hallmark.client.well_known import fetch_description

    http = HttpClient()
    tuf_url, root_url = tuf or "", f"{(tuf or '').rstrip('/')}/root.json"
    if tuf is None:
        description = fetch_description(url, http)
        tuf_url, root_url = description.services.tuf, description.configs.root
    if root is not None:
        content = read_file(root, max_bytes=_MAX_ROOT_BYTES)
    else:
        content = fetch_root(root_url, pin, http) if pin else fetch_unpinned_root(root_url, http)
    context = Context(
        name=name,
        url=url.rstrip("/"),
        tuf_url=tuf_url,
        root_fingerprint=pin or fingerprint_of(content),
    )
    pin_root(context, content)
    try:
        material = update_trust(context, http, datetime.now(UTC))
        parse_material(material)
    except HallmarkError as error:
        raise explain_clock(error, url, http) from None
    return context, material.expires


@command.command("list")
@json_option
def list_(as_json: bool) -> None:
    """List the contexts; the current one has a star."""
    output = Output(as_json=as_json)
    contexts = load_contexts()
    for name, context in sorted(contexts.contexts.items()):
        mark = "*" if name == contexts.current else " "
        output.line(f"{mark} {name}  {context.url}  {context.root_fingerprint[:16]}")
    if not contexts.contexts:
        output.note("no contexts; hallmark context add NAME URL --root-fingerprint HEX makes one")
    output.finish(
        current=contexts.current,
        contexts=[
            _to_json(item, current=name == contexts.current)
            for name, item in sorted(contexts.contexts.items())
        ],
    )


@command.command("use")
@click.argument("name")
@json_option
def use(name: str, as_json: bool) -> None:
    """Make a context the current one."""
    output = Output(as_json=as_json)
    contexts = change_contexts(lambda known: known.using(name))
    output.line(f"context {name}: {contexts.get(name).url}", good="using")
    output.finish(**_to_json(contexts.get(name), current=True))


@command.command("remove")
@click.argument("name")
@json_option
def remove(name: str, as_json: bool) -> None:
    """Remove a context; what it pinned is forgotten."""
    output = Output(as_json=as_json)
    context = load_contexts().get(name)
    change_contexts(lambda known: known.without(name))
    output.line(f"context {name}", good="removed")
    output.finish(**_to_json(context, current=False))


@command.command("update")
@click.argument("name", default="")
@json_option
def update(name: str, as_json: bool) -> None:
    """Fetch the newest trust material of a context (default: the current one)."""
    from hallmark.cli.clock import explain_clock
    from hallmark.client.http import HttpClient
    from hallmark.client.trust_update import update_trust

    output = Output(as_json=as_json)
    contexts = load_contexts()
    if not name and not contexts.current:
        raise ConfigurationError(
            "there is no current context", code="unknown_context", hint="name one; hallmark context list"
        )
    context = contexts.get(name or contexts.current)
    http = HttpClient()
    try:
        material = update_trust(context, http, datetime.now(UTC))
    except HallmarkError as error:
        raise explain_clock(error, context.url, http) from None
    output.line(f"context {context.name}, valid until {material.expires:%Y-%m-%d %H:%M} UTC", good="updated")
    output.finish(
        **_to_json(context, current=context.name == contexts.current),
        expires=format_timestamp(material.expires),
    )


def _to_json(context: Context, *, current: bool) -> dict[str, Any]:
    return {
        "name": context.name,
        "url": context.url,
        "tufUrl": context.tuf_url,
        "rootFingerprint": context.root_fingerprint,
        "current": current,
    }
