"""Measures of maps against regions: against counting pixels and loops over tokens."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from whole_pixels import BOX, GRID, GRIDS, HEIGHT, VIEWS, WIDTH, random_maps

from interp.errors import InputError
from interp.image.boxes import Box
from interp.image.grid import ImageGrid, grid_of_views
from interp.overlap.measures import MEASURES, measure_regions
from interp.overlap.regions import region_of

COUNTED = ("auroc", "precision", "nss", "distance")  # by pixels


def painted(boxes):
    """Which pixels of the photo lie in a box."""
    inside = np.zeros((HEIGHT, WIDTH), dtype=bool)
    for x0, y0, x1, y1 in (map(int, box.xyxy) for box in boxes):
        inside[y0:y1, x0:x1] = True
    return inside


def pixels(name, values, boxes, kept=None):
    """The map's value at each seen pixel, and whether it lies in a box; one view after the other."""
    start, found = 0, []
    for one in VIEWS[name]:
        grid = grid_of_views((WIDTH, HEIGHT), [one])
        own = slice(start, start + len(grid))
        raster = grid.to_pixels(np.asarray(values)[own])
        playing = np.nan_to_num(grid.to_pixels(np.ones(len(grid)) if kept is None else kept[own])) > 0
        found.append((raster[playing], painted(boxes)[playing]))
        start += len(grid)
    return (np.concatenate(part) for part in zip(*found, strict=True))


def auroc_by_pairs(values, inside):
    """Of all pairs of a pixel inside and one outside, the share in which the former has more; ties count half."""
    if inside.all() or not inside.any():
        return np.nan
    levels = np.unique(values)
    n_in, n_out = ([np.sum(values[part] == level) for level in levels] for part in (inside, ~inside))
    wins = [(a > b) + (a == b) / 2 for a in levels for b in levels]
    return np.average(wins, weights=np.outer(n_in, n_out).ravel())


def precision_by_thresholds(values, inside):
    """The sum over thresholds, from the highest, of precision times what recall gains there."""
    total, recall = 0.0, 0.0
    for threshold in sorted(set(values.tolist()), reverse=True):
        chosen = values >= threshold
        gained = inside[chosen].sum() / inside.sum()
        total, recall = total + (gained - recall) * inside[chosen].mean(), gained
    return total


def nss_by_definition(values, inside):
    return np.nan if np.ptp(values) == 0 else ((values - values.mean()) / values.std())[inside].mean()


def distance_by_pixels(grid, values, boxes):
    """Each token's weight spread over its pixels, against the pixels of the boxes that were seen."""
    weight = np.zeros((HEIGHT, WIDTH))
    for value, (x0, y0, x1, y1) in zip(values, grid.boxes.astype(int), strict=True):
        if (x1 - x0) * (y1 - y0):
            weight[y0:y1, x0:x1] += value / ((x1 - x0) * (y1 - y0))
    x0, y0, x1, y1 = map(int, grid.seen)
    seen = np.zeros((HEIGHT, WIDTH), dtype=bool)
    seen[y0:y1, x0:x1] = True
    rows, cols = np.indices(weight.shape) + 0.5
    inside = painted(boxes) & seen
    across = (weight * cols).sum() / weight.sum() - cols[inside].mean()
    down = (weight * rows).sum() / weight.sum() - rows[inside].mean()
    return np.hypot(across, down) / np.hypot(WIDTH, HEIGHT)


def measure_one(values, boxes=(BOX,), grid=GRID, **more):
    found = measure_regions(np.asarray(values), [region_of(boxes, grid)], grid, **more)
    return {name: float(value[0]) for name, value in found.items()}


def on_tokens(*tokens, n=30):
    return np.isin(np.arange(n), tokens).astype(float)


@st.composite
def boxes_in_photo(draw):
    """One to three boxes with corners on whole pixels."""
    found = []
    for _ in range(draw(st.integers(1, 3))):
        x0, y0 = draw(st.integers(0, WIDTH - 1)), draw(st.integers(0, HEIGHT - 1))
        x1, y1 = draw(st.integers(x0 + 1, WIDTH)), draw(st.integers(y0 + 1, HEIGHT))
        found.append(Box("thing", (x0, y0, x1, y1)))
    return found


