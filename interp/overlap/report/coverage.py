"""What an overlap study's report says of coverage: were the objects found, and what drops out of all else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from interp.numeric import agree, bounded, counted
from interp.overlap.study.coverage import LOOKED_FOR, count_objects, covered
from interp.report.numbers import NOTHING, share
from interp.report.page import Section
from interp.stats.clusters import shared_groups

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from interp.overlap.study.result import OverlapStudy

_NOTHING_MEASURED = "nothing is measured of all objects together"

COVERED = 0.8
"""Share of questions with all their boxes below which the page says so first."""


def coverage_cautions(samples: pd.DataFrame) -> list[str]:
    """What a reader has to know of coverage before any number; nothing where nothing is amiss."""
    complete, looked_for, found = covered(samples)
    cautions = []
    if looked_for and found.estimate < COVERED:
        part = share(found.estimate, found.low, found.high, level=found.level)
        have = f"only {complete} {agree(complete, 'has', 'have')}" if complete else "none has"
        so = "what is said of attention and boxes is said of a selection" if complete else _NOTHING_MEASURED
        cautions.append(
            f"Of {counted(looked_for, 'question')} whose objects were looked for, {have} boxes of all, {part}: {so}."
        )
    if looked_for < COVERED * len(samples):
        absent, unread = (int((samples["found"] == kind).sum()) for kind in ("absent", "unread"))
        why = (
            f"{absent} rightly {agree(absent, 'says', 'say')} that something is not there" if absent else "",
            f"no object could be read off {unread}" if unread else "",
        )
        some = f"only {looked_for}" if looked_for else "none"
        cautions.append(
            f"Objects were looked for in {some} of {counted(len(samples), 'question')}: "
            f"{', and '.join(filter(None, why))}."
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
    caption = _caption(study.samples, with_intervals=bounded(coverage["low"]))
    return Section("Were the objects found?", text, figures["coverage"], caption, pd.DataFrame(rows))


def _caption(samples: pd.DataFrame, *, with_intervals: bool) -> str:
    """What the figure shows: its panels, and its intervals if there are any."""
    looked_for = samples["found"].isin(LOOKED_FOR).to_numpy()
    apart = len(set(count_objects(samples)[looked_for])) > 1
    parts = []
    if looked_for.any():
        shown = "Of the questions whose objects were looked for, the share by how many of these have a box"
        parts.append(f"{shown}; those about one object and about two apart." if apart else f"{shown}.")
    if not looked_for.all():
        parts.append(f"{'At the right, shares' if looked_for.any() else 'Shares'} of all questions.")
    if with_intervals:
        grouped = shared_groups(samples) is not None
        parts.append(
            f"Wilson's intervals of 95 %{', of as many samples as those of groups are worth' if grouped else ''}."
        )
    return " ".join(parts)
