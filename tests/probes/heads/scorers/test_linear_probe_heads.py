"""Linear probes of heads: the planted head ranks first, noise stays at chance, and no main question is seen twice."""

import numpy as np
import pytest
from planted_heads import FUNCTIONS, planted

from interp.errors import InputError
from interp.stats.auroc import auroc
from interp.stats.fold_probes import FoldProbes
from interp.stats.probe_accuracy import splits
from probes.heads.scorers.linear_probe import linear_probe

FAST = {"functions": FUNCTIONS, "shuffles": 19, "draws": 100, "progress": False}
CARRIERS = (("spatial", 1, 2), ("math", 0, 1))


@pytest.mark.parametrize("recipe", ["ridge", "logistic"])
@pytest.mark.parametrize("measure", ["balanced_accuracy", "accuracy", "auroc"])
def test_the_head_that_carries_a_function_ranks_first_for_it_alone(measure, recipe):
    given = planted(CARRIERS)
    options = FAST | ({"shuffles": 1} if recipe == "logistic" else {})
    found = linear_probe(*given, measure=measure, recipe=recipe, **options)
    for function, layer, head in CARRIERS:
        own = found.of(function)
        assert np.unravel_index(own.argmax(), own.shape) == (layer, head)
        assert found.low[found.place(function), layer, head] > np.sort(own.ravel())[-2]
    assert found.values.shape == (3, 2, 3) and found.samples == (160,) * 3 and found.groups == (40,) * 3


def test_the_planted_head_passes_the_null_and_the_others_do_not():
    found = linear_probe(*planted(CARRIERS), **FAST)
    place = found.place("spatial")
    assert found.p_any[place, 1, 2] == pytest.approx(1 / 20)
    assert found.p[place, 1, 2] == pytest.approx(1 / (1 + 19 * 6))
    others = np.ones((2, 3), bool)
    others[1, 2] = False
    assert found.p_any[place][others].min() > 0.05
    np.testing.assert_allclose(found.null, 0.5, atol=0.06)


def test_scores_are_those_of_a_loop_over_heads_functions_and_folds():
    features, labels, groups = planted(CARRIERS, questions=12)
    found = linear_probe(features, labels, groups, **FAST, seed=3)
    codes = np.unique(groups, return_index=True, return_inverse=True)
    codes = np.argsort(np.argsort(codes[1]))[codes[2]]
    folds = [test for _, test in splits(codes, "folds", seed=3)]
    for measure in ("balanced_accuracy", "auroc"):
        found = linear_probe(features, labels, groups, measure=measure, **FAST, seed=3)
        for place in range(3):
            y = labels[:, place]
            for layer in range(2):
                for head in range(3):
                    said = FoldProbes.of(y[:, None], folds).scores(features[:, layer, head])[:, 0]
                    shares = (np.mean(said[y] > 0) + np.mean(said[~y] <= 0)) / 2
                    wanted = shares if measure == "balanced_accuracy" else auroc(said, y)
                    assert found.values[place, layer, head] == pytest.approx(wanted, abs=1e-6)


def test_intervals_draw_whole_main_questions():
    """Items of one question that are all alike say no more than one of them."""
    features, labels, _ = planted(questions=60, steps=1, layers=1, heads=2)
    groups = np.arange(60)
    often = [np.repeat(own, 5, axis=0) for own in (features, labels, groups)]
    once = linear_probe(features, labels, groups, **FAST)
    five = linear_probe(*often, **FAST)
    alone = linear_probe(often[0], often[1], np.arange(300), **FAST)
    wide = [float((own.high - own.low).mean()) for own in (once, five, alone)]
    assert 0.7 < wide[1] / wide[0] < 1.4 and wide[2] < 0.65 * wide[0]


@pytest.mark.parametrize("measure", ["balanced_accuracy", "auroc"])
def test_intervals_hold_what_other_questions_score(measure):
    """Of ten planted heads, whose mean score over sets of as many questions is known, most intervals hold theirs."""
    carriers = [("spatial", layer, head) for layer in range(2) for head in range(5)]
    features, labels, groups = planted(carriers, questions=1000, heads=5, strength=0.7)
    parts = np.random.default_rng(0).permutation(1000).reshape(10, 100)
    rows = [np.flatnonzero(np.isin(groups, [f"q{own}" for own in part])) for part in parts]
    found = [
        linear_probe(features[own], labels[own], groups[own], measure=measure, **FAST | {"shuffles": 1}) for own in rows
    ]
    mean = np.mean([own.values[0] for own in found], axis=0)
    inside = sum(((own.low[0] <= mean) & (mean <= own.high[0])).sum() for own in found)
    assert 82 <= inside <= 99  # of 100, at 95 %; that other items would train another probe is not in them


def test_noise_has_uniform_p_values():
    p = [linear_probe(*planted(seed=seed), **FAST, seed=seed).p_any.min(axis=(1, 2)) for seed in range(20)]
    assert np.mean(np.concatenate(p) <= 0.1) <= 0.25 and np.mean(np.concatenate(p)) > 0.3


def test_questions_that_share_activations_do_not_pass_for_a_function():
    """All steps of a question are of one function and nearly one activation: only new questions can tell."""
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(40), 4)
    labels = np.eye(3, dtype=bool)[rng.integers(3, size=40)[groups]]
    features = (rng.normal(size=(40, 1, 2, 5))[groups] + 0.05 * rng.normal(size=(160, 1, 2, 5))).astype(np.float32)
    found = linear_probe(features, labels, groups, **FAST)
    leaky = linear_probe(features, labels, np.arange(160), **FAST)
    assert found.p_any.min() > 0.05 and found.values.max() < 0.75
    assert leaky.p_any.min() <= 0.05 and leaky.values.max() > found.values.max()


