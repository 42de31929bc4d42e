"""Knock-outs: against an explicit 4-D mask given to Hugging Face's own attention, and what is refused."""

import numpy as np
import pytest
import tiny
import torch
from ragged import LAYOUTS, loaded
from tiny import case

from interp import Chain, Knockout, PerSample, Prefix, ScaleImageLogits
from interp.errors import HookError, InputError
from interp.intervene.knockout import seen_keys
from interp.layers import layer_windows, paper_layers

LOW = torch.finfo(torch.float32).min


def causal(inputs, two_way=""):
    """What each row sees, bool [batch row key], row by row."""
    found = torch.zeros(len(inputs), *[inputs.input_ids.shape[1]] * 2, dtype=torch.bool)
    for sample, layout in enumerate(inputs.layouts):
        for row in range(len(layout)):
            for key in range(len(layout)):
                ahead = two_way == "prompt" or (two_way == "image" and one_run(layout, row, key))
                found[sample, row, key] = layout.kinds[key] != "pad" and (key <= row or ahead)
    return found


def one_run(layout, row, key):
    low, high = sorted((row, key))
    return all(kind == "image" for kind in layout.kinds[low : high + 1])


def masked(vlm, inputs, edges, layers, heads=None):
    """Logits of Hugging Face's model whose layers are given their mask without these edges [batch head row key]."""
    length = inputs.input_ids.shape[1]

    def without_edges(module, args, kwargs):
        mask = kwargs["attention_mask"]
        seen = causal(inputs)[:, None] if mask is None else mask
        seen = (seen if seen.dtype == torch.bool else seen > LOW / 2).expand(len(inputs), vlm.cfg.n_heads, -1, -1)
        seen = seen[..., :length].clone()
        for sample, row, key in edges:
            seen[sample, slice(None) if heads is None else list(heads), row, key] = False
        seen |= ~seen.any(-1, keepdim=True)  # padding rows
        mask = torch.zeros(seen.shape, dtype=vlm.model.dtype).masked_fill(~seen, LOW)
        return args, {**kwargs, "attention_mask": mask}

    chosen = [vlm.text_attentions[layer] for layer in layers]
    with vlm.paused(), torch.no_grad():
        marks = [each.register_forward_pre_hook(without_edges, with_kwargs=True) for each in chosen]
        try:
            return vlm.model(**inputs.tensors, use_cache=False).logits
        finally:
            for mark in marks:
                mark.remove()


def cut(vlm, inputs, asked):
    with torch.no_grad(), vlm.intervene(asked, inputs):
        return vlm(inputs).logits


def close(vlm, inputs, got, wanted):
    there = inputs.attention_mask.bool()
    torch.testing.assert_close(got[there], wanted[there], rtol=2e-4, atol=2e-4)


def places(layout, word):
    image, last = layout.image_positions, layout.last
    behind = range(image[-1] + 1, last)
    every = [place for place, kind in enumerate(layout.kinds) if kind != "pad"]
    return {"last": [last], "text": [*behind], "after_image": [*behind, last], "image": [*image], "all": every}[word]


def edges_of(inputs, keys, rows):
    return [
        (sample, row, key)
        for sample, layout in enumerate(inputs.layouts)
        for row in places(layout, rows)
        for key in places(layout, keys)
    ]


@pytest.mark.parametrize("keys, rows", [("image", "last"), ("image", "text"), ("text", "last"), ("image", "all")])
@pytest.mark.parametrize("name", LAYOUTS)
def test_a_cut_is_an_explicit_mask_on_hugging_face(name, keys, rows):
    vlm, inputs = loaded(name, 2)
    if rows == "all" and inputs.layouts[0].kinds[np.flatnonzero(inputs.attention_mask[0])[0]] == "image":
        pytest.skip("the first row sees the image alone")
    layers = range(vlm.cfg.n_layers)[-1:]
    for own in (layers, range(vlm.cfg.n_layers)):
        got = cut(vlm, inputs, Knockout(keys, rows=rows, layers=tuple(own)))
        wanted = masked(vlm, inputs, edges_of(inputs, keys, rows), own)
        close(vlm, inputs, got, wanted)
    assert (got[:, -1] - vlm(inputs).logits[:, -1]).abs().amax(-1).min() > 1e-4  # so that there is something to see


