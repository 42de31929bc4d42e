"""Intervals of AUROCs: made of what a loop finds, never of zero width, and holding the truth as often as they say."""

import math
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import t

from interp.errors import InputError
from interp.stats.association import association
from interp.stats.auroc import auroc
from interp.stats.auroc_intervals import auroc_interval, auroc_spread
from interp.stats.pairs import won_by_sample


def made_up(seed=0, n=60):
    """Scores of two cells with ties, right answers, relations and groups of three."""
    rng = np.random.default_rng(seed)
    right = rng.random(n) < 0.7
    scores = rng.integers(0, 9, size=(n, 2)) + 2.0 * right[:, None]
    return scores, right, rng.integers(3, size=n), np.arange(n) // 3


def newcombe(value, estimate, yes, no):
    """How many standard errors an AUROC lies from the estimate, by Newcombe's method 5 as it is written."""
    middle = (yes + no) / 2 - 1
    parts = 1 + middle * (1 - value) / (2 - value) + middle * value / (1 + value)
    return abs(value - estimate) / math.sqrt(value * (1 - value) * parts / (yes * no))


def test_every_sample_wins_the_pairs_that_a_loop_finds():
    scores, right, strata, _ = made_up()
    won, others = won_by_sample(scores, right, strata)
    for place in range(len(right)):
        rest = np.flatnonzero((strata == strata[place]) & (right != right[place]))
        for cell in range(2):
            pairs = [(place, one) if right[place] else (one, place) for one in rest]
            won_here = [np.sign(scores[a, cell] - scores[b, cell]) / 2 + 0.5 for a, b in pairs]
            assert won[place, cell] == sum(won_here) and others[place] == len(rest)


@pytest.mark.parametrize(("yes", "no", "wins"), [(40, 20, "all"), (100, 5, "all"), (12, 3, "none"), (30, 1, "all")])
def test_at_the_ends_the_interval_of_samples_is_newcombes(yes, no, wins):
    scores = np.concatenate([np.arange(yes) + (1000.0 if wins == "all" else -1000.0), np.arange(no)])
    found = auroc_interval(scores, np.arange(yes + no) < yes)
    edge, inner = (found.high, found.low) if wins == "all" else (found.low, found.high)
    assert found.estimate == edge == (1 if wins == "all" else 0)
    assert newcombe(float(inner), float(edge), yes, no) == pytest.approx(t.ppf(0.975, yes + no - 1), rel=1e-6)


def test_the_excess_of_samples_is_delongs_variance_over_newcombes():
    rng = np.random.default_rng(3)
    right = np.arange(400) < 200
    scores = np.where(right, 0.3 + 3 * rng.normal(size=400), rng.normal(size=400))  # unlike spreads: more variance
    won = (scores[:200, None] > scores[200:]).astype(float)
    delong = won.mean(axis=1).var(ddof=1) / 200 + won.mean(axis=0).var(ddof=1) / 200
    near = won.mean() + 1e-6
    plain = (1e-6 / newcombe(near, won.mean(), 200, 200)) ** 2
    spread = auroc_spread(scores[:, None], right, np.zeros(400, int), np.arange(400))
    assert spread.excess[0] == pytest.approx(delong / plain, rel=0.01) and spread.excess[0] > 1.15


def test_the_influence_of_groups_is_what_leaving_each_out_changes():
    scores, right, strata, units = made_up()
    spread = auroc_spread(scores, right, strata, units)
    for cell in range(2):
        whole = auroc(scores[:, cell], right, groups=strata)
        for group in range(20):
            kept = units != group
            left = auroc(scores[kept, cell], right[kept], groups=strata[kept])
            assert spread.influence[group, cell] == pytest.approx(left - whole, abs=1e-12)


def test_no_interval_has_zero_width_and_none_leaves_zero_to_one():
    rng = np.random.default_rng(5)
    for n_wrong in (1, 2, 5):
        for groups in (None, np.arange(40) // 4):
            right = np.arange(40) >= n_wrong
            for scores in (right * 1.0, right * -1.0, np.zeros(40), rng.normal(size=40)):
                found = auroc_interval(scores, right, groups=groups)
                assert 0 <= found.low <= found.estimate <= found.high <= 1 and found.high - found.low > 0.05


def test_fewer_than_three_groups_have_no_interval():
    scores, right = np.arange(12.0), np.arange(12) % 2 == 0
    two, three = (auroc_interval(scores, right, groups=np.arange(12) % count) for count in (2, 3))
    assert two.estimate == three.estimate and math.isnan(two.low) and math.isnan(two.high)
    assert three.high - three.low > 0.5, "three say little"
    found = association(scores, right, groups=np.arange(12) % 2, seed=0, n_draws=9, n_shuffles=9)
    assert math.isnan(found.low) and found.p > 0


def test_scores_that_are_not_there_are_refused():
    for scores, says in (([1.0, np.nan, 2.0], "1 scores are NaN"), ([1.0, 2.0], "for 3 samples")):
        with pytest.raises(InputError, match=says):
            auroc_interval(scores, [True, False, True])


# how often they hold the truth, as docs/rates.md has it at length ---------------------------------------------------


@pytest.fixture(scope="module")
def simulated():
    """The module of the docs that measures the rates."""
    with pytest.MonkeyPatch.context() as patched:
        patched.syspath_prepend(Path(__file__).parents[3] / "docs" / "scripts")
        import rates_association
    return rates_association


@pytest.mark.parametrize(
    "name",
    ["AUROC of 300 samples, ", "AUROC of 75 groups", "groups of 20,", "Farthest", "Shuffles", "False discoveries"],
)
def test_rates_are_within_three_monte_carlo_errors_of_what_is_promised_or_better(simulated, name):
    found = simulated.rates(60, only=lambda scenario: name in scenario and "twice" not in scenario)
    assert len(found) >= 1 and all(rate.repeats == 60 for rate in found)
    for rate in found:
        worse = (rate.nominal - rate.measured) * (1 if rate.nominal > 0.5 else -1)
        if "of that layer alone" in rate.name and "without" in rate.name:
            alike = "correlation 0.9" in rate.name  # the least of it, and the p of a picked layer is small less often
            assert worse > (0 if alike else 3 * rate.error), "the winner's curse"
        elif "of that layer alone" not in rate.name:
            assert worse <= 3 * rate.error, rate


def test_what_the_rates_do_not_promise_is_on_the_page(simulated):
    found = simulated.rates(20, only=lambda scenario: "twice" in scenario)
    few = [rate.measured for rate in found if rate.name.endswith(", 3 wrong: AUROC 0.5")]
    many = [rate.measured for rate in found if ", 60 wrong" in rate.name]
    assert few[0] < 0.9 and min(many) > 0.92


def test_no_interval_for_all_leaves_out_one_half_where_the_corrected_p_is_large():
    for trial in range(60):
        rng = np.random.default_rng(trial)
        groups, right = np.arange(40) // rng.integers(1, 6), rng.random(40) < 0.8
        found = association(rng.normal(size=(40, 6)) + right[:, None], right, groups=groups, seed=0, n_shuffles=99)
        large = found.p_max > 0.05
        assert (found.low_all[large] <= 0.5).all() and (found.high_all[large] >= 0.5).all()
        if np.isfinite(found.low).all():
            assert (found.low_all <= found.low).all() and (found.high_all >= found.high).all()


def test_one_cell_alone_has_one_interval():
    right = np.arange(60) < 40
    found = association(4 * right + np.arange(60) % 7, right, seed=0, n_shuffles=999)
    assert found.p_max < 0.05 and (found.low, found.high) == (found.low_all, found.high_all)
