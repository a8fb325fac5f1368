"""`hallmark client-config`: what other clients need to use an instance, as a script to paste into a shell."""

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Final

import click
import msgspec

from hallmark.cli.options import PATH, instance_option, json_option
from hallmark.cli.output import Output
from hallmark.cli.trust import context_material
from hallmark.client.contexts import Context
from hallmark.client.trust import (
    LocalInstance,
    TrustSource,
    choose_source,
    local_client_trust_config,
    read_instance_url,
)
from hallmark.core.signing_config import ClientTrustConfig, Service
from hallmark.core.x509.certificate import load_certificate
from hallmark.errors import ConfigurationError

_IDENTITY: Final = "IDENTITY"


class _Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What the scripts are made of; `trust_file` is "" for an instance that is not on this machine."""

    url: str
    tuf_url: str
    root_file: str
    trust_file: str
    trust: ClientTrustConfig

    @property
    def oidc_issuer(self) -> str:
        """The issuer whose tokens the instance takes."""
        return _url(self.trust.signing_config.oidc_urls)

    @property
    def ca(self) -> str:
        """The certificate authority's URL."""
        return _url(self.trust.signing_config.ca_urls)

    def tlog(self, version: int) -> str:
        """The URL of the log with this API version; "" where there is none."""
        logs = self.trust.signing_config.rekor_tlog_urls
        return _url(tuple(log for log in logs if log.major_api_version == version))


def _url(services: tuple[Service, ...]) -> str:
    return services[-1].url.rstrip("/") if services else ""


def _cosign(facts: _Facts) -> list[str]:
    verify = ["--certificate-identity", _IDENTITY, "--certificate-oidc-issuer", facts.oidc_issuer]
    return [
        "# once: trust the instance",
        shlex.join(["cosign", "initialize", "--mirror", facts.tuf_url, "--root", facts.root_file]),
        "# then",
        "cosign sign-blob -y --bundle FILE.sigstore.json FILE",
        shlex.join(["cosign", "verify-blob", "--bundle", "FILE.sigstore.json", *verify, "FILE"]),
    ]


def _sigstore_python(facts: _Facts) -> list[str]:
    instance = ["sigstore", "--instance", facts.tuf_url]
    verify = ["verify", "identity", "--cert-identity", _IDENTITY, "--cert-oidc-issuer", facts.oidc_issuer]
    lines = [
        "# once: trust the instance",
        shlex.join([*instance, "trust-instance", facts.root_file]),
        "# then",
        shlex.join([*instance, "sign", "--overwrite", "FILE"]),
        shlex.join([*instance, *verify, "FILE"]),
    ]
    if facts.trust_file:
        lines += [
            "# or without TUF",
            shlex.join(["sigstore", "--trust-config", facts.trust_file, "sign", "FILE"]),
        ]
    return lines


def _sigstore_js(facts: _Facts) -> list[str]:
    tuf = ["--tuf-mirror-url", facts.tuf_url, "--tuf-root-path", facts.root_file]
    who = ["--certificate-issuer", facts.oidc_issuer, "--certificate-identity-email", _IDENTITY]
    lines = [shlex.join(["sigstore", "verify", "FILE.sigstore.json", "--blob-file", "FILE", *tuf, *who])]
    if not facts.tlog(1):
        return [
            "# sigstore-js verifies; to sign it needs a Rekor v1 log; this instance has none",
            *lines,
        ]
    services = ["--fulcio-url", facts.ca, "--rekor-url", facts.tlog(1), "--oidc-issuer", facts.oidc_issuer]
    return [shlex.join(["sigstore", "attest", "STATEMENT.json", *services]), *lines]


