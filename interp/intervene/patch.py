"""Patch: activations at positions of the prompt, replaced by those of another run."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from interp.errors import HookError, InputError
from interp.hooks.rows import QueryRows
from interp.hooks.shape import ModelShape
from interp.intervene.base import Hook
from interp.intervene.indices import check_indices, read_indices, spell
from interp.intervene.position_hooks import STREAM, PositionEdit, PositionHook, axes_at, parted
from interp.intervene.positions import Positions, count, is_of_each, read_positions, rows_of_each, spell_positions
from interp.numeric import read_flag
from interp.prompt.layout import TokenLayout


@dataclass(frozen=True, eq=False, repr=False)
class Patch:
    """Replace an activation at some positions by what it was in another run: an interchange intervention.

    y = f(x; h_l <- h_l(x')), arXiv 2301.04709: the run of x goes on with what the run of x' had there. Positions stay
    as they are in that run; decoded tokens are not touched.

    Attributes:
        name: a hook point [batch pos ...] of the language model, such as `slot_point(slot, vlm.cfg.n_layers)`.
        positions: where, in the padded prompt: `last`, `all`, `image`, `after_image`, positions that all samples
            share (negative ones count from the end), or a list of them for each sample.
        values: what comes there in the order of the positions, [batch position ...], or for each sample
            [position ...], which may differ in number. For `last`, the axis of positions may be left out.
        heads: 0-based heads to replace, of points with heads; all by default. Values are of all heads all the same.
        over_deepstack: let a model with DeepStack (Qwen3-VL) add features of the photo that runs on top of patched
            image positions, as is right where both runs have the same photo. Otherwise such a patch is refused: patch
            blocks.N.hook_resid_pre or later, where N layers of features have been added.

    Example:
        >>> _, cache = vlm.run_with_cache(other, names_filter="blocks.3.hook_resid_pre")
        >>> patch = Patch.recorded("blocks.3.hook_resid_pre", cache, "last", other)
        >>> patch
        Patch(blocks.3.hook_resid_pre, positions=last, values=[1 1 64], heads=all)
        >>> vlm.run_with_hooks(inputs, intervention=patch).logits.shape
        torch.Size([1, 93, 60])

    Raises:
        HookError: a point that shows no activation for each position.
        InputError: positions or values that are not understood.
    """

    name: str
    positions: Positions
    values: Sequence[Float[Tensor, "position ..."]]
    heads: tuple[int, ...] | None = None
    over_deepstack: bool = False

    def __post_init__(self) -> None:
        """Refuse names, positions and values that mean nothing."""
        point, _ = parted(self.name)
        object.__setattr__(self, "positions", read_positions(self.positions))
        object.__setattr__(self, "heads", read_indices(self.heads, "heads"))
        object.__setattr__(self, "over_deepstack", read_flag(self.over_deepstack, "over_deepstack"))
        if self.heads is not None and not point.startswith("attn."):
            raise InputError(f"heads={spell(self.heads)}: {self.name} has no heads: leave them out, or patch hook_z")
        axes = 2 if point.startswith("attn.") else 1
        object.__setattr__(self, "values", _read_values(self.values, axes, self.name, last=self.positions == "last"))

    @classmethod
    def recorded(
        cls,
        name: str,
        cache: Mapping[str, Tensor] | Any,
        positions: Any,
        recorded: Any,
        *,
        at: Any = None,
        **settings: Any,
    ) -> Patch:
        """A patch with values of a run that was kept.

        Args:
            name: the hook point, kept in the cache.
            cache: what `run_with_cache` gave of the other run, sample by sample what the patched run will have.
            positions: where they go; see `Patch`.
            recorded: the inputs of the other run.
            at: where they are taken from, in that run's padded prompts; at the same positions by default.
            **settings: the others of `Patch`.

        Raises:
            InputError: a position that the recorded prompts do not have.
        """
        rows = rows_of_each(read_positions(positions if at is None else at), recorded.layouts, f"Patch of {name}, at")
        kept = cache[name]
        if kept.ndim < 3 or kept.shape[:2] != recorded.input_ids.shape:
            raise InputError(
                f"{name} was kept as {list(kept.shape)}, but the recorded inputs are "
                f"{list(recorded.input_ids.shape)}: give the inputs that the cache was made with"
            )
        values = [kept[sample, [-1] if own == "last" else list(own)] for sample, own in enumerate(rows)]
        return cls(name, positions, values, **settings)

    def hooks(self, shape: ModelShape, layouts: Sequence[TokenLayout]) -> list[Hook]:
        """One hook on its point.

        Raises:
            HookError: a block or head that the model does not have, or a patch that DeepStack would add to.
            InputError: positions or values that do not fit the batch.
        """
        axes = axes_at(self.name, shape)
        heads = None if self.heads is None else check_indices(self.heads, axes[0], "head")
        if len(self.values) != len(layouts):
            raise InputError(f"{self}: values of {len(self.values)} samples for {len(layouts)}: give one of each")
        rows = rows_of_each(self.positions, layouts, str(self))
        for sample, (own, values) in enumerate(zip(rows, self.values, strict=True)):
            if tuple(values.shape) != (count(own), *axes):
                raise InputError(
                    f"{self}: values of sample {sample} are {list(values.shape)}, but its positions need "
                    f"{[count(own), *axes]}: one entry for each position, as wide as {self.name}"
                )
            self._check_features(shape, layouts[sample], own)
        edits = [
            [PositionEdit(own, partial(_put, values=values, heads=heads, name=self.name))]
            for own, values in zip(rows, self.values, strict=True)
        ]
        return [(self.name, PositionHook(edits, layouts))]

    def of_each(self, samples: int) -> list[Patch]:
        """The patch of each sample of a batch."""
        every: list[Any] = list(self.positions) if is_of_each(self.positions) else [self.positions] * len(self.values)
        if len(every) != len(self.values):
            raise InputError(f"{self}: positions of {len(every)} samples, but values of {len(self.values)}")
        settings: dict[str, Any] = {"heads": self.heads, "over_deepstack": self.over_deepstack}
        return [Patch(self.name, own, (values,), **settings) for own, values in zip(every, self.values, strict=True)]

    def _check_features(self, shape: ModelShape, layout: TokenLayout, rows: QueryRows) -> None:
        """Refuse a patch of the stream at image positions, where the model would add features of the photo behind."""
        point, layer = parted(self.name)
        if self.over_deepstack or point not in STREAM or layer is None or layer >= shape.n_deepstack:
            return
        if rows != "last" and set(rows) & set(layout.placeholders.tolist()):
            raise HookError(
                f"{self}: image positions are patched, but after its blocks up to {shape.n_deepstack - 1} this model "
                "adds features of the photo that runs there (DeepStack), on top of the patch: patch "
                f"blocks.{shape.n_deepstack}.hook_resid_pre or later, or, where both runs have the same photo, give "
                "over_deepstack=True"
            )

    def __str__(self) -> str:
        """Name every setting, for results; values by their axes."""
        more = ", over_deepstack=True" if self.over_deepstack else ""
        return (
            f"Patch({self.name}, positions={spell_positions(self.positions)}, values={_spell_values(self.values)}, "
            f"heads={spell(self.heads)}{more})"
        )

    __repr__ = __str__


def slot_point(slot: int, n_layers: int) -> str:
    """The hook point of a slot between blocks: slot 0 is what enters block 0, slot l what has left block l - 1.

    Example:
        >>> slot_point(0, 16), slot_point(16, 16)
        ('blocks.0.hook_resid_pre', 'blocks.15.hook_resid_post')

    Raises:
        InputError: there is no such slot.
    """
    try:
        number = -1 if isinstance(slot, bool) else operator.index(slot)
    except TypeError:
        number = -1
    if not 0 <= number <= n_layers:
        raise InputError(f"slot={slot!r} does not exist: a model of {n_layers} blocks has slots 0 to {n_layers}")
    return f"blocks.{number}.hook_resid_pre" if number < n_layers else f"blocks.{n_layers - 1}.hook_resid_post"


def _put(
    own: Float[Tensor, "row ..."], *, values: Tensor, heads: tuple[int, ...] | None, name: str
) -> Float[Tensor, "row ..."]:
    """The recorded values, in the type of the model, at all heads or some."""
    new = values.to(own)
    if new.dtype != values.dtype and not bool(new.isfinite().all()):
        raise HookError(f"{name}: values are out of the range of {own.dtype}: record them in a model of this type")
    if heads is None:
        return new
    chosen = torch.tensor(heads, device=own.device)
    return own.index_copy(1, chosen, new.index_select(1, chosen))


def _read_values(given: Any, axes: int, name: str, *, last: bool) -> tuple[Tensor, ...]:
    """Values of each sample [position ...], with so many axes behind the positions."""
    try:
        every = tuple(torch.as_tensor(own) for own in given)
    except (TypeError, ValueError, RuntimeError):
        raise InputError(f"{name}: values are no tensors: give [batch position ...], or one tensor for each") from None
    if last:
        every = tuple(own[None] if own.ndim == axes else own for own in every)
    if not every or any(own.ndim != axes + 1 for own in every):
        found = [list(own.shape) for own in every[:3]]
        raise InputError(
            f"{name}: values of the samples are {found}: give [position {'head d_head' if axes == 2 else 'd_model'}] "
            "of each sample, or all in one tensor [batch position ...]"
        )
    if any(not own.is_floating_point() or not bool(own.isfinite().all()) for own in every):
        raise InputError(f"{name}: values are no finite floating-point numbers: give what another run recorded")
    return every


def _spell_values(values: Sequence[Tensor]) -> str:
    """Axes of the values: of the whole batch, or where samples differ, how many positions each has."""
    counts, axes = [len(own) for own in values], " ".join(map(str, values[0].shape[1:]))
    if len(set(counts)) == 1:
        return f"[{len(values)} {counts[0]} {axes}]"
    return f"[{len(values)} {min(counts)}-{max(counts)} {axes}]"
