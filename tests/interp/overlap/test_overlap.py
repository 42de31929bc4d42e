"""Overlap: attention against boxes, against counting pixels."""

import numpy as np
import pytest
from made_up import layout_of, softmax_rows, square_grid

from interp.errors import InputError
from interp.image.boxes import Box, Boxes
from interp.layers import HEAD_MEAN
from interp.maps.trajectory import normalise, trajectory
from interp.overlap.map_measures import MAP_MEASURES
from interp.overlap.measures import MEASURES
from interp.overlap.overlap import overlap
from interp.overlap.regions import UNION

SIZE = 48  # pixels; 6 x 6 tokens of 8 pixels
GRID = square_grid((SIZE, SIZE), 6)
CROPPED = square_grid((80, SIZE), 6)  # sees x 16 to 64


def random_maps(n_layers, n_heads, seed=0, n=36):
    return np.random.default_rng(seed).gamma(0.6, size=(n_layers, n_heads, n)).astype(np.float32)


def random_boxes(count, width, height, seed):
    rng = np.random.default_rng(seed)
    corners = [(*rng.integers(0, (width - 1, height - 1)),) for _ in range(count)]
    return [
        Box(
            f"thing {place}",
            (float(x), float(y), float(rng.integers(x + 1, width + 1)), float(rng.integers(y + 1, height + 1))),
        )
        for place, (x, y) in enumerate(corners)
    ]


def mask_by_pixels(boxes, grid):
    """Share of each token's pixels that lie in a box, by painting the boxes."""
    width, height = grid.image_size
    painted = np.zeros((height, width))
    for box in boxes:
        x0, y0, x1, y1 = (int(side) for side in box.xyxy)
        painted[y0:y1, x0:x1] = 1
    return np.array([painted[int(y0) : int(y1), int(x0) : int(x1)].mean() for x0, y0, x1, y1 in grid.boxes])


def score(weights, boxes, grid=GRID, **more):
    """Measures of one map, in the union of the boxes."""
    found = overlap(np.asarray(weights, dtype=np.float32)[None, None], grid, boxes)
    return {name: float(found.values(name, **more)[0, 0]) for name in MEASURES}


def on_token(row, col):
    weights = np.zeros((6, 6))
    weights[row, col] = 1
    return weights.ravel()


@pytest.mark.parametrize("grid", [GRID, CROPPED], ids=["whole", "cropped"])
@pytest.mark.parametrize("seed", range(8))
def test_cosine_mass_and_lift_equal_counting_pixels(grid, seed):
    boxes = random_boxes(3, *grid.image_size, seed)
    maps = random_maps(2, 3, seed)
    found = overlap(maps, grid, boxes)
    for name, chosen in [(UNION, boxes), *((box.label, [box]) for box in boxes)]:
        mask = mask_by_pixels(chosen, grid)
        for layer in range(2):
            for head in range(3):
                a = maps[layer, head] / maps[layer, head].sum(dtype=np.float64)
                expected = (np.nan,) * 3
                if mask.any():
                    mass = a @ mask
                    expected = (mass / (np.linalg.norm(a) * np.linalg.norm(mask)), mass, mass / mask.mean())
                measured = [found.values(key, region=name)[layer, head] for key in ("cosine", "mass", "lift")]
                assert measured == pytest.approx(expected, rel=1e-4, nan_ok=True)


def test_even_attention_has_lift_one_and_scores_what_the_table_calls_even():
    boxes = random_boxes(2, SIZE, SIZE, 3)
    table = overlap(np.ones((2, 3, 36)), GRID, boxes).to_dataframe()
    for name in set(MEASURES) - {"nss"}:
        assert table[name].to_numpy() == pytest.approx(table[f"{name}_even"].to_numpy(), abs=1e-6)
    assert table["nss"].isna().all() and (table["nss_even"] == 0).all()  # even attention does not vary
    assert table["lift"].to_numpy() == pytest.approx(1)
    assert table["mass"].to_numpy() == pytest.approx(table["area_share"].to_numpy(), abs=1e-6)


def test_attention_that_knows_nothing_of_the_boxes_has_lift_one_on_average():
    boxes = random_boxes(2, SIZE, SIZE, 5)
    found = overlap(random_maps(1, 4000, seed=9), GRID, boxes)
    lift, hit = found.values("lift")[0, :-1], found.values("hit")[0, :-1]
    assert lift.mean() == pytest.approx(1, abs=4 * float(lift.std()) / 4000**0.5)
    assert hit.mean() == pytest.approx(found.even_score("hit"), abs=4 * float(hit.std()) / 4000**0.5)


