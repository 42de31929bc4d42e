"""Metrics: what one policy's answers are worth, overall and against guessing, and which answers it gives."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from einops import rearrange
from jaxtyping import Bool, Float, Shaped

from interp.answers.scoring import read_options
from interp.errors import InputError
from interp.numeric import ratio
from interp.stats.clusters import clustered_share, group_names, share_of_part, shared_groups, statistic_over_groups
from interp.stats.intervals import DRAWS, SHARE, Interval, hull, square_and_add

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

    An answer that names no option is a miss of its gold answer and a false alarm of none. Intervals hold two: that of
    the bootstrap, which draws whole groups where samples share them, and the mean over the answers that a draw holds;
    and the one that the recall or F1 of each answer make together (`square_and_add`), as a rare answer that is always
    right varies in no draw. Recall is a share, and so is F / (2 - F) of an F1: right ones among those that are gold or
    said (`share_of_part`: an answer that all lies in one group, or two, counts as so many samples).

    Args:
        table: one row per sample.
        seed: the seed of the bootstrap.
        n: number of draws.
        level: nominal coverage.

    Returns:
        `balanced_accuracy` and `macro_f1`; their ends are NaN where all samples lie in fewer than three groups.

    Raises:
        InputError: a column is missing, the table is empty, an id occurs twice, there is no draw, or no such level.
    """
    names, gold, said = _codes(table)
    every, groups = np.arange(len(names)), group_names(table)
    is_gold, is_said = gold[:, None] == every, said[:, None] == every
    counts = [own.astype(np.float64) for own in (is_gold & is_said, is_gold, is_said)]
    found = statistic_over_groups(_class_means, counts, groups, seed=seed, n=n, level=level, bounds=SHARE)
    occur = is_gold.any(axis=0)
    parts = {
        "balanced_accuracy": (_mean_of, _shares(is_said, is_gold, groups, level)),
        "macro_f1": (_mean_f1, _shares(is_gold & is_said, is_gold | is_said, groups, level)),
    }
    scores = {}
    for place, (name, (mean, shares)) in enumerate(parts.items()):
        value, low, high = (float(column[place]) for column in (found.estimate, found.low, found.high))
        own = [share for share, gold in zip(shares, occur, strict=True) if gold]
        together = square_and_add(mean, own, bounds=SHARE)
        scores[name] = hull(Interval(value, low, high, level, found.draws), together)
    return scores


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


def _shares(
    right: Bool[np.ndarray, "sample answer"],
    of: Bool[np.ndarray, "sample answer"],
    groups: Shaped[np.ndarray, " sample"],
    level: float,
) -> list[Interval]:
    """The share of right samples among those of each answer."""
    return [share_of_part(one[own], groups[own], level=level) for one, own in zip(right.T, of.T, strict=True)]


def _mean_of(*values: float) -> float:
    """Their mean."""
    return sum(values) / len(values)


def _mean_f1(*values: float) -> float:
    """The mean F1 of answers, from the right ones among those that are gold or said."""
    return _mean_of(*map(f1_of_share, values))


def f1_of_share(share: float) -> float:
    """F1 of an answer, from the share of right ones among those that are gold or said (Jaccard's index).

    Args:
        share: the share, 0 to 1.

    Example:
        >>> f1_of_share(0.5) == 2 * 4 / (2 * 4 + 1 + 3)  # right, falsely said, missed
        True
    """
    return 2 * share / (1 + share)
