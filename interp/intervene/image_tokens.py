"""Image tokens: their order changed, or their norms, where the projector gives them to the language model."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from interp.errors import HookError, InputError
from interp.hooks.shape import ModelShape
from interp.intervene.base import Hook, Intervention, PerSample
from interp.intervene.image_hooks import IMAGE_POINT, ImageHook, image_points
from interp.intervene.indices import spell_number
from interp.intervene.prompts import check_image_there
from interp.numeric import whole_number
from interp.prompt.layout import TokenLayout

if TYPE_CHECKING:
    from interp.image.grid import ImageGrid

WITHIN = ("all", "boxes", "outside", "rows", "columns")
"""Among which image tokens contents change places; always inside one view of a photo that is seen in several."""


@dataclass(frozen=True)
class PermuteImageTokens:
    """Let the contents of image tokens change places, while the places stay: "Beyond Semantics", its permutation test.

    Slot i gets the projected row perm[i]; position ids stay in order, so that each content meets the rotary phase, and
    the causal mask, of another slot. `permute_image_tokens` makes it for a photo or a batch. The order is drawn from
    the seed and the number of tokens alone: the same photo gets the same one alone and in any batch. With one part, it
    is `torch.randperm` of that seed, as the paper's code draws it (there without a seed, once for a whole batch).

    What the vision tower wrote into a token about its own place moves with it: a model that reads places from there
    only is not touched. So does what a model adds to the tokens behind its first blocks (DeepStack).

    Attributes:
        seed: the seed of the draw.
        parts: the number of the part inside which each image token moves; -1 where it stays.
        within: what the parts are, in words, one of `WITHIN`.

    Example:
        >>> str(permute_image_tokens(inputs.grids, 0))
        'PermuteImageTokens(seed=0, within=all)'

    Raises:
        InputError: a seed or parts that are no whole numbers, or no part with two tokens.
    """

    seed: int
    parts: tuple[int, ...] = field(repr=False)
    within: str = "all"

    def __post_init__(self) -> None:
        """Refuse numbers and names that mean nothing."""
        object.__setattr__(self, "seed", whole_number(self.seed, "seed", 0))
        object.__setattr__(self, "parts", tuple(whole_number(part, "a part", -1) for part in self.parts))
        _check_within(self.within)
        if not _movable(np.array(self.parts)):
            raise InputError(f"within={self.within!r}: no two image tokens may change places, so nothing would move")

    @cached_property
    def order(self) -> Int[np.ndarray, " image_token"]:
        """The token whose content each slot gets, int64."""
        parts = np.array(self.parts)
        order, draw = np.arange(len(parts)), torch.Generator().manual_seed(self.seed)
        for part in np.unique(parts[parts >= 0]):
            own = np.flatnonzero(parts == part)
            order[own] = own[torch.randperm(len(own), generator=draw).numpy()]
        return order

    def hooks(self, shape: ModelShape, layouts: Sequence[TokenLayout]) -> list[Hook]:
        """One hook on each of `image_points`; none where the draw left everything in place.

        Raises:
            InputError: a prompt has no photo, or one of another number of image tokens than this was made for.
        """
        check_image_there(layouts, self)
        for layout in layouts:
            if len(layout.image_positions) != len(self.parts):
                raise InputError(
                    f"{self} was made for a photo of {len(self.parts)} image tokens, and this one has "
                    f"{len(layout.image_positions)}: make it with permute_image_tokens(inputs.grids, ...)"
                )
        order = torch.from_numpy(self.order)
        if torch.equal(order, torch.arange(len(order))):
            return []
        hook = ImageHook([[partial(_reorder, order=order)]] * len(layouts), layouts)
        return [(name, hook) for name in image_points(shape)]

    def __str__(self) -> str:
        """Name every setting, for results."""
        return f"PermuteImageTokens(seed={self.seed}, within={self.within})"


def permute_image_tokens(
    grids: ImageGrid | Sequence[ImageGrid], seed: int, *, within: str = "all", boxes: Any = None
) -> Intervention:
    """Let the contents of image tokens change places, in one photo or in each of a batch.

    Args:
        grids: where the image tokens are: `inputs.grids`, or one of them.
        seed: the seed of the draw.
        within: among which tokens: `all`; `boxes`, those of which boxes cover half or more, or `outside`, the others;
            `rows` or `columns`, so that each content keeps its row or its column. Nothing moves between the views of a
            photo that is seen in several.
        boxes: for `boxes` and `outside`, those of the photo, as `ImageGrid.tokens_in` takes them; of a batch, one
            entry for each photo.

    Example:
        >>> with vlm.intervene(permute_image_tokens(inputs.grids, seed=0), inputs):
        ...     shuffled = vlm(inputs).logits

    Raises:
        InputError: see `PermuteImageTokens`, or boxes are missing, too many, or of no use.
    """
    _check_within(within)
    alone = not isinstance(grids, Sequence)
    every: list[Any] = [grids] if alone else list(grids)  # type: ignore[list-item, arg-type]
    uses_boxes = within in ("boxes", "outside")
    if uses_boxes != (boxes is not None):
        raise InputError(
            f"within={within!r} and boxes={boxes!r:.60}: boxes of each photo go with 'boxes' and 'outside' alone"
        )
    given: list[Any] = [boxes] if alone or not uses_boxes else list(boxes)
    if uses_boxes and len(given) != len(every):
        raise InputError(f"boxes of {len(given)} photos for {len(every)}: give one entry for each photo")
    if not every:
        raise InputError("there is no photo: give inputs.grids")
    own = given if uses_boxes else [None] * len(every)
    parts = [
        PermuteImageTokens(seed, tuple(_parts(grid, within, there).tolist()), within)
        for grid, there in zip(every, own, strict=True)
    ]
    return parts[0] if len(set(parts)) == 1 else PerSample(tuple(parts))


@dataclass(frozen=True)
class ScaleImageNorms:
    """Change how long image tokens are where they enter the language model: a knob that needs no training.

    It is not the method of "Beyond Semantics", whose normalising projector is trained; it asks the same question of a
    model as it stands. Directions stay; a token of length zero stays zero. What a model adds to the tokens behind its
    first blocks (DeepStack) is not scaled: it is no token that enters, but something that is written onto one later.

    Attributes:
        scale: every token times this number.
        target: every token to this Euclidean length.
        clip: tokens that are longer, to this length; others stay as they are, to the bit.

    Example:
        >>> str(ScaleImageNorms(target=1.0126))
        'ScaleImageNorms(target=1.0126)'

    Raises:
        InputError: not exactly one of the three, or one that is no finite number from 0 on.
    """

    scale: float | None = None
    target: float | None = None
    clip: float | None = None

    def __post_init__(self) -> None:
        """Refuse numbers that mean nothing."""
        given = {name: getattr(self, name) for name in ("scale", "target", "clip")}
        named = {name: value for name, value in given.items() if value is not None}
        if len(named) != 1:
            raise InputError(f"scale, target, clip = {tuple(given.values())}: give exactly one of the three")
        ((name, value),) = named.items()
        if isinstance(value, bool) or not isinstance(value, Real) or not 0 <= float(value) < math.inf:
            raise InputError(f"{name}={value!r} is no finite number from 0 on: give one such as 1.0")
        object.__setattr__(self, name, float(value))

    def hooks(self, shape: ModelShape, layouts: Sequence[TokenLayout]) -> list[Hook]:
        """One hook on `projector.hook_out`; none where every token is scaled by 1."""
        if self.scale == 1:
            return []
        return [(IMAGE_POINT, ImageHook([[self._scaled]] * len(layouts), layouts))]

    def fits(self, tokens: Float[Tensor, "token d_model"]) -> bool:
        """Whether these image tokens can be so long in their own number type."""
        return torch.equal(self._made(tokens).isfinite(), tokens.isfinite())

    def _scaled(self, tokens: Float[Tensor, "token d_model"]) -> Float[Tensor, "token d_model"]:
        if not self.fits(tokens):
            raise HookError(f"{self} takes image tokens out of the range of {tokens.dtype}: give a smaller number")
        return self._made(tokens)

    def _made(self, tokens: Float[Tensor, "token d_model"]) -> Float[Tensor, "token d_model"]:
        exact = tokens.to(torch.promote_types(tokens.dtype, torch.float32))
        scaled = (exact * self._factor(exact)).to(tokens.dtype)
        if self.clip is not None:
            scaled = torch.where(_lengths(exact) > self.clip, scaled, tokens)
        return scaled

    def _factor(self, tokens: Tensor) -> Tensor | float:
        if self.scale is not None:
            return self.scale
        lengths = _lengths(tokens)
        wanted = self.clip if self.target is None else self.target
        return (lengths > 0) / lengths.where(lengths > 0, 1) * float(wanted or 0)

    def __str__(self) -> str:
        """Name the setting, for results."""
        named = ((name, getattr(self, name)) for name in ("scale", "target", "clip"))
        return f"ScaleImageNorms({', '.join(f'{name}={spell_number(v)}' for name, v in named if v is not None)})"


def _reorder(tokens: Float[Tensor, "token d_model"], *, order: Int[Tensor, " token"]) -> Tensor:
    return tokens[order.to(tokens.device)]


def _lengths(tokens: Float[Tensor, "token d_model"]) -> Float[Tensor, "token 1"]:
    """Euclidean lengths; the gradient of a zero one is 0."""
    squares = tokens.square().sum(-1, keepdim=True)
    return squares.where(squares > 0, 1).sqrt() * (squares > 0)


def _parts(grid: ImageGrid, within: str, boxes: Any) -> Int[np.ndarray, " token"]:
    """The part of each token of a photo, -1 where it stays."""
    if within in ("boxes", "outside"):
        inside = np.zeros(len(grid), dtype=bool)
        inside[list(grid.tokens_in(boxes))] = True
        return np.where(inside == (within == "boxes"), grid.view, -1)
    lines = {"all": np.zeros_like(grid.view), "rows": grid.rows, "columns": grid.cols}[within]
    return np.unique(np.stack([grid.view, lines], 1), axis=0, return_inverse=True)[1].reshape(-1)


def _movable(parts: Int[np.ndarray, " token"]) -> bool:
    return bool((np.unique(parts[parts >= 0], return_counts=True)[1] > 1).any())


def _check_within(within: str) -> None:
    if within not in WITHIN:
        raise InputError(f"within={within!r} is not known: use one of {', '.join(WITHIN)}")


def check_seeds(seeds: Iterable[int]) -> tuple[int, ...]:
    """Seeds as a tuple of different whole numbers.

    Raises:
        InputError: there is none, one is no whole number from 0 on, or one occurs twice.
    """
    try:
        own = tuple(whole_number(seed, "a seed", 0) for seed in seeds)
    except TypeError:
        raise InputError(f"seeds={seeds!r:.60} is no list: give several, such as range(5)") from None
    if not own or len(set(own)) < len(own):
        raise InputError(f"seeds={own}: give at least one, each once")
    return own
