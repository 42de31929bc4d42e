"""Image tokens replaced: by their mean, by a given vector, or by those of another photo, where they enter."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from interp.errors import HookError, InputError
from interp.hooks.shape import ModelShape
from interp.intervene.base import Hook
from interp.intervene.image_hooks import IMAGE_POINT, ImageHook, refuse_deepstack
from interp.intervene.indices import check_indices, read_indices, spell
from interp.intervene.prompts import check_image_there
from interp.numeric import whole_numbers
from interp.prompt.layout import TokenLayout

if TYPE_CHECKING:
    from interp.image.grid import ImageGrid

MEAN = "mean"
"""What stands for the mean over all image tokens of the photo itself."""


@dataclass(frozen=True, eq=False)
class ReplaceImageTokens:
    """Give chosen image tokens other contents, at `projector.hook_out`: what the language model receives.

        token[slots[i]] <- values[sources[i]]

    Their places stay, and so do all other tokens, to the bit. With `values="mean"` each chosen token becomes the mean
    over all image tokens of its photo, and with a vector that vector (Neo et al. 2024, arXiv:2410.07149, whose mean is
    over many photos). With the features of another photo, such as a blank one, it becomes the one at the same place
    there, or at the place that `sources` names (Cui et al. 2026, arXiv:2603.22278).

    Attributes:
        values: `mean`; one vector [d_model]; or the image tokens of another photo [token d_model], in the order of its
            grid, as `ImageFeatures.tokens` gives them. The other photo has the same grid; see `check_same_grid`.
        slots: which image tokens are replaced, by number in the order of the grid; all by default.
        sources: for each of `slots`, in its order, the token of the other photo whose content it gets; the one at its
            own place by default.

    Example:
        >>> blank = ImageFeatures.capture(vlm, vlm.prepare(white, question)).tokens()[0]
        >>> with vlm.intervene(ReplaceImageTokens(blank, inputs.grids[0].tokens_in(box)), inputs):
        ...     output = vlm(inputs)

    Raises:
        InputError: values, slots or sources that mean nothing together.
    """

    values: str | Float[Tensor, "*token d_model"] = field(default=MEAN, repr=False)
    slots: tuple[int, ...] | None = None
    sources: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        """Refuse what means nothing."""
        if isinstance(self.values, np.ndarray):
            object.__setattr__(self, "values", torch.from_numpy(self.values))
        if not (self.values == MEAN if isinstance(self.values, str) else _is_features(self.values)):
            given = tuple(self.values.shape) if isinstance(self.values, Tensor) else repr(self.values)[:40]
            raise InputError(f"values={given}: give 'mean', a finite vector [d_model], or features [token d_model]")
        if self.sources is None:
            object.__setattr__(self, "slots", read_indices(self.slots, "slots"))
            return
        slots, sources = _in_order(self.slots, "slots"), _in_order(self.sources, "sources")
        if len(set(slots)) < len(slots) or len(slots) != len(sources):
            raise InputError(
                f"{len(slots)} slots, {len(set(slots))} of them different, and {len(sources)} sources: name each slot "
                "once, and one source for it"
            )
        if not isinstance(self.values, Tensor) or self.values.ndim < 2:
            raise InputError("sources are tokens of another photo: give its features [token d_model] as values")
        object.__setattr__(self, "slots", slots)
        object.__setattr__(self, "sources", sources)

    def hooks(self, shape: ModelShape, layouts: Sequence[TokenLayout]) -> list[Hook]:
        """One hook on `projector.hook_out`.

        Raises:
            HookError: a token that a photo, or the other one, does not have.
            InputError: a prompt without a photo, values of another width, or another number of tokens than a photo.
            RefusedError: a model that adds more of the photo behind the projector (DeepStack), which would stay.
        """
        refuse_deepstack(shape, "ReplaceImageTokens")
        check_image_there(layouts, self)
        if isinstance(self.values, Tensor) and self.values.shape[-1] != shape.d_model:
            raise InputError(f"{self} has values of width {self.values.shape[-1]}, and the model {shape.d_model}")
        return [(IMAGE_POINT, ImageHook([[self._edit(len(own.image_positions))] for own in layouts], layouts))]

    def _edit(self, count: int) -> partial[Tensor]:
        """What is done with a photo of so many image tokens."""
        slots = check_indices(self.slots, count, "image token")
        if not isinstance(self.values, Tensor):
            return partial(_put, slots=slots, values=None)
        if self.values.ndim == 1:
            return partial(_put, slots=slots, values=self.values[None].expand(len(slots), -1))
        if len(self.values) != count:
            raise InputError(
                f"{self} has features of a photo of {len(self.values)} image tokens, and this one has {count}: use "
                "photos of one size, and PerSample where a batch has several"
            )
        sources = slots if self.sources is None else check_indices(self.sources, count, "image token")
        return partial(_put, slots=slots, values=self.values[list(sources)])

    def __str__(self) -> str:
        """Name every setting, for results."""
        by = self.values if isinstance(self.values, str) else f"[{' '.join(map(str, self.values.shape))}]"
        more = "" if self.sources is None else f", sources={list(self.sources)}"
        slots = spell(self.slots) if self.sources is None else list(self.slots or ())
        return f"ReplaceImageTokens(values={by}, slots={slots}{more})"


def check_same_grid(grid: ImageGrid, other: ImageGrid, name: str) -> None:
    """Refuse another photo whose image tokens do not stand where those of the first do.

    Args:
        grid: of the photo.
        other: of the other photo.
        name: what the message calls the other photo.

    Raises:
        InputError: they do not.
    """
    parts = ("rows", "cols", "view", "slots")
    if any(not np.array_equal(getattr(grid, part), getattr(other, part)) for part in parts):
        raise InputError(f"{name}: {_size(other)}, and the photo itself {_size(grid)}: use photos of one size and form")


def _size(grid: ImageGrid) -> str:
    width, height = grid.image_size
    return f"{width} x {height} pixels have {len(grid)} image tokens, {grid.rows.max() + 1} x {grid.cols.max() + 1}"


def _put(
    tokens: Float[Tensor, "token d_model"], *, slots: tuple[int, ...], values: Float[Tensor, "slot d_model"] | None
) -> Float[Tensor, "token d_model"]:
    """The tokens of a photo with others in these slots; with their own mean where none are given."""
    if values is None:
        exact = tokens.to(torch.promote_types(tokens.dtype, torch.float32))
        values = exact.mean(0, keepdim=True).expand(len(slots), -1)
    new = values.to(tokens)
    if not bool(new.isfinite().all()):
        raise HookError(f"values for image tokens are out of the range of {tokens.dtype}: give smaller ones")
    return tokens.index_copy(0, torch.tensor(slots, device=tokens.device), new)


def _is_features(values: object) -> bool:
    return (
        isinstance(values, Tensor)
        and values.ndim in (1, 2)
        and values.numel() > 0
        and values.is_floating_point()
        and bool(values.isfinite().all())
    )


def _in_order(chosen: Sequence[int] | None, what: str) -> tuple[int, ...]:
    """Indices in the order in which they are given."""
    if chosen is None:
        raise InputError(f"{what} are missing: name slots and sources together")
    own = tuple(chosen) if isinstance(chosen, Iterable) else chosen
    read_indices(own, what)
    return whole_numbers(own)
