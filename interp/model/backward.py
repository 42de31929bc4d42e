"""Backward: the gradients of a run's activations, kept beside the activations under names that end in `_grad`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from interp.errors import HookError
from interp.model.frozen import frozen, refuse_quantised

if TYPE_CHECKING:
    from interp.hooks.wired import WiredModel

Goal = bool | Callable[[Any], Tensor] | None
"""Where gradients come from: a function of the output that gives one number, or True for the loss of `labels=`."""


@contextmanager
def with_gradients(vlm: WiredModel, goal: Goal, options: Mapping[str, Any]) -> Iterator[Callable[[Any], None]]:
    """Hand out what goes back from an output; weights are frozen and the model is in evaluation meanwhile.

    Args:
        vlm: the model.
        goal: where gradients come from; with False or None nothing happens.
        options: what else the model is given.

    Raises:
        HookError: no loss is asked for, or the goal is not one number that follows from the activations.
        ModelError: a model with quantised weights.
    """
    if goal is False or goal is None:
        yield lambda output: None
        return
    if goal is not True and not callable(goal):
        raise HookError(
            f"incl_bwd={goal!r:.60} is not understood: give a function of the output, such as "
            "incl_bwd=lambda output: output.logits[0, -1, token], or True with labels="
        )
    if goal is True and options.get("labels") is None:
        raise HookError(
            "incl_bwd=True goes back from the loss, and the model makes none without labels: give labels=, or a "
            "function of the output, such as incl_bwd=lambda output: output.logits[0, -1, token]"
        )
    refuse_quantised(vlm, "incl_bwd")
    with frozen(vlm.model):
        yield lambda output: _goal(goal, output).backward()


def check_gradients(names: Iterable[str], kept: Mapping[str, Tensor]) -> None:
    """Refuse points to which nothing went back.

    Raises:
        HookError: there is such a point.
    """
    if missing := [name for name in names if f"{name}_grad" not in kept]:
        raise HookError(
            f"{missing[0]} has no gradient: the goal of incl_bwd does not follow from it, so do not name it"
        )


def _goal(goal: Goal, output: Any) -> Tensor:
    wanted = output.loss if goal is True else goal(output)  # type: ignore[operator, misc]
    if isinstance(wanted, torch.Tensor) and wanted.numel() == 1 and not wanted.requires_grad:
        raise HookError("the goal of incl_bwd follows from none of the points: name points that it is computed from")
    if not isinstance(wanted, torch.Tensor) or wanted.numel() != 1:
        what = f"{list(wanted.shape)}" if isinstance(wanted, torch.Tensor) else type(wanted).__name__
        raise HookError(
            f"incl_bwd goes back from one number that follows from the output, and this is {what}: give a function "
            "such as lambda output: output.logits[0, -1, token]"
        )
    return wanted
