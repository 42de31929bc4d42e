"""The token of a word is the one by which it follows the prompt in the text that the model is given."""

from functools import cache

import pytest
import tiny

from interp.model.answer_token import answer_token, answer_tokens
from interp.model.hooked_vlm import HookedVLM
from interp.zoo.tiny import TINY


@cache
def family(name):
    return HookedVLM.from_pretrained(name, self_check=False)


@pytest.mark.parametrize("name", TINY)
def test_a_word_behind_white_space_begins_with_its_own_first_letter_in_every_family(name):
    vlm = family(name)  # of bytes, so that a space would be a token
    question = f"{vlm.family.wrapped_image.format(vlm.processor.image_token)}Where is the mug?\n"
    inputs = vlm.prepare(tiny.photo(), question, prompt="raw")
    (found,) = answer_tokens(vlm, inputs, "left")
    written = vlm.family.written or (lambda text, _: text)
    whole = vlm.processor.tokenizer(written(inputs.prompts[0], vlm.processor) + "left", add_special_tokens=False)
    assert found.pieces == tuple("left") and found.id == whole["input_ids"][-4]
    (by_number,) = answer_tokens(vlm, inputs, found.id)
    assert (by_number.id, by_number.text, by_number.pieces) == (found.id, "l", ("l",))


def test_a_word_behind_a_word_has_its_space_and_one_for_each_sample_its_own_prompt():
    vlm = HookedVLM.from_pretrained("shapes-vlm", self_check=False)
    inputs = vlm.prepare(tiny.photo(), ["Where is the red circle?", "Where is the blue cross?"])
    found = answer_tokens(vlm, inputs, ["left", "below"])
    assert [one.text for one in found] == ["left", "below"]
    assert [one.pieces for one in found] == [("left",), ("below",)]
    pairs = zip(inputs.prompts, ("left", "below"), strict=True)
    assert tuple(answer_token(vlm, text, word) for text, word in pairs) == found
