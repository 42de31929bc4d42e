"""Small p-values of many cells: taken from more shuffles, exact, and small enough to be corrected."""

import math

import numpy as np
import pytest
from by_hand import holds_level
from scipy.stats import mannwhitneyu

from interp.stats.association import association
from interp.stats.cells import PER_CELL


def test_p_values_of_many_cells_are_uniform_down_to_the_smallest():
    found, smallest = [], 1 / (1 + 99 * 4)
    for trial in range(200):
        rng = np.random.default_rng(trial)
        scores, right = rng.normal(size=(40, 4 * PER_CELL)), rng.random(40) < 0.5
        found.append(association(scores, right, seed=trial, n_draws=1, n_shuffles=99).p)
    p = np.concatenate(found)
    assert p.min() == pytest.approx(smallest)
    # The first holds for cells that are shuffled on, and the last for those that are not.
    for level in (smallest, 0.01, 0.05, 0.5):
        assert np.mean(p <= level + 1e-12) <= level + 4 * math.sqrt(level / len(p)), level
    assert np.mean(p <= smallest + 1e-12) > smallest / 2
    # Of one set of labels only one cell is taken: these are independent.
    assert holds_level(np.sum([own[0] <= 0.05 for own in found]), 200)


@pytest.mark.parametrize("grouped", [False, True])
def test_a_small_p_is_that_of_as_many_shuffles_of_every_cell(grouped):
    rng = np.random.default_rng(1)
    scores, right = rng.normal(size=(60, 5 * PER_CELL)), np.arange(60) % 3 > 0
    scores[:, 7] += (2.0 if grouped else 0.9) * right
    how = {"groups": np.arange(60) // 3, "strata": np.arange(60) % 3 // 2} if grouped else {}
    few, many = (association(scores, right, seed=0, n_draws=1, n_shuffles=n, **how) for n in (1000, 5000))
    others = few.p[few.p > 0.02] * 1001
    assert few.p[7] < 0.01 and others == pytest.approx(np.round(others)), "others are left as they were"
    assert few.p[7] == pytest.approx(many.p[7], abs=4 * math.sqrt(2 * many.p[7] / 5000))
    assert few.p[7] * 5001 == pytest.approx(round(few.p[7] * 5001)), "five times the shuffles, the data among them"


def test_a_small_p_is_that_of_the_exact_test():
    rng = np.random.default_rng(2)
    scores, right = rng.normal(size=(40, 40 * PER_CELL)), np.arange(40) % 2 > 0
    scores[:, 3] += 1.1 * right
    found = association(scores, right, seed=0, n_draws=1, n_shuffles=500)
    exact = mannwhitneyu(scores[right, 3], scores[~right, 3], method="exact").pvalue
    assert 1e-4 < exact < 0.01
    assert found.p[3] == pytest.approx(exact, abs=4 * math.sqrt(exact / 20_000) + 1e-4)


def test_one_strong_head_of_a_thousand_is_found_by_both_corrections():
    rng = np.random.default_rng(3)
    scores, right = rng.normal(size=(150, 32, 33)).astype(np.float32), np.arange(150) % 3 > 0
    scores[:, 17, 5] += 2.1 * right
    found = association(scores, right, seed=0)
    assert found.auroc[17, 5] == pytest.approx(0.935, abs=0.02)
    assert found.p_max[17, 5] == pytest.approx(1 / 2001) and found.p_bh[17, 5] < 0.02
    assert (found.p_bh < 0.05).sum() <= 2 and (found.low_all > 0.5).sum() == 1 and found.low_all[17, 5] > 0.5
