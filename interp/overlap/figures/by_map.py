"""Overlap by map: which of several maps of one photo lies on the objects, layer by layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from interp.errors import InputError
from interp.overlap.figures.study import MEASURES
from interp.overlap.overlap import EVEN_COLUMNS
from interp.plots.style import INK, layer_axis, legend_below, line_colours, name_layers, new_grid, tidy
from interp.plots.written import as_written

if TYPE_CHECKING:
    import pandas as pd


@as_written
def plot_overlap_by_map(table: pd.DataFrame, *, measures: Sequence[str] = ("lift", "auroc")) -> np.ndarray:
    """Draw measures of the head mean by layer, a line for each map, beside what an even map scores.

    Args:
        table: what `interp.analysis.token_maps.overlap_by_map` gave: the columns maps, layer, normalisation and a
            column for each measure and for what even attention scores.
        measures: some of `interp.overlap.measures.MEASURES`, a panel for each.

    Returns:
        The axes, one for each measure.

    Raises:
        InputError: a measure is not in the table, or nothing is.
    """
    if missing := [name for name in measures if name not in MEASURES or name not in table.columns]:
        raise InputError(f"measure {missing[0]!r} is not known: use some of {', '.join(EVEN_COLUMNS)}")
    if not len(table):
        raise InputError("there is no map to draw: give a table with some")
    names = list(dict.fromkeys(table["maps"]))
    layers = int(table["layer"].max()) + 1
    panels = new_grid(len(measures), columns=len(measures), cell=(5.6, 4.2))
    for ax, measure in zip(panels, measures, strict=True):
        for name, colour in zip(names, line_colours(len(names)), strict=True):
            own = table[table["maps"] == name].sort_values("layer")
            raw = name == names[0]
            ax.plot(
                own["layer"], own[measure], color=colour, linewidth=2.4 if raw else 1.6, marker="o", ms=3, label=name
            )
        even = table[EVEN_COLUMNS[measure]].iloc[0]
        ax.axhline(even, color=INK, linewidth=1.2, linestyle=":", label="an even map")
        shade = layer_axis(ax, layers)
        tidy(ax, title="Which map lies on the objects", x=name_layers(layers), y=_of_map(measure))
        legend_below(ax, shade, columns=3)
    return panels


def _of_map(measure: str) -> str:
    """What a measure is called along an axis, of a map that need not be attention."""
    return MEASURES[measure].replace("even attention", "an even map").replace("attention", "the map")
