"""Familiarity: how much of the embedded model's training is about above and below, which are to stay unfamiliar."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass
class Familiarity:
    """Keeps above and below rare enough to stay unfamiliar and frequent enough to be learned at all.

    Once left and right are known, the share of above and below among the relation questions falls while their accuracy
    on validation scenes is over the band, and rises while it is under it.
    """

    share: float
    low: float = 0.60
    high: float = 0.70
    most: float = 0.10
    fall: float = 0.25
    known: float = 0.85
    aim: float = 0.72
    mastered: float = 0.97

    def update(self, familiar: float, unfamiliar: float) -> None:
        """Take notice of the validation accuracies of left and right, and of above and below."""
        if familiar < self.known:
            return
        if unfamiliar > self.high:
            self.share *= self.fall
        elif unfamiliar < self.low:
            self.share = min(self.share * 1.3, self.most)

    def miss(self, familiar: float, unfamiliar: float) -> float:
        """How far a state is from what is wanted: left and right mastered, above and below near the aim."""
        return abs(unfamiliar - self.aim) if familiar >= self.mastered else math.inf
