"""Geometry of spatial IDs: what an object's word holds of the object's cell, whatever the object, and how regularly."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from interp.stats.clusters import mean_over_groups
from interp.stats.intervals import quantiles

Deviations = Float[np.ndarray, "object cell d_model"]

NOTHING = 1e-10
"""Share of the words' own size, squared, below which what moves with the cell is rounding."""


def deviations(states: Float[np.ndarray, "object cell d_model"]) -> Deviations:
    """What each object's word has beyond the mean over its cells: Delta(o; i, j) = phi(o; i, j) - mean phi(o)."""
    return states - states.mean(axis=1, keepdims=True)


def moves(states: Float[np.ndarray, "object cell d_model"]) -> bool:
    """Whether words change with the cell by more than rounding."""
    return float((deviations(states) ** 2).mean()) > NOTHING * float((states**2).mean())


def id_axes(ids: Float[np.ndarray, "cell d_model"], cells: int) -> Float[np.ndarray, "axis d_model"]:
    """The horizontal and the vertical axis of a universal ID, cells row by row.

    h is the mean over rows of ID(x2, .) - ID(x1, .) over all columns x2 >= x1, equal ones included, as the authors'
    code has it; v likewise.
    """
    table = ids.reshape(cells, cells, -1)  # row column
    first, second = np.triu_indices(cells)
    return np.stack([(table[:, second] - table[:, first]).mean((0, 1)), (table[second] - table[first]).mean((0, 1))])


def plane(
    ids: Float[np.ndarray, "cell d_model"], axes: Float[np.ndarray, "axis d_model"]
) -> Float[np.ndarray, "cell 2"] | None:
    """Coordinates of the cells along h and along what of v is at a right angle to h; None where there is no plane."""
    across, size = axes[0], np.linalg.norm(axes, axis=1).max()
    if np.linalg.norm(across) <= 1e-6 * size:
        return None
    across = across / np.linalg.norm(across)
    down = axes[1] - (axes[1] @ across) * across
    if np.linalg.norm(down) <= 1e-6 * size:
        return None
    return ids @ np.stack([across, down / np.linalg.norm(down)], axis=1)


def position_hat(cells: int) -> Float[np.ndarray, "cell cell"]:
    """The projection on what a position code explains: column, row and their product, each without its mean.

    Three numbers for a cell, so that the linear map from the code to the stream has rank 3 at most. What code a model
    has is not known; this one is ours.
    """
    row, col = (axis.ravel() - (cells - 1) / 2 for axis in np.indices((cells, cells)))
    code = np.stack([col, row, col * row], axis=1)
    basis, _ = np.linalg.qr(code - code.mean(0))
    return basis @ basis.T


@dataclass(frozen=True)
class Fit:
    """How regular the IDs of one slot are, with the null of shuffled cells.

    Attributes:
        measures: by name, value, interval, mean and upper end of the null, and its p-value.
        null: the measures of each shuffle.
    """

    measures: dict[str, dict[str, float]]
    null: dict[str, Float[np.ndarray, " shuffle"]]


def fit(own: Deviations, hat: Float[np.ndarray, "cell cell"], *, seed: int, n: int, level: float, shuffles: int) -> Fit:
    """R^2 of the rank-3 fit to the universal ID, and the agreement between objects.

    Intervals draw objects. In the null each object's cells are shuffled by themselves, so that none holds a place.

    Args:
        own: deviations of each object's word.
        hat: what `position_hat` gave.
        seed: of draws and shuffles.
        n: draws.
        level: nominal coverage.
        shuffles: of the null.
    """
    rng = np.random.default_rng(seed)
    objects, cells, _ = own.shape
    drawn = rng.multinomial(objects, np.full(objects, 1 / objects), size=n).astype(float)
    explained = [np.einsum("ocd,pcd->op", part, own, optimize=True) for part in (_through(hat, own), own)]
    values = _ratio(*(np.einsum("no,op,np->n", drawn, part, drawn, optimize=True) for part in explained))
    r2_low, r2_high = quantiles(values[:, None], level)[:, 0]
    agreed = agreement(own)
    around = mean_over_groups(agreed[:, None], np.arange(objects), seed=seed, n=n, level=level)
    null: dict[str, list[float]] = {"r2": [], "agreement": []}
    for _ in range(shuffles):
        places = rng.permuted(np.tile(np.arange(cells), (objects, 1)), axis=1)
        shuffled = np.take_along_axis(own, places[..., None], axis=1)
        null["r2"].append(r2(shuffled, hat))
        null["agreement"].append(float(agreement(shuffled).mean()))
    found = {
        "r2": (r2(own, hat), float(r2_low), float(r2_high)),
        "agreement": (float(agreed.mean()), float(around.low[0]), float(around.high[0])),
    }
    by_chance = {name: np.array(values) for name, values in null.items()}
    return Fit({name: _cells(*values, by_chance[name], level) for name, values in found.items()}, by_chance)


def r2(own: Deviations, hat: Float[np.ndarray, "cell cell"]) -> float:
    """Share of the universal ID's variance over cells that the position code explains."""
    ids = own.mean(0)
    return float(_ratio(np.array(((hat @ ids) * ids).sum()), np.array((ids**2).sum())))


def agreement(own: Deviations) -> Float[np.ndarray, " object"]:
    """Cosine between each object's deviations and the ID of all others, mean over cells."""
    others = (own.sum(0) - own) / (len(own) - 1)
    sizes = np.linalg.norm(own, axis=-1) * np.linalg.norm(others, axis=-1)
    return _ratio((own * others).sum(-1), sizes).mean(1)


def _through(hat: np.ndarray, own: Deviations) -> Deviations:
    return np.einsum("ce,oed->ocd", hat, own, optimize=True)


def _ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """A quotient; 0 where there is nothing to divide."""
    return np.divide(above, below, out=np.zeros_like(np.asarray(above, dtype=float)), where=below > 0)


def _cells(value: float, low: float, high: float, null: np.ndarray, level: float) -> dict[str, float]:
    p = (1 + int((null >= value).sum())) / (1 + len(null))
    return {"value": value, "low": low, "high": high, "null": float(null.mean()),
            "null_high": float(np.quantile(null, level)), "p": p}  # fmt: skip


def cell_of(centre: tuple[float, float], size: tuple[int, int], cells: int) -> Int[np.ndarray, ""]:
    """The number of the cell, row by row, that a point (x, y) of a photo of (width, height) pixels lies in."""
    col, row = (min(cells - 1, int(place * cells / whole)) for place, whole in zip(centre, size, strict=True))
    return np.array(row * cells + col)


def mean_states(table: Any, objects: tuple[str, ...], cells: int) -> Float[np.ndarray, "object cell d_model"]:
    """Mean state of each object's word in each cell, of one slot's rows."""
    grouped = {key: np.mean(np.stack(list(own)), axis=0) for key, own in table.groupby(["object", "cell"])["state"]}
    return np.stack([[grouped[name, cell] for cell in range(cells * cells)] for name in objects]).astype(np.float64)
