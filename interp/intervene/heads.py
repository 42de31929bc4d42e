"""Scaled heads: what chosen heads mix, made smaller, taken away or made larger, before it is written to the stream."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from interp.hooks.shape import ModelShape
from interp.intervene.base import Hook
from interp.intervene.head_edits import (
    Change,
    check_batch,
    hooks_on_z,
    read_per_head,
    read_scope,
    rows_in_scope,
    spell_numbers,
)
from interp.intervene.head_sets import Heads, read_heads, spell_heads
from interp.intervene.positions import Positions, is_of_each, spell_positions
from interp.prompt.layout import TokenLayout


@dataclass(frozen=True)
class ScaleHeads:
    """Multiply what chosen heads have mixed: z <- factor z, in front of the output projection.

    A small factor (1e-3 in arXiv:2603.20662, 1e-4 in the code of arXiv:2512.10978) masks heads while their attention
    stays as it is, 0 takes them away, one above 1 strengthens them. Which passes and positions are edited changes what
    is found, and papers differ: the released code of CogQA (arXiv:2512.10978) masks with `scope="decode"`, where the
    first token of an answer never changes.

    Attributes:
        heads: (layer, head) pairs, 0-based. Heads are query heads, also where several share keys and values.
        factor: one for all heads, or one for each in their order; 1 changes nothing.
        positions: where, in the padded prompt: `last`, `all`, `image`, `after_image`, `text` (all but the image, its
            markers and padding), positions that all samples share (negative ones count from the end), such as those of
            a word, or a list of them for each sample, such as `object_words` finds.
        scope: `prompt`, the chosen positions of the prompt; `decode`, each token that is decoded; or `both`.

    Example:
        >>> ScaleHeads([(8, 3), (8, 1), (9, 0)], 1e-3)
        ScaleHeads(heads=L8H1,3 L9H0, factor=0.001, positions=last, scope=both)
        >>> keep_only = ScaleHeads(other_heads(spatial, vlm.cfg), 0)

    Raises:
        InputError: heads, numbers, positions or a scope that mean nothing.
    """

    heads: Heads
    factor: float | tuple[float, ...] = 1e-3
    positions: Positions = "last"
    scope: str = "both"

    def __post_init__(self) -> None:
        """Refuse what means nothing."""
        heads = read_heads(self.heads)
        factors = read_per_head(self.factor, heads, "factor", example="0.001 or 2")
        order = sorted(range(len(heads)), key=heads.__getitem__)
        same = len(set(factors)) == 1
        object.__setattr__(self, "heads", tuple(heads[place] for place in order))
        object.__setattr__(self, "factor", factors[0] if same else tuple(factors[place] for place in order))
        object.__setattr__(self, "positions", read_scope(self.positions, self.scope))

    def hooks(self, shape: ModelShape, layouts: Sequence[TokenLayout]) -> list[Hook]:
        """One hook a layer, for all of its heads; none where every factor is 1.

        Raises:
            HookError: a head that the model does not have.
            InputError: positions that do not fit the batch.
        """
        check_batch(self.heads, shape, None, len(layouts), str(self))
        rows = rows_in_scope(self.positions, self.scope, layouts, str(self))
        factors = self.factor if isinstance(self.factor, tuple) else (self.factor,) * len(self.heads)
        chosen = [(head, factor) for head, factor in zip(self.heads, factors, strict=True) if factor != 1]

        def change(sample: int, places: list[int]) -> Change:
            return partial(_scaled, factors=torch.tensor([chosen[place][1] for place in places], dtype=torch.float64))

        return hooks_on_z([head for head, _ in chosen], change, rows, layouts, str(self))

    def of_each(self, samples: int) -> list[ScaleHeads]:
        """What is done with each sample of a batch."""
        if not is_of_each(self.positions):
            return [self] * samples
        return [replace(self, positions=own) for own in self.positions]

    def __str__(self) -> str:
        """Name every setting, for results."""
        return (
            f"ScaleHeads(heads={spell_heads(self.heads)}, factor={spell_numbers(self.factor)}, "
            f"positions={spell_positions(self.positions)}, scope={self.scope})"
        )

    __repr__ = __str__


def _scaled(
    z: Float[Tensor, "row head d_head"], *, factors: Float[Tensor, " head"]
) -> Float[Tensor, "row head d_head"]:
    return z * factors.to(z)[:, None]
