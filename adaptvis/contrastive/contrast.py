"""Contrast: what contrastive decoding sets against the model's own words (a noised photo, an early layer), and how."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from einops import reduce, repeat
from jaxtyping import Float

from interp.errors import ModelError

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor

    from interp.prompt.inputs import VLMInputs

NOISE_STEPS = 1000
"""Steps of the diffusion process that a photo is noised by."""


def plausible_only(
    scores: Float[Tensor, "batch vocab"], logits: Float[Tensor, "batch vocab"], plausibility: float
) -> Float[Tensor, "batch vocab"]:
    """Scores [batch vocab], minus infinity where a token is no plausible one.

    Args:
        scores: the scores of a contrast.
        logits: what the model itself says, from the true photo and its last layer.
        plausibility: a token is plausible if its probability is at least so many times the largest one.
    """
    least = logits.amax(-1, keepdim=True) + (math.log(plausibility) if plausibility else -math.inf)
    return scores.masked_fill((logits < least) | (logits == -math.inf), -math.inf)


def divergence(log_p: Float[Tensor, "*#axes vocab"], log_q: Float[Tensor, "*#axes vocab"]) -> Float[Tensor, "*axes"]:
    """Jensen-Shannon divergence in nats of two distributions, given as log probabilities over the last axis."""
    import torch

    log_middle = torch.logaddexp(log_p, log_q) - math.log(2)
    parts = [torch.where(log > -math.inf, log.exp() * (log - log_middle), 0.0).sum(-1) for log in (log_p, log_q)]
    return (parts[0] + parts[1]) / 2


def signal_share(step: int) -> float:
    """How much of the photo's variance is left at a step of the diffusion, counted from 0.

    The product of `1 - beta` up to that step, where beta rises from 1e-5 to 5e-3 along a sigmoid from -6 to 6: the
    schedule of visual contrastive decoding (arXiv 2311.16922).

    Example:
        >>> round(signal_share(500), 3)
        0.657
    """
    betas = 1e-5 + (5e-3 - 1e-5) / (1 + np.exp(-np.linspace(-6, 6, NOISE_STEPS)))
    return float(np.prod(1 - betas[: step + 1]))


def noised_pixels(inputs: VLMInputs, step: int, *, seed: int = 0, frames: int = 1) -> Tensor:
    """The batch's `pixel_values` after so many steps of noise: `sqrt(share) x + sqrt(1 - share) eps`.

    A photo's noise depends on the seed and on the photo, and neither on its place in the batch nor on the device.
    What only fills the batch up (tiles and margins of other photos' size) stays as it is.

    Args:
        inputs: what `HookedVLM.prepare` gave; they are left alone.
        step: the step of the diffusion, from 0 to 999.
        seed: the seed of the noise.
        frames: how often the processor writes each pixel, for models that take a photo as a short film; all of them
            get the same noise.

    Raises:
        ModelError: the pixels are laid out in a way that is not known.
    """
    import torch

    share = signal_share(step)
    pixels = inputs.tensors["pixel_values"].clone()
    for photo, own in zip(inputs.images, _own_pixels(inputs, pixels), strict=True):
        generator = torch.Generator().manual_seed(_seed(photo, seed))
        if own.ndim == 2:  # patches, each with its colours, frames and pixels in that order
            noise = torch.randn((len(own), 3, own.shape[1] // 3 // frames), generator=generator)
            noise = repeat(noise, "patch rgb pixel -> patch (rgb frame pixel)", frame=frames)
        else:
            noise = torch.randn(own.shape, generator=generator)
        own.copy_(math.sqrt(share) * own.float() + math.sqrt(1 - share) * noise.to(own.device))
    return pixels


def _own_pixels(inputs: VLMInputs, pixels: Tensor) -> Iterator[Tensor]:
    """Views of the pixels that belong to each sample, without what fills the batch up."""
    sizes, patches = inputs.tensors.get("image_sizes"), inputs.tensors.get("image_grid_thw")
    if pixels.ndim == 2 and patches is not None:
        yield from pixels.split(patches.prod(-1).tolist())
    elif pixels.ndim == 5 and len(pixels) == len(inputs):
        for tiles in pixels:
            yield tiles[: int(reduce(tiles, "tile ... -> tile", "any").nonzero().amax()) + 1]
    elif pixels.ndim == 4 and sizes is not None:
        for photo, (height, width) in zip(pixels, sizes.tolist(), strict=True):
            yield photo[:, :height, :width]
    elif pixels.ndim == 4 and len(pixels) == sum(views := [len(np.unique(grid.view)) for grid in inputs.grids]):
        yield from pixels.split(views)
    else:
        raise ModelError(
            f"pixel_values of shape {tuple(pixels.shape)} for {len(inputs)} photos: which of them belong to which "
            "photo is not known, so they can not be noised"
        )


def _seed(photo: Image.Image, seed: int) -> int:
    """A seed made of the photo's own pixels and the caller's."""
    text = f"{seed} {photo.size} ".encode() + photo.tobytes()
    return int.from_bytes(hashlib.blake2b(text, digest_size=7).digest(), "big")
