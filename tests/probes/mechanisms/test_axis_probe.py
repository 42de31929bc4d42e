"""Axis probes: they equal the recorded ones, read sides that are there, drop what contradicts, refuse, and go on."""

import numpy as np
import pandas as pd
import pytest
import tiny
from broken_off import break_second
from golden import golden
from PIL import Image
from towers_seen import tower_runs

from interp.errors import InputError
from interp.image.boxes import Box
from interp.image.grid import View, grid_of_views
from interp.model.hooked_vlm import HookedVLM
from interp.objects.sample import Object, Sample
from interp.planted.llava import build_planted
from interp.stats.linear_probe import fit_probe
from probes.mechanisms.probe.axis import BoxMeans, axis_probe, box_tokens, load_axis_probes, train_items

QUIET = {"progress": False, "prompt": "paper", "draws": 200}


@pytest.mark.parametrize("axis", ["horizontal", "vertical"])
def test_the_recorded_axis_probes_are_made_again(axis):
    case = np.load(golden("position_probe") / "coco_axis_probe.npz")
    case = {name.removeprefix(f"{axis}."): case[name] for name in case if name.startswith(axis)}
    train, test = train_items(len(case["perm"]), case["perm"])
    assert train.tolist() == case["train_items"].tolist() and test.tolist() == case["test_items"].tolist()
    rows = np.concatenate([2 * train, 2 * train + 1])  # all subjects, then all objects
    probe = fit_probe(case["X"][rows], case["y"][rows], recipe="paper", start=(case["W0"], case["b0"]))
    assert np.abs(probe.weights - case["W"]).max() < 2e-4 > np.abs(probe.bias - case["b"]).max()
    held = np.concatenate([2 * test, 2 * test + 1])
    right = [100 * (probe.predict(case["X"][own]) == case["y"][own]).mean() for own in (rows, held)]
    assert right == pytest.approx(case["acc"].tolist(), abs=1e-3)


def pair_of(place, side, *, wrong=False):
    """Two squares of two tokens, the first on that side of the second, or on the other one where it is wrong."""
    rng = np.random.default_rng(place)
    near, far, across = 14 * int(rng.integers(0, 3)), 14 * int(rng.integers(4, 7)), 14 * int(rng.integers(0, 7))
    first, second = (near, far) if (side in ("left", "above")) != wrong else (far, near)
    pixels = np.full((112, 112, 3), 128, dtype=np.uint8)
    things = []
    for name, along, color in (("mug", first, (255, 0, 0)), ("table", second, (0, 0, 255))):
        x, y = (along, across) if side in ("left", "right") else (across, along)
        pixels[y : y + 14, x : x + 14] = color
        things.append(Object(name, Box(name, (x, y, x + 14, y + 14))))
    return Sample(f"{side} {place}", Image.fromarray(pixels), "Where?", (), side, tuple(things), relation=side)


def pairs(count=40):
    return [pair_of(place, ("left", "right", "above", "below")[place % 4]) for place in range(count)]


@pytest.fixture(scope="module")
def vlm():
    """The planted model whose tokens say where they are."""
    return HookedVLM.wrap(*build_planted("planted-object"), self_check=False)


def test_sides_that_tokens_tell_are_read_along_both_axes_and_kept(vlm, tmp_path):
    contradicting = pair_of(99, "left", wrong=True)
    with tower_runs(vlm) as calls:
        found = axis_probe(vlm, [*pairs(), contradicting], recipe="logistic", **QUIET)
    assert len(calls) == 3  # 40 samples by 16, and not again for the other axis
    assert found.dropped["id"].tolist() == [contradicting.id] and "contradict" in found.dropped["why"][0]
    told = found.to_dataframe().set_index(["axis", "measure"])["value"]
    assert told["horizontal", "train_accuracy"] == 1 and told["vertical", "train_accuracy"] == 1
    assert found.left_out["why"].str.contains("fewer than three groups").sum() >= 3  # one of 20 groups is held out
    assert {axis: own.shape for axis, own in found.weights.items()} == {"horizontal": (64, 2), "vertical": (64, 2)}
    assert len(found.trained_on) == 38
    counts = found.measures.set_index(["axis", "measure"])[["samples", "groups"]]
    assert counts.loc[("horizontal", "train_accuracy")].tolist() == [19, 19]
    again = load_axis_probes(found.save(tmp_path / "axes.safetensors"))
    assert np.array_equal(again["vertical"].weights, found.weights["vertical"])


def test_the_mean_is_over_the_tokens_that_a_box_touches(vlm):
    sample = pair_of(3, "left")
    inputs = vlm.prepare(sample.image, sample.question, prompt="paper")
    _, cache = vlm.run_with_cache(inputs, names_filter="projector.hook_out")
    rows = BoxMeans(vlm, {sample.id: (np.array([3, 9]), np.array([60]))}, "paper")([sample])[0]
    assert np.allclose(rows[0]["features"], cache["projector.hook_out"][[3, 9]].mean(0), atol=1e-6)
    assert np.allclose(rows[1]["features"], cache["projector.hook_out"][60], atol=1e-6)


def test_a_study_that_was_broken_off_goes_on_to_the_same_probes(vlm, tmp_path, monkeypatch):
    samples, options = pairs(24), {"batch": 6, **QUIET}
    whole = axis_probe(vlm, samples, **options)
    with monkeypatch.context() as patch:
        break_second(patch, BoxMeans)
        with pytest.raises(KeyboardInterrupt):
            axis_probe(vlm, samples, out=tmp_path, **options)
    again = axis_probe(vlm, samples, out=tmp_path, resume=True, **options)
    pd.testing.assert_frame_equal(again.measures, whole.measures)
    assert np.array_equal(again.weights["horizontal"], whole.weights["horizontal"])


def test_what_has_no_side_is_refused_before_the_first_pass(vlm):
    bare = Sample("bare", tiny.photo(0), "Where?", (), "left", (Object("mug"),), relation="left")
    open_one = Sample(**{**vars(pair_of(0, "left")), "id": "open", "relation": "on", "answer": "on"})
    with tower_runs(vlm) as calls:
        for given, options, says in (
            ([], {}, "no samples"),
            ([*pairs(8), bare], {}, "'bare' has 0 objects with boxes"),
            ([*pairs(8), open_one], {}, "the relation 'on' and the answer 'on'"),
            (pairs(2), {}, "horizontal axis: 2 samples|1 group|at least two groups"),
            ([pair_of(place, "left", wrong=True) for place in range(3)], {}, "all 3 samples were dropped"),
            (pairs(8), {"recipe": "svm"}, "recipe='svm'"),
            (pairs(8), {"shuffles": 0}, "no control"),
        ):
            if given and len(given) == 2:
                given = [given[0], pair_of(1, "above")]
            with pytest.raises(InputError, match=says):
                axis_probe(vlm, given, **{**QUIET, **options})
    assert not calls


def test_a_token_that_a_box_touches_counts_and_one_that_it_only_meets_does_not():
    edges = np.arange(0.0, 33, 4)
    grid = grid_of_views((32, 32), [View(edges, edges)])
    things = tuple(Object(name, Box(name, xyxy)) for name, xyxy in (("mug", (0, 0, 5, 4)), ("cap", (16, 4, 20, 9))))
    sample = Sample("one", tiny.photo(0, (32, 32)), "Where?", (), "left", things, relation="left")
    (first, second), why = box_tokens(sample, grid)
    assert first.tolist() == [0, 1] and second.tolist() == [12, 20] and not why
