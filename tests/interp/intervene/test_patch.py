"""Patch puts what another run had at chosen positions into this run, and touches nothing else."""

import pytest
import tiny
import torch
from by_modules import hooked_by_hand
from ragged import loaded

from interp import Chain, HookedVLM, Patch, PerSample, Prefix, Untouched, slot_point
from interp.errors import HookError, InputError
from interp.hooks.rows import Pass, PassPoint
from interp.intervene.position_hooks import PositionEdit, PositionHook
from interp.model.prefix import share_prefill
from interp.zoo.tiny import TINY

IN_STREAM = ("hook_resid_pre", "hook_resid_mid", "hook_resid_post", "hook_attn_out", "hook_mlp_out")
POINTS = [f"blocks.1.{point}" for point in IN_STREAM] + ["ln_final.hook_normalized"]
POINTS += [f"blocks.1.attn.hook_{point}" for point in ("q", "k", "v", "rot_q", "z")]
PRE = "blocks.1.hook_resid_pre"
QUESTIONS = ("Is it on the left?", "Where is the red mug in relation to the dog?", "Where is the table?")


def other_run(vlm, samples=2, names=lambda name: not name.startswith("vision")):
    """Other photos with other questions, and what their run keeps."""
    inputs = vlm.prepare([tiny.photo(place + 10) for place in range(samples)], QUESTIONS[:samples], prompt="paper")
    with torch.no_grad():
        return inputs, vlm.run_with_cache(inputs, names_filter=names)[1]


def logits(vlm, inputs, intervention):
    with torch.no_grad(), vlm.intervene(intervention, inputs):
        return vlm(inputs).logits


def random_patch(vlm, name, positions, *, seed=0, **settings):
    draw, wide = torch.Generator().manual_seed(seed), vlm.cfg.d_model
    return Patch(name, positions, [torch.randn(len(own), wide, generator=draw) for own in positions], **settings)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("name", ["tiny-llava", "tiny-qwen3_vl", "tiny-gemma3", "tiny-pixtral"])
def test_a_run_patched_into_itself_changes_no_bit(name, dtype):
    vlm = HookedVLM.from_pretrained(name, self_check=False, dtype=dtype)
    inputs = vlm.prepare([tiny.photo(0), tiny.photo(1)], QUESTIONS[:2], prompt="paper")
    with torch.no_grad():
        output, cache = vlm.run_with_cache(inputs, names_filter=POINTS)
    there = inputs.attention_mask.bool()
    for point in POINTS:
        for where in ("all", "last"):
            own = Patch.recorded(point, cache, where, inputs, over_deepstack=True)
            assert torch.equal(logits(vlm, inputs, own)[there], output.logits[there]), own


@pytest.mark.parametrize("name", TINY)
def test_a_patch_is_a_hook_on_hugging_faces_own_modules(name):
    vlm, inputs = loaded(name, 2)
    last = inputs.input_ids.shape[1] - 1
    positions, heads = ((last, last - 3), (last - 1,)), vlm.cfg.n_heads
    for kind, axes in (("pre", (vlm.cfg.d_model,)), ("post", (vlm.cfg.d_model,)), ("z", (heads, vlm.cfg.d_head))):
        values = [torch.randn(len(own), *axes) for own in positions]
        point = "attn.hook_z" if kind == "z" else f"hook_resid_{kind}"
        found = logits(vlm, inputs, Patch(f"blocks.1.{point}", positions, values))

        def put(whole, values=values):
            whole = whole.clone()
            for sample, own in enumerate(positions):
                for place, position in enumerate(own):
                    whole[sample, position] = values[sample][place].flatten()
            return whole

        with hooked_by_hand(vlm, 1, kind, put) as model, torch.no_grad():
            wanted = model(**inputs.tensors, use_cache=False).logits
        there = inputs.attention_mask.bool()
        torch.testing.assert_close(found[there], wanted[there], rtol=0, atol=tiny.rounding(vlm))
        assert (found - logits(vlm, inputs, Untouched()))[:, last].abs().max() > 1e-4


