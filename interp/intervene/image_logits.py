"""Interventions: value objects that say what is edited where, and turn into hooks for a given input."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from interp.errors import HookError, InputError
from interp.hooks.rows import WORDS, QueryRows, RowHook, check_rows, rows_in_pass
from interp.hooks.shape import ModelShape
from interp.intervene.base import Hook, PerSample
from interp.intervene.indices import check_indices, read_indices, spell, spell_number
from interp.intervene.prompts import MadeFor, check_image_there
from interp.numeric import read_flag
from interp.prompt.layout import TokenLayout

MODES = ("mul", "add", "temper")

MOST = 1e30
"""The largest strength: with it, float32 still holds the product with any logit that a model makes."""


@dataclass(frozen=True)
class ScaleImageLogits:
    """Change how much, and how sharply, query rows attend to the image (AdaptVis, arXiv 2503.01773).

    Works on the scaled dot products A[row, key] of the image keys that the row sees, before the softmax.

    Attributes:
        alpha: the strength. With `mul`, A becomes alpha A: a temperature of 1 / alpha inside the image, which also
            moves attention between image and text. With `add`, A becomes A + alpha (nats): the paper's control, more
            attention on the image with the same picture inside it. With `temper`, A becomes alpha A plus the constant
            that keeps the image's total attention: sharpening alone.
        mode: `mul`, `add` or `temper`.
        layers: 0-based layers; all by default.
        heads: 0-based query heads; all by default.
        rows: query rows of the prompt; the last by default. `after_image` is every row behind the image; `generated`
            is `last` with `decode`.
        decode: whether the row of every decoded token is edited too; untouched by default, as in the paper.
        image_tokens: which image tokens, by number in the order of the grid, such as `grid.tokens_in(box)`; all by
            default.

    Example:
        >>> str(ScaleImageLogits(0.5, layers=(6, 7)))
        'ScaleImageLogits(alpha=0.5, mode=mul, layers=6-7, heads=all, rows=last)'
    """

    alpha: float
    mode: str = "mul"
    layers: tuple[int, ...] | None = None
    heads: tuple[int, ...] | None = None
    rows: QueryRows = "last"
    decode: bool = False
    image_tokens: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        """Refuse numbers and names that mean nothing."""
        if isinstance(self.alpha, bool) or not isinstance(self.alpha, Real) or not abs(self.alpha) < math.inf:
            raise InputError(f"alpha={self.alpha!r} is not a finite number: give one such as 0.5 or 1.5")
        if abs(self.alpha) > MOST:
            raise InputError(f"alpha={self.alpha!r:.40} would take logits out of range: give one up to {MOST:g}")
        object.__setattr__(self, "alpha", float(self.alpha))
        if self.mode not in MODES:
            raise InputError(f"mode={self.mode!r} is not known: use one of {', '.join(MODES)}")
        for name in ("layers", "heads", "image_tokens"):
            object.__setattr__(self, name, read_indices(getattr(self, name), name))
        object.__setattr__(self, "decode", read_flag(self.decode, "decode"))
        if isinstance(self.rows, str) and self.rows == "generated":
            object.__setattr__(self, "rows", "last")
            object.__setattr__(self, "decode", True)
        elif not isinstance(self.rows, str) or self.rows != "after_image":
            object.__setattr__(self, "rows", _read_rows(self.rows))

    @property
    def changes_nothing(self) -> bool:
        """Whether this strength is the identity of its mode."""
        return self.alpha == (0.0 if self.mode == "add" else 1.0)

    def hooks(self, shape: ModelShape, layouts: Sequence[TokenLayout]) -> list[Hook]:
        """One hook a layer on `hook_attn_logits`; with `temper` on `hook_attn_scores`, as only what is seen has mass.

        Raises:
            HookError: a layer or head that the model does not have, or an image token that a photo does not have.
            InputError: a prompt has no photo.
        """
        layers = check_indices(self.layers, shape.n_layers, "layer")
        heads = check_indices(self.heads, shape.n_heads, "head")
        if self.changes_nothing:
            return []
        check_image_there(layouts, self)
        prompt = [self._prompt_rows(layout) for layout in layouts]
        if len(set(prompt)) > 1:  # of a ragged batch, whose images end at different positions
            return PerSample((self,) * len(layouts)).hooks(shape, layouts)
        chosen = [prompt[0], *(["decoded"] if self.decode else [])]
        own = None if self.heads is None else heads
        edits = [RowHook(_ImageEdit(self, layouts, own, rows), rows) for rows in chosen]
        point = "hook_attn_scores" if self.mode == "temper" else "hook_attn_logits"
        return [(f"blocks.{layer}.attn.{point}", edit) for layer in layers for edit in edits]

    def _prompt_rows(self, layout: TokenLayout) -> QueryRows:
        """The rows of one sample's prompt that are edited; `all` as positions, as the word means decoded ones too."""
        named = {"after_image": layout.after_image, "all": np.arange(layout.last + 1)}
        return tuple(named[self.rows].tolist()) if self.rows in ("after_image", "all") else self.rows

    def __str__(self) -> str:
        """Name every setting, for results."""
        rows = self.rows if isinstance(self.rows, str) else list(self.rows)
        more = ", decode=True" if self.decode else ""
        more += "" if self.image_tokens is None else f", image_tokens={spell(self.image_tokens)}"
        return (
            f"ScaleImageLogits(alpha={spell_number(self.alpha)}, mode={self.mode}, layers={spell(self.layers)}, "
            f"heads={spell(self.heads)}, rows={rows}{more})"
        )


