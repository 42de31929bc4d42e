"""The nulls of overlap equal their definition by naive loops, and find nothing where there is nothing."""

import math

import numpy as np
import pytest
from made_up import square_grid

from interp.errors import InputError
from interp.image.boxes import Box
from interp.overlap.nulls import (
    NULL_MEASURES,
    REGIONS,
    WIDTH,
    BoxPool,
    centre_map,
    measure_centre,
    measure_draws,
    moved_boxes,
    other_heads,
)

GRID = square_grid((60, 48), 6)  # sees x 6 to 54


def maps_of(*shape, seed=0, n=36):
    return np.random.default_rng(seed).gamma(0.6, size=(*shape, n))


def boxes_of(rng, count, size=(60, 48)):
    corners = rng.uniform(0, 0.7, (count, 2)) * size
    sides = rng.uniform(0.1, 0.3, (count, 2)) * size
    return [
        Box(f"thing {place}", (*low, *(low + side)))
        for place, (low, side) in enumerate(zip(corners, sides, strict=True))
    ]


def roles_of(rng, n_first=1, n_second=1):
    return {"first": boxes_of(rng, n_first), "second": boxes_of(rng, n_second)}


def naive(weights, boxes, grid, kept=None):
    """Mass, cosine and AUROC of one map against some boxes, token by token."""
    mask = [float(value) for value in grid.union_membership(boxes)] if boxes else [0.0]
    if max(mask) <= 0:
        return dict.fromkeys(NULL_MEASURES, math.nan)
    tokens = [place for place in range(len(grid)) if kept is None or kept[place]]
    mass = sum(weights[place] * mask[place] for place in tokens)
    lengths = math.sqrt(sum(weights[p] ** 2 for p in tokens)) * math.sqrt(sum(mask[p] ** 2 for p in tokens))
    wins = pairs = 0.0
    for one in tokens:
        for other in tokens:
            both = mask[one] * (1 - mask[other])  # of square pixels: tokens of this grid are equal in area
            wins += both * ((weights[one] > weights[other]) + (weights[one] == weights[other]) / 2)
            pairs += both
    return {"mass": mass, "cosine": mass / lengths, "auroc": wins / pairs}


def naive_draws(weights, draws, grid, kept=None):
    """The mean over draws that are defined, [region] per measure."""
    scores = {name: [[] for _ in REGIONS] for name in NULL_MEASURES}
    for drawn in draws:
        first, second = drawn.get("first", ()), drawn.get("second", ())
        found = [naive(weights, list(own), grid, kept) for own in (first, second, [*first, *second])]
        for name in NULL_MEASURES:
            values = [one[name] for one in found]
            for place, value in enumerate([*values, values[0] - values[1]]):
                if not math.isnan(value):
                    scores[name][place].append(value)
    return {name: [np.mean(own) if own else math.nan for own in lists] for name, lists in scores.items()}


def drawn_scores(maps, draws, kept=None):
    """What is measured against one null's draws, beside another null, which must not matter."""
    other = [roles_of(np.random.default_rng(9))]
    found = measure_draws(maps, {"moved": draws, "shuffled": other}, GRID, kept=kept)
    return {name: found[f"{name}_moved"] for name in NULL_MEASURES}


@pytest.mark.parametrize("some_kept", [False, True])
def test_that_measures_over_draws_equal_naive_loops(some_kept):
    rng = np.random.default_rng(1)
    maps = maps_of(2, 3)
    maps[0, 0] = np.round(maps[0, 0])  # ties
    kept = rng.random((2, 3, 36)) < 0.8 if some_kept else None
    maps = maps if kept is None else maps * kept
    draws = [roles_of(rng), roles_of(rng, 2, 0), roles_of(rng, 1, 3), {"first": [Box("out", (0, 0, 5, 48))]}]
    found = drawn_scores(maps, draws, kept=kept)
    for layer in range(2):
        for head in range(3):
            own = None if kept is None else kept[layer, head]
            wanted = naive_draws(maps[layer, head], draws, GRID, own)
            for name in NULL_MEASURES:
                assert found[name][:, layer, head] == pytest.approx(wanted[name], abs=1e-6, nan_ok=True)


