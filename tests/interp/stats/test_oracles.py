"""What we reckon ourselves is what scipy, scikit-learn or a plain loop reckon, ties, zeros and boundaries among it."""

import math

import numpy as np
import pytest
from by_hand import by_pairs
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from interp.errors import InputError
from interp.stats.association import association
from interp.stats.auroc import auroc
from interp.stats.clusters import clustered_mean, ratio_over_groups
from interp.stats.intervals import bootstrap, students_t, wilson
from interp.stats.logistic import fit_logistic
from interp.stats.pairs import weighted_wins
from interp.stats.student import students_tail
from interp.stats.tests import benjamini_hochberg, holm, mcnemar, sign_test

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("level", [0.5, 0.9, 0.99])
def test_wilson_is_that_of_scipy(level):
    for n in (1, 2, 7, 400):
        for k in {0, 1, n // 3, n - 1, n}:
            exact = stats.binomtest(k, n).proportion_ci(level, "wilson")
            assert (wilson(k, n, level).low, wilson(k, n, level).high) == pytest.approx(exact, abs=1e-12)


def test_benjamini_hochberg_is_that_of_scipy():
    for digits in (1, 2, 12):
        p = np.concatenate([[0.0, 1.0], np.round(RNG.random(40), digits)])
        assert benjamini_hochberg(p) == pytest.approx(stats.false_discovery_control(p), abs=1e-12)


def test_the_sign_test_over_groups_is_the_binomial_test_of_scipy():
    rng = np.random.default_rng(0)
    for _ in range(50):
        groups = rng.integers(0, 12, size=40)
        values = rng.integers(-1, 2, size=40).astype(float)
        sums = [values[groups == group].sum() for group in set(groups.tolist())]
        gained, lost = sum(own > 0 for own in sums), sum(own < 0 for own in sums)
        wanted = stats.binomtest(gained, gained + lost).pvalue if gained + lost else 1.0
        assert sign_test(values, groups) == pytest.approx(wanted)
        assert sign_test(values, np.array([f"photo {own}" for own in groups], dtype=object)) == pytest.approx(wanted)
    assert sign_test([1.0, -1.0], ["a", "a"]) == 1  # no group gains or loses
    for wrong in (([1.0], ["a", "b"]), ([np.nan], ["a"])):
        with pytest.raises(InputError, match="give finite ones"):
            sign_test(*wrong)


def test_mcnemar_is_the_binomial_test_of_scipy():
    for n in (5, 30, 400):
        first, second = RNG.random(n) < 0.6, RNG.random(n) < 0.5
        found = mcnemar(first, second)
        exact = stats.binomtest(found.only_a, found.only_a + found.only_b).pvalue
        assert found.p_value == pytest.approx(exact, rel=1e-12)


def test_auroc_is_that_of_scikit_learn():
    for digits in (0, 1, 9):
        scores, labels = np.round(RNG.normal(size=200), digits), RNG.random(200) < 0.3
        assert auroc(scores, labels) == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)


def test_the_bootstrap_of_a_mean_is_that_of_scipy_with_the_same_draws():
    values = RNG.normal(size=(60, 3))
    found, rng = bootstrap(values, seed=3, n=500), np.random.default_rng(3)
    exact = stats.bootstrap((values,), np.mean, n_resamples=500, method="percentile", rng=rng).confidence_interval
    for side in ("low", "high"):
        wanted = spread(values.mean(axis=0), getattr(exact, side), 60)
        assert getattr(found, side) == pytest.approx(wanted, abs=1e-12)


@pytest.mark.parametrize("ridge", [0.01, 1.0])
def test_every_draw_of_the_logistic_regression_is_that_of_scikit_learn(ridge):
    columns = RNG.normal(size=(120, 3))
    right = columns[:, 0] + RNG.normal(size=120) > 0
    counts = RNG.multinomial(120, np.full(120, 1 / 120), size=3)
    found = fit_logistic(np.column_stack([np.ones(120), columns]), right, counts, ridge)
    for slopes, weights in zip(found, counts, strict=True):
        exact = LogisticRegression(C=1 / ridge, tol=1e-10, max_iter=10_000).fit(columns, right, sample_weight=weights)
        assert slopes == pytest.approx([*exact.intercept_, *exact.coef_[0]], abs=1e-4)


