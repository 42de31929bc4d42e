"""Tables with pictures in them: rows of Parquet and TSV files, a few at a time, and the picture of a cell."""

from __future__ import annotations

import base64
import binascii
import csv
from collections.abc import Iterator, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

from interp.datasets.benchmarks.files import bad_row
from interp.errors import InputError
from interp.image.photos import load_image

LONGEST = 1 << 26
"""Of a cell of a TSV file, in characters; pictures are long."""


def parquet_rows(
    path: Path, columns: Sequence[str], name: str, *, perhaps: Sequence[str] = ()
) -> Iterator[Mapping[str, Any]]:
    """The rows of a Parquet file.

    Args:
        path: the file.
        columns: what it must have.
        name: whose columns these are, for messages.
        perhaps: what is read as well where it is there.

    Raises:
        InputError: it is no Parquet file, or lacks a column.
    """
    from pyarrow import ArrowException
    from pyarrow.parquet import ParquetFile

    try:
        with ParquetFile(path) as file:
            there = file.schema_arrow.names
            _check_columns(path, there, columns, name)
            read = [*columns, *(column for column in perhaps if column in there)]
            for batch in file.iter_batches(batch_size=16, columns=read):
                yield from batch.to_pylist()
    except (ArrowException, OSError) as error:
        raise InputError(f"{str(path)!r} is no Parquet file that can be read ({error}): fetch it again") from error


def tsv_rows(path: Path, columns: Sequence[str], name: str) -> Iterator[Mapping[str, Any]]:
    """The rows of a file whose cells are parted by tabs; empty cells are None.

    Raises:
        InputError: it can not be read, or lacks a column.
    """
    before = csv.field_size_limit(LONGEST)
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file, delimiter="\t")
            _check_columns(path, list(reader.fieldnames or ()), columns, name)
            for row in reader:
                yield {column: cell or None for column, cell in row.items() if column is not None}
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{str(path)!r} can not be read as a table ({error}): fetch it again") from error
    finally:
        csv.field_size_limit(before)


def picture_in(path: Path, row: int, item: Mapping[str, Any], column: str) -> Any:
    """The picture of a cell: bytes, bytes in a field of that name, or base64 as text.

    Raises:
        InputError: there is none, or none that can be read.
    """
    from PIL import Image, UnidentifiedImageError

    cell = item.get(column)
    held = cell.get("bytes") if isinstance(cell, Mapping) else cell
    content = _bytes(held)
    if content is None:
        raise bad_row(path, row, f"has {type(held).__name__} and no picture in {column}")
    try:
        with Image.open(BytesIO(content)) as image:
            return load_image(image)
    except (UnidentifiedImageError, OSError, InputError) as error:
        raise bad_row(path, row, f"has a picture that can not be read ({error})") from error


def _bytes(content: Any) -> bytes | None:
    """The bytes of a picture, which may be written as text; None where there are none."""
    if isinstance(content, str):
        try:
            return base64.b64decode(content, validate=True)
        except binascii.Error:
            return None
    return content if isinstance(content, bytes) else None


def _check_columns(path: Path, there: Sequence[str], columns: Sequence[str], name: str) -> None:
    absent = [column for column in columns if column not in there]
    if absent:
        raise InputError(
            f"{str(path)!r} has the columns {', '.join(there)} and no {', '.join(absent)}, which {name} has: name its "
            "own file"
        )
