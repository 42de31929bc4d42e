"""Ablation finds the heads that the answer needs, equals edits by hand, and keeps right and wrong answers apart."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import tiny
import torch
from heads_by_hand import head_by_head, heads_by_hand, places
from looking import FAST, planted_vlm, ranked, scenes

from interp.errors import InputError
from interp.objects.sample import Sample
from interp.planted.llava import FETCH_HEAD, OBJECT_HEAD
from probes.heads.activations.z_rows import last_z
from probes.heads.scorers.ablation import AblationMeasurement, ablation_scores, mean_of_others

NEEDED = {FETCH_HEAD, OBJECT_HEAD}
"""At the last position the answer needs the head that learns the colour, and the one that looks for it."""


@cache
def found():
    return ablation_scores(planted_vlm(), scenes(), **FAST)


def test_the_heads_that_the_answer_needs_are_first():
    drop = found()["ablation"]
    assert set(ranked(drop.of())[:2]) == NEEDED
    rest = drop.of().copy()
    for head in NEEDED:
        assert drop.of()[head] > 0.1 and drop.p_any[0][head] < 0.05 and drop.low[0][head] > 0
        rest[head] = 0
    assert np.abs(rest).max() < 1e-4 and not drop.null.any()


def test_losses_count_where_the_answer_is_right_and_gains_where_it_is_wrong():
    positive, negative = found()["ablation_positive"], found()["ablation_negative"]
    assert set(ranked(positive.of())[:2]) == NEEDED and positive.samples == (24,)
    assert negative.functions == () and "0 of its 24 samples" in negative.left_out[0]["why"]
    other = {"left": "right", "right": "left"}
    wrong = [replace(sample, answer=other[sample.answer]) for sample in scenes()]
    turned = ablation_scores(planted_vlm(), wrong, **FAST)
    assert set(ranked(turned["ablation_negative"].of())[:2]) == NEEDED
    assert turned["ablation_positive"].functions == ()
    np.testing.assert_allclose(turned["ablation_negative"].of(), positive.of(), atol=1e-4)


def test_the_null_of_losses_is_what_the_same_samples_gain():
    own = found()
    both = own["ablation_positive"].of() - own["ablation_positive"].null[0]
    np.testing.assert_allclose(both, own["ablation"].of(), atol=1e-6)  # as all are answered rightly


def asked(vlm, count=3):
    samples = [
        Sample(f"s{n}", tiny.photo(n), question, (), "left") for n, question in enumerate(tiny.QUESTIONS[:count])
    ]
    return samples, vlm.prepare([one.image for one in samples], [one.question for one in samples])


@pytest.mark.parametrize("instead", ["zero", "mean_of_others"])
def test_each_drop_is_that_of_an_edit_by_hand(instead):
    vlm = tiny.vlm(self_check=False, layers=2)
    samples, inputs = asked(vlm)
    rows = [own for (own,) in AblationMeasurement(vlm, instead)(samples)]
    gold = vlm.processor.tokenizer.convert_tokens_to_ids("left")
    others = torch.from_numpy(mean_of_others(last_z(vlm, inputs)))

    def chances(model):
        with torch.no_grad():
            return model(**inputs.tensors).logits[:, -1].softmax(-1)[:, gold]

    with vlm.paused() as model:
        whole = chances(model)
    for layer in range(2):
        for head in range(4):

            def change(sample, k, z, layer=layer, head=head):
                return 0 * z if instead == "zero" else others[sample, layer, head]

            edit = head_by_head([(layer, head)], change, places(inputs, "last", "prompt"))
            with heads_by_hand(vlm, edit) as model:
                lost = whole - chances(model)
            for row, own in zip(rows, lost.tolist(), strict=True):
                assert row["drop"][4 * layer + head] == pytest.approx(own, abs=1e-5)
    for row, p in zip(rows, whole.tolist(), strict=True):
        assert row["p"] == pytest.approx(p, abs=1e-5)
    assert max(np.abs(row["drop"]).max() for row in rows) > 1e-4


def test_the_mean_of_others_leaves_the_head_itself_out():
    z = np.random.default_rng(0).normal(size=(2, 3, 4, 5)).astype(np.float32)
    found = mean_of_others(z)
    for head in range(4):
        rest = [other for other in range(4) if other != head]
        np.testing.assert_allclose(found[:, :, head], z[:, :, rest].mean(2), rtol=1e-4, atol=1e-6)


def test_the_prompt_is_run_once_for_all_heads():
    vlm = tiny.vlm(self_check=False)
    samples, inputs = asked(vlm)
    with tiny.passes(vlm) as shapes:
        AblationMeasurement(vlm)(samples)
    assert [length for _, length in shapes].count(inputs.input_ids.shape[1]) == 1
    assert all(rows <= 64 for rows, length in shapes)


def test_what_means_nothing_is_refused_before_the_model_runs():
    vlm = planted_vlm()
    with tiny.passes(vlm) as shapes:
        with pytest.raises(InputError, match="instead='noise' is not known"):
            ablation_scores(vlm, scenes(), instead="noise", **FAST)
        with pytest.raises(InputError, match="answer 'zebra' is not known"):
            ablation_scores(vlm, [replace(scenes()[0], answer="zebra", options=()), *scenes()[1:]], **FAST)
        with pytest.raises(InputError, match="no function can be scored"):
            ablation_scores(vlm, scenes()[:4], **FAST)
    assert not shapes
    alone = tiny.vlm(self_check=False, heads=1, kv_heads=1)
    with pytest.raises(InputError, match="have one head"):
        AblationMeasurement(alone, "mean_of_others")
