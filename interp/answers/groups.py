"""Pair and set scores: credit only where all questions about one pair of objects are answered rightly."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from einops import rearrange, reduce
from jaxtyping import Bool

from interp.answers.metrics import require
from interp.errors import InputError
from interp.numeric import agree, counted, ratio
from interp.stats.clusters import clustered_share
from interp.stats.intervals import Interval

if TYPE_CHECKING:
    import pandas as pd

_HORIZONTAL = ("left", "right")
PAIRS = {
    "controlled-a": (_HORIZONTAL, ("on", "under")),
    "controlled-b": (_HORIZONTAL, ("front", "behind")),
    "shapes-a": (_HORIZONTAL, ("on", "under")),
    "shapes-b": (_HORIZONTAL, ("front", "behind")),
}
"""The relations that make a pair, by data set; all pairs together make a set."""


def pair_set_scores(
    table: pd.DataFrame,
    pairs: Sequence[tuple[str, str]],
    *,
    column: str = "correct_paper",
    level: float = 0.95,
) -> pd.DataFrame:
    """Pair and set scores with the paper's denominators and with corrected ones.

    A pair is right when both its relations of one group are answered rightly, a set when all relations are. The paper
    divides by a half and a quarter of the samples, although a split by samples leaves pairs and sets incomplete, which
    then count as wrong; its ceiling is what all answers right would reach. The corrected scores divide by the complete
    pairs and sets, and their ceiling is 1.

    Intervals are Wilson's of the complete sets, and of the complete pairs with those of one group counted together
    (`clustered_share`). Which pairs and sets are complete says the split and not the model, so that with the paper's
    denominators they are these intervals times the ceiling.

    Args:
        table: one row per sample with id, group (the object pair), relation and `column`.
        pairs: the relations that make a pair, such as `PAIRS["controlled-a"]`.
        column: `correct_paper` (comparable with the paper) or `correct`.
        level: nominal coverage.

    Returns:
        Four rows, the columns score (`pair`, `set`), denominator (`paper`, `complete`), right, of, value, low, high,
        ceiling, as fractions. `of` is 0 and value NaN where no pair or set is complete. There, and
        where complete pairs lie in fewer than three groups, ends are NaN.

    Example:
        >>> pair_set_scores(answers, PAIRS["controlled-a"]).query("denominator == 'paper'")

    Raises:
        InputError: a relation is in no pair, a sample has no group, or a group holds a relation twice.
    """
    import pandas as pd

    require(table, "group", "relation", column)
    right, there = _answered(table, pairs, column)
    pairs_of, sets_of = "group pair relation -> group pair", "group pair relation -> group"
    both, whole = (reduce(there, over, "all") for over in (pairs_of, sets_of))
    parts = [
        ("pair", reduce(right, pairs_of, "all")[both], np.nonzero(both)[0], there.sum() / 2),
        ("set", reduce(right, sets_of, "all")[whole], np.flatnonzero(whole), there.sum() / (2 * len(pairs))),
    ]
    rows: list[dict[str, object]] = []
    for score, own, places, of_paper in parts:
        share = clustered_share(own, places, level=level) if len(own) else Interval(math.nan, math.nan, math.nan, level)
        for denominator, of in (("paper", float(of_paper)), ("complete", float(len(own)))):
            ceiling = float(ratio(len(own), of))
            names = {"score": score, "denominator": denominator, "right": int(own.sum()), "of": of}
            numbers = {"value": float(ratio(own.sum(), of)), "low": share.low * ceiling, "high": share.high * ceiling}
            rows.append({**names, **numbers, "ceiling": ceiling})
    return pd.DataFrame(rows)


def _answered(
    table: pd.DataFrame, pairs: Sequence[tuple[str, str]], column: str
) -> tuple[Bool[np.ndarray, "group pair relation"], Bool[np.ndarray, "group pair relation"]]:
    """Of each group, which of its questions were answered rightly, and which were asked."""
    wanted = [relation for pair in pairs for relation in pair]
    _check(table, wanted)
    wide = table.assign(_right=table[column].astype(float)).pivot(index="group", columns="relation", values="_right")
    right = wide.reindex(columns=wanted).to_numpy(dtype=float)
    right = rearrange(right, "group (pair relation) -> group pair relation", relation=2)
    return right == 1, ~np.isnan(right)


def _check(table: pd.DataFrame, wanted: Sequence[str]) -> None:
    """Refuse what has no pair, no group, or is there twice."""
    unknown = sorted(set(table["relation"]) - set(wanted))
    if unknown or len(set(wanted)) < len(wanted) or not wanted:
        raise InputError(f"relations {unknown} are in none of the pairs {list(wanted)}: name each relation in one pair")
    without = int((table["group"].isna() | (table["group"] == "")).sum())
    if without:
        raise InputError(
            f"{counted(without, 'sample')} {agree(without, 'has', 'have')} no group: pairs and sets need the object "
            "pair of every sample"
        )
    twice = table[table.duplicated(["group", "relation"])]
    if len(twice):
        first = twice.iloc[0]
        raise InputError(
            f"group {first['group']!r} holds relation {first['relation']!r} more than once: "
            "give each set of questions a group of its own"
        )
