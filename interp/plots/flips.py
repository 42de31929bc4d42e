"""Which layers carry a changed answer: over many samples, and in one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.patches import Patch, Rectangle

from interp.errors import InputError
from interp.numeric import percentage
from interp.plots.intervals import with_interval
from interp.plots.style import (
    INK,
    PALETTE,
    SHADE,
    TICK,
    cut_wide,
    in_percent,
    integer_ticks,
    layer_axis,
    legend_below,
    new_axes,
    tidy,
)
from interp.plots.written import as_written

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from interp.stats.intervals import Interval

SAME, OTHER = PALETTE[1], PALETTE[4]
_STYLES = ("--", "-.", ":")


@as_written
def plot_flips_by_layer(
    table: pd.DataFrame,
    ax: Axes | None = None,
    *,
    references: Mapping[str, Interval] | None = None,
    level: float = 0.95,
) -> Axes:
    """Draw how often an intervention in some layers only gives the answer that it gives in all layers.

    Args:
        table: one row per kind of window and layer, with columns `kind`, `layer`, `n`, `share`, `low` and `high`. Rows
            of all layers at once have layer -1 and are not drawn: they are for `references`.
        ax: where to draw; made if None.
        references: what the same is for controls, by name, drawn as level lines with their intervals shaded.
        level: the coverage that the intervals have, for the axis' name.

    Example:
        >>> plot_flips_by_layer(flips.carried(), references={"amount alone": flips.of(AMOUNT)})

    Raises:
        InputError: a column is missing, the table is empty, or a kind has not one row for each layer.
    """
    missing = {"kind", "layer", "n", "share", "low", "high"} - set(table.columns)
    own = table if missing else table[table["layer"] >= 0]
    if own.empty or missing:
        raise InputError(f"{len(table)} rows without {sorted(missing)} were given: give one per window of layers")
    table, depth = own, int(own["layer"].max()) + 1
    if any(sorted(rows["layer"]) != [*range(depth)] for _, rows in table.groupby("kind")):
        raise InputError(f"kinds of windows do not have one row for each layer from 0 to {depth - 1}: give all layers")
    ax = new_axes(ax, (6.6, 4.4), n_layers=depth)
    for (kind, rows), colour in zip(table.groupby("kind", sort=False), PALETTE, strict=False):
        own = rows.sort_values("layer")
        ax.plot(own["layer"], own["share"], color=colour, linewidth=1.8, marker="o", markersize=3.6, label=str(kind))
        ax.fill_between(own["layer"], own["low"], own["high"], color=colour, alpha=0.15, linewidth=0)
    for (name, found), style in zip((references or {}).items(), _STYLES, strict=False):
        ax.axhline(
            found.estimate, color=INK, linewidth=1.3, linestyle=style, label=f"{name}: {percentage(found.estimate, 0)}%"
        )
        ax.axhspan(found.low, found.high, color=INK, alpha=0.07, linewidth=0)
    shade = layer_axis(ax, depth)
    ax.set_ylim(-0.02, 1.02)
    in_percent(ax.yaxis)
    title = f"Which layers carry it: {int(table['n'].max())} samples whose answer changes"
    named = with_interval("same changed answer", table["low"], level=level, kind="Wilson band")
    tidy(ax, title=title, x=f"l, layer (0-based, of {depth})", y=named)
    legend_below(ax, shade)
    return ax


@as_written
def plot_one_flip(
    answers: Mapping[str, Sequence[str]], before: str, after: str, ax: Axes | None = None, *, title: str = ""
) -> Axes:
    """Draw what one sample answers where an intervention acts in some layers only.

    Args:
        answers: the answer for each layer, by kind of window.
        before: the untouched answer, left pale.
        after: the answer under the whole intervention, coloured; any third one is marked otherwise.
        ax: where to draw; made if None.
        title: the title of the axes.

    Example:
        >>> plot_one_flip({"only layer l": ["left", "left", "right"]}, "left", "right")

    Raises:
        InputError: there is no answer, or kinds have different numbers of layers.
    """
    depths = {len(row) for row in answers.values()}
    if len(depths) != 1 or depths == {0}:
        raise InputError(f"answers of {sorted(depths)} layers were given: give one for each layer and kind")
    [depth] = depths
    ax = new_axes(ax, (6.6, 1.8))
    for row, texts in enumerate(answers.values()):
        for layer, text in enumerate(texts):
            colour = SHADE if text == before else SAME if text == after else OTHER
            ax.add_patch(Rectangle((layer - 0.46, row - 0.42), 0.92, 0.84, facecolor=colour, linewidth=0))
            ax.text(
                layer,
                row,
                cut_wide(text, 6) or "–",
                ha="center",
                va="center",
                fontsize=TICK - 2,
                color=INK,
                parse_math=False,
            )
    ax.set(xlim=(-0.5, depth - 0.5), ylim=(len(answers) - 0.5, -0.5))
    ax.set_yticks(np.arange(len(answers)), list(answers))
    integer_ticks(ax.xaxis, depth)
    tidy(ax, x=f"l, layer (0-based, of {depth})")
    ax.set_title(title, fontsize=TICK + 1, loc="left", color=INK, parse_math=False)
    ax.yaxis.grid(False)
    names = {SHADE: f"as untouched: {before or '–'}", SAME: f"as in all layers: {after or '–'}", OTHER: "another"}
    shown = [Patch(facecolor=colour, label=cut_wide(name, 40)) for colour, name in names.items()]
    for entry in legend_below(ax, *shown, columns=3).get_texts():
        entry.set_parse_math(False)
    return ax
