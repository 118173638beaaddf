"""CSV and Parquet of stage files, whatever their rows mean: plain types, whole files, errors that name the file."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bars.errors import RecordError
from bars.pipeline.files import atomic_write

AGAIN = "remove the folder and run its stage again"


def _exists(path: str | Path) -> None:
    if not Path(path).is_file():
        raise RecordError(
            "a stage file is missing",
            where=str(path),
            do="run its stage first, or the whole workflow: snakemake --cores 2",
        )


def read_text(path: str | Path) -> str:
    """A stage file's text. Raises RecordError."""
    _exists(path)
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RecordError("a stage file cannot be read", where=str(path), got=str(error), do=AGAIN) from None


def write_csv(path: str | Path, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Write rows whole: an empty cell is None, floats round-trip."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        writer.writerow([_cell(row[name]) for name in columns])
    atomic_write(path, text.getvalue())


def read_csv(
    path: str | Path, columns: Sequence[str], free_prefix: str | None = None
) -> Iterator[tuple[int, dict[str, str | None]]]:
    """Line number and cells of each row (an empty cell is None). Raises RecordError.

    The header must have these columns, and besides them only ones that begin with ``free_prefix``.
    """
    text = read_text(path)
    if not text.endswith("\n"):
        raise RecordError("a stage file ends in the middle of a line", where=str(path), do=AGAIN)
    reader = csv.reader(io.StringIO(text, newline=""))
    header = next(reader, [])
    fixed = [name for name in header if not (free_prefix and name.startswith(free_prefix))]
    if fixed != list(columns) or len(set(header)) != len(header):
        raise RecordError(
            "a stage file has other columns",
            where=str(path),
            got=", ".join(header),
            allowed=", ".join(columns),
            do=AGAIN,
        )
    for row in reader:
        if len(row) != len(header):
            raise RecordError(
                "a row has another number of cells", where=f"{path}, line {reader.line_num}", got=len(row), do=AGAIN
            )
        yield reader.line_num, {name: cell or None for name, cell in zip(header, row, strict=True)}


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return repr(value) if isinstance(value, float) else str(value)


def write_parquet(path: str | Path, columns: Mapping[str, type], rows: Iterable[Sequence[Any]]) -> None:
    """Write rows of int, str and float; the same rows give the same bytes."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    types: dict[type, pa.DataType] = {int: pa.int32(), str: pa.string(), float: pa.float64()}
    schema = pa.schema([(name, types[kind]) for name, kind in columns.items()])
    values = list(zip(*rows, strict=True)) or [()] * len(columns)
    arrays = [pa.array(column, field.type) for column, field in zip(values, schema, strict=True)]
    sink = io.BytesIO()
    pq.write_table(pa.table(arrays, schema=schema), sink, compression="zstd")
    atomic_write(path, sink.getvalue())


def read_parquet(path: str | Path, columns: Mapping[str, type]) -> Iterator[tuple[Any, ...]]:
    """The rows, in the order written. Raises RecordError for other columns or types."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    _exists(path)
    try:
        table = pq.read_table(path)
        values = [column.to_pylist() for column in table.columns]
    except (pa.ArrowException, OSError, ValueError) as error:  # ValueError: text that is not UTF-8
        raise RecordError(
            "a stage file is not valid Parquet (truncated?)", where=str(path), got=str(error), do=AGAIN
        ) from None
    if table.column_names != list(columns):
        raise RecordError(
            "a stage file has other columns",
            where=str(path),
            got=", ".join(table.column_names),
            allowed=", ".join(columns),
            do=AGAIN,
        )
    if not all(isinstance(v, kind) for kind, column in zip(columns.values(), values, strict=True) for v in column):
        raise RecordError("a stage file has columns of other types", where=str(path), got=str(table.schema), do=AGAIN)
    return zip(*values, strict=True)
