"""Edits at words that name objects and towards their boxes: where they are made, and on which samples they can not."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from tiny import photo

from interp import HookedVLM, InputError, Object, Sample, ScaleHeads, object_words
from interp.image.boxes import Box
from interp.intervene.head_patch import recorded_z
from probes import evaluate_heads
from probes.heads.evaluation.donors import collect_donors

HEADS = ((0, 1), (1, 0), (2, 3))
QUESTIONS = ("Where is the mug?", "Where is the red mug in relation to the table?", "Is the table right of a mug?")
SIZES = ((80, 60), (60, 150), (200, 60))
QUIET = {"progress": False, "draws": 10, "max_new_tokens": 2, "controls": ("random",), "prompt": "paper"}


@pytest.fixture(scope="module", params=["tiny-llava", "tiny-qwen2_5_vl"])
def vlm(request):
    return HookedVLM.from_pretrained(request.param, self_check=False)


@pytest.fixture(scope="module")
def llava():
    return HookedVLM.from_pretrained("tiny-llava", self_check=False)


def ragged(name="test", more=0):
    return [_asked(f"{name} {place}", photo(place + more, SIZES[place]), place) for place in range(3)]


def _asked(name, image, place):
    mug = Object("mug", Box("mug", (10, 10, int(0.6 * image.width), image.height - 10)))
    options = ("left", "right on")
    return Sample(name, image, QUESTIONS[place], options, options[place % 2], (mug, Object("table")))


def test_heads_are_removed_at_object_words_as_by_hand_and_ragged_batches_are_samples_alone(vlm):
    how = {"factor": 0.0, "factors": (1.0,), "positions": "objects", **QUIET}
    found = [evaluate_heads(vlm, ragged(), HEADS, batch=batch, **how).by_sample() for batch in (3, 1)]
    columns = ["text", "confidence", "log_prob"]
    for rows in found:  # of strength zero it is the untouched model, to the bit
        own, plain = (
            rows[rows["arm"] == arm][columns].reset_index(drop=True) for arm in ("heads, factor 1", "untouched")
        )
        pd.testing.assert_frame_equal(own, plain, check_exact=True)
    np.testing.assert_allclose(found[0]["log_prob"], found[1]["log_prob"], rtol=1e-3, atol=2e-4)
    samples = ragged()
    inputs = vlm.prepare([one.image for one in samples], [one.question for one in samples], prompt="paper")
    places = object_words(vlm, inputs, samples)
    said = vlm.generate(inputs, 2, intervention=ScaleHeads(HEADS, 0.0, positions=places))
    own = found[0][found[0]["arm"] == "heads"]
    assert own["text"].tolist() == list(said.texts)
    np.testing.assert_allclose(own["confidence"], said.confidence, rtol=1e-4, atol=1e-5)
    before = found[0][found[0]["arm"] == "untouched"]["log_prob"].to_numpy()
    assert np.abs(own["log_prob"].to_numpy() - before).max() > 1e-3


@pytest.mark.parametrize("edit", ["mean", "resample", "gain", "bias", "redistribute"])
def test_other_edits_meet_the_words_too(llava, edit):
    sinks = np.arange(len(llava.grid_of(ragged()[0].image))) < 8
    strong = {"gain": {"factor": 9.0}, "bias": {"factor": 30.0}, "redistribute": {"factor": 0.0, "sinks": sinks}}
    how = strong.get(edit, {"train": ragged("train", 40)})
    rows = {}
    for positions in ("objects", "all"):
        found = evaluate_heads(llava, ragged(), HEADS, edit, positions=positions, scope="prompt", **how, **QUIET)
        rows[positions] = found.by_sample().set_index(["id", "arm"])["log_prob"].unstack()
    assert (rows["objects"]["heads"] - rows["objects"]["untouched"]).abs().max() > 1e-4
    assert (rows["objects"]["heads"] - rows["all"]["heads"]).abs().max() > 1e-4


def test_donors_of_object_words_are_their_mean(vlm):
    train = ragged("train", 40)
    found = collect_donors(vlm, train, HEADS, answers=False, positions="objects", prompt="paper", batch=3)
    for place, sample in enumerate(train):
        inputs = vlm.prepare(sample.image, sample.question, prompt="paper")
        with torch.no_grad():
            _, cache = vlm.run_with_cache(inputs)
        alone = recorded_z(HEADS, cache, inputs, at=object_words(vlm, inputs, [sample]))[0]
        np.testing.assert_allclose(found.of(HEADS)[place], alone, rtol=1e-3, atol=1e-5)


def test_a_run_at_object_words_is_gone_on_with_as_such_alone(llava, tmp_path):
    how = {**QUIET, "out": tmp_path / "kept"}
    first = evaluate_heads(llava, ragged(), HEADS, positions="objects", **how)
    assert first.settings["positions"] == "objects"
    again = evaluate_heads(llava, ragged(), HEADS, positions="objects", resume=True, **how)
    pd.testing.assert_frame_equal(again.rows, first.rows)
    with pytest.raises(InputError, match="positions: was 'objects', now 'text'"):
        evaluate_heads(llava, ragged(), HEADS, positions="text", resume=True, **how)


def test_all_samples_without_object_words_are_refused_by_name_before_the_first_pass(llava, monkeypatch):
    monkeypatch.setattr(type(llava), "forward", lambda *given, **more: pytest.fail("a pass was run"))
    good = ragged()
    other = [replace(good[0], id="cup", objects=(Object("cup"),)), replace(good[1], id="none", objects=())]
    how = {"positions": "objects", **QUIET}
    with pytest.raises(
        InputError, match="2 of 5 samples have no object words: .*'cup'.* names none .*'none' has no obj"
    ):
        evaluate_heads(llava, [*good, *other], HEADS, **how)
    named = [replace(one, id=f"control {place}") for place, one in enumerate(good)]
    with pytest.raises(InputError, match="sample 'none' has no objects"):
        evaluate_heads(llava, good, HEADS, control=[*named, other[1]], **how)
    train = [replace(one, id=f"train {place}", objects=()) for place, one in enumerate(ragged("train", 40))]
    with pytest.raises(InputError, match="3 of 3 samples have no object words"):
        evaluate_heads(llava, good, HEADS, "mean", train=train, **how)
    with pytest.raises(InputError, match="scope='decode' edits nothing"):
        evaluate_heads(llava, good, HEADS, scope="decode", **how)


def test_all_samples_whose_boxes_are_too_small_are_refused_together_before_the_first_pass(llava, monkeypatch):
    monkeypatch.setattr(type(llava), "forward", lambda *given, **more: pytest.fail("a pass was run"))
    good = ragged()
    boxes = {"tiny": (30, 30, 32, 32), "whole": (0, 0, *good[0].image.size), "outside": (0, 0, 1, 60)}
    bad = [replace(good[0], id=name, objects=(Object("mug", Box("mug", box)),)) for name, box in boxes.items()]
    bad.append(replace(good[0], id="bare", objects=()))
    with pytest.raises(InputError, match="4 of 7 samples have no region .*'tiny'.*'whole'.*'outside'.*'bare'"):
        evaluate_heads(llava, [*good, *bad], HEADS, "bias", **QUIET)


def test_all_samples_that_do_not_fit_the_sinks_are_refused_together(vlm):
    samples = ragged()
    counts = [len(vlm.grid_of(one.image)) for one in samples]
    sinks = np.arange(counts[0] + 1) == 0
    with pytest.raises(InputError, match="3 of 3 samples do not fit the sinks"):
        evaluate_heads(vlm, samples, HEADS, "redistribute", sinks=sinks, **QUIET)
