"""Figures of amplification: a measure against alpha, along a probe's and along random directions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from interp.errors import InputError
from interp.plots.intervals import named_intervals
from interp.plots.style import INK, PALETTE, in_percent, legend_below, new_axes, tidy
from interp.plots.written import as_written

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

TITLES = {
    "accuracy": "Right in both orders",
    "corrected": "Corrected: wrong before, right after",
    "broken": "Broken: right before, wrong after",
    "net": "Net gain: corrected less broken",
}
"""What each measure is called."""

SOURCES = {"probe": (INK, "o", "the probe's directions"), "random": (PALETTE[1], "s", "random ones, mean over seeds")}
"""Colour, mark and name of each line."""


@as_written
def plot_amplified(
    measures: pd.DataFrame,
    ax: Axes | None = None,
    *,
    measure: str = "net",
    axis: str = "all",
    level: float | None = None,
) -> Axes:
    """Draw a measure against alpha, with bands for intervals, beside the untouched model.

    Args:
        measures: the columns axis, source, alpha, measure, value, low, high.
        ax: where to draw; made if None.
        measure: `accuracy`, `corrected`, `broken` or `net`.
        axis: of which axis' items.
        level: nominal coverage of the intervals, for the legend.

    Raises:
        InputError: a measure that is not known, or that is not there.
    """
    if measure not in TITLES:
        raise InputError(f"measure={measure!r} is not known: use one of {', '.join(TITLES)}")
    table = measures[(measures["axis"] == axis) & (measures["measure"] == measure)]
    if table.empty:
        raise InputError(f"there is no {measure!r} of {axis!r} to draw: `left_out` says why")
    ax = new_axes(ax, (5.6, 4.0))
    for source, (colour, mark, label) in SOURCES.items():
        own = table[table["source"] == source].sort_values("alpha")
        ax.fill_between(own["alpha"], own["low"], own["high"], color=colour, alpha=0.1, linewidth=0)
        ax.plot(own["alpha"], own["low"], own["alpha"], own["high"], color=colour, linewidth=0.6, alpha=0.6)
        ax.plot(own["alpha"], own["value"], color=colour, marker=mark, ms=4, linewidth=1.8, label=label)
    before = table.loc[table["source"] == "untouched", "value"]
    ax.axhline(float(before.iloc[0]) if len(before) else 0.0, color=INK, linewidth=1, linestyle=":", label="untouched")
    if measure == "accuracy":
        ax.axhline(0.25, color=INK, linewidth=1, linestyle="--", label="two blind guesses")
    in_percent(ax.yaxis)
    tidy(ax, title=TITLES[measure], x="alpha", y="share of all items")
    drawn = table[table["source"].isin(list(SOURCES))]
    legend_below(ax, *named_intervals(drawn["low"], level=level), columns=2)
    return ax
