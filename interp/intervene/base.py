"""Intervention: what all interventions are, the one that changes nothing, several in order, and one for each sample."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NoReturn, Protocol

import torch
from jaxtyping import Float
from torch import Tensor

from interp.errors import HookError, InputError
from interp.hooks.rows import ROW_POINTS, QueryRows, RowHook, copies_of_each
from interp.hooks.shape import ModelShape
from interp.intervene.image_hooks import Edit, ImageHook
from interp.intervene.position_hooks import PositionEdit, PositionHook
from interp.intervene.prompts import check_image_there
from interp.prompt.layout import TokenLayout

Hook = tuple[str, RowHook | ImageHook | PositionHook]


class Intervention(Protocol):
    """What can be given to `vlm.hooks(intervention=...)`, `generate` and `Prefix`; its `str()` goes into results.

    One that holds something for each sample of a batch has `of_each(samples)` too, the intervention of each.
    """

    def hooks(self, shape: ModelShape, layouts: Sequence[TokenLayout]) -> list[Hook]:
        """Hook functions for one batch of prompts; none where it changes nothing."""
        ...


@dataclass(frozen=True)
class Untouched:
    """The intervention that changes nothing: the baseline beside the others."""

    def hooks(self, shape: ModelShape, layouts: Sequence[TokenLayout]) -> list[Hook]:
        """No hooks."""
        return []

    def __str__(self) -> str:
        """Its name in results."""
        return "untouched"


@dataclass(frozen=True)
class Chain:
    """Several interventions at once, in order: at one hook point each edits what the one before has left.

    At different hook points, the order is that in which the model reaches them.

    Attributes:
        parts: the interventions, first to last.

    Example:
        >>> str(Chain((ScaleImageNorms(scale=0.5), ScaleImageLogits(1.5))))
        'Chain(ScaleImageNorms(scale=0.5), ScaleImageLogits(alpha=1.5, mode=mul, layers=all, heads=all, rows=last))'

    Raises:
        InputError: there is none, or what is given is no intervention.
    """

    parts: tuple[Intervention, ...]

    def __post_init__(self) -> None:
        """Refuse what is no list of interventions."""
        object.__setattr__(self, "parts", _read_parts(self.parts, "Chain"))

    def hooks(self, shape: ModelShape, layouts: Sequence[TokenLayout]) -> list[Hook]:
        """The hooks of all parts, first to last."""
        return [hook for part in self.parts for hook in hooks_of(part, shape, layouts)]

    def __str__(self) -> str:
        """Name all parts, in order."""
        return f"Chain({', '.join(map(str, self.parts))})"


@dataclass(frozen=True)
class PerSample:
    """A different intervention for each sample of a batch.

    Attributes:
        parts: the interventions, one of each sample.

    Raises:
        InputError: there is none, or what is given is no intervention.
    """

    parts: tuple[Intervention, ...]

    def __post_init__(self) -> None:
        """Refuse what is no list of interventions."""
        object.__setattr__(self, "parts", _read_parts(self.parts, "PerSample"))

    def hooks(self, shape: ModelShape, layouts: Sequence[TokenLayout]) -> list[Hook]:
        """The hooks of all parts, each on its own sample."""
        if len(layouts) != len(self.parts):
            raise InputError(f"{len(self.parts)} interventions for {len(layouts)} samples: give one each")
        named: dict[tuple[int, str, QueryRows], dict[int, RowHook]] = defaultdict(dict)
        photos: dict[str, list[list[Edit]]] = defaultdict(lambda: [[] for _ in layouts])
        positions: dict[str, list[list[PositionEdit]]] = defaultdict(lambda: [[] for _ in layouts])
        for sample, (part, layout) in enumerate(zip(self.parts, layouts, strict=True)):
            before: dict[str, int] = defaultdict(int)  # so that no sample's hooks at one point change their order
            for name, hook in hooks_of(part, shape, [layout]):
                if isinstance(hook, ImageHook):
                    photos[name][sample].extend(hook.edits[0])
                elif isinstance(hook, PositionHook):
                    positions[name][sample].extend(hook.edits[0])
                elif not isinstance(hook, RowHook):
                    _refuse_plain(part, name)
                else:
                    named[before[name], name, hook.query_rows][sample] = hook
                    before[name] += 1
        in_order = sorted(named.items(), key=lambda item: item[0][0])
        rows = [(name, RowHook(_OneEach(own, len(layouts)), rows)) for (_, name, rows), own in in_order]
        return [
            *rows,
            *((name, ImageHook(edits, layouts)) for name, edits in photos.items()),
            *((name, PositionHook(edits, layouts)) for name, edits in positions.items()),
        ]

    def of_each(self, samples: int) -> list[Intervention]:
        """The intervention of each sample of a batch."""
        return list(self.parts)

    def __str__(self) -> str:
        """Name all parts."""
        return f"PerSample({', '.join(map(str, self.parts))})"


class _OneEach:
    """Calls each sample's hook on its own slice of the batch: one row, or all copies of the sample."""

    def __init__(self, own: dict[int, RowHook], samples: int) -> None:
        self.own, self.samples = own, samples

    def __call__(
        self, tensor: Float[Tensor, "batch head row key"], *, hook: Any
    ) -> Float[Tensor, "batch head row key"]:
        parts = list(tensor.split(copies_of_each(hook.now, len(tensor), self.samples, hook.name)))
        for sample, row_hook in self.own.items():
            result = row_hook.function(parts[sample], hook=hook)
            parts[sample] = parts[sample] if result is None else result
        return torch.cat(parts)


