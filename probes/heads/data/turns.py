"""Turns: what synthetic questions are about, drawn so that every option comes as often as any other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np


class Turns:
    """Whose turn it is: answers come in blocks that hold each once, in an order drawn anew for every block."""

    def __init__(self, rng: np.random.Generator) -> None:
        """Nothing was drawn yet.

        Args:
            rng: what draws.
        """
        self.rng = rng
        self.waiting: dict[str, list[str]] = {}
        self.said: Counter[tuple[str, str]] = Counter()

    def next(self, key: str, options: Sequence[str]) -> str:
        """The option whose turn it is."""
        block = self.waiting.setdefault(key, [])
        if not block:
            block += [options[place] for place in self.rng.permutation(len(options))]
        return block.pop()

    def least(self, key: str, candidates: Sequence[str]) -> str:
        """The candidate that was chosen least often so far; among equals it is drawn."""
        fewest = min(self.said[key, one] for one in candidates)
        chosen = self.any([one for one in candidates if self.said[key, one] == fewest])
        self.said[key, chosen] += 1
        return chosen

    def any(self, options: Sequence[str]) -> str:
        """An option, drawn."""
        return options[int(self.rng.integers(len(options)))]

    def shuffled(self, options: Sequence[str]) -> list[str]:
        """All options in an order that is drawn."""
        return [options[place] for place in self.rng.permutation(len(options))]
