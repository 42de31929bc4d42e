"""Linear probes: they equal recorded ones and scikit-learn's, refuse what has no answer, and find nothing in noise."""

import numpy as np
import pytest
import torch
from golden import golden
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from interp.errors import InputError
from interp.stats.linear_probe import LinearProbe, fit_probe, fit_probes, prior_probe, softmax
from interp.stats.probe_accuracy import held_out, probe_accuracy, splits, with_shuffled


def tokens(rng, photos=12, each=3, width=6, signal=0.0):
    """Features [token feature], labels and photos: a class each, whose mean lies `signal` off."""
    labels, groups = np.tile(np.arange(each), photos), np.repeat(np.arange(photos), each)
    features = rng.normal(size=(photos * each, width)).astype(np.float32)
    features[:, :each] += signal * np.eye(each, dtype=np.float32)[labels]
    return features, labels, groups


@pytest.mark.parametrize("axis", ["horizontal", "vertical"])
def test_the_papers_recipe_gives_the_recorded_probe(axis):
    case = np.load(golden("position_probe") / "cases.npz")
    labels = np.tile(case[f"{axis}.labels_per_image"], len(case[f"{axis}.train"]) // 12)
    start = case[f"{axis}.W0"], case[f"{axis}.b0"]
    probe = fit_probe(case[f"{axis}.train"], labels, recipe="paper", start=start)
    assert np.abs(probe.weights - case[f"{axis}.W"]).max() < 2e-4
    assert np.abs(probe.bias - case[f"{axis}.b"]).max() < 2e-4
    assert probe.loss == pytest.approx(float(case[f"{axis}.loss"]), abs=1e-5)
    held = case[f"{axis}.all_test"]
    assert np.abs(probe.probabilities(held) - case[f"{axis}.test_pred_all"]).max() < 2e-3
    objects = probe.predict(held[:, case[f"{axis}.obj_idx"]])
    assert (objects == case[f"{axis}.labels_per_image"]).mean() == pytest.approx(float(case[f"{axis}.acc"]), abs=3e-3)


def test_the_papers_recipe_gives_the_recorded_toy_of_two_classes():
    case = np.load(golden("position_probe") / "cases.npz")
    probe = fit_probe(case["plain2.X"], case["plain2.y"], recipe="paper", start=(case["plain2.W0"], case["plain2.b0"]))
    assert np.abs(probe.weights - case["plain2.W"]).max() < 1e-5 > np.abs(probe.bias - case["plain2.b"]).max()
    assert np.abs(probe.probabilities(case["plain2.X2"]) - case["plain2.pred"]).max() < 2e-3


def test_probes_that_step_together_are_those_that_step_alone():
    features, labels, _ = tokens(np.random.default_rng(0), signal=1.0)
    start = np.zeros((6, 3), np.float32), np.zeros(3, np.float32)
    both = fit_probes(features, np.stack([labels, labels[::-1]]), recipe="paper", start=start)
    for probe, own in zip(both, (labels, labels[::-1]), strict=True):
        weights = torch.zeros(6, 3, requires_grad=True)
        bias = torch.zeros(3, requires_grad=True)
        steps = torch.optim.AdamW([weights, bias], lr=1e-3, weight_decay=1e-4)
        for _ in range(200):
            steps.zero_grad()
            logits = torch.from_numpy(features) @ weights + bias
            torch.nn.functional.cross_entropy(logits, torch.from_numpy(own.copy())).backward()
            steps.step()
        assert np.abs(probe.weights - weights.detach().numpy()).max() < 1e-5


@pytest.mark.parametrize(("width", "classes"), [(6, 3), (6, 2), (60, 3)])
def test_the_default_recipe_is_scikit_learns_on_standardised_features(width, classes):
    features, labels, _ = tokens(np.random.default_rng(1), each=classes, width=width, signal=1.0)
    features[:, 1] = 1e3 + 5 * features[:, 1]
    features[:, 5] = 7.0  # says nothing, and is left alone
    scaler = StandardScaler().fit(features.astype(np.float64))
    known = LogisticRegression(max_iter=1000, tol=1e-8).fit(scaler.transform(features), labels)
    probe = fit_probe(features, labels)
    expected = known.predict_proba(scaler.transform(features))
    assert np.abs(probe.probabilities(features) - expected).max() < 2e-3
    assert (probe.weights[5] == 0).all()


def test_a_probe_of_no_feature_says_how_often_each_class_is_there():
    probe = prior_probe(np.array([0, 0, 0, 1]), 5, 2, "paper")
    assert np.allclose(probe.probabilities(np.ones((2, 5))), [0.75, 0.25], atol=1e-4)
    assert np.allclose(softmax(np.array([1e4, 0.0])), [1, 0])


def test_a_probe_is_made_again_of_its_arrays():
    features, labels, _ = tokens(np.random.default_rng(2))
    probe = fit_probe(features, labels)
    again = LinearProbe.of_arrays(probe.arrays(), probe.recipe, probe.loss)
    assert np.array_equal(again.logits(features), probe.logits(features))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda x, y: (x, np.zeros_like(y)), "all 36 training labels are 0"),
        (lambda x, y: (np.ones_like(x), y), "no feature varies over the 36 training tokens"),
        (lambda x, y: (1e3 + 1e-4 * x, y), "no feature varies"),
        (lambda x, y: (np.where(np.arange(6) == 4, np.nan, x), y), "not finite, first in feature 4"),
        (lambda x, y: (x[0], y), r"\[token feature\]"),
        (lambda x, y: (x, y[:5]), "give one per token"),
        (lambda x, y: (x, y * 0.5), "whole numbers"),
        (lambda x, y: (x, y - 1), "whole numbers from 0"),
    ],
)
def test_what_can_not_be_probed_is_refused_by_name(change, says):
    features, labels, _ = tokens(np.random.default_rng(3))
    with pytest.raises(InputError, match=says):
        fit_probe(*change(features, labels))


