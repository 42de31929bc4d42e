"""Pair and set scores: credit only where all questions about one pair of objects are answered rightly."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from einops import rearrange

from interp.answers.metrics import require
from interp.errors import InputError
from interp.stats.intervals import bootstrap

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
    seed: int = 0,
    n: int = 2000,
    level: float = 0.95,
) -> pd.DataFrame:
    """Pair and set scores with the paper's denominators and with corrected ones.

    A pair is right when both its relations of one group are answered rightly, a set when all relations are. The paper
    divides by a half and a quarter of the samples, although a split by samples leaves pairs and sets incomplete, which
    then count as wrong; its ceiling is what all answers right would reach. The corrected scores divide by the complete
    pairs and sets, and their ceiling is 1.

    Args:
        table: one row per sample with id, group (the object pair), relation and `column`.
        pairs: the relations that make a pair, such as `PAIRS["controlled-a"]`.
        column: `correct_paper` (comparable with the paper) or `correct`.
        seed: the seed of the bootstrap over groups.
        n: number of draws.
        level: nominal coverage.

    Returns:
        Four rows, the columns score (`pair`, `set`), denominator (`paper`, `complete`), right, of, value, low, high,
        ceiling, as fractions. `of` is 0 and value NaN where no pair or set is complete.

    Example:
        >>> pair_set_scores(answers, PAIRS["controlled-a"]).query("denominator == 'paper'")

    Raises:
        InputError: a relation is in no pair, a sample has no group, or a group holds a relation twice.
    """
    import pandas as pd

    require(table, "group", "relation", column)
    counts = _counts(table, pairs, column)
    found = bootstrap(counts, lambda draw: _scores(draw, 2 * len(pairs)), seed=seed, n=n, level=level)
    right_pairs, all_pairs, right_sets, all_sets, samples = counts.sum(axis=0).tolist()
    each = [
        ("pair", "paper", right_pairs, samples / 2, all_pairs),
        ("pair", "complete", right_pairs, all_pairs, all_pairs),
        ("set", "paper", right_sets, samples / (2 * len(pairs)), all_sets),
        ("set", "complete", right_sets, all_sets, all_sets),
    ]
    rows = pd.DataFrame(each, columns=["score", "denominator", "right", "of", "complete"])
    ceiling = rows.pop("complete") / rows["of"].where(rows["of"] > 0)
    return rows.assign(value=found.estimate, low=found.low, high=found.high, ceiling=ceiling)


def _counts(table: pd.DataFrame, pairs: Sequence[tuple[str, str]], column: str) -> np.ndarray:
    """Of each group [group 5]: right pairs, complete pairs, right sets, complete sets, samples."""
    wanted = [relation for pair in pairs for relation in pair]
    _check(table, wanted)
    wide = table.assign(_right=table[column].astype(float)).pivot(index="group", columns="relation", values="_right")
    right = wide.reindex(columns=wanted).to_numpy(dtype=float)
    right = rearrange(right, "group (pair relation) -> group pair relation", relation=2)
    there = ~np.isnan(right)
    pair_there, set_there = there.all(axis=2), there.all(axis=(1, 2))
    pair_right, set_right = (right == 1).all(axis=2), (right == 1).all(axis=(1, 2))
    columns = [pair_right.sum(1), pair_there.sum(1), set_right, set_there, there.sum((1, 2))]
    return np.stack([np.asarray(values, dtype=float) for values in columns], axis=1)


def _scores(counts: np.ndarray, size: int) -> np.ndarray:
    """The four scores of drawn groups, in the order of the table; NaN where nothing is complete."""
    right_pairs, pairs, right_sets, sets, samples = counts.sum(axis=0)
    rights = np.array([right_pairs, right_pairs, right_sets, right_sets])
    of = np.array([samples / 2, pairs, samples / size, sets])
    return np.divide(rights, of, out=np.full(4, np.nan), where=of > 0)


def _check(table: pd.DataFrame, wanted: Sequence[str]) -> None:
    """Refuse what has no pair, no group, or is there twice."""
    unknown = sorted(set(table["relation"]) - set(wanted))
    if unknown or len(set(wanted)) < len(wanted) or not wanted:
        raise InputError(f"relations {unknown} are in none of the pairs {list(wanted)}: name each relation in one pair")
    without = int((table["group"].isna() | (table["group"] == "")).sum())
    if without:
        raise InputError(f"{without} samples have no group: pairs and sets need the object pair of every sample")
    twice = table[table.duplicated(["group", "relation"])]
    if len(twice):
        first = twice.iloc[0]
        raise InputError(
            f"group {first['group']!r} holds relation {first['relation']!r} more than once: "
            "give each set of questions a group of its own"
        )
