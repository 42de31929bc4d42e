"""Positions of a batch of prompts: given once or for each sample, by word or by number, checked against the layouts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeGuard

import numpy as np

from interp.errors import InputError
from interp.hooks.rows import QueryRows
from interp.intervene.indices import spell
from interp.numeric import plain, whole_numbers
from interp.prompt.layout import TokenLayout

Positions = str | tuple[int, ...] | tuple[tuple[int, ...], ...]
"""A word of `PROMPT_WORDS`, positions in the padded prompt for all samples alike, or a tuple of them for each."""

PROMPT_WORDS = ("last", "all", "image", "after_image")
"""Rows of a prompt by name: its last one, all but padding, its image tokens, and all behind them."""


def read_positions(given: Any, *, words: Sequence[str] = PROMPT_WORDS) -> Positions:
    """Positions as a word, a tuple of whole numbers, or a tuple of such for each sample; in the order given.

    Raises:
        InputError: none are named, one twice, or they are not understood.
    """
    how = f"use {', '.join(map(repr, words))}, a list of positions, or one such list for each sample"
    if isinstance(given, str):
        if given not in words:
            raise InputError(f"positions={given!r:.80} is not known: {how}")
        return given
    try:
        own = list(plain(given))
        of_each = bool(own) and all(hasattr(one, "__len__") and not isinstance(one, str) for one in own)
        read = tuple(whole_numbers(one) for one in own) if of_each else whole_numbers(own)
    except TypeError:
        raise InputError(f"positions={given!r:.80} is not understood: {how}") from None
    for one in read if of_each else (read,):
        if not one:
            raise InputError(f"positions={given!r:.80} names an empty set, where nothing would be edited: {how}")
    return read  # type: ignore[return-value]


def rows_of_each(positions: Positions, layouts: Sequence[TokenLayout], what: str) -> list[QueryRows]:
    """The rows of each sample: `last`, or positions from 0 on in the order given.

    Args:
        positions: what `read_positions` gave.
        layouts: those of the batch.
        what: who asks, for messages.

    Raises:
        InputError: for another number of samples, or a position that is no token of the prompt or is named twice.
    """
    of_each = list(positions) if is_of_each(positions) else [positions] * len(layouts)
    if len(of_each) != len(layouts):
        raise InputError(
            f"{what}: positions of {len(of_each)} samples for a batch of {len(layouts)}: give one list each"
        )
    return [_rows(own, layout, sample, what) for sample, (own, layout) in enumerate(zip(of_each, layouts, strict=True))]


def is_of_each(positions: Positions) -> TypeGuard[tuple[tuple[int, ...], ...]]:
    """Whether there are positions for each sample, and not the same for all."""
    return not isinstance(positions, str) and isinstance(positions[0], tuple)


def _rows(positions: Any, layout: TokenLayout, sample: int, what: str) -> QueryRows:
    if isinstance(positions, str):
        rows = _named(positions, layout)
        if not rows:
            raise InputError(f"{what}: sample {sample} has no position that {positions!r} names: name others")
    else:
        length = len(layout)
        if outside := [one for one in positions if not -length <= one < length]:
            raise InputError(
                f"{what}: positions {spell(outside)} of sample {sample} lie outside its padded prompt of {length}: "
                f"give some from 0 to {length - 1}"
            )
        rows = tuple(one % length for one in positions)
        if padding := [one for one in rows if layout.kinds[one] == "pad"]:
            raise InputError(
                f"{what}: positions {spell(padding)} of sample {sample} are padding: prompts are padded on the left, "
                "so count from the end, or add where its own begins"
            )
        if len(set(rows)) < len(rows):
            raise InputError(f"{what}: positions {list(rows)} of sample {sample} name one twice: name each once")
    return "last" if rows == (len(layout) - 1,) else rows


def _named(word: str, layout: TokenLayout) -> tuple[int, ...]:
    there = np.arange(layout.last + 1)
    named = {
        "last": there[-1:],
        "all": there[[kind != "pad" for kind in layout.kinds[: layout.last + 1]]],
        "image": layout.image_positions,
        "after_image": layout.after_image if len(layout.image_positions) else there[:0],
        "text": layout.positions("bos", "system", "question", "template"),
    }
    return tuple(named[word].tolist())


def count(rows: QueryRows) -> int:
    """How many rows of one sample these are."""
    return 1 if rows == "last" else len(rows)


def spell_positions(positions: Positions, *, most: int = 3) -> str:
    """Positions as text, runs shortened; of many samples the first few.

    Example:
        >>> spell_positions(((3, 4, 5), (9,)))
        '3-5; 9'
    """
    if isinstance(positions, str):
        return positions
    if not is_of_each(positions):
        return spell(positions)  # type: ignore[arg-type]
    texts = [spell(own) for own in positions[:most]]  # type: ignore[arg-type]
    more = f"; ... of {len(positions)} samples" if len(positions) > most else ""
    return "; ".join(texts) + more
