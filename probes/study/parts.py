"""Parts: all samples and those of each name, rows of a table looked up by what they tell, and curves with gaps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Float32, Shaped

from interp.answers.metrics import ALL as ALL
from interp.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

UNNAMED = "(no relation)"
"""What samples without a name are called, such as those of no relation."""


def parts_of(names: Shaped[np.ndarray, " sample"], *, alone: bool = False) -> dict[str, Bool[np.ndarray, " sample"]]:
    """`all`, then each name in order of first appearance, with which samples it has.

    Args:
        names: such as the relation of each sample.
        alone: whether a name that is the only one has a part of its own, which is that of `all`.

    Example:
        >>> {name: own.sum() for name, own in parts_of(np.array(["left", "right", "left"])).items()}
        {'all': 3, 'left': 2, 'right': 1}
    """
    every = list(dict.fromkeys(names.tolist()))
    parts = {ALL: np.ones(len(names), dtype=bool)}
    return parts | ({name or UNNAMED: names == name for name in every} if alone or len(every) > 1 else {})


def rows_of(table: pd.DataFrame, /, **named: Any) -> pd.DataFrame:
    """The rows that have these values in these columns."""
    own = np.ones(len(table), dtype=bool)
    for column, value in named.items():
        own &= (table[column] == value).to_numpy(dtype=bool)
    return table[own]


def row_of(table: pd.DataFrame, left_out: pd.DataFrame, /, **named: Any) -> pd.Series:
    """The row of a table that has these values.

    Args:
        table: the measures.
        left_out: what of them can not be told, and `why`, by some of the same columns.
        **named: by column, the value.

    Raises:
        InputError: it is not there; the message says why it is left out, or what there is.
    """
    own = rows_of(table, **named)
    if own.empty:
        raise InputError(f"there is no {_spelled(named)}: {_why_not(table, left_out, named)}")
    return own.iloc[0]


def curve_of(table: pd.DataFrame, **named: Any) -> pd.DataFrame:
    """The rows that have these values, without the columns that all of them share.

    Raises:
        InputError: there is none.
    """
    own = rows_of(table, **named)
    if own.empty:
        raise InputError(f"{_spelled(named)} is not told: `left_out` says why")
    return own.drop(columns=list(named)).reset_index(drop=True)


def gapped(curves: Sequence[pd.DataFrame], slots: int) -> Float32[np.ma.MaskedArray, "curve slot"]:
    """The `value` of each curve at each slot; masked, and NaN beneath, at slots of which it tells nothing."""
    found = np.full((len(curves), slots), np.nan, dtype=np.float32)
    for place, own in enumerate(curves):
        found[place, own["slot"].to_numpy(dtype=int)] = own["value"]
    return np.ma.masked_invalid(found)


def _spelled(named: dict[str, Any]) -> str:
    return ", ".join(f"{column}={value!r}" for column, value in named.items())


def _why_not(table: pd.DataFrame, left_out: pd.DataFrame, named: dict[str, Any]) -> str:
    out = rows_of(left_out, **{column: value for column, value in named.items() if column in left_out})
    if len(out):
        return str(out["why"].iloc[0])
    for column, value in named.items():
        if value not in (known := table[column].unique().tolist()):
            return f"of {column}, use one of {', '.join(map(str, known)) or 'none'}"
    return "it was not measured"
