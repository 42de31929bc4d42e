"""Prompts without photos are the tokens that the tokenizer makes, padded left; edits of an image are refused there."""

import re

import numpy as np
import pytest
import torch
from PIL import Image

from adaptvis import AdaptVis, Baseline, ScalingVis, answer_batch
from adaptvis.contrastive.decoding import VCD, DoLa
from interp import (
    BiasImageLogits,
    Chain,
    HookedVLM,
    Knockout,
    PerSample,
    Prefix,
    RedistributeAttention,
    ReplaceImageTokens,
    ScaleHeads,
    ScaleImageLogits,
    ScaleImageNorms,
    Steer,
    Untouched,
)
from interp.errors import InputError, RefusedError
from interp.intervene.amplification import AmplifyImageTokens
from interp.intervene.image_hooks import ImageHook
from interp.intervene.image_tokens import PermuteImageTokens
from interp.model.features import ImageFeatures
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


EDITS = {
    "logits": lambda width: ScaleImageLogits(0.2),
    "logits after the image": lambda width: ScaleImageLogits(2.0, rows="after_image"),
    "more logits": lambda width: ScaleImageLogits(1, mode="add"),
    "tempered logits": lambda width: ScaleImageLogits(2, mode="temper"),
    "logits of tokens": lambda width: ScaleImageLogits(2, image_tokens=(0,)),
    "bias": lambda width: BiasImageLogits([(0, 0)], (1, 2)),
    "mean tokens": lambda width: ReplaceImageTokens(),
    "other tokens": lambda width: ReplaceImageTokens(torch.ones(4, width), (0,), (1,)),
    "another order": lambda width: PermuteImageTokens(0, (0, 0, 0)),
    "norms": lambda width: ScaleImageNorms(scale=0.5),
    "amplified": lambda width: AmplifyImageTokens(torch.ones(width, 1), 2.0),
    "redistributed": lambda width: RedistributeAttention(np.array([True, False]), layers=(0,)),
    "cut": lambda width: Knockout("image"),
    "cut for text": lambda width: Knockout([-1], rows="text"),
    "steered": lambda width: Steer(torch.ones(width), 1.0, positions="image"),
    "heads": lambda width: ScaleHeads(((0, 0),), 0, positions="after_image"),
    "chained": lambda width: Chain((ScaleHeads(((0, 0),), 0), ScaleImageLogits(0.5))),
    "of one's own": lambda width: Own(),
}
FREE = {
    "heads": lambda width: ScaleHeads(((0, 0), (1, 1)), 0),
    "heads of words": lambda width: ScaleHeads(((0, 0), (1, 1)), 0, positions="text", scope="prompt"),
    "the last row": lambda width: Steer(torch.ones(width), 4.0, positions="last"),
    "all rows": lambda width: Steer(torch.ones(width), 4.0, positions="all"),
    "keys by place": lambda width: Knockout([-2, -3]),
}


class Own:
    """An intervention that somebody wrote, on what the language model receives of a photo."""

    def hooks(self, shape, layouts):
        return [("projector.hook_out", ImageHook([[torch.zeros_like]] * len(layouts), layouts))]


@pytest.mark.parametrize("name", EDITS)
def test_an_edit_of_an_image_that_is_not_there_is_refused_by_name(vlm, name):
    edit = EDITS[name](vlm.cfg.d_model)
    batch = prepare_words(vlm.model, vlm.processor, QUESTIONS, prompt="raw")
    refused = pytest.raises((InputError, RefusedError), match="image token|has no position that|DeepStack")
    with torch.no_grad():
        for use in (
            lambda: vlm.run_with_hooks(QUESTIONS[0], intervention=edit),
            lambda: vlm.run_with_hooks(vlm.to_tokens(QUESTIONS[0]), intervention=edit),
            lambda: vlm.run_with_cache(batch, "blocks.0.hook_resid_pre", intervention=edit),
            lambda: vlm.generate(batch, 1, intervention=edit),
            lambda: Prefix(vlm, batch).step([edit]),
            lambda: vlm.run_with_hooks(batch, intervention=PerSample((Untouched(), edit))),
        ):
            with refused:
                use()


@pytest.mark.parametrize("name", FREE)
def test_an_edit_of_heads_or_words_works_without_a_photo_as_in_the_prefix(vlm, name):
    edit = FREE[name](vlm.cfg.d_model)
    batch = prepare_words(vlm.model, vlm.processor, QUESTIONS, prompt="raw")
    with torch.no_grad():
        plain, edited = vlm(batch).logits, vlm.run_with_hooks(batch, intervention=edit).logits
        assert (edited[:, -1] - plain[:, -1]).abs().max() > 1e-4
        alone = vlm.run_with_hooks(QUESTIONS[1], intervention=edit).logits
        torch.testing.assert_close(edited[1, -1], alone[0, -1], atol=1e-4, rtol=1e-4)
        idle = vlm.run_with_hooks(batch, intervention=ScaleImageLogits(1.0)).logits
        torch.testing.assert_close(idle, plain, atol=1e-5, rtol=1e-5)


