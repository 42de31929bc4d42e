"""Rows of made-up measures for tests of sentences, and a check of what is said of them."""

from itertools import product
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from said import check_form, check_intervals, intervals_in, made_up_ends
from scipy.stats import t


class Rows:
    """Rows of made-up measures, each with an estimate and its interval; and who asks for them by what they are."""

    def __init__(self, seed, places, *, spread=0.5, few=False, ties=False, **columns):
        """One row for each place, a dict of what names it.

        If asked, sometimes of too few groups for an interval, and sometimes with two different numbers alone.
        """
        self.rng = np.random.default_rng(seed)
        self.level = float(self.rng.choice([0.9, 0.95]))
        self.settings = {"level": self.level}
        columns = {"groups": int(self.rng.choice([2, 3, 30] if few else [3, 30])), **columns}
        ends = [dict(zip(("value", "low", "high"), made_up_ends(self.rng, spread=spread), strict=True)) for _ in places]
        self.measures = pd.DataFrame([{**place, **end, **columns} for place, end in zip(places, ends, strict=True)])
        if ties and places and self.rng.random() < 1 / 3:
            numbers, which = ["value", "low", "high"], self.rng.integers(min(2, len(places)), size=len(places))
            self.measures[numbers] = self.measures[numbers].to_numpy()[which]
        if columns["groups"] < 3:
            self.measures[["low", "high"]] = np.nan

    def known(self):
        return [tuple(row) for row in self.measures[["value", "low", "high"]].to_numpy()]

    def get(self, **asked):
        own = self.measures
        for name, value in asked.items():
            own = own[own[name] == value]
        return own

    def check(self, *sentences, extra=()):
        for sentence in sentences:
            check_form(sentence)
            check_intervals(sentence, [*self.known(), *extra], level=self.level)

    def object(self, **more):
        return SimpleNamespace(measures=self.measures, settings=self.settings, **more)


def for_all(ends, count, units, level, bounds=(-np.inf, np.inf)):
    """Value and ends of one picked from so many, as Student's interval at Bonferroni's level has them."""
    if units < 3:
        return (ends[0], np.nan, np.nan)
    wider = t.ppf(1 - (1 - level) / 2 / count, units - 1) / t.ppf((1 + level) / 2, units - 1)
    low, high = (ends[0] + wider * (end - ends[0]) for end in ends[1:])
    return (ends[0], max(low, bounds[0]), min(high, bounds[1]))


def picked(row, count, level, bounds=(-np.inf, np.inf)):
    """The same of a row of a table."""
    return for_all(
        tuple(float(row[name]) for name in ("value", "low", "high")), count, int(row["groups"]), level, bounds
    )


def check_picked(line, *every, count, interval=True):
    """The intervals of a line are these, in this order; those without ends have none. What was picked is said."""
    known = [ends for ends in every if np.isfinite(ends).all()]
    told = intervals_in(line)
    assert len(told) == len(known), line
    for (*ends, _, place), own in zip(told, known, strict=True):
        slack = 0.51 * place + 1e-6 * (place > 1e-5)
        near = (pytest.approx([factor * one for one in own], abs=slack) for factor in (1, 100))
        assert any(ends == one for one in near), (ends, own, line)
    assert ("picked after the fact" in line) == (count > 1), line
    assert (f"its interval one for all {count} together" in line) == (count > 1 and bool(known) and interval), line


def said_shared(values, extreme):
    """What is said of how many numbers are the same as one that is named."""
    every = [float(one) for one in values if one == one]
    same = sum(one == float(extreme) for one in every)
    return "" if same < 2 else f"shared by all {same}" if same == len(every) else f"shared by {same} of {len(every)}"


def check_shared(line, *picks):
    """Of each (values, extreme) of a line it says how many share it, and of nothing else."""
    told = [said for said in (said_shared(*pick) for pick in picks) if said]
    assert line.count("shared by") == len(told) and all(f"{one}" in line for one in told), (told, line)


def places(**axes):
    return [dict(zip(axes, own, strict=True)) for own in product(*axes.values())]
