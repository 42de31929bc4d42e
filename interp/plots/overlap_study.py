"""Figures of an overlap study: right and wrong answers apart, how far above each null, and what was found at all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from interp.clusters import drawn_sums, group_names
from interp.errors import InputError
from interp.nulls import null_column
from interp.plots.style import INK, PALETTE, SHADE, layer_axis, legend_below, line_colours, new_axes, tidy
from interp.sinks import ratio
from interp.stats import Interval, wilson

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from interp.overlap_study import OverlapStudy

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

NULLS = {
    "even": "even attention",
    "shuffled": "boxes of other images",
    "moved": "boxes moved at random",
    "centre": "centred Gaussian map",
    "heads": "another head of the layer",
}
"""What each null is called in a legend, in the order in which they are drawn."""

NORMALISED = {
    "image": "attention sums to one over the image",
    "keys": "attention as a share of all keys",
    "no-sinks": "attention sums to one over the image, sinks out",
    "relative": "attention relative to a neutral prompt",
}
"""What each normalisation is called along an axis."""

FOUND = {"both": "both objects", "one": "one object", "none": "none"}
"""What each outcome of the detector is called."""

RIGHT, WRONG = PALETTE[0], PALETTE[1]
_RATIOS = ("cosine", "mass", "hit", "hit_near", "precision")
_DASHES = ((0, (1, 1.2)), (0, (5, 1.6)), (0, (5, 1.5, 1, 1.5)), (0, (2.5, 1.2)), (0, (7, 2, 1, 2, 1, 2)))
_DRAWS = 1000


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
    samples otherwise. Nulls are means over all samples that are drawn. Samples in which the measure is not defined (no
    box, or none that the model saw) are left out and counted.

    Args:
        study: what was measured.
        ax: where to draw; made if None.
        measure: which one, such as `mass`.
        region: of which boxes.
        normalisation: of the attention.
        seed: of the bootstrap.
        level: coverage of the bands.

    Example:
        >>> plot_overlap_by_answer(study, measure="mass").figure.savefig("mass.png")

    Raises:
        InputError: the study is empty, or has no such measure, region or normalisation.
    """
    values = head_mean(study, measure, region=region, normalisation=normalisation)
    right, groups, known = right_of(study.samples), groups_of(study.samples), defined(study, values)
    ax = new_axes(ax, (6.6, 4.6))
    layers = np.arange(values.shape[1])
    for name, own, colour in (("right", right, RIGHT), ("wrong", ~right, WRONG)):
        kept = own & known
        lost = int((own & ~known).sum())
        label = f"{name} answers (n = {int(kept.sum())}{f', {lost} undefined left out' if lost else ''})"
        ax.plot([], [], color=colour, linewidth=1.8, marker="o", markersize=3.2, label=label)
        if kept.any():
            around = mean_over_groups(values[kept], groups[kept], seed=seed, level=level)
            ax.plot(layers, around.estimate, color=colour, linewidth=1.8, marker="o", markersize=3.2)
            draw_band(ax, layers, (around.low, around.high), colour)
    for name, null in nulls_of(study, measure, region=region, normalisation=normalisation).items():
        means = mean_of_known(null[known])
        style: dict[str, Any] = {"color": _null_colour(name), "linestyle": _dash(name), "marker": ".", "markersize": 3}
        ax.plot(layers, means, linewidth=1.3, label=NULLS.get(name, name), **style)
    shade = layer_axis(ax, values.shape[1])
    if measure in ("hit", "hit_near"):
        ax.set_ylim(0, 1.02)
    title = f"Overlap by answer: {_of_region(region)}, head mean"
    tidy(ax, title=title, x=name_layers(values.shape[1]), y=name_axis(measure, normalisation))
    legend_below(ax, shade)
    return ax


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

    The mean over samples divided by the null's mean over the same samples; both are drawn together in the bootstrap,
    which draws whole groups where samples share them.

    Args:
        study: what was measured.
        ax: where to draw; made if None.
        measure: one that is zero where nothing overlaps: `cosine`, `mass`, `hit`, `hit_near` or `precision`.
        region: of which boxes.
        normalisation: of the attention.
        seed: of the bootstrap.
        level: coverage of the bands.

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
    known, groups = defined(study, values), groups_of(study.samples)
    if not nulls or not known.any():
        raise InputError(f"the study has no null of {measure!r}, or no sample in which it is defined: measure these")
    ax = new_axes(ax, (6.6, 4.4))
    layers = np.arange(values.shape[1])
    for (name, null), colour in zip(nulls.items(), line_colours(len(nulls)), strict=True):
        kept = known & defined(study, null)
        around = ratio_over_groups(values[kept], null[kept], groups[kept], seed=seed, level=level)
        label = f"against {NULLS.get(name, name)}"
        ax.plot(layers, around.estimate, color=colour, linewidth=1.6, marker="o", markersize=3, label=label)
        draw_band(ax, layers, (around.low, around.high), colour)
    ax.axhline(1, color=INK, linewidth=1, linestyle="--", label="no more than the null")
    shade = layer_axis(ax, values.shape[1])
    ax.set_ylim(bottom=0)
    title = f"Overlap over its nulls: {_of_region(region)}, head mean (n = {int(known.sum())})"
    tidy(ax, title=title, x=name_layers(values.shape[1]), y=f"ratio to the null:\n{name_axis(measure, normalisation)}")
    legend_below(ax, shade)
    return ax


