"""BiasImageLogits turns chosen heads to chosen image tokens, as a mask given to Hugging Face's own attention would."""

import pytest
import tiny
import torch
from heads_by_hand import check_scope, named_rows, under, with_biased_masks
from ragged import loaded

from interp import BiasImageLogits, Chain, HookedVLM, PerSample, Prefix, ScaleHeads, ScaleImageLogits, Untouched
from interp.errors import HookError, InputError
from interp.model.prefix import share_prefill
from interp.zoo.tiny import TINY

HEADS = ((1, 0), (0, 1), (1, 3))
TOKENS = ((1, 2), (0, 3, 5))


def biases(vlm, inputs, heads, tokens, bias, rows):
    """What is added to the mask of each layer, entry by entry [batch head row key]."""
    length = inputs.input_ids.shape[1]
    added = {layer: torch.zeros(len(inputs), vlm.cfg.n_heads, length, length) for layer, _ in heads}
    for layer, head in heads:
        for sample, layout in enumerate(inputs.layouts):
            for row in rows[sample]:
                for token, key in enumerate(layout.image_positions):
                    added[layer][sample, head, row, key] = bias if token in tokens[sample] else -bias
    return added


def rows_of(inputs, word):
    last = inputs.input_ids.shape[1] - 1
    every = [[at for at, kind in enumerate(own.kinds) if kind != "pad"] for own in inputs.layouts]
    behind = [list(range(own.image_positions[-1] + 1, last + 1)) for own in inputs.layouts]
    return {"last": [[last]] * len(inputs), "all": every, "after_image": behind}[word]


@pytest.mark.parametrize("name", TINY)
def test_a_bias_is_an_explicit_mask_on_hugging_face(name):
    vlm, inputs = loaded(name, 2)
    there, heads = inputs.attention_mask.bool(), [one for one in HEADS if one[1] < vlm.cfg.n_heads]
    before = under(vlm, inputs, Untouched())
    for word, bias in (("last", 1.5), ("after_image", -2.0), ("all", 0.7)):
        found = under(vlm, inputs, BiasImageLogits(heads, TOKENS, bias, word))
        added = biases(vlm, inputs, heads, TOKENS, bias, rows_of(inputs, word))
        with torch.no_grad(), with_biased_masks(vlm, added) as model:
            wanted = model(**inputs.tensors, use_cache=False).logits
        torch.testing.assert_close(found[there], wanted[there], rtol=0, atol=2 * tiny.rounding(vlm))
        assert (found - before)[:, -1].abs().amax(-1).min() > 1e-6


def test_a_large_bias_leaves_the_chosen_tokens_and_what_is_no_image_as_it_was_among_itself():
    vlm, inputs = loaded("tiny-llava", 2)
    name = "blocks.1.attn.hook_pattern"
    edit = BiasImageLogits([(1, 2)], TOKENS)
    with torch.no_grad():
        before = vlm.run_with_cache(inputs, names_filter=name)[1][name]
        after = vlm.run_with_cache(inputs, names_filter=name, intervention=edit)[1][name]
    assert torch.equal(after[:, [0, 1, 3]], before[:, [0, 1, 3]])
    for sample, layout in enumerate(inputs.layouts):
        keys = layout.image_positions[list(TOKENS[sample])]
        assert float(after[sample, 2, 0, keys].sum()) == pytest.approx(1)
        wanted = before[sample, 2, 0, keys] / before[sample, 2, 0, keys].sum()
        torch.testing.assert_close(after[sample, 2, 0, keys], wanted, rtol=2e-3, atol=1e-4)
    away = BiasImageLogits([(1, 2)], [range(len(own.image_positions)) for own in inputs.layouts], -1e4)
    with torch.no_grad():
        text = vlm.run_with_cache(inputs, names_filter=name, intervention=away)[1][name]
    for sample, layout in enumerate(inputs.layouts):
        rest = [at for at in range(len(layout)) if layout.kinds[at] != "image"]
        wanted = before[sample, 2, 0, rest] / before[sample, 2, 0, rest].sum()
        torch.testing.assert_close(text[sample, 2, 0, rest], wanted)


@pytest.mark.parametrize("scope", ["prompt", "decode", "both"])
def test_a_scope_is_the_passes_that_it_names_also_for_beams(scope):
    vlm, inputs = loaded("tiny-llava", 2)
    edit = BiasImageLogits([(layer, head) for layer in range(3) for head in range(4)], TOKENS, 30, scope=scope)

    def biased(logits, hook):
        for row in named_rows(hook.now, logits.shape[2], inputs.input_ids.shape[1], scope):
            for sample in range(len(logits)):
                own = sample // (len(logits) // 2)
                for token, key in enumerate(inputs.layouts[own].image_positions):
                    logits[sample, :, row, key] += 30 if token in TOKENS[own] else -30
        return logits

    check_scope(vlm, inputs, edit, "attn.hook_attn_logits", biased, scope)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_a_bias_of_zero_puts_no_hook_on(dtype):
    vlm = HookedVLM.from_pretrained("tiny-llava", self_check=False, dtype=dtype)
    inputs = vlm.prepare(tiny.photo(0), "Where is the mug?")
    edit = BiasImageLogits(HEADS, (1, 2), 0, "all")
    assert edit.hooks(vlm.cfg, inputs.layouts) == []
    assert torch.equal(under(vlm, inputs, edit), under(vlm, inputs, Untouched()))
    strong = under(vlm, inputs, BiasImageLogits(HEADS, (1, 2)))
    assert strong.dtype == dtype and bool(strong.isfinite().all())


