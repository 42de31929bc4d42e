"""Half precision: every study says what float32 says but for rounding, and what leaves the range is told by name."""

import json

import numpy as np
import pandas as pd
import pytest
import tiny
import torch
from ragged import SIZES

from interp.errors import ModelError
from interp.intervene.image_hooks import IMAGE_POINT
from interp.model.hooked_vlm import HookedVLM
from interp.objects.sample import Sample
from interp.store.folder import OutputFolder
from probes.__main__ import main
from probes.position.balance_study import study_balance
from probes.position.dose import dose_response
from probes.position.dose_answers import UNTOUCHED, Dose, DoseMeasurement, read_doses
from probes.position.dose_measures import MEASURES
from probes.position.norms_study import study_norms
from probes.position.order import psi
from probes.position.report.dose import dose_findings
from probes.position.rope_study import study_rope
from probes.study.findings import write_findings

QUIET = {"progress": False, "prompt": "paper", "draws": 50}
SHORT = {**QUIET, "max_new_tokens": 2}
FAMILIES = ("tiny-llava", "tiny-qwen3_vl")
ROUNDING = {"float16": 0.02, "bfloat16": 0.1}
"""How far a mean over samples may be from that in float32, as a share of it: what a few layers round away."""

STUDIES = {
    "norms": lambda vlm, samples: study_norms(vlm, samples, **QUIET),
    "balance": lambda vlm, samples: study_balance(vlm, samples, **SHORT),
    "rope": lambda vlm, samples: study_rope(vlm, samples, **QUIET),
    "order": lambda vlm, samples: psi(vlm, samples, **SHORT),
    "normalise": lambda vlm, samples: dose_response(vlm, samples, (0.5, 4), target_norms=(2,), **SHORT),
}


def asked(count=4):
    """Questions about photos of noise, each its own group."""
    questions = [tiny.QUESTIONS[place % 3] for place in range(count)]
    return [
        Sample(f"s{place}", tiny.photo(place, SIZES[place % 3]), question, ("left", "right"), "left")
        for place, question in enumerate(questions)
    ]


def tables(found):
    """Every table of a result, by name."""
    names = ("measures", "left_out", "answers", "states", "changes")
    told = {name: value for name in names if (value := getattr(found, name, None)) is not None}
    calls = ("to_dataframe", "quartiles", "norms_to_dataframe", "by_head", "by_layer", "over_all", "differences")
    return told | {name: getattr(found, name)() for name in calls if hasattr(found, name)}


def without_gaps(found):
    for name, table in tables(found).items():
        table = table.drop(columns="predicted", errors="ignore")  # None where an answer names none of its options
        if "quartile" in table:  # that of a token which is the same in every prompt has no interval
            gaps = table[table["low"].isna() & table["high"].isna()]
            assert "image" not in set(gaps["group"]), name
            table = table.drop(index=gaps.index)
        assert not table.isna().any(axis=None), name
        assert np.isfinite(table.select_dtypes("number").to_numpy(dtype=float)).all(), name


def numbers(tool, found):
    """What is compared with float32: means over samples, [number]; answers of random models flip, and are not."""
    if tool == "norms":
        return found.norms_to_dataframe()["norm"].to_numpy()
    if tool == "balance":
        return found.by_head().query("arm == 'kept'")["balance"].to_numpy()
    if tool == "rope":
        return found.to_dataframe()["alpha_v"].to_numpy()
    if tool == "order":
        return found.answers.query("order == 'original'")["confidence"].to_numpy()
    return found.states[["median_norm", "image_mass"]].to_numpy().ravel()


@pytest.fixture(scope="module")
def exact():
    """What every study finds in float32, by family and tool, once each."""
    known = {}

    def of(name, tool):
        if (name, tool) not in known:
            vlm = HookedVLM.from_pretrained(name, dtype="float32", self_check=False)
            known[name, tool] = numbers(tool, STUDIES[tool](vlm, asked()))
        return known[name, tool]

    return of


@pytest.mark.parametrize("tool", STUDIES)
@pytest.mark.parametrize("dtype", ROUNDING)
@pytest.mark.parametrize("name", FAMILIES)
def test_every_study_runs_without_a_gap_and_says_what_float32_says_but_for_rounding(name, dtype, tool, exact):
    vlm = HookedVLM.from_pretrained(name, dtype=dtype, self_check=False)
    assert vlm.dtype == getattr(torch, dtype)
    found = STUDIES[tool](vlm, asked())
    without_gaps(found)
    own, wanted = numbers(tool, found), exact(name, tool)
    assert own.shape == wanted.shape
    apart = np.abs(own - wanted).mean() / np.abs(wanted).mean()
    assert 0 < apart < ROUNDING[dtype]


@pytest.fixture(scope="module")
def half():
    """A model in float16, samples, and for each the largest number among its image tokens."""
    vlm, samples = HookedVLM.from_pretrained("tiny-llava", dtype="float16", self_check=False), asked()
    sizes = []
    for sample in samples:
        inputs = vlm.prepare(sample.image, sample.question, prompt="paper")
        _, cache = vlm.run_with_cache(inputs, names_filter=IMAGE_POINT)
        sizes.append(float(cache[IMAGE_POINT].abs().max()))
    return vlm, samples, sizes


def between(sizes, inside):
    """A factor under which so many of the samples stay within float16."""
    largest = torch.finfo(torch.float16).max
    ordered = sorted(sizes)
    return largest / (ordered[inside - 1] * ordered[inside]) ** 0.5


