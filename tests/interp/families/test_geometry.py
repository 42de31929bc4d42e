"""What holds of image tokens in every family, whatever the shape of the photo."""

from functools import cache

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from interp.errors import InputError
from interp.families import family_of
from interp.zoo.tiny import TINY, build_tiny

LONG, SHORT = st.integers(1, 4000), st.integers(1, 300)
SIZES = st.one_of(st.tuples(LONG, SHORT), st.tuples(SHORT, LONG))
pytestmark = pytest.mark.parametrize("name", TINY)
CUT_OFF = {"tiny-llava", "tiny-llava_onevision"}
"""LLaVA-1.5 crops; the tiles of LLaVA-OneVision are no whole number of patches."""
many = settings(max_examples=25, deadline=None, derandomize=True)


@cache
def parts(name):
    model, processor = build_tiny(name)
    return family_of(model), processor, model.config


def grid_of(name, size):
    family, processor, config = parts(name)
    try:
        return family.grid(size, processor, config)
    except InputError:
        assume(False)


def areas(boxes):
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])


@many
@given(size=SIZES)
def test_nothing_lies_outside_the_photo_and_tokens_of_a_view_do_not_overlap(name, size):
    grid = grid_of(name, size)
    assert (
        (grid.boxes >= 0).all()
        and (grid.boxes[:, [0, 2]] <= size[0]).all()
        and (grid.boxes[:, [1, 3]] <= size[1]).all()
    )
    assert (grid.reach >= 0).all() and np.isfinite(grid.reach).all()
    for view in np.unique(grid.view):
        own = grid.view == view
        for place, start, end in ((grid.cols[own], 0, 2), (grid.rows[own], 1, 3)):
            edges = {}
            for number, box in zip(place, grid.boxes[own], strict=True):
                assert edges.setdefault(number, (box[start], box[end])) == (box[start], box[end])
            ordered = [edges[number] for number in sorted(edges)]
            assert all(one[1] <= other[0] for one, other in zip(ordered[:-1], ordered[1:], strict=True))


@many
@given(size=SIZES)
def test_one_view_of_the_whole_photo_adds_up_to_what_was_seen(name, size):
    """Families see all of a photo in one view, but for LLaVA-1.5, which crops, and towers that take whole tokens."""
    grid = grid_of(name, size)
    own = grid.view == 0
    boxes = grid.boxes[own]
    hull = np.concatenate([boxes[:, :2].min(0), boxes[:, 2:].max(0)])
    assert areas(boxes).sum() == pytest.approx(areas(hull[None])[0])
    if name not in CUT_OFF:
        assert hull == pytest.approx([0, 0, *size])


@many
@given(size=SIZES, corners=st.tuples(*[st.floats(-0.5, 1.5)] * 4))
def test_membership_is_the_share_of_each_token_s_area_also_of_a_box_partly_outside(name, size, corners):
    x0, x1 = sorted((corners[0] * size[0], corners[2] * size[0]))
    y0, y1 = sorted((corners[1] * size[1], corners[3] * size[1]))
    assume(x1 - x0 > 1e-3 and y1 - y0 > 1e-3)
    grid = grid_of(name, size)
    share = grid.membership((x0, y0, x1, y1))
    assert (share >= 0).all() and (share <= 1).all()
    for box, own in list(zip(grid.boxes, share, strict=True))[:: max(1, len(grid) // 16)]:
        width = max(0.0, min(box[2], x1) - max(box[0], x0))
        height = max(0.0, min(box[3], y1) - max(box[1], y0))
        area = (box[2] - box[0]) * (box[3] - box[1])
        assert own == pytest.approx(width * height / area if area > 0 else 0.0, abs=1e-5)
    assert grid.membership((0, 0, *size)) == pytest.approx((areas(grid.boxes) > 0).astype(float))


@many
@given(size=st.tuples(st.integers(1, 400), st.integers(1, 300)))
def test_what_is_painted_over_the_photo_is_read_back_at_each_token_s_centre(name, size):
    grid = grid_of(name, size)
    values = np.where(grid.view == 0, np.arange(len(grid)), np.nan)
    own = np.flatnonzero(grid.view == 0)
    whole = (grid.boxes[own, 2:] - grid.boxes[own, :2] >= 2).all(1)
    alone = np.unique(grid.view).tolist() == [0]
    painted = grid.to_pixels(np.arange(len(grid), dtype=float))
    assert painted.shape == (size[1], size[0])
    x, y = ((grid.boxes[own, :2] + grid.boxes[own, 2:]) / 2).astype(int).T
    assert np.isfinite(painted[y[whole], x[whole]]).all()
    if alone:
        assert (painted[y[whole], x[whole]] == values[own][whole]).all()


@many
@given(size=SIZES)
def test_placeholders_are_filled_in_order(name, size):
    grid = grid_of(name, size)
    assert (np.diff(grid.slots) > 0).all() and grid.n_slots > grid.slots[-1]
    assert grid.describe().startswith("The model saw")