@pytest.mark.parametrize("name", VIEWS)
@settings(max_examples=25)
@given(data=st.data())
def test_auroc_precision_nss_and_distance_equal_counting_pixels(name, data):
    grid = GRIDS[name]
    levels = st.integers(0, data.draw(st.sampled_from([1, 3, 50])))  # few levels make many ties
    values = np.array(data.draw(st.lists(levels, min_size=len(grid), max_size=len(grid))), dtype=np.float32)
    boxes = data.draw(boxes_in_photo())
    found = measure_one(values, boxes, grid)
    shown, inside = pixels(name, values, boxes)
    if not inside.any() or not values.sum():
        assert all(np.isnan(found[key]) for key in COUNTED)
        return
    assert found["auroc"] == pytest.approx(auroc_by_pairs(shown, inside), abs=1e-6, nan_ok=True)
    assert found["precision"] == pytest.approx(precision_by_thresholds(shown, inside), abs=1e-6)
    expected = nss_by_definition(shown.astype(float), inside)
    assert found["nss"] == pytest.approx(expected, abs=1e-5, nan_ok=True)
    if shown.sum():
        assert found["distance"] == pytest.approx(distance_by_pixels(grid, values, boxes), abs=1e-9)
    else:  # all of the weight lies on padding
        assert np.isnan(found["distance"])


@pytest.mark.parametrize("name", VIEWS)
@settings(max_examples=25)
@given(data=st.data())
def test_hit_and_hit_near_equal_a_loop_over_the_neighbours(name, data):
    grid = GRIDS[name]
    levels = st.lists(st.integers(0, 4), min_size=len(grid), max_size=len(grid))
    values = np.array(data.draw(levels), dtype=float)
    region = region_of(data.draw(boxes_in_photo()), grid)
    found = measure_regions(values, [region], grid, measures=("hit", "hit_near"))
    if not region.objects_seen or not values.sum():
        assert np.isnan(found["hit"][0]) and np.isnan(found["hit_near"][0])
        return
    place = list(zip(grid.view.tolist(), grid.rows.tolist(), grid.cols.tolist(), strict=True))
    near = [
        any(
            region.target[other] and v == w and abs(r - s) <= 1 and abs(c - d) <= 1
            for other, (w, s, d) in enumerate(place)
        )
        for v, r, c in place
    ]
    top = np.flatnonzero(values == values.max())
    assert found["hit"][0] == pytest.approx(np.mean(region.target[top]))
    assert found["hit_near"][0] == pytest.approx(np.mean([near[token] for token in top]))


def test_a_map_that_marks_the_object_alone_has_the_best_of_every_score():
    aligned = [Box("mug", (8, 8, 24, 16))]  # tokens 7 and 8 of rows of 6
    found = measure_one(on_tokens(7, 8), aligned)
    assert [found[name] for name in ("auroc", "precision", "hit", "hit_near")] == pytest.approx([1] * 4)
    assert found["distance"] == pytest.approx(0)
    assert found["nss"] == pytest.approx(((1 - 2 / 30) / (2 / 30)) ** 0.5)  # (1 - p) / sqrt(p (1 - p))


def test_a_map_that_marks_everything_else_has_the_worst():
    aligned = [Box("mug", (8, 8, 24, 16))]
    found = measure_one(1 - on_tokens(7, 8), aligned)
    assert [found[name] for name in ("auroc", "hit")] == pytest.approx([0, 0])
    assert found["precision"] == pytest.approx(2 / 30)
    assert found["nss"] == pytest.approx(-(((1 - 2 / 30) / (2 / 30)) ** 0.5))


def test_hit_near_reaches_one_token_also_diagonally_and_not_two():
    speck = [Box("ring", (18, 10, 22, 14))]  # inside token 8: row 1, column 2
    near = [measure_one(on_tokens(token), speck)["hit_near"] for token in range(30)]
    assert np.flatnonzero(near).tolist() == [1, 2, 3, 7, 8, 9, 13, 14, 15]
    assert measure_one(on_tokens(9), speck)["hit"] == 0


def test_hit_near_does_not_reach_around_the_end_of_a_row_or_into_another_view():
    corner = [Box("ring", (41, 1, 47, 7))]  # the last token of the first row
    assert measure_one(on_tokens(6), corner)["hit_near"] == 0  # the first one of the second row
    tiled = GRIDS["tiled"]
    speck = region_of([Box("ring", (1, 33, 7, 39))], tiled)  # last row, first column of views 0 and 1
    for token in np.flatnonzero((tiled.view == 2) & (tiled.rows == 0)):
        assert measure_regions(on_tokens(token, n=len(tiled)), [speck], tiled)["hit_near"][0] == 0


def test_the_distance_of_one_token_is_that_of_its_centre():
    found = measure_one(on_tokens(0), [Box("mug", (44, 36, 48, 40))])
    assert found["distance"] == pytest.approx(np.hypot(46 - 4, 38 - 4) / np.hypot(48, 40))


def test_ranks_alone_decide_auroc_and_precision():
    values = random_maps(20).astype(float)
    plain, bent = (measure_regions(maps, [region_of([BOX], GRID)], GRID) for maps in (values, np.sqrt(values)))
    for name in ("auroc", "precision"):
        assert np.allclose(plain[name], bent[name], atol=1e-12)


