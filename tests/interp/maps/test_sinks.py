"""Maps by themselves: sinks that were planted and no others, border weight, and spots found by flooding."""

import math

import numpy as np
import pytest
import tiny
from hypothesis import given, settings
from hypothesis import strategies as st
from made_up import layout_of, softmax_rows, square_grid

from interp.errors import InputError
from interp.image.boxes import Box
from interp.image.grid import View, grid_of_views
from interp.image.lattice import border_mass, border_tokens
from interp.layers import HEAD_MEAN
from interp.maps.sinks import (
    SINK_DIMENSIONS,
    SinkDimensions,
    find_sink_dimensions,
    hidden_sinks,
    mass_sinks,
    non_sink_share,
    published_sink_dimensions,
    sink_values,
)
from interp.maps.trajectory import trajectory
from interp.overlap.map_measures import measure_maps
from interp.overlap.measures import MAP_MEASURES, MEASURES, region_of
from interp.overlap.overlap import overlap

WIDTH = 1024  # of the residual stream
RESIDUAL = "blocks.{}.hook_resid_pre".format
GRID = square_grid((60, 60), 6)
PLACES = [(0, 60, 5, 4), (0, 30, 4, 6), (30, 60, 3, 6)]  # of views: left, right, edges of columns and rows
VIEWS = [View(np.linspace(a, b, n), np.linspace(0, 60, m), view) for view, (a, b, n, m) in enumerate(PLACES)]
TILED = grid_of_views((60, 60), VIEWS)
MUG = Box("mug", (10, 10, 29, 20))
MASK = region_of([MUG], GRID).mask
SINKS = np.isin(np.arange(36), [7, 30])  # token 7 lies in MUG


def random_maps(images, seed=0):
    return np.random.default_rng(seed).gamma(0.5, size=(images, 4, 3, 36))


def random_streams(layout, *, n_layers=4, batch=2, seed=0):
    rng = np.random.default_rng(seed)
    return {RESIDUAL(layer): rng.normal(size=(batch, layout.length, WIDTH)) for layer in range(n_layers)}


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


def test_the_sink_value_is_the_largest_sink_dimension_over_the_root_mean_square():
    stream = np.array([0.0, -3.0, 4.0, 0.0])  # root mean square 2.5
    assert sink_values(stream, [1]) == pytest.approx(1.2)
    assert sink_values(stream, SinkDimensions((1, 2), estimated=False)) == pytest.approx(1.6)
    assert np.isnan(sink_values(np.zeros(4), [1]))


def test_the_sink_value_has_the_root_of_the_width_as_its_limit_and_knows_no_scale():
    alone = np.zeros(WIDTH)
    alone[7] = -250.0
    assert sink_values(alone, [7, 9]) == pytest.approx(WIDTH**0.5)
    stream = np.random.default_rng(0).normal(size=(5, WIDTH))
    assert np.allclose(sink_values(stream, [7]), sink_values(1000 * stream, [7]))


def test_planted_sinks_are_found_in_their_layers_and_nothing_else_is():
    layout = layout_of(9, pads=3)
    cache = random_streams(layout)
    assert not hidden_sinks(cache, layout, [7, 500]).any()  # under the null
    for layer, token in [(2, 4), (3, 4), (3, 8)]:
        cache[RESIDUAL(layer)][1, layout.image_positions[token], 500] = -60.0
    found = hidden_sinks(cache, layout, [7, 500], sample=1)
    assert sorted(zip(*np.nonzero(found), strict=True)) == [(2, 4), (3, 4), (3, 8)] and found.shape == (4, 9)
    assert not hidden_sinks(cache, layout, [7, 500], sample=0).any()
    assert not hidden_sinks(cache, layout, [7], sample=1).any()


