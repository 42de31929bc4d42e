"""Wordings: the paper's own sentences, both orders, and what can not be asked."""

from dataclasses import replace
from pathlib import Path

import pytest
import tiny

from interp.datasets.synthetic.shapes import shapes
from interp.errors import InputError
from interp.model.hooked_vlm import HookedVLM
from interp.objects.sample import Object, Sample
from probes.mechanisms.scenes.vocabulary import plain_word
from probes.mechanisms.scenes.wordings import axis_of, check_words, in_both_orders, two_sided


def item(relation="left", name="dog"):
    things = (Object(name), Object("chair"))
    return Sample("1", Path("a.png"), "Where?", ("left", "right", "above", "below"), relation, things, relation)


@pytest.mark.parametrize(
    ("wording", "relation", "first", "second"),
    [
        (
            "qwen", "left",
            "Using the chair as the reference point, which side is the dog on? Answer with one word: left or right.",
            "Using the chair as the reference point, which side is the dog on? Answer with one word: right or left.",
        ),
        (
            "qwen", "below",
            "Using the chair as the reference point, where is the dog located? Answer with one word: above or below.",
            "Using the chair as the reference point, where is the dog located? Answer with one word: below or above.",
        ),
        (
            "gemma", "right",
            "Is the dog to the left or to the right of the chair? Answer with one word.",
            "Is the dog to the right or to the left of the chair? Answer with one word.",
        ),
        (
            "gemma", "above",
            "Is the dog above or below the chair? Answer with one word.",
            "Is the dog below or above the chair? Answer with one word.",
        ),
        (
            "where_in_relation", "above",
            "Where is the dog in relation to the chair? Answer with left, right, above or below.",
            "Where is the dog in relation to the chair? Answer with right, left, below or above.",
        ),
    ],
)  # fmt: skip
def test_both_orders_are_asked_in_the_words_of_each_wording(wording, relation, first, second):
    one, two = in_both_orders([item(relation)], wording)
    assert (one[0].question, two[0].question) == (first, second)
    assert one[0].answer == two[0].answer == relation and one[0].id == two[0].id
    assert set(one[0].options) == set(two[0].options) and one[0].options != two[0].options


def test_names_of_several_things_have_their_verb_two_options_stay_two_and_a_samples_own_prompt_is_not_used():
    (one,), (two,) = in_both_orders([item(name="scissors")], "gemma")
    assert one.question.startswith("Are the scissors to the left") and two.question.startswith(
        "Are the scissors to the"
    )
    plain = replace(item(), options=("left", "right"), meta={"paper_prompt": "<image> other", "row": 3})
    (one,), (two,) = in_both_orders([plain], "where_in_relation")
    assert one.question.endswith("Answer with left or right.") and two.question.endswith("Answer with right or left.")
    assert one.meta == two.meta == {"row": 3}


def test_the_first_order_is_the_question_that_the_embedded_model_knows():
    samples = shapes(8, kinds=("relation",))
    first, second = in_both_orders(samples, "where_in_relation")
    assert [one.question for one in first] == [one.question for one in samples]
    assert all(one.question != two.question for one, two in zip(first, second, strict=True))


def test_what_can_not_be_asked_is_refused_and_can_be_left_out():
    with pytest.raises(InputError, match="relation 'on'"):
        axis_of(item("on"))
    with pytest.raises(InputError, match="wording='paper'"):
        in_both_orders([item()], "paper")
    with pytest.raises(InputError, match="names 1 objects"):
        in_both_orders([replace(item(), objects=(Object("dog"),))], "qwen")
    with pytest.raises(InputError, match="has to be the side"):
        in_both_orders([replace(item(), answer="right")], "qwen")
    mixed = shapes(8, kinds=("relation", "photo"))
    assert two_sided(mixed) == mixed[::2]
    with pytest.raises(InputError, match="of 4 samples none asks"):
        two_sided(mixed[1::2])


def test_words_of_several_tokens_are_refused_and_words_are_compared_in_plain_letters():
    check_words(HookedVLM.from_pretrained("shapes-vlm").processor.tokenizer)
    check_words(tiny.tokenizer())
    other = HookedVLM.from_pretrained("shapes-vlm").processor.tokenizer

    class Splitting:
        """Says "above" in two tokens."""

        def __call__(self, text, **options):
            ids = other(text, **options)["input_ids"]
            return {"input_ids": ids * 2 if "bove" in text else ids}

        def decode(self, ids):
            return other.decode(ids)

    with pytest.raises(InputError, match="above: no single token"):
        check_words(Splitting())
    assert plain_word(" Left.") == "left"
