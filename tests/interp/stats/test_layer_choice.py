"""Layer choice: the best layers are chosen on other samples than scored, so that noise has no best layer."""

import math

import numpy as np
import pytest

from interp.errors import InputError
from interp.stats.association import association
from interp.stats.auroc import auroc
from interp.stats.draws import drawn_counts
from interp.stats.layer_choice import _dealt, _Samples, compare_layers


def made_up(seed=0, n=120, n_layers=16, best=None, strength=1.0):
    """Noise in every layer, but for one that follows the right answers, or where `strength` is below 0 the wrong."""
    rng = np.random.default_rng(seed)
    right = rng.random(n) < 0.5
    scores = rng.normal(size=(n, n_layers))
    if best is not None:
        scores[:, best] += strength * right
    return scores, right


def holds_level(rejected, trials, level=0.05):
    """Whether so many rejections are no more than the level allows: below 99.9 % of the binomial."""
    ways = np.cumsum([math.comb(trials, k) * level**k * (1 - level) ** (trials - k) for k in range(trials + 1)])
    return rejected <= int(np.searchsorted(ways, 0.999))


def test_the_best_layers_are_scored_on_the_parts_that_did_not_choose_them():
    scores, right = made_up(n=40, n_layers=6, best=4)
    strata, units = np.arange(40) % 2, np.arange(40) // 4
    found = compare_layers(
        scores, right, chosen=(2, 3), strata=strata, groups=units, seed=5, folds=3, repeats=2, n_draws=30, level=0.8
    )
    rng = np.random.default_rng(5)
    counts = drawn_counts(strata, units, 30, rng).astype(int)
    drawn = [np.arange(40), *(np.repeat(np.arange(40), times) for times in counts)]
    splits, times, reversed_ = [], np.zeros(6), []

    def scored(own, layers):
        return auroc(scores[own][:, layers].mean(axis=1), right[own], groups=strata[own])

    for _ in range(2):
        part = _dealt(_Samples(scores, right, strata, units), 3, rng)
        for fold in range(3):
            rest = np.flatnonzero(part != fold)
            at = max(range(5), key=lambda at, own=rest: abs(scored(own, [at, at + 1]) - 0.5))
            times[at : at + 2] += 1
            tested = [own[part[own] == fold] for own in drawn]
            values = []
            for layers in ([2, 3], [at, at + 1]):
                turned = scored(rest, layers) < 0.5
                reversed_.append(turned)
                values.append([1 - scored(own, layers) if turned else scored(own, layers) for own in tested])
            splits.append([*values, np.subtract(values[1], values[0])])
    for interval, values in zip((found.chosen, found.best, found.difference), zip(*splits, strict=True), strict=True):
        ends = [np.nanquantile(own[1:], [0.05, 0.95]) for own in values]
        assert interval.estimate == pytest.approx(np.median([own[0] for own in values]))
        assert (interval.low, interval.high) == pytest.approx(tuple(np.median(ends, axis=0)))
    assert found.times_chosen == pytest.approx(times / 6) and found.choices == 6
    assert (found.chosen_reversed, found.best_reversed) == tuple(np.reshape(reversed_, (6, 2)).mean(axis=0))
    apart = [split[2][1:][~np.isnan(split[2][1:])] for split in splits]
    p_values = [min(1, 2 * (1 + min((own <= 0).sum(), (own >= 0).sum())) / (1 + len(own))) for own in apart]
    assert found.p == pytest.approx(min(1, 2 * np.median(p_values)))


def test_samples_are_dealt_alike_and_groups_whole():
    rng = np.random.default_rng(0)
    right, strata, units = rng.random(300) < 0.2, rng.integers(3, size=300), np.arange(300)
    part = _dealt(_Samples(np.empty((300, 1)), right, strata, units), 5, rng)
    for stratum in range(3):
        for answer in (False, True):
            sizes = np.bincount(part[(strata == stratum) & (right == answer)], minlength=5)
            assert sizes.max() - sizes.min() <= 1
    groups = np.arange(300) % 75
    part = _dealt(_Samples(np.empty((300, 1)), right, strata, groups), 5, rng)
    assert all(len(set(part[groups == group])) == 1 for group in range(75))
    assert np.bincount(part).tolist() == [60] * 5
    again = _dealt(_Samples(np.empty((300, 1)), right, strata, groups), 5, rng)
    assert (part != again).any()


