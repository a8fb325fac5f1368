"""Why a worker cannot start, in the words that cross from its process to the parent's."""

from typing import Final, Self

import msgspec

from hallmark import errors
from hallmark.errors import HallmarkError, RemoteError

_MAX_CHARACTERS: Final = 1000  # a report must fit what a pipe writes at once, whatever an error carries


class Refusal(msgspec.Struct, frozen=True):
    """An error of the other process; `kind` is the name of its class, which decides the exit code."""

    kind: str
    message: str
    code: str
    hint: str

    @classmethod
    def of(cls, error: HallmarkError) -> Self:
        """Put an error into words."""
        return cls(type(error).__name__, error.message[:_MAX_CHARACTERS], error.code, error.hint)

    def error(self) -> HallmarkError:
        """Make the error again; one of a class that is unknown here is a failure of the worker."""
        found = getattr(errors, self.kind, RemoteError)
        kind = found if isinstance(found, type) and issubclass(found, HallmarkError) else RemoteError
        return kind(self.message, code=self.code, hint=self.hint)
