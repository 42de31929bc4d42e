"""ScaleImageLogits does to the image's logits what its formula says, and to nothing else."""

import math
from types import SimpleNamespace

import naive
import numpy as np
import pytest
import tiny
import torch
from naive import reference
from tiny import MODELS, case

from interp.errors import HookError, InputError
from interp.hooks.rows import Pass, RowHook
from interp.intervene.base import PerSample, Untouched
from interp.intervene.image_logits import ScaleImageLogits
from interp.intervene.indices import check_indices, spell
from interp.model.prefix import Prefix

PATTERNS = [f"blocks.{layer}.attn.hook_pattern" for layer in range(3)]


def by_formula(mode, alpha, inputs, rows, heads=range(4)):
    """The edit of whole logits [batch head row key] that the formula of a mode asks for, number by number."""

    def edit(logits):
        out = logits.clone()
        for sample, layout in enumerate(inputs.layouts):
            for head in heads:
                for row in rows:
                    own = logits[sample, head, row, layout.image_positions]
                    new = own + alpha if mode == "add" else own * alpha
                    if mode == "temper":
                        new = new + math.log(own.exp().sum() / new.exp().sum())
                    out[sample, head, row, layout.image_positions] = new
        return out

    return edit


@pytest.mark.parametrize("mode, alpha", [("mul", 0.5), ("mul", 2.0), ("mul", -1.0), ("mul", 0.0), ("add", 1.5)])
@pytest.mark.parametrize("model", MODELS, ids=str)
def test_an_intervention_is_its_formula(model, mode, alpha):
    vlm, inputs, _ = case(*model)
    last = inputs.input_ids.shape[1] - 1
    check_against_formula(vlm, inputs, ScaleImageLogits(alpha, mode=mode), [last])
    chosen = ScaleImageLogits(alpha, mode=mode, layers=(2, 0), heads=[3, 1], rows=(-1, 25))
    check_against_formula(vlm, inputs, chosen, [last, 25])


@pytest.mark.parametrize("alpha", [0.0, 0.5, 2.0, -1.0])
def test_a_tempered_image_is_its_formula(alpha):
    for model in MODELS[:2]:
        vlm, inputs, _ = case(*model)
        last = inputs.input_ids.shape[1] - 1
        check_against_formula(vlm, inputs, ScaleImageLogits(alpha, mode="temper"), [last])
        chosen = ScaleImageLogits(alpha, mode="temper", heads=(2,), rows=[-1, last - 3])
        check_against_formula(vlm, inputs, chosen, [last, last - 3])


def check_against_formula(vlm, inputs, asked, rows):
    heads = range(4) if asked.heads is None else asked.heads
    edit = by_formula(asked.mode, asked.alpha, inputs, rows, heads)
    layers = range(3) if asked.layers is None else asked.layers
    wanted = reference(vlm, inputs, {f"blocks.{layer}.attn.hook_attn_logits": edit for layer in layers})
    with vlm.intervene(asked, inputs):
        got = vlm(inputs).logits
    there, close = inputs.attention_mask.bool(), naive.tolerance(vlm)
    torch.testing.assert_close(got[there], wanted[there], rtol=close, atol=close)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("model", MODELS, ids=str)
def test_the_identity_of_each_mode_is_bit_equal(model, dtype):
    vlm, inputs, untouched = case(*model, dtype=dtype)
    for identity in (ScaleImageLogits(1.0), ScaleImageLogits(0.0, mode="add"), ScaleImageLogits(1, mode="temper")):
        assert identity.changes_nothing
        for asked in (identity, PerSample((identity, Untouched()))):
            with vlm.intervene(asked, inputs):
                assert torch.equal(vlm(inputs).logits, untouched)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("model", MODELS, ids=str)
def test_earlier_rows_stay_bit_equal_in_every_layer(model, dtype):
    vlm, inputs, _ = case(*model, dtype=dtype)
    names = [f"blocks.{layer}.hook_resid_post" for layer in range(3)]
    _, before = vlm.run_with_cache(inputs, names_filter=names)
    edit = ScaleImageLogits(0.3).hooks(vlm.cfg, inputs.layouts)
    _, after = vlm.run_with_cache(inputs, names_filter=names, fwd_hooks=edit)
    for name in names:
        earlier = inputs.attention_mask[:, :-1].bool()  # in eager attention, padding looks everywhere
        assert torch.equal(after[name][:, :-1][earlier], before[name][:, :-1][earlier])
        assert not torch.equal(after[name][:, -1], before[name][:, -1])


