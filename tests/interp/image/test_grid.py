"""Areas add up exactly, views keep apart, and a map is painted where its tokens lie."""

import dataclasses
import doctest

import numpy as np
import pytest
import transformers
from hypothesis import assume, given
from hypothesis import strategies as st
from made_up import square_grid
from square_grids import (
    SETTINGS,
    grid_of,
)

import interp.families.llava
import interp.image.grid
import interp.image.resizing
from interp.errors import InputError
from interp.families.llava import llava_grid
from interp.image.boxes import Box, Boxes
from interp.image.grid import ImageGrid


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
    for module in (interp.image.grid, interp.image.resizing, interp.families.llava):
        result = doctest.testmod(module, extraglobs=names, optionflags=flags)
        assert result.attempted > 0 and result.failed == 0


def test_tokens_in_a_box_are_those_that_it_covers_so_far():
    grid = square_grid((60, 60), 4)
    for token in (0, 5):
        x0, y0, x1, y1 = grid.boxes[token]
        assert grid.tokens_in((x0, y0, x1, y1)) == (token,)
        half = (x0, y0, (x0 + x1) / 2, y1)
        assert grid.tokens_in(half) == (token,)
        with pytest.raises(InputError, match="no image token"):
            grid.tokens_in(half, at_least=0.6)
        assert grid.tokens_in(half, at_least=0.4) == (token,)
    assert grid.tokens_in([tuple(box) for box in grid.boxes[:3]]) == (0, 1, 2)
    for share in (0, 1.5, -1):
        with pytest.raises(InputError, match="above 0"):
            grid.tokens_in(grid.boxes[0], at_least=share)
