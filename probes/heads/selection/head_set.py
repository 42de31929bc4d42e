"""Head sets: the heads that serve a function by some rule, the strongest first."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool

from interp.intervene.head_sets import Head
from interp.reprs import fits_a_cell

if TYPE_CHECKING:
    import pandas as pd


@fits_a_cell("function scorer rule heads why")
@dataclass(frozen=True, order=True)
class HeadSet:
    """Heads that were selected; sets sort by function, scorer, rule and heads.

    Attributes:
        function: the function that they serve.
        scorer: what they were scored by.
        rule: the rule that selected them, with what it was given, such as `top_k, k=10`.
        heads: layer and head of each, the strongest first; empty where none passes the rule.
        why: why it is empty; empty where it is not.
        values: the score of each.
        shape: how many layers, and heads in each, there are to select from.
        left_out: how many of these have no score.

    Example:
        >>> found = select_heads(scores, "spatial", "top_k", k=10)
        >>> found.heads[:2], found.mask().sum()
        (((14, 3), (17, 20)), 10)
    """

    function: str
    scorer: str
    rule: str
    heads: tuple[Head, ...]
    why: str = field(default="", compare=False)
    values: tuple[float, ...] = field(default=(), compare=False)
    shape: tuple[int, int] = field(default=(0, 0), compare=False)
    left_out: int = field(default=0, compare=False)

    def __len__(self) -> int:
        """How many heads there are."""
        return len(self.heads)

    def __iter__(self) -> Iterator[Head]:
        """Head by head, the strongest first."""
        return iter(self.heads)

    def mask(self) -> Bool[np.ndarray, "layer head"]:
        """Which of all heads are in it."""
        out = np.zeros(self.shape, dtype=bool)
        for layer, head in self.heads:
            out[layer, head] = True
        return out

    def to_dataframe(self) -> pd.DataFrame:
        """A row for each head: its `rank` from 0, `layer`, `head` and `value`, and what selected it."""
        import pandas as pd

        layers, heads = np.array(self.heads, dtype=int).reshape(-1, 2).T
        return pd.DataFrame(
            {
                "function": self.function,
                "scorer": self.scorer,
                "rule": self.rule,
                "rank": np.arange(len(self)),
                "layer": layers,
                "head": heads,
                "value": np.array(self.values, dtype=np.float32),
            }
        )
