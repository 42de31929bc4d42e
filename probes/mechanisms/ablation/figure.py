"""Figures of the ordering ablation: accuracy of each arm, by relation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from interp.errors import InputError
from interp.plots.intervals import named_intervals
from interp.plots.legend import legend_beside
from interp.plots.style import INK, PALETTE, TICK, in_percent, new_axes, tidy
from interp.plots.written import as_written

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes


@as_written
def plot_arms(
    measures: pd.DataFrame,
    ax: Axes | None = None,
    *,
    chance: Mapping[str, float] | None = None,
    level: float | None = None,
) -> Axes:
    """Draw the accuracy of each arm with intervals, by relation.

    Args:
        measures: the columns relation, arm, measure, value, low, high, with the measure `accuracy`.
        ax: where to draw; made if None.
        chance: share of right answers of a blind guess, by relation, drawn as dashes.
        level: nominal coverage of the intervals, for the legend.

    Raises:
        InputError: there is no accuracy.
    """
    own = measures[measures["measure"] == "accuracy"]
    if own.empty:
        raise InputError("there is no accuracy to draw: `left_out` says why")
    names, arms = (list(dict.fromkeys(own[column])) for column in ("relation", "arm"))
    ax = new_axes(ax, (max(4.0, 1.4 + 1.1 * len(names)) + 2.1, 3.8))
    for number, (arm, colour) in enumerate(zip(arms, (INK, *PALETTE), strict=False)):
        rows = own[own["arm"] == arm]
        shift = 0.14 * (number - (len(arms) - 1) / 2)
        places = np.array([names.index(name) for name in rows["relation"]]) + shift
        ends = np.stack([rows["value"] - rows["low"], rows["high"] - rows["value"]]).clip(min=0)
        ax.errorbar(places, rows["value"], yerr=ends, fmt="o", ms=5, capsize=3, lw=1.4, color=colour, label=arm)
    for place, name in enumerate(names):
        if name in (chance or {}):
            label = "chance" if place == 0 else "_"
            ax.plot([place - 0.4, place + 0.4], [(chance or {})[name]] * 2, color=INK, ls="--", lw=1, label=label)
    ax.set_ylim(-0.04, 1.04)
    in_percent(ax.yaxis)
    tidy(ax, title="Accuracy with the order of items taken out", y="accuracy")
    ax.set_xticks(range(len(names)), names)
    ax.set_xlim(-0.6, len(names) - 0.4)
    legend_beside(ax, TICK, INK, *named_intervals(own["low"], level=level, over="groups", bars=True))
    return ax
