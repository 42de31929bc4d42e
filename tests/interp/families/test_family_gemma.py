"""Gemma-3's pooled tokens and crops, PaliGemma's prompt, and rows whose sliding window has dropped the first keys."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from transformers import Gemma2Config, Gemma3ImageProcessor, LlavaConfig, LlavaForConditionalGeneration

from interp.errors import InputError, ModelError
from interp.families.gemma import grid
from interp.intervene.base import Untouched
from interp.intervene.image_logits import ScaleImageLogits
from interp.model.hooked_vlm import HookedVLM
from interp.model.prefix import Prefix
from interp.proof.pixels import check_photo
from interp.proof.samples import QUESTIONS, noise
from interp.zoo.tiny import build_tiny, gemma, parts

SIZES = [(200, 130), (130, 200), (120, 120), (300, 101), (101, 301), (1000, 75), (47, 50), (140, 117), (1, 1)]
PAN = {"do_pan_and_scan": True, "pan_and_scan_min_crop_size": 40}


def loaded(name: str) -> HookedVLM:
    return HookedVLM.from_pretrained(f"tiny-{name}")


@pytest.fixture(scope="module")
def gemma3() -> HookedVLM:
    return loaded("gemma3")


@pytest.fixture(scope="module")
def panning() -> HookedVLM:
    model, processor = build_tiny("tiny-gemma3")
    if not hasattr(processor, "images_kwargs"):
        pytest.skip("this version of transformers can not be told to pan and scan by default")
    processor.images_kwargs = {**processor.images_kwargs, **PAN}
    return HookedVLM(model, processor)


def test_a_token_is_a_pooled_square_of_patches():
    vision = SimpleNamespace(image_size=896, patch_size=14)
    images = Gemma3ImageProcessor(size={"height": 896, "width": 896})
    processor = SimpleNamespace(image_processor=images, images_kwargs={"do_pan_and_scan": False})
    made = grid((640, 480), processor, SimpleNamespace(vision_config=vision, mm_tokens_per_image=256))
    assert len(made) == 256
    assert made.boxes[17].tolist() == [40, 30, 80, 60]


@pytest.mark.parametrize("size", SIZES)
def test_crops_are_as_many_as_the_processor_writes(panning: HookedVLM, size):
    made = panning.processor(images=[[noise(size)]], text=["<start_of_image>"], return_tensors="pt")
    own = grid(size, panning.processor, panning.model.config)
    assert len(own) == int((made["input_ids"] == panning.model.config.image_token_id).sum())
    assert own.view.max() + 1 == len(made["pixel_values"])


def test_crops_cover_the_photo_along_its_longer_side(panning: HookedVLM):
    own = grid((301, 100), panning.processor, panning.model.config)
    corners = [
        (*own.boxes[own.view == view][:, :2].min(0), *own.boxes[own.view == view][:, 2:].max(0)) for view in range(4)
    ]
    assert corners == [(0, 0, 301, 100), (0, 0, 101, 100), (101, 0, 202, 100), (202, 0, 301, 100)]


@pytest.mark.parametrize("size", [(200, 130), (101, 301)])
def test_a_crops_tokens_move_with_the_pixels_of_their_boxes(panning: HookedVLM, size):
    own, mistakes, tried = check_photo(panning, noise(size))
    assert (mistakes, own.view.max() > 0, tried > 0) == (0, True, True)


def test_a_photo_with_an_empty_crop_is_refused(panning: HookedVLM, monkeypatch):
    monkeypatch.setitem(panning.processor.images_kwargs, "pan_and_scan_min_crop_size", 1)
    with pytest.raises(InputError, match="last is empty"):
        panning.prepare(noise((5, 1)), "Where?")


def test_line_breaks_that_merge_around_the_image_are_its_markers(gemma3: HookedVLM):
    layout = gemma3.prepare(noise((200, 130)), "Where is the mug?").layouts[0]
    image = layout.image_positions
    assert layout.tokens[image[0] - 2 : image[0]] == ("ĊĊĊ", "<start_of_image>")
    assert layout.tokens[image[-1] + 1 : image[-1] + 3] == ("<end_of_image>", "ĊĊ")
    assert {layout.kinds[place] for place in (image[0] - 2, image[0] - 1, image[-1] + 1, image[-1] + 2)} == {
        "image_marker"
    }
    assert "".join(layout.tokens[place] for place in layout.positions("question")) == "WhereĠisĠtheĠmug?"


def test_paligemmas_bos_follows_the_image_and_a_break_ends_the_prompt():
    layout = loaded("paligemma").prepare(noise((200, 130)), "<image>Where is the mug?", prompt="raw").layouts[0]
    assert layout.kinds == ("image",) * 16 + ("bos",) + ("question",) * 17 + ("template",)
    assert layout.tokens[-1] == "Ċ"


def test_paligemma_refuses_to_share_a_prefill():
    vlm = loaded("paligemma")
    with pytest.raises(ModelError, match="attend to the last one"):
        Prefix(vlm, vlm.prepare(noise((200, 130)), QUESTIONS[0], prompt="paper"))


@pytest.mark.parametrize("name", ["gemma3", "paligemma", "paligemma2"])
def test_what_is_shown_adds_up_to_the_residual_stream(name: str):
    vlm = loaded(name)
    inputs = vlm.prepare(noise((200, 130)), QUESTIONS[0], prompt="paper")
    _, cache = vlm.run_with_cache(inputs, names_filter=lambda name: "resid" in name or name.endswith("_out"))
    for block in range(vlm.cfg.n_layers):
        pre, mid, post = (cache[f"blocks.{block}.hook_resid_{part}"] for part in ("pre", "mid", "post"))
        torch.testing.assert_close(pre + cache[f"blocks.{block}.hook_attn_out"], mid)
        torch.testing.assert_close(mid + cache[f"blocks.{block}.hook_mlp_out"], post)


def test_a_decoder_with_norms_on_both_sides_is_refused_where_it_is_not_known():
    _, processor = build_tiny("tiny-llava")
    words = processor.tokenizer
    like = build_tiny("tiny-llava")[0].config
    text = Gemma2Config(**parts.TEXT, head_dim=8, vocab_size=len(words), tie_word_embeddings=False)
    config = LlavaConfig(vision_config=like.vision_config, text_config=text, image_token_id=like.image_token_id)
    with pytest.raises(ModelError, match="gemma2"):
        HookedVLM(LlavaForConditionalGeneration(config).eval(), processor)


@pytest.mark.parametrize("spare", [-1, 0, 1, 2, 8])
def test_a_step_is_the_whole_run_when_the_window_has_dropped_keys(monkeypatch, spare: int):
    length = 55
    monkeypatch.setattr(gemma, "WINDOW", length - spare)
    vlm = loaded("gemma3")
    inputs = vlm.prepare(noise((200, 130)), QUESTIONS[0], prompt="paper")
    assert inputs.input_ids.shape[1] == length
    settings = [Untouched(), *(ScaleImageLogits(a, mode=mode) for mode in ("mul", "add", "temper") for a in (0.0, 2.0))]
    names = [f"blocks.{layer}.attn.{point}" for layer in range(3) for point in ("hook_attn_scores", "hook_pattern")]
    step = Prefix(vlm, inputs).step(settings, capture=names)
    for place, setting in enumerate(settings):
        hooks = setting.hooks(vlm.cfg, inputs.layouts)
        output, cache = vlm.run_with_cache(inputs, names_filter=names, fwd_hooks=hooks)
        torch.testing.assert_close(step.logits[place], output.logits[:, -1], atol=1e-5, rtol=0)
        for name in names:
            torch.testing.assert_close(step.captured[name][place], cache[name], atol=1e-5, rtol=0)
    dropped = step.captured["blocks.0.attn.hook_pattern"][0, 0, :, 0] == 0
    assert dropped.sum(-1).max() == max(spare, 0)


@pytest.mark.parametrize("mode", ["mul", "add", "temper"])
def test_an_image_outside_of_the_window_leaves_rows_as_they_are(gemma3: HookedVLM, mode: str):
    inputs = gemma3.prepare(noise((200, 130)), QUESTIONS[1], prompt="paper")
    name = "blocks.0.attn.hook_attn_scores"
    hooks = ScaleImageLogits(0.3, mode=mode, layers=(0,)).hooks(gemma3.cfg, inputs.layouts)
    output, cache = gemma3.run_with_cache(inputs, names_filter=name, fwd_hooks=hooks)
    image = inputs.layouts[0].image_positions
    assert bool(cache[name][..., image].isneginf().all())
    torch.testing.assert_close(output.logits, gemma3(inputs).logits)


def test_rows_of_generated_tokens_are_those_of_one_long_run(gemma3: HookedVLM):
    inputs = gemma3.prepare([noise((200, 130)), noise((90, 210))], list(QUESTIONS[:2]), prompt="paper")
    answer, rows = gemma3.generate_with_cache(inputs, 6)
    more = answer.tokens[:, :-1]
    ids = torch.cat([inputs.input_ids, more], 1)
    zeros = torch.zeros_like(more)
    kinds = torch.cat([inputs.tensors["token_type_ids"], zeros], 1)
    seen = torch.cat([inputs.attention_mask, zeros + 1], 1)
    long = {"pixel_values": inputs.tensors["pixel_values"], "token_type_ids": kinds, "attention_mask": seen}
    with gemma3.paused():
        gemma3.model.set_attn_implementation("eager")
        whole = gemma3.model(input_ids=ids, **long, output_attentions=True, use_cache=False).attentions
        gemma3.model.set_attn_implementation("sdpa")
    start = inputs.input_ids.shape[1] - 1
    for sample, own in enumerate(rows):
        wanted = np.stack([layer[sample, :, start:].numpy() for layer in whole])
        np.testing.assert_allclose(own.pattern, wanted, atol=1e-5)


def test_tokens_of_an_image_attend_to_each_other_both_ways_and_to_none_after(gemma3: HookedVLM):
    photos = [noise((200, 130)), noise((90, 210))]
    inputs = gemma3.prepare(photos, list(QUESTIONS[:2]), prompt="paper")
    name = "blocks.1.attn.hook_pattern"
    _, cache = gemma3.run_with_cache(inputs, names_filter=name, query_rows="all")
    for layout, pattern in zip(inputs.layouts, cache[name], strict=True):
        image = layout.image_positions
        assert bool((pattern[:, image[0], image] > 0).all())
        assert not pattern[:, image, image[-1] + 1 :].any()
