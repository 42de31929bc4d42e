"""PatchHeads puts a mean, or what another sample had, in place of what chosen heads mix."""

import numpy as np
import pytest
import tiny
import torch
from heads_by_hand import answered, head_by_head, heads_by_hand, places, under
from ragged import loaded

from interp import HookedVLM, Patch, PatchHeads, PerSample, Prefix, ScaleHeads, Untouched, head_points, recorded_z
from interp.errors import HookError, InputError
from interp.zoo.tiny import TINY

HEADS = ((1, 0), (0, 1), (1, 2))
RAGGED = ((-1, -3), (-2,))
QUESTIONS = ("Is it on the left?", "Where is the red mug in relation to the dog?", "Where is the table?")


def values(vlm, heads=HEADS, samples=None, seed=0):
    axes = (len(heads), vlm.cfg.d_head) if samples is None else (samples, len(heads), vlm.cfg.d_head)
    return torch.randn(axes, generator=torch.Generator().manual_seed(seed))


def other_run(vlm, samples=2):
    inputs = vlm.prepare([tiny.photo(place + 10) for place in range(samples)], QUESTIONS[:samples], prompt="paper")
    with torch.no_grad():
        return inputs, vlm.run_with_cache(inputs, names_filter=head_points(HEADS))[1]


def of_each(given):
    return lambda sample, k, z: given[sample, k] if given.ndim == 3 else given[k]


@pytest.mark.parametrize("name", TINY)
def test_a_patch_of_heads_is_a_loop_over_heads_on_hugging_faces_own_modules(name):
    vlm, inputs = loaded(name, 2)
    there, heads = inputs.attention_mask.bool(), [one for one in HEADS if one[1] < vlm.cfg.n_heads]
    for positions, samples in (("last", None), ("all", 2), (RAGGED, 2)):
        given = values(vlm, heads, samples)
        found = under(vlm, inputs, PatchHeads(heads, given, positions))
        edit = head_by_head(heads, of_each(given), places(inputs, positions, "both"))
        with torch.no_grad(), heads_by_hand(vlm, edit) as model:
            wanted = model(**inputs.tensors, use_cache=False).logits
        torch.testing.assert_close(found[there], wanted[there], rtol=0, atol=tiny.rounding(vlm))
        assert (found - under(vlm, inputs, Untouched()))[:, -1].abs().amax(-1).min() > 1e-4


@pytest.mark.parametrize("scope", ["prompt", "decode", "both"])
def test_a_scope_is_the_passes_that_it_names_also_for_each_of_the_beams(scope):
    vlm, inputs = loaded("tiny-llava", 2)
    given = values(vlm, samples=2) * 2
    for copies, more in ((1, {}), (2, {"num_beams": 2})):
        with vlm.intervene(PatchHeads(HEADS, given, scope=scope), inputs):
            tokens, logits = answered(vlm.model, inputs, **more)
        edit = head_by_head(HEADS, of_each(given), places(inputs, "last", scope), copies)
        with heads_by_hand(vlm, edit) as model:
            wanted_tokens, wanted = answered(model, inputs, **more)
        assert torch.equal(tokens, wanted_tokens)
        torch.testing.assert_close(logits, wanted, rtol=0, atol=2 * tiny.rounding(vlm))


def test_what_was_recorded_is_that_of_each_head_in_the_order_of_the_names():
    vlm, _ = loaded("tiny-llava", 1)
    other, cache = other_run(vlm)
    found = recorded_z(HEADS, cache, other)
    assert found.shape == (2, 3, vlm.cfg.d_head)
    for k, (layer, head) in enumerate(HEADS):
        assert torch.equal(found[:, k], cache[f"blocks.{layer}.attn.hook_z"][:, -1, head])
    several = recorded_z(HEADS, cache, other, at=RAGGED)
    torch.testing.assert_close(several[0, 1], cache["blocks.0.attn.hook_z"][0, [-1, -3], 1].mean(0))
    own = PatchHeads.recorded(HEADS, cache, other, scope="prompt")
    assert torch.equal(own.values, found) and own.scope == "prompt"
    assert torch.equal(PatchHeads.mean_of(HEADS, cache, other, positions="all").values, found.mean(0))
    image = recorded_z(HEADS, cache, other, at="image")[1, 0]
    there = other.layouts[1].image_positions.tolist()
    torch.testing.assert_close(image, cache["blocks.1.attn.hook_z"][1, there, 0].mean(0))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_heads_patched_with_their_own_change_no_bit(dtype):
    vlm = HookedVLM.from_pretrained("tiny-llava", self_check=False, dtype=dtype)
    inputs = vlm.prepare([tiny.photo(0), tiny.photo(1)], QUESTIONS[:2], prompt="paper")
    with torch.no_grad():
        output, cache = vlm.run_with_cache(inputs, names_filter=head_points(HEADS))
    own = PatchHeads.recorded(HEADS, cache, inputs)
    assert torch.equal(under(vlm, inputs, own)[:, -1], output.logits[:, -1])


def test_heads_of_one_layer_patched_at_the_last_position_are_a_patch_of_hook_z():
    vlm, inputs = loaded("tiny-llava", 2)
    other, cache = other_run(vlm)
    name = "blocks.1.attn.hook_z"
    wanted = under(vlm, inputs, Patch.recorded(name, cache, "last", other, heads=(0, 2)))
    assert torch.equal(under(vlm, inputs, PatchHeads.recorded([(1, 2), (1, 0)], cache, other)), wanted)


