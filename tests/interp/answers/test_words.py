"""Word match: directions by their meaning, whole words, no second answer beside; chance from the answers alone."""

import numpy as np
import pandas as pd
import pytest

from interp.answers.wording import DIRECTIONS, normal_words, says
from interp.answers.words import chance_levels, score_words, word_scores
from interp.datasets.synthetic.two_ds import CATEGORIES, two_ds
from interp.errors import InputError
from interp.stats.clusters import clustered_share
from interp.stats.intervals import wilson


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
        ("It is not left", "left", ("right",), False),
        ("Not left, but right", "right", ("left",), True),
        ("yellow, not green", "yellow", ("green",), True),
        ("yellow, not green", "green", ("yellow",), False),
        ("It isn't red or blue, it's green", "green", ("red", "blue"), True),
        ("It isn’t red", "red", (), False),
        ("green rather than blue", "green", ("blue",), True),
        ("neither red nor blue", "blue", (), False),
        ("I am not sure, maybe red", "red", ("blue",), True),
        ("There is no dog", "dog", (), False),
        ("not touching", "not touching", ("touching",), True),
        ("touching", "not touching", ("touching",), False),
        ("There are two zebras.", "2", (), True),
        ("2", "two", (), True),
        ("three", "2", ("3", "2"), False),
        ("Twenty-one", "21", (), True),
        ("twelve", "12", (), True),
        ("1,000 people", "1000", (), True),
        ("12", "2", (), False),
        ("There are 3: 2 big and 1 small", "3", ("1", "2"), True),
        ("The red one is 2 meters away", "2", (), True),
        ("There are no zebras.", "0", (), True),
        ("None", "0", (), True),
        ("zero", "none", (), True),
        ("two", "0", (), False),
        ("two dogs", "2 dogs", (), True),
        ("It is 10:30", "10:30", (), True),
        ("a grey colour", "gray color", (), True),
        ("in the centre", "center", (), True),
        ("A t-shirt", "T shirt", (), True),
        ("zebras", "zebra", (), True),
        ("a doughnut", "donut", (), True),
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


def test_answers_of_one_group_are_worth_as_many_as_go_their_own_way():
    """Four questions about each photo, answered alike: intervals are those of photos, and two photos have none."""
    photos = np.repeat(np.arange(20), 4)
    table = pd.DataFrame({"id": np.arange(80).astype(str), "gold": "left", "relation": np.where(photos < 18, "x", "y")})
    table["text"] = np.where(photos % 2, "left", "right")
    alone, together = (
        word_scores(own).set_index("category") for own in (table, table.assign(group=photos.astype(str)))
    )
    assert alone.loc["x", "low"] == wilson(36, 72).low
    found = clustered_share(photos[:72] % 2, photos[:72])
    assert (together.loc["x", "low"], together.loc["x", "high"]) == (found.low, found.high)
    assert together.loc["all", "low"] < alone.loc["all", "low"] - 0.05 and np.isnan(together.loc["y", "low"])


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
