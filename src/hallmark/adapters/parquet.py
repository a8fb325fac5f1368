"""Tables in Parquet files, written in row groups; needs the extra `export` (docs/adr/0006-parquet.md)."""

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import pyarrow as pa
import pyarrow.parquet as pq

ROWS_PER_GROUP: Final = 65_536

_TYPES: Final[dict[str, pa.DataType]] = {
    "integer": pa.int64(),
    "text": pa.string(),
    "name": pa.dictionary(pa.int32(), pa.string()),  # few different values
    "bytes": pa.binary(),
    "time": pa.timestamp("ms", tz="UTC"),
}


class ParquetTable:
    """A table being written to `path`; the file appears when `finish` was called, and is whole then.

    `columns` gives the kind of each column: `integer`, `text`, `name` (text of few values), `bytes`, `time`.
    Memory: one row group. Raises `OSError` that names `path` where it cannot be written.
    """

    def __init__(self, path: Path, columns: Mapping[str, str], *, metadata: Mapping[str, str]) -> None:
        self._path = path
        self._beside = path.with_name(f".{path.name}.part")
        fields = [pa.field(name, _TYPES[kind]) for name, kind in columns.items()]
        self._schema = pa.schema(fields, metadata=dict(metadata))
        self._rows: list[tuple[Any, ...]] = []
        try:
            with _naming(path):
                self._writer = pq.ParquetWriter(self._beside, self._schema, compression="zstd")
        except OSError:
            with contextlib.suppress(OSError):
                self._beside.unlink()  # it may be there, empty, on a full disk
            raise

    def add(self, row: Sequence[int | str | bytes | datetime | None]) -> None:
        """Add a row, its values in the order of the columns."""
        self._rows.append(tuple(row))
        if len(self._rows) == ROWS_PER_GROUP:
            self._flush()

    def finish(self) -> None:
        """Write what is left and put the file in its place."""
        self._flush()
        with _naming(self._path):
            self._writer.close()
            self._beside.rename(self._path)

    def _flush(self) -> None:
        if self._rows:
            columns = zip(*self._rows, strict=True)
            arrays = [
                pa.array(values, type=field.type) for values, field in zip(columns, self._schema, strict=True)
            ]
            with _naming(self._path):
                self._writer.write_table(pa.Table.from_arrays(arrays, schema=self._schema))
            self._rows.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave nothing half-written behind."""
        with contextlib.suppress(OSError):  # on a full disk its end cannot be written either
            self._writer.close()
        self._beside.unlink(missing_ok=True)


@contextlib.contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Let an `OSError` say what the system says, and of which file: the library's own words hide both."""
    try:
        yield
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise OSError(error.errno, reason, str(path)) from None
