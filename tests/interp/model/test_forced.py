"""Forced answers: tokens that go on where a prompt ends, and batches in which no answer sees what comes behind it."""

import pytest
import tiny
import torch
from ragged import loaded

from interp.errors import InputError, RefusedError
from interp.model.forced import forced_tokens, said_chances, with_answers
from interp.model.generation import generate_scored
from interp.zoo.tiny import TINY


@pytest.mark.parametrize(
    ("prompt", "answer", "pieces"),
    [
        ("ASSISTANT:", "left", " left"),  # behind a space, as the prompt has none
        ("ASSISTANT: ", " left\n", "left"),
        ("model\n", "left", "left"),
        ("<|im_start|>", "left", "left"),  # a special token needs none
        ("\n", "a\nb", "a\nb"),
    ],
)
def test_an_answer_goes_on_where_its_prompt_ends(prompt, answer, pieces):
    vlm, _ = loaded("tiny-qwen2_5_vl", 1)
    words = vlm.processor.tokenizer
    assert words.decode(forced_tokens(vlm, prompt, answer)) == pieces


@pytest.mark.parametrize("name", TINY)
def test_an_answer_goes_on_where_the_text_that_the_model_is_given_ends(name):
    vlm, _ = loaded(name, 1)  # of bytes, so that a space would be a token
    words, written = vlm.processor.tokenizer, vlm.family.written or (lambda text, _: text)
    for end in ("?\n", "? ASSISTANT:"):
        prompt = f"{vlm.family.wrapped_image.format(vlm.processor.image_token)}Where is the mug{end}"
        before = written(prompt, vlm.processor)
        text = "left" if before.endswith("\n") else " left"
        whole = words(before + text, add_special_tokens=False)["input_ids"]
        assert forced_tokens(vlm, prompt, "left") == tuple(whole[-len(text) :])


def test_an_answer_of_nothing_is_refused():
    with pytest.raises(InputError, match="the answer ' ' is empty"):
        forced_tokens(tiny.vlm(self_check=False), "ASSISTANT:", " ")


def test_padding_behind_answers_is_seen_by_none_of_their_tokens():
    vlm, inputs = loaded("tiny-llava", 2)
    alone = with_answers(vlm, inputs, [[5], [6]])
    longer = with_answers(vlm, inputs, [[5], [6, 7, 8]])
    assert longer.layouts[0].kinds[-3:] == ("answer", "pad", "pad") and longer.attention_mask[0, -2:].tolist() == [0, 0]
    with torch.no_grad():
        torch.testing.assert_close(vlm(alone).logits[0, -1], vlm(longer).logits[0, -3], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("answers", [[[5]], [[5], []], [[5], [6], [7]]])
def test_a_batch_needs_one_answer_for_each_of_its_samples(answers):
    vlm, inputs = loaded("tiny-llava", 2)
    with pytest.raises(InputError, match="for 2 samples: give one for each"):
        with_answers(vlm, inputs, answers)


def test_a_prompt_that_attends_to_itself_both_ways_and_does_not_say_where_it_ends_is_refused():
    vlm, inputs = loaded("tiny-paligemma", 1)
    inputs.tensors.pop("token_type_ids")
    with pytest.raises(RefusedError, match="does not tell prompts from answers"):
        with_answers(vlm, inputs, [[5]])


def test_chances_of_forced_tokens_are_those_of_a_softmax_over_the_row_before_each():
    logits = torch.randn(2, 4, 9, generator=torch.Generator().manual_seed(0))
    first, second = said_chances(logits, [[3, 1, 4], [5]])
    naive = logits.softmax(-1).log()
    torch.testing.assert_close(first, torch.stack([naive[0, 0, 3], naive[0, 1, 1], naive[0, 2, 4]]))
    torch.testing.assert_close(second, naive[1, :1, 5])


def test_scored_answers_are_the_plain_ones_and_nothing_is_scored_behind_an_end():
    vlm, inputs = loaded("tiny-qwen2_5_vl")
    plain, (scored, chances) = vlm.generate(inputs, 4), generate_scored(vlm, inputs, 4)
    assert torch.equal(plain.tokens, scored.tokens) and plain.texts == scored.texts
    assert torch.equal(plain.first_logits, scored.first_logits) and chances.shape == scored.tokens.shape
    assert (chances < 0).all()
    vlm.model.generation_config.eos_token_id = [int(plain.tokens[0, 0])]
    scored, chances = generate_scored(vlm, inputs, 4)
    for row, length in zip(chances, scored.lengths, strict=True):
        assert (row[:length] < 0).all() and not row[length:].any()
