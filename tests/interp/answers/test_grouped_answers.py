"""Answers that share groups: intervals hold the truth, and tests err, as often as they say; too few are refused."""

import sys
from operator import sub

import numpy as np
import pandas as pd
import pytest

from interp.answers.calibration import calibration, confidence_by_relation, familiar_against_unfamiliar, reliability
from interp.answers.comparison import MCNEMAR, SIGN_FLIPS, compare, compare_grid, named_test
from interp.answers.groups import PAIRS, pair_set_scores
from interp.answers.metrics import accuracy, class_scores, summary
from interp.answers.yesno import yes_no_scores
from interp.errors import InputError
from interp.stats.auroc import auroc
from interp.stats.auroc_intervals import auroc_interval
from interp.stats.clusters import clustered_mean, clustered_share, share_of_part
from interp.stats.intervals import square_and_add, wilson
from interp.stats.sign_flips import sign_flip_test
from interp.stats.tests import holm, mcnemar


@pytest.fixture(scope="module")
def simulated(repo):
    """The script that simulates rates for the docs."""
    sys.path.insert(0, str(repo / "docs" / "scripts"))
    try:
        import rates_answers
    finally:
        sys.path.remove(str(repo / "docs" / "scripts"))
    return rates_answers


SHORT = {
    **dict.fromkeys([f"mean {count}" for count in (3, 5, 10, 12, 20)], 300),
    **dict.fromkeys(["gain 5", "gain 10", "gain 20", "rare gain 10", "rare gain 20", "rare gain 60"], 300),
    **dict.fromkeys(["share 5", "share 10", "share 20", "high share"], 150),
    **dict.fromkeys(["calibrated", "yes and no", "familiar", "sets"], 120),
    **dict.fromkeys(["alarm 8", "alarm 40"], 150),
    **dict.fromkeys(["calibrated 10 x 5", "calibrated 20 x 5", "calibrated 40 x 5"], 80),
    "calibrated, no groups": 150,
    **dict.fromkeys(["rare answer 1 x 2, 0.5", "rare answer 1 x 2, 0.9", "rare answer 2 x 2, 0.9"], 150),
    "many": 100,
}
"""How many made-up data sets each scenario is held to here; the docs have the rates of many more."""


@pytest.mark.parametrize("name", SHORT)
def test_rates_are_within_three_monte_carlo_errors_of_what_is_promised_or_better(simulated, name):
    nominal, scenario = simulated.SCENARIOS[name]
    for rate in simulated.measure(scenario, nominal, SHORT[name], seed=11):
        assert rate.error == pytest.approx(np.sqrt(nominal * (1 - nominal) / SHORT[name]))
        if nominal > 0.5:
            assert rate.measured >= nominal - 3 * rate.error, rate
        else:
            assert rate.measured <= nominal + 3 * rate.error, rate


def test_samples_taken_as_independent_would_err_far_more_often():
    """What was done before: McNemar's test and Wilson's interval of samples whose groups go together."""
    groups, alarms, held, many = np.repeat(np.arange(40), 4), [], [], []
    for seed in range(150):
        rng = np.random.default_rng(seed)
        changed = rng.choice([-1, 0, 1], p=[0.15, 0.7, 0.15], size=(25, 40))[:, groups]
        p = [mcnemar(own < 0, own > 0).p_value for own in changed]
        alarms.append(p[0] <= 0.05)
        many.append(holm(p).min() <= 0.05)
        right = (rng.random(40) < 0.8)[groups]
        plain = wilson(int(right.sum()), 160)
        held.append(plain.low <= 0.8 <= plain.high)
    assert np.mean(alarms) > 0.12 and np.mean(many) > 0.6 and np.mean(held) < 0.8


def answered(groups, right=None, **columns):
    right = np.arange(len(groups)) % 2 == 0 if right is None else np.asarray(right, dtype=bool)
    ids = [f"s{place}" for place in range(len(groups))]
    return pd.DataFrame({"id": ids, "group": list(groups), "correct": right, "correct_paper": right, **columns})