def _gitsign(facts: _Facts) -> list[str]:
    """Its own trust comes from files, the live one from cosign's TUF cache; it wants both."""
    settings = {"fulcio": facts.ca, "issuer": facts.oidc_issuer, "rekorMode": "offline"}
    log = {"rekor": facts.tlog(1)} if facts.tlog(1) else {"rekor": facts.tlog(2), "rekorVersion": "2"}
    lines = [] if facts.tlog(1) else ["# gitsign 0.17 or newer: this instance has a Rekor v2 log"]
    lines += ["git config gpg.format x509", "git config gpg.x509.program gitsign"]
    lines += [
        shlex.join(["git", "config", f"gitsign.{key}", value]) for key, value in {**settings, **log}.items()
    ]
    lines += _cosign(facts)[1:2]
    for variable, (name, content) in _gitsign_files(facts).items():
        lines += [f"cat > {name} <<'END'", *content.strip().split("\n"), "END"]
        lines += [f'export {variable}="$PWD/{name}"']
    return lines


def _gitsign_files(facts: _Facts) -> dict[str, tuple[str, str]]:
    from cryptography.hazmat.primitives.serialization import Encoding

    root = facts.trust.trusted_root
    chain = [der for authority in root.certificate_authorities[-1:] for der in authority.certificates]
    pem = "".join(load_certificate(der).public_bytes(Encoding.PEM).decode() for der in chain)
    return {
        "SIGSTORE_ROOT_FILE": ("fulcio-chain.pem", pem),
        "SIGSTORE_REKOR_PUBLIC_KEY": ("rekor.pub", "".join(log.key.to_pem() for log in root.tlogs[-1:])),
        "SIGSTORE_CT_LOG_PUBLIC_KEY_FILE": (
            "ctfe.pub",
            "".join(log.key.to_pem() for log in root.ctlogs[-1:]),
        ),
    }


def _env(facts: _Facts) -> list[str]:
    variables = {
        "HALLMARK_INSTANCE": facts.url,
        "TUF_MIRROR": facts.tuf_url,
        "TUF_ROOT_JSON": facts.root_file,
    }
    return [f"export {name}={shlex.quote(value)}" for name, value in variables.items()]


_CLIENTS: Final[dict[str, Callable[[_Facts], list[str]]]] = {
    "cosign": _cosign,
    "sigstore-python": _sigstore_python,
    "sigstore-js": _sigstore_js,
    "gitsign": _gitsign,
    "env": _env,
}


@click.command("client-config")
@click.option("client", "--for", type=click.Choice(list(_CLIENTS)), required=True, help="Which client.")
@click.option("--data", type=PATH, metavar="DIR", help="The instance's directory, for one on this machine.")
@instance_option
@json_option
def command(*, client: str, data: Path | None, instance: str, as_json: bool) -> None:
    """Print the commands that let another client use an instance; replace the words in capitals.

    The instance's root must be known here: from its directory, or from a context.
    """
    output = Output(as_json=as_json)
    source = LocalInstance(read_instance_url(data), data) if data else choose_source(instance)
    if source is None:
        raise ConfigurationError(
            "no instance is named", code="no_instance", hint="pass --data DIR, or --instance URL"
        )
    facts = _facts(source)
    lines = _CLIENTS[client](facts)
    for line in lines:
        output.line(line)
    output.finish(client=client, instance=facts.url, tufUrl=facts.tuf_url, script="\n".join(lines) + "\n")


def _facts(source: TrustSource) -> _Facts:
    if isinstance(source, LocalInstance):
        folder = source.directory.absolute() / "client"
        return _Facts(
            url=source.url,
            tuf_url=f"{source.url}/tuf",
            root_file=str(folder / "root.json"),
            trust_file=str(folder / "client_trust_config.json"),
            trust=local_client_trust_config(source),
        )
    return _context_facts(source)


def _context_facts(context: Context) -> _Facts:
    from hallmark.client.pinned_roots import root_path

    return _Facts(
        url=context.url,
        tuf_url=context.tuf_url,
        root_file=str(root_path(context)),
        trust_file="",
        trust=context_material(context).config,
    )
