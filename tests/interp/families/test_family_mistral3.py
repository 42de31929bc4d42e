"""Photos of any shape through Pixtral's tower: how many tokens, where they lie, and what stands between the rows."""

from types import SimpleNamespace

import pytest
import torch
from transformers import PixtralImageProcessor

from interp.errors import InputError, ModelError
from interp.families.mistral3 import grid
from interp.model.hooked_vlm import HookedVLM
from interp.proof.pixels import check_photo
from interp.proof.samples import QUESTIONS, noise

NAMES = ["mistral3", "pixtral"]
SIZES = [
    (200, 130),
    (120, 120),
    (90, 210),
    (300, 100),
    (640, 480),
    (333, 777),
    (57, 43),
    (29, 1),
    (1000, 75),
    (140, 141),
]


@pytest.fixture(scope="module", params=NAMES)
def vlm(request) -> HookedVLM:
    return HookedVLM.from_pretrained(f"tiny-{request.param}")


def made_up(**more):
    """A processor and a configuration like those of Mistral-Small-3.1."""
    images = PixtralImageProcessor(**{"size": {"longest_edge": 1540}, **more})
    processor = SimpleNamespace(image_processor=images, patch_size=14, spatial_merge_size=2)
    return processor, SimpleNamespace(vision_config=SimpleNamespace(patch_size=14), spatial_merge_size=2)


@pytest.mark.parametrize("size", SIZES)
def test_rows_and_columns_are_those_that_the_processor_writes(vlm: HookedVLM, size):
    layout = vlm.prepare(noise(size), "Where?", prompt="paper").layouts[0]
    written = "".join(token for token in layout.tokens if token.startswith("[IMG"))
    lines = written.removesuffix("[IMG_END]").split("[IMG_BREAK]")
    own = grid(size, vlm.processor, vlm.model.config)
    assert [line.count("[IMG]") for line in lines] == [own.cols.max() + 1] * (own.rows.max() + 1)


def test_sides_are_rounded_up_to_whole_tokens():
    own = grid((640, 480), *made_up())
    assert (own.rows.max() + 1, own.cols.max() + 1) == (18, 23)
    assert own.boxes[0].tolist() == pytest.approx([0, 0, 640 / 23, 480 / 18])
    assert own.seen == (0, 0, 640, 480)


def test_a_large_photo_is_shrunk_first():
    own = grid((3080, 1000), *made_up())  # to 1540 x 500, then up to 1540 x 504
    assert (own.rows.max() + 1, own.cols.max() + 1) == (18, 55)
    assert own.boxes[0].tolist() == pytest.approx([0, 0, 56, 1000 / 18])


def test_row_ends_are_markers_and_no_image_tokens(vlm: HookedVLM):
    layout = vlm.prepare(noise((200, 130)), "Where is the mug?").layouts[0]
    ends = [place for place, token in enumerate(layout.tokens) if token in ("[IMG_BREAK]", "[IMG_END]")]
    assert [layout.kinds[place] for place in ends] == ["image_marker"] * 4
    assert {layout.tokens[place] for place in layout.image_positions} == {"[IMG]"}
    assert "".join(layout.tokens[place] for place in layout.positions("question")) == "WhereĠisĠtheĠmug?"


@pytest.mark.parametrize("size", [(3000, 1), (1, 3000)])
def test_a_photo_of_which_nothing_would_be_left_is_refused(size):
    with pytest.raises(InputError, match="less than an image token"):
        grid(size, *made_up())


def test_steps_that_are_not_known_are_refused_by_name():
    with pytest.raises(ModelError, match="do_center_crop"):
        grid((640, 480), *made_up(do_center_crop=True))
    with pytest.raises(ModelError, match="shortest_edge"):
        grid((640, 480), *made_up(size={"shortest_edge": 224}))


@pytest.mark.parametrize("size", [(640, 480), (75, 1000)])
def test_tokens_move_with_the_pixels_of_their_boxes(vlm: HookedVLM, size):
    _, mistakes, tried = check_photo(vlm, noise(size))
    assert (mistakes, tried > 0) == (0, True)


def test_photos_of_a_batch_do_not_see_each_other_in_the_tower(vlm: HookedVLM):
    photos = [noise((200, 130)), noise((90, 210), 1)]
    inputs = vlm.prepare(photos, list(QUESTIONS[:2]), prompt="paper")
    name = "vision.blocks.0.attn.hook_pattern"
    _, cache = vlm.run_with_cache(inputs, names_filter=name, query_rows="all")
    merged = getattr(vlm.model.config, "spatial_merge_size", 1) ** 2
    first = len(inputs.grids[0]) * merged
    assert cache[name].shape[-1] == first + len(inputs.grids[1]) * merged
    assert not cache[name][0, :, :first, first:].any() and not cache[name][0, :, first:, :first].any()


def test_what_is_shown_adds_up_to_the_residual_stream(vlm: HookedVLM):
    inputs = vlm.prepare(noise((200, 130)), QUESTIONS[0], prompt="paper")
    _, cache = vlm.run_with_cache(inputs, names_filter=lambda name: "resid" in name or name.endswith("_out"))
    for block in ("blocks.0", "blocks.2", "vision.blocks.0", "vision.blocks.1"):
        pre, mid, post = (cache[f"{block}.hook_resid_{part}"] for part in ("pre", "mid", "post"))
        torch.testing.assert_close(pre + cache[f"{block}.hook_attn_out"], mid)
        torch.testing.assert_close(mid + cache[f"{block}.hook_mlp_out"], post)
