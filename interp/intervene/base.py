"""Intervention: what all interventions are, the one that changes nothing, and one for each sample."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from jaxtyping import Float
from torch import Tensor

from interp.errors import InputError
from interp.hooks.rows import QueryRows, RowHook, copies_of_each
from interp.hooks.shape import ModelShape
from interp.intervene.image_hooks import Edit, ImageHook
from interp.prompt.layout import TokenLayout

Hook = tuple[str, RowHook | ImageHook]


class Intervention(Protocol):
    """What can be given to `vlm.hooks(intervention=...)`, `generate` and `Prefix`; its `str()` goes into results."""

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
class PerSample:
    """A different intervention for each sample of a batch."""

    parts: tuple[Intervention, ...]

    def hooks(self, shape: ModelShape, layouts: Sequence[TokenLayout]) -> list[Hook]:
        """The hooks of all parts, each on its own sample."""
        if len(layouts) != len(self.parts):
            raise InputError(f"{len(self.parts)} interventions for {len(layouts)} samples: give one each")
        named: dict[tuple[str, QueryRows], dict[int, list[RowHook]]] = defaultdict(lambda: defaultdict(list))
        photos: dict[str, list[list[Edit]]] = defaultdict(lambda: [[] for _ in layouts])
        for sample, (part, layout) in enumerate(zip(self.parts, layouts, strict=True)):
            for name, hook in part.hooks(shape, [layout]):
                if isinstance(hook, ImageHook):
                    photos[name][sample].extend(hook.edits[0])
                else:
                    named[name, hook.query_rows][sample].append(hook)
        rows = [(name, RowHook(_OneEach(own, len(layouts)), rows)) for (name, rows), own in named.items()]
        return [*rows, *((name, ImageHook(edits, layouts)) for name, edits in photos.items())]

    def __str__(self) -> str:
        """Name all parts."""
        return f"PerSample({', '.join(map(str, self.parts))})"


class _OneEach:
    """Calls each sample's hooks on its own slice of the batch: one row, or all copies of the sample."""

    def __init__(self, own: dict[int, list[RowHook]], samples: int) -> None:
        self.own, self.samples = own, samples

    def __call__(
        self, tensor: Float[Tensor, "batch head row key"], *, hook: Any
    ) -> Float[Tensor, "batch head row key"]:
        parts = list(tensor.split(copies_of_each(hook.now, len(tensor), self.samples, hook.name)))
        for sample, hooks in self.own.items():
            for row_hook in hooks:
                result = row_hook.function(parts[sample], hook=hook)
                parts[sample] = parts[sample] if result is None else result
        return torch.cat(parts)
