"""Comparison: two policies on the same samples, and many settings against one, with paired tests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from interp.answers.metrics import require
from interp.errors import InputError
from interp.reprs import fits_a_cell
from interp.stats.clusters import clustered_mean, shared_groups
from interp.stats.intervals import Interval, bootstrap_difference
from interp.stats.tests import benjamini_hochberg, holm, mcnemar

if TYPE_CHECKING:
    import pandas as pd


@fits_a_cell()
@dataclass(frozen=True)
class Comparison:
    """One policy against a reference on the same samples.

    Attributes:
        n: samples.
        reference, other: the accuracies.
        difference: other minus reference, with the paired bootstrap interval over groups where samples share them,
            over samples otherwise.
        gained: samples that only the other got right.
        lost: samples that only the reference got right.
        p_value: McNemar's exact two-sided p, which takes samples as independent.
        groups: how many groups were drawn; 0 where samples were.
    """

    n: int
    reference: float
    other: float
    difference: Interval
    gained: int
    lost: int
    p_value: float
    groups: int = 0


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
        raise InputError(
            f"{len(alone)} samples, such as {alone[0]!r}, are in one table only: compare policies on the same samples"
        )
    after = after.reindex(before.index)
    test = mcnemar(before.to_numpy(), after.to_numpy())
    shared = shared_groups(reference)
    if shared is None:
        gain = bootstrap_difference(before.to_numpy(), after.to_numpy(), seed=seed, n=n, level=level)
    else:
        changed = after.to_numpy(dtype=float) - before.to_numpy(dtype=float)
        gain = clustered_mean(changed, shared, seed=seed, n=n, level=level)
    accuracies, groups = (float(before.mean()), float(after.mean())), 0 if shared is None else len(set(shared))
    return Comparison(len(before), *accuracies, gain, test.only_b, test.only_a, test.p_value, groups)


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

    Returns:
        One row per setting: setting, n, reference, accuracy, difference, low, high, gained, lost, p, p_holm
        (family-wise error, any dependence), p_bh (false discovery rate). The intervals are not corrected.

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


def _cells(one: Comparison) -> dict[str, float]:
    """A comparison as cells of a row."""
    return {
        "n": one.n,
        "reference": one.reference,
        "accuracy": one.other,
        **one.difference.cells("difference"),
        "gained": one.gained,
        "lost": one.lost,
        "p": one.p_value,
    }
