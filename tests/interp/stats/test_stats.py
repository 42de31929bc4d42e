"""Statistics: intervals that cover, tests that are honest under the null, against sums and loops written out."""

import math
from fractions import Fraction
from itertools import product

import numpy as np
import pytest

from interp.errors import InputError
from interp.stats.auroc import auroc
from interp.stats.intervals import bootstrap, bootstrap_difference, wilson
from interp.stats.tests import mcnemar, shuffled_null


def binomial(k, n, p):
    return math.comb(n, k) * p**k * (1 - p) ** (n - k)


def test_wilson_gives_the_values_of_the_textbook():
    found = wilson(8, 10)
    assert (found.estimate, found.low, found.high) == pytest.approx((0.8, 0.4902, 0.9433), abs=1e-4)


@pytest.mark.parametrize("level", [0.8, 0.95, 0.99])
def test_wilson_ends_solve_the_score_equation(level):
    from statistics import NormalDist

    z = NormalDist().inv_cdf(0.5 + level / 2)
    found = wilson(7, 31, level)
    for end in (found.low, found.high):
        assert abs(7 / 31 - end) == pytest.approx(z * math.sqrt(end * (1 - end) / 31))


@pytest.mark.parametrize("n", [25, 80, 300])
def test_wilson_covers_near_its_level_on_average_over_proportions(n):
    intervals = [wilson(k, n) for k in range(n + 1)]
    coverage = [
        sum(binomial(k, n, p) for k, found in enumerate(intervals) if found.low <= p <= found.high)
        for p in np.linspace(0.03, 0.97, 48)
    ]
    assert np.mean(coverage) == pytest.approx(0.95, abs=0.01)
    assert min(coverage) > 0.82


def test_wilson_stays_inside_zero_to_one_and_knows_nothing_of_nothing():
    assert wilson(0, 12).low == 0 and wilson(12, 12).high == 1
    nothing = wilson(0, 0)
    assert math.isnan(nothing.estimate) and (nothing.low, nothing.high) == (0, 1)


@pytest.mark.parametrize("wrong", [(3, 2), (-1, 2), (0, -1), (1, 2, 0.0), (1, 2, 95)])
def test_wilson_refuses_what_is_no_proportion(wrong):
    with pytest.raises(InputError):
        wilson(*wrong)


def test_the_bootstrap_covers_the_mean_near_its_level():
    rng = np.random.default_rng(0)
    hits = 0
    for trial in range(250):
        found = bootstrap(rng.exponential(size=60), seed=trial, n=250, level=0.9)
        hits += found.low <= 1 <= found.high
    assert 0.82 <= hits / 250 <= 0.95


def test_the_bootstrap_repeats_itself_with_its_seed_only():
    values = np.random.default_rng(1).normal(size=30)
    one, same, other = (bootstrap(values, seed=seed, n=200) for seed in (5, 5, 6))
    assert (one.low, one.high) == (same.low, same.high) != (other.low, other.high)


def test_the_bootstrap_takes_statistics_that_are_arrays_and_keeps_samples_whole():
    values = np.random.default_rng(1).normal(size=(40, 6))
    together = bootstrap(values, seed=3, n=300)
    assert together.estimate == pytest.approx(values.mean(axis=0))
    alone = bootstrap(values[:, 2], seed=3, n=300)
    assert (together.low[2], together.high[2]) == pytest.approx((alone.low, alone.high))
    assert together.draws == 300


def test_bootstrap_draws_without_a_value_are_left_out_and_counted():
    table = np.array([[0.1, 0], [0.4, 0], [0.6, 1]])
    how = {"seed": 0, "n": 200, "bounds": (0, 1)}
    found = bootstrap(table, lambda draw: auroc(draw[:, 0], draw[:, 1].astype(bool)), **how)
    assert found.estimate == found.high == 1 and 0 < found.draws < 200 and found.low < 1


