"""Figures of an evaluation: accuracy before and after beside random sets, and by dose."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from interp.errors import InputError
from interp.plots.intervals import interval_name, named_intervals
from interp.plots.style import INK, PALETTE, SHADE, in_percent, legend_below, new_axes, tidy
from interp.plots.written import as_written
from probes.heads.evaluation.arms import COUNT, DRAWN, FACTOR, LOWEST, OTHER, TESTED, UNTOUCHED

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

BAND = "#9a9a9a"
"""The colour of what random sets do."""

WIDE = 0.34
"""Half the width of the band of a set, in places of the axis."""

APART = 0.015
"""How far curves stand apart, as a share of the axis."""

MARKS = {LOWEST: ("v", "lowest scores", -1), OTHER: ("s", "heads of other functions", 1)}
"""Mark, name and side of the bar of controls of which there are no draws."""

DOSES = {
    COUNT: ("Accuracy by number of edited heads", "heads, strongest first"),
    FACTOR: ("Accuracy by factor", "factor"),
}
"""Title and axis of each dose curve."""


@as_written
def plot_sets(arms: pd.DataFrame, ax: Axes | None = None, *, level: float | None = None) -> Axes:
    """Draw accuracy with each tested set edited, with intervals, before the least to the most of its random sets.

    Args:
        arms: the table of a `HeadEvaluation`.
        ax: where to draw; made if None.
        level: nominal coverage of the intervals, for the legend.
    """
    tested = arms[(arms["role"] == TESTED) & (arms["dose"] == "")]
    ax = new_axes(ax, (max(4.6, 2.4 + 1.2 * len(tested)), 4.0))
    named: set[str] = set()
    before = arms[arms["role"] == UNTOUCHED].iloc[0]
    ax.axhline(before["accuracy"], color=INK, linewidth=1.2, label="untouched")
    name = f"untouched, {interval_name(level)}"
    ax.axhspan(before["accuracy_low"], before["accuracy_high"], color=SHADE, linewidth=0, zorder=0, label=name)
    if np.isfinite(before["chance"]):
        ax.axhline(before["chance"], color=INK, linewidth=1, linestyle=":", label="chance")
    for place, (_, row) in enumerate(tested.iterrows()):
        own = arms[(arms["of"] == row["of"]) & (arms["dose"] == "")]
        ends = [[row["accuracy"] - row["accuracy_low"]], [row["accuracy_high"] - row["accuracy"]]]
        ax.bar(place, row["accuracy"], 2 * WIDE, color=PALETTE[0], alpha=0.85, label=_once("edited", named), zorder=2)
        ax.errorbar(place, row["accuracy"], np.clip(ends, 0, None), color=INK, capsize=3, linewidth=1.2, zorder=4)
        drawn = own[own["role"].isin(DRAWN)]["accuracy"]
        if len(drawn):
            span = max(float(drawn.max() - drawn.min()), 0.006)  # so that draws that are all alike can be seen
            label = _once("random controls, least to most", named)
            ax.bar(
                place, span, 2 * WIDE + 0.12, bottom=float(drawn.min()), color=BAND, alpha=0.6, label=label, zorder=3
            )
        for role, (mark, what, side) in MARKS.items():
            there = own[own["role"] == role]["accuracy"]
            if len(there):
                x = np.full(len(there), place + side * (WIDE - 0.06))
                ax.plot(x, there, mark, ms=6, color=PALETTE[1], label=_once(what, named), zorder=5)
    ax.set_xticks(range(len(tested)), [f"{row['arm']}\n{row['verdict']}" for _, row in tested.iterrows()])
    ax.set_xlim(-0.7, len(tested) - 0.3)
    ax.set_ylim(0, 1.04)
    in_percent(ax.yaxis)
    tidy(ax, title="Accuracy with heads edited", y="right by the strict rule")
    legend_below(ax, *named_intervals(tested["accuracy_low"], level=level, over="groups", bars=True), columns=2)
    return ax


@as_written
def plot_doses(
    doses: pd.DataFrame,
    ax: Axes | None = None,
    *,
    dose: str = COUNT,
    untouched: float | None = None,
    level: float | None = None,
) -> Axes:
    """Draw accuracy by dose, a line with intervals for each tested set, and the band of its random sets.

    Args:
        doses: the dose curves of a `HeadEvaluation`.
        ax: where to draw; made if None.
        dose: `count` or `factor`.
        untouched: the accuracy with nothing edited.
        level: nominal coverage of the intervals, for the legend.

    Raises:
        InputError: no such dose, or no curve of it.
    """
    if dose not in DOSES:
        raise InputError(f"dose={dose!r:.40} is not known: use one of {', '.join(DOSES)}")
    own = doses[doses["dose"] == dose]
    if own.empty:
        asked = "doses=(1, 2, 4)" if dose == COUNT else "factors=(0, 0.25, 0.5)"
        raise InputError(f"there is no dose curve over the {dose}: ask for one with {asked}")
    ax = new_axes(ax, (5.6, 4.0))
    apart = APART * float(own["at"].max() - own["at"].min())
    for number, (name, curve) in enumerate(own.groupby("of", sort=False)):
        colour = PALETTE[number % len(PALETTE)]
        at = curve["at"] + (number - (own["of"].nunique() - 1) / 2) * apart  # so that none hides another
        known, at_known = curve[curve["sets"] > 0], at[curve["sets"] > 0]
        ax.fill_between(at_known, known["random_least"], known["random_most"], color=colour, alpha=0.15, linewidth=0)
        ax.plot(at_known, known["random"], "--", color=colour, linewidth=1.2, label=f"{name}: random sets")
        ends = np.stack([curve["accuracy"] - curve["accuracy_low"], curve["accuracy_high"] - curve["accuracy"]])
        ax.errorbar(
            at, curve["accuracy"], ends.clip(min=0), fmt="o-", ms=4, capsize=2, linewidth=1.8, color=colour,
            label=str(name),
        )  # fmt: skip
    if untouched is not None:
        ax.axhline(untouched, color=INK, linewidth=1, linestyle=":", label="untouched")
    if dose == COUNT:
        ax.set_xticks(sorted({int(one) for one in own["at"]}))
    ax.set_ylim(-0.02, 1.04)
    in_percent(ax.yaxis)
    title, label = DOSES[dose]
    tidy(ax, title=title, x=label, y="right by the strict rule")
    legend_below(ax, *named_intervals(own["accuracy_low"], level=level, over="groups", bars=True), columns=2)
    return ax


def _once(name: str, named: set[str]) -> str:
    """A name for the legend, the first time that it is asked for."""
    label = "_nolegend_" if name in named else name
    named.add(name)
    return label
