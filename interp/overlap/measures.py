"""Measures: regions of a photo as its image tokens see them, and how maps over the tokens agree with them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Float, Real

from interp.errors import InputError
from interp.image.lattice import ROUNDING, flat_maps, with_neighbours
from interp.numeric import ratio
from interp.reprs import fits_a_cell

if TYPE_CHECKING:
    from interp.image.boxes import Box, Boxes
    from interp.image.grid import ImageGrid

MEASURES = ("cosine", "mass", "lift", "hit", "hit_near", "auroc", "precision", "nss", "distance")
"""Of a map against a region, see `measure_regions`."""

MAP_MEASURES = ("spatial_entropy", "peaks")
"""Of a map alone, see `interp.overlap.map_measures.measure_maps`."""

SCALED = ("mass", "lift")
"""The measures that know how much weight there is: 0 for a map without any, where the others are undefined."""

UNION = "union"
"""The region of all boxes together: what the paper's cosine is taken with."""


@fits_a_cell()
@dataclass(frozen=True, eq=False)
class Region:
    """Some boxes as the image tokens see them, from `region_of`.

    Attributes:
        name: what tables call it.
        mask: share of each token's own area that lies in the boxes, float64 [token]; NaN where no box was seen.
        target: 1 for a token that hits them, else 0, float64 [token]: some box covers at least half as much of it as
            of the token that this box covers most. NaN where no box was seen.
        near: the same for tokens that hit, or have among their 8 neighbours in the same view one that does.
        centre: (x, y) of the middle of the area that was seen of the boxes, in pixels of the photo.
        area_share: share of the seen photo that they cover; 0 where none was seen, NaN without boxes.
        coverage: share of the boxes' own areas that was seen; NaN without boxes.
        objects: how many boxes there are.
        objects_seen: how many of them the model saw any part of.
    """

    name: str
    mask: Float[np.ndarray, " token"]
    target: Float[np.ndarray, " token"]
    near: Float[np.ndarray, " token"]
    centre: tuple[float, float]
    area_share: float
    coverage: float
    objects: int
    objects_seen: int


def region_of(boxes: Boxes | Sequence[Box], grid: ImageGrid, *, name: str = UNION) -> Region:
    """What the tokens of a grid see of some boxes together.

    Example:
        >>> region_of([Box("mug", (10, 20, 50, 80))], grid, name="first").mask.shape
        (576,)
    """
    areas = np.array([box.area for box in boxes])
    shares = np.array([grid.seen_share(box) for box in boxes])
    coverage = float(areas @ shares / areas.sum()) if len(boxes) else np.nan
    masks = [grid.membership(box).astype(np.float64) for box in boxes]
    seen = [(box, mask) for box, mask in zip(boxes, masks, strict=True) if mask.max() > 0]
    if not seen:
        nothing = np.full(len(grid), np.nan)
        share = 0.0 if len(boxes) else np.nan
        return Region(name, nothing, nothing, nothing, (np.nan, np.nan), share, coverage, len(boxes), 0)
    seen_boxes = [box for box, _ in seen]
    mask = grid.union_membership(seen_boxes).astype(np.float64)
    target = np.any([own >= own.max() / 2 for _, own in seen], axis=0).astype(np.float64)
    near, centre = with_neighbours(target, grid), _centre(seen_boxes, grid.seen)
    return Region(name, mask, target, near, centre, grid.area_share(seen_boxes), coverage, len(boxes), len(seen))


