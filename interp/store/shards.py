"""Shards: rows of a study, stored by whole batches in files that are complete or absent, and read back as one table."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

import numpy as np

from interp.errors import InputError
from interp.store.folder import OutputFolder
from interp.store.guard import holds_lock, locked
from interp.store.seals import check_seal, sealed

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

OWN = ("id", "key", "_place")
"""Columns that a study itself writes: the sample's id, its content key, its place in the list of samples."""

EXACT = 2**53
"""The whole numbers up to here, which a column that also holds fractions keeps exactly."""

_KINDS: tuple[tuple[str, tuple[type, ...], Callable[[Any], Any]], ...] = (
    ("bool", (bool, np.bool_), bool),
    ("int", (int, np.integer), int),
    ("float32", (np.float32,), float),
    ("float", (float, np.floating), float),
    ("text", (str,), str.__str__),
)

_STORED = frozenset({"null", "bool", "int64", "float", "double", "string"})
"""What columns are of in a file, by pyarrow's names, beside arrays."""

_ARRAY = "float32 array of "
"""The kind of an array, with its length behind it: a column holds arrays of one length."""


class Entry(NamedTuple):
    """A sample as shards know it: place in the list, id, content key."""

    place: int
    id: str
    key: str


class Shards:
    """The folder of shards while a study runs.

    Args:
        path: the folder; `lock` makes it.
        study: the seal of the study, see `interp.store.seals`; none is needed to hold the lock alone.
    """

    def __init__(self, path: Path, study: str = "") -> None:
        """Begin with nothing pending."""
        self.path = path
        self.study = study
        self._locked: int | None = None
        self._kinds: dict[str, set[str]] = {}
        self._pending: list[pa.Table] = []
        self._next = 0
        self._since = time.monotonic()

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Keep other processes from writing here; the lock dies with the process, however it ends.

        Raises:
            InputError: another process has it, the folder can not be made, or nothing in it can be locked.
        """
        with locked(self.path, self.path.parent) as self._locked:
            try:
                for left in self.path.glob(".part-*"):  # what a killed process was writing
                    if not left.is_dir():  # which we do not make
                        left.unlink(missing_ok=True)
                yield
            finally:
                self._locked = None

    def is_there(self) -> bool:
        """Whether the folder is still the one that was locked: nobody has deleted it, or put another in its place."""
        return self._locked is None or holds_lock(self.path, self._locked)

    def load(self) -> dict[int, Entry]:
        """Read what is stored, by place, and go on behind it."""
        tables = {}
        for path in shard_files(self.path):
            table = read_shard(path, self.study)
            for name in table.column_names:
                if name not in OWN:
                    self._kinds.setdefault(name, set()).update(_kinds_of(table.column(name)))
            tables[path] = table.select(list(OWN))
        self._next = 1 + max(map(_number, tables), default=-1)
        return entries(tables)

    def add(self, rows: Sequence[tuple[Entry, Mapping[str, Any]]]) -> None:
        """Take the rows of a whole batch; they are checked now and written by the next `flush`.

        Raises:
            InputError: a row has other columns than the rows before it, or a value that can not be stored.
        """
        import pyarrow as pa

        names = list(self._kinds) or [name for name in rows[0][1] if name != "id"]
        for entry, row in rows:
            _refuse_columns(entry, row, names)
        columns = {"id": pa.array([entry.id for entry, _ in rows]), "key": pa.array([entry.key for entry, _ in rows])}
        columns["_place"] = pa.array([entry.place for entry, _ in rows])
        kinds = {}
        for name in names:
            found = [_value(name, entry, row[name]) for entry, row in rows]
            kinds[name] = self._kinds.get(name, set()) | {kind for kind, _ in found if kind}
            columns[name] = pa.array([value for _, value in found], _arrow_type(name, kinds[name], rows[0][0]))
        self._pending.append(pa.table(columns))
        self._kinds = kinds

    @property
    def unwritten(self) -> int:
        """How many samples were taken since the last flush."""
        return sum(len(set(table.column("_place").to_pylist())) for table in self._pending)

    def flush(self, *, after: float = 0.0) -> None:
        """Write what was taken since the last flush as one more shard, if that was `after` seconds ago or longer."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        if not self._pending or time.monotonic() - self._since < after:
            return
        if not self.is_there():
            raise InputError(
                f"{str(self.path.parent)!r} was deleted, moved or replaced while it was written to: begin anew"
            )
        table = sealed(pa.concat_tables(self._pending, promote_options="permissive"), self.study)
        name = f"part-{self._next:05d}.parquet"
        write_synced(self.path, name, lambda file: pq.write_table(table, file, write_page_checksum=True))
        # In one statement, so that an interrupt leaves all of it done or none: the same shard is then written again.
        self._next, self._pending, self._since = self._next + 1, [], time.monotonic()


