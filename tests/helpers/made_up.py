"""Grids, layouts and attention rows made by hand, for tests that need no model."""

from __future__ import annotations

import numpy as np

from interp.image.grid import ImageGrid
from interp.prompt.layout import TokenLayout


def square_grid(image_size: tuple[int, int], side: int, seen: tuple[float, ...] | None = None) -> ImageGrid:
    """One view of side x side tokens over `seen`: by default, the middle square of the photo."""
    width, height = image_size
    short = min(image_size)
    left, top = (width - short) / 2, (height - short) / 2
    x0, y0, x1, y1 = seen or (left, top, left + short, top + short)
    xs, ys = np.linspace(x0, x1, side + 1), np.linspace(y0, y1, side + 1)
    rows, cols = (axis.ravel() for axis in np.indices((side, side)))
    boxes = np.stack([xs[cols], ys[rows], xs[cols + 1], ys[rows + 1]], axis=1)
    return ImageGrid(image_size, boxes, rows, cols, np.zeros(side * side, dtype=int), (x0, y0, x1, y1))


def layout_of(n_image: int, *, pads: int = 0, bos: bool = True) -> TokenLayout:
    """A prompt with every part: system words, markers around the image, a question, a template."""
    kinds = (
        ("pad",) * pads
        + ("bos",) * bos
        + ("system",) * 3
        + ("image_marker",)
        + ("image",) * n_image
        + ("image_marker",)
        + ("question",) * 4
        + ("template",) * 2
    )
    return TokenLayout(kinds, tuple(f"t{place}" for place in range(len(kinds))))


def softmax_rows(layout: TokenLayout, *shape: int, steps: int | None = None, seed: int = 0) -> np.ndarray:
    """Random rows [*shape key], or [*shape step key] with NaN where a step sees nothing, that sum to one."""
    rng = np.random.default_rng(seed)
    n_keys = layout.length + (steps or 1) - 1
    rows = np.exp(2 * rng.normal(size=(*shape, steps or 1, n_keys)))
    hidden = np.arange(n_keys) > layout.last + np.arange(steps or 1)[:, None]
    hidden[:, layout.positions("pad")] = True
    rows[..., hidden] = 0
    rows /= rows.sum(axis=-1, keepdims=True)
    rows[..., np.arange(n_keys) > layout.last + np.arange(steps or 1)[:, None]] = np.nan
    return (rows if steps else rows[..., 0, :]).astype(np.float32)


def random_streams(
    layout: TokenLayout, width: int, *, n_layers: int = 4, batch: int = 2, seed: int = 0
) -> dict[str, np.ndarray]:
    """What enters each layer, [batch pos width] by the name of its hook."""
    rng = np.random.default_rng(seed)
    shape = (batch, layout.length, width)
    return {f"blocks.{layer}.hook_resid_pre": rng.normal(size=shape) for layer in range(n_layers)}
