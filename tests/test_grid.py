"""Token boxes name the pixels that really move each patch, and areas add up exactly."""

import dataclasses
import doctest

import numpy as np
import pytest
import torch
import transformers
from hypothesis import assume, given
from hypothesis import strategies as st
from PIL import Image

import interp.families.llava
import interp.grid
import interp.resizing
from interp.boxes import Box, Boxes
from interp.errors import InputError, ModelError
from interp.families.llava import llava_grid
from interp.grid import ImageGrid
from interp.resizing import follow_processor

PATCH, SIDE = 4, 24
SQUARE = {"height": SIDE, "width": SIDE}
PLAIN = {"do_rescale": False, "do_normalize": False, "do_convert_rgb": False}

# Every way in which a LLaVA-1.5-like processor brings a photo to the tower's size, in both backends.
SETTINGS = {
    "crop the middle": ("CLIP", {"size": {"shortest_edge": SIDE}, "crop_size": SQUARE}),
    "crop tighter": ("CLIP", {"size": {"shortest_edge": SIDE + 7}, "crop_size": SQUARE}),
    "crop wider than the image": ("CLIP", {"size": {"shortest_edge": SIDE - 7}, "crop_size": SQUARE}),
    "crop without resize": ("CLIP", {"do_resize": False, "crop_size": SQUARE}),
    "stretch": ("Siglip", {"size": SQUARE}),
    "stretch and crop": ("CLIP", {"size": {"height": SIDE + 5, "width": SIDE - 3}, "crop_size": SQUARE}),
    "stretch and pad": ("Siglip", {"size": {"height": 17, "width": 20}, "do_pad": True, "pad_size": SQUARE}),
    "pad to a square": (
        "Llava",
        {"do_pad": True, "size": {"shortest_edge": SIDE}, "crop_size": SQUARE, "image_mean": [0.0, 0.0, 0.0]},
    ),
    "crop in LLaVA's": ("Llava", {"do_pad": False, "size": {"shortest_edge": SIDE}, "crop_size": SQUARE}),
}
SIZES = [(60, 40), (41, 67), (200, 30), (25, 24), (9, 40), (1, 1)]


def make_processor(setting: str, backend: str, **more):
    family, options = SETTINGS[setting]
    return getattr(transformers, f"{family}ImageProcessor{backend}")(**options, **more)


def grid_of(size, setting="crop the middle", backend=""):
    return llava_grid(size, make_processor(setting, backend), patch_size=PATCH, tower_size=SIDE)


def tower_inputs(processor, photos) -> np.ndarray:
    """The first channel of what the processor makes of photos [height width 3], [photo SIDE SIDE]."""
    photos = [Image.fromarray(photo) if photo.dtype == np.uint8 else torch.tensor(photo) for photo in photos]
    made = processor(photos, return_tensors="np", input_data_format="channels_last")["pixel_values"]
    return np.asarray(made, dtype=np.float64)[:, 0]


