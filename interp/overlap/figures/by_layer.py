"""Overlap by layer: how well attention agrees with the boxes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.lines import Line2D

from interp.errors import InputError
from interp.layers import HEAD_MEAN
from interp.numeric import mean_of_known
from interp.overlap.figures.study import name_axis
from interp.overlap.map_measures import MAP_MEASURES
from interp.overlap.measures import MEASURES
from interp.overlap.overlap import EVEN_COLUMNS, Overlap
from interp.overlap.regions import UNION
from interp.plots.intervals import named_intervals
from interp.plots.layers import answer_groups, by_layer, check_depth, is_frame, over_steps
from interp.plots.style import (
    INK,
    PALETTE,
    layer_axis,
    legend_below,
    mean_with_band,
    name_count,
    name_layers,
    new_axes,
    tidy,
)
from interp.plots.written import as_written

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

_AT_MOST_ONE = ("hit", "hit_near", "auroc", "precision")

_CONTRAST = " minus "  # in the name of a region that is a difference of two


@as_written
def plot_overlap_by_layer(
    overlaps: Overlap | Sequence[Overlap] | pd.DataFrame,
    ax: Axes | None = None,
    *,
    measure: str = "cosine",
    region: str = UNION,
    normalisation: str = "image",
    correct: Mapping[str, bool] | Sequence[bool] | None = None,
    seed: int = 0,
    level: float = 0.95,
) -> Axes:
    """Draw how head-averaged attention agrees with the boxes, by layer, with a bootstrap band over samples.

    The dotted line is what evenly spread attention scores on the same boxes; measures of the map alone have none.
    A sample counts in every layer in which the measure is defined; the legend says in how many it is not (no box was
    seen, or there is no attention).

    Args:
        overlaps: one overlap, several of the same model, or their tables from `to_dataframe`, concatenated.
        ax: the axes to draw on; made if None.
        measure: one of `interp.overlap.measures.MEASURES`, or of `interp.overlap.map_measures.MAP_MEASURES`, which have
            no region.
        region: a region's name, or that of a contrast; the union of the boxes by default.
        normalisation: the normalisation of the attention, one that was measured.
        correct: marks of right answers, by sample id or in the order of the samples: two lines, right and wrong.
        seed: the seed of the bootstrap.
        level: the coverage of the band.

    Example:
        >>> plot_overlap_by_layer(overlaps, correct={"scene-0": True, "scene-1": False})

    Raises:
        InputError: there is no sample, a name is not known, numbers of layers differ, or `correct` does not fit.
    """
    _check_measure(measure, region)
    ids, table, even = _overlap_tables(overlaps, measure, region, normalisation)
    defined = np.isfinite(table)
    ax = new_axes(ax, (6.6, 4.2), n_layers=table.shape[1])
    layers = np.arange(table.shape[1])
    lows = []
    for name, chosen, colour in answer_groups(ids, correct):
        kept, label = chosen & defined.any(axis=1), f"{name} ({name_count(defined[chosen])})"
        if kept.any():
            lows.append(mean_with_band(ax, layers, table[kept], colour=colour, label=label, seed=seed, level=level))
            if measure in MEASURES:
                there = np.where(defined[kept], even[kept, None], np.nan)
                ax.plot(layers, mean_of_known(there), color=colour, linewidth=1.2, linestyle=":")
        else:
            ax.plot([], [], color=colour, label=label)
    shade = layer_axis(ax, table.shape[1])
    _value_axis(ax, measure, region)
    where = "boxes of the objects" if region == UNION else region
    title = f"Attention and {where}" if measure in MEASURES else "Attention over the image"
    tidy(
        ax,
        title=f"{title}, head mean{over_steps(overlaps)}",
        x=name_layers(table.shape[1]),
        y=name_axis(measure, normalisation),
    )
    even_line = Line2D([], [], color=INK, linewidth=1.2, linestyle=":", label="evenly spread attention")
    bands = named_intervals(*lows, level=level, colour=PALETTE[0])
    legend_below(ax, *([even_line] if measure in MEASURES else []), *bands, shade)
    return ax


def _check_measure(measure: str, region: str) -> None:
    """Refuse a measure that is not known, and a region for one that is of the map alone."""
    known = (*MEASURES, *MAP_MEASURES)
    if measure not in known:
        raise InputError(f"measure {measure!r} is not known: use one of {', '.join(known)}")
    if measure in MAP_MEASURES and region != UNION:
        raise InputError(f"{measure} is of the map and not of a region: leave out region={region!r}")


def _value_axis(ax: Axes, measure: str, region: str) -> None:
    """From zero where nothing can lie below it; to one for shares of one."""
    if measure != "nss" and _CONTRAST not in region:
        ax.set_ylim(bottom=0, top=1.02 if measure in _AT_MOST_ONE else None)


def _overlap_tables(
    overlaps: Overlap | Sequence[Overlap] | pd.DataFrame, measure: str, region: str, normalisation: str
) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Sample ids, the head mean's measure [sample layer], and what even attention scores [sample]; means over steps."""
    if is_frame(overlaps):
        wanted = {"head": HEAD_MEAN, "region": region, "normalisation": normalisation}
        for column, value in wanted.items():
            overlaps = overlaps[overlaps[column] == value]
        table = by_layer(overlaps, measure)
        even = (
            by_layer(overlaps, EVEN_COLUMNS[measure]).mean(axis=1)
            if measure in MEASURES
            else np.full(len(table), np.nan)
        )
        return list(overlaps["sample"].unique()), table, even
    every = [overlaps] if isinstance(overlaps, Overlap) else list(overlaps)
    found = [one.values(measure, region=region, normalisation=normalisation)[:, HEAD_MEAN] for one in every]
    check_depth([len(one) for one in found])
    table = np.array([one.mean(axis=1) if one.ndim == 2 else one for one in found])
    even = np.array([_even(one, measure, region, normalisation) for one in every])
    return [one.sample_id for one in every], table, even


def _even(one: Overlap, measure: str, region: str, normalisation: str) -> float:
    """What even attention scores; NaN for a measure of the map alone."""
    return one.even_score(measure, region=region, normalisation=normalisation) if measure in MEASURES else np.nan
