"""Measures: how maps over the image tokens agree with regions of the photo."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float, Real

from interp.errors import InputError
from interp.image.lattice import ROUNDING
from interp.numeric import ratio
from interp.overlap.flat import MapsOnRegions
from interp.stats.intervals import SHARE, Bounds

if TYPE_CHECKING:
    from interp.image.grid import ImageGrid
    from interp.overlap.regions import Region

MEASURES = ("cosine", "mass", "lift", "hit", "hit_near", "auroc", "precision", "nss", "distance")
"""Of a map against a region, see `measure_regions`."""

WITHIN = dict.fromkeys(("cosine", "mass", "hit", "hit_near", "auroc", "precision", "distance"), SHARE)
"""The least and the most that a measure can be, of attention that sums to one or less."""

SCALED = ("mass", "lift")
"""The measures that know how much weight there is: 0 for a map without any, where the others are undefined."""


def measure_regions(
    maps: Real[np.ndarray, "*maps token"],
    regions: Sequence[Region],
    grid: ImageGrid,
    *,
    measures: Sequence[str] = MEASURES,
    kept: Bool[np.ndarray, "*#maps token"] | None = None,
    even_mass: float | Float[np.ndarray, "*#maps"] = 1.0,
) -> dict[str, Float[np.ndarray, "region ..."]]:
    """Measure maps against regions, all at once.

    With a the map and m a region's mask. In auroc, precision, nss and distance a token counts by its own area, with
    the share m of it inside the region and the rest outside, so that they are what counting pixels gives where each
    pixel has its token's value (and counts once in each view that shows it).

    * cosine: a.m / (|a| |m|). mass: a.m. lift: mass over what a map spread evenly over the tokens would put there.
    * hit: 1 if the token with most weight is a target; tied tokens count as the mean of their hits. hit_near: 1 if it
      is a target or has one among its 8 neighbours in the same view.
    * auroc: how often a spot inside the region has more weight than one outside, ties counting half.
    * precision: average precision: over spots inside the region, the mean share, among all spots that have as much
      weight or more, of those that are inside.
    * nss: normalised scanpath saliency (Peters et al. 2005): mean inside the region of the map, standardised over the
      photo. NaN for a map that is the same everywhere.
    * distance: from the map's centroid to the region's centre, in pixels, over the photo's diagonal; weight on tokens
      that saw only padding is left out.

    Args:
        maps: weights, none negative; they need not sum to one. One without weight, or with NaN, gives NaN (but mass
            and lift of one without weight are 0).
        regions: what `region_of` gave, on the same grid; one of which nothing was seen gives NaN.
        grid: the geometry of the tokens.
        measures: some of `MEASURES`.
        kept: which tokens take part; those that do not are as if they were not there. All by default.
        even_mass: what an even map puts on all tokens, for lift.

    Returns:
        float64 [region *maps] per measure.

    Example:
        >>> measure_regions(weights, [region], grid)["auroc"].shape  # weights [32 33 576]
        (1, 32, 33)

    Raises:
        InputError: a measure is not known, or the maps have another number of tokens than the grid.
    """
    unknown = [name for name in measures if name not in MEASURES]
    if unknown:
        raise InputError(f"measures {unknown} are not known: use some of {', '.join(MEASURES)}")
    flat = MapsOnRegions.of(maps, regions, grid, kept, even_mass)
    found = {name: _FUNCTIONS[name](flat) for name in measures}
    for name, values in found.items():
        defined = flat.inside > 0 if name in SCALED else (flat.inside > 0) & (flat.total > 0)
        values[~np.broadcast_to(defined, values.shape)] = np.nan
    return {name: values.T.reshape(len(regions), *np.shape(maps)[:-1]) for name, values in found.items()}


def bounds_of(measure: str, region: str, normalisation: str) -> Bounds | None:
    """What the mean of a measure can not leave, or of its difference between two regions.

    Args:
        measure: one of `MEASURES`, or of maps.
        region: the region, or two with " minus " between.
        normalisation: the normalisation of the attention.

    Returns:
        The bounds; None if they are not known.

    Example:
        >>> bounds_of("mass", "first minus second", "image"), bounds_of("nss", "union", "image")
        ((-1.0, 1.0), None)
    """
    if measure not in WITHIN or (measure in SCALED and normalisation == "relative"):
        return None
    low, high = WITHIN[measure]
    return (low - high, high - low) if " minus " in region else (low, high)


def _cosine(flat: MapsOnRegions) -> np.ndarray:
    lengths = np.linalg.norm(flat.weights, axis=1, keepdims=True)
    return ratio(flat.mass, lengths * np.sqrt(flat.kept @ flat.masks**2))


def _mass(flat: MapsOnRegions) -> np.ndarray:
    return flat.mass.copy()


def _lift(flat: MapsOnRegions) -> np.ndarray:
    share = ratio(flat.kept @ flat.masks, flat.kept.sum(axis=1, keepdims=True))
    return ratio(flat.mass, flat.even_mass * share)


def _hit(flat: MapsOnRegions) -> np.ndarray:
    return _hits(flat, flat.targets)


def _hit_near(flat: MapsOnRegions) -> np.ndarray:
    return _hits(flat, flat.near)


def _hits(flat: MapsOnRegions, targets: np.ndarray) -> np.ndarray:
    """Share of the top tokens that are targets; NaN where no target takes part."""
    hits = flat.top @ targets / np.maximum(flat.top.sum(axis=1, keepdims=True), 1)
    return np.where(flat.kept @ targets > 0, hits, np.nan)


def _auroc(flat: MapsOnRegions) -> np.ndarray:
    """A spot inside beats the area below it; of its rivals that lie inside too, it beats half on average."""
    less, up_to = flat.below
    beaten = np.empty(less.size)
    beaten[flat.places] = (less + up_to) / 2
    won = (flat.areas * beaten.reshape(less.shape)) @ flat.masks - flat.inside**2 / 2
    return ratio(won, flat.inside * (flat.areas @ (1 - flat.masks)))


def _precision(flat: MapsOnRegions) -> np.ndarray:
    found = np.empty((len(flat.weights), flat.masks.shape[1]))
    for place, mask in enumerate(flat.masks.T):
        found[:, place] = _average_precision(flat, mask)
    return found


def _average_precision(flat: MapsOnRegions, mask: np.ndarray) -> np.ndarray | float:
    """Average precision of each map for one region, from the tokens that have a part in it, [map]."""
    own = mask > 0
    if not own.any():
        return np.nan
    some = np.flatnonzero(own[flat.order]).reshape(-1, own.sum())
    part, less = flat.ordered(flat.areas * mask, some), flat.below[0].ravel()[some]
    inside = np.cumsum(part, axis=1)
    first = np.hstack([np.ones((len(part), 1), dtype=bool), less[:, 1:] != less[:, :-1]])
    found = inside[:, -1:] - np.maximum.accumulate(np.where(first, inside - part, 0), axis=1)
    return ratio(np.sum(part * ratio(found, 1 - less), axis=1, where=part > 0), inside[:, -1])


def _nss(flat: MapsOnRegions) -> np.ndarray:
    weighted = flat.areas * flat.weights
    mean = weighted.sum(axis=1, keepdims=True)
    spread = np.sqrt((flat.areas * (flat.weights - mean) ** 2).sum(axis=1, keepdims=True))
    spread[spread <= ROUNDING * mean] = 0
    return ratio(ratio(weighted @ flat.masks, flat.inside) - mean, spread)


def _distance(flat: MapsOnRegions) -> np.ndarray:
    boxes = flat.grid.boxes
    placed = np.where(flat.areas > 0, flat.weights, 0.0)
    centroids = ratio(placed @ ((boxes[:, :2] + boxes[:, 2:]) / 2), placed.sum(axis=1, keepdims=True))
    return np.linalg.norm(centroids[:, None] - flat.centres, axis=-1) / np.hypot(*flat.grid.image_size)


_FUNCTIONS: dict[str, Callable[[MapsOnRegions], np.ndarray]] = dict(
    zip(MEASURES, (_cosine, _mass, _lift, _hit, _hit_near, _auroc, _precision, _nss, _distance), strict=True)
)