def check_intervention(given: Any, where: str = "") -> None:
    """Refuse what is no intervention, and a class in place of one.

    Args:
        given: what should be one.
        where: who asks, for messages.

    Raises:
        InputError: it is none.
    """
    whose = f"{where}: " if where else ""
    if isinstance(given, type):
        raise InputError(f"{whose}{given.__name__} is a class: give one that was made, such as {given.__name__}(...)")
    if not hasattr(given, "hooks"):
        raise InputError(f"{whose}{given!r:.80} is no intervention: give one, such as Untouched()")


def hooks_of(intervention: Intervention, shape: ModelShape, layouts: Sequence[TokenLayout]) -> list[Hook]:
    """What an intervention's own `hooks` gives for one batch, looked at.

    Raises:
        InputError: no list of hook names and functions, or an edit of image tokens where a prompt has no photo.
    """
    found = intervention.hooks(shape, layouts)
    pairs = list(found) if isinstance(found, (list, tuple)) else [None]
    if not all(isinstance(pair, (list, tuple)) and len(pair) == 2 and callable(pair[1]) for pair in pairs):
        raise InputError(
            f"{intervention!s:.80}: its hooks(...) gave {found!r:.80}: give a list of pairs, each a hook name and a "
            "function of (tensor, hook), and an empty list for no change"
        )
    for _, hook in pairs:
        if isinstance(hook, ImageHook):
            check_image_there([layout for layout, own in zip(layouts, hook.edits, strict=False) if own], intervention)
    return pairs


def _refuse_plain(intervention: Intervention, name: str) -> NoReturn:
    """Refuse a plain function where rows of several samples or interventions meet in one batch."""
    rows = "give RowHook(function, 'last') in its place, or " if name.endswith(ROW_POINTS) else ""
    raise HookError(
        f"{intervention}: its function on {name} is a plain one, which sees all samples and positions, while a Prefix "
        f"or PerSample has to know its own: {rows}run the intervention alone with vlm.intervene(...), on whole prompts"
    )


def _read_parts(given: Any, what: str) -> tuple[Intervention, ...]:
    """Interventions as a tuple, each one checked."""
    try:
        parts = () if hasattr(given, "hooks") or isinstance(given, type) else tuple(given)
    except TypeError:
        parts = ()
    if not parts:
        raise InputError(f"{what}({given!s:.80}): give a list of interventions, at least one")
    for part in parts:
        check_intervention(part, what)
    return parts


def holds_samples(intervention: Intervention, samples: int) -> bool:
    """Whether what is done with each sample of a batch is its own, as activations of another run are.

    An intervention that does the same with all of them may meet other samples, whose prompts have the same places.
    """
    if isinstance(intervention, Chain):
        return any(holds_samples(part, samples) for part in intervention.parts)
    if isinstance(intervention, PerSample):
        first, *others = intervention.parts
        return any(part is not first and part != first for part in others) or holds_samples(first, 1)
    own = spread(intervention, samples)
    return any(each is not intervention for each in own)


def spread(intervention: Intervention, samples: int) -> list[Intervention]:
    """The intervention of each sample of a batch.

    Raises:
        InputError: it is one for each of another number of samples.
    """
    if isinstance(intervention, Chain):
        each = [spread(part, samples) for part in intervention.parts]
        return [Chain(own) for own in zip(*each, strict=True)]
    own = intervention.of_each(samples) if hasattr(intervention, "of_each") else [intervention] * samples
    if len(own) != samples:
        raise InputError(f"{len(own)} interventions for {samples} samples: give one each")
    return own
