"""Figures of SHA: accuracy, and the number of heads, by function and arm."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from interp.errors import InputError
from interp.plots.intervals import named_intervals
from interp.plots.legend import legend_beside
from interp.plots.style import INK, TICK, in_percent, line_colours, new_axes, tidy
from interp.plots.written import as_written
from probes.heads.sha.arms import TITLES

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

NAMED = {
    "accuracy": ("Boxes and masks: accuracy", "right, by the strict rule"),
    "heads": ("Boxes and masks: how many heads are found", "heads"),
}


@as_written
def plot_arms(
    rows: pd.DataFrame, ax: Axes | None = None, *, what: str = "accuracy", level: float | None = None
) -> Axes:
    """Draw a value by function, each arm beside the others, with intervals; a dash is what dealt labels give.

    Args:
        rows: the columns arm, function, value, low, high, and of heads null.
        ax: where to draw; made if None.
        what: `accuracy` or `heads`.
        level: nominal coverage of the intervals, for the legend.

    Raises:
        InputError: there are no rows.
    """
    if rows.empty:
        raise InputError(f"there are no rows of {what} to draw: `left_out` says why")
    functions, arms = list(dict.fromkeys(rows["function"])), list(dict.fromkeys(rows["arm"]))
    ax = new_axes(ax, (max(4.5, 1.4 + 0.2 * len(arms) * len(functions)) + 1.8, 3.8))
    wide = 0.8 / len(arms)
    for number, (arm, colour) in enumerate(zip(arms, line_colours(len(arms)), strict=True)):
        own = rows[rows["arm"] == arm].set_index("function").reindex(functions)
        x = np.arange(len(functions)) + wide * (number - (len(arms) - 1) / 2)
        value = own["value"].to_numpy(float)
        ends = np.stack([value - own["low"].to_numpy(float), own["high"].to_numpy(float) - value]).clip(min=0)
        known = np.isfinite(value)
        ax.bar(x[known], value[known], wide * 0.92, color=colour, label=TITLES.get(arm, arm))
        sure = known & np.isfinite(ends).all(axis=0)
        ax.errorbar(x[sure], value[sure], yerr=ends[:, sure], fmt="none", ecolor=INK, elinewidth=0.9, capsize=1.8)
        if "null" in own:
            null = own["null"].to_numpy(float)
            ax.hlines(null, x - wide * 0.46, x + wide * 0.46, color=INK, linestyle=":", linewidth=1.4)
    title, label = NAMED[what]
    tidy(ax, title=title, x="function", y=label)
    ax.set_xticks(range(len(functions)), functions)
    for tick in ax.get_xticklabels():
        tick.set(rotation=25, ha="right")
    if what == "accuracy":
        ax.set_ylim(0, 1.04)
        in_percent(ax.yaxis)
    legend_beside(ax, TICK, INK, *named_intervals(rows["low"], level=level, over="groups", bars=True))
    return ax
