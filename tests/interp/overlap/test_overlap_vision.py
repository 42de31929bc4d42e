"""Maps of the vision tower in an overlap study: against plain loops over eager attention, kept apart, and refused."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from overlap_studies import same
from PIL import Image
from vision_oracles import attending, eager_patterns, naive_rollout, naive_tokens, tiny

from interp.errors import InputError, ModelError, RefusedError
from interp.image.boxes import Box
from interp.maps.rollout import rollout
from interp.maps.tower import feature_depth
from interp.maps.tower_attention import tower_attention
from interp.maps.tower_patches import patches_of
from interp.maps.trajectory import normalise
from interp.model.hooked_vlm import HookedVLM
from interp.objects.sample import Object, Sample
from interp.overlap.map_measures import MAP_MEASURES
from interp.overlap.nulls import REGIONS
from interp.overlap.overlap import overlap
from interp.overlap.study.examine import examine_overlap
from interp.overlap.study.result import read_overlap_study
from interp.overlap.study.run import study_overlap
from interp.overlap.study.vision import ALSO, patch_maps
from interp.proof.samples import noise
from interp.study.prompter import prepare_samples
from interp.zoo.tiny import build_tiny

BOXES = (Box("mug", (20, 30, 90, 100)), Box("table", (110, 20, 180, 120)))
NAMES = ("tiny-llava", "tiny-llava_next", "tiny-qwen2_vl", "tiny-gemma3")
"""A class token; several views; windows and merged patches; patches averaged into tokens."""


def samples(n=3):
    objects = tuple(Object(box.label, box) for box in BOXES)
    asked = "Where is the mug in relation to the table?"
    return [
        Sample(
            f"s{place}", Image.fromarray(noise((200, 130), place)), asked, ("left", "right"), "left", objects, "left"
        )
        for place in range(n)
    ]


def run(vlm, n=3, **options):
    given = {"detector": "ground-truth", "draws": 2, "max_new_tokens": 1, "progress": False, "also": ALSO}
    return study_overlap(vlm, samples(n), **{**given, **options})


def rows_of(vlm, inputs):
    """Attention of the last prompt row over the image tokens, [layer head token]."""
    with torch.no_grad():
        _, cache = vlm.run_with_cache(inputs, names_filter=lambda name: name.startswith("blocks") and "pattern" in name)
    rows = np.stack([cache["pattern", layer][0, :, -1].numpy() for layer in range(vlm.cfg.n_layers)])
    return rows[..., inputs.layouts[0].image_positions], rows.shape[-1]


def naive_tower(pattern, patches):
    """What image tokens attend to in one layer's pattern, [head patch], token after token."""
    found = np.zeros((pattern.shape[1], len(patches.grid)))
    for token in range(len(patches.sources)):
        for source, share in zip(patches.sources[token], patches.shares[token], strict=True):
            view = source // patches.per_view
            for patch in range(view * patches.per_view, (view + 1) * patches.per_view):
                weight = pattern[view, :, patches.places[source], patches.places[patch]].numpy()
                found[:, patch] += share * weight / len(patches.sources)
    return found


# the numbers -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_both_maps_of_one_sample_are_those_of_plain_loops(name):
    vlm = tiny(name)
    study = run(vlm, normalisations=("image", "keys"))
    inputs = prepare_samples(vlm, samples()[1:2], "paper")
    patches, patterns, depth = patches_of(vlm, inputs.grids[0]), eager_patterns(vlm, inputs), feature_depth(vlm)
    weights, _ = naive_tokens(naive_rollout(patterns, depth), patches)
    weights /= weights.sum(axis=1, keepdims=True)
    rows, n_keys = rows_of(vlm, inputs)
    seen = np.array([[sum(row[t] * weights[t] for t in range(len(row))) for row in layer] for layer in rows])
    tower = np.array([naive_tower(pattern, patches) for pattern in patterns[:depth]])
    how = {"regions": dict(zip(("first", "second"), ([box] for box in BOXES), strict=True))}
    for maps, by_hand in (("two-stage", seen), ("vision", tower)):
        own, wanted = study.of(maps), overlap(by_hand, patches.grid, contrast=("first", "second"), **how)
        for measure in ("cosine", "mass", "lift", "auroc", "nss", "distance"):
            for region in REGIONS:
                found = own.values(measure, region)[1][list(own.layers)]
                np.testing.assert_allclose(found, wanted.values(measure, region=region), rtol=1e-3, atol=2e-5)
        np.testing.assert_allclose(own.values("mass_even")[1, 0], wanted.even_score("mass"), rtol=1e-5)
    mask = patches.grid.union_membership(list(BOXES))
    masses = np.concatenate([seen @ mask, seen.mean(axis=1, keepdims=True) @ mask], axis=1)
    np.testing.assert_allclose(study.of("two-stage").values("mass", normalisation="keys")[1], masses, atol=2e-5)
    even = len(weights) / n_keys * mask.mean()
    np.testing.assert_allclose(study.of("two-stage").values("mass_even", normalisation="keys")[1], even, rtol=1e-4)


