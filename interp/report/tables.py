"""Tables of a report: written as CSV, and as records."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd


def write_csv(table: pd.DataFrame, path: Path) -> None:
    """One table as CSV."""
    table.to_csv(path, index=False)


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """A table as plain rows."""
    return table.astype(object).where(table.notna(), None).to_dict("records")