def test_a_statistic_that_is_never_defined_gives_nan():
    found = bootstrap([1.0, 2.0], lambda draw: math.nan, seed=0, n=20)
    assert math.isnan(found.low) and math.isnan(found.high) and found.draws == 0


def test_the_paired_bootstrap_draws_the_same_samples_for_both():
    rng = np.random.default_rng(2)
    before = rng.normal(0, 10, size=50)
    found = bootstrap_difference(before, before + 0.5, seed=0, n=200)
    assert found.estimate == pytest.approx(0.5) and np.isnan([found.low, found.high]).all()  # no draw differs
    nearly = bootstrap_difference(before, before + np.where(np.arange(50) == 0, 1.0, 0.5), seed=0, n=200)
    assert 0.49 < nearly.low < nearly.estimate < nearly.high < 0.56
    alone = bootstrap(before, seed=0, n=200)
    assert alone.high - alone.low > 3


def test_the_paired_bootstrap_is_honest_when_nothing_changed():
    rng = np.random.default_rng(3)
    covered = 0
    for trial in range(200):
        difficulty = rng.normal(size=50)
        a, b = difficulty + rng.normal(size=50), difficulty + rng.normal(size=50)
        found = bootstrap_difference(a, b, seed=trial, n=200, level=0.9)
        covered += found.low <= 0 <= found.high
    assert 0.82 <= covered / 200 <= 0.96


@pytest.mark.parametrize("wrong", [([], {}), (3.0, {}), ([1.0], {"n": 0}), ([1.0], {"level": 2})])
def test_the_bootstrap_refuses_nothing_to_draw(wrong):
    values, options = wrong
    with pytest.raises(InputError):
        bootstrap(values, **{"seed": 0, "n": 10, **options})


def test_values_that_are_not_pairs_are_refused():
    with pytest.raises(InputError, match=r"\(2,\) and \(3,\)"):
        bootstrap_difference([1, 2], [1, 2, 3], seed=0)
    with pytest.raises(InputError, match="2 and 3"):
        mcnemar([True, False], [True, False, True])


@pytest.mark.parametrize(("only_a", "only_b"), [(0, 0), (1, 0), (5, 0), (3, 9), (6, 6), (2, 15)])
def test_mcnemar_equals_counting_every_way_the_disagreements_could_fall(only_a, only_b):
    total = only_a + only_b
    a = [True] * only_a + [False] * only_b + [True] * 4 + [False] * 3
    b = [False] * only_a + [True] * only_b + [True] * 4 + [False] * 3
    distance = abs(only_a - only_b)
    ways = sum(math.comb(total, k) for k in range(total + 1) if abs(total - 2 * k) >= distance)
    found = mcnemar(a, b)
    assert (found.only_a, found.only_b) == (only_a, only_b)
    assert found.p_value == pytest.approx(float(Fraction(ways, 2**total)))


def test_mcnemar_rejects_a_true_null_no_more_often_than_it_says():
    for total in (1, 7, 30, 101):
        p_values = [
            mcnemar([True] * k + [False] * (total - k), [False] * k + [True] * (total - k)).p_value
            for k in range(total + 1)
        ]
        for level in (0.01, 0.05, 0.2):
            rejected = sum(binomial(k, total, 0.5) for k, p in enumerate(p_values) if p <= level)
            assert rejected <= level + 1e-12


def test_mcnemar_manages_thousands_of_samples():
    assert 0 < mcnemar([True] * 2600 + [False] * 2400, [False] * 2600 + [True] * 2400).p_value < 0.01


@pytest.mark.parametrize("seed", range(6))
def test_auroc_is_the_share_of_pairs_in_order_with_ties_as_half(seed):
    rng = np.random.default_rng(seed)
    scores, labels = rng.integers(0, 6, size=40), rng.random(40) < 0.4
    pairs = [(s > t) + 0.5 * (s == t) for s, t in product(scores[labels], scores[~labels])]
    assert auroc(scores, labels) == pytest.approx(np.mean(pairs))
    assert auroc(scores, ~labels) == pytest.approx(1 - np.mean(pairs))


