"""Metrics against counts written out by hand, the paper's own arithmetic, and coverage where an interval claims it."""

import json
import re
from itertools import product

import numpy as np
import pandas as pd
import pytest

from adaptvis.paper.splits import official_split
from interp.answers.comparison import compare, compare_grid
from interp.answers.groups import PAIRS, pair_set_scores
from interp.answers.metrics import (
    accuracy,
    answer_distribution,
    class_scores,
    confusion,
    guessing,
    summary,
)
from interp.answers.scoring import score
from interp.answers.yesno import yes_no_from_counts, yes_no_scores
from interp.errors import InputError
from interp.stats.intervals import wilson
from interp.stats.tests import benjamini_hochberg, holm

A = ("left", "right", "on", "under")

# How many object pairs keep which relations on the official test part, counted from the released prompts.
REMAINING = {
    "controlled-a": "48 left on right under, 10 left on right, 9 left right under, 7 left on under, 6 on right under, "
    "5 on right, 4 right under, 3 right, 3 left on, 3 left under, 3 on under, 1 left right, 1 on",
    "controlled-b": "42 behind front left right, 16 behind left right, 13 behind front right, 7 front left right, "
    "7 behind front left, 5 behind left, 3 front right, 2 behind right, 2 front, 1 behind front, 1 behind, "
    "1 front left, 1 left right, 1 right",
}


def answered(rows, options=A, **columns):
    """A scored table of (gold, text) rows."""
    table = pd.DataFrame(rows, columns=["gold", "text"]).assign(options=[options] * len(rows), **columns)
    return score(table.assign(id=[f"s{place}" for place in range(len(rows))], relation=table["gold"]))


def right_or_wrong(right, **columns):
    """A table in which only right and wrong are known."""
    right = np.asarray(right, dtype=bool)
    return pd.DataFrame({"id": [f"s{place}" for place in range(len(right))], "correct": right, **columns})


# Ten answers: left 3 of 4 right, right 2 of 3, on 0 of 2 ("left", and nothing), under 1 of 1.
TEN = [
    *[("left", "Left")] * 3,
    ("left", "right"),
    ("right", "Right."),
    ("right", "right"),
    ("right", "left"),
    ("on", "left"),
    ("on", "a person"),
    ("under", "Under"),
]


def test_confusion_counts_each_gold_and_answer_and_what_names_nothing():
    found = confusion(answered(TEN))
    assert found.loc["left"].to_dict() == {"left": 3, "right": 1, "on": 0, "under": 0, "none": 0}
    assert found.loc["right"].tolist() == [1, 2, 0, 0, 0]
    assert found.loc["on"].tolist() == [1, 0, 0, 0, 1]
    assert found.loc["under"].tolist() == [0, 0, 0, 1, 0]
    assert found.to_numpy().sum() == 10 and list(found.columns)[-1] == "none"


def test_confusion_keeps_answers_that_are_never_gold_as_columns_only():
    found = confusion(answered([("left", "right"), ("left", "under")]))
    assert list(found.index) == ["left"] and found.loc["left"].tolist() == [0, 1, 0, 1, 0]


def test_the_answer_distribution_sets_what_is_said_beside_what_is_right():
    found = answer_distribution(answered(TEN)).set_index("answer")
    assert found["gold"].to_dict() == {"left": 4, "right": 3, "on": 2, "under": 1, "none": 0}
    assert found["predicted"].to_dict() == {"left": 5, "right": 3, "on": 0, "under": 1, "none": 1}
    assert found["predicted_share"].to_dict() == pytest.approx(dict(left=0.5, right=0.3, on=0, under=0.1, none=0.1))


def test_balanced_accuracy_and_macro_f1_are_means_over_the_gold_answers():
    found = class_scores(answered(TEN), n=50)
    assert found["balanced_accuracy"].estimate == pytest.approx((3 / 4 + 2 / 3 + 0 + 1) / 4)
    assert found["macro_f1"].estimate == pytest.approx((2 * 3 / (4 + 5) + 2 * 2 / (3 + 3) + 0 + 1) / 4)


