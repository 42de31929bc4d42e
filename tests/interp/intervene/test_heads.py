"""ScaleHeads multiplies what chosen heads mix where it is asked to, and leaves every other number as it is."""

import numpy as np
import pytest
import tiny
import torch
from golden import golden, layout
from heads_by_hand import answered, head_by_head, heads_by_hand, places, under
from ragged import loaded

from interp import Chain, HookedVLM, Patch, PerSample, Prefix, ScaleHeads, Steer, Untouched, all_heads, other_heads
from interp.errors import HookError, InputError
from interp.hooks.rows import Pass, PassPoint
from interp.hooks.shape import ModelShape
from interp.hooks.towers import submodule, text_tower
from interp.model.prefix import share_prefill
from interp.zoo.tiny import TINY

HEADS, FACTORS = ((1, 0), (0, 1), (1, 3)), (1e-3, 0.0, 2.5)
RAGGED = ((-1, -3), (-2,))
SHARING = ["tiny-llava", "tiny-qwen2_vl", "tiny-qwen3_vl", "tiny-glm4v", "tiny-gemma3", "tiny-pixtral"]


def by_factor(factors):
    return lambda sample, k, z: z * factors[k]


def by_hand(vlm, inputs, heads, factors, positions, scope="both"):
    edit = head_by_head(heads, by_factor(factors), places(inputs, positions, scope))
    with torch.no_grad(), heads_by_hand(vlm, edit) as model:
        return model(**inputs.tensors, use_cache=False).logits


@pytest.mark.parametrize("name", TINY)
def test_scaling_is_a_loop_over_heads_on_hugging_faces_own_modules(name):
    vlm, inputs = loaded(name, 2)
    there, heads = inputs.attention_mask.bool(), [one for one in HEADS if one[1] < vlm.cfg.n_heads]
    factors = FACTORS[: len(heads)]
    before = under(vlm, inputs, Untouched())
    for positions in ("last", "all", RAGGED):
        found = under(vlm, inputs, ScaleHeads(heads, factors, positions))
        wanted = by_hand(vlm, inputs, heads, factors, positions)
        torch.testing.assert_close(found[there], wanted[there], rtol=0, atol=tiny.rounding(vlm))
        assert (found - before)[:, -1].abs().amax(-1).min() > 1e-5


@pytest.mark.parametrize("positions", ["text", "image"])
@pytest.mark.parametrize("name", ["tiny-llava", "tiny-qwen2_5_vl", "tiny-idefics3", "tiny-llava_next"])
def test_words_name_the_positions_of_each_sample(name, positions):
    vlm, inputs = loaded(name, 3)
    names = ["blocks.1.attn.hook_z"]
    with torch.no_grad():
        before = vlm.run_with_cache(inputs, names_filter=names)[1][names[0]]
        edit = ScaleHeads([(1, 1)], 2, positions)
        after = vlm.run_with_cache(inputs, names_filter=names, intervention=edit)[1][names[0]]
    inside = places(inputs, positions, "both")
    wanted = [[inside(sample, at) for at in range(before.shape[1])] for sample in range(3)]
    assert torch.equal((after != before).any(-1)[..., 1], torch.tensor(wanted))
    assert torch.equal(after[:, :, [0, 2]], before[:, :, [0, 2]])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_a_factor_of_one_puts_no_hook_on(dtype):
    vlm = HookedVLM.from_pretrained("tiny-llava", self_check=False, dtype=dtype)
    inputs = vlm.prepare(tiny.photo(0), "Where is the mug?")
    edit = ScaleHeads(all_heads(vlm.cfg), 1, "all")
    assert edit.hooks(vlm.cfg, inputs.layouts) == []
    assert torch.equal(under(vlm, inputs, edit), under(vlm, inputs, Untouched()))
    mixed = ScaleHeads([(0, 1), (2, 0)], [1, 2])
    assert [name for name, _ in mixed.hooks(vlm.cfg, inputs.layouts)] == ["blocks.2.attn.hook_z"]


def test_all_heads_of_a_layer_are_one_hook():
    vlm, inputs = loaded("tiny-llava", 1)
    hooks = ScaleHeads(all_heads(vlm.cfg), 0).hooks(vlm.cfg, inputs.layouts)
    assert [name for name, _ in hooks] == [f"blocks.{layer}.attn.hook_z" for layer in range(vlm.cfg.n_layers)]