def test_chosen_heads_alone_are_replaced():
    vlm, inputs = loaded("tiny-llava", 2)
    other, cache = other_run(vlm)
    name = "blocks.1.attn.hook_z"
    patch = Patch.recorded(name, cache, "last", other, heads=(2, 0))
    with torch.no_grad():
        before = vlm.run_with_cache(inputs, names_filter=name)[1][name]
        after = vlm.run_with_cache(inputs, names_filter=name, intervention=patch)[1][name]
    before[:, -1, [0, 2]] = cache[name][:, -1, [0, 2]]
    assert torch.equal(after, before)
    with pytest.raises(HookError, match=r"head \[4\] does not exist"):
        vlm.run_with_hooks(inputs, intervention=Patch.recorded(name, cache, "last", other, heads=(4,)))
    with pytest.raises(InputError, match="has no heads"):
        Patch.recorded(PRE, cache, "last", other, heads=(0,))


@pytest.mark.parametrize("name", ["tiny-llava", "tiny-qwen2_vl", "tiny-qwen3_vl", "tiny-gemma3", "tiny-idefics3"])
def test_everything_patched_at_a_slot_is_the_other_run(name):
    vlm, _ = loaded(name, 1)
    questions = ["Where is the mug ?", "Where is the dog ?"]
    clean, other = (vlm.prepare([tiny.photo(at), tiny.photo(at + 1)], questions, prompt="paper") for at in (0, 5))
    slots = [slot_point(slot, vlm.cfg.n_layers) for slot in range(vlm.cfg.n_layers + 1)]
    with torch.no_grad():
        output, cache = vlm.run_with_cache(other, names_filter=slots)
    for point in slots[vlm.cfg.n_deepstack :]:
        found = logits(vlm, clean, Patch.recorded(point, cache, "all", other))
        torch.testing.assert_close(found[:, -1], output.logits[:, -1], rtol=0, atol=tiny.rounding(vlm))
    assert not torch.allclose(found[:, -1], logits(vlm, clean, Untouched())[:, -1], atol=1e-3)


def test_features_that_deepstack_adds_on_top_of_image_positions_are_refused():
    vlm, inputs = loaded("tiny-qwen3_vl", 2)
    added, (first, second) = vlm.cfg.n_deepstack, (int(layout.image_positions[3]) for layout in inputs.layouts)
    assert added
    for layer in range(added):
        for point in ("pre", "mid", "post"):
            at = f"blocks.{layer}.hook_resid_{point}"
            with pytest.raises(HookError, match=f"DeepStack.*patch blocks.{added}.hook_resid_pre or later"):
                vlm.run_with_hooks(inputs, intervention=random_patch(vlm, at, ((-1, first), (-2,))))
            logits(vlm, inputs, random_patch(vlm, at, ((-1,), (-3, -2))))  # where no feature goes
            logits(vlm, inputs, random_patch(vlm, at, ((first,), (second,)), over_deepstack=True))
    logits(vlm, inputs, random_patch(vlm, f"blocks.{added}.hook_resid_pre", ((first,), (second,))))


def test_deepstack_adds_to_what_was_patched_and_not_behind_the_slot_that_is_advised():
    vlm, _ = loaded("tiny-qwen3_vl", 1)
    clean, other = (vlm.prepare(tiny.photo(at), "Where is the mug ?", prompt="paper") for at in (0, 5))
    added = vlm.cfg.n_deepstack
    at = f"blocks.{added}.hook_resid_pre"
    with torch.no_grad():
        cache = vlm.run_with_cache(other)[1]
        for layer in range(added + 1):
            name = f"blocks.{layer}.hook_resid_pre"
            patch = Patch.recorded(name, cache, "all", other, over_deepstack=True)
            own = vlm.run_with_cache(clean, names_filter=at, intervention=patch)[1][at]
            assert torch.allclose(own, cache[at], atol=1e-5) is (layer == added)