def plot_coverage(samples: pd.DataFrame, ax: Axes | None = None, *, level: float = 0.95) -> Axes:
    """Draw in how many samples the objects were found, over all answers and over the right and the wrong ones.

    Where wrong answers lack boxes more often than right ones, what is left to compare is a selection.

    Args:
        samples: one row per sample, with columns `found` (`both`, `one` or `none`) and, if wanted, `right`.
        ax: where to draw; made if None.
        level: coverage of Wilson's intervals, which take samples as independent.

    Example:
        >>> plot_coverage(study.samples)

    Raises:
        InputError: the table is empty, lacks `found`, or holds another word.
    """
    if "found" not in samples or not len(samples) or not samples["found"].isin(list(FOUND)).all():
        raise InputError(f"{len(samples)} samples without a found of {', '.join(FOUND)}: give one row per sample")
    found = samples["found"].to_numpy(dtype=object)
    parts: list[tuple[str, np.ndarray, str]] = [("all answers", np.ones(len(samples), dtype=bool), INK)]
    if "right" in samples:
        right = right_of(samples)
        parts += [("right answers", right, RIGHT), ("wrong answers", ~right, WRONG)]
    ax = new_axes(ax, (6.6, 3.4))
    for place, (name, own, colour) in enumerate(parts):
        shares = [wilson(int((found[own] == kind).sum()), int(own.sum()), level) for kind in FOUND]
        x = np.arange(len(FOUND)) + 0.18 * (place - (len(parts) - 1) / 2)
        middle = np.array([one.estimate for one in shares])
        ends = np.abs(np.array([[one.low, one.high] for one in shares]).T - middle)
        label = f"{name} (n = {int(own.sum())})"
        ax.errorbar(x, middle, yerr=ends, fmt="o", color=colour, markersize=5, elinewidth=1.4, label=label)
    ax.set_xticks(range(len(FOUND)), [f"{name}\nn = {(found == kind).sum()}" for kind, name in FOUND.items()])
    ax.set_xlim(-0.5, len(FOUND) - 0.5)
    for edge in range(1, len(FOUND)):
        ax.axvline(edge - 0.5, color=SHADE, linewidth=0.8)
    ax.set_ylim(-0.02, 1.02)
    ax.yaxis.set_major_formatter("{x:.0%}")
    tidy(ax, title="Objects of the question that were found", y=f"share of samples,\n{level:.0%} Wilson interval")
    legend_below(ax, columns=3)
    return ax


def head_mean(study: OverlapStudy, measure: str, *, region: str, normalisation: str) -> np.ndarray:
    """A measure of head-mean attention, [sample layer].

    Raises:
        InputError: the study is empty, or has no such measure, region or normalisation.
    """
    values = np.asarray(study.values(measure, region=region, normalisation=normalisation), dtype=np.float64)
    if values.ndim != 3 or 0 in values.shape or len(values) != len(study.samples):
        raise InputError(
            f"{measure!r} has shape {values.shape} for {len(study.samples)} samples: "
            "give a study with [sample layer head+1], none of them 0"
        )
    return values[:, :, -1]


