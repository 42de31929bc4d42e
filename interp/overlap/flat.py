"""Flat: maps laid flat beside regions, with what several measures of them share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Float, Float64, Real

from interp.image.lattice import flat_maps
from interp.numeric import ratio

if TYPE_CHECKING:
    from interp.image.grid import ImageGrid
    from interp.overlap.regions import Region


@dataclass(frozen=True, eq=False)
class MapsOnRegions:
    """Maps and regions as rows and columns, for all measures.

    What is the same for all maps has one row: [1 token] in the place of [map token].

    Attributes:
        weights: the weight of each token, [map token].
        kept: 1 for tokens that take part, [map token] or [1 token].
        areas: the area of each token that takes part, as shares that sum to one, [map token] or [1 token].
        even_mass: what evenly spread attention puts on all tokens together, [map 1].
        masks: the share of each token that lies in a region, [token region].
        targets: 1 for tokens whose pointing counts as a hit, [token region].
        near: the same, with the tokens around these, [token region].
        centres: the centres of the regions, [region 2], in pixels.
        grid: the geometry of the tokens.
    """

    weights: Float64[np.ndarray, "map token"]
    kept: Float64[np.ndarray, "#map token"]
    areas: Float64[np.ndarray, "#map token"]
    even_mass: Float[np.ndarray, "map 1"]
    masks: Float64[np.ndarray, "token region"]
    targets: Float64[np.ndarray, "token region"]
    near: Float64[np.ndarray, "token region"]
    centres: Float64[np.ndarray, "region 2"]
    grid: ImageGrid

    @classmethod
    def of(
        cls,
        maps: Real[np.ndarray, "*maps token"],
        regions: Sequence[Region],
        grid: ImageGrid,
        kept: Bool[np.ndarray, "*#maps token"] | None,
        even_mass: float | Float[np.ndarray, "*#maps"],
    ) -> MapsOnRegions:
        """Lay out maps [... token] and regions, see `interp.overlap.measures.measure_regions`."""
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
        """Where each map's tokens stand, in `order`, among values [map token] laid flat: the quickest way to sort."""
        return self.order + self.order.shape[1] * np.arange(len(self.order))[:, None]

    def ordered(self, values: np.ndarray, some: np.ndarray | None = None) -> np.ndarray:
        """Values [map token] or [1 token], sorted as `order` is: all, or `some` flat places of the result."""
        where = self.order if len(values) == 1 else self.places
        return values.ravel()[where if some is None else where.ravel()[some]]

    @cached_property
    def below(self) -> tuple[np.ndarray, np.ndarray]:
        """Two areas for each token, tokens in `order`: of those with less weight, and of those with as much or less."""
        weights, areas = self.ordered(self.weights), self.ordered(self.areas)
        ends, changes = np.cumsum(areas, axis=1), weights[:, 1:] != weights[:, :-1]
        edge = np.ones((len(weights), 1), dtype=bool)
        first, last = np.hstack([edge, changes]), np.hstack([changes, edge])[:, ::-1]  # of a run of ties
        less = np.maximum.accumulate(np.where(first, ends - areas, 0), axis=1)
        return less, np.minimum.accumulate(np.where(last, ends[:, ::-1], 1), axis=1)[:, ::-1]


def _columns(parts: Sequence[Any], length: int) -> np.ndarray:
    """Arrays of one length side by side, [length part], also where there is none."""
    return np.array(parts, dtype=np.float64).reshape(-1, length).T
