"""Layers: the paper's layers at any depth, and how layers and heads are named in tables."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from einops import rearrange

from interp.errors import InputError

PAPER_LAYERS = (17, 18)
"""The layers (0-based, of 32) in which AdaptVis reads LLaVA-1.5's attention (Chen et al. 2025, arXiv:2503.01773)."""


def paper_layers(n_layers: int) -> tuple[int, ...]:
    """The layers that lie as deep in a model of `n_layers` as `PAPER_LAYERS` do in one of 32.

    Every layer l, 0-based, with 17/32 <= (l + 0.5) / n_layers < 19/32; the nearest to 18/32 where there is none.

    Example:
        >>> paper_layers(12), paper_layers(32)
        ((6,), (17, 18))

    Raises:
        InputError: `n_layers` is less than one.
    """
    if n_layers < 1:
        raise InputError(f"a model of {n_layers} layers has no paper layers: give the number of its layers, 1 or more")
    inside = tuple(layer for layer in range(n_layers) if 17 * n_layers <= 32 * layer + 16 < 19 * n_layers)
    return inside or (min(range(n_layers), key=lambda layer: abs(32 * layer + 16 - 18 * n_layers)),)


def default_layers(n_layers: int) -> tuple[int, ...]:
    """The layers that a figure shows unless told otherwise: the paper's, and the quarters before and after."""
    around = {0, n_layers // 4, (3 * n_layers) // 4, n_layers - 1}
    return tuple(sorted(around | set(paper_layers(n_layers))))


HEAD_MEAN = -1
"""The head number, in tables, of attention averaged over heads before it is measured; it is last in the arrays."""


def cell_columns(shape: tuple[int, ...], names: Sequence[str] | None) -> dict[str, np.ndarray]:
    """The place of every cell as columns of a table, `layer` and `head` by default; the last head is -1, the mean."""
    names = ("layer", "head")[: len(shape)] if names is None else tuple(names)
    if len(names) != len(shape):
        raise InputError(f"the cells have {len(shape)} axes {shape}, the names are {names}: give one name per axis")
    places = rearrange(np.indices(shape), "index ... -> index (...)").astype(np.int32)
    for name, place, length in zip(names, places, shape, strict=True):
        if name == "head":
            place[place == length - 1] = HEAD_MEAN
    return dict(zip(names, places, strict=True))
