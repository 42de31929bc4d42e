"""Qwen-VL and GLM-4V: tokens where the processor writes them, windows kept apart, positions in three streams."""

import copy

import numpy as np
import pytest
import torch
import transformers
from PIL import Image

import interp.proof.attention
from interp.errors import InputError, ModelError
from interp.intervene.base import Untouched
from interp.intervene.image_logits import ScaleImageLogits
from interp.model.hooked_vlm import HookedVLM
from interp.model.prefix import Prefix
from interp.proof.samples import noise

KINDS = ("qwen2_vl", "qwen2_5_vl", "qwen3_vl", "glm4v")
SIZES = [(120, 120), (200, 130), (90, 210), (640, 480), (333, 777), (57, 43), (1, 1), (1000, 75), (75, 1000), (29, 28)]
EXACT = 1e-5


@pytest.fixture(scope="module", params=KINDS)
def vlm(request):
    return HookedVLM.from_pretrained(f"tiny-{request.param}")


@pytest.fixture(scope="module")
def windowed():
    return HookedVLM.from_pretrained("tiny-qwen2_5_vl")


def with_pillow(processor):
    """The same processor, with the image processor that works on Pillow's images."""
    images = processor.image_processor
    settings = {"size": dict(images.size), "patch_size": images.patch_size}
    other = copy.copy(processor)
    other.image_processor = getattr(transformers, f"{type(images).__name__}Pil")(**settings)
    return other