@pytest.mark.parametrize("model", [("clip", 2, "sdpa"), ("siglip", 2, "eager")], ids=str)
def test_heads_are_query_heads_where_keys_are_shared(model):
    vlm, inputs, untouched = case(*model, dtype=torch.float32)
    edges = edges_of(inputs, "image", "after_image")
    for heads in ((0,), (1, 3)):
        got = cut(vlm, inputs, Knockout("image", rows="after_image", heads=heads, layers=(0, 2)))
        close(vlm, inputs, got, masked(vlm, inputs, edges, (0, 2), heads))
        assert not torch.allclose(got[:, -1], untouched[:, -1], atol=1e-3)


def test_rows_and_keys_by_position_and_by_image_token():
    vlm, inputs, _ = case("clip", 2, "sdpa", dtype=torch.float32)
    length = inputs.input_ids.shape[1]
    asked = Knockout((-3, -4), rows=(-1, -2))
    edges = [(sample, row, key) for sample in range(2) for row in (-1, -2) for key in (-3, -4)]
    close(vlm, inputs, cut(vlm, inputs, asked), masked(vlm, inputs, edges, range(3)))
    assert torch.equal(
        cut(vlm, inputs, asked), cut(vlm, inputs, Knockout((length - 3, length - 4), rows=(length - 2, length - 1)))
    )
    some = Knockout("image", image_tokens=(2, 7))
    edges = [(sample, -1, layout.image_positions[token]) for sample, layout in enumerate(inputs.layouts)
             for token in (2, 7)]  # fmt: skip
    close(vlm, inputs, cut(vlm, inputs, some), masked(vlm, inputs, edges, range(3)))
    assert str(some) == "Knockout(keys=image, rows=last, layers=all, heads=all, image_tokens=2,7)"


def test_all_edges_to_some_keys_are_the_mask_that_hides_these_tokens():
    vlm, inputs, _ = case("clip", 4, "sdpa", samples=1, dtype=torch.float32)
    (layout,) = inputs.layouts
    hidden = dict(inputs.tensors) | {"attention_mask": inputs.attention_mask.clone()}
    hidden["attention_mask"][0, layout.image_positions] = 0
    hidden["position_ids"] = torch.arange(len(layout))[None]
    got = cut(vlm, inputs, Knockout("image", rows="all"))[:, layout.after_image]
    with vlm.paused():
        wanted = vlm.model(**hidden).logits[:, layout.after_image]
    torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["gemma3", "paligemma2"])
def test_rows_of_an_image_that_is_read_both_ways_lose_what_is_behind_them(name):
    vlm, inputs = loaded(name, 2)
    count = min(len(layout.image_positions) for layout in inputs.layouts)
    asked = Knockout("image", rows="image", image_tokens=(count - 1,))
    edges = [(sample, row, layout.image_positions[count - 1]) for sample, layout in enumerate(inputs.layouts)
             for row in layout.image_positions]  # fmt: skip
    every = range(vlm.cfg.n_layers)
    got, two_way = cut(vlm, inputs, asked), vlm.cfg.two_way
    close(vlm, inputs, got, masked(vlm, inputs, edges, every))
    back = [edge for edge in edges if edge[1] >= edge[2]]
    assert not torch.allclose(got, masked(vlm, inputs, back, every), atol=1e-3)
    wanted = causal(inputs, two_way)
    for sample, layout in enumerate(inputs.layouts):
        rows = np.flatnonzero(np.array(layout.kinds) != "pad")
        assert (seen_keys(layout, rows, two_way) == wanted[sample][rows].numpy()).all()


def test_a_photo_is_cut_alike_alone_and_in_a_batch_and_by_sample():
    vlm, inputs, _ = case("clip", 2, "sdpa", samples=3, dtype=torch.float32)
    asked = [Knockout("image", rows="text", image_tokens=(place,)) for place in (1, 4, 9)]
    together = cut(vlm, inputs, PerSample(tuple(asked)))[:, -1]
    for place in range(3):
        alone = vlm.prepare(tiny.photo(place), tiny.QUESTIONS[place])
        torch.testing.assert_close(together[place], cut(vlm, alone, asked[place])[0, -1], rtol=1e-4, atol=1e-4)


def test_the_last_row_goes_through_a_shared_prefill_and_earlier_rows_do_not():
    vlm, inputs, _ = case("clip", 2, "sdpa", samples=3, dtype=torch.float32)
    asked = [Knockout("image"), Knockout("text", layers=(1,)), Knockout("image", rows=(-1,), heads=(2,))]
    step = Prefix(vlm, inputs).step(asked)
    for edit, logits in zip(asked, step.logits, strict=True):
        torch.testing.assert_close(logits, cut(vlm, inputs, edit)[:, -1], rtol=1e-4, atol=1e-4)
    with pytest.raises(HookError, match="shares all rows before the last"):
        Prefix(vlm, inputs).step([Knockout("image", rows="text")])


