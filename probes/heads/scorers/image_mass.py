"""Localisation heads: much attention on the image, all of it in few spots, sample after sample.

Kang et al. (CVPR 2025, arXiv 2503.06287) keep heads whose attention from the last prompt row to the image is large,
rank these in every sample by the spatial entropy of their maps, and count how often each is among the ten lowest.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Float, Shaped

from interp.errors import InputError
from interp.image.lattice import ROUNDING
from interp.numeric import whole_number
from interp.overlap.map_measures import measure_maps
from interp.stats.draws import own_draws
from probes.heads.scorers.elbow import elbow

if TYPE_CHECKING:
    from interp.image.grid import ImageGrid
    from probes.heads.scorers.looks import HeadLook, OnBoxes
    from probes.heads.scorers.measured import MeasuredHeads
    from probes.heads.scorers.sampled import PerHead
    from probes.heads.scores import HeadScores

LOWEST = 10
"""So many heads of each sample are counted, as the paper has it."""


@dataclass(frozen=True)
class ImageMass:
    """How much of the last row's attention lies on the image, S_img; by chance, the image's share of what it sees."""

    names = ("image_mass",)
    needs = ""

    def recorded(self) -> dict[str, Any]:
        """Nothing."""
        return {}

    def measure(self, look: HeadLook) -> dict[str, OnBoxes]:
        """`image_mass`, and what even attention has."""
        return {"image_mass": look.image_share, "image_mass_even": np.full_like(look.image_share, look.even)}

    def scores(self, found: MeasuredHeads) -> dict[str, HeadScores]:
        """The mean over samples."""
        own = found.columns
        return {"image_mass": found.scores("image_mass", own["image_mass"], null=own["image_mass_even"])}


@dataclass(frozen=True)
class SpatialEntropy:
    """How concentrated maps are: spatial entropy with its sign changed, and how often a head is among the lowest.

    By chance: the same weights at other tokens, drawn for each sample, have what entropy they have; and a head that
    passes is among the lowest as often as others that pass, tried with heads dealt anew in each group of samples.

    Attributes:
        weigh_by: what a spot weighs, `mass` or `count`; see `interp.overlap.map_measures.measure_maps`.
        lowest: how many heads of each sample are counted.

    Raises:
        InputError: another weight, or no head.
    """

    weigh_by: str = "mass"
    lowest: int = LOWEST

    names = ("spatial_entropy", "selection_frequency")
    needs = ""

    def __post_init__(self) -> None:
        """Refuse what means nothing."""
        if self.weigh_by not in ("mass", "count"):
            raise InputError(f"weigh_by={self.weigh_by!r} is not known: use mass or count")
        object.__setattr__(self, "lowest", whole_number(self.lowest, "lowest", 1))

    def recorded(self) -> dict[str, Any]:
        """Its options."""
        return {"weigh_by": self.weigh_by, "lowest": self.lowest}

    def measure(self, look: HeadLook) -> dict[str, OnBoxes]:
        """`entropy` of the maps, of the same at shuffled tokens, the share of the image, and whether they are flat."""
        order, places = np.arange(look.maps.shape[-1]), np.flatnonzero(look.kept)
        order[places] = own_draws(look.seed, look.sample.id).permutation(places)
        both = np.stack([look.maps, look.maps[..., order]])
        kept = None if look.sinks is None else np.broadcast_to(look.kept, both.shape)
        own, shuffled = measure_maps(both, look.grid, kept=kept, weigh_by=self.weigh_by)["spatial_entropy"]
        low = fills_bottom_row(look.maps, look.grid)
        return {"entropy": own, "entropy_shuffled": shuffled, "entropy_mass": look.image_share, "entropy_flagged": low}

    def scores(self, found: MeasuredHeads) -> dict[str, HeadScores]:
        """The mean of minus the entropy, and the selection frequency."""
        own = found.columns
        drawn = -own["entropy_shuffled"]
        scattered = found.scores("spatial_entropy", -own["entropy"], null=drawn, drawn=drawn, **self.recorded())
        entropy = np.where(own["entropy_flagged"] > 0, np.nan, own["entropy"])
        passing, least = enough_mass(own["entropy_mass"])
        chosen = lowest_entropies(entropy, passing, self.lowest)
        often = found.scores(
            "selection_frequency",
            chosen,
            null=by_chance(chosen, passing),
            drawn=dealt_heads(chosen, passing, found.labels.groups, seed=found.drawing.seed),
            least_mass=least,
            heads_passing=int(passing.sum()),
            **self.recorded(),
        )
        return {"spatial_entropy": scattered, "selection_frequency": often}


def enough_mass(mass: PerHead) -> tuple[Bool[np.ndarray, "layer head"], float]:
    """Which heads have as much on the image as the elbow of their means, or more; and that mean.

    Values are compared with the value at the elbow. Where the curve has no elbow, all heads pass.

    Example:
        >>> passing, least = enough_mass(mass)  # [sample layer head]
    """
    mean = mass.mean(axis=0, dtype=np.float64)
    before = elbow(mean)
    least = float(-np.sort(-mean, axis=None)[before]) if before else float(mean.min())
    return mean >= least, least


def lowest_entropies(entropy: PerHead, passing: Bool[np.ndarray, "layer head"], lowest: int = LOWEST) -> PerHead:
    """1 for the so many heads of each sample that have the lowest entropies among those that pass, else 0.

    Heads without entropy are not among them. Of equal ones at the edge, each counts as its share of what is left, so
    that no head is counted for where it stands.

    Args:
        entropy: [sample layer head].
        passing: which heads take part.
        lowest: how many are counted.
    """
    flat = np.where(passing, entropy, np.nan).reshape(len(entropy), -1)
    chosen = np.zeros_like(flat, dtype=np.float32)
    for place, own in enumerate(flat):
        known = np.sort(own[np.isfinite(own)])
        if not len(known):
            continue
        edge = known[min(lowest, len(known)) - 1]
        near = np.isfinite(own) & (np.abs(own - edge) <= 1e-6 * max(1.0, abs(edge)))
        below = np.isfinite(own) & (own < edge) & ~near
        chosen[place, below] = 1.0
        chosen[place, near] = min(1.0, (min(lowest, len(known)) - below.sum()) / near.sum())
    return chosen.reshape(entropy.shape)


def by_chance(chosen: PerHead, passing: Bool[np.ndarray, "layer head"]) -> PerHead:
    """What each head would be counted in each sample if all that pass were alike."""
    each = chosen.sum(axis=(1, 2)) / passing.sum()
    return np.where(passing, each[:, None, None], 0.0).astype(np.float32)


def dealt_heads(
    chosen: PerHead, passing: Bool[np.ndarray, "layer head"], groups: Shaped[np.ndarray, " sample"], *, seed: int
) -> PerHead:
    """What was counted, given to other heads of those that pass, in all samples of a group to the same ones."""
    out, rng, there = np.zeros_like(chosen), np.random.default_rng([seed, 4]), np.argwhere(passing)
    for group in dict.fromkeys(groups.tolist()):
        own = np.flatnonzero(groups == group)
        other = there[rng.permutation(len(there))]
        out[own[:, None], there[:, 0], there[:, 1]] = chosen[own[:, None], other[:, 0], other[:, 1]]
    return out


def fills_bottom_row(maps: Float[np.ndarray, "layer head token"], grid: ImageGrid) -> Float[np.ndarray, "layer head"]:
    """1 for maps in which every token of the bottom row stands out from the mean, else 0.

    The authors flag these as maps that localise nothing. Of several views, the bottom row is that of the first.
    """
    first = grid.view == grid.view.min()
    bottom = first & (grid.rows == grid.rows[first].max())
    mean = maps.mean(axis=-1, keepdims=True, dtype=np.float64)
    return (maps[..., bottom] - mean > ROUNDING * mean).all(axis=-1).astype(np.float64)
