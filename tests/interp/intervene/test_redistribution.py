"""RedistributeAttention gives what image-centric heads spend on sinks to the rest of the image, key by key."""

import numpy as np
import pytest
import tiny
import torch
from heads_by_hand import check_scope, head_by_head, heads_by_hand, named_rows, under
from ragged import loaded

from interp import Chain, HookedVLM, PerSample, Prefix, RedistributeAttention, ScaleHeads, Untouched
from interp.errors import HookError, InputError
from interp.hooks.shape import ModelShape
from interp.intervene.redistribution import image_centric, redistributed
from interp.prompt.layout import TokenLayout
from interp.zoo.tiny import TINY

HEADS = ((1, 0), (1, 3), (1, 1))


def sinks_of(inputs, places=((1, 2), (0, 3, 5))):
    """Image tokens that are taken for sinks, bool [image_token] of each sample."""
    found = [np.zeros(len(layout.image_positions), dtype=bool) for layout in inputs.layouts]
    for own, places_of in zip(found, places, strict=False):
        own[list(places_of)] = True
    return found


def naive(row, image, sinks, p):
    """One row of attention, key by key."""
    freed = sum((1 - p) * row[key] for key in sinks)
    rest = [key for key in image if key not in sinks]
    there = sum(row[key] for key in rest)
    if there == 0:
        return list(row)
    new = list(row)
    for key in sinks:
        new[key] = row[key] * p
    for key in rest:
        new[key] = row[key] + freed * row[key] / there
    return new


def naive_centric(row, image, sinks, rho, least):
    on_image = sum(row[key] for key in image)
    return on_image >= least and sum(row[key] for key in image if key not in sinks) >= rho * on_image


def keys_of(layout, sinks):
    image = layout.image_positions.tolist()
    first = next(at for at, kind in enumerate(layout.kinds) if kind != "pad")
    return image, [key for key, own in zip(image, sinks, strict=True) if own] + [first] * (first not in image)


def test_the_rows_of_the_sheet():
    row = torch.tensor([0.05, 0.35, 0.10, 0.20, 0.10, 0.20], dtype=torch.float64)
    image, sinks = torch.tensor([0, 1, 1, 1, 0, 0]).bool(), torch.tensor([1, 1, 0, 0, 0, 0]).bool()
    new = redistributed(row, image, sinks, 0.6)
    wanted = [0.03, 0.21, 0.10 + 0.16 / 3, 0.20 + 0.32 / 3, 0.10, 0.20]
    torch.testing.assert_close(new, torch.tensor(wanted, dtype=torch.float64))
    assert new.round(decimals=4).tolist() == [0.03, 0.21, 0.1533, 0.3067, 0.10, 0.20]
    assert float(new.sum()) == pytest.approx(1, abs=1e-12)
    share = 0.3 / 0.65
    assert share == pytest.approx(0.4615, abs=5e-5)
    assert image_centric(row, image, sinks, rho=share - 1e-9) and not image_centric(row, image, sinks, rho=share + 1e-9)
    assert not image_centric(row, image, sinks, rho=0.1, least=0.66)


def test_rows_are_those_of_a_loop_and_keep_their_sum():
    rng = torch.Generator().manual_seed(0)
    rows = torch.rand(50, 12, generator=rng, dtype=torch.float64) ** 4
    rows = rows / rows.sum(-1, keepdim=True)
    for place in range(50):
        image, sinks = (torch.rand(12, generator=rng) < share for share in (0.5, 0.3))
        own = [one.nonzero().flatten().tolist() for one in (image, sinks)]
        new = redistributed(rows[place], image, sinks, 0.3)
        np.testing.assert_allclose(new, naive(rows[place].tolist(), *own, 0.3), rtol=1e-12)
        assert float(new.sum()) == pytest.approx(1)
        found = bool(image_centric(rows[place], image, sinks, rho=0.6, least=0.3))
        assert found == naive_centric(rows[place].tolist(), *own, 0.6, 0.3)


def test_a_row_with_nothing_to_give_to_stays_as_it_is():
    row, image = torch.tensor([0.5, 0.5, 0.0]), torch.tensor([False, True, True])
    assert torch.equal(redistributed(row, image, torch.tensor([True, True, False]), 0.5), row)


