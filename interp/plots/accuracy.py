"""Accuracy against what an intervention is given: its strength, or the confidence at which it takes another one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from interp.errors import InputError
from interp.numeric import percentage
from interp.plots.intervals import with_interval
from interp.plots.style import (
    BELOW,
    INK,
    LABEL,
    PALETTE,
    TICK,
    in_percent,
    legend_below,
    line_colours,
    new_axes,
    tidy,
)
from interp.plots.written import as_written
from interp.stats.clusters import clustered_share, shared_groups

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

STRENGTHS = {
    "mul": ("Accuracy by alpha", "alpha (factor on the image logits of the last prompt row)", 1.0),
    "add": ("Accuracy by added constant", "constant added to the image logits of the last prompt row (nats)", 0.0),
    "temper": (
        "Accuracy by alpha, image's total attention kept",
        "alpha (factor on the image logits of the last prompt row)",
        1.0,
    ),
}
"""For each mode of scaling the title, what the horizontal axis is, and the strength that changes nothing."""

CONTROL = "amount of attention alone"
"""What the matched control is called."""

CONTROLLED = "#7a7a7a"


@as_written
def plot_accuracy_by_alpha(
    table: pd.DataFrame,
    ax: Axes | None = None,
    *,
    mode: str = "mul",
    level: float = 0.95,
    chance: float | None = None,
    references: Mapping[str, float] | None = None,
    control: pd.DataFrame | None = None,
) -> Axes:
    """Draw accuracy against alpha with Wilson bands: all samples, and each relation if the table has several.

    Args:
        table: one row per sample and alpha, with columns `alpha`, `correct` (bool) and, if wanted, `relation`.
        ax: where to draw; made if None.
        mode: what alpha does to the image logits: `mul` (factor), `add` (constant) or `temper` (factor that keeps the
            image's total attention); says how the axis is called and where nothing changes.
        level: coverage of the bands, of as many samples as those of groups (column `group`) are worth.
        chance: accuracy of a guess, drawn as a line.
        references: other accuracies to draw as lines, by name, such as that of AdaptVis.
        control: the same columns under a control of each alpha, drawn dashed for all samples.

    Example:
        >>> plot_accuracy_by_alpha(table, chance=0.25, references={"AdaptVis": 0.87})

    Raises:
        InputError: a column is missing, the table is empty, an alpha is not finite, or the mode is not known.
    """
    if mode not in STRENGTHS:
        raise InputError(f"mode {mode!r} is not known: use one of {', '.join(STRENGTHS)}")
    ax = new_axes(ax, (6.6, 4.4))
    lows = _curves(ax, table, "correct", level, control)
    title, name, neutral = STRENGTHS[mode]
    _upright(ax, neutral, "untouched")
    _level_lines(ax, chance, references)
    tidy(ax, title=title, x=name, y=with_interval("accuracy", lows, level=level, kind="Wilson band"))
    legend_below(ax, columns=3)
    return ax


@as_written
def plot_changed_by_alpha(
    table: pd.DataFrame, ax: Axes | None = None, *, level: float = 0.95, control: pd.DataFrame | None = None
) -> Axes:
    """Draw the share of answers that alpha changes, with Wilson bands: all samples, and each relation if several.

    Args:
        table: one row per sample and alpha, with columns `alpha`, `changed` (bool) and, if wanted, `relation`.
        ax: where to draw; made if None.
        level: coverage of the bands, of as many samples as those of groups (column `group`) are worth.
        control: the same columns under a control of each alpha, drawn dashed for all samples.

    Example:
        >>> plot_changed_by_alpha(table, control=matched)

    Raises:
        InputError: a column is missing, the table is empty, or an alpha is not finite.
    """
    ax = new_axes(ax, (6.6, 4.4))
    lows = _curves(ax, table, "changed", level, control)
    _, name, neutral = STRENGTHS["mul"]
    _upright(ax, neutral, "untouched")
    ax.set_ylim(0, 1.02)
    in_percent(ax.yaxis)
    band = with_interval("share of answers", lows, level=level, kind="Wilson band")
    tidy(ax, title="Answers changed by alpha", x=name, y=band)
    legend_below(ax, columns=3)
    return ax


@as_written
def plot_accuracy_by_threshold(
    table: pd.DataFrame,
    alpha_unsure: float,
    alpha_sure: float,
    ax: Axes | None = None,
    *,
    threshold: float | None = None,
    level: float = 0.95,
    references: Mapping[str, float] | None = None,
) -> Axes:
    """Draw what AdaptVis would reach with each threshold, and how many samples it would take as unsure.

    Exact, and from a sweep alone: a sample below the threshold answers as under `alpha_unsure`, any other as under
    `alpha_sure`, and between two neighbouring confidences nothing changes. Accuracy, at the left, has an axis around
    its own range, and thresholds lie far apart where many samples have their confidence: there it changes.

    Args:
        table: one row per sample and alpha, with columns `id`, `alpha`, `correct` (bool) and `confidence` (of the
            untouched first token, the same in all rows of a sample).
        alpha_unsure: below the threshold.
        alpha_sure: the alpha from the threshold on.
        ax: where to draw; made if None.
        threshold: the chosen one, drawn as a line.
        level: coverage of the Wilson band, of as many samples as those of groups (column `group`) are worth.
        references: other accuracies to draw as lines, by name, such as that of the untouched model.

    Example:
        >>> plot_accuracy_by_threshold(table, 0.5, 1.5, threshold=0.4, references={"untouched": 0.6})

    Raises:
        InputError: a column is missing, or a sample was not asked under one of the alphas.
    """
    edges, rights, unsure, groups = _by_threshold(table, alpha_unsure, alpha_sure)
    found = [clustered_share(right, groups, level=level) for right in rights]
    n = int(unsure[-1])  # below the last threshold all are
    ax = new_axes(ax, (6.6, 4.4))
    ax.step(edges, [one.estimate for one in found], where="post", color=INK, linewidth=2, label=f"accuracy (n = {n})")
    low, high = [one.low for one in found], [one.high for one in found]
    ax.fill_between(edges, low, high, step="post", color=INK, alpha=0.13, linewidth=0)
    beside = ax.twinx()
    (share,) = beside.step(edges, unsure / n, where="post", color=PALETTE[1], linewidth=1.4, label="taken as unsure")
    if threshold is not None:
        _upright(ax, threshold, f"threshold {threshold:g}", top=True)  # the share of unsure samples begins below
    _level_lines(ax, None, references)
    _by_rank(ax, edges, unsure / n)
    _around(ax, [one.estimate for one in found] + [*low, *high, *(references or {}).values()])
    beside.set_ylim(0, 1.02)
    in_percent(beside.yaxis)
    tidy(
        ax,
        title=f"Accuracy by threshold: alpha {alpha_unsure:g} below it, {alpha_sure:g} from it on",
        x="threshold on the confidence in the untouched first token\n(wide where many samples lie)",
        y=with_interval("accuracy", low, level=level, kind="Wilson band"),
    )
    beside.set_ylabel("share of samples taken as unsure", fontsize=LABEL, color=INK)
    beside.tick_params(labelsize=TICK, colors=INK)
    beside.spines["top"].set_visible(False)
    legend_below(ax, share, columns=3, below=BELOW + 0.16)
    return ax


def _by_threshold(
    table: pd.DataFrame, low: float, high: float
) -> tuple[np.ndarray, Iterator[np.ndarray], np.ndarray, np.ndarray | None]:
    """Edges [edge] from where on, in steps, these answers are right [sample] and so many unsure; groups of samples."""
    missing = {"id", "alpha", "correct", "confidence"} - set(table.columns)
    asked = [] if missing else [table[table["alpha"] == alpha].set_index("id") for alpha in (low, high)]
    if (
        missing
        or any(own.empty or not own.index.is_unique for own in asked)
        or set(asked[0].index) ^ set(asked[1].index)
    ):
        raise InputError(
            f"accuracy by threshold was given {len(table)} rows without {sorted(missing)}: give each sample once under "
            f"alpha {low:g} and once under {high:g}, with columns id, alpha, correct and confidence"
        )
    below, above = asked[0], asked[1].reindex(asked[0].index)
    sure = below["confidence"].to_numpy(dtype=float)
    levels, of = np.unique(sure, return_inverse=True)
    rights = below["correct"].to_numpy(dtype=bool), above["correct"].to_numpy(dtype=bool)
    unsure = np.concatenate([[0], np.cumsum(np.bincount(of))])
    # A sample is unsure strictly below the threshold, so a step begins just behind its confidence.
    edges = np.concatenate([[min(0.0, levels[0])], levels, [max(1.0, levels[-1])]])
    steps = np.append(np.arange(len(levels) + 1), len(levels))
    return edges, (np.where(of < step, *rights) for step in steps), unsure[steps], shared_groups(below)


def _by_rank(ax: Axes, edges: np.ndarray, share: np.ndarray) -> None:
    """A horizontal axis on which half of the room goes by thresholds, half by samples below; ticks evenly on it."""
    linear = (edges - edges[0]) / ((edges[-1] - edges[0]) or 1)
    places = (linear + share) / 2 + np.arange(len(edges)) * 1e-9  # two edges may have one place, and then no inverse
    ends: dict[str, Any] = {"left": edges[0], "right": edges[-1]}
    ax.set_xscale("function", functions=(lambda x: np.interp(x, edges, places), lambda x: np.interp(x, places, edges)))
    ax.set_xlim(**ends)
    wanted = np.interp(np.linspace(0, places[-1], 8), places, edges)
    near = 0.2 * np.diff(wanted, prepend=-np.inf, append=np.inf)
    short = (
        next((one for n in range(1, 6) if abs((one := value.round(n)) - value) <= min(near[k], near[k + 1])), value)
        for k, value in enumerate(wanted)
    )
    ticks = np.unique(np.clip([*short], edges[0], edges[-1]))
    ax.set_xticks(ticks, [f"{tick:.5g}" for tick in ticks])


def _around(ax: Axes, values: Sequence[float]) -> None:
    """A vertical axis of shares around these, so that a point of percent can be seen."""
    known = [value for value in values if np.isfinite(value)]
    least, most = min(known), max(known)
    room = 0.08 * max(most - least, 0.05)
    ax.set_ylim(max(0.0, least - room), min(1.0, most + room) + 0.002)


def _upright(ax: Axes, x: float, name: str, *, top: bool = False) -> None:
    """A dotted line at x with its name along it, from below or from the top."""
    ax.axvline(x, color=INK, linewidth=0.8, linestyle=":")
    ax.annotate(name, (x, 0.985 if top else 0.015), xycoords=("data", "axes fraction"), xytext=(3, 0),
                textcoords="offset points", fontsize=TICK - 1, color=INK, rotation=90,
                va="top" if top else "bottom")  # fmt: skip


def _level_lines(ax: Axes, chance: float | None, references: Mapping[str, float] | None) -> None:
    """Lines at given accuracies, and an axis of percentages."""
    if chance is not None:
        ax.axhline(chance, color=INK, linewidth=1, linestyle="--", label="chance")
    for (name, value), style in zip((references or {}).items(), ("-.", (0, (3, 1, 1, 1, 1, 1)), "--"), strict=False):
        ax.axhline(value, color=INK, linewidth=1.4, linestyle=style, label=f"{name}: {percentage(value)}%")
    ax.set_ylim(0, 1.02)
    in_percent(ax.yaxis)


def _curves(ax: Axes, table: pd.DataFrame, column: str, level: float, control: pd.DataFrame | None) -> list[float]:
    """A share of the rows by alpha, for each relation if there are several, for all, and for the control.

    Returns:
        Where the bands begin, NaN where there is none.
    """
    for rows in (table, *([] if control is None else [control])):
        missing = {"alpha", column} - set(rows.columns)
        if missing or rows.empty or not np.isfinite(rows["alpha"].to_numpy(dtype=float)).all():
            what = "accuracy" if column == "correct" else "answers"
            raise InputError(
                f"{what} by alpha was given {len(rows)} rows without {sorted(missing)}: "
                f"give rows with columns alpha (finite) and {column}"
            )
    relations = list(dict.fromkeys(table["relation"])) if "relation" in table else []
    relations = relations if len(relations) > 1 else []
    lows = []
    for relation, colour in zip(relations, line_colours(len(relations)), strict=True):
        lows += _curve(ax, table[table["relation"] == relation], str(relation), colour, level, column, width=1.4)
    lows += _curve(ax, table, "all", INK, level, column, width=2.4)
    if control is not None:
        lows += _curve(ax, control, CONTROL, CONTROLLED, level, column, width=1.8, style="--")
    return lows


def _curve(
    ax: Axes,
    table: pd.DataFrame,
    name: str,
    colour: str | tuple[float, ...],
    level: float,
    column: str,
    *,
    width: float,
    style: str = "-",
) -> list[float]:
    """One line with its band; where this begins."""
    by_alpha = {alpha: own.dropna(subset=[column]) for alpha, own in table.groupby("alpha")}
    found = [clustered_share(own[column].astype(bool), shared_groups(own), level=level) for own in by_alpha.values()]
    alphas, counts = np.array(list(by_alpha), dtype=float), sorted({len(own) for own in by_alpha.values()})
    n = f"{counts[0]}" + ("" if len(counts) == 1 else f" to {counts[-1]}")
    ax.plot(
        alphas,
        [one.estimate for one in found],
        color=colour,
        linewidth=width,
        linestyle=style,
        marker="o",
        markersize=width * 2,
        label=f"{name} (n = {n})",
    )
    lows = [float(one.low) for one in found]
    ax.fill_between(alphas, lows, [one.high for one in found], color=colour, alpha=0.13, linewidth=0)
    return lows