def defined(study: OverlapStudy, values: Float[np.ndarray, "sample layer"]) -> np.ndarray:
    """The samples that have a value in every layer that was measured, bool [sample]."""
    return np.isfinite(values[:, list(study.layers)]).all(axis=1)


def draw_band(
    ax: Axes,
    layers: np.ndarray,
    ends: tuple[np.ndarray, np.ndarray],
    colour: Any,
    *,
    alpha: float = 0.2,
    width: float = 1.3,
    label: str | None = None,
) -> None:
    """An interval by layer as a band; as a bar in a layer whose neighbours have none."""
    low, high = ends
    some = np.isfinite(low) & np.isfinite(high)
    ax.fill_between(layers, low, high, where=some, color=colour, alpha=alpha, linewidth=0, label=label)
    beside = np.concatenate([[False], some[:-1]]) | np.concatenate([some[1:], [False]])
    alone = some & ~beside
    if alone.any():
        ax.vlines(layers[alone], low[alone], high[alone], color=colour, linewidth=width)


def nulls_of(study: OverlapStudy, measure: str, *, region: str, normalisation: str) -> dict[str, np.ndarray]:
    """What each null of the study scores in a measure of the head mean, [sample layer] by the null's name."""
    columns = {name: null_column(measure, name) for name in NULLS}
    there = {name: column for name, column in columns.items() if column in study.measures}
    return {
        name: head_mean(study, column, region=region, normalisation=normalisation) for name, column in there.items()
    }


def right_of(samples: pd.DataFrame) -> np.ndarray:
    """Whether each answer was right, bool [sample].

    Raises:
        InputError: there is no such column, or a gap in it.
    """
    if "right" not in samples or samples["right"].isna().any():
        raise InputError("the samples do not all say whether the answer was right: give a column `right` without gaps")
    return samples["right"].to_numpy(dtype=bool)


def groups_of(samples: pd.DataFrame) -> np.ndarray:
    """What is drawn together in a bootstrap, int [sample]: the samples of one group; each alone where it has none."""
    names = group_names(samples)
    order = {name: place for place, name in enumerate(dict.fromkeys(names))}
    return np.array([order[name] for name in names], dtype=np.int64)


def mean_over_groups(
    values: Float[np.ndarray, "sample layer"], groups: np.ndarray, *, seed: int, level: float = 0.95
) -> Interval:
    """The mean over samples with a percentile bootstrap over whole groups, [layer]; no interval for a single group.

    For each layer the same as `interp.clusters.clustered_mean`.
    """
    return ratio_over_groups(values, np.ones_like(values), groups, seed=seed, level=level)


def ratio_over_groups(
    above: Float[np.ndarray, "sample layer"], below: np.ndarray, groups: np.ndarray, *, seed: int, level: float = 0.95
) -> Interval:
    """Mean of `above` over mean of `below` with a percentile bootstrap over whole groups, [layer]; NaN over nothing."""
    estimate = ratio(above.sum(axis=0), below.sum(axis=0))
    if len(np.unique(groups)) < 2:
        nothing = np.full_like(estimate, np.nan)
        return Interval(estimate, nothing, nothing, level)
    draws = ratio(*drawn_sums((above, below), groups, seed=seed, n=_DRAWS))
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return Interval(estimate, low, high, level, _DRAWS)


def name_axis(measure: str, normalisation: str) -> str:
    """A measure and the normalisation of its attention, in two lines."""
    return f"{MEASURES.get(measure, measure)}\n({NORMALISED.get(normalisation, normalisation)})"


def name_layers(n_layers: int) -> str:
    """What the layer axis is called."""
    return f"layer (0-based, of {n_layers})"


def _of_region(region: str) -> str:
    """Which boxes, in words."""
    return "boxes of the objects" if region == "union" else region.replace("minus", "object minus") + " object"


def mean_of_known(values: np.ndarray) -> np.ndarray:
    """The mean over the samples that have a value, [...] of [sample ...]; NaN where none has."""
    known = np.isfinite(values)
    return ratio(np.where(known, values, 0.0).sum(axis=0), known.sum(axis=0))


def _null_colour(null: str) -> str:
    return "#5c5c5c" if null == "even" else PALETTE[1 + list(NULLS).index(null)]


def _dash(null: str) -> Any:
    return _DASHES[list(NULLS).index(null) % len(_DASHES)]
