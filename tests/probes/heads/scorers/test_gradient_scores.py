"""Gradient times attention finds the head that is used, and not one that looks at the image in vain."""

from functools import cache

import numpy as np
import pytest
import tiny
from looking import FAST, planted_vlm, ranked, scenes

from interp.errors import InputError
from interp.maps.gradients import answer_gradient
from interp.objects.sample import Sample
from interp.planted.llava import OBJECT_HEAD, SINK_HEAD
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


def test_numbers_are_those_of_the_maps_and_dealt_weights_those_of_a_loop():
    vlm = tiny.vlm(self_check=False)
    samples = [Sample(f"s{place}", tiny.photo(place), asked, (), "left") for place, asked in enumerate(tiny.QUESTIONS)]
    work = GradientMeasurement(vlm, deals=3)
    rows = [own for (own,) in work(samples)]
    inputs = vlm.prepare([sample.image for sample in samples], [sample.question for sample in samples])
    for row, one in zip(rows, answer_gradient(vlm, inputs, "left"), strict=True):
        np.testing.assert_allclose(row["gradient"], one.maps("gradient").sum(-1).ravel(), rtol=1e-5, atol=1e-9)
        assert row["answer"] == "left" and row["log_probability"] == pytest.approx(one.log_probability)
        # Whatever the deal, the sum lies between those of weights dealt in the same order and in the opposite one.
        image = one.layout.image_positions
        looked, slope = np.sort(one.attention[..., image]), np.sort(one.gradient[..., image].clip(min=0))
        largest, least = (looked * slope).sum(-1).ravel(), (looked * slope[..., ::-1]).sum(-1).ravel()
        for name in ("gradient", "gradient_dealt", "gradient_drawn"):
            assert (row[name] <= largest * 1.0001 + 1e-9).all() and (row[name] >= least * 0.9999 - 1e-9).all()


def test_a_sample_s_deals_are_the_same_in_every_batch():
    vlm = tiny.vlm(self_check=False)
    samples = [Sample(f"s{place}", tiny.photo(place), tiny.QUESTIONS[0], (), "left") for place in range(3)]
    work = GradientMeasurement(vlm, deals=2)
    together, alone = work(samples), [work([sample])[0] for sample in samples]
    for (one,), (other,) in zip(together, alone, strict=True):
        np.testing.assert_allclose(one["gradient_drawn"], other["gradient_drawn"], rtol=1e-3, atol=1e-6)


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
        with pytest.raises(InputError, match="deals 0"):
            gradient_scores(vlm, scenes(), deals=0, **FAST)
    assert not shapes