def first_layer(vlm, inputs, asked):
    """Logits and pattern of the last row in layer 0, where nothing but the edit itself has changed."""
    names = ["blocks.0.attn.hook_attn_logits", "blocks.0.attn.hook_pattern"]
    keep = {}
    shown = RowHook(lambda t, hook: keep.update({hook.name: t.clone()}), "last", reads_only=True)
    edits = asked.hooks(vlm.cfg, inputs.layouts)
    vlm.run_with_hooks(inputs, fwd_hooks=[(names[0], shown), *edits, (names[1], shown)])
    return keep[names[0]][:, :, 0], keep[names[1]][:, :, 0]


def test_a_negative_logit_times_two_attends_less_and_a_positive_one_more():
    vlm, inputs, _ = case("clip", 2, "sdpa")
    logits, before = first_layer(vlm, inputs, Untouched())
    _, after = first_layer(vlm, inputs, ScaleImageLogits(2.0))
    for sample, layout in enumerate(inputs.layouts):
        image, text = layout.image_positions, layout.last
        ratio = (after[sample, :, image] / after[sample, :, [text]]) / (
            before[sample, :, image] / before[sample, :, [text]]
        )
        own = logits[sample, :, image]
        assert (ratio[own < 0] < 1).all() and (own < 0).any()
        assert (ratio[own > 0] > 1).all() and (own > 0).any()
        torch.testing.assert_close(ratio, own.exp())


def test_add_keeps_the_picture_and_temper_keeps_the_mass():
    vlm, inputs, _ = case("clip", 2, "sdpa")
    _, before = first_layer(vlm, inputs, Untouched())
    _, added = first_layer(vlm, inputs, ScaleImageLogits(1.2, mode="add"))
    _, tempered = first_layer(vlm, inputs, ScaleImageLogits(3.0, mode="temper"))
    for sample, layout in enumerate(inputs.layouts):
        image = layout.image_positions
        mass = before[sample][:, image].sum(-1)
        more = added[sample][:, image].sum(-1)
        torch.testing.assert_close(added[sample][:, image] / more[:, None], before[sample][:, image] / mass[:, None])
        torch.testing.assert_close(more / (1 - more), math.exp(1.2) * mass / (1 - mass))
        torch.testing.assert_close(tempered[sample][:, image].sum(-1), mass, rtol=0, atol=1e-6)
        text = np.setdiff1d(np.arange(len(layout)), image)
        torch.testing.assert_close(tempered[sample][:, text], before[sample][:, text])
        assert (tempered[sample][:, image].amax(-1) > before[sample][:, image].amax(-1)).all()


