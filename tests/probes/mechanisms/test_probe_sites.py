"""Probe sites: each image token is read where it is, in every layer of every family, in the language model's order."""

import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import tiny
import torch
from golden import golden
from ragged import loaded, ragged
from rows_of_squares import recorded_vlm, row_of_squares
from towers_seen import tower_runs

from interp.errors import InputError
from interp.maps.tower_patches import patches_of
from interp.model.hooked_vlm import HookedVLM
from interp.zoo.tiny import TINY
from probes.mechanisms.probe.report import _more
from probes.mechanisms.probe.sites import all_sites, choose_sites, read_sites
from probes.mechanisms.tokens.object_tokens import object_tokens

QUESTION = "Where is the mug?"


def read(vlm, inputs, sites, tokens=None):
    """Features by site, of all tokens or some."""
    kept = {}
    tokens = [np.arange(len(grid)) for grid in inputs.grids] if tokens is None else tokens
    read_sites(vlm, inputs, sites, tokens, kept.__setitem__)
    return kept


def overlap(one, other):
    """Whether two boxes share pixels."""
    return bool((np.minimum(one[2:], other[2:]) > np.maximum(one[:2], other[:2])).all())


@pytest.mark.parametrize("name", TINY)
def test_the_token_whose_pixels_change_is_the_one_that_changes_most(name):
    vlm, _ = loaded(name, 1)
    photo = np.asarray(tiny.photo(0, (96, 64))).copy()
    before = vlm.prepare(tiny.photo(0, (96, 64)), QUESTION, prompt="paper")
    sites = choose_sites(vlm, ["vision.blocks.0", "projector"])
    first = read(vlm, before, sites)
    (grid,) = before.grids
    moved: dict[str, dict[int, np.ndarray]] = {site.name: {} for site in sites}
    for token in (0, len(grid) // 3, len(grid) - 1):
        x0, y0, x1, y1 = np.round(grid.boxes[token]).astype(int)
        if x1 - x0 < 2 or y1 - y0 < 2:
            continue  # of padding
        other = photo.copy()
        other[y0:y1, x0:x1] = 255 - other[y0:y1, x0:x1]
        second = read(vlm, vlm.prepare(other, QUESTION, prompt="paper"), sites)
        for site in sites:
            moved[site.name][token] = np.linalg.norm(second[site.name][0] - first[site.name][0], axis=-1)
    for site, own in moved.items():
        for token, by in own.items():
            same_place = (np.abs(grid.boxes - grid.boxes[token]).max(axis=1) < 2) | (grid.view != grid.view[token])
            if site == "projector":  # behind attention some tokens move more than others, whatever is changed
                apart = [other for other in own if not overlap(grid.boxes[token], grid.boxes[other])]
                assert all(by[token] > own[other][token] for other in apart), (site, token)
            else:
                assert same_place[by.argmax()], (site, token, int(by.argmax()))


@pytest.mark.parametrize("name", TINY)
def test_photos_of_a_ragged_batch_are_read_as_each_alone(name):
    vlm, inputs = loaded(name, 3)
    sites = all_sites(vlm)
    together = read(vlm, inputs, sites)
    for place in range(3):
        alone = read(vlm, ragged(vlm, [place]), sites)
        for site in sites:
            expected, found = alone[site.name][0], together[site.name][place]
            assert found.shape == expected.shape == (len(inputs.grids[place]), found.shape[1])
            assert np.allclose(found, expected, atol=2e-4 * np.abs(expected).max())


def test_what_is_read_is_what_passes_and_the_tower_runs_once():
    vlm = tiny.vlm(self_check=False)
    inputs = vlm.prepare([tiny.photo(0), tiny.photo(1)], [QUESTION] * 2, prompt="paper")
    with tower_runs(vlm) as calls:
        found = read(vlm, inputs, all_sites(vlm), [np.array([5, 2]), np.array([7])])
    assert len(calls) == 1
    with torch.no_grad():
        _, cache = vlm.run_with_cache(inputs)
    for place, own in enumerate(([5, 2], [7])):
        at = inputs.layouts[place].image_positions[own]
        for layer in range(vlm.cfg.n_layers):
            stream = cache[f"blocks.{layer}.hook_resid_post"][place, at]
            assert np.array_equal(found[f"blocks.{layer}"][place], stream.numpy())
        tower = cache["vision.blocks.0.hook_resid_post"][place, 1:][own]  # behind the class token
        assert np.allclose(found["vision.blocks.0"][place], tower.numpy(), atol=1e-6)
        projected = cache["projector.hook_out"][place * len(inputs.grids[0]) :][own]
        assert np.array_equal(found["projector"][place], projected.numpy())


def test_sites_are_chosen_by_name_and_part_and_others_refused():
    vlm = tiny.vlm(self_check=False)
    assert [site.part for site in choose_sites(vlm, "projector")] == ["projector"]
    assert len(choose_sites(vlm, "all")) == len(vlm.vision.blocks) + 1 + vlm.cfg.n_layers
    assert [site.name for site in choose_sites(vlm, ["blocks.0", "vision.blocks.1"])] == ["vision.blocks.1", "blocks.0"]
    for chosen, says in ((["blocks.99"], "not in this model"), ([], "at least one"), (["all", "projector"], "once")):
        with pytest.raises(InputError, match=says):
            choose_sites(vlm, chosen)


@pytest.mark.parametrize("axis", ["horizontal", "vertical"])
def test_the_recorded_projector_tokens_and_object_tokens_are_found(axis):
    folder = golden("position_probe")
    case = np.load(folder / "cases.npz")
    vlm = recorded_vlm()
    colors = json.loads((folder / "split.json").read_text())[axis]["test"][:4]
    scenes = [row_of_squares(each, axis=axis) for each in colors]
    inputs = vlm.prepare([scene.image for scene in scenes], [QUESTION] * len(scenes), prompt="paper")
    found = read(vlm, inputs, choose_sites(vlm, "projector"))["projector"]
    recorded = case[f"{axis}.all_test"][:4].astype(np.float32)  # in half precision, eleven bits
    assert np.allclose(np.stack(found), recorded, rtol=2**-11, atol=1e-4)
    own = object_tokens(scenes[0], inputs.grids[0], axis=axis)
    assert sorted(own.inside) == sorted(case[f"{axis}.obj_idx"])
    assert own.labels[case[f"{axis}.obj_idx"]].tolist() == case[f"{axis}.labels_per_image"].tolist()


def test_means_of_patches_are_taken_in_float32_whatever_the_model_s_type():
    vlm = HookedVLM.from_pretrained("tiny-qwen2_vl", dtype="bfloat16", self_check=False)
    inputs = vlm.prepare([tiny.photo(0, (96, 64))], [QUESTION], prompt="paper")
    found = read(vlm, inputs, choose_sites(vlm, "vision.blocks.0"))["vision.blocks.0"][0]
    with torch.no_grad():
        _, cache = vlm.run_with_cache(inputs, names_filter="vision.blocks.0.hook_resid_post")
    (own,) = (patches_of(vlm, grid) for grid in inputs.grids)
    flat = cache["vision.blocks.0.hook_resid_post"].flatten(0, 1).float().numpy()
    wanted = (flat[own.places[own.sources]] * own.shares[..., None]).sum(axis=1)
    assert own.sources.shape[1] == 4 and np.abs(found - wanted).max() < 1e-6 * np.abs(wanted).max()


@pytest.mark.parametrize(("count", "named"), ((0, 0), (5, 5), (6, 6), (7, 4)))
def test_a_sentence_names_all_sites_where_they_are_few(count, named):
    sites = [f"blocks.{place}" for place in range(9)]
    strips = pd.DataFrame({"site": sites, "p_corrected": [0.01] * count + [0.5] * (9 - count)})
    scores = pd.DataFrame({"site": sites, "measure": "strip", "value": 0.4, "low": 0.3})
    found = SimpleNamespace(strips=lambda: strips, names=["projector"], measures=scores, settings={})
    (sentence,) = _more(found)
    assert f"at {count} of 9 sites" in sentence and sentence.count("blocks.") == named
    assert ("among them" in sentence) == (named < count)
