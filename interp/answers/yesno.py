"""Yes/no scores: the paper's numbers for VSR, and the ordinary ones beside them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float, Shaped

from interp.answers.metrics import f1_of_share, require
from interp.answers.scoring import YES_NO
from interp.errors import InputError
from interp.numeric import ratio
from interp.stats.clusters import clustered_share, group_names, share_of_part, statistic_over_groups
from interp.stats.intervals import DRAWS, SHARE, Interval, hull, square_and_add

if TYPE_CHECKING:
    import pandas as pd

_SHARES = {
    "accuracy": ([0, 2], [1, 3]),
    "true_positive_rate": ([0], [1]),
    "true_negative_rate": ([2], [3]),
    "precision": ([0], [0, 4]),
    "f1": ([0], [1, 4]),
}
"""The measures that are shares, or made of one, as `f1_of_share`: which counts of `_counts` are a part of which."""

_RATES = ("true_positive_rate", "true_negative_rate")


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
    counts = np.array([[right_yes, yes, right_no, no, false]], dtype=np.float64)
    return YesNo(*_measures(counts)[0].tolist())


def yes_no_scores(table: pd.DataFrame, *, seed: int = 0, n: int = DRAWS, level: float = 0.95) -> pd.DataFrame:
    """All yes/no scores by both rules, with their intervals.

    By the paper's rule every wrong answer to a statement that does not hold is a "yes"; by the strict rule only one
    that says so, and an answer that says neither is wrong without being a "yes".

    Accuracy, rates and precision are shares, with the intervals of `clustered_share`, and F1 is made of one. The
    interval of what is made of both rates holds two: that of the bootstrap, which draws whole groups where samples
    share them, and the one that both rates make together (`square_and_add` of `share_of_part`), as the rate of a rare
    answer may vary in no draw.

    Args:
        table: one row per sample with id, gold (`yes` or `no`), predicted, correct and correct_paper.
        seed: the seed of the bootstrap.
        n: number of draws.
        level: nominal coverage.

    Returns:
        One row per rule (`paper`, `strict`) and measure of `YesNo`; the columns rule, measure, value, low, high, n.

    Raises:
        InputError: a column is missing, an id occurs twice, a gold answer is neither yes nor no, there is no draw, or
            no such level.
    """
    import pandas as pd

    require(table, "gold", "predicted", "correct", "correct_paper")
    other = sorted(set(table["gold"]) - set(YES_NO))
    if other:
        raise InputError(f"gold answers {other} are neither yes nor no: score these with `summary`")
    rows: list[dict[str, object]] = []
    groups = group_names(table)
    for rule, column in (("paper", "correct_paper"), ("strict", "correct")):
        counts = _counts(table, column)
        found = statistic_over_groups(_measures, [counts], groups, seed=seed, n=n, level=level, bounds=SHARE)
        numbers = zip(found.estimate.tolist(), found.low.tolist(), found.high.tolist(), strict=True)
        drawn = dict(zip(YesNo.__dataclass_fields__, (Interval(*own, level) for own in numbers), strict=True))
        of = drawn | _of_shares(counts, groups, level)
        rates = [share_of_part(*_counted(counts, name, groups), level=level) for name in _RATES]
        for name, made in (("balanced_accuracy", _mean), ("paper_f1", _harmonic)):
            of[name] = hull(drawn[name], square_and_add(made, rates, bounds=SHARE))
        rows += [
            {"rule": rule, "measure": name, **of[name].cells("value"), "value": drawn[name].estimate, "n": len(table)}
            for name in drawn
        ]
    return pd.DataFrame(rows)


def _counts(table: pd.DataFrame, column: str) -> Float[np.ndarray, "sample 5"]:
    """Of each sample [sample 5]: right yes, yes, right no, no, false yes."""
    yes, right = (table["gold"] == "yes").to_numpy(dtype=bool), table[column].to_numpy(dtype=bool)
    said = ~right if column == "correct_paper" else (table["predicted"] == "yes").fillna(False).to_numpy(dtype=bool)
    return np.stack([yes & right, yes, ~yes & right, ~yes, ~yes & ~right & said], axis=1).astype(np.float64)


def _of_shares(
    counts: Float[np.ndarray, "sample 5"], groups: Shaped[np.ndarray, " sample"], level: float
) -> dict[str, Interval]:
    """The interval of each measure that is a share, or made of one; NaN of nothing."""
    found = {}
    for name in _SHARES:
        right, theirs = _counted(counts, name, groups)
        share = clustered_share(right, theirs, level=level)
        numbers = [share.estimate, share.low, share.high] if len(right) else [np.nan] * 3
        value, low, high = map(f1_of_share, numbers) if name == "f1" else numbers
        found[name] = Interval(value, low, high, level)
    return found


def _counted(
    counts: Float[np.ndarray, "sample 5"], name: str, groups: Shaped[np.ndarray, " sample"]
) -> tuple[Bool[np.ndarray, " some"], Shaped[np.ndarray, " some"]]:
    """Which of the samples that a share is of count for it, and the groups of these."""
    part, whole = _SHARES[name]
    some = np.asarray(counts[:, whole].any(axis=1))
    return np.asarray(counts[some][:, part].any(axis=1)), groups[some]


def _mean(positive: float, negative: float) -> float:
    """The mean of two rates."""
    return (positive + negative) / 2


def _harmonic(positive: float, negative: float) -> float:
    """Their harmonic mean, 0 of nothing."""
    return 2 * positive * negative / (positive + negative) if positive + negative else 0.0


def _measures(counts: Float[np.ndarray, "draw 5"]) -> Float[np.ndarray, "draw measure"]:
    """The measures of drawn counts, in the order of `YesNo`; NaN where there is nothing to divide by."""
    right_yes, yes, right_no, no, false_yes = counts.T
    positive, negative = ratio(right_yes, yes), ratio(right_no, no)
    both = positive + negative
    return np.stack(
        [
            ratio(right_yes + right_no, yes + no),
            np.where(both == 0, 0.0, ratio(2 * positive * negative, both)),
            positive,
            negative,
            both / 2,
            ratio(right_yes, right_yes + false_yes),
            ratio(2 * right_yes, yes + right_yes + false_yes),
        ],
        axis=1,
    )
