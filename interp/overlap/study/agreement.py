"""Agreement of a study's detector with the boxes that its data set brings: how often, and how well, it finds them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from interp.detect.agreement import agreement
from interp.image.boxes import Box, Boxes
from interp.objects.sample import ROLES
from interp.stats.clusters import group_names
from interp.store.parsing import parse_json

if TYPE_CHECKING:
    import pandas as pd

    from interp.overlap.study.result import OverlapStudy


def detector_agreement(study: OverlapStudy, *, iou: float = 0.5) -> pd.DataFrame | None:
    """Compare what the detector found of the objects that are asked about with the data set's own boxes of them.

    Only samples whose objects have boxes of their own are compared, each as one photo; those of one group, as where
    several questions are about one photo, are taken together (`group_names`).

    Args:
        study: the study of a detector; one of ground truth has nothing to compare.
        iou: least intersection over union of a box and a true one that count as the same.

    Returns:
        The table of `interp.detect.agreement.agreement`, a row for all objects and one for each name; None where the
        study has no boxes to compare with.

    Example:
        >>> detector_agreement(study)[["label", "recall", "mean_iou"]].head(1).values.tolist()
        [['all labels', 0.81, 0.88]]

    Raises:
        InputError: an `iou` that is not above 0 and at most 1.
    """
    if "true_boxes" not in study.samples:
        return None
    known = study.samples[~study.samples["true_boxes"].isin(["", "{}"])]
    if not len(known):
        return None
    rows = known.to_dict("records")
    found, truth = (
        [Boxes(tuple(box for own in boxes_by_role(row, column).values() for box in own)) for row in rows]
        for column in ("boxes", "true_boxes")
    )
    return agreement(found, truth, iou=iou, together=list(group_names(known)))


def boxes_by_role(row: Any, column: str = "boxes") -> dict[str, tuple[Box, ...]]:
    """The boxes of one sample by role: a study keeps what was found in `boxes`, the data set's own in `true_boxes`."""
    names = dict(zip(ROLES, str(row["objects"]).split("|"), strict=False))
    return {
        role: tuple(Box(names.get(role, role), tuple(corners[:4]), corners[4]) for corners in own)
        for role, own in parse_json(row[column]).items()
    }
