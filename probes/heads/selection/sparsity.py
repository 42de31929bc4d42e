"""Sparsity: in how few heads a function lies, by measures of the sizes of its scores."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from interp.errors import InputError
from interp.numeric import ratio, whole_number
from probes.heads.scorers.elbow import elbow

SHARES = ("share_above", "gini", "hoyer", "top_mass")
"""The measures that lie between 0 and 1; the others are numbers of heads."""

Sizes = Float[np.ndarray, "*axes head"]


def share_above(sizes: Sizes, above: float) -> Float[np.ndarray, "*axes"]:
    """The share of heads whose size lies above a threshold; "Attention in Space" takes 0.001."""
    return (sizes > above).mean(axis=-1)


def gini(sizes: Sizes) -> Float[np.ndarray, "*axes"]:
    """Gini's coefficient: 0 where all sizes are equal, 1 - 1 / heads where one has all.

        sum_i (2 i - N - 1) v_(i) / (N sum v),    v_(1) <= ... <= v_(N)

    Example:
        >>> gini(np.array([4, 2, 1, 1, 0, 0, 0, 0.0])).round(4)
        0.6562
    """
    count = sizes.shape[-1]
    weights = 2 * np.arange(1, count + 1) - count - 1
    return ratio((np.sort(sizes, axis=-1) * weights).sum(axis=-1), count * sizes.sum(axis=-1))


def hoyer(sizes: Sizes) -> Float[np.ndarray, "*axes"]:
    """Hoyer's sparseness (2004): 0 where all sizes are equal, 1 where one has all.

    (sqrt N - |v|_1 / |v|_2) / (sqrt N - 1)
    """
    root = np.sqrt(sizes.shape[-1])
    return ratio(root - ratio(sizes.sum(axis=-1), np.sqrt((sizes**2).sum(axis=-1))), root - 1)


def effective_heads(sizes: Sizes) -> Float[np.ndarray, "*axes"]:
    """How many heads of equal size would be as even: exp of the entropy of v / sum v."""
    share = ratio(sizes, sizes.sum(axis=-1, keepdims=True))
    logs = np.log(share, out=np.zeros_like(share), where=share > 0)
    return np.exp(-(share * logs).sum(axis=-1))


def participation_ratio(sizes: Sizes) -> Float[np.ndarray, "*axes"]:
    """The same by squares: (sum v)^2 / sum v^2."""
    return ratio(sizes.sum(axis=-1) ** 2, (sizes**2).sum(axis=-1))


def top_mass(sizes: Sizes, k: int) -> Float[np.ndarray, "*axes"]:
    """The share of all size that the k largest heads have.

    Raises:
        InputError: fewer heads than k.
    """
    count = whole_number(k, "top_k", 1)
    if count > sizes.shape[-1]:
        raise InputError(f"top_k={k} of {sizes.shape[-1]} heads: ask for fewer")
    return ratio(np.sort(sizes, axis=-1)[..., -count:].sum(axis=-1), sizes.sum(axis=-1))


def elbow_count(sizes: Sizes) -> Float[np.ndarray, "*axes"]:
    """How many heads stand before the elbow, see `probes.heads.scorers.elbow.elbow`."""
    return np.apply_along_axis(elbow, -1, sizes).astype(np.float64)


def layer_profile(values: Float[np.ndarray, "*axes layer head"]) -> Float[np.ndarray, "*axes layer"]:
    """The share of all size that lies in each layer."""
    sizes = np.abs(values).sum(axis=-1)
    return ratio(sizes, sizes.sum(axis=-1, keepdims=True))


def layer_centre(values: Float[np.ndarray, "*axes layer head"]) -> Float[np.ndarray, "*axes"]:
    """The mean layer, 0-based, weighted by size: sum l v / sum v."""
    return (layer_profile(values) * np.arange(values.shape[-2])).sum(axis=-1)


def sizes_of(values: ArrayLike) -> Sizes:
    """The sizes of scores, heads of all layers side by side.

    Raises:
        InputError: no layers and heads, or scores that are missing.
    """
    own = np.abs(np.asarray(values, dtype=np.float64))
    if own.ndim < 2 or own.size == 0 or not np.isfinite(own).all():
        raise InputError(
            f"scores have shape {own.shape}, {int((~np.isfinite(own)).sum())} not finite: give [layer head], one "
            "for each head"
        )
    return own.reshape(*own.shape[:-2], -1)


def measures_of(above: float, top_k: int) -> dict[str, Callable[[Sizes], np.ndarray]]:
    """The measures of sizes by name."""
    return {
        "share_above": lambda own: share_above(own, above),
        "gini": gini,
        "hoyer": hoyer,
        "effective_heads": effective_heads,
        "participation_ratio": participation_ratio,
        "top_mass": lambda own: top_mass(own, top_k),
        "elbow_count": elbow_count,
    }