def test_that_a_region_without_any_seen_draw_is_undefined():
    found = drawn_scores(maps_of(1, 2), [{"first": [Box("mug", (20, 20, 30, 30))]}])
    for name in NULL_MEASURES:
        assert np.isfinite(found[name][[0, 2]]).all() and np.isnan(found[name][[1, 3]]).all()
        assert np.isnan(drawn_scores(maps_of(1, 2), [])[name]).all()


@pytest.mark.parametrize("some_kept", [False, True])
def test_that_the_centre_null_is_a_gaussian_with_each_maps_weight(some_kept):
    rng = np.random.default_rng(2)
    kept = rng.random((2, 2, 36)) < 0.8 if some_kept else None
    maps, boxes = maps_of(2, 2) * (1.0 if kept is None else kept), roles_of(rng, 2, 1)
    gauss = []
    for x0, y0, x1, y1 in GRID.boxes:
        across, down = ((x0 + x1) / 2 - 30) / (WIDTH * 48), ((y0 + y1) / 2 - 24) / (WIDTH * 48)
        gauss.append(math.exp(-(across**2) / 2) * math.exp(-(down**2) / 2))
    assert centre_map(GRID) == pytest.approx(gauss)
    found = measure_centre(maps, boxes, GRID, kept=kept)
    for layer in range(2):
        for head in range(2):
            own = np.ones(36, dtype=bool) if kept is None else kept[layer, head]
            scaled = np.array(gauss) * own
            wanted = naive_draws(scaled * maps[layer, head].sum() / scaled.sum(), [boxes], GRID, own)
            for name in NULL_MEASURES:
                assert found[f"{name}_centre"][:, layer, head] == pytest.approx(wanted[name], abs=1e-6)


# boxes of other photos --------------------------------------------------------------------------------------------


def pool_of(count=30, seed=0, **photos):
    rng = np.random.default_rng(seed)
    boxes = [roles_of(rng, 1, place % 2) for place in range(count)]  # every other sample is about one object
    sizes = [(60, 48) if place % 3 else (30, 24) for place in range(count)]
    boxes = [{role: _halved(own, place) for role, own in one.items()} for place, one in enumerate(boxes)]
    return BoxPool(boxes, sizes, photos.get("photos", [f"photo {place}" for place in range(count)]))


def _halved(boxes, place):
    """The boxes of a sample under its own number; of every third, in a photo of half the size."""
    return [Box(f"{place}", tuple(np.array(box.xyxy) / (1 if place % 3 else 2))) for box in boxes]


def drawn_from(draws):
    return [int(next(iter(own)).label) for drawn in draws for own in [drawn["first"]]]


def test_that_boxes_come_from_other_photos_each_sample_at_most_once():
    photos = [f"photo {place // 5}" for place in range(30)]  # five samples show one photo
    pool = pool_of(photos=photos)
    for place in range(30):
        others = drawn_from(pool.draw(place, draws=10, seed=0))
        assert len(others) == len(set(others)) == 10
        assert all(photos[other] != photos[place] for other in others)


def test_that_samples_with_the_same_roles_are_preferred_and_only_these_roles_are_taken():
    pool = pool_of()
    for place in range(30):
        draws = pool.draw(place, draws=10, seed=0)
        assert all(set(drawn) == ({"first", "second"} if place % 2 else {"first"}) for drawn in draws)
        assert all(drawn[role] for drawn in draws for role in drawn)
        assert place % 2 == 0 or all(other % 2 for other in drawn_from(draws))
    mug, table = Box("0", (0, 0, 9, 9)), Box("1", (9, 9, 20, 20))
    pool = BoxPool([{"first": [mug], "second": [table]}, {"first": [table]}, {}], [(30, 30)] * 3, ["a", "b", "c"])
    assert pool.draw(0, draws=10, seed=0) == [{"first": [table], "second": []}]  # no other has both
    assert pool.draw(2, draws=10, seed=0) == []  # nothing was found, so nothing is compared


