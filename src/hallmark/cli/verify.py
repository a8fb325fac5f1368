"""`hallmark verify`: say who signed a file, or why nobody did."""

import shlex
from pathlib import Path
from typing import Any, Final

import click
import msgspec

from hallmark.cli.bundle_files import OLD_SUFFIX, SUFFIX, without_bundles
from hallmark.cli.exit_codes import exit_code_of, gravest
from hallmark.cli.options import PATH, json_option, require_witnesses_option, trust_options
from hallmark.cli.output import CommandFailed, Output, describe_error, print_json
from hallmark.cli.trust import TrustOptions, trust_to_verify
from hallmark.cli.witnesses import read_policy
from hallmark.client.artifact import Digest, digest_file, is_digest, parse_digest
from hallmark.client.files import file_error, read_file
from hallmark.core.bundle import MAX_BUNDLE_BYTES, Bundle, parse_bundle
from hallmark.core.keys import PublicKey, parse_public_key_pem
from hallmark.core.trusted_root import TrustedRoot
from hallmark.errors import (
    ConfigurationError,
    HallmarkError,
    InvalidSignature,
    MalformedInput,
    SignatureNotFound,
    UntrustedIdentity,
)
from hallmark.policy.identity import Identity, IdentityPattern, unsafe_any_identity
from hallmark.verify.verifier import (
    Artifact,
    IdentityPolicy,
    Thresholds,
    Verified,
    Verifier,
    required_hash,
)

_MAX_KEY_BYTES: Final = 64 << 10
_MAX_MESSAGE_BYTES: Final = 64 << 20


class _Signer(msgspec.Struct, frozen=True, kw_only=True):
    """Who must have signed: an identity policy or a key; neither shows who did, and fails."""

    policy: IdentityPolicy | None
    key: PublicKey | None


class _Item(msgspec.Struct, frozen=True, kw_only=True):
    """One thing to verify: a file or a digest, and where its bundle is."""

    name: str
    path: Path | None
    digest: Digest | None
    bundle: Path


@click.command("verify")
@click.argument("files", nargs=-1, metavar="FILE...")
@click.option("--identity", metavar="IDENTITY", help="Who must have signed: an e-mail address or a URI.")
@click.option("--issuer", metavar="URL", help="The OIDC issuer that must vouch for the identity.")
@click.option("--identity-regexp", metavar="REGEXP", help="A pattern the whole identity must match.")
@click.option("--issuer-regexp", metavar="REGEXP", help="A pattern the whole issuer must match.")
@click.option("--key", type=PATH, metavar="PEM", help="The public key that must have signed, for bare keys.")
@click.option("--bundle", type=PATH, metavar="BUNDLE", help="The bundle. Default: FILE.sigstore.json.")
@click.option("--digest", metavar="sha256:HEX", help="Verify a digest in place of a file; needs --bundle.")
@click.option("--allow-unlogged", is_flag=True, help="With --key: the signature need not be in a log.")
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
    key: Path | None,
    bundle: Path | None,
    digest: str | None,
    allow_unlogged: bool,
    require_witnesses: Path | None,
    instance: str,
    trusted_root: Path | None,
    trust_config: Path | None,
    as_json: bool,
) -> None:
    """Verify files (or sha256:HEX digests) against their bundles, offline.

    Without an identity to expect, the verified facts are shown with the command that pins them, and the exit
    code is 4: a signature by somebody you did not name proves nothing.
    """
    output = Output(as_json=as_json)
    signer = _Signer(
        policy=_policy(identity, issuer, identity_regexp, issuer_regexp),
        key=_read_key(key) if key else None,
    )
    _check_signer(signer, allow_unlogged=allow_unlogged)
    if allow_unlogged and require_witnesses is not None:
        raise ConfigurationError(
            "witnesses sign a log's checkpoint, and --allow-unlogged asks for no log",
            code="usage",
            hint="leave one of them out",
        )
    items = _items(files, digest, bundle)
    options = TrustOptions(instance=instance, trusted_root=trusted_root, trust_config=trust_config)
    verifier = _verifier(options, require_witnesses, allow_unlogged=allow_unlogged)
    _report(output, [_verify_item(item, verifier, signer, options) for item in items])


def _policy(
    identity: str | None, issuer: str | None, identity_regexp: str | None, issuer_regexp: str | None
) -> IdentityPolicy | None:
    """Exact values and patterns may be mixed; an identity without its issuer names nobody."""
    if (identity and identity_regexp) or (issuer and issuer_regexp):
        raise ConfigurationError("a value and a pattern for the same thing", code="usage", hint="give one")
    wanted = (identity or identity_regexp, issuer or issuer_regexp)
    if not any(wanted):
        return None
    if not all(wanted):
        raise ConfigurationError(
            "an identity needs its issuer, and an issuer its identity",
            code="usage",
            hint="pass --identity and --issuer; hallmark verify without both shows who signed",
        )
    if identity and issuer:
        return Identity(identity=identity, oidc_issuer=issuer)

    import re

    return IdentityPattern(
        identity=identity_regexp or re.escape(identity or ""),
        oidc_issuer=issuer_regexp or re.escape(issuer or ""),
    )