def test_the_summary_holds_every_measure_with_its_interval_and_guessing_beside():
    found = summary(answered(TEN)).set_index("measure")
    assert found["value"].drop(["balanced_accuracy", "macro_f1"]).to_dict() == pytest.approx(
        {"accuracy": 0.6, "accuracy_paper": 0.7, "parse_failures": 0.1, "majority": 0.4, "chance": 0.25}
    )
    assert found.loc["accuracy", "low"] == wilson(6, 10).low and found.loc["accuracy", "high"] == wilson(6, 10).high
    assert found.loc["majority":, ["low", "high"]].isna().all(axis=None) and (found["n"] == 10).all()
    assert (found.loc[:"parse_failures", "low"] <= found.loc[:"parse_failures", "value"]).all()


def test_chance_is_the_mean_over_rows_and_undefined_without_options():
    table = answered(TEN).assign(options=[("a", "b")] * 5 + [tuple("abcde")] * 5)
    assert guessing(table)["chance"] == pytest.approx((1 / 2 + 1 / 5) / 2)
    assert np.isnan(guessing(table.assign(options=[()] * 10))["chance"])


def test_tables_that_can_not_be_measured_are_refused():
    table = answered(TEN)
    for wrong in (table.drop(columns="gold"), table.iloc[:0], pd.concat([table, table]), table.drop(columns="id")):
        with pytest.raises(InputError):
            summary(wrong)
        with pytest.raises(InputError):
            confusion(wrong)


def grouped(dataset):
    """The official test part as (group, relation) rows, all answered rightly."""
    parts = [part.split() for part in REMAINING[dataset].split(", ")]
    groups = [words[1:] for words in parts for _ in range(int(words[0]))]
    rows = [(f"pair {place}", relation) for place, relations in enumerate(groups) for relation in relations]
    table = pd.DataFrame(rows, columns=["group", "relation"])
    return table.assign(id=[f"s{place}" for place in range(len(rows))], correct_paper=True)


def values(found, column="value"):
    return {(row.score, row.denominator): getattr(row, column) for row in found.itertuples()}


CEILINGS = [("controlled-a", 132, 165, 48, 82.5), ("controlled-b", 129, 163.5, 42, 81.75)]


@pytest.mark.parametrize("dataset, pairs, of_pairs, sets, of_sets", CEILINGS)
def test_all_right_on_the_official_test_part_reaches_the_papers_ceiling(dataset, pairs, of_pairs, sets, of_sets):
    found = pair_set_scores(grouped(dataset), PAIRS[dataset])
    assert values(found) == pytest.approx(values(found, "ceiling"))
    assert values(found) == pytest.approx(
        {
            ("pair", "paper"): pairs / of_pairs,
            ("set", "paper"): sets / of_sets,
            ("pair", "complete"): 1,
            ("set", "complete"): 1,
        }
    )
    assert values(found, "of")["pair", "paper"] == of_pairs and values(found, "of")["set", "paper"] == of_sets
    assert values(found, "of")["pair", "complete"] == pairs and values(found, "of")["set", "complete"] == sets


def test_the_published_ceilings_are_these_percentages():
    a, b = (values(pair_set_scores(grouped(name), PAIRS[name])) for name in ("controlled-a", "controlled-b"))
    shares = [found[score, "paper"] for found, score in product((a, b), ("pair", "set"))]
    assert [round(100 * share, 1) for share in shares] == [80.0, 58.2, 78.9, 51.4]


@pytest.mark.parametrize("letter", "AB")
def test_the_released_prompts_leave_these_pairs_on_the_test_part(assets, letter):
    path = assets / "adaptvis-prompts" / f"Controlled_Images_{letter}_with_answer_four_options.jsonl"
    if not path.is_file():
        pytest.skip(f"needs the released prompts, and {path.name} is absent")
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    objects = re.compile(r"(?:is|are) the (.*?) in relation to (?:the )?(.*?)\? Answer")
    table = pd.DataFrame(
        {
            "id": str(row),
            "group": "|".join(objects.search(lines[row]["question"]).groups()),
            "relation": lines[row]["answer"][0].lower(),
            "correct_paper": True,
        }
        for row in official_split(len(lines))[1]
    )
    dataset = f"controlled-{letter.lower()}"

    def remaining(rows):
        return sorted(" ".join(sorted(own)) for _, own in rows.groupby("group")["relation"])

    assert remaining(table) == remaining(grouped(dataset))
    ours, by_hand = (pair_set_scores(rows, PAIRS[dataset]) for rows in (table, grouped(dataset)))
    assert values(ours) == values(by_hand)


