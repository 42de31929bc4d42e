"""Curves over the layers: how much attention goes to the image, and how well it agrees with the boxes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np
from matplotlib.lines import Line2D

from interp.errors import InputError
from interp.intervene.indices import spell
from interp.maps.trajectory import PARTS, Trajectory
from interp.plots.intervals import named_intervals
from interp.plots.style import (
    INK,
    PALETTE,
    layer_axis,
    legend_below,
    line_colours,
    mean_with_band,
    name_layers,
    new_axes,
    tidy,
)
from interp.plots.written import as_written

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes


@as_written
def plot_share_by_layer(
    trajectories: Trajectory | Sequence[Trajectory] | pd.DataFrame,
    ax: Axes | None = None,
    *,
    parts: Sequence[str] = ("image",),
    seed: int = 0,
    level: float = 0.95,
) -> Axes:
    """Draw the share of attention by layer: mean over heads, steps and samples, with a bootstrap band over samples.

    A table may hold some of the heads: the mean is then over these, and the axis names them. It holds all layers.
    The dashed line is the share of the positions that the part holds, padding left out. The layers of the paper are
    shaded and named.

    Args:
        trajectories: one, several of the same model, or their tables from `to_dataframe`, concatenated.
        ax: where to draw; made if None.
        parts: the parts of the layout, one line each.
        seed: the seed of the bootstrap.
        level: coverage of the band.

    Example:
        >>> plot_share_by_layer(trajectories, parts=("image", "bos")).figure.savefig("share.png")

    Raises:
        InputError: there is no sample, numbers of layers differ, a table lacks layers, or a part is not known.
    """
    unknown = [part for part in parts if part not in PARTS]
    if unknown or not parts:
        raise InputError(f"layout parts {list(parts)} can not be drawn: use some of {', '.join(PARTS)}")
    tables = {part: _share_tables(trajectories, part) for part in parts}
    n_samples, n_layers = tables[parts[0]][0].shape
    ax = new_axes(ax, (6.6, 4.2), n_layers=n_layers)
    lows = []
    for (part, (shares, tokens)), colour in zip(tables.items(), line_colours(len(tables)), strict=True):
        layers = np.arange(n_layers)
        name = part.replace("_", " ")
        lows.append(mean_with_band(ax, layers, shares, colour=colour, label=name, seed=seed, level=level))
        ax.plot(layers, tokens.mean(axis=0), color=colour, linewidth=1.2, linestyle="--")
    shade = layer_axis(ax, n_layers)
    ax.set_ylim(0, 1.02)
    title = f"Where attention goes, {_count(n_samples)}{over_steps(trajectories)}"
    tidy(ax, title=title, x=name_layers(n_layers), y=f"share of attention ({_of_heads(trajectories)})")
    even = Line2D([], [], color=INK, linewidth=1.2, linestyle="--", label="share of the tokens")
    legend_below(ax, even, *named_intervals(*lows, level=level, colour=PALETTE[0]), shade)
    return ax


def _of_heads(results: Any) -> str:
    """Which heads a curve is the mean of: all of a trajectory, and of a table those that it holds."""
    held = sorted(set(results["head"])) if is_frame(results) else []
    if len(held) == 1:
        return f"head {held[0]}"
    return f"mean over heads {spell(held)}" if held else "mean over heads"


def _count(n: int) -> str:
    """`1 sample`, `3 samples`."""
    return f"{n} sample" + ("" if n == 1 else "s")


def over_steps(results: Any) -> str:
    """What a title says of the answer tokens that a curve is the mean of; nothing where each sample has one row.

    Args:
        results: a trajectory, an overlap, several of them, or a table of them.
    """
    if is_frame(results):
        counts = list(results.groupby("sample")["step"].nunique()) if "step" in results else [1]
    else:
        every = results if isinstance(results, Sequence) else [results]
        counts = [
            one.n_steps if isinstance(one, Trajectory) else len(next(iter(one.even.values()))[0, 0]) for one in every
        ]
    least, most = min(counts), max(counts)
    if most == 1:
        return ""
    return f", mean over {most if least == most else f'{least} to {most}'} answer tokens"


def _share_tables(
    trajectories: Trajectory | Sequence[Trajectory] | pd.DataFrame, part: str
) -> tuple[np.ndarray, np.ndarray]:
    """Share of attention and share of tokens of a part, both [sample layer]."""
    if is_frame(trajectories):
        table, tokens = (by_layer(trajectories, f"{name}_{part}") for name in ("share", "token_share"))
        return table, tokens
    every = [trajectories] if isinstance(trajectories, Trajectory) else list(trajectories)
    check_depth([one.n_layers for one in every])
    place = PARTS.index(part)
    shares = np.array([one.shares[..., place].mean(axis=(1, 2)) for one in every])
    tokens = np.array([np.full(one.n_layers, one.token_shares[:, place].mean()) for one in every])
    return shares, tokens


def answer_groups(
    ids: list[str], correct: Mapping[str, bool] | Sequence[bool] | None
) -> list[tuple[str, np.ndarray, str]]:
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


def is_frame(values: Any) -> TypeGuard[pd.DataFrame]:
    """Whether this is a table, told without importing pandas."""
    return hasattr(values, "groupby")


def by_layer(frame: Any, column: str) -> np.ndarray:
    """A column of a table as [sample layer], mean over heads and steps; samples in the order of the table."""
    check_depth(list(frame.groupby("sample")["layer"].nunique()))
    if frame.duplicated(
        [key for key in ("sample", "layer", "head", "step", "region", "normalisation") if key in frame]
    ).any():
        raise InputError("two samples of the table have one id, so they can not be told apart: give each its own")
    cells = [frame["sample"], frame["layer"]]
    gaps = frame[column].isna().groupby(cells).any()  # a mean that leaves out steps would be of other steps
    wide = frame[column].groupby(cells).mean().mask(gaps).unstack("layer").sort_index(axis=1)
    if [*wide] != [*range(len(wide.columns))]:
        raise InputError(
            f"the table holds layers {spell([*wide])} alone, and they would stand as 0 to {len(wide.columns) - 1}: "
            "give the rows of all layers of the model"
        )
    return wide.loc[frame["sample"].unique()].to_numpy(dtype=np.float64)


def check_depth(depths: list[int]) -> None:
    """Refuse an empty list, and models of different depth on one axis."""
    if len(set(depths)) != 1:
        raise InputError(
            f"can not draw {len(depths)} samples with {sorted(set(depths))} layers: give some of one model"
        )
