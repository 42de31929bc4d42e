"""Ordered photos: a question about items in a row or column, with the reference photos that take their order away."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from interp.errors import InputError
from interp.objects.sample import Sample
from interp.reprs import fits_a_cell
from probes.mechanisms.tokens.views import in_order

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

    from interp.image.grid import ImageGrid
    from interp.image.photos import ImageSource
    from interp.intervene.base import Chain
    from interp.model.hooked_vlm import HookedVLM


@fits_a_cell()
@dataclass(frozen=True, eq=False)
class OrderedPhoto:
    """A question about a photo of items in a row or column, and what it takes to ask it without their order.

    All photos have one size and form, so that their image tokens stand at the same places.

    Attributes:
        sample: what is asked.
        items: for each item, the image tokens that it covers, by number in the order of the grid.
        middle: the image tokens of the middle place, as many as each item has, in the same order.
        centred: for each item, a photo of it alone at the middle place.
        placed: for each item, a photo of it alone at its own place: the control, which keeps the order.
        blank: the photo without any item.

    Raises:
        InputError: parts that do not fit together.
    """

    sample: Sample
    items: tuple[tuple[int, ...], ...]
    middle: tuple[int, ...]
    centred: tuple[ImageSource, ...] = field(repr=False)
    placed: tuple[ImageSource, ...] = field(repr=False)
    blank: ImageSource = field(repr=False)

    def __post_init__(self) -> None:
        """Refuse parts that do not fit together."""
        object.__setattr__(self, "items", tuple(tuple(int(token) for token in own) for own in self.items))
        object.__setattr__(self, "middle", tuple(int(token) for token in self.middle))
        name, every = f"photo {self.sample.id!r}", [token for own in self.items for token in own]
        if not every or any(len(own) != len(self.middle) for own in self.items):
            counts = [len(own) for own in self.items]
            raise InputError(f"{name}: items of {counts} tokens, the middle of {len(self.middle)}: give as many each")
        if len(set(every)) < len(every):
            raise InputError(f"{name}: two items share an image token: lay them on tokens of their own")
        for what in ("centred", "placed"):
            if len(getattr(self, what)) != len(self.items):
                raise InputError(f"{name}: {len(getattr(self, what))} photos {what!r} of {len(self.items)} items")

    @property
    def references(self) -> dict[str, ImageSource]:
        """The reference photos, by what a message calls them."""
        parts = {f"{what} photo {place + 1}": one for what in ("centred", "placed")
                 for place, one in enumerate(getattr(self, what))}  # fmt: skip
        return {**parts, "blank photo": self.blank}

    def others(self, count: int) -> tuple[int, ...]:
        """The image tokens of a photo of so many that no item covers."""
        return tuple(np.setdiff1d(np.arange(count), np.concatenate(self.items)).tolist())

    def as_sample(self) -> Sample:
        """The sample, with all else in its `meta`: what a study knows it again by."""
        from interp.study.keys import photo_keys

        references = [replace(self.sample, image=image) for image in self.references.values()]  # type: ignore[arg-type]
        more = {"items": str(self.items), "middle": str(self.middle), "references": str(photo_keys(references))}
        return replace(self.sample, meta={**self.sample.meta, **more})

    def check_grid(self, grid: ImageGrid, grid_of: Callable[[ImageSource], ImageGrid]) -> None:
        """Refuse reference photos with other image tokens, and items that lie outside of them.

        Raises:
            InputError: there are some; the message names them.
        """
        from interp.intervene.image_replacement import check_same_grid

        outside = [token for token in (*self.middle, *np.concatenate(self.items)) if not 0 <= token < len(grid)]
        if outside:
            raise InputError(
                f"image tokens {sorted(set(map(int, outside)))} of items do not exist: there are {len(grid)}"
            )
        if not self.others(len(grid)):
            raise InputError("its items cover the whole photo, so that nothing is left for the blank one")
        for name, image in self.references.items():
            check_same_grid(grid, grid_of(image), name)


def photo_of_line(sample: Sample, grid: ImageGrid) -> OrderedPhoto:
    """The ordered photo of a line of items, as `line_pairs` draws it: its references are in the sample's `meta`.

    Args:
        sample: one side of a pair.
        grid: where the image tokens of its photo stand.

    Raises:
        InputError: a sample that is no line, or items that cover no whole tokens.

    Example:
        >>> photos = [photo_of_line(pair.clean, grid) for pair in line_pairs(setting_of("squares"), geometry_of(vlm))]
    """
    from interp.image.photos import load_image

    missing = [name for name in ("boxes", "alone", "blank") if name not in sample.meta]
    if missing:
        raise InputError(f"sample {sample.id!r} has no {missing} in its meta, as lines of items have: see line_pairs")
    meta: Mapping[str, Any] = sample.meta
    boxes = list(meta["boxes"])
    items = tuple(tuple(in_order(grid, np.array(grid.tokens_in(box))).tolist()) for box in boxes)
    whole, blank = load_image(sample.image), load_image(meta["blank"])
    placed = []
    for box in boxes:
        corners = tuple(round(end) for end in box.xyxy)
        alone = blank.copy()
        alone.paste(whole.crop(corners), corners[:2])
        placed.append(alone)
    return OrderedPhoto(sample, items, items[len(items) // 2], tuple(meta["alone"]), tuple(placed), blank)


def photos_of_lines(vlm: HookedVLM, samples: Sequence[Sample]) -> list[OrderedPhoto]:
    """The ordered photos of lines of items, by the grid that this model makes of each.

    Raises:
        InputError: see `photo_of_line`.
    """
    return [photo_of_line(sample, vlm.grid_of(sample.image)) for sample in samples]


def without_ordering(
    items: Sequence[Sequence[int]],
    middle: Sequence[int],
    centred: Sequence[Float[Tensor, "token d_model"]],
    blank: Float[Tensor, "token d_model"],
) -> Chain:
    """Take the order of items out of what the language model receives (Cui et al. 2026, arXiv:2603.22278, 5.3.1).

    Each item's tokens become those that it has alone in the middle, all other tokens of the whole grid those of a blank
    photo: which items there are, and where, is kept, and what the vision tower wrote of their order is not.

    Args:
        items: the image tokens of each item.
        middle: the image tokens of the middle place, in the same order.
        centred: for each item, the image tokens of the photo of it alone in the middle.
        blank: the image tokens of the photo without items.

    Example:
        >>> edit = without_ordering(photo.items, photo.middle, centred, blank)
        >>> features.generate(intervention=edit).texts
    """
    return _replaced(items, [middle] * len(items), centred, blank)


def with_ordering_kept(
    items: Sequence[Sequence[int]],
    placed: Sequence[Float[Tensor, "token d_model"]],
    blank: Float[Tensor, "token d_model"],
) -> Chain:
    """The control of `without_ordering`: as much is replaced, and each item's tokens know its place.

    Each item's tokens become those that it has alone at its own place, all others those of a blank photo.
    """
    return _replaced(items, items, placed, blank)


def _replaced(
    items: Sequence[Sequence[int]], sources: Sequence[Sequence[int]], photos: Sequence[Tensor], blank: Tensor
) -> Chain:
    from interp.intervene.base import Chain
    from interp.intervene.image_replacement import ReplaceImageTokens

    others = np.setdiff1d(np.arange(len(blank)), np.concatenate([np.asarray(own) for own in items]))
    each: list[Any] = [ReplaceImageTokens(blank, tuple(others.tolist()))]
    for own, source, values in zip(items, sources, photos, strict=True):
        each.append(ReplaceImageTokens(values, tuple(own), tuple(source)))
    return Chain(tuple(each))
