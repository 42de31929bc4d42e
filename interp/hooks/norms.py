"""Norms: what a layer norm or RMS norm of any family divides by, what is left before its gain, and what it gives."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor, nn

from interp.compat import norm_epsilon
from interp.errors import HookError
from interp.hooks.rows import show_packed, visit

if TYPE_CHECKING:
    from interp.hooks.points import NormPoints


def show_norm(points: NormPoints, module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> Tensor:
    """Show a norm's scale, what it makes of its input before gain and bias, and its output.

    Scale and normalized input are float32, whatever the model computes in. What is left alone stays the module's own,
    to the bit.
    """
    if points.hook_scale.on or points.hook_normalized.on:
        output = _show_inside(points, module, args[0], output)
    return show_packed(points.hook_out, output)


def _show_inside(points: NormPoints, module: nn.Module, given: Tensor, output: Tensor) -> Tensor:
    packed = given.ndim == 2
    stream, own = centred_and_scale(module, given[None] if packed else given)
    scale, edited = visit(points.hook_scale, own.clone())
    plain = stream / own
    normalized, changed = visit(points.hook_normalized, stream / scale)
    gain, bias = gain_and_bias(module, given)
    _check_known(str(points.hook_normalized.name), module, plain * gain + bias, output[None] if packed else output)
    if not (edited or changed):
        return output
    made = (normalized * gain + bias).to(output.dtype).view_as(output)
    if torch.is_grad_enabled() and made.requires_grad:
        return made
    return torch.where((normalized == plain).view_as(output), output, made)


def centred_and_scale(
    module: nn.Module, given: Float[Tensor, "*rows d_model"]
) -> tuple[Float[Tensor, "*rows d_model"], Float[Tensor, "*rows 1"]]:
    """What a norm divides, and by what, in at least float32: a layer norm takes the mean from its input first."""
    stream = given.to(torch.promote_types(given.dtype, torch.float32))
    if isinstance(module, nn.LayerNorm):
        stream = stream - stream.mean(-1, keepdim=True)
    known = norm_epsilon(module)
    epsilon = torch.finfo(given.dtype).eps if known is None else known
    return stream, (stream.pow(2).mean(-1, keepdim=True) + epsilon).sqrt()


def gain_and_bias(module: nn.Module, like: Tensor) -> tuple[Float[Tensor, " d_model"], Float[Tensor, " d_model"]]:
    """What a norm multiplies with and adds in the end, asked of the module itself: some keep their gain less one.

    Args:
        module: the norm.
        like: some input of it.
    """
    width = like.shape[-1]
    signs = (1 - 2 * (torch.arange(width, device=like.device) % 2)).to(like.dtype)
    probes = torch.stack([signs, -signs])
    centred, scale = centred_and_scale(module, probes)
    up, down = module.forward(probes[None])[0].to(centred.dtype)
    return (up - down) / 2 / (centred / scale)[0], (up + down) / 2


def _check_known(name: str, module: nn.Module, made: Tensor, output: Tensor) -> None:
    """Refuse a norm that computes something else than is known here.

    Raises:
        HookError: it does.
    """
    room = 1e-3 if output.dtype in (torch.float32, torch.float64) else 0.05
    off, size = ((made - output).detach().abs().max(), output.detach().abs().max())
    if bool(off > room * size):  # which numbers that are none are not
        raise HookError(
            f"{name} is known of layer norms and RMS norms, and {type(module).__name__} computes something else: "
            f"use {name.rpartition('.')[0]}.hook_out, which it gives"
        )
