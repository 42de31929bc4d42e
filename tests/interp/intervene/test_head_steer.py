"""SteerHeads adds a direction to what each head mixes, as far as the head varies along it."""

import dataclasses

import numpy as np
import pytest
import tiny
import torch
from heads_by_hand import answered, head_by_head, heads_by_hand, places, under
from ragged import loaded

from interp import HookedVLM, Prefix, SteerHeads, Untouched, head_points, random_directions
from interp.errors import HookError, InputError
from interp.zoo.tiny import TINY

HEADS = ((1, 0), (0, 1), (1, 2))
SIGMA = (0.5, 2.0, 1.5)
RAGGED = ((-1, -3), (-2,))


def directions(vlm, heads=HEADS, seed=0):
    return torch.randn(len(heads), vlm.cfg.d_head, generator=torch.Generator().manual_seed(seed))


def by_sum(d, alpha, sigma, unit):
    def add(sample, k, z):
        length = d[k].norm() if unit == "unit" else 1.0
        return z + alpha * sigma[k] * d[k] / length

    return add


@pytest.mark.parametrize("name", TINY)
def test_steering_heads_is_a_loop_over_heads_on_hugging_faces_own_modules(name):
    vlm, inputs = loaded(name, 2)
    there, heads = inputs.attention_mask.bool(), [one for one in HEADS if one[1] < vlm.cfg.n_heads]
    d, sigma = directions(vlm, heads), SIGMA[: len(heads)]
    for positions, unit in (("last", "raw"), ("all", "unit"), (RAGGED, "unit")):
        found = under(vlm, inputs, SteerHeads(heads, d, -0.7, sigma, unit, positions))
        edit = head_by_head(heads, by_sum(d, -0.7, sigma, unit), places(inputs, positions, "both"))
        with torch.no_grad(), heads_by_hand(vlm, edit) as model:
            wanted = model(**inputs.tensors, use_cache=False).logits
        torch.testing.assert_close(found[there], wanted[there], rtol=0, atol=tiny.rounding(vlm))
        assert (found - under(vlm, inputs, Untouched()))[:, -1].abs().amax(-1).min() > 1e-5


@pytest.mark.parametrize("scope", ["prompt", "decode", "both"])
def test_a_scope_is_the_passes_that_it_names_also_for_each_of_the_beams(scope):
    vlm, inputs = loaded("tiny-llava", 2)
    d = directions(vlm)
    for copies, more in ((1, {}), (2, {"num_beams": 2})):
        with vlm.intervene(SteerHeads(HEADS, d, 5, SIGMA, scope=scope), inputs):
            tokens, logits = answered(vlm.model, inputs, **more)
        edit = head_by_head(HEADS, by_sum(d, 5, SIGMA, "raw"), places(inputs, "last", scope), copies)
        with heads_by_hand(vlm, edit) as model:
            wanted_tokens, wanted = answered(model, inputs, **more)
        assert torch.equal(tokens, wanted_tokens)
        torch.testing.assert_close(logits, wanted, rtol=0, atol=2 * tiny.rounding(vlm))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_an_alpha_of_zero_puts_no_hook_on(dtype):
    vlm = HookedVLM.from_pretrained("tiny-llava", self_check=False, dtype=dtype)
    inputs = vlm.prepare(tiny.photo(0), "Where is the mug?")
    steer = SteerHeads(HEADS, directions(vlm), 0, SIGMA, positions="all")
    assert steer.hooks(vlm.cfg, inputs.layouts) == []
    assert torch.equal(under(vlm, inputs, steer), under(vlm, inputs, Untouched()))


def test_half_precision_adds_in_single_precision_and_rounds_once():
    vlm = HookedVLM.from_pretrained("tiny-llava", self_check=False, dtype=torch.bfloat16)
    inputs, name = vlm.prepare(tiny.photo(0), "Where is the mug?"), "blocks.1.attn.hook_z"
    d = directions(vlm)
    with torch.no_grad():
        before = vlm.run_with_cache(inputs, names_filter=name)[1][name]
        steer = SteerHeads([(1, 2)], d[:1], 0.1, 3)
        found = vlm.run_with_cache(inputs, names_filter=name, intervention=steer)[1][name]
    before[:, -1, 2] = (before[:, -1, 2].float() + d[0] * (0.1 * 3)).bfloat16()
    assert found.dtype == torch.bfloat16 and torch.equal(found, before)


