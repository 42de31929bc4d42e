"""Metrics: what one policy's answers are worth, overall and against guessing, and which answers it gives."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from einops import rearrange
from jaxtyping import Float

from interp.answers.scoring import read_options
from interp.errors import InputError
from interp.numeric import ratio
from interp.stats.clusters import clustered_share, drawn_sums, group_names, groups_with, shared_groups
from interp.stats.intervals import DRAWS, Interval, spread_ends

if TYPE_CHECKING:
    import pandas as pd

ALL = "all"
"""The name of the rows over everything."""

NONE = "none"
"""The name of an answer that names no option."""


def summary(table: pd.DataFrame, *, seed: int = 0, level: float = 0.95) -> pd.DataFrame:
    """Every overall measure of one policy with its interval, and what guessing would reach beside them.

    Args:
        table: one row per sample, as `score` makes it.
        seed: the seed of the bootstrap.
        level: nominal coverage.

    Returns:
        The columns measure, value, low, high, n. Shares have Wilson intervals, of as many samples as those of groups
        are worth (`clustered_share`); balanced accuracy and macro-F1 have those of `class_scores`; `majority` (the most
        frequent gold answer) and `chance` (a blind choice among each row's options) are properties of the data and have
        none.

    Example:
        >>> summary(score(answers)).set_index("measure").loc["accuracy", ["value", "low", "high"]]

    Raises:
        InputError: a column is missing, the table is empty, or an id occurs twice.
    """
    import pandas as pd

    require(table, "gold", "options", "predicted", "correct", "correct_paper")
    classes = class_scores(table, seed=seed, level=level)
    measures: dict[str, Interval] = {
        "accuracy": accuracy(table, level=level),
        "accuracy_paper": accuracy(table, "correct_paper", level=level),
        **classes,
        "parse_failures": clustered_share(table["predicted"].isna(), shared_groups(table), level=level),
        **{name: Interval(value, np.nan, np.nan, level) for name, value in guessing(table).items()},
    }
    rows = [{"measure": name, **found.cells("value"), "n": len(table)} for name, found in measures.items()]
    return pd.DataFrame(rows)


def accuracy(table: pd.DataFrame, column: str = "correct", *, level: float = 0.95) -> Interval:
    """The share of right answers with Wilson's interval, and where samples share groups with that of `clustered_share`.

    Args:
        table: one row per sample; the column `group`, where it is there, says what belongs together.
        column: `correct` (strict) or `correct_paper`.
        level: nominal coverage.

    Raises:
        InputError: the column is missing, the table is empty, or an id occurs twice.
    """
    require(table, column)
    return clustered_share(table[column].to_numpy(dtype=bool), shared_groups(table), level=level)


def confusion(table: pd.DataFrame) -> pd.DataFrame:
    """How often each gold answer (index) was answered with each option (columns; `none` last).

    Example:
        >>> confusion(answers).loc["on", "left"]  # objects that lie on something, said to be left of it

    Raises:
        InputError: a column is missing, the table is empty, or an id occurs twice.
    """
    import pandas as pd

    names, gold, said = _codes(table)
    counts = np.bincount(gold * (len(names) + 1) + said, minlength=len(names) * (len(names) + 1))
    counts = rearrange(counts, "(gold said) -> gold said", gold=len(names))
    matrix = pd.DataFrame(counts, index=names, columns=[*names, NONE])
    return matrix.loc[matrix.sum(axis=1) > 0].rename_axis(index="gold", columns="predicted")


def answer_distribution(table: pd.DataFrame) -> pd.DataFrame:
    """How often each option is right and how often it is said: a lean towards one option shows here.

    Returns:
        One row per option and one for `none`; the columns answer, gold, gold_share, predicted, predicted_share.

    Raises:
        InputError: a column is missing, the table is empty, or an id occurs twice.
    """
    import pandas as pd

    names, gold, said = _codes(table)
    found = pd.DataFrame({"answer": [*names, NONE]})
    for name, codes in (("gold", gold), ("predicted", said)):
        found[name] = np.bincount(codes, minlength=len(found))
        found[f"{name}_share"] = found[name] / len(table)
    return found


def class_scores(table: pd.DataFrame, *, seed: int = 0, n: int = DRAWS, level: float = 0.95) -> dict[str, Interval]:
    """Balanced accuracy (mean recall) and macro-F1 over the answers that occur as gold, by the strict rule.

    An answer that names no option is a miss of its gold answer and a false alarm of none. Intervals are of the
    bootstrap (`spread_ends`): it draws whole groups where samples share them, and the mean over the answers that a draw
    holds. A score without any spread, as where all is right, is taken for that of as many groups as the rarest answer
    has.

    Args:
        table: one row per sample.
        seed: the seed of the bootstrap.
        n: number of draws.
        level: nominal coverage.

    Returns:
        `balanced_accuracy` and `macro_f1`.

    Raises:
        InputError: a column is missing, the table is empty, or an id occurs twice.
    """
    names, gold, said = _codes(table)
    every, groups = np.arange(len(names)), group_names(table)
    is_gold, is_said = gold[:, None] == every, said[:, None] == every
    counts = [own.astype(np.float64) for own in (is_gold & is_said, is_gold, is_said)]
    drawn = _class_means(*drawn_sums(counts, groups, seed=seed, n=n))
    estimate = _class_means(*(own.sum(axis=0)[None] for own in counts))[0]
    units = groups_with(np.ones(len(table), dtype=bool), groups)
    rarest = groups_with(is_gold, groups)[is_gold.any(axis=0)].min()
    ends = spread_ends(estimate, drawn, level, units=units, rarest=rarest, bounds=(0, 1))
    pairs = zip(("balanced_accuracy", "macro_f1"), estimate, *ends, strict=True)
    return {name: Interval(float(value), float(low), float(high), level, n) for name, value, low, high in pairs}


def guessing(table: pd.DataFrame) -> dict[str, float]:
    """What needs no picture: `majority`, the share of the most frequent gold answer, and `chance`.

    Chance is the mean over samples of one over the number of options; NaN where a row lists no options.

    Raises:
        InputError: a column is missing, the table is empty, or an id occurs twice.
    """
    require(table, "gold", "options")
    counts = np.array([len(read_options(cell)) for cell in table["options"]], dtype=float)
    chance = float(np.mean(1 / counts)) if counts.all() else float("nan")
    return {"majority": float(table["gold"].value_counts().iloc[0] / len(table)), "chance": chance}


def require(table: pd.DataFrame, *columns: str) -> None:
    """Refuse a table that lacks columns, has no rows, or holds a sample twice (answers of several policies).

    Raises:
        InputError: says what is missing or which id occurs twice.
    """
    missing = [name for name in ("id", *columns) if name not in table.columns]
    if missing:
        raise InputError(f"the table has no column {missing}, only {list(table.columns)}: run `score` on it first")
    if not len(table):
        raise InputError("the table has no rows: give the answers of at least one sample")
    if not table["id"].is_unique:
        twice = table["id"][table["id"].duplicated()].iloc[0]
        raise InputError(f"sample {twice!r} occurs more than once: give the answers of one policy at a time")


def _codes(table: pd.DataFrame) -> tuple[list[str], np.ndarray, np.ndarray]:
    """All answers of the table in order, and of each row the gold and the predicted one; the last code is `none`."""
    require(table, "gold", "predicted")
    listed = [name for cell in table["options"] for name in read_options(cell)] if "options" in table else []
    said = table["predicted"].dropna()
    names = list(dict.fromkeys([*listed, *table["gold"], *said]))
    place = {name: code for code, name in enumerate(names)}
    gold = table["gold"].map(place).to_numpy(dtype=int)
    return names, gold, table["predicted"].map(place).fillna(len(names)).to_numpy(dtype=int)


def _class_means(
    right: Float[np.ndarray, "draw answer"],
    gold: Float[np.ndarray, "draw answer"],
    said: Float[np.ndarray, "draw answer"],
) -> Float[np.ndarray, "draw 2"]:
    """Mean recall and mean F1 over the answers that are gold, of how often each is right, gold and said."""
    recall, f1 = ratio(right, gold), np.where(gold > 0, ratio(2 * right, gold + said), np.nan)
    return np.stack([np.nanmean(recall, axis=1), np.nanmean(f1, axis=1)], axis=1)
