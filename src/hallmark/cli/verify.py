"""`hallmark verify`: say who signed a file, or why nobody did."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import click
from msgspec.structs import replace

from hallmark.cli.options import PATH, json_option, require_witnesses_option, trust_options
from hallmark.cli.output import Output, unexpected
from hallmark.cli.progress import hashing_progress
from hallmark.cli.trust import TrustOptions, trust_to_verify
from hallmark.cli.verify_report import report
from hallmark.cli.witnesses import read_policy
from hallmark.client.artifact import is_digest, parse_digest
from hallmark.client.files import read_file
from hallmark.client.renewing import RenewingVerifiers, RootMaterial
from hallmark.client.signature_files import without_signatures
from hallmark.client.streams import descriptor_of
from hallmark.client.verifying import FileVerifier, Item, Outcome, Signer
from hallmark.core.keys import PublicKey, parse_public_key_pem
from hallmark.core.trusted_root import TrustedRoot
from hallmark.errors import ConfigurationError, MalformedInput
from hallmark.policy.identity import Identity, IdentityPattern
from hallmark.verify.thresholds import thresholds_of
from hallmark.verify.verifier import CheckpointPolicy, IdentityPolicy, Verifier

_MAX_KEY_BYTES: Final = 64 << 10
_MAX_CHAIN_BYTES: Final = 256 << 10
_COUNT: Final = click.IntRange(0, 32)
_TIMES: Final = click.IntRange(1, 32)  # without any time, nothing says that the certificate was valid


@click.command("verify")
@click.argument("files", nargs=-1, metavar="FILE...")
@click.option("--identity", metavar="IDENTITY", help="Who must have signed: an e-mail address or a URI.")
@click.option("--issuer", metavar="URL", help="The OIDC issuer that must vouch for the identity.")
@click.option("--identity-regexp", metavar="REGEXP", help="A pattern the whole identity must match.")
@click.option("--issuer-regexp", metavar="REGEXP", help="A pattern the whole issuer must match.")
@click.option("--no-issuer", is_flag=True, help="The certificate must name no issuer: its CA alone vouches.")
@click.option("--key", type=PATH, metavar="PEM", help="The public key that must have signed, for bare keys.")
@click.option("--certificate-chain", type=PATH, metavar="PEM", help="The root of your own CA, and more.")
@click.option("--bundle", type=PATH, metavar="BUNDLE", help="The signatures. Default: FILE.sigstore.json.")
@click.option("--digest", metavar="sha256:HEX", help="Verify a digest in place of a file; needs --bundle.")
@click.option("--allow-unlogged", is_flag=True, help="With --key: the signature need not be in a log.")
@click.option("--require-logs", type=_COUNT, metavar="N", help="How many signature logs must have the entry.")
@click.option("--require-scts", type=_COUNT, metavar="N", help="How many CT logs must have the certificate.")
@click.option("--require-times", type=_TIMES, metavar="N", help="How many sources must say when it was.")
@click.option("--offline", is_flag=True, help="Use no network, even if trust material is missing or too old.")
@require_witnesses_option
@trust_options
@json_option
def command(
    *,
    files: tuple[str, ...],
    identity: str | None,
    issuer: str | None,
    identity_regexp: str | None,
    issuer_regexp: str | None,
    no_issuer: bool,
    key: Path | None,
    certificate_chain: Path | None,
    bundle: Path | None,
    digest: str | None,
    allow_unlogged: bool,
    require_logs: int | None,
    require_scts: int | None,
    require_times: int | None,
    offline: bool,
    require_witnesses: Path | None,
    instance: str,
    trusted_root: Path | None,
    trust_config: Path | None,
    as_json: bool,
) -> None:
    """Verify files (or sha256:HEX digests) against their signatures.

    One signature of each kind of evidence that the instance has is demanded: a log entry, a time, an SCT.
    Of a file with several signatures, one that holds is enough. Without an identity to expect, the verified
    facts are shown with the command that pins them, and the exit code is 4: a signature by somebody you did
    not name proves nothing. With trust material in files nothing is asked of the network; for a context,
    newer material is fetched once, before a verdict that it could change.
    """
    output = Output(as_json=as_json)
    policy = _policy((identity, identity_regexp), (issuer, issuer_regexp), no_issuer=no_issuer)
    signer = Signer(
        policy=policy,
        key=_read_key(key) if key else None,
        chain=_read_chain(certificate_chain) if certificate_chain else (),
    )
    _check_signer(signer, allow_unlogged=allow_unlogged)
    if allow_unlogged and (require_witnesses is not None or require_logs):
        raise ConfigurationError(
            "--allow-unlogged asks for no log, and another option asks for one",
            code="usage",
            hint="leave one of them out",
        )
    items = _items(files, digest, bundle)
    options = TrustOptions(
        instance=instance, trusted_root=trusted_root, trust_config=trust_config, offline=offline
    )
    material = _material(options, required=not (allow_unlogged or certificate_chain))
    logs = 0 if allow_unlogged else require_logs
    counts = {"tlog": logs, "scts": require_scts, "timestamps": require_times}
    witnesses = _witnesses(require_witnesses)
    verifiers = RenewingVerifiers(material, lambda roots: _verifiers(roots, counts, witnesses))
    with hashing_progress(quiet=as_json or len(items) > 1) as watch:
        verifier = FileVerifier(verifiers=verifiers, signer=signer, now=datetime.now(UTC), watch=watch)
        outcomes = [_verify(item, verifier) for item in items]
    named = signer.policy is not None or signer.key is not None
    report(output, outcomes, named=named, against=_against(options, certificate_chain))


def _policy(
    identity: tuple[str | None, str | None], issuer: tuple[str | None, str | None], *, no_issuer: bool
) -> IdentityPolicy | None:
    """Read a value or a pattern for each; an identity without its issuer names nobody."""
    if all(identity) or all(issuer) or (no_issuer and any(issuer)):
        raise ConfigurationError("a value and a pattern for the same thing", code="usage", hint="give one")
    named, vouched = any(identity), any(issuer) or no_issuer
    if not named and not vouched:
        return None
    if not named or not vouched:
        raise ConfigurationError(
            "an identity needs its issuer, and an issuer its identity",
            code="usage",
            hint="pass --identity and --issuer; hallmark verify without both shows who signed",
        )
    exact_identity, exact_issuer = identity[0], "" if no_issuer else issuer[0]
    if exact_identity and exact_issuer is not None:
        return Identity(identity=exact_identity, oidc_issuer=exact_issuer)

    import re

    return IdentityPattern(
        identity=identity[1] or re.escape(exact_identity or ""),
        oidc_issuer=issuer[1] or re.escape(exact_issuer or ""),
    )


def _read_key(path: Path) -> PublicKey:
    try:
        return parse_public_key_pem(read_file(path, max_bytes=_MAX_KEY_BYTES))
    except MalformedInput as error:
        raise ConfigurationError(
            f"{path}: {error.message}", code="malformed_key", hint="name a file with a PEM public key"
        ) from None


def _read_chain(path: Path) -> tuple[bytes, ...]:
    from hallmark.core.x509.own_certificate import parse_own_chain

    try:
        return parse_own_chain(read_file(path, max_bytes=_MAX_CHAIN_BYTES))
    except MalformedInput as error:
        raise ConfigurationError(
            f"{path}: {error.message}", code=error.code, hint="name a PEM file with the CA's root certificate"
        ) from None


def _check_signer(signer: Signer, *, allow_unlogged: bool) -> None:
    if signer.key is not None and (signer.policy is not None or signer.chain):
        raise ConfigurationError("a key and an identity", code="usage", hint="name one of them")
    if allow_unlogged and signer.key is None:
        raise ConfigurationError(
            "--allow-unlogged is for signatures by a bare key", code="usage", hint="pass --key too"
        )


def _items(files: tuple[str, ...], digest: str | None, bundle: Path | None) -> list[Item]:
    names = [*files, *([digest] if digest else [])]
    if not names:
        raise ConfigurationError("nothing to verify", code="usage", hint="name a file, or pass --digest")
    if bundle is not None and len(names) > 1:
        raise ConfigurationError(
            f"one bundle for {len(names)} files", code="usage", hint="verify them one at a time"
        )
    return [
        _item(name, bundle, as_digest=name == digest or is_digest(name)) for name in without_signatures(names)
    ]


def _item(name: str, bundle: Path | None, *, as_digest: bool) -> Item:
    if not as_digest:
        _check_stream(Path(name), bundle)
        return Item(name=name, path=Path(name), bundle=bundle)
    if bundle is None:
        raise ConfigurationError(
            f"no bundle for {name[:80]}", code="usage", hint="pass --bundle with a digest"
        )
    return Item(name=name, path=None, digest=parse_digest(name), bundle=bundle)


def _check_stream(path: Path, bundle: Path | None) -> None:
    """A stream has nothing beside it, and is read once."""
    stream = descriptor_of(path)
    if stream is None:
        return
    if bundle is None:
        raise ConfigurationError(f"{path} has no bundle beside it", code="usage", hint="pass --bundle FILE")
    if stream == descriptor_of(bundle):
        raise ConfigurationError(
            "the file and its bundle cannot both come from one stream", code="usage", hint="name a file"
        )


def _against(options: TrustOptions, certificate_chain: Path | None) -> list[str]:
    """The options of this command that say what to trust, to be repeated."""
    given = (
        ("--instance", options.instance),
        ("--trusted-root", options.trusted_root),
        ("--trust-config", options.trust_config),
        ("--certificate-chain", certificate_chain),
    )
    return [word for name, value in given if value for word in (name, str(value))]


def _verify(item: Item, verifier: FileVerifier) -> tuple[Outcome, ...]:
    try:
        return verifier.verify(item)
    except Exception as error:  # noqa: BLE001 - no file's fault hides what is found of the others
        return (Outcome(item=item, bundle=item.bundle, error=unexpected(error)),)


def _material(options: TrustOptions, *, required: bool) -> RootMaterial:
    """The trusted roots to verify against; where a key or a CA is trusted, none need be named."""
    named = options.instance or options.trusted_root is not None or options.trust_config is not None
    return trust_to_verify(options) if required or named else RootMaterial((TrustedRoot(),))


def _witnesses(policy: Path | None) -> CheckpointPolicy | None:
    if policy is None:
        return None

    from hallmark.verify.witnesses import RequiredWitnesses

    return RequiredWitnesses(read_policy(policy))


def _verifiers(
    roots: tuple[TrustedRoot, ...], counts: dict[str, int | None], witnesses: CheckpointPolicy | None
) -> tuple[Verifier, ...]:
    """Demand of each instance what it has, or what the command says."""
    named = {name: count for name, count in counts.items() if count is not None}
    thresholds = [replace(thresholds_of(root), **named) for root in roots]
    if witnesses is not None and any(item.tlog < 1 for item in thresholds):
        raise ConfigurationError(
            "witnesses sign a log's checkpoint, and the trusted root names no log",
            code="usage",
            hint="leave --require-witnesses out, or name a trusted root with a log",
        )
    return tuple(
        Verifier(root, demanded, checkpoints=witnesses)
        for root, demanded in zip(roots, thresholds, strict=True)
    )
