"""Yes/no scores: the paper's numbers for VSR, and the ordinary ones beside them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

from interp.answers.metrics import require
from interp.answers.scoring import YES_NO
from interp.errors import InputError
from interp.stats.intervals import bootstrap

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class YesNo:
    """Scores of yes/no answers, as fractions; NaN where there is nothing to divide by.

    Attributes:
        accuracy: right answers of all.
        paper_f1: harmonic mean of the true positive and the true negative rate, which the released code calls F1.
        true_positive_rate: right among the statements that hold (recall; the released code calls it precision).
        true_negative_rate: right among the statements that do not (the released code calls it recall).
        balanced_accuracy: the mean of both rates.
        precision: right among the answers "yes".
        f1: the ordinary F1 of "yes".
    """

    accuracy: float
    paper_f1: float
    true_positive_rate: float
    true_negative_rate: float
    balanced_accuracy: float
    precision: float
    f1: float


def yes_no_from_counts(*, right_yes: int, yes: int, right_no: int, no: int, false_yes: int | None = None) -> YesNo:
    """Scores from counts.

    Args:
        right_yes: right answers among the statements that hold.
        yes: statements that hold.
        right_no: right answers among the statements that do not.
        no: statements that do not hold.
        false_yes: answers "yes" among these; by default all that are not right, as the released code counts.

    Example:
        >>> found = yes_no_from_counts(right_yes=435, yes=503, right_no=177, no=475)
        >>> round(found.paper_f1, 3), round(found.f1, 3)
        (0.521, 0.704)

    Raises:
        InputError: a count is larger than what it is a part of, or negative.
    """
    false = no - right_no if false_yes is None else false_yes
    if not (0 <= right_yes <= yes and 0 <= right_no <= no and 0 <= false <= no - right_no):
        raise InputError(
            f"{right_yes} of {yes} and {right_no} of {no} with {false} false are no counts: give parts of wholes"
        )
    positive, negative = _share(right_yes, yes), _share(right_no, no)
    return YesNo(
        accuracy=_share(right_yes + right_no, yes + no),
        paper_f1=_share(2 * positive * negative, positive + negative, nothing=0.0),
        true_positive_rate=positive,
        true_negative_rate=negative,
        balanced_accuracy=(positive + negative) / 2,
        precision=_share(right_yes, right_yes + false),
        f1=_share(2 * right_yes, yes + right_yes + false),
    )


def yes_no_scores(table: pd.DataFrame, *, seed: int = 0, n: int = 2000, level: float = 0.95) -> pd.DataFrame:
    """All yes/no scores by both rules, with bootstrap intervals over samples.

    By the paper's rule every wrong answer to a statement that does not hold is a "yes"; by the strict rule only one
    that says so, and an answer that says neither is wrong without being a "yes".

    Args:
        table: one row per sample with id, gold (`yes` or `no`), predicted, correct and correct_paper.
        seed: the seed of the bootstrap.
        n: number of draws.
        level: nominal coverage.

    Returns:
        One row per rule (`paper`, `strict`) and measure of `YesNo`; the columns rule, measure, value, low, high, n.

    Raises:
        InputError: a column is missing, an id occurs twice, or a gold answer is neither yes nor no.
    """
    import pandas as pd

    require(table, "gold", "predicted", "correct", "correct_paper")
    other = sorted(set(table["gold"]) - set(YES_NO))
    if other:
        raise InputError(f"gold answers {other} are neither yes nor no: score these with `summary`")
    rows: list[dict[str, object]] = []
    for rule, column in (("paper", "correct_paper"), ("strict", "correct")):
        counts = _counts(table, column)
        found = bootstrap(counts, _measures, seed=seed, n=n, level=level)
        ends = zip(YesNo.__dataclass_fields__, found.estimate, found.low, found.high, strict=True)
        rows += [
            {"rule": rule, "measure": name, "value": value, "low": low, "high": high, "n": len(table)}
            for name, value, low, high in ends
        ]
    return pd.DataFrame(rows)


def _counts(table: pd.DataFrame, column: str) -> np.ndarray:
    """Of each sample [sample 5]: right yes, yes, right no, no, false yes."""
    yes, right = (table["gold"] == "yes").to_numpy(dtype=bool), table[column].to_numpy(dtype=bool)
    said = ~right if column == "correct_paper" else (table["predicted"] == "yes").fillna(False).to_numpy(dtype=bool)
    return np.stack([yes & right, yes, ~yes & right, ~yes, ~yes & ~right & said], axis=1).astype(int)


def _measures(counts: np.ndarray) -> np.ndarray:
    """The measures of drawn samples, in the order of `YesNo`."""
    right_yes, yes, right_no, no, false_yes = counts.sum(axis=0).tolist()
    found = yes_no_from_counts(right_yes=right_yes, yes=yes, right_no=right_no, no=no, false_yes=false_yes)
    return np.array(list(asdict(found).values()), dtype=float)


def _share(part: float, whole: float, *, nothing: float = float("nan")) -> float:
    """A part of a whole, and `nothing` where the whole is zero."""
    return part / whole if whole else nothing
