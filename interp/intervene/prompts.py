"""Prompts that hooks on attention were made for: whether a tensor is of them, and which rows belong to which sample."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jaxtyping import Float, Int
from torch import Tensor

from interp.hooks.rows import copies_of_each, refuse_other_prompt
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
        refuse_other_prompt(hook, self.length, "logits")
        return copies_of_each(hook.now, len(tensor), self.samples, hook.name)

    def seen(
        self, columns: Int[Tensor, " column"], tensor: Float[Tensor, "batch head row key"]
    ) -> Int[Tensor, " reached"]:
        """Those of some key positions that a pass has reached, as one that holds a part of the prompt may not all."""
        return columns[columns < tensor.shape[3]].to(tensor.device)
