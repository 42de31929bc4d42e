"""Sink dimensions: those of the residual stream in which sinks stand out, as published or estimated from a run."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from interp.errors import InputError

if TYPE_CHECKING:
    from interp.prompt.layout import TokenLayout

SINK_DIMENSIONS = {
    "llava-hf/llava-1.5-7b-hf": (1415, 2533),
    "llava-hf/llava-1.5-13b-hf": (2100, 4743),
    "Qwen/Qwen2-VL-7B-Instruct": (458, 2570),
    "OpenGVLab/InternVL2-8B": (3584,),
}
"""The published sink dimensions of the residual stream, by checkpoint (Kang et al. 2025, arXiv:2503.03321)."""


@dataclass(frozen=True)
class SinkDimensions:
    """The dimensions of a residual stream in which sinks stand out.

    Attributes:
        dimensions: 0-based.
        estimated: whether `find_sink_dimensions` guessed them; else they are published for this checkpoint.
        ratios: the ratios of an estimate: how many times the median activation each of them has.
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
        cache: a cache of `run_with_cache`, or a dict, with `blocks.{l}.hook_resid_pre` [batch pos d_model] of every
            layer.
        layout: the layout of the sample, which says where padding ends.
        count: the number of dimensions to take.
        skip_layers: the number of first layers that do not count, as sinks have not formed yet.
        sample: the place of the sample in the batch.

    Example:
        >>> residual = lambda name: name.startswith("blocks.") and name.endswith("hook_resid_pre")
        >>> _, cache = vlm.run_with_cache(inputs, names_filter=residual)
        >>> find_sink_dimensions(cache, inputs.layouts[0]).estimated
        True

    Raises:
        InputError: the cache lacks a layer, or no layer or dimension would be left.
    """
    first = int(np.argmax(np.array(layout.kinds) != "pad"))
    rows = np.abs(residuals_of(cache, [first], sample))[skip_layers:, 0]
    if not len(rows) or not 1 <= count <= rows.shape[1]:
        raise InputError(f"skip_layers={skip_layers} and count={count} leave nothing: skip fewer, count from 1")
    times = np.median(rows / np.median(rows, axis=1, keepdims=True), axis=0)
    chosen = np.argsort(-times, kind="stable")[:count]
    return SinkDimensions(tuple(chosen.tolist()), estimated=True, ratios=tuple(times[chosen].tolist()))


def residuals_of(cache: Any, positions: Sequence[int] | np.ndarray, sample: int) -> np.ndarray:
    """What enters each layer at some positions, float64 [layer position d_model]."""
    streams = [cache[name] for name in _layers(cache)]
    if any(stream.ndim != 3 for stream in streams):
        raise InputError("the cache has no batch axis: capture without remove_batch_dim")
    rows = (stream[sample, list(map(int, positions))] for stream in streams)
    return np.array([row.detach().double().cpu().numpy() if hasattr(row, "detach") else row for row in rows])


def _layers(cache: Any) -> list[str]:
    """The names of the residual streams in a cache, layer by layer."""
    found = {int(match[1]): name for name in cache if (match := re.fullmatch(r"blocks\.(\d+)\.hook_resid_pre", name))}
    if sorted(found) != list(range(len(found))) or not found:
        raise InputError(
            f"the cache has blocks.l.hook_resid_pre for layers {sorted(found)}: capture it for every layer, from 0 on"
        )
    return [found[layer] for layer in range(len(found))]
