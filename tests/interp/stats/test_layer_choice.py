"""Layer choice: the best layers are chosen on other samples than scored, so that noise has no best layer."""

import math

import numpy as np
import pytest
from scipy.stats import t as student

from interp.errors import InputError
from interp.stats.auroc import auroc
from interp.stats.auroc_intervals import auroc_interval
from interp.stats.cross_fit import Labelled, cross_fit
from interp.stats.layer_choice import compare_layers, printed_difference


def made_up(seed=0, n=120, n_layers=16, best=None, strength=1.0):
    """Noise in every layer, but for one that follows the right answers, or where `strength` is below 0 the wrong."""
    rng = np.random.default_rng(seed)
    right = rng.random(n) < 0.5
    scores = rng.normal(size=(n, n_layers))
    if best is not None:
        scores[:, best] += strength * right
    return scores, right


def sums_up(found):
    """Whether the difference is that of the two AUROCs, also as they are printed, inside its interval of some width."""
    gain = found.difference
    printed = float(f"{found.best.estimate:.3f}") - float(f"{found.chosen.estimate:.3f}")
    return (
        gain.estimate == pytest.approx(found.best.estimate - found.chosen.estimate, abs=1e-12)
        and f"{printed_difference(found).estimate:+.3f}" == f"{printed:+.3f}"
        and gain.low < gain.estimate < gain.high
        and (found.p < 1 - gain.level) == (not gain.low <= 0 <= gain.high)
        and all(one.low < one.high for one in (found.chosen, found.best))
    )


def test_estimates_are_means_over_deals_and_their_errors_what_changes_when_one_unit_is_left_out():
    scores, right = made_up(n=60, n_layers=6, best=4)
    strata, units = np.arange(60) % 2, np.arange(60) // 3
    asked = dict(chosen=(2, 3), strata=strata, groups=units, seed=5, folds=4, repeats=3, level=0.8)
    found = compare_layers(scores, right, **asked)
    spans = [[2, 3], *([at, at + 1] for at in range(5))]
    means = np.stack([scores[:, span].mean(axis=1) for span in spans], axis=1)
    deals = list(cross_fit(Labelled(means, right, strata, units), 4, 3, np.random.default_rng(5)))
    values = np.mean([one.aurocs for one in deals], axis=0)
    gains = values[1] - values[0]
    assert found.chosen.estimate == pytest.approx(values[0, 0]) and found.best.estimate == pytest.approx(values[1, 0])
    error = math.sqrt(((gains[1:] - gains[0]) ** 2).sum())
    freedom = min(len(set(units[right])), len(set(units[~right]))) - 1
    assert error > 1 / (2 * (freedom + 2)), "else it is the least"
    half = student.ppf(0.9, freedom) * error
    assert (found.difference.low, found.difference.high) == pytest.approx((gains[0] - half, gains[0] + half))
    assert found.p == pytest.approx(2 * student.sf(abs(gains[0]) / error, freedom))
    picks = np.concatenate([one.picks for one in deals])
    assert found.choices == len(picks) == 3 * 10
    times = np.bincount(picks, minlength=5) / len(picks)
    assert found.times_chosen == pytest.approx(np.append(times, 0) + np.append(0, times))
    turned = np.concatenate([one.reversed for one in deals], axis=1).mean(axis=1)
    assert (found.chosen_reversed, found.best_reversed) == tuple(turned)


def test_all_pairs_count_so_that_steady_layers_have_the_auroc_that_they_have_on_all():
    scores, right = made_up(3, n_layers=8, best=6, strength=2.0)
    strata = np.arange(120) % 3
    found = compare_layers(scores, right, chosen=(6,), strata=strata, seed=0, repeats=3)
    assert found.chosen_reversed == 0
    assert found.chosen.estimate == pytest.approx(auroc(scores[:, 6], right, groups=strata))
    assert found.chosen_all.estimate == pytest.approx(found.chosen.estimate)


def test_in_noise_the_best_layer_looks_good_where_it_was_chosen_and_is_not():
    trials = [compare_layers(*made_up(seed), width=1, seed=seed, repeats=3) for seed in range(150)]
    apparent, best, chosen = (
        np.array(values)
        for values in zip(*[(t.apparent, t.best.estimate, t.chosen.estimate) for t in trials], strict=True)
    )
    assert apparent.mean() > 0.6, "of sixteen layers, to either side"
    assert best.mean() == pytest.approx(0.5, abs=0.015) and chosen.mean() == pytest.approx(0.5, abs=0.015)
    assert 0.3 < np.mean([trial.best_reversed for trial in trials]) < 0.7
    assert all(map(sums_up, trials))


