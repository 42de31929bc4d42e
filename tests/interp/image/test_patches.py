"""Patches: their boxes and places against changed pixels, and the image tokens that are made of them."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from square_grids import grid_of
from vision_oracles import ask, misplaced, tiny, token_changes

from interp.errors import ModelError
from interp.families import anyres, qwen
from interp.image.grid import View, grid_of_views
from interp.image.patches import Patches, squares_of_patches
from interp.maps.tower_patches import patches_of
from interp.proof.samples import noise
from interp.zoo.tiny import TINY

LARGE = ((500, 300), (210, 420))
"""(width, height) of photos whose patches are larger than the resampling filters reach."""
UNSTRETCHED = {"tiny-idefics3": ((500, 333), (280, 420)), "tiny-smolvlm": ((500, 250), (210, 420))}
"""The same for models that stretch photos to whole tiles, by another filter, unless their shape is this."""
SMALL = (110, 60)
"""Of a photo that LLaVA-OneVision does not shrink."""


@pytest.mark.parametrize("name", TINY)
@pytest.mark.parametrize("shape", ["wide", "tall"])
def test_every_patch_stands_where_the_tower_has_it_and_shows_the_pixels_of_its_box(name, shape):
    wide, tall = UNSTRETCHED.get(name, LARGE)
    mistakes, tried = misplaced(tiny(name), noise(wide if shape == "wide" else tall))
    assert (mistakes, tried >= 4) == (0, True)


@pytest.mark.parametrize(("name", "order"), [("tiny-qwen2_vl", None), ("tiny-qwen2_5_vl", qwen.block_order)])
def test_the_pixel_oracle_finds_patches_in_a_wrong_order(name, order, monkeypatch):
    vlm = tiny(name)
    towers = {kind: replace(tower, order=order) for kind, tower in vlm.family.vision.items()}
    monkeypatch.setattr(vlm, "family", replace(vlm.family, vision=towers))
    assert misplaced(vlm, noise(LARGE[0]))[0] > 0


def test_blocks_and_windows_are_ordered_as_in_a_case_by_hand():
    config = tiny("tiny-qwen2_5_vl").model.config  # windows of 2 x 2 tokens of 2 x 2 patches
    assert np.argsort(qwen.block_order(4, 4, config))[:8].tolist() == [0, 1, 4, 5, 2, 3, 6, 7]
    first = np.argsort(qwen.window_order(6, 6, config))[::4]  # the first patch of each token, in the tower's order
    assert first.tolist() == [0, 2, 12, 14, 4, 16, 24, 26, 28]


@pytest.mark.parametrize("name", TINY)
def test_a_patch_moves_the_image_tokens_that_are_made_of_it_and_no_others(name):
    vlm = tiny(name)
    inputs = ask(vlm)
    patches = patches_of(vlm, inputs.grids[0])
    some = np.random.default_rng(0).choice(len(patches.grid), 10, replace=False)
    changed = np.unique(np.concatenate([some, patches.sources[len(patches.sources) // 2]]))
    moved = np.abs(token_changes(vlm, inputs, patches, changed)).max(-1) > 1e-9
    made_of = [((patches.sources == patch) & (patches.shares > 0)).any(1) for patch in changed]
    assert np.array_equal(moved, made_of) and moved.any()


def test_tokens_of_a_shrunk_mosaic_move_by_the_share_that_a_patch_has_in_them():
    vlm = tiny("tiny-llava_onevision")
    inputs = ask(vlm, (180, 150))
    patches = patches_of(vlm, inputs.grids[0])
    shares = np.zeros((len(patches.sources), len(patches.grid)))
    np.add.at(shares, (np.arange(len(shares))[:, None], patches.sources), patches.shares)
    shared = np.flatnonzero((shares > 0).sum(0) > 1)
    assert len(shared) >= 6
    for patch in shared[:: len(shared) // 6]:
        own = shares[:, patch] > 0
        whole = token_changes(vlm, inputs, patches, [patch])[0][own] / shares[own, patch, None]
        assert np.ptp(whole, axis=0).max() < 1e-5 * np.abs(whole).max()


@pytest.mark.parametrize("length, count", [(8, 8), (12, 8), (16, 8), (9, 3), (18, 7), (162, 81), (161, 80)])
def test_a_shrunk_mosaic_is_mixed_as_torch_mixes_it(length, count):
    wanted = torch.nn.functional.interpolate(torch.eye(length)[None, :, None], (1, count), mode="bilinear")[0, :, 0].T
    patches, shares = anyres._mixed(range(3, 3 + length), np.arange(count))
    found = np.zeros((count, length))
    np.add.at(found, (np.arange(count)[:, None], patches - 3), shares)
    np.testing.assert_allclose(found, wanted, atol=1e-4)


@pytest.mark.parametrize("name", TINY)
def test_the_boxes_of_a_tokens_patches_fill_its_box(name):
    vlm = tiny(name)
    tokens = ask(vlm, SMALL).grids[0]
    patches = patches_of(vlm, tokens)
    for token, sources in enumerate(patches.sources):
        boxes = patches.grid.boxes[sources[patches.shares[token] > 0]]
        np.testing.assert_allclose([*boxes[:, :2].min(0), *boxes[:, 2:].max(0)], tokens.boxes[token], atol=1e-9)
        area = (boxes[:, 2] - boxes[:, 0]) @ (boxes[:, 3] - boxes[:, 1])
        assert area == pytest.approx(np.prod(tokens.boxes[token, 2:] - tokens.boxes[token, :2]))


@pytest.mark.parametrize("name", TINY)
def test_shares_sum_to_one_and_every_place_is_taken_once(name):
    vlm = tiny(name)
    patches = patches_of(vlm, ask(vlm).grids[0])
    np.testing.assert_allclose(patches.shares.sum(1), 1)
    for places in np.reshape(patches.places, (len(patches.views), -1)):
        assert sorted(places) == list(range(len(patches.specials), patches.length))


def test_tokens_that_padding_cuts_off_keep_their_boxes_and_are_refused_where_they_are_several_patches():
    grid = grid_of((60, 40), "pad to a square")
    assert np.array_equal(squares_of_patches(grid, 1).grid.boxes, grid.boxes)
    cut = grid_of_views((25, 20), [View(np.array([0.0, 5.0, 25.0]), np.array([0.0, 20.0]))])
    with pytest.raises(ModelError, match="2 x 2 patches were cut off"):
        squares_of_patches(cut, 2)


def test_views_of_different_sizes_are_refused():
    views = [View(np.linspace(0, 20, count + 1), np.array([0.0, 20.0]), number) for number, count in ((0, 2), (1, 3))]
    grid = grid_of_views((20, 20), views)
    with pytest.raises(ModelError, match=r"have \[2, 3\] patches"):
        Patches(grid, np.arange(5)[:, None], np.ones((5, 1)))
