"""Figures of knock-outs: what an answer loses, by window of layers and by what is cut."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from interp.errors import InputError
from interp.plots.intervals import interval_name, named_intervals
from interp.plots.legend import legend_beside
from interp.plots.style import INK, TICK, in_percent, line_colours, new_axes, tidy
from interp.plots.written import as_written

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

TITLES = {
    "effect": ("Edges cut: change of the right answer's probability", "relative change, %"),
    "accuracy": ("Edges cut: accuracy", "right by the first token"),
}


@as_written
def plot_windows(
    measures: pd.DataFrame,
    windows: Sequence[str],
    ax: Axes | None = None,
    *,
    measure: str = "effect",
    level: float | None = None,
) -> Axes:
    """Draw a measure by window, a line for each arm, with intervals; random controls dashed.

    Args:
        measures: the columns arm, window, measure, value, low, high.
        windows: their names, in order; one called `all` stands apart.
        ax: where to draw; made if None.
        measure: `effect` or `accuracy`.
        level: nominal coverage of the intervals, for the legend.

    Raises:
        InputError: it is not there.
    """
    own = measures[measures["measure"] == measure]
    cut = own[own["arm"] != "untouched"]
    arms = list(dict.fromkeys(cut["arm"]))
    if not arms:
        raise InputError(f"there is no measure of {measure!r} to draw: `left_out` says why")
    ax = new_axes(ax, (max(5.0, 1.6 + 0.62 * len(windows)) + 2.2, 4.0))
    places = {name: place + (0.6 if name == "all" and place else 0) for place, name in enumerate(windows)}
    colours = dict(zip(arms, line_colours(len(arms)), strict=True))
    for number, arm in enumerate(arms):
        shift = 0.09 * (number - (len(arms) - 1) / 2)
        rows = own[own["arm"] == arm].set_index("window").loc[list(windows)]
        x = np.array([places[name] for name in windows]) + shift
        ends = np.stack([rows["value"] - rows["low"], rows["high"] - rows["value"]]).clip(min=0)
        style = "--" if arm.startswith("random") else "-"
        ax.errorbar(x, rows["value"], yerr=ends, fmt="o", ms=4, capsize=2, lw=1.2, color=colours[arm], label=arm)
        line = [name for name in windows if name != "all"]
        ax.plot(x[: len(line)], rows.loc[line, "value"], style, lw=1.4, color=colours[arm])
    if measure == "accuracy":
        for row in own[own["arm"] == "untouched"].itertuples():
            ax.axhline(row.value, color=INK, lw=1, ls=":", label="nothing cut")
            name = f"nothing cut, {interval_name(level)}"
            ax.axhspan(row.low, row.high, color=INK, alpha=0.08, lw=0, label=name)
        ax.set_ylim(-0.04, 1.04)
        in_percent(ax.yaxis)
    else:
        ax.axhline(0, color=INK, lw=1, ls=":")
    title, label = TITLES[measure]
    named = all(name.replace("-", "").isalpha() for name in windows)
    tidy(ax, title=title, x=f"layers in which the edges are cut{'' if named else ' (0-based)'}", y=label)
    _name_windows(ax, places)
    legend_beside(ax, TICK, INK, *named_intervals(cut["low"], level=level, over="groups", bars=True))
    return ax


def _name_windows(ax: Axes, places: dict[str, float]) -> None:
    """Name the windows, aslant, and only some where they are many."""
    step = -(-len(places) // 16)
    shown = [name for place, name in enumerate(places) if place % step == 0]
    ax.set_xticks([places[name] for name in shown], shown)
    for label in ax.get_xticklabels():
        label.set(rotation=30, ha="right")
