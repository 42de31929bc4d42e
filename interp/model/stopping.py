"""Stopping: a pass that ends before a block, and gives the residual stream that this block would have been given."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from jaxtyping import Float
from torch import Tensor

from interp.errors import HookError, InputError
from interp.numeric import whole_number

if TYPE_CHECKING:
    from interp.hooks.wired import WiredModel


class Stopped(Exception):
    """The pass came as far as it was to go."""

    def __init__(self, stream: Float[Tensor, "batch pos d_model"]) -> None:
        """Take the stream along."""
        super().__init__()
        self.stream = stream


class Stop:
    """A hook function that ends the pass."""

    reads_only = True

    def __call__(self, tensor: Float[Tensor, "batch pos d_model"], *, hook: Any) -> None:
        """End it, with what the hook point shows.

        Raises:
            Stopped: always.
        """
        raise Stopped(tensor)


def last_point(vlm: WiredModel, stop_at_layer: Any) -> str:
    """The hook point at which a pass ends that computes the blocks before `stop_at_layer` and no others.

    Args:
        vlm: the model.
        stop_at_layer: a 0-based block, or the number of blocks for all of them; negative ones count from the end.

    Raises:
        HookError: there is no such block.
    """
    n_layers = vlm.cfg.n_layers
    try:
        asked = whole_number(stop_at_layer, "stop_at_layer", -n_layers)
    except InputError:
        asked = n_layers + 1
    if asked > n_layers:
        raise HookError(f"stop_at_layer={stop_at_layer!r:.60}: give a block from 0 to {n_layers}, or from the end")
    layer = asked if asked >= 0 else asked + n_layers
    return f"blocks.{layer}.hook_resid_pre" if layer < n_layers else f"blocks.{n_layers - 1}.hook_resid_post"


def reached(names: Sequence[str], last: str) -> list[str]:
    """The hook points that a pass reaches which ends at `last`, that one included."""
    tower, layer, point = last.split(".", 2)
    ends = ("ln_final.", "unembed.")
    blocks = int(layer) + (point == "hook_resid_post")
    return [
        name
        for name in names
        if name == last
        or not (name.startswith(ends) or (name.startswith(f"{tower}.") and int(name.split(".")[1]) >= blocks))
    ]
