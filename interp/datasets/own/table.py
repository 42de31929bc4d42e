"""The table of a folder of one's own: the rows of its CSV file, read one after another."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import count
from pathlib import Path
from typing import IO

from interp.errors import InputError
from interp.store.progress import patient_bar

QUESTIONS = "questions.csv"
NEEDED = ("image", "question", "answer")
COLUMNS = (*NEEDED, "options", "objects", "boxes", "relation", "group", "id")

_EVERY = 1024
"""Rows between two steps of the progress bar."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the table.

    Attributes:
        number: which row it is, from 1 on.
        where: what messages call it.
        cells: its cells by column.
        wrong: what is wrong with them, if something is.
    """

    number: int
    line: int
    table: Path
    cells: dict[str, str]
    wrong: str = ""

    def bad(self, what: str) -> InputError:
        """The error for a row that can not be used: which one, and why."""
        own = f", id {self.cells['id']!r:.60}" if self.cells.get("id") else ""
        return InputError(f"row {self.number} (line {self.line}{own}) of {str(self.table)!r} {what}")


def find_table(place: Path) -> Path | None:
    """The CSV file with the questions of a folder; None where there is none.

    Raises:
        InputError: there are several.
    """
    if (place / QUESTIONS).is_file():
        return place / QUESTIONS
    found = sorted(path for path in place.glob("*.csv") if path.is_file())
    if len(found) > 1:
        names = ", ".join(path.name for path in found)
        raise InputError(f"{str(place)!r} holds several CSV files ({names}): call the one to read {QUESTIONS}")
    return found[0] if found else None


def rows_of(table: Path, *, progress: bool = True) -> Iterator[Row]:
    """The rows of a CSV file, each told whether it has a cell for every column; empty ones are none.

    Args:
        table: the file: commas, semicolons or tabs between cells, in UTF-8.
        progress: show a progress bar where reading takes more than a moment.

    Raises:
        InputError: it can not be read, lacks a column or names one twice, or holds no row.
    """
    try:
        with table.open(encoding="utf-8-sig") as file:
            yield from _rows(table, file, progress=progress)
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{str(table)!r} can not be read ({error}): save it as CSV in UTF-8") from error


def _rows(table: Path, file: IO[str], *, progress: bool) -> Iterator[Row]:
    comma = max(",;\t", key=file.readline().count)
    file.seek(0)
    lines = _lines(table, file, comma)
    columns = [name.strip().lower() for name in next(lines, (0, []))[1]]
    _check_columns(table, columns)
    numbers = count(1)
    with patient_bar(None, "reading rows", "B", total=os.fstat(file.fileno()).st_size, show=progress) as bar:
        for line, cells in lines:
            named = {name: cell.strip() for name, cell in zip(columns, cells, strict=False)}
            if not any(named.values()) and not any(cell.strip() for cell in cells):
                continue
            wrong = ""
            if len(cells) != len(columns):
                wrong = f"has {len(cells)} cells for {len(columns)} columns: put text that holds {comma!r} in double "
                wrong += "quotes"
            number = next(numbers)
            if number % _EVERY == 0:
                bar.update(file.buffer.tell() - bar.n)  # type: ignore[attr-defined]
            yield Row(number, line, table, named, wrong)
    if next(numbers) == 1:
        raise InputError(f"{str(table)!r} holds no row: write a question on each line below the names of the columns")


def _lines(table: Path, file: IO[str], comma: str) -> Iterator[tuple[int, list[str]]]:
    """The cells of each row, with the number of the line on which it ends."""
    reader = csv.reader(file, delimiter=comma, strict=True)
    try:
        for cells in reader:
            yield reader.line_num, cells
    except csv.Error as error:
        where = f"line {reader.line_num} of {str(table)!r} can not be read as CSV ({error})"
        if "field limit" in str(error):
            raise InputError(
                f"{where}: a cell may hold {csv.field_size_limit()} characters, so shorten it, or close its quote"
            ) from error
        raise InputError(
            f"{where}: put text in double quotes that are closed, and write a quote inside them twice"
        ) from error


def _check_columns(table: Path, columns: list[str]) -> None:
    missing = [name for name in NEEDED if name not in columns]
    if missing:
        raise InputError(
            f"{str(table)!r} has the columns {', '.join(columns) or 'none'} and lacks {', '.join(missing)}: its first "
            f"line has to name {', '.join(NEEDED)}"
        )
    if len(set(columns)) < len(columns):
        raise InputError(f"{str(table)!r} names a column twice ({', '.join(columns)}): give each a name of its own")
    for name in columns:
        if name not in COLUMNS and (near := get_close_matches(name, COLUMNS, 1, 0.85)):
            raise InputError(f"{str(table)!r} has a column {name!r}, which is not read: call it {near[0]!r}")
