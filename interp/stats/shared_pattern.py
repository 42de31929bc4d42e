"""Shared patterns: how much of the mean pattern of several units a projection explains, and how alike units are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from interp.stats.clusters import drawn_sums, mean_over_groups
from interp.stats.draws import check_draws
from interp.stats.intervals import APART, DRAWS, SHARE, spread_ends
from interp.stats.shuffles import p_of_draws

Patterns = Float[np.ndarray, "unit cell width"]
"""What each unit has in each cell, less its own mean over cells."""


@dataclass(frozen=True)
class SharedPattern:
    """How regular the mean pattern of several units is, with the null of shuffled cells.

    Attributes:
        measures: `r2` and `agreement`: value, interval, mean and upper end of the null, and its p-value.
        null: the measures of each shuffle.
    """

    measures: dict[str, dict[str, float]]
    null: dict[str, Float[np.ndarray, " shuffle"]]


def shared_pattern(
    own: Patterns,
    hat: Float[np.ndarray, "cell cell"],
    *,
    seed: int,
    shuffles: int,
    n: int = DRAWS,
    level: float = 0.95,
) -> SharedPattern:
    """R^2 of a projection of the cells for the units' mean pattern, and the agreement between units.

    Intervals draw units. In the null each unit's cells are shuffled by themselves, so that none keeps its place.

    Args:
        own: two units or more.
        hat: the projection, such as `X (X'X)^-1 X'` of what is known of the cells.
        seed: the seed of draws and shuffles.
        shuffles: how many, for the null.
        n: the number of draws.
        level: nominal coverage.

    Example:
        >>> shared_pattern(states - states.mean(1, keepdims=True), hat, seed=0, shuffles=199).measures["r2"]["p"]
        0.005

    Raises:
        InputError: there is no draw, or no such level or seed.
    """
    check_draws(n, level, seed)
    rng = np.random.default_rng([seed, 1])  # another stream than that of the draws
    units, cells, _ = own.shape
    every = np.arange(units)
    (drawn,) = drawn_sums([np.eye(units)], every, seed=seed, n=n)
    explained = [np.einsum("ucd,vcd->uv", part, own, optimize=True) for part in (_through(hat, own), own)]
    values = _ratio(*(np.einsum("nu,uv,nv->n", drawn, part, drawn, optimize=True) for part in explained))
    low, high = spread_ends(r2(own, hat), values, level, units=units, bounds=SHARE)
    agreed = agreement(own)
    around = mean_over_groups(agreed[:, None], every, seed=seed, n=n, level=level, bounds=APART)
    null: dict[str, list[float]] = {"r2": [], "agreement": []}
    for _ in range(shuffles):
        places = rng.permuted(np.tile(np.arange(cells), (units, 1)), axis=1)
        shuffled = np.take_along_axis(own, places[..., None], axis=1)
        null["r2"].append(r2(shuffled, hat))
        null["agreement"].append(float(agreement(shuffled).mean()))
    found = {
        "r2": (r2(own, hat), float(low), float(high)),
        "agreement": (float(agreed.mean()), float(around.low[0]), float(around.high[0])),
    }
    by_chance = {name: np.array(values) for name, values in null.items()}
    return SharedPattern({name: _cells(*values, by_chance[name], level) for name, values in found.items()}, by_chance)


def r2(own: Patterns, hat: Float[np.ndarray, "cell cell"]) -> float:
    """Share of the mean pattern's variance over cells that the projection explains."""
    mean = own.mean(0)
    return float(_ratio(np.array(((hat @ mean) * mean).sum()), np.array((mean**2).sum())))


def agreement(own: Patterns) -> Float[np.ndarray, " unit"]:
    """Cosine between each unit's pattern and the mean of all others, cell by cell, mean over cells."""
    others = (own.sum(0) - own) / (len(own) - 1)
    sizes = np.linalg.norm(own, axis=-1) * np.linalg.norm(others, axis=-1)
    return _ratio((own * others).sum(-1), sizes).mean(1)


def _through(hat: np.ndarray, own: Patterns) -> Patterns:
    return np.einsum("ce,ued->ucd", hat, own, optimize=True)


def _ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """A quotient; 0 where there is nothing to divide."""
    return np.divide(above, below, out=np.zeros_like(np.asarray(above, dtype=float)), where=below > 0)


def _cells(value: float, low: float, high: float, null: np.ndarray, level: float) -> dict[str, float]:
    p = float(p_of_draws(np.array([value, *null])[:, None])[0][0])
    return {"value": value, "low": low, "high": high, "null": float(null.mean()),
            "null_high": float(np.quantile(null, level)), "p": p}  # fmt: skip
