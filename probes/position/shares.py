"""Attention shares: how much of the model's attention system prompt, image and words get, and how widely it lies.

The balance of `probes.position.balance` is a mean of ratios over heads; here heads and layers are averaged first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Int

from interp.errors import InputError
from interp.maps.trajectory import check_attention
from interp.reprs import fits_a_cell
from probes.position.balance import FLOOR, TEXT, VISION

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from interp.model.generation import GeneratedAttention
    from interp.prompt.layout import TokenLayout

GROUPS = {"system": ("system",), "image": VISION, "text": TEXT}
"""Which positions are what; BOS, image markers and generated tokens are in none of the groups."""

ALIGNMENTS = ("produced", "consumed")
"""Which pass belongs to a generated token: the one that produced it, or the authors', whose query it is."""

ENTROPY_EPS = 1e-10


@fits_a_cell()
@dataclass(frozen=True, eq=False)
class Shares:
    """How attention is divided in one sample.

    Attributes:
        sample_id: which sample.
        groups: the groups that the prompt has, of system, image and text.
        kept: float32 [group], which sum to one: mean over steps of each group's part of what all of them get.
        kept_authors: float32 [group], the same as the authors compute it: the system prompt as in `kept`, and the rest
            divided between image and text as in `masked`, which is a product of means.
        masked: float32, the image's part of what image and text get, mean over steps.
        by_step: float32 [step group], behind `kept`; step 0 is the last prompt row.
        coverage: float32, mean part of a row, BOS taken out, that lies on any of the groups.
    """

    sample_id: str
    groups: tuple[str, ...]
    kept: Float[np.ndarray, " group"]
    kept_authors: Float[np.ndarray, " group"]
    masked: float
    by_step: Float[np.ndarray, "step group"]
    coverage: float

    def to_dataframe(self) -> pd.DataFrame:
        """One row per sample, system prompt (kept or masked) and group; a group that is not there has no row."""
        import pandas as pd

        kept = zip(self.groups, self.kept, self.kept_authors, strict=True)
        rows = [("kept", group, own, authors) for group, own, authors in kept]
        rows += [("masked", "image", self.masked, self.masked), ("masked", "text", 1 - self.masked, 1 - self.masked)]
        table = pd.DataFrame(rows, columns=["system_prompt", "group", "share", "share_authors"])
        table = table.astype({"share": np.float32, "share_authors": np.float32})
        table.insert(0, "sample", self.sample_id)
        return table

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw both divisions as bars: system prompt kept, and masked."""
        from probes.position.figures.shares import plot_shares

        return plot_shares(self.groups, self.kept, self.masked, ax)


@fits_a_cell()
@dataclass(frozen=True, eq=False)
class AttentionEntropy:
    """How widely attention lies over the image behind each generated token of one sample.

    Attributes:
        sample_id: which sample.
        alignment: one of `ALIGNMENTS`.
        tokens: the generated tokens that have a value, in order; with `consumed`, the last one has none.
        values: float32 [token], 0 (all on one image token) to 1 (even).
        shares: float32 [token image_token], attention over the image, each row summing to one.
    """

    sample_id: str
    alignment: str
    tokens: tuple[str, ...]
    values: Float[np.ndarray, " token"]
    shares: Float[np.ndarray, "token image_token"]

    def to_dataframe(self) -> pd.DataFrame:
        """One row per sample and generated token."""
        import pandas as pd

        places = np.arange(len(self.tokens), dtype=np.int32)
        head = {"sample": self.sample_id, "alignment": self.alignment, "step": places, "token": list(self.tokens)}
        return pd.DataFrame({**head, "entropy": self.values})

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the entropy of each token."""
        from probes.position.figures.shares import plot_entropy

        return plot_entropy(self.tokens, self.values, ax)


def aggregate_attention(
    pattern: Float[np.ndarray, "layer head key"] | Float[np.ndarray, "layer head step key"], layout: TokenLayout
) -> Float[np.ndarray, "step key"]:
    """One row a step, which sums to one: heads averaged, BOS taken out, each layer made whole again, layers averaged.

    Raises:
        InputError: rows do not fit the layout or do not sum to one, or a layer looks at BOS alone.
    """
    rows = check_attention(pattern, layout)[0].mean(axis=1, dtype=np.float64)
    rows[..., layout.positions("bos")] = 0
    whole = rows.sum(axis=-1, keepdims=True)
    if not whole.all():
        layer = int(np.argwhere(whole[..., 0] == 0)[0, 0])
        raise InputError(f"layer {layer} has all its attention on BOS, so nothing can be shared: leave the layer out")
    return (rows / whole).mean(axis=0).astype(np.float32)


