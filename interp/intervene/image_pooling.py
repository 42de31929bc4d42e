"""Image pooling: fewer image tokens for the language model, each the mean over a cell of the grid."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from interp.errors import HookError, InputError, RefusedError
from interp.hooks.shape import ModelShape
from interp.intervene.base import Hook
from interp.prompt.layout import TokenLayout

if TYPE_CHECKING:
    from interp.image.grid import ImageGrid


@dataclass(frozen=True)
class PoolImageTokens:
    """Pool the grid of image tokens to `side` x `side`, without training ("Beyond Semantics", token compression).

    Each view of the photo is pooled by itself, after the projector: token (i, j) is the mean over rows floor(i R / s)
    to ceil((i + 1) R / s) and columns likewise (adaptive average pooling of R rows to s). The paper's models may have
    been trained with it; here the model is frozen. `side` is a side: 4 leaves 16 tokens a view (the paper's own
    setting is told as a number of tokens and works as a side).

    The prompt gets shorter by as many tokens as are pooled away, so it is `ImageFeatures.pooled` that runs it, and no
    hook alone can.

    Attributes:
        side: rows and columns that are left of each view.

    Example:
        >>> ImageFeatures.capture(vlm, inputs).generate(intervention=PoolImageTokens(4)).texts
        ('left',)

    Raises:
        InputError: a side that is no whole number from 1 on.
    """

    side: int

    def __post_init__(self) -> None:
        """Refuse numbers that mean nothing."""
        if isinstance(self.side, bool) or not isinstance(self.side, (int, np.integer)) or self.side < 1:
            raise InputError(f"side={self.side!r}: give rows and columns that shall be left, a whole number from 1 on")
        object.__setattr__(self, "side", int(self.side))

    def hooks(self, shape: ModelShape, layouts: Sequence[TokenLayout]) -> list[Hook]:
        """Refuse: the prompt has to get shorter, which hooks can not do.

        Raises:
            HookError: always.
        """
        raise HookError(
            f"{self} leaves fewer image tokens than the prompt has places: run it with "
            f"ImageFeatures.capture(vlm, inputs).pooled({self.side})"
        )

    def tokens(self, tokens: Float[Tensor, "token d_model"], grid: ImageGrid) -> Float[Tensor, "pooled d_model"]:
        """The tokens of one photo, pooled, view after view."""
        from torch import cat

        laid_out = (
            rearrange(tokens[start : start + rows * cols], "(row col) d -> d row col", row=rows)
            for start, rows, cols in self._views(grid)
        )
        return cat([rearrange(adaptive_avg_pool2d(view, self.side), "d row col -> (row col) d") for view in laid_out])

    def grid(self, grid: ImageGrid) -> ImageGrid:
        """Where the pooled tokens are: each has the box around the boxes of its cell; cells may overlap."""
        from interp.image.grid import ImageGrid

        cells = list(self._cells(grid))
        boxes = [np.hstack([grid.boxes[own, :2].min(axis=0), grid.boxes[own, 2:].max(axis=0)]) for own, *_ in cells]
        rows, cols, views = np.array([place for _, *place in cells]).T
        reach = np.stack([grid.reach[own].max(axis=0) for own, *_ in cells])
        return ImageGrid(grid.image_size, np.stack(boxes), rows, cols, views, grid.seen, reach=reach)

    def kept(self, layout: TokenLayout, grid: ImageGrid) -> Int[np.ndarray, " position"]:
        """The positions of a prompt that are left: of each view's tokens as many as there will be.

        Raises:
            RefusedError: rows of image tokens are parted by row ends, so that a shorter prompt is none of the family's.
        """
        starts = [(start, rows * cols) for start, rows, cols in self._views(grid)]
        image = layout.image_positions
        parted = [len(set(np.diff(image[start : start + count]).tolist()) - {1}) for start, count in starts]
        if any(parted) or len(layout.placeholders) != len(image):
            raise RefusedError(f"{self} is refused: rows of image tokens end with a token of their own here")
        gone = [image[start + self.side**2 : start + count] for start, count in starts]
        return np.setdiff1d(np.arange(len(layout)), np.concatenate(gone))

    def _cells(self, grid: ImageGrid) -> Iterator[tuple[Int[np.ndarray, " token"], int, int, int]]:
        """The tokens of each cell, in order, with its row, column and view."""
        for start, rows, cols in self._views(grid):
            places = start + np.arange(rows * cols).reshape(rows, cols)
            for row, col in np.ndindex(self.side, self.side):
                own = places[self._span(row, rows), self._span(col, cols)].ravel()
                yield own, row, col, int(grid.view[start])

    def _span(self, place: int, length: int) -> slice:
        return slice(place * length // self.side, -(-(place + 1) * length // self.side))

    def _views(self, grid: ImageGrid) -> list[tuple[int, int, int]]:
        """First token, rows and columns of each view.

        Raises:
            InputError: a view has fewer rows or columns than shall be left.
        """
        starts = [0, *(np.flatnonzero(np.diff(grid.view)) + 1).tolist(), len(grid)]
        found = []
        for start, end in zip(starts, starts[1:], strict=False):
            rows, cols = (int(line[start:end].max()) + 1 for line in (grid.rows, grid.cols))
            if rows * cols != end - start:
                raise RefusedError(f"{self} is refused: the image tokens of a view fill no {rows} rows of {cols}")
            if self.side > min(rows, cols):
                raise InputError(f"side={self.side} of a view of {rows} x {cols} image tokens: give at most the less")
            found.append((start, rows, cols))
        return found

    def __str__(self) -> str:
        """Name the setting, for results."""
        return f"PoolImageTokens(side={self.side})"
