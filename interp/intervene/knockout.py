"""Knock-out: chosen query rows no longer see chosen keys; what has to flow along those edges is lost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from interp.errors import HookError, InputError
from interp.hooks.rows import QueryRows, RowHook, check_rows
from interp.hooks.shape import ModelShape
from interp.intervene.base import Hook, PerSample
from interp.intervene.indices import check_indices, read_indices, spell
from interp.intervene.prompts import MadeFor
from interp.numeric import read_flag
from interp.prompt.layout import TokenLayout

ROWS = ("last", "text", "image", "after_image", "all", "generated")
"""Query rows by name; see `Knockout.rows`."""

KEYS = ("image", "text")
"""Keys by name; see `Knockout.keys`."""


@dataclass(frozen=True)
class Knockout:
    """Cut the edges of attention from chosen query rows to chosen keys ("attention knock-out", Geva et al. 2023).

        scores[row, key] = -inf  for each chosen row and key, before the softmax, in the chosen layers and heads

    What is left is normalised anew, so that the rows spend on other keys what they spent there (arXiv:2304.14767). It
    shows what a model does without an edge, which is not what it uses the edge for: other ways may take over. In layers
    with a sliding window, edges that reach beyond it are not there anyway.

    Attributes:
        keys: what is not seen any more: `image`; `text`, what is behind the image and before the last prompt token; or
            positions in the padded prompt, negative ones from its end.
        rows: what does not see it any more: `last`, the last prompt row; `text`, the rows behind the image and before
            the last; `after_image`, both; `image`; `all`; `generated`, which is `last` with `decode`; or positions.
        layers: 0-based layers; all by default.
        heads: 0-based query heads; all by default. Where several share keys, each is cut by itself.
        decode: whether the row of every decoded token is cut off too.
        image_tokens: which image tokens are the keys, by number in the order of the grid, such as
            `grid.tokens_in(box)`; with `keys="image"` alone, and all by default.

    Example:
        >>> str(Knockout("image", rows="text", layers=range(4, 8)))
        'Knockout(keys=image, rows=text, layers=4-7, heads=all)'

    Raises:
        InputError: a word or numbers that mean nothing.
    """

    keys: str | Sequence[int] = "image"
    rows: QueryRows = "last"
    layers: tuple[int, ...] | None = None
    heads: tuple[int, ...] | None = None
    decode: bool = False
    image_tokens: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        """Refuse numbers and names that mean nothing."""
        object.__setattr__(self, "keys", _read(self.keys, "keys", KEYS))
        for name in ("layers", "heads", "image_tokens"):
            object.__setattr__(self, name, read_indices(getattr(self, name), name))
        if self.image_tokens is not None and self.keys != "image":
            raise InputError(f"image_tokens={spell(self.image_tokens)} go with keys='image', not with {self.keys!r}")
        object.__setattr__(self, "decode", read_flag(self.decode, "decode"))
        if isinstance(self.rows, str) and self.rows == "generated":
            object.__setattr__(self, "rows", "last")
            object.__setattr__(self, "decode", True)
        else:
            object.__setattr__(self, "rows", _read(self.rows, "rows", ROWS))

    def hooks(self, shape: ModelShape, layouts: Sequence[TokenLayout]) -> list[Hook]:
        """One hook a layer on `hook_attn_scores`, where an edit can not reveal what a row does not see.

        Raises:
            HookError: a layer or head that the model does not have, or an image token that a photo does not have.
            InputError: there is no such row or key, no row sees any of the keys, or one would be left without a key.
        """
        layers = check_indices(self.layers, shape.n_layers, "layer")
        heads = check_indices(self.heads, shape.n_heads, "head")
        columns = [self._columns(layout) for layout in layouts]
        prompt = [self._prompt_rows(layout, own, shape.two_way) for layout, own in zip(layouts, columns, strict=True)]
        if len(set(prompt)) > 1:  # of a ragged batch, whose images end at different positions
            return PerSample((self,) * len(layouts)).hooks(shape, layouts)
        edit = _Cut(columns, MadeFor(layouts), None if self.heads is None else heads)
        edits = [RowHook(edit, rows) for rows in (prompt[0], *(["decoded"] if self.decode else []))]
        return [(f"blocks.{layer}.attn.hook_attn_scores", each) for layer in layers for each in edits]

    def _columns(self, layout: TokenLayout) -> Int[np.ndarray, " column"]:
        """Positions of the keys."""
        if self.keys != "image":
            return _places(self.keys, layout, "keys")
        every = _places("image", layout, "keys")
        if self.image_tokens is None:
            return every
        return every[list(check_indices(self.image_tokens, len(every), "image token"))]

    def _prompt_rows(self, layout: TokenLayout, columns: Int[np.ndarray, " column"], two_way: str) -> QueryRows:
        """The rows of one sample's prompt that see a key which is cut; the last one by its word."""
        rows = _places(self.rows, layout, "rows")
        seen = seen_keys(layout, rows, two_way)
        cut = np.isin(np.arange(len(layout)), columns)
        some = (seen & cut).any(axis=1)
        if not some.any():
            raise InputError(f"{self} would cut nothing: none of the rows sees any of the keys, which are behind them")
        if len(bare := rows[some & ~(seen & ~cut).any(axis=1)]):
            raise InputError(
                f"{self} is refused: row {bare[0]} would have no key left to attend to: name other rows, or leave out "
                "a key that it sees, such as its own position"
            )
        own = tuple(rows[some].tolist())
        return "last" if own == (layout.last,) else own

    def __str__(self) -> str:
        """Name every setting, for results."""
        keys, rows = (given if isinstance(given, str) else list(given) for given in (self.keys, self.rows))
        more = ", decode=True" if self.decode else ""
        more += "" if self.image_tokens is None else f", image_tokens={spell(self.image_tokens)}"
        return f"Knockout(keys={keys}, rows={rows}, layers={spell(self.layers)}, heads={spell(self.heads)}{more})"


