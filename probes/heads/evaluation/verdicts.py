"""Verdicts: what may be claimed of a head set, once its controls have had their say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from interp.report.numbers import p_said
from interp.report.verdicts import UNCLAIMED
from interp.stats.intervals import students_t
from probes.heads.evaluation.arms import FEWEST

CAUSAL, BROKEN, NOT_BEYOND, NO_EFFECT, NOTHING, UNCHECKED = (
    "causal", "broken", "not beyond random", "no effect detected", "edits nothing", "unchecked",
)  # fmt: skip

VERDICTS = {
    CAUSAL: "the answers change beyond every random control, they can still be read, and the control task holds",
    BROKEN: "the answers change, and so does what these heads should not do: nothing can be said of their function",
    NOT_BEYOND: "the answers change, and as much where random heads are edited",
    NO_EFFECT: "no change of the answers the way that they should go was detected (by corrected p and interval)",
    NOTHING: "the edit changes nothing, so that this is the untouched model",
    UNCHECKED: "a control is missing without which nothing may be claimed",
}
"""What each verdict means."""

TEST = "sign flips of groups, Holm over sets"
"""The test of a set, and its correction."""

BELOW_CHANCE = "below chance means broken, not causal"

AT_CHANCE = "untouched, the answers are no better than a guess, so that there is nothing to take away"

MARGIN = 0.05
"""More parse failures, or less accuracy in the control task, by so much of all samples, mean broken."""

RATIO = 2.0
"""So many times the perplexity of what the control task expects means broken."""


@dataclass(frozen=True)
class Evidence:
    """What is known of one tested set.

    Attributes:
        edits: whether its edit changes anything.
        effect: by how much accuracy goes the way it should: its loss where heads are removed, else its gain.
        p: against untouched, corrected for all tested sets.
        p_random: the largest p against untouched and against each random control, corrected likewise.
        random: by random control, the effect of each draw.
        below_chance: whether its accuracy is below chance, by its interval.
        was_below: whether it is so before the edit as well.
        parse_change: change of the share of answers that can not be read.
        control_loss: how much accuracy the control task loses; None where there is none.
        could_fall: whether the answers are better than a guess before heads are removed.
        control_could_fall: whether those of the control task are, untouched.
        clear: whether the interval of that change leaves out no change.
        perplexity_ratio: of what the control task and texts expect, over untouched; None where it is not measured.
    """

    edits: bool
    effect: float
    p: float
    p_random: float
    random: Mapping[str, Sequence[float]] = field(default_factory=dict)
    below_chance: bool = False
    was_below: bool = False
    parse_change: float = 0.0
    control_loss: float | None = None
    could_fall: bool = True
    control_could_fall: bool = True
    perplexity_ratio: float | None = None
    clear: bool = True


def judge(given: Evidence, *, alpha: float = 0.05, sets: int = 1, margin: float = MARGIN) -> tuple[str, str]:
    """The verdict on one tested set, and why.

    `causal` asks for all of: an effect the right way, by an interval that leaves out none, with p below alpha against
    untouched and against the mean of each random control, corrected for all tested sets; an effect beyond that of
    every random draw, and beyond what Student's prediction leaves a further draw (one-sided, alpha over the sets);
    answers that can be read; a control task that could fall and holds. If the set is one more draw like the random
    ones, it is the first of k + 1 by chance at most once in k + 1 times; and where draws are normally distributed, at
    most in alpha of all studies. A control of which there are fewer draws than `FEWEST`, because there are no more,
    can say no, and needs another one beside it.

    Args:
        given: what is known of it.
        alpha: the level of all tests.
        sets: how many sets are tested.
        margin: see `MARGIN`.
    """
    if not given.edits:
        return NOTHING, VERDICTS[NOTHING]
    if not (given.effect > 0 and given.p < alpha and given.clear):
        points = round(100 * given.effect, 1) + 0.0  # no minus before a zero
        found = f"{points:+.1f} points the way that they should, with corrected {p_said(given.p, test=TEST)}"
        floor = [] if given.could_fall else [AT_CHANCE]
        floor += [UNCLAIMED] if given.effect > 0 and (given.p < alpha) != given.clear else []
        own = replace(given, below_chance=given.below_chance and not given.was_below)
        return NO_EFFECT, "; ".join([found, *floor, *broken_by(own, margin=margin)])
    if broken := broken_by(given, margin=margin):
        return BROKEN, "; ".join(broken)
    if not given.random:
        return UNCHECKED, "there is no random control"
    for name, draws in given.random.items():
        above = sum(draw >= given.effect for draw in draws)
        if above:
            return NOT_BEYOND, f"{name}: {above} of {len(draws)} draws change as much"
        if len(draws) >= FEWEST and given.effect <= (bound := beyond(draws, alpha / sets)):
            return NOT_BEYOND, f"{name}: a further draw may reach {100 * bound:.1f} points"
    if (most := max(map(len, given.random.values()))) < FEWEST:
        return UNCHECKED, f"{most} different draws of a random control, and {FEWEST} are needed"
    if not given.p_random < alpha:
        return NOT_BEYOND, f"against the mean of the draws, corrected {p_said(given.p_random, test=TEST)}"
    if given.control_loss is None:
        return UNCHECKED, "no control task was given"
    if not given.control_could_fall:
        return UNCHECKED, "untouched, the control task is answered no better than by a guess, so that it can not fall"
    return CAUSAL, VERDICTS[CAUSAL]


def broken_by(given: Evidence, *, margin: float = MARGIN) -> list[str]:
    """By what a set is broken rather than without its function; nothing where it is not."""
    found = []
    if given.below_chance:
        found.append(BELOW_CHANCE)
    if given.parse_change > margin:
        found.append(f"{100 * given.parse_change:.1f} points more answers can not be read")
    if given.control_loss is not None and given.control_loss > margin:
        found.append(f"the control task loses {100 * given.control_loss:.1f} points")
    if given.perplexity_ratio is not None and not given.perplexity_ratio < RATIO:
        found.append(f"perplexity of what has nothing to do with it is {given.perplexity_ratio:.3g} times as large")
    return found


def beyond(draws: Sequence[float], alpha: float) -> float:
    """What one more draw like these is below with probability 1 - alpha: Student's one-sided prediction.

    Example:
        >>> round(beyond([0.0, 0.1, 0.2], 0.05), 3)
        0.437
    """
    own = np.asarray(draws, dtype=np.float64)
    mean = students_t(own, 1 - 2 * alpha)  # its half-width is t s / sqrt(n); of a prediction, t s sqrt(1 + 1/n)
    return float(mean.estimate + (mean.high - mean.estimate) * np.sqrt(len(own) + 1))
