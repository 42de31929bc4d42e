"""Overlap: does attention over the image lie where the objects are, layer by layer and head by head."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from interp.errors import InputError
from interp.trajectory import NORMALISATIONS, Trajectory, normalise

if TYPE_CHECKING:
    import pandas as pd

    from interp.boxes import Box, Boxes
    from interp.grid import ImageGrid

UNION = "union"
"""The region of all boxes together: what the paper's cosine is taken with."""

HEAD_MEAN = -1
"""The head number, in tables, of attention averaged over heads before it is measured; it is last in the arrays."""

MEASURES = ("cosine", "mass", "lift", "hit")
NULLS = {"cosine": "cosine_even", "mass": "mass_even", "lift": "lift_even", "hit": "hit_even"}
"""The column that says what attention spread evenly would score in each measure."""


def overlap(
    attention: Trajectory | Float[np.ndarray, "layer head token"] | Float[np.ndarray, "layer head step token"],
    grid: ImageGrid,
    boxes: Boxes | Sequence[Box],
    *,
    sample_id: str | None = None,
    normalisations: Sequence[str] = ("image",),
) -> Overlap:
    """Compare attention over the image tokens with the boxes of the objects.

    Regions are each box, under its label (a second box of the same label is called `label 2`), and `UNION`. With a the
    attention over the image tokens in the given normalisation, and m the share of each token's own area that lies in
    the region (area-weighted, so that a box smaller than a token counts):

    * cosine: a.m / (|a| |m|), the overlap of Chen et al. 2025 (arXiv:2503.01773), there with a binary mask. On its own
      scale: even attention scores the square root of the area share, not zero.
    * mass: a.m, the attention inside the boxes.
    * lift: mass over what even attention would put there (for one view of equal tokens, the boxes' area share).
    * hit: the pointing game. The token with most attention counts as a hit if some box of the region covers at least
      half as much of it as of the token that this box covers most; so boxes thinner or smaller than a token can be
      hit, and a token merely grazed by a large box is a miss. Tied tokens count as the mean of their hits.

    The head mean is the paper's: weights are averaged over heads and then measured. It is not the mean of the heads'
    measures. Boxes that lie outside the part of the photo that the model saw give NaN; the union is that of the boxes
    that were seen, and NaN if none was, or if there is no box at all.

    Args:
        attention: a trajectory, or weights over the image tokens [layer head token] or [layer head step token].
        grid: the geometry of those tokens.
        boxes: the objects, in pixels of the original photo.
        sample_id: goes into every row of the table; the trajectory's own by default.
        normalisations: of `NORMALISATIONS`; `keys` needs a trajectory.

    Example:
        >>> found = overlap(measured, grid, boxes)
        >>> found.values("cosine")[17, HEAD_MEAN]  # layer 17, head mean

    Raises:
        InputError: shapes do not fit, weights are negative or not finite, or a name is not known.
    """
    weights = _weights(attention, len(grid))
    if not normalisations:
        raise InputError(f"no normalisation was asked for: use some of {', '.join(NORMALISATIONS)}")
    even_mass = {name: _even_mass(attention, weights, name) for name in normalisations}
    regions = _regions(list(boxes), grid)
    scores = [[_measures(weights, region, name, mass) for region in regions] for name, mass in even_mass.items()]
    even = [[_even(region, mass) for region in regions] for mass in even_mass.values()]
    name = getattr(attention, "sample_id", "") if sample_id is None else sample_id
    return Overlap(
        sample_id=name,
        normalisations=tuple(even_mass),
        regions=tuple(region.name for region in regions),
        measures={key: np.array([[one[key] for one in row] for row in scores], np.float32) for key in MEASURES},
        even={key: np.array([[one[key] for one in row] for row in even], np.float32) for key in MEASURES},
        area_share=np.array([region.area_share for region in regions], np.float32),
        coverage=np.array([region.coverage for region in regions], np.float32),
        objects=tuple(region.objects for region in regions),
        objects_seen=tuple(region.objects_seen for region in regions),
        generated=attention.generated if isinstance(attention, Trajectory) else np.ndim(attention) == 4,
    )


