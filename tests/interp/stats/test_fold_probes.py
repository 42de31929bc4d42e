"""Fold probes: closed forms and sums less a fold are what fitting each fold by itself gives."""

import numpy as np
import pytest
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression, Ridge

from interp.errors import InputError
from interp.stats.fold_probes import RIDGE, FoldProbes


def made(n=90, width=6, columns=3, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, width)) @ rng.normal(size=(width, width)) + 30 * rng.normal(size=width)
    labels = x @ rng.normal(size=(width, columns)) + rng.normal(size=(n, columns)) * 4
    labels = labels > np.quantile(labels, 0.7, axis=0)
    return x.astype(np.float32), labels, np.array_split(rng.permutation(n), 4)


def standardised(x, train):
    centre, spread = x[train].mean(axis=0), x[train].std(axis=0)
    return (x - centre) / spread


@pytest.mark.parametrize("prior", [False, True])
def test_ridge_over_folds_is_scikit_learns_fitted_fold_by_fold(prior):
    x, labels, folds = made()
    got = FoldProbes.of(labels, folds, prior=prior).scores(x)
    for test in folds:
        train = np.setdiff1d(np.arange(len(x)), test)
        scaled = standardised(x.astype(float), train)
        for column, y in enumerate(labels.T):
            model = Ridge(alpha=RIDGE).fit(scaled[train], y[train].astype(float))
            said = model.predict(scaled)
            middle = (said[train][y[train]].mean() + said[train][~y[train]].mean()) / 2
            np.testing.assert_allclose(got[test, column], said[test] - (0.5 if prior else middle), atol=2e-5)


def test_with_hardly_a_penalty_ridge_points_where_fishers_discriminant_does():
    x, labels, folds = made(n=400, columns=1)
    got = FoldProbes.of(labels, folds).scores(x)[:, 0]
    test, y = folds[0], labels[:, 0]
    train = np.setdiff1d(np.arange(len(x)), test)
    said = LinearDiscriminantAnalysis(priors=[0.5, 0.5]).fit(x[train], y[train]).decision_function(x[test])
    assert np.corrcoef(got[test], said)[0, 1] > 0.99
    assert np.mean((got[test] > 0) == (said > 0)) > 0.96


@pytest.mark.parametrize("prior", [False, True])
def test_logistic_over_folds_is_scikit_learns(prior):
    x, labels, folds = made()
    got = FoldProbes.of(labels, folds, recipe="logistic", prior=prior).scores(x)
    for test in folds:
        train = np.setdiff1d(np.arange(len(x)), test)
        scaled = standardised(x.astype(float), train)
        for column, y in enumerate(labels.T):
            said = LogisticRegression(max_iter=1000).fit(scaled[train], y[train]).decision_function(scaled[test])
            share = y[train].mean()
            odds = 0 if prior else np.log(share / (1 - share))
            np.testing.assert_allclose(got[test, column], said - odds, atol=2e-3)


def test_samples_of_a_fold_say_nothing_of_themselves():
    x, labels, folds = made()
    turned = labels.copy()
    turned[folds[1]] = ~turned[folds[1]]
    before, after = (FoldProbes.of(own, folds).scores(x) for own in (labels, turned))
    np.testing.assert_allclose(before[folds[1]], after[folds[1]], atol=1e-5)
    assert np.abs(before[folds[0]] - after[folds[0]]).max() > 0.05


@pytest.mark.parametrize("recipe", ["ridge", "logistic"])
def test_a_label_that_training_lacks_is_said_of_nobody(recipe):
    x, labels, folds = made(columns=2)
    labels[:, 0] = False
    labels[folds[2], 0] = True
    got = FoldProbes.of(labels, folds, recipe=recipe).scores(x)
    assert (got[folds[2], 0] == -np.inf).all() and np.isfinite(got[folds[0]]).all()


def test_a_feature_that_does_not_vary_changes_nothing():
    x, labels, folds = made()
    wider = np.hstack([x, np.full((len(x), 1), 7.25, np.float32)])
    np.testing.assert_allclose(
        FoldProbes.of(labels, folds).scores(wider), FoldProbes.of(labels, folds).scores(x), atol=1e-5
    )


def test_a_recipe_that_is_not_known_is_refused():
    with pytest.raises(InputError, match="recipe='svm' is not known: use one of ridge, logistic"):
        FoldProbes.of(np.eye(4, dtype=bool), [np.arange(4)], recipe="svm")
