"""Nulls of overlap: what the measures come to with other boxes, another map, or another head in place of the real one.

Attention may lie on the objects because it follows them, or because it lies where objects tend to be. Each null keeps
one of the habits that would give overlap for nothing:

* `shuffled` lays the boxes of other photos over this one, in fractions of the photo: where objects of this data set
  tend to be, and how large they are.
* `moved` puts each box at a random place of the part that the model saw, its size kept: how large these objects are.
  Boxes move apart from each other, as two objects that span the photo together would have no room to move.
* `centre` measures a centred Gaussian in place of the attention: how well looking at the middle would do.
* `heads` takes another head of the same layer: how much of the overlap is this head's own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from einops import rearrange
from jaxtyping import Bool, Float

from interp.errors import InputError
from interp.image.boxes import Box
from interp.numeric import mean_of_known, ratio
from interp.objects.sample import ROLES
from interp.overlap.measures import measure_regions
from interp.overlap.regions import Region

if TYPE_CHECKING:
    from interp.image.grid import ImageGrid

NULLS = ("shuffled", "moved", "centre", "heads")
NULL_MEASURES = ("mass", "cosine", "auroc")
"""The measures that are taken under the nulls."""

REGIONS = (*ROLES, "union", "first minus second")
"""The regions of a study: the last is the measure on the first object less that on the second."""

WIDTH = 0.25
"""The standard deviation of the centred Gaussian, as a share of each side of the part that the model saw."""

RoleBoxes = Mapping[str, Sequence[Box]]
"""The boxes of each of `ROLES`; one without boxes is empty or absent."""

_STREAMS = {"shuffled": 1, "moved": 2, "heads": 3}


class BoxPool:
    """The boxes of all samples of a study, to be laid over the photos of others.

    Example:
        >>> pool = BoxPool([{"first": [mug]}, {"first": [cup]}], [(640, 480), (320, 320)], ["a", "b"])
        >>> [drawn["first"][0].label for drawn in pool.draw(0, draws=10, seed=0)]  # there is only one other photo
        ['cup']
    """

    def __init__(self, boxes: Sequence[RoleBoxes], sizes: Sequence[tuple[int, int]], photos: Sequence[str]) -> None:
        """Keep what can be drawn.

        Args:
            boxes: the boxes of each sample, in pixels of its photo.
            sizes: (width, height) of each sample's photo in pixels.
            photos: which photo each sample shows, by any key: those of one photo are not foreign to each other.

        Raises:
            InputError: not one entry of each for every sample.
        """
        if not len(boxes) == len(sizes) == len(photos):
            raise InputError(
                f"{len(boxes)} boxes, {len(sizes)} sizes, {len(photos)} photos: give one of each per sample"
            )
        self.boxes, self.sizes, self.photos = boxes, sizes, photos
        self._roles = [frozenset(role for role, own in one.items() if len(own)) for one in boxes]
        bits = {role: 1 << number for number, role in enumerate(sorted(frozenset().union(*self._roles)))}
        known: dict[str, int] = {}
        self._has = np.array([sum(bits[role] for role in own) for own in self._roles], dtype=np.int64)
        self._photo = np.array([known.setdefault(photo, len(known)) for photo in photos], dtype=np.int64)

    def draw(self, place: int, *, draws: int, seed: int) -> list[dict[str, list[Box]]]:
        """Boxes of other photos, laid over the photo of the sample at `place`.

        Samples that have boxes for all of its roles are drawn from, each at most once; where there is none, those that
        have some. Fewer than `draws` such samples give fewer draws. Boxes keep their place and size in fractions of
        their photo, and are cut at its edge; of a drawn sample, only the roles that this one has are taken.
        """
        roles, size = self._roles[place], self.sizes[place]
        foreign, shared = self._photo != self._photo[place], self._has & self._has[place]
        fitting = np.flatnonzero(foreign & (shared == self._has[place]) & (shared > 0))
        fitting = fitting if len(fitting) else np.flatnonzero(foreign & (shared > 0))
        chosen = fitting[_stream("shuffled", seed, place).permutation(len(fitting))[:draws]].tolist()
        return [
            {role: _carried(self.boxes[other].get(role, ()), self.sizes[other], size) for role in sorted(roles)}
            for other in chosen
        ]


def null_column(measure: str, null: str) -> str:
    """What a measure under a null is called in every table and array.

    Example:
        >>> null_column("cosine", "even"), null_column("hit_near", "shuffled")
        ('cosine_even', 'hit_near_shuffled')
    """
    return f"{measure}_{null}"


def moved_boxes(boxes: RoleBoxes, grid: ImageGrid, *, place: int, draws: int, seed: int) -> list[dict[str, list[Box]]]:
    """The boxes at random places inside the part of the photo that the model saw, their sizes kept, `draws` times.

    A box is first cut to that part, and left out where nothing of it remains; every place where it then fits is equally
    likely, for each box on its own.

    Args:
        boxes: the boxes by role, in pixels of the photo.
        grid: the geometry of the photo's tokens.
        place: the place of the sample among the study's, which with `seed` decides the draws.
        draws: how many.
        seed: the seed of the study.
    """
    rng = _stream("moved", seed, place)
    seen = {role: _cut(boxes.get(role, ()), grid.seen) for role in ROLES}
    return [{role: [_moved(box, grid.seen, rng) for box in own] for role, own in seen.items()} for _ in range(draws)]


def centre_map(grid: ImageGrid) -> Float[np.ndarray, " token"]:
    """A centred Gaussian over the part of the photo that the model saw, one value per token.

    Its standard deviation is `WIDTH` of each side; a token has the density at its centre, and nothing if it saw only
    padding.
    """
    x0, y0, x1, y1 = grid.seen
    sides = grid.boxes[:, 2:] - grid.boxes[:, :2]
    off = (grid.boxes[:, :2] + grid.boxes[:, 2:] - [x0 + x1, y0 + y1]) / (2 * WIDTH * np.array([x1 - x0, y1 - y0]))
    return np.exp(-np.sum(off**2, axis=1) / 2) * (sides.prod(axis=1) > 0)


def measure_draws(
    maps: Float[np.ndarray, "... token"],
    draws: Mapping[str, Sequence[RoleBoxes]],
    grid: ImageGrid,
    *,
    kept: Bool[np.ndarray, "... token"] | None = None,
) -> dict[str, Float[np.ndarray, "region ..."]]:
    """Each of `NULL_MEASURES` of maps against drawn boxes, its mean over the draws, in `REGIONS`.

    A draw whose boxes the model would not have seen does not count in that region; NaN where none counts.

    Args:
        maps: attention over the image tokens, in any normalisation.
        draws: boxes by role for each draw, under the name of their null.
        grid: the geometry of the tokens.
        kept: which tokens take part, see `interp.overlap.measures.measure_regions`.

    Returns:
        float64 under names such as `mass_moved`, see `null_column`.

    Example:
        >>> draws = {"shuffled": pool.draw(0, draws=10, seed=0)}
        >>> measure_draws(maps, draws, grid)["auroc_shuffled"].shape  # maps [32 33 576]
        (4, 32, 33)
    """
    drawn = [(null, _by_region(boxes)) for null, several in draws.items() for boxes in several]
    regions = [_region(own, grid) for _, several in drawn for own in several]
    of = np.array([null for null, _ in drawn], dtype=object)
    found = measure_regions(maps, regions, grid, measures=NULL_MEASURES, kept=kept)
    by_draw = {
        name: _with_contrast(rearrange(values, "(draw region) ... -> draw region ...", region=3))
        for name, values in found.items()
    }
    return {
        null_column(name, null): mean_of_known(values[of == null]) for null in draws for name, values in by_draw.items()
    }


def measure_centre(
    maps: Float[np.ndarray, "... token"],
    boxes: RoleBoxes,
    grid: ImageGrid,
    *,
    kept: Bool[np.ndarray, "... token"] | None = None,
) -> dict[str, Float[np.ndarray, "region ..."]]:
    """The centred Gaussian, with the weight of each map, against the real boxes: `mass_centre` and so on."""
    gauss = np.broadcast_to(centre_map(grid), np.shape(maps)) * (1.0 if kept is None else kept)
    weight = np.sum(maps, axis=-1, keepdims=True, dtype=np.float64)
    scaled = gauss * ratio(weight, gauss.sum(axis=-1, keepdims=True))
    return measure_draws(scaled, {"centre": [boxes]}, grid, kept=kept)


def other_heads(
    values: Float[np.ndarray, "sample *kinds layer head_and_mean"], *, draws: int, seed: int
) -> Float[np.ndarray, "sample *kinds layer head_and_mean"]:
    """Of each head, the mean of a measure over `draws` other heads of the same layer, drawn for every sample anew.

    For the head mean, which is last, any head may be drawn. A model of one head has no other, which gives NaN. The same
    heads are drawn for every measure, region and normalisation.
    """
    heads = values.shape[-1] - 1
    shape = (len(values), *(1,) * (values.ndim - 3), values.shape[-2])
    rng = np.random.default_rng([seed, _STREAMS["heads"]])
    total = np.zeros(values.shape)
    for _ in range(draws):
        others = (np.arange(heads) + rng.integers(1, max(heads, 2), size=(*shape, heads))) % heads
        chosen = np.concatenate([others, rng.integers(0, heads, size=(*shape, 1))], axis=-1)
        total += np.take_along_axis(values, chosen, axis=-1)
    if heads == 1:
        total[..., 0] = np.nan
    return (total / draws).astype(np.float32)


def _stream(null: str, seed: int, place: int) -> np.random.Generator:
    """A random stream for one null of one sample."""
    return np.random.default_rng([seed, _STREAMS[null], place])


def _by_region(boxes: RoleBoxes) -> list[list[Box]]:
    """The boxes of the first object, of the second, and of both."""
    first, second = (list(boxes.get(role, ())) for role in ROLES)
    return [first, second, [*first, *second]]


def _region(boxes: list[Box], grid: ImageGrid) -> Region:
    """A region with its mask alone, which is all that `NULL_MEASURES` need."""
    mask = grid.union_membership(boxes).astype(np.float64) if boxes else np.zeros(len(grid))
    mask = mask if mask.max() > 0 else np.full(len(grid), np.nan)
    return Region("", mask, mask, mask, (np.nan, np.nan), np.nan, np.nan, len(boxes), len(boxes))


def _with_contrast(values: np.ndarray) -> np.ndarray:
    """Values [draw 3 ...] with the first less the second as one more region."""
    return np.concatenate([values, values[:, :1] - values[:, 1:2]], axis=1)


def _moved(box: Box, bounds: tuple[float, float, float, float], rng: np.random.Generator) -> Box:
    """A box somewhere else inside the bounds."""
    x0, y0, x1, y1 = bounds
    width, height = box.xyxy[2] - box.xyxy[0], box.xyxy[3] - box.xyxy[1]
    left, top = float(rng.uniform(x0, max(x1 - width, x0))), float(rng.uniform(y0, max(y1 - height, y0)))
    return Box(box.label, (left, top, left + width, top + height), box.confidence)


def _carried(boxes: Sequence[Box], size: tuple[int, int], target: tuple[int, int]) -> list[Box]:
    """Boxes of one photo laid over another, in fractions, cut at the edge."""
    across, down = target[0] / size[0], target[1] / size[1]
    inside = [(box, box.xyxy) for box in _cut(boxes, (0.0, 0.0, float(size[0]), float(size[1])))]
    return [
        Box(box.label, (x0 * across, y0 * down, x1 * across, y1 * down), box.confidence)
        for box, (x0, y0, x1, y1) in inside
    ]


def _cut(boxes: Sequence[Box], bounds: tuple[float, float, float, float]) -> list[Box]:
    """The parts of boxes inside some bounds; those without any are left out."""
    x0, y0, x1, y1 = bounds
    parts = [
        (box, (max(box.xyxy[0], x0), max(box.xyxy[1], y0), min(box.xyxy[2], x1), min(box.xyxy[3], y1))) for box in boxes
    ]
    return [Box(box.label, own, box.confidence) for box, own in parts if own[0] < own[2] and own[1] < own[3]]
