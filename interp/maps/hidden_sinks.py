"""Which image tokens are sinks in a model's residual stream, from one more pass."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from interp.errors import InputError

if TYPE_CHECKING:
    from jaxtyping import Bool

    from interp.model.hooked_vlm import HookedVLM
    from interp.prompt.inputs import VLMInputs


def untouched_sinks(vlm: HookedVLM, inputs: VLMInputs) -> tuple[Bool[np.ndarray, "layer head token"] | None, str]:
    """The image tokens that are sinks by their hidden state in one more run of the prompt, without any intervention.

    Returns:
        Which tokens are sinks, and by what they were found; or None, and why it can not be told.
    """
    import torch

    from interp.maps.sinks import (
        SINK_DIMENSIONS,
        SINK_THRESHOLD,
        find_sink_dimensions,
        hidden_sinks,
        published_sink_dimensions,
    )

    width, name = vlm.cfg.d_model, str(vlm.origin.get("model", ""))
    if SINK_THRESHOLD > width**0.5 or vlm.cfg.n_layers < 3:
        return None, (
            f"Sinks are not known, so no-sinks is not offered: in a residual stream of {width} in {vlm.cfg.n_layers} "
            "layers none can be told by its hidden state. Give sinks=mass_sinks(...), from several photos."
        )
    streams = [f"blocks.{layer}.hook_resid_pre" for layer in range(vlm.cfg.n_layers)]
    with torch.no_grad():
        _, cache = vlm.run_with_cache(inputs, names_filter=streams, device="cpu", logits_to_keep=1)
    layout = inputs.layouts[0]
    known = name in SINK_DIMENSIONS
    dimensions = published_sink_dimensions(name) if known else find_sink_dimensions(cache, layout)
    sinks = hidden_sinks(cache, layout, dimensions, threshold=SINK_THRESHOLD)
    return sinks_per_head(sinks, (*sinks.shape[:1], vlm.cfg.n_heads, sinks.shape[1])), (
        "A sink is an image token whose sink value in what enters a layer, in the untouched run, is "
        f"{SINK_THRESHOLD:g} or more ({dimensions.describe()})."
    )


def sinks_per_head(
    sinks: Bool[np.ndarray, "... token"], shape: tuple[int, int, int]
) -> Bool[np.ndarray, "layer head token"]:
    """Sinks of every head, from [token], [layer token] or [layer head token]."""
    given = np.asarray(sinks)
    full = given[None, None] if given.ndim == 1 else given[:, None] if given.ndim == 2 else given
    wide = (shape[0] if given.ndim > 1 else 1, shape[1] if given.ndim > 2 else 1, shape[2])
    if given.dtype != bool or full.shape != wide:
        raise InputError(
            f"sinks have shape {given.shape} and type {given.dtype}: give booleans [token], [layer token] or "
            f"[layer head token], of {shape[0]} layers, {shape[1]} heads and {shape[2]} image tokens"
        )
    return np.broadcast_to(full, shape)
