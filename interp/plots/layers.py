"""Curves over the layers: how much attention goes to the image, and how well it agrees with the boxes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np
from matplotlib.lines import Line2D

from interp.errors import InputError
from interp.measures import MAP_MEASURES, MEASURES, UNION
from interp.overlap import HEAD_MEAN, NULLS, Overlap
from interp.plots.overlap_study import name_axis, name_layers
from interp.plots.style import INK, PALETTE, layer_axis, legend_below, line_colours, mean_with_band, new_axes, tidy
from interp.trajectory import PARTS, Trajectory

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

_AT_MOST_ONE = ("hit", "hit_near", "auroc", "precision")
_CONTRAST = " minus "  # in the name of a region that is a difference of two


def plot_share_by_layer(
    trajectories: Trajectory | Sequence[Trajectory] | pd.DataFrame,
    ax: Axes | None = None,
    *,
    parts: Sequence[str] = ("image",),
    seed: int = 0,
    level: float = 0.95,
) -> Axes:
    """Draw the share of attention by layer: mean over heads, steps and samples, with a bootstrap band over samples.

    The dashed line is the share of the positions that the part holds, padding left out. The layers of the paper are
    shaded and named.

    Args:
        trajectories: one, several of the same model, or their tables from `to_dataframe`, concatenated.
        ax: where to draw; made if None.
        parts: of the layout, one line each.
        seed: of the bootstrap.
        level: coverage of the band.

    Example:
        >>> plot_share_by_layer(trajectories, parts=("image", "bos")).figure.savefig("share.png")

    Raises:
        InputError: there is no sample, numbers of layers differ, or a part is not known.
    """
    unknown = [part for part in parts if part not in PARTS]
    if unknown or not parts:
        raise InputError(f"layout parts {list(parts)} can not be drawn: use some of {', '.join(PARTS)}")
    ax = new_axes(ax, (6.6, 4.2))
    for part, colour in zip(parts, line_colours(len(parts)), strict=True):
        shares, tokens = _share_tables(trajectories, part)
        layers = np.arange(shares.shape[1])
        mean_with_band(ax, layers, shares, colour=colour, label=part.replace("_", " "), seed=seed, level=level)
        ax.plot(layers, tokens.mean(axis=0), color=colour, linewidth=1.2, linestyle="--")
    shade = layer_axis(ax, shares.shape[1])
    ax.set_ylim(0, 1.02)
    title = f"Where attention goes, {_count(len(shares))}"
    tidy(ax, title=title, x=name_layers(shares.shape[1]), y="share of attention (mean over heads)")
    legend_below(ax, Line2D([], [], color=INK, linewidth=1.2, linestyle="--", label="share of the tokens"), shade)
    return ax


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
    Samples in which the measure is undefined (no box was seen) are left out and counted in the legend.

    Args:
        overlaps: one, several of the same model, or their tables from `to_dataframe`, concatenated.
        ax: where to draw; made if None.
        measure: one of `interp.measures.MEASURES`, or of `MAP_MEASURES` there, which have no region.
        region: a region's name, or that of a contrast; the union of the boxes by default.
        normalisation: of the attention, one that was measured.
        correct: whether each answer was right, by sample id or in the order of the samples: two lines, right and wrong.
        seed: of the bootstrap.
        level: coverage of the band.

    Example:
        >>> plot_overlap_by_layer(overlaps, correct={"scene-0": True, "scene-1": False})

    Raises:
        InputError: there is no sample, a name is not known, numbers of layers differ, or `correct` does not fit.
    """
    _check_measure(measure, region)
    ids, table, even = _overlap_tables(overlaps, measure, region, normalisation)
    defined = np.isfinite(table).all(axis=1)
    ax = new_axes(ax, (6.6, 4.2))
    layers = np.arange(table.shape[1])
    for name, chosen, colour in _groups(ids, correct):
        kept = chosen & defined
        missing = f", {int((chosen & ~defined).sum())} undefined left out" if (chosen & ~defined).any() else ""
        label = f"{name} (n = {int(kept.sum())}{missing})"
        if kept.any():
            mean_with_band(ax, layers, table[kept], colour=colour, label=label, seed=seed, level=level)
            if measure in MEASURES:
                ax.axhline(even[kept].mean(), color=colour, linewidth=1.2, linestyle=":")
        else:
            ax.plot([], [], color=colour, label=label)
    shade = layer_axis(ax, table.shape[1])
    _value_axis(ax, measure, region)
    title = "Attention and boxes" if measure in MEASURES else "Attention over the image"
    title += "" if region == UNION else f": {region}"
    tidy(ax, title=title, x=name_layers(table.shape[1]), y=name_axis(measure, normalisation))
    even_line = Line2D([], [], color=INK, linewidth=1.2, linestyle=":", label="evenly spread attention")
    legend_below(ax, *([even_line] if measure in MEASURES else []), shade)
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


