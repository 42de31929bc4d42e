"""What an evaluation measures is the same one by one and in ragged batches, and after a run that was broken off."""

import numpy as np
import pandas as pd
import pytest
from tiny import photo

from interp.errors import InputError
from interp.image.boxes import Box
from interp.intervene.head_patch import recorded_z
from interp.intervene.heads import ScaleHeads
from interp.model.hooked_vlm import HookedVLM
from interp.objects.sample import Object, Sample
from probes import HeadEvaluationMeasurement, evaluate_heads
from probes.heads.evaluation.donors import collect_donors

HEADS = ((0, 1), (1, 0), (2, 3))
QUESTIONS = ("Where is the mug?", "Where is the red mug in relation to the table?", "Is it on the left?")
SIZES = ((80, 60), (60, 150), (200, 60))
QUIET = {"progress": False, "draws": 10, "max_new_tokens": 3, "controls": ("random",), "prompt": "paper"}


@pytest.fixture(scope="module", params=["tiny-llava", "tiny-qwen2_5_vl"])
def vlm(request):
    return HookedVLM.from_pretrained(request.param, self_check=False)


def ragged(count=3, name="test"):
    """Questions of several lengths about photos of several shapes; answers of several lengths."""
    first = 40 if name == "train" else 0
    return [_asked(f"{name} {place}", photo(place + first, SIZES[place % 3]), place) for place in range(count)]


def _asked(name, image, place):
    width, height = image.size
    mug = Object("mug", Box("mug", (10, 10, int(0.6 * width), height - 10)))
    options = ("left", "right on")
    return Sample(name, image, QUESTIONS[place % 3], options, options[place % 2], (mug,))


@pytest.mark.parametrize("edit", ["scale", "gain", "resample", "bias"])
def test_ragged_batches_are_answered_as_samples_alone(vlm, edit):
    more = {"train": ragged(3, "train")} if edit == "resample" else {}
    more |= {} if edit == "resample" else {"factor": {"scale": 0.0, "gain": 20.0, "bias": 30.0}[edit]}
    found = [evaluate_heads(vlm, ragged(), HEADS, edit, batch=batch, **more, **QUIET).by_sample() for batch in (3, 1)]
    assert found[0][["text", "predicted", "tokens"]].equals(found[1][["text", "predicted", "tokens"]])
    assert found[0]["tokens"].nunique() == 2
    for name in ("confidence", "log_prob"):
        np.testing.assert_allclose(found[0][name], found[1][name], rtol=1e-3, atol=2e-4)
    before, after = (found[0].query(f"arm == '{arm}'")["log_prob"].to_numpy() for arm in ("untouched", "heads"))
    assert np.abs(before - after).max() > 1e-3


def test_donors_are_what_heads_mix_in_one_sample_alone(vlm):
    train = ragged(3, "train")
    found = collect_donors(vlm, train, HEADS, answers=False, prompt="paper", batch=3)
    for place, sample in enumerate(train):
        inputs = vlm.prepare([sample.image], [sample.question], prompt="paper")
        _, cache = vlm.run_with_cache(inputs)
        alone = recorded_z(HEADS, cache, inputs, at="last")[0]
        np.testing.assert_allclose(found.of(HEADS)[place], alone, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("edit", ["scale", "resample"])
def test_a_run_that_was_broken_off_is_gone_on_with_to_the_same_numbers(edit, tmp_path, monkeypatch):
    vlm = HookedVLM.from_pretrained("tiny-llava", self_check=False)
    how = {**QUIET, "batch": 2, **({"train": ragged(3, "train")} if edit == "resample" else {"factor": 0.0})}
    samples, measure, asked = ragged(6), HeadEvaluationMeasurement.__call__, []

    def breaks(self, own):
        if len(asked) == 1:
            raise KeyboardInterrupt
        asked.append([one.id for one in own])
        return measure(self, own)

    monkeypatch.setattr(HeadEvaluationMeasurement, "__call__", breaks)
    with pytest.raises(KeyboardInterrupt):
        evaluate_heads(vlm, samples, HEADS, edit, out=tmp_path / "kept", **how)
    asked.append([])  # it no longer breaks
    resumed = evaluate_heads(vlm, samples, HEADS, edit, out=tmp_path / "kept", resume=True, **how)
    assert sum(map(len, asked)) == 6 and len(asked) == 4  # no batch was measured twice
    monkeypatch.undo()
    whole = evaluate_heads(vlm, samples, HEADS, edit, **how)
    for table in ("rows", "arms", "measures", "answers"):
        one, other = getattr(resumed, table), getattr(whole, table)
        pd.testing.assert_frame_equal(
            one.drop(columns="key", errors="ignore"), other.drop(columns="key", errors="ignore")
        )


def test_a_folder_of_another_study_is_refused(tmp_path, monkeypatch):
    vlm = HookedVLM.from_pretrained("tiny-llava", self_check=False)
    how = {**QUIET, "train": ragged(3, "train"), "out": tmp_path / "kept"}
    evaluate_heads(vlm, ragged(), HEADS, "mean", **how)
    for other in ({"train": ragged(4, "train")}, {"seed": 3}):
        with pytest.raises(InputError, match="other settings|another"):
            evaluate_heads(vlm, ragged(), HEADS, "mean", resume=True, **{**how, **other})
    monkeypatch.setattr(type(vlm), "forward", lambda *given, **more: pytest.fail("a pass was run"))
    with pytest.raises(InputError, match="resume"):
        evaluate_heads(vlm, ragged(), HEADS, "mean", **how)


def test_an_edit_that_changes_nothing_is_exact_on_every_sample_in_a_ragged_batch(vlm):
    found = evaluate_heads(vlm, ragged(), HEADS, factor=0.0, factors=(1.0,), **QUIET).by_sample()
    columns = ["text", "confidence", "log_prob", "correct"]
    own = found[found["arm"] == "heads, factor 1"][columns].reset_index(drop=True)
    pd.testing.assert_frame_equal(
        own, found[found["arm"] == "untouched"][columns].reset_index(drop=True), check_exact=True
    )
    inputs = vlm.prepare([one.image for one in ragged()], [one.question for one in ragged()], prompt="paper")
    said = vlm.generate(inputs, 3, intervention=ScaleHeads(HEADS, 0.0))
    assert found[found["arm"] == "heads"]["text"].tolist() == list(said.texts)