def _read_key(path: Path) -> PublicKey:
    try:
        return parse_public_key_pem(read_file(path, max_bytes=_MAX_KEY_BYTES))
    except MalformedInput as error:
        raise ConfigurationError(
            f"{path}: {error.message}", code="malformed_key", hint="name a file with a PEM public key"
        ) from None


def _check_signer(signer: _Signer, *, allow_unlogged: bool) -> None:
    if signer.policy is not None and signer.key is not None:
        raise ConfigurationError("a key and an identity", code="usage", hint="name one of them")
    if allow_unlogged and signer.key is None:
        raise ConfigurationError(
            "--allow-unlogged is for signatures by a bare key", code="usage", hint="pass --key too"
        )


def _items(files: tuple[str, ...], digest: str | None, bundle: Path | None) -> list[_Item]:
    names = [*files, *([digest] if digest else [])]
    if not names:
        raise ConfigurationError("nothing to verify", code="usage", hint="name a file, or pass --digest")
    if bundle is not None and len(names) > 1:
        raise ConfigurationError(
            f"one bundle for {len(names)} files", code="usage", hint="verify them one at a time"
        )
    return [
        _item(name, bundle, as_digest=name == digest or is_digest(name)) for name in without_bundles(names)
    ]


def _item(name: str, bundle: Path | None, *, as_digest: bool) -> _Item:
    if as_digest:
        if bundle is None:
            raise ConfigurationError(
                f"no bundle for {name[:80]}", code="usage", hint="pass --bundle with a digest"
            )
        return _Item(name=name, path=None, digest=parse_digest(name), bundle=bundle)
    path = Path(name)
    return _Item(name=name, path=path, digest=None, bundle=bundle or Path(name + SUFFIX))


def _verifier(options: TrustOptions, require_witnesses: Path | None, *, allow_unlogged: bool) -> Verifier:
    """Without the demand for a log there is nothing to trust but the key, so no trusted root is needed."""
    if allow_unlogged:
        return Verifier(TrustedRoot(), Thresholds(tlog=0))
    if require_witnesses is None:
        return Verifier(trust_to_verify(options))

    from hallmark.verify.witnesses import RequiredWitnesses

    return Verifier(trust_to_verify(options), checkpoints=RequiredWitnesses(read_policy(require_witnesses)))


