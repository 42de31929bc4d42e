"""Patched heads: what chosen heads mix, replaced by a mean over samples, or by what another sample had."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from interp.errors import InputError
from interp.hooks.shape import ModelShape
from interp.intervene.amplification import digest
from interp.intervene.base import Hook
from interp.intervene.head_edits import (
    WORDS,
    Change,
    check_batch,
    check_width,
    hooks_on_z,
    read_scope,
    read_values,
    rows_in_scope,
)
from interp.intervene.head_sets import Heads, read_heads, spell_heads
from interp.intervene.positions import Positions, is_of_each, read_positions, rows_of_each, spell_positions
from interp.prompt.layout import TokenLayout


@dataclass(frozen=True, eq=False, repr=False)
class PatchHeads:
    """Replace what chosen heads have mixed by given values, the same at every position: z <- v.

    With the mean over samples, heads say what they say on average (mean ablation); with another sample's, what they
    said of another question (resample ablation). For values that differ from position to position, use `Patch`.

    Attributes:
        heads: (layer, head) pairs, 0-based. Heads are query heads, also where several share keys and values.
        values: v, [head d_head], heads in the order in which they are named; or [sample head d_head], of each sample of
            the batch its own.
        positions: where, in the padded prompt; see `ScaleHeads`.
        scope: `prompt`, `decode` or `both`; see `ScaleHeads`.

    Example:
        >>> heads = [(8, 1), (8, 3), (9, 0)]
        >>> _, cache = vlm.run_with_cache(other, names_filter=head_points(heads))
        >>> PatchHeads.mean_of(heads, cache, other)
        PatchHeads(heads=L8H1,3 L9H0, values=[3 32] 3f2a90c1, positions=last, scope=both)

    Raises:
        InputError: heads, values, positions or a scope that mean nothing.
    """

    heads: Heads
    values: Float[Tensor, "*sample head d_head"]
    positions: Positions = "last"
    scope: str = "both"

    def __post_init__(self) -> None:
        """Refuse what means nothing."""
        object.__setattr__(self, "heads", read_heads(self.heads))
        object.__setattr__(self, "values", read_values(self.values, self.heads, "values", each=True))
        object.__setattr__(self, "positions", read_scope(self.positions, self.scope))

    @classmethod
    def recorded(
        cls, heads: Any, cache: Mapping[str, Tensor] | Any, recorded: Any, *, at: Any = "last", **more: Any
    ) -> PatchHeads:
        """A patch with what each sample of a run that was kept had, sample by sample; see `recorded_z`.

        Args:
            heads: (layer, head) pairs.
            cache: what `run_with_cache` gave of the other run, sample by sample what the patched run will have.
            recorded: the inputs of the other run.
            at: the positions that it is taken from, of several their mean.
            **more: `positions` and `scope`, where it goes.
        """
        return cls(heads, recorded_z(heads, cache, recorded, at=at), **more)

    @classmethod
    def mean_of(
        cls, heads: Any, cache: Mapping[str, Tensor] | Any, recorded: Any, *, at: Any = "last", **more: Any
    ) -> PatchHeads:
        """A patch with the mean over the samples of a run that was kept; arguments as in `recorded`."""
        return cls(heads, recorded_z(heads, cache, recorded, at=at).mean(0), **more)

    def hooks(self, shape: ModelShape, layouts: Sequence[TokenLayout]) -> list[Hook]:
        """One hook a layer, for all of its heads.

        Raises:
            HookError: a head that the model does not have.
            InputError: values of another width or number of samples, or positions that do not fit the batch.
        """
        each = self.values.ndim == 3
        check_batch(self.heads, shape, len(self.values) if each else None, len(layouts), str(self))
        check_width(self.values, shape, f"{self}: values")
        rows = rows_in_scope(self.positions, self.scope, layouts, str(self))

        def change(sample: int, places: list[int]) -> Change:
            return partial(_replaced, values=(self.values[sample] if each else self.values)[places])

        return hooks_on_z(self.heads, change, rows, layouts, str(self))

    def of_each(self, samples: int) -> list[PatchHeads]:
        """What is done with each sample of a batch."""
        values = list(self.values) if self.values.ndim == 3 else [self.values] * samples
        where = list(self.positions) if is_of_each(self.positions) else [self.positions] * samples
        if not len(values) == len(where) == samples:
            raise InputError(f"{self}: values of {len(values)} and positions of {len(where)} for {samples} samples")
        return [replace(self, values=v, positions=p) for v, p in zip(values, where, strict=True)]

    def __str__(self) -> str:
        """Name every setting, for results; values by their axes and a digest."""
        return (
            f"PatchHeads(heads={spell_heads(self.heads)}, values={spell_values(self.values)}, "
            f"positions={spell_positions(self.positions)}, scope={self.scope})"
        )

    __repr__ = __str__


def head_points(heads: Any) -> list[str]:
    """The hook points to keep of a run whose heads are to be patched with, or steered along, later.

    Example:
        >>> head_points([(8, 1), (8, 3), (9, 0)])
        ['blocks.8.attn.hook_z', 'blocks.9.attn.hook_z']
    """
    return [f"blocks.{layer}.attn.hook_z" for layer in sorted({layer for layer, _ in read_heads(heads)})]


def recorded_z(
    heads: Any, cache: Mapping[str, Tensor] | Any, recorded: Any, *, at: Any = "last"
) -> Float[Tensor, "sample head d_head"]:
    """What chosen heads have mixed in a run that was kept, in the order in which they are named.

    Args:
        heads: (layer, head) pairs.
        cache: what `run_with_cache(names_filter=head_points(heads))` gave.
        recorded: the inputs of that run.
        at: positions of its prompts, as in `ScaleHeads`; of several, their mean.

    Raises:
        InputError: a layer that was not kept, a head that is not there, or positions that the prompts do not have.
    """
    means = [[rows.mean(0) for rows in of_sample] for of_sample in recorded_rows(heads, cache, recorded, at=at)]
    return torch.stack([torch.stack(own) for own in means])


def recorded_rows(
    heads: Any, cache: Mapping[str, Tensor] | Any, recorded: Any, *, at: Any = "last"
) -> list[list[Float[Tensor, "row d_head"]]]:
    """The same, position by position: of each sample and head, in at least float32."""
    own = read_heads(heads)
    if missing := [name for name in head_points(own) if name not in cache]:
        raise InputError(f"{', '.join(missing)} was not kept: run with names_filter=head_points(heads)")
    rows = rows_of_each(read_positions(at, words=WORDS), recorded.layouts, "recorded heads, at")
    places = [[-1] if one == "last" else list(map(int, one)) for one in rows]
    kept = [(_kept(cache[f"blocks.{layer}.attn.hook_z"], head, recorded), head) for layer, head in own]
    return [[_exact(z[sample, one, head]) for z, head in kept] for sample, one in enumerate(places)]


def _kept(z: Tensor, head: int, recorded: Any) -> Tensor:
    """What was kept of one layer, [sample position head d_head]."""
    if z.ndim != 4 or z.shape[:2] != recorded.input_ids.shape or not head < z.shape[2]:
        raise InputError(
            f"z was kept as {list(z.shape)}, but the recorded inputs are {list(recorded.input_ids.shape)}, and head "
            f"{head} is asked for: give the inputs that the cache was made with, and heads of that model"
        )
    return z


def _exact(z: Tensor) -> Tensor:
    return z.to(torch.promote_types(z.dtype, torch.float32))


def spell_values(values: Tensor) -> str:
    """Axes and a digest, which tells values apart in results."""
    return f"[{' '.join(map(str, values.shape))}] {digest(values.detach().float().cpu().flatten(0, -2))}"


def _replaced(
    z: Float[Tensor, "row head d_head"], *, values: Float[Tensor, "head d_head"]
) -> Float[Tensor, "row head d_head"]:
    return values.to(z).expand_as(z)
