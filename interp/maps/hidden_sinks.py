"""Sinks by their hidden state: image tokens whose residual stream is large in the sink dimensions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Float

from interp.errors import InputError
from interp.maps.sink_dimensions import (
    SINK_DIMENSIONS,
    SinkDimensions,
    find_sink_dimensions,
    published_sink_dimensions,
    residuals_of,
)
from interp.maps.sinks import sinks_per_head
from interp.numeric import ratio

if TYPE_CHECKING:
    from interp.model.hooked_vlm import HookedVLM
    from interp.prompt.inputs import VLMInputs
    from interp.prompt.layout import TokenLayout

SINK_THRESHOLD = 20.0
"""The sink value from which a token is a sink (Kang et al. 2025, arXiv:2503.03321)."""


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
        cache: a cache of `run_with_cache`, or a dict, with `blocks.{l}.hook_resid_pre` [batch pos d_model] of every
            layer.
        layout: the layout of the sample.
        dimensions: those of `published_sink_dimensions` or `find_sink_dimensions`.
        threshold: the sink value from which a token is a sink.
        sample: the place of the sample in the batch.

    Example:
        >>> sinks = hidden_sinks(cache, inputs.layouts[0], published_sink_dimensions("llava-hf/llava-1.5-7b-hf"))
        >>> overlap(measured, grid, boxes, normalisations=("image", "no-sinks"), sinks=sinks)

    Raises:
        InputError: the cache lacks a layer, or the stream is too narrow for any token to reach the threshold.
    """
    residuals = residuals_of(cache, layout.image_positions, sample)
    highest = residuals.shape[-1] ** 0.5
    if threshold > highest:
        raise InputError(
            f"in a residual stream of {residuals.shape[-1]} no sink value exceeds {highest:.1f}, so a threshold of "
            f"{threshold:g} marks no token whatever it holds: give a lower one"
        )
    return sink_values(residuals, dimensions) >= threshold


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


def untouched_sinks(vlm: HookedVLM, inputs: VLMInputs) -> tuple[Bool[np.ndarray, "layer head token"] | None, str]:
    """The image tokens that are sinks by their hidden state in one more run of the prompt, without any intervention.

    Returns:
        Which tokens are sinks, and by what they were found; or None, and why it can not be told.
    """
    import torch

    width, name = vlm.cfg.d_model, str(vlm.origin.get("model", ""))
    if SINK_THRESHOLD > width**0.5 or vlm.cfg.n_layers < 3:
        return None, (
            "Sinks are not known, so no-sinks is not offered: by their hidden state they are found from 3 layers and "
            f"a residual stream of {math.ceil(SINK_THRESHOLD**2)} on, and this model has {vlm.cfg.n_layers} and "
            f"{width}. Give sinks=mass_sinks(...), from several photos."
        )
    streams = [f"blocks.{layer}.hook_resid_pre" for layer in range(vlm.cfg.n_layers)]
    with torch.no_grad():
        _, cache = vlm.run_with_cache(inputs, names_filter=streams, device="cpu", logits_to_keep=1)
    layout = inputs.layouts[0]
    known = name in SINK_DIMENSIONS
    dimensions = published_sink_dimensions(name) if known else find_sink_dimensions(cache, layout)
    sinks = hidden_sinks(cache, layout, dimensions, threshold=SINK_THRESHOLD)
    return sinks_per_head(sinks, (vlm.cfg.n_layers, vlm.cfg.n_heads, sinks.shape[1])), (
        "A sink is an image token whose sink value in what enters a layer, in the untouched run, is "
        f"{SINK_THRESHOLD:g} or more ({dimensions.describe()})."
    )
