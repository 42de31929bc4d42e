"""Answers: what is said against what is right, how sure the model is of it, and what a change gains."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from interp.errors import InputError
from interp.numeric import agree, counted
from interp.plots.intervals import with_interval
from interp.plots.style import (
    INK,
    LABEL,
    PALETTE,
    SEQUENTIAL,
    SHADE,
    TICK,
    TITLE,
    in_percent,
    legend_below,
    line_colours,
    new_axes,
    tidy,
)
from interp.plots.written import as_written
from interp.stats.intervals import Interval

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

NONE, OTHER = "none", "other"
"""How an answer that names no option is called, and one that is too rare for a colour of its own."""

ALL = "all"
"""The relation of all samples together."""

MOST = 10  # answers with a colour of their own
_MARKS = (("o", INK), ("s", PALETTE[0]), ("^", PALETTE[2]), ("v", PALETTE[1]), ("D", PALETTE[3]))
_GREYS = {OTHER: "#9a9a9a", NONE: "#d0d0d0"}


@as_written
def plot_answers_by_alpha(table: pd.DataFrame, ax: Axes | None = None, *, x: str = "alpha") -> Axes:
    """Draw which answers are given at each alpha, as stacked shares, beside the shares that are right (`gold`).

    A lean towards one option, and whether an alpha only exchanges it for another, shows here.

    Args:
        table: one row per sample and alpha, with columns `alpha`, `gold` and `predicted` (missing: names no option).
        ax: where to draw; made if None.
        x: what the horizontal axis is called.

    Example:
        >>> plot_answers_by_alpha(rows_under(sweep_alphas(vlm, samples)))

    Raises:
        InputError: a column is missing, or the table is empty.
    """
    _require(table, "answers by alpha", "alpha", "gold", "predicted")
    said = table["predicted"].astype(object).where(table["predicted"].notna(), NONE)
    order = [name for name in dict.fromkeys([*table["gold"], *said]) if name != NONE]
    counts = {name: int((said == name).sum() + (table["gold"] == name).sum()) for name in order}
    kept = set(sorted(order, key=lambda name: -counts[name])[:MOST])
    named = [name for name in order if name in kept]
    alphas = sorted(table["alpha"].unique())
    bars = [table["gold"][table["alpha"] == alphas[0]], *(said[table["alpha"] == alpha] for alpha in alphas)]
    places = np.array([-1.4, *range(len(alphas))])
    ax = new_axes(ax, (6.6, 4.4))
    colours = {**dict(zip(named, line_colours(len(named)), strict=True)), **_GREYS}
    bottom = np.zeros(len(bars))
    for name, colour in colours.items():
        heights = np.array([_share(bar, name, kept) for bar in bars])
        if heights.any():
            ax.bar(places, heights, 0.8, bottom=bottom, color=colour, label=name, edgecolor="white", linewidth=0.6)
        bottom += heights
    ax.set_xticks(places, ["gold", *(f"{alpha:g}" for alpha in alphas)])
    ax.axvline(-0.7, color=INK, linewidth=0.8, linestyle=":")
    _percent(ax, (0, 1))
    tidy(ax, title=f"What is answered (n = {len(bars[0])})", x=x, y="share of the answers")
    legend_below(ax, columns=5)
    return ax


@as_written
def plot_confidence_by_relation(
    table: pd.DataFrame, ax: Axes | None = None, *, relations: Sequence[str] | None = None, level: float = 0.95
) -> Axes:
    """Draw accuracy and confidence of each relation: all answers, the right and the wrong ones, and the right option's.

    Args:
        table: one row per relation and measure, with columns `relation` (`all` for all samples), `measure`, `n`,
            `value`, `low` and `high`, as `interp.answers.calibration.confidence_by_relation` makes it; the first
            measure of a relation says how many samples it has.
        ax: where to draw; made if None.
        relations: which to draw beside `all`; by default every one.
        level: the coverage that the intervals have, for the axis' name.

    Example:
        >>> plot_confidence_by_relation(confidence_by_relation(answers[answers["policy"] == "baseline"]))

    Raises:
        InputError: a column is missing, or the table is empty.
    """
    _require(table, "confidence by relation", "relation", "measure", "n", "value", "low", "high")
    names = [name for name in dict.fromkeys(table["relation"]) if name != ALL]
    names = [ALL, *(names if relations is None else relations)] if len(names) > 1 else [ALL]  # a single one is `all`
    ax = new_axes(ax, (max(6.6, 1.1 * len(names) + 1), 4.4))
    measures = list(dict.fromkeys(table["measure"]))
    for place, (measure, (marker, colour)) in enumerate(zip(measures, _MARKS, strict=False)):
        own = table[table["measure"] == measure].set_index("relation").reindex(names)
        x = np.arange(len(names)) + 0.14 * (place - (len(measures) - 1) / 2)
        found = [Interval(*ends) for ends in own[["value", "low", "high"]].to_numpy(dtype=float)]
        _points(ax, x, found, colour=colour, marker=marker, label=measure)
    counts = table[table["measure"] == measures[0]].set_index("relation")["n"]
    turned: dict[str, Any] = {"rotation": 45, "ha": "right"} if len(names) > 9 else {}
    ax.set_xticks(range(len(names)), [f"{name}\nn = {counts[name]}" for name in names], **turned)
    ax.set_xlim(-0.5, len(names) - 0.5)
    for edge in range(1, len(names)):
        ax.axvline(edge - 0.5, color=SHADE, linewidth=0.8)
    _percent(ax, (0, 1.02))
    drawn = table[table["relation"].isin(names)]["low"]
    named = with_interval("share or mean", drawn, level=level)
    tidy(ax, title="Accuracy and confidence by relation", y=named)
    legend_below(ax, columns=3)
    return ax


@as_written
def plot_gains(
    table: pd.DataFrame,
    ax: Axes | None = None,
    *,
    label: str = "setting",
    group: str | None = None,
    title: str = "Gain over the untouched model",
    level: float = 0.95,
) -> Axes:
    """Draw differences of accuracy with their intervals, in points, one line per setting, about a line of no gain.

    Args:
        table: a table with columns `label` and `group`, and `difference`, `low` and `high` as fractions.
        ax: where to draw; made if None.
        label: the column with what stands at the vertical axis, top to bottom in the table's order.
        group: a column whose values are drawn in colours of their own, such as the relation.
        title: the title of the axes.
        level: the coverage that the intervals have, for the axis' name.

    Example:
        >>> plot_gains(evaluation.settings)

    Raises:
        InputError: a column is missing, or the table is empty.
    """
    _require(table, "gains", label, "difference", "low", "high", *([] if group is None else [group]))
    names = list(dict.fromkeys(table[label]))
    groups = [None] if group is None else list(dict.fromkeys(table[group]))
    height = max(2.4, 1.2 + 0.16 * len(names) * (len(groups) + 1))
    ax = new_axes(ax, (7.2, height))
    for place, (one, colour) in enumerate(zip(groups, line_colours(len(groups)), strict=True)):
        own = table if one is None else table[table[group] == one]
        middle = np.array([names.index(name) for name in own[label]]) + 0.8 * ((place + 0.5) / len(groups) - 0.5)
        found = [Interval(*ends) for ends in 100 * own[["difference", "low", "high"]].to_numpy(dtype=float)]
        _points(ax, middle, found, colour=colour, marker="o", label="" if one is None else str(one), across=True)
    for edge in range(1, len(names)):
        ax.axhline(edge - 0.5, color=SHADE, linewidth=0.8)
    ax.axvline(0, color=INK, linewidth=1)
    tidy(ax, title=title, x=with_interval("points of accuracy", table["low"], level=level))
    ax.yaxis.grid(False)
    ax.xaxis.grid(True, color=SHADE, linewidth=0.8)
    ax.set_yticks(range(len(names)), [str(name) for name in names])
    ax.set_ylim(len(names) - 0.5, -0.5)
    if group is not None:
        ax.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), fontsize=TICK, frameon=False, labelcolor=INK)
    return ax


@as_written
def plot_reliability(table: pd.DataFrame, ax: Axes | None = None, *, level: float = 0.95) -> Axes:
    """Draw accuracy against confidence: on the diagonal, confidence says how often an answer is right.

    Args:
        table: one row per bin of confidence, with columns `confidence` (mean), `accuracy`, `low`, `high` and `n`.
        ax: where to draw; made if None.
        level: the coverage that the intervals have, for the axis' name.

    Example:
        >>> plot_reliability(calibration(answers).bins)

    Raises:
        InputError: a column is missing, or the table is empty.
    """
    _require(table, "reliability", "confidence", "accuracy", "low", "high", "n")
    ax = new_axes(ax, (4.8, 4.6))
    ax.plot([0, 1], [0, 1], color=INK, linewidth=1, linestyle="--", label="calibrated")
    found = [Interval(*ends) for ends in table[["accuracy", "low", "high"]].to_numpy(dtype=float)]
    fewest, most = int(table["n"].min()), int(table["n"].max())
    each = f"{fewest}" if fewest == most else f"{fewest} to {most}"
    name = f"{counted(len(table), 'bin')} of {each} {agree(most, 'sample', 'samples')}"
    x = table["confidence"].to_numpy(dtype=float)
    ax.plot(x, [one.estimate for one in found], color=PALETTE[0], linewidth=1.2)
    _points(ax, x, found, colour=PALETTE[0], marker="o", label=name)
    _percent(ax, (-0.02, 1.02))
    ax.set_xlim(-0.02, 1.02)
    in_percent(ax.xaxis)
    ax.set_aspect("equal")
    named = with_interval("accuracy", table["low"], level=level)
    tidy(ax, title="Is confidence right?", x="mean confidence in the bin", y=named)
    legend_below(ax)
    return ax


@as_written
def plot_confusion(matrix: pd.DataFrame, ax: Axes | None = None, *, title: str = "") -> Axes:
    """Draw how often each right answer (down) was answered with what (across): counts, and shares of the row as colour.

    Args:
        matrix: counts; index and columns are answers.
        ax: where to draw; made if None.
        title: the title of the axes.

    Example:
        >>> plot_confusion(confusion(answers), title="baseline")

    Raises:
        InputError: the matrix is empty, or a count is negative.
    """
    counts = matrix.to_numpy(dtype=float)
    if not counts.size or not (counts >= 0).all():
        raise InputError(f"the confusion matrix has shape {counts.shape} or negative values: give counts of answers")
    ax = new_axes(ax, (1.8 + 0.62 * counts.shape[1], 1.4 + 0.5 * counts.shape[0]))
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    ax.imshow(shares, cmap=SEQUENTIAL, vmin=0, vmax=1, aspect="auto", interpolation="nearest")
    for (row, column), share in np.ndenumerate(shares):
        ink = "white" if share < 0.6 else INK
        ax.text(column, row, f"{counts[row, column]:g}", ha="center", va="center", fontsize=TICK, color=ink)
    ax.set_xticks(range(counts.shape[1]), [str(name) for name in matrix.columns], rotation=45, ha="right")
    ax.set_yticks(range(counts.shape[0]), [str(name) for name in matrix.index])
    ax.tick_params(labelsize=TICK, colors=INK)
    ax.set_title(title, fontsize=TITLE, loc="left", color=INK)
    ax.set_xlabel("answered", fontsize=LABEL, color=INK)
    ax.set_ylabel("right answer", fontsize=LABEL, color=INK)
    return ax


def _points(
    ax: Axes,
    places: np.ndarray,
    found: Sequence[Interval],
    *,
    colour: Any,
    marker: str,
    label: str,
    across: bool = False,
) -> None:
    """Estimates with their intervals; `across` has them along the horizontal axis."""
    values = np.array([[one.estimate, one.low, one.high] for one in found], dtype=float)
    if np.isnan(values[:, 0]).all():
        return
    ends = np.abs(values[:, 1:] - values[:, :1]).T
    x, y = (values[:, 0], places) if across else (places, values[:, 0])
    bars = {"xerr" if across else "yerr": np.nan_to_num(ends)}
    ax.errorbar(x, y, **bars, fmt=marker, color=colour, markersize=5, elinewidth=1.3, capsize=0, label=label or None)


def _share(answers: pd.Series, name: str, kept: set[str]) -> float:
    """The share of one answer; of all that have no name of their own for `other`."""
    rare = ~answers.isin([*kept, NONE])
    return float((rare if name == OTHER else answers == name).mean())


def _percent(ax: Axes, limits: tuple[float, float]) -> None:
    """A vertical axis of percentages."""
    ax.set_ylim(*limits)
    in_percent(ax.yaxis)


def _require(table: pd.DataFrame, what: str, *columns: str) -> None:
    """Refuse a table that lacks columns or rows."""
    missing = [name for name in columns if name not in table.columns]
    if missing or table.empty:
        raise InputError(f"{what} was given {len(table)} rows without {missing}: give rows with {', '.join(columns)}")
