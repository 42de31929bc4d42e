"""Partial effects: fits against tables counted by hand, honest tests beside confounders, separation that is told."""

import math

import numpy as np
import pandas as pd
import pytest
from by_hand import holds_level
from scipy import optimize, stats

from interp.errors import InputError
from interp.stats.logistic import fit_logistic
from interp.stats.partial import partial_effect

TABLE = ((18, 7), (9, 26))
"""Wrong and right answers of low scores (first row) and of high ones."""


def counted():
    """Scores 0 and 1 and right answers as in `TABLE`."""
    cells = [(score, answer, n) for score, row in enumerate(TABLE) for answer, n in enumerate(row)]
    scores, right = (np.repeat([cell[at] for cell in cells], [cell[2] for cell in cells]) for at in (0, 1))
    return scores.astype(float), right.astype(bool)


def confounded(seed, n=240, own=0.0):
    """Scores that follow confidence, and answers that follow confidence and, if `own`, the scores."""
    rng = np.random.default_rng(seed)
    confidence = rng.normal(size=n)
    relation = np.array(["left", "on", "under"])[rng.integers(3, size=n)]
    scores = confidence + (relation == "on") + rng.normal(size=n)
    odds = confidence - 1.5 * (relation == "on") + own * scores
    return scores, rng.random(n) < 1 / (1 + np.exp(-odds)), {"confidence": confidence, "relation": relation}


def noise(n, seed=0):
    """A covariate that says nothing."""
    return {"noise": np.random.default_rng(seed).normal(size=n)}


def test_two_scores_give_the_log_odds_ratio_and_the_g_test_of_their_table():
    scores, right = counted()
    found = partial_effect(scores, right, noise(60), ridge=1e-9).unadjusted
    (a, b), (c, d) = TABLE
    assert found.log_odds == pytest.approx(math.log(a * d / (b * c)) * scores.std())
    rows, columns = np.sum(TABLE, axis=1), np.sum(TABLE, axis=0)
    g = 2 * sum(TABLE[i][j] * math.log(TABLE[i][j] * 60 / (rows[i] * columns[j])) for i in (0, 1) for j in (0, 1))
    assert found.p == pytest.approx(math.erfc(math.sqrt(g / 2)))


def test_the_penalty_that_is_used_by_itself_moves_a_usual_slope_by_less_than_a_thousandth():
    scores, right = counted()
    light, none = (partial_effect(scores, right, noise(60), ridge=ridge).unadjusted for ridge in (0.01, 1e-9))
    assert light.log_odds == pytest.approx(none.log_odds, rel=1e-3) and light.log_odds != none.log_odds


def designed(seed, n):
    """Scores, answers and covariates, with the design of the fits by hand: intercept, score, confidence, relations."""
    scores, right, covariates = confounded(seed, n=n)
    dummies = [covariates["relation"] == name for name in pd.unique(covariates["relation"])[1:]]
    columns = np.column_stack([scores, covariates["confidence"], *dummies])
    return scores, right, covariates, np.column_stack([np.ones(n), (columns - columns.mean(0)) / columns.std(0)])


def test_the_ends_of_samples_are_where_the_likelihood_ratio_refuses():
    """At each end the best of the other slopes, searched by scipy, is a chi squared quantile below the top."""
    scores, right, covariates, design = designed(2, 80)
    found = partial_effect(scores, right, covariates, level=0.8).adjusted
    assert partial_effect(scores, right, covariates).covariates == (
        "confidence", *(f"relation={name}" for name in pd.unique(covariates["relation"])[1:]),
    )  # fmt: skip

    def loss(slopes):
        odds = design @ slopes
        return -(right * odds - np.logaddexp(0, odds)).sum() + 0.005 * (slopes[1:] ** 2).sum()

    top = optimize.minimize(loss, np.zeros(5), tol=1e-12)
    assert found.log_odds == pytest.approx(top.x[1], abs=1e-4)
    for end in (found.low, found.high):
        others = optimize.minimize(lambda rest, end=end: loss(np.insert(rest, 1, end)), np.zeros(4), tol=1e-12)
        assert 2 * (others.fun - top.fun) == pytest.approx(stats.chi2.ppf(0.8, 1), abs=1e-4)


