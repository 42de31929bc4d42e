"""Partial effects: does a score still predict right answers beside what else does, such as confidence or relation."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy.typing import ArrayLike

from interp.errors import InputError
from interp.layers import cell_columns
from interp.numeric import agree, counted
from interp.reprs import fits_a_cell
from interp.stats.covariates import read_covariates
from interp.stats.draws import check_draws
from interp.stats.intervals import FEWEST
from interp.stats.logistic import fit_logistic
from interp.stats.scores import codes_of, read_scores
from interp.stats.slope import Answers, held_by_penalty, slope_of
from interp.stats.tests import benjamini_hochberg_where_defined

if TYPE_CHECKING:
    import pandas as pd

RIDGE = 0.01
"""The penalty: half of it times the sum of the squared slopes, per standard deviation, off the log likelihood."""


def partial_effect(
    scores: ArrayLike,
    right: ArrayLike,
    covariates: Mapping[str, ArrayLike] | pd.DataFrame | ArrayLike,
    *,
    groups: ArrayLike | None = None,
    level: float = 0.95,
    ridge: float = RIDGE,
) -> PartialEffect:
    """Logistic regression of right answers on a score, with covariates and without, in every cell.

    Both fits take the same samples: those with a score and all covariates. Their slope is the log odds ratio per
    standard deviation of the score. It is not collapsible: a covariate that foretells right answers makes the adjusted
    slope the steeper one even if it has nothing to do with the score, so read its sign, interval and p.

    * Fit: Newton's method (iteratively reweighted least squares) on the log likelihood less `ridge` / 2 times the sum
      of the squared slopes of standardised columns. The intercept is free. The penalty is light, but keeps slopes
      finite where a column tells right from wrong answers without error (separation).
    * Words with right answers alone, or wrong ones alone, say nothing of the score beside their own level: their
      samples are left out of both fits, and the words named in `skipped`.
    * Separation is told: `separated` where a thousandth of the penalty would move the score's slope by a tenth, so
      that its size is the penalty's; sign and p stay good.
    * p: likelihood ratio (chi squared, one degree of freedom), which takes samples as independent. With groups it is
      Student's t with groups - 1 degrees of freedom, whose standard error is that of leaving out one group after the
      other (the jackknife; MacKinnon, Nielsen and Webb 2023).
    * Interval: the slopes that the same test does not refuse (the profile likelihood, Venzon and Moolgavkar 1988; with
      groups Student's interval), so that it leaves out 0 just where p is below 1 - `level`.

    Args:
        scores: [sample ...cells]; NaN where a sample has none.
        right: whether the answer is right, bool [sample].
        covariates: name -> column [sample], or a table; columns of words become one column of 0 and 1 for each word
            but the first. Or numbers [sample k]. Where relations differ in how often they are answered rightly and
            in their scores, the relation has to be among them.
        groups: samples that belong together, such as those of one object pair, [sample].
        level: nominal coverage.
        ridge: the penalty, see `RIDGE`.

    Returns:
        Arrays [...cells]; NaN where there is no right or no wrong answer, or all scores are equal. The adjusted effect
        is NaN where the score is a sum of the covariates. Ends and p alone are NaN where the samples with a score lie
        in fewer than three groups, or one group holds all right answers or all wrong ones.

    Example:
        >>> told = partial_effect(cosine, right, {"confidence": confidence, "relation": relation})
        >>> told.adjusted.log_odds[17], told.adjusted.p[17]  # cosine [412 32], layer 17

    Raises:
        InputError: lengths differ, a number is infinite, there is no covariate, the ridge is not above 0, or there are
            fewer than three groups.
    """
    table, truth, shape = read_scores(scores, right)
    check_draws(1, level)
    if not 0 < ridge < math.inf:
        raise InputError(f"ridge {ridge} is no penalty: give a number above 0, such as {RIDGE}")
    names, columns, skipped = read_covariates(covariates, truth, ~np.isnan(table).all(axis=1))
    units = _units(groups, len(truth))
    there = ~np.isnan(columns).any(axis=1)
    cells = []
    for score in table.T.astype(np.float64):
        own = there & ~np.isnan(score)
        theirs = None if units is None else units[own]
        cells.append(_cell(score[own], columns[own], Answers(truth[own], theirs, ridge, level)))
    used = _varies(columns[there])
    return PartialEffect(
        adjusted=_effect_of([cell["adjusted"] for cell in cells], shape),
        unadjusted=_effect_of([cell["unadjusted"] for cell in cells], shape),
        explained=_shaped([cell["explained"] for cell in cells], shape),
        n=_shaped([cell["n"] for cell in cells], shape),
        left_out=_shaped([len(truth) - cell["n"] for cell in cells], shape),
        covariates=tuple(name for name, varies in zip(names, used, strict=True) if varies),
        constant=tuple(name for name, varies in zip(names, used, strict=True) if not varies),
        skipped=skipped,
        separated_covariates=_separated_covariates(names, columns[there], truth[there], ridge),
        test="likelihood ratio" if units is None else "Student's t over groups",
        ridge=ridge,
        level=level,
    )


@fits_a_cell()
@dataclass(frozen=True, eq=False)
class Effect:
    """A slope of a logistic regression; arrays [...cells], numbers where the scores had no cells.

    Attributes:
        log_odds: log odds ratio per standard deviation of the score; above 0, higher scores go with right answers.
        low: lower end of its interval.
        high: upper end.
        p: the p-value of no effect, of this cell alone.
        p_bh: corrected for all cells, false discovery rate.
        separated: whether the penalty and not the data hold the slope: it would grow without end.
    """

    log_odds: Float[np.ndarray, "*cells"]
    low: Float[np.ndarray, "*cells"]
    high: Float[np.ndarray, "*cells"]
    p: Float[np.ndarray, "*cells"]
    p_bh: Float[np.ndarray, "*cells"]
    separated: Bool[np.ndarray, "*cells"]


@fits_a_cell("n covariates test explained")
@dataclass(frozen=True, eq=False)
class PartialEffect:
    """What `partial_effect` found.

    Attributes:
        adjusted: the score beside the covariates.
        unadjusted: the score alone, on the same samples.
        explained: share of the score's variance that the covariates explain (R squared), [...cells].
        n: samples used, [...cells].
        left_out: samples without a score, without a covariate or of a word in `skipped`, [...cells].
        covariates: the columns that were adjusted for.
        constant: columns that are the same for all samples, which say nothing and were not used.
        skipped: words, such as `relation=left`, whose answers are all right or all wrong: their samples do not enter.
        separated_covariates: columns whose slope, without the score, only the penalty holds.
        test: what gave p.
        ridge: the penalty.
        level: nominal coverage.
    """

    adjusted: Effect
    unadjusted: Effect
    explained: Float[np.ndarray, "*cells"]
    n: Int[np.ndarray, "*cells"]
    left_out: Int[np.ndarray, "*cells"]
    covariates: tuple[str, ...]
    constant: tuple[str, ...]
    skipped: tuple[str, ...]
    separated_covariates: tuple[str, ...]
    test: str
    ridge: float
    level: float

    @property
    def beside(self) -> tuple[str, ...]:
        """What was adjusted for, a column of words once and not by each word."""
        return tuple(dict.fromkeys(name.split("=")[0] for name in self.covariates))

    def to_dataframe(self, names: Sequence[str] | None = None) -> pd.DataFrame:
        """One row per cell: its place, n, left_out, explained, then `adjusted_log_odds` and so on.

        Args:
            names: the names of the axes of the cells; `layer`, `head` by default, see `Association.to_dataframe`.

        Raises:
            InputError: there are not as many names as axes.
        """
        import pandas as pd

        columns = {name: np.ravel(getattr(self, name)) for name in ("n", "left_out", "explained")}
        for name in ("adjusted", "unadjusted"):
            columns |= {f"{name}_{key}": np.ravel(value) for key, value in vars(getattr(self, name)).items()}
        return pd.DataFrame({**cell_columns(np.shape(self.explained), names), **columns})


def _units(groups: ArrayLike | None, n: int) -> np.ndarray | None:
    """The code of each sample's group, [sample], where there are some; refuses fewer than `FEWEST`."""
    if groups is None:
        return None
    units, names = codes_of(groups, n, "groups")
    if len(names) < FEWEST:
        raise InputError(
            f"{counted(n, 'sample')} {agree(n, 'lies', 'lie')} in {counted(len(names), 'group')}, which "
            f"{agree(len(names), 'says', 'say')} next to nothing of how far others lie apart: give at least {FEWEST} "
            "groups, or None"
        )
    return units


def _cell(score: np.ndarray, columns: np.ndarray, data: Answers) -> dict[str, Any]:
    """Both effects of one cell, the share that covariates explain, and the samples."""
    nothing = dict(log_odds=np.nan, low=np.nan, high=np.nan, p=np.nan, separated=False)
    found: dict[str, Any] = dict(adjusted=nothing, unadjusted=nothing, explained=np.nan, n=len(score))
    if not 0 < data.right.sum() < len(score) or not _varies(score[:, None])[0]:
        return found
    own = _standardised(score[:, None])
    others = _standardised(columns)
    explained = _explained(own[:, 0], others)
    found |= dict(explained=explained, unadjusted=slope_of(np.column_stack([np.ones(len(own)), own]), data))
    if explained < 1 - 1e-9:
        found["adjusted"] = slope_of(np.column_stack([np.ones(len(own)), own, others]), data)
    return found


def _separated_covariates(
    names: Sequence[str], columns: np.ndarray, right: np.ndarray, ridge: float
) -> tuple[str, ...]:
    """The columns that, without the score, tell right from wrong answers so well that only the penalty holds them."""
    if not 0 < right.sum() < len(right):
        return ()
    used = [name for name, varies in zip(names, _varies(columns), strict=True) if varies]
    design = np.column_stack([np.ones(len(columns)), _standardised(columns)])
    slopes = fit_logistic(design, right, np.ones((1, len(design))), ridge)[0]
    return tuple(
        name for name, held in zip(used, held_by_penalty(design, right, slopes, ridge)[1:], strict=True) if held
    )


def _explained(own: np.ndarray, others: np.ndarray) -> float:
    """R squared of a standardised column on others, both centred."""
    rest = own - others @ np.linalg.lstsq(others, own, rcond=None)[0]
    return float(1 - (rest @ rest) / (own @ own))


def _varies(columns: np.ndarray) -> np.ndarray:
    """Which columns [sample column] are not the same for all samples."""
    if not len(columns):
        return np.zeros(columns.shape[1], dtype=bool)
    return np.asarray(np.ptp(columns, axis=0) > 1e-12 * np.abs(columns).max(axis=0))


def _standardised(columns: np.ndarray) -> np.ndarray:
    """The columns that vary, with mean 0 and standard deviation 1."""
    some = columns[:, _varies(columns)]
    return (some - some.mean(axis=0)) / some.std(axis=0)


def _effect_of(cells: list[dict[str, Any]], shape: tuple[int, ...]) -> Effect:
    """The effects of all cells as one."""
    arrays = {name: np.array([cell[name] for cell in cells]) for name in cells[0]}
    arrays["p_bh"] = benjamini_hochberg_where_defined(arrays["p"])
    return Effect(**{name: _shaped(values, shape) for name, values in arrays.items()})


def _shaped(values: Any, shape: tuple[int, ...]) -> Any:
    """One value per cell as [...cells]; a number where there is no axis."""
    return np.asarray(values).reshape(shape)[()]