def test_a_layer_that_predicts_wrong_answers_beats_the_papers_that_know_nothing():
    scores, right = made_up(1, n=200, n_layers=32, best=5, strength=-1.2)
    found = compare_layers(scores, right, width=1, seed=0)
    assert found.times_chosen.argmax() == 5 and found.times_chosen[5] > 0.95 and found.best_reversed == 1
    assert found.by_layer.estimate[5] < 0.25 and found.best.estimate == pytest.approx(
        1 - found.by_layer.estimate[5], abs=0.03
    )
    assert found.best.low > 0.5 and found.difference.low > 0 and found.p < 0.02
    assert found.apparent == pytest.approx(1 - found.by_layer.estimate[5]) and found.apparent_reversed


def test_a_layer_far_below_one_half_is_best_in_every_set_with_few_wrong_answers():
    for seed in range(4):
        rng = np.random.default_rng(seed)
        right = np.arange(300) >= 60
        scores = rng.normal(size=(300, 12))
        scores[:, 6] -= 1.3 * right
        found = compare_layers(scores, right, chosen=(3,), width=1, seed=seed)
        assert found.by_layer.estimate[6] < 0.3 and found.times_chosen[6] == 1 and found.best_reversed == 1
        assert found.best.low > 0.5 and found.difference.low > 0 and found.p < 0.05 and sums_up(found)
        turned = compare_layers(scores, right, chosen=(6,), width=1, seed=seed, repeats=4)
        assert not turned.p < 0.05 and turned.chosen.low > 0.5, "the paper's is that layer: none is better"


def test_turned_scores_are_the_same_comparison_the_other_way():
    scores, right = made_up(6, n_layers=12, best=3)
    one, other = (compare_layers(own, right, seed=0, repeats=4) for own in (scores, -scores))
    for name in ("chosen", "best", "difference"):
        ends = [[getattr(getattr(found, name), end) for end in ("estimate", "low", "high")] for found in (one, other)]
        assert ends[0] == pytest.approx(ends[1])
    assert one.p == other.p and (one.times_chosen == other.times_chosen).all()
    assert one.best_reversed == 1 - other.best_reversed and one.apparent == pytest.approx(other.apparent)
    assert one.by_layer.low == pytest.approx(1 - other.by_layer.high)


def test_a_layer_whose_sign_turns_round_between_samples_is_held_to_know_nothing():
    """In every other group more goes with right answers, in the rest with wrong ones, and groups are dealt."""
    rng = np.random.default_rng(7)
    units = np.arange(240) // 24
    right = rng.random(240) < 0.5
    scores = rng.normal(size=(240, 8))
    scores[:, 2] += 2.5 * np.where(units % 2, 1, -1) * (right - 0.5)
    found = compare_layers(scores, right, chosen=(5,), groups=units, seed=0, repeats=20)
    steady = scores.copy()
    steady[:, 2] = rng.normal(size=240) + 2.5 * (right - 0.5)
    known = compare_layers(steady, right, chosen=(5,), groups=units, seed=0, repeats=20)
    assert known.best.low > 0.5 and known.best.estimate > 0.9
    assert found.times_chosen[2] > 0.3, "it is often the farthest on the parts that choose"
    assert found.best.estimate < 0.5 and 0 < found.best_reversed < 1


def test_a_better_layer_elsewhere_is_found_and_said_to_be_better():
    found = compare_layers(*made_up(1, n=200, n_layers=32, best=5, strength=1.2), width=1, seed=0)
    assert found.chosen_layers == (17, 18) and found.width == 1
    assert found.times_chosen.argmax() == 5 and found.times_chosen[5] > 0.95
    assert found.difference.low > 0 and found.p < 0.02
    assert found.best.estimate == pytest.approx(found.by_layer.estimate[5], abs=0.03)
    assert found.apparent == pytest.approx(found.by_layer.estimate.max()) and found.apparent_layers == (5,)


def test_where_the_papers_layers_are_best_they_are_chosen_and_nothing_differs():
    scores, right = made_up(2, n=200, n_layers=32)
    scores[:, [17, 18]] += 1.5 * right[:, None]
    found = compare_layers(scores, right, seed=0)
    assert found.times_chosen[[17, 18]].tolist() == [1, 1] and found.times_chosen.sum() == 2
    assert found.difference.estimate == 0 and found.p == 1 and sums_up(found)
    assert found.difference.high == -found.difference.low < 0.03, "half a sample of about a hundred of either kind"
    assert found.chosen.estimate == found.best.estimate == pytest.approx(found.chosen_all.estimate)
    assert found.apparent_layers == (17, 18) and found.apparent == pytest.approx(found.chosen_all.estimate)