@pytest.mark.parametrize("columns", [1, 3])
def test_without_a_penalty_the_logistic_regression_is_that_of_scikit_learn_without_one(columns):
    design = RNG.normal(size=(150, columns))
    right = design[:, 0] + 2 * RNG.normal(size=150) > 0
    counts = RNG.multinomial(150, np.full(150, 1 / 150), size=4)
    found = fit_logistic(np.column_stack([np.ones(150), design]), right, counts, 1e-12)
    for slopes, weights in zip(found, counts, strict=True):
        exact = LogisticRegression(C=np.inf, solver="newton-cholesky", tol=1e-12).fit(design, right, weights)
        assert slopes == pytest.approx([*exact.intercept_, *exact.coef_[0]], abs=1e-8)


@settings(max_examples=50)
@given(st.lists(st.sampled_from([0.0, 0.001, 0.01, 0.02, 0.04, 0.3, 1.0]) | st.floats(0, 1), max_size=8))
def test_holm_corrects_to_the_least_level_at_which_stepping_down_rejects(p):
    corrected = holm(p)
    for level in {0.01, 0.05, *(corrected + 1e-9), *(corrected - 1e-9)} - {0.0}:
        rejected = np.zeros(len(p), dtype=bool)
        for step, place in enumerate(np.argsort(p, kind="stable")):
            if p[place] > level / (len(p) - step):
                break
            rejected[place] = True
        assert level >= 1 or ((corrected <= level) == rejected).all()


@settings(max_examples=50)
@given(st.integers(0, 2**32 - 1), st.sampled_from([1, 4, 100]))
def test_the_weighted_auroc_is_that_of_scikit_learn(seed, levels):
    rng = np.random.default_rng(seed)
    scores, right = rng.integers(levels, size=(30, 2)).astype(float), np.arange(30) % 3 == 0
    strata, counts = rng.integers(2, size=30), rng.integers(0, 4, size=(3, 30))
    wins, pairs = weighted_wins(scores, right, strata, counts)
    for draw, weights in enumerate(counts):
        sides = [[weights[(strata == kind) & side].sum() for side in (right, ~right)] for kind in (0, 1)]
        assert pairs[draw] == sum(yes * no for yes, no in sides)
        for cell in range(2):
            own = [(yes * no, strata == kind) for kind, (yes, no) in enumerate(sides) if yes and no]
            exact = [n * roc_auc_score(right[s], scores[s, cell], sample_weight=weights[s]) for n, s in own]
            assert wins[draw, cell] == pytest.approx(sum(exact), abs=1e-6)


def spread(estimate, ends, units, level=0.95):
    """The ends of a percentile interval, moved outwards from the estimate as Student's t asks for."""
    wider = stats.t.ppf(0.5 + level / 2, units - 1) / stats.norm.ppf(0.5 + level / 2) * math.sqrt(units / (units - 1))
    return estimate + wider * (np.array(ends) - estimate)


def of_groups():
    """Values of groups of one to five samples, alike inside a group, and which group each lies in."""
    groups = np.repeat(np.arange(25), RNG.integers(1, 6, size=25))
    return RNG.normal(size=len(groups)) + RNG.normal(size=25)[groups], groups


def test_the_group_bootstrap_is_a_loop_over_the_groups_of_each_draw():
    above, groups = of_groups()
    below = 2 + RNG.random(len(above))
    members = [np.flatnonzero(groups == group) for group in range(25)]
    drawn = np.random.default_rng(4).multinomial(25, np.full(25, 1 / 25), size=300)
    samples = [np.concatenate([members[group] for group in np.repeat(np.arange(25), times)]) for times in drawn]
    mean = clustered_mean(above, groups, seed=4, n=300, level=0.8)
    exact = np.quantile([above[own].mean() for own in samples], [0.1, 0.9])
    assert (mean.low, mean.high) == pytest.approx(spread(above.mean(), exact, 25, 0.8), abs=1e-12)
    ratio = ratio_over_groups(above[:, None], below[:, None], groups, seed=4, n=300, level=0.8)
    exact = np.quantile([above[own].mean() / below[own].mean() for own in samples], [0.1, 0.9])
    wanted = spread(above.mean() / below.mean(), exact, 25, 0.8)
    assert (ratio.low[0], ratio.high[0]) == pytest.approx(wanted, abs=1e-12)


def test_the_group_bootstrap_is_that_of_scipy_over_sums_and_sizes_of_groups():
    values, groups = of_groups()
    sums, sizes = np.bincount(groups, weights=values), np.bincount(groups)
    found = clustered_mean(values, groups, seed=0, n=20_000)
    exact = stats.bootstrap(
        (sums, sizes), lambda total, size, axis: total.sum(axis) / size.sum(axis),
        paired=True, n_resamples=20_000, method="percentile", rng=np.random.default_rng(1),
    ).confidence_interval  # fmt: skip
    assert (found.low, found.high) == pytest.approx(spread(values.mean(), (exact.low, exact.high), 25), abs=0.02)


