"""Idefics3 and SmolVLM: tiles row after row, then the whole photo, each token where its pixels come from."""

from types import SimpleNamespace

import numpy as np
import pytest
import transformers
from PIL import Image
from ramps import centres, ramp, seen_centres

from interp.errors import ModelError
from interp.families.idefics3 import grid
from interp.zoo.tiny import build_tiny

SIZES = [(250, 250), (200, 130), (130, 200), (250, 30), (30, 250), (57, 43), (85, 84), (7, 7), (9, 40), (1, 1)]
SIDE, TOKEN = 84, 28
PROCESSORS = [f"{family}ImageProcessor{backend}" for family in ("Idefics3", "SmolVLM") for backend in ("", "Pil")]
SETTINGS = {
    "tiles": {},
    "no tiles": {"do_image_splitting": False},
    "no first resize": {"do_resize": False},
    "stretched first": {"size": {"height": 100, "width": 200}},
    "one tile": {"size": {"longest_edge": SIDE}},
    "an odd edge": {"size": {"longest_edge": 2 * SIDE + 1}},
}
CONFIG = SimpleNamespace(vision_config=SimpleNamespace(patch_size=14), scale_factor=2)


def make_image_processor(name="Idefics3ImageProcessor", **options):
    settings = {"size": {"longest_edge": 3 * SIDE}, "max_image_size": {"longest_edge": SIDE}, **options}
    return getattr(transformers, name)(**settings)


def grid_of(size, image_processor, config=CONFIG):
    return grid(size, SimpleNamespace(image_processor=image_processor), config)


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("name", PROCESSORS)
def test_every_token_lies_where_the_colours_of_its_pixels_say(name, setting):
    image_processor = make_image_processor(name, **SETTINGS[setting])
    for size in SIZES:
        made = image_processor([[Image.fromarray(ramp(size))]], return_tensors="np")["pixel_values"]
        own = grid_of(size, image_processor)
        assert len(own) == made.shape[1] * (SIDE // TOKEN) ** 2
        np.testing.assert_allclose(centres(own.boxes), seen_centres(image_processor, made, TOKEN), atol=0.7)


@pytest.mark.parametrize("name", ["tiny-idefics3", "tiny-smolvlm"])
def test_the_prompt_has_a_placeholder_for_every_token(name):
    model, processor = build_tiny(name)
    for size in [*SIZES, (256, 3), (640, 480), (4000, 300), (300, 4000)]:
        ids = processor(images=[[Image.new("RGB", size)]], text=["<image>"], return_tensors="np")["input_ids"]
        assert (ids == model.config.image_token_id).sum() == len(grid(size, processor, model.config))


def test_boxes_of_two_tiles_and_the_whole_photo_are_those_computed_by_hand():
    own = grid_of((168, 84), make_image_processor(size={"longest_edge": 168}))
    assert own.view.tolist() == [1] * 9 + [2] * 9 + [0] * 9
    assert own.boxes[[0, 1, 3, 8]].tolist() == [[0, 0, 28, 28], [28, 0, 56, 28], [0, 28, 28, 56], [56, 56, 84, 84]]
    assert own.boxes[[9, 18, 19, 26]].tolist() == [
        [84, 0, 112, 28],
        [0, 0, 56, 28],
        [56, 0, 112, 28],
        [112, 56, 168, 84],
    ]


def test_tiles_are_numbered_row_after_row():
    own = grid_of((90, 90), make_image_processor(size={"longest_edge": 2 * SIDE}))
    first = own.boxes[np.flatnonzero(np.diff(own.view, prepend=-1))]
    assert first[:, :2].tolist() == [[0, 0], [45, 0], [0, 45], [45, 45], [0, 0]]


def test_a_photo_of_one_tile_has_only_the_view_of_the_whole():
    own = grid_of((60, 40), make_image_processor(do_resize=False))
    assert set(own.view) == {0} and len(own) == 9 and own.seen == (0, 0, 60, 40)


@pytest.mark.parametrize(
    ("image_processor", "shuffled"),
    [
        (transformers.CLIPImageProcessor(), 2),
        (make_image_processor(), 4),
        (make_image_processor(size={"shortest_edge": 99}), 2),
    ],
    ids=["another processor", "patches left over", "a size of another kind"],
)
def test_what_is_not_known_is_refused(image_processor, shuffled):
    with pytest.raises(ModelError):
        config = SimpleNamespace(vision_config=CONFIG.vision_config, scale_factor=shuffled)
        grid_of((60, 40), image_processor, config)
