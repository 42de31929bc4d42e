"""A hook is an edit: returned, in place, or by gradient, every point of both towers does what explicit loops do."""

import naive
import pytest
import tiny
import torch
from naive import in_place, reference
from tiny import MODELS, case

from interp.errors import HookError
from interp.hooks.rows import RowHook
from interp.model.hooked_vlm import HookedVLM

ROWS = ("attn.hook_attn_logits", "attn.hook_attn_scores", "attn.hook_pattern")
SHARED = ("attn.hook_q", "attn.hook_k", "attn.hook_v", "attn.hook_rot_q", "attn.hook_rot_k", "attn.hook_z")
STREAM = ("hook_resid_pre", "hook_attn_out", "hook_resid_mid", "hook_mlp_out", "hook_resid_post")
NORM = ("hook_scale", "hook_normalized", "hook_out")
INSIDE = (*[f"{norm}.{point}" for norm in ("ln1", "ln2") for point in NORM], "attn.hook_result")
INSIDE += ("mlp.hook_pre", "mlp.hook_post")
ENDS = ("hook_embed", "projector.hook_out", *[f"ln_final.{point}" for point in NORM], "unembed.hook_out")
ALL = [f"blocks.1.{name}" for name in (*ROWS, *SHARED, *STREAM, *INSIDE, "mlp.hook_pre_linear")]
ALL += [f"vision.blocks.1.{name}" for name in ROWS + SHARED + STREAM + INSIDE] + list(ENDS)


def bend(tensor):
    """An edit that depends on the place, keeps signs, and is not linear."""
    ends = (0.3, 1.7) if tensor.shape[-1] > 1 else (1.3, 1.3)
    ramp = torch.linspace(*ends, tensor.shape[-1], dtype=tensor.dtype)
    return tensor * ramp + 0.1 * torch.tanh(tensor.nan_to_num(neginf=0.0))


def at_all_rows(name):
    return "all" if name.endswith(ROWS) else None


def assert_same(vlm, inputs, got, wanted, *, close=None):
    """Equal wherever there is a token."""
    there, close = inputs.attention_mask.bool(), close or naive.tolerance(vlm)
    assert torch.isfinite(got).all()
    torch.testing.assert_close(got[there], wanted[there], rtol=close, atol=close)


@pytest.mark.parametrize("model", MODELS, ids=str)
@pytest.mark.parametrize("name", ALL)
def test_an_edit_does_what_explicit_loops_do(model, name):
    vlm, inputs, untouched = case(*model)
    returned = vlm.run_with_hooks(
        inputs, fwd_hooks=[(name, lambda t, hook: bend(t))], query_rows=at_all_rows(name)
    ).logits
    changed = vlm.run_with_hooks(inputs, fwd_hooks=[(name, in_place(bend))], query_rows=at_all_rows(name)).logits
    close = 1e-4 if name.endswith(("hook_scale", "hook_normalized")) else None  # RMS norms compute in fp32
    assert_same(vlm, inputs, returned, reference(vlm, inputs, {name: bend}), close=close or naive.tolerance(vlm))
    assert torch.equal(changed, returned)
    assert not torch.allclose(returned[:, -1], untouched[:, -1], atol=1e-6)


@pytest.mark.parametrize("model", MODELS, ids=str)
@pytest.mark.parametrize("name", [f"{tower}blocks.1.{point}" for tower in ("", "vision.") for point in ROWS])
@pytest.mark.parametrize("rows", [[-1], [5, 9], [12, 3, 7], [6, 7, 8]], ids=str)
def test_an_edit_of_chosen_rows_and_one_head_does_what_explicit_loops_do(model, name, rows):
    vlm, inputs, _ = case(*model)
    length = inputs.input_ids.shape[1]

    def one_head(tensor, hook):
        assert tensor.shape[2] == len(rows)
        tensor[:, 2] = bend(tensor[:, 2])

    got = vlm.run_with_hooks(inputs, fwd_hooks=[(name, one_head)], query_rows=rows).logits
    here = [row % length if not name.startswith("vision") else row for row in rows]
    wanted = reference(vlm, inputs, {name: naive.on_rows(bend, here, heads=[2])})
    assert_same(vlm, inputs, got, wanted)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("model", MODELS, ids=str)
def test_rows_that_were_not_chosen_stay_bit_equal(model, dtype):
    vlm, inputs, _ = case(*model, dtype=dtype)
    name, out = "blocks.1.attn.hook_attn_logits", "blocks.1.hook_attn_out"
    _, plain = vlm.run_with_cache(inputs, names_filter=out)
    readers = [name, "blocks.1.attn.hook_pattern", out]  # somebody else reads all rows at the same time
    edit = RowHook(lambda t, hook: bend(t), [20, 30])
    _, edited = vlm.run_with_cache(inputs, names_filter=readers, query_rows="all", fwd_hooks=[(name, edit)])
    same = (edited[out] == plain[out]).all(-1).all(0)
    assert sorted((~same).nonzero().flatten().tolist()) == [20, 30]


