"""The files of this repository, as the architecture tests read them."""

import subprocess
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@cache
def repository_files() -> tuple[Path, ...]:
    """Every file that is tracked or could be; without git, every file outside hidden folders."""
    if (ROOT / ".git").exists():
        command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        names = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split(
            "\0"
        )
        paths = [ROOT / name for name in names if name]
    else:
        paths = [path for path in ROOT.rglob("*") if not _hidden(path)]
    return tuple(path for path in paths if path.is_file())


def markdown_files() -> list[Path]:
    return [path for path in repository_files() if path.suffix == ".md"]


def python_files() -> list[Path]:
    return [path for path in repository_files() if path.suffix == ".py"]


def source_files() -> list[Path]:
    return [path for path in python_files() if ROOT / "src" in path.parents]


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") or part == "__pycache__" for part in path.relative_to(ROOT).parts[:-1])