def test_one_of_each_is_the_patch_of_the_batch_and_zeros_are_a_factor_of_zero():
    vlm, inputs = loaded("tiny-llava", 2)
    patch = PatchHeads(HEADS, values(vlm, samples=2), RAGGED)
    assert torch.equal(under(vlm, inputs, patch), under(vlm, inputs, PerSample(tuple(patch.of_each(2)))))
    none = torch.zeros(len(HEADS), vlm.cfg.d_head)
    assert torch.equal(under(vlm, inputs, PatchHeads(HEADS, none)), under(vlm, inputs, ScaleHeads(HEADS, 0)))


@pytest.mark.parametrize("name", ["tiny-llava", "tiny-qwen3_vl", "tiny-gemma3"])
def test_patched_heads_go_through_a_shared_prefill(name):
    vlm, inputs = loaded(name, 2)
    many = [PatchHeads(HEADS, values(vlm)), PatchHeads(HEADS, values(vlm, samples=2)), Untouched()]
    prefix = Prefix(vlm, inputs)
    for found, patch in zip(prefix.step(many).logits, many, strict=True):
        torch.testing.assert_close(found, under(vlm, inputs, patch)[:, -1], rtol=1e-5, atol=tiny.rounding(vlm))
    for answer, patch in zip(prefix.generate(many, 4), many, strict=True):
        assert answer.texts == vlm.generate(inputs, 4, intervention=patch).texts


def test_gradients_flow_to_the_values():
    vlm, inputs = loaded("tiny-llava", 2)
    given = values(vlm).requires_grad_()
    score = vlm.run_with_hooks(inputs, intervention=PatchHeads(HEADS, given)).logits[:, -1, 5].sum()
    (own,) = torch.autograd.grad(score, given)
    step, moved = 1e-2, [given.detach().clone() for _ in range(2)]
    moved[0][1, 3] += step
    moved[1][1, 3] -= step
    up, down = (under(vlm, inputs, PatchHeads(HEADS, one))[:, -1, 5].double().sum() for one in moved)
    assert float(own[1, 3]) == pytest.approx(float(up - down) / (2 * step), rel=2e-2, abs=2e-4)
    assert own.abs().amax(-1).min() > 0


def test_values_out_of_the_range_of_the_model_are_refused():
    vlm = HookedVLM.from_pretrained("tiny-llava", self_check=False, dtype=torch.float16)
    inputs = vlm.prepare(tiny.photo(0), "Where is the mug?")
    with pytest.raises(HookError, match="out of the range of torch.float16"):
        vlm.run_with_hooks(inputs, intervention=PatchHeads(HEADS, values(vlm) * 1e6))


@pytest.mark.parametrize(
    "given, match",
    [
        ({"values": torch.zeros(2, 8)}, r"shape \[2, 8\] do not fit 3 heads"),
        ({"values": torch.zeros(8)}, "do not fit"),
        ({"values": torch.zeros(1, 2, 3, 8)}, "do not fit"),
        ({"values": torch.zeros(3, 0)}, "do not fit"),
        ({"values": torch.full((3, 8), torch.nan)}, "not all finite"),
        ({"values": torch.ones(3, 8, dtype=torch.int64)}, "torch.int64"),
        ({"values": torch.full((3, 8), 1e300, dtype=torch.float64)}, "out of range"),
        ({"values": "mean"}, "are no numbers"),
        ({"values": None}, "do not fit|are no numbers"),
        ({"heads": ()}, "names no head"),
        ({"heads": [(0, 0), (0, 0), (0, 1)]}, "twice"),
        ({"scope": "all"}, "scope='all' is not known"),
        ({"positions": "everywhere"}, "is not known"),
    ],
    ids=str,
)
def test_what_means_nothing_is_refused(given, match):
    with pytest.raises(InputError, match=match):
        PatchHeads(**{"heads": HEADS, "values": torch.zeros(3, 8), **given})


def test_what_does_not_fit_the_batch_is_refused_before_a_pass():
    vlm, inputs = loaded("tiny-llava", 2)
    wide = vlm.cfg.d_head
    for patch, error, match in (
        (PatchHeads(HEADS, torch.zeros(3, wide + 1)), InputError, f"a head of this model {wide}"),
        (PatchHeads(HEADS, torch.zeros(3, 3, wide)), InputError, "values of 3 samples for a batch of 2"),
        (PatchHeads([(7, 0)], torch.zeros(1, wide)), HookError, "does not exist"),
        (PatchHeads(HEADS, torch.zeros(3, wide), (0,)), InputError, "are padding"),
    ):
        with tiny.passes(vlm) as shapes, pytest.raises(error, match=match):
            vlm.run_with_hooks(inputs, intervention=patch)
        assert not shapes


def test_records_that_do_not_fit_are_refused():
    vlm, inputs = loaded("tiny-llava", 2)
    other, cache = other_run(vlm)
    with pytest.raises(InputError, match=r"blocks.2.attn.hook_z was not kept: run with names_filter=head_points"):
        recorded_z([(2, 0)], cache, other)
    with pytest.raises(InputError, match="give the inputs that the cache was made with"):
        recorded_z(HEADS, cache, inputs)
    with pytest.raises(InputError, match="head 4 is asked for"):
        recorded_z([(1, 4)], cache, other)
    with pytest.raises(InputError, match="lie outside"):
        PatchHeads.mean_of(HEADS, cache, other, at=(900,))


def test_patched_heads_print_as_their_settings_in_one_short_line():
    first, second = (PatchHeads(HEADS, np.full((3, 8), at)) for at in (1.0, 2.0))
    assert str(first) == repr(first) and str(first) != str(second)
    assert str(first).startswith("PatchHeads(heads=L0H1 L1H0,2, values=[3 8] ")
    assert str(first).endswith(", positions=last, scope=both)")
