"""Calibration: whether the first token's probability tells right answers from wrong ones, and for which relations."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass
from operator import sub
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

from interp.answers.metrics import ALL, require
from interp.errors import InputError
from interp.numeric import agree, counted, ratio
from interp.reprs import fits_a_cell
from interp.stats.auroc_intervals import auroc_interval
from interp.stats.clusters import (
    clustered_mean,
    clustered_share,
    group_names,
    groups_with,
    shared_groups,
    statistic_over_groups,
)
from interp.stats.common_toss import common_share, tossed_together
from interp.stats.draws import check_draws
from interp.stats.intervals import APART, DRAWS, FEWEST, SHARE, Interval, hull, square_and_add
from interp.stats.student import students_factor

if TYPE_CHECKING:
    import pandas as pd

CONFIDENCES = (
    "accuracy",
    "confidence",
    "confidence where right",
    "confidence where wrong",
    "right option's probability",
)
"""The measures of `confidence_by_relation`; the last only where the right option's probability is known."""


@fits_a_cell("error error_if_calibrated brier auroc", table="bins")
@dataclass(frozen=True, eq=False)
class Calibration:
    """How well confidence foretells that an answer is right.

    Attributes:
        error: expected calibration error over the bins of `bins`.
        error_if_calibrated: what this error would be on average, and in the central `level` of cases, were each answer
            right with just the stated probability: few samples a bin give an error above 0 to anyone. Where samples
            share groups, their answers go together as far as these do (`common_share`), and the ends are as much
            farther as few groups need; NaN with fewer than three.
        brier: mean squared distance of confidence from right (1) or wrong (0), with its bootstrap interval.
        auroc: how often a right answer is more confident than a wrong one, with the interval of `auroc_interval`; NaN
            where all are right or all wrong.
        bins: the reliability table, see `reliability`.
    """

    error: float
    error_if_calibrated: Interval
    brier: Interval
    auroc: Interval
    bins: pd.DataFrame


def calibration(
    table: pd.DataFrame,
    *,
    column: str = "correct",
    confidence: str = "confidence",
    bins: int = 10,
    seed: int = 0,
    n: int = DRAWS,
    level: float = 0.95,
) -> Calibration:
    """Calibration of one policy's answers; of the untouched model's, for its own confidence.

    Intervals take groups as a whole where samples share them.

    Args:
        table: one row per sample with id, `column` and `confidence`.
        column: `correct` or `correct_paper`.
        confidence: the column with the probabilities.
        bins: bins of equal count, see `reliability`.
        seed: the seed of the draws.
        n: number of draws.
        level: nominal coverage.

    Raises:
        InputError: a column is missing, an id occurs twice, a confidence is not between 0 and 1, there is no draw, or
            no such level.
    """
    check_draws(n, level, seed)
    sure, right = _confidence(table, confidence, column)
    found = reliability(table, column=column, confidence=confidence, bins=bins, level=level)
    of, groups, shared = _bins(sure, bins), group_names(table), shared_groups(table)
    how: dict[str, Any] = {"seed": seed, "n": n, "level": level}
    return Calibration(
        error=_error(sure, right, of),
        error_if_calibrated=_if_calibrated(sure, right, of, shared, **how),
        brier=clustered_mean((sure - right) ** 2, groups, bounds=SHARE, **how),
        auroc=auroc_interval(sure, right, groups=shared, level=level),
        bins=found,
    )


def reliability(
    table: pd.DataFrame,
    *,
    column: str = "correct",
    confidence: str = "confidence",
    bins: int = 10,
    level: float = 0.95,
) -> pd.DataFrame:
    """The reliability table: accuracy by confidence, in bins that hold equally many samples.

    Samples are binned by the rank of their confidence; equal confidences share a bin, so that with many ties there
    are fewer bins, of unequal count.

    Args:
        table: one row per sample with id, `column` and `confidence`.
        column: `correct` or `correct_paper`.
        confidence: the column with the probabilities.
        bins: how many bins, 1 or more.
        level: nominal coverage.

    Returns:
        One row per bin; the columns from, to (smallest and largest confidence), n, confidence (mean), accuracy, low,
        high (`clustered_share`).

    Raises:
        InputError: as `calibration`, or fewer than one bin.
    """
    import pandas as pd

    sure, right = _confidence(table, confidence, column)
    of, shared = _bins(sure, bins), shared_groups(table)
    rows = []
    for own in (of == place for place in np.unique(of)):
        share = _share(right, own, shared, level)
        ends = {"from": sure[own].min(), "to": sure[own].max(), "n": int(own.sum()), "confidence": sure[own].mean()}
        rows.append({**ends, **share.cells("accuracy")})
    return pd.DataFrame(rows)