def by_hand(vlm, inputs, layer, heads, sinks, p, rows, chosen=lambda row, image, sinks: True):
    """Logits of the plain model where z of some rows is mixed anew, key by key, from the values of a kept run."""
    names = [f"blocks.{layer}.attn.hook_pattern", f"blocks.{layer}.attn.hook_v"]
    with torch.no_grad():
        cache = vlm.run_with_cache(inputs, names_filter=names, query_rows="all")[1]
    pattern, v = cache[names[0]], cache[names[1]]
    shared = vlm.cfg.n_heads // v.shape[2]

    def mixed(sample, k, z, at):
        head = heads[k][1]
        row, (image, own) = pattern[sample, head, at].tolist(), keys_of(inputs.layouts[sample], sinks[sample])
        if not chosen(row, image, own):
            return z
        new = naive(row, image, own, p)
        return sum(weight * v[sample, key, head // shared] for key, weight in enumerate(new)).to(z.dtype)

    def edit(layer_now, start, z):
        for sample in range(len(z)):
            for at in rows[sample]:
                one = head_by_head(
                    heads,
                    lambda s, k, own, at=at: mixed(s, k, own, at),
                    lambda s, place, sample=sample, at=at: (s, place) == (sample, at),
                )
                one(layer_now, start, z)

    with torch.no_grad(), heads_by_hand(vlm, edit) as model:
        return model(**inputs.tensors, use_cache=False).logits


@pytest.mark.parametrize("name", TINY)
def test_redistribution_is_a_loop_over_keys_on_hugging_faces_own_modules(name):
    vlm, inputs = loaded(name, 2)
    there, heads = inputs.attention_mask.bool(), [one for one in HEADS if one[1] < vlm.cfg.n_heads]
    sinks, last = sinks_of(inputs), inputs.input_ids.shape[1] - 1
    before = under(vlm, inputs, Untouched())
    for positions, rows in (("last", [[last]] * 2), (((-1, -3), (-2, -1)), [[last, last - 2], [last - 1, last]])):
        edit = RedistributeAttention(sinks, 0.2, heads=heads, positions=positions)
        found = under(vlm, inputs, edit)
        wanted = by_hand(vlm, inputs, 1, heads, sinks, 0.2, rows)
        torch.testing.assert_close(found[there], wanted[there], rtol=0, atol=2 * tiny.rounding(vlm))
        assert (found - before)[:, -1].abs().amax(-1).min() > 1e-6


@pytest.mark.parametrize("name", ["tiny-llava", "tiny-qwen2_5_vl", "tiny-gemma3"])
def test_heads_that_are_image_centric_are_found_row_by_row(name):
    vlm, inputs = loaded(name, 2)
    there, sinks = inputs.attention_mask.bool(), sinks_of(inputs)
    every = [(1, head) for head in range(vlm.cfg.n_heads)]
    last = inputs.input_ids.shape[1] - 1
    rows = [[last, last - 1, last - 2]] * 2
    seen = []
    pattern = "blocks.1.attn.hook_pattern"
    kept = vlm.run_with_cache(inputs, names_filter=pattern, query_rows=rows[0])[1][pattern].detach()
    shares = []
    for sample in range(2):
        image, own = keys_of(inputs.layouts[sample], sinks[sample])
        rest = [key for key in image if key not in own]
        shares += (kept[sample][..., rest].sum(-1) / kept[sample][..., image].sum(-1)).flatten().tolist()
    rho = float(np.median(shares)) + 1e-6  # so that about half of them are

    def chosen(row, image, own):
        seen.append(naive_centric(row, image, own, rho, 0.05))
        return seen[-1]

    edit = RedistributeAttention(sinks, 0.2, layers=(1,), rho=rho, least=0.05, positions=(-1, -2, -3))
    wanted = by_hand(vlm, inputs, 1, every, sinks, 0.2, rows, chosen)
    torch.testing.assert_close(under(vlm, inputs, edit)[there], wanted[there], rtol=0, atol=2 * tiny.rounding(vlm))
    assert 0 < sum(seen) < len(seen)


@pytest.mark.parametrize("scope", ["prompt", "decode", "both"])
def test_a_scope_is_the_passes_that_it_names_also_for_beams(scope):
    vlm, inputs = loaded("tiny-llava", 2)
    sinks = [~own for own in sinks_of(inputs)]
    heads = [(layer, head) for layer in range(3) for head in range(4)]
    edit = RedistributeAttention(sinks, 0, heads=heads, scope=scope)

    def redistributed_by_loops(pattern, hook):
        new = pattern.clone()
        for row in named_rows(hook.now, pattern.shape[2], inputs.input_ids.shape[1], scope):
            for sample in range(len(pattern)):
                own = sample // (len(pattern) // 2)
                for head in range(4):
                    keys = keys_of(inputs.layouts[own], sinks[own])
                    new[sample, head, row] = torch.tensor(naive(pattern[sample, head, row].tolist(), *keys, 0))
        return new

    check_scope(vlm, inputs, edit, "attn.hook_pattern", redistributed_by_loops, scope)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_sinks_that_keep_all_put_no_hook_on(dtype):
    vlm = HookedVLM.from_pretrained("tiny-llava", self_check=False, dtype=dtype)
    inputs = vlm.prepare(tiny.photo(0), "Where is the mug?")
    edit = RedistributeAttention(sinks_of(inputs), 1, heads=HEADS, positions="all")
    assert edit.hooks(vlm.cfg, inputs.layouts) == []
    assert torch.equal(under(vlm, inputs, edit), under(vlm, inputs, Untouched()))
    strong = under(vlm, inputs, RedistributeAttention(sinks_of(inputs), 0, heads=HEADS))
    assert strong.dtype == dtype and not torch.equal(strong, under(vlm, inputs, Untouched()))


@pytest.mark.parametrize("name", ["tiny-llava", "tiny-qwen3_vl", "tiny-gemma3"])
def test_redistribution_goes_through_a_shared_prefill(name):
    vlm, inputs = loaded(name, 2)
    heads, sinks = [(1, 0), (0, 1)], sinks_of(inputs)
    many = [
        Untouched(),
        RedistributeAttention(sinks, 0, heads=heads),
        RedistributeAttention(sinks, 0.3, layers=(0, 1), rho=0, least=0),
        Chain((RedistributeAttention(sinks, 0, heads=heads), ScaleHeads(heads, 2))),
    ]
    prefix = Prefix(vlm, inputs)
    for found, edit in zip(prefix.step(many).logits, many, strict=True):
        torch.testing.assert_close(found, under(vlm, inputs, edit)[:, -1], rtol=1e-5, atol=tiny.rounding(vlm))
    for answer, edit in zip(prefix.generate(many, 4), many, strict=True):
        assert answer.texts == vlm.generate(inputs, 4, intervention=edit).texts


def test_layers_that_are_looked_at_by_default_are_not_the_first_two_or_the_last():
    shape = ModelShape(n_layers=6, n_heads=2, n_kv_heads=2, d_model=8, d_head=4, d_vocab=9)
    layout = TokenLayout(("bos", "image", "image", "question"), ("<s>", "<i>", "<i>", "where"))
    sinks = np.zeros((6, 2), dtype=bool)
    sinks[[0, 3, 5], 0] = True
    names = [name for name, _ in RedistributeAttention(sinks).hooks(shape, [layout])]
    assert names == [f"blocks.{layer}.attn.hook_pattern" for layer in (2, 3, 4) for _ in range(2)]
    alone = RedistributeAttention(sinks, text_sinks=None, scope="prompt").hooks(shape, [layout])
    assert [name for name, _ in alone] == ["blocks.3.attn.hook_pattern"]


def test_one_of_each_is_that_of_the_batch_and_sinks_may_be_of_each_layer():
    vlm, inputs = loaded("tiny-llava", 2)
    sinks = sinks_of(inputs)
    edit = RedistributeAttention(sinks, 0, heads=HEADS, positions=((-1, -2), (-1,)), text_sinks=((-4,), (-5,)))
    assert torch.equal(under(vlm, inputs, edit), under(vlm, inputs, PerSample(tuple(edit.of_each(2)))))
    layers = [np.stack([np.zeros_like(own), own, np.zeros_like(own)]) for own in sinks]
    found = under(vlm, inputs, RedistributeAttention(layers, 0, heads=HEADS))
    assert torch.equal(found, under(vlm, inputs, RedistributeAttention(sinks, 0, heads=HEADS)))


def test_gradients_flow_through_redistributed_rows():
    vlm, inputs = loaded("tiny-llava", 2)
    start = torch.zeros(vlm.cfg.d_model, requires_grad=True)
    edit = RedistributeAttention(sinks_of(inputs), 0.3, heads=HEADS)

    def score(moved):
        with vlm.hooks([("blocks.1.hook_resid_pre", lambda t, hook: t + moved)]):
            return vlm.run_with_hooks(inputs, intervention=edit).logits[:, -1, 5].double().sum()

    (own,) = torch.autograd.grad(score(start), start)
    step = torch.zeros(vlm.cfg.d_model)
    step[3] = 1e-2
    with torch.no_grad():
        wanted = float(score(step) - score(-step)) / 2e-2
    assert float(own[3]) == pytest.approx(wanted, rel=3e-2, abs=1e-3)


SINKS = np.array([True, False, False])


@pytest.mark.parametrize(
    "given, match",
    [
        ({"sinks": np.array([0, 1, 0])}, "give bool"),
        ({"sinks": None}, "give bool"),
        ({"sinks": []}, "give bool"),
        ({"sinks": [SINKS, np.array([0.5])]}, "give bool"),
        ({"p": True}, "not a finite number"),
        ({"p": float("nan")}, "not a finite number"),
        ({"p": 1.5}, "p=1.5 is no share"),
        ({"p": -0.1}, "is no share"),
        ({"rho": 2}, "rho=2 is no share"),
        ({"least": -1}, "least=-1 is no share"),
        ({"heads": [(1, 0)], "rho": 0.5}, "rho choose heads, which are given"),
        ({"heads": [(1, 0)], "layers": (1,)}, "layers choose heads, which are given"),
        ({"heads": []}, "names no head"),
        ({"heads": [(1, 0), (1, 0)]}, "twice"),
        ({"layers": ()}, "layers is empty"),
        ({"text_sinks": "bos"}, "is not known"),
        ({"text_sinks": ()}, "empty set"),
        ({"scope": "answer"}, "use one of prompt, decode, both"),
    ],
    ids=str,
)
def test_what_means_nothing_is_refused(given, match):
    with pytest.raises(InputError, match=match):
        RedistributeAttention(**{"sinks": SINKS, **given})


def test_what_does_not_fit_the_batch_is_refused_before_a_pass():
    vlm, inputs = loaded("tiny-llava", 2)
    sinks, first = sinks_of(inputs), int(inputs.layouts[0].image_positions[0])
    for p in (0.5, 1):
        for given, error, match in (
            ({"sinks": SINKS}, InputError, "image tokens and"),
            ({"sinks": [np.tile(own, (7, 1)) for own in sinks]}, InputError, "3 layers"),
            ({"sinks": sinks[:1]}, InputError, "sinks of 1"),
            ({"sinks": [own & False for own in sinks], "text_sinks": None}, InputError, "there is no sink"),
            ({"heads": [(0, 9)]}, HookError, "does not exist"),
            ({"heads": None}, InputError, "name layers"),
            ({"text_sinks": ((first,), (-1,))}, InputError, "are image tokens"),
            ({"positions": (0,)}, InputError, "are padding"),
        ):
            edit = RedistributeAttention(**{"sinks": sinks, "heads": HEADS, "p": p, **given})
            with tiny.passes(vlm) as shapes, pytest.raises(error, match=match):
                vlm.run_with_hooks(inputs, intervention=edit)
            assert not shapes


def test_redistribution_prints_as_its_settings_in_one_short_line():
    rule, given = RedistributeAttention(SINKS), RedistributeAttention([SINKS] * 2, 0.5, heads=HEADS, text_sinks=None)
    where = "text_sinks=first, positions=last, scope=both)"
    assert str(rule).startswith("RedistributeAttention(sinks=[3] ")
    assert str(rule).endswith(f", p=0.6, heads=image-centric, layers=default, rho=0.8, least=0.2, {where}")
    assert repr(given) == str(given) and str(given).startswith("RedistributeAttention(sinks=[3], [3] ")
    assert str(given).endswith(", p=0.5, heads=L1H0-1,3, text_sinks=None, positions=last, scope=both)")
    assert str(rule) != str(RedistributeAttention(SINKS[::-1]))
