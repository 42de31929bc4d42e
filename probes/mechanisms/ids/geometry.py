"""Geometry of spatial IDs: what an object's word holds of the object's cell, whatever the object, and how regularly."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float, Int

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


def cell_of(centre: tuple[float, float], size: tuple[int, int], cells: int) -> Int[np.ndarray, ""]:
    """The number of the cell, row by row, that a point (x, y) of a photo of (width, height) pixels lies in."""
    col, row = (min(cells - 1, int(place * cells / whole)) for place, whole in zip(centre, size, strict=True))
    return np.array(row * cells + col)


def mean_states(table: Any, objects: tuple[str, ...], cells: int) -> Float[np.ndarray, "object cell d_model"]:
    """Mean state of each object's word in each cell, of one slot's rows."""
    grouped = {key: np.mean(np.stack(list(own)), axis=0) for key, own in table.groupby(["object", "cell"])["state"]}
    return np.stack([[grouped[name, cell] for cell in range(cells * cells)] for name in objects]).astype(np.float64)