def modality_shares(
    pattern: Float[np.ndarray, "layer head key"] | Float[np.ndarray, "layer head step key"],
    layout: TokenLayout,
    *,
    sample_id: str = "",
) -> Shares:
    """Divide attention between system prompt, image and words.

    With m the aggregated row of a step (see `aggregate_attention`) summed over a group, at each step

        s_X = m_X / (m_system + m_image + m_text),    masked = m_image / (m_image + m_text)

    and means over steps (Beyond Semantics, its attention shares). The authors' pie of three is not the mean of s_X: its
    image is mean(masked) * (1 - mean(s_system)), and its text the rest; that is `kept_authors`.

    Args:
        pattern: attention after softmax over the padded positions; step 0 is the last prompt row.
        layout: which position is what.
        sample_id: goes into every row of the table.

    Example:
        >>> modality_shares(rows.pattern, rows.layout).masked  # rows of vlm.generate_with_cache
        0.71

    Raises:
        InputError: rows do not fit the layout, or the prompt has no image or no words.
    """
    rows = aggregate_attention(pattern, layout)
    places = places_of(layout)
    groups = tuple(name for name, own in places.items() if len(own))
    mass = np.stack([rows[:, places[name]].sum(axis=1) for name in groups], axis=1)
    by_step = mass / np.maximum(mass.sum(axis=1, keepdims=True), np.float32(FLOOR))
    image, text = (mass[:, groups.index(name)] for name in ("image", "text"))
    masked = float((image / np.maximum(image + text, np.float32(FLOOR))).mean())
    kept = by_step.mean(axis=0)
    system = float(kept[0]) if "system" in groups else 0.0
    authors = {"system": system, "image": masked * (1 - system), "text": (1 - masked) * (1 - system)}
    theirs = np.array([authors[name] for name in groups], dtype=np.float32)
    return Shares(sample_id, groups, kept, theirs, masked, by_step, float(mass.sum(axis=1).mean()))


def attention_entropy(
    rows: GeneratedAttention, *, alignment: str = "produced", sample_id: str = ""
) -> AttentionEntropy:
    """Normalised entropy of the attention over the image, for each generated token.

    With a the aggregated row (see `aggregate_attention`) at the N image tokens, p = a / sum a, then 1e-10 is added to
    each and p made whole again:

        H = -sum p log2 p / log2 N,    0 to 1

    (Beyond Semantics, its attention entropy.) A token belongs to the pass that produced it. The authors take the pass
    whose query is the token, one later, which produced the next one: `alignment="consumed"`. Both were 0.035 apart on a
    tiny model.

    Args:
        rows: of `vlm.generate_with_cache`.
        alignment: `produced` or `consumed`.
        sample_id: goes into every row of the table.

    Example:
        >>> _, (rows,) = vlm.generate_with_cache(inputs)
        >>> attention_entropy(rows).values.mean()

    Raises:
        InputError: fewer than two image tokens, another alignment, rows that do not fit the layout, or `consumed` with
            a single token, which no later pass reads.
    """
    image = rows.layout.positions(*VISION)
    if alignment not in ALIGNMENTS:
        raise InputError(f"there is no alignment {alignment!r}: use {' or '.join(ALIGNMENTS)}")
    if len(image) < 2:
        raise InputError(f"entropy is over image tokens, and the prompt has {len(image)}: give 2 or more")
    if alignment == "consumed" and len(rows.tokens) < 2:
        raise InputError("the only generated token is the query of no pass: generate more, or align as produced")
    whole = aggregate_attention(rows.pattern, rows.layout)[:, image]
    first = ALIGNMENTS.index(alignment)
    shares = whole[first:] / np.maximum(whole[first:].sum(axis=1, keepdims=True), np.finfo(np.float32).tiny)
    shares = (shares + np.float32(ENTROPY_EPS)) / (shares + np.float32(ENTROPY_EPS)).sum(axis=1, keepdims=True)
    exact = shares.astype(np.float64)
    values = -(exact * np.log2(exact)).sum(axis=1) / np.log2(len(image))
    tokens = rows.tokens[: len(rows.tokens) - first]
    return AttentionEntropy(sample_id, alignment, tokens, values.clip(0, 1).astype(np.float32), shares)


def places_of(layout: TokenLayout) -> dict[str, Int[np.ndarray, " position"]]:
    """The positions of each group, of which a prompt without image or words has none.

    Raises:
        InputError: it is such a prompt.
    """
    places = {name: layout.positions(*kinds) for name, kinds in GROUPS.items()}
    if not len(places["image"]) or not len(places["text"]):
        raise InputError(
            f"shares divide between image and words but the prompt has {len(places['image'])} image and "
            f"{len(places['text'])} text positions"
        )
    return places