def test_each_sample_of_a_ragged_batch_gets_its_own_and_keeps_the_rest():
    vlm, inputs = loaded("tiny-llava", 3)
    last = inputs.input_ids.shape[1] - 1
    patch = random_patch(vlm, PRE, ((last - 2, last), (last - 1,), (last, last - 1, last - 3)))
    with torch.no_grad():
        wanted = vlm.run_with_cache(inputs, names_filter=PRE)[1][PRE]
        found = vlm.run_with_cache(inputs, names_filter=PRE, intervention=patch)[1][PRE]
    for sample, own in enumerate(patch.positions):
        wanted[sample, list(own)] = patch.values[sample]
    assert torch.equal(found, wanted)


def test_one_of_each_is_the_patch_of_the_batch_and_a_chain_acts_in_order():
    vlm, inputs = loaded("tiny-llava", 2)
    last = inputs.input_ids.shape[1] - 1
    first, second = (random_patch(vlm, PRE, ((last, last - 1), (last,)), seed=seed) for seed in (0, 1))
    assert torch.equal(logits(vlm, inputs, first), logits(vlm, inputs, PerSample(tuple(first.of_each(2)))))
    both = logits(vlm, inputs, Chain((first, second)))
    assert torch.equal(both, logits(vlm, inputs, second)) and not torch.equal(both, logits(vlm, inputs, first))
    mixed = PerSample((Chain((second.of_each(2)[0], first.of_each(2)[0])), Untouched()))
    found = logits(vlm, inputs, mixed)
    torch.testing.assert_close(found[0], logits(vlm, inputs, first)[0], rtol=0, atol=1e-6)
    torch.testing.assert_close(found[1], logits(vlm, inputs, Untouched())[1], rtol=0, atol=1e-6)


def test_decoded_tokens_are_not_touched_and_beams_are_copies():
    vlm, inputs = loaded("tiny-llava", 2)
    last = inputs.input_ids.shape[1] - 1
    patch = random_patch(vlm, PRE, ((last - 1, last), (last,)))
    with vlm.intervene(patch, inputs), tiny.passes(vlm) as shapes:
        own = vlm.model.generate(**inputs.tensors, max_new_tokens=4, min_new_tokens=4, do_sample=False)
        beams = vlm.model.generate(**inputs.tensors, max_new_tokens=1, num_beams=2, do_sample=False)
        twice = vlm.model.generate(
            **inputs.tensors, max_new_tokens=1, do_sample=True, top_k=1, num_return_sequences=2, output_logits=True,
            return_dict_in_generate=True,
        )  # fmt: skip
    assert shapes[0] == (2, last + 1) and (2, 1) in shapes and (4, last + 1) in shapes
    first = logits(vlm, inputs, patch)[:, -1]
    assert torch.equal(beams[:, last + 1], first.argmax(-1))
    torch.testing.assert_close(twice.logits[0], first.repeat_interleave(2, 0), rtol=0, atol=tiny.rounding(vlm))
    prefix, tokens = inputs.tensors, own[:, last + 1 :]
    with torch.no_grad():
        longer = {**prefix, "input_ids": own, "attention_mask": torch.nn.functional.pad(
            prefix["attention_mask"], (0, 4), value=1
        )}  # fmt: skip
        with hooked_by_hand(vlm, 1, "pre", lambda whole: _written(whole, patch)) as model:
            wanted = model(**longer, use_cache=False).logits[:, last:-1].argmax(-1)
    assert torch.equal(tokens, wanted)


def _written(whole, patch):
    whole = whole.clone()
    for sample, own in enumerate(patch.positions):
        whole[sample, list(own)] = patch.values[sample]
    return whole


