"""Biased heads: chosen heads made to look at chosen image tokens, by a bias on their logits before the softmax."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from interp.errors import InputError
from interp.hooks.rows import QueryRows
from interp.hooks.shape import ModelShape
from interp.intervene.base import Chain, Hook, Intervention, PerSample, Untouched
from interp.intervene.head_edits import read_number, read_scope, rows_in_scope
from interp.intervene.head_sets import Heads, by_layer, check_heads, read_heads, spell_heads
from interp.intervene.image_logits import MOST, ScaleImageLogits
from interp.intervene.indices import check_indices, read_indices, spell_number
from interp.intervene.knockout import seen_keys
from interp.intervene.positions import Positions, is_of_each, spell_positions
from interp.intervene.prompts import check_image_there
from interp.numeric import plain
from interp.prompt.layout import TokenLayout


@dataclass(frozen=True)
class BiasImageLogits:
    """Turn the gaze of chosen heads: add a bias to the logits of chosen image tokens, take it from all other ones.

        A[row, key] + b  for the chosen image tokens,  A[row, key] - b  for the others,  before mask and softmax

    Logits of text stay as they are (arXiv:2606.14703, with a bias of 1e4). So large a bias leaves a row that sees some
    of the chosen tokens nothing but these, and a row that sees others alone, such as one inside the image, nothing of
    the image.

    Attributes:
        heads: (layer, head) pairs, 0-based. Heads are query heads, also where several share keys.
        towards: the chosen image tokens, by number in the order of the grid, such as `grid.tokens_in(box)`, or a list
            of them for each sample.
        bias: b, in nats; a negative one turns the gaze away, and 0 changes nothing.
        positions: query rows, in the padded prompt; see `ScaleHeads`.
        scope: `prompt`, `decode` or `both`; see `ScaleHeads`.

    Example:
        >>> BiasImageLogits([(8, 3), (9, 0)], grid.tokens_in(mug))
        BiasImageLogits(heads=L8H3 L9H0, towards=12-14,20-22, bias=10000, positions=last, scope=both)

    Raises:
        InputError: heads, tokens, numbers, positions or a scope that mean nothing.
    """

    heads: Heads
    towards: tuple[int, ...] | tuple[tuple[int, ...], ...]
    bias: float = 1e4
    positions: Positions = "last"
    scope: str = "both"

    def __post_init__(self) -> None:
        """Refuse what means nothing."""
        object.__setattr__(self, "heads", tuple(sorted(read_heads(self.heads))))
        object.__setattr__(self, "towards", _read_tokens(self.towards))
        object.__setattr__(self, "bias", read_number(self.bias, "bias", example="5 or 1e4", most=MOST))
        object.__setattr__(self, "positions", read_scope(self.positions, self.scope))

    def hooks(self, shape: ModelShape, layouts: Sequence[TokenLayout]) -> list[Hook]:
        """Hooks on `hook_attn_logits` of each layer; none where the bias is 0.

        Raises:
            HookError: a head that the model does not have, or an image token that a photo does not have.
            InputError: tokens or positions that do not fit the batch, rows that see none of the tokens, or no photo.
        """
        check_heads(self.heads, shape)
        if self.bias:
            check_image_there(layouts, self)
        rows = rows_in_scope(self.positions, self.scope, layouts, str(self))
        parts = [
            own._on_rows(of_sample, shape, layout)
            for own, of_sample, layout in zip(self.of_each(len(layouts)), rows, layouts, strict=True)
        ]
        return PerSample(tuple(parts)).hooks(shape, layouts) if self.bias else []

    def of_each(self, samples: int) -> list[BiasImageLogits]:
        """What is done with each sample of a batch.

        Raises:
            InputError: tokens or positions of another number of samples.
        """
        tokens: list[Any] = list(self.towards) if is_of_each(self.towards) else [self.towards] * samples
        where: list[Any] = list(self.positions) if is_of_each(self.positions) else [self.positions] * samples
        if not len(tokens) == len(where) == samples:
            raise InputError(f"{self}: tokens of {len(tokens)} and positions of {len(where)} for {samples} samples")
        return [replace(self, towards=own, positions=at) for own, at in zip(tokens, where, strict=True)]

    def _on_rows(self, rows: Sequence[QueryRows], shape: ModelShape, layout: TokenLayout) -> Intervention:
        """The edits of one sample: both halves of the image, layer by layer."""
        count = len(layout.image_positions)
        chosen = check_indices(self.towards, count, "image token")  # type: ignore[arg-type]
        self._check_seen(rows, shape, layout, layout.image_positions[list(chosen)])
        rest = tuple(sorted(set(range(count)) - set(chosen)))
        halves = [(self.bias, chosen), *([(-self.bias, rest)] if rest else [])]
        if not self.bias:
            return Untouched()
        edits = [
            ScaleImageLogits(
                bias, "add", (layer,), tuple(self.heads[place][1] for place in places), own, image_tokens=tokens
            )
            for layer, places in by_layer(self.heads).items()
            for own in rows
            for bias, tokens in halves
        ]
        return Chain(tuple(edits))

    def _check_seen(
        self, rows: Sequence[QueryRows], shape: ModelShape, layout: TokenLayout, keys: np.ndarray[Any, Any]
    ) -> None:
        """Refuse rows of the prompt none of which sees any of the tokens."""
        for own in rows:
            places = [layout.last] if own == "last" else own
            if own != "decoded" and not seen_keys(layout, np.array(places), shape.two_way)[:, keys].any():
                raise InputError(f"{self}: none of the rows sees any of the image tokens, which are behind them")

    def __str__(self) -> str:
        """Name every setting, for results."""
        return (
            f"BiasImageLogits(heads={spell_heads(self.heads)}, towards={spell_positions(self.towards)}, "
            f"bias={spell_number(self.bias)}, positions={spell_positions(self.positions)}, scope={self.scope})"
        )

    __repr__ = __str__


def _read_tokens(given: Any) -> tuple[int, ...] | tuple[tuple[int, ...], ...]:
    """Image tokens of all samples alike, or of each."""
    own = plain(given)
    own = list(own) if hasattr(own, "__iter__") and not isinstance(own, str) else own
    of_each = isinstance(own, list) and own and all(hasattr(one, "__len__") and not isinstance(one, str) for one in own)
    read: Any = [read_indices(one, "towards") for one in own] if of_each else read_indices(own, "towards")
    if read is None:
        raise InputError("towards=None names no image token: give some, such as grid.tokens_in(box)")
    return tuple(read)
