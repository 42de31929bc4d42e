"""What is no intervention, no index and no truth value is refused by name, whichever intervention it is given to."""

import numpy as np
import pytest
import tiny
import torch
from ragged import loaded

from interp import (
    AmplifyImageTokens,
    HookedVLM,
    Knockout,
    Patch,
    Prefix,
    ReplaceImageTokens,
    ScaleImageLogits,
    Steer,
    Untouched,
)
from interp.errors import HookError, InputError

PRE = "blocks.1.hook_resid_pre"
CLASSES = (Patch, Steer, Knockout, ReplaceImageTokens, AmplifyImageTokens, ScaleImageLogits, Untouched)
MASK = np.array([True, False, True])


@pytest.mark.parametrize("given", [*CLASSES, 1, "last", [Untouched()], np.zeros(3)], ids=str)
def test_what_is_no_intervention_is_refused_before_the_pass(given):
    vlm, inputs = loaded("tiny-llava", 1)
    name = given.__name__ if isinstance(given, type) else "is no intervention"
    for run in (
        lambda: vlm.run_with_hooks(inputs, intervention=given),
        lambda: vlm.run_with_cache(inputs, intervention=given),
        lambda: vlm.generate(inputs, 1, intervention=given),
        lambda: vlm.intervene(given, inputs).__enter__(),
        lambda: Prefix(vlm, inputs).step([Untouched(), given]),
        lambda: Prefix(vlm, inputs).generate([given]),
    ):
        with pytest.raises(InputError, match=name):
            run()


def steered(**settings):
    return Steer(torch.ones(32), 1.0, **settings)


def replaced(**settings):
    return ReplaceImageTokens(torch.ones(16, 32), **settings)


def patched(positions):
    return Patch(PRE, positions, torch.ones(2, 2, 32))


@pytest.mark.parametrize("mask", [MASK, torch.tensor(MASK), MASK.tolist(), list(torch.tensor(MASK))], ids=type)
@pytest.mark.parametrize(
    "make",
    [
        lambda mask: steered(layers=mask),
        lambda mask: steered(positions=mask),
        lambda mask: patched(mask),
        lambda mask: patched([mask, mask]),
        lambda mask: Patch("blocks.1.attn.hook_z", "last", torch.ones(2, 1, 4, 8), heads=mask),
        lambda mask: Knockout(layers=mask),
        lambda mask: Knockout(heads=mask),
        lambda mask: Knockout(image_tokens=mask),
        lambda mask: Knockout(keys=mask),
        lambda mask: Knockout(rows=mask),
        lambda mask: ScaleImageLogits(0.5, rows=mask),
        lambda mask: ScaleImageLogits(0.5, image_tokens=mask),
        lambda mask: replaced(slots=mask),
        lambda mask: replaced(slots=mask, sources=(0, 1, 2)),
        lambda mask: replaced(slots=(0, 1, 2), sources=mask),
    ],
)
def test_a_mask_is_not_taken_for_the_indices_0_and_1(make, mask):
    with pytest.raises(InputError, match="not understood"):
        make(mask)


@pytest.mark.parametrize("given", [np.array, torch.tensor, list, tuple, lambda own: (int(one) for one in own)])
def test_indices_come_in_any_kind_of_list(given):
    assert steered(layers=given([2, 0])).layers == (0, 2)
    assert steered(positions=given([-1, -2])).positions == patched(given([-1, -2])).positions == (-1, -2)
    cut = Knockout(given([-3, -2]), given([-1, -2]), layers=given([1]), heads=given([0]))
    assert cut == Knockout((-3, -2), (-1, -2), layers=(1,), heads=(0,))
    assert Knockout(image_tokens=given([1, 2])).image_tokens == (1, 2)
    assert ScaleImageLogits(0.5, rows=given([-1, -2])).rows == (-1, -2)
    both = replaced(slots=given([1, 0]), sources=given([2, 3]))
    assert (both.slots, both.sources) == ((1, 0), (2, 3))


@pytest.mark.parametrize("number", [0, np.int64(0), 1.5, "01"], ids=repr)
def test_a_single_number_is_no_list_of_slots(number):
    with pytest.raises(InputError, match=r"(slots|sources)=.* is not understood"):
        replaced(slots=number, sources=number)
    with pytest.raises(InputError, match=r"sources=.* is not understood"):
        replaced(slots=(0,), sources=number)


@pytest.mark.parametrize("given", ["no", None, 1, [False]], ids=repr)
def test_a_flag_is_true_or_false(given):
    for make in (
        lambda: steered(decode=given),
        lambda: Knockout(decode=given),
        lambda: ScaleImageLogits(0.5, decode=given),
        lambda: Patch(PRE, "last", torch.ones(1, 1, 32), over_deepstack=given),
    ):
        with pytest.raises(InputError, match="give True or False"):
            make()
    assert steered(decode=np.True_).decode is True


def test_values_that_the_model_can_not_hold_are_refused():
    vlm, inputs = loaded("tiny-llava", 1)
    with pytest.raises(HookError, match=r"out of the range of torch\.float32"):
        vlm.run_with_hooks(inputs, intervention=ReplaceImageTokens(torch.full((16, 32), 1e300, dtype=torch.float64)))
    half = HookedVLM.from_pretrained("tiny-llava", self_check=False, dtype=torch.float16)
    with pytest.raises(HookError, match=r"out of the range of torch\.float16"):
        half.run_with_hooks(
            half.prepare(tiny.photo(0), "Where is the mug?", prompt="paper"),
            intervention=ReplaceImageTokens(torch.full((32,), 1e5)),
        )


@pytest.mark.parametrize("mode", ["rescale", "additive"])
@pytest.mark.parametrize("size", [1e30, 1e-30, 1e-12])
def test_directions_whose_squares_are_out_of_range_are_refused(size, mode):
    with pytest.raises(InputError, match="its square is out of range"):
        AmplifyImageTokens(torch.eye(32)[:, :2] * size, 1.0, mode)
