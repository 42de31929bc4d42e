"""InternVL: tiles row after row, then a thumbnail, and hook points that show what the layer scales let through."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
import transformers
from PIL import Image
from ramps import centres, ramp, seen_centres

from interp import HookedVLM
from interp.errors import ModelError
from interp.families.internvl import grid
from interp.zoo.tiny import build_tiny

SIZES = [(250, 250), (200, 130), (130, 200), (250, 30), (30, 250), (57, 43), (85, 84), (7, 7), (9, 40), (1, 1)]
SIDE, TOKEN = 112, 28
PROCESSORS = ["GotOcr2ImageProcessor", "GotOcr2ImageProcessorPil"]
SETTINGS = {
    "tiles": {"max_patches": 6},
    "many tiles": {"max_patches": 12},
    "at least two": {"min_patches": 2, "max_patches": 4},
    "one tile": {"max_patches": 1},
    "no tiles": {"crop_to_patches": False},
    "no last resize": {"do_resize": False, "min_patches": 2},
}
CONFIG = SimpleNamespace(vision_config=SimpleNamespace(patch_size=(14, 14)), downsample_ratio=0.5)


def make_image_processor(name="GotOcr2ImageProcessor", **options):
    settings = {"size": {"height": SIDE, "width": SIDE}, "crop_to_patches": True, **options}
    return getattr(transformers, name)(**settings)


def grid_of(size, image_processor, config=CONFIG):
    return grid(size, SimpleNamespace(image_processor=image_processor), config)


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("name", PROCESSORS)
def test_every_token_lies_where_the_colours_of_its_pixels_say(name, setting):
    image_processor = make_image_processor(name, **SETTINGS[setting])
    for size in SIZES:
        made = image_processor([Image.fromarray(ramp(size))], return_tensors="np")["pixel_values"]
        own = grid_of(size, image_processor)
        assert len(own) == len(made) * (SIDE // TOKEN) ** 2
        np.testing.assert_allclose(centres(own.boxes), seen_centres(image_processor, made, TOKEN), atol=0.7)


def test_the_prompt_has_a_placeholder_for_every_token():
    model, processor = build_tiny("tiny-internvl")
    for size in [*SIZES, (256, 3), (640, 480), (4000, 300), (300, 4000)]:
        ids = processor(images=[Image.new("RGB", size)], text=["<IMG_CONTEXT>"], return_tensors="np")["input_ids"]
        assert (ids == model.config.image_token_id).sum() == len(grid(size, processor, model.config))


def test_boxes_of_two_tiles_and_the_thumbnail_are_those_computed_by_hand():
    own = grid_of((224, 112), make_image_processor(max_patches=2))
    assert own.view.tolist() == [1] * 16 + [2] * 16 + [0] * 16
    assert own.boxes[[0, 1, 4, 16]].tolist() == [[0, 0, 28, 28], [28, 0, 56, 28], [0, 28, 28, 56], [112, 0, 140, 28]]
    assert own.boxes[[32, 33, 47]].tolist() == [[0, 0, 56, 28], [56, 0, 112, 28], [168, 84, 224, 112]]


def test_a_photo_of_one_tile_has_no_thumbnail():
    own = grid_of((60, 60), make_image_processor())
    assert set(own.view) == {0} and len(own) == 16 and own.seen == (0, 0, 60, 60)


@pytest.mark.parametrize(
    ("image_processor", "ratio"),
    [
        (transformers.CLIPImageProcessor(), 0.5),
        (make_image_processor(size={"height": SIDE, "width": 2 * SIDE}), 0.5),
        (make_image_processor(size={"height": 98, "width": 98}), 0.5),
        (make_image_processor(crop_to_patches=False, do_resize=False), 0.5),
    ],
    ids=["another processor", "no square", "patches left over", "no resize at all"],
)
def test_what_is_not_known_is_refused(image_processor, ratio):
    with pytest.raises(ModelError):
        grid_of((60, 40), image_processor)


@pytest.fixture(scope="module")
def vlm():
    return HookedVLM.from_pretrained("tiny-internvl")


def residuals(vlm, tower, fwd_hooks=()):
    """Streams and what is added to them in the second block of a tower, and the output."""
    inputs = vlm.prepare(ramp((200, 130)), "Where is the mug?")
    with torch.no_grad():
        output, cache = vlm.run_with_cache(inputs, fwd_hooks=list(fwd_hooks))
    names = ("resid_pre", "attn_out", "resid_mid", "mlp_out", "resid_post")
    return [cache[f"{tower}blocks.1.hook_{name}"] for name in names], output.logits


@pytest.mark.parametrize("tower", ["", "vision."])
def test_what_attention_and_mlp_add_is_what_the_residual_stream_grows_by(vlm, tower):
    (before, attention, between, mlp, after), _ = residuals(vlm, tower)
    torch.testing.assert_close(before + attention, between)
    torch.testing.assert_close(between + mlp, after)


@pytest.mark.parametrize(("point", "place"), [("hook_attn_out", 2), ("hook_mlp_out", 4)])
def test_an_edit_of_what_is_added_reaches_the_stream_unscaled(vlm, point, place):
    plain, logits = residuals(vlm, "vision.")
    edited, moved = residuals(vlm, "vision.", [(f"vision.blocks.1.{point}", lambda tensor, hook: tensor + 0.5)])
    torch.testing.assert_close(edited[place], plain[place] + 0.5)
    assert not torch.equal(logits, moved)
