"""Reports: one self-contained HTML page from headings, text, tables and figures."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from interp.objects.refusals import tell_skipped
from interp.quiet import spell_out
from interp.reprs import fits_a_cell
from interp.store.folder import OutputFolder, in_words

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


WORDY = 40
"""Letters of a cell beyond which its column is read as sentences: from the left, and broken where the page ends."""

MANY = 8
"""Columns beyond which a table is set in small letters, and its cells may be broken."""

NO_NAMES = ("nan", "inf", "None")
"""Letters that are numbers, or none."""


@fits_a_cell()
@dataclass(frozen=True)
class Section:
    """One part of a report.

    Attributes:
        title: its heading.
        text: paragraphs of plain text.
        figure: drawn below the text, with `caption` under it.
        table: columns as they are to be read; numbers are already text.
    """

    title: str
    text: tuple[str, ...] = ()
    figure: Figure | None = None
    caption: str = ""
    table: pd.DataFrame | None = None


def render_report(title: str, lead: str, sections: Sequence[Section], settings: dict[str, Any]) -> str:
    """One HTML page that needs no other file and no network; everything that is text is escaped.

    Control characters, and what turns the direction of what is written behind it, are spelled out.
    """
    import jinja2

    template = (files("interp.report") / "report.html.jinja").read_text(encoding="utf-8")
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    parts = [
        {
            "title": part.title,
            "text": part.text,
            "figure": None if part.figure is None else _as_data_url(part.figure),
            "caption": part.caption,
            **_as_text(part.table),
        }
        for part in sections
    ]
    html = environment.from_string(template).render(title=title, lead=lead, sections=parts, settings=in_words(settings))
    return spell_out(html)


def write_report(
    folder: OutputFolder,
    title: str,
    lead: str,
    sections: Sequence[Section],
    figures: Mapping[str, Figure],
    settings: dict[str, Any],
) -> list[Path]:
    """Write every figure as PNG and `report.html`, the page of them all; the figures are closed.

    What was left out of the data set is told at the top.

    Raises:
        InputError: a file can not be written.
    """
    import matplotlib.pyplot as plt

    lead = " ".join(filter(None, (lead, tell_skipped(settings.get("skipped", ())))))
    paths = [folder.write_figure(f"{name}.png", figure) for name, figure in figures.items()]
    paths.append(folder.write_text("report.html", render_report(title, lead, sections, settings)))
    for figure in figures.values():
        plt.close(figure)
    return paths


def _as_text(table: pd.DataFrame | None) -> dict[str, Any]:
    """Columns and rows as text, and how each column is set."""
    if table is None:
        return {"columns": [], "rows": [], "kinds": [], "wide": False}
    rows = table.astype(str).to_numpy().tolist()
    kinds = [_kind(cells) for cells in zip(*rows, strict=True)]
    wide = len(table.columns) > MANY
    if wide:  # cells are broken, but no interval between its ends
        rows = [
            [cell if kind else cell.replace(", ", ",\u00a0") for cell, kind in zip(row, kinds, strict=True)]
            for row in rows
        ]
    return {"columns": [str(column) for column in table.columns], "rows": rows, "kinds": kinds, "wide": wide}


def _kind(cells: Sequence[str]) -> str:
    """Whether a column holds sentences, names, or numbers, which have no kind of their own."""
    if max(map(len, cells)) > WORDY:
        return "words"
    return "name" if any(cell[:1].isalpha() and cell not in NO_NAMES for cell in cells) else ""


def _as_data_url(figure: Figure) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=130, bbox_inches="tight")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
