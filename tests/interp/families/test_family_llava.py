"""Token boxes of LLaVA-1.5 name the pixels that really move each patch, whatever its processor does."""

import numpy as np
import pytest
import transformers
from hypothesis import assume, given
from hypothesis import strategies as st
from PIL import Image
from square_grids import (
    PATCH,
    PLAIN,
    SETTINGS,
    SIDE,
    SIZES,
    SQUARE,
    grid_of,
    make_processor,
    paint,
    patch_means,
    pixel_step,
    tower_inputs,
)

from interp.errors import InputError, ModelError
from interp.families.llava import llava_grid
from interp.image.resizing import follow_processor

# --- the pixel oracle -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", ["", "Pil"])
@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("size", SIZES)
def test_only_pixels_of_the_seen_part_move_the_image(setting, backend, size):
    """One white column or row at a time: it shows if it lies in the seen part, and not if it lies outside."""
    # the nearest neighbour has no blur, so the border of the seen part is sharp
    processor = make_processor(setting, backend, **PLAIN, resample=Image.Resampling.NEAREST)
    grid = grid_of(size, setting, backend)
    black = tower_inputs(processor, [paint(size)])
    for axis, length in enumerate(size):
        places = np.unique(np.linspace(0, length - 1, 50).astype(int))
        lines = [(at, 0, at + 1, size[1]) if axis == 0 else (0, at, size[0], at + 1) for at in places]
        lit = (tower_inputs(processor, [paint(size, line) for line in lines]) != black).any(axis=(1, 2))
        start, end, step = grid.seen[axis], grid.seen[axis + 2], pixel_step(grid, axis)
        assert not lit[(places + 1 <= start - step) | (places >= end + step)].any()
        if step <= 1:  # every pixel of the photo has one of its own in the tower
            assert lit[(places >= start + step) & (places + 1 <= end - step)].all()


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("size", [(60, 40), (71, 130), (25, 24)])
def test_a_slope_of_brightness_reads_out_each_tokens_centre(setting, size):
    """In a photo whose pixels hold their own x (or y), a patch's mean is the centre of what its token saw."""
    processor = make_processor(setting, "", **PLAIN, resample=Image.Resampling.BILINEAR)
    grid = grid_of(size, setting)
    width, height = size
    slopes = [
        np.arange(width)[None, :] + 0.5 + np.zeros((height, 1)),
        np.arange(height)[:, None] + 0.5 + np.zeros(width),
    ]
    for axis, slope in enumerate(slopes):
        measured = patch_means(processor, np.repeat(slope[:, :, None], 3, axis=2))
        step = pixel_step(grid, axis)
        far_from_borders = (grid.boxes[:, axis] > 3 * step) & (grid.boxes[:, axis + 2] < size[axis] - 3 * step)
        filled = np.isclose(patch_means(processor, np.ones((height, width, 3))), 1.0)  # no padding in it
        tested = far_from_borders & filled
        centres = (grid.boxes[:, axis] + grid.boxes[:, axis + 2]) / 2
        np.testing.assert_allclose(measured[tested], centres[tested], atol=0.05)  # pixels of the photo
    assert tested.any()