@dataclass(frozen=True, eq=False)
class Overlap:
    """How attention and boxes agree in one sample. The head axis ends with the head mean: index -1 is it.

    Attributes:
        sample_id: which sample.
        normalisations: names of the first axis.
        regions: names of the second axis, the union last.
        measures: float32 [normalisation region layer head+1 step] per measure; NaN where undefined.
        even: what evenly spread attention scores, float32 [normalisation region step] per measure.
        area_share: share of the seen photo that each region covers, float32 [region].
        coverage: share of the boxes' own areas that the model saw, float32 [region]; NaN without boxes.
        objects: how many boxes each region has.
        objects_seen: how many of them the model saw any part of.
        generated: whether the steps are generated tokens.

    Example:
        >>> found.values("cosine").shape  # 12 layers; 8 heads and their mean
        (12, 9)
    """

    sample_id: str
    normalisations: tuple[str, ...]
    regions: tuple[str, ...]
    measures: dict[str, np.ndarray]
    even: dict[str, np.ndarray]
    area_share: Float[np.ndarray, " region"]
    coverage: Float[np.ndarray, " region"]
    objects: tuple[int, ...]
    objects_seen: tuple[int, ...]
    generated: bool = False

    def values(self, measure: str, *, region: str = UNION, normalisation: str = "image") -> np.ndarray:
        """One measure, float32 [layer head+1], or [layer head+1 step] for generated tokens; head -1 is the head mean.

        Raises:
            InputError: the measure, region or normalisation is not here.
        """
        place = self._place(measure, region, normalisation)
        found = self.measures[measure][place]
        return found if self.generated else found[..., 0]

    def by_layer(self, measure: str, *, region: str = UNION, normalisation: str = "image") -> np.ndarray:
        """One measure of the head mean, float32 [layer], mean over steps; NaN where it is undefined.

        Raises:
            InputError: the measure, region or normalisation is not here.
        """
        return self.measures[measure][self._place(measure, region, normalisation)][:, -1].mean(-1)

    def best_layer(self, measure: str, *, region: str = UNION, normalisation: str = "image") -> int | None:
        """The layer where a measure of the head mean is highest; None where it is undefined everywhere."""
        found = self.by_layer(measure, region=region, normalisation=normalisation)
        return None if np.isnan(found).all() else int(np.nanargmax(found))

    def even_score(self, measure: str, *, region: str = UNION, normalisation: str = "image") -> float:
        """What evenly spread attention scores in a measure, mean over steps: the chance line of a figure.

        Raises:
            InputError: the measure, region or normalisation is not here.
        """
        return float(self.even[measure][self._place(measure, region, normalisation)].mean())

    def to_dataframe(self) -> pd.DataFrame:
        """One row per sample, layer, head, step, region and normalisation; measures are float32 columns.

        Head `HEAD_MEAN` (-1) is the head mean: leave it out before averaging over heads. Beside each measure stands
        what even attention would score (`cosine_even` and so on); beside those `area_share`, `coverage`, `objects`
        and `objects_seen`.
        """
        import pandas as pd

        shape = self.measures["cosine"].shape
        kind, region, layer, head, step = (axis.ravel().astype(np.int32) for axis in np.indices(shape))
        head[head == shape[3] - 1] = HEAD_MEAN
        even = {NULLS[key]: self.even[key][kind, region, step] for key in MEASURES}
        return pd.DataFrame(
            {
                "sample": self.sample_id,
                "layer": layer,
                "head": head,
                "step": step,
                "region": np.array(self.regions, dtype=object)[region],
                "normalisation": np.array(self.normalisations, dtype=object)[kind],
                **{key: self.measures[key].ravel() for key in MEASURES},
                **even,
                "area_share": self.area_share[region],
                "coverage": self.coverage[region],
                "objects": np.array(self.objects, dtype=np.int32)[region],
                "objects_seen": np.array(self.objects_seen, dtype=np.int32)[region],
            }
        )

    def to_long(self, measures: Sequence[str] = MEASURES, *, regions: Sequence[str] | None = None) -> pd.DataFrame:
        """One row per measure as well: columns `measure` and `value` in place of a column per measure.

        Args:
            measures: which measures.
            regions: which regions; all by default.

        Raises:
            InputError: a measure or region is not here.
        """
        for name in regions or self.regions:
            for measure in measures:
                self._place(measure, name, self.normalisations[0])
        frame = self.to_dataframe()
        frame = frame[frame["region"].isin(regions or self.regions)]
        keys = ["sample", "layer", "head", "step", "region", "normalisation"]
        return frame.melt(keys, list(measures), var_name="measure", value_name="value")

    def _place(self, measure: str, region: str, normalisation: str) -> tuple[int, int]:
        """Where a region in a normalisation stands; refuses names that are not here."""
        known = {"measure": MEASURES, "region": self.regions, "normalisation": self.normalisations}
        for what, name in (("measure", measure), ("region", region), ("normalisation", normalisation)):
            if name not in known[what]:
                raise InputError(f"{what} {name!r} is not in this overlap: use one of {', '.join(known[what])}")
        return self.normalisations.index(normalisation), self.regions.index(region)


@dataclass(frozen=True, eq=False)
class _Region:
    """A region as the tokens see it: `mask` and `target` are [token], NaN or empty where nothing was seen."""

    name: str
    mask: np.ndarray
    target: np.ndarray
    area_share: float
    coverage: float
    objects: int
    objects_seen: int


