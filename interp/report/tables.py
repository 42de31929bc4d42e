"""Tables of a report: written as CSV, and as records."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pandas.api import types as pd_types

if TYPE_CHECKING:
    import pandas as pd

    from interp.store.folder import OutputFolder


FORMULAS = ("=", "+", "-", "@", "'", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""What a formula begins with in common spreadsheets, full-width forms included; the apostrophe makes it undoable."""


def write_csv(folder: OutputFolder, name: str, table: pd.DataFrame) -> Path:
    """Write one table as CSV, under a name without ending.

    Texts that a spreadsheet would run as a formula get an apostrophe in front, and so do those that begin with one: one
    apostrophe taken away gives the text as it was. The Parquet file of the same name has it as it was.

    Raises:
        InputError: it can not be written.
    """
    plain = table.rename(columns=as_text)
    for place, kind in enumerate(plain.dtypes):
        if not pd_types.is_numeric_dtype(kind):
            plain.isetitem(place, plain.iloc[:, place].map(as_text))
    texts = plain.select_dtypes(exclude="number")
    broken = any("\r" in str(cell) for name in texts.columns for cell in texts[name])  # csv quotes line feeds alone
    quoting = csv.QUOTE_NONNUMERIC if broken else csv.QUOTE_MINIMAL
    return folder.write(f"{name}.csv", lambda path: plain.to_csv(path, index=False, quoting=quoting))


def as_text(cell: Any) -> Any:
    """A cell that no spreadsheet takes for a formula; numbers, also written out, stay as they are.

    Example:
        >>> as_text("=1+1"), as_text("-0.5"), as_text("mug")
        ("'=1+1", '-0.5', 'mug')
    """
    if not isinstance(cell, str) or not cell.lstrip().startswith(FORMULAS) or _is_number(cell):
        return cell
    return f"'{cell}"


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """A table as plain rows."""
    return table.astype(object).where(table.notna(), None).to_dict("records")
