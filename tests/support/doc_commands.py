"""The commands of a document: its fenced blocks without a language, in order, each a script for the shell."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

_FENCE = re.compile(r"^```([a-z]*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_COMMANDS = re.compile(r"(?:hallmark|cosign|sigstore|make|curl|pip|tar|sha256sum|systemctl|sudo|git|rm|cp) ")


class Block(NamedTuple):
    """One block; `first` is its first line, by which a table may name it."""

    document: str
    first: str
    script: str


def shell_blocks(path: Path, root: Path) -> Iterator[Block]:
    """Every block whose first line is a command; diagrams and outputs are none."""
    for language, text in _FENCE.findall(path.read_text(encoding="utf-8")):
        first = text.partition("\n")[0]
        if language in {"", "sh", "console"} and _COMMANDS.match(first):
            yield Block(str(path.relative_to(root)), first, text)


def fill_in(text: str, values: Mapping[str, str]) -> str:
    """Replace the words in capitals and the addresses that a reader replaces; whole words only."""
    for word, value in values.items():
        text = re.sub(rf"(?<![\w./-]){re.escape(word)}(?![\w.-])", lambda _, value=value: value, text)
    return text
