"""Muon in float32 does what torch's does, but for the rounding of bfloat16."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from interp.training.vlm.muon import Float32Muon, orthogonal
from interp.training.vlm.optimizers import make_optimizers

SHAPES = [(24, 24), (48, 24), (24, 48), (24, 24)]


def _weights() -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(0)
    return [nn.Parameter(torch.randn(shape, generator=generator)) for shape in SHAPES]


def _give_gradients(*several: list[nn.Parameter], seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for together in zip(*several, strict=True):
        gradient = torch.randn(together[0].shape, generator=generator)
        for weight in together:
            weight.grad = gradient.clone()


def test_its_steps_are_those_of_torch_up_to_the_rounding_of_bfloat16() -> None:
    theirs, ours, before = _weights(), _weights(), _weights()
    settings = {"lr": 0.02, "weight_decay": 0.1, "momentum": 0.9}
    optimizers = torch.optim.Muon(theirs, **settings), Float32Muon(ours, **settings)
    for step in range(3):
        _give_gradients(theirs, ours, seed=step)
        for optimizer in optimizers:
            optimizer.step()
    for one, other, start in zip(theirs, ours, before, strict=True):
        assert (one - other).norm() < 0.03 * (one - start).norm()


@pytest.mark.parametrize("shape", [(3, 16, 16), (2, 40, 16), (2, 16, 40)])
def test_singular_values_come_near_one_and_singular_vectors_stay(shape: tuple[int, int, int]) -> None:
    matrices = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    u, values, v = torch.linalg.svd(orthogonal(matrices), full_matrices=False)
    assert (values[values > 0] > 0.3).all() and (values < 1.3).all()
    turned = torch.linalg.svd(matrices, full_matrices=False)
    middle = turned[0].mT @ orthogonal(matrices) @ turned[2].mT
    off = middle - torch.diag_embed(middle.diagonal(dim1=-2, dim2=-1))
    assert off.abs().max() < 1e-4
    assert u.shape[-1] == v.shape[-2] == min(shape[1:])


def test_matrices_of_one_shape_do_not_reach_each_other() -> None:
    together, alone = _weights(), _weights()
    _give_gradients(together, alone, seed=5)
    Float32Muon(together, lr=0.1).step()
    for weight in alone:
        Float32Muon([weight], lr=0.1).step()
    for one, other in zip(together, alone, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


def test_a_matrix_without_a_gradient_stays() -> None:
    weights, before = _weights(), _weights()
    _give_gradients(weights, seed=0)
    weights[0].grad = None
    Float32Muon(weights, lr=0.1).step()
    assert torch.equal(weights[0], before[0])
    assert not torch.equal(weights[1], before[1])


def test_matrices_of_layers_and_projectors_go_to_muon_and_all_else_to_adam() -> None:
    parts = nn.ModuleDict(
        {
            "projector": nn.Sequential(nn.Linear(4, 4)),
            "language": nn.ModuleDict({"layers": nn.ModuleList([nn.Linear(4, 4)]), "embed": nn.Embedding(3, 4)}),
            "places": nn.Linear(4, 4),
        }
    )
    muon, adam = make_optimizers(parts, muon=Float32Muon)
    of = {parameter: name for name, parameter in parts.named_parameters()}
    names = [{of[p] for group in one.param_groups for p in group["params"]} for one in (muon, adam)]
    assert names[0] == {"projector.0.weight", "language.layers.0.weight"}
    assert names[0] | names[1] == set(of.values())
    assert isinstance(muon, Float32Muon)
