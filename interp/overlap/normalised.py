"""Normalised maps: attention over the image tokens in each normalisation that was asked for, with the head mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from einops import rearrange, repeat
from jaxtyping import Bool, Float

from interp.errors import InputError
from interp.maps.sinks import sinks_per_head
from interp.maps.trajectory import NORMALISATIONS, Trajectory, normalise
from interp.numeric import ratio
from interp.overlap.even import even_scores
from interp.overlap.map_measures import measure_maps
from interp.overlap.measures import SCALED, measure_regions
from interp.overlap.regions import Region

if TYPE_CHECKING:
    from interp.image.grid import ImageGrid

MAPS_AT_ONCE = 256
"""How many maps are measured together: enough to be quick, few enough to need little memory."""


def normalised(
    attention: Trajectory | Float[np.ndarray, "layer head ... token"],
    n_tokens: int,
    names: Sequence[str],
    *,
    sinks: Bool[np.ndarray, "... token"] | None = None,
    neutral: Trajectory | Float[np.ndarray, "layer head ... token"] | None = None,
) -> list[NormalisedMaps]:
    """Attention in the normalisations that were asked for, each once.

    Args:
        attention: a trajectory, or weights over the image tokens [layer head token] or [layer head step token].
        n_tokens: image tokens of the photo.
        names: some of `NORMALISATIONS`.
        sinks: the tokens to leave out, for `no-sinks`: bool [token], [layer token] or [layer head token].
        neutral: attention, for `relative`, under a neutral prompt.

    Example:
        >>> maps, kept = normalised(measured, len(grid), ["image"])[0].maps()
        >>> maps.shape  # layer head+1 step token
        (12, 9, 1, 64)

    Raises:
        InputError: shapes do not fit, weights that can not be, a normalisation that lacks what it needs, or something
            that none of them needs.
    """
    weights = _weights(attention, n_tokens)
    unknown = [name for name in names if name not in NORMALISATIONS]
    if unknown or not len(names):
        asked = f"normalisation {unknown[0]!r} is not known" if unknown else "no normalisation was asked for"
        raise InputError(f"{asked}: use some of {', '.join(NORMALISATIONS)}")
    for given, name, what in ((sinks, "no-sinks", "sinks"), (neutral, "relative", "neutral")):
        if (given is None) == (name in names):
            raise InputError(f"normalisation {name!r} and {what}= go together: give both, or neither")
    if "keys" in names and not isinstance(attention, Trajectory):
        raise InputError("normalisation 'keys' needs to know how many keys there were: give a trajectory, not an array")
    ones = np.ones(weights.shape[2])
    made = {"image": NormalisedMaps("image", weights, ones)}
    if isinstance(attention, Trajectory):
        made["keys"] = NormalisedMaps("keys", weights, weights.shape[-1] / attention.visible_keys)
    if sinks is not None:
        per_head = sinks_per_head(sinks, (*weights.shape[:2], n_tokens))
        made["no-sinks"] = NormalisedMaps("no-sinks", weights, ones, sinks=per_head[:, :, None])
    if neutral is not None:
        made["relative"] = NormalisedMaps("relative", weights, ones, neutral=_like(neutral, weights))
    return [made[name] for name in dict.fromkeys(names)]


@dataclass(frozen=True, eq=False)
class NormalisedMaps:
    """Attention in one normalisation, with all that this needs.

    Attributes:
        name: one of `NORMALISATIONS`.
        weights: the weights as they were given, [layer head step token].
        even_mass: what evenly spread attention puts on the whole image at each step, [step]: 1 within the image.
        sinks: bool [layer head 1 token].
        neutral: attention under a neutral prompt, [layer head step token].
    """

    name: str
    weights: Float[np.ndarray, "layer head step token"]
    even_mass: Float[np.ndarray, " step"]
    sinks: Bool[np.ndarray, "layer head 1 token"] | None = None
    neutral: Float[np.ndarray, "layer head step token"] | None = None

    def maps(
        self, layers: slice = slice(None)
    ) -> tuple[
        Float[np.ndarray, "layer head_and_mean step token"], Bool[np.ndarray, "layer head_and_mean 1 token"] | None
    ]:
        """Normalised maps with the head mean, [layer head+1 step token], and which tokens take part (all for None)."""
        rows, sinks, other = self.weights[layers], None, None
        if self.sinks is not None:
            own = self.sinks[layers]
            rows, sinks = np.where(own, 0, rows), np.concatenate([own, own.all(axis=1, keepdims=True)], axis=1)
        if self.neutral is not None:
            other = _with_head_mean(self.neutral[layers])
        maps = normalise(_with_head_mean(rows), self.name, sinks=sinks, neutral=other)
        return maps, None if sinks is None else ~sinks

    def measure(self, regions: list[Region], grid: ImageGrid) -> dict[str, Float[np.ndarray, "... step"]]:
        """Measures of the regions [region layer head+1 step], and the maps' own [layer head+1 step]."""
        many = max(1, MAPS_AT_ONCE // ((self.weights.shape[1] + 1) * self.weights.shape[2]))
        parts = []
        for first in range(0, len(self.weights), many):
            maps, kept = self.maps(slice(first, first + many))
            found = measure_regions(maps, regions, grid, kept=kept, even_mass=self.even_mass)
            parts.append(found | measure_maps(maps, grid, kept=kept))
        return {key: np.concatenate([part[key] for part in parts], axis=-3) for key in parts[0]}

    def over_keys(
        self, within: dict[str, Float[np.ndarray, "... step"]], regions: list[Region]
    ) -> dict[str, Float[np.ndarray, "... step"]]:
        """The measures over all keys from those within the image: only mass and lift know the difference."""
        share = _with_head_mean(self.weights.sum(axis=-1, dtype=np.float64))
        nothing = np.where([region.objects_seen > 0 for region in regions], 0.0, np.nan)[:, None, None, None]
        mass, lift = (np.where(share > 0, within[key] * share, nothing) for key in SCALED)
        return within | {"mass": mass, "lift": lift / self.even_mass}

    def even(self, regions: list[Region], grid: ImageGrid) -> dict[str, Float[np.ndarray, "region step"]]:
        """What evenly spread attention scores in each measure, [region step] each."""
        if self.sinks is None:
            return even_scores(regions, grid, even_mass=self.even_mass)
        own = self.sinks[:, :, 0]
        rows = np.concatenate([own, own.all(axis=1, keepdims=True)], axis=1)
        rows = rearrange(rows, "layer head token -> (layer head) token")
        _, first, counts = np.unique(np.packbits(rows, axis=1), axis=0, return_index=True, return_counts=True)
        scores = even_scores(regions, grid, kept=~rows[first])
        means = {key: ratio(np.nan_to_num(one) @ counts, ~np.isnan(one) @ counts) for key, one in scores.items()}
        return {key: repeat(mean, "region -> region step", step=len(self.even_mass)) for key, mean in means.items()}


def _like(neutral: Trajectory | np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Neutral attention in the shape of the weights."""
    other = _weights(neutral, weights.shape[-1])
    if other.shape[:2] != weights.shape[:2] or other.shape[2] not in (1, weights.shape[2]):
        raise InputError(f"neutral attention has shape {other.shape} beside {weights.shape}: give that of this model")
    return np.broadcast_to(other, weights.shape)


def _weights(attention: Trajectory | np.ndarray, n_tokens: int) -> np.ndarray:
    """Weights over the image tokens [layer head step token]; refuses what can not be weights."""
    weights = attention.image_attention if isinstance(attention, Trajectory) else np.asarray(attention)
    weights = weights[:, :, None] if weights.ndim == 3 else weights
    if weights.ndim != 4 or weights.shape[-1] != n_tokens or 0 in weights.shape:
        raise InputError(
            f"attention over the image has shape {weights.shape} but the grid has {n_tokens} tokens: "
            "give [layer head token] or [layer head step token] of the same image"
        )
    if not np.isfinite(weights).all() or weights.min() < 0:
        raise InputError("attention over the image holds negative weights, infinities or NaN: give it after softmax")
    return weights


def _with_head_mean(weights: Float[np.ndarray, "layer head ..."]) -> Float[np.ndarray, "layer head_and_mean ..."]:
    """Values [layer head ...] with one more head at the end, in float64: the mean over heads."""
    return np.concatenate([weights, weights.mean(axis=1, keepdims=True, dtype=np.float64)], axis=1)
