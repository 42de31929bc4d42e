"""Gradient times attention finds the head that is used, and not one that looks at the image in vain."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import tiny
from broken_off import break_second
from looking import FAST, planted_vlm, ranked, scenes

from interp.errors import InputError
from interp.maps.gradients import answer_gradient
from interp.model.hooked_vlm import HookedVLM
from interp.objects.sample import Sample
from interp.planted.llava import OBJECT_HEAD, SINK_HEAD
from interp.prompt.templates import paper_prompt
from interp.zoo.tiny import build_tiny
from probes.heads.scorers.gradient import GradientMeasurement, gradient_scores


@cache
def found():
    return gradient_scores(planted_vlm(), scenes(), **FAST)


def test_the_head_that_the_answer_hangs_on_is_first_and_the_one_that_only_looks_is_not():
    own = found()
    assert ranked(own.of())[0] == OBJECT_HEAD
    assert own.of()[SINK_HEAD] == 0 and own.of()[OBJECT_HEAD] > own.null[0][OBJECT_HEAD] > 0
    assert own.scorer == "gradient" and own.samples == (24,) and own.groups == (12,)
    assert own.low[0][OBJECT_HEAD] <= own.of()[OBJECT_HEAD] <= own.high[0][OBJECT_HEAD]


@cache
def asked(count=4):
    """A tiny model, and questions about as many photos of one size."""
    vlm = tiny.vlm(self_check=False)
    words = ("left", "right")
    samples = [
        Sample(f"s{place}", tiny.photo(place), tiny.QUESTIONS[place % 2], (), words[place % 2], group=f"g{place}")
        for place in range(count)
    ]
    return vlm, samples


def test_numbers_are_those_of_the_maps_and_by_chance_of_the_partner_s_gradient_in_a_loop():
    vlm, samples = asked()
    work = GradientMeasurement.of(vlm, samples)
    rows = [own for (own,) in work(samples)]
    inputs = vlm.prepare([sample.image for sample in samples], [sample.question for sample in samples])
    found = answer_gradient(vlm, inputs, [sample.answer for sample in samples])
    for sample, row, one in zip(samples, rows, found, strict=True):
        np.testing.assert_allclose(row["gradient"], one.maps("gradient").sum(-1).ravel(), rtol=1e-5, atol=1e-9)
        assert row["answer"] == sample.answer and row["log_probability"] == pytest.approx(one.log_probability)
        other = found[samples.index(work.partners.other(sample))]
        elsewhere = np.zeros(one.attention.shape[:2])
        for layer, head in np.ndindex(*elsewhere.shape):
            for here, there in zip(one.layout.image_positions, other.layout.image_positions, strict=True):
                gain = max(float(other.gradient[layer, head, there]), 0.0)
                elsewhere[layer, head] += float(one.attention[layer, head, here]) * gain
        np.testing.assert_allclose(row["gradient_elsewhere"], elsewhere.ravel(), rtol=1e-5, atol=1e-9)


def test_a_sample_s_numbers_are_the_same_in_every_batch_with_its_partner_in_it_or_not():
    vlm, samples = asked()
    work = GradientMeasurement.of(vlm, samples)
    together, alone = work(samples), [work([sample])[0] for sample in samples]
    for (one,), (other,) in zip(together, alone, strict=True):
        np.testing.assert_allclose(one["gradient_elsewhere"], other["gradient_elsewhere"], rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("batch", [1, 5])
def test_scores_hang_on_no_batch_and_a_study_that_was_broken_off_goes_on_to_the_same(batch, tmp_path, monkeypatch):
    how = {**FAST, "out": tmp_path, "batch": batch}
    with monkeypatch.context() as patched:
        break_second(patched, GradientMeasurement)
        with pytest.raises(KeyboardInterrupt):
            gradient_scores(planted_vlm(), scenes(), **how)
    again = gradient_scores(planted_vlm(), scenes(), resume=True, **how)
    for name in ("values", "null", "p", "p_any", "low"):
        np.testing.assert_allclose(getattr(again, name), getattr(found(), name), rtol=1e-4, atol=1e-7)


def test_partners_in_one_batch_are_asked_once(monkeypatch):
    counts, inner = [], GradientMeasurement._gradients
    monkeypatch.setattr(
        GradientMeasurement, "_gradients", lambda work, own: counts.append(len(own)) or inner(work, own)
    )
    gradient_scores(planted_vlm(), scenes(), batch=24, **FAST)
    assert counts == [24, 0]


def test_samples_without_a_partner_count_in_nothing_and_are_told():
    """A photo of another size has another grid where the family's grids follow the photo."""
    vlm = HookedVLM.wrap(*build_tiny("tiny-qwen2_5_vl"), self_check=False)
    sizes = [(112, 112)] * 12 + [(112, 56)]
    meta = {"paper_prompt": f"{paper_prompt('Where?')}\n"}
    samples = [
        Sample(f"s{place}", tiny.photo(place, size), "Where?", (), "left", meta=meta)
        for place, size in enumerate(sizes)
    ]
    own = gradient_scores(vlm, samples, **FAST)
    assert own.samples == (12,) and own.settings["without_partner"] == 1
    most = gradient_scores(vlm, samples[:12], **FAST)
    np.testing.assert_allclose(own.values, most.values, rtol=1e-3, atol=1e-7)
    grown = [
        replace(sample, image=tiny.photo(place, (112 + 56 * (place % 4), 112 + 56 * (place // 4))))
        for place, sample in enumerate(samples)
    ]
    few = r"6 of 13 samples have a partner.*Give photos of one size"
    with tiny.passes(vlm) as shapes, pytest.raises(InputError, match=few):
        gradient_scores(vlm, grown, **FAST)
    assert not shapes


def test_the_model_s_own_answer_can_be_asked_about():
    vlm = tiny.vlm(self_check=False)
    sample = Sample("s", tiny.photo(), tiny.QUESTIONS[0], (), "left")
    ((row,),) = GradientMeasurement(vlm, answer="own")([sample])
    assert row["answer"] == answer_gradient(vlm, vlm.prepare(sample.image, sample.question))[0].answer.text


def test_what_means_nothing_is_refused_before_the_model_runs():
    vlm = planted_vlm()
    strange = [Sample(f"s{place}", tiny.photo(), "Where is it?", (), "zebra", group=f"g{place}") for place in range(12)]
    with tiny.passes(vlm) as shapes:
        with pytest.raises(InputError, match=r"12 of 12 samples have such an answer.*'zebra' is not known"):
            gradient_scores(vlm, strange, **FAST)
        with pytest.raises(InputError, match="answer='theirs' is not known"):
            gradient_scores(vlm, scenes(), answer="theirs", **FAST)
        with pytest.raises(InputError, match=r"1 pair of groups: at least 10 in two pairs"):
            gradient_scores(vlm, [replace(one, group=f"g{place % 3}") for place, one in enumerate(scenes())], **FAST)
    assert not shapes