@pytest.mark.parametrize("count", [3, 4, 5, 8, 20])
def test_the_interval_and_p_of_groups_are_students_with_one_left_out_after_the_other(count):
    scores, right, covariates, design = designed(5, 80)
    units = np.arange(80) % count
    found = partial_effect(scores, right, covariates, groups=units, level=0.8).adjusted
    slopes = [
        fit_logistic(design[own], right[own], np.ones((1, own.sum())), 0.01)[0, 1]
        for own in [np.ones(80, dtype=bool), *(units != one for one in range(count))]
    ]
    error = math.sqrt((count - 1) / count * sum((one - slopes[0]) ** 2 for one in slopes[1:]))
    assert (found.low, found.high) == pytest.approx(stats.t.interval(0.8, count - 1, slopes[0], error), abs=1e-5)
    assert found.p == pytest.approx(2 * stats.t.sf(abs(slopes[0]) / error, count - 1), abs=1e-6)


def in_groups(seed, count, *, apart=1.0, own=0.0, n=100):
    """Scores and answers of so many groups that each move both, [score right covariate group]."""
    rng = np.random.default_rng(seed)
    units = np.arange(n) % count
    scores = apart * rng.normal(size=count)[units] + rng.normal(size=n)
    odds = own * scores + apart * rng.normal(size=count)[units]
    return scores, rng.random(n) < 1 / (1 + np.exp(-odds)), noise(n, seed + 1), units


@pytest.mark.parametrize("count", [3, 4, 5, 8, 15, None])
def test_interval_and_p_never_contradict_and_no_end_lies_on_the_estimate(count):
    for seed in range(40):
        own = (0.0, 0.6, 4.0)[seed % 3]  # the last tells right from wrong nearly alone
        scores, right, other, units = in_groups(seed, count or 5, own=own, n=60)
        found = partial_effect(scores, right, other, groups=None if count is None else units, level=0.9)
        for effect in (found.adjusted, found.unadjusted):
            if np.isnan(effect.low):
                assert np.isnan(effect.p) and np.isnan(effect.high)
                continue
            assert effect.low < effect.log_odds - 1e-6 and effect.high > effect.log_odds + 1e-6
            assert (effect.p < 0.1) == (not effect.low <= 0 <= effect.high)


@pytest.mark.parametrize("count", [3, 4, 5, 8])
def test_few_groups_keep_the_level(count):
    """False alarms and coverage are one, as interval and p are: five in a hundred of 300, or fewer."""
    rejected = 0
    for seed in range(300):
        scores, right, other, units = in_groups(seed, count, n=20 * count)
        rejected += partial_effect(scores, right, other, groups=units).adjusted.p <= 0.05
    assert rejected / 300 <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 300)


def test_a_group_with_all_wrong_answers_leaves_a_slope_without_interval_and_p():
    scores, right, covariates = confounded(3, n=60)
    units = np.where(right, np.arange(60) % 6, 6)
    found = partial_effect(scores, right, covariates, groups=units).adjusted
    assert np.isfinite(found.log_odds) and np.isnan([found.low, found.high, found.p, found.p_bh]).all()
    two = np.where(np.arange(60) < 30, scores, np.nan)  # these lie in two of three groups
    few = partial_effect(two, right, covariates, groups=np.repeat([0, 1, 2, 2], 15)).adjusted
    assert np.isfinite(few.log_odds) and np.isnan([few.low, few.high, few.p]).all()


