"""Scores and answers as statistics take them: read from what was given, or refused."""

from __future__ import annotations

import numpy as np
from einops import rearrange
from jaxtyping import Bool, Float, Int
from numpy.typing import ArrayLike

from interp.errors import InputError
from interp.numeric import agree, counted


def read_scores(
    scores: ArrayLike, right: ArrayLike
) -> tuple[Float[np.ndarray, "sample cell"], Bool[np.ndarray, " sample"], tuple[int, ...]]:
    """Scores as [sample cell], right as bool [sample], and the shape of the cells.

    Raises:
        InputError: lengths differ, there is nothing, a score is infinite, or right is not true or false.
    """
    table, truth = np.asarray(scores), np.asarray(right)
    table = table if table.dtype in (np.float32, np.float64) else table.astype(np.float64)
    if truth.ndim != 1 or not np.isin(truth, (0, 1)).all():
        raise InputError(f"right has shape {truth.shape} or values other than true and false: give one bool per sample")
    if table.ndim == 0 or table.size == 0 or len(table) != len(truth):
        raise InputError(f"scores have shape {table.shape} for {len(truth)} samples: give [sample ...cells]")
    if np.isinf(table).any():
        raise InputError(f"{int(np.isinf(table).sum())} scores are infinite: give NaN where a score is undefined")
    return rearrange(table, "sample ... -> sample (...)"), truth.astype(bool), table.shape[1:]


def codes_of(
    values: ArrayLike | None, n: int, what: str, *, fewest: int = 2
) -> tuple[Int[np.ndarray, " sample"], tuple[str, ...]]:
    """The code of each sample's stratum or group [sample], and their names in order of appearance; None is one for all.

    Raises:
        InputError: not one per sample, a sample has none, or groups are fewer than `fewest`.
    """
    if values is None:
        return np.zeros(n, dtype=int), ("all",)
    named = [str(value) for value in np.asarray(values, dtype=object).ravel()]
    if np.shape(values) != (n,):
        raise InputError(f"{what} have shape {np.shape(values)} for {n} samples: give one per sample")
    without = sum(name in ("", "None", "nan", "<NA>", "NaT") for name in named)
    if without:
        have = agree(without, "has", "have")
        raise InputError(
            f"{without} of {counted(n, 'sample')} {have} no name in {what}: name one for every sample, or give None"
        )
    place = {name: code for code, name in enumerate(dict.fromkeys(named))}
    if what == "groups" and len(place) < fewest:
        raise InputError(f"all {n} samples lie in group {named[0]!r}: give samples of two groups or more")
    return np.array([place[name] for name in named]), tuple(place)