def test_a_token_is_a_sink_from_the_threshold_on():
    layout = layout_of(2)
    cache = {"blocks.0.hook_resid_pre": np.ones((1, layout.length, WIDTH))}
    height = 20 * ((WIDTH - 1) / (WIDTH - 400)) ** 0.5  # has a sink value of 20 among ones
    cache["blocks.0.hook_resid_pre"][0, layout.image_positions, 3] = [height * 1.001, height * 0.999]
    assert hidden_sinks(cache, layout, [3]).tolist() == [[True, False]]


def test_the_dimensions_that_were_planted_at_the_first_position_are_estimated():
    layout = layout_of(9, pads=3)
    cache = random_streams(layout)
    for layer in (2, 3):
        cache[RESIDUAL(layer)][0, 3, [81, 700]] = [-90.0, 40.0]  # behind the padding
        cache[RESIDUAL(layer)][0, 0, 5] = 900.0  # padding
    cache["blocks.0.hook_resid_pre"][0, 3, 9] = 500.0  # before sinks form
    found = find_sink_dimensions(cache, layout)
    assert found.dimensions == (81, 700) and found.estimated
    assert found.ratios == pytest.approx((90 / 0.6745, 40 / 0.6745), rel=0.1)  # median of |normal|
    assert "estimate" in found.describe() and "81, 700" in found.describe()
    assert max(find_sink_dimensions(random_streams(layout), layout).ratios) < 10  # under the null


def test_published_dimensions_are_given_by_checkpoint_and_are_no_estimate():
    found = published_sink_dimensions("llava-hf/llava-1.5-7b-hf")
    assert found == SinkDimensions((1415, 2533), estimated=False) and "published" in found.describe()
    assert max(max(places) for places in SINK_DIMENSIONS.values()) < 5120
    with pytest.raises(InputError, match="find_sink_dimensions"):
        published_sink_dimensions("Qwen/Qwen2.5-VL-7B-Instruct")


def test_sink_values_of_a_real_run_equal_those_of_its_residual_streams():
    hooked = tiny.vlm()
    batch = tiny.inputs(hooked, 2)
    _, cache = hooked.run_with_cache(batch, names_filter=[RESIDUAL(layer) for layer in range(3)])
    for sample, layout in enumerate(batch.layouts):
        dimensions = find_sink_dimensions(cache, layout, sample=sample)
        found = hidden_sinks(cache, layout, dimensions, threshold=1.5, sample=sample)
        assert found.shape == (3, len(layout.image_positions)) and 0 < found.mean() < 1
        for layer in range(3):
            for token, position in enumerate(layout.image_positions):
                stream = cache["resid_pre", layer][sample, position].tolist()
                value = max(abs(stream[d]) for d in dimensions.dimensions)
                assert found[layer, token] == (value >= 1.5 * math.sqrt(sum(x * x for x in stream) / len(stream)))


def test_a_threshold_that_no_stream_of_this_width_can_reach_is_refused():
    layout = layout_of(4)
    narrow = {"blocks.0.hook_resid_pre": np.ones((1, layout.length, 128))}
    with pytest.raises(InputError, match="128 no sink value exceeds 11.3.*20 marks no token"):
        hidden_sinks(narrow, layout, [3])


@pytest.mark.parametrize(
    ("cache", "dimensions", "message"),
    [
        ({}, [3], r"layers \[\]"),
        ({"blocks.1.hook_resid_pre": np.ones((1, 20, WIDTH))}, [3], r"layers \[1\].*from 0 on"),
        ({"vision.blocks.0.hook_resid_pre": np.ones((1, 20, WIDTH))}, [3], r"layers \[\]"),
        ({"blocks.0.hook_resid_pre": np.ones((20, WIDTH))}, [3], "batch axis"),
        ({"blocks.0.hook_resid_pre": np.ones((1, 20, WIDTH))}, [WIDTH], "from 0 to 1023"),
        ({"blocks.0.hook_resid_pre": np.ones((1, 20, WIDTH))}, [], r"dimensions \[\]"),
    ],
)
def test_streams_and_dimensions_that_do_not_fit_are_refused(cache, dimensions, message):
    with pytest.raises(InputError, match=message):
        hidden_sinks(cache, layout_of(4), dimensions)


