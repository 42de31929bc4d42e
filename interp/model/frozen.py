"""Frozen: a model as gradients of activations want it, weights that take none and no dropout, for a while."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

from interp.errors import ModelError

if TYPE_CHECKING:
    from torch import nn

    from interp.hooks.wired import WiredModel


@contextmanager
def frozen(model: nn.Module) -> Iterator[None]:
    """Turn gradients on, with every module in evaluation and every weight frozen; on exit all is what it was.

    Also inside `torch.no_grad` and `torch.inference_mode`, and also after an exception.

    Example:
        >>> with frozen(vlm.model):
        ...     (slope,) = torch.autograd.grad(score(vlm(inputs).logits), [activation])
    """
    with torch.inference_mode(False), torch.enable_grad():
        training = [module for module in model.modules() if module.training]
        trained = [weight for weight in model.parameters() if weight.requires_grad]
        try:
            for module in training:
                module.training = False
            for weight in trained:
                weight.requires_grad_(False)
            yield
        finally:
            for module in training:
                module.training = True
            for weight in trained:
                weight.requires_grad_(True)


def refuse_quantised(vlm: WiredModel, what: str) -> None:
    """Refuse a model with quantised weights, whose kernels need not give gradients, or rounded ones.

    Raises:
        ModelError: some are quantised.
    """
    model = vlm.model
    whole = [name for name, weight in model.named_parameters() if not weight.is_floating_point()]
    declared = getattr(model, "hf_quantizer", None) is not None or getattr(model, "is_quantized", False)
    if whole or declared:
        kept = f"{whole[0]} and {len(whole) - 1} more are kept as whole numbers" if whole else "it was loaded so"
        raise ModelError(
            f"{what} needs gradients, and the weights of this model are quantised ({kept}): load it without a "
            "quantization_config, such as with dtype='bfloat16'"
        )