def test_attention_exactly_on_the_boxes_has_cosine_and_mass_one():
    boxes = [Box("mug", (8, 8, 24, 16)), Box("table", (24, 32, 48, 48))]
    found = score(mask_by_pixels(boxes, GRID), boxes)
    assert found["cosine"] == pytest.approx(1) and found["mass"] == pytest.approx(1) and found["hit"] == 1
    assert found["lift"] == pytest.approx(36 / 8)


def test_a_box_smaller_than_a_token_counts_and_can_be_hit():
    speck = [Box("ring", (17, 17, 19, 19))]
    found, expected = score(on_token(2, 2), speck), {"cosine": 1, "mass": 4 / 64, "lift": 36, "hit": 1}
    assert {name: found[name] for name in expected} == pytest.approx(expected)
    assert score(on_token(2, 3), speck)["hit"] == 0


def test_a_thin_box_between_two_rows_of_tokens_can_be_hit_in_both():
    pole = [Box("pole", (0, 14, 48, 18))]
    assert score(on_token(1, 3), pole)["hit"] == 1 == score(on_token(2, 0), pole)["hit"]
    assert score(on_token(3, 3), pole)["hit"] == 0


def test_a_token_grazed_by_a_large_box_is_a_miss():
    large = [Box("table", (5, 5, 40, 40))]  # covers 3 of the 8 pixels of the first column
    assert score(on_token(2, 0), large)["hit"] == 0
    assert score(on_token(2, 1), large)["hit"] == 1


def test_a_small_object_beside_a_large_one_can_still_be_hit():
    both = [Box("ring", (17, 1, 19, 3)), Box("table", (0, 16, 48, 48))]
    assert score(on_token(0, 2), both)["hit"] == 1
    assert score(on_token(0, 3), both)["hit"] == 0


def test_tied_tokens_count_as_the_mean_of_their_hits():
    assert score(on_token(1, 1) + on_token(5, 5), [Box("mug", (8, 8, 16, 16))])["hit"] == 0.5


def test_the_union_counts_what_boxes_share_only_once():
    same = [Box("mug", (8, 8, 24, 24)), Box("cup", (8, 8, 24, 24))]
    weights = random_maps(1, 1)[0, 0]
    assert score(weights, same) == pytest.approx(score(weights, same[:1]))


def test_each_box_is_a_region_and_a_second_of_its_name_gets_a_number():
    boxes = Boxes((Box("cat", (0, 0, 9, 9)), Box("dog", (0, 0, 9, 9)), Box("cat", (20, 20, 30, 30))))
    assert overlap(random_maps(1, 1), GRID, boxes).regions == ("cat", "dog", "cat 2", UNION)


@pytest.mark.parametrize("labels", [("cat", "cat", "cat 2"), (UNION,)])
def test_labels_that_would_name_two_regions_alike_are_refused(labels):
    with pytest.raises(InputError, match="rename"):
        overlap(random_maps(1, 1), GRID, [Box(label, (0, 0, 9, 9)) for label in labels])


def test_an_object_outside_the_seen_part_is_undefined_and_never_zero():
    cut, kept = Box("mug", (0, 10, 12, 20)), Box("table", (30, 10, 40, 20))
    table = overlap(random_maps(2, 3), CROPPED, [cut, kept]).to_dataframe()
    mug = table[table["region"] == "mug"]
    assert mug[list(MEASURES)].isna().all(axis=None)
    assert (mug["coverage"] == 0).all() and (mug["objects_seen"] == 0).all() and (mug["objects"] == 1).all()


def test_the_union_is_of_the_objects_that_were_seen_and_says_how_many():
    cut, kept = Box("mug", (0, 10, 12, 20)), Box("table", (30, 10, 40, 20))
    found = overlap(random_maps(2, 3), CROPPED, [cut, kept])
    assert np.array_equal(found.values("cosine"), found.values("cosine", region="table"))
    assert found.objects == (1, 1, 2) and found.objects_seen == (0, 1, 1)
    assert found.coverage == pytest.approx([0, 1, 100 / 220])