@pytest.mark.parametrize("name", ["tiny-llava", "tiny-qwen3_vl", "tiny-gemma3"])
def test_biased_heads_go_through_a_shared_prefill(name):
    vlm, inputs = loaded(name, 2)
    many = [Untouched(), BiasImageLogits(HEADS[:2], TOKENS), BiasImageLogits(HEADS[:2], (1, 2), -3)]
    many.append(Chain((many[1], ScaleHeads(HEADS[:1], 3))))
    prefix = Prefix(vlm, inputs)
    for found, edit in zip(prefix.step(many).logits, many, strict=True):
        torch.testing.assert_close(found, under(vlm, inputs, edit)[:, -1], rtol=1e-5, atol=tiny.rounding(vlm))
    for answer, edit in zip(prefix.generate(many, 4), many, strict=True):
        assert answer.texts == vlm.generate(inputs, 4, intervention=edit).texts
    with pytest.raises(HookError, match="shares all rows before the last"):
        prefix.step([BiasImageLogits(HEADS[:2], TOKENS, positions="all")])


def test_a_family_without_a_shared_prefill_takes_whole_passes():
    vlm, inputs = loaded("tiny-paligemma2", 2)
    edit = BiasImageLogits([(1, 0), (0, 1)], TOKENS)
    runs = share_prefill(vlm, inputs)
    torch.testing.assert_close(runs.step([edit]).logits[0], under(vlm, inputs, edit)[:, -1])


def test_one_half_alone_is_what_adds_to_image_logits_and_each_sample_has_its_own():
    vlm, inputs = loaded("tiny-llava", 1)
    every = range(len(inputs.layouts[0].image_positions))
    found = under(vlm, inputs, BiasImageLogits([(1, 2)], every, 2))
    assert torch.equal(found, under(vlm, inputs, ScaleImageLogits(2, "add", (1,), (2,), decode=True)))
    vlm, inputs = loaded("tiny-llava", 2)
    edit = BiasImageLogits(HEADS, TOKENS, 3, ((-1, -2), (-1,)))
    assert torch.equal(under(vlm, inputs, edit), under(vlm, inputs, PerSample(tuple(edit.of_each(2)))))


def test_gradients_flow_through_biased_rows():
    vlm, inputs = loaded("tiny-llava", 2)
    start = torch.zeros(vlm.cfg.d_model, requires_grad=True)
    edit = BiasImageLogits([(1, head) for head in range(4)], TOKENS, 1.0)

    def score(moved):
        with vlm.hooks([("blocks.1.hook_resid_pre", lambda t, hook: t + moved)]):
            return vlm.run_with_hooks(inputs, intervention=edit).logits[:, -1, 5].double().sum()

    (own,) = torch.autograd.grad(score(start), start)
    step = torch.zeros(vlm.cfg.d_model)
    step[3] = 1e-2
    with torch.no_grad():
        wanted = float(score(step) - score(-step)) / 2e-2
    assert float(own[3]) == pytest.approx(wanted, rel=3e-2, abs=1e-3)


@pytest.mark.parametrize(
    "given, match",
    [
        ({"towards": ()}, "towards is empty"),
        ({"towards": None}, "names no image token"),
        ({"towards": [(1,), ()]}, "towards is empty"),
        ({"towards": (0.5,)}, "towards=.* is not understood"),
        ({"towards": (True, False)}, "towards=.* is not understood"),
        ({"towards": "mug"}, "towards=.* is not understood"),
        ({"bias": True}, "not a finite number"),
        ({"bias": float("nan")}, "not a finite number"),
        ({"bias": 1e31}, "out of range"),
        ({"heads": []}, "names no head"),
        ({"heads": [(1, 0), (1, 0)]}, "twice"),
        ({"scope": "decode", "positions": "image"}, "scope='decode' edits nothing"),
    ],
    ids=str,
)
def test_what_means_nothing_is_refused(given, match):
    with pytest.raises(InputError, match=match):
        BiasImageLogits(**{"heads": HEADS, "towards": (1, 2), **given})


def test_what_does_not_fit_the_batch_is_refused_before_a_pass():
    vlm, inputs = loaded("tiny-llava", 2)
    first = int(inputs.layouts[0].image_positions[0])
    for bias in (0, 1):
        for given, error, match in (
            ({"towards": (500,)}, HookError, r"image token \[500\] does not exist"),
            ({"towards": ((1,),) * 3}, InputError, "tokens of 3 and positions of 2"),
            ({"heads": [(0, 9)]}, HookError, r"head \(0, 9\) does not exist"),
            ({"positions": (first,), "towards": (5,)}, InputError, "none of the rows sees any of the image tokens"),
            ({"positions": (0,)}, InputError, "are padding"),
        ):
            edit = BiasImageLogits(**{"heads": HEADS, "towards": (1, 2), "bias": bias, **given})
            with tiny.passes(vlm) as shapes, pytest.raises(error, match=match):
                vlm.run_with_hooks(inputs, intervention=edit)
            assert not shapes


def test_biased_heads_print_as_their_settings_in_one_short_line():
    edit = BiasImageLogits(HEADS, (5, 3, 4))
    assert (
        str(edit)
        == repr(edit)
        == ("BiasImageLogits(heads=L0H1 L1H0,3, towards=3-5, bias=10000, positions=last, scope=both)")
    )
    assert "towards=1-2; 0,3,5, " in str(BiasImageLogits(HEADS, TOKENS))
