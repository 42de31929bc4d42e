"""Maps over the image tokens for an overlap study, beside attention: by gradients of the answer, and by the lens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from interp.maps.answer_lens import answer_lens
from interp.maps.gradients import ALONE, GRADCAM, GRADIENT, answer_gradient
from interp.maps.trajectory import normalise
from interp.model.frozen import refuse_quantised
from interp.overlap.study.vision import PatchMaps

if TYPE_CHECKING:
    from interp.image.grid import ImageGrid
    from interp.model.hooked_vlm import HookedVLM
    from interp.prompt.inputs import VLMInputs

LENS = "lens"

BY_GRADIENT = (GRADIENT, ALONE, GRADCAM)

ALSO = (*BY_GRADIENT, LENS)
"""Maps over the image tokens that a study can measure beside attention, of the first token that the model says.

`gradient`, `gradient-alone` and `gradcam`: see `interp.maps.gradients.KINDS`; they have the layers and heads of the
rows. `lens`: how probable that token is at each image token (`interp.maps.answer_lens`); it has no heads. All are
normalised as `image`. Attention relative to a neutral prompt is a normalisation of the rows.
"""


def token_settings(vlm: HookedVLM, also: Sequence[str], nulls: Sequence[str]) -> dict[str, dict[str, Any]]:
    """What of a study's settings differs in each of these maps.

    Raises:
        ModelError: gradients of a model with quantised weights.
    """
    if set(also) & set(BY_GRADIENT):
        refuse_quantised(vlm, "a gradient map")
    own: dict[str, Any] = {"normalisations": ["image"]}
    no_heads = {"n_heads": 1, "nulls": [null for null in nulls if null != "heads"]}
    return {name: own | (no_heads if name == LENS else {}) for name in also if name in ALSO}


def token_maps(
    vlm: HookedVLM, inputs: VLMInputs, said: Sequence[int], also: Sequence[str]
) -> list[dict[str, Float[np.ndarray, "layer head token"]]]:
    """The maps of each sample of a batch by name.

    Args:
        vlm: the model.
        inputs: the batch.
        said: the first token that the model said of each sample.
        also: some of `ALSO`.
    """
    found: list[dict[str, np.ndarray]] = [{} for _ in said]
    if kinds := [name for name in also if name in BY_GRADIENT]:
        for own, slopes in zip(found, answer_gradient(vlm, inputs, said), strict=True):
            own |= {kind: slopes.maps(kind) for kind in kinds}
    if LENS in also:
        for own, (_, chance) in zip(found, answer_lens(vlm, inputs, said), strict=True):
            own[LENS] = chance[:, None]
    return found


def with_mean(maps: Float[np.ndarray, "layer head token"], grid: ImageGrid) -> PatchMaps:
    """Maps of one photo as shares of one, the head mean last; NaN where there is nothing."""
    heads = np.concatenate([maps, maps.mean(axis=1, keepdims=True, dtype=np.float64)], axis=1)
    return PatchMaps([normalise(heads, "image")], [1.0], grid)
