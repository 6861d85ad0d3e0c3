"""Files of rows: CSV and Parquet. Rows go out as they come, and a file appears under its name only when it is whole."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TextIO

from inferno_governator.export.focus import QUANTITY_PLACES, Column, Type, Value
from inferno_runtime.errors import Unsupported

if TYPE_CHECKING:
    import pyarrow

Row = Sequence[Value]
# Rows of a Parquet row group: some 20 MB in memory.
_GROUP = 20_000


class Writer(Protocol):
    """Takes rows until it is closed."""

    def write(self, rows: Iterable[Row]) -> None:
        """Write rows."""

    def close(self) -> None:
        """Write what is left, and end the file."""


class CsvWriter:
    """Comma-separated values as RFC 4180 has them, in UTF-8; null is an empty field."""

    def __init__(self, file: TextIO, columns: Sequence[Column]) -> None:
        self._rows = csv.writer(file)
        self._rows.writerow([column.name for column in columns])

    def write(self, rows: Iterable[Row]) -> None:
        """Write rows."""
        self._rows.writerows([_text(value) for value in row] for row in rows)

    def close(self) -> None:
        """Nothing is left."""


class ParquetWriter:
    """Parquet with exact decimals, times in UTC, and JSON as text.

    Raises:
        Unsupported: pyarrow is not installed.
    """

    def __init__(self, path: Path, columns: Sequence[Column]) -> None:
        check_parquet()
        from pyarrow import parquet

        self._schema = _schema(columns)
        self._file = parquet.ParquetWriter(path, self._schema)
        self._waiting: list[Row] = []

    def write(self, rows: Iterable[Row]) -> None:
        """Take rows; full groups are written."""
        self._waiting += rows
        while len(self._waiting) >= _GROUP:
            self._flush(self._waiting[:_GROUP])
            del self._waiting[:_GROUP]

    def close(self) -> None:
        """Write what is left, and the end of the file."""
        if self._waiting:
            self._flush(self._waiting)
        self._file.close()

    def _flush(self, rows: Sequence[Row]) -> None:
        import pyarrow

        columns = [
            pyarrow.array(values, field.type)
            for values, field in zip(zip(*rows, strict=True), self._schema, strict=True)
        ]
        self._file.write_table(pyarrow.Table.from_arrays(columns, schema=self._schema))


def check_parquet() -> None:
    """See whether Parquet can be written.

    Raises:
        Unsupported: pyarrow is not installed.
    """
    try:
        import pyarrow.parquet  # noqa: F401 - whether it is there
    except ImportError as error:
        raise Unsupported(
            f"Parquet needs pyarrow: {error}.",
            reason="NO_PYARROW",
            fix="Install it with: pip install 'inferno-mesh[export]'. Or write CSV: --format csv.",
        ) from error


@contextmanager
def whole_file(path: Path, form: str, columns: Sequence[Column]) -> Iterator[Writer]:
    """A writer of a file that takes its name when all went well; otherwise what was there stays.

    Raises:
        OSError: The file cannot be written.
        Unsupported: pyarrow is not installed.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with _FORMS[form](draft, columns) as writer:
            yield writer
        draft.replace(path)
    finally:
        with suppress(FileNotFoundError):
            draft.unlink()


@contextmanager
def _csv(draft: Path, columns: Sequence[Column]) -> Iterator[Writer]:
    with draft.open("w", encoding="utf-8", newline="") as file:
        yield CsvWriter(file, columns)


@contextmanager
def _parquet(draft: Path, columns: Sequence[Column]) -> Iterator[Writer]:
    writer = ParquetWriter(draft, columns)
    try:
        yield writer
    finally:
        writer.close()


_FORMS: dict[str, Callable[[Path, Sequence[Column]], Any]] = {"csv": _csv, "parquet": _parquet}


def _text(value: Value) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%dT%H:%M:%SZ")
    # Never in scientific notation: not every reader of CSV knows it.
    return f"{value:f}" if isinstance(value, Decimal) else str(value)


def _schema(columns: Sequence[Column]) -> pyarrow.Schema:
    import pyarrow

    types = {
        Type.MONEY: pyarrow.decimal128(38, 6),
        Type.QUANTITY: pyarrow.decimal128(38, QUANTITY_PLACES),
        Type.WHOLE: pyarrow.int64(),
        Type.TIME: pyarrow.timestamp("us", tz="UTC"),
        Type.TEXT: pyarrow.string(),
        Type.JSON: pyarrow.string(),
    }
    return pyarrow.schema([pyarrow.field(column.name, types[column.type]) for column in columns])
