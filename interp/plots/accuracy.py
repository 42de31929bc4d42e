"""Accuracy against alpha, by relation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from interp.errors import InputError
from interp.plots.style import INK, TICK, legend_below, line_colours, new_axes, tidy
from interp.stats import wilson

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes


def plot_accuracy_by_alpha(
    table: pd.DataFrame,
    ax: Axes | None = None,
    *,
    level: float = 0.95,
    chance: float | None = None,
    references: Mapping[str, float] | None = None,
) -> Axes:
    """Draw accuracy against alpha with Wilson bands: all samples, and each relation if the table has any.

    Args:
        table: one row per sample and alpha, with columns `alpha`, `correct` (bool) and, if wanted, `relation`.
        ax: where to draw; made if None.
        level: coverage of the bands.
        chance: accuracy of a guess, drawn as a line.
        references: other accuracies to draw as lines, by name, such as that of AdaptVis.

    Example:
        >>> plot_accuracy_by_alpha(table, chance=0.25, references={"AdaptVis": 0.87})

    Raises:
        InputError: a column is missing, the table is empty, or an alpha is not finite.
    """
    missing = {"alpha", "correct"} - set(table.columns)
    if missing or table.empty or not np.isfinite(table["alpha"].to_numpy(dtype=float)).all():
        raise InputError(
            f"accuracy by alpha was given {len(table)} rows without {sorted(missing)}: "
            "give rows with columns alpha (finite) and correct"
        )
    ax = new_axes(ax, (6.6, 4.4))
    relations = list(dict.fromkeys(table["relation"])) if "relation" in table else []
    colours = line_colours(len(relations))
    for relation, colour in zip(relations, colours, strict=True):
        _curve(ax, table[table["relation"] == relation], str(relation), colour, level, width=1.4)
    _curve(ax, table, "all", INK, level, width=2.4)
    ax.axvline(1, color=INK, linewidth=0.8, linestyle=":")
    ax.annotate("untouched", (1, 0.015), xycoords=("data", "axes fraction"), xytext=(3, 0), textcoords="offset points",
                fontsize=TICK - 1, color=INK, rotation=90, va="bottom")  # fmt: skip
    for name, value in ({"chance": chance} if chance is not None else {}).items():
        ax.axhline(value, color=INK, linewidth=1, linestyle="--", label=name)
    for (name, value), style in zip((references or {}).items(), ("-.", (0, (3, 1, 1, 1, 1, 1)), "--"), strict=False):
        ax.axhline(value, color=INK, linewidth=1.4, linestyle=style, label=f"{name}: {value:.1%}")
    ax.set_ylim(0, 1.02)
    ax.yaxis.set_major_formatter("{x:.0%}")
    tidy(
        ax,
        title="Accuracy by alpha",
        x="alpha (factor on the image logits of the last prompt row)",
        y=f"accuracy, {level:.0%} Wilson band",
    )
    legend_below(ax, columns=3)
    return ax


def _curve(
    ax: Axes, table: pd.DataFrame, name: str, colour: str | tuple[float, ...], level: float, *, width: float
) -> None:
    """One line with its band."""
    counts = table.groupby("alpha")["correct"].agg(["sum", "count"]).sort_index()
    found = [wilson(int(right), int(n), level) for right, n in counts.itertuples(index=False)]
    alphas = counts.index.to_numpy(dtype=float)
    n = f"{counts['count'].min()}" + ("" if counts["count"].nunique() == 1 else f" to {counts['count'].max()}")
    ax.plot(
        alphas,
        [one.estimate for one in found],
        color=colour,
        linewidth=width,
        marker="o",
        markersize=width * 2,
        label=f"{name} (n = {n})",
    )
    ax.fill_between(
        alphas, [one.low for one in found], [one.high for one in found], color=colour, alpha=0.13, linewidth=0
    )
