"""Answers are judged by whole words in the strict rule, and just as loosely as the released code in the paper's."""

import numpy as np
import pandas as pd
import pytest

from interp.answers.scoring import YES_NO, first_option, paper_substring, paper_yes_no, read_options, score
from interp.errors import InputError

A = ("left", "right", "on", "under")
B = ("left", "right", "front", "behind")


@pytest.mark.parametrize(
    "text, option",
    [
        ("On", "on"),
        ("The mug is on the table", "on"),
        ("ON.", "on"),
        ("A person near it", None),
        ("positioned nearby", None),
        ("bottom-on", None),
        ("beyond", None),
        ("underneath it", None),
        ("upright", None),
        ("On the left of the table", "left"),
        ("It is on its right", "right"),
        ("on, left", "on"),
        ("on the table, left of the lamp", "on"),
        ("left-hand side", "left"),
        ("", None),
    ],
)
def test_on_is_found_as_an_answer_and_not_inside_other_words(text, option):
    assert first_option(text, A) == option


@pytest.mark.parametrize(
    "text, option",
    [("In front of the cup", "front"), ("Behind the left candle", "behind"), ("confront", None), ("in Front", "front")],
)
def test_front_and_behind_are_found(text, option):
    assert first_option(text, B) == option


@pytest.mark.parametrize(
    "text, answer, right",
    [
        ("Left", "left", True),
        ("left and right", "right", True),
        ("left and right", "left", True),
        ("A person", "on", True),
        ("bottom-on", "on", True),
        ("On the front", "on", False),
        ("on it, in Front", "on", False),
        ("front", "front", True),
        ("underneath", "under", True),
        ("", "left", False),
    ],
)
def test_the_papers_rule_is_a_substring_with_one_exception(text, answer, right):
    assert paper_substring(text, answer) is right


def test_the_papers_rule_refuses_an_empty_gold_answer():
    with pytest.raises(InputError, match="empty"):
        paper_substring("anything", " ")


@pytest.mark.parametrize(
    "text, if_yes, if_no",
    [
        ("Yes", True, False),
        ("No", False, True),
        ("no", False, False),
        ("yes", False, False),
        ("Not sure", False, True),
        ("No. Yes.", True, True),
        ("", False, False),
    ],
)
def test_the_papers_yes_no_rule_minds_case_and_lets_both_pass(text, if_yes, if_no):
    assert (paper_yes_no(text, "yes"), paper_yes_no(text, "no")) == (if_yes, if_no)


def test_the_papers_yes_no_rule_refuses_other_answers():
    with pytest.raises(InputError, match="left"):
        paper_yes_no("Yes", "left")


@pytest.mark.parametrize("text, said", [("no, yes", "no"), ("YES!", "yes"), ("Not sure", None), ("nobody", None)])
def test_of_yes_and_no_the_strict_rule_takes_the_first_whole_word(text, said):
    assert first_option(text, YES_NO) == said


def test_a_table_is_judged_row_by_row_by_its_own_options():
    table = pd.DataFrame(
        [
            ("left and right", "right", A),
            ("A person", "on", list(A)),
            ("Under", "under", "left|right|on|under"),
            ("no", "no", np.array(["yes", "no"])),
            ("Yes", "no", "yes, no"),
            ("It is touching it", "touching", ()),
            (None, "no", ("yes", "no")),
        ],
        columns=["text", "gold", "options"],
        index=[5, 3, 1, 0, 2, 9, 7],
    )
    found = score(table)
    said = [None if pd.isna(name) else name for name in found["predicted"]]
    assert said == ["left", None, "under", "no", "yes", "touching", None]
    assert found["correct"].tolist() == [False, False, True, True, False, True, False]
    assert found["correct_paper"].tolist() == [True, True, True, True, False, True, False]
    assert found["parsed"].tolist() == [True, False, True, True, True, True, False]
    assert list(found.index) == list(table.index) and list(table.columns) == ["text", "gold", "options"]


def test_the_papers_rule_for_vsr_is_that_of_vsr_alone():
    table = pd.DataFrame({"text": ["no", "No", "yes"], "gold": ["no", "no", "yes"], "options": [YES_NO] * 3})
    assert score(table)["correct_paper"].tolist() == [True, True, True]
    assert score(table.assign(dataset="pope"))["correct_paper"].tolist() == [True, True, True]
    assert score(table.assign(dataset="vsr"))["correct_paper"].tolist() == [False, True, False]


@pytest.mark.parametrize(
    "text, gold, right",
    [
        ("There are two.", "2", True),
        ("2", "two", True),
        ("three", "2", False),
        ("Grey.", "gray", True),
        ("yellow, not green", "yellow", True),
        ("yellow, not green", "green", False),
        ("It is not green", "green", False),
        ("It is touching it", "touching", True),
        ("left or right", "left", False),
        ("+", "+", True),
    ],
)
def test_an_answer_without_options_is_judged_by_what_it_says(text, gold, right):
    (row,) = score(pd.DataFrame({"text": [text], "gold": [gold], "options": [()]})).itertuples()
    assert row.correct is right and row.parsed is right


@pytest.mark.parametrize(
    "text, options, said",
    [
        ("Not left but right", ("left", "right"), "right"),
        ("It isn't on the left, it is on the right", ("left", "right", "on", "under"), "right"),
        ("not touching", ("touching", "not touching"), "not touching"),
        ("not red, blue", ("red", "blue"), "blue"),
        ("I am not sure: left", ("left", "right"), "left"),
        ("two", ("1", "2", "3"), "2"),
        ("There are 3", ("one", "two", "three"), "three"),
        ("grey", ("red", "gray"), "gray"),
    ],
)
def test_an_option_that_is_denied_is_not_named_and_one_in_other_words_is(text, options, said):
    assert first_option(text, options) == said


def test_a_scored_table_survives_parquet(tmp_path):
    table = pd.DataFrame({"text": ["left", "dunno"], "gold": ["left"] * 2, "options": [A, A]})
    score(table).to_parquet(tmp_path / "table.parquet")
    again = score(pd.read_parquet(tmp_path / "table.parquet"))
    assert again["correct"].tolist() == [True, False] and again["predicted"].isna().tolist() == [False, True]


def test_a_table_without_the_columns_is_refused():
    with pytest.raises(InputError, match="options"):
        score(pd.DataFrame({"text": ["left"], "gold": ["left"]}))


@pytest.mark.parametrize("cell", [None, float("nan"), pd.NA, "", (), np.array([])])
def test_no_options_are_read_from_an_empty_cell(cell):
    assert read_options(cell) == ()