def test_in_noise_the_best_layer_looks_good_where_it_was_chosen_and_is_not():
    trials = [compare_layers(*made_up(seed), width=1, seed=seed, repeats=3, n_draws=150) for seed in range(150)]
    apparent, best, chosen = (
        np.array(values)
        for values in zip(*[(t.apparent, t.best.estimate, t.chosen.estimate) for t in trials], strict=True)
    )
    assert apparent.mean() > 0.6, "of sixteen layers, to either side"
    assert best.mean() == pytest.approx(0.5, abs=0.012) and chosen.mean() == pytest.approx(0.5, abs=0.012)
    assert holds_level(sum(trial.p <= 0.05 for trial in trials), 150)
    assert sum(trial.difference.low > 0 for trial in trials) <= 10
    for found in ("chosen", "best"):  # the interval leaves out one half: on both sides together
        outside = [not getattr(trial, found).low <= 0.5 <= getattr(trial, found).high for trial in trials]
        assert holds_level(sum(outside), 150)
    assert 0.3 < np.mean([trial.best_reversed for trial in trials]) < 0.7


@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize("sign", [1, -1])
def test_layers_that_are_equally_good_do_not_differ_whichever_way_they_predict(sign, grouped):
    rejected = 0
    for seed in range(100):
        rng = np.random.default_rng(seed)
        right = rng.random(120) < 0.5
        scores = 1.2 * sign * right[:, None] + rng.normal(size=(120, 1)) + rng.normal(size=(120, 12))
        groups = np.arange(120) // 2 if grouped else None
        rejected += compare_layers(scores, right, groups=groups, seed=seed, repeats=3, n_draws=150).p <= 0.05
    assert holds_level(rejected, 100)


def test_a_layer_that_predicts_wrong_answers_beats_the_papers_that_know_nothing():
    scores, right = made_up(1, n=200, n_layers=32, best=5, strength=-1.2)
    found = compare_layers(scores, right, width=1, seed=0, n_draws=400)
    assert found.times_chosen.argmax() == 5 and found.times_chosen[5] > 0.95 and found.best_reversed == 1
    assert found.by_layer.estimate[5] < 0.25 and found.best.estimate == pytest.approx(
        1 - found.by_layer.estimate[5], abs=0.03
    )
    assert found.best.low > 0.5 and found.difference.low > 0 and found.p < 0.02
    assert found.apparent == 1 - found.by_layer.estimate[5] and found.apparent_reversed


def test_turned_scores_are_the_same_comparison_the_other_way():
    scores, right = made_up(6, n_layers=12, best=3)
    one, other = (compare_layers(own, right, seed=0, repeats=4, n_draws=50) for own in (scores, -scores))
    for name in ("chosen", "best", "difference"):
        ends = [[getattr(getattr(found, name), end) for end in ("estimate", "low", "high")] for found in (one, other)]
        assert ends[0] == pytest.approx(ends[1])
    assert one.p == other.p and (one.times_chosen == other.times_chosen).all()
    assert one.best_reversed == 1 - other.best_reversed and one.apparent == pytest.approx(other.apparent)
    assert one.by_layer.low == pytest.approx(1 - other.by_layer.high)


def test_a_layer_whose_sign_turns_round_between_samples_is_held_to_know_nothing():
    """In every other group more goes with right answers, in the rest with wrong ones, and groups are dealt."""
    rng = np.random.default_rng(7)
    units = np.arange(240) // 40
    right = rng.random(240) < 0.5
    scores = rng.normal(size=(240, 8))
    scores[:, 2] += 2.5 * np.where(units % 2, 1, -1) * (right - 0.5)
    found = compare_layers(scores, right, chosen=(5,), groups=units, seed=0, repeats=20, n_draws=100)
    steady = scores.copy()
    steady[:, 2] = rng.normal(size=240) + 2.5 * (right - 0.5)
    known = compare_layers(steady, right, chosen=(5,), groups=units, seed=0, repeats=20, n_draws=100)
    assert known.best.low > 0.5 and known.best.estimate > 0.9
    assert found.times_chosen[2] > 0.3, "it is often the farthest on the parts that choose"
    assert found.best.estimate < 0.5 and 0 < found.best_reversed < 1


def test_a_better_layer_elsewhere_is_found_and_said_to_be_better():
    found = compare_layers(*made_up(1, n=200, n_layers=32, best=5, strength=1.2), width=1, seed=0, n_draws=400)
    assert found.chosen_layers == (17, 18) and found.width == 1
    assert found.times_chosen.argmax() == 5 and found.times_chosen[5] > 0.95
    assert found.difference.low > 0 and found.p < 0.02
    assert found.best.estimate == pytest.approx(found.by_layer.estimate[5], abs=0.03)
    assert found.apparent == found.by_layer.estimate.max() and found.apparent_layers == (5,)


