"""Prompts that hooks on attention were made for: whether a tensor is of them, and which rows belong to which sample."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jaxtyping import Float
from torch import Tensor

from interp.errors import HookError
from interp.hooks.rows import copies_of_each
from interp.prompt.layout import TokenLayout


class MadeFor:
    """The prompts of the batch that an intervention was made for, by what a hook can see of them."""

    def __init__(self, layouts: Sequence[TokenLayout]) -> None:
        """Remember their number, and their length."""
        self.samples, self.length = len(layouts), len(layouts[0])

    def copies(self, tensor: Float[Tensor, "batch head row key"], hook: Any) -> int:
        """How many rows of the batch, one after another, belong to each sample.

        Raises:
            HookError: the tensor is of other prompts.
        """
        batch, keys = tensor.shape[0], tensor.shape[3]
        if hook.now.prompt != self.length or keys < hook.now.offset + hook.now.length:
            raise HookError(
                f"{hook.name} has logits of a prompt of {hook.now.prompt} positions with {keys} keys, but the "
                f"intervention was made for prompts of {self.length}: make it for the inputs that you run, and leave "
                "the model's own generate at use_cache=True, without prompt_lookup_num_tokens and prefill_chunk_size"
            )
        return copies_of_each(hook.now, batch, self.samples, hook.name)