def test_scale_changes_mass_and_lift_alone():
    values = random_maps(20)
    region = region_of([BOX], GRID)
    plain, large = (measure_regions(maps, [region], GRID) for maps in (values, 8 * values))
    for name in MEASURES:
        assert np.allclose(large[name], plain[name] * (8 if name in ("mass", "lift") else 1), rtol=1e-9)


def test_many_maps_and_regions_at_once_are_each_measured_as_if_alone():
    maps = random_maps(2, 3, seed=4)
    maps[0, 1], maps[1, 2] = np.nan, 0
    regions = [region_of([BOX], GRID), region_of([], GRID), region_of([Box("pen", (30, 30, 31, 32))], GRID)]
    found = measure_regions(maps, regions, GRID)
    for place, region in enumerate(regions):
        for index in np.ndindex(2, 3):
            alone = measure_regions(maps[index], [region], GRID)
            for name in MEASURES:
                assert found[name][place][index] == pytest.approx(alone[name][0], nan_ok=True), name
                known = region.objects and index not in [(0, 1)] + [(1, 2)] * (name not in ("mass", "lift"))
                assert np.isfinite(found[name][place][index]) == known, name


def test_tokens_that_do_not_take_part_are_as_if_they_were_not_there():
    for name, grid in GRIDS.items():
        rng = np.random.default_rng(len(name))
        kept = rng.random(len(grid)) < 0.7
        maps = random_maps(8, grid=grid, seed=1)
        region = region_of([BOX, Box("pen", (30, 25, 40, 33))], grid)
        parts = {part: getattr(grid, part)[kept] for part in ("boxes", "rows", "cols", "view")}
        smaller = ImageGrid(grid.image_size, **parts, seen=grid.seen)
        cut = replace(region, **{part: getattr(region, part)[kept] for part in ("mask", "target", "near")})
        found = measure_regions(maps, [region], grid, kept=kept)
        expected = measure_regions(maps[:, kept], [cut], smaller)
        for key in MEASURES:
            assert np.allclose(found[key], expected[key], rtol=1e-9, equal_nan=True), (name, key)
        assert np.allclose(found["lift"], found["mass"] / region.mask[kept].mean())


def test_each_map_may_leave_out_tokens_of_its_own():
    maps, region = random_maps(5), region_of([BOX], GRID)
    kept = np.random.default_rng(3).random((5, 30)) < 0.6
    found = measure_regions(maps, [region], GRID, kept=kept)
    for place in range(5):
        alone = measure_regions(maps[place], [region], GRID, kept=kept[place])
        for name in MEASURES:
            assert found[name][0, place] == pytest.approx(alone[name][0])


def test_a_region_of_which_no_token_takes_part_is_undefined():
    kept = region_of([BOX], GRID).mask == 0
    assert all(np.isnan(value) for value in measure_one(random_maps(), kept=kept).values())


def test_a_constant_map_has_no_nss_and_half_an_auroc():
    for constant in (1, 1 / 3, 1e-9):
        found = measure_one(np.full(30, constant))
        assert np.isnan(found["nss"]) and found["auroc"] == pytest.approx(0.5)
        assert found["precision"] == pytest.approx(19 * 17 / (WIDTH * HEIGHT))


def test_a_region_that_fills_the_photo_has_no_outside_to_rank():
    found = measure_one(random_maps(), [Box("all", (0, 0, WIDTH, HEIGHT))])
    assert np.isnan(found["auroc"]) and found["precision"] == pytest.approx(1)
    assert found["nss"] == pytest.approx(0, abs=1e-9) and found["mass"] == pytest.approx(random_maps().sum())


def test_no_region_or_no_map_gives_no_value():
    assert {values.shape for values in measure_regions(random_maps(2, 3), [], GRID).values()} == {(0, 2, 3)}
    assert measure_regions(random_maps(0), [region_of([BOX], GRID)], GRID)["precision"].shape == (1, 0)


def test_only_what_was_asked_for_is_measured():
    assert set(measure_one(random_maps(), measures=("auroc", "mass"))) == {"auroc", "mass"}


@pytest.mark.parametrize(
    ("maps", "regions", "options", "message"),
    [
        (np.ones(29), [BOX], {}, "30 tokens"),
        (np.ones(30), [BOX], {"measures": ("iou",)}, "'iou'"),
    ],
)
def test_what_can_not_be_measured_is_refused(maps, regions, options, message):
    with pytest.raises(InputError, match=message):
        measure_regions(maps, [region_of([box], GRID) for box in regions], GRID, **options)