def confidence_by_relation(
    table: pd.DataFrame,
    *,
    column: str = "correct",
    confidence: str = "confidence",
    seed: int = 0,
    n: int = DRAWS,
    level: float = 0.95,
) -> pd.DataFrame:
    """Accuracy and mean confidence of all, right and wrong answers, for each relation and over all.

    Args:
        table: one row per sample with id, relation, `column` and `confidence`; where it has a column
            `gold_probability` (of the right option, missing where not known), its mean is given too.
        column: `correct` or `correct_paper`.
        confidence: the column with the probabilities; the paper takes the untouched first token's.
        seed: the seed of the bootstrap.
        n: number of draws.
        level: nominal coverage.

    Returns:
        The columns relation, measure (of `CONFIDENCES`), n, value, low, high: the interval of `clustered_share` for
        accuracy, of `clustered_mean` for means; whole groups are drawn where samples share them. A mean over fewer
        than three samples, or groups, has no interval, and one over none is NaN.

    Raises:
        InputError: as `calibration`.
    """
    import pandas as pd

    sure, right = _confidence(table, confidence, column, "relation")
    gold = table["gold_probability"].to_numpy(dtype=np.float64) if "gold_probability" in table else None
    shared, groups = shared_groups(table), group_names(table)
    rows: list[dict[str, object]] = []
    for relation in (ALL, *dict.fromkeys(table["relation"])):
        here = np.ones(len(table), bool) if relation == ALL else (table["relation"] == relation).to_numpy(dtype=bool)
        share = _share(right, here, shared, level)
        parts = [(sure, here), (sure, here & right), (sure, here & ~right)]
        if gold is not None and np.isfinite(gold).any():
            parts.append((gold, here & np.isfinite(gold)))
        means = [
            (int(own.sum()), _mean(values[own], groups[own], seed=seed, n=n, level=level)) for values, own in parts
        ]
        for name, (count, found) in zip(CONFIDENCES, [(int(here.sum()), share), *means], strict=False):
            rows.append({"relation": relation, "measure": name, "n": count, **found.cells("value")})
    return pd.DataFrame(rows)


def familiar_against_unfamiliar(
    table: pd.DataFrame,
    familiar: Collection[str] = ("left", "right"),
    *,
    column: str = "correct",
    confidence: str = "confidence",
    seed: int = 0,
    n: int = DRAWS,
    level: float = 0.95,
) -> pd.DataFrame:
    """Accuracy and confidence on familiar relations, on the rest, and their difference.

    The interval of a difference is the bootstrap's, which draws whole groups where samples share them; its ends are
    those of `spread_ends`, of as many groups as the side with fewer has. Of accuracies it holds, too, the one that both
    shares make together (`square_and_add`), as a side that is all right varies in no draw.

    Args:
        table: one row per sample with id, relation, `column` and `confidence`.
        familiar: the relations that are taken as familiar.
        column: `correct` or `correct_paper`.
        confidence: the column with the probabilities.
        seed: the seed of the bootstrap.
        n: number of draws.
        level: nominal coverage.

    Returns:
        Two rows (measure `accuracy`, `confidence`); the columns measure, n_familiar, n_unfamiliar, familiar,
        unfamiliar, difference (familiar minus unfamiliar), low, high.

    Raises:
        InputError: as `calibration`, or one side has no samples.
    """
    import pandas as pd

    sure, right = _confidence(table, confidence, column, "relation")
    known = table["relation"].isin(list(familiar)).to_numpy(dtype=bool)
    if known.all() or not known.any():
        raise InputError(
            f"{int(known.sum())} of {len(known)} samples are of the relations {sorted(familiar)}, the table has "
            f"{sorted(set(table['relation']))}: name some of these as familiar and leave others"
        )
    rows, groups, shared = [], group_names(table), shared_groups(table)
    for name, values in (("accuracy", right), ("confidence", sure)):
        gap = _gap(values.astype(np.float64), known, groups, seed=seed, n=n, level=level)
        if name == "accuracy":
            both = [_share(right, side, shared, level) for side in (known, ~known)]
            gap = hull(gap, square_and_add(sub, both, bounds=APART))
        means = {"familiar": values[known].mean(), "unfamiliar": values[~known].mean()}
        counts = {"n_familiar": int(known.sum()), "n_unfamiliar": int((~known).sum())}
        rows.append({"measure": name, **counts, **means, **gap.cells("difference")})
    return pd.DataFrame(rows)


