"""Steer: a direction, added to an activation at positions of the prompt, and at decoded tokens where asked."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from numbers import Real
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from interp.errors import HookError, InputError
from interp.hooks.shape import ModelShape
from interp.intervene.base import Hook
from interp.intervene.indices import check_indices, read_indices, spell, spell_number
from interp.intervene.position_hooks import IN_BLOCKS, PositionEdit, PositionHook, axes_at, parted
from interp.intervene.positions import (
    PROMPT_WORDS,
    Positions,
    is_of_each,
    read_positions,
    rows_of_each,
    spell_positions,
)
from interp.numeric import read_flag
from interp.prompt.layout import TokenLayout

UNITS = ("raw", "unit", "sigma")

MOST = 1e30
"""The largest entry of what is added: float32 and bfloat16 still hold the sum with any activation."""


@dataclass(frozen=True, eq=False, repr=False)
class Steer:
    """Add a direction to an activation: h <- h + scale * u d, with d the direction and u its unit.

    Attributes:
        direction: d, as wide as the hook point: [d_model], or [head d_head] of points with heads.
        scale: how much of it; negative ones steer the other way, and 0 changes nothing.
        layers: 0-based blocks; all by default. Not with a whole hook name.
        hook: a point of blocks, such as `hook_resid_post` or `attn.hook_z`, or a whole hook name.
        positions: where, in the padded prompt: `last`, `all`, `image`, `after_image`, `generated` (`last` with
            `decode`), positions that all samples share, or a list of them for each sample.
        unit: `raw` adds scale times d as it is; `unit` scale times d / |d|; `sigma` scale times sigma d / |d|.
        sigma: the standard deviation of the activation along the direction, for `unit="sigma"`.
        decode: whether every decoded token is steered too.

    Example:
        >>> Steer(torch.ones(64), 2, layers=(3,), unit="unit")
        Steer(direction=[64], scale=2, unit=unit, layers=3, hook=hook_resid_post, positions=last)

    Raises:
        HookError: a point that shows no activation for each position.
        InputError: a direction, numbers or positions that mean nothing.
    """

    direction: Float[Tensor, "*head width"]
    scale: float
    layers: tuple[int, ...] | None = None
    hook: str = "hook_resid_post"
    positions: Positions = "last"
    unit: str = "raw"
    sigma: float | None = None
    decode: bool = False

    def __post_init__(self) -> None:
        """Refuse what means nothing."""
        object.__setattr__(self, "scale", _number(self.scale, "scale"))
        if self.unit not in UNITS:
            raise InputError(f"unit={self.unit!r} is not known: use one of {', '.join(UNITS)}")
        if (self.sigma is not None) != (self.unit == "sigma"):
            raise InputError(f"unit={self.unit!r}, sigma={self.sigma!r}: a standard deviation goes with 'sigma' alone")
        if self.sigma is not None:
            object.__setattr__(self, "sigma", _number(self.sigma, "sigma"))
            if self.sigma <= 0:
                raise InputError(f"sigma={self.sigma!r} is no standard deviation: give one above 0")
        object.__setattr__(self, "layers", read_indices(self.layers, "layers"))
        object.__setattr__(self, "decode", read_flag(self.decode, "decode"))
        parted(f"blocks.0.{self.hook}" if self.hook in IN_BLOCKS else self.hook)
        if self.layers is not None and self.hook not in IN_BLOCKS:
            raise InputError(f"layers={spell(self.layers)}, hook={self.hook!r}: a whole hook name has no other layers")
        if isinstance(self.positions, str) and self.positions == "generated":
            object.__setattr__(self, "positions", "last")
            object.__setattr__(self, "decode", True)
        read = read_positions(self.positions, words=(*PROMPT_WORDS, "generated"))
        object.__setattr__(self, "positions", read)
        object.__setattr__(self, "direction", _read_direction(self.direction))
        if not float(self._added().detach().abs().max()) < MOST:
            raise InputError(f"{self} would take activations out of range: give a smaller scale")

    def hooks(self, shape: ModelShape, layouts: Sequence[TokenLayout]) -> list[Hook]:
        """One hook a layer; none where scale is 0.

        Raises:
            HookError: a layer that the model does not have.
            InputError: a direction of another width, or positions that do not fit the batch.
        """
        names = [self.hook]
        if self.hook in IN_BLOCKS:
            names = [f"blocks.{layer}.{self.hook}" for layer in check_indices(self.layers, shape.n_layers, "layer")]
        axes = axes_at(names[0], shape)
        if tuple(self.direction.shape) != axes:
            raise InputError(f"{self}: {names[0]} is {list(axes)} at each position: give a direction of that shape")
        rows = rows_of_each(self.positions, layouts, str(self))
        if self.scale == 0:
            return []
        change = partial(_add, added=self._added(), what=str(self))
        decoded = [PositionEdit("decoded", change)] if self.decode else []
        hook = PositionHook([[PositionEdit(own, change), *decoded] for own in rows], layouts)
        return [(name, hook) for name in names]

    def of_each(self, samples: int) -> list[Steer]:
        """What is done with each sample of a batch."""
        if not is_of_each(self.positions):
            return [self] * samples
        return [replace(self, positions=own) for own in self.positions]

    def _added(self) -> Float[Tensor, "*head width"]:
        """Scale * u d, in at least fp32."""
        exact = self.direction.to(torch.promote_types(self.direction.dtype, torch.float32))
        if self.unit != "raw":
            exact = exact / exact.detach().abs().max()  # whose squares no number is too large or small for
            exact = exact / exact.norm() * (1.0 if self.sigma is None else self.sigma)
        return exact * self.scale

    def __str__(self) -> str:
        """Name every setting, for results; the direction by its axes."""
        sigma = "" if self.sigma is None else f", sigma={spell_number(self.sigma)}"
        layers = f", layers={spell(self.layers)}" if self.hook in IN_BLOCKS else ""
        more = ", decode=True" if self.decode else ""
        return (
            f"Steer(direction={list(self.direction.shape)}, scale={spell_number(self.scale)}, unit={self.unit}{sigma}"
            f"{layers}, hook={self.hook}, positions={spell_positions(self.positions)}{more})"
        )

    __repr__ = __str__


def _add(own: Float[Tensor, "row ..."], *, added: Tensor, what: str) -> Float[Tensor, "row ..."]:
    """The sum, rounded once to the type of the model."""
    exact = torch.promote_types(own.dtype, added.dtype)
    new = (own.to(exact) + added.to(own.device, exact)).to(own.dtype)
    if own.dtype == torch.float16 and not torch.equal(new.isfinite(), own.isfinite()):
        raise HookError(f"{what} takes activations out of the range of {own.dtype}: give a smaller scale")
    return new


def _number(given: Any, what: str) -> float:
    if isinstance(given, bool) or not isinstance(given, Real) or not abs(float(given)) < math.inf:
        raise InputError(f"{what}={given!r:.80} is not a finite number: give one such as 0.5 or 2")
    return float(given)


def _read_direction(given: Any) -> Tensor:
    """The direction as a tensor that points somewhere."""
    try:
        read = torch.as_tensor(given)
    except (TypeError, ValueError, RuntimeError):
        raise InputError(f"direction={given!r:.80} is no tensor: give one of the width of the hook point") from None
    if read.ndim not in (1, 2) or not read.is_floating_point() or not bool(read.isfinite().all()):
        raise InputError(
            f"direction is {str(read.dtype).removeprefix('torch.')} {list(read.shape)}: give finite floating-point "
            "numbers, [d_model] or [head d_head]"
        )
    if not bool(read.any()):
        raise InputError("direction is zero everywhere, so nothing would be steered: give one that points somewhere")
    return read
