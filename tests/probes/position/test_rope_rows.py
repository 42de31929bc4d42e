"""One row before and after its image keys are turned: recorded values of the paper's code, and what turns nothing."""

import json

import numpy as np
import pytest
import torch
from golden import golden

from interp.errors import ModelError
from probes.position.rope_rows import logits_and_change, turned_row
from probes.position.rotary import turned

CASES = (
    "basic middle_row no_past_limit vision_cut_by_row empty_vision all_vision saturated small_delta big_delta "
    "negative_delta ntk_freq"
).split()


def half_split(frequencies):
    """The turn of keys by one position, written out: part i goes with part i + d/2."""
    half = len(frequencies)
    turn = torch.zeros(2 * half, 2 * half, dtype=torch.float64)
    for place, angle in enumerate(np.asarray(frequencies, dtype=np.float64)):
        turn[place, place] = turn[place + half, place + half] = np.cos(angle)
        turn[place, place + half] = np.sin(angle)
        turn[place + half, place] = -np.sin(angle)
    return turn


def measured(query, key, frequencies, case, dtype=torch.float32):
    """The row of a case in each layer: query and key [layer head pos d_head]."""
    row, (start, end) = case["query_row"], case["vision"]
    keys = row if case["restrict_to_past"] else key.shape[2]
    image = torch.zeros(1, keys, dtype=torch.bool)
    image[:, start : min(end, keys)] = True
    for one, other in zip(torch.from_numpy(query).to(dtype), torch.from_numpy(key), strict=True):
        turn = turned(half_split(frequencies), case["delta"])
        shown = other[:, :keys].movedim(0, 1)[None]
        logits, change = logits_and_change(one[None, :, row], shown, turn, scaling=query.shape[-1] ** -0.5)
        yield turned_row(logits, change, image, case["delta"])


@pytest.mark.parametrize("tag", CASES)
def test_rows_are_those_of_the_papers_code(tag):
    folder = golden("rope")
    recorded = np.load(folder / "plain_cases.npz")
    (case,) = [one for one in json.loads((folder / "plain_cases.json").read_text()) if one["tag"] == tag]
    names = ("q", "k", "inv_freq", "alphaV", "share_prod_notV", "delta_gv", "delta_alphaV")
    query, key, frequencies, alpha, product, change, moved = (recorded[f"{tag}.{name}"] for name in names)
    if tag == "negative_delta":  # which is divided by 1e-12 there
        change = change * 1e-12 / case["delta"]
    for layer, found in enumerate(measured(query, key, frequencies, case)):
        for values, wanted in (
            (found.alpha_v, alpha),
            (found.alpha_product, product),
            (found.delta_g_v, change),
            (found.delta_alpha_v, moved),
        ):
            off = np.abs(values[0].numpy() - wanted[layer]).max()
            assert off < (1e-3 if tag == "small_delta" else 5e-6)


@pytest.mark.parametrize("delta", ["0", "1", "-1", "2.5", "100"])
def test_turned_keys_are_those_of_the_papers_code(delta):
    recorded = np.load(golden("rope") / "rotate_cases.npz")
    turn = turned(half_split(recorded["inv_freq"]), float(delta))
    found = torch.from_numpy(recorded["k"]).double() @ turn
    assert np.abs(found.numpy() - recorded[f"rot_{delta}"]).max() < 5e-6


def test_grouped_query_heads_meet_the_key_head_that_serves_them():
    query, key = torch.randn(1, 6, 8), torch.randn(1, 5, 2, 8)
    turn = turned(half_split([1.0, 0.3, 0.1, 0.01]), 1.5)
    logits, change = logits_and_change(query, key, turn, scaling=0.5)
    for head in range(6):
        own = key[0, :, head // 3].double()
        before, after = own @ query[0, head].double(), (own @ turn) @ query[0, head].double()
        assert torch.allclose(logits[0, head].double(), 0.5 * before, atol=1e-5)
        assert torch.allclose(change[0, head].double(), 0.5 * (after - before), atol=1e-5)


def test_a_bound_on_logits_holds_before_and_after():
    query, key = 3 * torch.randn(1, 2, 8), torch.randn(1, 5, 2, 8)
    turn = turned(half_split([1.0, 0.3, 0.1, 0.01]), 1.5)
    free, more = logits_and_change(query, key, turn, scaling=1.0)
    logits, change = logits_and_change(query, key, turn, scaling=1.0, softcap=2.0)
    assert torch.allclose(logits, 2 * torch.tanh(free / 2))
    assert torch.allclose(logits + change, 2 * torch.tanh((free + more) / 2), atol=1e-5)


def test_saturated_rows_keep_what_is_left_for_the_rest():
    scores = torch.tensor([[[30.0, 0.0, -torch.inf]]])
    found = turned_row(scores, torch.tensor([[[-1.0, 5.0, 5.0]]]), torch.tensor([[True, False, True]]), 1.0)
    assert found.alpha_product.item() == pytest.approx(np.exp(-30), rel=1e-4) and found.delta_g_v.item() == -1
    assert found.image_keys.tolist() == [1]


@pytest.mark.parametrize("others", [[-torch.inf, -torch.inf], [0.0, 1.0]])
def test_a_row_that_sees_no_image_has_zeros_and_no_gaps(others):
    scores = torch.tensor([[[-torch.inf, *others]]])
    found = turned_row(scores, torch.ones(1, 1, 3), torch.tensor([[True, False, False]]), 1.0)
    for values in (found.alpha_v, found.alpha_product, found.delta_alpha_v, found.delta_g_v):
        assert values.item() == 0


def test_the_turn_is_read_whatever_the_pairs_the_scale_and_the_width_that_turns():
    order = torch.tensor([3, 0, 4, 1, 5, 2])  # pairs stand elsewhere, and the last two parts of the head do not turn
    one = torch.eye(8, dtype=torch.float64)
    one[:6, :6] = half_split([1.0, 0.3, 0.1])[order][:, order] * 1.3
    four = torch.eye(8, dtype=torch.float64)
    four[:6, :6] = half_split([4.0, 1.2, 0.4])[order][:, order]
    assert (turned(one, 4.0) - four).abs().max() < 1e-12
    assert torch.equal(turned(one, 0.0), torch.eye(8, dtype=torch.float64))


@pytest.mark.parametrize("wrong", [torch.randn(8, 8), torch.ones(8, 8), half_split([1.0, 0.3]) + 0.01])
def test_what_turns_no_pairs_is_refused(wrong):
    with pytest.raises(ModelError, match="does not turn pairs"):
        turned(wrong, 1.0)
