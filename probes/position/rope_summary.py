"""RoPE sensitivity over samples: the means that the paper draws, by head and layer and over all, with intervals."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from einops import rearrange, reduce
from jaxtyping import Float32, Float64, Shaped

from interp.errors import InputError
from interp.reprs import fits_a_cell
from interp.stats.clusters import drawn_together, mean_over_groups
from interp.stats.draws import check_draws
from interp.stats.intervals import DRAWS, Interval

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from probes.position.rope import RopeSensitivity

CURVES = ("abs_delta_g_v", "delta_alpha_v")
"""What is averaged over samples, as the paper does."""

AVERAGED = ("alpha_v", "delta_alpha_v", "delta_g_v")
"""What of each sample all means are made from."""


@fits_a_cell("n_samples delta axis delta_alpha_v abs_delta_g_v")
@dataclass(frozen=True, eq=False)
class RopeSummary:
    """RoPE sensitivity over samples; intervals draw whole groups, and their ends are NaN where all lie in one.

    Attributes:
        n_samples: how many.
        delta: positions; axis, query_row: what else all of them share, see `RopeSensitivity`.
        alpha_v: float32 [layer head], the mean of the attention on the image before anything is moved.
        delta_alpha_v: float32 [layer head], the mean of the signed change.
        abs_delta_g_v: float32 [layer head], the mean of |delta g_V|, absolute for each sample and head.
        delta_alpha_v_by_head: the same with its interval, each [layer head].
        abs_delta_g_v_by_head: the same of |delta g_V|.
        delta_alpha_v_by_layer: the mean over heads too, each [layer].
        abs_delta_g_v_by_layer: the same of |delta g_V|.
        delta_alpha_v_over_all: the mean over layers and heads, numbers.
        abs_delta_g_v_over_all: the same of |delta g_V|.

    Example:
        >>> summary.abs_delta_g_v_by_layer.low.shape
        (32,)
    """

    n_samples: int
    delta: float
    axis: str
    query_row: str | int
    alpha_v: Float32[np.ndarray, "layer head"]
    delta_alpha_v: Float32[np.ndarray, "layer head"]
    abs_delta_g_v: Float32[np.ndarray, "layer head"]
    delta_alpha_v_by_head: Interval
    abs_delta_g_v_by_head: Interval
    delta_alpha_v_by_layer: Interval
    abs_delta_g_v_by_layer: Interval
    delta_alpha_v_over_all: Interval
    abs_delta_g_v_over_all: Interval

    def to_dataframe(self) -> pd.DataFrame:
        """One row per layer and head: `alpha_v`, and `delta_alpha_v` and `abs_delta_g_v` with the ends of intervals.

        All are means over samples, as float32 columns. Where samples lie in fewer than three groups
        there are no ends.
        """
        import pandas as pd

        layer, head = (axis.ravel().astype(np.int32) for axis in np.indices(self.delta_alpha_v.shape))
        columns = {"layer": layer, "head": head, "alpha_v": self.alpha_v.ravel()}
        return pd.DataFrame(columns | self._columns("by_head"))

    def by_layer(self) -> pd.DataFrame:
        """One row per layer, of means over samples and heads: else as `to_dataframe`."""
        import pandas as pd

        layer = np.arange(len(self.delta_alpha_v), dtype=np.int32)
        return pd.DataFrame({"layer": layer, "alpha_v": self.alpha_v.mean(axis=1)} | self._columns("by_layer"))

    def over_all(self) -> pd.DataFrame:
        """One row of means over samples, layers and heads: else as `to_dataframe`."""
        import pandas as pd

        return pd.DataFrame({"alpha_v": [self.alpha_v.mean()]} | self._columns("over_all"))

    def _columns(self, over: str) -> dict[str, Float32[np.ndarray, " row"]]:
        """The columns of both measures: the mean, and the ends of its interval where it has one."""
        columns: dict[str, Any] = {}
        for name in CURVES:
            found: Interval = getattr(self, f"{name}_{over}")
            columns[name] = found.estimate
            if np.isfinite(found.low).any():
                columns |= {f"{name}_low": found.low, f"{name}_high": found.high}
        return {name: np.atleast_1d(values).astype(np.float32).ravel() for name, values in columns.items()}

    def curve(self, measure: str) -> Interval:
        """The layer curve of one of `CURVES`.

        Raises:
            InputError: it is none of them.
        """
        if measure not in CURVES:
            raise InputError(f"measure={measure!r} is not known: use one of {', '.join(CURVES)}")
        return getattr(self, f"{measure}_by_layer")

    def plot(self, ax: Axes | None = None, *, measure: str = "abs_delta_g_v") -> Axes:
        """Draw the layer curve of one of `CURVES` with its interval."""
        from probes.position.figures.rope import plot_rope_curve

        return plot_rope_curve(self.curve(measure), ax, measure=measure, n_samples=self.n_samples)

    def draw(self) -> np.ndarray:
        """Draw both layer curves and below them both heat maps, on a new figure; returns its four axes."""
        from probes.position.figures.rope import draw_rope

        curves, heads = {name: self.curve(name) for name in CURVES}, {name: getattr(self, name) for name in CURVES}
        return draw_rope(curves, heads, n_samples=self.n_samples)


def mean_rope_sensitivity(
    found: Iterable[RopeSensitivity],
    *,
    groups: Sequence[str] | Shaped[np.ndarray, " sample"] | None = None,
    seed: int = 0,
    n: int = DRAWS,
    level: float = 0.95,
) -> RopeSummary:
    """The means over samples of delta alpha_V and of |delta g_V|, by head and layer and over all, with intervals.

    |delta g_V| is taken for each sample and head before anything is averaged; a layer's value is the mean over its
    heads ("Beyond Semantics", its figure 8, as its code computes it). Intervals are a bootstrap that draws whole
    groups, heads kept together.

    Args:
        found: results of one model, asked alike.
        groups: what is drawn together, a name for each sample, such as its photo; each by itself by default.
        seed: the seed of the draws.
        n: the number of draws.
        level: nominal coverage.

    Example:
        >>> summary = mean_rope_sensitivity(one for batch in batches for one in rope_sensitivity(vlm, batch))

    Raises:
        InputError: there is none, they differ in layers, heads, delta, axis or row, or there is not one group for each.
    """
    every = list(found)
    asked = {(one.delta, one.axis, one.query_row) for one in every}
    shapes = {one.alpha_v.shape for one in every}
    if len(asked) != 1 or len(shapes) != 1:
        raise InputError(
            f"can not average {len(every)} results of {len(asked)} kinds and shapes {sorted(shapes)}: give some of one "
            "model, delta, axis and query row"
        )
    (delta, axis, query_row), *_ = asked
    parts = {name: np.stack([getattr(one, name) for one in every]) for name in AVERAGED}
    return summarize_rope(parts, delta, axis, query_row, groups=groups, seed=seed, n=n, level=level)


def summarize_rope(
    parts: Mapping[str, Float32[np.ndarray, "sample layer head"]],
    delta: float,
    axis: str,
    query_row: str | int,
    *,
    groups: Sequence[str] | Shaped[np.ndarray, " sample"] | None = None,
    seed: int = 0,
    n: int = DRAWS,
    level: float = 0.95,
) -> RopeSummary:
    """What `mean_rope_sensitivity` gives, from those of `AVERAGED` of all samples and what was asked of them.

    Raises:
        InputError: there is not one group for each, no draw, or no such level.
    """
    check_draws(n, level, seed)
    mass, signed, slope = (parts[name].astype(np.float64) for name in AVERAGED)
    drawn = drawn_together(len(mass), groups)
    most, largest = (1, np.inf) if delta else (0, 0)  # nothing changes where nothing is moved
    (signed_heads, signed_layers, signed_all), (heads, layers, whole) = (
        _intervals(values, drawn, seed=seed, n=n, level=level, bounds=bounds)
        for values, bounds in ((signed, (-most, most)), (np.abs(slope), (0, largest)))
    )
    return RopeSummary(
        n_samples=len(mass),
        delta=delta,
        axis=axis,
        query_row=query_row,
        alpha_v=mass.mean(axis=0).astype(np.float32),
        delta_alpha_v=signed_heads.estimate.astype(np.float32),
        abs_delta_g_v=heads.estimate.astype(np.float32),
        delta_alpha_v_by_head=signed_heads,
        abs_delta_g_v_by_head=heads,
        delta_alpha_v_by_layer=signed_layers,
        abs_delta_g_v_by_layer=layers,
        delta_alpha_v_over_all=signed_all,
        abs_delta_g_v_over_all=whole,
    )


def _intervals(
    values: Float64[np.ndarray, "sample layer head"], groups: Shaped[np.ndarray, " sample"], **drawn: Any
) -> tuple[Interval, Interval, Interval]:
    """The means by layer and head, by layer, and over all."""
    found = mean_over_groups(rearrange(values, "sample layer head -> sample (layer head)"), groups, **drawn)
    curve = mean_over_groups(reduce(values, "sample layer head -> sample layer", "mean"), groups, **drawn)
    one = mean_over_groups(reduce(values, "sample layer head -> sample 1", "mean"), groups, **drawn)
    by_head = _shaped(found, lambda part: rearrange(part, "(layer head) -> layer head", layer=values.shape[1]))
    return by_head, curve, _shaped(one, lambda part: float(part[0]))


def _shaped(own: Interval, shape: Callable[[np.ndarray], Any]) -> Interval:
    """An interval whose estimate and ends have another shape."""
    return replace(own, estimate=shape(own.estimate), low=shape(own.low), high=shape(own.high))
