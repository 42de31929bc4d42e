"""The lead of an evaluation's report: the main numbers in one paragraph, and what is claimed of them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from adaptvis.report import tables
from adaptvis.report.figures import changes_something
from adaptvis.report.measures import SHORT
from adaptvis.report.setup import RunFacts
from interp.answers.metrics import ALL
from interp.numeric import counted
from interp.report.numbers import p_said, percent, points, share
from interp.report.verdicts import NO_INTERVAL, NOT_DETECTED, UNCLAIMED, judge

if TYPE_CHECKING:
    import pandas as pd

    from adaptvis.evaluation.evaluation import Evaluation

LEVEL = 0.95
"""Of all intervals of an evaluation."""


def lead(evaluation: Evaluation, run: RunFacts) -> str:
    """The main numbers in one paragraph."""
    lines = evaluation.summary[evaluation.summary["relation"] == ALL].set_index("policy")
    base = lines.loc["baseline"]
    start = (
        f"{counted(base.n, 'question')}{f' of {run.dataset}' if run.dataset else ''}"
        f"{f', answered by {run.model}' if run.model else ''}"
        f"{f', with the numbers of {run.preset}' if run.preset else ''}. Right by the strict rule: "
        f"baseline {share(base.accuracy, base.low, base.high, level=LEVEL)}"
    )
    parts = [start]
    for name, policy in evaluation.policies.items():
        if name not in ("scaling", "adaptvis"):
            continue
        if changes_something(evaluation, name):
            parts.append(f"{SHORT[name]} {gain_says(lines.loc[str(policy)], len(evaluation.policies) - 1)}")
        else:
            parts.append(f"{SHORT[name]} as it is set leaves every sample untouched, and is the baseline itself")
    return "; ".join(parts) + "."


def gain_says(line: pd.Series, others: int) -> str:
    """The accuracy of a policy and its gain over the baseline, claimed where corrected test and interval agree.

    Args:
        line: the row of all samples in the summary.
        others: the policies that Holm's correction is for.
    """
    low, high = line.difference_low, line.difference_high
    told = {"above": "more than the baseline", "below": "fewer than the baseline", "unclaimed": UNCLAIMED}
    said = NO_INTERVAL if math.isnan(low) else told.get(judge(low, high, line.p_holm).word, NOT_DETECTED)
    holm = f"; {p_said(line.p_holm, test=f'Holm for {others} policies')}" if others > 1 else ""
    before = round(line.accuracy - line.difference, 12)
    rounding = "" if tables.adds_up(before, line.accuracy, line.difference) else ", before rounding,"
    return (
        f"{percent(line.accuracy)} %, a gain{rounding} of {points(line.difference, low, high, level=LEVEL)} "
        f"({p_said(line.p, test=tables.test_of(line))}{holm}): {said}"
    )
