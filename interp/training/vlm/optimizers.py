"""Optimisers of the embedded VLM's training: Muon and AdamW side by side, their rates, and one step of both."""

from __future__ import annotations

import ctypes
import platform
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from interp.training.vlm.muon import Float32Muon


def make_optimizers(
    module: nn.Module, *, muon: Callable[..., torch.optim.Muon | Float32Muon] = torch.optim.Muon
) -> tuple[torch.optim.Optimizer, torch.optim.AdamW]:
    """Muon for the matrices inside transformer layers and projectors, AdamW for words, readers and vectors.

    Muon is what makes binding learnable in minutes: with AdamW alone the model stays at chance for thousands of steps.

    Args:
        module: what is trained. A projector's matrices are known by `linear_` in their names, or by the name
            `projector` of the part.
        muon: which Muon.
    """
    named = dict(module.named_parameters())
    inside = {name for name, p in named.items() if p.ndim == 2 and _is_inside(name)}
    matrices = muon([named[name] for name in named if name in inside], weight_decay=0.01, momentum=0.95)
    rest = [p for name, p in named.items() if name not in inside]
    return matrices, torch.optim.AdamW(rest, betas=(0.9, 0.95), weight_decay=0.05, fused=True)


def set_rates(
    optimizers: Sequence[torch.optim.Optimizer],
    full: Sequence[float],
    step: int,
    steps: int,
    *,
    warm_up: int,
    cool_down: float,
) -> None:
    """Warm up linearly, hold, and at the end of the stage fall linearly to zero.

    Args:
        optimizers: whose rates are set.
        full: the rate of each between warming up and cooling down.
        step: which step comes next.
        steps: how many the stage has.
        warm_up: steps until the rates are full.
        cool_down: share of the steps in which they fall.
    """
    warm, cool = min(1.0, (step + 1) / warm_up), min(1.0, (steps - step) / (steps * cool_down))
    for optimizer, rate in zip(optimizers, full, strict=True):
        for group in optimizer.param_groups:
            group["lr"] = rate * warm * cool


def take_step(optimizers: Sequence[torch.optim.Optimizer], loss: Tensor) -> None:
    """One step of all of them down the gradient of a loss, clipped to a norm of 1 for each."""
    for optimizer in optimizers:
        optimizer.zero_grad(set_to_none=True)
    loss.backward()
    for optimizer in optimizers:
        nn.utils.clip_grad_norm_([p for group in optimizer.param_groups for p in group["params"]], 1.0)
        optimizer.step()


def keep_freed_memory() -> None:
    """Tell glibc to reuse large freed blocks; handing them back costs more in page faults than the training itself."""
    if platform.system() != "Linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:  # other C libraries have none, and lose time only
        no_mmap, trim, pad = (-4, 0), (-1, 2**31 - 1), (-2, 256 * 2**20)
        for option, value in (no_mmap, trim, pad):
            mallopt(option, value)


def _is_inside(name: str) -> bool:
    """Whether a matrix of this name lies inside a transformer layer or a projector."""
    return "layers." in name or ".linear_" in f".{name}" or name.startswith("projector.")