@pytest.mark.parametrize("dtype, tolerance", [(torch.float32, 1e-5), (torch.bfloat16, 1e-2)], ids=str)
@pytest.mark.parametrize("model", MODELS[::3], ids=str)
@pytest.mark.parametrize("name", [f"{tower}blocks.1.{point}" for tower in ("", "vision.") for point in ROWS])
def test_edits_agree_with_loops_in_lower_precision_too(name, model, dtype, tolerance):
    vlm, inputs, _ = case(*model, dtype=dtype)
    block, point = name.split("attn.")
    parts = [f"{block}attn.hook_{part}" for part in ("rot_q", "rot_k", "v", "z")]
    with vlm.hooks([(name, lambda t, hook: bend(t))], query_rows="all"):
        _, cache = vlm.run_with_cache(inputs, names_filter=parts)
    mask = inputs.attention_mask.bool()
    text = name.startswith("blocks")
    visible = mask[:, None, None, :] & torch.ones(mask.shape[1], mask.shape[1]).tril().bool() if text else None
    edit = naive.edited_at(f"attn.{point}", bend)
    wanted = naive.attend(*(cache[part] for part in parts[:3]), visible=visible, at=edit)
    there = mask if text else slice(None)
    error = (cache[parts[3]][there] - wanted[there]).abs().max() / wanted[there].abs().max()
    assert error <= tolerance


def test_a_change_that_leaves_no_version_is_an_edit_too():
    vlm, inputs, untouched = case("clip", 2, "sdpa")
    name = "blocks.1.attn.hook_pattern"
    changed = vlm.run_with_hooks(inputs, fwd_hooks=[(name, in_place(lambda t: t * 0.5, through_data=True))]).logits
    assert torch.equal(changed, vlm.run_with_hooks(inputs, fwd_hooks=[(name, lambda t, hook: t * 0.5)]).logits)
    assert not torch.equal(changed, untouched)


@pytest.mark.parametrize("model", MODELS, ids=str)
def test_a_residual_edit_between_attention_and_mlp_reaches_the_skip_connection(model):
    vlm, inputs, _ = case(*model)
    for block in ("blocks.1.", "vision.blocks.1."):
        edit = [(f"{block}hook_resid_mid", lambda t, hook: t + 1.0), (f"{block}hook_mlp_out", lambda t, hook: t * 0)]
        _, cache = vlm.run_with_cache(inputs, names_filter=lambda name: "resid" in name, fwd_hooks=edit)
        torch.testing.assert_close(cache[f"{block}hook_resid_post"], cache[f"{block}hook_resid_mid"])


@pytest.mark.parametrize("tower", ["clip", "siglip"])
@pytest.mark.parametrize("ran_before", [False, True])
def test_a_vision_edit_reaches_the_output_whether_or_not_the_model_ran_before_it_was_wrapped(tower, ran_before):
    model, processor = tiny.model(tower=tower).requires_grad_(False), tiny.processor(tower)
    vlm = HookedVLM.wrap(model, processor, self_check=False)
    inputs = tiny.inputs(vlm)
    vlm.unwrap()
    if ran_before:  # transformers installs its hidden-state capture now, before our hooks
        model(**inputs.tensors, output_hidden_states=True)
    vlm = HookedVLM.wrap(model, processor, self_check=False)
    untouched = vlm(inputs).logits
    for name in ("hook_resid_pre", "hook_resid_post"):  # the second-last block's output is what the projector gets
        moved = vlm.run_with_hooks(inputs, fwd_hooks=[(f"vision.blocks.1.{name}", lambda t, hook: t * 1.5)])
        assert (moved.logits - untouched).abs().max() > 1e-3
    last = vlm.run_with_hooks(inputs, fwd_hooks=[("blocks.2.hook_resid_post", lambda t, hook: t * 0)])
    assert last.logits.abs().max() == 0


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_an_edit_of_scores_can_not_reveal_a_hidden_key(attention):
    vlm, inputs, untouched = case("clip", 2, attention)
    name = "blocks.1.attn.hook_attn_scores"
    shown = {}

    def reveal(scores, hook):
        shown["hidden"] = scores == -torch.inf
        scores[:] = 50.0

    def keep(pattern, hook):
        shown["pattern"] = pattern.clone()

    vlm.run_with_hooks(inputs, fwd_hooks=[(name, reveal), ("blocks.1.attn.hook_pattern", keep)])
    assert shown["hidden"].any()
    assert (shown["pattern"][shown["hidden"]] == 0).all()
    only_hidden = vlm.run_with_hooks(
        inputs, fwd_hooks=[(name, lambda t, hook: torch.where(t == -torch.inf, 99.0, t))]
    ).logits
    assert_same(vlm, inputs, only_hidden, untouched)


