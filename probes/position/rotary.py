"""Rotary: what moving keys on by some positions does to them in each layer, asked of the model's own code."""

from __future__ import annotations

import ast
import inspect
import sys
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float, Float64
from torch import Tensor, nn

from interp.errors import InputError, ModelError, RefusedError
from interp.hooks.towers import submodule, text_tower

if TYPE_CHECKING:
    from interp.model.hooked import HookedModel

AXES = ("time", "height", "width")
"""The three streams of positions of M-RoPE, in the order of the model's position ids."""

APPLY = "apply_rotary_pos_emb"
"""What transformers calls the function that turns queries and keys, in the module of each decoder."""

ROUNDING = 1e-5


@dataclass(frozen=True)
class Rotary:
    """The rotary embedding of a language model.

    Frequencies, scaling, the width that is turned, the pairs, two bases by kind of layer and the sections of M-RoPE are
    never assumed: the model's own modules turn the axes of a head by one position, and what they make of them is read.

    Attributes:
        module: what gives cosines and sines for positions.
        apply: what turns keys by them.
        d_head: width of a head.
        kinds: the kind of each layer, where the module asks for it; else empty.
    """

    module: nn.Module
    apply: Callable[..., Any]
    d_head: int
    kinds: tuple[str, ...] = ()

    @classmethod
    def of(cls, vlm: HookedModel) -> Rotary:
        """The rotary embedding of a hooked model.

        Raises:
            RefusedError: its language model has none, or not in every layer.
        """
        tower = text_tower(vlm.model, vlm.family)
        decoder = submodule(vlm.model, tower.blocks.rpartition(".")[0])
        module = getattr(decoder, "rotary_emb", None)
        attention = submodule(submodule(vlm.model, tower.blocks)[0], tower.attention)
        apply = getattr(sys.modules[type(attention).__module__], APPLY, None)
        if module is None or apply is None or not _always_turns(attention):
            raise RefusedError(
                f"rope_sensitivity is not offered for the {vlm.family.name} family with a decoder of "
                f"{type(attention).__name__}: not all of its layers turn their keys by positions (RoPE)"
            )
        asks = "layer_type" in inspect.signature(_plain(module)).parameters
        text = vlm.model.config.get_text_config()
        return cls(module, apply, vlm.cfg.d_head, tuple(text.layer_types) if asks else ())

    @property
    def axes(self) -> tuple[str, ...]:
        """The axes along which keys can be moved one by one; none where a position is one number."""
        return AXES if hasattr(self.module, "mrope_section") else ()

    def check_axis(self, axis: str | None) -> None:
        """Refuse an axis that positions of this model do not have.

        Raises:
            InputError: it is none of them.
        """
        if axis is not None and axis not in self.axes:
            known = f"one of {', '.join(self.axes)}, or None for all" if self.axes else "None: a position is one number"
            raise InputError(f"axis={axis!r} is not one of this model's: use {known}")

    def turn(self, layer: int, delta: float, axis: str | None = None) -> Float64[Tensor, "d_head d_head"]:
        """What `delta` more positions do to keys of a layer, after RoPE: they are multiplied by it, `key @ turn`.

        Args:
            layer: 0-based.
            delta: positions; any real number.
            axis: one of `axes`, or None for all at once.

        Example:
            >>> rotary.turn(0, 1.0).shape
            torch.Size([128, 128])

        Raises:
            ModelError: the model does something else than turning pairs.
        """
        return turned(self._one_position(layer, axis), delta)

    @torch.no_grad()
    def _one_position(self, layer: int, axis: str | None) -> Float[Tensor, "d_head d_head"]:
        """What the model makes of the axes of a head at position 1, all other streams at 0; row i is of axis i."""
        buffer = next(self.module.buffers())
        basis = torch.eye(self.d_head, device=buffer.device)[None, None]
        streams = [float(axis in (None, name)) for name in self.axes] or [1.0]
        position = torch.tensor(streams, device=buffer.device).reshape(-1, 1, 1)
        position = position if self.axes else position[0]
        more = {"layer_type": self.kinds[layer]} if self.kinds else {}
        # as it is without its decorators, some of which choose other frequencies for so short a sequence
        cos, sin = _plain(self.module)(self.module, basis, position, **more)
        return self.apply(basis, basis, cos, sin)[1][0, 0].cpu()


def turned(one: Float[Tensor, "d_head d_head"], delta: float) -> Float64[Tensor, "d_head d_head"]:
    """The turn by `delta` positions, from that by one position times some scale.

    Each row of `one` holds a cosine in its own place and a sine in that of its partner. The scale, by which attention
    with long contexts is sharpened, is in the keys already and left out.

    Example:
        >>> turned(torch.tensor([[0.0, 2.0], [-2.0, 0.0]]), 2).round()  # a quarter, twice
        tensor([[-1.,  0.],
                [ 0., -1.]], dtype=torch.float64)

    Raises:
        ModelError: `one` turns no pairs.
    """
    exact = one.double()
    own = exact.diagonal()
    across = exact - own.diag()
    partner = across.abs().argmax(-1, keepdim=True)
    angle = torch.atan2(across.gather(-1, partner)[:, 0], own)

    def by(positions: float) -> Tensor:
        return (angle * positions).cos().diag().scatter_add(-1, partner, (angle * positions).sin()[:, None])

    scale = exact.norm(dim=-1, keepdim=True)
    unit = by(1.0)
    off = max((exact - scale * unit).abs().max().item(), (unit @ unit.T - torch.eye(len(unit))).abs().max().item())
    if not off <= ROUNDING * max(1.0, scale.max().item()):
        raise ModelError(
            f"the rotary embedding of this model does not turn pairs of a head's axes (off by {off:.1g}): its keys can "
            "not be moved on by a position, and rope_sensitivity does not hold for it"
        )
    return by(delta)


def _plain(module: nn.Module) -> Callable[..., Any]:
    """The module's forward without its decorators."""
    return inspect.unwrap(type(module).forward)


def _always_turns(attention: nn.Module) -> bool:
    """Whether attention turns its keys whatever its layer is: some decoders do so in a part of their layers."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(_plain(attention))))
    except (OSError, TypeError, SyntaxError):
        return False
    return _calls_apply(tree) - sum(_calls_apply(branch) for branch in ast.walk(tree) if isinstance(branch, ast.If)) > 0


def _calls_apply(tree: ast.AST) -> int:
    calls = (node.func for node in ast.walk(tree) if isinstance(node, ast.Call))
    return sum(isinstance(called, ast.Name) and called.id == APPLY for called in calls)
