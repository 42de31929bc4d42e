"""What SHA found: answers and heads in every arm, each held against the original."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from interp.reprs import fits_a_cell
from probes.study.parts import ALL, row_of

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from interp.image.boxes import Box
    from probes.heads.sha.counts import HeadCounts


@fits_a_cell("arms", table="accuracy")
@dataclass(frozen=True, eq=False)
class ShaStudy:
    """Answers and heads with boxes and masks.

    Attributes:
        arms: their names, the original first.
        answers: a row for each item and arm.
        accuracy: a row for each arm, function (`all` for all items) and measure: `value` from `low` to `high`, by draws
            of whole groups.
        against_original: a row for each arm, `baseline` (the original, or the control), function and measure: the
            paired difference, its interval, `p` by sign flips of whole groups, and `p_any`, corrected for the arms.
        heads: a row for each arm and function: how many heads are selected, its interval, of how many; `null`, the mean
            number with labels dealt anew, `null_high`, the upper end of that, and `p`, how often it is as large.
        heads_against_original: the same of the difference to `baseline`, the original or the control, with the same
            draws and deals in both.
        left_out: what can not be told: `table`, `arm`, `function`, `why`.
        counts: by arm, the scores and selections; none where heads could not be counted.
        boxes: by id, the boxes that were shown.
        settings: what made it.
    """

    arms: tuple[str, ...]
    answers: pd.DataFrame
    accuracy: pd.DataFrame
    against_original: pd.DataFrame
    heads: pd.DataFrame
    heads_against_original: pd.DataFrame
    left_out: pd.DataFrame
    counts: Mapping[str, HeadCounts] = field(repr=False)
    boxes: Mapping[str, Sequence[Box]] = field(repr=False)
    settings: Mapping[str, Any] = field(repr=False)

    def share(self, measure: str, arm: str, function: str = ALL) -> pd.Series:
        """The row of a share.

        Raises:
            InputError: it is not there; the message says why.
        """
        return row_of(self.accuracy, self.left_out, measure=measure, arm=arm, function=function)

    def against(self, measure: str, arm: str, function: str = ALL, *, baseline: str = "original") -> pd.Series:
        """The row of a paired difference.

        Raises:
            InputError: it is not there; the message says why.
        """
        named = {"measure": measure, "arm": arm, "function": function, "baseline": baseline}
        return row_of(self.against_original, self.left_out, **named)

    def found(self, arm: str, function: str) -> pd.Series:
        """The row of a number of heads.

        Raises:
            InputError: it is not there; the message says why.
        """
        return row_of(self.heads, self.left_out, arm=arm, function=function)

    def to_dataframe(self) -> pd.DataFrame:
        """The shares by arm."""
        return self.accuracy.copy()

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw accuracy by function, an arm a colour, with intervals."""
        from probes.heads.sha.figure import plot_arms

        return plot_arms(
            self.accuracy[self.accuracy["measure"] == "accuracy"], ax, what="accuracy", level=self.settings["level"]
        )

    def plot_heads(self, ax: Axes | None = None) -> Axes:
        """Draw the number of heads by function, an arm a colour, with intervals and what dealt labels give.

        Raises:
            InputError: heads could not be counted.
        """
        from probes.heads.sha.figure import plot_arms

        return plot_arms(self.heads, ax, what="heads", level=self.settings["level"])
