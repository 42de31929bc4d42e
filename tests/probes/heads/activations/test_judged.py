"""Answers are judged in one way wherever heads are asked about: strictly, open questions by what they say."""

import pandas as pd
import pytest
import tiny

from interp.answers.scoring import score
from interp.objects.sample import Sample
from probes.heads.activations.judged import judged

SIDES = ("left", "right")


def sample(answer, options=()):
    return Sample(id="one", image=tiny.photo(), question="Where?", options=options, answer=answer)


@pytest.mark.parametrize("text", ["On the left.", "right", "left or right", "no idea", ""])
def test_answers_with_options_are_judged_by_the_strict_rule(text):
    (found,) = judged([sample("left", SIDES)], [text])
    (row,) = score(pd.DataFrame({"text": [text], "gold": ["left"], "options": [SIDES]})).itertuples()
    assert found == {"predicted": row.predicted, "correct": row.correct, "parsed": row.parsed}


def test_an_open_question_is_read_where_anything_is_said_and_is_right_by_the_words():
    samples = [sample("a mug")] * 3
    found = judged(samples, ["It is a mug", "a cup", " \n"])
    assert [own["correct"] for own in found] == [True, False, False]
    assert [own["parsed"] for own in found] == [True, True, False]
    assert [own["predicted"] for own in found] == ["a mug", None, None]
