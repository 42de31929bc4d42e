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
    return _as_deep(n_layers, PAPER_LAYERS[0], PAPER_LAYERS[-1] + 1)


def default_layers(n_layers: int) -> tuple[int, ...]:
    """The layers that a figure shows unless told otherwise: the paper's, and the quarters before and after."""
    around = {0, n_layers // 4, (3 * n_layers) // 4, n_layers - 1}
    return tuple(sorted(around | set(paper_layers(n_layers))))


LAYER_WINDOWS = {"early": (0, 10), "early-mid": (5, 15), "mid": (11, 21), "mid-late": (15, 25), "late": (21, 32)}
"""First layer, and the one behind the last (0-based, of 32), of the windows in which Neo et al. cut attention."""


def layer_windows(n_layers: int, width: int | None = None) -> dict[str, tuple[int, ...]]:
    """Windows of consecutive layers by name, such as edges of attention are cut in.

    With a width, every window of so many consecutive layers (Geva et al. 2023, arXiv:2304.14767), first to last.
    Without one, the five of Neo et al. (2024, arXiv:2410.07149) as deep in a model of `n_layers` as they are in one of
    32, layer l of n lying at (l + 0.5) / n, each at least one layer; and `all`.

    Example:
        >>> layer_windows(4, 3)
        {'0-2': (0, 1, 2), '1-3': (1, 2, 3)}
        >>> layer_windows(32)["mid"] == tuple(range(11, 21))
        True

    Raises:
        InputError: a number of layers or a width that is no whole number from 1 on, or a width beyond the model.
    """
    if n_layers < 1:
        raise InputError(f"a model of {n_layers} layers has no windows: give the number of its layers, 1 or more")
    if width is None:
        return {name: _as_deep(n_layers, *ends) for name, ends in LAYER_WINDOWS.items()} | {
            "all": tuple(range(n_layers))
        }
    if isinstance(width, bool) or not isinstance(width, (int, np.integer)) or not 1 <= width <= n_layers:
        raise InputError(f"width={width!r} of {n_layers} layers: give a whole number from 1 to {n_layers}")
    several = (tuple(range(start, start + width)) for start in range(n_layers - width + 1))
    return {f"{own[0]}-{own[-1]}" if width > 1 else f"{own[0]}": own for own in several}


def _as_deep(n_layers: int, start: int, end: int) -> tuple[int, ...]:
    """The layers that lie as deep as `start` up to, and without, `end` of 32 do; the nearest to the middle if none."""
    inside = tuple(layer for layer in range(n_layers) if start * n_layers <= 32 * layer + 16 < end * n_layers)
    middle = (start + end) / 2 * n_layers
    return inside or (min(range(n_layers), key=lambda layer: abs(32 * layer + 16 - middle)),)


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
