"""RoPE sensitivity: how much the attention of each head on the image depends on where the image tokens stand."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from jaxtyping import Bool, Float32, Float64, Int
from torch import Tensor

from interp.errors import InputError
from interp.numeric import read_flag
from interp.reprs import fits_a_cell
from probes.position.rope_rows import LayerProbe, TurnedRow
from probes.position.rotary import Rotary
from probes.position.stream_norms import name_samples

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from interp.intervene.base import Intervention
    from interp.model.hooked import HookedModel
    from interp.prompt.inputs import VLMInputs

APPENDED_EOS = "appended_eos"
"""The query row of the paper's code: an end-of-text token that is put behind the prompt. Its own is the last row."""

DTYPES = {"float32": torch.float32, "float64": torch.float64}

MEASURES = ("alpha_v", "alpha_product", "delta_alpha_v", "delta_g_v", "residual")


@fits_a_cell("sample_id delta axis query_row alpha_v delta_alpha_v delta_g_v")
@dataclass(frozen=True, eq=False)
class RopeSensitivity:
    """RoPE sensitivity of one sample.

    Attributes:
        sample_id: which sample.
        delta: positions by which the image keys were moved on.
        axis: along which axis of M-RoPE, or `all`.
        query_row: the row by its name, or its position in the padded prompt.
        alpha_v: float32 [layer head], softmax mass of the row on the image, among all keys that it sees.
        alpha_product: float32 [layer head], alpha_v (1 - alpha_v): near zero, the softmax is saturated.
        delta_alpha_v: float32 [layer head], signed change of that mass.
        delta_g_v: float32 [layer head], signed mean change of the image keys' logits, per position.
        residual: float32 [layer head], what the first-order identity leaves: delta_alpha_v - alpha_product delta_g_v
            delta.
        image_keys: int64 [layer], image keys that the row sees; 0 behind a sliding window, where all measures are 0.

    Example:
        >>> found.delta_alpha_v.shape  # 32 layers, 32 query heads
        (32, 32)
    """

    sample_id: str
    delta: float
    axis: str
    query_row: str | int
    alpha_v: Float32[np.ndarray, "layer head"]
    alpha_product: Float32[np.ndarray, "layer head"]
    delta_alpha_v: Float32[np.ndarray, "layer head"]
    delta_g_v: Float32[np.ndarray, "layer head"]
    residual: Float32[np.ndarray, "layer head"]
    image_keys: Int[np.ndarray, " layer"]

    def to_dataframe(self) -> pd.DataFrame:
        """One row per layer and head: the measures as float32 columns, `axis`, `delta`, `image_keys`."""
        import pandas as pd

        layer, head = (axis.ravel().astype(np.int32) for axis in np.indices(self.alpha_v.shape))
        return pd.DataFrame(
            {"sample": self.sample_id, "axis": self.axis, "delta": self.delta, "layer": layer, "head": head}
            | {name: getattr(self, name).ravel() for name in MEASURES}
            | {"image_keys": self.image_keys[layer].astype(np.int32)}
        )

    def plot(self, ax: Axes | None = None, *, measure: str = "delta_alpha_v") -> Axes:
        """Draw one of `MEASURES` as a heat map, layers down and heads across."""
        from probes.position.figures.rope import plot_rope_heads

        if measure not in MEASURES:
            raise InputError(f"measure={measure!r} is not known: use one of {', '.join(MEASURES)}")
        return plot_rope_heads(getattr(self, measure), ax, measure=measure)