def test_pairs_and_sets_are_right_only_when_all_their_answers_are():
    rows = [
        *[("whole", name, 1) for name in A],
        *[("half", name, name != "on") for name in A],
        *[("broken", name, 1) for name in ("left", "right", "on")],
        ("single", "under", 1),
    ]
    table = pd.DataFrame(rows, columns=["group", "relation", "correct"]).assign(id=list("abcdefghijkl"))
    found = pair_set_scores(table, PAIRS["controlled-a"], column="correct")
    # 12 samples; complete pairs: 2 + 2 + 1; right: 2 + 1 + 1; complete sets: 2; right: 1.
    assert values(found, "right") == {key: 4 if key[0] == "pair" else 1 for key in values(found)}
    assert values(found) == pytest.approx(
        {("pair", "paper"): 4 / 6, ("pair", "complete"): 4 / 5, ("set", "paper"): 1 / 3, ("set", "complete"): 1 / 2}
    )
    assert values(found, "ceiling")["pair", "paper"] == 5 / 6 and values(found, "ceiling")["set", "paper"] == 2 / 3


def test_without_a_complete_set_the_corrected_score_is_undefined_and_the_papers_is_zero():
    table = pd.DataFrame({"id": ["a", "b"], "group": "g", "relation": ["left", "on"], "correct_paper": True})
    found = values(pair_set_scores(table, PAIRS["controlled-a"]))
    assert found["set", "paper"] == 0 and np.isnan(found["set", "complete"]) and np.isnan(found["pair", "complete"])


def test_groups_that_make_no_sets_are_refused():
    table = grouped("controlled-a")
    wrong = [
        table.assign(relation="above"),
        table.assign(group=""),
        table.assign(group="one for all"),
    ]
    for one in wrong:
        with pytest.raises(InputError):
            pair_set_scores(one, PAIRS["controlled-a"])


def test_pair_intervals_cover_when_the_answers_of_a_group_go_together():
    rng, pairs, hits = np.random.default_rng(0), PAIRS["controlled-a"], 0
    groups, relations = np.repeat(np.arange(60), 4), np.tile(A, 60)
    for _ in range(60):
        right = rng.random(240) < np.where(rng.random(60) < 0.5, 0.95, 0.4).repeat(4)
        table = right_or_wrong(right, group=groups.astype(str), relation=relations)
        row = pair_set_scores(table, pairs, column="correct").iloc[1]
        hits += row.low <= (0.95**2 + 0.4**2) / 2 <= row.high
    assert hits / 60 >= 0.85


def test_the_papers_f1_of_vsr_is_not_the_ordinary_one():
    found = yes_no_from_counts(right_yes=435, yes=503, right_no=177, no=475)
    assert round(found.paper_f1, 3) == 0.521 and round(found.f1, 3) == 0.704
    assert found.true_positive_rate == 435 / 503 and found.true_negative_rate == 177 / 475
    assert found.precision == 435 / (435 + 298) and found.accuracy == 612 / 978
    assert found.balanced_accuracy == (435 / 503 + 177 / 475) / 2


def test_yes_no_counts_that_are_none_are_refused_and_nothing_right_is_zero():
    for wrong in (dict(right_yes=3, yes=2, right_no=0, no=1), dict(right_yes=1, yes=2, right_no=1, no=2, false_yes=2)):
        with pytest.raises(InputError):
            yes_no_from_counts(**wrong)
    assert yes_no_from_counts(right_yes=0, yes=3, right_no=0, no=3).paper_f1 == 0
    assert np.isnan(yes_no_from_counts(right_yes=1, yes=1, right_no=0, no=0).paper_f1)