def test_a_score_that_only_follows_confidence_is_found_alone_and_honestly_not_beside_it():
    trials = [partial_effect(*confounded(seed)) for seed in range(300)]
    alone, beside = (np.array([getattr(trial, name).p for trial in trials]) for name in ("unadjusted", "adjusted"))
    assert holds_level((beside <= 0.05).sum(), 300)
    assert abs(beside.mean() - 0.5) < 4 / math.sqrt(12 * 300)
    assert (alone <= 0.05).mean() > 0.5
    assert np.mean([trial.explained for trial in trials]) == pytest.approx(0.55, abs=0.05)


def test_a_score_that_says_more_than_confidence_is_found_beside_it():
    scores, right, covariates = confounded(4, n=400, own=0.8)
    found = partial_effect(scores, right, covariates).adjusted
    assert found.p < 1e-3 and 0 < found.low < found.log_odds < found.high


def test_the_interval_covers_the_true_slope_near_its_level():
    held = 0
    for seed in range(80):
        scores, right, covariates = confounded(seed, n=200, own=0.5)
        found = partial_effect(scores, right, covariates, level=0.9).adjusted
        held += found.low <= 0.5 * scores.std() <= found.high
    assert 62 <= held <= 79, "90 % intervals, 80 times"


def grouped(seed):
    """Groups of four that are hard or easy as a whole, and scores that know the group but not the answer."""
    rng = np.random.default_rng(seed)
    units = np.repeat(np.arange(40), 4)
    right = rng.random(160) < np.where(rng.random(40) < 0.5, 0.9, 0.1)[units]
    return rng.normal(size=40)[units] + 0.3 * rng.normal(size=160), right, units


def test_where_groups_stand_or_fall_together_only_whole_groups_give_honest_p_values():
    rejected = {"groups": 0, "samples": 0}
    for seed in range(200):
        scores, right, units = grouped(seed)
        for name, groups in (("groups", units), ("samples", None)):
            found = partial_effect(scores, right, noise(160, seed), groups=groups)
            rejected[name] += int(found.adjusted.p <= 0.05)
    assert holds_level(rejected["groups"], 200)
    assert rejected["samples"] > 30, "five in a hundred were promised"
    assert found.test == "likelihood ratio"


def test_groups_of_one_nearly_give_the_likelihood_ratio():
    scores, right, covariates = confounded(6, n=400, own=0.15)
    single = partial_effect(scores, right, covariates, groups=np.arange(400))
    ratio = partial_effect(scores, right, covariates)
    assert single.test != ratio.test and single.adjusted.p == pytest.approx(ratio.adjusted.p, rel=0.3)


def test_separation_is_told_and_its_slope_stays_finite():
    right = np.arange(40) % 2 == 0
    perfect = right + 0.5 * np.random.default_rng(0).random(40)
    blurred = right + 2.0 * np.random.default_rng(0).normal(size=40)
    found = partial_effect(np.column_stack([perfect, -perfect, blurred]), right, noise(40, 1))
    for effect in (found.adjusted, found.unadjusted):
        assert effect.separated.tolist() == [True, True, False]
        assert effect.log_odds[0] > 3 and effect.log_odds[1] == pytest.approx(-effect.log_odds[0], rel=1e-3)
        assert np.isfinite(effect.low).all() and np.isfinite(effect.high).all()
        assert (effect.p[:2] < 1e-8).all()
    assert found.separated_covariates == ()


def test_a_relation_that_is_always_wrong_is_named_and_left_out_as_if_it_were_not_there():
    scores, right, covariates = confounded(7, n=300)
    gone = covariates["relation"] == "on"
    right &= ~gone
    right[np.flatnonzero(covariates["relation"] == "left")] = True
    cells = np.stack([scores, np.where(np.arange(300) < 20, np.nan, scores)], axis=1)
    whole = partial_effect(cells, right, covariates)
    kept = covariates["relation"] == "under"
    rest = {name: column[kept] for name, column in covariates.items()}
    without = partial_effect(cells[kept], right[kept], rest)
    assert set(whole.skipped) == {"relation=on", "relation=left"} and without.skipped == ()
    assert whole.n.tolist() == without.n.tolist() and whole.n[0] == kept.sum()
    assert (whole.left_out == 300 - whole.n).all()
    assert whole.covariates == without.covariates == whole.beside == ("confidence",)
    assert whole.adjusted.log_odds.tolist() == without.adjusted.log_odds.tolist()
    assert whole.unadjusted.p.tolist() == without.unadjusted.p.tolist()


