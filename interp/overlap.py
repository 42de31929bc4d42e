"""Overlap: does attention over the image lie where the objects are, layer by layer and head by head."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float

from interp.errors import InputError
from interp.measures import MAP_MEASURES, MEASURES, SCALED, UNION, Region, even_scores, measure_regions, regions_of
from interp.sinks import measure_maps, ratio
from interp.trajectory import NORMALISATIONS, Trajectory, normalise

if TYPE_CHECKING:
    import pandas as pd

    from interp.boxes import Box, Boxes
    from interp.grid import ImageGrid

HEAD_MEAN = -1
"""The head number, in tables, of attention averaged over heads before it is measured; it is last in the arrays."""

NULLS = {name: f"{name}_even" for name in MEASURES}
"""The column that says what attention spread evenly would score in each measure."""

MAPS_AT_ONCE = 256
"""How many maps are measured together: enough to be quick, few enough to need little memory."""


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
      boxes. distance: from a's centroid to the region's centre; alone of all, less is better. See `interp.measures`.
    * spatial_entropy, peaks: how scattered a is, whatever the boxes; see `interp.sinks.measure_maps`.

    The head mean is the paper's: weights are averaged over heads and then measured. It is not the mean of the heads'
    measures. Boxes that lie outside the part of the photo that the model saw give NaN; the union is that of the boxes
    that were seen, and NaN if none was, or if there is no box at all.

    Args:
        attention: a trajectory, or weights over the image tokens [layer head token] or [layer head step token].
        grid: the geometry of those tokens.
        boxes: the objects, in pixels of the original photo.
        regions: in place of `boxes`, the boxes by role, such as {"first": [mug], "second": []}: several or none each. A
            box of two roles counts once in the union.
        contrast: two regions whose difference becomes one more, called such as `first minus second`: each measure on
            the one less that on the other.
        sample_id: goes into every row of the table; the trajectory's own by default.
        normalisations: of `NORMALISATIONS`; `keys` needs a trajectory, `no-sinks` sinks, `relative` neutral attention.
        sinks: which image tokens are sinks, bool [token], [layer token] or [layer head token], see `interp.sinks`: with
            `no-sinks` everything is as if they were not there. The head mean leaves out each head's own.
        neutral: attention to the same image under a neutral prompt, in the form of `attention`, or of one step.

    Example:
        >>> found = overlap(measured, grid, boxes)
        >>> found.values("cosine")[17, HEAD_MEAN]  # layer 17, head mean

    Raises:
        InputError: shapes do not fit, weights are negative or not finite, a name is not known, or a normalisation lacks
            what it needs.
    """
    weights = _weights(attention, len(grid))
    kinds = _kinds(attention, weights, normalisations, sinks, neutral)
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
    measures: dict[str, np.ndarray]
    even: dict[str, np.ndarray]
    area_share: Float[np.ndarray, " region"]
    coverage: Float[np.ndarray, " region"]
    objects: tuple[int, ...]
    objects_seen: tuple[int, ...]
    generated: bool = False
    map_measures: dict[str, np.ndarray] = field(default_factory=dict)

    def values(self, measure: str, *, region: str = UNION, normalisation: str = "image") -> np.ndarray:
        """One measure, float32 [layer head+1], or [layer head+1 step] for generated tokens; head -1 is the head mean.

        Raises:
            InputError: the measure, region or normalisation is not here, or a map's own measure is asked of a region.
        """
        found = self._steps(measure, region, normalisation)
        return found if self.generated else found[..., 0]

    def by_layer(self, measure: str, *, region: str = UNION, normalisation: str = "image") -> np.ndarray:
        """One measure of the head mean, float32 [layer], mean over steps; NaN where it is undefined.

        Raises:
            InputError: as `values` does.
        """
        return self._steps(measure, region, normalisation)[:, -1].mean(-1)

    def best_layer(self, measure: str, *, region: str = UNION, normalisation: str = "image") -> int | None:
        """The layer where a measure of the head mean is highest; None where it is undefined everywhere."""
        found = self.by_layer(measure, region=region, normalisation=normalisation)
        return None if np.isnan(found).all() else int(np.nanargmax(found))

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

    def _steps(self, measure: str, region: str, normalisation: str) -> np.ndarray:
        """One measure, [layer head+1 step]."""
        self._check(measure, region, normalisation)
        kind = self.normalisations.index(normalisation)
        if measure in MEASURES:
            return self.measures[measure][kind, self.regions.index(region)]
        if region != UNION:
            raise InputError(f"{measure} is of the map and not of a region: leave out region={region!r}")
        return self.map_measures[measure][kind]