@pytest.mark.parametrize("options", [{"skip_layers": 4}, {"count": 0}, {"count": WIDTH + 1}])
def test_an_estimate_from_nothing_is_refused(options):
    layout = layout_of(4)
    with pytest.raises(InputError, match="leave nothing"):
        find_sink_dimensions(random_streams(layout), layout, **options)


def test_a_token_that_is_always_on_is_a_sink_and_one_that_often_is_is_not():
    maps = random_maps(20)
    maps[:, :, :, 5] += 0.5 * maps.sum(axis=-1)
    maps[:17, :, :, 9] += 0.5 * maps[:17].sum(axis=-1)  # in 85 % of the images
    assert np.flatnonzero(mass_sinks(maps)).tolist() == [5]
    assert np.flatnonzero(mass_sinks(maps, most=0.8)).tolist() == [5, 9]
    assert not mass_sinks(maps, times=30).any()


def test_attention_that_falls_anywhere_has_no_sinks_and_an_object_that_moves_is_none():
    maps = random_maps(20)
    assert not mass_sinks(maps).any()
    for place, image in enumerate(maps):
        image[..., place] += 5 * image.sum(axis=-1)
    assert not mass_sinks(maps).any()


def test_every_head_counts_alike_however_much_it_gives_the_image():
    maps = random_maps(6)
    maps[:, 0, 0] = 1000.0 * (np.arange(36) == 7)  # one head of twelve: a share of at least 1 / 12
    assert mass_sinks(maps, times=2.0)[7] and not mass_sinks(maps, times=6.0)[7]
    maps[:, 1] = 0  # a layer that does not look at the image at all does not count
    assert mass_sinks(maps, times=2.0)[7]


def test_trajectories_are_taken_as_they_are():
    layout = layout_of(36)
    patterns = [softmax_rows(layout, 2, 3, seed=seed) for seed in range(4)]
    found = mass_sinks([trajectory(pattern, layout, GRID) for pattern in patterns], times=1.0, most=0.5)
    plain = mass_sinks([pattern[..., layout.image_positions] for pattern in patterns], times=1.0, most=0.5)
    assert np.array_equal(found, plain) and 0 < found.sum() < 36


@pytest.mark.parametrize(
    ("maps", "options", "message"),
    [
        (random_maps(1), {}, "1 images"),
        ([np.ones(36), np.ones(35)], {}, r"\[35, 36\] tokens"),
        (random_maps(3), {"times": 36}, "below its tokens"),
        (random_maps(3), {"times": 0}, "times above 0"),
        (random_maps(3), {"most": 1.1}, "up to 1"),
        ([np.ones(36), np.zeros(36)], {}, "image 1 has no attention"),
        ([np.ones(36), np.full(36, np.nan)], {}, "image 1"),
    ],
)
def test_samples_that_tell_nothing_of_sinks_are_refused(maps, options, message):
    with pytest.raises(InputError, match=message):
        mass_sinks(maps, **options)


def test_the_share_that_is_not_on_sinks_has_the_published_value():
    weights, sinks = np.array([0.35, 0.10, 0.20]), np.array([True, False, False])
    assert non_sink_share(weights, sinks) == pytest.approx(0.4615, abs=5e-5)
    assert np.isnan(non_sink_share(np.zeros(3), sinks))
    assert non_sink_share(np.stack([weights, weights[::-1]]), sinks) == pytest.approx([0.3 / 0.65, 0.45 / 0.65])


def without_sinks(maps, key, sinks=SINKS, box=MUG):
    found = overlap(maps, GRID, [box], normalisations=("no-sinks",), sinks=sinks)
    return found.values(key, normalisation="no-sinks"), found


def by_hand(weights, kept):
    """Cosine, mass and lift of one map, over the tokens that are kept."""
    a, mask = weights[kept] / weights[kept].sum(), MASK[kept]
    return a @ mask / np.linalg.norm(a) / np.linalg.norm(mask), a @ mask, a @ mask / mask.mean()


