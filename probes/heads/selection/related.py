"""Related maps: how alike two maps of heads are, beside what heads in random places would give."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from interp.numeric import ratio
from interp.stats.intervals import APART, SHARE, quantiles, recentred_ends
from interp.stats.pairs import midranks

Maps = Float[np.ndarray, "*draw layer head"]


@dataclass(frozen=True, eq=False)
class Pair:
    """Two maps of the same heads, and what they are in draws.

    Attributes:
        first: the values of one; of a selection, 1 where a head is in it.
        second: those of the other.
        drawn: both in draws of groups, [draw layer head] each; None where none are known.
        groups: how many groups these draw.
    """

    first: Float[np.ndarray, "layer head"]
    second: Float[np.ndarray, "layer head"]
    drawn: tuple[Float[np.ndarray, "draw layer head"], Float[np.ndarray, "draw layer head"]] | None = None
    groups: int = 0

    def told(self, measure: str, *, n: int, seed: int, level: float) -> dict[str, float | str]:
        """A measure, its interval, and what it is when the heads of one map are dealt anew.

        Heads are dealt over all layers, and inside layers, which keeps what the layers alone explain. The p-values are
        one-sided: how often chance gives maps at least so alike. Where draws of groups are known, intervals are of
        those; where not, they draw whole layers, as if these stood in no order. Noise makes maps less alike: the
        interval is of maps that are as noisy as these, see `interp.stats.intervals.recentred_ends`.
        """
        known = np.isfinite(self.first) & np.isfinite(self.second)
        layers = np.nonzero(known)[0]
        first, second, of = self.first[known], self.second[known], MEASURES[measure]
        value = of(first[None], second[None])
        if self.drawn is None:
            drawn, units = by_layers(lambda maps: of(maps[:1], maps[1:]), np.stack([first, second]), layers, n, seed)
        else:
            drawn, units = self._drawn(of, known), self.groups
        low, high = recentred_ends(value[0], drawn, level, units=units, bounds=BOUNDS.get(measure, SHARE))
        out: dict[str, float | str] = {
            "measure": measure,
            "value": float(value[0]),
            "low": float(low),
            "high": float(high),
            "interval": "layers" if self.drawn is None else "groups",
            "heads": float(known.sum()),
        }
        for place, (name, codes) in enumerate({"random": layers * 0, "within": layers}.items()):
            dealt = second[permutations(codes, n, np.random.default_rng([seed, place]))]
            null = of(first[None], dealt)
            ends = quantiles(null[:, None], level)[:, 0]
            out |= {name: float(null.mean()), f"{name}_low": float(ends[0]), f"{name}_high": float(ends[1])}
            out[f"p_{name}"] = float((1 + (null >= value - 1e-9).sum()) / (1 + n)) if np.isfinite(value[0]) else np.nan
        return out

    def _drawn(self, of: Callable[..., np.ndarray], known: Bool[np.ndarray, "layer head"]) -> np.ndarray:
        """The measure in draws of groups."""
        assert self.drawn is not None
        count = min(map(len, self.drawn))
        return of(self.drawn[0][:count, known], self.drawn[1][:count, known])


def permutations(codes: Int[np.ndarray, " cell"], n: int, rng: np.random.Generator) -> Int[np.ndarray, "deal cell"]:
    """Places dealt anew among those of one code; codes rise."""
    return np.argsort(codes + rng.random((n, len(codes))), axis=1)


def by_layers(
    of: Callable[[np.ndarray], np.ndarray],
    maps: Float[np.ndarray, "map cell"],
    layers: Int[np.ndarray, " cell"],
    n: int,
    seed: int,
) -> tuple[Float[np.ndarray, " draw"], int]:
    """What a measure of maps is in draws of whole layers, and how many layers have anything to say of it."""
    rng, named = np.random.default_rng([seed, 2]), np.unique(layers)
    own = [np.flatnonzero(layers == layer) for layer in named]
    if not own:
        return np.full(1, np.nan), 0
    draws = (np.concatenate([own[at] for at in rng.integers(len(own), size=len(own))]) for _ in range(n))
    return np.concatenate([of(maps[:, rows]) for rows in draws]), len(np.unique(layers[(maps != 0).any(axis=0)]))


def pearson(first: Float[np.ndarray, "draw cell"], second: Float[np.ndarray, "deal cell"]) -> np.ndarray:
    """Pearson's correlation over the last axis, row by row; NaN where one does not vary."""
    apart = [own - own.mean(axis=1, keepdims=True) for own in (first, second)]
    spread = np.sqrt((apart[0] ** 2).sum(axis=1) * (apart[1] ** 2).sum(axis=1))
    return ratio((apart[0] * apart[1]).sum(axis=1), np.where(spread > 1e-12, spread, 0))


def _spearman(first: Float[np.ndarray, "draw cell"], second: Float[np.ndarray, "deal cell"]) -> np.ndarray:
    return pearson(midranks(first.T).T, midranks(second.T).T)


def _jaccard(first: Float[np.ndarray, "draw cell"], second: Float[np.ndarray, "deal cell"]) -> np.ndarray:
    both = (first * second).sum(axis=1)
    return ratio(both, first.sum(axis=1) + second.sum(axis=1) - both)


def _shared(first: Float[np.ndarray, "draw cell"], second: Float[np.ndarray, "deal cell"]) -> np.ndarray:
    return ratio((first * second).sum(axis=1), np.minimum(first.sum(axis=1), second.sum(axis=1)))


MEASURES: dict[str, Callable[..., np.ndarray]] = {
    "pearson": pearson,
    "spearman": _spearman,
    "jaccard": _jaccard,
    "shared": _shared,
}
"""The measures by name: of [draw head] and [draw head], one of which may be a single row. `shared` is the share of the
smaller selection that is in the larger one too."""

BOUNDS = dict.fromkeys(("pearson", "spearman"), APART)
"""The least and the most of measures that are no shares."""