class _Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What came of one item: what was verified, the error, or both where nobody said whom to trust."""

    item: _Item
    verified: Verified | None = None
    error: HallmarkError | None = None
    pinned: str = ""


def _verify_item(item: _Item, verifier: Verifier, signer: _Signer, options: TrustOptions) -> _Outcome:
    try:
        verified = _verify(item, verifier, signer)
    except HallmarkError as error:
        return _Outcome(item=item, error=error)
    except OSError as error:  # a name too long, a folder that may not be entered
        return _Outcome(item=item, error=file_error(error, Path(item.name), doing="read"))
    if signer.policy is not None or signer.key is not None:
        return _Outcome(item=item, verified=verified)
    pinned = _pinned_command(item, verified, options)
    unnamed = UntrustedIdentity(
        "valid, but you have not said whom you trust",
        code="no_identity_named",
        hint=f"if you trust this signer: {pinned}",
    )
    return _Outcome(item=item, verified=verified, error=unnamed, pinned=pinned)


def _verify(item: _Item, verifier: Verifier, signer: _Signer) -> Verified:
    if item.path is not None:
        _check_file(item.path)
    bundle = _read_bundle(item)
    artifact = _artifact(item, bundle, signer.key)
    try:
        if signer.key is not None:
            return verifier.verify_with_key(bundle, artifact, signer.key)
        return verifier.verify(bundle, artifact, signer.policy or unsafe_any_identity)
    except InvalidSignature as error:
        raise _explain(error, item) from None


def _explain(error: InvalidSignature, item: _Item) -> InvalidSignature:
    if error.code != "wrong_artifact" or error.hint:
        return error
    hint = f"the file has changed since it was signed, or {item.bundle} belongs to another file"
    return InvalidSignature(error.message, code=error.code, hint=hint)


def _check_file(path: Path) -> None:
    """Looked at first: a missing file is not a missing signature."""
    if not path.exists():
        raise ConfigurationError(f"{path} does not exist", code="file_not_found", hint="check the path")
    if path.is_dir():
        raise ConfigurationError(f"{path} is a directory", code="is_a_directory", hint="name the files in it")


def _read_bundle(item: _Item) -> Bundle:
    path = _find_bundle(item)
    try:
        return parse_bundle(read_file(path, max_bytes=MAX_BUNDLE_BYTES))
    except MalformedInput as error:
        raise MalformedInput(
            f"the bundle {path} is damaged: {error.message}",
            code="damaged_bundle",
            hint="get the bundle again from whoever signed the file",
        ) from None


def _find_bundle(item: _Item) -> Path:
    """The named bundle, else the first that stands beside the file under a known name."""
    places = [item.bundle]
    if item.path is not None and str(item.bundle) == item.name + SUFFIX:
        places.append(Path(item.name + OLD_SUFFIX))
    found = next((place for place in places if place.exists()), None)
    if found is None:
        raise SignatureNotFound(
            f"no bundle at {item.bundle}", hint="pass --bundle FILE, or sign it with hallmark sign"
        )
    return found


def _artifact(item: _Item, bundle: Bundle, key: PublicKey | None) -> Artifact:
    if bundle.certificate is None and key is None:
        raise ConfigurationError(
            f"{item.bundle} is signed with a bare key",
            code="key_needed",
            hint="pass the public key with --key",
        )
    hash_algorithm = required_hash(bundle, key)
    if item.digest is not None:
        return Artifact(hash_algorithm=item.digest.hash_algorithm, digest=item.digest.value)
    path = item.path or Path(item.name)
    digest = digest_file(path, hash_algorithm)
    message = None
    if key is not None and not key.algorithm.prehash and bundle.envelope is None:
        message = read_file(path, max_bytes=_MAX_MESSAGE_BYTES)  # Ed25519 signs messages, not digests
    return Artifact(hash_algorithm=hash_algorithm, digest=digest.value, message=message)


def _pinned_command(item: _Item, verified: Verified, options: TrustOptions) -> str:
    """The very same command, with the signer that was found pinned."""
    words = ["hallmark", "verify", item.name]
    words += ["--identity", verified.identity, "--issuer", verified.oidc_issuer]
    if item.path is None or str(item.bundle) != item.name + SUFFIX:
        words += ["--bundle", str(item.bundle)]
    if options.instance:
        words += ["--instance", options.instance]
    if options.trusted_root is not None:
        words += ["--trusted-root", str(options.trusted_root)]
    if options.trust_config is not None:
        words += ["--trust-config", str(options.trust_config)]
    return shlex.join(words)


def _report(output: Output, outcomes: list[_Outcome]) -> None:
    codes = [exit_code_of(outcome.error) for outcome in outcomes if outcome.error is not None]
    for outcome in outcomes:
        _print(output, outcome)
    results = [_to_json(outcome) for outcome in outcomes]
    if not codes:
        output.finish(results=results)
        return
    if output.as_json:
        first = next(outcome.error for outcome in outcomes if outcome.error is not None)
        print_json({"ok": False, "error": describe_error(first), "results": results})
    raise CommandFailed(gravest(codes))


def _print(output: Output, outcome: _Outcome) -> None:
    if outcome.verified is not None:
        text = f"{outcome.item.name}: {_summary(outcome.verified)}"
        if outcome.error is None:
            output.line(text, good="verified")
        else:
            output.line(f"valid {text}")
    if outcome.error is not None:
        output.error(outcome.error, about=outcome.item.name)


def _summary(verified: Verified) -> str:
    signer = f"{verified.identity} (issuer {verified.oidc_issuer})" if verified.identity else "the key"
    parts = [f"signed by {signer}"]
    if verified.times:
        parts.append(f"at {verified.times[0].time:%Y-%m-%d %H:%M:%S} UTC")
    parts += [f"log entry {entry.log_index} of {entry.origin}" for entry in verified.entries[:1]]
    parts += [
        f"witnessed by {', '.join(entry.witnesses)}" for entry in verified.entries[:1] if entry.witnesses
    ]
    if verified.statement is not None:
        parts.append(f"statement {verified.statement.predicate_type}")
    return ", ".join(parts)


def _to_json(outcome: _Outcome) -> dict[str, Any]:
    facts: dict[str, Any] = {"file": outcome.item.name, "bundle": str(outcome.item.bundle)}
    facts["ok"] = outcome.error is None
    if outcome.verified is not None:
        facts.update(outcome.verified.to_dict())
    if outcome.error is not None:
        facts["error"] = describe_error(outcome.error)
    if outcome.pinned:
        facts["pinnedCommand"] = outcome.pinned
    return facts
