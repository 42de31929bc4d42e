"""Covariates: what a regression holds fixed as columns of numbers, without the words that can say nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Float, Shaped
from numpy.typing import ArrayLike

from interp.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

SURE = 1e-6
"""A chance nearer to 0 or 1 is not told from one that near: single precision knows none much nearer to 1."""


def read_covariates(
    covariates: Mapping[str, ArrayLike] | pd.DataFrame | ArrayLike,
    right: Bool[np.ndarray, " sample"],
    scored: Bool[np.ndarray, " sample"],
) -> tuple[tuple[str, ...], Float[np.ndarray, "sample column"], tuple[str, ...]]:
    """Names and numbers of the columns, and the words that do not enter.

    Args:
        covariates: name -> column [sample], or a table, or numbers [sample k]. A column of words becomes a column of 0
            and 1 for each word but the first.
        right: whether the answer is right.
        scored: samples that have a score at all.

    Returns:
        Names; numbers, NaN where a sample has none or has a word that does not enter; and these words, as `name=word`:
        those with right answers alone or wrong ones alone, among samples that have all else.

    Raises:
        InputError: there is no covariate, one has not one value per sample, or a number is infinite.
    """
    given = {name: _read(name, column, len(right)) for name, column in _named(covariates).items()}
    some = scored & ~np.any([_missing(column) for column in given.values()], axis=0) if given else scored
    skipped: list[str] = []
    while found := [
        (name, word)
        for name, column in given.items()
        if column.dtype == object
        for word in one_sided(column[some], right[some])
    ]:
        for name, word in found:
            some &= given[name] != word
            given[name][given[name] == word] = None
        skipped += [f"{name}={word}" for name, word in found]
    columns = dict(pair for name, column in given.items() for pair in _numbers(name, column))
    if not columns:
        raise InputError("there is no covariate to adjust for: give name -> column [sample], or numbers [sample k]")
    table = np.column_stack(list(columns.values()))
    if np.isinf(table).any():
        raise InputError(f"{int(np.isinf(table).sum())} covariates are infinite: give NaN where one is undefined")
    return tuple(columns), table, tuple(skipped)


def log_odds(chances: Float[np.ndarray, " sample"]) -> Float[np.ndarray, " sample"]:
    """The logit of chances, which a regression of right answers is linear in where a chance is what it says it is.

    Chances nearer to 0 or 1 than `SURE` count as that near: a sure answer weighs much, and not without end.

    Example:
        >>> log_odds(np.array([0.5, 1.0])).round(1)
        array([ 0. , 13.8])
    """
    inside = np.clip(chances, SURE, 1 - SURE)
    return np.log(inside) - np.log1p(-inside)


def logarithm(values: Float[np.ndarray, " sample"]) -> Float[np.ndarray, " sample"]:
    """The natural logarithm; NaN where there is none.

    Example:
        >>> logarithm(np.array([1.0, 0.0]))
        array([ 0., nan])
    """
    return np.log(values, out=np.full(values.shape, np.nan), where=values > 0)


def one_sided(words: Shaped[np.ndarray, " sample"], right: Bool[np.ndarray, " sample"]) -> tuple[str, ...]:
    """The words whose answers are all right or all wrong, where there are answers of both kinds.

    Example:
        >>> one_sided(np.array(["left", "on", "on"], dtype=object), np.array([True, True, False]))
        ('left',)
    """
    if right.all() or not right.any():
        return ()
    return tuple(word for word in dict.fromkeys(words) if len(set(right[words == word])) == 1)


def _named(covariates: Any) -> dict[str, Any]:
    """Columns by name, as they were given."""
    if hasattr(covariates, "items"):
        return {str(name): column for name, column in covariates.items()}
    table = np.asarray(covariates, dtype=np.float64)
    table = table[:, None] if table.ndim == 1 else table
    return {f"covariate {place}": column for place, column in enumerate(table.T)} if table.ndim == 2 else {}


def _read(name: str, values: Any, n: int) -> np.ndarray:
    """A column as numbers with NaN, float64 [sample], or as words with None, object [sample]."""
    column = np.asarray(values)
    if column.shape != (n,):
        raise InputError(f"covariate {name!r} has shape {column.shape} for {n} samples: give one value per sample")
    missing = np.array([str(value) in ("", "None", "nan", "<NA>", "NaT") for value in column], dtype=bool)
    given = column[~missing].tolist()
    numbers = all(isinstance(value, (Real, np.bool_)) for value in given)
    out = np.full(n, np.nan) if numbers else np.full(n, None, dtype=object)
    out[~missing] = given if numbers else [str(value) for value in given]
    return out


def _missing(column: np.ndarray) -> np.ndarray:
    return column == None if column.dtype == object else np.isnan(column)  # noqa: E711 (each of an array)


def _numbers(name: str, column: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """A column of numbers as it is, or a column of 0 and 1 for each word of a column of words but the first."""
    if column.dtype != object:
        yield name, column
        return
    missing = _missing(column)
    words = list(dict.fromkeys(column[~missing]))
    for word in words[1:] or words[:1] or [None]:
        yield (f"{name}={word}" if words[1:] else name), np.where(missing, np.nan, (column == word).astype(float))