def regions_of(
    boxes: Boxes | Sequence[Box],
    roles: Mapping[str, Boxes | Sequence[Box]] | None,
    contrast: tuple[str, str] | None,
    grid: ImageGrid,
) -> list[Region]:
    """Each box under its label, or each role under its name; their union; and the place of a contrast, if any.

    The contrast is of two regions, and is itself seen by no token: its measures are differences of theirs.

    Raises:
        InputError: both boxes and roles, two regions of one name, or a contrast of what is not there.
    """
    if roles is None:
        every = list(boxes)
        named = [(_numbered(place, every), [box]) for place, box in enumerate(every)]
    elif len(boxes):
        raise InputError("boxes and regions were both given, and either names the regions: give one of them")
    else:
        named = [(name, list(own)) for name, own in roles.items()]
        each = [box for _, own in named for box in own]
        every = [box for place, box in enumerate(each) if box not in each[:place]]
    found = [region_of(own, grid, name=name) for name, own in (*named, (UNION, every))]
    found += [_difference(found, contrast)] if contrast else []
    names = [region.name for region in found]
    if len(set(names)) < len(names):
        raise InputError(f"of the regions {names} two have one name: rename the boxes or regions")
    return found


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
        regions: from `region_of`, on the same grid; one of which nothing was seen gives NaN.
        grid: the geometry of the tokens.
        measures: of `MEASURES`.
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
    scene = _Scene.of(maps, regions, grid, kept, even_mass)
    found = {name: _FUNCTIONS[name](scene) for name in measures}
    for name, values in found.items():
        defined = scene.inside > 0 if name in SCALED else (scene.inside > 0) & (scene.total > 0)
        values[~np.broadcast_to(defined, values.shape)] = np.nan
    return {name: values.T.reshape(len(regions), *np.shape(maps)[:-1]) for name, values in found.items()}


def even_scores(
    regions: Sequence[Region],
    grid: ImageGrid,
    *,
    kept: Bool[np.ndarray, "*#maps token"] | None = None,
    even_mass: float | Float[np.ndarray, "*#maps"] = 1.0,
) -> dict[str, Float[np.ndarray, "region ..."]]:
    """What attention spread evenly over the tokens scores in each measure: exact, by measuring it.

    auroc is 0.5 and lift 1; mass and hit are shares of the tokens, precision a share of their area, and cosine the root
    of a share where tokens lie wholly in or out. Even attention itself has no nss, as it does not vary; 0 is given: the
    mean of any standardised map over the whole photo, and so what a map that knows nothing of the region scores.

    Args:
        regions: as in `measure_regions`.
        grid: likewise.
        kept: likewise; attention is then spread over the tokens that take part.
        even_mass: what all tokens hold together.
    """
    shape = np.broadcast_shapes(np.shape(even_mass), () if kept is None else np.shape(kept)[:-1])
    playing = np.broadcast_to(True if kept is None else kept, (*shape, len(grid)))
    maps = ratio(playing * np.expand_dims(even_mass, -1), playing.sum(axis=-1, keepdims=True))
    found = measure_regions(maps, regions, grid, kept=playing, even_mass=even_mass)
    return found | {"nss": np.where(np.isnan(found["mass"]), np.nan, 0.0)}


