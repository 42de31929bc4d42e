"""What an overlap study's report says of coverage: were the objects found, and what drops out of all else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from interp.overlap.study.coverage import covered
from interp.report.numbers import NOTHING, counted, share
from interp.report.page import Section

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from interp.overlap.study.result import OverlapStudy

COVERED = 0.8
"""Share of questions with all their boxes below which the page says so first."""


def coverage_cautions(samples: pd.DataFrame) -> list[str]:
    """What a reader has to know of coverage before any number; nothing where nothing is amiss."""
    complete, looked_for, found = covered(samples)
    cautions = []
    if looked_for and found.estimate < COVERED:
        part = share(found.estimate, found.low, found.high, level=found.level)
        cautions.append(
            f"Of {counted(looked_for, 'question')} whose objects were looked for, only {complete} have boxes of all, "
            f"{part}: what is said of attention and boxes is said of a selection, which the detector made."
        )
    if looked_for < COVERED * len(samples):
        absent, unread = (int((samples["found"] == kind).sum()) for kind in ("absent", "unread"))
        cautions.append(
            f"Objects were looked for in only {looked_for} of {counted(len(samples), 'question')}: {absent} rightly "
            f"say that something is not there, and no object could be read off {unread}."
        )
    return cautions


def coverage_section(study: OverlapStudy, coverage: pd.DataFrame, figures: Mapping[str, Figure]) -> Section:
    """How many boxes there are, with the figure and the table."""
    import pandas as pd

    rows = [
        {"relation": line.relation or NOTHING, "objects": line.objects, "n": line.n, "absent": line.absent,
         "unread": line.unread, "looked for": line.looked_for, "all": line.all, "some": line.some, "none": line.none,
         "no class": line.no_class, "all of looked for": share(line.share, line.low, line.high)}
        for line in coverage.itertuples()
    ]  # fmt: skip
    text: tuple[str, ...] = (
        study.describe(),
        "Where an object that is asked about has no box, nothing is measured of all objects together, and the sample "
        "drops out of what follows. If wrong answers lose more samples than right ones, those that stay are a "
        "selection. A question that rightly says that something is not there (absent), and one that no object could "
        "be read off (unread), are no misses of the detector; nothing is measured in boxes of what is not there.",
    )
    if hidden := int((study.samples["complete"] & ~study.samples["visible"]).sum()):
        text += (
            f"In {counted(hidden, 'sample')} an object lies wholly outside of what the model saw of the photo: left "
            "out as well.",
        )
    caption = (
        "Questions about one object and about two, apart: the share of those whose objects were looked for, by how "
        "many have a box. At the right, shares of all questions."
    )
    if coverage["low"].notna().any():
        caption += " Wilson's intervals of 95 %, of as many samples as those of groups are worth."
    return Section("Were the objects found?", text, figures["coverage"], caption, pd.DataFrame(rows))