@pytest.mark.parametrize("name", ["tiny-llava", "tiny-qwen2_5_vl", "tiny-gemma3"])
def test_no_head_at_all_is_the_model_without_its_attention(name):
    vlm, inputs = loaded(name, 2)
    there, shape = inputs.attention_mask.bool(), vlm.cfg
    found = under(vlm, inputs, ScaleHeads([(1, head) for head in range(shape.n_heads)], 0, "all"))
    projection = submodule(vlm.model, text_tower(vlm.model, vlm.family).blocks)[1].self_attn.o_proj
    weight = projection.weight.detach().clone()
    with torch.no_grad():
        projection.weight.zero_()  # so that its bias, where it has one, is all that is left
        wanted = under(vlm, inputs, Untouched())
        projection.weight.copy_(weight)
    torch.testing.assert_close(found[there], wanted[there], rtol=0, atol=1e-6)
    assert not torch.allclose(found[:, -1], under(vlm, inputs, Untouched())[:, -1], atol=1e-3)


def test_keeping_a_set_alone_takes_all_others_away():
    vlm, inputs = loaded("tiny-llava", 2)
    kept = [(0, 1), (2, 3)]
    rest = [one for one in all_heads(vlm.cfg) if one not in kept]
    found = under(vlm, inputs, ScaleHeads(other_heads(kept, vlm.cfg), 0))
    wanted = by_hand(vlm, inputs, rest, [0.0] * len(rest), "last")
    torch.testing.assert_close(found[:, -1], wanted[:, -1], rtol=0, atol=tiny.rounding(vlm))


@pytest.mark.parametrize("scope", ["prompt", "decode", "both"])
@pytest.mark.parametrize("name", ["tiny-llava", "tiny-qwen2_vl", "tiny-gemma3"])
def test_a_scope_is_the_passes_that_it_names(name, scope):
    vlm, inputs = loaded(name, 2)
    heads, factors = ((1, 0), (0, 1)), (-4.0, 0.0)
    untouched = answered(vlm.model, inputs)[1]
    for positions in ("last", "all") if scope == "decode" else ("last", "text", RAGGED):
        with vlm.intervene(ScaleHeads(heads, factors, positions, scope), inputs):
            tokens, logits = answered(vlm.model, inputs)
        with heads_by_hand(vlm, head_by_head(heads, by_factor(factors), places(inputs, positions, scope))) as model:
            wanted_tokens, wanted = answered(model, inputs)
        assert torch.equal(tokens, wanted_tokens)
        torch.testing.assert_close(logits, wanted, rtol=0, atol=2 * tiny.rounding(vlm))
        assert torch.equal(logits[:, 0], untouched[:, 0]) is (scope == "decode")
        assert not torch.allclose(logits[:, 1], untouched[:, 1], atol=1e-4)


def test_beams_and_returned_sequences_are_copies():
    vlm, inputs = loaded("tiny-llava", 2)
    heads, factors = ((1, 0), (0, 1)), (-4.0, 0.0)
    for more in ({"num_beams": 2}, {"do_sample": True, "top_k": 1, "num_return_sequences": 2}):
        with vlm.intervene(ScaleHeads(heads, factors), inputs):
            tokens, logits = answered(vlm.model, inputs, 3, **more)
        edit = head_by_head(heads, by_factor(factors), places(inputs, "last", "both"), copies=2)
        with heads_by_hand(vlm, edit) as model:
            wanted_tokens, wanted = answered(model, inputs, 3, **more)
        assert torch.equal(tokens, wanted_tokens)
        torch.testing.assert_close(logits, wanted, rtol=0, atol=2 * tiny.rounding(vlm))


@pytest.mark.parametrize("name", SHARING)
def test_every_head_alone_is_masked_in_one_step_of_a_shared_prefill(name):
    vlm, inputs = loaded(name, 2)
    masks = [Untouched(), *(ScaleHeads([head], 0) for head in all_heads(vlm.cfg))]
    prefix = Prefix(vlm, inputs)
    with tiny.passes(vlm) as shapes:
        step = prefix.step(masks)
    assert shapes == [(2 * len(masks), 1)]
    for found, mask in zip(step.logits, masks, strict=True):
        whole = under(vlm, inputs, mask)[:, -1]
        torch.testing.assert_close(found, whole, rtol=1e-5, atol=tiny.rounding(vlm), msg=str(mask))
    several = [ScaleHeads(HEADS[:2], -3, scope=scope) for scope in ("prompt", "decode", "both")]
    for answer, edit in zip(prefix.generate(several, 4), several, strict=True):
        assert answer.texts == vlm.generate(inputs, 4, intervention=edit).texts
    with pytest.raises(HookError, match="shares all rows before the last"):
        prefix.step([ScaleHeads(HEADS[:2], 0, "all")])


def test_a_family_without_a_shared_prefill_takes_whole_passes():
    vlm, inputs = loaded("tiny-paligemma2", 2)
    edit = ScaleHeads([(1, 0), (0, 1)], -3)
    runs = share_prefill(vlm, inputs)
    torch.testing.assert_close(runs.step([edit]).logits[0], under(vlm, inputs, edit)[:, -1])
    assert runs.generate([edit], 3)[0].texts == vlm.generate(inputs, 3, intervention=edit).texts


