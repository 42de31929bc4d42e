"""Overlap in each normalisation is measured on maps that were normalised by hand."""

import numpy as np
import pytest
from made_up import layout_of, softmax_rows, square_grid

from interp.errors import InputError
from interp.image.boxes import Box
from interp.layers import HEAD_MEAN
from interp.maps.trajectory import RELATIVE_FLOOR, trajectory
from interp.overlap.map_measures import MAP_MEASURES
from interp.overlap.measures import MEASURES, measure_regions
from interp.overlap.overlap import overlap
from interp.overlap.regions import region_of

GRID = square_grid((60, 60), 6)
MUG = Box("mug", (10, 10, 29, 20))
MASK = region_of([MUG], GRID).mask
SINKS = np.isin(np.arange(36), [7, 30])  # token 7 lies in MUG


def random_maps(seed=0, heads=3):
    return np.random.default_rng(seed).gamma(0.5, size=(4, heads, 36))


def without_sinks(maps, key, sinks=SINKS, box=MUG):
    found = overlap(maps, GRID, [box], normalisations=("no-sinks",), sinks=sinks)
    return found.values(key, normalisation="no-sinks"), found


def by_hand(weights, kept):
    """Cosine, mass and lift of one map, over the tokens that are kept."""
    a, mask = weights[kept] / weights[kept].sum(), MASK[kept]
    return a @ mask / np.linalg.norm(a) / np.linalg.norm(mask), a @ mask, a @ mask / mask.mean()


def test_without_sinks_it_makes_no_difference_what_they_draw():
    maps = random_maps()
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
    maps, sinks = random_maps(), np.random.default_rng(5).random((4, 3, 36)) < 0.2
    sinks[:, :, 4], sinks[:, :, 8] = True, False  # of the mean as well; some of MUG is left
    for place, key in enumerate(("cosine", "mass", "lift")):
        values, _ = without_sinks(maps, key, sinks)
        own = [by_hand(maps[index], ~sinks[index])[place] for index in np.ndindex(4, 3)]
        assert values[:, :3].ravel() == pytest.approx(own, rel=1e-4)
        means = [by_hand(np.where(sinks, 0, maps)[layer].mean(0), ~sinks[layer].all(0))[place] for layer in range(4)]
        assert values[:, HEAD_MEAN] == pytest.approx(means, rel=1e-4)


def test_sinks_by_layer_are_those_of_each_of_its_heads():
    maps, sinks = random_maps(), np.random.default_rng(5).random((4, 36)) < 0.2
    for key in MEASURES:
        values, found = without_sinks(maps, key, sinks)
        same, other = without_sinks(maps, key, np.repeat(sinks[:, None], 3, axis=1))
        assert np.array_equal(values, same, equal_nan=True)
        even = (one.even_score(key, normalisation="no-sinks") for one in (found, other))
        assert len({round(score, 6) for score in even}) == 1


def test_an_object_that_lies_on_sinks_alone_is_undefined_without_them():
    for key in MEASURES:
        values, found = without_sinks(random_maps(), key, box=Box("ring", (12, 12, 18, 18)))
        assert np.isnan(values).all() and np.isnan(found.even_score(key, normalisation="no-sinks"))


def with_head_mean(maps):
    return np.concatenate([maps, maps.mean(axis=1, keepdims=True)], axis=1).astype(np.float64)


def test_overlap_over_all_keys_is_measured_on_the_raw_weights():
    layout = layout_of(36)
    measured = trajectory(softmax_rows(layout, 5, 3, steps=2), layout, GRID)
    found = overlap(measured, GRID, [MUG], normalisations=("keys",))
    raw, even = with_head_mean(measured.image_attention), 36 / measured.visible_keys
    expected = measure_regions(raw, [region_of([MUG], GRID)], GRID, even_mass=even)
    for name in MEASURES:
        assert np.allclose(found.values(name, normalisation="keys"), expected[name][0], atol=1e-5), name


def test_overlap_relative_to_a_neutral_prompt_is_measured_on_the_quotient():
    maps, neutral = (random_maps(seed, heads=80) for seed in (0, 1))  # more than are measured at once
    found = overlap(maps, GRID, [MUG], normalisations=("relative",), neutral=neutral)
    above, below = with_head_mean(maps), with_head_mean(neutral)
    quotient = above / (below + RELATIVE_FLOOR * below.mean(axis=-1, keepdims=True))
    expected = measure_regions(quotient / quotient.sum(-1, keepdims=True), [region_of([MUG], GRID)], GRID)
    for name in MEASURES:
        assert np.allclose(found.values(name, normalisation="relative"), expected[name][0], atol=1e-5), name


def test_a_layer_whose_map_is_the_same_everywhere_or_nothing_lacks_values_that_others_have():
    maps = random_maps()
    maps[1], maps[2] = 1, 0
    found = overlap(maps, GRID, [MUG])
    assert np.isnan(found.by_layer("nss")).tolist() == [False, True, True, False]
    assert np.isnan(found.by_layer("cosine")).tolist() == [False, False, True, False]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"normalisations": ("no-sinks",)}, "'no-sinks' and sinks= go together"),
        ({"normalisations": ("relative",)}, "'relative' and neutral= go together"),
        ({"sinks": SINKS}, "'no-sinks' and sinks= go together"),
        ({"neutral": random_maps()[:2]}, "'relative' and neutral= go together"),
        ({"normalisations": ("no-sinks",), "sinks": SINKS.astype(int)}, "int64 of shape"),
        ({"normalisations": ("no-sinks",), "sinks": SINKS[:-1]}, r"shape \(35,\)"),
        ({"normalisations": ("no-sinks",), "sinks": np.zeros((3, 36), bool)}, r"shape \(3, 36\).*2 layers"),
        ({"normalisations": ("relative",), "neutral": random_maps(heads=4)[:2]}, r"shape \(2, 4, 1, 36\)"),
        ({"normalisations": ("relative",), "neutral": -random_maps()[:2]}, "negative"),
    ],
)
def test_a_normalisation_without_what_it_needs_is_refused_and_so_is_what_none_uses(options, message):
    with pytest.raises(InputError, match=message):
        overlap(random_maps()[:2], GRID, [MUG], **options)
