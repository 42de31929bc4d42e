"""Figures of a study of balance: by layer beside even attention, and what leaving the system part out changes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from interp.plots.intervals import named_intervals
from interp.plots.style import DIVERGING, INK, PALETTE, heads_map, integer_ticks, legend_below, new_axes, tidy
from interp.plots.written import as_written

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

COLOURS = {"kept": INK, "stripped": PALETTE[1]}
"""Of each arm."""


@as_written
def plot_balance_by_layer(
    table: pd.DataFrame, even: Mapping[str, float], ax: Axes | None = None, *, level: float | None = None
) -> Axes:
    """Draw the balance, mean over heads, by layer, with a band for its interval, and that of even attention as a line.

    Args:
        table: the columns arm, layer, balance, low, high.
        even: by arm, the balance of even attention; arms that have the same share one line.
        ax: where to draw; made if None.
        level: nominal coverage of the intervals, for the legend.
    """
    ax = new_axes(ax, (5.6, 3.6))
    for arm, own in table.groupby("arm", sort=False):
        colour = COLOURS[str(arm)]
        ax.plot(own["layer"], own["balance"], color=colour, marker="o", ms=3.5, label=f"system part {arm}")
        ax.fill_between(own["layer"], own["low"], own["high"], color=colour, alpha=0.15, linewidth=0)
    for place, value in enumerate(sorted({round(value, 3) for value in even.values()})):
        ax.axhline(value, color=INK, linestyle="--", linewidth=1, label=None if place else "even attention")
    ax.axhline(0.5, color=INK, linestyle=":", linewidth=1, label="as much on both")
    ax.set_ylim(0, 1.02)
    tidy(ax, title="Balance by layer, mean over heads", x="layer (0-based)", y="image / (image + words)")
    integer_ticks(ax.xaxis, int(table["layer"].max()) + 1)
    legend_below(ax, *named_intervals(table["low"], level=level, over="groups"), columns=2)
    return ax


@as_written
def plot_balance_change(change: Float[np.ndarray, "layer head"], ax: Axes | None = None) -> Axes:
    """Draw what leaving the system part out changes, layers down and heads across, blue and red alike around nothing.

    Args:
        change: balance without the system part less that with it.
        ax: where to draw; made if None.
    """
    most = max(float(np.abs(change).max()), 0.01)
    title = "Balance without the system part, less with it"
    return heads_map(change, ax, title=title, label="change of balance", cmap=DIVERGING, vmin=-most, vmax=most)