def test_where_the_papers_layers_are_best_they_are_chosen_and_nothing_differs():
    scores, right = made_up(2, n=200, n_layers=32)
    scores[:, [17, 18]] += 1.5 * right[:, None]
    found = compare_layers(scores, right, seed=0, n_draws=200)
    assert found.times_chosen[[17, 18]].tolist() == [1, 1] and found.times_chosen.sum() == 2
    assert found.difference.estimate == found.difference.low == found.difference.high == 0 and found.p == 1
    assert found.chosen.estimate == found.best.estimate == pytest.approx(found.chosen_all.estimate, abs=0.02)
    assert found.apparent_layers == (17, 18) and found.apparent == found.chosen_all.estimate


def test_every_layer_alone_and_the_mean_of_the_papers_are_what_association_finds():
    scores, right = made_up(3, n_layers=12, best=6)
    strata, units = np.arange(120) % 3, np.arange(120) // 6
    for groups in (None, units):
        found = compare_layers(scores, right, strata=strata, groups=groups, seed=9, repeats=2, n_draws=200)
        alone = association(scores, right, strata=strata, groups=groups, seed=9, n_draws=200, n_shuffles=1)
        for name, values in (("estimate", alone.auroc), ("low", alone.low), ("high", alone.high)):
            assert getattr(found.by_layer, name) == pytest.approx(values)
        assert found.chosen_layers == (6,) and found.chosen_all.low == pytest.approx(alone.low[6])


def test_a_layer_that_knows_the_relation_is_chosen_only_where_relations_are_mixed():
    rng = np.random.default_rng(4)
    relation = np.arange(240) % 2
    right = rng.random(240) < np.where(relation, 0.9, 0.1)
    scores = rng.normal(size=(240, 10))
    scores[:, 2] += 4 * relation
    scores[:, 7] += 1.2 * right
    pooled = compare_layers(scores, right, chosen=(5,), seed=0, n_draws=50)
    within = compare_layers(scores, right, chosen=(5,), strata=relation, seed=0, n_draws=50)
    assert pooled.times_chosen.argmax() == 2 and pooled.times_chosen[2] > 0.8
    assert within.times_chosen.argmax() == 7 and within.times_chosen[7] > 0.8


def test_samples_without_a_score_in_some_layer_are_left_out_of_all():
    scores, right = made_up(5, n=100, n_layers=8, best=3)
    units = np.arange(100) // 5
    scores[:10, 2] = np.nan
    found = compare_layers(scores, right, groups=units, seed=0, repeats=2, n_draws=50)
    alone = compare_layers(scores[10:], right[10:], groups=units[10:], seed=0, repeats=2, n_draws=50)
    assert found.left_out == 10 and found.n_right + found.n_wrong == 90
    assert found.best.estimate == alone.best.estimate and found.best.high == alone.best.high
    assert (found.by_layer.low == alone.by_layer.low).all() and found.p == alone.p


def test_one_class_is_undefined_and_never_an_error():
    scores, _ = made_up(n_layers=8)
    found = compare_layers(scores, np.ones(120, bool), seed=0, repeats=2, n_draws=20)
    undefined = (found.p, found.apparent, found.best_reversed, found.chosen_reversed)
    for value in (found.chosen.estimate, found.best.low, found.difference.high, *undefined):
        assert math.isnan(value)
    assert np.isnan(found.by_layer.estimate).all() and np.isnan(found.times_chosen).all()
    assert found.choices == 0 and found.apparent_layers == ()


def test_the_table_has_a_row_per_layer():
    found = compare_layers(*made_up(n_layers=12, best=3), seed=0, repeats=2, n_draws=20)
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
        (dict(folds=1), "20 samples can not be dealt into 1 folds"),
        (dict(folds=21), "into 21 folds"),
        (dict(groups=np.arange(20) // 5), "4 groups can not be dealt into 2 folds .* at least 3 groups for each"),
        (dict(repeats=0), "at least one draw"),
        (dict(scores=np.where(np.arange(4) == 2, np.nan, np.ones((20, 4)))), r"layers \[2\] have no score"),
    ],
)
def test_what_can_not_be_compared_is_refused(given, says):
    usual = dict(scores=np.arange(80.0).reshape(20, 4), right=np.arange(20) % 2 == 0, seed=0, n_draws=5)
    with pytest.raises(InputError, match=says):
        compare_layers(**{**usual, **given})
