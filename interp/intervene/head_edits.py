"""Head edits: where, and in which passes, what heads mixed is edited, by one hook for all heads of a layer."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from numbers import Real
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from interp.errors import HookError, InputError
from interp.hooks.rows import QueryRows
from interp.hooks.shape import ModelShape
from interp.intervene.base import Hook
from interp.intervene.head_sets import SPELLED, Head, by_layer, check_heads
from interp.intervene.indices import spell_number
from interp.intervene.position_hooks import PositionEdit, PositionHook
from interp.intervene.positions import PROMPT_WORDS, Positions, read_positions, rows_of_each
from interp.numeric import plain
from interp.prompt.layout import TokenLayout

SCOPES = ("prompt", "decode", "both")
"""Passes that are edited: the prompt's, at chosen positions; those that decode a token, at that token; both."""

WORDS = (*PROMPT_WORDS, "text")
"""Positions of the prompt by name."""

MOST = 1e30
"""The largest number that activations are made larger by: float32 and bfloat16 still hold the result."""

OBJECTS = "objects"
"""The words that name objects: no layout knows them, so that edits take the positions that `object_words` finds."""

Change = Callable[[Float[Tensor, "row head d_head"]], Float[Tensor, "row head d_head"]]
"""What becomes of the z of the chosen heads of one layer, in at least float32, in the order they were given in."""


def read_scope(positions: Any, scope: Any) -> Positions:
    """Positions of the prompt that go with a scope.

    Raises:
        InputError: one of them is not known, or positions are chosen where no position of the prompt is edited.
    """
    if isinstance(positions, str) and positions == OBJECTS:
        raise InputError(
            f"positions={positions!r}: an edit does not know which words name objects: give "
            "positions=object_words(vlm, inputs, samples), the positions of each sample of the batch"
        )
    read = read_positions(positions, words=WORDS)
    check_scope(read, scope)
    return read


def check_scope(positions: Positions, scope: Any) -> None:
    """Refuse a scope that is not known, and positions that it edits nothing at.

    Raises:
        InputError: see above.
    """
    if not isinstance(scope, str) or scope not in SCOPES:
        raise InputError(f"scope={scope!r:.40} is not known: use one of {', '.join(SCOPES)}")
    if scope == "decode" and positions not in ("last", "all"):
        raise InputError(
            f"positions={positions!r:.40} are of the prompt, of which scope='decode' edits nothing: leave them out, or "
            "use scope='both' or 'prompt'"
        )


def rows_in_scope(positions: Positions, scope: str, layouts: Sequence[TokenLayout], what: str) -> list[list[QueryRows]]:
    """The rows of each sample that are edited: those of its prompt in one entry, decoded ones in another.

    Raises:
        InputError: positions that do not fit the batch.
    """
    of_each: list[QueryRows] = ["last"] * len(layouts)
    if scope != "decode":
        of_each = rows_of_each(positions, layouts, what)
    return [[*([rows] if scope != "decode" else []), *(["decoded"] if scope != "prompt" else [])] for rows in of_each]


def hooks_on_z(
    heads: Sequence[Head],
    change: Callable[[int, list[int]], Change],
    rows: Sequence[Sequence[QueryRows]],
    layouts: Sequence[TokenLayout],
    what: str,
) -> list[Hook]:
    """One hook a layer on `attn.hook_z`, for all of its heads.

    Args:
        heads: the heads.
        change: what is done with a sample (by number) at the heads that stand at these places in the list.
        rows: what `rows_in_scope` gave.
        layouts: those of the batch.
        what: whose edit it is, for messages.
    """
    hooks: list[Hook] = []
    for layer, places in by_layer(heads).items():
        index = torch.tensor([heads[place][1] for place in places])
        edits = [
            [PositionEdit(one, _OnHeads(index, change(sample, places), what)) for one in own]
            for sample, own in enumerate(rows)
        ]
        hooks.append((f"blocks.{layer}.attn.hook_z", PositionHook(edits, layouts)))
    return hooks


