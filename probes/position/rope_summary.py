"""RoPE sensitivity over samples: the means that the paper draws, and their layer curves with intervals."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from einops import reduce
from jaxtyping import Float32, Float64

from interp.errors import InputError
from interp.reprs import fits_a_cell
from interp.stats.intervals import Interval, bootstrap_of_several

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from probes.position.rope import RopeSensitivity

CURVES = ("abs_delta_g_v", "delta_alpha_v")
"""What is averaged over samples, as the paper does."""


@fits_a_cell("n_samples delta axis delta_alpha_v abs_delta_g_v")
@dataclass(frozen=True, eq=False)
class RopeSummary:
    """RoPE sensitivity over samples.

    Attributes:
        n_samples: how many.
        delta: positions; axis, query_row: what else all of them share, see `RopeSensitivity`.
        delta_alpha_v: float32 [layer head], the mean of the signed change.
        abs_delta_g_v: float32 [layer head], the mean of |delta g_V|, absolute for each sample and head.
        delta_alpha_v_by_layer: the mean over heads too, [layer], with its interval over samples.
        abs_delta_g_v_by_layer: the same of |delta g_V|. A single sample has no interval: its ends are NaN.

    Example:
        >>> summary.abs_delta_g_v_by_layer.low.shape
        (32,)
    """

    n_samples: int
    delta: float
    axis: str
    query_row: str | int
    delta_alpha_v: Float32[np.ndarray, "layer head"]
    abs_delta_g_v: Float32[np.ndarray, "layer head"]
    delta_alpha_v_by_layer: Interval
    abs_delta_g_v_by_layer: Interval

    def to_dataframe(self) -> pd.DataFrame:
        """One row per layer and head: `delta_alpha_v` and `abs_delta_g_v`, means over samples, as float32 columns."""
        import pandas as pd

        layer, head = (axis.ravel().astype(np.int32) for axis in np.indices(self.delta_alpha_v.shape))
        means = {name: getattr(self, name).ravel() for name in CURVES}
        return pd.DataFrame({"layer": layer, "head": head, **means})

    def by_layer(self) -> pd.DataFrame:
        """One row per layer: means over samples and heads, with the ends of their intervals where there are several."""
        import pandas as pd

        columns: dict[str, Any] = {"layer": np.arange(len(self.delta_alpha_v), dtype=np.int32)}
        for name in CURVES:
            curve = self.curve(name)
            columns[name] = curve.estimate.astype(np.float32)
            if self.n_samples > 1:
                columns |= {f"{name}_{end}": getattr(curve, end).astype(np.float32) for end in ("low", "high")}
        return pd.DataFrame(columns)

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


def mean_rope_sensitivity(found: Iterable[RopeSensitivity], *, seed: int = 0, level: float = 0.95) -> RopeSummary:
    """The means over samples of delta alpha_V and of |delta g_V|, and their layer curves with bootstrap intervals.

    |delta g_V| is taken for each sample and head before anything is averaged; a layer's value is the mean over its
    heads ("Beyond Semantics", its figure 8, as its code computes it). Intervals are over samples, heads kept together.

    Args:
        found: results of one model, asked alike.
        seed: the seed of the draws.
        level: nominal coverage.

    Example:
        >>> summary = mean_rope_sensitivity(one for batch in batches for one in rope_sensitivity(vlm, batch))

    Raises:
        InputError: there is none, or they differ in layers, heads, delta, axis or row.
    """
    every = list(found)
    asked = {(one.delta, one.axis, one.query_row) for one in every}
    shapes = {one.alpha_v.shape for one in every}
    if len(asked) != 1 or len(shapes) != 1:
        raise InputError(
            f"can not average {len(every)} results of {len(asked)} kinds and shapes {sorted(shapes)}: give some of one "
            "model, delta, axis and query row"
        )
    signed = np.stack([one.delta_alpha_v for one in every]).astype(np.float64)
    size = np.abs(np.stack([one.delta_g_v for one in every]).astype(np.float64))
    return RopeSummary(
        len(every),
        *asked.pop(),
        *(values.mean(axis=0).astype(np.float32) for values in (signed, size)),
        *(_curve(values, seed, level) for values in (signed, size)),
    )


def _curve(values: Float64[np.ndarray, "sample layer head"], seed: int, level: float) -> Interval:
    return bootstrap_of_several(reduce(values, "sample layer head -> sample layer", "mean"), seed=seed, level=level)