@dataclass(frozen=True, eq=False)
class _Scene:
    """Flat maps [map token] and what regions look like to tokens [token region]; `centres` are [region 2], in pixels.

    `kept`, `areas` (which sum to one) and what comes of them have one row for all maps where that is enough.
    """

    weights: np.ndarray
    kept: np.ndarray
    areas: np.ndarray
    even_mass: np.ndarray
    masks: np.ndarray
    targets: np.ndarray
    near: np.ndarray
    centres: np.ndarray
    grid: ImageGrid

    @classmethod
    def of(
        cls,
        maps: np.ndarray,
        regions: Sequence[Region],
        grid: ImageGrid,
        kept: np.ndarray | None,
        even_mass: float | np.ndarray,
    ) -> _Scene:
        weights, playing = flat_maps(maps, grid, kept)
        areas = playing * (grid.boxes[:, 2:] - grid.boxes[:, :2]).prod(axis=1)
        return cls(
            weights,
            playing.astype(np.float64),
            ratio(areas, areas.sum(axis=1, keepdims=True)),
            np.broadcast_to(even_mass, np.shape(maps)[:-1]).reshape(-1, 1),
            _columns([region.mask for region in regions], len(grid)),
            _columns([region.target for region in regions], len(grid)),
            _columns([region.near for region in regions], len(grid)),
            _columns([region.centre for region in regions], 2).T,
            grid,
        )

    @cached_property
    def inside(self) -> np.ndarray:
        """Share of the area that lies in each region, [map region]."""
        return self.areas @ self.masks

    @cached_property
    def total(self) -> np.ndarray:
        """Weight of each map, [map 1]."""
        return self.weights.sum(axis=1, keepdims=True)

    @cached_property
    def mass(self) -> np.ndarray:
        """Weight of each map in each region, [map region]."""
        return self.weights @ self.masks

    @cached_property
    def top(self) -> np.ndarray:
        """1 for the tokens with most weight, [map token]."""
        return (self.weights == self.weights.max(axis=1, keepdims=True)).astype(np.float64)

    @cached_property
    def order(self) -> np.ndarray:
        """The tokens of each map from the least weight to the most, [map token]."""
        return np.argsort(self.weights, axis=1)

    @cached_property
    def places(self) -> np.ndarray:
        """Where these stand in values [map token] laid flat: the quickest way to bring values into that order."""
        return self.order + self.order.shape[1] * np.arange(len(self.order))[:, None]

    def ordered(self, values: np.ndarray, some: np.ndarray | None = None) -> np.ndarray:
        """Values [map token], or one row for all maps, in that order; of it, `some` flat places, or all."""
        where = self.order if len(values) == 1 else self.places
        return values.ravel()[where if some is None else where.ravel()[some]]

    @cached_property
    def below(self) -> tuple[np.ndarray, np.ndarray]:
        """The area that has less weight than each token, and that which has as much or less, in that order."""
        weights, areas = self.ordered(self.weights), self.ordered(self.areas)
        ends, changes = np.cumsum(areas, axis=1), weights[:, 1:] != weights[:, :-1]
        edge = np.ones((len(weights), 1), dtype=bool)
        first, last = np.hstack([edge, changes]), np.hstack([changes, edge])[:, ::-1]  # of a run of ties
        less = np.maximum.accumulate(np.where(first, ends - areas, 0), axis=1)
        return less, np.minimum.accumulate(np.where(last, ends[:, ::-1], 1), axis=1)[:, ::-1]


def _cosine(scene: _Scene) -> np.ndarray:
    lengths = np.linalg.norm(scene.weights, axis=1, keepdims=True)
    return ratio(scene.mass, lengths * np.sqrt(scene.kept @ scene.masks**2))


def _mass(scene: _Scene) -> np.ndarray:
    return scene.mass.copy()


def _lift(scene: _Scene) -> np.ndarray:
    share = ratio(scene.kept @ scene.masks, scene.kept.sum(axis=1, keepdims=True))
    return ratio(scene.mass, scene.even_mass * share)


def _hit(scene: _Scene) -> np.ndarray:
    return _hits(scene, scene.targets)


def _hit_near(scene: _Scene) -> np.ndarray:
    return _hits(scene, scene.near)


def _hits(scene: _Scene, targets: np.ndarray) -> np.ndarray:
    """Share of the top tokens that are targets; NaN where no target takes part."""
    hits = scene.top @ targets / np.maximum(scene.top.sum(axis=1, keepdims=True), 1)
    return np.where(scene.kept @ targets > 0, hits, np.nan)


def _auroc(scene: _Scene) -> np.ndarray:
    """A spot inside beats the area below it; of its rivals that lie inside too, it beats half on average."""
    less, up_to = scene.below
    beaten = np.empty(less.size)
    beaten[scene.places] = (less + up_to) / 2
    won = (scene.areas * beaten.reshape(less.shape)) @ scene.masks - scene.inside**2 / 2
    return ratio(won, scene.inside * (scene.areas @ (1 - scene.masks)))


def _precision(scene: _Scene) -> np.ndarray:
    found = np.empty((len(scene.weights), scene.masks.shape[1]))
    for place, mask in enumerate(scene.masks.T):
        found[:, place] = _average_precision(scene, mask)
    return found