def write_synced(folder: Path, name: str, writer: Callable[[BinaryIO], Any]) -> None:
    """Write a file aside, have the disk confirm it, then move it into place.

    Raises:
        InputError: it can not be written.
    """

    def write(path: Path) -> None:
        with path.open("wb") as file:
            writer(file)
            file.flush()
            os.fsync(file.fileno())

    OutputFolder(folder).write(name, write)
    with suppress(OSError):  # not every file system can sync a folder
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def shard_files(path: Path) -> list[Path]:
    """The shards of a folder, in the order of their numbers."""
    return sorted((found for found in path.glob("part-*.parquet") if _number(found) >= 0), key=_number)


def read_shards(path: Path, study: str, columns: Sequence[str] | None = None) -> dict[Path, pa.Table]:
    """Read every shard of a folder, in the order of their numbers; see `read_shard`."""
    return {file: read_shard(file, study, columns) for file in shard_files(path)}


def read_shard(file: Path, study: str, columns: Sequence[str] | None = None) -> pa.Table:
    """Read one shard of a study: all its columns, or what a study itself writes and these.

    Raises:
        InputError: it can not be read, is not a shard of this study or was changed, or has no such column.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not file.is_file():  # a pipe might be waited for without end
        raise InputError(f"shard {str(file)!r} is no file: take it away and resume, which measures again what it held")
    try:
        with pq.ParquetFile(file, page_checksum_verification=True) as parquet:
            names = parquet.schema_arrow.names
            chosen = None if columns is None else [name for name in names if name in {*OWN, *columns}]
            table = parquet.read(columns=chosen, use_threads=False)
    except (pa.ArrowException, OSError) as error:
        why = str(error).splitlines()[0].rstrip(".") if str(error) else type(error).__name__
        raise InputError(
            f"shard {str(file)!r} can not be read ({why}): delete it and resume, which measures again what it held"
        ) from error
    if tuple(names[: len(OWN)]) != OWN:
        raise InputError(f"{str(file)!r} is no shard, its columns are {names}: take it away")
    _refuse_strange(file, table)
    check_seal(file, table, names, study)
    if missing := [name for name in columns or () if name not in names]:
        raise InputError(f"{str(file)!r} has no column {missing[0]!r}: use some of {', '.join(names[len(OWN) :])}")
    return table


_OWN_TYPES = dict(zip(OWN, ("string", "string", "int64"), strict=True))


def _refuse_strange(file: Path, table: pa.Table) -> None:
    """Refuse columns of types that no study writes, and samples without an id, a key or a place."""
    for name in table.column_names:
        column = table.column(name)
        kind = str(column.type)
        right = kind == _OWN_TYPES.get(name, kind) and (
            kind in _STORED or (kind.startswith("list<") and str(column.type.value_type) == "float")
        )
        if not right or (name in OWN and column.null_count):
            what = f"has gaps in column {name!r}" if right else f"has a column {name!r} of {kind:.60}"
            raise InputError(f"{str(file)!r} is no shard that a study wrote, it {what}: take it away")


def entries(tables: Mapping[Path, pa.Table]) -> dict[int, Entry]:
    """The samples that shards hold, by place.

    Raises:
        InputError: two shards hold one sample.
    """
    found: dict[int, tuple[Path, Entry]] = {}
    for path, table in tables.items():
        columns = (table.column(name).to_pylist() for name in ("_place", "id", "key"))
        for entry in dict.fromkeys(map(Entry, *columns)):
            first, _ = found.setdefault(entry.place, (path, entry))
            if first != path:
                raise InputError(
                    f"{entry.id!r} is in shards {first.name!r} and {path.name!r} of {str(path.parent)!r}: "
                    "delete one of them and resume"
                )
    return {place: entry for place, (_, entry) in found.items()}


def join(tables: Mapping[Path, pa.Table]) -> pd.DataFrame:
    """One table of all shards: rows in the order of the samples, then as measured, and types that fit all shards.

    A column of whole numbers or of booleans that has gaps gets pandas' type that allows for them (`Int64`, `boolean`),
    instead of becoming one of floats or of objects.
    """
    import pandas as pd
    import pyarrow as pa

    if not tables:
        return pd.DataFrame({name: pd.Series(dtype=str) for name in ("id", "key")})
    try:
        table = pa.concat_tables(tables.values(), promote_options="permissive")
    except pa.ArrowException as error:
        raise InputError(f"the shards in {str(next(iter(tables)).parent)!r} do not fit together ({error})") from error
    table = table.take(np.argsort(table.column("_place").to_numpy(), kind="stable")).drop_columns("_place")
    gaps = {pa.int64(): pd.Int64Dtype(), pa.bool_(): pd.BooleanDtype()}
    columns = zip(table.column_names, table.columns, strict=True)
    return pd.DataFrame(
        {name: column.to_pandas(types_mapper=gaps.get if column.null_count else None) for name, column in columns}
    )


def _number(path: Path) -> int:
    match = re.fullmatch(r"part-(\d+)\.parquet", path.name)
    return int(match[1]) if match else -1


def _refuse_columns(entry: Entry, row: Mapping[str, Any], names: Sequence[str]) -> None:
    reserved = [name for name in row if not isinstance(name, str) or name in OWN[1:]]
    if reserved:
        raise InputError(f"sample {entry.id!r}: a column can not be named {reserved[0]!r}: give it another name")
    if row.get("id", entry.id) != entry.id:
        raise InputError(f"sample {entry.id!r} got a row of {row['id']!r}: measure must keep the order of the samples")
    if set(row) - {"id"} != set(names):
        differ = sorted((set(row) - {"id"}) ^ set(names))
        raise InputError(
            f"sample {entry.id!r}: rows have the columns {list(names)} and this one differs in {differ}: "
            "give every row the same columns, with None where there is no value"
        )


def _value(name: str, entry: Entry, value: Any) -> tuple[str, Any]:
    """What kind a value is of (an empty text for None), and the value as it is stored."""
    if value is None:
        return "", None
    if isinstance(value, np.ndarray) and value.ndim == 1 and value.dtype == np.float32:
        return f"{_ARRAY}{len(value)}", value
    kind, cast = next(((kind, cast) for kind, types, cast in _KINDS if isinstance(value, types)), ("", str))
    where = f"sample {entry.id!r}, column {name!r}"
    if not kind:
        raise InputError(
            f"{where}: a {type(value).__name__} is no plain number, text, bool, None or float32 array of one axis: "
            "give one of these"
        )
    if kind == "int" and abs(int(value)) > EXACT:
        raise InputError(f"{where}: {value} is beyond the whole numbers that every number type keeps: give it as text")
    if kind == "text" and not _encodes(value):
        raise InputError(f"{where}: {json.dumps(value)} is no valid text, it has half a character: replace that")
    return kind, cast(value)


def _encodes(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _arrow_type(name: str, kinds: set[str], entry: Entry) -> pa.DataType:
    """The type of a column that has held these kinds so far."""
    import pyarrow as pa

    types = {"bool": pa.bool_(), "int": pa.int64(), "float32": pa.float32(), "float": pa.float64(), "text": pa.string()}
    if len(kinds) < 2:
        kind = next(iter(kinds), "")
        return pa.list_(pa.float32()) if kind.startswith(_ARRAY) else types[kind] if kind else pa.null()
    if kinds <= {"int", "float32", "float"}:
        return pa.float64()
    raise InputError(
        f"column {name!r} holds {' and '.join(sorted(kinds))} in the batch of sample {entry.id!r} or before it: "
        "give a column values of one kind, or None"
    )


def _kinds_of(column: pa.ChunkedArray) -> set[str]:
    """The kinds of a stored column: of arrays, one for each length."""
    import pyarrow.compute as pc

    if str(column.type).startswith("list<"):
        return {
            f"{_ARRAY}{length}" for length in pc.list_value_length(column).unique().to_pylist() if length is not None
        }
    named = {"bool": "bool", "int64": "int", "float": "float32", "double": "float", "string": "text"}
    return {named[str(column.type)]} if str(column.type) in named else set()
