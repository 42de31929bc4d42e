"""What stands beside a table of gains: what a claim needs, what rounding does, and what is not there."""

import dataclasses
import re

import pandas as pd
import pytest
from made_up_evaluation import made_up_evaluation
from said import check_form

from adaptvis.paper.published import compare_with_published
from adaptvis.report.lead import gain_says
from adaptvis.report.measures import measure_evaluation
from adaptvis.report.sections import sections
from adaptvis.report.setup import RunFacts
from adaptvis.report.tables import CLAIMS, adds_up, main_table, published_round, published_table, relation_table
from interp.stats.intervals import wilson

GAINS = ("Accuracy by relation", "Which layers carry the change", "How many settings were tried")


def page(evaluation, dataset="", **figures):
    """The sections by title."""
    measured = measure_evaluation(evaluation, dataset=dataset)
    made = sections(evaluation, measured, figures, RunFacts(dataset, "", {}), change="Not drawn: no model.")
    for line in (line for part in made for line in part.text):
        check_form(line)
    return {part.title: part for part in made}


def first_number(cell):
    return float(re.match(r"[<>]?([-+]?\d+\.\d+)", cell)[1])


def adds(before, after, gain):
    return first_number(after) - first_number(before) == pytest.approx(first_number(gain), abs=0.01)


@pytest.mark.parametrize("n", [16, 24, 28, 40])
@pytest.mark.parametrize("seed", range(4))
def test_a_table_whose_rounded_numbers_do_not_add_up_says_so_and_another_does_not(n, seed):
    evaluation = made_up_evaluation(("baseline", "scaling", "adaptvis"), n=n, seed=seed, tuned=False)
    parts = page(evaluation)
    main = main_table(evaluation, measure_evaluation(evaluation))
    base = main.iloc[0]
    whole = all(
        adds(base[f"{rule} %"], row[f"{rule} %"], row[f"gain, {rule}"])
        for rule in ("strict", "paper's rule")
        for _, row in main.iloc[1:].iterrows()
    )
    assert any("before rounding" in line for line in parts["Main numbers"].text) != whole
    table = relation_table(evaluation, 12)
    before = table[table["policy"] == "baseline"].set_index("relation")["accuracy %"]
    rows = table[table["policy"] != "baseline"]
    each = [adds(before[row["relation"]], row["accuracy %"], row["gain, points"]) for _, row in rows.iterrows()]
    assert any("before rounding" in line for line in parts["Accuracy by relation"].text) != all(each)


def test_numbers_add_up_where_their_printed_digits_do():
    assert adds_up(0.712, 0.725, 0.013) and not adds_up(0.7124, 0.7246, 0.0122)
    for k in range(31):
        for more in range(31 - k):
            before, after, gain = (f"{100 * one / 30:.1f}" for one in (k, k + more, more))
            wanted = round(float(after) - float(before), 1) == float(gain)
            assert adds_up(k / 30, (k + more) / 30, more / 30) == wanted


@pytest.mark.parametrize("right", [150, 163, 198, 212])
def test_published_numbers_have_their_own_digits_and_differences_add_up_or_say_so(right):
    found = compare_with_published(
        right / 330, 330, "controlled-a", "llava-1.5-7b", "scaling", others={"set": wilson(0, 20)}
    ).rows
    table = published_table(found)
    assert table["published %"].tolist() == ["64.5", "64.55", "0.00"]
    off = [
        abs(first_number(row["ours %"]) - first_number(row["published %"]) - first_number(row["ours minus theirs"]))
        for _, row in table.iterrows()
    ]
    assert ("before rounding" in published_round(found)) == any(one > 0.0999 for one in off)
    assert table.iloc[2]["inside our interval"] == "yes" and table.iloc[2]["in items"] == "+0"


def test_every_table_of_gains_says_that_a_claim_needs_both():
    parts = page(made_up_evaluation(), layer_windows=None)
    assert all(CLAIMS in parts[title].text for title in GAINS) and CLAIMS in parts["Main numbers"].text[0]


@pytest.mark.parametrize(("low", "p"), [(0.001, 0.2), (0.001, 0.01), (-0.01, 0.01), (float("nan"), 0.01)])
def test_one_of_test_and_interval_alone_is_no_claim(low, p):
    line = {"accuracy": 0.5, "difference": 0.1, "difference_low": low, "difference_high": low + 0.2}
    said = gain_says(pd.Series(line | {"p": p, "p_holm": p, "test": "McNemar"}), 1)
    check_form(said)
    assert said.endswith(": more than the baseline") == (low > 0 and p < 0.05)
    assert said.endswith("there is no interval, so nothing is claimed") == (low != low)
    assert ("test and interval do not agree" in said) == ((low > 0) != (p < 0.05) and low == low)


def test_the_baseline_alone_has_no_gain_and_no_test():
    evaluation = made_up_evaluation(("baseline",), tuned=False)
    text = " ".join(page(evaluation)["Main numbers"].text)
    assert "there is no gain and no p" in text and "McNemar" not in text
    assert "gain" not in set(measure_evaluation(evaluation).metrics["measure"])


def test_what_was_chosen_on_other_samples_is_spoken_of_where_something_was():
    for tuned in (True, False):
        text = page(made_up_evaluation(tuned=tuned))["How many settings were tried"].text
        assert any("Those that were chosen on the validation part" in line for line in text) == tuned


def test_sets_of_which_none_has_all_its_questions_have_no_score():
    options = ("left", "right", "on", "under")
    evaluation = made_up_evaluation(("baseline", "scaling"), n=32, options=options, sets=True)
    numbers = evaluation.answers["id"].str[-5:].astype(int)
    lacking = dataclasses.replace(evaluation, answers=evaluation.answers[numbers % 4 != numbers // 4 % 4])
    for each, says in ((evaluation, False), (lacking, True)):
        part = page(each, "shapes-a")["Pairs and sets"]
        assert any("No set has all its questions here" in line for line in part.text) == says
        assert not any("No pair" in line for line in part.text)
        assert (part.table["set, complete only %"] == "–").all() == says
        assert set(part.table["complete sets"]) == ({"0"} if says else {"8"})
        assert (part.table["ceiling of set %"] == ("0.0" if says else "100.0")).all()


@pytest.mark.parametrize(
    ("relations", "says"),
    [(("left", "right"), "all samples are of these two"), (("left of", "on"), "no relation here has such a name")],
)
def test_why_left_and_right_are_not_set_against_others_is_so(relations, says):
    part = page(made_up_evaluation(relations=relations))["Confidence by relation"]
    assert any(line.endswith(f"{says}.") for line in part.text)


def test_a_wrong_answer_alone_has_an_interval_and_two_groups_are_said_to_have_none():
    evaluation = made_up_evaluation(("baseline",), n=12, right=True, tuned=False)
    wrong = evaluation.answers["id"] == evaluation.answers["id"].iloc[0]
    answers = evaluation.answers.assign(correct=~wrong)
    text = page(dataclasses.replace(evaluation, answers=answers))["Calibration"].text[1]
    assert "of so few groups" not in text and "CI" in text and "11 right and 1 wrong" in text
    pair = made_up_evaluation(("baseline",), n=2, tuned=False)
    pair = dataclasses.replace(pair, answers=pair.answers.assign(correct=[True, False]))
    assert "of so few samples there is no interval" in page(pair)["Calibration"].text[1]
    grouped = answers.assign(group=["one", "other"] * (len(answers) // 2))
    text = page(dataclasses.replace(evaluation, answers=grouped))["Calibration"].text[1]
    assert "of so few groups there is no interval" in text and "CI" not in text