def patch_means(processor, photo) -> np.ndarray:
    """Mean of each patch of what the processor makes of a photo, in raster order."""
    patches = tower_inputs(processor, [photo])[0].reshape(SIDE // PATCH, PATCH, SIDE // PATCH, PATCH)
    return patches.mean(axis=(1, 3)).ravel()


def paint(size, box=(0, 0, 0, 0)):
    """A black photo with a white box."""
    photo = np.zeros((size[1], size[0], 3), dtype=np.uint8)
    x0, y0, x1, y1 = box
    photo[y0:y1, x0:x1] = 255
    return photo


def pixel_step(grid, axis):
    """Pixels of the photo per pixel of the tower along an axis."""
    return (grid.boxes[:, axis + 2] - grid.boxes[:, axis]).max() / PATCH


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


@pytest.fixture(scope="module")
def checkpoint_processor():
    return transformers.CLIPImageProcessor(size={"shortest_edge": 336}, crop_size={"height": 336, "width": 336})


def test_a_wide_photo_says_what_was_never_seen(checkpoint_processor):
    grid = llava_grid((1000, 500), checkpoint_processor, patch_size=14, tower_size=336)
    assert grid.seen == (250, 0, 750, 500)
    assert grid.unseen_share == 0.5
    assert grid.describe() == (
        "The model saw x 250 to 750 and y 0 to 500 of the photo of 1000 x 500 pixels, through 24 x 24 tokens; "
        "it never saw 50.0 % of it (left, right)."
    )
    assert grid.seen_share((0, 0, 300, 100)) == pytest.approx(1 / 6)
    assert grid.membership((0, 0, 250, 500)).sum() == 0


def test_a_square_photo_is_seen_whole(checkpoint_processor):
    grid = llava_grid((480, 480), checkpoint_processor, patch_size=14, tower_size=336)
    assert grid.unseen_share == 0
    assert grid.describe() == "The model saw the whole photo of 480 x 480 pixels, through 24 x 24 tokens."


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


def test_parts_that_do_not_fit_together_are_refused():
    grid = grid_of((60, 40))
    for wrong in (
        {"rows": grid.rows[1:]},
        {"boxes": grid.boxes + 100},
        {"boxes": grid.boxes[:, ::-1]},
        {"seen": (0, 0, 0, 0)},
        {"seen": (0, 0, 61, 40)},
        {"boxes": np.zeros((0, 4)), "rows": [], "cols": [], "view": []},
    ):
        with pytest.raises(InputError):
            dataclasses.replace(grid, **wrong)


def test_bad_boxes_and_values_are_refused():
    grid = grid_of((60, 40))
    for box in ((0, 0, np.nan, 5), (5, 5, 5, 9), (9, 0, 3, 5)):
        with pytest.raises(InputError):
            grid.membership(box)
    with pytest.raises(InputError, match=r"\(x0, y0, x1, y1\)"):
        grid.union_membership([(1, 2, 3)])
    for values in (np.zeros(35), np.zeros((36, 2)), 1.0):
        with pytest.raises(InputError, match="token"):
            grid.to_pixels(values)
    with pytest.raises(InputError, match="max_side"):
        grid.to_pixels(np.zeros(36), max_side=0)
    with pytest.raises(InputError, match="one number per token"):
        grid.to_pixels(np.zeros((2, 36)))


# --- areas -------------------------------------------------------------------------------------------------------

sides = st.one_of(st.integers(1, 60), st.integers(100, 700))
edge = st.floats(-100, 800, allow_nan=False)


@st.composite
def any_box(draw):
    x0, y0, x1, y1 = (draw(edge) for _ in range(4))
    assume(abs(x1 - x0) > 1e-3 and abs(y1 - y0) > 1e-3)
    return (min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1))


def areas(boxes):
    return (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])


settings_and_backends = st.tuples(st.sampled_from(list(SETTINGS)), st.sampled_from(["", "Pil"]))


def any_grid(width, height, choice):
    return grid_of((width, height), *choice)


@given(sides, sides, settings_and_backends)
def test_tokens_tile_the_seen_part(width, height, choice):
    grid = any_grid(width, height, choice)
    seen = np.array(grid.seen)
    assert (grid.boxes >= 0).all() and (grid.boxes <= (width, height, width, height)).all()
    assert (grid.boxes[:, :2] >= seen[:2]).all() and (grid.boxes[:, 2:] <= seen[2:]).all()
    assert areas(grid.boxes).sum() == pytest.approx(areas(seen))
    assert 0 <= grid.unseen_share < 1
    assert grid.unseen_share == pytest.approx(1 - areas(seen) / (width * height))


@given(sides, sides, settings_and_backends, any_box())
def test_shares_of_tokens_add_up_to_the_box(width, height, choice, box):
    grid = any_grid(width, height, choice)
    share = grid.membership(box)
    assert share.dtype == np.float32 and (share >= 0).all() and (share <= 1).all()
    x0, y0, x1, y1 = np.array(grid.seen)
    inside = max(0.0, min(box[2], x1) - max(box[0], x0)) * max(0.0, min(box[3], y1) - max(box[1], y0))
    tolerance = {"rel": 1e-5, "abs": 1e-6 * areas(np.array(grid.seen))}
    assert (share * areas(grid.boxes)).sum() == pytest.approx(inside, **tolerance)
    assert grid.area_share(box) * areas(np.array(grid.seen)) == pytest.approx(inside, **tolerance)
    assert grid.seen_share(box) == pytest.approx(inside / areas(np.array(box)))


