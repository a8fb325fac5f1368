"""What an examination of a log found wrong: each finding names the thing, and both values."""

from typing import Final

import msgspec

MAX_FINDINGS: Final = 200


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is wrong.

    `code` is what programs compare; `where` names the object, entry or row; hashes and keys are hex.
    """

    code: str
    where: str
    what: str
    expected: str = ""
    found: str = ""


class Findings:
    """Findings in the order they were made; beyond `MAX_FINDINGS` they are only counted."""

    def __init__(self) -> None:
        self.first: list[Finding] = []
        self.count = 0

    def add(
        self, code: str, where: str, what: str, *, expected: bytes | object = "", found: bytes | object = ""
    ) -> None:
        """Note a finding; bytes are printed as hex."""
        self.count += 1
        if len(self.first) < MAX_FINDINGS:
            self.first.append(
                Finding(code=code, where=where, what=what, expected=_text(expected), found=_text(found))
            )

    def compare(self, code: str, where: str, what: str, *, expected: object, found: object) -> None:
        """Note a finding unless both values are equal."""
        if expected != found:
            self.add(code, where, what, expected=expected, found=found)


def _text(value: object) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)