def test_nothing_seen_leaves_the_union_undefined():
    found = overlap(random_maps(2, 3), CROPPED, [Box("mug", (0, 10, 12, 20))])
    assert np.isnan(found.values("mass")).all() and np.isnan(found.even_score("mass"))


def test_an_object_cut_by_the_crop_is_measured_and_its_coverage_told():
    found = overlap(random_maps(2, 3), CROPPED, [Box("mug", (10, 0, 24, 8))])
    assert found.coverage == pytest.approx(8 / 14)
    assert np.isfinite(found.values("cosine")).all()


def test_without_boxes_there_is_one_undefined_row_per_head():
    table = overlap(random_maps(2, 3), GRID, []).to_dataframe()
    assert len(table) == 2 * 4 and (table["objects"] == 0).all()
    assert table[["cosine", "mass", "lift", "hit", "coverage", "area_share"]].isna().all(axis=None)


def test_the_head_mean_is_measured_on_averaged_weights():
    maps = np.zeros((1, 2, 36), dtype=np.float32)
    maps[0, 0], maps[0, 1] = 0.9 * on_token(1, 1), 0.1 * on_token(1, 2)
    found = overlap(maps, GRID, [Box("mug", (8, 8, 24, 16))]).values("cosine")[0]
    mean = 0.9 * on_token(1, 1) + 0.1 * on_token(1, 2)
    assert found[HEAD_MEAN] == pytest.approx(mean.sum() / np.linalg.norm(mean) / 2**0.5)
    assert found[:2] == pytest.approx(0.5**0.5)  # the mean of the heads' cosines would be this


def test_the_head_mean_is_head_minus_one_in_the_table_and_last_in_the_arrays():
    found = overlap(random_maps(2, 3), GRID, [Box("mug", (8, 8, 24, 16))])
    table = found.to_dataframe()
    assert sorted(set(table["head"])) == [-1, 0, 1, 2]
    row = table[(table["layer"] == 1) & (table["head"] == HEAD_MEAN) & (table["region"] == UNION)]
    assert row["cosine"].item() == found.values("cosine")[1, HEAD_MEAN]


def planted(share):
    """A last prompt row that spends `share` on the image, half of it on one token, and the rest on BOS."""
    layout = layout_of(36)
    rows = np.zeros((1, 1, layout.length), dtype=np.float32)
    rows[..., layout.positions("bos")] = 1 - share
    rows[..., layout.image_positions] = share * (0.5 / 36 + 0.5 * on_token(1, 1))
    return trajectory(rows, layout, GRID, sample_id="planted")


def test_how_much_a_row_looks_at_the_image_changes_only_the_keys_normalisation():
    boxes = [Box("mug", (8, 8, 16, 16))]
    names = ("image", "keys")
    much, little = (overlap(planted(share), GRID, boxes, normalisations=names) for share in (0.9, 0.1))
    for measure in MEASURES:
        assert np.allclose(much.values(measure), little.values(measure), atol=1e-6)
    assert much.values("mass", normalisation="keys")[0, 0] == pytest.approx(0.9 * much.values("mass")[0, 0])
    assert little.values("mass", normalisation="keys")[0, 0] == pytest.approx(0.1 * much.values("mass")[0, 0])
    assert set(much.to_dataframe()["normalisation"]) == set(names)


def test_even_attention_over_all_keys_has_lift_one_over_all_keys():
    layout = layout_of(36, pads=3)
    real = np.array(layout.kinds) != "pad"
    rows = np.broadcast_to(real / real.sum(), (2, 3, layout.length))
    found = overlap(trajectory(rows, layout, GRID), GRID, random_boxes(2, SIZE, SIZE, 1), normalisations=("keys",))
    for name in set(MEASURES) - {"nss"}:
        assert found.values(name, normalisation="keys") == pytest.approx(found.even_score(name, normalisation="keys"))
    assert found.values("lift", normalisation="keys") == pytest.approx(1)


def test_a_row_that_does_not_look_at_the_image_is_undefined_within_it():
    found = overlap(planted(0.0), GRID, [Box("mug", (8, 8, 16, 16))], normalisations=("image", "keys"))
    for measure in MEASURES:
        assert np.isnan(found.values(measure)).all()
    assert found.values("mass", normalisation="keys").max() == 0


