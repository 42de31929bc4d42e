"""Scores of samples are means by function, drawn by whole groups, and of null models hardly any head is selected."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from interp.errors import InputError
from interp.objects.sample import Sample
from probes.heads.scorers.items import LEAST
from probes.heads.scorers.sampled import Drawing, Labels, sampled_scores
from probes.heads.selection.selectors import select_heads

PHOTO = Image.new("RGB", (8, 8))
FAST = Drawing(draws=60, flips=99)


def samples_of(functions, per_group=2):
    return [
        Sample(f"s{place}", PHOTO, "Where?", (), "left", group=f"g{place // per_group}", meta={"functions": list(own)})
        for place, own in enumerate(functions)
    ]


MIXED = [("math",) if place % 2 else ("spatial", "own") for place in range(40)]


def test_each_function_s_score_is_the_mean_over_its_samples():
    labels = Labels.of(samples_of(MIXED))
    assert labels.functions == ("spatial", "math", "own")  # known ones in their order, then others
    values = np.random.default_rng(0).normal(size=(40, 2, 3)).astype(np.float32)
    values[3, 1, 1] = np.nan
    found = sampled_scores("made", values, labels, drawing=FAST)
    np.testing.assert_allclose(found.of("spatial"), values[::2].mean(0), rtol=1e-5)
    np.testing.assert_allclose(found.of("math"), np.nanmean(values[1::2], axis=0), rtol=1e-5)
    np.testing.assert_array_equal(found.of("own"), found.of("spatial"))
    assert found.samples == (20, 20, 20) and found.groups == (20, 20, 20)
    assert (found.low <= found.values).all() and (found.values <= found.high).all()
    assert found.null is None and found.p is None and found.draws.shape == (60, 3, 2, 3)
    assert found.settings["draws"] == 60


def test_an_interval_draws_whole_groups():
    """In groups of four alike samples there are four times fewer numbers than samples."""
    rng = np.random.default_rng(0)
    own = rng.normal(size=(20, 1, 1)).astype(np.float32)
    together = sampled_scores("made", np.repeat(own, 4, axis=0), Labels.of(samples_of([("math",)] * 80, 4)))
    alone = sampled_scores("made", own, Labels.of(samples_of([("math",)] * 20, 1)))
    np.testing.assert_allclose(together.values, alone.values, rtol=1e-5)
    np.testing.assert_allclose(together.high - together.low, alone.high - alone.low, rtol=1e-4)


def test_a_function_of_too_few_samples_is_left_out_with_its_count_and_all_such_are_refused():
    rare = [("math",)] * 20 + [("recall",)] * (LEAST - 1)
    values = np.ones((len(rare), 1, 2), np.float32)
    found = sampled_scores("made", values, Labels.of(samples_of(rare)), drawing=FAST)
    assert found.functions == ("math",)
    assert [one["function"] for one in found.left_out] == ["recall"] and "9 of its 9" in found.left_out[0]["why"]
    with pytest.raises(InputError, match=r"no scores of 'recall': 9 of its 9 samples"):
        found.of("recall")
    values[:20] = np.nan
    with pytest.raises(InputError, match=r"no function can be scored: recall: 9 .*; math: 0 of its 20"):
        sampled_scores("made", values, Labels.of(samples_of(rare)), drawing=FAST)
    empty = sampled_scores("made", values, Labels.of(samples_of(rare)), drawing=FAST, may_be_empty=True)
    assert empty.functions == () and empty.values.shape == (0, 1, 2) and len(empty.left_out) == 2


def test_samples_without_functions_are_of_all_and_a_few_without_are_refused():
    bare = samples_of([()] * 12)
    assert Labels.of(bare).functions == ("all",)
    with pytest.raises(InputError, match="11 of 12 samples have no function, the first is 's1'"):
        Labels.of([replace(bare[0], meta={"functions": ["math"]}), *bare[1:]])
    with pytest.raises(InputError, match="has the functions 'math'"):
        Labels.of([replace(bare[0], meta={"functions": "math"}), *bare[1:]])
    with pytest.raises(InputError, match="at least two groups|two groups or more"):
        Labels.of([replace(one, group="one") for one in bare])


def test_p_values_are_one_sided_and_rounding_is_no_difference():
    rng = np.random.default_rng(0)
    drawn = rng.uniform(size=(40, 1, 4)).astype(np.float32)
    values = drawn.copy()
    values[:, 0, 0] += 0.5
    values[:, 0, 1] -= 0.5
    values[:, 0, 2] *= 1 + 1e-7
    found = sampled_scores("made", values, Labels.of(samples_of([("math",)] * 40)), null=drawn, drawing=FAST)
    (p,), (p_any,) = found.p[0], found.p_any[0]
    assert p[0] < 0.02 and p_any[0] <= 0.02 and p[1] > 0.95
    assert p[2] == p[3] == p_any[2] == p_any[3] == 1
    np.testing.assert_allclose(found.null[0], drawn.mean(0), rtol=1e-5)


def test_heads_that_never_differ_do_not_make_others_look_rare():
    values = np.random.default_rng(0).normal(size=(40, 1, 3)).astype(np.float32)
    few = Labels.of(samples_of([("math",)] * 40))
    alone = sampled_scores("made", values, few, null=np.zeros_like(values), drawing=FAST)
    many = np.concatenate([values, np.zeros((40, 5, 3), np.float32)], axis=1)
    beside = sampled_scores("made", many, few, null=np.zeros_like(many), drawing=FAST)
    np.testing.assert_allclose(beside.p[:, :1], alone.p)
    assert (beside.p[:, 1:] == 1).all()


def test_a_number_that_is_missing_says_nothing_and_a_head_without_any_has_no_p():
    values = np.random.default_rng(0).normal(size=(40, 1, 3)).astype(np.float32)
    values[:, 0, 2] = np.nan
    values[::2, 0, 1] = np.nan
    labels = Labels.of(samples_of([("math",)] * 40))
    found = sampled_scores("made", values, labels, null=np.zeros_like(values), drawing=FAST)
    assert np.isnan(found.p[0, 0, 2]) and np.isnan(found.values[0, 0, 2]) and not np.isnan(found.p[0, 0, :2]).any()
    np.testing.assert_allclose(found.values[0, 0, 1], values[1::2, 0, 1].mean(), rtol=1e-5)


@pytest.mark.parametrize("rule", ["fdr", "max_t"])
def test_of_200_null_models_no_more_have_a_head_selected_than_the_level_says(rule):
    labels, wrong = Labels.of(samples_of([("math",)] * 48, 4)), 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        shared = rng.normal(size=(12, 2, 6)).repeat(4, axis=0)  # samples of a group are alike
        scale = np.exp(rng.normal(size=(2, 6)))  # and heads differ in how large their numbers are
        values, drawn = (scale * (shared + rng.exponential(size=(48, 2, 6))) for _ in range(2))
        found = sampled_scores("made", values, labels, null=drawn, drawing=Drawing(seed=seed, draws=1, flips=99))
        wrong += len(select_heads(found, rule=rule)) > 0
    assert wrong <= 20  # 10 are expected at 0.05, and 20 or more come once in a thousand times


@pytest.mark.parametrize("given", [{"draws": 0}, {"level": 1.0}, {"flips": 0}, {"flips": 2.5}, {"seed": -1}])
def test_draws_that_mean_nothing_are_refused(given):
    with pytest.raises(InputError):
        Drawing(**given)
