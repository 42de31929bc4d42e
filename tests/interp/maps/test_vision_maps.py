"""Vision maps: patterns and roll-out against eager attention and plain loops, and maps seen through both stages."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from transformers import LlavaForConditionalGeneration
from vision_oracles import (
    THROWS_WEIGHTS_AWAY,
    ask,
    attending,
    eager_patterns,
    image_tokens,
    naive_rollout,
    naive_tokens,
    tiny,
)

from interp.errors import HookError, InputError, ModelError, RefusedError
from interp.image.boxes import Box
from interp.maps.rollout import rollout, two_stage
from interp.maps.tower import feature_depth, patch_grid
from interp.maps.tower_patches import patches_of
from interp.maps.vision import vision_attention
from interp.model.hooked_vlm import HookedVLM
from interp.overlap.overlap import overlap
from interp.proof.samples import noise
from interp.zoo.tiny import TINY, build_tiny

DEPTHS: dict[str, int | None] = {
    **dict.fromkeys([f"tiny-{kind}" for kind in THROWS_WEIGHTS_AWAY[:3]], 3),
    "tiny-llava": 1,
    "tiny-llava_next": 1,
}
"""Blocks before what the projector reads; 2 in the other tiny models, None where it joins several layers."""
ROLLED = [name for name in TINY if DEPTHS.get(name, 2)]
"""Models that are rolled out without being told how far."""
EXACT = 2e-6


@pytest.mark.parametrize("name", TINY)
def test_patterns_are_those_of_the_familys_eager_attention_with_patches_in_rows(name):
    vlm = tiny(name)
    inputs = ask(vlm)
    patches, wanted = patches_of(vlm, inputs.grids[0]), eager_patterns(vlm, inputs)
    (each,), (mean,) = (vision_attention(vlm, inputs, heads=heads) for heads in ("each", "mean"))
    for view, places in enumerate(np.reshape(patches.places, (len(patches.views), -1))):
        order = [*range(len(patches.specials)), *places]
        for layer, pattern in enumerate(wanted):
            rows = pattern[view].numpy()[:, order][:, :, order]
            np.testing.assert_allclose(each.patterns[view, layer], rows, atol=EXACT)
            np.testing.assert_allclose(mean.patterns[view, layer, 0], rows.mean(0), atol=EXACT)
    assert each.layers == mean.layers == tuple(range(len(vlm.vision.blocks))) and len(wanted) == len(each.layers)


@pytest.mark.parametrize("name", ROLLED)
def test_roll_out_is_that_of_eager_attention_written_out_in_loops(name):
    vlm = tiny(name)
    inputs = ask(vlm)
    (rolled,) = rollout(vlm, inputs)
    assert rolled.through == feature_depth(vlm) == DEPTHS.get(name, 2)
    weights, specials = naive_tokens(naive_rollout(eager_patterns(vlm, inputs), rolled.through), rolled.patches)
    np.testing.assert_allclose(rolled.weights, weights / weights.sum(1, keepdims=True), atol=EXACT)
    np.testing.assert_allclose(rolled.special_shares, specials, atol=EXACT)
    assert len(rolled.weights) == len(inputs.grids[0])


@pytest.mark.parametrize("name", ROLLED)
def test_rows_sum_to_one_over_patches_and_two_stages_keep_what_tokens_had(name):
    vlm = tiny(name)
    (rolled,) = rollout(vlm, ask(vlm, (90, 210)))
    np.testing.assert_allclose(rolled.weights.sum(1, dtype=np.float64), 1, atol=EXACT)
    assert rolled.weights.min() >= 0 and rolled.special_shares.shape[1] == len(rolled.specials)
    assert ((0 < rolled.special_shares) & (rolled.special_shares < 1)).all()
    given = np.random.default_rng(0).random((3, 2, len(rolled.weights))).astype(np.float32)
    seen = two_stage(given, rolled)
    assert seen.shape == (3, 2, len(rolled.grid)) and seen.dtype == np.float32
    np.testing.assert_allclose(seen.sum(-1), given.sum(-1), rtol=1e-5)


@pytest.mark.parametrize("name", ROLLED)
def test_photos_of_a_batch_are_kept_apart(name):
    vlm = tiny(name)
    sizes = [(200, 130), (90, 210), (300, 100)]
    together = vlm.prepare([noise(size, seed) for seed, size in enumerate(sizes)], ["Where?"] * 3, prompt="paper")
    alone = [rollout(vlm, ask(vlm, size, seed))[0] for seed, size in enumerate(sizes)]
    for found, wanted in zip(rollout(vlm, together), alone, strict=True):
        np.testing.assert_allclose(found.weights, wanted.weights, atol=EXACT)
        assert np.array_equal(found.grid.boxes, wanted.grid.boxes)


@pytest.mark.parametrize("name", ROLLED)
def test_only_blocks_that_the_roll_out_goes_through_reach_the_image_tokens(name):
    vlm = tiny(name)
    inputs = ask(vlm)
    plain = image_tokens(vlm, inputs, [])
    for block in range(len(vlm.vision.blocks)):
        turned = (f"vision.blocks.{block}.hook_resid_post", lambda stream, hook: stream.flip(-1))
        assert torch.equal(image_tokens(vlm, inputs, [turned]), plain) == (block >= feature_depth(vlm))


# planted attention --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ROLLED)
def test_where_no_patch_sees_another_two_stages_are_one(name):
    vlm = tiny(name)
    inputs = ask(vlm, (110, 60))  # which LLaVA-OneVision does not shrink
    with attending(vlm, torch.eye):
        (rolled,) = rollout(vlm, inputs)
    np.testing.assert_allclose(rolled.own_share, 1, atol=EXACT)
    assert not rolled.special_shares.any()
    tokens = inputs.grids[0]
    for token in range(0, len(tokens), 7):
        one = np.eye(len(tokens))[token]
        maps = ((tokens, one), (rolled.grid, two_stage(one, rolled)))
        painted = [np.nan_to_num(grid.to_pixels(values)) > 0 for grid, values in maps]
        assert np.array_equal(*painted) and painted[0].any()
    if rolled.patches.sources.shape[1] == 1:
        weights = np.random.default_rng(0).random(len(tokens))
        np.testing.assert_allclose(two_stage(weights, rolled), weights, rtol=1e-6)


@pytest.mark.parametrize("name", ["tiny-llava", "tiny-internvl", "tiny-qwen2_vl", "tiny-gemma3"])
@pytest.mark.parametrize("through", [1, 2])
def test_even_attention_rolls_out_to_what_is_computed_by_hand(name, through):
    vlm = tiny(name)
    with attending(vlm, lambda n: torch.full((n, n), 1 / n)):
        (rolled,) = rollout(vlm, ask(vlm), through=through)
    patches, stays = rolled.patches, 0.5**through  # norm(U + I) = (U + I) / 2, and U U = U
    weights = np.zeros(rolled.weights.shape)
    for token, sources in enumerate(patches.sources):
        in_view = np.arange(len(patches.grid)) // patches.per_view == sources[0] // patches.per_view
        weights[token, in_view] = (1 - stays) / patches.length
        weights[token, sources] += stays * patches.shares[token]
    on_special = (1 - stays) / patches.length
    np.testing.assert_allclose(rolled.special_shares, on_special, atol=EXACT)
    np.testing.assert_allclose(rolled.weights, weights / (1 - on_special * len(patches.specials)), atol=EXACT)


def test_the_class_token_is_told_apart_by_name():
    vlm = tiny("tiny-llava")
    inputs = ask(vlm)
    (seen,) = vision_attention(vlm, inputs, layers=[1], heads="each")
    raw = eager_patterns(vlm, inputs)[1][0].numpy()
    np.testing.assert_allclose(seen.on_special("class")[0], raw[:, 1:, 0], atol=EXACT)
    np.testing.assert_allclose(seen.of_special("class")[0], raw[:, 0, 1:], atol=EXACT)
    np.testing.assert_allclose(seen.between_patches()[0], raw[:, 1:, 1:], atol=EXACT)
    with pytest.raises(InputError, match="special token 'register' .* it has class"):
        seen.on_special("register")


def test_views_are_named_by_their_numbers():
    vlm = tiny("tiny-idefics3")
    (seen,) = vision_attention(vlm, ask(vlm))
    views = seen.patches.views
    assert views == (*range(1, len(views)), 0) and len(views) > 2
    assert np.array_equal(seen.between_patches(view=0), seen.patterns[-1])
    for view in (None, 99):
        with pytest.raises(InputError, match="name one of the photo's views, 1, 2"):
            seen.between_patches(view=view)


def test_two_stage_maps_go_with_their_grid_into_overlap_and_tables():
    vlm, with_class = tiny("tiny-qwen2_5_vl"), tiny("tiny-llava")
    inputs = ask(vlm)
    (rolled,), (grid,) = rollout(vlm, inputs), patch_grid(vlm, inputs)
    assert np.array_equal(grid.boxes, rolled.grid.boxes)
    seen = two_stage(np.random.default_rng(0).random((2, 3, len(rolled.weights))), rolled)
    box = Box("mug", (20, 30, 90, 100))
    shares = seen[1, 2] / seen[1, 2].sum()
    assert overlap(seen, grid, [box]).values("mass")[1, 2] == pytest.approx(shares @ grid.membership(box), abs=1e-5)
    frame = rolled.to_dataframe()
    assert frame["own_share"].between(0, 1).all() and frame["patches_seen"].between(1, len(grid)).all()
    assert (frame["patches_seen"] > 4).any() and len(frame) == len(inputs.grids[0])
    assert list(rollout(with_class, ask(with_class))[0].to_dataframe()) == [*frame, "share_class"]


# what stays and what is refused -------------------------------------------------------------------------------------


def test_the_language_model_does_not_run_and_no_hook_stays_on_even_after_a_failure(monkeypatch):
    vlm = tiny("tiny-llava")
    inputs, heard = ask(vlm), []
    with vlm.hooks([("blocks.0.hook_resid_pre", lambda stream, hook: heard.append(stream))]):
        rollout(vlm, inputs)
        vision_attention(vlm, inputs)
    assert not heard
    monkeypatch.setattr(vlm, "family", replace(vlm.family, merged=lambda config: 2))
    with pytest.raises(ModelError, match="attends over 17 places in 1 views, and the photo has 64 patches"):
        rollout(vlm, inputs)
    assert not any(point.has_hooks() for point in vlm.hook_dict.values())


def test_tensors_whose_rows_can_not_be_shared_out_among_photos_are_refused():
    vlm = tiny("tiny-internvl")
    inputs = vlm.prepare([noise((200, 130)), noise((90, 210))], ["Where?"] * 2, prompt="paper")
    short = replace(inputs, tensors={**inputs.tensors, "pixel_values": inputs.tensors["pixel_values"][1:]})
    with pytest.raises(ModelError, match="pixel_values has .* rows for 2 photos of"):
        rollout(vlm, short)


def test_a_model_whose_projector_joins_several_layers_is_refused_until_one_is_named():
    model, processor = build_tiny("tiny-llava")
    model.config.vision_feature_layer = [-2, -1]
    vlm = HookedVLM.wrap(LlavaForConditionalGeneration(model.config).eval(), processor, self_check=False)
    with pytest.raises(RefusedError, match=r"llava family: .* layers \[-2, -1\]; say how many .* through=2"):
        rollout(vlm, ask(vlm))
    assert rollout(vlm, ask(vlm), through=2)[0].through == 2


def test_a_family_that_can_not_show_its_tower_is_refused_by_name(monkeypatch):
    vlm = tiny("tiny-llava")
    monkeypatch.setattr(vlm, "family", replace(vlm.family, refusals={"vision": "its tower is closed"}))
    for served in (rollout, vision_attention):
        with pytest.raises(RefusedError, match="vision is not offered for the llava family: its tower is closed"):
            served(vlm, ask(vlm))


@pytest.mark.parametrize(
    "options, error, reason",
    [
        ({"layers": [7]}, HookError, "vision layer"),
        ({"layers": []}, InputError, "layers is empty"),
        ({"heads": "max"}, InputError, "heads='max' is not known"),
    ],
)
def test_patterns_that_do_not_exist_are_refused(options, error, reason):
    vlm = tiny("tiny-llava")
    with pytest.raises(error, match=reason):
        vision_attention(vlm, ask(vlm), **options)


def test_a_depth_or_weights_that_do_not_fit_are_refused():
    vlm = tiny("tiny-llava")
    for through in (0, 3):
        with pytest.raises(InputError, match="the vision tower has 2 blocks"):
            rollout(vlm, ask(vlm), through=through)
    (rolled,) = rollout(vlm, ask(vlm))
    for weights in (np.ones(15), np.float32(1)):
        with pytest.raises(InputError, match="for 16 image tokens"):
            two_stage(weights, rolled)
    for value in (-1.0, np.nan, np.inf):
        with pytest.raises(InputError, match="negative, infinite or NaN"):
            two_stage(np.full(16, value), rolled)
