"""CSV and Parquet, whatever their rows mean: plain types, the same bytes each time, errors that name the file."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bars.errors import RecordError

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


def csv_text(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> str:
    """Rows as csv under their columns; None, and what a row has not, is an empty cell, and floats round-trip."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_cell(row.get(name)) for name in columns] for row in rows)
    return text.getvalue()


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return repr(value) if isinstance(value, float) else str(value)


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


def parquet(types: Mapping[str, str], rows: Iterable[Sequence[Any]]) -> bytes:
    """Rows as Parquet, their columns of these numpy types or "str"; the same rows give the same bytes."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = list(zip(*rows, strict=True)) or [()] * len(types)
    arrays = [_array(values, kind) for values, kind in zip(columns, types.values(), strict=True)]
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_arrays(arrays, names=list(types)), sink, compression="zstd")
    return sink.getvalue()


def _array(values: Sequence[Any], kind: str) -> Any:
    """An Arrow array from its buffers; ``pa.array`` would load pandas to ask whether the values are a series of it."""
    import numpy as np
    import pyarrow as pa

    if kind != "str":
        numbers = np.array(values, kind)
        return pa.Array.from_buffers(
            pa.from_numpy_dtype(numbers.dtype), len(values), [None, pa.py_buffer(numbers.tobytes())]
        )
    texts = [value.encode() for value in values]
    ends = np.cumsum([0, *map(len, texts)], dtype=np.int32)
    return pa.StringArray.from_buffers(len(texts), pa.py_buffer(ends.tobytes()), pa.py_buffer(b"".join(texts)))


def read_parquet(path: str | Path, columns: Mapping[str, type]) -> Iterator[tuple[Any, ...]]:
    """The rows, in the order written. Raises RecordError for other columns or types."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    _exists(path)
    try:
        with pq.ParquetFile(path) as file:  # read_table, for folders of files too, would load pandas
            table = file.read()
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
