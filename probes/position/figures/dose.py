"""Figures of doses: what image tokens of other lengths do to a trained model, against how long they are made."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from interp.errors import InputError
from interp.plots.intervals import named_intervals
from interp.plots.style import INK, PALETTE, SHADE, TICK, cut_short, draw_band, legend_below, new_axes, new_grid, tidy
from interp.plots.written import as_written

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

AXES = {
    "scale": "image tokens' length times (log scale)",
    "clip": "image tokens cut to at most this length (log scale)",
    "target": "image tokens brought to this length (log scale)",
}
"""What the axis of each kind of dose is called."""

NAMES = {
    "accuracy": "accuracy in order",
    "permuted": "accuracy permuted, mean over seeds",
    "drop": "accuracy lost when permuted",
    "changed": "answers changed by permuting",
    "psi": "PSI (paper)",
    "psi_corrected": "index against chance",
    "psi_position_alone": "PSI of position alone",
    "confidence": "confidence",
    "confidence_right": "of right answers",
    "confidence_wrong": "of wrong answers",
    "median_norm": "median length of image tokens",
    "image_mass": "attention on the image",
    "abs_delta_g_v": "|delta g_V|",
    "delta_alpha_v": "delta alpha_V",
}
"""What a line of each measure is called."""

PANELS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "accuracy": ("Accuracy", "share of right answers", ("accuracy", "permuted")),
    "psi": ("Position sensitivity index", "share of accuracy lost", ("psi", "psi_corrected", "psi_position_alone")),
    "rope": ("RoPE sensitivity", "|change of image logits| per position", ("abs_delta_g_v",)),
    "confidence": (
        "Confidence", "probability of the first token", ("confidence", "confidence_right", "confidence_wrong")
    ),
}  # fmt: skip
"""By panel, its title, the label of its axis, and the measures that it draws."""

UNTRAINED = "Image tokens of other lengths in a trained model: nothing was trained for them, and no method of the paper"

REFERENCE = "psi_position_alone"
"""The measure of another model, drawn without its interval."""

COLOURS = (INK, PALETTE[1], PALETTE[0])


@as_written
def draw_doses(
    measures: pd.DataFrame, kind: str, *, chance: float | None = None, level: float | None = None
) -> np.ndarray:
    """Draw accuracy, PSI, RoPE sensitivity and confidence against the doses of one kind, on a new figure.

    Args:
        measures: the columns kind, dose, measure, value, low, high, of one relation.
        kind: which doses.
        chance: share of right answers of a blind guess.
        level: nominal coverage of the intervals, for the legend.

    Returns:
        The four axes.
    """
    axes = new_grid(len(PANELS), columns=2, cell=(4.8, 3.9))
    for ax, (title, label, names) in zip(axes, PANELS.values(), strict=True):
        plot_dose(measures, kind, ax, measures=names, title=title, y=label, level=level)
    if chance is not None:
        axes[0].axhline(chance, color=INK, linewidth=1, linestyle="--", label="chance")
        legend_below(axes[0], *_intervals(measures, kind, PANELS["accuracy"][2], level))
    axes[0].set_ylim(0, 1.02)
    axes[3].set_ylim(0, 1.02)
    axes[0].get_figure().suptitle(UNTRAINED, fontsize=TICK, color=INK)
    return axes


@as_written
def plot_dose(
    table: pd.DataFrame,
    kind: str,
    ax: Axes | None = None,
    *,
    measures: Sequence[str],
    title: str = "Image tokens of other lengths, without training",
    y: str = "",
    level: float | None = None,
) -> Axes:
    """Draw measures against the doses of one kind, log axis, with their intervals as bands; the untouched model marked.

    Where a measure can not be told at a dose, its line has a gap.

    Args:
        table: the columns kind, dose, measure, value, low, high.
        kind: which doses; the untouched model is scale 1.
        ax: where to draw; made if None.
        measures: which measures, a line for each.
        title: of the axes.
        y: what the measures share; the name of the first one by default.
        level: nominal coverage of the intervals, for the legend.

    Raises:
        InputError: there are no doses of this kind.
    """
    own = table[table["kind"] == kind]
    doses = np.array(sorted(own["dose"].unique()))
    if not len(doses):
        raise InputError(f"kind={kind!r}: there are no doses of it, only of {', '.join(table['kind'].unique())}")
    ax = new_axes(ax, (5.0, 3.8))
    ax.set_xscale("log")
    for measure, colour in zip(measures, COLOURS, strict=False):
        line = own[own["measure"] == measure].set_index("dose").reindex(doses)
        if line["value"].isna().all():
            continue
        reference = measure == REFERENCE
        style: dict[str, Any] = {"linestyle": "--", "linewidth": 1.2} if reference else {"marker": "o", "ms": 4}
        ax.plot(doses, line["value"], color=colour, label=NAMES[measure], **style)
        if not reference:
            draw_band(ax, doses, (line["low"].to_numpy(float), line["high"].to_numpy(float)), colour, alpha=0.15)
    if not ax.get_lines():
        ax.text(0.5, 0.5, "can not be told", transform=ax.transAxes, ha="center", fontsize=TICK, color=INK)
    _mark_untouched(ax, table, kind, measures[0])
    ax.set_xticks(doses, [f"{dose:g}" for dose in doses])
    ax.minorticks_off()
    tidy(ax, title=title, x=AXES[kind], y=y or NAMES[measures[0]])
    legend_below(ax, *_intervals(table, kind, measures, level))
    return ax


def _intervals(table: pd.DataFrame, kind: str, measures: Sequence[str], level: float | None) -> list[Artist]:
    """What the bands are, where there are any: they draw groups, and permutations where tokens are permuted."""
    own = table[(table["kind"] == kind) & table["measure"].isin(measures) & (table["measure"] != REFERENCE)]
    return named_intervals(own["low"], level=level)


def _mark_untouched(ax: Axes, table: pd.DataFrame, kind: str, measure: str) -> None:
    """A line up at scale 1; among lengths, which it is none of, a line across at what it has of the first measure."""
    style: dict[str, Any] = {"color": INK, "linewidth": 0.9, "linestyle": (0, (1, 2)), "zorder": 0.5}
    if kind == "scale":
        ax.axvline(1, label="untouched", **style)
        return
    own = table[(table["kind"] == "scale") & (table["dose"] == 1) & (table["measure"] == measure)]
    for value in own["value"]:
        ax.axhline(value, label=f"untouched, {NAMES[measure]}", **style)


@as_written
def draw_photo(curves: Sequence[pd.DataFrame], answers: pd.DataFrame, kind: str) -> np.ndarray:
    """Draw confidence with the answers, attention on the image and RoPE sensitivity of one photo, by dose.

    Args:
        curves: for each panel the columns kind, dose, measure, value, low, high of one measure.
        answers: the columns kind, dose, text and confidence.
        kind: which doses.

    Returns:
        One axes for each curve.
    """
    axes = new_grid(len(curves), columns=2, cell=(4.8, 3.7))
    titles = ("Confidence, and the answers", "Attention on the image", "RoPE sensitivity", "RoPE sensitivity")
    for ax, curve, title in zip(axes, curves, titles, strict=True):
        plot_dose(curve, kind, ax, measures=(str(curve["measure"].iloc[0]),), title=title)
    for row in answers[answers["kind"] == kind].itertuples():
        axes[0].annotate(cut_short(row.text or "(nothing)", 14), (row.dose, row.confidence), xytext=(0, 7),
                         textcoords="offset points", ha="center", fontsize=TICK, color=INK)  # fmt: skip
    axes[0].set_ylim(0, 1.15)
    axes[0].set_ylabel("probability of the first token")
    axes[3].axhline(0, color=SHADE, linewidth=1)
    axes[0].get_figure().suptitle(UNTRAINED, fontsize=TICK, color=INK)
    return axes
