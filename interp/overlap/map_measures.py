"""Measures of maps by themselves: how scattered they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float, Real

from interp.errors import InputError
from interp.image.lattice import ROUNDING, Lattice, flat_maps
from interp.numeric import ratio

if TYPE_CHECKING:
    from interp.image.grid import ImageGrid

MAP_MEASURES = ("spatial_entropy", "peaks")
"""Of a map alone, see `measure_maps`."""


def measure_maps(
    maps: Real[np.ndarray, "*maps token"],
    grid: ImageGrid,
    *,
    kept: Bool[np.ndarray, "*#maps token"] | None = None,
    weigh_by: str = "mass",
) -> dict[str, Float[np.ndarray, "*maps"]]:
    """How scattered maps are: the entropy of the separate spots that stand out, and how many there are.

    Tokens with more weight than the map's mean fall into components, connected over 8 neighbours on the lattice of
    their view (never across views). With P the share of each component, `spatial_entropy` is -sum P ln P, in nats: 0
    for one spot, ln n for n alike (Kang et al. 2025, arXiv:2503.06287), and `peaks` is their number. A map that is
    the same everywhere has 0 peaks and no entropy (NaN), as nothing stands out.

    Args:
        maps: weights, none negative; one without weight, or with NaN, gives NaN.
        grid: the geometry of the tokens.
        kept: which tokens take part, in the mean too; all by default.
        weigh_by: `mass`, what a component's tokens have above the mean, as in the authors' code, or `count`, how many
            tokens it has.

    Returns:
        float64 [*maps] each of `spatial_entropy` and `peaks`.

    Example:
        >>> measure_maps(weights, grid)["peaks"].shape  # weights [32 33 576]
        (32, 33)

    Raises:
        InputError: `weigh_by` is not known, or the maps have another number of tokens than the grid.
    """
    if weigh_by not in ("mass", "count"):
        raise InputError(f"weigh_by={weigh_by!r} is not known: use mass or count")
    weights, playing = flat_maps(maps, grid, kept)
    total = weights.sum(axis=1, keepdims=True)
    mean = ratio(total, playing.sum(axis=1, keepdims=True))
    above = weights - mean
    standing = playing & (above > ROUNDING * mean)
    amounts = above if weigh_by == "mass" else np.ones_like(above)
    which, shares = Lattice.of(grid).components(standing, amounts)
    entropy = 0.0 - np.bincount(which, shares * np.log(shares), minlength=len(weights))
    peaks = np.bincount(which, minlength=len(weights))
    defined, shape = total[:, 0] > 0, np.shape(maps)[:-1]
    return {
        "spatial_entropy": np.where(defined & (peaks > 0), entropy, np.nan).reshape(shape),
        "peaks": np.where(defined, peaks, np.nan).reshape(shape),
    }