def test_without_sinks_it_makes_no_difference_what_they_draw():
    maps = random_maps(1)[0]
    loud, quiet = maps + 50 * SINKS, np.where(SINKS, 0.01, maps)
    for key in (*MEASURES, *MAP_MEASURES):
        assert not np.allclose(*(overlap(one, GRID, [MUG]).values(key) for one in (loud, quiet)), atol=1e-3), key
        assert np.allclose(without_sinks(loud, key)[0], without_sinks(quiet, key)[0], atol=1e-6), key
    for place, key in enumerate(("cosine", "mass", "lift")):
        assert without_sinks(loud, key)[0][3, 2] == pytest.approx(by_hand(maps[3, 2], ~SINKS)[place], rel=1e-4)


def test_even_attention_without_sinks_scores_what_is_called_even():
    for key in set(MEASURES) - {"nss"}:
        values, found = without_sinks(np.ones((2, 3, 36)), key)
        assert values == pytest.approx(found.even_score(key, normalisation="no-sinks"), abs=1e-6), key
    assert found.even_score("mass", normalisation="no-sinks") == pytest.approx(0.9 / 34)


def test_sinks_may_differ_by_head_and_the_head_mean_leaves_out_each_heads_own():
    maps, sinks = random_maps(1)[0], np.random.default_rng(5).random((4, 3, 36)) < 0.2
    sinks[:, :, 4], sinks[:, :, 8] = True, False  # of the mean as well; some of MUG is left
    for place, key in enumerate(("cosine", "mass", "lift")):
        values, _ = without_sinks(maps, key, sinks)
        own = [by_hand(maps[index], ~sinks[index])[place] for index in np.ndindex(4, 3)]
        assert values[:, :3].ravel() == pytest.approx(own, rel=1e-4)
        means = [by_hand(np.where(sinks, 0, maps)[layer].mean(0), ~sinks[layer].all(0))[place] for layer in range(4)]
        assert values[:, HEAD_MEAN] == pytest.approx(means, rel=1e-4)


def test_sinks_by_layer_are_those_of_each_of_its_heads():
    maps, sinks = random_maps(1)[0], np.random.default_rng(5).random((4, 36)) < 0.2
    for key in MEASURES:
        values, found = without_sinks(maps, key, sinks)
        same, other = without_sinks(maps, key, np.repeat(sinks[:, None], 3, axis=1))
        assert np.array_equal(values, same, equal_nan=True)
        even = (one.even_score(key, normalisation="no-sinks") for one in (found, other))
        assert len({round(score, 6) for score in even}) == 1


def test_an_object_that_lies_on_sinks_alone_is_undefined_without_them():
    for key in MEASURES:
        values, found = without_sinks(random_maps(1)[0], key, box=Box("ring", (12, 12, 18, 18)))
        assert np.isnan(values).all() and np.isnan(found.even_score(key, normalisation="no-sinks"))


def test_the_border_is_the_outer_ring_of_each_view():
    ring = border_tokens(GRID).reshape(6, 6)
    assert ring.sum() == 20 and not ring[1:-1, 1:-1].any()
    tiled = border_tokens(TILED)
    assert [int(tiled[TILED.view == number].sum()) for number in range(3)] == [10, 12, 10]


def test_border_mass_is_the_share_on_the_border_and_that_of_the_tokens_for_even_attention():
    values = on_cells((0, 3, 0.3), (2, 2, 0.1), (5, 5, 0.2))
    assert border_mass(values.ravel(), GRID) == pytest.approx(0.5 / 0.6)
    assert border_mass(np.full((2, 3, 36), 0.01), GRID) == pytest.approx(20 / 36)
    assert np.isnan(border_mass(np.zeros(36), GRID))
    with pytest.raises(InputError, match="36 tokens"):
        border_mass(np.ones(35), GRID)