def test_an_answer_of_neither_is_a_false_yes_by_the_papers_rule_only():
    rows = [("yes", "Yes"), ("yes", "yes"), ("yes", "No"), ("no", "No"), ("no", "Yes"), ("no", "hm"), ("no", "no")]
    found = yes_no_scores(answered(rows, ("yes", "no")), n=50).set_index(["rule", "measure"])["value"]
    # Paper: "Yes" right only, 1 of 3; "No" right only, 1 of 4; false yes 3. Strict: 2 of 3, 2 of 4, false yes 1.
    assert found["paper"].to_dict() == pytest.approx(
        dict(
            accuracy=2 / 7,
            paper_f1=2 * (1 / 3 * 1 / 4) / (1 / 3 + 1 / 4),
            true_positive_rate=1 / 3,
            true_negative_rate=1 / 4,
            balanced_accuracy=7 / 24,
            precision=1 / 4,
            f1=2 / 7,
        )
    )
    strict = found["strict"]
    assert strict["accuracy"] == 4 / 7 and strict["precision"] == 2 / 3 and strict["f1"] == pytest.approx(2 / 3)
    assert strict["true_negative_rate"] == 1 / 2


def test_yes_no_scores_refuse_other_answers():
    with pytest.raises(InputError, match="left"):
        yes_no_scores(answered(TEN))


def test_a_comparison_pairs_by_id_and_counts_what_changed():
    before = right_or_wrong([1, 1, 0, 0, 0, 0])
    after = right_or_wrong([1, 0, 1, 1, 1, 0]).sample(frac=1, random_state=1)
    found = compare(before, after, n=200)
    assert (found.n, found.gained, found.lost, found.p_value) == (6, 3, 1, 0.625)
    assert (found.reference, found.other) == pytest.approx((2 / 6, 4 / 6))
    assert found.difference.estimate == pytest.approx(2 / 6)
    assert found.difference.low < 2 / 6 < found.difference.high


def test_policies_on_different_samples_are_not_compared():
    with pytest.raises(InputError, match="s5"):
        compare(right_or_wrong([1] * 6), right_or_wrong([1] * 5))


def test_the_interval_of_a_difference_covers_zero_where_nothing_changed():
    rng = np.random.default_rng(0)
    found = [
        compare(*(right_or_wrong(rng.random(80) < 0.6) for _ in range(2)), seed=trial, n=200) for trial in range(100)
    ]
    assert np.mean([one.difference.low <= 0 <= one.difference.high for one in found]) >= 0.88
    assert np.mean([one.p_value < 0.05 for one in found]) <= 0.08


def test_a_grid_of_settings_is_corrected_for_their_number():
    before = right_or_wrong([0] * 12)
    settings = {name: right_or_wrong([1] * k + [0] * (12 - k)) for name, k in dict(a=9, b=7, c=0).items()}
    found = compare_grid(before, settings, n=20).set_index("setting")
    p = {name: 2 * 0.5**k for name, k in dict(a=9, b=7).items()} | {"c": 1.0}
    assert found["p"].to_dict() == p
    assert found["p_holm"].to_dict() == pytest.approx({"a": 3 * p["a"], "b": 2 * p["b"], "c": 1.0})
    assert found["p_bh"].to_dict() == pytest.approx({"a": 3 * p["a"], "b": 1.5 * p["b"], "c": 1.0})
    assert found["difference"].to_dict() == pytest.approx({"a": 9 / 12, "b": 7 / 12, "c": 0})
    with pytest.raises(InputError, match="settings"):
        compare_grid(before, {})


def test_corrections_agree_with_worked_examples_in_any_order():
    np.testing.assert_allclose(holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])
    np.testing.assert_allclose(benjamini_hochberg([0.01, 0.04, 0.03, 0.005]), [0.02, 0.04, 0.04, 0.02])
    np.testing.assert_allclose(holm([0.9, 0.8]), [1, 1])
    assert len(holm([])) == len(benjamini_hochberg([])) == 0


@pytest.mark.parametrize("wrong", [[0.1, np.nan], [1.2], [-0.1], [[0.1]]])
def test_corrections_refuse_what_is_no_p_value(wrong):
    for correct in (holm, benjamini_hochberg):
        with pytest.raises(InputError):
            correct(wrong)


def test_corrections_keep_the_family_wise_error_where_nothing_is_true():
    p = np.random.default_rng(0).random((2000, 10))
    for correct in (holm, benjamini_hochberg):
        rate = np.mean([(correct(family) < 0.05).any() for family in p])
        assert 0.035 <= rate <= 0.065
    assert np.mean((p < 0.05).any(axis=1)) > 0.35  # what the uncorrected tests would do


def test_accuracy_reads_the_asked_rule():
    table = answered(TEN)
    assert accuracy(table).estimate == 0.6 and accuracy(table, "correct_paper").estimate == 0.7