def test_decoded_tokens_are_cut_off_where_that_is_asked_for():
    vlm, inputs, _ = case("clip", 2, "sdpa", samples=1, dtype=torch.float32)
    asked, once = Knockout("image", rows="generated"), Knockout("image")
    assert asked == Knockout("image", decode=True)
    tensors, tokens = dict(inputs.tensors), []
    image, prompt = inputs.layouts[0].image_positions, inputs.input_ids.shape[1]
    for step in range(6):
        grown = vlm.prepare(tiny.photo(0), tiny.QUESTIONS[0])
        object.__setattr__(grown, "tensors", tensors)
        object.__setattr__(grown, "layouts", (inputs.layouts[0].extended(["x"] * step),))
        edges = [(0, row, key) for row in range(prompt - 1, prompt + step) for key in image]
        tokens.append(int(masked(vlm, grown, edges, range(3))[0, -1].argmax()))
        tensors = dict(tensors) | {"input_ids": torch.cat([tensors["input_ids"], torch.tensor([[tokens[-1]]])], 1)}
        tensors["attention_mask"] = torch.ones_like(tensors["input_ids"])
    got = vlm.generate(inputs, 6, intervention=asked).tokens[0].tolist()
    assert got == tokens[: len(got)]
    (shared,) = Prefix(vlm, inputs).generate([asked], 6)
    assert shared.tokens[0].tolist() == got
    assert got != vlm.generate(inputs, 6, intervention=once).tokens[0].tolist()


def test_an_edge_that_is_cut_has_no_gradient_and_others_have_that_of_a_finite_difference():
    vlm, inputs, _ = case("clip", 2, "sdpa", samples=1)
    name, (layout,) = "blocks.2.hook_resid_pre", inputs.layouts
    step = torch.zeros(len(layout), vlm.cfg.d_model, dtype=torch.float64, requires_grad=True)

    def said(more):
        with (
            vlm.hooks([(name, lambda tensor, hook: tensor + more)]),
            vlm.intervene(Knockout("image", layers=(2,)), inputs),
        ):
            return vlm(inputs).logits[0, -1, 7]

    (found,) = torch.autograd.grad(said(step), step)
    assert found.isfinite().all() and not found[layout.image_positions].any()
    text, size = layout.after_image[0], 1e-3
    away = torch.zeros_like(step.detach())
    away[text, 3] = size
    with torch.no_grad():
        slope = (said(away) - said(-away)) / (2 * size)
    assert found[text, 3].item() == pytest.approx(slope.item(), rel=1e-2) and slope


def test_a_cut_composes_with_other_edits_in_any_order():
    vlm, inputs, _ = case("clip", 2, "sdpa", dtype=torch.float32)
    parts = (Knockout("text"), ScaleImageLogits(3.0))
    found = [cut(vlm, inputs, Chain(order)) for order in (parts, parts[::-1])]
    assert torch.equal(*found) and not torch.equal(found[0], cut(vlm, inputs, parts[0]))


def test_a_row_that_would_see_nothing_is_refused_before_the_pass():
    vlm, inputs, _ = case("clip", 2, "sdpa", samples=1, dtype=torch.float32)
    with tiny.passes(vlm) as ran:
        for asked in (Knockout((0,), rows="all"), Knockout(range(6), rows=(5, 9), heads=(0,), layers=(1,))):
            with pytest.raises(InputError, match="row .* would have no key left"), vlm.intervene(asked, inputs):
                vlm(inputs)
        assert not ran
    both, one = Knockout(range(6), rows=(6, 9)), Knockout(range(5), rows=(5,))
    assert cut(vlm, inputs, both).isfinite().all() and cut(vlm, inputs, one).isfinite().all()


def test_two_cuts_that_leave_a_row_nothing_together_are_refused_by_the_row():
    vlm, inputs, _ = case("clip", 2, "sdpa", samples=1, dtype=torch.float32)
    length = inputs.input_ids.shape[1]
    both = Chain((Knockout(range(5)), Knockout(range(5, length))))
    with vlm.intervene(both, inputs), pytest.raises(HookError, match="no key left"):
        vlm(inputs)


