"""Tiny models are the same in every process and at every build, and building one leaves no trace in torch."""

import random
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from interp.planted.lines import build_line_model
from interp.planted.llava import build_planted
from interp.zoo.seeded import seeded
from interp.zoo.tiny import TINY, build_tiny

DRAWN = ("tiny-llava", "tiny-gemma3", "tiny-glm4v")
"""Of towers some of whose tensors transformers draws from torch's own generator, and of one without."""


def state(name, seed=0):
    return build_tiny(name, seed=seed)[0].state_dict()


def differing(one, other):
    return [key for key in one if not torch.equal(one[key], other[key]) or one[key].dtype != other[key].dtype]


@pytest.mark.parametrize("name", TINY)
def test_the_weights_depend_on_the_seed_alone(name):
    torch.manual_seed(7)
    one, kept = state(name), torch.get_rng_state()
    torch.manual_seed(8)
    other = state(name)
    assert differing(one, other) == []
    torch.manual_seed(7)
    assert torch.equal(torch.get_rng_state(), kept)
    another = state(name, seed=1)
    assert not all(torch.equal(one[key], another[key]) for key in one)


@pytest.mark.parametrize("name", DRAWN)
def test_neither_the_default_dtype_nor_the_default_device_matters(name):
    wanted = state(name)
    for kind in (torch.float64, torch.bfloat16):
        torch.set_default_dtype(kind)
        try:
            assert differing(state(name), wanted) == [] and torch.get_default_dtype() == kind
        finally:
            torch.set_default_dtype(torch.float32)
    with torch.device("meta"):
        built = state(name)
        assert torch.empty(1).is_meta
    assert differing(built, wanted) == []
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
        assert differing(state(name), wanted) == []


@pytest.mark.parametrize("name", DRAWN)
def test_builds_in_several_threads_are_the_same(name):
    wanted = [state(name, seed) for seed in range(2)]
    with ThreadPoolExecutor(4) as pool:
        built = list(pool.map(lambda place: state(name, place % 2), range(12)))
    assert [differing(own, wanted[place % 2]) for place, own in enumerate(built)] == [[]] * 12


def test_no_generator_is_touched(monkeypatch):
    told = []
    monkeypatch.setattr(torch.cuda, "manual_seed_all", told.append)  # what torch.manual_seed does to all devices
    random.seed(3), np.random.seed(3), torch.manual_seed(3)
    told.clear()
    before = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()
    for name in DRAWN:
        build_tiny(name)
    assert (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()) == before
    assert told == []


@pytest.mark.parametrize("build, name", [(build_planted, "planted-object"), (build_line_model, "planted-encoder")])
def test_models_that_are_set_by_hand_leave_generators_alone_too(build, name):
    torch.manual_seed(4)
    before, one = torch.get_rng_state(), build(name)[0].state_dict()
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(9)
    assert differing(one, build(name)[0].state_dict()) == []


def test_all_comes_back_after_an_error():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    with pytest.raises(ValueError, match="stop"), seeded(0):
        torch.rand(3)
        raise ValueError("stop")
    assert torch.equal(torch.get_rng_state(), before) and torch.get_default_dtype() == torch.float32
    with seeded(1), seeded(2):  # the same thread may come again
        inner = torch.rand(2)
    with seeded(2):
        assert torch.equal(torch.rand(2), inner)