def difference(one, other) -> float:
    return float((one.float() - other.float()).abs().max())


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("pillow", [False, True])
def test_the_grid_has_the_rows_and_columns_that_the_processor_makes(vlm, size, pillow):
    processor = with_pillow(vlm.processor) if pillow else vlm.processor
    made = processor.image_processor([Image.fromarray(noise(size))], return_tensors="pt")
    _, high, wide = made["image_grid_thw"][0].tolist()
    grid = vlm.family.grid(size, processor, vlm.model.config)
    assert (grid.rows.max() + 1, grid.cols.max() + 1, len(grid)) == (high // 2, wide // 2, high * wide // 4)
    assert grid.seen == (0, 0, *size)


def test_a_photo_of_120_pixels_becomes_4_x_4_tokens_of_30(vlm):
    grid = vlm.family.grid((120, 120), vlm.processor, vlm.model.config)
    assert grid.boxes[6].tolist() == [60, 30, 90, 60]
    assert grid.boxes[-1].tolist() == [90, 90, 120, 120]


def test_a_photo_that_the_processor_refuses_is_refused_in_one_sentence(vlm):
    with pytest.raises(InputError, match="4020 x 20 pixels .* crop it"):
        vlm.prepare(noise((4020, 20)), "Where?")


def test_a_processor_that_does_not_resize_takes_whole_tokens_only(vlm):
    processor = copy.copy(vlm.processor)
    processor.image_processor = copy.copy(processor.image_processor)
    processor.image_processor.do_resize = False
    side = 2 * processor.image_processor.patch_size
    grid = vlm.family.grid((3 * side, 2 * side), processor, vlm.model.config)
    assert grid.boxes[4].tolist() == [side, side, 2 * side, 2 * side]
    assert not grid.reach.any()
    with pytest.raises(InputError, match="whole tokens"):
        vlm.family.grid((3 * side + 1, 2 * side), processor, vlm.model.config)


def test_a_processor_of_another_model_is_refused(vlm):
    processor = copy.copy(vlm.processor)
    processor.image_processor = copy.copy(processor.image_processor)
    processor.image_processor.patch_size = 20
    with pytest.raises(ModelError, match="belongs to the model"):
        vlm.family.grid((120, 120), processor, vlm.model.config)
    processor.image_processor = transformers.CLIPImageProcessor()
    with pytest.raises(ModelError, match="steps of its own"):
        vlm.family.grid((120, 120), processor, vlm.model.config)


def test_image_tokens_stand_at_their_row_and_column(vlm):
    inputs = vlm.prepare(noise((200, 130)), "Where is the mug?")
    image, grid = inputs.layouts[0].image_positions, inputs.grids[0]
    assert (inputs.tensors["mm_token_type_ids"][0].numpy() == np.isin(np.arange(len(inputs.layouts[0])), image)).all()
    seen = []
    language = vlm.model.model.language_model
    handle = language.register_forward_pre_hook(
        lambda _, a, given: seen.append(given["position_ids"]), with_kwargs=True
    )
    with torch.no_grad():
        vlm(inputs)
    handle.remove()
    start, rest = image[0], len(inputs.layouts[0]) - image[-1] - 1
    wanted = np.stack([grid.rows * 0, grid.rows, grid.cols]) + start
    after = np.arange(rest) + start + max(grid.rows.max(), grid.cols.max()) + 1
    text = np.concatenate([np.arange(start), after])
    positions = seen[0][:, 0].numpy()
    assert (positions[-3:, image] == wanted).all()
    assert (np.delete(positions, image, axis=1) == text).all()


def test_a_windowed_layer_sees_its_2_x_2_tokens_and_a_full_one_everything(windowed):
    inputs = windowed.prepare(noise((200, 130)), "Where?")  # 7 x 5 tokens of 4 patches
    _, cache = windowed.run_with_cache(inputs, names_filter=lambda name: name.startswith("vision"), query_rows="all")
    seen = [(cache[f"vision.blocks.{layer}.attn.hook_pattern"][0, 0] > 0).sum(-1) for layer in range(3)]
    counts = {16: 6 * 16, 8: 5 * 8, 4: 4}
    assert {number: int((seen[0] == number).sum()) for number in counts} == counts
    assert torch.equal(seen[0], seen[2])
    assert (seen[1] == 140).all()


@pytest.mark.parametrize("claim", [interp.proof.attention.captured_rows, interp.proof.attention.edited_logits])
def test_photos_packed_into_one_sequence_are_kept_apart(vlm, claim, monkeypatch):
    photos = [noise((200, 130)), noise((130, 200), 1), noise((200, 130), 2)]
    inputs = vlm.prepare(photos, ["Where is the mug?"] * 3)
    monkeypatch.setattr("interp.proof.attention.one_prompt", lambda vlm: inputs)
    assert claim(vlm)[0] <= EXACT


def test_an_edit_of_chosen_rows_in_several_windows_leaves_the_others(windowed):
    inputs = windowed.prepare([noise((200, 130)), noise((130, 200), 1)], ["Where?"] * 2)
    rows, name = [3, 70, 71, 200, 279], "vision.blocks.0.attn.hook_attn_logits"

    def turned(logits, hook):
        return logits * torch.linspace(-2, 1, logits.shape[-1]).sin()

    def turned_there(logits, hook):
        kept = logits.clone()
        kept[:, :, rows] = turned(logits, hook)[:, :, rows]
        return kept

    with torch.no_grad():
        whole = windowed.run_with_hooks(inputs, fwd_hooks=[(name, turned_there)], query_rows="all").logits
        chosen = windowed.run_with_hooks(inputs, fwd_hooks=[(name, turned)], query_rows=rows).logits
        assert difference(whole, chosen) <= EXACT
        assert difference(whole, windowed(inputs).logits) > 100 * EXACT


def test_fused_projections_are_shown_as_queries_keys_and_values(vlm):
    inputs = vlm.prepare(noise((120, 120)), "Where?")
    attention = "vision.blocks.0.attn."

    def silenced(name):
        hooks = [(attention + name, lambda tensor, hook: torch.zeros_like(tensor))]
        names = [attention + "hook_z", attention + "hook_pattern", attention + name]
        return vlm.run_with_cache(inputs, names_filter=names, fwd_hooks=hooks, query_rows="all")[1]

    with torch.no_grad():
        for name in ("hook_q", "hook_k"):
            pattern = silenced(name)[attention + "hook_pattern"]
            assert torch.allclose(pattern[pattern > 0], 1 / (pattern > 0).sum(-1).max().float())
        cache = silenced("hook_v")
    assert cache[attention + "hook_v"].shape == (1, 64, 3, 8)
    assert not cache[attention + "hook_z"].any()


@pytest.mark.parametrize("tower", ["", "vision."])
def test_the_residual_stream_is_the_sum_of_what_is_added_to_it(vlm, tower):
    with torch.no_grad():
        _, cache = vlm.run_with_cache(vlm.prepare(noise((120, 120)), "Where?"))
    for layer in range(2):
        before, middle, after = (cache[f"{tower}blocks.{layer}.hook_resid_{place}"] for place in ("pre", "mid", "post"))
        assert difference(before + cache[f"{tower}blocks.{layer}.hook_attn_out"], middle) <= EXACT
        assert difference(middle + cache[f"{tower}blocks.{layer}.hook_mlp_out"], after) <= EXACT


def test_deepstack_adds_to_the_image_positions_after_the_first_two_layers():
    vlm = HookedVLM.from_pretrained("tiny-qwen3_vl")
    inputs = vlm.prepare(noise((120, 120)), "Where?")
    with torch.no_grad():
        _, cache = vlm.run_with_cache(inputs, names_filter=lambda name: "hook_resid" in name)
    for layer in range(2):
        added = (cache[f"blocks.{layer + 1}.hook_resid_pre"] - cache[f"blocks.{layer}.hook_resid_post"])[0].any(-1)
        assert np.flatnonzero(added.numpy()).tolist() == inputs.layouts[0].image_positions.tolist()


def test_prefixes_of_different_prompts_do_not_share_positions(vlm):
    chosen = (Untouched(), ScaleImageLogits(0.5))
    inputs = [
        vlm.prepare(noise((200, 130)), "Where is the mug?"),
        vlm.prepare([noise((90, 210)), noise((300, 100))], ["Is it left of the plate?", "Where?"]),
    ]
    wanted, answers = [], []
    for batch in inputs:
        with torch.no_grad():
            runs = [vlm.run_with_hooks(batch, fwd_hooks=each.hooks(vlm.cfg, batch.layouts)) for each in chosen]
        wanted.append(torch.stack([run.logits[:, -1].float() for run in runs]))
        answers.append(vlm.generate(batch, 6).tokens)
    prefixes = [Prefix(vlm, batch) for batch in inputs]
    for place in (0, 1, 0):
        assert difference(prefixes[place].step(chosen).logits, wanted[place]) <= EXACT
        with torch.no_grad():
            text = torch.arange(3, 12)[None]
            alone = vlm.model(input_ids=text, use_cache=False).logits
            vlm.model.generate(input_ids=text, max_new_tokens=2, do_sample=False)
            assert torch.equal(vlm.model(input_ids=text, use_cache=False).logits, alone)
        assert torch.equal(prefixes[place].generate([Untouched()], 6)[0].tokens, answers[place])


def test_a_saved_model_is_the_same_one(vlm, tmp_path):
    vlm.model.save_pretrained(tmp_path)
    vlm.processor.save_pretrained(tmp_path)
    loaded = HookedVLM.from_pretrained(tmp_path)
    with torch.no_grad():
        logits = [each(each.prepare(noise((90, 210)), "Where is the mug?")).logits for each in (vlm, loaded)]
    assert torch.equal(*logits)
