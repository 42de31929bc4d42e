"""Seals: what a shard says of itself, so that one of another study, or one that was changed, is not taken for ours."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from interp.errors import InputError
from interp.store.parsing import parse_json

if TYPE_CHECKING:
    import pyarrow as pa

KEY = b"spatial-lens"
"""Where a shard keeps its seal, among the metadata of its schema."""


def study_seal(manifest: Mapping[str, Any]) -> str:
    """What tells a study from all others: the digest of its manifest, which has nothing but what numbers depend on."""
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()


def sealed(table: pa.Table, study: str) -> pa.Table:
    """A table that says which study it is of, and what each of its columns holds."""
    columns = {name: _digest(table.column(name)) for name in table.column_names}
    seal = json.dumps({"study": study, "rows": table.num_rows, "columns": columns})
    return table.replace_schema_metadata({**(table.schema.metadata or {}), KEY: seal.encode()})


def check_seal(file: Path, table: pa.Table, names: Sequence[str], study: str) -> None:
    """Refuse a shard of another study, or one that was changed since it was written.

    Args:
        file: the shard.
        table: those of its columns that were read.
        names: all columns that it has.
        study: the seal of the study that it should be of.

    Raises:
        InputError: it has no seal, is of another study, or has other columns, rows or values than when it was written.
    """
    try:
        seal = parse_json((table.schema.metadata or {})[KEY])
        of, rows, columns = seal["study"], seal["rows"], dict(seal["columns"])
    except (KeyError, ValueError, TypeError) as error:
        raise InputError(f"{str(file)!r} is no shard that a study wrote, it has no seal: take it away") from error
    if of != study:
        raise InputError(
            f"shard {str(file)!r} is of another study than the manifest beside it: take away what was put there"
        )
    changed = sorted({*columns} ^ {*names})
    changed += [name for name in table.column_names if name in columns and _digest(table.column(name)) != columns[name]]
    if changed or rows != table.num_rows:
        what = f"column {changed[0]!r}" if rows == table.num_rows else f"{table.num_rows} rows, not {rows}"
        raise InputError(
            f"shard {str(file)!r} was changed after it was written ({what}): delete it and resume, which measures "
            "again what it held"
        )


def _digest(column: pa.ChunkedArray) -> str:
    """Of the values of a column and where it has none; the same for all ways to cut it into chunks and store it."""
    import pyarrow.compute as pc

    nested = str(column.type).startswith("list<")
    found = hashlib.sha256(f"{'list' if nested else column.type} {len(column)}".encode())
    found.update(np.packbits(column.is_null().to_numpy()).tobytes())
    if nested:
        found.update(pc.fill_null(pc.list_value_length(column), 0).to_numpy().astype("<i8").tobytes())
        found.update(pc.list_flatten(column).to_numpy().tobytes())
    elif str(column.type) == "string":
        whole = column.combine_chunks().dictionary_encode()
        found.update(pc.fill_null(whole.indices, -1).to_numpy().astype("<i8").tobytes())
        found.update(json.dumps(whole.dictionary.to_pylist()).encode())
    elif str(column.type) != "null":
        found.update(pc.fill_null(column, False if str(column.type) == "bool" else 0).to_numpy().tobytes())
    return found.hexdigest()
