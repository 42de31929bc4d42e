"""Comparison: two policies on the same samples, and many settings against one, with paired tests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from operator import sub
from typing import TYPE_CHECKING

import numpy as np

from interp.answers.metrics import require
from interp.errors import InputError
from interp.numeric import agree, counted
from interp.reprs import fits_a_cell
from interp.stats.clusters import clustered_mean, clustered_share, shared_groups
from interp.stats.intervals import APART, Interval, hull, reaching, square_and_add
from interp.stats.sign_flips import sign_flip_test
from interp.stats.tests import benjamini_hochberg, holm

if TYPE_CHECKING:
    import pandas as pd

MCNEMAR, SIGN_FLIPS = "McNemar", "sign flips of groups"
"""The tests of a comparison, both exact: of samples that are independent, and of samples that share groups."""


@fits_a_cell()
@dataclass(frozen=True)
class Comparison:
    """One policy against a reference on the same samples.

    Attributes:
        n: samples.
        reference, other: the accuracies.
        difference: other minus reference, with the paired bootstrap interval over groups where samples share them,
            over samples otherwise. It holds, too, the interval that the shares gained and lost make together
            (`square_and_add`), as a bootstrap of few changed answers is too narrow, and reaches 0 wherever p is above
            1 - level.
        gained: samples that only the other got right.
        lost: samples that only the reference got right.
        p_value: exact and two-sided, of no difference. Where samples share groups, the signs of their sums are flipped
            (`sign_flip_test`); otherwise it is McNemar's.
        groups: how many groups were drawn; 0 where samples were. Fewer than three have no interval.
        test: which test gave p, `MCNEMAR` or `SIGN_FLIPS`.
    """

    n: int
    reference: float
    other: float
    difference: Interval
    gained: int
    lost: int
    p_value: float
    groups: int = 0
    test: str = MCNEMAR


def compare(
    reference: pd.DataFrame,
    other: pd.DataFrame,
    *,
    column: str = "correct",
    seed: int = 0,
    n: int = 2000,
    level: float = 0.95,
) -> Comparison:
    """Compare two policies that answered the same samples.

    Args:
        reference: one row per sample, such as the baseline's.
        other: one row per sample; the same ids in any order.
        column: `correct` or `correct_paper`.
        seed: the seed of the bootstrap.
        n: number of draws.
        level: nominal coverage.

    Example:
        >>> compare(baseline, adaptvis).p_value < 0.05

    Raises:
        InputError: the tables do not hold the same samples, or a table is refused by `require`.
    """
    require(reference, column)
    require(other, column)
    before, after = (rows.set_index("id")[column].astype(bool) for rows in (reference, other))
    alone = before.index.symmetric_difference(after.index)
    if len(alone):
        are = agree(len(alone), "is", "are")
        raise InputError(
            f"{counted(len(alone), 'sample')}, such as {alone[0]!r}, {are} in one table only: compare policies on the "
            "same samples"
        )
    after = after.reindex(before.index)
    shared = shared_groups(reference)
    drawn = np.arange(len(before)) if shared is None else shared
    changed = after.to_numpy(dtype=int) - before.to_numpy(dtype=int)
    p = sign_flip_test(changed, drawn)
    around = clustered_mean(changed, drawn, seed=seed, n=n, level=level, bounds=APART)
    shares = [clustered_share(own, shared, level=level) for own in (changed > 0, changed < 0)]
    around = hull(around, square_and_add(sub, shares, bounds=APART))
    return Comparison(
        n=len(before),
        reference=float(before.mean()),
        other=float(after.mean()),
        difference=reaching(around, p),
        gained=int((changed > 0).sum()),
        lost=int((changed < 0).sum()),
        p_value=p,
        groups=0 if shared is None else len(set(shared)),
        test=MCNEMAR if shared is None else SIGN_FLIPS,
    )


def named_test(test: str, groups: int) -> str:
    """How a sentence names the test of a comparison over so many groups.

    Args:
        test: that of the comparison, `MCNEMAR` or `SIGN_FLIPS`.
        groups: over how many groups; 0 where samples share none.

    Example:
        >>> named_test(MCNEMAR, 0)
        "p is McNemar's exact two-sided test, as no two samples share a group (object pair, photo)"
    """
    if test == MCNEMAR:
        return "p is McNemar's exact two-sided test, as no two samples share a group (object pair, photo)"
    test = "p is the exact two-sided test of flipped signs of what"
    if groups == 1:
        return f"{test} the one group (object pair, photo) gains, as samples share it"
    return f"{test} each of the {groups} groups (object pairs, photos) gains, as samples share them"


def compare_grid(
    reference: pd.DataFrame,
    settings: Mapping[str, pd.DataFrame],
    *,
    column: str = "correct",
    seed: int = 0,
    n: int = 2000,
    level: float = 0.95,
) -> pd.DataFrame:
    """Compare many settings with one reference, and correct the p-values for their number.

    Args:
        reference: the answers of the reference, one row per sample.
        settings: the answers of each setting by its name, of the same samples.
        column: `correct` or `correct_paper`.
        seed: the seed of the bootstrap.
        n: number of draws.
        level: nominal coverage.

    Returns:
        One row per setting: setting, n, reference, accuracy, difference, low, high, gained, lost, p, test,
        groups (see `Comparison`), p_holm (family-wise error, any dependence), p_bh (false discovery rate). The
        intervals are not corrected.

    Raises:
        InputError: there are no settings, or `compare` refuses one.
    """
    import pandas as pd

    if not settings:
        raise InputError("there are no settings to compare: give at least one table by name")
    found = {
        name: compare(reference, table, column=column, seed=seed, n=n, level=level) for name, table in settings.items()
    }
    rows = pd.DataFrame([{"setting": name, **_cells(one)} for name, one in found.items()])
    return rows.assign(p_holm=holm(rows["p"]), p_bh=benjamini_hochberg(rows["p"]))


def _cells(one: Comparison) -> dict[str, float | str]:
    """A comparison as cells of a row."""
    return {
        "n": one.n,
        "reference": one.reference,
        "accuracy": one.other,
        **one.difference.cells("difference"),
        "gained": one.gained,
        "lost": one.lost,
        "p": one.p_value,
        "test": one.test,
        "groups": one.groups,
    }
