"""Tiny models are the same in every process and at every build."""

import pytest
import torch

from interp.zoo.tiny import TINY, build_tiny


@pytest.mark.parametrize("name", TINY)
def test_the_weights_depend_on_the_seed_alone(name):
    torch.manual_seed(7)
    one, state = build_tiny(name)[0].state_dict(), torch.get_rng_state()
    torch.manual_seed(8)
    other = build_tiny(name)[0].state_dict()
    assert [key for key in one if not torch.equal(one[key], other[key])] == []
    torch.manual_seed(7)
    assert torch.equal(torch.get_rng_state(), state)
    another = build_tiny(name, seed=1)[0].state_dict()
    assert not all(torch.equal(one[key], another[key]) for key in one)