@given(sides, sides, settings_and_backends, st.lists(any_box(), max_size=4))
def test_overlapping_boxes_count_once(width, height, choice, boxes):
    grid = any_grid(width, height, choice)
    union = grid.union_membership(boxes)
    each = np.array([grid.membership(box) for box in boxes]).reshape(-1, len(grid))
    assert (union <= each.sum(axis=0).clip(max=1) + 1e-6).all()
    assert (union >= each.max(axis=0, initial=0) - 1e-6).all()
    np.testing.assert_array_equal(grid.union_membership(boxes + boxes), union)
    if len(boxes) == 2:  # what two boxes share is a box, so inclusion and exclusion can be checked
        (a, b), shared = np.array(boxes), np.zeros(len(grid))
        x0, y0, x1, y1 = *np.maximum(a[:2], b[:2]), *np.minimum(a[2:], b[2:])
        if x1 > x0 and y1 > y0:
            shared = grid.membership((x0, y0, x1, y1))
        np.testing.assert_allclose(union, each.sum(axis=0) - shared, atol=1e-5)


def test_union_equals_counting_fine_pixels():
    grid = grid_of((60, 40), "stretch")
    boxes = np.random.default_rng(0).integers(-10, 70, (7, 2, 2))
    boxes = [(*np.sort(b, axis=0)[0], *(np.sort(b, axis=0)[1] + 1)) for b in boxes]
    mask = np.zeros((40, 60))
    for x0, y0, x1, y1 in boxes:
        mask[max(0, y0) : max(0, y1), max(0, x0) : max(0, x1)] = 1
    fine = mask.repeat(6, axis=0).repeat(6, axis=1)  # 60/6 and 40/6 pixels a token: whole numbers of sixths
    counted = fine.reshape(6, 40, 6, 60).mean(axis=(1, 3)).ravel()
    np.testing.assert_allclose(grid.union_membership(boxes), counted, atol=1e-6)
    assert grid.area_share(boxes) == pytest.approx(mask.mean())


def test_a_box_much_smaller_than_a_token_still_counts():
    grid = grid_of((600, 600))  # tokens of 100 x 100 pixels
    share = grid.membership(Box("pin", (250, 330, 255, 332)))
    assert np.flatnonzero(share).tolist() == [3 * 6 + 2]
    assert share.max() == pytest.approx(5 * 2 / 100**2)


def test_what_lies_outside_the_photo_counts_for_nothing():
    grid = grid_of((60, 60))
    np.testing.assert_array_equal(grid.membership((-50, -50, 0, 60)), 0)
    np.testing.assert_array_equal(grid.membership((-50, -50, 10, 10)), grid.membership((0, 0, 10, 10)))
    np.testing.assert_array_equal(grid.membership((-1e6, -1e6, 1e6, 1e6)), 1)


def test_boxes_come_in_every_form():
    grid = grid_of((60, 40))
    box = Box("mug", (12.0, 3.0, 30.0, 22.0))
    forms = [box, box.xyxy, list(box.xyxy), np.array(box.xyxy), Boxes((box,)), [box], [box.xyxy], iter([box])]
    for form in forms:
        assert grid.area_share(form) == pytest.approx(grid.area_share(box))
    assert grid.area_share([]) == grid.area_share(Boxes()) == grid.union_membership([]).sum() == 0


# --- maps --------------------------------------------------------------------------------------------------------


@given(sides, sides, settings_and_backends)
def test_every_seen_pixel_gets_the_value_of_its_token(width, height, choice):
    grid = any_grid(width, height, choice)
    painted = grid.to_pixels(np.arange(len(grid)))
    assert painted.shape == (height, width) and painted.dtype == np.float32
    ys, xs = np.mgrid[:height, :width] + 0.5
    x0, y0, x1, y1 = grid.seen
    seen = (xs >= x0) & (xs < x1) & (ys >= y0) & (ys < y1)
    np.testing.assert_array_equal(np.isnan(painted), ~seen)
    token = painted[seen].astype(int)
    boxes = grid.boxes[token]
    assert ((boxes[:, 0] <= xs[seen]) & (xs[seen] < boxes[:, 2])).all()
    assert ((boxes[:, 1] <= ys[seen]) & (ys[seen] < boxes[:, 3])).all()


