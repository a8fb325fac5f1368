"""What a JSON text costs to parse, told before it is parsed.

A decoder holds the interpreter until it is done. What it then costs is not the text's length, which one
long string makes cheap, but the number of values in it, and of escapes: all of these have marks that are
counted at the speed of memory. Marks inside strings count too, which no message of ours has many of.
"""

import re
from typing import Final

from hallmark.errors import MalformedInput

MAX_MARKS: Final = 4096  # an entry of ten signatures and ten verifiers has under 200
MIN_BYTES_OF_ESCAPE: Final = 32  # every `/` of base64 may be escaped: one character in 64
MAX_DIGITS: Final = 64  # ours have 19 at most, and one of 4,300 costs as much as a signature

_MARKS: Final = (b"{", b"[", b",", b":")
_LONG_NUMBER: Final = re.compile(rb"[:,\[]\s*-?[0-9]{%d}" % MAX_DIGITS)


def check_structure(text: bytes) -> None:
    """Refuse a text that is costly to parse; raises `MalformedInput` (`malformed_json`)."""
    if sum(map(text.count, _MARKS)) > MAX_MARKS:
        raise MalformedInput(f"the JSON has more than {MAX_MARKS} marks of structure", code="malformed_json")
    if _LONG_NUMBER.search(text):
        raise MalformedInput(f"the JSON has a number of {MAX_DIGITS} digits", code="malformed_json")
    escapes = text.count(b"\\")
    if escapes > MAX_MARKS and escapes * MIN_BYTES_OF_ESCAPE > len(text):
        raise MalformedInput("the JSON consists of escapes", code="malformed_json")
