"""The docs say what is there: links lead somewhere, and every command line that is shown exists."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.repository_files import ROOT, markdown_files, relative

_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^()\s]+)\)|!\[[^\]]*\]\(([^()\s]+)\)")
_HEADING = re.compile(r"^#{1,6}\s+(.*?)\s*#*$", re.MULTILINE)
_FENCE = re.compile(r"^(?:```|~~~).*?$(.*?)^(?:```|~~~)\s*$", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"`([^`\n]+)`")
_HALLMARK = re.compile(r"(?:^|[\s;|&(]|bin/)hallmark[ \t]+(\S.*)$")
_MAKE = re.compile(r"^(?:\$ )?make[ \t]+([a-z][\w-]*)")
_END_OF_COMMAND = frozenset({"|", "||", "&&", ";", "&", ">", ">>", "<", "2>", ")"})


def prose(text: str) -> str:
    return _FENCE.sub("", text)


def code_lines(text: str) -> Iterator[str]:
    """Every line of code: those of fenced blocks, continuation lines joined, and inline code."""
    for block in _FENCE.findall(text):
        yield from block.replace("\\\n", " ").splitlines()
    yield from _INLINE.findall(prose(text))


def slug(heading: str) -> str:
    plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "").lower()
    return re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")


def broken_links(path: Path) -> Iterator[str]:
    for groups in _LINK.findall(prose(path.read_text(encoding="utf-8"))):
        link = groups[0] or groups[1]
        if re.match(r"[a-z][a-z0-9+.-]*:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (path.parent / name).resolve() if name else path
        if not target.exists():
            yield f"{relative(path)}: {link} leads nowhere"
        elif anchor and target.suffix == ".md" and anchor not in headings(target):
            yield f"{relative(path)}: {link} names no heading"


def headings(path: Path) -> set[str]:
    return {slug(heading) for heading in _HEADING.findall(prose(path.read_text(encoding="utf-8")))}


def test_every_relative_link_leads_somewhere():
    assert [broken for path in markdown_files() for broken in broken_links(path)] == []


def test_every_make_target_that_is_shown_exists():
    makefile = ROOT / "Makefile"
    targets = set(re.findall(r"^([a-z][\w-]*):", makefile.read_text(encoding="utf-8"), re.MULTILINE))
    unknown = [
        f"{relative(path)}: make {match[1]}"
        for path in markdown_files()
        for line in code_lines(path.read_text(encoding="utf-8"))
        if (match := _MAKE.search(line)) and match[1] not in targets
    ]
    assert unknown == []


def words_of(line: str) -> list[str]:
    """The words behind `hallmark`, up to the end of the command; brackets of optional parts are dropped."""
    match = _HALLMARK.search(line)
    if match is None:
        return []
    try:
        words = shlex.split(match[1].replace("[", " ").replace("]", " "), comments=True)
    except ValueError:
        words = match[1].split()
    for position, word in enumerate(words):
        if word in _END_OF_COMMAND:
            return words[:position]
    return words


def is_placeholder(word: str) -> bool:
    return word in {"...", "…"} or word.startswith("<") or word.isupper()


def wrong_words(words: list[str], click, group) -> Iterator[str]:
    """Walk the commands by these words; yields what the command line does not know."""
    command, context = group, click.Context(group, info_name="hallmark")
    known = {"--help", "-h", *options_of(group)}
    for word in words:
        name = word.partition("=")[0]
        if name.startswith("-") and len(name) > 1:
            if name not in known:
                yield f"{context.command_path} has no option {name}"
            continue
        if not isinstance(command, click.Group):
            continue
        if is_placeholder(word):
            return
        found = [command.get_command(context, part) for part in word.split("/")]
        if None in found:
            yield f"{context.command_path} has no command {word}"
            return
        command = found[0]
        context = click.Context(command, info_name=word, parent=context)
        known |= {option for item in found for option in options_of(item)}


def options_of(command) -> set[str]:
    return {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}


def test_every_command_line_that_is_shown_exists():
    click = pytest.importorskip("click")
    main = pytest.importorskip("hallmark.cli.main", exc_type=ModuleNotFoundError)
    wrong = [
        f"{relative(path)}: {line.strip()}: {reason}"
        for path in markdown_files()
        for line in code_lines(path.read_text(encoding="utf-8"))
        for reason in wrong_words(words_of(line), click, main.command)
    ]
    assert wrong == []


def test_finds_a_wrong_command_line():
    click = pytest.importorskip("click")

    @click.group()
    def group():
        pass

    @group.command()
    @click.option("--data")
    def up(data):
        pass

    def check(line):
        return list(wrong_words(words_of(line), click, group))

    assert check("$ hallmark up --data DIR | cat --number") == []
    assert check("hallmark up [--data DIR]") == []
    assert check("hallmark ...") == check("hallmark COMMAND --json") == check("hallmark") == []
    assert check("hallmark down") == ["hallmark has no command down"]
    assert check(".venv/bin/hallmark up --dota=x # comment --no") == ["hallmark up has no option --dota"]
