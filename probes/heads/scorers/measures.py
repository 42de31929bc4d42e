"""Measures: how well scores tell items of a function from others, and what each item adds to that."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from interp.numeric import ratio
from interp.stats.clusters import drawn_sums, groups_with
from interp.stats.pairs import midranks

MEASURES = ("balanced_accuracy", "accuracy", "auroc")
"""What a probe is measured by: the mean of the shares of items of the function and of others that it gets right; the
share of all items; or how often it scores an item of the function above another one."""


@dataclass(frozen=True, eq=False)
class Parts:
    """A measure as a weighted sum of means over some of the items, so that it can be drawn anew.

    Attributes:
        above: what each item adds to each mean, [part item cell].
        below: whether it counts in that mean, [part item cell].
        weight: the weight of each mean, [part].
        less: what is taken from the sum of the means, [cell].
    """

    above: Float[np.ndarray, "part item cell"]
    below: Bool[np.ndarray, "part item cell"]
    weight: Float[np.ndarray, " part"]
    less: Float[np.ndarray, " cell"]

    def drawn(self, groups: Int[np.ndarray, " item"], *, seed: int, n: int) -> Float[np.ndarray, "draw cell"]:
        """The measure in draws of whole groups; NaN where a draw holds no item of a class."""
        sums = drawn_sums([*self.above, *self.below.astype(np.float64)], groups, seed=seed, n=n)
        parts = len(self.above)
        means = [ratio(above, below) for above, below in zip(sums[:parts], sums[parts:], strict=True)]
        return sum(own * weight for own, weight in zip(means, self.weight, strict=True)) - self.less

    def units(self, groups: Int[np.ndarray, " item"]) -> Int[np.ndarray, " cell"]:
        """How many groups the mean with fewest of them is of."""
        return np.min([groups_with(own, groups) for own in self.below], axis=0)

    @classmethod
    def joined(cls, several: list[Parts]) -> Parts:
        """Those of many heads, cell after cell."""
        above, below = (np.concatenate([getattr(one, name) for one in several], axis=2) for name in ("above", "below"))
        return cls(above, below, several[0].weight, np.concatenate([one.less for one in several]))


def measured_values(
    scores: Float[np.ndarray, "item column"], labels: Bool[np.ndarray, "item column"], measure: str
) -> Float[np.ndarray, " column"]:
    """The measure of each column of scores, above 0 meaning yes; NaN where all labels are alike."""
    yes = labels.sum(axis=0)
    no = len(labels) - yes
    if measure == "auroc":
        return ratio((midranks(scores) * labels).sum(axis=0) - yes * (yes - 1) / 2, yes * no)
    said = scores > 0
    hits = (said & labels).sum(axis=0)
    passed = no - (said.sum(axis=0) - hits)
    return ratio(hits + passed, yes + no) if measure == "accuracy" else (ratio(hits, yes) + ratio(passed, no)) / 2


def measured_parts(
    scores: Float[np.ndarray, "item cell"], labels: Bool[np.ndarray, "item cell"], measure: str
) -> Parts:
    """What each item adds. Of AUROC, the share of the other class that it lies on the right side of (DeLong 1988)."""
    nothing = np.zeros(labels.shape[1])
    if measure == "auroc":
        won = np.stack([_won(*column) for column in zip(scores.T, labels.T, strict=True)], axis=1)
        whole = ratio((won * labels).sum(axis=0), labels.sum(axis=0))
        return Parts(np.stack([won * labels, won * ~labels]), np.stack([labels, ~labels]), np.ones(2), whole)
    right = ((scores > 0) == labels).astype(np.float64)
    if measure == "accuracy":
        return Parts(right[None], np.ones((1, *labels.shape), dtype=bool), np.ones(1), nothing)
    return Parts(np.stack([right * labels, right * ~labels]), np.stack([labels, ~labels]), np.full(2, 0.5), nothing)


def _won(scores: Float[np.ndarray, " item"], labels: Bool[np.ndarray, " item"]) -> Float[np.ndarray, " item"]:
    """The share of the other class that each item lies on the right side of, ties half."""
    every, won = midranks(scores[:, None])[:, 0], np.empty(len(scores))
    for side in (labels, ~labels):
        below = every[side] - midranks(scores[side][:, None])[:, 0]  # of the other class
        won[side] = ratio(below, np.full(len(below), float((~side).sum())))
    won[~labels] = 1 - won[~labels]
    return won
