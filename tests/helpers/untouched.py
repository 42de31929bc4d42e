"""A tool leaves the model as it was: the same numbers and no hook, also where the pass breaks off."""

import pytest
import tiny
import torch


def fail(module, args):
    raise RuntimeError("broken")


def check_untouched(measure):
    """Run `measure(vlm, inputs)` whole and broken off in the second layer, and see nothing stay behind."""
    vlm = tiny.vlm()
    inputs = tiny.inputs(vlm, 2)
    with torch.no_grad():
        before = vlm(inputs).logits
        measure(vlm, inputs)
        broken = vlm.text_attentions[1].register_forward_pre_hook(fail)
        with pytest.raises(RuntimeError, match="broken"):
            measure(vlm, inputs)
        broken.remove()
        assert torch.equal(vlm(inputs).logits, before)
    assert not any(point.has_hooks() for point in vlm.hook_dict.values())
