"""Sinks: image tokens that draw attention whatever is asked, told by how much they draw, and what they leave."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
from einops import rearrange
from jaxtyping import Bool, Float

from interp.errors import InputError
from interp.numeric import ratio

if TYPE_CHECKING:
    from interp.maps.trajectory import Trajectory


def mass_sinks(
    attentions: Iterable[Trajectory | Float[np.ndarray, "... token"]], *, times: float = 5.0, most: float = 0.9
) -> Bool[np.ndarray, " token"]:
    """Which image tokens draw attention in nearly every image: sinks by mass.

    A token is one if its share of the attention within the image, mean over images, layers and heads, is above `times`
    the even share (one over the number of tokens), and its mean over layers and heads is so in at least the share
    `most` of the images. Where objects always lie in one place, their tokens can not be told from sinks by mass: take
    images whose objects lie apart, as many as there are.

    Args:
        attentions: a trajectory for each image, or weights over its image tokens [... token]; all images on one grid.
        times: the multiple of the even share above which a token is on.
        most: the share of the images in which a sink is on.

    Example:
        >>> sinks = mass_sinks(trajectories)  # bool [576]

    Raises:
        InputError: fewer than two images, other numbers of tokens, an image without attention, or bad thresholds.
    """
    if not times > 0 or not 0 < most <= 1:
        raise InputError(f"times={times} and most={most}: give times above 0, and most above 0 and up to 1")
    shares = [_mean_share(getattr(one, "image_attention", one), place) for place, one in enumerate(attentions)]
    counts = sorted({len(share) for share in shares})
    if len(shares) < 2 or len(counts) != 1 or times >= counts[0]:
        raise InputError(
            f"{len(shares)} images with {counts} tokens: give at least two on one grid, and times below its tokens"
        )
    level = times / counts[0]
    return (np.mean(shares, axis=0) > level) & (np.mean(np.array(shares) > level, axis=0) >= most)


def non_sink_share(
    weights: Float[np.ndarray, "*maps token"], sinks: Bool[np.ndarray, "*#maps token"]
) -> Float[np.ndarray, "*maps"]:
    """Share of the attention on the image that is not on sinks, the r of Kang et al. 2025 (arXiv:2503.03321).

    Example:
        >>> non_sink_share(np.array([0.35, 0.10, 0.20]), np.array([True, False, False])).round(4)
        0.4615
    """
    rest = np.sum(np.where(sinks, 0, weights), axis=-1, dtype=np.float64)
    return ratio(rest, np.sum(weights, axis=-1, dtype=np.float64))


def sinks_per_head(sinks: np.ndarray, shape: tuple[int, int, int]) -> Bool[np.ndarray, "layer head token"]:
    """Sinks of every head, from [token], [layer token] or [layer head token].

    Args:
        sinks: which image tokens are sinks, bool.
        shape: the numbers of layers, heads and image tokens.

    Example:
        >>> sinks_per_head(mass_sinks(trajectories), (32, 32, 576)).shape
        (32, 32, 576)

    Raises:
        InputError: the sinks are not boolean, or of another shape.
    """
    given = np.asarray(sinks)
    full = given[None, None] if given.ndim == 1 else given[:, None] if given.ndim == 2 else given
    wide = (shape[0] if given.ndim > 1 else 1, shape[1] if given.ndim > 2 else 1, shape[2])
    if given.dtype != bool or full.shape != wide:
        raise InputError(
            f"sinks are {given.dtype} of shape {given.shape}: give bool [token], [layer token] or [layer head token] "
            f"for {shape[0]} layers, {shape[1]} heads and {shape[2]} image tokens"
        )
    return np.broadcast_to(full, shape)


def _mean_share(weights: Any, place: int) -> np.ndarray:
    """Share of the attention within one image, mean over its maps, [token]; maps without any do not count."""
    maps = rearrange(np.asarray(weights, dtype=np.float64), "... token -> (...) token")
    total = maps.sum(axis=1, keepdims=True)
    if not (total > 0).any() or not np.isfinite(total).all():
        raise InputError(f"image {place} has no attention on its tokens, or weights that are not finite: leave it out")
    return np.mean((maps / np.where(total > 0, total, 1))[total[:, 0] > 0], axis=0)
