"""What measured pages of the probes share: blocks between marks, pictures, and how numbers stand in them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from interp.plots.style import figure_of
from interp.report.numbers import decimal, percent
from interp.stats.intervals import wilson
from probes.study.findings import Findings


def put(page: str, name: str, block: str) -> str:
    """The page with a block between its two marks.

    Raises:
        LookupError: the page has not exactly one such pair.
    """
    pair = re.compile(rf"(<!-- measured: {re.escape(name)} -->\n).*?(<!-- end: {re.escape(name)} -->)", re.DOTALL)
    if len(pair.findall(page)) != 1:
        raise LookupError(f"the page has no single pair of marks `measured: {name}` and `end: {name}`")
    inside = f"\n{block.strip()}\n\n" if block.strip() else ""
    return pair.sub(lambda found: found[1] + inside + found[2], page)


def draw(ax: Axes, path: Path, *, dpi: int = 90) -> None:
    """Write the figure that the axes are on."""
    figure = figure_of(ax)
    figure.savefig(path, dpi=dpi, bbox_inches="tight", metadata={"Software": None})
    plt.close(figure)


def reported(found: Findings) -> str:
    """The sentences of a tool's own report, as a list; the figures that it drew are closed."""
    plt.close("all")
    return "\n".join(f"- {sentence}" for sentence in found.sentences)


def interval(found: Any, place: int | None = None, **how: Any) -> str:
    """An estimate with its interval, at a place where there are several; `how` is that of `decimal`."""
    every = (np.asarray(getattr(found, name)) for name in ("estimate", "low", "high"))
    return decimal(*(float(own[() if place is None else place]) for own in every), **how)


def between(row: Any, times: float = 1.0, form: str = ".2f", *, sign: str = "") -> str:
    """A value with its interval."""
    value, low, high = (
        float(row[end] if isinstance(row, pd.Series) else getattr(row, end)) for end in ("value", "low", "high")
    )
    whole = [f"{times * number:z{form}}" for number in (low, high) if np.isfinite(number)]
    return f"{times * value:{sign}z{form}}" + (f" [{', '.join(whole)}]" if len(whole) == 2 else "")


def right_told(right: int, of: int) -> str:
    """The share of right answers in percent, with Wilson's interval; each question is of another group."""
    found = wilson(right, of)
    return percent(found.estimate, found.low, found.high)


def with_ends(row: Any, measure: str) -> list[float]:
    """A measure of an arm, and the ends of its interval."""
    return [float(row[name]) for name in (measure, f"{measure}_low", f"{measure}_high")]