def test_gradients_flow_to_values_and_through_positions_that_are_left():
    vlm, inputs = loaded("tiny-llava", 2)
    other, cache = other_run(vlm)
    values = cache[PRE][:, -1:].clone().requires_grad_()
    start = torch.zeros(vlm.cfg.d_model, requires_grad=True)
    with vlm.hooks([("blocks.0.hook_resid_pre", lambda t, hook: t + start)]):
        found = vlm.run_with_hooks(inputs, intervention=Patch(PRE, "last", values)).logits[:, -1].sum()
    own, through = torch.autograd.grad(found, (values, start))
    step = 1e-2
    moved = [values.detach().clone() for _ in range(2)]
    moved[0][0, 0, 3] += step
    moved[1][0, 0, 3] -= step
    up, down = (logits(vlm, inputs, Patch(PRE, "last", one))[:, -1].double().sum() for one in moved)
    assert float(own[0, 0, 3]) == pytest.approx(float(up - down) / (2 * step), rel=2e-2, abs=2e-3)
    assert through.abs().max() > 0


SHARING = [
    "tiny-llava",
    "tiny-qwen2_vl",
    "tiny-qwen2_5_vl",
    "tiny-qwen3_vl",
    "tiny-glm4v",
    "tiny-gemma3",
    "tiny-pixtral",
]


@pytest.mark.parametrize("name", SHARING)
def test_a_patch_of_the_last_row_goes_through_a_shared_prefill(name):
    vlm, inputs = loaded(name, 2)
    other, cache = other_run(vlm)
    last = inputs.input_ids.shape[1] - 1
    names = [slot_point(slot, vlm.cfg.n_layers) for slot in range(vlm.cfg.n_layers + 1)]
    names += POINTS[1:]
    many = [Untouched(), *(Patch.recorded(point, cache, "last", other) for point in names)]
    many.append(Patch(PRE, (last,), many[2].values))  # the last row by its number
    prefix = Prefix(vlm, inputs)
    step = prefix.step(many)
    for found, patch in zip(step.logits, many, strict=True):
        torch.testing.assert_close(found, logits(vlm, inputs, patch)[:, -1], rtol=1e-5, atol=1e-5, msg=str(patch))
    assert torch.equal(step.logits[-1], step.logits[2])
    answers = prefix.generate(many[2:5], 3)
    for answer, patch in zip(answers, many[2:5], strict=True):
        assert answer.texts == vlm.generate(inputs, 3, intervention=patch).texts