class _ImageEdit:
    """The edit of one `ScaleImageLogits` on some rows of the logits of one layer."""

    def __init__(
        self,
        setting: ScaleImageLogits,
        layouts: Sequence[TokenLayout],
        heads: tuple[int, ...] | None,
        rows: QueryRows,
    ) -> None:
        self.setting, self.heads, self.rows = setting, heads, rows
        self.columns = [torch.from_numpy(_columns(layout, setting.image_tokens)) for layout in layouts]
        self.prompts = MadeFor(layouts)

    def __call__(
        self, logits: Float[Tensor, "batch head row key"], *, hook: Any
    ) -> Float[Tensor, "batch head row key"]:
        each = self._check(logits, hook)
        edited = logits.clone()
        heads = slice(None) if self.heads is None else list(self.heads)
        for row in range(len(logits)):
            columns = self.prompts.seen(self.columns[row // each], logits)
            own = logits[row, heads][..., columns]
            block = edited[row, heads]
            block[..., columns] = self._number(own, self._image(own), hook.name)
            edited[row, heads] = block
        return edited

    def _check(self, logits: Float[Tensor, "batch head row key"], hook: Any) -> int:
        """Refuse logits of other prompts than those that the image positions were taken from; rows for each sample."""
        each = self.prompts.copies(logits, hook)
        first = min(rows_in_pass(self.rows, hook.now)) + hook.now.offset
        if self.setting.mode == "temper" and any(first < columns.max() for columns in self.columns):
            raise HookError(
                f"mode='temper' keeps the image's total attention, but row {first} does not see the whole image: "
                "name rows after it"
            )
        return each

    def _image(self, own: Float[Tensor, "head row image_token"]) -> Float[Tensor, "head row image_token"]:
        alpha = self.setting.alpha
        if self.setting.mode == "add":
            return own + alpha
        unseen = own.isneginf()  # stays unseen: 0 times it is no number, and there may be nothing else
        sharper = torch.where(unseen, own, own * alpha)
        if self.setting.mode == "mul":
            return sharper
        moved = sharper - sharper.logsumexp(-1, keepdim=True) + own.logsumexp(-1, keepdim=True)
        return torch.where(unseen, own, moved)

    def _number(self, own: Tensor, edited: Tensor, name: str) -> Tensor:
        """Refuse a strength that takes logits out of the range of a half-precision model, where softmax gives NaN."""
        if abs(self.setting.alpha) * _LARGE_LOGIT > torch.finfo(own.dtype).max:
            if not torch.equal(edited.isfinite(), own.isfinite()):
                raise HookError(
                    f"{name}: alpha={spell_number(self.setting.alpha)} takes logits out of the range of {own.dtype}: "
                    "give a smaller one, or load the model in float32"
                )
        return edited


_LARGE_LOGIT = 1e4
"""What no scaled dot product comes near: below this times the strength nothing overflows, so nothing is looked at."""


def _columns(layout: TokenLayout, image_tokens: tuple[int, ...] | None) -> Int[np.ndarray, " column"]:
    """Positions of the image tokens that are edited."""
    every = layout.image_positions
    return every if image_tokens is None else every[list(check_indices(image_tokens, len(every), "image token"))]


def _read_rows(rows: Any) -> QueryRows:
    """Query rows of a prompt, refused under the name and with the words that an intervention has for them."""
    try:
        return check_rows(rows)
    except HookError:
        words = ", ".join(map(repr, (*WORDS, "after_image")))
        raise InputError(f"rows={rows!r} is not understood: use {words} or a list of positions") from None
