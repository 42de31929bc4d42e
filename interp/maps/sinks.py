"""Maps by themselves: tokens that draw attention whatever is asked (sinks), weight on the border, and how scattered."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Float

from interp.errors import InputError
from interp.numeric import ratio

if TYPE_CHECKING:
    from interp.maps.trajectory import Trajectory
    from interp.prompt.layout import TokenLayout

SINK_THRESHOLD = 20.0
"""The sink value from which a token is a sink (Kang et al. 2025, arXiv:2503.03321)."""

SINK_DIMENSIONS = {
    "llava-hf/llava-1.5-7b-hf": (1415, 2533),
    "llava-hf/llava-1.5-13b-hf": (2100, 4743),
    "Qwen/Qwen2-VL-7B-Instruct": (458, 2570),
    "OpenGVLab/InternVL2-8B": (3584,),
}
"""The published sink dimensions of the residual stream, by checkpoint (the same source)."""


@dataclass(frozen=True)
class SinkDimensions:
    """The dimensions of a residual stream in which sinks stand out.

    Attributes:
        dimensions: 0-based.
        estimated: whether `find_sink_dimensions` guessed them; else they are published for this checkpoint.
        ratios: of an estimate, how many times the median activation each of them has.
    """

    dimensions: tuple[int, ...]
    estimated: bool
    ratios: tuple[float, ...] = ()

    def describe(self) -> str:
        """Say in one sentence which they are and where they come from.

        Example:
            >>> SinkDimensions((1415, 2533), estimated=False).describe()
            'sink dimensions 1415, 2533, as published for this checkpoint'
        """
        names = ", ".join(map(str, self.dimensions))
        if not self.estimated:
            return f"sink dimensions {names}, as published for this checkpoint"
        times = ", ".join(f"{value:.1f}" for value in self.ratios)
        return f"sink dimensions {names}, an estimate: {times} times the median activation at the first position"


def published_sink_dimensions(checkpoint: str) -> SinkDimensions:
    """The sink dimensions that are known of a checkpoint, by its hub name.

    Raises:
        InputError: none are; estimate them with `find_sink_dimensions`.
    """
    if checkpoint not in SINK_DIMENSIONS:
        raise InputError(
            f"no sink dimensions are published for {checkpoint!r} (they are for {', '.join(SINK_DIMENSIONS)}): "
            "estimate them with find_sink_dimensions"
        )
    return SinkDimensions(SINK_DIMENSIONS[checkpoint], estimated=False)


def find_sink_dimensions(
    cache: Any, layout: TokenLayout, *, count: int = 2, skip_layers: int = 2, sample: int = 0
) -> SinkDimensions:
    """Estimate the sink dimensions of a model: those that stand out most at the first position, which is a sink.

    A dimension stands out by |x[d]| over the median of |x|, and by the median of that over layers. There is no test
    whether a model has sink dimensions at all: look at `ratios`, which reach hundreds where it has.

    Args:
        cache: from `run_with_cache`, or a dict, with `blocks.{l}.hook_resid_pre` [batch pos d_model] of every layer.
        layout: of the sample, which says where padding ends.
        count: how many to take.
        skip_layers: the first layers, in which sinks have not formed yet, do not count.
        sample: which of the batch.

    Example:
        >>> residual = lambda name: name.startswith("blocks.") and name.endswith("hook_resid_pre")
        >>> _, cache = vlm.run_with_cache(inputs, names_filter=residual)
        >>> find_sink_dimensions(cache, inputs.layouts[0]).estimated
        True

    Raises:
        InputError: the cache lacks a layer, or no layer or dimension would be left.
    """
    first = int(np.argmax(np.array(layout.kinds) != "pad"))
    rows = np.abs(_residuals(cache, [first], sample))[skip_layers:, 0]
    if not len(rows) or not 1 <= count <= rows.shape[1]:
        raise InputError(f"skip_layers={skip_layers} and count={count} leave nothing: skip fewer, count from 1")
    times = np.median(rows / np.median(rows, axis=1, keepdims=True), axis=0)
    chosen = np.argsort(-times, kind="stable")[:count]
    return SinkDimensions(tuple(chosen.tolist()), estimated=True, ratios=tuple(times[chosen].tolist()))


def sink_values(
    residual: Float[np.ndarray, "*maps d_model"], dimensions: SinkDimensions | Sequence[int]
) -> Float[np.ndarray, "*maps"]:
    """The sink value phi(x) = max over sink dimensions d of |x[d]| / RMS(x) (Kang et al. 2025, arXiv:2503.03321).

    Args:
        residual: the stream that enters a layer.
        dimensions: the sink dimensions of this model.

    Returns:
        float64; at most the root of the stream's width, and NaN where the stream is zero.

    Example:
        >>> sink_values(np.array([0.0, 3.0, 4.0, 0.0]), [1])  # RMS 2.5
        array(1.2)

    Raises:
        InputError: a dimension that the stream does not have, or none.
    """
    chosen = list(dimensions.dimensions if isinstance(dimensions, SinkDimensions) else dimensions)
    width = np.shape(residual)[-1]
    if not chosen or not all(0 <= place < width for place in chosen):
        raise InputError(f"sink dimensions {chosen} of a stream of {width}: give some from 0 to {width - 1}")
    sizes = np.abs(np.asarray(residual, dtype=np.float64))
    return ratio(sizes[..., chosen].max(axis=-1), np.sqrt(np.mean(sizes**2, axis=-1)))


def hidden_sinks(
    cache: Any,
    layout: TokenLayout,
    dimensions: SinkDimensions | Sequence[int],
    *,
    threshold: float = SINK_THRESHOLD,
    sample: int = 0,
) -> Bool[np.ndarray, "layer token"]:
    """Which image tokens are sinks by their hidden state: phi of what enters a layer reaches the threshold.

    Args:
        cache: from `run_with_cache`, or a dict, with `blocks.{l}.hook_resid_pre` [batch pos d_model] of every layer.
        layout: of the sample.
        dimensions: from `published_sink_dimensions` or `find_sink_dimensions`.
        threshold: of `sink_values`.
        sample: which of the batch.

    Example:
        >>> sinks = hidden_sinks(cache, inputs.layouts[0], published_sink_dimensions("llava-hf/llava-1.5-7b-hf"))
        >>> overlap(measured, grid, boxes, normalisations=("image", "no-sinks"), sinks=sinks)

    Raises:
        InputError: the cache lacks a layer, or the stream is too narrow for any token to reach the threshold.
    """
    residuals = _residuals(cache, layout.image_positions, sample)
    highest = residuals.shape[-1] ** 0.5
    if threshold > highest:
        raise InputError(
            f"in a residual stream of {residuals.shape[-1]} no sink value exceeds {highest:.1f}, so a threshold of "
            f"{threshold:g} marks no token whatever it holds: give a lower one"
        )
    return sink_values(residuals, dimensions) >= threshold


def mass_sinks(
    attentions: Iterable[Trajectory | Float[np.ndarray, "... token"]], *, times: float = 5.0, most: float = 0.9
) -> Bool[np.ndarray, " token"]:
    """Which image tokens draw attention in nearly every image: sinks by mass.

    A token is one if its share of the attention within the image, mean over images, layers and heads, is above `times`
    the even share (one over the number of tokens), and its mean over layers and heads is so in at least the share
    `most` of the images. Where objects always lie in one place, their tokens can not be told from sinks by mass: take
    images whose objects lie apart, as many as there are.

    Args:
        attentions: of each image, a trajectory or weights over its image tokens [... token]; all images on one grid.
        times: how many times the even share is always on.
        most: share of the images.

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