def test_a_normalised_map_goes_through_the_tower_as_it_is_head_mean_included():
    vlm = tiny("tiny-llava")
    study = run(vlm, normalisations=("relative",), neutral_prompt="Look.").of("two-stage")
    asked, neutral = (
        rows_of(vlm, prepare_samples(vlm, [replace(samples()[2], **change)], "paper"))[0]
        for change in ({}, {"question": "Look."})
    )
    rows, other = (np.concatenate([own, own.mean(axis=1, keepdims=True)], axis=1) for own in (asked, neutral))
    (rolled,) = rollout(vlm, prepare_samples(vlm, samples()[2:], "paper"))
    seen = normalise(rows, "relative", neutral=other) @ rolled.weights
    masses = seen @ rolled.grid.membership(BOXES[0])
    np.testing.assert_allclose(study.values("mass", "first", "relative")[2], masses, rtol=1e-3, atol=2e-5)


def test_where_no_patch_sees_another_two_stages_are_the_rows_and_the_tower_looks_evenly():
    vlm = tiny("tiny-llava")
    with attending(vlm, torch.eye):
        study = run(vlm)
    two, tower = study.of("two-stage"), study.of("vision")
    untied = [name for name in study.measures if name != "peaks" and not name.endswith("_heads")]
    for name in untied:
        np.testing.assert_allclose(two.measures[name], study.measures[name], rtol=1e-3, atol=3e-5, err_msg=name)
    measured = tower.values("mass")[:, list(tower.layers)]
    np.testing.assert_allclose(measured, tower.values("mass_even")[:, list(tower.layers)], rtol=1e-4)
    np.testing.assert_allclose(tower.lift("shuffled")[:, 0], 1, rtol=1e-3)  # all photos have the same boxes


def test_a_head_without_weight_on_the_image_is_undefined_through_the_tower_too():
    vlm = tiny("tiny-llava")
    (fed,) = tower_attention(vlm, prepare_samples(vlm, samples(1), "paper"))
    maps = np.random.default_rng(0).random((2, 3, len(fed.rolled.weights)), dtype=np.float32)
    maps[1, 2] = np.nan
    seen = patch_maps(fed, {"image": maps}, visible_keys=40, also=("two-stage",))["two-stage"]
    found = seen.measured({"first": [BOXES[0]]})["mass"][0, 0]
    assert np.isnan(found[1, 2]) and np.isfinite(np.delete(found.ravel(), 5)).all()


# the shape ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["tiny-llava", "tiny-qwen2_vl"])
def test_each_map_has_its_own_layers_and_heads_and_the_rows_stay_as_they_are(name):
    vlm = tiny(name)
    study, alone = run(vlm, layers=(1,), normalisations=("keys", "image")), run(vlm, layers=(1,), also=())
    rows, two, tower = study, study.of("two-stage"), study.of("vision")
    assert study.of("rows") is study and (rows.maps, two.maps, tower.maps) == ("rows", "two-stage", "vision")
    assert (two.n_layers, two.n_heads, two.layers) == (rows.n_layers, rows.n_heads, (1,))
    depth, heads = feature_depth(vlm), vlm.model.config.vision_config.to_dict()
    assert (tower.n_layers, tower.layers) == (len(vlm.vision.blocks), tuple(range(depth)))
    assert tower.n_heads == heads.get("num_attention_heads", heads.get("num_heads")) != rows.n_heads
    assert two.normalisations == ("keys", "image") and tower.normalisations == ("image",)
    for own in (rows, two, tower):
        assert len(own.samples) == 3 and not [name for name in own.samples if "mass" in name]
        assert set(own.measures) == set(rows.measures)
        for measure, values in own.measures.items():
            axes = (3, len(own.normalisations), *(() if measure in MAP_MEASURES else (4,)))
            assert values.shape == (*axes, own.n_layers, own.n_heads + 1)
            rest = np.setdiff1d(np.arange(own.n_layers), own.layers)
            assert np.isnan(values[..., rest, :]).all() and np.isfinite(values[..., list(own.layers), :]).any()
        assert len(own.to_dataframe(["mass"])) == (
            3 * len(own.normalisations) * 4 * len(own.layers) * (own.n_heads + 1)
        )
    for measure in alone.measures:
        np.testing.assert_array_equal(rows.measures[measure][:, 1], alone.measures[measure][:, 0])
    with pytest.raises(InputError, match=r"maps 'vision' were not measured, only rows: .* also=\('vision',\)"):
        alone.of("vision")