@pytest.mark.parametrize("backend", ["", "Pil"])
@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("size", SIZES)
def test_membership_is_the_brightness_of_each_patch(setting, backend, size):
    """A white box on black: a patch is as bright as the share of its token inside the box, up to resampling blur."""
    processor = make_processor(setting, backend, **PLAIN, resample=Image.Resampling.BILINEAR)
    grid = grid_of(size, setting, backend)
    width, height = size
    white = patch_means(processor, paint(size, (0, 0, width, height)))
    black = patch_means(processor, paint(size))
    box = (width // 4, height // 3, max(width // 4 + 1, (3 * width) // 4), max(height // 3 + 1, (5 * height) // 6))
    shown = (patch_means(processor, paint(size, box)) - black) / 255  # share of the whole patch
    filled = (white - black) / 255  # share of the patch that is photo and not padding
    expected = grid.membership(box) * filled
    blur = 0.5 * max(1.0, *(1 / pixel_step(grid, axis) for axis in (0, 1)))  # half a pixel of the coarser of the two
    assert np.abs(shown - expected).max() <= 2 * blur / PATCH + 0.02
    assert abs(shown.mean() - expected.mean()) <= 0.25 * blur / SIDE + 0.02


@pytest.mark.parametrize("backend", ["", "Pil"])
@pytest.mark.parametrize("setting", SETTINGS)
def test_tokens_without_area_show_only_padding_and_the_others_photo(setting, backend):
    for size in SIZES:
        processor = make_processor(setting, backend, **PLAIN, resample=Image.Resampling.NEAREST)
        grid = grid_of(size, setting, backend)
        shown = patch_means(processor, paint(size, (0, 0, *size))) > patch_means(processor, paint(size))
        extent = grid.boxes[:, 2:] - grid.boxes[:, :2]
        assert (extent[extent > 0] > 1e-9).all()  # no slivers from rounding
        assert not shown[extent.prod(axis=1) == 0].any()
        assert shown[(extent > [pixel_step(grid, 0), pixel_step(grid, 1)]).all(axis=1)].all()
        np.testing.assert_array_equal(grid.membership((-5, -5, 500, 500)), extent.prod(axis=1) > 0)


@pytest.mark.parametrize("backend", ["", "Pil"])
@pytest.mark.parametrize("setting", SETTINGS)
@given(width=st.integers(1, 150), height=st.integers(1, 150))
def test_whole_pixel_rounding_is_that_of_the_processor(setting, backend, width, height):
    """The lit part of the tower's input begins and ends exactly where the axes say."""
    processor = make_processor(setting, backend, **PLAIN, resample=Image.Resampling.NEAREST)
    lit = tower_inputs(processor, [paint((width, height), (0, 0, width, height))])[0] == 255
    axes = follow_processor((width, height), processor)
    borders = np.array([[a.offset, a.offset + a.photo * a.scale] for a in axes], dtype=float).clip(0, SIDE)
    assume((borders[:, 1] - borders[:, 0] > 1).all())  # thinner than a pixel, the photo may be missed altogether
    tolerance = 1e-6 if np.allclose(borders, np.rint(borders)) else 1.0
    for border, places in zip(borders, (lit.any(axis=0), lit.any(axis=1)), strict=True):
        found = np.flatnonzero(places)
        np.testing.assert_allclose([found[0], found[-1] + 1], border, atol=tolerance)


# --- the LLaVA-1.5 checkpoint's own settings ---------------------------------------------------------------------


def test_a_wide_photo_says_what_was_never_seen(checkpoint_processor):
    grid = llava_grid((1000, 500), checkpoint_processor, patch_size=14, tower_size=336)
    assert grid.seen == (250, 0, 750, 500)
    assert grid.unseen_share == 0.5
    assert grid.describe() == (
        "The model saw x 250 to 750 and y 0 to 500 of the photo of 1000 x 500 pixels, through 24 rows x 24 columns "
        "of tokens; it never saw 50.0 % of it (left, right)."
    )
    assert grid.seen_share((0, 0, 300, 100)) == pytest.approx(1 / 6)
    assert grid.membership((0, 0, 250, 500)).sum() == 0


def test_a_square_photo_is_seen_whole(checkpoint_processor):
    grid = llava_grid((480, 480), checkpoint_processor, patch_size=14, tower_size=336)
    assert grid.unseen_share == 0
    said = "The model saw the whole photo of 480 x 480 pixels, through 24 rows x 24 columns of tokens."
    assert grid.describe() == said


def test_tokens_run_row_by_row(checkpoint_processor):
    grid = llava_grid((480, 480), checkpoint_processor, patch_size=14, tower_size=336)
    assert len(grid) == 576
    np.testing.assert_array_equal(grid.boxes[[0, 1, 24]], [[0, 0, 20, 20], [20, 0, 40, 20], [0, 20, 20, 40]])
    np.testing.assert_array_equal((grid.rows * 24 + grid.cols), np.arange(576))


def test_a_patch_that_does_not_fit_leaves_a_margin_unseen():
    processor = transformers.SiglipImageProcessor(size={"height": 384, "width": 384})
    grid = llava_grid((384, 384), processor, patch_size=14, tower_size=384)
    assert len(grid) == 27 * 27
    assert grid.seen == (0, 0, 378, 378)
    assert "(right, bottom)" in grid.describe()


def test_real_photos_are_seen_as_the_processor_crops_them(assets, checkpoint_processor):
    for path in sorted((assets / "coco128" / "images").glob("*.jpg"))[:8]:
        image = Image.open(path).convert("RGB")
        grid = llava_grid(image.size, checkpoint_processor, patch_size=14, tower_size=336)
        seen = image.resize((336, 336), Image.Resampling.BICUBIC, box=grid.seen)
        made = checkpoint_processor(image, return_tensors="np", do_normalize=False, do_rescale=False)["pixel_values"][0]
        difference = np.abs(np.asarray(seen, dtype=np.float32) - made.transpose(1, 2, 0))
        assert np.median(difference) <= 1 and difference.mean() < 2


# --- refusals ----------------------------------------------------------------------------------------------------


def test_a_processor_of_another_tower_is_refused(checkpoint_processor):
    with pytest.raises(ModelError, match=r"336 x 336.*takes 224 x 224"):
        llava_grid((640, 480), checkpoint_processor, patch_size=14, tower_size=224)


@pytest.mark.parametrize("name", ["LlavaNextImageProcessor", "PixtralImageProcessor", "Idefics3ImageProcessor"])
def test_a_processor_with_steps_of_its_own_is_refused(name):
    with pytest.raises(ModelError, match=name):
        llava_grid((640, 480), getattr(transformers, name)(), patch_size=14, tower_size=336)


def test_an_unknown_form_of_size_is_refused():
    processor = transformers.CLIPImageProcessor(size={"shortest_edge": 24, "longest_edge": 48}, crop_size=SQUARE)
    with pytest.raises(ModelError, match="longest_edge"):
        llava_grid((64, 48), processor, patch_size=PATCH, tower_size=SIDE)


def test_a_photo_too_narrow_to_enlarge_is_refused(checkpoint_processor):
    with pytest.raises(InputError, match="crop it"):
        llava_grid((20_000, 5), checkpoint_processor, patch_size=14, tower_size=336)
