"""Packing: attention maps in one or two bytes a weight, with a bound on what the rounding costs."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any

import numpy as np

from interp.errors import InputError

FLOOR = 1e-6
"""Weights below this fraction of their map's largest are kept as zero."""

DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%,()*+-;.=:?@^_`{|}~"
"""Those of base85, as blobs are written in: none has a meaning in HTML or in JSON's strings."""

_TYPES = {8: np.uint8, 16: np.uint16}
_HARMLESS = str.maketrans("&<>", ",.:")  # Python writes base85 with these three, which HTML reads as its own
_SINGLE = 1e-6  # more than the rounding of `top` and `low` to float32 adds


@dataclass(frozen=True, eq=False)
class PackedMaps:
    """Maps on logarithmic scales of their own.

    Level 0 is a weight of zero, or one below `low`; level k, from 1 on, is low (top / low)^((k - 1) / (steps - 1)). So
    every weight from `low` on is kept to the same fraction of itself, strong and faint alike.

    Attributes:
        levels: uint8 or uint16 [*map token].
        top: the largest weight of each map, float32 [*map].
        low: the weight of level 1 of each map, float32 [*map]: its least that is not zero, but `FLOOR * top` at least.

    Example:
        >>> packed = pack(np.array([[0.5, 0.25, 0.0]]), bits=8)
        >>> packed.levels.tolist(), packed.unpack().round(6).tolist()
        ([[255, 1, 0]], [[0.5, 0.25, 0.0]])
    """

    levels: np.ndarray
    top: np.ndarray
    low: np.ndarray

    @property
    def steps(self) -> int:
        """The highest level."""
        return int(np.iinfo(self.levels.dtype).max)

    @property
    def bound(self) -> float:
        """The most by which a weight from its map's `low` on is off, as a fraction of itself."""
        return float(np.expm1(self.log_step.max(initial=0.0) / 2)) + _SINGLE

    @property
    def log_step(self) -> np.ndarray:
        """Logarithm of the ratio of two neighbouring levels, float64 [*map]; 0 for a map of one weight, or of zeros."""
        low, top = (np.where(self.low > 0, ends, 1).astype(np.float64) for ends in (self.low, self.top))
        return np.log(top / low) / (self.steps - 1)

    def unpack(self) -> np.ndarray:
        """The weights, float64 [*map token]."""
        above: np.ndarray = self.levels.astype(np.float64) - 1
        weights = self.low[..., None] * np.exp(self.log_step[..., None] * above)
        return np.where(self.levels > 0, weights, 0.0)

    def to_json(self) -> dict[str, Any]:
        """Everything in JSON's own types, for the page."""
        parts = {"levels": self.levels, "top": self.top, "low": self.low}
        return {"steps": self.steps, "bound": self.bound, **{name: to_blob(part) for name, part in parts.items()}}


def pack(weights: np.ndarray, *, bits: int, floor: float = FLOOR) -> PackedMaps:
    """Pack maps of weights from zero on.

    Args:
        weights: float [*map token].
        bits: 8 or 16 for each weight.
        floor: below this fraction of its map's largest a weight is kept as zero; 0 keeps them all.

    Raises:
        InputError: a negative weight, one that is not finite, no token, or another number of bits.
    """
    values = np.asarray(weights, dtype=np.float64)
    if bits not in _TYPES:
        raise InputError(f"{bits} bits a weight are asked for: use one of {', '.join(map(str, _TYPES))}")
    if not values.ndim or not values.shape[-1] or not np.isfinite(values).all() or values.min(initial=0.0) < 0:
        raise InputError(
            "attention maps hold negative weights, infinities or NaN, or no token: give them after softmax"
        )
    top = values.max(axis=-1).astype(np.float32)
    least = np.where(values > 0, values, np.inf).min(axis=-1)
    low = np.minimum(np.maximum(least, floor * top.astype(np.float64)), top).astype(np.float32)
    packed = PackedMaps(np.zeros(values.shape, dtype=_TYPES[bits]), top, low)
    step = packed.log_step[..., None]
    positive = (values > 0) & (low > 0)[..., None]
    logs = np.log(np.where(positive, values, 1)) - np.log(np.where(low > 0, low, 1))[..., None]
    above = np.rint(np.divide(logs, step, out=np.zeros_like(logs), where=step > 0)).clip(0, packed.steps - 1)
    packed.levels[positive & (logs > -_SINGLE)] = (1 + above)[positive & (logs > -_SINGLE)]
    return packed


def to_blob(array: np.ndarray) -> dict[str, Any]:
    """An array in JSON's own types: its type, its shape, and its little-endian bytes in base85, in `DIGITS`.

    Example:
        >>> to_blob(np.array([1, 2], dtype=np.uint8))
        {'type': 'uint8', 'shape': [2], 'data': '0Rj'}
    """
    kept = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
    data = base64.b85encode(kept.tobytes()).decode("ascii").translate(_HARMLESS)
    return {"type": array.dtype.name, "shape": list(array.shape), "data": data}
