"""Trajectory: where the rows that were captured look, layer by layer and head by head."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float, Float32, Int, Real

from interp.errors import InputError
from interp.reprs import fits_a_cell

if TYPE_CHECKING:
    import pandas as pd

    from interp.image.grid import ImageGrid
    from interp.prompt.layout import TokenLayout

PARTS = ("bos", "system", "image", "image_marker", "question", "template", "answer")
"""The parts of a layout that a row can look at; `answer` is what was generated. Padding is never looked at."""

NORMALISATIONS = ("image", "keys", "no-sinks", "relative")
"""What attention over the image tokens is divided by.

`image`: it sums to one over the image tokens. `keys`: over everything visible, as the softmax gave it. `no-sinks`: sink
tokens are taken out, then it sums to one over the rest. `relative`: A / (A' + eps), A' being the attention under a
neutral prompt, then it sums to one (after Zhang et al. 2025, arXiv:2502.17422, who have no eps).
"""

RELATIVE_FLOOR = 0.1
"""eps of `relative`, as a share of the mean of A': tokens that hardly any prompt looks at do not decide the map."""

TOLERANCE = 1e-3


def trajectory(
    pattern: Float[np.ndarray, "layer head key"] | Float[np.ndarray, "layer head step key"],
    layout: TokenLayout,
    grid: ImageGrid,
    *,
    sample_id: str = "",
    tokens: Sequence[str] | None = None,
) -> Trajectory:
    """Measure where captured attention rows look.

    Args:
        pattern: attention after softmax, over the padded positions: [layer head key] for the last prompt row, or
            [layer head step key] where step 0 is the last prompt row and step s sees s generated tokens. Keys that a
            step does not see hold zero or NaN.
        layout: which position is what.
        grid: the geometry of the image tokens, in the order of `layout.image_positions`.
        sample_id: goes into every row of the table.
        tokens: the token that each step gave, for the table.

    Example:
        >>> measured = trajectory(pattern, layout, grid)  # pattern [12 8 140]
        >>> measured.share("image").shape
        (12, 8)

    Raises:
        InputError: shapes do not fit, a row does not sum to one, or it looks where it can not look.
    """
    rows, visible = check_attention(pattern, layout)
    image = layout.image_positions
    if len(image) == 0 or len(image) != len(grid):
        raise InputError(
            f"the layout has {len(image)} image tokens and the grid has {len(grid)}: "
            "give the layout and the grid of the same image"
        )
    if tokens is not None and len(tokens) != rows.shape[2]:
        raise InputError(f"{len(tokens)} tokens were given for {rows.shape[2]} steps: give one token per step")
    belongs = _parts_of_keys(layout, rows.shape[3])
    image_attention = rows[..., image]
    counts = (visible @ belongs).astype(np.float64)
    return Trajectory(
        sample_id=sample_id,
        shares=rows @ belongs.astype(np.float32),
        token_shares=(counts / counts.sum(axis=1, keepdims=True)).astype(np.float32),
        image_attention=image_attention,
        entropy=_by_layer(rows),
        image_entropy=_by_layer(image_attention),
        visible_keys=visible.sum(axis=1),
        generated=np.ndim(pattern) == 4,
        tokens=None if tokens is None else tuple(tokens),
    )


@fits_a_cell("sample_id image_attention shares generated")
@dataclass(frozen=True, eq=False)
class Trajectory:
    """Where the rows of one sample look. Arrays keep a step axis; a single last prompt row is one step.

    Attributes:
        sample_id: which sample.
        shares: share of attention, float32 [layer head step part], in the order of `PARTS`; sums to one.
        token_shares: share of the visible positions, padding left out, float32 [step part].
        image_attention: softmax weight of each image token, float32 [layer head step token].
        entropy: the entropy of the whole row, in nats, float32 [layer head step].
        image_entropy: the entropy of the row within the image, in nats, float32 [layer head step]; NaN where no weight
            is there.
        visible_keys: how many positions each step sees, int64 [step].
        generated: whether the steps were captured over generated tokens.
        tokens: the token that each step gave, if known.

    Example:
        >>> measured.share("image").shape, measured.image_map(layer=6).shape
        ((12, 8), (64,))
    """

    sample_id: str
    shares: Float[np.ndarray, "layer head step part"]
    token_shares: Float[np.ndarray, "step part"]
    image_attention: Float[np.ndarray, "layer head step token"]
    entropy: Float[np.ndarray, "layer head step"]
    image_entropy: Float[np.ndarray, "layer head step"]
    visible_keys: Int[np.ndarray, " step"]
    generated: bool = False
    tokens: tuple[str, ...] | None = None

    @property
    def n_layers(self) -> int:
        """Number of layers."""
        return self.shares.shape[0]

    @property
    def n_heads(self) -> int:
        """Number of heads."""
        return self.shares.shape[1]

    @property
    def n_steps(self) -> int:
        """Number of steps; 1 for the last prompt row alone."""
        return self.shares.shape[2]

    @cached_property
    def image_entropy_normalised(self) -> Float[np.ndarray, "layer head step"]:
        """Entropy within the image over that of even attention, 0 to 1; NaN for an image of one token."""
        n_tokens = self.image_attention.shape[-1]
        return self.image_entropy / np.float32(np.log(n_tokens) if n_tokens > 1 else np.nan)

    def share(self, part: str) -> Float[np.ndarray, "layer head *step"]:
        """Share of attention on one part: [layer head], or [layer head step] for generated tokens.

        Raises:
            InputError: the part is not one of `PARTS`.
        """
        values = self.shares[..., _part_index(part)]
        return values if self.generated else values[:, :, 0]

    def share_by_layer(self, part: str) -> Float[np.ndarray, " layer *step"]:
        """Share of attention on one part, mean over heads: [layer], or [layer step] for generated tokens."""
        return self.share(part).mean(axis=1)

    def share_overall(self, part: str) -> Float[np.ndarray, "*step"]:
        """Share of attention on one part, mean over heads and layers: [], or [step] for generated tokens."""
        return self.share_by_layer(part).mean(axis=0)

    def token_share(self, part: str) -> Float[np.ndarray, "*step"]:
        """Share of the visible positions that a part holds, padding left out: [], or [step] for generated tokens."""
        values = self.token_shares[:, _part_index(part)]
        return values if self.generated else values[0]

    def image_map(
        self, *, layer: int, head: int | None = None, step: int = 0, normalisation: str = "image"
    ) -> Float[np.ndarray, " token"]:
        """Attention over the image tokens of one layer, float32 [token].

        Args:
            layer: 0-based.
            head: 0-based; None averages the softmax weights over heads first, then normalises, as the paper does.
            step: which row; 0 is the last prompt row.
            normalisation: `image` or `keys`; for the others, which need more, see `normalise`.

        Raises:
            InputError: the layer, head, step or normalisation does not exist, or it needs more.
        """
        _check_index(("layer", layer, self.n_layers), ("head", head, self.n_heads), ("step", step, self.n_steps))
        rows = self.image_attention[layer, :, step]
        values = rows.mean(axis=0) if head is None else rows[head]
        return normalise(values, normalisation)

    def to_dataframe(self) -> pd.DataFrame:
        """One row per sample, layer, head and step; measures are float32 columns.

        Columns: `sample, layer, head, step` (and `token` if tokens are known), `share_<part>` and
        `token_share_<part>` for every part, `entropy` and `image_entropy` in nats, `image_entropy_normalised`.
        """
        import pandas as pd

        shape = self.shares.shape[:3]
        layer, head, step = (axis.ravel().astype(np.int32) for axis in np.indices(shape))
        columns: dict[str, object] = {"sample": self.sample_id, "layer": layer, "head": head, "step": step}
        if self.tokens is not None:
            columns["token"] = np.array(self.tokens, dtype=object)[step]
        for place, part in enumerate(PARTS):
            columns[f"share_{part}"] = self.shares[..., place].ravel()
        for place, part in enumerate(PARTS):
            columns[f"token_share_{part}"] = np.broadcast_to(self.token_shares[:, place], shape).ravel()
        for name in ("entropy", "image_entropy", "image_entropy_normalised"):
            columns[name] = getattr(self, name).ravel()
        return pd.DataFrame(columns)


def normalise(
    weights: Real[np.ndarray, "*maps token"],
    normalisation: str,
    *,
    sinks: Bool[np.ndarray, "... token"] | None = None,
    neutral: Real[np.ndarray, "... token"] | None = None,
) -> Float32[np.ndarray, "*maps token"]:
    """Attention over image tokens [... token] in the given normalisation, float32; NaN where nothing is to divide by.

    Args:
        weights: attention over image tokens.
        normalisation: one of `NORMALISATIONS`.
        sinks: which tokens are taken out, bool [... token].
        neutral: attention, for `relative`, under a neutral prompt A' [... token]; eps is `RELATIVE_FLOOR` of its mean.

    Raises:
        InputError: the normalisation is not one of `NORMALISATIONS`, or what it needs was not given.
    """
    if normalisation not in NORMALISATIONS:
        raise InputError(f"normalisation {normalisation!r} is not known: use one of {', '.join(NORMALISATIONS)}")
    if normalisation == "keys":
        return np.asarray(weights, dtype=np.float32)
    if normalisation == "no-sinks":
        weights = np.where(_needed(sinks, normalisation, "sinks"), 0, weights)
    if normalisation == "relative":
        other = np.asarray(_needed(neutral, normalisation, "neutral"), dtype=np.float64)
        floor = RELATIVE_FLOOR * other.mean(axis=-1, keepdims=True)
        weights = weights / np.where(floor > 0, other + floor, np.nan)
    total = np.sum(weights, axis=-1, keepdims=True, dtype=np.float64)
    return np.divide(weights, total, out=np.full(np.shape(weights), np.nan), where=total > 0).astype(np.float32)


def _needed(given: np.ndarray | None, normalisation: str, name: str) -> np.ndarray:
    """What a normalisation can not do without."""
    if given is None:
        raise InputError(f"normalisation {normalisation!r} needs {name}: give {name}= to overlap, or use another")
    return given


def check_attention(
    pattern: Float[np.ndarray, "layer head key"] | Float[np.ndarray, "layer head step key"], layout: TokenLayout
) -> tuple[Float32[np.ndarray, "layer head step key"], Bool[np.ndarray, "step key"]]:
    """Captured rows as float32 [layer head step key] with zeros where nothing is seen, and what is seen [step key].

    Raises:
        InputError: shapes do not fit, a weight is negative or not a number, a row does not sum to one or holds weight
            on padding or on tokens that come after it.
    """
    rows = np.asarray(pattern, dtype=np.float32)
    if rows.ndim not in (3, 4) or 0 in rows.shape:
        raise InputError(
            f"attention rows have shape {rows.shape}: give [layer head key] or [layer head step key], none of them 0"
        )
    rows = rows[:, :, None] if rows.ndim == 3 else rows
    visible = _visible_keys(layout, n_steps=rows.shape[2], n_keys=rows.shape[3])
    for step, seen in enumerate(visible):
        _refuse_hidden_weight(rows[:, :, step], seen, step)
    rows = np.where(visible, rows, np.float32(0))
    if not np.isfinite(rows).all() or rows.min() < -TOLERANCE:
        raise InputError(
            "attention rows hold negative weights, infinities or NaN on visible keys: give them after softmax"
        )
    worst = np.abs(rows.sum(axis=-1, dtype=np.float64) - 1).max()
    if worst > TOLERANCE:
        raise InputError(
            f"an attention row is off a sum of one by {worst:.3g}: give whole rows, after softmax, unedited"
        )
    return rows, visible


def _refuse_hidden_weight(rows: Float[np.ndarray, "layer head key"], seen: Bool[np.ndarray, " key"], step: int) -> None:
    """Refuse weight on keys that a step does not see; NaN there is how a shorter row is padded."""
    weight = np.nan_to_num(np.abs(rows[..., ~seen]), nan=0.0).max(axis=(0, 1))
    if (weight > TOLERANCE).any():
        raise InputError(
            f"step {step} has weight on position {np.flatnonzero(~seen)[weight.argmax()]}, which is padding or comes "
            "after it: give the layout of this sample, and the last prompt row as step 0"
        )


def _visible_keys(layout: TokenLayout, *, n_steps: int, n_keys: int) -> Bool[np.ndarray, "step key"]:
    """Which keys each step sees, bool [step key]: the prompt without padding, and the tokens generated before it."""
    needed = layout.last + n_steps
    if n_keys < needed:
        raise InputError(f"attention rows have {n_keys} keys but step {n_steps - 1} of this layout sees up to {needed}")
    real = np.ones(n_keys, dtype=bool)
    padding = layout.positions("pad")
    real[padding[padding < n_keys]] = False
    return real & (np.arange(n_keys) <= layout.last + np.arange(n_steps)[:, None])


def _parts_of_keys(layout: TokenLayout, n_keys: int) -> Int[np.ndarray, "key part"]:
    """Which part each key belongs to, 0 or 1, [key part]; keys after the prompt are the answer."""
    kinds = np.full(n_keys, "answer", dtype=object)
    kinds[: layout.last + 1] = layout.kinds[: layout.last + 1]
    return (kinds[:, None] == np.array(PARTS, dtype=object)).astype(np.int64)


def _by_layer(weights: Float[np.ndarray, "layer head step key"]) -> Float[np.ndarray, "layer head step"]:
    """Entropy in nats over the last axis of [layer head step key], normalised there; one layer at a time in memory."""
    return np.stack([_entropy(layer) for layer in weights])


def _entropy(weights: Float[np.ndarray, "*rows key"]) -> Float[np.ndarray, "*rows"]:
    """Entropy in nats over the last axis, float32; NaN where the weights sum to zero."""
    shares = normalise(weights, "image").astype(np.float64)
    return -np.sum(shares * np.log(np.where(shares > 0, shares, 1)), axis=-1).astype(np.float32)


def _part_index(part: str) -> int:
    """Place of a part in `PARTS`, or a refusal."""
    if part not in PARTS:
        raise InputError(f"layout part {part!r} is not known: use one of {', '.join(PARTS)}")
    return PARTS.index(part)


def _check_index(*asked: tuple[str, int | None, int]) -> None:
    """Refuse an index that does not exist; negative ones too, lest -1 be taken for a mean."""
    for name, index, size in asked:
        if index is not None and not 0 <= index < size:
            raise InputError(f"{name} {index} does not exist: this trajectory has {name}s 0 to {size - 1}")