def test_one_step_serves_chains_captures_and_some_of_the_samples():
    vlm, inputs = loaded("tiny-llava", 3)
    other, cache = other_run(vlm, 3)
    patch = Patch.recorded(PRE, cache, "last", other)
    pattern = "blocks.2.attn.hook_pattern"
    mixed = PerSample((Untouched(), *patch.of_each(3)[1:]))
    step = Prefix(vlm, inputs, chunk=4).step([Chain((patch, Untouched())), mixed], capture=[pattern])
    for found, seen, own in zip(step.logits, step.captured[pattern], (patch, mixed), strict=True):
        output, kept = vlm.run_with_cache(inputs, names_filter=pattern, intervention=own)
        torch.testing.assert_close(found, output.logits[:, -1], rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(seen, kept[pattern], rtol=1e-5, atol=1e-5)
    one = Prefix(vlm, inputs).step([patch.of_each(3)[1]], samples=[1]).logits[0, 0]
    torch.testing.assert_close(one, step.logits[0, 1], rtol=1e-5, atol=1e-5)
    with pytest.raises(InputError, match="3 interventions for 1 samples"):
        Prefix(vlm, inputs).step([patch], samples=[1])


def test_earlier_rows_are_refused_by_a_shared_prefill_and_run_whole_where_there_is_none():
    vlm, inputs = loaded("tiny-llava", 2)
    wide = torch.zeros(2, 2, vlm.cfg.d_model)
    for own in (Patch(PRE, (-2, -1), wide), Chain((Untouched(), Patch(PRE, (-2,), wide[:, :1])))):
        with pytest.raises(HookError, match="shares all rows before the last"):
            Prefix(vlm, inputs).step([own])
        with pytest.raises(HookError, match="shares all rows before the last"):
            Prefix(vlm, inputs).generate([own])
    vlm, inputs = loaded("tiny-paligemma2", 2)
    patch = Patch(PRE, (-2, -1), torch.ones(2, 2, vlm.cfg.d_model))
    found = share_prefill(vlm, inputs).step([Untouched(), patch]).logits
    torch.testing.assert_close(found[1], logits(vlm, inputs, patch)[:, -1])
    assert not torch.equal(found[0], found[1])


def test_a_model_is_left_as_it_was_after_an_error():
    vlm, inputs = loaded("tiny-llava", 2)
    before = logits(vlm, inputs, Untouched())
    patch = Patch(PRE, "last", torch.zeros(2, vlm.cfg.d_model))
    with pytest.raises(ZeroDivisionError), vlm.intervene(patch, inputs):
        vlm.run_with_hooks(inputs, fwd_hooks=[("blocks.2.hook_resid_post", lambda t, hook: 1 / 0)])
    assert not any(point.has_hooks() for point in vlm.hook_dict.values())
    assert torch.equal(logits(vlm, inputs, Untouched()), before)


def test_prompts_of_another_length_or_another_batch_are_refused():
    vlm, inputs = loaded("tiny-llava", 2)
    patch = Patch(PRE, "last", torch.zeros(2, vlm.cfg.d_model))
    longer = vlm.prepare([tiny.photo(0)] * 2, ["Where is the mug in relation to the table and the dog?"] * 2)
    with vlm.intervene(patch, inputs):
        with pytest.raises(HookError, match="make it for the inputs that you run"):
            vlm(longer)
        said = [vlm.model.generate(**inputs.tensors, max_new_tokens=3, use_cache=kept) for kept in (True, False)]
        assert torch.equal(*said)
    one, *_ = patch.of_each(2)
    alone = vlm.prepare(tiny.photo(0), "Where is the mug?")
    twice = vlm.prepare([tiny.photo(0), tiny.photo(1)], ["Where is the mug?"] * 2)
    with vlm.intervene(one, alone), pytest.raises(HookError, match="made for 1 samples"):
        vlm(twice)


def test_a_point_that_shows_some_of_the_positions_is_refused():
    hook = PositionHook([[PositionEdit("last", lambda t: t)]], [range(6)])
    point = PassPoint()
    point.name, point.now = "unembed.hook_out", Pass(0, 6, 6)
    with pytest.raises(HookError, match="shows 1 of the 6 positions"):
        hook(torch.zeros(1, 1, 4), hook=point)


@pytest.mark.parametrize(
    "name",
    ["blocks.0.attn.hook_pattern", "vision.blocks.0.hook_resid_pre", "projector.hook_out", "unembed.hook_out", 3],
)
def test_points_without_positions_are_refused(name):
    with pytest.raises(HookError, match="shows no activation for each position"):
        Patch(name, "last", torch.zeros(1, 1, 32))


def test_rotated_keys_are_refused_with_what_to_edit_instead():
    with pytest.raises(HookError, match="edit hook_k, which the cache keeps"):
        Patch("blocks.0.attn.hook_rot_k", "last", torch.zeros(1, 1, 2, 8))


@pytest.mark.parametrize(
    "positions, values, match",
    [
        ([], (1, 1), "empty set"),
        ([[-1], []], (2, 1), "empty set"),
        ("first", (2, 1), "is not known"),
        ("decoded", (2, 1), "is not known"),
        ((0.5,), (2, 1), "is not understood"),
        ((True,), (2, 1), "is not understood"),
        (None, (2, 1), "is not understood"),
        ((500,), (2, 1), "lie outside its padded prompt"),
        ((-500,), (2, 1), "lie outside its padded prompt"),
        ((0,), (2, 1), "are padding"),
        ((-1, -1), (2, 2), "name one twice"),
        (((-1,),), (2, 1), "positions of 1 samples for a batch of 2"),
        ((-1,), (3, 1), "values of 3 samples for 2"),
        ((-1, -2), (2, 1), "one entry for each position"),
        ("image", (2, 1), "one entry for each position"),
    ],
)
def test_positions_that_do_not_fit_are_refused_before_a_pass(positions, values, match):
    vlm, inputs = loaded("tiny-llava", 2)
    with tiny.passes(vlm) as shapes, pytest.raises(InputError, match=match):
        vlm.run_with_hooks(inputs, intervention=Patch(PRE, positions, torch.zeros(*values, vlm.cfg.d_model)))
    assert not shapes


@pytest.mark.parametrize(
    "values, match",
    [
        (torch.zeros(2, 1, 31), "as wide as"),
        (torch.zeros(2, 1, 4, 8), r"give \[position d_model\]"),
        (torch.zeros(2, 1, 32, dtype=torch.int64), "no finite floating-point"),
        (torch.full((2, 1, 32), torch.nan), "no finite floating-point"),
        ("word", "no tensors"),
        (None, "no tensors"),
        ([], "give"),
    ],
    ids=["narrow", "heads", "whole", "nan", "word", "none", "empty"],
)
def test_values_that_do_not_fit_are_refused_before_a_pass(values, match):
    vlm, inputs = loaded("tiny-llava", 2)
    with tiny.passes(vlm) as shapes, pytest.raises(InputError, match=match):
        vlm.run_with_hooks(inputs, intervention=Patch(PRE, "last", values))
    assert not shapes


def test_blocks_slots_and_records_that_are_not_there_are_refused():
    vlm, inputs = loaded("tiny-llava", 2)
    other, cache = other_run(vlm)
    layers = vlm.cfg.n_layers
    with pytest.raises(HookError, match=f"this model has {layers} blocks"):
        vlm.run_with_hooks(inputs, intervention=Patch(f"blocks.{layers}.hook_resid_pre", "last", cache[PRE][:, -1]))
    for slot in (-1, layers + 1, 0.5, True, "0"):
        with pytest.raises(InputError, match=f"slots 0 to {layers}"):
            slot_point(slot, layers)
    with pytest.raises(InputError, match="give the inputs that the cache was made with"):
        Patch.recorded(PRE, cache, "last", inputs)
    with pytest.raises(InputError, match="lie outside"):
        Patch.recorded(PRE, cache, "last", other, at=(900,))


def test_values_out_of_the_range_of_the_model_are_refused():
    vlm = HookedVLM.from_pretrained("tiny-llava", self_check=False, dtype=torch.float16)
    inputs = vlm.prepare(tiny.photo(0), "Where is the mug?", prompt="paper")
    with pytest.raises(HookError, match="out of the range of torch.float16"):
        vlm.run_with_hooks(inputs, intervention=Patch(PRE, "last", torch.full((1, vlm.cfg.d_model), 1e6)))


def test_a_patch_prints_as_its_settings_in_one_short_line():
    values = [torch.zeros(3, 32), torch.zeros(1, 32)]
    patch = Patch(PRE, [[4, 5, 6], [9]], values)
    assert str(patch) == repr(patch) == f"Patch({PRE}, positions=4-6; 9, values=[2 1-3 32], heads=all)"
    many = Patch("blocks.0.attn.hook_z", [[place] for place in range(50)], torch.zeros(50, 1, 4, 8), heads=(0, 1, 2))
    assert str(many) == (
        "Patch(blocks.0.attn.hook_z, positions=0; 1; 2; ... of 50 samples, values=[50 1 4 8], heads=0-2)"
    )
    assert str(Patch(PRE, "last", torch.zeros(1, 32), over_deepstack=True)).endswith("over_deepstack=True)")
    assert len(repr(PositionHook([[PositionEdit("last", abs)]] * 100, [range(5)]))) < 80
