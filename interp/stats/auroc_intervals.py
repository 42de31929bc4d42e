"""Intervals of AUROCs: never of zero width, for few wrong answers and for groups, of one cell or of all together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy.typing import ArrayLike

from interp.errors import InputError
from interp.numeric import ratio
from interp.stats.draws import check_draws
from interp.stats.intervals import FEWEST, Interval
from interp.stats.pairs import won_by_sample
from interp.stats.scores import codes_of, read_scores
from interp.stats.student import t_quantile

_PRIOR = 0.5  # groups: the weight of what the counts alone say of the variance, beside the groups that show it
_HALVINGS = 50  # of the way from an estimate to 0 or 1


def auroc_interval(
    scores: ArrayLike,
    labels: ArrayLike,
    *,
    strata: ArrayLike | None = None,
    groups: ArrayLike | None = None,
    level: float = 0.95,
) -> Interval:
    """AUROC of each column of scores with a score interval, which has a width at 0 and at 1 too.

    The ends are the AUROCs that lie as far from the estimate as Student's quantile times their own standard error. Its
    variance is Newcombe's (2006, part 2, method 5, after Hanley and McNeil 1982), summed over strata, times an excess.
    The excess is the variance that the data show at the estimate, over Newcombe's there: of samples that of DeLong et
    al. (1988), of groups that of leaving out one after the other (the jackknife, Efron 1982). Where few make up that
    variance it says little, so it is drawn towards what counts alone say: 1 for samples; for groups the design effect
    of answers of the rarer kind that are alike in a group (Kish 1965). It is at least 1. `docs/rates.md` has how often
    these intervals hold the truth: nearly as often as they say or more often, unless there are ten wrong answers or
    fewer whose scores vary far more than those of right ones.

    Args:
        scores: [sample ...cells], finite.
        labels: bool [sample].
        strata: only pairs inside one count, such as the relation, [sample].
        groups: samples that belong together, such as those of one photo, [sample].
        level: nominal coverage.

    Returns:
        Arrays [...cells], or numbers; NaN without a pair. The ends are NaN with fewer than `FEWEST` groups.

    Example:
        >>> found = auroc_interval([0.1, 0.4, 0.3, 0.8, 0.9, 0.7], [False, False, False, True, True, True])
        >>> float(found.estimate), round(float(found.low), 2), float(found.high)
        (1.0, 0.4, 1.0)

    Raises:
        InputError: lengths differ, a score is not finite, a stratum or group has no name, or there is no such level.
    """
    table, truth, shape = read_scores(scores, labels)
    check_draws(1, level)
    if np.isnan(table).any():
        raise InputError(f"{int(np.isnan(table).sum())} scores are NaN: leave such samples out, and count them")
    own = codes_of(strata, len(truth), "strata")[0]
    units = np.arange(len(truth)) if groups is None else codes_of(groups, len(truth), "groups", fewest=1)[0]
    spread = auroc_spread(table, truth, own, units)
    estimate, low, high = (values.reshape(shape)[()] for values in (spread.auroc, *spread.ends(level)))
    return Interval(estimate, low, high, level)


@dataclass(frozen=True, eq=False)
class AurocSpread:
    """AUROCs, and how far each may lie from the truth.

    Attributes:
        auroc: the estimates, [cell].
        influence: how far each group, or sample, moves them, [unit cell].
        apart: Newcombe's variance over AUROC (1 - AUROC), where pairs share no sample.
        shared: how much more it is for pairs that share one; times `_alike(AUROC)`.
        excess: the variance over Newcombe's of independent samples, [cell].
        freedom: degrees of freedom of Student's t, groups or samples less one.
    """

    auroc: Float[np.ndarray, " cell"]
    influence: Float[np.ndarray, "unit cell"]
    apart: float
    shared: float
    excess: Float[np.ndarray, " cell"]
    freedom: int

    def ends(self, level: float) -> Float[np.ndarray, "2 cell"]:
        """Both ends of the interval of each cell at a level; NaN where there is none."""
        if self.freedom + 1 < FEWEST:
            return np.full((2, len(self.auroc)), np.nan)
        reach = t_quantile(level, self.freedom) ** 2 * self.excess
        near, far = np.stack([self.auroc] * 2), np.stack([np.zeros_like(self.auroc), np.ones_like(self.auroc)])
        for _ in range(_HALVINGS):
            middle = (near + far) / 2
            variance = middle * (1 - middle) * (self.apart + self.shared * _alike(middle))
            held = (middle - self.auroc) ** 2 <= reach * variance
            near, far = np.where(held, middle, near), np.where(held, far, middle)
        return (near + far) / 2

    def deviations(self, draws: Float[np.ndarray, "draw unit"]) -> Float[np.ndarray, "draw cell"]:
        """How far each cell lies off in draws, in standard errors, by the multiplier bootstrap.

        Cells that the same samples move go together (Chernozhukov et al. 2013, equation 9).

        Args:
            draws: a normal number for each unit, [draw unit].
        """
        size = np.sqrt((self.influence**2).sum(axis=0))
        return np.abs(draws[:, : len(self.influence)] @ (self.influence / np.where(size > 0, size, 1.0)))


def auroc_spread(
    scores: Float[np.ndarray, "sample cell"],
    right: Bool[np.ndarray, " sample"],
    strata: Int[np.ndarray, " sample"],
    units: Int[np.ndarray, " sample"],
) -> AurocSpread:
    """AUROCs of cells that have the same samples, with what their intervals are made of.

    Args:
        scores: the scores, [sample cell], no NaN.
        right: whether each answer is right, bool [sample].
        strata: the code of each sample's stratum, [sample].
        units: the code of each sample's group, [sample]; each sample is its own where there are no groups.
    """
    won, others = won_by_sample(scores, right, strata)
    pairs = others[right].sum()
    auroc = ratio(won[right].sum(axis=0), pairs)
    apart, shared = _newcombe(right, strata)
    alone = auroc * (1 - auroc) * (apart + shared * _alike(auroc))
    count = len(np.unique(units))
    grouped = count < len(units)
    if grouped:
        moved = _moved_by_groups(scores, right, strata, units, auroc)
        variance = (count - 1) / count * ((moved**2).sum(axis=0) - moved.sum(axis=0) ** 2 / count)
    else:
        moved = np.zeros((units.max() + 1, scores.shape[1]))
        moved[units] = ratio(won - auroc * others[:, None], pairs)
        sides = [own & (others > 0) for own in (right, ~right)]
        variance = sum((moved[units[own]] ** 2).sum(axis=0) * own.sum() / max(own.sum() - 1, 1) for own in sides)
    squares, fourths = (moved**2).sum(axis=0), (moved**4).sum(axis=0)
    shown = np.nan_to_num(ratio(squares**2, fourths))  # as many as this, were they alike, would make up the variance
    known = np.nan_to_num(ratio(variance, alone))
    counted = _design_effect(right, units) if grouped else 1.0
    excess = np.maximum(1.0, (shown * known + _PRIOR * counted) / (shown + _PRIOR))
    return AurocSpread(auroc, np.nan_to_num(moved), apart, shared, excess, count - 1)


def _moved_by_groups(
    scores: np.ndarray, right: np.ndarray, strata: np.ndarray, units: np.ndarray, auroc: np.ndarray
) -> np.ndarray:
    """By how much AUROCs change when one group after the other is left out, [unit cell]; NaN where no pair is left."""
    count = units.max() + 1
    _, both = np.unique(strata * count + units, return_inverse=True)
    lost, inside = (won_by_sample(scores, right, codes) for codes in (strata, both))
    wins, pairs = lost[0][right].sum(axis=0), lost[1][right].sum()
    less_wins, less_pairs = np.zeros((count, scores.shape[1])), np.zeros(count)
    # A pair inside the group is lost once, and not for each of its two samples.
    np.add.at(less_wins, units, lost[0])
    np.add.at(less_wins, units[right], -inside[0][right])
    np.add.at(less_pairs, units, lost[1])
    np.add.at(less_pairs, units[right], -inside[1][right])
    return ratio(wins - less_wins, (pairs - less_pairs)[:, None]) - auroc


def _newcombe(right: np.ndarray, strata: np.ndarray) -> tuple[float, float]:
    """Both parts of Newcombe's variance of pairs of all strata, over AUROC (1 - AUROC)."""
    pairs, shared = 0.0, 0.0
    for stratum in np.unique(strata):
        yes, no = (float(((strata == stratum) & side).sum()) for side in (right, ~right))
        pairs += yes * no
        shared += yes * no * ((yes + no) / 2 - 1) if yes and no else 0.0
    return (1 / pairs, shared / pairs**2) if pairs else (np.nan, np.nan)


def _alike(auroc: np.ndarray) -> np.ndarray:
    """How alike pairs with one sample in common are, as for scores of exponential distributions; over both kinds."""
    return (1 - auroc) / (2 - auroc) + auroc / (1 + auroc)


def _design_effect(right: np.ndarray, units: np.ndarray) -> float:
    """How many answers of the rarer kind are worth one, were those of a group alike (Kish 1965)."""
    rarer = right if right.sum() <= (~right).sum() else ~right
    sizes = np.bincount(units[rarer])
    return float((sizes**2).sum() / max(sizes.sum(), 1))