def test_a_row_whose_window_is_cut_away_is_refused_by_the_row():
    vlm = tiny.vlm(window=4, self_check=False)
    inputs = tiny.inputs(vlm, 1)
    with vlm.intervene(Knockout(range(-4, 0)), inputs), pytest.raises(HookError, match="out of the layer's window"):
        vlm(inputs)
    assert cut(vlm, inputs, Knockout(range(-4, -1))).isfinite().all()


def test_beams_and_returned_sequences_are_cut_as_their_own_prompt():
    vlm, inputs, _ = case("clip", 2, "sdpa", samples=2, dtype=torch.float32)
    asked = PerSample((Knockout("image", rows="text"), Knockout("image", image_tokens=(3, 4), layers=(0,))))
    wanted = cut(vlm, inputs, asked)[:, -1]
    more = {"return_dict_in_generate": True, "output_logits": True, "min_new_tokens": 2, "max_new_tokens": 2}
    with torch.no_grad(), vlm.intervene(asked, inputs):
        made = vlm.model.generate(**inputs.tensors, do_sample=False, num_beams=3, **more)
    torch.testing.assert_close(made.logits[0], wanted.repeat_interleave(3, 0), rtol=1e-4, atol=2e-4)


@pytest.mark.parametrize(
    "setting, says",
    [
        ({"keys": "images"}, "keys='images' is not understood"),
        ({"keys": ()}, "keys=.* is not understood"),
        ({"keys": (0.5,)}, "keys=.* is not understood"),
        ({"rows": "first"}, "rows='first' is not understood"),
        ({"rows": []}, "rows=.* is not understood"),
        ({"layers": ()}, "layers is empty"),
        ({"heads": ()}, "heads is empty"),
        ({"image_tokens": ()}, "image_tokens is empty"),
        ({"keys": "text", "image_tokens": (1,)}, "image_tokens=1 go with keys='image'"),
    ],
    ids=str,
)
def test_settings_that_mean_nothing_are_refused(setting, says):
    with pytest.raises(InputError, match=says):
        Knockout(**setting)


def test_what_a_model_or_a_prompt_does_not_have_is_refused_by_name():
    vlm, inputs, _ = case("clip", 2, "sdpa", samples=3, dtype=torch.float32)
    length = inputs.input_ids.shape[1]
    pad = int(np.flatnonzero(inputs.attention_mask[2] == 0)[0])
    for asked, error, says in (
        (Knockout(layers=(3,)), HookError, "layer .* does not exist"),
        (Knockout(heads=(4,)), HookError, "head .* does not exist"),
        (Knockout(image_tokens=(99,)), HookError, "image token .* does not exist"),
        (Knockout((length,)), InputError, "keys .* lie outside the prompt"),
        (Knockout(rows=(-length - 1,)), InputError, "rows .* lie outside the prompt"),
        (Knockout((pad,)), InputError, "keys .* are padding"),
        (Knockout("text", rows="image"), InputError, "would cut nothing"),
    ):
        with pytest.raises(error, match=says):
            asked.hooks(vlm.cfg, inputs.layouts)
    with vlm.intervene(Knockout(), tiny.inputs(vlm, 1)), pytest.raises(HookError, match="inputs that you run"):
        vlm(inputs)


def test_windows_are_consecutive_layers_and_those_of_the_paper_at_its_depth():
    assert layer_windows(5, 2) == {"0-1": (0, 1), "1-2": (1, 2), "2-3": (2, 3), "3-4": (3, 4)}
    assert layer_windows(2, 1) == {"0": (0,), "1": (1,)}
    named = layer_windows(32)
    assert list(named) == ["early", "early-mid", "mid", "mid-late", "late", "all"]
    ends = [(0, 9), (5, 14), (11, 20), (15, 24), (21, 31), (0, 31)]
    assert [(own[0], own[-1]) for own in named.values()] == ends
    for depth in (1, 2, 3, 12, 28, 40):
        for own in layer_windows(depth).values():
            assert own and own == tuple(range(own[0], own[-1] + 1)) and own[-1] < depth
    assert [paper_layers(depth) for depth in (12, 28, 32, 40, 1)] == [(6,), (15, 16), (17, 18), (21, 22, 23), (0,)]
    for wrong in ((0,), (3, 0), (3, 4), (3, True), (3, 1.5)):
        with pytest.raises(InputError):
            layer_windows(*wrong)
