"""Splits: which samples choose the settings and which are reported, as in the paper or by whole groups."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from typing import TYPE_CHECKING

from interp.datasets.benchmarks.catalogue import BENCHMARKS
from interp.errors import InputError
from interp.numeric import agree, counted

if TYPE_CHECKING:
    from interp.objects.sample import Sample

OFFICIAL_SIZES = {
    name: BENCHMARKS[name].n
    for name in ("controlled-a", "controlled-b", "coco-one", "coco-two", "vg-one", "vg-two", "vsr")
}
"""How many rows each data set of the paper has, before any is left out."""

PARTS = ("val", "test", "all")
HOWS = ("official", "by-pair")


def split(
    samples: Sequence[Sample],
    how: str = "official",
    part: str = "test",
    *,
    n_total: int | None = None,
    share: float = 0.2,
    seed: int = 1,
) -> list[Sample]:
    """The samples of one part.

    Args:
        samples: the samples of one data set, in any order; some may be absent.
        how: `official` (the paper's random rows, which tears object pairs apart, so that settings chosen on one part
            look better on the other than they are) or `by-pair` (whole groups).
        part: `val`, `test`, or `all` for everything.
        n_total: `official` only: rows of the whole data set, absent ones included, because the split is drawn over
            them; known for the data sets of `OFFICIAL_SIZES`.
        share: the share of the validation part; of rows, or of groups.
        seed: the seed of the draw; the paper's is 1.

    Example:
        >>> validation, test = split(samples, part="val"), split(samples, part="test")

    Raises:
        InputError: an unknown `how` or `part`, no samples, samples without row or group, or an unknown length.
    """
    if how not in HOWS or part not in PARTS:
        raise InputError(f"there is no split {how!r} with part {part!r}: give one of {HOWS} and one of {PARTS}")
    if not samples:
        raise InputError("there are no samples to split: give at least one")
    if part == "all":
        return list(samples)
    if how == "official":
        chosen = _official_rows(samples, n_total, share=share, seed=seed)
        held = [_row(sample) in chosen for sample in samples]
    else:
        validation, _ = split_by_group([sample.group for sample in samples], share=share, seed=seed)
        rows = set(validation)
        held = [place in rows for place in range(len(samples))]
    return [sample for sample, is_held in zip(samples, held, strict=True) if is_held == (part == "val")]


def usual_split(samples: Sequence[Sample], *, chooses: bool) -> tuple[str, str]:
    """The split where none is asked for, and why it is not by pair although settings are chosen; empty where it is.

    Settings that are chosen are reported on other groups, as what is peculiar to a pair of objects or a photo helps to
    choose them and would be reported once more (`official` tears pairs apart). Settings that are given are reported on
    the paper's rows, where it has some.

    Args:
        samples: the samples of one data set.
        chooses: whether settings are chosen on the validation part.

    Example:
        >>> usual_split(samples, chooses=True)
        ('by-pair', '')
    """
    official = {str(sample.meta.get("dataset", "")) for sample in samples} <= set(OFFICIAL_SIZES)
    if not official or not chooses:
        return ("official" if official else "by-pair"), ""
    names = [sample.group for sample in samples]
    without = sum(not name for name in names)
    if not without and len(set(names)) > 1:
        return "by-pair", ""
    named = f"{without} of {counted(len(names), 'sample')} {agree(without, 'names', 'name')} no group"
    why = named if without else "all samples are of one group"
    return "official", (
        f"{why} (object pair or photo), so the settings are chosen on the paper's rows (--split official), and not on "
        "whole groups: the reported part may share some with the validation part"
    )


def official_split(n: int, *, share: float = 0.2, seed: int = 1) -> tuple[list[int], list[int]]:
    """Validation and test rows as the released code draws them, without touching the global random state.

    Args:
        n: rows of the whole data set.
        share: the share of the validation part, rounded down to whole rows.
        seed: the paper's is 1.

    Returns:
        Validation rows and test rows, each sorted; together every row once.

    Example:
        >>> official_split(412)[0][:5]
        [1, 4, 11, 13, 14]

    Raises:
        InputError: one part would be empty.
    """
    size = int(share * n)
    if not 0 < size < n:
        raise InputError(f"{share} of {n} rows leaves one part empty: give more rows, or a share between 0 and 1")
    validation = sorted(random.Random(seed).sample(range(n), size))
    held = set(validation)
    return validation, [row for row in range(n) if row not in held]


def split_by_group(groups: Sequence[str], *, share: float = 0.2, seed: int = 1) -> tuple[list[int], list[int]]:
    """Validation and test positions such that every group lies whole on one side.

    Groups are ranked by a hash of seed and name, and the first `share` of them validate, so that the order of the
    samples does not matter, and a few absent groups move few others.

    Args:
        groups: the group of each sample.
        share: the share of the groups, rounded to whole ones, at least one on each side.
        seed: another seed gives another split.

    Returns:
        Validation positions and test positions, each sorted.

    Example:
        >>> validation, test = split_by_group(["mug|table", "mug|table", "hat|chair"], share=0.5)

    Raises:
        InputError: a sample has no group, there are fewer than two groups, or the share is not between 0 and 1.
    """
    names = set(groups)
    without = sum(not group for group in groups)
    if without or len(names) < 2 or not 0 < share < 1:
        raise InputError(
            f"{counted(len(groups), 'sample')} with {counted(len(names - {''}), 'group')}, {without} without one, can "
            f"not be split at {share}: give every sample a group, at least two groups, and a share between 0 and 1"
        )
    ranked = sorted(names, key=lambda name: hashlib.sha256(f"{seed}:{name}".encode()).digest())
    held = set(ranked[: min(max(round(share * len(names)), 1), len(names) - 1)])
    validation = [place for place, name in enumerate(groups) if name in held]
    return validation, [place for place, name in enumerate(groups) if name not in held]


def _official_rows(samples: Sequence[Sample], n_total: int | None, *, share: float, seed: int) -> set[int]:
    """The validation rows of the data set that the samples are of."""
    names = {str(sample.meta.get("dataset", "")) for sample in samples}
    if len(names) > 1:
        raise InputError(f"the samples are of several data sets, {sorted(names)}: split each on its own")
    name = names.pop()
    total = n_total if n_total is not None else OFFICIAL_SIZES.get(name)
    if total is None:
        raise InputError(
            f"the length of data set {name!r} is unknown, and the official split is drawn over all its rows: "
            f"give n_total, or a data set of {list(OFFICIAL_SIZES)}"
        )
    beyond = [row for sample in samples if (row := _row(sample)) >= total]
    if beyond:
        raise InputError(f"row {max(beyond)} lies beyond the {total} rows of data set {name!r}: give the right n_total")
    return set(official_split(total, share=share, seed=seed)[0])


def _row(sample: Sample) -> int:
    """The row of a sample in its original file."""
    row = sample.meta.get("row")
    if not isinstance(row, int) or row < 0:
        raise InputError(
            f"sample {sample.id!r} has row {row!r}, and the official split goes by rows: set meta['row'] to its number "
            "in the original file, or split by pair"
        )
    return row