@pytest.mark.parametrize("size", [1.0, 1e25, 1e-25], ids=str)
def test_a_unit_direction_is_alpha_sigma_long_whatever_its_length(size):
    vlm, inputs = loaded("tiny-llava", 2)
    steer = SteerHeads(HEADS, directions(vlm) * size, -3, SIGMA, unit="unit")
    torch.testing.assert_close(steer.shift().norm(dim=-1), 3 * torch.tensor(SIGMA))
    raw = SteerHeads(HEADS, directions(vlm), -3, SIGMA)
    torch.testing.assert_close(raw.shift().norm(dim=-1), 3 * torch.tensor(SIGMA) * directions(vlm).norm(dim=-1))


def test_directions_are_means_of_right_minus_wrong_and_sigma_is_how_far_z_varies_along_them():
    rng = np.random.default_rng(0)
    right, wrong = rng.normal(1, 1, (7, 3, 8)), rng.normal(0, 2, (5, 3, 8))
    steer = SteerHeads.between(HEADS, right, wrong, alpha=0.1, scope="decode")
    for k in range(3):
        d = right[:, k].mean(0) - wrong[:, k].mean(0)
        along = [float(z @ d / np.linalg.norm(d)) for z in (*right[:, k], *wrong[:, k])]
        np.testing.assert_allclose(steer.directions[k], d, rtol=1e-5)
        assert steer.sigma[k] == pytest.approx(np.std(along, ddof=1), rel=1e-5)
    assert steer.scope == "decode" and steer.alpha == 0.1
    among = SteerHeads.between(HEADS, right, wrong, alpha=0.1, among=right)
    d = right[:, 0].mean(0) - wrong[:, 0].mean(0)
    assert among.sigma[0] == pytest.approx(np.std(right[:, 0] @ d / np.linalg.norm(d), ddof=1), rel=1e-5)


def test_a_step_is_told_beside_what_the_heads_hold():
    vlm, inputs = loaded("tiny-llava", 2)
    steer = SteerHeads(HEADS, directions(vlm), 0.5, SIGMA, positions=RAGGED)
    with torch.no_grad():
        cache = vlm.run_with_cache(inputs, names_filter=head_points(HEADS))[1]
    found = steer.relative_shift(cache, inputs)
    assert found.shape == (2, 3)
    for sample, rows in enumerate(RAGGED):
        for k, (layer, head) in enumerate(HEADS):
            long = np.mean([float(cache[f"blocks.{layer}.attn.hook_z"][sample, row, head].norm()) for row in rows])
            wanted = 0.5 * SIGMA[k] * float(directions(vlm)[k].norm()) / long
            assert float(found[sample, k]) == pytest.approx(wanted, rel=1e-4)
    last = dataclasses.replace(steer, positions="last").relative_shift(cache, inputs)
    assert torch.equal(last, steer.relative_shift(cache, inputs, at="last")) and not torch.equal(last, found)


def test_random_directions_of_the_same_lengths_are_a_control():
    vlm, inputs = loaded("tiny-llava", 2)
    steer = SteerHeads(HEADS, directions(vlm), 5)
    control = dataclasses.replace(steer, directions=random_directions(steer.directions.T, seed=0).T)
    torch.testing.assert_close(control.shift().norm(dim=-1), steer.shift().norm(dim=-1))
    assert not torch.allclose(under(vlm, inputs, control), under(vlm, inputs, steer), atol=1e-4)


@pytest.mark.parametrize("name", ["tiny-llava", "tiny-qwen3_vl", "tiny-gemma3"])
def test_steered_heads_go_through_a_shared_prefill(name):
    vlm, inputs = loaded(name, 2)
    many = [SteerHeads(HEADS, directions(vlm), alpha, SIGMA) for alpha in (-4, 0, 4)]
    prefix = Prefix(vlm, inputs)
    for found, steer in zip(prefix.step(many).logits, many, strict=True):
        torch.testing.assert_close(found, under(vlm, inputs, steer)[:, -1], rtol=1e-5, atol=tiny.rounding(vlm))
    for answer, steer in zip(prefix.generate(many, 4), many, strict=True):
        assert answer.texts == vlm.generate(inputs, 4, intervention=steer).texts