def test_every_layer_alone_and_the_mean_of_the_papers_are_what_auroc_interval_finds():
    scores, right = made_up(3, n_layers=12, best=6)
    strata, units = np.arange(120) % 3, np.arange(120) // 6
    for groups in (None, units):
        found = compare_layers(scores, right, strata=strata, groups=groups, seed=9, repeats=2)
        alone = auroc_interval(scores, right, strata=strata, groups=groups)
        for name, values in (("estimate", alone.estimate), ("low", alone.low), ("high", alone.high)):
            assert getattr(found.by_layer, name) == pytest.approx(values)
        assert found.chosen_layers == (6,) and found.chosen_all.low == pytest.approx(alone.low[6])


def test_a_layer_that_knows_the_relation_is_chosen_only_where_relations_are_mixed():
    rng = np.random.default_rng(4)
    relation = np.arange(240) % 2
    right = rng.random(240) < np.where(relation, 0.9, 0.1)
    scores = rng.normal(size=(240, 10))
    scores[:, 2] += 4 * relation
    scores[:, 7] += 1.2 * right
    pooled = compare_layers(scores, right, chosen=(5,), seed=0)
    within = compare_layers(scores, right, chosen=(5,), strata=relation, seed=0)
    assert pooled.times_chosen.argmax() == 2 and pooled.times_chosen[2] > 0.8
    assert within.times_chosen.argmax() == 7 and within.times_chosen[7] > 0.8


def test_samples_without_a_score_in_some_layer_are_left_out_of_all():
    scores, right = made_up(5, n=100, n_layers=8, best=3)
    units = np.arange(100) // 5
    scores[:10, 2] = np.nan
    found = compare_layers(scores, right, groups=units, seed=0, repeats=2)
    alone = compare_layers(scores[10:], right[10:], groups=units[10:], seed=0, repeats=2)
    assert found.left_out == 10 and found.n_right + found.n_wrong == 90
    assert found.best.estimate == alone.best.estimate and found.best.high == alone.best.high
    assert (found.by_layer.low == alone.by_layer.low).all() and found.p == alone.p


def test_one_class_is_undefined_and_never_an_error():
    scores, _ = made_up(n_layers=8)
    found = compare_layers(scores, np.ones(120, bool), seed=0, repeats=2)
    undefined = (found.p, found.apparent, found.best_reversed, found.chosen_reversed)
    for value in (found.chosen.estimate, found.best.low, found.difference.high, *undefined):
        assert math.isnan(value)
    assert np.isnan(found.by_layer.estimate).all() and np.isnan(found.times_chosen).all()
    assert found.choices == 0 and found.apparent_layers == ()


def test_the_table_has_a_row_per_layer():
    found = compare_layers(*made_up(n_layers=12, best=3), seed=0, repeats=2)
    table = found.to_dataframe()
    assert table["layer"].tolist() == list(range(12)) and table.loc[table["chosen"], "layer"].tolist() == [6]
    assert table["auroc"].to_numpy() == pytest.approx(found.by_layer.estimate)
    assert table["times_chosen"].sum() == pytest.approx(1)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (dict(scores=np.ones(20)), "one head or the head mean"),
        (dict(chosen=()), "one or more"),
        (dict(chosen=(1, 1)), "each once"),
        (dict(chosen=(4,)), "from 0 to 3"),
        (dict(width=5), "no window of 5"),
        (dict(folds=2), "20 samples can not be dealt into 2 folds"),
        (dict(folds=11), "into 11 folds"),
        (dict(groups=np.arange(20) // 4), "5 groups can not be dealt into 3 folds .* at least 2 groups for each"),
        (dict(repeats=0), "at least one draw"),
        (dict(scores=np.where(np.arange(4) == 2, np.nan, np.ones((20, 4)))), "no sample has a score in layer 2"),
    ],
)
def test_what_can_not_be_compared_is_refused(given, says):
    usual = dict(scores=np.arange(80.0).reshape(20, 4), right=np.arange(20) % 2 == 0, seed=0)
    with pytest.raises(InputError, match=says):
        compare_layers(**{**usual, **given})