def test_half_precision_multiplies_in_single_precision_and_rounds_once():
    vlm = HookedVLM.from_pretrained("tiny-llava", self_check=False, dtype=torch.bfloat16)
    inputs, name = vlm.prepare(tiny.photo(0), "Where is the mug?"), "blocks.1.attn.hook_z"
    with torch.no_grad():
        before = vlm.run_with_cache(inputs, names_filter=name)[1][name]
        found = vlm.run_with_cache(inputs, names_filter=name, intervention=ScaleHeads([(1, 2)], 0.3))[1][name]
    before[:, -1, 2] = (before[:, -1, 2].float() * 0.3).bfloat16()
    assert found.dtype == torch.bfloat16 and torch.equal(found, before)


def test_a_factor_out_of_the_range_of_the_model_is_refused():
    vlm = HookedVLM.from_pretrained("tiny-llava", self_check=False, dtype=torch.float16)
    inputs = vlm.prepare(tiny.photo(0), "Where is the mug?")
    with pytest.raises(HookError, match="out of the range of torch.float16"):
        vlm.run_with_hooks(inputs, intervention=ScaleHeads([(1, 0)], 1e9))


def test_gradients_flow_through_what_was_scaled():
    vlm, inputs = loaded("tiny-llava", 2)
    edits = ScaleHeads([(1, head) for head in range(4)], 0.5, "all")
    start = torch.zeros(vlm.cfg.d_model, dtype=torch.float32, requires_grad=True)

    def grown(tensor, hook):
        return tensor + start

    with vlm.hooks([("blocks.0.hook_resid_pre", grown)]):
        score = vlm.run_with_hooks(inputs, intervention=edits).logits[:, -1, 5].sum()
    (own,) = torch.autograd.grad(score, start)

    def entering(module, args, kwargs):
        return (args[0] + start, *args[1:]), kwargs

    inside = head_by_head(edits.heads, lambda sample, k, z: z * 0.5, places(inputs, "all", "prompt"))
    with heads_by_hand(vlm, inside) as model:
        block = submodule(model, text_tower(model, vlm.family).blocks)[0]
        handle = block.register_forward_pre_hook(entering, with_kwargs=True)
        (wanted,) = torch.autograd.grad(model(**inputs.tensors, use_cache=False).logits[:, -1, 5].sum(), start)
        handle.remove()
    torch.testing.assert_close(own, wanted, rtol=1e-4, atol=1e-5)
    assert own.abs().max() > 1e-3


def test_a_chain_acts_in_order_and_each_sample_has_its_own():
    vlm, inputs = loaded("tiny-llava", 2)
    name, d = "blocks.1.attn.hook_z", torch.ones(vlm.cfg.n_heads, vlm.cfg.d_head)
    double = ScaleHeads([(1, 0)], 2)
    add = Steer(d, 1, layers=(1,), hook="attn.hook_z")
    with torch.no_grad():
        z = vlm.run_with_cache(inputs, names_filter=name)[1][name][:, -1, 0]
        for parts, wanted in (((double, add), z * 2 + 1), ((add, double), (z + 1) * 2)):
            found = vlm.run_with_cache(inputs, names_filter=name, intervention=Chain(parts))[1][name]
            torch.testing.assert_close(found[:, -1, 0], wanted)
    own = PerSample((ScaleHeads([(0, 1)], 0), Chain((double, ScaleHeads([(2, 2)], 3)))))
    found = under(vlm, inputs, own)
    torch.testing.assert_close(found[0], under(vlm, inputs, own.parts[0])[0], rtol=0, atol=1e-6)
    torch.testing.assert_close(found[1], under(vlm, inputs, own.parts[1])[1], rtol=0, atol=1e-6)
    at = ScaleHeads([(1, 0)], 3, RAGGED)
    assert torch.equal(under(vlm, inputs, at), under(vlm, inputs, PerSample(tuple(at.of_each(2)))))
    step = Prefix(vlm, inputs).step([own, Chain((Patch(name, "last", d[None].expand(2, -1, -1)), double))])
    torch.testing.assert_close(step.logits[0], found[:, -1], rtol=1e-5, atol=1e-5)


RECORDED = ((0, 1), (0, 3))
"""The heads that were masked in the recordings, 16 wide each."""