def test_a_comparison_says_which_test_it_made_and_over_how_many_groups():
    groups = np.repeat([f"g{place}" for place in range(10)], 4)
    before, after = answered(groups, np.zeros(40)), answered(groups, np.arange(40) < 28)
    found = compare(before, after)
    assert (found.test, found.groups) == (SIGN_FLIPS, 10)
    assert found.p_value == sign_flip_test(np.arange(40) < 28, groups) == 2 / 2**7
    alone = compare(answered(range(40), np.zeros(40)), answered(range(40), np.arange(40) < 28))
    assert (alone.test, alone.groups) == (MCNEMAR, 0) and alone.p_value == 2 / 2**28
    grid = compare_grid(before, {"a": after, "b": before})
    assert grid["test"].tolist() == [SIGN_FLIPS] * 2 and grid["groups"].tolist() == [10, 10]
    assert grid["p_holm"].tolist() == [2 * 2 / 2**7, 1]
    assert "McNemar" in named_test(MCNEMAR, 0) and "10 groups" in named_test(SIGN_FLIPS, 10)


@pytest.mark.parametrize("photos", [1, 2])
def test_one_photo_or_two_are_not_taken_as_independent_samples(photos):
    groups = [f"photo {place % photos}" for place in range(30)]
    before, after = answered(groups, np.zeros(30)), answered(groups, np.ones(30))
    found = compare(before, after)
    assert found.difference.estimate == 1 and np.isnan([found.difference.low, found.difference.high]).all()
    assert (found.groups, found.test) == (photos, SIGN_FLIPS) and found.p_value == 2 / 2**photos
    share = accuracy(after)
    assert share.estimate == 1 and np.isnan([share.low, share.high]).all()
    table = answered(groups, confidence=np.linspace(0.1, 0.9, 30), relation=["on", "left"] * 15)
    told = calibration(table, n=50)
    assert np.isfinite([told.error, told.brier.estimate, told.auroc.estimate]).all()
    for one in (told.brier, told.auroc, told.error_if_calibrated):
        assert np.isnan([one.low, one.high]).all()
    assert reliability(table)["low"].isna().all() and confidence_by_relation(table)["low"].isna().all()
    assert familiar_against_unfamiliar(table)["low"].isna().all()


def test_where_no_answer_changes_the_interval_says_what_could_have_been_missed():
    same = answered(range(20))
    found = compare(same, same).difference
    assert (found.low, found.estimate, found.high) == pytest.approx((-1 + 0.025 ** (1 / 20), 0, 1 - 0.025 ** (1 / 20)))


def test_none_right_of_twenty_sets_is_wilsons_interval_and_not_zero():
    pairs = PAIRS["controlled-a"]
    table = answered(np.repeat(np.arange(20), 4), np.zeros(80), relation=["left", "right", "on", "under"] * 20)
    lost = table.drop(index=[3, 7, 11])  # three sets, and a pair of each, are not complete
    for rows, sets in ((table, 20), (lost, 17)):
        found = pair_set_scores(rows, pairs).set_index(["score", "denominator"])
        whole = found.loc[("set", "complete")]
        assert (whole["low"], whole["value"], whole["high"]) == (0, 0, wilson(0, sets).high)
        paper = found.loc[("set", "paper")]
        assert paper["ceiling"] == pytest.approx(sets / (len(rows) / 4))
        assert paper["high"] == pytest.approx(wilson(0, sets).high * paper["ceiling"])
        assert found.loc[("pair", "complete"), "high"] > wilson(0, 2 * sets).high  # two of one group are alike