def seen_keys(layout: TokenLayout, rows: Int[np.ndarray, " row"], two_way: str = "") -> Bool[np.ndarray, "row key"]:
    """Which positions each row of a prompt sees: what is before it and itself, and what its family shows it beside.

    Sliding windows, which hide more in some layers, are not counted.

    Args:
        layout: the prompt.
        rows: positions in it.
        two_way: see `ModelShape.two_way`.
    """
    places, kinds = np.arange(len(layout)), np.array(layout.kinds)
    seen = places <= rows[:, None]
    if two_way == "prompt":
        seen = seen | (kinds != "answer")
    elif two_way == "image":
        image = kinds == "image"
        run = np.where(image, np.cumsum(np.diff(image, prepend=False)), 0)  # a number for each run of image tokens
        seen = seen | ((run == run[rows][:, None]) & image)
    return seen & (kinds != "pad")


class _Cut:
    """The cut of one `Knockout` on some rows of the scores of one layer."""

    def __init__(
        self, columns: Sequence[Int[np.ndarray, " column"]], prompts: MadeFor, heads: tuple[int, ...] | None
    ) -> None:
        self.columns = [torch.from_numpy(own) for own in columns]
        self.prompts, self.heads = prompts, heads

    def __call__(
        self, scores: Float[Tensor, "batch head row key"], *, hook: Any
    ) -> Float[Tensor, "batch head row key"]:
        each = self.prompts.copies(scores, hook)
        cut = torch.zeros(len(scores), scores.shape[1], 1, scores.shape[3], dtype=torch.bool, device=scores.device)
        heads = slice(None) if self.heads is None else list(self.heads)
        for row in range(len(scores)):
            own = torch.zeros_like(cut[row, 0, 0])
            own[self.prompts.seen(self.columns[row // each], scores)] = True
            cut[row, heads] = own
        edited = scores.masked_fill(cut, -torch.inf)
        if bool((edited.isneginf().all(-1) & ~scores.isneginf().all(-1)).any()):
            raise HookError(
                f"{hook.name}: a row would have no key left to attend to, as others are cut already or out of the "
                "layer's window: name other rows, keys or layers"
            )
        return edited


def _places(given: QueryRows, layout: TokenLayout, what: str) -> Int[np.ndarray, " position"]:
    """Positions of rows or keys in one prompt.

    Raises:
        InputError: there are none, or some lie outside of it.
    """
    if not isinstance(given, str):
        return _given_places(given, layout, what)
    image = layout.image_positions
    if given not in ("last", "all") and not len(image):
        raise InputError(f"{what}={given!r}: the prompt has no image token")
    behind = layout.after_image if len(image) else image
    named = {"last": [layout.last], "text": behind[:-1], "after_image": behind, "image": image}
    every = np.flatnonzero(~np.isin(np.array(layout.kinds), ("pad", "answer")))
    found = np.asarray(named.get(given, every), dtype=np.int64)
    if not len(found):
        raise InputError(f"{what}={given!r}: nothing of the prompt is behind the image and before its last token")
    return found


def _given_places(given: Sequence[int], layout: TokenLayout, what: str) -> Int[np.ndarray, " position"]:
    length = len(layout)
    if outside := [place for place in given if not -length <= place < length]:
        raise InputError(f"{what} {outside} lie outside the prompt of {length} positions")
    found = np.unique(np.array(given, dtype=np.int64) % length)
    if padded := [place for place in found.tolist() if layout.kinds[place] == "pad"]:
        raise InputError(f"{what} {padded} are padding of this sample: give its own positions, each with PerSample")
    return found


def _read(given: Any, what: str, words: tuple[str, ...]) -> QueryRows:
    """A word or positions, refused under the name and with the words that there are."""
    if isinstance(given, str) and given in words:
        return given
    try:
        if isinstance(given, str):
            raise HookError(given)
        return check_rows(given)
    except HookError:
        raise InputError(
            f"{what}={given!r} is not understood: use {', '.join(map(repr, words))} or a list of positions"
        ) from None