def test_that_draws_are_those_of_a_walk_over_all_samples():
    rng = np.random.default_rng(5)
    roles, photos = ("first", "second", "other"), [f"photo {number}" for number in rng.integers(4, size=40)]
    boxes = [{role: [Box(str(place), (0, 0, 5, 5))] * rng.integers(2) for role in roles} for place in range(40)]
    pool = BoxPool(boxes, [(30, 30)] * 40, photos)
    own = [{role for role in roles if one[role]} for one in boxes]
    for place in range(40):
        foreign = [other for other in range(40) if photos[other] != photos[place]]
        fitting = [other for other in foreign if own[place] and own[place] <= own[other]]
        fitting = fitting or [other for other in foreign if own[place] & own[other]]
        drawn = pool.draw(place, draws=40, seed=0)
        found = [{box.label for some in one.values() for box in some} for one in drawn]
        assert sorted(found, key=min) == sorted(({str(other)} for other in fitting), key=min), place
        assert all(set(one) == own[place] for one in drawn)


def test_that_draws_depend_on_seed_and_place_alone():
    pool, same = pool_of(), pool_of()
    assert pool.draw(3, draws=10, seed=4) == same.draw(3, draws=10, seed=4)
    many = {tuple(drawn_from(pool.draw(place, draws=10, seed=seed))) for place in (1, 3, 5) for seed in (0, 1)}
    assert len(many) == 6
    assert drawn_from(pool.draw(3, draws=4, seed=4)) == drawn_from(pool.draw(3, draws=10, seed=4))[:4]


def test_that_boxes_keep_place_and_size_in_fractions_and_are_cut_at_the_edge():
    boxes = [{"first": []}, {"first": [Box("far", (-10.0, 20.0, 50.0, 400.0)), Box("out", (300, 0, 310, 9))]}]
    pool = BoxPool([{"first": [Box("own", (0, 0, 1, 1))]}, boxes[1]], [(60, 48), (200, 100)], ["a", "b"])
    (drawn,) = pool.draw(0, draws=10, seed=0)
    assert [(box.label, box.xyxy) for box in drawn["first"]] == [("far", (0.0, 9.6, 15.0, 48.0))]


def test_that_a_pool_of_different_lengths_is_refused():
    with pytest.raises(InputError, match="one of each per sample"):
        BoxPool([{}], [(1, 1)], [])


# boxes moved ------------------------------------------------------------------------------------------------------


def test_that_moved_boxes_keep_the_size_of_what_was_seen_and_stay_in_what_was_seen():
    boxes = {
        "first": [Box("mug", (20, 10, 32, 20)), Box("edge", (0, 40, 16, 60)), Box("out", (55, 0, 60, 9))],
        "second": [Box("all", (0, 0, 60, 48))],
    }
    draws = moved_boxes(boxes, GRID, place=0, draws=50, seed=0)
    assert len(draws) == 50
    for drawn in draws:
        sides = [(x1 - x0, y1 - y0) for x0, y0, x1, y1 in (box.xyxy for box in drawn["first"])]
        assert np.allclose(sides, [(12, 10), (10, 8)])
        assert all(6 <= x0 and 0 <= y0 and x1 <= 54 + 1e-9 and y1 <= 48 + 1e-9 for x0, y0, x1, y1 in
                   (box.xyxy for box in drawn["first"]))  # fmt: skip
        assert drawn["second"][0].xyxy == (6, 0, 54, 48)


def test_that_every_place_is_equally_likely_and_boxes_move_apart():
    boxes = {"first": [Box("mug", (20, 10, 32, 20))], "second": [Box("cup", (40, 30, 44, 34))]}
    draws = moved_boxes(boxes, GRID, place=0, draws=4000, seed=0)
    first, second = (np.array([drawn[role][0].xyxy[:2] for drawn in draws]) for role in ("first", "second"))
    for found, room in ((first, (36, 38)), (second, (44, 44))):
        spread = np.sort((found - [6, 0]) / room, axis=0)
        assert np.abs(spread - np.linspace(0, 1, 4000)[:, None]).max() < 0.04  # Kolmogorov's, far beyond chance
    assert np.abs(np.corrcoef(first.T, second.T)[:2, 2:]).max() < 0.08