def _count(n: int) -> str:
    """`1 sample`, `3 samples`."""
    return f"{n} sample" + ("" if n == 1 else "s")


def _share_tables(
    trajectories: Trajectory | Sequence[Trajectory] | pd.DataFrame, part: str
) -> tuple[np.ndarray, np.ndarray]:
    """Share of attention and share of tokens of a part, both [sample layer]."""
    if _is_frame(trajectories):
        table, tokens = (_by_layer(trajectories, f"{name}_{part}") for name in ("share", "token_share"))
        return table, tokens
    every = [trajectories] if isinstance(trajectories, Trajectory) else list(trajectories)
    _check_depth([one.n_layers for one in every])
    place = PARTS.index(part)
    shares = np.array([one.shares[..., place].mean(axis=(1, 2)) for one in every])
    tokens = np.array([np.full(one.n_layers, one.token_shares[:, place].mean()) for one in every])
    return shares, tokens


def _overlap_tables(
    overlaps: Overlap | Sequence[Overlap] | pd.DataFrame, measure: str, region: str, normalisation: str
) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Sample ids, the head mean's measure [sample layer], and what even attention scores [sample]; means over steps."""
    if _is_frame(overlaps):
        wanted = {"head": HEAD_MEAN, "region": region, "normalisation": normalisation}
        for column, value in wanted.items():
            overlaps = overlaps[overlaps[column] == value]
        table = _by_layer(overlaps, measure)
        even = _by_layer(overlaps, NULLS[measure]).mean(axis=1) if measure in MEASURES else np.full(len(table), np.nan)
        return list(overlaps["sample"].unique()), table, even
    every = [overlaps] if isinstance(overlaps, Overlap) else list(overlaps)
    found = [one.values(measure, region=region, normalisation=normalisation)[:, HEAD_MEAN] for one in every]
    _check_depth([len(one) for one in found])
    table = np.array([one.mean(axis=1) if one.ndim == 2 else one for one in found])
    even = np.array([_even(one, measure, region, normalisation) for one in every])
    return [one.sample_id for one in every], table, even


def _even(one: Overlap, measure: str, region: str, normalisation: str) -> float:
    """What even attention scores; NaN for a measure of the map alone."""
    return one.even_score(measure, region=region, normalisation=normalisation) if measure in MEASURES else np.nan


def _groups(ids: list[str], correct: Mapping[str, bool] | Sequence[bool] | None) -> list[tuple[str, np.ndarray, str]]:
    """Name, which samples, and colour of each line."""
    if correct is None:
        return [("all samples", np.ones(len(ids), dtype=bool), PALETTE[0])]
    missing = [name for name in ids if name not in correct] if isinstance(correct, Mapping) else []
    if missing or len(correct) < len(ids):
        raise InputError(
            f"{len(correct)} right-or-wrong marks for {len(ids)} samples, none for {missing[:3]}: give one each"
        )
    marks = [correct[name] for name in ids] if isinstance(correct, Mapping) else list(correct)
    if len(marks) != len(ids):
        raise InputError(f"{len(marks)} right-or-wrong marks for {len(ids)} samples: give one each, in their order")
    right = np.array(marks, dtype=bool)
    return [("answered right", right, PALETTE[0]), ("answered wrong", ~right, PALETTE[1])]


def _is_frame(values: Any) -> TypeGuard[pd.DataFrame]:
    """Whether this is a table, told without importing pandas."""
    return hasattr(values, "groupby")


def _by_layer(frame: Any, column: str) -> np.ndarray:
    """A column of a table as [sample layer], mean over heads and steps; samples in the order of the table."""
    _check_depth(list(frame.groupby("sample")["layer"].nunique()))
    if frame.duplicated(
        [key for key in ("sample", "layer", "head", "step", "region", "normalisation") if key in frame]
    ).any():
        raise InputError("two samples of the table have one id, so they can not be told apart: give each its own")
    cells = [frame["sample"], frame["layer"]]
    gaps = frame[column].isna().groupby(cells).any()  # a mean that leaves out steps would be of other steps
    wide = frame[column].groupby(cells).mean().mask(gaps).unstack("layer")
    return wide.loc[frame["sample"].unique()].sort_index(axis=1).to_numpy(dtype=np.float64)


def _check_depth(depths: list[int]) -> None:
    """Refuse an empty list, and models of different depth on one axis."""
    if len(set(depths)) != 1:
        raise InputError(
            f"can not draw {len(depths)} samples with {sorted(set(depths))} layers: give some of one model"
        )
