"""Positions: which tokens of an answer are chosen, against recorded features and answers written out by hand."""

import json

import numpy as np
import pytest
from golden import golden

from probes.heads.activations.features import POSITIONS
from probes.heads.activations.positions import SHORT, SaidAnswer, choose


def said(*pieces):
    """An answer of tokens that are these pieces of text."""
    return SaidAnswer.of(range(len(pieces)), lambda ids: "".join(pieces[place] for place in ids))


def words(text):
    """An answer of a token for each word, each with the space before it."""
    first, *rest = text.split(" ")
    return said(first, *(f" {word}" for word in rest))


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize(
    ("tokens", "recorded"), [("first", "first"), ("last", "last"), ("meaning_first", "meaning"), ("full", "full")]
)
def test_features_are_those_that_the_code_of_cognitive_mirrors_makes(split, tokens, recorded):
    folder = golden("head_probe")
    known, meta = np.load(folder / "features.npz"), json.loads((folder / "features.json").read_text())
    wanted = known[f"feat.{recorded}.plain.{split}"]
    for item, positions in enumerate(meta[f"{split}_pos"]):
        raw = known[f"{split}.{item}"]  # layer token, heads behind each other
        assert positions == list(range(1, raw.shape[1]))
        answer = said('{"answer": "', *["ab"] * len(positions))  # the first token is none of the answer
        chosen = choose(tokens, answer, np.zeros(raw.shape[1])).tokens
        made = raw[:, list(chosen)].mean(1).reshape(wanted[item].shape)
        np.testing.assert_allclose(made, wanted[item], atol=1e-6)


def test_the_top_tokens_are_the_least_expected_first_tokens_of_content_words():
    answer = said("The", " mug", " is", " to", " the", " le", "ft", " of", " the", " red", " table", ".")
    chances = np.array([-1, -2.0, -9, -9, -9, -3.0, -8.0, -9, -9, -0.5, -4.0, -9])
    assert [answer.text[slice(*answer.pieces[place])] for place in answer.content] == [" mug", " le", " red", " table"]
    assert choose("topk", answer, chances, k=2) == ((5, 10), "topk")
    assert choose("topk", answer, chances, k=3) == ((1, 5, 10), "topk")
    assert choose("topk", answer, chances, k=9) == ((1, 5, 9, 10), "topk")


def test_equally_expected_tokens_are_taken_in_their_order():
    answer = words("mug table dog cat left right up")
    assert choose("topk", answer, np.full(7, -1.0), k=2).tokens == (0, 1)


def test_short_answers_and_wrong_ones_are_taken_whole_and_those_without_content_at_their_end():
    short, long, empty = words("on the red table"), words("it is on the red table"), words("it is the one that is a")
    zeros = np.zeros(8)
    assert choose("topk", short, zeros) == ((0, 1, 2, 3), "short")
    assert choose("topk", long, zeros)[1] == "topk"
    assert choose("topk", long, zeros, right=False) == (tuple(range(SHORT)), "wrong")
    assert choose("topk", words("it is to the of a"), zeros) == ((5,), "no content")
    assert choose("topk", empty, zeros).tokens == (3,)  # the one word of content


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ('[{"answer": "left"}]', "left"),
        ('```json\n[{"answer": "on the table", "sure": 1', "on the table"),
        ("{'answer': 'red'}", "red"),
        ('{"answer": 3}', "3"),
        ('{"answer": "le', "le"),
        ('{"answer": "a \\"b\\""}', 'a "b"'),
        ("  Left. ", "Left."),
        ('"answer" is a word', '"answer" is a word'),
        ('{"answer": ""}', '{"answer": ""}'),
        ("", ""),
    ],
)
def test_the_answer_is_the_value_in_json_and_else_the_whole_text(text, answer):
    read = said(*text)  # a token for each character
    assert read.answer == answer
    spanned = "".join(read.text[slice(*read.pieces[place])] for place in read.span)
    assert spanned.replace("\\", "") == "".join(answer.split())


def test_first_and_last_are_of_all_that_was_said_and_full_of_the_answer_alone():
    answer = said('{"answer"', ': "', "on", " top", '"', "}")
    places = {name: choose(name, answer, np.zeros(6)).tokens for name in POSITIONS}
    assert places == {"first": (0,), "last": (5,), "meaning_first": (2,), "full": (2, 3), "topk": (2, 3)}


def test_half_a_character_belongs_to_the_token_that_ends_it():
    letters = "tür".encode()

    def decode(ids):
        return bytes(letters[place] for place in ids).decode(errors="replace")

    read = SaidAnswer.of(range(4), decode)
    assert read.pieces == ((0, 1), (1, 1), (1, 2), (2, 3)) and read.span == (0, 2, 3)