def test_a_study_with_further_maps_is_kept_read_resumed_and_not_mixed_up(tmp_path):
    vlm, whole = tiny("tiny-llava"), run(tiny("tiny-llava"), 5, batch=2, out=tmp_path / "whole")
    answer, calls = vlm.generate_with_cache, []

    def failing(*args, **options):
        calls.append(1)
        if len(calls) == 2:
            raise RuntimeError("stopped")
        return answer(*args, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vlm, "generate_with_cache", failing)
        with pytest.raises(RuntimeError, match="stopped"):
            run(vlm, 5, batch=2, out=tmp_path / "parts")
    with pytest.raises(InputError, match="also"):
        run(vlm, 5, batch=2, out=tmp_path / "parts", resume=True, also=("vision",))
    run(vlm, 5, batch=2, out=tmp_path / "parts", resume=True)
    read = read_overlap_study(tmp_path / "parts")
    for maps in ("rows", *ALSO):
        same(read.of(maps), whole.of(maps))
    assert read.settings["also"]["vision"]["layers"] == [0] and read.settings["also"]["two-stage"] == {"through": 1}


def test_further_maps_are_examined_each_by_its_own_layers():
    study = run(tiny("tiny-llava"), 4)
    right = study.samples.assign(right=[True, False, True, False])
    whole = replace(study, samples=right, further={k: replace(v, samples=right) for k, v in study.further.items()})
    found = examine_overlap(whole, measure="mass", n_draws=50)
    assert found.maps == "rows" and list(found.further) == list(ALSO)
    for maps, own in found.further.items():
        alone = examine_overlap(whole.of(maps), measure="mass", n_draws=50)
        assert own.maps == maps and np.array_equal(own.within.auroc, alone.within.auroc, equal_nan=True)
    tower = found.further["vision"]
    assert tower.layers is None and "names no layers of the vision tower" in " ".join(tower.not_done)
    assert "\nvision: mass (union, image, head mean) inside relations: AUROC" in found.describe()


# what is refused ---------------------------------------------------------------------------------------------------


def test_what_can_not_be_measured_is_refused_before_anything_is_written(tmp_path, monkeypatch):
    vlm, out = tiny("tiny-llava"), tmp_path / "out"
    for also, said in (
        (("tower",), "further maps tower: give each once, of two-stage, vision"),
        (ALSO * 2, "each once"),
    ):
        with pytest.raises(InputError, match=said):
            run(vlm, out=out, also=also)
    with monkeypatch.context() as patch:
        patch.setattr(vlm, "family", replace(vlm.family, refusals={"vision": "its tower is closed"}))
        with pytest.raises(RefusedError, match="vision is not offered for the llava family: its tower is closed"):
            run(vlm, out=out)
    with monkeypatch.context() as patch:
        patch.setattr(vlm, "family", replace(vlm.family, merged=lambda config: 2))
        with pytest.raises(ModelError, match="attends over 17 places"):
            run(vlm, out=out)
    model, processor = build_tiny("tiny-llava")
    model.config.vision_feature_layer = [-2, -1]
    with pytest.raises(RefusedError, match=r"llava family: .* layers \[-2, -1\]"):
        run(HookedVLM.wrap(model, processor, self_check=False), out=out)
    assert not out.exists()