class _OnHeads:
    """The change of some heads among all of a layer; the others stay as they are, to the bit."""

    def __init__(self, index: Tensor, change: Change, what: str) -> None:
        self.index, self.change, self.what = index, change, what

    def __call__(self, own: Float[Tensor, "row head d_head"]) -> Float[Tensor, "row head d_head"]:
        index = self.index.to(own.device)
        before = own.index_select(1, index)
        exact = before.to(torch.promote_types(own.dtype, torch.float32))
        after = self.change(exact).to(own.dtype)
        if own.dtype == torch.float16 and not torch.equal(after.isfinite(), before.isfinite()):
            raise HookError(f"{self.what} takes z out of the range of {own.dtype}: make it smaller, or load float32")
        return own.index_copy(1, index, after)


def check_batch(heads: Sequence[Head], shape: ModelShape, given: int | None, samples: int, what: str) -> None:
    """Refuse heads that the model lacks, and what is given of another number of samples.

    Raises:
        HookError: a head that it does not have.
        InputError: another number of samples.
    """
    check_heads(heads, shape)
    if given is not None and given != samples:
        raise InputError(f"{what}: values of {given} samples for a batch of {samples}: give one of each, or one of all")


def read_number(given: Any, what: str, *, example: str = "0.5 or 2", most: float = MOST) -> float:
    """A finite number that no truth value stands for.

    Raises:
        InputError: it is none, or larger than activations stand.
    """
    own = plain(given)
    if isinstance(own, bool) or not isinstance(own, Real) or not abs(float(own)) < math.inf:
        raise InputError(f"{what}={given!r:.40} is not a finite number: give one such as {example}")
    if abs(float(own)) > most:
        raise InputError(f"{what}={given!r:.40} would take activations out of range: give one up to {most:g}")
    return float(own)


def read_per_head(given: Any, heads: Sequence[Head], what: str, *, example: str) -> tuple[float, ...]:
    """One number for all heads, or one for each in their order.

    Raises:
        InputError: they are no finite numbers, or not as many as heads.
    """
    own = plain(given)
    if isinstance(own, str) or not hasattr(own, "__len__"):
        return (read_number(own, what, example=example),) * len(heads)
    if len(own) != len(heads):
        raise InputError(f"{what} has {len(own)} numbers for {len(heads)} heads: give one for each, or one for all")
    each = zip(own, heads, strict=True)
    return tuple(read_number(one, f"{what} of head {head}", example=example) for one, head in each)


def spell_numbers(values: float | tuple[float, ...]) -> str:
    """One number, or several; of many their ends, and a digest that tells them apart.

    Example:
        >>> spell_numbers((0.5, 2.0))
        '[0.5 2]'
    """
    if isinstance(values, float):
        return spell_number(values)
    if len(values) <= SPELLED:
        return f"[{' '.join(map(spell_number, values))}]"
    return f"{min(values):.4g}-{max(values):.4g} {hashlib.sha256(repr(values).encode()).hexdigest()[:8]}"


def read_values(given: Any, heads: Sequence[Head], what: str, *, each: bool) -> Tensor:
    """A tensor [head d_head], or where each sample may have its own, [sample head d_head].

    Raises:
        InputError: it is no such tensor of finite floating-point numbers, or of another number of heads.
    """
    form = "[head d_head]" + (", or [sample head d_head]" if each else "")
    try:
        own = given if isinstance(given, Tensor) else torch.from_numpy(np.array(given, dtype=np.float64)).float()
    except (TypeError, ValueError, RuntimeError):
        raise InputError(f"{what}={given!r:.60} are no numbers: give a tensor {form}") from None
    if own.ndim not in ((2, 3) if each else (2,)) or 0 in own.shape or own.shape[-2] != len(heads):
        raise InputError(
            f"{what} of shape {list(own.shape)} do not fit {len(heads)} heads: give {form}, heads in the order in "
            "which they are named"
        )
    if not own.is_floating_point() or not bool(own.isfinite().all()):
        raise InputError(f"{what} are {own.dtype}, or not all finite: give finite floating-point numbers {form}")
    if not bool((own.detach().abs() <= MOST).all()):
        raise InputError(f"{what} would take activations out of range: give numbers up to {MOST:g}")
    return own


def check_width(values: Tensor, shape: ModelShape, what: str) -> None:
    """Refuse what is not as wide as a head.

    Raises:
        InputError: it is not.
    """
    if values.shape[-1] != shape.d_head:
        raise InputError(
            f"{what} is {values.shape[-1]} wide, but a head of this model {shape.d_head}: give what was taken before "
            "the output projection (hook_z) of this model"
        )