def test_generated_steps_keep_their_axis():
    layout = layout_of(36)
    measured = trajectory(softmax_rows(layout, 2, 3, steps=4), layout, GRID)
    found = overlap(measured, GRID, [Box("mug", (8, 8, 16, 16))])
    assert found.values("cosine").shape == (2, 4, 4)  # layer, heads and their mean, step
    assert len(found.to_dataframe()) == 2 * 4 * 4 * 2
    single = overlap(measured.image_attention[:, :, 2], GRID, [Box("mug", (8, 8, 16, 16))])
    assert np.array_equal(found.values("hit")[..., 2], single.values("hit"))


def test_the_table_and_its_long_form_say_the_same():
    found = overlap(random_maps(2, 3), GRID, random_boxes(2, SIZE, SIZE, 2), sample_id="photo-7")
    table, long = found.to_dataframe(), found.to_long(["cosine", "lift"], regions=[UNION])
    assert len(table) == 2 * 4 * 3 and set(table["sample"]) == {"photo-7"}
    assert {str(table[name].dtype) for name in MEASURES} == {"float32"}
    assert len(long) == 2 * 4 * 2
    row = long[(long["layer"] == 1) & (long["head"] == 2) & (long["measure"] == "lift")]
    assert row["value"].item() == found.values("lift")[1, 2]


def test_a_trajectory_brings_its_sample_id():
    assert overlap(planted(0.5), GRID, [Box("mug", (8, 8, 16, 16))]).sample_id == "planted"


@pytest.mark.parametrize(
    ("attention", "options", "message"),
    [
        (random_maps(2, 3, n=35), {}, "35.*36 tokens"),
        (random_maps(1, 3)[0], {}, r"shape \(3, 36\)"),
        (-random_maps(2, 3), {}, "negative"),
        (np.full((1, 1, 36), np.nan), {}, "NaN"),
        (random_maps(2, 3), {"normalisations": ("keys",)}, "trajectory"),
        (random_maps(2, 3), {"normalisations": ("minmax",)}, "'minmax'"),
        (random_maps(2, 3), {"normalisations": ()}, "no normalisation"),
    ],
)
def test_attention_that_does_not_fit_is_refused(attention, options, message):
    with pytest.raises(InputError, match=message):
        overlap(attention, GRID, [Box("mug", (8, 8, 16, 16))], **options)


@pytest.mark.parametrize("asked", [("iou", {}), ("cosine", {"region": "cup"}), ("cosine", {"normalisation": "keys"})])
def test_a_measure_or_region_that_is_not_there_is_refused_by_name(asked):
    measure, options = asked
    with pytest.raises(InputError, match="not in this overlap"):
        overlap(random_maps(2, 3), GRID, [Box("mug", (8, 8, 16, 16))]).values(measure, **options)


# regions by role ----------------------------------------------------------------------------------------------------

MUG, CUP, PEN = Box("mug", (8, 8, 24, 16)), Box("mug", (0, 30, 7, 41)), Box("pen", (30, 20, 41, 47))


def test_regions_by_role_are_the_boxes_of_each_together():
    maps = random_maps(2, 3)
    found = overlap(maps, GRID, regions={"first": [MUG, CUP], "second": [PEN]})
    assert found.regions == ("first", "second", UNION) and found.objects == (2, 1, 3)
    for name, boxes in (("first", [MUG, CUP]), ("second", [PEN]), (UNION, [MUG, CUP, PEN])):
        alone = overlap(maps, GRID, boxes)
        for measure in MEASURES:
            assert np.allclose(found.values(measure, region=name), alone.values(measure), atol=1e-6), measure


def test_a_contrast_is_the_difference_of_two_regions_in_every_measure_and_in_its_null():
    found = overlap(random_maps(2, 3), GRID, regions={"first": [MUG], "second": [PEN]}, contrast=("first", "second"))
    assert found.regions == ("first", "second", UNION, "first minus second")
    for measure in MEASURES:
        first, second, both = (found.values(measure, region=name) for name in ("first", "second", "first minus second"))
        assert np.array_equal(both, first - second), measure
        even = found.even_score(measure, region="first") - found.even_score(measure, region="second")
        assert found.even_score(measure, region="first minus second") == pytest.approx(even, abs=1e-6)


