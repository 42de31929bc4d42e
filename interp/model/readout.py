"""Readout: what the model's own last modules say of rows of the residual stream, from whatever layer these are."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from interp.compat import place_of
from interp.hooks.towers import submodule

if TYPE_CHECKING:
    from interp.model.hooked import HookedModel


def readout(
    vlm: HookedModel, *, norm: bool = True
) -> Callable[[Float[Tensor, "*rows d_model"]], Float[Tensor, "*rows vocab"]]:
    """A function from rows of the residual stream to logits: final norm, unembedding, and the cap of models with one.

    What leaves the last block is not normed yet at our hook points, so that all layers are normed once; the last of
    Hugging Face's `hidden_states` is normed already. The modules' `forward` is called without them, so that hook
    functions hear nothing but the model's own pass.

    Args:
        vlm: the model.
        norm: apply the final norm; leave it out for rows that are normed.

    Example:
        >>> logits = readout(vlm)(cache["blocks.3.hook_resid_post"][:, layout.image_positions])
    """
    final_norm, unembed = submodule(vlm.model, vlm.family.final_norm), submodule(vlm.model, vlm.family.unembed)
    cap = getattr(vlm.model.config.get_text_config(), "final_logit_softcapping", None)

    device = place_of(unembed) or next(unembed.parameters()).device

    def read(rows: Tensor) -> Tensor:
        rows = rows.to(device)
        logits: Tensor = unembed.forward(final_norm.forward(rows) if norm else rows)
        return logits if cap is None else cap * torch.tanh(logits / cap)

    return read
