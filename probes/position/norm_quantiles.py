"""Norm quantiles: how long the tokens of many samples are, from a few numbers of each sample in place of its tokens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Int, Real, Shaped

from interp.errors import InputError
from interp.reprs import fits_a_cell
from interp.stats.clusters import statistic_over_groups
from probes.position.residual_norms import place_of

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

PARTS = 101
"""How many norms are kept of a sample's tokens in a group, each for an equal part of them."""

DRAWN = 400
"""How many norms a violin is drawn from, each for an equal part of all tokens."""

QUARTILES = {"first_quartile": 0.25, "median": 0.5, "third_quartile": 0.75}


def parts_of(norms: Float[np.ndarray, " token"]) -> Float[np.ndarray, " part"]:
    """`PARTS` of the norms, ascending, each for an equal part of the tokens: those in the middle of their parts.

    The share of these that are at most x is within 1 / (2 PARTS) of that share of the tokens, whatever x is.

    Example:
        >>> parts_of(np.arange(1000.0))[[0, 50, 100]]
        array([  4., 499., 995.], dtype=float32)
    """
    return np.quantile(norms, _middles(PARTS), method="inverted_cdf").astype(np.float32)


@fits_a_cell("definition groups tokens samples")
@dataclass(frozen=True, eq=False)
class NormQuantiles:
    """How long the tokens of many samples are, by group of positions; every token weighs the same.

    Attributes:
        definition: what the norm of a token is, one of `probes.position.token_norms.DEFINITIONS`.
        groups: the groups that at least one sample has.
        tokens: int64 [group], how many tokens all samples have.
        samples: int64 [group], how many samples have the group.
        quartiles: float32 [group 3], of the tokens of all samples, by their parts (see `parts_of`).
        low: float32 [group 3], lower ends of their intervals, which draw whole groups of samples; NaN where the samples
            that have the group of positions lie in fewer than three, or no draw moves the quartile.
        high: the upper ends.
        drawn: float32 [group norm], norms that each stand for an equal part of all tokens, ascending.

    Example:
        >>> found.quartiles[found.groups.index("image")]
        array([21.9, 24.8, 36.9], dtype=float32)
    """

    definition: str
    groups: tuple[str, ...]
    tokens: Int[np.ndarray, " group"]
    samples: Int[np.ndarray, " group"]
    quartiles: Float[np.ndarray, "group 3"]
    low: Float[np.ndarray, "group 3"]
    high: Float[np.ndarray, "group 3"]
    drawn: Float[np.ndarray, "group norm"]

    def median(self, group: str) -> tuple[float, float, float]:
        """The median of one group, with the ends of its interval.

        Raises:
            InputError: no sample has the group.
        """
        place = place_of(group, self.groups)
        return float(self.quartiles[place, 1]), float(self.low[place, 1]), float(self.high[place, 1])

    def to_dataframe(self) -> pd.DataFrame:
        """One row per group and quartile: `definition, group, tokens, samples, quartile, norm`, and `low` and `high`.

        Where no group has an interval there are no `low` and `high`; in a row without one among others they are NaN.
        """
        import pandas as pd

        group, quartile = (axis.ravel() for axis in np.indices(self.quartiles.shape))
        table = pd.DataFrame(
            {
                "definition": self.definition,
                "group": np.array(self.groups, dtype=object)[group],
                "tokens": self.tokens[group],
                "samples": self.samples[group],
                "quartile": np.array(list(QUARTILES), dtype=object)[quartile],
                "norm": self.quartiles.ravel(),
            }
        )
        if not np.isfinite(self.low).any():
            return table
        return table.assign(low=self.low.ravel(), high=self.high.ravel())

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the violins of the paper: image and words over each other, on a log axis, with their quartiles."""
        from probes.position.figures.token_norms import plot_token_norms

        return plot_token_norms(self.by_group(), ax, definition=self.definition, counts=self.counts())

    def by_group(self) -> dict[str, Float[np.ndarray, " norm"]]:
        """By group, norms that each stand for an equal part of all its tokens."""
        return dict(zip(self.groups, self.drawn, strict=True))

    def counts(self) -> dict[str, int]:
        """By group, how many tokens all samples have."""
        return dict(zip(self.groups, self.tokens.tolist(), strict=True))


def pool_norms(
    parts: Mapping[str, Float[np.ndarray, "sample part"]],
    tokens: Mapping[str, Int[np.ndarray, " sample"]],
    drawn_together: Mapping[str, Shaped[np.ndarray, " sample"]],
    definition: str,
    *,
    seed: int,
    n: int,
    level: float,
) -> NormQuantiles:
    """The quartiles over all samples' tokens, from `parts_of` each of them.

    A sample's parts weigh as much as its tokens. Quartiles are the least norm that so much of the weight is at most.

    Args:
        parts: by group of positions, the parts of each sample that has the group.
        tokens: by group, how many tokens each of these samples has.
        drawn_together: by group, the group of samples in which each of them is drawn.
        definition: what the norm of a token is.
        seed: the seed of the draws.
        n: the number of draws.
        level: nominal coverage.

    Raises:
        InputError: there are no samples.
    """
    if not parts or any(not len(own) for own in parts.values()):
        raise InputError("there are no token norms to pool: give those of at least one sample")
    found = [_pooled(parts[name], tokens[name], drawn_together[name], seed, n, level) for name in parts]
    quartiles, low, high, drawn = (np.stack(column).astype(np.float32) for column in zip(*found, strict=True))
    return NormQuantiles(
        definition=definition,
        groups=tuple(parts),
        tokens=np.array([tokens[name].sum() for name in parts], dtype=np.int64),
        samples=np.array([len(parts[name]) for name in parts], dtype=np.int64),
        quartiles=quartiles,
        low=low,
        high=high,
        drawn=drawn,
    )


def _pooled(
    parts: Float[np.ndarray, "sample part"],
    tokens: Int[np.ndarray, " sample"],
    groups: Shaped[np.ndarray, " sample"],
    seed: int,
    n: int,
    level: float,
) -> tuple[Float[np.ndarray, " 3"], Float[np.ndarray, " 3"], Float[np.ndarray, " 3"], Float[np.ndarray, " norm"]]:
    """Quartiles, both ends of their intervals, and the norms that are drawn, of one group of positions."""
    order = np.argsort(parts, axis=None, kind="stable")
    norms, weight = parts.ravel()[order], np.repeat(tokens, parts.shape[1])[order].cumsum()
    levels = np.array(list(QUARTILES.values()))
    here, drawn = (norms[_first(weight, at)] for at in (levels, _middles(DRAWN)))
    known = np.unique(np.concatenate([here, drawn, norms[-1:]]))
    below = np.stack([np.searchsorted(own, known, side="right") for own in parts]) * tokens[:, None]
    found = statistic_over_groups(
        lambda sums: known[np.stack([_first(own, levels) for own in sums])].astype(np.float64),
        [below],
        groups,
        seed=seed,
        n=n,
        level=level,
    )
    return here, found.low, found.high, drawn


def _first(weight: Real[np.ndarray, " norm"], levels: Float[np.ndarray, " level"]) -> Int[np.ndarray, " level"]:
    """The first places at which a running sum reaches these shares of its whole."""
    return np.searchsorted(weight, levels * weight[-1], side="left")


def _middles(count: int) -> Float[np.ndarray, " part"]:
    """The middles of so many equal parts of 0 to 1."""
    return (np.arange(count) + 0.5) / count
