"""Means of an overlap study: over heads and samples, of the attention and of each null."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float

from interp.errors import InputError
from interp.overlap.nulls import null_column

if TYPE_CHECKING:
    import pandas as pd

    from interp.overlap.study.result import OverlapStudy

NULL_LABELS = {
    "even": "even attention",
    "shuffled": "boxes of other images",
    "moved": "boxes moved at random",
    "centre": "centred Gaussian map",
    "heads": "another head of the layer",
}
"""What each null is called in a legend, in the order in which they are drawn."""


def head_mean(
    study: OverlapStudy, measure: str, *, region: str, normalisation: str
) -> Float[np.ndarray, "sample layer"]:
    """A measure of head-mean attention, [sample layer].

    Raises:
        InputError: the study is empty, or has no such measure, region or normalisation.
    """
    values = np.asarray(study.values(measure, region=region, normalisation=normalisation), dtype=np.float64)
    if values.ndim != 3 or 0 in values.shape or len(values) != len(study.samples):
        raise InputError(
            f"{measure!r} has shape {values.shape} for {len(study.samples)} samples: "
            "give a study with [sample layer head+1], none of them 0"
        )
    return values[:, :, -1]


def above_null(
    study: OverlapStudy, measure: str, null: str, *, region: str, normalisation: str
) -> Float[np.ndarray, "sample layer"]:
    """A measure of the head mean less what it is under a null; NaN where a sample lacks one of the two."""
    real, chance = (
        study.values(name, region, normalisation)[..., -1].astype(np.float64)
        for name in (measure, null_column(measure, null))
    )
    return real - chance


def nulls_of(
    study: OverlapStudy, measure: str, *, region: str, normalisation: str
) -> dict[str, Float[np.ndarray, "sample layer"]]:
    """What each null of the study scores in a measure of the head mean, [sample layer] by the null's name."""
    columns = {name: null_column(measure, name) for name in NULL_LABELS}
    there = {name: column for name, column in columns.items() if column in study.measures}
    return {
        name: head_mean(study, column, region=region, normalisation=normalisation) for name, column in there.items()
    }


def right_of(samples: pd.DataFrame) -> Bool[np.ndarray, " sample"]:
    """Whether each answer was right, bool [sample].

    Raises:
        InputError: there is no such column, or a gap in it.
    """
    if "right" not in samples or samples["right"].isna().any():
        raise InputError("the samples do not all say whether the answer was right: give a column `right` without gaps")
    return samples["right"].to_numpy(dtype=bool)