def test_scores_of_answers_that_are_all_right_have_a_width():
    gold = np.array(["yes"] * 30 + ["no"] * 6)
    table = answered(range(36), np.ones(36), gold=gold, predicted=gold, options=[("yes", "no")] * 36)
    scores = yes_no_scores(table, n=100)
    assert (scores["value"] == 1).all() and (scores["high"] == 1).all() and (scores["low"] < 1).all()
    strict = scores.query("rule == 'strict'").set_index("measure")["low"]
    assert strict["true_negative_rate"] == wilson(6, 6).low and strict["accuracy"] == wilson(36, 36).low
    made = 1 - np.hypot(1 - wilson(30, 30).low, 1 - wilson(6, 6).low) / 2
    assert strict["balanced_accuracy"] == class_scores(table, n=100)["balanced_accuracy"].low == pytest.approx(made)
    assert strict["f1"] == pytest.approx(2 * wilson(30, 30).low / (1 + wilson(30, 30).low))
    assert (summary(table).set_index("measure").loc["accuracy":"parse_failures", "low"] < 1).all()


@pytest.mark.parametrize("count", [3, 4, 5, 8, None])
def test_no_interval_of_a_gain_leaves_out_zero_where_its_test_does_not(count):
    """With fewer than six groups no p of sign flips is below 0.05; and McNemar's is exact, where a bootstrap is not."""
    trials = [np.random.default_rng(seed) for seed in range(40)]
    for rng in trials:
        after = rng.random(40) < rng.choice([0.1, 0.2, 0.9])
        groups = range(40) if count is None else np.arange(40) % count
        both = (answered(groups, own) for own in (np.zeros(40), after))
        found = compare(*both, n=200)
        if found.p_value > 0.05:
            assert found.difference.low <= 0 <= found.difference.high
        alone = clustered_mean(after.astype(float), np.asarray(groups), seed=0, n=200, bounds=(-1, 1))
        shared = None if count is None else np.asarray(groups)
        made = square_and_add(sub, [clustered_share(own, shared) for own in (after, after & False)])
        low, high = min(alone.low, made.low), min(max(alone.high, made.high), 1)
        assert found.difference.high == pytest.approx(max(high, 0))
        assert found.difference.low == pytest.approx(min(low, 0) if found.p_value > 0.05 else low)


@pytest.mark.parametrize(("count", "rate"), [(60, 0.053), (20, 0.16), (400, 0.008)])
def test_a_gain_of_few_answers_has_an_interval_that_holds_it(count, rate):
    """Of about three groups that gain the bootstrap alone holds in 87 of 100."""
    held, trials, none = 0, 200, answered(range(count), np.zeros(count))
    for seed in range(trials):
        after = np.random.default_rng([count, seed]).random(count) < rate
        found = compare(none, answered(range(count), after), n=200).difference
        held += found.low <= rate <= found.high
    assert held / trials >= 0.95 - 3 * np.sqrt(0.95 * 0.05 / trials)


@pytest.mark.parametrize(("rare", "sure"), [(2, 0.5), (3, 0.95), (5, 0.9), (10, 0.95)])
def test_scores_hold_their_level_where_one_answer_is_rare(rare, sure):
    """Where the rare answer is always right it varies in no draw, and a bootstrap alone holds too seldom."""
    gold, trials = np.array(["yes"] * rare + ["no"] * (100 - rare)), 120
    truth, held = {"balanced_accuracy": (sure + 0.9) / 2, "paper_f1": 2 * sure * 0.9 / (sure + 0.9)}, np.zeros(3)
    for seed in range(trials):
        right = np.random.default_rng([rare, seed]).random(100) < np.where(gold == "yes", sure, 0.9)
        said = np.where(right, gold, np.where(gold == "yes", "no", "yes"))
        table = answered(range(100), right, gold=gold, predicted=said, options=[("yes", "no")] * 100)
        found = yes_no_scores(table, n=60).query("rule == 'strict'").set_index("measure")
        mean = class_scores(table, n=60)["balanced_accuracy"]
        ends = [*(found.loc[name, ["low", "high"]] for name in truth), (mean.low, mean.high)]
        held += [low <= own <= high for (low, high), own in zip(ends, (*truth.values(), (sure + 0.9) / 2), strict=True)]
    assert (held / trials >= 0.95 - 3 * np.sqrt(0.05 * 0.95 / trials)).all()