def rope_sensitivity(
    vlm: HookedModel,
    inputs: VLMInputs,
    delta: float = 1.0,
    *,
    query_row: Literal["last", "appended_eos"] | int = "last",
    axis: str | None = None,
    restrict_to_past: bool = False,
    dtype: str = "float32",
    sample_ids: Sequence[str] | None = None,
    intervention: Intervention | None = None,
) -> tuple[RopeSensitivity, ...]:
    """Move the keys of the image on by some positions, for one query row, and see how its attention changes.

    With l_k the logit of key k (scaled, soft-capped), a its softmax over all keys that the row sees, V the image's, and
    l' and a' the same after the image keys alone were turned by `delta` further positions,

        alpha_V = sum of a over V          delta alpha_V = sum of a' over V - alpha_V
        delta g_V = sum over V of (a_v / alpha_V) (l'_v - l_v) / delta
        delta alpha_V ~ alpha_V (1 - alpha_V) delta g_V delta         to first order; `residual` is what it leaves

    ("Beyond Semantics: Rediscovering Spatial Awareness in Vision-Language Models", equations 4 and 11). Turning keys
    that RoPE has turned is the same as encoding them at positions that lie `delta` further, at this layer: what they
    hold, and all other keys, stay. One forward pass serves all layers and heads, and nothing in it is edited.

    As in the paper's code, the alpha_V that is divided by is at least 1e-12. That code differs in its row, an appended
    end-of-text token (`query_row="appended_eos"`), and divides by max(delta, 1e-12), so that delta g_V of a negative
    delta is meaningless there and right here. Its option `restrict_to_past` leaves out the row's own key, which the
    model sees.

    Args:
        vlm: the hooked model.
        inputs: what `prepare` gave; one result for each of its samples.
        delta: positions, any real number, negative ones too; 0 gives exactly 0.
        query_row: `last` (the last prompt row), `appended_eos`, or a position in the padded prompt from the first image
            token on, negative ones from its end.
        axis: where positions have three streams (M-RoPE), the one that is moved: `time`, `height` or `width`; None
            moves all of them, as one more token of text would.
        restrict_to_past: only keys before the row count.
        dtype: the type of the arithmetic after the model's own queries and keys: `float32`, or `float64` for small
            deltas.
        sample_ids: a name for each sample; their places by default.
        intervention: what is edited before anything is measured, such as the lengths of image tokens.

    Example:
        >>> (found,) = rope_sensitivity(vlm, vlm.prepare(photo, "Where is the mug?"))
        >>> np.abs(found.delta_g_v).mean()  # over layers and heads

    Raises:
        InputError: a delta that is no number, a row that is not there or sees no image, an axis that positions do not
            have, or an unknown dtype.
        RefusedError: a decoder without RoPE in all of its layers.
        ModelError: the logits of a layer are not those of its queries and keys, as where something edits them.
    """
    delta, restrict_to_past = check_delta(delta), read_flag(restrict_to_past, "restrict_to_past")
    if dtype not in DTYPES:
        raise InputError(f"dtype={dtype!r} is not offered: use one of {', '.join(DTYPES)}")
    names = name_samples(inputs, sample_ids)
    given = _with_end(vlm, inputs) if query_row == APPENDED_EOS else inputs
    row = row_of(given, query_row)
    rotary = Rotary.of(vlm)
    rotary.check_axis(axis)
    settings: dict[str, Any] = {"delta": delta, "past_only": restrict_to_past, "dtype": DTYPES[dtype]}
    settings |= {"image": _image_keys(given).to(vlm.device), "row": row, "turn": _turns(rotary, delta, axis)}
    probes = [LayerProbe(layer, attention, **settings) for layer, attention in enumerate(vlm.text_attentions)]
    with torch.no_grad(), vlm.hooks(intervention=intervention, inputs=given):
        vlm.run_with_hooks(given, fwd_hooks=[hook for probe in probes for hook in probe.hooks()])
    found = [probe.result() for probe in probes]
    asked = {"delta": delta, "axis": axis or "all", "query_row": query_row if isinstance(query_row, str) else row}
    return tuple(_of_sample(found, sample, {"sample_id": name, **asked}) for sample, name in enumerate(names))