def test_cogvision_reads_rightly_answered_items_alone_in_equal_numbers():
    features, labels, groups = planted(CARRIERS, questions=60)
    correct = np.random.default_rng(1).random(len(labels)) < 0.7
    found = linear_probe(features, labels, groups, correct=correct, variant="cogvision", context=True, **FAST)
    counts = (labels & correct[:, None]).sum(axis=0)
    assert found.samples == tuple(int(2 * own) for own in counts)
    spoilt = features.copy()
    spoilt[~correct] = 1e3
    again = linear_probe(spoilt, labels, groups, correct=correct, variant="cogvision", context=True, **FAST)
    np.testing.assert_array_equal(found.values, again.values)
    for function, layer, head in CARRIERS:
        own = found.of(function)
        assert np.unravel_index(own.argmax(), own.shape) == (layer, head)
        assert own.max() > 0.65
    assert found.settings["measure"] == "accuracy" and found.settings["variant"] == "cogvision"


def test_with_context_a_head_is_read_with_the_mean_of_its_layer():
    features, labels, groups = planted(CARRIERS, strength=4.0)
    mean = np.broadcast_to(features.mean(axis=2, keepdims=True), features.shape)
    both = linear_probe(np.concatenate([features, mean], axis=3), labels, groups, **FAST)
    np.testing.assert_array_equal(linear_probe(features, labels, groups, context=True, **FAST).values, both.values)


def test_ridge_orders_heads_as_logistic_does():
    features, labels, groups = planted((), layers=1, heads=8, questions=60, functions=("spatial", "math"))
    features[:, 0, :, 0] += np.arange(8) / 3 * labels[:, :1]
    options = {"shuffles": 1, "functions": ("spatial", "math")}
    found = [
        linear_probe(features, labels, groups, recipe=recipe, measure="auroc", **FAST | options).of("spatial")
        for recipe in ("ridge", "logistic")
    ]
    ranks = [np.argsort(np.argsort(own.ravel())) for own in found]
    assert np.corrcoef(*ranks)[0, 1] > 0.97
    np.testing.assert_allclose(*found, atol=0.03)


def test_an_item_may_be_of_several_functions():
    features, labels, groups = planted(CARRIERS)
    labels = labels.copy()
    labels[:40, 1] = True
    found = linear_probe(features, labels, groups, **FAST)
    y = labels[:, 1]
    assert y.sum() > 60 and found.samples[1] == 160


def test_a_function_that_can_not_be_scored_is_left_out_with_counts():
    features, labels, groups = planted(CARRIERS)
    labels = labels.copy()
    labels[:, 1] = False
    labels[5:12, 1] = True
    labels[~labels.any(axis=1), 2] = True
    found = linear_probe(features, labels, groups, **FAST)
    assert found.functions == ("spatial", "math")
    (left,) = found.left_out
    assert left["function"] == "relational" and left["why"].startswith("7 items of it and 153 others")
    with pytest.raises(InputError, match="no scores of 'relational': 7 items of it"):
        found.of("relational")


def test_a_function_that_one_fold_holds_alone_is_left_out():
    features, labels, groups = planted(CARRIERS, questions=20, steps=12)
    labels = labels.copy()
    labels[:, 1] = False
    labels[:12] = [False, True, False]
    labels[~labels.any(axis=1), 2] = True
    found = linear_probe(features, labels, groups, **FAST)
    assert "12 items lie in 1 main question and" in found.left_out[0]["why"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"variant": "other"}, "variant='other' is not known: use one of one_vs_rest, cogvision"),
        ({"recipe": "svm"}, "recipe='svm' is not known: use one of ridge, logistic"),
        ({"measure": "f1"}, "measure='f1' is not known: use one of balanced_accuracy, accuracy, auroc"),
        ({"variant": "cogvision"}, "cogvision reads rightly answered items and needs correct"),
        ({"correct": np.ones(160)}, "one_vs_rest reads all items, so select them before"),
        ({"shuffles": 0}, "shuffles 0 can not be used"),
        ({"functions": ("a", "b")}, "3 columns for the functions a, b"),
        ({"functions": ("a", "b", "a")}, "name each once"),
        ({"draws": 0}, "0 draws"),
        ({"correct": np.ones(3), "variant": "cogvision"}, r"correct has shape \(3,\) for 160 items"),
    ],
)
def test_options_that_mean_nothing_are_refused(change, said):
    with pytest.raises(InputError, match=said):
        linear_probe(*planted(), **FAST | change)


def test_items_that_do_not_fit_are_refused():
    features, labels, groups = planted()
    with pytest.raises(InputError, match="features are of 160 items, labels of 159"):
        linear_probe(features, labels[1:], groups[1:], **FAST)
    with pytest.raises(InputError, match="give one per sample"):
        linear_probe(features, labels, groups[1:], **FAST)
    nothing = labels.copy()
    nothing[[3, 9]] = False
    with pytest.raises(InputError, match="2 of 160 items are of no function, first item 3"):
        linear_probe(features, nothing, groups, **FAST)
    with pytest.raises(InputError, match=r"give bool \[item function\]"):
        linear_probe(features, labels + 1, groups, **FAST)
    with pytest.raises(InputError, match="no function can be scored: spatial: 12 items"):
        linear_probe(features[:12], np.tile([True, False, False], (12, 1)), np.arange(12), **FAST)
    with pytest.raises(InputError, match="can not be held out in 5 folds"):
        linear_probe(features[:16], labels[:16], groups[:16], **FAST)
