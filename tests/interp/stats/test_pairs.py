"""Pairs that right samples win: as many as when each sample is repeated as often as it counts."""

import numpy as np
import pytest
from by_hand import by_pairs

from interp.stats.pairs import weighted_wins


def test_counted_samples_win_as_often_as_repeated_ones():
    rng = np.random.default_rng(1)
    scores, right, strata = rng.integers(0, 5, size=(20, 3)), rng.random(20) < 0.5, rng.integers(2, size=20)
    counts = rng.integers(0, 4, size=(6, 20))
    wins, pairs = weighted_wins(scores, right, strata, counts)
    for draw, times in enumerate(counts):
        own = np.repeat(np.arange(20), times)
        for cell in range(3):
            share, n = by_pairs(scores[own, cell], right[own], strata[own])
            assert wins[draw, cell] == pytest.approx(share * n) and pairs[draw] == n
