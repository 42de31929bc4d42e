"""What a processor can not make inputs of is one refusal of ours, before the first pass: a word, a setting, a photo."""

import re
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from interp.datasets.synthetic.shapes import shapes
from interp.errors import InputError, ModelError
from interp.model.hooked_vlm import HookedVLM
from interp.study.sample_checks import check_prompts
from interp.zoo.tiny import TINY

QUESTION = "Where is the mug in relation to the table?"
WORDS = {
    "tiny-qwen2_5_vl": ("<|video_pad|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>"),
    "tiny-glm4v": ("<|video|>", "<|begin_of_image|>", "<|end_of_video|>"),
    "tiny-smolvlm": ("<video>", "<fake_token_around_image>", "<global-img>", "<row_2_col_3>"),
    "tiny-internvl": ("<video>", "<img>", "</img>", "<IMG_CONTEXT>"),
    "tiny-gemma3": ("<start_of_image>", "<image_soft_token>", "<end_of_image>"),
    "tiny-mistral3": ("[IMG]", "[IMG_BREAK]", "[IMG_END]"),
    "tiny-llava_onevision": ("<video>", "<image>"),
}
PHOTO = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8))


def loaded(name):
    return HookedVLM.from_pretrained(name, self_check=False)


@pytest.mark.parametrize("name", WORDS)
def test_a_word_that_stands_for_a_photo_a_video_or_a_sound_is_refused_by_name(name):
    vlm = loaded(name)
    for word in WORDS[name]:
        kind = "video" if "video" in word else "image"
        with pytest.raises(InputError, match=re.escape(f"the {kind} placeholder {word!r}: leave it out")):
            vlm.prepare(PHOTO, f"Where is the {word} mug?", prompt="paper")
    samples = shapes(3, kinds=("relation",))
    bad = [replace(sample, question=f"{sample.question} {WORDS[name][0]}") for sample in samples[1:]]
    with pytest.raises(InputError, match=f"^2 of 3 samples .*{bad[0].id}.*{bad[1].id}"):
        check_prompts(vlm, [samples[0], *bad], "paper")


@pytest.mark.parametrize("name", ["tiny-qwen2_5_vl", "tiny-gemma3"])
def test_a_raw_prompt_may_hold_what_is_written_around_its_photo_and_no_video(name):
    vlm = loaded(name)
    whole = vlm.prepare(PHOTO, QUESTION, prompt="paper").prompts[0]
    assert vlm.prepare(PHOTO, whole, prompt="raw").prompts[0] == whole
    if name == "tiny-qwen2_5_vl":
        with pytest.raises(InputError, match="the video placeholder '<|video_pad|>'"):
            vlm.prepare(PHOTO, f"{whole} <|video_pad|>", prompt="raw")


def test_brackets_and_words_in_them_are_no_placeholders():
    vlm = loaded("tiny-qwen2_5_vl")
    for words in ("a < b", "the [red] mug", "<b>the image</b>", "a video of it", "<image>"):
        asked = vlm.prepare(PHOTO, f"Where is {words}?", prompt="chat")
        assert words in asked.prompts[0]


@pytest.mark.parametrize("name", ["tiny-llava", "tiny-llava_next", "tiny-mistral3", "tiny-pixtral"])
@pytest.mark.parametrize("given", [None, "absent", 0, "14"])
def test_a_processor_without_patch_size_is_refused_with_the_number_to_set(name, given):
    vlm = loaded(name)
    wanted = vlm.processor.patch_size
    vlm.processor.patch_size = given
    if given == "absent":
        del vlm.processor.patch_size
    with pytest.raises(ModelError, match="the processor's patch_size is .*: set processor.patch_size = ") as error:
        vlm.prepare(PHOTO, QUESTION, prompt="paper")
    vlm.processor.patch_size = int(re.search(r"patch_size = (\d+)", str(error.value)).group(1))
    assert vlm.processor.patch_size == wanted
    assert len(vlm.generate(vlm.prepare(PHOTO, QUESTION, prompt="paper"), 1).texts) == 1


@pytest.mark.parametrize("side", [1, 9, 28])
def test_mistral3_is_not_asked_about_a_photo_of_one_token(side):
    vlm = loaded("tiny-mistral3")
    small = PHOTO.resize((side, side))
    with pytest.raises(InputError, match=f"photo of {side} x {side} pixels becomes a single image token"):
        vlm.prepare(small, QUESTION, prompt="paper")
    with pytest.raises(InputError, match="^sample "):
        one = replace(shapes(1)[0], image=small, objects=())
        check_prompts(vlm, [one, *shapes(2, seed=4)], "paper")
    assert vlm.generate(vlm.prepare(PHOTO.resize((29, 28)), QUESTION, prompt="paper"), 1).texts


@pytest.mark.parametrize("name", TINY)
def test_every_size_of_photo_is_answered_or_refused(name):
    vlm = loaded(name)
    for size in ((1, 1), (2, 1), (28, 28), (3, 200), (900, 2)):
        try:
            inputs = vlm.prepare(PHOTO.resize(size), QUESTION, prompt="paper")
        except InputError as error:
            assert "pixels" in str(error)
        else:
            assert len(vlm.generate(inputs, 1).texts) == 1


def test_what_a_processor_stumbles_over_is_one_line_of_ours(monkeypatch):
    vlm = loaded("tiny-llava")

    def fails(*given, **how):
        raise KeyError("size\nof what")

    monkeypatch.setattr(type(vlm.processor), "__call__", fails)
    with pytest.raises(
        ModelError, match="^the processor can not make inputs of photo and prompt .KeyError: .*: its settings"
    ) as error:
        vlm.prepare(PHOTO, QUESTION, prompt="paper")
    assert "\n" not in str(error.value)
