"""Rows of made-up measures for tests of sentences, and a check of what is said of them."""

from itertools import product
from types import SimpleNamespace

import numpy as np
import pandas as pd
from said import check_form, check_intervals, made_up_ends


class Rows:
    """Rows of made-up measures, each with an estimate and its interval; and who asks for them by what they are."""

    def __init__(self, seed, places, *, spread=0.5, **columns):
        """One row for each place, a dict of what names it."""
        self.rng = np.random.default_rng(seed)
        self.level = float(self.rng.choice([0.9, 0.95]))
        self.settings = {"level": self.level}
        ends = [dict(zip(("value", "low", "high"), made_up_ends(self.rng, spread=spread), strict=True)) for _ in places]
        self.measures = pd.DataFrame([{**place, **end, **columns} for place, end in zip(places, ends, strict=True)])

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


def places(**axes):
    return [dict(zip(axes, own, strict=True)) for own in product(*axes.values())]
