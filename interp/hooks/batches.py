"""Batches: what hook functions were made for, so that a run of anything else is refused before it begins."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from interp.errors import HookError
from interp.hooks.rows import WORDS, Pass, QueryRows
from interp.prompt.inputs import VLMInputs

HOW = "make it for the inputs that you run"

_NUMBERS = count()


@dataclass(frozen=True, eq=False)
class Batch:
    """The batch that hook functions were made for.

    What they do follows from where image, text and padding are, and may also hold something for each of the samples,
    such as activations of another run. A run may be of other samples only where neither would be another's.

    Attributes:
        inputs: the batch.
        what: who was made for it, for messages.
        of_samples: says whether something is held for each sample, so that others with the same places are refused.
        number: tells this one from all others.
    """

    inputs: VLMInputs
    what: str
    of_samples: Callable[[], bool]
    number: int = field(default_factory=_NUMBERS.__next__)

    @property
    def length(self) -> int:
        """Positions of its padded prompts."""
        return len(self.inputs.layouts[0])

    def check(self, given: VLMInputs) -> None:
        """Refuse to run another batch; copies of each sample, one after another, are still of this one.

        Raises:
            HookError: it is another.
        """
        own = self.inputs
        if given is own:
            return
        length, other = len(own.layouts[0]), len(given.layouts[0])
        if length != other:
            raise HookError(f"{self.what} was made for prompts of {length} positions, and these have {other}: {HOW}")
        each = self._copies(len(given.layouts))
        for sample, layout in enumerate(given.layouts):
            known = own.layouts[sample // each]
            if layout is not known and layout.kinds != known.kinds:
                self._refuse(f"the prompt of sample {sample} has image, words or padding at other places")
        if (name := self._differs(given, each)) and self.of_samples():
            self._refuse(f"these are others of the same length ({name} differ), while it holds something of each")

    def check_ids(self, ids: Int[Tensor, "row pos"], mask: Any, image_token: int, *, offset: int = 0) -> None:
        """Refuse to run other prompts, where a model is given tensors; those of another number are left.

        Args:
            ids: what the model is given, a part of the prompts or more than these.
            mask: the attention mask beside them, from the first position on; one with other axes is not looked at.
            image_token: the id of the image placeholder.
            offset: the position of the first ids.

        Raises:
            HookError: they are other prompts.
        """
        own = self.inputs.input_ids
        if (ids is own and not offset) or ids.ndim != 2 or len(ids) % len(own):
            return
        own = own[:, offset : offset + ids.shape[1]].to(ids.device)
        each, ids = len(ids) // len(own), ids[:, : own.shape[1]]
        wanted = own.repeat_interleave(each, 0)
        if not torch.equal(ids == image_token, wanted == image_token) or self._padded_otherwise(mask, each):
            self._refuse("these prompts have image or padding at other places")
        if not torch.equal(ids, wanted) and self.of_samples():
            self._refuse("these are other prompts of the same length, while it holds something of each")

    def _copies(self, samples: int) -> int:
        each, rest = divmod(samples, len(self.inputs.layouts))
        if not each or rest:
            self._refuse(f"this is a run of {samples}")
        return each

    def _padded_otherwise(self, mask: Any, each: int) -> bool:
        own = self.inputs.tensors.get("attention_mask")
        if own is None or not isinstance(mask, Tensor) or mask.ndim != 2 or len(mask) != len(own) * each:
            return False
        both = min(mask.shape[1], own.shape[1])
        wanted = own[:, :both].to(mask.device).bool().repeat_interleave(each, 0)
        return not torch.equal(mask[:, :both].bool(), wanted)

    def _differs(self, given: VLMInputs, each: int) -> str | None:
        """The name of a tensor that is another one; of pixels, which come in many forms, where there are no copies."""
        for name, own in self.inputs.tensors.items():
            if name in given.tensors and (name == "input_ids" or each == 1):
                other = given.tensors[name]
                wanted = own if each == 1 else own.repeat_interleave(each, 0)
                if wanted is not other and not (wanted.shape == other.shape and torch.equal(wanted.to(other), other)):
                    return name
        return None

    def _refuse(self, why: str) -> None:
        raise HookError(f"{self.what} was made for {len(self.inputs.layouts)} samples, and {why}: {HOW}")


class OfBatch:
    """A hook function, with the batch that it was made for."""

    def __init__(self, function: Callable[..., Any], batch: Batch) -> None:
        """Remember both."""
        self.function, self.batch = function, batch

    @property
    def query_rows(self) -> QueryRows:
        """The rows that the function asks for."""
        return getattr(self.function, "query_rows", "all")

    @property
    def reads_only(self) -> bool:
        """Whether the function promises to edit nothing."""
        return getattr(self.function, "reads_only", False)

    def __call__(self, tensor: Tensor, *, hook: Any) -> Any:
        """Call the function."""
        return self.function(tensor, hook=hook)

    def __repr__(self) -> str:
        """Name the function."""
        return repr(self.function)


def check_reached(bound: Sequence[OfBatch], now: Pass, under: frozenset[int]) -> None:
    """Refuse functions in a pass that goes on with a cache, where their rows are in it and they were not on for these.

    Args:
        bound: the functions that are on.
        now: the pass.
        under: numbers of the batches whose functions were on all the while that the cache was filled.

    Raises:
        HookError: a function would edit nothing, or less than it says.
    """
    for hook in bound:
        batch, rows = hook.batch, hook.query_rows
        if not isinstance(rows, str) and batch.length in now.earlier and batch.length - 1 in rows:
            raise HookError(
                f"{batch.what} edits rows up to the end of a prompt of {batch.length} positions, and this one goes on "
                f"to {now.prompt}: make it for the whole prompt, as vlm.prepare(..., prompt='raw') takes it"
            )
        if batch.number not in under and not _reached(bound, hook, now):
            raise HookError(
                f"{batch.what} edits rows of the prompt that the cache holds already, and was not on when it was "
                "filled: fill the cache inside the same `with`, or run the whole prompt without a cache"
            )


def _reached(bound: Sequence[OfBatch], hook: OfBatch, now: Pass) -> bool:
    """Whether the rows of a function are not cached; of an answer, those of some function that belongs to it."""
    if now.offset >= now.prompt:
        return any(other.batch is hook.batch and other.query_rows in ("all", "decoded", "generated") for other in bound)
    rows = hook.query_rows
    if isinstance(rows, str):
        return rows in WORDS
    return all(row % now.prompt >= now.offset for row in rows)
