"""Statistics the slow way: one pair after the other, and how often a true null may be rejected."""

import math
from itertools import product

import numpy as np


def by_pairs(scores, right, strata=None):
    """Wins over pairs of a right and a wrong sample of one stratum, one pair at a time."""
    strata = np.zeros(len(right)) if strata is None else strata
    won = [
        (scores[i] > scores[j]) + 0.5 * (scores[i] == scores[j])
        for i, j in product(np.flatnonzero(right), np.flatnonzero(~right))
        if strata[i] == strata[j] and not np.isnan(scores[i]) and not np.isnan(scores[j])
    ]
    return (float(np.mean(won)), len(won)) if won else (math.nan, 0)


def holds_level(rejected, trials, level=0.05):
    """Whether so many rejections go with the level: inside the central 99.9 % of the binomial."""
    ways = np.cumsum([math.comb(trials, k) * level**k * (1 - level) ** (trials - k) for k in range(trials + 1)])
    low, high = (int(np.searchsorted(ways, at)) for at in (0.0005, 0.9995))
    return low <= rejected <= high
