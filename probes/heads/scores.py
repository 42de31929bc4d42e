"""Head scores: what one scorer says of every attention head, function by function, and how sure that is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float32

from interp.errors import InputError
from interp.reprs import fits_a_cell

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

EVERY = "all"
"""The function of a scorer that knows none."""

KEPT = 200
"""Of so many draws of whole groups a scorer keeps what the scores are, so that what is made of them has an interval."""


@fits_a_cell("scorer functions values samples")
@dataclass(frozen=True, eq=False)
class HeadScores:
    """One number for each function, layer and query head, as every scorer gives it.

    Attributes:
        scorer: what it was scored by, such as `linear_probe`.
        functions: the functions, in the order of the first axis; `("all",)` of a scorer that knows none.
        values: the scores; larger is more of what the scorer measures.
        samples: how many samples each function's scores are of.
        groups: how many groups these lie in, which intervals draw.
        low: lower ends of intervals that draw whole groups; None where nothing says how sure a score is.
        high: their upper ends.
        null: what each score would be by chance, by the scorer's own null; None where it has none.
        p: one-sided p-values of each score against that null, uncorrected; None where it has none.
        p_any: the same corrected for all heads of the function: at most so often does chance alone score any of them as
            high; None where the scorer has none.
        draws: the scores in up to `KEPT` draws of whole groups, the same groups for all; None where nothing was drawn.
        left_out: `function` and `why` of functions that can not be scored, and are not in `functions`.
        settings: what made it.
    """

    scorer: str
    functions: tuple[str, ...]
    values: Float32[np.ndarray, "function layer head"]
    samples: tuple[int, ...]
    groups: tuple[int, ...]
    low: Float32[np.ndarray, "function layer head"] | None = None
    high: Float32[np.ndarray, "function layer head"] | None = None
    null: Float32[np.ndarray, "function layer head"] | None = None
    p: Float32[np.ndarray, "function layer head"] | None = None
    p_any: Float32[np.ndarray, "function layer head"] | None = None
    draws: Float32[np.ndarray, "draw function layer head"] | None = None
    left_out: tuple[Mapping[str, str], ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)

    def of(self, function: str | None = None) -> Float32[np.ndarray, "layer head"]:
        """The scores of one function; of the only one where none is named.

        Raises:
            InputError: it has no scores, or none is named and there are several.
        """
        return self.values[self.place(function)]

    def place(self, function: str | None = None) -> int:
        """Where a function stands on the first axis; see `of`."""
        if function is None and len(self.functions) == 1:
            return 0
        if function not in self.functions:
            why = next((f": {one['why']}" for one in self.left_out if one["function"] == function), "")
            raise InputError(
                f"{self.scorer} has no scores of {function!r}{why}: use one of {', '.join(self.functions)}"
            )
        return self.functions.index(function)

    def to_dataframe(self) -> pd.DataFrame:
        """A row for each function, layer and head: its `value`, and what else is known of it."""
        import pandas as pd

        functions, layers, heads = self.values.shape
        index = np.indices((functions, layers, heads)).reshape(3, -1)
        told = {name: getattr(self, name) for name in ("low", "high", "null", "p", "p_any")}
        return pd.DataFrame(
            {
                "scorer": self.scorer,
                "function": np.array(self.functions, dtype=object)[index[0]],
                "layer": index[1],
                "head": index[2],
                "value": self.values.reshape(-1),
                **{name: own.reshape(-1) for name, own in told.items() if own is not None},
            }
        )

    def plot(self, ax: Axes | None = None, *, function: str | None = None) -> Axes:
        """Draw the scores of one function, heads as cells."""
        from probes.heads.figures.cells import plot_cells

        return plot_cells(self.of(function), ax, title=f"{self.scorer}, {function or self.functions[0]}")