def _regions(boxes: list[Box], grid: ImageGrid) -> list[_Region]:
    """Each box, and their union."""
    names: list[str] = []
    for box in boxes:
        before = sum(other.label == box.label for other in boxes[: len(names)])
        names.append(f"{box.label} {before + 1}" if before else box.label)
    if UNION in names or len(set(names)) < len(names):
        raise InputError(f"box labels {names} would name two regions alike, or one {UNION!r}: rename the boxes")
    return [_region(name, [box], grid) for name, box in zip(names, boxes, strict=True)] + [_region(UNION, boxes, grid)]


def _region(name: str, boxes: list[Box], grid: ImageGrid) -> _Region:
    """What the tokens of a grid see of some boxes."""
    areas = np.array([box.area for box in boxes])
    shares = np.array([grid.seen_share(box) for box in boxes])
    coverage = float(areas @ shares / areas.sum()) if boxes else np.nan
    masks = [grid.membership(box).astype(np.float64) for box in boxes]
    seen = [(box, mask) for box, mask in zip(boxes, masks, strict=True) if mask.max() > 0]
    if not seen:
        nothing = np.full(len(grid), np.nan)
        return _Region(name, nothing, nothing, 0.0 if boxes else np.nan, coverage, len(boxes), 0)
    seen_boxes = [box for box, _ in seen]
    mask = grid.union_membership(seen_boxes).astype(np.float64)
    target = np.any([own >= own.max() / 2 for _, own in seen], axis=0).astype(np.float64)
    return _Region(name, mask, target, grid.area_share(seen_boxes), coverage, len(boxes), len(seen))


def _measures(weights: np.ndarray, region: _Region, normalisation: str, even_mass: np.ndarray) -> dict[str, np.ndarray]:
    """The measures of one region, [layer head+1 step] each; one layer at a time in memory."""
    layers = [_measure_layer(normalise(_with_head_mean(layer), normalisation), region, even_mass) for layer in weights]
    return {key: np.stack([layer[key] for layer in layers]) for key in MEASURES}


def _measure_layer(rows: np.ndarray, region: _Region, even_mass: np.ndarray) -> dict[str, np.ndarray]:
    """The measures of one region in one layer, [head step] each, from normalised weights [head step token]."""
    rows = rows.astype(np.float64)
    mass, total = rows @ region.mask, rows.sum(axis=-1)
    top = (rows == rows.max(axis=-1, keepdims=True)).astype(np.float64)
    return {
        "cosine": _ratio(mass, np.linalg.norm(rows, axis=-1) * np.linalg.norm(region.mask)),
        "mass": mass,
        "lift": mass / (even_mass * region.mask.mean()),
        "hit": np.where(total > 0, (top @ region.target) / np.maximum(top.sum(axis=-1), 1), np.nan),
    }


def _even(region: _Region, even_mass: np.ndarray) -> dict[str, np.ndarray]:
    """What evenly spread attention scores in each measure, [step] each."""
    mask = region.mask
    scores = {
        "cosine": mask.sum() / (np.sqrt(len(mask)) * np.linalg.norm(mask)),
        "mass": even_mass * mask.mean(),
        "lift": mask.mean() / mask.mean(),
        "hit": region.target.mean(),
    }
    return {key: np.broadcast_to(value, even_mass.shape) for key, value in scores.items()}


def _weights(attention: Trajectory | np.ndarray, n_tokens: int) -> np.ndarray:
    """Weights over the image tokens [layer head step token]; refuses what can not be weights."""
    weights = attention.image_attention if isinstance(attention, Trajectory) else np.asarray(attention)
    weights = weights[:, :, None] if weights.ndim == 3 else weights
    if weights.ndim != 4 or weights.shape[-1] != n_tokens or 0 in weights.shape:
        raise InputError(
            f"attention over the image has shape {weights.shape} but the grid has {n_tokens} tokens: "
            "give [layer head token] or [layer head step token] of the same image"
        )
    if not np.isfinite(weights).all() or weights.min() < 0:
        raise InputError("attention over the image holds negative weights, infinities or NaN: give it after softmax")
    return weights


def _with_head_mean(weights: np.ndarray) -> np.ndarray:
    """One layer's [head step token] in float64 with one more head at the end: the mean of the weights."""
    return np.concatenate([weights, weights.mean(axis=0, keepdims=True, dtype=np.float64)])


def _even_mass(attention: Trajectory | np.ndarray, weights: np.ndarray, normalisation: str) -> np.ndarray:
    """What evenly spread attention puts on the whole image at each step, [step]: 1 within the image."""
    if normalisation == "image":
        return np.ones(weights.shape[2])
    if normalisation not in NORMALISATIONS:
        raise InputError(f"normalisation {normalisation!r} is not known: use some of {', '.join(NORMALISATIONS)}")
    if not isinstance(attention, Trajectory):
        raise InputError("normalisation 'keys' needs to know how many keys there were: give a trajectory, not an array")
    return weights.shape[-1] / attention.visible_keys


def _ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """Division that gives NaN for nothing over nothing."""
    return np.divide(above, below, out=np.full(above.shape, np.nan), where=below > 0)