def test_interventions_of_one_batch_stay_with_their_samples():
    vlm, inputs, untouched = case("siglip", 4, "sdpa", samples=3)
    parts = (ScaleImageLogits(0.5, layers=(0,)), Untouched(), ScaleImageLogits(2.0, mode="add", rows=(-1, -2)))
    with vlm.intervene(PerSample(parts), inputs):
        together = vlm(inputs).logits[:, -1]
    for sample, part in enumerate(parts):
        with vlm.intervene(part, inputs):
            torch.testing.assert_close(together[sample], vlm(inputs).logits[sample, -1], rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(together[1], untouched[1, -1], rtol=1e-9, atol=1e-9)
    with pytest.raises(InputError, match="one each"):
        PerSample(parts).hooks(vlm.cfg, inputs.layouts[:2])


@pytest.mark.parametrize("mode, alpha", [("mul", 2.0), ("add", 1.5), ("temper", 3.0)])
def test_all_rows_behind_the_image_are_each_samples_own_in_a_ragged_batch(mode, alpha):
    vlm, inputs, untouched = case("clip", 2, "sdpa", samples=3)
    starts = [layout.after_image[0] for layout in inputs.layouts]
    assert len(set(starts)) > 1, "the batch is ragged"

    def edit(logits):
        out = logits.clone()
        for sample, start in enumerate(starts):
            one = by_formula(mode, alpha, inputs, range(start, logits.shape[2]))(logits)
            out[sample] = one[sample]
        return out

    asked = ScaleImageLogits(alpha, mode=mode, rows="after_image")
    wanted = reference(vlm, inputs, {f"blocks.{layer}.attn.hook_attn_logits": edit for layer in range(3)})
    with vlm.intervene(asked, inputs):
        got = vlm(inputs).logits
    there = inputs.attention_mask.bool()
    torch.testing.assert_close(got[there], wanted[there], rtol=1e-8, atol=1e-8)
    before = torch.arange(got.shape[1])[None] < torch.tensor(starts)[:, None]
    assert torch.equal(got[there & before], untouched[there & before])


def test_chosen_image_tokens_are_scaled_and_the_others_are_not():
    vlm, inputs, _ = case("clip", 2, "sdpa")
    chosen, last = (0, 5, 6), inputs.input_ids.shape[1] - 1

    def edit(logits):
        out = logits.clone()
        for sample, layout in enumerate(inputs.layouts):
            for token in chosen:
                out[sample, :, last, layout.image_positions[token]] *= 3.0
        return out

    wanted = reference(vlm, inputs, {f"blocks.{layer}.attn.hook_attn_logits": edit for layer in range(3)})
    asked = ScaleImageLogits(3.0, image_tokens=chosen)
    with vlm.intervene(asked, inputs):
        torch.testing.assert_close(vlm(inputs).logits[:, -1], wanted[:, -1], rtol=1e-8, atol=1e-8)
    assert str(asked).endswith("rows=last, image_tokens=0,5-6)")
    with pytest.raises(HookError, match="image token .* does not exist"):
        ScaleImageLogits(3.0, image_tokens=(99,)).hooks(vlm.cfg, inputs.layouts)


@pytest.mark.parametrize("rows", ["last", "after_image", "all", (-1, -3)], ids=str)
def test_decoded_tokens_are_edited_where_that_is_asked_for(rows):
    vlm, inputs, _ = case("clip", 2, "sdpa", samples=1)
    asked = ScaleImageLogits(4.0, rows=rows, decode=True)
    prompt = inputs.input_ids.shape[1]
    own = {"last": [prompt - 1], "after_image": inputs.layouts[0].after_image.tolist(), "all": list(range(prompt))}.get(
        rows, [prompt - 1, prompt - 3]
    )
    tensors, tokens = dict(inputs.tensors), []
    for step in range(6):
        edit = by_formula("mul", 4.0, inputs, [*own, *range(prompt, prompt + step)])
        with vlm.paused():
            edits = {f"blocks.{layer}.attn.hook_attn_logits": edit for layer in range(3)}
            logits, _ = naive.naive_run(vlm.model, tensors, edits)
        tokens.append(int(logits[0, -1].argmax()))
        tensors["input_ids"] = torch.cat([tensors["input_ids"], torch.tensor([[tokens[-1]]])], 1)
        tensors["attention_mask"] = torch.ones_like(tensors["input_ids"])
    got = vlm.generate(inputs, 6, intervention=asked).tokens[0].tolist()
    assert got == tokens[: len(got)]
    elsewhere = vlm.generate(inputs, 6, intervention=ScaleImageLogits(4.0, rows=rows)).tokens[0].tolist()
    assert got != elsewhere, "the edit of decoded rows changes this answer"
    if rows == "last":
        (shared,) = Prefix(vlm, inputs).generate([asked], 6)
        assert shared.tokens[0].tolist() == got
        assert asked == ScaleImageLogits(4.0, rows="generated")


def test_an_intervention_made_for_other_inputs_is_refused():
    vlm, inputs, _ = case("clip", 2, "sdpa", samples=3)
    for other in (tiny.inputs(vlm, 1), tiny.inputs(vlm, 3, ragged=False), tiny.inputs(vlm, 2)):
        with vlm.intervene(ScaleImageLogits(0.5), other), pytest.raises(HookError, match="inputs that you run"):
            vlm(inputs)


def test_tempering_a_row_that_does_not_see_the_whole_image_is_refused():
    vlm, inputs, _ = case("clip", 2, "sdpa")
    for rows in ("all", [12, -1]):
        with vlm.intervene(ScaleImageLogits(0.5, mode="temper", rows=rows), inputs):
            with pytest.raises(HookError, match="whole image"):
                vlm(inputs)


@pytest.mark.parametrize(
    "alpha", [math.nan, math.inf, -math.inf, True, "0.5", None, 1j, [0.5], torch.tensor(0.5)], ids=str
)
def test_an_alpha_that_is_no_finite_number_is_refused(alpha):
    with pytest.raises(InputError, match="not a finite number"):
        ScaleImageLogits(alpha)


@pytest.mark.parametrize("alpha", [1e38, -1e38, 1e300, -2e30, 10**40, 10**400])
def test_an_alpha_that_overflows_is_refused_and_the_largest_one_gives_numbers(alpha):
    with pytest.raises(InputError, match="give one up to 1e"):
        ScaleImageLogits(alpha)
    vlm, inputs, _ = case("clip", 2, "sdpa")
    for mode in ("mul", "add", "temper"):
        for most in (1e30, -1e30):
            with vlm.intervene(ScaleImageLogits(most, mode=mode), inputs):
                assert vlm(inputs).logits.isfinite().all()


def test_an_alpha_that_overflows_in_half_precision_alone_is_refused_there():
    vlm, inputs, _ = case("clip", 2, "sdpa")
    edit = ScaleImageLogits(3e4).hooks(vlm.cfg, inputs.layouts)[0][1].function
    length = inputs.input_ids.shape[1]
    hook = SimpleNamespace(name="blocks.0", now=Pass(0, length, length))
    logits = torch.full((2, 4, 1, length), 3.0)
    logits[..., 0] = -math.inf
    assert edit(logits, hook=hook).isfinite()[..., 1:].all()
    with pytest.raises(HookError, match="out of the range of torch.float16"):
        edit(logits.half(), hook=hook)


def test_a_strong_temper_keeps_the_total_attention_of_the_image():
    vlm, inputs, _ = case("clip", 2, "sdpa")
    _, before = vlm.run_with_cache(inputs, names_filter=PATTERNS[:1])
    with vlm.intervene(ScaleImageLogits(1e30, mode="temper", layers=(0,)), inputs):
        _, after = vlm.run_with_cache(inputs, names_filter=PATTERNS[:1])
    for sample, layout in enumerate(inputs.layouts):
        seen = [cache[PATTERNS[0]][sample, :, -1, layout.image_positions].sum(-1) for cache in (before, after)]
        torch.testing.assert_close(*seen)


@pytest.mark.parametrize("rows", ["foo", (0.5,), [], 3])
def test_rows_are_refused_under_their_own_name_with_all_their_words(rows):
    with pytest.raises(InputError, match=r"^rows=.*'generated', 'after_image' or a list") as refusal:
        ScaleImageLogits(0.5, rows=rows)
    assert "query_rows" not in str(refusal.value)


@pytest.mark.parametrize(
    "setting",
    [
        {"mode": "times"},
        {"mode": None},
        {"layers": ()},
        {"heads": []},
        {"layers": 5},
        {"layers": "12"},
        {"heads": (0.5,)},
        {"heads": (None,)},
        {"rows": "first"},
        {"rows": 3},
        {"rows": []},
    ],
    ids=str,
)
def test_settings_that_mean_nothing_are_refused_in_one_line(setting):
    with pytest.raises((InputError, HookError)) as refusal:
        ScaleImageLogits(0.5, **setting)
    assert next(iter(setting)) in str(refusal.value) and "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    "what, setting", [("layer", {"layers": (3,)}), ("layer", {"layers": (0, -1)}), ("head", {"heads": (4,)})]
)
def test_layers_and_heads_that_do_not_exist_are_refused(what, setting):
    vlm, inputs, _ = case("clip", 2, "sdpa")
    for alpha in (0.5, 1.0):
        with pytest.raises(HookError, match=f"{what} .* does not exist"):
            ScaleImageLogits(alpha, **setting).hooks(vlm.cfg, inputs.layouts)


def test_interventions_are_values_with_names():
    one = ScaleImageLogits(np.float32(0.5), layers=np.array([2, 0, 1, 1]), heads=range(2), rows=[-1])
    assert one == ScaleImageLogits(0.5, layers=(0, 1, 2), heads=(0, 1), rows=(-1,)) and len({one, one}) == 1
    assert str(one) == "ScaleImageLogits(alpha=0.5, mode=mul, layers=0-2, heads=0-1, rows=[-1])"
    assert str(ScaleImageLogits(2)) == "ScaleImageLogits(alpha=2, mode=mul, layers=all, heads=all, rows=last)"
    assert str(PerSample((Untouched(), Untouched()))) == "PerSample(untouched, untouched)"
    assert spell((3, 4, 5, 9)) == "3-5,9" and spell(None) == "all"
    assert check_indices(None, 3, "layer") == (0, 1, 2)