def test_a_word_that_is_left_out_may_leave_another_without_both_answers():
    scores, right = np.arange(12.0), np.arange(12) % 2 == 0
    side = np.array(["a", "b"] * 6, dtype=object)  # a is always right, b always wrong
    photo = np.array(["x"] * 6 + ["y"] * 6, dtype=object)
    found = partial_effect(scores, right, {"side": side, "photo": photo})
    assert found.skipped == ("side=a", "side=b") and found.n == 0 and np.isnan(found.adjusted.p)
    right[0] = False
    chained = partial_effect(scores, right, {"side": side, "photo": photo})
    assert chained.skipped == ("side=b", "photo=y") and chained.n == 3


def test_relations_that_differ_in_difficulty_and_in_scores_are_false_alarms_until_they_are_held_fixed():
    """Inside a relation the scores know nothing; the level holds beside the relation alone."""
    rejected = {(grouped, held): 0 for grouped in (False, True) for held in (False, True)}
    for seed in range(150):
        rng = np.random.default_rng(seed)
        place = np.repeat(np.arange(4), 40)
        right = rng.random(160) < np.array([0.25, 0.4, 0.6, 0.75])[place]
        scores = 0.6 * place + rng.normal(size=160)
        other = {"confidence": rng.normal(size=160), "relation": np.array(["on", "under", "left", "right"])[place]}
        for grouped, held in rejected:
            beside = other if held else {"confidence": other["confidence"]}
            groups = np.arange(160) % 40 if grouped else None
            found = partial_effect(scores, right, beside, groups=groups)
            rejected[grouped, held] += int(found.adjusted.p <= 0.05)
    for grouped in (False, True):
        assert holds_level(rejected[grouped, True], 150)
        assert rejected[grouped, False] > 90, "five in a hundred were promised, and more than sixty are seen"


def test_which_word_comes_first_does_not_matter():
    scores, right, covariates = confounded(8)
    order = np.argsort(covariates["relation"], kind="stable")
    turned = {name: column[order[::-1]] for name, column in covariates.items()}
    one = partial_effect(scores, right, covariates)
    two = partial_effect(scores[order[::-1]], right[order[::-1]], turned)
    assert one.covariates != two.covariates
    assert one.adjusted.log_odds == pytest.approx(two.adjusted.log_odds, abs=1e-3)
    assert one.adjusted.p == pytest.approx(two.adjusted.p, abs=1e-3)


def test_a_score_that_is_a_sum_of_covariates_has_no_effect_beside_them():
    _, right, covariates = confounded(9)
    scores = 2 * covariates["confidence"] + (covariates["relation"] == "on")
    found = partial_effect(scores, right, covariates)
    assert found.explained == pytest.approx(1)
    assert np.isnan(found.adjusted.log_odds) and np.isnan(found.adjusted.p) and np.isfinite(found.unadjusted.log_odds)


def test_both_effects_take_the_samples_that_have_everything():
    scores, right, covariates = confounded(10, n=120)
    cells = np.stack([scores, scores], axis=1)
    cells[:10, 0] = np.nan
    covariates["confidence"][5:20] = np.nan
    found = partial_effect(cells, right, covariates)
    assert found.n.tolist() == [100, 105] and found.left_out.tolist() == [20, 15]
    rest = {name: column[20:] for name, column in covariates.items()}
    alone = partial_effect(scores[20:], right[20:], rest)
    assert found.adjusted.log_odds[0] == pytest.approx(alone.adjusted.log_odds, abs=1e-3)
    assert found.unadjusted.p[0] == pytest.approx(alone.unadjusted.p, abs=1e-6)