def test_gradients_flow_to_the_directions():
    vlm, inputs = loaded("tiny-llava", 2)
    d = directions(vlm).requires_grad_()
    for unit in ("raw", "unit"):
        made = {"alpha": 2, "sigma": SIGMA, "unit": unit}
        score = vlm.run_with_hooks(inputs, intervention=SteerHeads(HEADS, d, **made)).logits[:, -1, 5].sum()
        (own,) = torch.autograd.grad(score, d)
        step, moved = 1e-2, [d.detach().clone() for _ in range(2)]
        moved[0][1, 3] += step
        moved[1][1, 3] -= step
        up, down = (under(vlm, inputs, SteerHeads(HEADS, one, **made))[:, -1, 5].double().sum() for one in moved)
        assert float(own[1, 3]) == pytest.approx(float(up - down) / (2 * step), rel=2e-2, abs=2e-4)


@pytest.mark.parametrize(
    "given, match",
    [
        ({"alpha": True}, "not a finite number"),
        ({"alpha": float("nan")}, "not a finite number"),
        ({"alpha": 1e30, "sigma": 10}, "out of range"),
        ({"sigma": 0}, r"sigma of head \(1, 0\) is no standard deviation"),
        ({"sigma": (1, -1, 1)}, r"sigma of head \(0, 1\) is no standard deviation"),
        ({"sigma": (1, 2)}, "2 numbers for 3 heads"),
        ({"sigma": None}, "not a finite number"),
        ({"unit": "sigma"}, "use one of raw, unit"),
        ({"directions": torch.ones(2, 8)}, "do not fit 3 heads"),
        ({"directions": torch.ones(2, 3, 8)}, "do not fit 3 heads"),
        ({"directions": torch.tensor([[1.0, 2.0], [0.0, 0.0], [1.0, 1.0]])}, r"direction of head \(0, 1\) is zero"),
        ({"directions": torch.full((3, 8), torch.inf)}, "not all finite"),
        ({"heads": [(1, 0), (1, 0), (1, 2)]}, "twice"),
        ({"scope": None}, "use one of prompt, decode, both"),
    ],
    ids=str,
)
def test_what_means_nothing_is_refused(given, match):
    with pytest.raises(InputError, match=match):
        SteerHeads(**{"heads": HEADS, "directions": torch.ones(3, 8), "alpha": 1, **given})


def test_samples_without_a_side_or_a_difference_are_refused():
    some = torch.randn(4, 3, 8)
    for right, wrong, match in (
        (some, some, "direction of head .* is zero"),
        (some, some[:0], "do not fit"),
        (some[0], some, "no axis of samples"),
        (some, some[:, :2], "do not fit 3 heads"),
        (some, some[..., :4], "as wide"),
    ):
        with pytest.raises(InputError, match=match):
            SteerHeads.between(HEADS, right, wrong, alpha=1)
    with pytest.raises(InputError, match="sigma is of 1 samples"):
        SteerHeads.between(HEADS, some, -some, alpha=1, among=some[:1])
    with pytest.raises(InputError, match="no standard deviation"):
        SteerHeads.between(HEADS, some, -some, alpha=1, among=some[:1].expand(3, -1, -1))


def test_what_does_not_fit_the_batch_is_refused_before_a_pass():
    vlm, inputs = loaded("tiny-llava", 2)
    for alpha in (0, 1):
        for given, error, match in (
            ({"directions": torch.ones(3, 9)}, InputError, "a direction is 9 wide, but a head of this model 8"),
            ({"heads": [(0, 0), (0, 1), (0, 8)]}, HookError, "does not exist"),
            ({"positions": (0,)}, InputError, "are padding"),
        ):
            steer = SteerHeads(**{"heads": HEADS, "directions": torch.ones(3, 8), "alpha": alpha, **given})
            with tiny.passes(vlm) as shapes, pytest.raises(error, match=match):
                vlm.run_with_hooks(inputs, intervention=steer)
            assert not shapes


def test_a_shift_out_of_the_range_of_the_model_is_refused():
    vlm = HookedVLM.from_pretrained("tiny-llava", self_check=False, dtype=torch.float16)
    inputs = vlm.prepare(tiny.photo(0), "Where is the mug?")
    with pytest.raises(HookError, match="out of the range of torch.float16"):
        vlm.run_with_hooks(inputs, intervention=SteerHeads(HEADS, directions(vlm), 1e6))


def test_steered_heads_print_as_their_settings_in_one_short_line():
    steer, other = (SteerHeads(HEADS, torch.full((3, 8), at), 0.1, SIGMA, "unit") for at in (1.0, 2.0))
    assert str(steer) == repr(steer) and str(steer) != str(other)
    assert str(steer).startswith("SteerHeads(heads=L0H1 L1H0,2, directions=[3 8] ")
    assert str(steer).endswith(", alpha=0.1, sigma=[0.5 2 1.5], unit=unit, positions=last, scope=both)")
