"""A measured rate: what the parts of the page of error rates give."""

from __future__ import annotations

from typing import NamedTuple


class Rate(NamedTuple):
    """One measured rate.

    Attributes:
        name: what was asked.
        nominal: the rate that is promised: of intervals to hold the truth, of tests to find what is not there.
        measured: the rate, or its mean, in so many made-up data sets.
        error: its Monte-Carlo error, one standard error; each part says of what.
        repeats: how many data sets there were.
    """

    name: str
    nominal: float
    measured: float
    error: float
    repeats: int