def test_words_and_their_ids_are_one_prompt(vlm):
    for text in QUESTIONS:
        (words,), ids = vlm.inputs_of(text).layouts, vlm.inputs_of(vlm.to_tokens(text))
        assert words.kinds == ids.layouts[0].kinds and words.tokens == ids.layouts[0].tokens
        assert torch.equal(vlm.inputs_of(text).input_ids, ids.input_ids)
    both = vlm.inputs_of(vlm.to_tokens(QUESTIONS))
    again = vlm.prepare_words(QUESTIONS, prompt="raw")
    assert torch.equal(both.input_ids, again.input_ids) and torch.equal(both.attention_mask, again.attention_mask)
    assert [one.kinds for one in both.layouts] == [one.kinds for one in again.layouts]


@pytest.mark.parametrize("name", ["tiny-paligemma", "tiny-paligemma2"])
def test_a_model_that_reads_both_ways_refuses_words_alone_wherever_they_come_from(name):
    vlm = HookedVLM.from_pretrained(name, self_check=False)
    for use in (
        lambda: vlm("Where ?"),
        lambda: vlm(torch.tensor([[5, 6]])),
        lambda: vlm.prepare_words(["Where ?"], prompt="raw"),
        lambda: prepare_words(vlm.model, vlm.processor, ["Where ?"], prompt="raw"),
    ):
        with pytest.raises(RefusedError, match="words without a photo are not offered"):
            use()


IDS = {
    "tiny-qwen2_5_vl": ("<|video_pad|>", "<|image_pad|>", "<|vision_start|>"),
    "tiny-glm4v": ("<|video|>", "<|image|>", "<|begin_of_image|>"),
    "tiny-smolvlm": ("<video>", "<image>", "<fake_token_around_image>"),
    "tiny-internvl": ("<video>", "<IMG_CONTEXT>", "<img>"),
    "tiny-gemma3": ("<image_soft_token>", "<start_of_image>"),
    "tiny-llava_onevision": ("<video>", "<image>"),
}


@pytest.mark.parametrize("name", IDS)
def test_placeholders_of_any_kind_are_refused_in_words_and_in_ids(name):
    vlm = HookedVLM.from_pretrained(name, self_check=False)
    known = vlm.tokenizer.get_vocab()
    words = [word for word in IDS[name] if word in known]
    assert len(words) >= 2
    for word in words:
        kind = "video" if "video" in word else "image"
        for use in (vlm, vlm.run_with_hooks, lambda given: vlm.run_with_cache(given, "hook_embed")):
            with pytest.raises(InputError, match=f"the {kind} placeholder {re.escape(repr(word))}: leave it out"):
                use(f"Where is {word} ?")
            for ids in (torch.tensor([[5, known[word]]]), torch.tensor([known[word], 5, known[word]])):
                with pytest.raises(InputError, match=f"{kind} tokens, and ids alone bring no .*{re.escape(word)}"):
                    use(ids)
    with torch.no_grad():
        assert vlm(torch.tensor([[5, 6]])).logits.shape[1] == 2


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


@pytest.mark.parametrize("name", ["tiny-llava", "tiny-qwen2_5_vl"])
def test_policies_and_decoders_answer_from_words_or_refuse_by_name(name):
    vlm = HookedVLM.from_pretrained(name, self_check=False)
    batch = vlm.prepare_words(QUESTIONS, prompt="raw")
    plain = vlm.generate(batch, 2).texts
    assert tuple(one.text for one in answer_batch(vlm, batch, Baseline(), max_new_tokens=2)) == plain
    assert DoLa(strength=0).generate(vlm, batch, 2).texts == plain
    for use in (
        lambda: answer_batch(vlm, batch, AdaptVis(), max_new_tokens=2),
        lambda: answer_batch(vlm, batch, ScalingVis(0.5), max_new_tokens=2),
        lambda: VCD().generate(vlm, batch, 2),
    ):
        with pytest.raises(InputError, match="(ScaleImageLogits|VCD).* is about image tokens"):
            use()
    with pytest.raises(InputError, match="no image token"):
        ImageFeatures.capture(vlm, batch)


@pytest.mark.parametrize("before", [None, "photo", "photos", "words"])
def test_a_prefix_of_words_goes_on_as_the_model_does_whatever_ran_before(vlm, before):
    photo = Image.new("RGB", (64, 64), "red")
    asked = {"photo": [photo], "photos": [photo] * 3}.get(before)
    if asked:
        vlm.generate(vlm.prepare(asked, QUESTIONS[:1] * len(asked), prompt="paper"), 2)
    batch = vlm.prepare_words(QUESTIONS, prompt="raw")
    if before == "words":
        vlm.generate(batch, 2)
    (found,) = Prefix(vlm, batch).generate([Untouched()], 4)
    for row, question in enumerate(QUESTIONS):
        ids = vlm.to_tokens(question)
        for _ in range(4):
            with torch.no_grad():
                ids = torch.cat([ids, vlm.model(input_ids=ids, use_cache=False).logits[:, -1:].argmax(-1)], 1)
        own = found.tokens[row, : found.lengths[row]].tolist()
        assert own == ids[0, -4:].tolist()[: len(own)] and len(own) >= 1
