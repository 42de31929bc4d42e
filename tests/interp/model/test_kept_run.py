"""A kept run: what goes on from a layer slot is what a whole run under the same hooks says, to the bit."""

import pytest
import torch
from ragged import loaded
from towers_seen import tower_runs

from interp.errors import HookError, InputError
from interp.hooks.towers import submodule, text_tower
from interp.intervene.patch import slot_point
from interp.model.kept_run import KeptRun
from interp.zoo.tiny import TINY


def shifted(tensor, *, hook):
    """Other rows of each sample."""
    edited = tensor.clone()
    edited[0, [-3, -1]] += 0.5
    edited[1, 4:9] -= 0.25
    return edited


@pytest.mark.parametrize("name", TINY)
def test_a_run_from_every_slot_is_the_whole_run_under_the_same_hooks_to_the_bit(name):
    vlm, inputs = loaded(name, 2)
    layers = vlm.cfg.n_layers
    run = KeptRun.capture(vlm, inputs)
    with torch.no_grad():
        plain = vlm(inputs, logits_to_keep=1).logits[:, -1].float()
        assert torch.equal(run.logits, plain)
        for slot in range(layers + 1):
            assert torch.equal(run.onward(slot), plain)
            hooks = [(slot_point(slot, layers), shifted)]
            whole = vlm.run_with_hooks(inputs, fwd_hooks=hooks, logits_to_keep=1).logits[:, -1].float()
            assert torch.equal(run.onward(slot, hooks), whole) and not torch.equal(whole, plain)
        assert torch.equal(vlm(inputs, logits_to_keep=1).logits[:, -1].float(), plain)


@pytest.mark.parametrize("name", ("tiny-llava", "tiny-gemma3", "tiny-pixtral", "tiny-qwen3_vl"))
def test_blocks_in_front_of_the_slot_and_the_tower_are_not_run(name):
    vlm, inputs = loaded(name, 2)
    run = KeptRun.capture(vlm, inputs, [2])
    ran = []
    attentions = [block.self_attn for block in submodule(vlm.model, text_tower(vlm.model, vlm.family).blocks)]
    notes = [own.register_forward_pre_hook(lambda *_, at=at: ran.append(at)) for at, own in enumerate(attentions)]
    with tower_runs(vlm) as calls:
        run.onward(2, [("blocks.2.hook_attn_out", shifted)])
    for note in notes:
        note.remove()
    assert ran == [2] and not calls


def test_hooks_in_front_of_the_slot_and_slots_that_are_not_there_are_refused_and_leave_nothing_behind():
    vlm, inputs = loaded("tiny-llava", 2)
    run = KeptRun.capture(vlm, inputs, [1])
    with pytest.raises(HookError, match=r"blocks.0.hook_mlp_out lies in front of slot 1"):
        run.onward(1, [("blocks.0.hook_mlp_out", shifted)])
    with pytest.raises(InputError, match="slot 2 was not kept"):
        run.onward(2)
    for slot in (-1, 4, True, 1.0):
        with pytest.raises(InputError, match="does not exist: a model of 3 blocks"):
            KeptRun.capture(vlm, inputs, [slot])
    with pytest.raises(InputError, match="no layer slot is named"):
        KeptRun.capture(vlm, inputs, [])

    def breaks(tensor, *, hook):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run.onward(1, [("blocks.1.hook_resid_pre", breaks)])
    with torch.no_grad():
        assert torch.equal(vlm(inputs, logits_to_keep=1).logits[:, -1].float(), run.logits)


def test_a_hook_that_edits_in_place_leaves_what_was_kept_and_points_behind_the_blocks_are_reached():
    vlm, inputs = loaded("tiny-llava", 2)
    run = KeptRun.capture(vlm, inputs, [1])
    kept = run.stream[1].clone()

    def zeroed(tensor, *, hook):
        return tensor.zero_()

    assert not torch.equal(run.onward(1, [("blocks.1.hook_resid_pre", zeroed)]), run.logits)
    assert torch.equal(run.stream[1], kept) and torch.equal(run.onward(1), run.logits)
    for name in ("ln_final.hook_normalized", "blocks.2.hook_resid_post"):
        assert not torch.equal(run.onward(1, [(name, shifted)]), run.logits)
