"""Even attention: what it scores, and what attention that knows nothing of a region scores on average."""

import numpy as np
import pytest
from whole_pixels import BOX, GRID, GRIDS, VIEWS, random_maps

from interp.image.boxes import Box
from interp.overlap.even import even_scores
from interp.overlap.measures import MEASURES, measure_regions
from interp.overlap.regions import region_of


@pytest.mark.parametrize("name", VIEWS)
def test_even_scores_are_what_an_even_map_scores(name):
    grid = GRIDS[name]
    regions = [region_of([BOX], grid), region_of([], grid)]
    even, measured = even_scores(regions, grid), measure_regions(np.full(len(grid), 1 / len(grid)), regions, grid)
    for key in set(MEASURES) - {"nss"}:
        assert even[key] == pytest.approx(measured[key], nan_ok=True)
    assert even["nss"][0] == 0 and np.isnan(even["nss"][1])
    assert even["auroc"][0] == pytest.approx(0.5) and even["lift"][0] == pytest.approx(1)
    share = regions[0].mask.mean()
    assert even["mass"][0] == pytest.approx(share) and even_scores(regions, grid, even_mass=0.1)["mass"][0] == (
        pytest.approx(0.1 * share)
    )


def test_even_scores_spread_attention_over_the_tokens_that_take_part():
    region, kept = region_of([BOX], GRID), np.arange(30) >= 6
    even = even_scores([region], GRID, kept=kept)
    assert even["mass"][0] == pytest.approx(region.mask[6:].mean())
    assert even["hit"][0] == pytest.approx(region.target[6:].mean())


def test_attention_that_knows_nothing_of_the_region_scores_like_chance():
    maps = random_maps(4000, seed=8)
    maps /= maps.sum(axis=1, keepdims=True)
    for boxes in ([BOX], [Box("pen", (30, 30, 31, 32))], [BOX, Box("pen", (24, 24, 48, 40))]):
        region = region_of(boxes, GRID)
        found, even = measure_regions(maps, [region], GRID), even_scores([region], GRID)
        for name in ("auroc", "nss", "lift", "mass", "hit", "hit_near"):
            values = found[name][0]
            assert values.mean() == pytest.approx(even[name][0], abs=4 * values.std() / 4000**0.5), name
