"""What we reckon ourselves is what scipy and scikit-learn reckon, ties, zeros and boundaries among it."""

import numpy as np
import pytest
from scipy import stats
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from interp.stats.auroc import auroc
from interp.stats.intervals import bootstrap, wilson
from interp.stats.logistic import fit_logistic
from interp.stats.tests import benjamini_hochberg, mcnemar

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
    assert found.low == pytest.approx(exact.low, abs=1e-12) and found.high == pytest.approx(exact.high, abs=1e-12)


@pytest.mark.parametrize("ridge", [0.01, 1.0])
def test_every_draw_of_the_logistic_regression_is_that_of_scikit_learn(ridge):
    columns = RNG.normal(size=(120, 3))
    right = columns[:, 0] + RNG.normal(size=120) > 0
    counts = RNG.multinomial(120, np.full(120, 1 / 120), size=3)
    found = fit_logistic(np.column_stack([np.ones(120), columns]), right, counts, ridge)
    for slopes, weights in zip(found, counts, strict=True):
        exact = LogisticRegression(C=1 / ridge, tol=1e-10, max_iter=10_000).fit(columns, right, sample_weight=weights)
        assert slopes == pytest.approx([*exact.intercept_, *exact.coef_[0]], abs=1e-4)
