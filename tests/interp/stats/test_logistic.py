"""Fits of a logistic regression stand at the top, count samples as repeated ones, and get there from far away."""

import numpy as np
import pytest

from interp.stats.logistic import fit_logistic


def test_a_fit_is_where_no_small_step_climbs():
    rng = np.random.default_rng(0)
    design = np.column_stack([np.ones(50), rng.normal(size=(50, 3))])
    right, counts, ridge = rng.random(50) < 0.6, rng.integers(0, 4, size=(5, 50)), 0.3

    def merit(slopes, times):
        chance = 1 / (1 + np.exp(-design @ slopes))
        return times @ np.where(right, np.log(chance), np.log(1 - chance)) - ridge * (slopes[1:] ** 2).sum() / 2

    for slopes, times in zip(fit_logistic(design, right, counts, ridge), counts, strict=True):
        around = [merit(slopes + step, times) for step in 1e-3 * rng.normal(size=(200, 4))]
        assert max(around) < merit(slopes, times)


def test_counted_samples_are_repeated_samples():
    rng = np.random.default_rng(1)
    design, right = np.column_stack([np.ones(40), rng.normal(size=(40, 2))]), rng.random(40) < 0.5
    counts = rng.integers(0, 3, size=(4, 40))
    for fitted, times in zip(fit_logistic(design, right, counts, 0.01), counts, strict=True):
        own = np.repeat(np.arange(40), times)
        alone = fit_logistic(design[own], right[own], np.ones((1, len(own))), 0.01)[0]
        assert fitted == pytest.approx(alone, abs=1e-6)


def test_a_long_first_step_does_not_leap_past_the_top():
    design = np.column_stack([np.ones(60), np.r_[np.linspace(-1, 1, 59), 30.0]])
    right = np.r_[np.linspace(-1, 1, 59) > 0.1, False]
    right[[10, 50]] = ~right[[10, 50]]
    cold, far = (
        fit_logistic(design, right, np.ones((1, 60)), 1e-3, start=np.array(start))[0]
        for start in ((0.0, 0.0), (-20.0, 15.0))
    )
    assert np.isfinite(far).all() and far == pytest.approx(cold, abs=1e-6)