def branch_fractions(table: pd.DataFrame, *, by: str | None = None, level: float = 0.95) -> pd.DataFrame:
    """The share of samples that took each branch of a policy, with its interval, and the accuracy there.

    Args:
        table: one row per sample with id, branch and correct.
        by: a further column, such as `relation`, within which the shares are taken.
        level: nominal coverage.

    Returns:
        The columns `by` (if given), branch, n, share, low, high (`clustered_share`), accuracy, largest branch first.

    Raises:
        InputError: a column is missing or an id occurs twice.
    """
    import pandas as pd

    require(table, "branch", "correct", *([] if by is None else [by]))
    parts = [({}, table)] if by is None else [({by: name}, own) for name, own in table.groupby(by, sort=False)]
    rows: list[dict[str, object]] = []
    for name, own in parts:
        shared = shared_groups(own)
        for branch, count in own["branch"].value_counts().items():
            share = clustered_share(own["branch"] == branch, shared, level=level)
            right = float(own.loc[own["branch"] == branch, "correct"].mean())
            rows.append({**name, "branch": branch, "n": int(count), **share.cells("share"), "accuracy": right})
    return pd.DataFrame(rows)


def _confidence(table: pd.DataFrame, name: str, column: str, *others: str) -> tuple[np.ndarray, np.ndarray]:
    """Confidence as float64 [sample] and whether the answer is right, bool [sample]; refuses a table without others."""
    require(table, *others, name, column)
    sure = table[name].to_numpy(dtype=np.float64, na_value=np.nan)
    wrong = int((~((sure >= 0) & (sure <= 1))).sum())
    if wrong:
        are = agree(wrong, "is no probability", "are no probabilities")
        raise InputError(f"{wrong} of {counted(len(sure), 'value')} of {name!r} {are}: leave such samples out")
    return sure, table[column].to_numpy(dtype=bool)


def _bins(sure: np.ndarray, bins: int) -> np.ndarray:
    """The bin of each confidence [sample], by its rank; equal confidences share their mean rank."""
    if bins < 1:
        raise InputError(f"{bins} bins hold nothing: give 1 or more")
    _, of, counts = np.unique(sure, return_inverse=True, return_counts=True)
    return ((np.cumsum(counts) - counts / 2) * bins / len(sure)).astype(int)[of]


def _error(sure: np.ndarray, right: np.ndarray, of: np.ndarray) -> float:
    """Expected calibration error: over bins, the share of samples times |accuracy - mean confidence|."""
    return float(np.abs(np.bincount(of, weights=right - sure)).sum() / len(sure))


def _if_calibrated(
    sure: Float[np.ndarray, " sample"],
    right: Bool[np.ndarray, " sample"],
    of: Int[np.ndarray, " sample"],
    shared: Shaped[np.ndarray, " sample"] | None,
    *,
    seed: int,
    n: int,
    level: float,
) -> Interval:
    """The calibration error of answers that are right with the stated probability: mean and its central part.

    How far the answers of a group go together is not stated: it is taken from the data, see `common_share`, and
    few groups say it so roughly that the ends are as much farther as Student's t asks for.
    """
    codes, together, wider = np.arange(len(sure)), 0.0, 1.0
    if shared is not None:
        codes = np.unique(shared.astype(str), return_inverse=True)[1]
        if (count := codes.max() + 1) < FEWEST:
            return Interval(math.nan, math.nan, math.nan, level)
        together, wider = common_share(right, sure, shared), students_factor(level, count)
    rng = np.random.default_rng(seed)
    drawn = np.array([_error(sure, tossed_together(sure, codes, together, rng), of) for _ in range(n)])
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(drawn.mean()), float(low / wider), min(1.0, float(high * wider)), level, n)


def _share(
    right: Bool[np.ndarray, " sample"],
    own: Bool[np.ndarray, " sample"],
    shared: Shaped[np.ndarray, " sample"] | None,
    level: float,
) -> Interval:
    """The share of right answers among some of the samples."""
    return clustered_share(right[own], None if shared is None else shared[own], level=level)


def _mean(
    values: Float[np.ndarray, " sample"], groups: Shaped[np.ndarray, " sample"], *, seed: int, n: int, level: float
) -> Interval:
    """Mean of probabilities with its interval; NaN of nothing."""
    if not len(values):
        return Interval(math.nan, math.nan, math.nan, level)
    return clustered_mean(values, groups, seed=seed, n=n, level=level, bounds=SHARE)


def _gap(
    values: Float[np.ndarray, " sample"],
    known: Bool[np.ndarray, " sample"],
    groups: Shaped[np.ndarray, " sample"],
    *,
    seed: int,
    n: int,
    level: float,
) -> Interval:
    """Mean of the known minus mean of the others; draws without either side are left out."""
    sides = np.stack([known, ~known], axis=1).astype(np.float64)
    found = statistic_over_groups(
        lambda sums, counts: -np.diff(ratio(sums, counts), axis=1)[:, 0],
        [values[:, None] * sides, sides],
        groups,
        seed=seed,
        n=n,
        level=level,
        units=groups_with(sides > 0, groups).min(),
        bounds=APART,
    )
    return Interval(float(found.estimate), float(found.low), float(found.high), level, found.draws)
