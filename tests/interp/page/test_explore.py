"""The page to explore holds what was captured, in every normalisation, within the rounding that it states."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tiny
from made_up import softmax_rows
from made_up_explore import BOXES, QUESTION, assert_within, content_of, from_blob, from_json, made_up, weights_of

from interp import Box, GivenBoxes, HookedVLM, ScaleImageLogits, Untouched
from interp.analysis.analyze import analyze
from interp.analysis.token_maps import ALSO
from interp.errors import InputError, SpatialLensError
from interp.maps.trajectory import NORMALISATIONS, PARTS, normalise, trajectory
from interp.overlap.overlap import overlap
from interp.overlap.regions import UNION
from interp.page.data import LABELS
from interp.page.explore import explore
from interp.page.page import render_page

# --- what was captured


@pytest.fixture(scope="module")
def vlm():
    return tiny.vlm()


def captured(vlm, question, intervention):
    """The attention of the last prompt row over the image tokens, [layer head token], by another way."""
    inputs = vlm.prepare(tiny.photo(), question)
    patterns = [f"blocks.{layer}.attn.hook_pattern" for layer in range(vlm.cfg.n_layers)]
    hooks = intervention.hooks(vlm.cfg, inputs.layouts)
    _, cache = vlm.run_with_cache(inputs, names_filter=patterns, fwd_hooks=hooks)
    rows = np.stack([cache[name][0, :, 0].numpy() for name in patterns])
    return rows[..., inputs.layouts[0].image_positions]


def test_the_page_holds_the_captured_attention_of_both_runs(vlm):
    halved = ScaleImageLogits(0.5)
    page = explore(vlm, tiny.photo(), tiny.QUESTIONS[1], boxes=BOXES[:1], intervention=halved, neutral="Where is it ?")
    content = content_of(page.html)
    for run, intervention in enumerate((Untouched(), halved)):
        true = captured(vlm, tiny.QUESTIONS[1], intervention).astype(np.float64)
        found, bound = weights_of(content, run)
        assert_within(found, np.concatenate([true, true.mean(1, keepdims=True)], axis=1), bound + 1e-4)
    neutral = captured(vlm, "Where is it ?", Untouched())
    np.testing.assert_allclose(page.exploration.neutral[:, :-1], neutral, rtol=1e-5)
    before, after = page.exploration.runs
    assert not np.allclose(before.weights, after.weights)
    inputs = vlm.prepare(tiny.photo(), tiny.QUESTIONS[1])
    for run, intervention in ((before, None), (after, halved)):
        answered = vlm.generate(inputs, 10, intervention=intervention)
        assert (run.answer, run.confidence) == (answered.texts[0], pytest.approx(answered.confidence[0], abs=1e-6))


def test_an_intervention_that_changes_nothing_is_said_to(vlm):
    page = explore(vlm, tiny.photo(), tiny.QUESTIONS[0], intervention=ScaleImageLogits(1.0), max_new_tokens=1)
    assert "changed no weight" in page.html
    page = explore(vlm, tiny.photo(), tiny.QUESTIONS[0], intervention=ScaleImageLogits(2.0), max_new_tokens=1)
    assert "changed no weight" not in page.html


def test_boxes_keep_their_pixels_and_get_the_roles_of_the_question(vlm):
    boxes = [Box("table", (30, 20, 70, 55)), Box("red mug", (5, 5, 25, 25)), Box("dog", (1, 1, 4, 4))]
    question = "Where is the red mug in relation to the table?"
    content = content_of(explore(vlm, tiny.photo(), question, boxes=boxes, max_new_tokens=1).html)
    assert [(box["label"], box["role"]) for box in content["boxes"]] == [
        ("table", "second"),
        ("red mug", "first"),
        ("dog", ""),
    ]
    assert content["boxes"][0]["xyxy"] == [30, 20, 70, 55]


def test_a_detector_finds_the_objects_and_what_it_misses_is_said(vlm):
    page = explore(vlm, tiny.photo(), QUESTION, detector=GivenBoxes.parse("mug=5,5,25,25"), max_new_tokens=1)
    assert page.exploration.missing == ("table",) and "Not found in the photo: table." in page.html
    assert page.exploration.roles == ("first",)


def test_a_detector_may_be_named_as_anywhere_else(vlm, monkeypatch):
    asked = []

    def load(name, **settings):
        asked.append((name, settings))
        return GivenBoxes.parse("mug=5,5,25,25")

    monkeypatch.setattr("interp.detect.loading.load_detector", load)
    page = explore(vlm, tiny.photo(), QUESTION, detector="owner/model", download=True, max_new_tokens=1)
    assert page.exploration.roles == ("first",)
    explore(vlm, tiny.photo(), QUESTION, detector=Path("mine.onnx"), max_new_tokens=1)
    assert asked == [
        ("owner/model", {"download": True, "device": "cpu"}),
        (Path("mine.onnx"), {"download": False, "device": "cpu"}),
    ]


def test_tiles_are_views_of_their_own():
    vlm = HookedVLM.from_pretrained("tiny-llava_next")
    page = explore(vlm, tiny.photo(size=(90, 60)), "Where?", max_new_tokens=1)
    content, grid = content_of(page.html), page.exploration.grid
    assert [view["number"] for view in content["views"]] == np.unique(grid.view).tolist() and len(content["views"]) > 1
    assert content["views"][0]["name"] == "whole photo"
    np.testing.assert_allclose(from_blob(content["tokens"]["boxes"]), grid.boxes, atol=1e-3)
    assert from_blob(content["tokens"]["views"]).tolist() == grid.view.tolist()


def test_sinks_by_hidden_state_are_those_of_the_sinks_module(vlm, monkeypatch):
    from interp.maps import hidden_sinks, sink_dimensions

    monkeypatch.setattr(hidden_sinks, "SINK_THRESHOLD", 2.5)
    page = explore(vlm, tiny.photo(), tiny.QUESTIONS[0], max_new_tokens=1)
    inputs = vlm.prepare(tiny.photo(), tiny.QUESTIONS[0])
    _, cache = vlm.run_with_cache(inputs, names_filter=lambda name: re.match(r"blocks.*resid_pre", name) is not None)
    dimensions = sink_dimensions.find_sink_dimensions(cache, inputs.layouts[0])
    expected = hidden_sinks.hidden_sinks(cache, inputs.layouts[0], dimensions, threshold=2.5)
    assert 0 < expected.sum() < expected.size
    assert (page.exploration.sinks == expected[:, None]).all() and "an estimate" in page.html
    halved = explore(vlm, tiny.photo(), tiny.QUESTIONS[0], max_new_tokens=1, intervention=ScaleImageLogits(0.5))
    assert (halved.exploration.sinks == expected[:, None]).all() and "in the untouched run" in halved.html
    assert "the same before and after" in halved.html and "the same before and after" not in page.html


def test_where_sinks_are_not_known_no_sinks_is_not_offered(vlm):
    page = explore(vlm, tiny.photo(), tiny.QUESTIONS[0], max_new_tokens=1)
    assert page.exploration.normalisations == ("image", "keys") and "no-sinks is not offered" in page.html
    with pytest.raises(InputError, match="no-sinks is not offered"):
        page.exploration.maps(page.exploration.runs[0], "no-sinks")
    some = np.arange(16) < 2
    page = explore(vlm, tiny.photo(), tiny.QUESTIONS[0], sinks=some, max_new_tokens=1)
    assert page.exploration.normalisations == ("image", "keys", "no-sinks")
    assert (page.exploration.sinks == some).all() and page.exploration.sinks.shape == (3, 4, 16)


# --- numbers


def test_the_normalisations_are_those_of_trajectories():
    found = made_up()
    run = found.runs[0]
    assert tuple(LABELS) == NORMALISATIONS == found.normalisations
    for name in ("image", "keys", "relative"):
        expected = normalise(run.weights, name, neutral=found.neutral)
        np.testing.assert_allclose(found.maps(run, name), expected, rtol=1e-5)
    heads = found.maps(run, "no-sinks")[:, :-1]
    np.testing.assert_allclose(heads, normalise(run.weights[:, :-1], "no-sinks", sinks=found.sinks), rtol=1e-5)


def test_the_head_mean_without_sinks_leaves_out_each_heads_own():
    found = made_up()
    run = found.runs[0]
    for layer in range(found.n_layers):
        mean = np.zeros(len(found.grid))
        for head in range(found.n_heads):
            for token in range(len(found.grid)):
                mean[token] += 0 if found.sinks[layer, head, token] else run.weights[layer, head, token]
        np.testing.assert_allclose(found.maps(run, "no-sinks")[layer, -1], mean / mean.sum(), rtol=1e-6)


def test_every_normalisation_can_be_had_from_what_the_page_holds():
    found = made_up(layers=3, heads=2)
    content = content_of(render_page(found).html)
    divisor = content["neutral"]
    below = np.concatenate([from_json(divisor["heads"]).unpack(), from_json(divisor["mean"]).unpack()[:, None]], axis=1)
    for place, run in enumerate(found.runs):
        weights, bound = weights_of(content, place)
        for name in found.normalisations:
            values = weights.copy()
            if name == "no-sinks":
                values[:, :-1][found.sinks] = 0
                values[:, -1] = from_json(content["runs"][place]["bare"]).unpack()
            own = bound.copy()
            own[-1] = from_json(content["runs"][place]["bare"]).bound if name == "no-sinks" else own[-1]
            values = values / below if name == "relative" else values
            values /= from_blob(content["runs"][place]["totals"][name])[..., None]
            assert_within(
                values, found.maps(run, name), (2 * bound / (1 - bound) if name == "relative" else own) + 1e-6
            )


@pytest.mark.parametrize("alike, rows", [("none", 4 * 4), ("heads", 4), ("layers", 4 * 4), ("all", 1)])
def test_sinks_are_a_bit_each_and_one_row_for_maps_that_have_the_same(alike, rows):
    found = made_up(side=5)
    some = {"none": np.s_[:, :], "heads": np.s_[:, :1], "layers": np.s_[:1, :], "all": np.s_[:1, :1]}[alike]
    found = replace(found, sinks=np.broadcast_to(found.sinks[some], found.sinks.shape))
    bits = from_blob(content_of(render_page(found).html)["sinks"])
    kept = np.unpackbits(bits, axis=-1)[:, :25].astype(bool)
    assert len(kept) == rows
    shape = {16: (4, 4, 25), 4: (4, 1, 25), 1: (1, 1, 25)}[rows]
    assert (np.broadcast_to(kept.reshape(shape), (4, 4, 25)) == ~found.kept).all()


@pytest.mark.parametrize("name", ["image", "keys", "no-sinks", "relative"])
def test_agreement_is_that_of_overlap(name):
    found = made_up()
    sinks = found.sinks[:, :1] & np.ones_like(found.sinks)  # the same for all heads, so that the mean's are known
    found = replace(found, sinks=sinks)
    for run in found.runs:
        maps = found.maps(run, name)
        agreement = found.agreement(maps, name)
        kept = np.where(found.kept if name == "no-sinks" else True, maps, 0)
        mask = found.grid.union_membership(found.boxes)
        for layer, head in np.ndindex(maps.shape[:2]):
            inside = mask * (found.kept[layer, head] if name == "no-sinks" else 1)
            mass = sum(kept[layer, head] * mask)
            assert agreement["mass"][layer, head] == pytest.approx(mass, rel=1e-6)
            lengths = np.sqrt(sum(maps[layer, head] ** 2) * sum(inside**2))
            assert agreement["cosine"][layer, head] == pytest.approx(mass / lengths, rel=1e-6)
        if name == "image":
            known = overlap(run.weights[:, :-1], found.grid, found.boxes)
            for measure in ("cosine", "mass"):
                np.testing.assert_allclose(agreement[measure], known.values(measure, region=UNION), rtol=1e-5)
                even = found.even_agreement(name)[measure]
                np.testing.assert_allclose(even, known.even_score(measure, region=UNION), rtol=1e-5)


def test_even_attention_is_what_evenly_spread_attention_has():
    found = made_up()
    visible = len(found.layout)
    evenly = np.full((*found.runs[0].weights.shape[:2], len(found.grid)), np.float32(1 / visible))
    run = replace(found.runs[0], weights=evenly)
    flat = replace(found, runs=(run,), neutral=evenly)
    for name in flat.normalisations:
        where = flat.kept if name == "no-sinks" else np.ones_like(flat.kept)
        if name == "no-sinks":  # a head mean of heads with other sinks is not flat
            where = where & (np.arange(where.shape[1]) < flat.n_heads)[:, None]
        expected = np.broadcast_to(flat.even(name)[..., None], where.shape)
        np.testing.assert_allclose(flat.maps(run, name)[where], expected[where], rtol=1e-5)


def test_shares_of_the_parts_are_those_of_the_trajectory():
    found = made_up(runs=1)
    content = content_of(render_page(found).html)
    rows = softmax_rows(found.layout, 4, 3, seed=0)
    looked = trajectory(rows, found.layout, found.grid)
    shares = from_blob(content["runs"][0]["shares"])
    assert content["parts"] == list(PARTS)
    np.testing.assert_allclose(shares[:, :-1], looked.shares[:, :, 0], atol=1e-6)
    np.testing.assert_allclose(shares[:, -1, PARTS.index("image")], looked.share_by_layer("image"), atol=1e-6)


def test_a_head_that_ignores_the_image_is_undefined_but_for_its_weights():
    found = made_up(runs=1)
    weights = found.runs[0].weights.copy()
    weights[1, 2] = 0
    found = replace(found, runs=(replace(found.runs[0], weights=weights),))
    content = content_of(render_page(found).html)
    assert np.isnan(found.maps(found.runs[0], "image")[1, 2]).all()
    assert from_blob(content["runs"][0]["totals"]["image"])[1, 2] == 0
    assert np.isnan(from_blob(content["runs"][0]["cosine"]["image"])[1, 2])
    assert from_json(content["runs"][0]["heads"]).unpack()[1, 2].tolist() == [0] * 36


def test_without_boxes_agreement_is_undefined_and_the_page_is_made():
    content = content_of(render_page(made_up(boxes=())).html)
    assert np.isnan(from_blob(content["runs"][0]["cosine"]["image"])).all()
    assert np.isnan(from_blob(content["normalisations"][0]["even"]["cosine"])).all()


@pytest.mark.parametrize(
    "given, says",
    [
        ({"detector": GivenBoxes.parse("mug=1,1,9,9"), "boxes": BOXES}, "give one of them"),
        ({"detector": "ground-truth"}, "a photo alone carries none"),
        ({"boxes": [(1, 2, 3, 4)]}, "give them as Box"),
        ({"neutral": f" {tiny.QUESTIONS[0]}"}, "the question itself"),
        ({"neutral": True}, "as text"),
        ({"neutral": " "}, "empty"),
        ({"sinks": np.zeros(5, dtype=bool)}, "16 image tokens"),
        ({"sinks": np.zeros(16)}, "give bool"),
        ({"sinks": np.zeros((2, 16), dtype=bool)}, "3 layers"),
        ({"prompt": "sideways"}, "prompt style"),
        ({"max_new_tokens": 0}, "max_new_tokens"),
        ({"intervention": ScaleImageLogits(0.5, layers=(99,))}, "99"),
        ({"intervention": 0.5}, "ScaleImageLogits(0.5)"),
    ],
)
def test_what_can_not_be_used_is_refused(vlm, given, says):
    with pytest.raises(SpatialLensError, match=re.escape(says)):
        explore(vlm, tiny.photo(), tiny.QUESTIONS[0], **given)


def test_relative_without_a_neutral_prompt_is_refused():
    found = made_up(neutral=False)
    with pytest.raises(InputError, match="neutral"):
        found.maps(found.runs[0], "relative")
    with pytest.raises(InputError, match="image, keys"):
        found.maps(found.runs[0], "louder")


# --- maps that are not raw attention


@pytest.fixture(scope="module", params=["first", "all"])
def analysis(vlm, request):
    """An analysis with every map over the image tokens, and its page."""
    boxes = GivenBoxes.parse("mug=5,5,25,25; table=30,20,70,55")
    settings = {"detector": boxes, "html": True, "max_new_tokens": 3, "tokens": request.param}
    return analyze(tiny.photo(), QUESTION, model=vlm, also=ALSO, **settings)


def test_the_page_holds_the_further_maps_of_the_analysis(analysis):
    packed = content_of(analysis.page.html)["further"]
    assert [each["name"] for each in packed] == list(ALSO)
    for each in packed:
        maps = analysis.also[each["name"]]
        mean = from_json(each["mean"])
        total = from_blob(each["total"])
        wanted = maps.weights[:, 0].astype(np.float64)
        known = total[:, -1] > 0  # in a layer where nothing is above zero, there are no shares
        assert np.isnan(wanted[~known]).all() and known.any()
        assert_within((mean.unpack()[known] / total[known, -1:]), wanted[known], mean.bound + 1e-5)
        if each["name"] == "lens":
            assert each["heads"] is None
            assert_within(mean.unpack(), maps.maps[:, 0, 0].astype(np.float64), mean.bound + 1e-6)
            continue
        heads, true = from_json(each["heads"]), np.nan_to_num(maps.maps[:, :, 0].astype(np.float64))
        assert heads.steps == mean.steps == 65535
        assert_within(heads.unpack(), true, heads.bound + 1e-6)
        np.testing.assert_allclose(total[:, :-1], true.sum(-1), rtol=1e-5)


@pytest.mark.parametrize("measure", ["cosine", "mass"])
def test_further_maps_agree_with_the_boxes_as_in_the_analysis(analysis, measure):
    for each in content_of(analysis.page.html)["further"]:
        maps = analysis.also[each["name"]]
        wanted = maps.overlap.values(measure, normalisation=maps.normalisation)
        wanted = wanted.reshape(*wanted.shape[:2], -1)[..., 0]
        wanted = wanted[:, -1:] if each["name"] == "lens" else wanted
        found = from_blob(each[measure])
        np.testing.assert_allclose(found, np.broadcast_to(wanted, found.shape), rtol=1e-5)


def test_explore_makes_the_further_maps_that_an_analysis_has(vlm, analysis):
    names = ("lens", "gradient-alone")
    page = explore(vlm, tiny.photo(), QUESTION, also=names, intervention=ScaleImageLogits(0.5), max_new_tokens=1)
    assert [each.name for each in page.exploration.further] == list(names)
    assert page.exploration.settings["also"] == names
    for found in page.exploration.further:
        (wanted,) = [each for each in analysis.page.exploration.further if each.name == found.name]
        np.testing.assert_allclose(found.values, wanted.values, rtol=1e-3, atol=1e-7)
        assert found.label == wanted.label and found.label.startswith("share of the whole map: ")


def test_a_page_without_further_maps_says_nothing_of_them(vlm):
    page = explore(vlm, tiny.photo(), QUESTION, max_new_tokens=1)
    assert "further" not in content_of(page.html) and "also" not in page.exploration.settings
    body = page.html[page.html.index("<body>") : page.html.index('<script type="application/json"')]
    assert 'id="source"' not in body and "raw attention" not in body


@pytest.mark.parametrize(
    "also, says",
    [(["saliency"], "gradient, gradient-alone, gradcam, lens"), (["relative"], "neutral="), (["rollout"], "not known")],
)
def test_a_further_map_that_the_page_can_not_make_is_refused_before_the_model_runs(vlm, monkeypatch, also, says):
    monkeypatch.setattr(type(vlm), "generate_with_cache", None)
    with pytest.raises(InputError, match=re.escape(says)):
        explore(vlm, tiny.photo(), QUESTION, also=also)
