"""LLaVA-NeXT and LLaVA-OneVision: tokens, row ends and boxes of the squeezed photo and of the mosaic of tiles."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import (
    LlavaNextImageProcessor,
    LlavaNextImageProcessorPil,
    LlavaOnevisionImageProcessor,
    LlavaOnevisionImageProcessorPil,
)

from interp.errors import InputError, ModelError
from interp.families import anyres
from interp.zoo.tiny import build_tiny

SIZES = [(300, 100), (100, 300), (120, 120), (640, 480), (333, 777), (57, 43), (1, 1), (1000, 75), (3, 500), (500, 3)]
SIZES += [(181, 180), (2000, 1), (25, 600), (799, 801)]
GRIDS = {"llava_next": anyres.grid, "llava_onevision": anyres.onevision_grid}
BASE = 16
"""Tokens of the squeezed photo in the tiny models."""


@pytest.fixture(scope="module", params=GRIDS)
def tiny(request):
    model, processor = build_tiny(f"tiny-{request.param}")
    return GRIDS[request.param], processor, model.config


@pytest.fixture(scope="module")
def onevision():
    model, processor = build_tiny("tiny-llava_onevision")
    return processor, model.config


def mosaic_edges(grid, axis):
    """Start and end of the mosaic's columns (axis 0) or rows (axis 1), in pixels of the photo."""
    own = np.flatnonzero((grid.view == 1) & ((grid.rows, grid.cols)[axis] == 0))
    return grid.boxes[own][:, [axis, axis + 2]].tolist()


@pytest.mark.parametrize("size", SIZES)
def test_the_processor_writes_one_placeholder_for_each_slot_and_no_token_is_mere_padding(tiny, size):
    find, processor, config = tiny
    grid = find(size, processor, config)
    written = processor(images=[[Image.new("RGB", size)]], text="<image>", return_tensors="pt")["input_ids"]
    assert int((written == config.image_token_id).sum()) == grid.n_slots
    assert (grid.boxes[:, 2:] > grid.boxes[:, :2]).all()


@pytest.mark.parametrize("kind", GRIDS)
@pytest.mark.parametrize("size", SIZES)
def test_the_real_models_settings_give_the_number_of_tokens_that_their_processors_announce(kind, size):
    _, processor = build_tiny(f"tiny-{kind}")
    side, make = (336, LlavaNextImageProcessor) if kind == "llava_next" else (384, LlavaOnevisionImageProcessor)
    square = {"height": side, "width": side}
    processor.image_processor = make(size=square, crop_size=square)
    processor.patch_size, processor.num_image_tokens, processor.vision_aspect_ratio = 14, 729, "anyres_max_9"
    clip = kind == "llava_next"
    config = SimpleNamespace(
        image_grid_pinpoints=processor.image_processor.image_grid_pinpoints,
        vision_aspect_ratio="anyres_max_9",
        vision_feature_select_strategy="default" if clip else "full",
        vision_config=SimpleNamespace(
            image_size=side, patch_size=14, model_type="clip_vision_model" if clip else "siglip_vision_model"
        ),
    )
    announced = processor._get_num_multimodal_tokens(image_sizes=[size[::-1]])["num_image_tokens"]
    assert GRIDS[kind](size, processor, config).n_slots == announced[0]


@pytest.mark.parametrize("make", [LlavaNextImageProcessor, LlavaNextImageProcessorPil])
def test_a_mosaic_without_padding_is_cut_into_equal_boxes_with_a_row_end_after_each_row(make):
    model, processor = build_tiny("tiny-llava_next")
    given = processor.image_processor
    processor.image_processor = make(
        size=dict(given.size), crop_size=dict(given.crop_size), image_grid_pinpoints=given.image_grid_pinpoints
    )
    grid = anyres.grid((300, 100), processor, model.config)  # 168 x 56 pixels, so that a patch is 25 pixels
    assert len(grid) == BASE + 4 * 12 and grid.n_slots == BASE + 4 * 13
    expected = [[0, 0, 75, 25], [0, 0, 25, 25], [0, 25, 25, 50], [275, 75, 300, 100]]
    np.testing.assert_allclose(grid.boxes[[0, BASE, BASE + 12, -1]], expected)
    assert grid.slots[[BASE, BASE + 11, BASE + 12, -1]].tolist() == [BASE, BASE + 11, BASE + 13, BASE + 50]