def test_that_moves_depend_on_seed_and_place_alone():
    boxes = roles_of(np.random.default_rng(0))
    drawn = [
        moved_boxes(boxes, GRID, place=place, draws=3, seed=seed) for place, seed in ((1, 0), (1, 0), (2, 0), (1, 1))
    ]
    assert drawn[0] == drawn[1] and drawn[0] != drawn[2] and drawn[0] != drawn[3]


# other heads ------------------------------------------------------------------------------------------------------


def test_that_no_head_is_its_own_other_and_every_other_is_as_likely():
    heads = np.broadcast_to(np.arange(6.0), (500, 2, 6)).copy()  # five heads, and the mean
    drawn = other_heads(heads, draws=1, seed=0)
    for head in range(5):
        found, counts = np.unique(drawn[..., head], return_counts=True)
        assert found.tolist() == [other for other in range(5) if other != head]
        assert counts.min() > 180  # of 250 expected
    found, counts = np.unique(drawn[..., 5], return_counts=True)
    assert found.tolist() == [0, 1, 2, 3, 4] and counts.min() > 140


def test_that_layers_and_samples_are_not_mixed_and_regions_share_their_draws():
    rng = np.random.default_rng(0)
    values = rng.random((7, 2, 4, 3, 5)) + 10 * np.arange(7)[:, None, None, None, None] + 100 * np.arange(3)[:, None]
    drawn = other_heads(values, draws=10, seed=3)
    assert np.array_equal(np.floor(drawn / 100), np.broadcast_to(np.arange(3)[:, None], drawn.shape))
    assert np.array_equal(
        np.floor(drawn % 100 / 10), np.broadcast_to(np.arange(7)[:, None, None, None, None], drawn.shape)
    )
    assert np.array_equal(drawn[:, 1, 2], other_heads(values[:, 1, 2], draws=10, seed=3))
    assert not np.array_equal(drawn, other_heads(values, draws=10, seed=4))


def test_that_many_draws_come_to_the_mean_of_the_others_and_one_head_has_none():
    values = np.random.default_rng(0).random((3, 2, 5))
    drawn = other_heads(values, draws=4000, seed=0)
    others = (values[..., :4].sum(-1, keepdims=True) - values[..., :4]) / 3
    assert drawn[..., :4] == pytest.approx(others, abs=0.03)
    assert drawn[..., 4] == pytest.approx(values[..., :4].mean(-1), abs=0.03)
    alone = other_heads(values[..., :2], draws=2, seed=0)
    assert np.isnan(alone[..., 0]).all() and np.array_equal(alone[..., 1], values[..., 0].astype(np.float32))


# under the null ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("habit", ["none", "centre"])
def test_that_attention_that_knows_nothing_of_the_objects_is_no_better_than_boxes_of_other_photos(habit):
    """Boxes near the middle, attention anywhere or near the middle: even attention would be beaten, these boxes not."""
    rng, count = np.random.default_rng(5), 120
    near = [
        Box("x", (x - 8, y - 8, x + 8, y + 8))
        for x, y in zip(rng.normal(30, 5, count).clip(15, 45), rng.normal(24, 4, count).clip(9, 39), strict=True)
    ]
    boxes = [{"first": [box]} for box in near]
    pool = BoxPool(boxes, [(60, 48)] * count, [str(place) for place in range(count)])
    gains, chance = {name: [] for name in NULL_MEASURES}, []
    for place in range(count):
        weights = rng.gamma(0.6, size=(1, 36)) * (centre_map(GRID) if habit == "centre" else 1.0)
        weights /= weights.sum()
        real = drawn_scores(weights, [boxes[place]])
        null = drawn_scores(weights, pool.draw(place, draws=10, seed=0))
        for name in NULL_MEASURES:
            gains[name].append(real[name][0, 0] - null[name][0, 0])
        chance.append(real["auroc"][0, 0] - 0.5)
    for values in gains.values():
        assert abs(np.mean(values)) < 3.5 * np.std(values) / math.sqrt(count)
    better_than_even = np.mean(chance) / (np.std(chance) / math.sqrt(count))
    assert better_than_even > 8 if habit == "centre" else abs(better_than_even) < 3.5
