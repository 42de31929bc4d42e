"""Questions without photos are the tokens that the tokenizer makes, padded left; edits of the image leave them."""

import re

import pytest
import torch

from interp import HookedVLM, ScaleHeads, ScaleImageLogits
from interp.errors import InputError
from interp.prompt.words_alone import prepare_words

FAMILIES = ["tiny-llava", "tiny-qwen2_5_vl", "tiny-qwen3_vl", "tiny-idefics3", "tiny-internvl", "tiny-gemma3"]
QUESTIONS = ["Where is the mug ?", "Where is the mug in relation to the table ?"]


@pytest.fixture(params=FAMILIES, scope="module")
def vlm(request):
    return HookedVLM.from_pretrained(request.param, dtype="float32", self_check=False)


def test_a_batch_says_what_each_question_says_alone_to_hugging_face(vlm):
    words = vlm.processor.tokenizer
    batch = prepare_words(vlm.model, vlm.processor, QUESTIONS, prompt="raw")
    with torch.no_grad():
        together = vlm(batch).logits[:, -1]
        for row, question in enumerate(QUESTIONS):
            plain = words(question, return_tensors="pt")
            alone = vlm.model(input_ids=plain["input_ids"], use_cache=False).logits[0, -1]
            torch.testing.assert_close(together[row], alone, atol=1e-4, rtol=1e-4)
            layout = batch.layouts[row]
            assert [kind for kind in layout.kinds if kind != "pad"].count("question") >= 4
            assert not len(layout.image_positions) and not len(layout.after_image)
            assert layout.last == batch.input_ids.shape[1] - 1


def test_a_question_in_the_chat_template_holds_no_photo(vlm):
    (text,) = prepare_words(vlm.model, vlm.processor, QUESTIONS[:1]).prompts
    assert QUESTIONS[0] in text and vlm.processor.image_token not in text
    assert text == vlm.processor.apply_chat_template(
        [{"role": "user", "content": [{"type": "text", "text": QUESTIONS[0]}]}],
        add_generation_prompt=True,
        tokenize=False,
    )


def test_an_edit_of_the_image_changes_nothing_and_one_of_heads_does(vlm):
    batch = prepare_words(vlm.model, vlm.processor, QUESTIONS, prompt="raw")
    with torch.no_grad():
        plain = vlm(batch).logits
        for edit in (ScaleImageLogits(0.2), ScaleImageLogits(2.0, rows="after_image"), ScaleImageLogits(1, mode="add")):
            with vlm.intervene(edit, batch):
                torch.testing.assert_close(vlm(batch).logits, plain, atol=1e-5, rtol=1e-5)
        with vlm.intervene(ScaleHeads(((0, 0), (1, 1)), factor=0), batch):
            assert (vlm(batch).logits[:, -1] - plain[:, -1]).abs().max() > 1e-4


@pytest.mark.parametrize("question", ["", "  ", 3, "\ud800"])
def test_what_is_no_question_without_a_photo_is_refused(question):
    vlm = HookedVLM.from_pretrained("tiny-llava", self_check=False)
    with pytest.raises(InputError, match="no question without a photo"):
        prepare_words(vlm.model, vlm.processor, [question])
    with pytest.raises(InputError, match="not known without a photo"):
        prepare_words(vlm.model, vlm.processor, QUESTIONS, prompt="paper")


@pytest.mark.parametrize(
    "name, word",
    [
        ("tiny-llava", "<image>"),
        ("tiny-qwen2_vl", "<|image_pad|>"),
        ("tiny-qwen2_vl", "<|video_pad|>"),
        ("tiny-qwen2_vl", "<|vision_start|>"),
    ],
)
def test_what_stands_for_a_photo_or_a_video_is_refused_in_every_style(name, word):
    vlm = HookedVLM.from_pretrained(name, self_check=False)
    for style in ("chat", "raw"):
        with pytest.raises(InputError, match=f"placeholder {re.escape(repr(word))}: leave it out$"):
            prepare_words(vlm.model, vlm.processor, [f"Where is {word} ?"], prompt=style)
