"""Word match: directions by their meaning, whole words, no second answer beside; chance from the answers alone."""

import numpy as np
import pandas as pd
import pytest

from interp.answers.words import DIRECTIONS, chance_levels, normal_words, says, score_words, word_scores
from interp.datasets.synthetic.two_ds import CATEGORIES, two_ds
from interp.errors import InputError


@pytest.mark.parametrize(
    ("text", "answer", "answers", "right"),
    [
        ("Bottom.", "below", (), True),
        ("It is beneath the square.", "below", (), True),
        ("The circle is on top of the square", "above", (), True),
        ("On the left-hand side", "left", ("right",), True),
        ("Left and above", "left", (), False),
        ("above left", "above and left", (), False),  # "and" is asked for: another wording
        ("It is above and left.", "above and left", ("left",), True),
        ("left or right", "left", (), False),
        ("It is not left", "left", ("right",), True),  # words alone: what is denied is not seen
        ("Leftover", "left", (), False),
        ("RED", "red", ("blue",), True),
        ("a hundred", "red", (), False),
        ("red or blue", "red", ("blue",), False),
        ("red or blue", "red", (), True),
        ("The red one at the left, above the cross", "red", ("blue",), True),
        ("a red circle", "red circle", ("blue circle", "circle"), True),
        ("a red circle", "red", ("red circle",), False),
        ("a circle that is red", "red circle", (), False),
        ("", "red", (), False),
        ("grey", "gray", (), True),
        ("Yes, it is", "yes", ("no",), True),
        ("Yes and no", "yes", ("no",), False),
    ],
)
def test_what_an_answer_says(text, answer, answers, right):
    assert says(text, answer, answers) is right


def test_every_direction_word_means_its_direction_and_no_other():
    assert len([word for words in DIRECTIONS.values() for word in words]) == len(set().union(*DIRECTIONS.values()))
    for direction, words in DIRECTIONS.items():
        for word in words:
            assert normal_words(f"To the {word.upper()}!") == ("to", direction)
            assert [says(word, other) for other in DIRECTIONS] == [other == direction for other in DIRECTIONS]


def table_of(samples, text):
    rows = [{"id": s.id, "gold": s.answer, "relation": s.relation, "options": "|".join(s.options)} for s in samples]
    return pd.DataFrame(rows).assign(text=[text(s) for s in samples])


def test_scores_and_chance_of_the_drawn_set():
    samples = two_ds(6 * 24)
    scores = word_scores(table_of(samples, lambda s: f"It is {s.answer}.")).set_index("category")
    assert list(scores.index) == [*sorted(CATEGORIES), "all"] and scores["accuracy_words"].eq(1).all()
    assert scores["n"].tolist() == [24] * 6 + [144]
    for name, options in (("color-absolute", 6), ("shape-absolute", 4), ("shape-color-absolute", 24)):
        assert scores.loc[name, ["even", "blind", "majority"]].tolist() == pytest.approx([1 / options] * 3)
    relative = scores.loc[[name for name in CATEGORIES if name.endswith("relative")]]
    assert relative[["even", "blind", "majority"]].to_numpy() == pytest.approx(np.full((3, 3), 1 / 4))
    assert scores.loc["all", "even"] == pytest.approx((3 / 4 + 1 / 6 + 1 / 4 + 1 / 24) / 6)


def test_blind_answers_reach_chance():
    samples = two_ds(6 * 80)
    rng = np.random.default_rng(0)
    scores = word_scores(table_of(samples, lambda s: str(rng.choice(s.options)))).set_index("category")
    error = np.sqrt(scores["even"] * (1 - scores["even"]) / scores["n"])
    assert (abs(scores["accuracy_words"] - scores["even"]) < 3.5 * error).all()


def test_chance_of_answers_that_lean_is_that_of_their_shares():
    table = pd.DataFrame({"gold": ["yes"] * 3 + ["no"], "relation": "x"})
    assert chance_levels(table).iloc[0].to_dict() == {
        "category": "x", "n": 4, "answers": 2, "even": 0.5, "blind": 0.625, "majority": 0.75,
    }  # fmt: skip


def test_what_else_could_be_right_is_of_the_same_category():
    table = pd.DataFrame({"text": ["red", "red or blue"], "gold": ["red", "red"], "relation": ["a", "b"]})
    more = pd.concat([table, pd.DataFrame({"text": ["blue"], "gold": ["blue"], "relation": ["b"]})])
    assert score_words(table)["correct_words"].tolist() == [True, True]
    assert score_words(more)["correct_words"].tolist() == [True, False, True]
    assert score_words(table.assign(text=None))["correct_words"].tolist() == [False, False]


def test_tables_that_can_not_be_scored_are_refused():
    good = pd.DataFrame({"id": ["1"], "text": ["left"], "gold": ["left"], "relation": ["x"]})
    for table, says_so in (
        (good.drop(columns="gold"), "gold"),
        (good.drop(columns="relation"), "relation"),
        (good.assign(gold="?!"), "holds no word"),
        (good.iloc[:0], "no rows"),
        (pd.concat([good, good]), "more than once"),
    ):
        with pytest.raises(InputError, match=says_so):
            word_scores(table)
