"""`hallmark token`: an identity token from the development issuer of an instance on this machine."""

from pathlib import Path
from typing import Final
from urllib.parse import urlencode

import click
import msgspec

from hallmark.cli.options import PATH, instance_option, json_option
from hallmark.cli.output import Output
from hallmark.client.files import read_file
from hallmark.client.http import HttpClient, refused
from hallmark.client.identity_token import IdentityToken, parse_identity_token
from hallmark.client.instances import find_instance
from hallmark.client.trust import LocalInstance, choose_source, read_instance_url
from hallmark.core.encoding.protojson import format_timestamp
from hallmark.core.oidc.identity import parse_email
from hallmark.errors import ConfigurationError, MalformedInput, RemoteError

SERVICE: Final = "the development identity provider"
_GRANT: Final = "urn:hallmark:dev-token"


class _Tokens(msgspec.Struct, frozen=True):
    id_token: str = ""
    access_token: str = ""


@click.command("token")
@click.option("--email", required=True, metavar="E-MAIL", help="Whom the token is to name.")
@click.option("--data", type=PATH, metavar="DIR", help="The instance's directory.")
@instance_option
@json_option
def command(email: str, data: Path | None, instance: str, as_json: bool) -> None:
    """Print an identity token for an e-mail address, and nothing else: into a file without a line's end.

    Only the development issuer of an instance on this machine gives one, to those who may read its directory.
    """
    output = Output(as_json=as_json)
    _check_email(email)
    token = _fetch_token(email, data or _directory(instance))
    output.value(token.raw)
    output.finish(token=token.raw, email=email, expires=format_timestamp(token.expires))


def _check_email(email: str) -> None:
    try:
        parse_email(email)
    except MalformedInput as error:
        raise ConfigurationError(
            error.message, code="malformed_email", hint="write --email as NAME@DOMAIN"
        ) from None


def _directory(instance: str) -> Path:
    source = choose_source(instance)
    if isinstance(source, LocalInstance):
        return source.directory
    directory = find_instance(source.url) if source is not None else None
    if directory is not None:
        return directory
    name = instance or (source.name if source is not None else "")
    raise ConfigurationError(
        f"the directory of {name} is not known here" if name else "no instance is named",
        code="no_instance",
        hint="pass --data DIR, the directory that hallmark up was given",
    )


def _fetch_token(email: str, directory: Path) -> IdentityToken:
    base_url = read_instance_url(directory)
    secret = read_file(directory / "client" / "token_secret", max_bytes=1024).decode("ascii", "replace")
    url = f"{base_url}/oidc/token"
    answer = HttpClient().post(
        url,
        urlencode({"grant_type": _GRANT, "email": email}).encode(),
        service=SERVICE,
        headers={
            "Authorization": f"Bearer {secret.strip()}",
            "Content-Type": "application/x-www-form-urlencoded",
        },
        idempotent=True,
    )
    if answer.status != 200:
        raise refused(answer, service=SERVICE, url=url)
    try:
        tokens = msgspec.json.decode(answer.body, type=_Tokens)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise RemoteError(f"{SERVICE} answered with no token", code="malformed_answer") from None
    return parse_identity_token(tokens.id_token or tokens.access_token)