@given(sides, sides, settings_and_backends, st.integers(1, 90))
def test_a_smaller_map_covers_the_same_photo(width, height, choice, max_side):
    grid = any_grid(width, height, choice)
    small = grid.to_pixels(np.arange(len(grid)), max_side=max_side)
    rows, cols = small.shape
    assert max(rows, cols) == min(max_side, max(width, height))
    for row, col in {(0, 0), (rows // 2, cols // 2), (rows - 1, cols - 1)}:
        x, y = (col + 0.5) * width / cols, (row + 0.5) * height / rows
        inside = (grid.boxes[:, :2] <= (x, y)).all(axis=1) & ((x, y) < grid.boxes[:, 2:]).all(axis=1)
        expected = np.flatnonzero(inside)
        assert (np.isnan(small[row, col]) and not len(expected)) or small[row, col] in expected


def test_a_map_of_fifty_megapixels_can_be_drawn_small(checkpoint_processor):
    grid = llava_grid((10_000, 5_000), checkpoint_processor, patch_size=14, tower_size=336)
    painted = grid.to_pixels(np.ones(576), max_side=1000)
    assert painted.shape == (500, 1000)
    assert np.isfinite(painted).mean() == pytest.approx(1 - grid.unseen_share, abs=0.002)


def test_the_mass_of_a_map_follows_membership():
    """Painting 1 / area and summing inside a box of whole pixels gives the share of each token in it."""
    grid = grid_of((60, 60))
    painted = grid.to_pixels(np.arange(len(grid)))
    counted = np.bincount(painted[7:33, 12:41].astype(int).ravel(), minlength=len(grid)) / 100
    np.testing.assert_allclose(grid.membership((12, 7, 41, 33)), counted, atol=1e-6)


def two_views():
    """A base view of four tokens and a tile of two over the left half."""
    base = [(0, 0, 10, 10), (10, 0, 20, 10), (0, 10, 10, 20), (10, 10, 20, 20)]
    tile = [(0, 0, 10, 10), (0, 10, 10, 20)]
    return ImageGrid(
        image_size=(20, 20),
        boxes=np.array(base + tile, dtype=float),
        rows=np.array([0, 0, 1, 1, 0, 1]),
        cols=np.array([0, 1, 0, 1, 0, 0]),
        view=np.array([0, 0, 0, 0, 1, 1]),
        seen=(0, 0, 20, 20),
    )


def test_several_views_average_where_they_overlap():
    painted = two_views().to_pixels(np.array([1, 2, 3, 4, 5, 6]))
    np.testing.assert_array_equal(painted[::10, ::10], [[3, 2], [4.5, 4]])
    with pytest.raises(InputError, match="name one of them"):
        two_views().as_grid(np.zeros(6))
    with pytest.raises(InputError, match="name one of them"):
        two_views().as_grid(np.zeros(6), view=2)
    np.testing.assert_array_equal(two_views().as_grid(np.arange(6.0), view=0), [[0, 1], [2, 3]])
    np.testing.assert_array_equal(two_views().as_grid(np.arange(6.0), view=1), [[4], [5]])
    assert "6 tokens" in two_views().describe()
    assert two_views().area_share((0, 0, 10, 20)) == 0.5


def test_values_are_laid_out_in_rows_and_columns():
    grid = grid_of((60, 40))
    laid_out = grid.as_grid(np.arange(72).reshape(2, 36))
    np.testing.assert_array_equal(laid_out, np.arange(72).reshape(2, 6, 6))
    assert laid_out.dtype == np.float32


def test_a_grid_can_not_be_changed():
    grid = grid_of((60, 40))
    with pytest.raises(ValueError, match="read-only"):
        grid.boxes[0] = 0
    with pytest.raises(dataclasses.FrozenInstanceError):
        grid.seen = (0, 0, 1, 1)


def test_the_examples_of_the_docstrings_are_true(checkpoint_processor):
    holder = type("Processor", (), {"image_processor": checkpoint_processor})
    names = {"processor": holder, "CLIPImageProcessor": transformers.CLIPImageProcessor}
    names["llava_grid"] = llava_grid
    names["grid"] = llava_grid((640, 480), checkpoint_processor, patch_size=14, tower_size=336)
    flags = doctest.NORMALIZE_WHITESPACE
    for module in (interp.grid, interp.resizing, interp.families.llava):
        result = doctest.testmod(module, extraglobs=names, optionflags=flags)
        assert result.attempted > 0 and result.failed == 0
