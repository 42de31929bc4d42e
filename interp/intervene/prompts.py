"""Prompts that hooks were made for: whether a tensor is of them, whose rows are whose, and whether there is a photo."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jaxtyping import Float, Int
from torch import Tensor

from interp.errors import InputError
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


def check_image_there(layouts: Sequence[TokenLayout], what: object) -> None:
    """Refuse prompts without a photo, in which an edit of image tokens would change nothing.

    Args:
        layouts: the prompts.
        what: who edits their image tokens, for the message.

    Raises:
        InputError: one has no image token.
    """
    if not all(len(layout.image_positions) for layout in layouts):
        raise InputError(
            f"{what!s:.160} is about image tokens, and a prompt here has none, as it has no photo: give what "
            "vlm.prepare(photo, question) gave, or edit heads or words"
        )