@pytest.mark.parametrize("level", [0.6, 0.9])
def test_intervals_of_the_group_bootstrap_hold_the_true_mean_as_often_as_they_say(level):
    held = 0
    for seed in range(300):
        rng = np.random.default_rng(seed)
        groups = np.repeat(np.arange(80), rng.integers(1, 4, size=80))
        found = clustered_mean(
            rng.normal(size=80)[groups] + rng.normal(size=len(groups)), groups, seed=0, n=400, level=level
        )
        held += found.low <= 0 <= found.high
    assert stats.binomtest(held, 300, level).pvalue > 1e-3


@pytest.mark.parametrize("within", [False, True])
def test_maxt_is_a_loop_that_shuffles_the_answers_and_keeps_the_farthest_cell(within):
    scores, right = RNG.integers(0, 9, size=(40, 6)).astype(float), np.arange(40) % 2 == 0
    scores[right, 0] += 3
    strata = np.arange(40) // 20 if within else np.zeros(40, dtype=int)
    found = association(scores, right, strata=strata, seed=3, n_draws=5, n_shuffles=99)
    rng = np.random.default_rng(3)
    labels = [right]
    for keys in rng.random((99, 40)):
        shuffled = right.copy()
        for own in (np.flatnonzero(strata == kind) for kind in np.unique(strata)):
            shuffled[own[np.argsort(keys[own])]] = np.sort(right[own])
        labels.append(shuffled)
    aurocs = np.array([[by_pairs(column, one, strata)[0] for column in scores.T] for one in labels])
    far = np.abs(aurocs - 0.5) / np.sqrt(((aurocs - 0.5) ** 2).mean(axis=0))
    assert found.auroc == pytest.approx(aurocs[0]) and found.null_mean == pytest.approx(0.5)
    assert found.p == pytest.approx([np.mean(column >= column[0] - 1e-9) for column in far.T])
    assert found.p_max == pytest.approx([np.mean(far.max(axis=1) >= own - 1e-9) for own in far[0]])
    ends = np.quantile(aurocs[1:], [0.025, 0.975], axis=0)
    assert found.null_low == pytest.approx(ends[0]) and found.null_high == pytest.approx(ends[1])


def test_p_of_one_layer_is_that_of_scipys_permutation_test():
    right = np.arange(11) % 5 < 2
    for seed in range(3):
        scores = np.random.default_rng(seed).normal(size=11) + right

        def off_chance(yes, no, axis):
            return np.abs((yes[..., :, None] > no[..., None, :]).mean(axis=(-2, -1)) - 0.5)

        exact = stats.permutation_test(
            (scores[right], scores[~right]), off_chance, vectorized=True, n_resamples=np.inf, alternative="greater"
        ).pvalue  # of all ways to choose the right answers
        found = association(scores, right, seed=seed, n_draws=1, n_shuffles=20_000).p
        assert abs(found - exact) < 4 * math.sqrt(exact * (1 - exact) / 20_000) + 1e-4


@pytest.mark.parametrize("n", [2, 3, 4, 5, 8, 21])
@pytest.mark.parametrize("level", [0.5, 0.95, 0.999])
def test_students_interval_is_that_of_scipy(n, level):
    values = np.random.default_rng(n).normal(1.0, 2.0, size=n)
    found = students_t(values, level)
    ends = stats.t.interval(level, n - 1, loc=values.mean(), scale=stats.sem(values))
    assert (found.low, found.high) == pytest.approx(ends, rel=1e-9)
    assert found.estimate == pytest.approx(values.mean())


@pytest.mark.parametrize("values", [[], [1.0], [1.0, np.nan], [[1.0, 2.0]]])
def test_what_has_no_students_interval_is_refused(values):
    with pytest.raises(InputError, match="two finite numbers"):
        students_t(values)


@pytest.mark.parametrize("freedom", [1, 2, 7, 40, 5000])
def test_students_tail_is_that_of_scipy(freedom):
    for t in (-3.0, 0.0, 0.5, 2.5, 9.0):
        assert students_tail(t, freedom) == pytest.approx(stats.t.sf(t, freedom), rel=2e-3, abs=1e-15)


@pytest.mark.parametrize("t", [10.0, 100.0, 1e6])
def test_students_tail_is_a_probability_however_far_out(t):
    tails = [students_tail(sign * t, freedom) for freedom in range(1, 200) for sign in (1, -1)]
    assert 0 <= min(tails) and max(tails) <= 1
    assert np.isnan(students_tail(float("nan"), 7))
