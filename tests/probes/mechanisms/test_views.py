"""Views: one order of tokens wherever tiles are cut, thirds of the whole photo in all views, ablations of all views."""

import numpy as np
import pytest

from interp.errors import RefusedError
from interp.image.grid import View, grid_of_views
from interp.model.hooked_vlm import HookedVLM
from probes.mechanisms.ablation.ordered_photos import photos_of_lines
from probes.mechanisms.scenes.geometry import geometry_of
from probes.mechanisms.scenes.line_pairs import line_pairs, setting_of
from probes.mechanisms.tokens.views import by_kind, in_order, thirds


def lattice(x0, x1, y0, y1, columns, rows, number):
    return View(np.linspace(x0, x1, columns + 1), np.linspace(y0, y1, rows + 1), number)


@pytest.fixture
def grid():
    """A photo of 60 x 60 pixels: 3 x 3 tokens of the whole, and 2 x 2 tiles of 3 x 3 tokens each."""
    halves = [(x, y) for y in (0, 30) for x in (0, 30)]
    tiles = [lattice(x, x + 30, y, y + 30, 3, 3, number) for number, (x, y) in enumerate(halves, 1)]
    return grid_of_views((60, 60), [lattice(0, 60, 0, 60, 3, 3, 0), *tiles])


def test_tokens_of_tiles_are_in_the_third_that_their_middle_lies_in(grid):
    for axis, place in (("horizontal", 0), ("vertical", 1)):
        found = thirds(grid, axis)
        middle = (grid.boxes[:, place] + grid.boxes[:, place + 2]) / 2
        assert (found == middle // 20).all()


def test_regions_of_one_shape_are_in_one_order_wherever_tiles_are_cut(grid):
    first, last = (in_order(grid, np.flatnonzero(thirds(grid, "horizontal") == third)) for third in (0, 2))
    apart = grid.boxes[last] - grid.boxes[first]
    assert np.allclose(apart, [40, 0, 40, 0]) and len(first) == 3 + 12
    assert (grid.view[first] > 0).tolist() == [False] * 3 + [True] * 12
    whole, tiles = by_kind(grid, "the strip", first, last)
    assert whole[0] == "the strip" and tiles[0] == "the strip in tiles" and len(tiles[1]) == len(tiles[2]) == 12
    (alone,) = by_kind(grid, "the strip", first[:3], last[:3])
    assert alone[0] == "the strip"


def test_tiles_alone_have_no_thirds():
    with pytest.raises(RefusedError, match="in tiles alone"):
        thirds(grid_of_views((60, 60), [lattice(0, 60, 0, 60, 3, 3, 1)]), "vertical")


@pytest.mark.parametrize("name", ["tiny-llava_next", "tiny-idefics3"])
def test_items_of_a_line_are_ablated_in_all_views_and_all_else_becomes_blank(name):
    vlm = HookedVLM.from_pretrained(name, self_check=False)
    given = {"form": "relation", "n": 1, "directions": ("left", "above")}
    pairs = line_pairs(setting_of("squares"), geometry_of(vlm), **given)
    for pair, photo in zip(pairs, photos_of_lines(vlm, [pair.clean for pair in pairs]), strict=True):
        grid = vlm.family.grid(pair.clean.image.size, vlm.processor, vlm.model.config)
        corners = grid.boxes[list(photo.middle)]
        for box, own in zip(pair.clean.meta["boxes"], photo.items, strict=True):
            assert set(own) == set(np.flatnonzero(grid.membership(box) > 0.01)), "whole tokens, and all of them"
            assert len(set(grid.view[list(own)])) > 1
            apart = grid.boxes[list(own)] - corners
            assert np.allclose(apart, apart[0], atol=1e-6), "each token comes from the like of the middle place"
        every = np.concatenate([photo.others(len(grid)), *photo.items])
        assert sorted(every.tolist()) == list(range(len(grid)))