def _average_precision(scene: _Scene, mask: np.ndarray) -> np.ndarray | float:
    """Average precision of each map for one region, from the tokens that have a part in it, [map]."""
    own = mask > 0
    if not own.any():
        return np.nan
    some = np.flatnonzero(own[scene.order]).reshape(-1, own.sum())
    part, less = scene.ordered(scene.areas * mask, some), scene.below[0].ravel()[some]
    inside = np.cumsum(part, axis=1)
    first = np.hstack([np.ones((len(part), 1), dtype=bool), less[:, 1:] != less[:, :-1]])
    found = inside[:, -1:] - np.maximum.accumulate(np.where(first, inside - part, 0), axis=1)
    return ratio(np.sum(part * ratio(found, 1 - less), axis=1, where=part > 0), inside[:, -1])


def _nss(scene: _Scene) -> np.ndarray:
    weighted = scene.areas * scene.weights
    mean = weighted.sum(axis=1, keepdims=True)
    spread = np.sqrt((scene.areas * (scene.weights - mean) ** 2).sum(axis=1, keepdims=True))
    spread[spread <= ROUNDING * mean] = 0
    return ratio(ratio(weighted @ scene.masks, scene.inside) - mean, spread)


def _distance(scene: _Scene) -> np.ndarray:
    boxes = scene.grid.boxes
    placed = np.where(scene.areas > 0, scene.weights, 0.0)
    centroids = ratio(placed @ ((boxes[:, :2] + boxes[:, 2:]) / 2), placed.sum(axis=1, keepdims=True))
    return np.linalg.norm(centroids[:, None] - scene.centres, axis=-1) / np.hypot(*scene.grid.image_size)


_FUNCTIONS: dict[str, Callable[[_Scene], np.ndarray]] = dict(
    zip(MEASURES, (_cosine, _mass, _lift, _hit, _hit_near, _auroc, _precision, _nss, _distance), strict=True)
)


def _columns(parts: Sequence[Any], length: int) -> np.ndarray:
    """Arrays of one length side by side, [length part], also where there is none."""
    return np.array(parts, dtype=np.float64).reshape(-1, length).T


def _centre(boxes: list[Box], seen: tuple[float, float, float, float]) -> tuple[float, float]:
    """The middle of the area that boxes cover together inside what was seen: of the cells between all their edges."""
    corners = np.clip([box.xyxy for box in boxes], np.tile(seen[:2], 2), np.tile(seen[2:], 2))
    xs, ys = np.unique(corners[:, 0::2]), np.unique(corners[:, 1::2])
    along_x = (corners[:, 0, None] <= xs[:-1]) & (xs[1:] <= corners[:, 2, None])  # [box cell]
    along_y = (corners[:, 1, None] <= ys[:-1]) & (ys[1:] <= corners[:, 3, None])
    area = np.outer(np.diff(xs), np.diff(ys)) * np.any(along_x[:, :, None] & along_y[:, None], axis=0)
    x, y = area.sum(axis=1) @ (xs[1:] + xs[:-1]) / 2, area.sum(axis=0) @ (ys[1:] + ys[:-1]) / 2
    return float(x / area.sum()), float(y / area.sum())


def _numbered(place: int, boxes: list[Box]) -> str:
    """A box's label, with a number if it is not the first of this label."""
    label = boxes[place].label
    before = sum(other.label == label for other in boxes[:place])
    return f"{label} {before + 1}" if before else label


def _difference(regions: list[Region], contrast: tuple[str, str]) -> Region:
    """The place of one region minus another, which no token sees."""
    named = {region.name: region for region in regions}
    if len(set(contrast)) != 2 or not set(contrast) <= set(named):
        raise InputError(f"contrast {contrast} can not be taken: give two different ones of {', '.join(named)}")
    one, other = (named[name] for name in contrast)
    nothing = dict.fromkeys(("mask", "target", "near"), np.full(len(one.mask), np.nan))
    return Region(
        name=" minus ".join(contrast),
        **nothing,
        centre=(np.nan, np.nan),
        area_share=one.area_share - other.area_share,
        coverage=float(np.minimum(one.coverage, other.coverage)),
        objects=one.objects + other.objects,
        objects_seen=one.objects_seen + other.objects_seen,
    )
