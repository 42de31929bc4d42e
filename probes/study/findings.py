"""How a study of the probes is written: tables first, then the summary, figures and one page."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from interp.numeric import named_level
from interp.report.page import Section, write_report
from interp.report.tables import write_csv
from interp.stats.clusters import few_groups
from interp.stats.intervals import FEWEST

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from interp.store.folder import OutputFolder


OF_EXTREMES = (
    "Where the largest or smallest of several layers, depths or relations is named, it was picked after the fact, so "
    "that the largest is told too large, and the smallest too small. Its interval allows for that where it has one: it "
    "holds for all of them together, and is wider than in the tables, where each has its own. On other samples another "
    "may stand first."
)
"""What has to be said beside a sentence that names an extreme."""


UNTOLD = ("table", "measure", "what", "where", "scorer", "function", "first", "second")
"""Columns of `left_out` that name what could not be told; each tool has its own of them."""


_ENDS = re.compile(r"\[[-+]?\d[^\[\]]*, [-+]?\d[^\[\]]*\]")  # as `interp.report.numbers` writes them

READ_FIRST = "Read this first"
"""The part of a page that says what has to be known before any number."""


def level_of(settings: Mapping[str, Any]) -> float:
    """The level of intervals that a record names; 0.95 where it names none."""
    return float(settings.get("level", 0.95))


@dataclass(frozen=True, eq=False)
class Drawn:
    """A figure of a page, with its title and caption."""

    title: str
    figure: Figure
    caption: str


@dataclass(frozen=True, eq=False)
class Findings:
    """What one tool found over a data set, ready to be written.

    Attributes:
        title: of its page.
        sentences: what was found, each with its interval; the first one stands for all of it.
        cautions: what these numbers do not show.
        tables: by file name without ending, for people who load them; `left_out`, where there is one, says in
            columns of `UNTOLD` and in `why` what could not be told.
        shown: by title, the tables of the page, their numbers already text.
        figures: by file name without ending.
        summary: the numbers of the sentences, as plain data.
        settings: the record of what made it.
        groups: how many groups intervals draw, of all samples and of parts of them; what the column `groups` of the
            tables says counts beside.
    """

    title: str
    sentences: tuple[str, ...]
    cautions: tuple[str, ...]
    tables: Mapping[str, pd.DataFrame]
    shown: Mapping[str, pd.DataFrame]
    figures: Mapping[str, Drawn]
    summary: Mapping[str, Any]
    settings: dict[str, Any] = field(repr=False)
    groups: tuple[int, ...] = ()

    @property
    def level(self) -> float:
        """The level of all intervals, as the record says."""
        return level_of(self.settings)

    @property
    def remarks(self) -> tuple[str, ...]:
        """Why the numbers may mean nothing, such as that the model knows no such photos."""
        return tuple(self.settings.get("remarks", ()))

    @property
    def few(self) -> tuple[str, ...]:
        """What has to be known of intervals where groups are few, in all samples or in a part; else nothing."""
        named = (table["groups"].dropna() for table in self.tables.values() if "groups" in table)
        counts = {*self.groups, *(int(one) for own in named for one in own)} - {0}
        if not counts:
            return ()
        least, most = min(counts), max(counts)
        if whole := few_groups(most, f"The numbers are of{f' {least} to' if least < most else ''}"):
            none = f" Those of fewer than {FEWEST} have no interval." if least < FEWEST <= most else ""
            return (whole + none,)
        part = few_groups(least, "Not all numbers are of as many groups. Those of the smallest part are of")
        return (part,) if part else ()

    @property
    def limits(self) -> tuple[str, ...]:
        """What these numbers do not show: that groups are few, where they are, and the cautions."""
        return (*self.few, *self.cautions)

    def sections(self) -> list[Section]:
        """The parts of the page: what was found, figures, tables, and what it does not show."""
        return [
            *([Section(READ_FIRST, self.remarks)] if self.remarks else []),
            *([Section("What was found", self.sentences[1:])] if len(self.sentences) > 1 else []),
            *(Section(one.title, figure=one.figure, caption=one.caption) for one in self.figures.values()),
            *(Section(title, self._brackets(table), table=table) for title, table in self.shown.items()),
            *self._untold(),
            Section("What this does not show", self.limits),
        ]

    def _brackets(self, table: pd.DataFrame) -> tuple[str, ...]:
        """What brackets in a table are, where it has any."""
        some = any(isinstance(cell, str) and _ENDS.search(cell) for cell in table.to_numpy().ravel())
        return (f"Brackets hold confidence intervals of {named_level(self.level)}.",) if some else ()

    def _untold(self) -> list[Section]:
        """Why a measure is missing, in how many cases: samples where the table counts them, else cells."""
        left_out = self.tables.get("left_out")
        if left_out is None or left_out.empty:
            return []
        counted = "cases" if "cases" in left_out else "cells"
        named = [name for name in UNTOLD if name in left_out]
        known = left_out.assign(**{counted: left_out.get(counted, 1)}).fillna(dict.fromkeys(named, ""))
        parts = known.groupby([*named, "why"], sort=False)
        told = parts[counted].sum().reset_index()
        return [Section("What could not be told, and why", table=told)]


def write_findings(folder: OutputFolder, found: Findings) -> list[Path]:
    """Write the tables as Parquet and CSV, `summary.json`, figures as PNG and `report.html`; figures are closed.

    Raises:
        InputError: a file can not be written.
    """
    figures = {name: one.figure for name, one in found.figures.items()}
    with folder.as_one():
        paths = write_tables(folder, found)
        paths.append(folder.write_json("summary.json", {**found.summary, "settings": found.settings}))
        paths += write_report(folder, found.title, found.sentences[0], found.sections(), figures, found.settings)
    return paths


def tell_findings(folder: OutputFolder, found: Findings) -> None:
    """Write everything, and print the sentences."""
    paths = write_findings(folder, found)
    print("\n".join([*found.remarks, *found.few, *found.sentences]))
    print(f"written to {folder.path}: report.html and {len(paths) - 1} more")


def write_tables(folder: OutputFolder, found: Findings) -> list[Path]:
    """Write the tables alone."""
    return [
        path
        for name, table in found.tables.items()
        for path in (folder.write_table(f"{name}.parquet", table), write_csv(folder, name, table))
    ]
