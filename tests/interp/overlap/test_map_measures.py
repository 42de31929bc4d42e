"""Measures of maps by themselves: spots found by flooding, and their entropy."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_up import square_grid

from interp.errors import InputError
from interp.image.boxes import Box
from interp.image.grid import View, grid_of_views
from interp.overlap.map_measures import MAP_MEASURES, measure_maps
from interp.overlap.overlap import overlap

GRID = square_grid((60, 60), 6)
PLACES = [(0, 60, 5, 4), (0, 30, 4, 6), (30, 60, 3, 6)]  # of views: left, right, edges of columns and rows
VIEWS = [View(np.linspace(a, b, n), np.linspace(0, 60, m), view) for view, (a, b, n, m) in enumerate(PLACES)]
TILED = grid_of_views((60, 60), VIEWS)
MUG = Box("mug", (10, 10, 29, 20))


def random_maps(images, seed=0):
    return np.random.default_rng(seed).gamma(0.5, size=(images, 4, 3, 36))


def flooded(values, grid):
    """The tokens above the mean, as sets that touch, by flooding from each in turn."""
    left = {token for token in range(len(grid)) if values[token] > values.mean()}
    place = np.stack([grid.view, grid.rows, grid.cols], axis=1)
    found = []
    while left:
        spot, edge = set(), [left.pop()]
        while edge:
            token = edge.pop()
            spot.add(token)
            touching = {other for other in left if np.abs(place[other] - place[token])[1:].max() <= 1}
            touching = {other for other in touching if place[other][0] == place[token][0]}
            left -= touching
            edge += touching
        found.append(sorted(spot))
    return found


def entropy(parts):
    shares = np.array(parts) / np.sum(parts)
    return -sum(share * math.log(share) for share in shares)


def spots_of(values, **options):
    return {key: float(value) for key, value in measure_maps(np.ravel(values), GRID, **options).items()}


def on_cells(*cells):
    values = np.zeros((6, 6))
    for row, col, value in cells:
        values[row, col] = value
    return values


TWO_BLOBS = on_cells((1, 1, 0.2), (1, 2, 0.2), (4, 4, 0.6))


@pytest.mark.parametrize(("weigh_by", "expected"), [("mass", 0.6619), ("count", 0.6365)])
def test_spatial_entropy_has_the_published_values(weigh_by, expected):
    found = spots_of(TWO_BLOBS, weigh_by=weigh_by)
    assert found["spatial_entropy"] == pytest.approx(expected, abs=5e-5) and found["peaks"] == 2


def test_two_diagonal_cells_are_one_spot_and_three_apart_have_the_entropy_of_three():
    diagonal = spots_of(on_cells((2, 2, 0.5), (3, 3, 0.5)))
    assert diagonal["spatial_entropy"] == 0 and diagonal["peaks"] == 1
    assert not np.signbit(diagonal["spatial_entropy"])
    apart = spots_of(on_cells((0, 0, 1 / 3), (0, 5, 1 / 3), (5, 2, 1 / 3)))
    assert apart["spatial_entropy"] == pytest.approx(math.log(3)) and apart["peaks"] == 3


@pytest.mark.parametrize("grid", [GRID, TILED], ids=["one view", "three views"])
@settings(max_examples=25)
@given(data=st.data())
def test_spots_equal_flooding(grid, data):
    levels = st.lists(st.integers(0, 4), min_size=len(grid), max_size=len(grid))
    maps = np.array(data.draw(st.lists(levels, min_size=1, max_size=3)), dtype=float)
    for weigh_by in ("mass", "count"):
        found = measure_maps(maps, grid, weigh_by=weigh_by)
        for place, values in enumerate(maps):
            spots = flooded(values, grid)
            amounts = [len(s) if weigh_by == "count" else (values[s] - values.mean()).sum() for s in spots]
            peaks, spread = (len(spots), entropy(amounts)) if spots else (0, np.nan)
            assert found["spatial_entropy"][place] == pytest.approx(spread, abs=1e-9, nan_ok=True)
            assert found["peaks"][place] == pytest.approx(peaks if values.sum() else np.nan, nan_ok=True)


def test_overlap_has_the_spots_of_its_maps_and_of_no_region():
    maps = random_maps(1)[0]
    found = overlap(maps, GRID, [MUG])
    expected = measure_maps(np.concatenate([maps, maps.mean(axis=1, keepdims=True)], axis=1), GRID)
    for key in MAP_MEASURES:
        assert np.allclose(found.values(key), expected[key], atol=1e-5)
        assert np.allclose(found.by_layer(key), expected[key][:, -1], atol=1e-5)
        with pytest.raises(InputError, match="leave out region='mug'"):
            found.values(key, region="mug")
        with pytest.raises(InputError, match="even attention has no"):
            found.even_score(key)


def test_a_spot_that_winds_through_the_whole_photo_is_one_spot():
    grid, values = square_grid((60, 60), 30), np.zeros((30, 30))
    values[::4] = 1
    for row in range(2, 30, 4):  # joins the lines at their ends, in turn left and right
        values[row - 1 : row + 2, 0 if row % 8 == 2 else -1] = 1
    assert measure_maps(values.ravel(), grid)["peaks"] == 1
    values[4, 15] = 0
    assert measure_maps(values.ravel(), grid)["peaks"] == 2


def test_a_map_that_is_the_same_everywhere_has_no_spot_whatever_the_rounding():
    for constant in (1, 1 / 3, 0.1, 1e-7):
        for dtype in (np.float32, np.float64):
            found = spots_of(np.full(36, constant, dtype=dtype))
            assert found["peaks"] == 0 and np.isnan(found["spatial_entropy"])


def test_a_map_without_weight_or_with_nan_is_undefined_and_spoils_no_other():
    maps = np.stack([TWO_BLOBS.ravel(), np.zeros(36), np.full(36, np.nan)])
    found = measure_maps(maps, GRID)
    assert found["spatial_entropy"] == pytest.approx([0.6619, np.nan, np.nan], abs=5e-5, nan_ok=True)
    assert found["peaks"] == pytest.approx([2, np.nan, np.nan], nan_ok=True)


def test_tokens_left_out_neither_stand_out_nor_count_for_the_mean():
    kept = np.ones(36, dtype=bool)
    kept[4 * 6 + 4] = False  # the blob of 0.6
    assert spots_of(TWO_BLOBS, kept=kept)["peaks"] == 1
    values = on_cells((0, 0, 0.3), (0, 5, 0.1), (5, 5, 50.0))  # beside 50 nothing else is above the mean
    assert spots_of(values)["peaks"] == 1
    kept[:], kept[35] = True, False
    assert spots_of(values, kept=kept)["spatial_entropy"] == pytest.approx(entropy([0.3 - 0.4 / 35, 0.1 - 0.4 / 35]))


@pytest.mark.parametrize(("maps", "options"), [(np.ones(35), {}), (np.ones(36), {"weigh_by": "area"})])
def test_maps_that_do_not_fit_are_refused(maps, options):
    with pytest.raises(InputError, match="35.*36 tokens|'area'"):
        measure_maps(maps, GRID, **options)
