"""Tables of a report: written as CSV, and as records."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

    from interp.store.folder import OutputFolder


def write_csv(folder: OutputFolder, name: str, table: pd.DataFrame) -> Path:
    """Write one table as CSV, under a name without ending.

    Raises:
        InputError: it can not be written.
    """
    return folder.write(f"{name}.csv", lambda path: table.to_csv(path, index=False))


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """A table as plain rows."""
    return table.astype(object).where(table.notna(), None).to_dict("records")