def test_rows_of_padding_have_no_tokens():
    model, processor = build_tiny("tiny-llava_next")
    grid = anyres.grid((168, 28), processor, model.config)  # as it is, between 14 pixels of padding
    assert len(grid) == BASE + 2 * 12
    np.testing.assert_allclose(grid.boxes[[BASE, -1]], [[0, 0, 14, 14], [154, 14, 168, 28]])


def test_a_photo_too_narrow_for_a_patch_leaves_row_ends_alone():
    model, processor = build_tiny("tiny-llava_next")
    grid = anyres.grid((3, 500), processor, model.config)
    assert (len(grid), grid.n_slots) == (BASE, BASE + 12)


def test_pixels_left_over_at_the_end_of_a_tile_belong_to_no_token(onevision):
    edges = mosaic_edges(anyres.onevision_grid((120, 120), *onevision), 0)  # two tiles of 60, four patches of 14 each
    assert edges == [[0, 14], [14, 28], [28, 42], [42, 56], [60, 74], [74, 88], [88, 102], [102, 116]]


def test_a_shrunk_mosaic_has_tokens_of_several_patches_that_reach_as_far_as_those_they_are_mixed_from(onevision):
    halved = anyres.onevision_grid((240, 240), *onevision)  # 16 x 16 patches, four tiles allowed
    assert mosaic_edges(halved, 0)[:3] == [[0, 28], [28, 56], [60, 88]]
    assert (halved.reach[BASE:] == 2).all()  # of the bicubic filter
    thirds = anyres.onevision_grid((180, 180), *onevision)  # 12 x 12 patches to 8 x 8
    assert mosaic_edges(thirds, 0)[:3] == [[0, 21], [21, 42], [42, 67]]
    assert thirds.reach[BASE : BASE + 3, 0].tolist() == [9, 9, 14.5]  # the third has the hole between two tiles


@pytest.mark.parametrize("length, count", [(8, 8), (12, 8), (16, 8), (24, 8), (9, 3), (18, 7), (162, 81), (161, 80)])
def test_a_token_is_mixed_from_the_patches_that_torch_mixes_it_from(length, count):
    weights = torch.nn.functional.interpolate(torch.eye(length)[None, :, None], (1, count), mode="bilinear")[0, :, 0]
    used = [torch.nonzero(column > 1e-4).flatten().tolist() for column in weights.T]
    assert [list(tap) for tap in anyres._taps(length, count)] == used


def test_a_mosaic_that_would_be_shrunk_to_nothing_is_refused():
    with pytest.raises(InputError, match="so narrow that the model would shrink its 12 x 1 patches to 3 x 0"):
        anyres._shrunk((12, 1), 1)


@pytest.mark.parametrize(
    "part, name, value, reason",
    [
        ("image_processor", "size", {"height": 64, "width": 60}, "makes tiles by size"),
        ("image_processor", "crop_size", {"height": 56, "width": 56}, "makes tiles by size"),
        ("image_processor", "image_grid_pinpoints", [[60, 60]], "image_grid_pinpoints .* differ"),
        ("config", "vision_feature_select_strategy", "default", "vision_feature_select_strategy 'default'"),
        ("config", "vision_aspect_ratio", "anyres_max_9", "vision_aspect_ratio is 'anyres_max_9'"),
    ],
)
def test_settings_that_do_not_fit_the_model_are_refused_by_name(part, name, value, reason):
    model, processor = build_tiny("tiny-llava_onevision")
    setattr(model.config if part == "config" else processor.image_processor, name, value)
    with pytest.raises(ModelError, match=reason):
        anyres.onevision_grid((120, 120), processor, model.config)


def test_an_image_processor_with_steps_of_its_own_is_refused(onevision):
    class Own(LlavaOnevisionImageProcessorPil):
        def _preprocess(self, *args, **kwargs):
            raise AssertionError

    with pytest.raises(ModelError, match="Own has steps of its own"):
        anyres.anyres_grid((120, 120), Own(), onevision[1])