def test_auroc_within_groups_compares_only_inside_them():
    rng = np.random.default_rng(0)
    scores, labels, groups = rng.normal(size=60), rng.random(60) < 0.5, rng.integers(0, 3, size=60)
    pairs = [
        (scores[i] > scores[j]) + 0.5 * (scores[i] == scores[j])
        for i, j in product(np.flatnonzero(labels), np.flatnonzero(~labels))
        if groups[i] == groups[j]
    ]
    assert auroc(scores, labels, groups=groups) == pytest.approx(np.mean(pairs))


def test_auroc_without_both_classes_is_nan():
    assert math.isnan(auroc([0.1, 0.2], [True, True]))
    assert math.isnan(auroc([], []))
    assert math.isnan(auroc([0.1, 0.2], [True, False], groups=["on", "under"]))


def relation_detector(seed=0, n=240):
    """Overlap that only knows the relation, and answers that are right for one relation nine times in ten."""
    rng = np.random.default_rng(seed)
    relation = rng.random(n) < 0.5
    return relation + rng.normal(size=n), rng.random(n) < np.where(relation, 0.9, 0.1), relation


def test_a_relation_detector_fools_the_plain_auroc_but_not_the_one_within_relations():
    scores, labels, relation = relation_detector()
    assert auroc(scores, labels) > 0.65
    assert auroc(scores, labels, groups=relation) == pytest.approx(0.5, abs=0.12)


def test_shuffling_within_relations_keeps_what_the_relation_explains_in_the_null():
    scores, labels, relation = relation_detector()
    assert shuffled_null(scores, labels, seed=0, n=199).p_value == pytest.approx(1 / 200)
    assert shuffled_null(scores, labels, seed=0, n=199, within=relation).p_value > 0.05


def test_p_values_are_uniform_when_scores_know_nothing():
    rng = np.random.default_rng(4)
    p_values = np.array(
        [shuffled_null(rng.normal(size=40), rng.random(40) < 0.5, seed=trial, n=79).p_value for trial in range(150)]
    )
    assert abs(p_values.mean() - 0.5) < 4 / math.sqrt(12 * 150)
    for level in (0.1, 0.25, 0.5):
        assert (p_values <= level).mean() <= level + 3.5 * math.sqrt(level * (1 - level) / 150)


def test_p_values_stay_honest_when_many_scores_are_tied():
    rng = np.random.default_rng(5)
    p_values = np.array(
        [
            shuffled_null(rng.integers(0, 2, size=12), np.arange(12) < 5, seed=trial, n=79).p_value
            for trial in range(150)
        ]
    )
    for level in (0.1, 0.25):
        assert (p_values <= level).mean() <= level + 3.5 * math.sqrt(level * (1 - level) / 150)


def test_the_null_of_the_auroc_lies_around_one_half():
    found = shuffled_null(np.arange(60.0), np.arange(60) % 2 == 0, seed=0, n=200)
    assert found.mean == pytest.approx(0.5, abs=0.03) and found.low < 0.5 < found.high


def test_a_null_of_one_class_is_undefined():
    found = shuffled_null([0.1, 0.2], [True, True], seed=0, n=10)
    assert math.isnan(found.observed) and math.isnan(found.p_value)


def test_scores_that_are_undefined_are_refused_with_their_number():
    with pytest.raises(InputError, match="1 of 3 scores"):
        auroc([0.1, math.nan, 0.3], [True, False, True])


def test_labels_that_are_not_true_or_false_are_refused():
    with pytest.raises(InputError, match="labels"):
        auroc([0.1, 0.2], [0.5, 1])
    with pytest.raises(InputError, match="one of each"):
        auroc([0.1, 0.2], [True])
