"""Looks: where every head looks from the last prompt row of one sample, and the boxes beside it, asked or drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float

from interp.overlap.measures import measure_regions
from interp.overlap.nulls import moved_boxes
from interp.overlap.regions import Region, region_of

if TYPE_CHECKING:
    from interp.image.boxes import Box
    from interp.image.grid import ImageGrid
    from interp.objects.sample import Sample

MEASURED = ("mass", "hit", "auroc", "cosine")
"""What is measured of maps on boxes, see `interp.overlap.measures`."""

OnBoxes = Float[np.ndarray, "layer head"]


@dataclass(frozen=True, eq=False)
class HeadLook:
    """The last row of one sample over its image tokens, and the boxes of what it asks about.

    Attributes:
        sample: the sample.
        maps: weights over the image tokens as the softmax over all keys gave them, [layer head token].
        even: what a row that is spread evenly over all that it sees puts on the image tokens.
        grid: the geometry of the image tokens.
        number: which decides the drawn boxes with the seed: the same for all samples of a group, as they may share one
            photo.
        draws: how often boxes are drawn.
        seed: the seed of what is drawn.
        others: boxes of objects that are not asked about; those of the sample's further objects where none are given.
        sinks: image tokens that draw attention whatever is asked, which count in nothing but `image_share`.
    """

    sample: Sample
    maps: Float[np.ndarray, "layer head token"]
    even: float
    grid: ImageGrid
    number: int = 0
    draws: int = 8
    seed: int = 0
    others: Sequence[Box] = ()
    sinks: Bool[np.ndarray, " token"] | None = None

    @cached_property
    def kept(self) -> Bool[np.ndarray, " token"]:
        """The image tokens that are no sinks."""
        return np.ones(self.maps.shape[-1], dtype=bool) if self.sinks is None else ~self.sinks

    @cached_property
    def kept_share(self) -> OnBoxes:
        """What each head puts on these together."""
        return self.maps[..., self.kept].sum(axis=-1, dtype=np.float64)

    @property
    def asked(self) -> list[Box]:
        """The box of the first object, which is the one that is asked about; none where it has none."""
        return asked_of(self.sample)

    @cached_property
    def every(self) -> list[Box]:
        """The boxes of all objects that the sample speaks of."""
        return boxes_of(self.sample)

    @cached_property
    def other(self) -> list[Box]:
        """The boxes of other objects than the one that is asked about."""
        given = list(self.others) or self.every[1:]
        return [box for box in given if all(box.xyxy != one.xyxy for one in self.asked)]

    @cached_property
    def image_share(self) -> OnBoxes:
        """What each head puts on the image tokens together."""
        return self.maps.sum(axis=-1, dtype=np.float64)

    @cached_property
    def regions(self) -> dict[str, Region]:
        """The boxes as the tokens see them, by name: `every`, `asked`, `other`, and drawn ones, `every 0` and so on."""
        named: dict[str, list[Box]] = {"every": self.every, "asked": self.asked, "other": self.other}
        first = self.asked or self.every[:1]
        rest = [box for box in self.every if box not in first]
        drawn = moved_boxes(
            {"first": first, "second": rest}, self.grid, place=self.number, draws=self.draws, seed=self.seed
        )
        for draw, boxes in enumerate(drawn):
            named[f"every {draw}"] = [*boxes["first"], *boxes["second"]]
            named[f"asked {draw}"] = list(boxes["first"]) if self.asked else []
        return {name: region_of(boxes, self.grid, name=name) for name, boxes in named.items()}

    @cached_property
    def measures(self) -> dict[str, dict[str, OnBoxes]]:
        """Each of `MEASURED` of the maps on each region; NaN where there is no box, or the model saw none of it."""
        kept = None if self.sinks is None else np.broadcast_to(self.kept, self.maps.shape)
        found = measure_regions(self.maps, list(self.regions.values()), self.grid, measures=MEASURED, kept=kept)
        return {name: dict(zip(self.regions, own, strict=True)) for name, own in found.items()}

    def on(self, measure: str, name: str) -> OnBoxes:
        """One measure on one region."""
        return self.measures[measure][name]

    def drawn(self, measure: str, name: str) -> Float[np.ndarray, "draw layer head"]:
        """One measure on the boxes of a region at drawn places."""
        return np.stack([self.on(measure, f"{name} {draw}") for draw in range(self.draws)])

    def target_share(self, name: str) -> float:
        """The share of the tokens whose pointing at counts as a hit of a region: what pointing at random hits."""
        return float(self.regions[name].target[self.kept].mean())

    def area_share(self, name: str) -> float:
        """The share of the tokens' area that a region covers."""
        areas = (self.grid.boxes[:, 2:] - self.grid.boxes[:, :2]).prod(axis=1) * self.kept
        return float(areas @ self.regions[name].mask / areas.sum())

    @property
    def nothing(self) -> OnBoxes:
        """No number for any head."""
        return np.full(self.maps.shape[:-1], np.nan)


def boxes_of(sample: Sample) -> list[Box]:
    """The boxes of what a sample speaks of, in its order."""
    return [item.box for item in sample.objects if item.box is not None]


def asked_of(sample: Sample) -> list[Box]:
    """The box of a sample's first object, which is the one that is asked about; none where it has none."""
    first = sample.objects[0].box if sample.objects else None
    return [] if first is None else [first]