@pytest.mark.parametrize("case", ["last_only", "batch2"])
def test_masks_are_those_of_the_recorded_code(case):
    values = np.load(golden("head_mask") / "array_cases.npz")
    given, wanted = (torch.from_numpy(values[f"{case}.{end}"]).unflatten(-1, (4, 16)) for end in ("in", "out"))
    samples, length = given.shape[:2]
    shape = ModelShape(n_layers=1, n_heads=4, n_kv_heads=4, d_model=64, d_head=16, d_vocab=9)
    mask = ScaleHeads(RECORDED, 1e-4, scope="decode")
    edit = PerSample((mask, *[Untouched()] * (samples - 1)))  # that code masks the first item of a batch alone
    layouts = [layout([1] * 8, 4)] * samples
    ((name, hook),) = edit.hooks(shape, layouts)
    point = PassPoint()
    point.name = name
    point.now = Pass(offset=0, length=8, prompt=8)
    assert hook(given.new_ones(samples, 8, 4, 16), hook=point) is None  # the prompt pass is left alone
    point.now = Pass(offset=8, length=1, prompt=8)
    last = hook(given[:, -1:], hook=point)
    torch.testing.assert_close(torch.cat([given[:, :-1], last], 1), wanted, rtol=0, atol=1e-7)
    assert length > 1 and not torch.equal(given, wanted)


@pytest.mark.parametrize(
    "given, match",
    [
        ({"heads": []}, "names no head"),
        ({"heads": None}, "not understood"),
        ({"heads": "all"}, "names no head"),
        ({"heads": [3]}, "not understood"),
        ({"heads": [(1, 2, 3)]}, "no layer and head"),
        ({"heads": [(1, -1)]}, "no layer and head"),
        ({"heads": [(1.5, 0)]}, "not understood"),
        ({"heads": [(True, 0)]}, "not understood"),
        ({"heads": np.ones((3, 4), dtype=bool)}, "argwhere"),
        ({"heads": [(1, 0), (0, 1), (1, 0)]}, r"\(1, 0\) twice"),
        ({"factor": True}, "not a finite number"),
        ({"factor": float("nan")}, "not a finite number"),
        ({"factor": float("inf")}, "not a finite number"),
        ({"factor": "0.5"}, "not a finite number"),
        ({"factor": 1e31}, "out of range"),
        ({"factor": [1, 2, 3]}, "3 numbers for 2 heads"),
        ({"factor": [1, float("nan")]}, r"factor of head \(1, 0\)"),
        ({"positions": "generated"}, "is not known"),
        ({"positions": []}, "empty set"),
        ({"scope": "answer"}, "use one of prompt, decode, both"),
        ({"scope": True}, "use one of prompt, decode, both"),
        ({"scope": "decode", "positions": "image"}, "scope='decode' edits nothing"),
        ({"scope": "decode", "positions": (-1,)}, "scope='decode' edits nothing"),
    ],
    ids=str,
)
def test_what_means_nothing_is_refused(given, match):
    with pytest.raises(InputError, match=match):
        ScaleHeads(**{"heads": [(0, 1), (1, 0)], "factor": 0.5, **given})


@pytest.mark.parametrize(
    "given, error, match",
    [
        ({"heads": [(9, 0)]}, HookError, r"head \(9, 0\) does not exist"),
        ({"heads": [(0, 1), (0, 4), (1, 7)]}, HookError, r"head \(0, 4\) and 1 more does not exist"),
        ({"positions": (0,)}, InputError, "are padding"),
        ({"positions": (99,)}, InputError, "lie outside"),
        ({"positions": ((-1,),) * 3}, InputError, "positions of 3 samples"),
    ],
    ids=str,
)
def test_what_does_not_fit_the_batch_is_refused_before_a_pass(given, error, match):
    vlm, inputs = loaded("tiny-llava", 2)
    for factor in (0, 1):
        edit = ScaleHeads(**{"heads": [(0, 1)], "factor": factor, **given})
        with tiny.passes(vlm) as shapes, pytest.raises(error, match=match):
            vlm.run_with_hooks(inputs, intervention=edit)
        assert not shapes


def test_scaled_heads_print_as_their_settings_in_one_short_line():
    edit = ScaleHeads(np.array([[3, 2], [1, 1], [3, 1], [3, 3]]), 1e-3)
    assert str(edit) == repr(edit) == "ScaleHeads(heads=L1H1 L3H1-3, factor=0.001, positions=last, scope=both)"
    assert edit == ScaleHeads([(3, 1), (1, 1), (3, 3), (3, 2)])
    each = ScaleHeads([(2, 0), (0, 1)], (0.5, 2), positions=((-1,), (-2, -1)), scope="prompt")
    assert str(each) == "ScaleHeads(heads=L0H1 L2H0, factor=[2 0.5], positions=-1; -2--1, scope=prompt)"
    many = [str(ScaleHeads([(layer, head) for head in range(20)], 0)) for layer in (0, 1)]
    assert many[0] != many[1] and all("heads=20 heads " in one and len(one) < 90 for one in many)
