"""The identity that a CI system gives to its jobs (GitHub, GitLab, Google Cloud, Buildkite, CircleCI)."""

import id as ambient

from hallmark.client.http import one_line
from hallmark.errors import RemoteError


def detect_token(audience: str) -> str | None:
    """Fetch the job's token; None where this is no CI system that has one.

    Raises `RemoteError` where it is one but gives no token: falling back to a person would hang the job.
    """
    try:
        return ambient.detect_credential(audience)
    except ambient.GitHubOidcPermissionCredentialError as error:
        raise RemoteError(
            f"GitHub gives this job no identity token: {one_line(str(error))}",
            code="no_ambient_token",
            hint="add `permissions: {id-token: write}` to the workflow",
        ) from None
    except ambient.IdentityError as error:
        raise RemoteError(
            f"the CI system gives no identity token: {one_line(str(error))}",
            code="no_ambient_token",
            hint="check the job's permission to get tokens, or pass --identity-token",
        ) from None