def test_accuracies_of_a_side_that_is_all_right_still_differ_by_more_or_less():
    right = np.r_[np.ones(4, dtype=bool), np.arange(60) % 3 > 0]
    table = answered(range(64), right, relation=["left"] * 4 + ["on"] * 60, confidence=np.linspace(0.1, 0.9, 64))
    row = familiar_against_unfamiliar(table, n=200).set_index("measure").loc["accuracy"]
    made = square_and_add(sub, [wilson(4, 4), wilson(40, 60)])
    assert row["low"] == pytest.approx(made.low) and row["low"] < -0.1 and row["high"] >= made.high


def test_an_auroc_of_one_with_five_wrong_is_not_certain():
    right = np.arange(40) >= 5
    found = calibration(answered(range(40), right, confidence=np.linspace(0.1, 0.9, 40)), n=200).auroc
    assert found.estimate == auroc(np.arange(40), right) == 1 and found.high == 1
    exact = auroc_interval(np.arange(40), right)
    assert (found.low, found.high) == (exact.low, exact.high) and found.low < 0.8


def test_no_score_of_yes_and_no_leaves_what_it_can_be():
    right = [place < 6 for place in range(18)]
    gold = ["yes" if place % 6 < 3 else "no" for place in range(18)]
    table = answered(np.arange(18) // 6, right).assign(gold=gold, options=[("yes", "no")] * 18)
    turned = {"yes": "no", "no": "yes"}
    table["predicted"] = [own if ok else turned[own] for own, ok in zip(gold, right, strict=True)]
    for measure, low, high in yes_no_scores(table)[["measure", "low", "high"]].itertuples(index=False):
        assert not low < 0 and not high > 1, measure


def test_without_groups_the_error_of_calibrated_answers_is_tossed_sample_by_sample():
    rng = np.random.default_rng(0)
    sure = rng.random(200)
    right = rng.random(200) < sure
    alone = calibration(answered(range(200), right, confidence=sure), bins=1, n=400, seed=3).error_if_calibrated
    again = np.random.default_rng(3)
    tossed = [abs((again.random(200) < sure).mean() - sure.mean()) for _ in range(400)]
    assert (alone.low, alone.high) == pytest.approx(np.quantile(tossed, [0.025, 0.975]).tolist())
    assert alone.estimate == pytest.approx(np.mean(tossed)) and alone.draws == 400
    alone = calibration(answered(range(200), right, confidence=sure), n=400).error_if_calibrated
    pairs = calibration(answered(np.arange(200) // 2, right, confidence=sure), n=400).error_if_calibrated
    assert pairs.estimate == pytest.approx(alone.estimate, rel=0.25)  # these pairs have nothing in common
    together = np.repeat(rng.random(100) < sure[::2], 2)
    twice = calibration(answered(np.arange(200) // 2, together, confidence=np.repeat(sure[::2], 2)), n=400)
    assert twice.error_if_calibrated.estimate > 1.2 * alone.estimate


@pytest.mark.parametrize("groups", [None, np.arange(80) // 4])
def test_what_calibrated_answers_show_heeds_its_level(groups):
    rng = np.random.default_rng(5)
    sure = rng.random(80)
    table = answered(range(80) if groups is None else groups, rng.random(80) < sure, confidence=sure)
    narrow, wide = (calibration(table, n=400, level=level).error_if_calibrated for level in (0.5, 0.99))
    assert (narrow.level, wide.level) == (0.5, 0.99) and narrow.estimate == wide.estimate
    assert wide.low < narrow.low < narrow.estimate < narrow.high < wide.high


def test_tossed_sample_by_sample_calibrated_answers_that_are_alike_would_look_badly_calibrated():
    """Of ten groups of five, nearly always."""
    alarms = {True: 0, False: 0}
    for seed in range(40):
        rng = np.random.default_rng(seed)
        sure, groups = np.repeat(rng.uniform(0.2, 1, 10), 5), np.repeat(np.arange(10), 5)
        table = answered(groups, np.repeat(rng.random(10), 5) < sure, confidence=sure)
        for grouped in alarms:
            found = calibration(table if grouped else table.drop(columns="group"), n=200)
            alarms[grouped] += found.error > found.error_if_calibrated.high
    assert alarms[True] <= 4 and alarms[False] > 36


def test_twenty_photos_of_which_all_answers_are_right_are_twenty_and_not_a_hundred():
    """At a stated 0.9 that is chance in 0.9 ** 20 = 0.12 of cases."""
    table = answered(np.repeat(np.arange(20), 5), np.ones(100), confidence=np.full(100, 0.9))
    found = calibration(table, n=400)
    assert found.error == pytest.approx(0.1) and found.error < found.error_if_calibrated.high
    alone = calibration(table.drop(columns="group"), n=400)
    assert alone.error > alone.error_if_calibrated.high


def test_badly_calibrated_answers_of_groups_are_found():
    found = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        sure, groups = rng.uniform(0.4, 1, 240), np.repeat(np.arange(60), 4)
        table = answered(groups, np.repeat(rng.random(60), 4) < sure - 0.3, confidence=sure)
        told = calibration(table, n=200)
        found += told.error > told.error_if_calibrated.high
    assert found >= 17


@pytest.mark.parametrize("photos", [1, 2])
def test_an_answer_of_one_photo_or_two_leaves_the_mean_over_answers_a_wide_interval(photos):
    gold = np.array(["yes"] * 60 + ["no"] * 4)
    right = np.r_[np.arange(60) % 5 > 0, np.ones(4, dtype=bool)]
    groups = [*(f"g{place // 3}" for place in range(60)), *(f"rare {place % photos}" for place in range(4))]
    said = np.where(right, gold, "no")
    table = answered(groups, right, gold=gold, predicted=said, options=[("yes", "no")] * 64)
    common, rare = clustered_share(right[:60], groups[:60]), share_of_part(right[60:], groups[60:])
    made = square_and_add(lambda one, other: (one + other) / 2, [common, rare])
    found = class_scores(table, n=200)
    assert found["balanced_accuracy"].low <= made.low < 0.8 and found["balanced_accuracy"].high >= 0.9
    assert np.isfinite([found["macro_f1"].low, found["macro_f1"].high]).all()
    rates = yes_no_scores(table, n=200).query("rule == 'strict'").set_index("measure")
    assert np.isnan(rates.loc["true_negative_rate", ["low", "high"]].to_numpy(dtype=float)).all()
    for name in ("balanced_accuracy", "paper_f1"):
        assert 0 <= rates.loc[name, "low"] < rates.loc[name, "value"] - 0.05 < rates.loc[name, "high"] <= 1


@pytest.mark.parametrize("wrong", [{"n": 0}, {"level": 1.0}, {"level": 95}, {"n": 2.5}, {"seed": -1}])
def test_scores_refuse_no_draws_and_what_is_no_level(wrong):
    rng = np.random.default_rng(0)
    table = answered(np.arange(24) // 2, relation=["left", "on"] * 12, confidence=rng.random(24))
    table = table.assign(gold=["yes", "no", "no"] * 8, predicted="yes", options=[("yes", "no")] * 24)
    for scores in (calibration, confidence_by_relation, familiar_against_unfamiliar, class_scores, yes_no_scores):
        with pytest.raises(InputError, match="at least one draw|between 0 and 1|no seed"):
            scores(table, **wrong)


@pytest.mark.parametrize("size", [2, 4, 5])
def test_an_error_of_few_groups_reaches_no_farther_than_all_answers(size):
    table = answered(np.repeat(np.arange(3), size), np.arange(3 * size) % 2, confidence=np.full(3 * size, 0.9))
    found = calibration(table, n=400).error_if_calibrated
    assert 0 <= found.low <= found.estimate <= found.high <= 1
