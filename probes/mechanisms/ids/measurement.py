"""What spatial IDs are measured of in one batch: the residual stream at the words that name objects, at every slot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from interp.errors import InputError
from interp.model.object_words import spans_of, word_ends
from interp.numeric import whole_number
from probes.mechanisms.ids.geometry import cell_of
from probes.study.run import check_asked, check_model

if TYPE_CHECKING:
    from torch import Tensor

    from interp.model.hooked_vlm import HookedVLM
    from interp.objects.sample import Object, Sample


@dataclass(frozen=True)
class IdsMeasurement:
    """What is read of one batch: the stream at the end of each object's name, with the cell its box's centre lies in.

    Example:
        >>> work = IdsMeasurement.of(vlm, cells=4)
        >>> work(samples[:1])[0][0]["state"].shape
        (128,)
    """

    vlm: HookedVLM
    cells: int
    prompt: str

    @classmethod
    def of(cls, vlm: HookedVLM, *, cells: int = 4, prompt: str = "chat") -> IdsMeasurement:
        """Read what is asked for, and refuse what means nothing.

        Raises:
            InputError: something does.
        """
        check_model(vlm)
        return cls(vlm, whole_number(cells, "cells", 2), prompt)

    def recorded(self) -> dict[str, Any]:
        """What the numbers depend on besides the model."""
        return {"cells": self.cells, "prompt": self.prompt}

    def check(self, samples: Sequence[Sample], *, progress: bool = True) -> None:
        """Refuse samples that can not be asked, or that name none of their objects, before the first pass.

        Raises:
            InputError: some can not or do not.
        """
        check_asked(self.vlm, samples, self.prompt, progress=progress)
        for sample in samples:
            if not self._read(sample):
                raise InputError(
                    f"sample {sample.id!r}: its question {sample.question!r} names no object that has a box, so that "
                    "there is no word to read: name the objects in the question, and give them boxes"
                )

    def seen_everywhere(self, samples: Sequence[Sample]) -> tuple[tuple[str, ...], dict[str, str]]:
        """The objects that some question names in every cell, and why others are not among them."""
        seen: dict[str, set[int]] = {}
        for sample in samples:
            for thing in self._read(sample):
                seen.setdefault(thing.name, set()).add(self._cell(thing, sample))
        whole = self.cells**2
        missing = {name: f"it lies in {len(own)} of {whole} cells" for name, own in seen.items() if len(own) < whole}
        return tuple(name for name in seen if name not in missing), missing

    def __call__(self, samples: list[Sample]) -> list[list[dict[str, Any]]]:
        """The rows of each sample: `object`, `cell`, `slot`, and `state`, float32 [d_model]."""
        import torch

        from interp.intervene.patch import slot_point
        from interp.study.prompter import prepare_samples

        inputs = prepare_samples(self.vlm, samples, self.prompt)
        ends = word_ends(self.vlm, inputs, samples)
        slots = self.vlm.cfg.n_layers + 1
        kept = [_Rows([own[own >= 0].tolist() for own in ends]) for _ in range(slots)]
        points = [slot_point(slot, slots - 1) for slot in range(slots)]
        with torch.no_grad():
            self.vlm.run_with_hooks(inputs, fwd_hooks=list(zip(points, kept, strict=True)), logits_to_keep=1)
        return [self._rows(sample, own, [slot.found[place] for slot in kept])
                for place, (sample, own) in enumerate(zip(samples, ends, strict=True))]  # fmt: skip

    def _rows(self, sample: Sample, ends: np.ndarray, states: Sequence[np.ndarray]) -> list[dict[str, Any]]:
        named = [thing for thing, end in zip(sample.objects, ends, strict=True) if end >= 0]
        return [
            {"object": thing.name, "cell": self._cell(thing, sample), "slot": slot, "state": own[place]}
            for slot, own in enumerate(states)
            for place, thing in enumerate(named)
            if thing.box is not None
        ]

    def _read(self, sample: Sample) -> list[Object]:
        """The objects of a sample that its question names, and that have a box."""
        return [one for one in sample.objects if one.box is not None and spans_of(one.name, sample.question)]

    def _cell(self, thing: Object, sample: Sample) -> int:
        from interp.image.photos import check_image

        assert thing.box is not None
        return int(cell_of(thing.box.centre, check_image(sample.image), self.cells))


class _Rows:
    """A hook function that keeps some rows of each sample, in float32."""

    reads_only = True

    def __init__(self, places: Sequence[Sequence[int]]) -> None:
        self.places = places
        self.found: list[np.ndarray] = []

    def __call__(self, tensor: Tensor, *, hook: object) -> None:
        rows = zip(tensor, self.places, strict=True)
        self.found = [own[list(places)].float().cpu().numpy() for own, places in rows]
