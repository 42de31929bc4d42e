"""Cross-modality balance: how each head divides its attention between the image and the words of the prompt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from interp.errors import InputError
from interp.maps.trajectory import check_attention
from interp.reprs import fits_a_cell

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from interp.prompt.layout import TokenLayout

VISION = ("image",)
TEXT = ("question", "template")
"""Prompt text without BOS and system prompt. Image markers (start, end, newline) are neither words nor picture, and
stand in neither group; the model of the paper has none."""

FLOOR = 1e-8

HALF = 0.5
"""A head whose balance is above it looks mostly at the image."""

ROUNDING = 1e-6
"""So much more than even attention is none, in float32."""


@fits_a_cell()
@dataclass(frozen=True, eq=False)
class Balance:
    """Cross-modality balance of one sample.

    Attributes:
        sample_id: which sample.
        values: float32 [layer head], 0 (only words) to 1 (only image): mean over steps of the ratio.
        by_step: float32 [layer head step], the ratio at each step; step 0 is the last prompt row.
        image_mass: float32 [layer head], mean softmax weight on the image: near zero, the ratio says little.
        text_mass: float32 [layer head], mean softmax weight on the words.
        even: the balance of even attention: image tokens over image tokens and words.

    Example:
        >>> balance.values.shape, balance.by_step.shape  # 12 layers, 8 heads, last prompt row
        ((12, 8), (12, 8, 1))
    """

    sample_id: str
    values: Float[np.ndarray, "layer head"]
    by_step: Float[np.ndarray, "layer head step"]
    image_mass: Float[np.ndarray, "layer head"]
    text_mass: Float[np.ndarray, "layer head"]
    even: float

    @property
    def image_heads(self) -> int:
        """How many heads look mostly at the image: their balance is above one half."""
        return int((self.values > HALF).sum())

    @property
    def over_even(self) -> int:
        """How many heads look at the image more than even attention would."""
        return int((self.values > self.even + ROUNDING).sum())

    def to_dataframe(self) -> pd.DataFrame:
        """One row per sample, layer and head: `balance`, `image_mass`, `text_mass` as float32 columns."""
        import pandas as pd

        layer, head = (axis.ravel().astype(np.int32) for axis in np.indices(self.values.shape))
        measures = {name: getattr(self, name).ravel() for name in ("image_mass", "text_mass")}
        return pd.DataFrame(
            {"sample": self.sample_id, "layer": layer, "head": head, "balance": self.values.ravel(), **measures}
        )

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the heat map of the paper: layers down, heads across, colours from 0 to 1."""
        from interp.plots.balance import plot_balance

        return plot_balance(self.values, ax)


def cross_modality_balance(
    pattern: Float[np.ndarray, "layer head key"] | Float[np.ndarray, "layer head step key"],
    layout: TokenLayout,
    *,
    sample_id: str = "",
) -> Balance:
    """Divide each head's attention between the image and the words of the prompt.

    At each step, with a the attention of the newest row after softmax, V the image positions and T the prompt text
    without BOS and system prompt (generated tokens are in neither):

        CMB = sum of a over V / max(sum of a over V and T, 1e-8)

    then the mean over steps ("Beyond Semantics: Rediscovering Spatial Awareness in Vision-Language Models", its
    cross-modality balance, as its code computes it). It is a mean of ratios, not a ratio of means.

    Args:
        pattern: attention after softmax over the padded positions: [layer head key] for the last prompt row, or
            [layer head step key] where step 0 is the last prompt row.
        layout: which position is what.
        sample_id: goes into every row of the table.

    Example:
        >>> cross_modality_balance(pattern, layout).values.shape  # pattern [12 8 140]
        (12, 8)

    Raises:
        InputError: rows do not fit the layout or do not sum to one, or the prompt has no image or no words.
    """
    rows, _ = check_attention(pattern, layout)
    vision, text = layout.positions(*VISION), layout.positions(*TEXT)
    if not len(vision) or not len(text):
        raise InputError(
            f"balance compares image and words but the prompt has {len(vision)} image and {len(text)} text positions"
        )
    image, words = rows[..., vision].sum(axis=-1), rows[..., text].sum(axis=-1)
    ratio = image / np.maximum(image + words, np.float32(FLOOR))
    even = len(vision) / (len(vision) + len(text))
    return Balance(sample_id, ratio.mean(axis=-1), ratio, image.mean(axis=-1), words.mean(axis=-1), even)
