"""Metrics: what one policy's answers are worth, overall and against guessing, and which answers it gives."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from einops import rearrange

from interp.answers.scoring import read_options
from interp.errors import InputError
from interp.stats.intervals import Interval, bootstrap, wilson

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
        The columns measure, value, low, high, n. Shares have Wilson intervals; balanced accuracy and macro-F1 have
        bootstrap intervals over samples; `majority` (the most frequent gold answer) and `chance` (a blind choice
        among each row's options) are properties of the data and have none.

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
        "parse_failures": wilson(int(table["predicted"].isna().sum()), len(table), level),
        **{name: Interval(value, np.nan, np.nan, level) for name, value in guessing(table).items()},
    }
    rows = [{"measure": name, **found.cells("value"), "n": len(table)} for name, found in measures.items()]
    return pd.DataFrame(rows)


def accuracy(table: pd.DataFrame, column: str = "correct", *, level: float = 0.95) -> Interval:
    """The share of right answers with Wilson's interval.

    Args:
        table: one row per sample.
        column: `correct` (strict) or `correct_paper`.
        level: nominal coverage.

    Raises:
        InputError: the column is missing, the table is empty, or an id occurs twice.
    """
    require(table, column)
    return wilson(int(table[column].sum()), len(table), level)


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


def class_scores(table: pd.DataFrame, *, seed: int = 0, n: int = 2000, level: float = 0.95) -> dict[str, Interval]:
    """Balanced accuracy (mean recall) and macro-F1 over the answers that occur as gold, by the strict rule.

    An answer that names no option is a miss of its gold answer and a false alarm of none. A bootstrap draw takes the
    mean over the answers that it holds.

    Args:
        table: one row per sample.
        seed: the seed of the bootstrap over samples.
        n: number of draws.
        level: nominal coverage.

    Returns:
        `balanced_accuracy` and `macro_f1`.

    Raises:
        InputError: a column is missing, the table is empty, or an id occurs twice.
    """
    names, gold, said = _codes(table)
    width = len(names) + 1
    both = bootstrap(
        gold * width + said,
        lambda draw: _class_means(
            rearrange(np.bincount(draw, minlength=width * width), "(gold said) -> gold said", gold=width)[:-1]
        ),
        seed=seed,
        n=n,
        level=level,
    )
    pairs = zip(("balanced_accuracy", "macro_f1"), both.estimate, both.low, both.high, strict=True)
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


def _class_means(counts: np.ndarray) -> np.ndarray:
    """Mean recall and mean F1 of a confusion matrix [gold, predicted and none], over the answers that are gold."""
    right, gold, said = np.diag(counts), counts.sum(axis=1), counts.sum(axis=0)[:-1]
    some = gold > 0
    return np.array([np.mean(right[some] / gold[some]), np.mean(2 * right[some] / (gold + said)[some])])
