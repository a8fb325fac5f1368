"""Help that can be read on a narrow terminal."""

from collections.abc import Iterable
from typing import Final

import click

_NARROW: Final = 60  # below, two columns leave the second no room for more than a word or two
_WIDEST: Final = 80
_LEAST: Final = 20


class HelpText(click.HelpFormatter):
    """Click's layout, in one column where there is no room for two."""

    def __init__(
        self, indent_increment: int = 2, width: int | None = None, max_width: int | None = None
    ) -> None:
        import shutil  # takes 2 ms, and only help needs it

        columns = min(shutil.get_terminal_size().columns, max_width or _WIDEST)
        super().__init__(indent_increment, width or max(columns - 2, _LEAST))

    def write_dl(self, rows: Iterable[tuple[str, str]], col_max: int = 30, col_spacing: int = 2) -> None:
        """Write terms and what they mean."""
        if self.width >= _NARROW:
            super().write_dl(rows, col_max, col_spacing)
            return
        for term, meaning in rows:
            self.write(f"{'':>{self.current_indent}}{term}\n")
            with self.indentation():
                self.write_text(meaning)
