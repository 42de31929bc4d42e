"""Writes: what each head adds to the residual stream, z times its own rows of the output projection."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float32
from torch import Tensor, nn

from interp.compat import at_hand
from interp.errors import RefusedError
from interp.hooks.exact import exactly
from interp.hooks.towers import submodule, text_tower

if TYPE_CHECKING:
    from interp.model.hooked_vlm import HookedVLM

WRITES = ("z", "write", "write_norm")
"""What is kept of a head: z, before the output projection; what that makes of it; or the length of that."""


def head_writes(
    vlm: HookedVLM, z: Float32[np.ndarray, "item layer head d_head"]
) -> Float32[np.ndarray, "item layer head d_model"]:
    """What each head adds to the residual stream; the bias of the projection, which is no head's, is left out.

    In decoders that scale or normalise what attention adds, such as Gemma's, this is before that.

    Raises:
        RefusedError: the projection is no plain matrix, such as one that is quantised or has an adapter.
    """
    made = []
    for layer, rows in enumerate(output_rows(vlm)):
        own = torch.from_numpy(z[:, layer]).to(rows.device)
        with exactly(own):
            made.append(torch.einsum("ihd,hdm->ihm", own, rows).cpu().numpy())
    return np.stack(made, 1)


def output_rows(vlm: HookedVLM) -> Iterator[Float32[Tensor, "head d_head d_model"]]:
    """Layer by layer, the rows of the output projection that belong to each query head.

    Raises:
        RefusedError: see `head_writes`.
    """
    tower = text_tower(vlm.model, vlm.family)
    for block in submodule(vlm.model, tower.blocks):
        projection = submodule(block, tower.attention).o_proj
        if type(projection) is not nn.Linear:
            raise RefusedError(
                f"the output projection is a {type(projection).__name__}, whose matrix can not be read head by head: "
                "keep z (read='z'), or merge the adapter or load the model unquantised"
            )
        with at_hand(projection):
            weight = projection.weight.detach().float()
        yield rearrange(weight, "d_model (head d_head) -> head d_head d_model", head=vlm.cfg.n_heads)