@dataclass(frozen=True, eq=False)
class _Kind:
    """A normalisation with all that it needs: `sinks` and `neutral` are [layer head step token], the former one step.

    `even_mass` is what evenly spread attention puts on the whole image at each step, [step]: 1 within the image.
    """

    name: str
    weights: np.ndarray
    even_mass: np.ndarray
    sinks: np.ndarray | None = None
    neutral: np.ndarray | None = None

    def maps(self, layers: slice) -> tuple[np.ndarray, np.ndarray | None]:
        """Normalised maps of some layers with the head mean, [layer head+1 step token], and which tokens take part."""
        rows, sinks, other = self.weights[layers], None, None
        if self.sinks is not None:
            own = self.sinks[layers]
            rows, sinks = np.where(own, 0, rows), np.concatenate([own, own.all(axis=1, keepdims=True)], axis=1)
        if self.neutral is not None:
            other = _with_head_mean(self.neutral[layers])
        maps = normalise(_with_head_mean(rows), self.name, sinks=sinks, neutral=other)
        return maps, None if sinks is None else ~sinks

    def measure(self, regions: list[Region], grid: ImageGrid) -> dict[str, np.ndarray]:
        """Measures of the regions [region layer head+1 step], and the maps' own [layer head+1 step]."""
        many = max(1, MAPS_AT_ONCE // ((self.weights.shape[1] + 1) * self.weights.shape[2]))
        parts = []
        for first in range(0, len(self.weights), many):
            maps, kept = self.maps(slice(first, first + many))
            found = measure_regions(maps, regions, grid, kept=kept, even_mass=self.even_mass)
            parts.append(found | measure_maps(maps, grid, kept=kept))
        return {key: np.concatenate([part[key] for part in parts], axis=-3) for key in parts[0]}

    def over_keys(self, within: dict[str, np.ndarray], regions: list[Region]) -> dict[str, np.ndarray]:
        """The measures over all keys from those within the image: only mass and lift know the difference."""
        share = _with_head_mean(self.weights.sum(axis=-1, dtype=np.float64))
        nothing = np.where([region.objects_seen > 0 for region in regions], 0.0, np.nan)[:, None, None, None]
        mass, lift = (np.where(share > 0, within[key] * share, nothing) for key in SCALED)
        return within | {"mass": mass, "lift": lift / self.even_mass}

    def even(self, regions: list[Region], grid: ImageGrid) -> dict[str, np.ndarray]:
        """What evenly spread attention scores in each measure, [region step] each."""
        if self.sinks is None:
            return even_scores(regions, grid, even_mass=self.even_mass)
        own = self.sinks[:, :, 0]
        rows = np.concatenate([own, own.all(axis=1, keepdims=True)], axis=1).reshape(-1, len(grid))
        sinks, counts = np.unique(rows, axis=0, return_counts=True)
        scores = even_scores(regions, grid, kept=~sinks)
        means = {key: ratio(np.nan_to_num(one) @ counts, ~np.isnan(one) @ counts) for key, one in scores.items()}
        return {key: np.repeat(mean[:, None], len(self.even_mass), axis=1) for key, mean in means.items()}


def _scores(kinds: list[_Kind], regions: list[Region], grid: ImageGrid) -> list[dict[str, np.ndarray]]:
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


def _kinds(
    attention: Trajectory | np.ndarray,
    weights: np.ndarray,
    names: Sequence[str],
    sinks: np.ndarray | None,
    neutral: Trajectory | np.ndarray | None,
) -> list[_Kind]:
    """The normalisations that were asked for, each once; refuses those that lack something, and what none needs."""
    unknown = [name for name in names if name not in NORMALISATIONS]
    if unknown or not len(names):
        asked = f"normalisation {unknown[0]!r} is not known" if unknown else "no normalisation was asked for"
        raise InputError(f"{asked}: use some of {', '.join(NORMALISATIONS)}")
    for given, name, what in ((sinks, "no-sinks", "sinks"), (neutral, "relative", "neutral")):
        if (given is None) == (name in names):
            raise InputError(f"normalisation {name!r} and {what}= go together: give both, or neither")
    if "keys" in names and not isinstance(attention, Trajectory):
        raise InputError("normalisation 'keys' needs to know how many keys there were: give a trajectory, not an array")
    ones = np.ones(weights.shape[2])
    made = {"image": _Kind("image", weights, ones)}
    if isinstance(attention, Trajectory):
        made["keys"] = _Kind("keys", weights, weights.shape[-1] / attention.visible_keys)
    if sinks is not None:
        made["no-sinks"] = _Kind("no-sinks", weights, ones, sinks=_sinks(sinks, weights))
    if neutral is not None:
        made["relative"] = _Kind("relative", weights, ones, neutral=_like(neutral, weights))
    return [made[name] for name in dict.fromkeys(names)]


def _sinks(sinks: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Sinks in the shape of the weights, of one step [layer head 1 token]."""
    n_layers, n_heads, _, n_tokens = weights.shape
    given, shape = np.asarray(sinks), (n_layers, n_heads, n_tokens)
    if given.dtype != bool or given.shape not in (shape[2:], shape[::2], shape):
        raise InputError(
            f"sinks are {given.dtype} of shape {given.shape}: give bool [token], [layer token] or [layer head token] "
            f"for {n_layers} layers, {n_heads} heads and {n_tokens} tokens"
        )
    given = given[:, None] if given.ndim == 2 else given
    return np.broadcast_to(given, shape)[:, :, None]


def _like(neutral: Trajectory | np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Neutral attention in the shape of the weights."""
    other = _weights(neutral, weights.shape[-1])
    if other.shape[:2] != weights.shape[:2] or other.shape[2] not in (1, weights.shape[2]):
        raise InputError(f"neutral attention has shape {other.shape} beside {weights.shape}: give that of this model")
    return np.broadcast_to(other, weights.shape)


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
    """Values [layer head ...] with one more head at the end, in float64: the mean over heads."""
    return np.concatenate([weights, weights.mean(axis=1, keepdims=True, dtype=np.float64)], axis=1)