def test_a_dose_that_leaves_the_range_is_left_out_by_name_and_the_others_are_as_without_it(half, tmp_path):
    vlm, samples, sizes = half
    some = between(sizes, 2)
    alone = dose_response(vlm, samples, (0.5,), **SHORT)
    found = dose_response(vlm, samples, (0.5, some, 1e9), target_norms=(1e9,), out=tmp_path / "study", **SHORT)
    without_gaps(found)
    far = [Dose("scale", some), Dose("scale", 1e9), Dose("target", 1e9)]
    for dose, gone in zip(far, (2, 4, 4), strict=True):
        left = found.left_out.query("kind == @dose.kind and dose == @dose.value")
        assert set(left["measure"]) == set(MEASURES)
        assert left["why"].str.startswith(f"{gone} of 4 samples leave the range of float16").all()
        assert found.measures.query("kind == @dose.kind and dose == @dose.value").empty
        answers = found.answers.query("kind == @dose.kind and dose == @dose.value")
        inside = {sample.id for sample, size in zip(samples, sizes, strict=True) if size * dose.value < 65504}
        assert set(answers["id"]) == (inside if dose.kind == "scale" else set()) and len(set(answers["id"])) == 4 - gone
    for name in ("measures", "changes", "answers", "states"):
        own = getattr(found, name).query("kind == 'scale' and dose <= 1").reset_index(drop=True)
        pd.testing.assert_frame_equal(own, getattr(alone, name), check_exact=True)
    again = dose_response(
        vlm, samples, (0.5, some, 1e9), target_norms=(1e9,), out=tmp_path / "study", resume=True, **SHORT
    )
    pd.testing.assert_frame_equal(again.left_out, found.left_out)
    told = dose_findings(found)
    assert f"Dose {far[0]} is left out: 2 of 4 samples leave the range of float16" in " ".join(told.sentences)
    assert set(told.figures) == {"normalise_scale"}
    write_findings(OutputFolder(tmp_path / "page"), told)


def test_those_that_stay_in_a_batch_are_answered_as_if_the_others_were_not_changed(half):
    vlm, samples, sizes = half
    some = Dose("scale", between(sizes, 2))
    work = DoseMeasurement.of(vlm, read_doses((some.value,), (), ()), range(2), prompt="paper", max_new_tokens=2)
    inputs = vlm.prepare([one.image for one in samples], [one.question for one in samples], prompt="paper")
    found = work.ask(inputs)
    for place, own in enumerate(found):
        if sizes[place] * some.value >= 65504:
            assert own.doses == (UNTOUCHED,) and own.out_of_range == (some,)
            continue
        assert own.doses == (UNTOUCHED, some) and own.out_of_range == ()
        (one,) = work.ask(vlm.prepare(samples[place].image, samples[place].question, prompt="paper"))
        assert own.texts == one.texts and own.confidence == pytest.approx(one.confidence, rel=0.02)
        assert own.median_norm == pytest.approx(one.median_norm, rel=1e-3)


def test_tokens_within_the_range_that_the_model_drives_out_of_it_leave_the_dose_out(half):
    vlm, samples, sizes = half
    with vlm.paused() as model:
        weight = model.model.language_model.layers[0].self_attn.o_proj.weight
        before = weight.detach().clone()
        weight.data.mul_(1600)
    try:
        untouched = vlm.generate(vlm.prepare(samples[0].image, samples[0].question, prompt="paper"), 1)
        assert np.isfinite(untouched.confidence).all()
        most = 65504 / max(sizes) * 0.999  # so that the tokens themselves are within it
        found = dose_response(vlm, samples, (0.5, most), **SHORT)
    finally:
        weight.data.copy_(before)
    without_gaps(found)
    left = found.left_out.query("dose == @most")
    assert set(left["measure"]) == set(MEASURES) and left["why"].str.contains("leaves? the range of float16").all()
    assert len(found.measures.query("dose == 0.5"))


@pytest.mark.parametrize("tool", STUDIES)
def test_a_model_that_overflows_by_itself_is_refused_by_name_and_makes_no_table(tool):
    model = tiny.model().half()
    with torch.no_grad():
        list(model.model.multi_modal_projector.parameters())[-1][0] = 6e4  # a bias: layers add to it, past 65,504
        model.model.language_model.layers[0].mlp.down_proj.weight[0] = 6e4
    vlm = HookedVLM.wrap(model.requires_grad_(False), tiny.processor(), self_check=False)
    with pytest.raises(ModelError, match=r"infinite or NaN, as happens where a model overflows its number type: load"):
        STUDIES[tool](vlm, asked())


def test_one_photo_is_told_which_doses_leave_the_range(tmp_path, capsys):
    photo, out = tmp_path / "photo.png", tmp_path / "out"
    tiny.photo(0).save(photo)
    where = ["normalise", str(photo), "Where is the mug?", "--out", str(out), "--model", "tiny-llava"]
    how = ["--dtype", "float16", "--seeds", "2", "--max-new-tokens", "2"]
    assert main([*where, *how, "--scales", "2", "1e8", "--target-norms", "1e9"]) == 0
    summary, said = json.loads((out / "summary.json").read_text()), capsys.readouterr().out
    assert summary["out_of_range"] == ["scale 1e+08", "target 1e+09"]
    assert "scale 1e+08: left out, as it leaves the range of float16" in said
    table = pd.read_parquet(out / "normalise.parquet")
    assert table["dose"].tolist() == [1, 2] and not table.isna().any(axis=None)
    assert sorted(path.name for path in out.glob("*.png")) == ["normalise_scale.png"]
