"""Paired draws: whole groups drawn once for all that is measured of them, beside controls drawn by seeds."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Float, Int, Shaped

from interp.stats.clusters import drawn_sums
from interp.stats.intervals import SHARE, Bounds, spread_ends

NUMBERS = ("value", "low", "high")
"""What each mean has."""


@dataclass(frozen=True, eq=False)
class PairedDraws:
    """Draws of whole groups, of the same ones for all that is measured, so that all of it is paired.

    Controls that are drawn by seeds, such as random directions, are a sample too: what lies between them moves a mean
    over seeds as Student's t does, with as many degrees of freedom as there are seeds beyond one. The difference of a
    treatment to them asks whether it does more than one more control would, which lies as far from the mean as its
    fellows do: it moves by the root of 1 + 1 / seeds times the spread, not of 1 / seeds. A part of the spread is there
    because items are few; it is not taken out, so that intervals are rather wide than narrow.

    Attributes:
        groups: what is drawn together, of each item.
        seed: the seed of the draws.
        n: the number of draws.

    Example:
        >>> PairedDraws(groups, seed=0, n=2000).told_beyond(gain, gain_of_controls, level=0.95, bounds=(-1, 1))
    """

    groups: Shaped[np.ndarray, " item"]
    seed: int
    n: int

    @cached_property
    def codes(self) -> Int[np.ndarray, " item"]:
        """The groups as numbers, by first appearance."""
        known: dict[Any, int] = {}
        return np.array([known.setdefault(name, len(known)) for name in self.groups])

    @cached_property
    def times(self) -> Float[np.ndarray, "draw item"]:
        """How often each item is there in each draw of groups; whole numbers, so that what is alike differs by 0."""
        first = np.zeros((len(self.codes), self.codes.max() + 1))
        first[np.unique(self.codes, return_index=True)[1], np.arange(first.shape[1])] = 1
        (counts,) = drawn_sums([first], self.codes, seed=self.seed, n=self.n)
        return counts[:, self.codes]

    def means(self, values: Float[np.ndarray, "item ..."]) -> Float[np.ndarray, "draw ..."]:
        """The mean over items in each draw."""
        flat = values.reshape(len(values), -1)
        means = self.times @ flat / self.times.sum(axis=1, keepdims=True)
        return means.reshape(self.n, *values.shape[1:])

    def apart(self, values: Float[np.ndarray, "item seed column"]) -> Float[np.ndarray, "draw column"]:
        """By how much one control may lie from the mean of infinitely many, in each draw; 0 of one seed."""
        several = values.shape[1]
        if several < 2:
            return np.zeros((self.n, values.shape[2]))
        rng = np.random.default_rng([self.seed, 1])
        student = rng.normal(size=self.n) / np.sqrt(rng.chisquare(several - 1, size=self.n) / (several - 1))
        return student[:, None] * values.mean(0).std(axis=0, ddof=1)

    def told(
        self, values: Float[np.ndarray, "item column"], level: float, *, bounds: Bounds = SHARE
    ) -> list[dict[str, float]]:
        """The mean of each column with its interval; `bounds` are the least and the most that a value can be."""
        return self._numbers(values.mean(0), self.means(values), level, bounds)

    def told_of_seeds(
        self, values: Float[np.ndarray, "item seed column"], level: float, *, bounds: Bounds = SHARE
    ) -> list[dict[str, float]]:
        """The mean over seeds of each column."""
        moved = self.apart(values) / np.sqrt(values.shape[1])
        return self._numbers(values.mean((0, 1)), self.means(values).mean(1) + moved, level, bounds)

    def told_beyond(
        self,
        treated: Float[np.ndarray, "item column"],
        controls: Float[np.ndarray, "item seed column"],
        level: float,
        *,
        bounds: Bounds = SHARE,
    ) -> list[dict[str, float]]:
        """What a treatment does beyond one more control, of each column; `bounds` are those of either alone."""
        moved = self.apart(controls) * np.sqrt(1 + 1 / controls.shape[1])
        drawn = self.means(treated - controls.mean(1)) + moved
        farthest = np.subtract(bounds[1], bounds[0])
        return self._numbers(treated.mean(0) - controls.mean((0, 1)), drawn, level, (-farthest, farthest))

    def _numbers(
        self,
        values: Float[np.ndarray, " column"],
        draws: Float[np.ndarray, "draw column"],
        level: float,
        bounds: Bounds,
    ) -> list[dict[str, float]]:
        low, high = spread_ends(values, draws, level, units=self.codes.max() + 1, bounds=bounds)
        return [dict(zip(NUMBERS, map(float, own), strict=True)) for own in zip(values, low, high, strict=True)]