def _of_sample(found: list[TurnedRow], sample: int, asked: dict[str, Any]) -> RopeSensitivity:
    """The result of one sample, from what was found in each layer."""

    def by_layer(measure: str) -> Float64[np.ndarray, "layer ..."]:
        return np.stack([getattr(row, measure)[sample].double().cpu().numpy() for row in found])

    parts = {measure: by_layer(measure) for measure in ("alpha_v", "alpha_product", "delta_alpha_v", "delta_g_v")}
    parts["residual"] = parts["delta_alpha_v"] - parts["alpha_product"] * parts["delta_g_v"] * asked["delta"]
    measures: dict[str, Any] = {measure: values.astype(np.float32) for measure, values in parts.items()}
    return RopeSensitivity(**asked, **measures, image_keys=by_layer("image_keys").astype(np.int64))


# what was asked -------------------------------------------------------------------------------------------------


def check_delta(delta: Any) -> float:
    """The positions to move by, as a number.

    Raises:
        InputError: it is no real number.
    """
    if isinstance(delta, bool) or not isinstance(delta, (int, float, np.number)) or not math.isfinite(delta):
        raise InputError(f"delta={delta!r} is no number of positions: give a real number, such as 1.0")
    return float(delta)


def check_query_row(query_row: Any) -> str | int:
    """The query row, by its name or position, where it is one.

    Raises:
        InputError: it is none.
    """
    if isinstance(query_row, str) and query_row in ("last", APPENDED_EOS):
        return query_row
    if isinstance(query_row, (int, np.integer)) and not isinstance(query_row, bool):
        return int(query_row)
    raise InputError(f"query_row={query_row!r} is not known: use 'last', {APPENDED_EOS!r} or one position")


def row_of(inputs: VLMInputs, query_row: Any) -> int:
    """The row's position in the padded prompt, where each sample has a token that sees some of its image.

    Raises:
        InputError: it is no row, lies outside, or sees no image.
    """
    length = inputs.input_ids.shape[1]
    known = check_query_row(query_row)
    row = length - 1 if isinstance(known, str) else known
    if not -length <= row < length:
        raise InputError(f"query_row={row} lies outside the prompt of {length} positions: give 0 to {length - 1}")
    row %= length
    for sample, layout in enumerate(inputs.layouts):
        image = layout.image_positions
        if not len(image):
            raise InputError(f"sample {sample} has no image token: rope_sensitivity moves those of the image")
        if row < image[0]:
            raise InputError(
                f"query_row={row} stands before the image of sample {sample}, of which it sees nothing: give a "
                f"position from {image[0]} on"
            )
    return row


def _image_keys(inputs: VLMInputs) -> Bool[Tensor, "batch key"]:
    image = torch.zeros(inputs.input_ids.shape, dtype=torch.bool)
    for sample, layout in enumerate(inputs.layouts):
        image[sample, torch.from_numpy(layout.image_positions)] = True
    return image


def _turns(rotary: Rotary, delta: float, axis: str | None) -> Callable[[int], Float64[Tensor, "d_head d_head"]]:
    """What turns the keys of a layer; asked of the model once for each kind of layer."""
    known: dict[str, Float64[Tensor, "d_head d_head"]] = {}

    def turn(layer: int) -> Float64[Tensor, "d_head d_head"]:
        kind = rotary.kinds[layer] if rotary.kinds else ""
        if kind not in known:
            known[kind] = rotary.turn(layer, delta, axis)
        return known[kind]

    return turn


def _with_end(vlm: HookedModel, inputs: VLMInputs) -> VLMInputs:
    """The batch with an end-of-text token behind each prompt, which sees the prompt as a generated token does."""
    words = vlm.processor.tokenizer
    if words.eos_token_id is None:
        raise InputError("this tokenizer has no end-of-text token to append: use query_row='last'")
    appended = {"input_ids": int(words.eos_token_id), "attention_mask": 1}
    if "prefix" in vlm.family.refusals:  # its prompts see themselves both ways, and must not see what comes after them
        appended["token_type_ids"] = 1
    tensors = {
        name: torch.cat([value, torch.full_like(value[:, -1:], appended.get(name, 0))], dim=1)
        if value.shape == inputs.input_ids.shape
        else value
        for name, value in inputs.tensors.items()
    }
    layouts = tuple(layout.extended([words.eos_token]) for layout in inputs.layouts)
    return replace(inputs, tensors=tensors, layouts=layouts)
