"""Features: one vector for each head from its activations at answer tokens, and what scorers read them through."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Float32

from interp.errors import InputError
from interp.numeric import whole_numbers

POSITIONS = ("first", "last", "meaning_first", "full", "topk")
"""The answer tokens that a feature is of: the first or last that was generated; the first or all of the answer itself;
the most telling ones of it, which the caller names."""


@runtime_checkable
class HeadFeatures(Protocol):
    """Features that are read one layer at a time, so that all of them need not fit into memory.

    Attributes:
        shape: how many items, layers, heads and features of a head there are.
    """

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Items, layers, heads, features of a head."""

    def of_layer(self, layer: int) -> Float[np.ndarray, "item head d_head"]:
        """The features of all heads of one layer."""


def head_feature(
    z: Float[np.ndarray, "layer token head d_head"],
    position: str,
    tokens: Iterable[int] = (),
    *,
    context: bool = False,
) -> Float32[np.ndarray, "layer head feature"]:
    """One vector for each head from its activations at the tokens of one answer: their mean over the chosen ones.

    Args:
        z: the activations of all generated tokens, such as `hook_z`.
        position: one of `POSITIONS`.
        tokens: for `meaning_first` and `full` the tokens of the answer, for `topk` the chosen ones; places on the axis
            of tokens from 0. Those beyond its end are left out, as there may be one token more than activations.
        context: append the mean over the heads of the layer, see `with_layer_mean`.

    Example:
        >>> head_feature(z, "topk", (2, 3, 5)).shape  # z [layer token head d_head]
        (32, 32, 128)

    Raises:
        InputError: no such position, no token where one is needed, or all of them lie beyond the end.
    """
    values = np.asarray(z)
    if values.ndim != 4 or 0 in values.shape:
        raise InputError(f"activations have shape {values.shape}: give [layer token head d_head], at least one token")
    own = values[:, _places(position, tokens, values.shape[1])].mean(axis=1, dtype=np.float32)
    return with_layer_mean(own) if context else own


def with_layer_mean(features: Float[np.ndarray, "*axes head d_head"]) -> Float32[np.ndarray, "*axes head feature"]:
    """Each head's feature, and after it the mean over the heads of its layer: twice as wide.

    Example:
        >>> with_layer_mean(np.ones((32, 32, 128))).shape
        (32, 32, 256)
    """
    own = np.asarray(features, dtype=np.float32)
    mean = np.broadcast_to(own.mean(axis=-2, keepdims=True), own.shape)
    return np.concatenate([own, mean], axis=-1)


def read_features(given: Any) -> HeadFeatures:
    """Features as scorers read them: those of an array [item layer head d_head], on disk or not, or as given.

    Raises:
        InputError: neither an array of that shape nor something that gives the features of a layer.
    """
    if isinstance(given, np.ndarray) and given.ndim == 4 and 0 not in given.shape:
        return _OfArray(given)
    if isinstance(given, HeadFeatures) and len(given.shape) == 4 and 0 not in given.shape:
        return given
    raise InputError(
        f"features are {type(given).__name__} of shape {getattr(given, 'shape', None)}: give an array "
        "[item layer head d_head], or an object with that shape and a method of_layer(layer) -> [item head d_head]"
    )


def layer_of(features: HeadFeatures, layer: int) -> Float32[np.ndarray, "item head d_head"]:
    """The features of one layer, checked.

    Raises:
        InputError: another shape than promised, or values that are not finite.
    """
    own = np.asarray(features.of_layer(layer), dtype=np.float32)
    items, _, heads, width = features.shape
    if own.shape != (items, heads, width):
        raise InputError(f"layer {layer} has features of shape {own.shape}: {(items, heads, width)} were promised")
    if not np.isfinite(own).all():
        bad = np.any(~np.isfinite(own), axis=2)
        raise InputError(
            f"features of layer {layer} are not finite in {int(np.any(bad, axis=1).sum())} of {items} items, first in head "
            f"{int(np.flatnonzero(np.any(bad, axis=0))[0])}: collect them in float32, or leave these items out"
        )
    return own


class _OfArray:
    """An array as `HeadFeatures`."""

    def __init__(self, values: np.ndarray) -> None:
        self._values = values

    @property
    def shape(self) -> tuple[int, int, int, int]:
        items, layers, heads, width = self._values.shape
        return items, layers, heads, width

    def of_layer(self, layer: int) -> np.ndarray:
        return self._values[:, layer]


def _places(position: str, tokens: Iterable[int], count: int) -> list[int]:
    """The tokens that a feature is the mean of, of so many."""
    if position not in POSITIONS:
        raise InputError(f"position={position!r} is not known: use one of {', '.join(POSITIONS)}")
    if position in ("first", "last"):
        return [0 if position == "first" else count - 1]
    try:
        named = whole_numbers(list(tokens))
    except TypeError:
        raise InputError(f"tokens {tokens!r:.80} are no places: give whole numbers from 0") from None
    own = list(named[:1] if position == "meaning_first" else named)
    there = [place for place in own if 0 <= place < count]
    if not there or min(own) < 0:
        raise InputError(
            f"position={position!r} needs tokens of the answer, and {own} were given, of {count} generated tokens: "
            "give places from 0, at least one of them before the end"
        )
    return there