def test_options_that_mean_nothing_are_refused():
    features, labels, groups = tokens(np.random.default_rng(3))
    start = np.zeros((6, 3)), np.zeros(3)
    for options, says in (
        ({"recipe": "svm"}, "not known"),
        ({"start": start}, "has none"),
        ({"n_classes": 2}, "among 2 classes"),
        ({"recipe": "paper", "start": (start[0].T, start[1])}, "start values have shapes"),
    ):
        with pytest.raises(InputError, match=says):
            fit_probe(features, labels, **options)
    for options, says in (
        ({"shuffles": 0}, "no control"),
        ({"split": "leave"}, "not known"),
        ({"units": groups}, "different labels"),
        ({"draws": 0}, "at least one draw"),
    ):
        with pytest.raises(InputError, match=says):
            probe_accuracy(features, labels, groups, **options)
    with pytest.raises(InputError, match="3 groups can not be held out in 5 folds"):
        probe_accuracy(features, labels, groups // 4)
    with pytest.raises(InputError, match="3 groups, of which 1"):
        probe_accuracy(features, labels, groups // 4, split="holdout")


@pytest.mark.parametrize("split", ["folds", "holdout"])
def test_no_group_trains_and_tests(split):
    groups = np.random.default_rng(0).integers(0, 9, size=60)
    tested = np.zeros(60, int)
    for train, test in splits(groups, split, seed=3):
        assert not set(groups[train]) & set(groups[test])
        assert sorted([*train, *test]) == list(range(60))
        tested[test] += 1
    assert (tested == 1).all() if split == "folds" else 0 < tested.sum() < 60


def test_who_is_held_out_is_drawn_by_the_seed():
    groups = np.repeat(np.arange(20), 2)
    first = held_out(groups, seed=0)
    assert np.array_equal(first, held_out(groups, seed=0)) and not np.array_equal(first, held_out(groups, seed=1))
    assert first.sum() == 10


def test_units_keep_one_label_and_labels_their_number():
    labels, units = np.repeat([0, 1, 2, 0, 1, 2], 4), np.repeat(np.arange(6), 4)
    every = with_shuffled(labels, units, shuffles=8, seed=(0,))
    assert np.array_equal(every[0], labels) and any((own != labels).any() for own in every[1:])
    for own in every:
        assert np.array_equal(np.bincount(own), np.bincount(labels))
        assert all(len(set(own[units == unit])) == 1 for unit in range(6))


def test_what_is_there_is_found_and_shuffled_labels_are_at_chance():
    features, labels, groups = tokens(np.random.default_rng(5), photos=40, signal=4.0)
    found = probe_accuracy(features, labels, groups, draws=300)
    assert found.accuracy.low > 0.8 and found.control.low < 1 / 3 < found.control.high
    assert found.selectivity.low > 0.4 and found.chance == pytest.approx(1 / 3)
    assert found.selectivity.estimate == pytest.approx(found.accuracy.estimate - found.control.estimate)
    assert (found.n_tokens, found.n_groups) == (120, 40)


def test_over_200_sets_of_noise_labels_are_at_chance_and_selectivity_covers_zero():
    selective, control = [], []
    for number in range(200):
        features, labels, groups = tokens(np.random.default_rng(number), photos=24, width=4)
        found = probe_accuracy(features, labels, groups, split="holdout", shuffles=2, draws=100, seed=number)
        selective.append(found.selectivity.low > 0)
        control.append(found.control.estimate)
    assert np.mean(control) == pytest.approx(1 / 3, abs=4 * np.std(control) / 200**0.5)
    assert np.mean(selective) <= 0.08  # one of two sides, and six groups' percentiles are short
