"""Chains: several interventions at once, in the order in which they are given, alone, for each sample, and shared."""

import pytest
import tiny
import torch
from ragged import loaded

from interp import Chain, PerSample, Prefix, ScaleImageLogits, Untouched
from interp.errors import HookError, InputError
from interp.intervene.image_hooks import IMAGE_POINT
from interp.intervene.image_tokens import ScaleImageNorms, permute_image_tokens

CLIP, DOUBLE = ScaleImageNorms(clip=2.0), ScaleImageNorms(scale=2.0)
ADD, TWICE = ScaleImageLogits(1.5, mode="add"), ScaleImageLogits(2.0)
EARLIER = (-1, -2)
"""Rows of an edit that another key of hooks is kept under."""


def shown(vlm, inputs, intervention):
    """What the language model receives of the photos, and the logits, under an intervention."""
    with torch.no_grad():
        output, cache = vlm.run_with_cache(inputs, names_filter=IMAGE_POINT, intervention=intervention)
    return cache[IMAGE_POINT], output.logits


def one_by_one(vlm, inputs, *parts):
    """The same with each part given from outside, first to last: a context in a context."""
    if not parts:
        return shown(vlm, inputs, None)
    with vlm.intervene(parts[0], inputs):
        return one_by_one(vlm, inputs, *parts[1:])


@pytest.mark.parametrize("parts", [(CLIP, DOUBLE), (ADD, TWICE)], ids=["image tokens", "logits"])
def test_parts_act_in_order(parts):
    vlm, inputs = loaded("tiny-llava", 2)
    found = shown(vlm, inputs, Chain(parts))
    for tensor, wanted in zip(found, one_by_one(vlm, inputs, *parts), strict=True):
        assert torch.equal(tensor, wanted)
    turned = shown(vlm, inputs, Chain(parts[::-1]))
    assert not torch.equal(turned[1][:, -1], found[1][:, -1])  # so that there is an order to be kept
    assert str(Chain(parts)) == f"Chain({parts[0]}, {parts[1]})"


def test_image_tokens_are_clipped_and_then_doubled():
    vlm, inputs = loaded("tiny-llava", 1)
    norms = shown(vlm, inputs, Chain((CLIP, DOUBLE)))[0].norm(dim=-1)
    assert norms.max() == pytest.approx(4.0) and shown(vlm, inputs, Chain((DOUBLE, CLIP)))[0].norm(dim=-1).max() < 2.01


@pytest.mark.parametrize("edit", [DOUBLE, CLIP, ScaleImageNorms(target=1.5)], ids=str)
@pytest.mark.parametrize("name", ["tiny-llava", "tiny-pixtral", "tiny-llava_next"])
def test_a_length_and_a_place_may_change_in_any_order(name, edit):
    vlm, inputs = loaded(name, 2)
    moved = permute_image_tokens(inputs.grids, 3)
    found = shown(vlm, inputs, Chain((edit, moved)))
    for tensor, wanted in zip(found, shown(vlm, inputs, Chain((moved, edit))), strict=True):
        assert torch.equal(tensor, wanted)
    assert not torch.equal(found[0], shown(vlm, inputs, edit)[0])


def test_a_chain_of_what_changes_nothing_leaves_every_bit():
    vlm, inputs = loaded("tiny-llava", 2)
    nothing = Chain((Untouched(), ScaleImageNorms(scale=1), Chain([ScaleImageLogits(1.0)])))
    assert nothing.hooks(vlm.cfg, inputs.layouts) == [] and nothing == Chain(list(nothing.parts))
    assert torch.equal(shown(vlm, inputs, nothing)[1], vlm(inputs).logits)


def test_each_sample_keeps_the_order_of_its_own_chain():
    vlm, inputs, _ = tiny.case("siglip", 4, "sdpa", samples=3)
    wide = ScaleImageLogits(2.0, rows=EARLIER)
    chains = (Chain((ADD, wide, ADD)), Chain((wide, ADD)), Chain((DOUBLE, ADD, CLIP)))
    together = shown(vlm, inputs, PerSample(chains))[1][:, -1]
    for sample, chain in enumerate(chains):
        alone = one_by_one(vlm, inputs, *chain.parts)[1][sample, -1]
        torch.testing.assert_close(together[sample], alone, rtol=1e-9, atol=1e-9)


def test_a_shared_prefill_takes_chains_also_of_one_part_for_each_sample():
    vlm, inputs, _ = tiny.case("siglip", 4, "sdpa", samples=3)
    chain = Chain((ADD, PerSample((TWICE, Untouched(), ADD))))
    step = Prefix(vlm, inputs).step([Untouched(), chain])
    torch.testing.assert_close(step.logits[1], shown(vlm, inputs, chain)[1][:, -1].float(), rtol=1e-5, atol=1e-5)
    with pytest.raises(HookError, match="Prefix shares all rows before the last"):
        Prefix(vlm, inputs).step([Chain((ADD, DOUBLE))])
    with pytest.raises(InputError, match="2 interventions for 3 samples"):
        Prefix(vlm, inputs).step([Chain((ADD, PerSample((ADD, ADD))))])


@pytest.mark.parametrize("several", [Chain, PerSample])
@pytest.mark.parametrize("parts", [(), ADD, (ADD, "mul"), None, 1, Untouched, (Untouched, ADD)], ids=repr)
def test_what_is_no_list_of_interventions_is_refused(parts, several):
    with pytest.raises(InputError, match=several.__name__):
        several(parts)


def test_a_list_of_interventions_may_be_drawn_once():
    assert PerSample(each for each in (ADD, TWICE)).parts == Chain(each for each in (ADD, TWICE)).parts
