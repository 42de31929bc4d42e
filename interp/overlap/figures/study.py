"""Figures of an overlap study: right and wrong answers apart, how far above each null, and what was found at all."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from interp.errors import InputError
from interp.numeric import bounded, mean_of_known, named_level
from interp.overlap.map_measures import MAP_MEASURES
from interp.overlap.measures import bounds_of
from interp.overlap.study.coverage import LOOKED_FOR, check_found, count_objects
from interp.overlap.study.means import (
    NULL_LABELS,
    head_mean,
    nulls_of,
    right_of,
)
from interp.plots.intervals import named_intervals
from interp.plots.style import (
    INK,
    PALETTE,
    SHADE,
    TICK,
    draw_band,
    in_percent,
    layer_axis,
    legend_below,
    line_colours,
    name_count,
    name_layers,
    new_axes,
    tidy,
)
from interp.plots.written import as_written
from interp.stats.clusters import clustered_share, group_names, mean_over_groups, ratio_over_groups, shared_groups

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from interp.overlap.study.result import OverlapStudy

MEASURES = {
    "cosine": "cosine of attention and boxes",
    "mass": "attention mass in the boxes",
    "lift": "mass in the boxes / mass of even attention",
    "hit": "pointing game, share of hits",
    "hit_near": "pointing game within one token, share of hits",
    "auroc": "pixel AUROC of attention against the boxes",
    "precision": "average precision of attention against the boxes",
    "nss": "normalised scanpath saliency in the boxes",
    "distance": "centroid to the boxes' centre / diagonal",
    "spatial_entropy": "spatial entropy of the map (nats)",
    "peaks": "peaks of the map",
}
"""What each measure is called along an axis."""

NORMALISED = {
    "image": "attention sums to one over the image",
    "keys": "attention as a share of all keys",
    "no-sinks": "attention sums to one over the image, sinks out",
    "relative": "attention relative to a neutral prompt",
}
"""What each normalisation is called along an axis."""

RIGHT, WRONG = PALETTE[0], PALETTE[1]
_RATIOS = ("cosine", "mass", "hit", "hit_near", "precision")
_DASHES = ((0, (1, 1.2)), (0, (5, 1.6)), (0, (5, 1.5, 1, 1.5)), (0, (2.5, 1.2)), (0, (7, 2, 1, 2, 1, 2)))


@as_written
def plot_overlap_by_answer(
    study: OverlapStudy,
    ax: Axes | None = None,
    *,
    measure: str = "cosine",
    region: str = "union",
    normalisation: str = "image",
    seed: int = 0,
    level: float = 0.95,
) -> Axes:
    """Draw a measure of head-mean attention by layer for right and for wrong answers, with every null of the study.

    Bands are bootstrap intervals of the means over groups (object pairs, photos) where samples share them, and over
    samples otherwise. Nulls are means over all samples that are drawn. A sample counts in every layer in which the
    measure is defined; the legend says in how many it is not (no box, or none that the model saw; no attention there).

    Args:
        study: the study that was measured.
        ax: the axes to draw on; made if None.
        measure: the measure, such as `mass`.
        region: the boxes that it is taken with.
        normalisation: the normalisation of the attention.
        seed: the seed of the bootstrap.
        level: the coverage of the bands.

    Example:
        >>> plot_overlap_by_answer(study, measure="mass").figure.savefig("mass.png")

    Raises:
        InputError: the study is empty, or has no such measure, region or normalisation.
    """
    values = head_mean(study, measure, region=region, normalisation=normalisation)
    right, groups, known = right_of(study.samples), group_names(study.samples), np.isfinite(values)
    ax = new_axes(ax, (6.6, 4.6), n_layers=values.shape[1])
    layers, lows = np.arange(values.shape[1]), []
    bounds = bounds_of(measure, region, normalisation)
    for name, own, colour in (("right", right, RIGHT), ("wrong", ~right, WRONG)):
        label = f"{name} answers ({name_count(known[own][:, study.layers])})"
        ax.plot([], [], color=colour, linewidth=1.8, marker="o", markersize=3.2, label=label)
        if known[own].any():
            around = mean_over_groups(values[own], groups[own], seed=seed, level=level, bounds=bounds)
            ax.plot(layers, around.estimate, color=colour, linewidth=1.8, marker="o", markersize=3.2)
            draw_band(ax, layers, (around.low, around.high), colour)
            lows.append(around.low)
    for name, null in nulls_of(study, measure, region=region, normalisation=normalisation).items():
        means = mean_of_known(np.where(known, null, np.nan))
        style: dict[str, Any] = {"color": _null_colour(name), "linestyle": _dash(name), "marker": ".", "markersize": 3}
        ax.plot(layers, means, linewidth=1.3, label=NULL_LABELS.get(name, name), **style)
    shade = layer_axis(ax, values.shape[1])
    if measure in ("hit", "hit_near"):
        ax.set_ylim(0, 1.02)
    title = f"Overlap by answer: {_of_region(region)}, head mean"
    if measure in MAP_MEASURES:
        title = "Attention over the image by answer, head mean"
    tidy(ax, title=title, x=name_layers(values.shape[1]), y=name_axis(measure, normalisation))
    if not known.any():
        why = "not defined in any sample"
        ax.text(0.5, 0.5, why, transform=ax.transAxes, ha="center", fontsize=TICK, color=INK)
    legend_below(ax, *named_intervals(*lows, level=level, colour=PALETTE[0]), shade)
    return ax


@as_written
def plot_lift_by_layer(
    study: OverlapStudy,
    ax: Axes | None = None,
    *,
    measure: str = "mass",
    region: str = "union",
    normalisation: str = "image",
    seed: int = 0,
    level: float = 0.95,
) -> Axes:
    """Draw how many times more overlap there is than under each null, by layer, head mean; one is no more than it.

    The mean over samples divided by the null's mean over the same samples, in each layer those that have both; both are
    drawn together in the bootstrap, which draws whole groups where samples share them.

    Args:
        study: the study that was measured.
        ax: the axes to draw on; made if None.
        measure: one that is zero where nothing overlaps: `cosine`, `mass`, `hit`, `hit_near` or `precision`.
        region: the boxes that it is taken with.
        normalisation: the normalisation of the attention.
        seed: the seed of the bootstrap.
        level: the coverage of the bands.

    Example:
        >>> plot_lift_by_layer(study, measure="mass")

    Raises:
        InputError: the measure has no natural zero or the study no null for it, or there is nothing to draw.
    """
    if measure not in _RATIOS or region not in ("first", "second", "union"):
        raise InputError(
            f"a ratio of {measure!r} of {region!r} to its null says nothing: use one of {', '.join(_RATIOS)}, of the "
            "first or second object or of the union"
        )
    values = head_mean(study, measure, region=region, normalisation=normalisation)
    nulls = nulls_of(study, measure, region=region, normalisation=normalisation)
    known, groups = np.isfinite(values), group_names(study.samples)
    if not nulls or not known.any():
        raise InputError(f"the study has no null of {measure!r}, or no sample in which it is defined: measure these")
    ax = new_axes(ax, (6.6, 4.4), n_layers=values.shape[1])
    layers, lows = np.arange(values.shape[1]), []
    for (name, null), colour in zip(nulls.items(), line_colours(len(nulls)), strict=True):
        around = ratio_over_groups(values, null, groups, seed=seed, level=level, bounds=(0.0, math.inf))
        label = f"against {NULL_LABELS.get(name, name)}"
        ax.plot(layers, around.estimate, color=colour, linewidth=1.6, marker="o", markersize=3, label=label)
        draw_band(ax, layers, (around.low, around.high), colour)
        lows.append(around.low)
    ax.axhline(1, color=INK, linewidth=1, linestyle="--", label="no more than the null")
    shade = layer_axis(ax, values.shape[1])
    ax.set_ylim(bottom=0)
    title = f"Overlap over its nulls: {_of_region(region)}, head mean ({name_count(known[:, study.layers])})"
    tidy(ax, title=title, x=name_layers(values.shape[1]), y=f"ratio to the null:\n{name_axis(measure, normalisation)}")
    legend_below(ax, *named_intervals(*lows, level=level, colour=PALETTE[0]), shade)
    return ax


@as_written
def plot_coverage(samples: pd.DataFrame, ax: Axes | None = None, *, level: float = 0.95) -> Axes:
    """Draw in how many samples the objects were found, over all answers and over the right and the wrong ones.

    Questions about one object and about two are drawn apart, as shares of those whose objects were looked for; of all
    questions, how many rightly say that something is not there, and how many no object could be read off. Where wrong
    answers lack boxes more often than right ones, what is left to compare is a selection.

    Args:
        samples: a table of one row per sample, with columns `found` (one of `interp.objects.words.KINDS`), `objects`
            (names with `|` between) and, if wanted, `right`.
        ax: the axes to draw on; made if None.
        level: the coverage of the intervals, see `clustered_share`.

    Example:
        >>> plot_coverage(study.samples)

    Raises:
        InputError: the table is empty, lacks `found` or `objects`, or holds another word.
    """
    check_found(samples)
    if not len(samples):
        raise InputError("there is no sample, so there is no coverage to draw: give one row per sample")
    found, numbers = samples["found"].to_numpy(dtype=object), count_objects(samples)
    looked_for = np.isin(found, LOOKED_FOR)
    panels = [
        (title, looked_for & (numbers == number), kinds)
        for number, title, kinds in (
            (1, "about one object", {"all": "found", "none": "not found"}),
            (2, "about two objects", {"all": "both found", "some": "one found", "none": "none found"}),
        )
    ]
    panels = [panel for panel in panels if panel[1].any()]
    if not looked_for.all():
        panels.append(("all questions", np.ones(len(samples), dtype=bool), {"absent": "absent", "unread": "unread"}))
    parts: list[tuple[str, np.ndarray, str]] = [("all answers", np.ones(len(samples), dtype=bool), INK)]
    if "right" in samples:
        right = right_of(samples)
        parts += [("right answers", right, RIGHT), ("wrong answers", ~right, WRONG)]
    ax = new_axes(ax, (7.2, 3.6))
    ticks: list[str] = []
    lows: list[float] = []
    for title, of, kinds in panels:
        start = len(ticks)
        for place, (name, own, colour) in enumerate(parts):
            asked = samples[of & own]
            groups = shared_groups(asked)
            shares = (
                [clustered_share(asked["found"] == kind, groups, level=level) for kind in kinds] if len(asked) else []
            )
            x = start + np.arange(len(shares)) + 0.18 * (place - (len(parts) - 1) / 2)
            middle = np.array([one.estimate for one in shares])
            ends = np.abs(np.array([[one.low, one.high] for one in shares]).T.reshape(2, -1) - middle)
            lows += [one.low for one in shares]
            label = f"{name} (n = {int(own.sum())})" if not start else None
            ax.errorbar(x, middle, yerr=ends, fmt="o", color=colour, markersize=5, elinewidth=1.4, label=label)
        ticks += [f"{name}\nn = {(found[of] == kind).sum()}" for kind, name in kinds.items()]
        middle_of, words = (start + len(ticks) - 1) / 2, f"{title} (n = {int(of.sum())})"
        ax.text(middle_of, 1.06, words, ha="center", fontsize=TICK, color=INK)
        if start:
            ax.axvline(start - 0.5, color=SHADE, linewidth=1.2)
    ax.set_xticks(range(len(ticks)), ticks)
    ax.set_xlim(-0.5, len(ticks) - 0.5)
    ax.set_ylim(-0.02, 1.16)
    ax.set_yticks(np.linspace(0, 1, 6))
    in_percent(ax.yaxis)
    title = "Objects of the question that were found"
    by = f",\n{named_level(level)} Wilson interval" if bounded(lows) else ""
    tidy(ax, title=title, y=f"share of these questions{by}")
    legend_below(ax, columns=3)
    return ax


def name_axis(measure: str, normalisation: str) -> str:
    """A measure and the normalisation of its attention, in two lines."""
    return f"{MEASURES.get(measure, measure)}\n({NORMALISED.get(normalisation, normalisation)})"


def _of_region(region: str) -> str:
    """Which boxes, in words."""
    return "boxes of the objects" if region == "union" else region.replace("minus", "object minus") + " object"


def _null_colour(null: str) -> str:
    return "#5c5c5c" if null == "even" else PALETTE[1 + list(NULL_LABELS).index(null)]


def _dash(null: str) -> Any:
    return _DASHES[list(NULL_LABELS).index(null) % len(_DASHES)]