def test_covariates_come_as_a_mapping_a_table_or_numbers():
    scores, right, covariates = confounded(11)
    mapping = partial_effect(scores, right, covariates).adjusted
    table = partial_effect(scores, right, pd.DataFrame(covariates)).adjusted
    assert (table.log_odds, table.low, table.p) == (mapping.log_odds, mapping.low, mapping.p)
    words = pd.Series(covariates["relation"]).astype("category")
    assert partial_effect(scores, right, {**covariates, "relation": words}).adjusted.p == mapping.p
    first, *others = pd.unique(covariates["relation"])
    numbers = np.column_stack([covariates["confidence"], *(covariates["relation"] == name for name in others)])
    found = partial_effect(scores, right, numbers)
    assert found.adjusted.p == mapping.p and found.covariates == ("covariate 0", "covariate 1", "covariate 2")
    mixed = np.array([None, *np.float32(covariates["confidence"][1:])], dtype=object)
    assert partial_effect(scores, right, {"confidence": mixed}).left_out == 1


def test_covariates_that_never_change_are_named_and_change_nothing():
    scores, right, _ = confounded(12)
    same = {"dataset": ["shapes"] * 240, "temperature": np.full(240, 0.1)}
    found = partial_effect(scores, right, {**same, **noise(240)})
    assert found.constant == ("dataset", "temperature") and found.covariates == ("noise",)
    alone = partial_effect(scores, right, same)
    assert alone.adjusted.p == alone.unadjusted.p and alone.covariates == () and alone.explained == 0


def test_one_class_or_one_score_is_undefined_and_never_an_error():
    scores, right, covariates = confounded(13, n=60)
    cells = np.stack([scores, np.ones(60), np.full(60, np.nan)], axis=1)
    found = partial_effect(cells, right, covariates)
    for effect in (found.adjusted, found.unadjusted):
        for name in ("log_odds", "low", "high", "p", "p_bh"):
            assert np.isfinite(getattr(effect, name)).tolist() == [True, False, False]
    nothing = partial_effect(cells, np.ones(60, bool), covariates)
    assert np.isnan(nothing.adjusted.p).all() and nothing.separated_covariates == ()


def test_the_table_has_a_row_per_cell():
    scores, right, covariates = confounded(14, n=60)
    cells = np.random.default_rng(0).normal(size=(60, 2, 3)) + scores[:, None, None]
    found = partial_effect(cells, right, covariates)
    table = found.to_dataframe()
    assert table["head"].tolist() == [0, 1, -1] * 2 and table["n"].tolist() == [60] * 6
    row = table[(table["layer"] == 1) & (table["head"] == -1)].iloc[0]
    assert row["adjusted_log_odds"] == found.adjusted.log_odds[1, -1]
    assert row["unadjusted_p_bh"] == found.unadjusted.p_bh[1, -1]


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (dict(covariates={}), "no covariate"),
        (dict(covariates=np.ones((4, 0))), "no covariate"),
        (dict(covariates={"area": [1.0, 2.0]}), "'area' has shape"),
        (dict(covariates={"area": [1.0, 2.0, np.inf, 0.0]}), "infinite"),
        (dict(ridge=0.0), "no penalty"),
        (dict(level=1.0), "level"),
        (dict(scores=np.ones((3, 2))), "for 4 samples"),
        (dict(groups=["a"] * 4), "two groups or more"),
        (dict(groups=["a", "a", "b", "b"]), "at least 3 groups"),
    ],
)
def test_what_can_not_be_fitted_is_refused(given, says):
    usual = dict(scores=np.arange(4.0), right=[True, False, True, False], covariates=noise(4))
    with pytest.raises(InputError, match=says):
        partial_effect(**{**usual, **given})