def test_a_logit_of_zero_is_no_way_to_reveal_a_hidden_key_either():
    vlm, inputs, untouched = case("clip", 2, "sdpa")
    name = "blocks.1.attn.hook_attn_logits"
    _, cache = vlm.run_with_cache(
        inputs,
        names_filter="blocks.1.attn.hook_pattern",
        query_rows="all",
        fwd_hooks=[(name, lambda t, hook: torch.zeros_like(t))],
    )
    pattern, mask = cache["pattern", 1], inputs.attention_mask.bool()
    counts = (mask.cumsum(-1) * mask)[:, None, :, None].double()
    wanted = (mask[:, None, None, :] & torch.ones(pattern.shape[-2:]).tril().bool()) / counts.clamp_min(1)
    torch.testing.assert_close(pattern, wanted.expand_as(pattern) * mask[:, None, :, None])


def test_several_hooks_on_one_point_each_see_their_own_rows_and_compose_in_order():
    vlm, inputs, _ = case("clip", 2, "sdpa")
    name, shapes = "blocks.1.attn.hook_attn_logits", []

    def note(tensor, hook):
        shapes.append(tensor.shape[2])

    hooks = [
        (name, RowHook(lambda t, hook: t * 2, [30, -1])),
        (name, RowHook(note, [4])),
        (name, RowHook(lambda t, hook: t + torch.arange(t.shape[2])[:, None], [-1, 30, 8])),
        (name, note),
        (name, RowHook(in_place(lambda t: t * 1.5), "last")),
    ]
    got = vlm.run_with_hooks(inputs, fwd_hooks=hooks).logits
    last = inputs.input_ids.shape[1] - 1

    def loops(logits):
        logits = logits.clone()
        logits[:, :, [30, last]] *= 2
        logits[:, :, 30] += 1.0
        logits[:, :, 8] += 2.0
        logits[:, :, last] *= 1.5
        return logits

    assert shapes == [1, inputs.input_ids.shape[1]]
    assert_same(vlm, inputs, got, reference(vlm, inputs, {name: loops}))


def test_edits_of_several_points_and_layers_add_up():
    vlm, inputs, _ = case("siglip", 2, "eager")
    names = ["vision.blocks.0.attn.hook_pattern", "blocks.0.attn.hook_attn_logits", "blocks.0.attn.hook_pattern"]
    names += ["blocks.2.attn.hook_z", "blocks.2.hook_resid_mid"]
    got = vlm.run_with_hooks(inputs, fwd_hooks=[(names, lambda t, hook: bend(t))], query_rows="all").logits
    assert_same(vlm, inputs, got, reference(vlm, inputs, dict.fromkeys(names, bend)))


def test_a_padding_row_that_is_edited_poisons_nobody():
    vlm, inputs, untouched = case("clip", 2, "sdpa")
    assert inputs.attention_mask[0, 0] == 0
    got = vlm.run_with_hooks(
        inputs, fwd_hooks=[("blocks.0.attn.hook_attn_logits", lambda t, hook: t * 2)], query_rows=[0]
    ).logits
    assert torch.isfinite(got).all()
    torch.testing.assert_close(got[0, -1], untouched[0, -1])


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_weights_that_the_model_returns_show_the_edit(attention):
    vlm, inputs, _ = case("clip", 2, attention)
    name = "blocks.1.attn.hook_pattern"
    for rows in ("last", "all"):
        output = vlm.run_with_hooks(
            inputs, fwd_hooks=[(name, lambda t, hook: t * 0)], query_rows=rows, output_attentions=True
        )
        assert len(output.attentions) == (3 if attention == "eager" else 0)  # SDPA gives none, edited or not
        if attention == "eager":
            assert (output.attentions[1][:, :, -1] == 0).all()
            assert (output.attentions[1][:, :, 20].sum(-1) > 0.9).all() == (rows == "last")


@pytest.mark.parametrize("bad", [lambda t, hook: t[..., :1], lambda t, hook: "no", lambda t, hook: t.sum()])
def test_a_hook_that_returns_something_else_is_refused(bad):
    vlm, inputs, untouched = case("clip", 2, "sdpa")
    for name in ("blocks.1.attn.hook_pattern", "blocks.1.hook_resid_mid", "projector.hook_out"):
        with pytest.raises(HookError, match=name):
            vlm.run_with_hooks(inputs, fwd_hooks=[(name, bad)])
    assert torch.equal(vlm(inputs).logits, untouched)


def test_rows_are_not_edited_under_dropout():
    vlm, inputs, _ = case("clip", 2, "sdpa")
    attention = vlm.model.model.language_model.layers[1].self_attn
    attention.attention_dropout = 0.5
    vlm.train()
    try:
        with pytest.raises(HookError, match="eval"):
            vlm.run_with_hooks(inputs, fwd_hooks=[("blocks.1.attn.hook_pattern", lambda t, hook: t * 2)])
    finally:
        attention.attention_dropout = 0.0
        vlm.eval()
    assert not vlm.model.training