def _mean_share(weights: Any, place: int) -> np.ndarray:
    """Share of the attention within one image, mean over its maps, [token]; maps without any do not count."""
    maps = np.asarray(weights, dtype=np.float64).reshape(-1, np.shape(weights)[-1])
    total = maps.sum(axis=1, keepdims=True)
    if not (total > 0).any() or not np.isfinite(total).all():
        raise InputError(f"image {place} has no attention on its tokens, or weights that are not finite: leave it out")
    return np.mean((maps / np.where(total > 0, total, 1))[total[:, 0] > 0], axis=0)


def _layers(cache: Any) -> list[str]:
    """The names of the residual streams in a cache, layer by layer."""
    found = {int(match[1]): name for name in cache if (match := re.fullmatch(r"blocks\.(\d+)\.hook_resid_pre", name))}
    if sorted(found) != list(range(len(found))) or not found:
        raise InputError(
            f"the cache has blocks.l.hook_resid_pre for layers {sorted(found)}: capture it for every layer, from 0 on"
        )
    return [found[layer] for layer in range(len(found))]


def _residuals(cache: Any, positions: Sequence[int] | np.ndarray, sample: int) -> np.ndarray:
    """What enters each layer at some positions, float64 [layer position d_model]."""
    streams = [cache[name] for name in _layers(cache)]
    if any(stream.ndim != 3 for stream in streams):
        raise InputError("the cache has no batch axis: capture without remove_batch_dim")
    rows = (stream[sample, list(map(int, positions))] for stream in streams)
    return np.array([row.detach().double().cpu().numpy() if hasattr(row, "detach") else row for row in rows])
