"""Overlap: does attention over the image lie where the objects are, layer by layer and head by head."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float

from interp.errors import InputError
from interp.layers import HEAD_MEAN
from interp.maps.trajectory import Trajectory
from interp.overlap.map_measures import MAP_MEASURES
from interp.overlap.measures import MEASURES
from interp.overlap.normalised import NormalisedMaps, normalised
from interp.overlap.nulls import null_column
from interp.overlap.regions import UNION, Region, regions_of
from interp.reprs import fits_a_cell

if TYPE_CHECKING:
    import pandas as pd

    from interp.image.boxes import Box, Boxes
    from interp.image.grid import ImageGrid

EVEN_COLUMNS = {name: null_column(name, "even") for name in MEASURES}
"""The column that says what attention spread evenly would score in each measure."""

LESS_IS_BETTER = ("distance",)
"""Of `MEASURES`, those that are low where attention lies on the region."""


def overlap(
    attention: Trajectory | Float[np.ndarray, "layer head token"] | Float[np.ndarray, "layer head step token"],
    grid: ImageGrid,
    boxes: Boxes | Sequence[Box] = (),
    *,
    regions: Mapping[str, Boxes | Sequence[Box]] | None = None,
    contrast: tuple[str, str] | None = None,
    sample_id: str | None = None,
    normalisations: Sequence[str] = ("image",),
    sinks: Bool[np.ndarray, "... token"] | None = None,
    neutral: Trajectory | Float[np.ndarray, "layer head ... token"] | None = None,
) -> Overlap:
    """Compare attention over the image tokens with the boxes of the objects.

    Regions are each box, under its label (a second box of the same label is called `label 2`), or what `regions` says;
    and `UNION`. With a the attention over the image tokens in the given normalisation, and m the share of each token's
    own area that lies in the region (area-weighted, so that a box smaller than a token counts):

    * cosine: a.m / (|a| |m|), the overlap of Chen et al. 2025 (arXiv:2503.01773), there with a binary mask. On its own
      scale: even attention scores the square root of the area share, not zero.
    * mass: a.m, the attention inside the boxes.
    * lift: mass over what even attention would put there (for one view of equal tokens, the boxes' area share).
    * hit: the pointing game. The token with most attention counts as a hit if some box of the region covers at least
      half as much of it as of the token that this box covers most; so boxes thinner or smaller than a token can be
      hit, and a token merely grazed by a large box is a miss. Tied tokens count as the mean of their hits. hit_near:
      the same with a tolerance of one token.
    * auroc, precision: how well a ranks the photo's area, inside the boxes over outside. nss: a, standardised, in the
      boxes. distance: from a's centroid to the region's centre; alone of all, less is better. See
      `interp.overlap.measures`.
    * spatial_entropy, peaks: how scattered a is, whatever the boxes; see `interp.overlap.map_measures.measure_maps`.

    The head mean is the paper's: weights are averaged over heads and then measured. It is not the mean of the heads'
    measures. Boxes that lie outside the part of the photo that the model saw give NaN; the union is that of the boxes
    that were seen, and NaN if none was, or if there is no box at all.

    Args:
        attention: a trajectory, or weights over the image tokens [layer head token] or [layer head step token].
        grid: the geometry of those tokens.
        boxes: the objects, in pixels of the original photo.
        regions: the boxes by role, in place of `boxes`, such as {"first": [mug], "second": []}: several or none each. A
            box of two roles counts once in the union.
        contrast: two regions whose difference becomes one more, called such as `first minus second`: each measure on
            the one less that on the other.
        sample_id: goes into every row of the table; the trajectory's own by default.
        normalisations: some of `NORMALISATIONS`; `keys` needs a trajectory, `no-sinks` sinks, `relative` neutral
            attention.
        sinks: which image tokens are sinks, bool [token], [layer token] or [layer head token], see `interp.maps.sinks`:
            with `no-sinks` everything is as if they were not there. The head mean leaves out each head's own.
        neutral: attention to the same image under a neutral prompt, in the form of `attention`, or of one step.

    Example:
        >>> found = overlap(measured, grid, boxes)
        >>> found.values("cosine")[17, HEAD_MEAN]  # layer 17, head mean

    Raises:
        InputError: shapes do not fit, weights are negative or not finite, a name is not known, or a normalisation lacks
            what it needs.
    """
    kinds = normalised(attention, len(grid), normalisations, sinks=sinks, neutral=neutral)
    places = regions_of(boxes, regions, contrast, grid)
    scores, even = _scores(kinds, places, grid), [kind.even(places, grid) for kind in kinds]
    measures, nulls = _stacked(scores, MEASURES), _stacked(even, MEASURES)
    if contrast:
        first, second = ([place.name for place in places].index(name) for name in contrast)
        for values in (*measures.values(), *nulls.values()):
            values[:, -1] = values[:, first] - values[:, second]
    return Overlap(
        sample_id=getattr(attention, "sample_id", "") if sample_id is None else sample_id,
        normalisations=tuple(kind.name for kind in kinds),
        regions=tuple(place.name for place in places),
        measures=measures,
        even=nulls,
        area_share=np.array([place.area_share for place in places], np.float32),
        coverage=np.array([place.coverage for place in places], np.float32),
        objects=tuple(place.objects for place in places),
        objects_seen=tuple(place.objects_seen for place in places),
        generated=attention.generated if isinstance(attention, Trajectory) else np.ndim(attention) == 4,
        map_measures=_stacked(scores, MAP_MEASURES),
    )


@fits_a_cell("sample_id regions normalisations measures.cosine measures")
@dataclass(frozen=True, eq=False)
class Overlap:
    """How attention and boxes agree in one sample. The head axis ends with the head mean: index -1 is it.

    Attributes:
        sample_id: which sample.
        normalisations: names of the first axis.
        regions: names of the second axis: the boxes or roles, the union, and last the contrast if one was asked for.
        measures: float32 [normalisation region layer head+1 step] per measure of `MEASURES`; NaN where undefined.
        even: what evenly spread attention scores, float32 [normalisation region step] per measure of `MEASURES`; where
            sinks differ between layers or heads, its mean over them.
        area_share: share of the seen photo that each region covers, float32 [region]; of a contrast, the difference.
        coverage: share of the boxes' own areas that the model saw, float32 [region]; NaN without boxes; of a contrast,
            the smaller one.
        objects: how many boxes each region has; a contrast has those of both.
        objects_seen: how many of them the model saw any part of.
        generated: whether the steps are generated tokens.
        map_measures: float32 [normalisation layer head+1 step] per measure of `MAP_MEASURES`.

    Example:
        >>> found.values("cosine").shape  # 12 layers; 8 heads and their mean
        (12, 9)
    """

    sample_id: str
    normalisations: tuple[str, ...]
    regions: tuple[str, ...]
    measures: dict[str, Float[np.ndarray, "normalisation region layer head_and_mean step"]]
    even: dict[str, Float[np.ndarray, "normalisation region step"]]
    area_share: Float[np.ndarray, " region"]
    coverage: Float[np.ndarray, " region"]
    objects: tuple[int, ...]
    objects_seen: tuple[int, ...]
    generated: bool = False
    map_measures: dict[str, Float[np.ndarray, "normalisation layer head_and_mean step"]] = field(default_factory=dict)

    def values(
        self, measure: str, *, region: str = UNION, normalisation: str = "image"
    ) -> Float[np.ndarray, "layer head_and_mean *step"]:
        """One measure, float32 [layer head+1], or [layer head+1 step] for generated tokens; head -1 is the head mean.

        Raises:
            InputError: the measure, region or normalisation is not here, or a map's own measure is asked of a region.
        """
        found = self._steps(measure, region, normalisation)
        return found if self.generated else found[..., 0]

    def by_layer(
        self, measure: str, *, region: str = UNION, normalisation: str = "image"
    ) -> Float[np.ndarray, " layer"]:
        """One measure of the head mean, float32 [layer], mean over steps; NaN where it is undefined.

        Raises:
            InputError: as `values` does.
        """
        return self._steps(measure, region, normalisation)[:, -1].mean(-1)

    def best_layer(self, measure: str, *, region: str = UNION, normalisation: str = "image") -> int | None:
        """The layer where attention lies best on the region by a measure of the head mean; None where undefined.

        That is where the measure is highest, and where `distance` is lowest. Measures of the map alone have no best.

        Raises:
            InputError: as `values` does, or it is a map's own measure.
        """
        if measure in MAP_MEASURES:
            raise InputError(f"no {measure} is better than another: ask for one of {', '.join(MEASURES)}")
        found = self.by_layer(measure, region=region, normalisation=normalisation)
        if np.isnan(found).all():
            return None
        return int(np.nanargmin(found) if measure in LESS_IS_BETTER else np.nanargmax(found))

    def even_score(self, measure: str, *, region: str = UNION, normalisation: str = "image") -> float:
        """What evenly spread attention scores in a measure, mean over steps: the chance line of a figure.

        Raises:
            InputError: the measure, region or normalisation is not here, or it is a map's own measure.
        """
        self._check(measure, region, normalisation)
        if measure not in MEASURES:
            raise InputError(f"even attention has no {measure}: ask for one of {', '.join(MEASURES)}")
        kind, place = self.normalisations.index(normalisation), self.regions.index(region)
        return float(self.even[measure][kind, place].mean())

    def to_dataframe(self) -> pd.DataFrame:
        """One row per sample, layer, head, step, region and normalisation; measures are float32 columns.

        Head `HEAD_MEAN` (-1) is the head mean: leave it out before averaging over heads. Beside each measure stands
        what even attention would score (`cosine_even` and so on); beside those the maps' own measures, the same for
        every region, and `area_share`, `coverage`, `objects` and `objects_seen`.
        """
        import pandas as pd

        shape = self.measures["cosine"].shape
        kind, region, layer, head, step = (axis.ravel().astype(np.int32) for axis in np.indices(shape))
        own = {key: values[kind, layer, head, step] for key, values in self.map_measures.items()}
        head[head == shape[3] - 1] = HEAD_MEAN
        even = {EVEN_COLUMNS[key]: self.even[key][kind, region, step] for key in MEASURES}
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
                **own,
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
                self._check(measure, name, self.normalisations[0])
        frame = self.to_dataframe()
        frame = frame[frame["region"].isin(regions or self.regions)]
        keys = ["sample", "layer", "head", "step", "region", "normalisation"]
        return frame.melt(keys, list(measures), var_name="measure", value_name="value")

    def _check(self, measure: str, region: str, normalisation: str) -> None:
        """Refuse names that are not here."""
        known = {"measure": (*MEASURES, *self.map_measures), "region": self.regions}
        known["normalisation"] = self.normalisations
        for what, name in (("measure", measure), ("region", region), ("normalisation", normalisation)):
            if name not in known[what]:
                raise InputError(f"{what} {name!r} is not in this overlap: use one of {', '.join(known[what])}")

    def _steps(self, measure: str, region: str, normalisation: str) -> Float[np.ndarray, "layer head_and_mean step"]:
        """One measure, [layer head+1 step]."""
        self._check(measure, region, normalisation)
        kind = self.normalisations.index(normalisation)
        if measure in MEASURES:
            return self.measures[measure][kind, self.regions.index(region)]
        if region != UNION:
            raise InputError(f"{measure} is of the map and not of a region: leave out region={region!r}")
        return self.map_measures[measure][kind]


def _scores(kinds: list[NormalisedMaps], regions: list[Region], grid: ImageGrid) -> list[dict[str, np.ndarray]]:
    """All measures in each normalisation; `image` and `keys` are measured but once."""
    done = {kind.name: kind.measure(regions, grid) for kind in kinds if kind.name != "keys"}
    for kind in kinds:
        if kind.name == "keys":
            image = replace(kind, name="image", even_mass=np.ones_like(kind.even_mass))
            within = done.get("image") or image.measure(regions, grid)
            done["keys"] = kind.over_keys(within, regions)
    return [done[kind.name] for kind in kinds]


def _stacked(found: list[dict[str, np.ndarray]], names: Sequence[str]) -> dict[str, np.ndarray]:
    """Measures in all normalisations, float32 [normalisation ...] each."""
    return {name: np.array([one[name] for one in found], np.float32) for name in names}