def test_a_role_without_boxes_is_undefined_and_so_is_its_contrast():
    found = overlap(random_maps(2, 3), GRID, regions={"first": [MUG], "second": []}, contrast=("first", "second"))
    assert found.objects == (1, 0, 1, 1)
    for measure in MEASURES:
        for name in ("second", "first minus second"):
            assert np.isnan(found.values(measure, region=name)).all()
        assert np.array_equal(found.values(measure), found.values(measure, region="first"))


def test_the_table_has_every_measure_of_every_row():
    roles, names = {"first": [MUG], "second": [PEN]}, ("image", "keys")
    found = overlap(planted(0.5), GRID, regions=roles, contrast=("first", "second"), normalisations=names)
    table = found.to_dataframe()
    assert len(table) == 1 * 2 * 4 * 2 and table[list(MAP_MEASURES)].notna().all(axis=None)
    for (region, kind, head), part in table.groupby(["region", "normalisation", "head"]):
        for measure in MEASURES:
            assert part[measure].item() == found.values(measure, region=region, normalisation=kind)[0, head]
        for measure in MAP_MEASURES:
            assert part[measure].item() == found.values(measure, normalisation=kind)[0, head]
    assert {str(table[name].dtype) for name in (*MEASURES, *MAP_MEASURES)} == {"float32"}


# normalisations -----------------------------------------------------------------------------------------------------

SINKS = np.isin(np.arange(36), [7, 30])


def test_attention_that_is_the_neutral_one_knows_nothing_of_the_question():
    neutral = 1 + random_maps(40, 3)
    same = overlap(neutral, GRID, [MUG], normalisations=("relative",), neutral=neutral)
    assert same.values("lift", normalisation="relative") == pytest.approx(1, abs=0.12)  # but for the floor
    asked = neutral * (1 + 0.5 * mask_by_pixels([MUG], GRID))
    found = overlap(asked, GRID, [MUG], normalisations=("image", "relative"), neutral=neutral)
    assert found.values("auroc", normalisation="relative") == pytest.approx(1)
    assert found.values("auroc").min() < 0.8


def test_a_neutral_row_stands_for_every_step_and_may_be_a_trajectory():
    layout = layout_of(36)
    steps = trajectory(softmax_rows(layout, 2, 3, steps=4), layout, GRID)
    neutral = trajectory(softmax_rows(layout, 2, 3, seed=1), layout, GRID)
    found = overlap(steps, GRID, [MUG], normalisations=("relative",), neutral=neutral)
    repeated = np.repeat(neutral.image_attention, 4, axis=2)
    same = overlap(steps.image_attention, GRID, [MUG], normalisations=("relative",), neutral=repeated)
    assert np.array_equal(found.values("nss", normalisation="relative"), same.values("nss", normalisation="relative"))
    blind = overlap(random_maps(2, 3), GRID, [MUG], normalisations=("relative",), neutral=np.zeros((2, 3, 36)))
    assert np.isnan(blind.values("mass", normalisation="relative")).all()


def test_several_normalisations_are_each_what_they_are_alone():
    layout = layout_of(36)
    measured = trajectory(softmax_rows(layout, 3, 4), layout, GRID)
    given = {"no-sinks": {"sinks": SINKS}, "relative": {"neutral": measured.image_attention[::-1]}}
    names = ("keys", "relative", "image", "no-sinks")
    together = overlap(measured, GRID, [MUG], normalisations=names, **given["no-sinks"], **given["relative"])
    assert together.normalisations == names
    for name in names:
        alone = overlap(measured, GRID, [MUG], normalisations=(name,), **given.get(name, {}))
        for measure in (*MEASURES, *MAP_MEASURES):
            values = (one.values(measure, normalisation=name) for one in (together, alone))
            assert np.array_equal(*values, equal_nan=True)


def test_one_map_can_be_normalised_in_every_way():
    weights = np.array([0.1, 0.3, 0.0, 0.2])
    assert normalise(weights, "no-sinks", sinks=np.array([0, 1, 0, 0], bool)) == pytest.approx([1 / 3, 0, 0, 2 / 3])
    neutral = np.full(4, 0.1)
    for scale in (1, 7):
        assert normalise(weights, "relative", neutral=scale * neutral) == pytest.approx(weights / 0.6)
    for name in ("no-sinks", "relative"):
        with pytest.raises(InputError, match=f"{name!r} needs"):
            normalise(weights, name)
        with pytest.raises(InputError, match=f"{name!r} needs"):
            planted(0.5).image_map(layer=0, normalisation=name)
