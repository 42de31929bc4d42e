"""An evaluation of head sets: what a model answers without them, or with more of them, and what may be claimed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from interp.errors import InputError
from interp.reprs import fits_a_cell
from probes.heads.evaluation.measurement import MAIN
from probes.study.parts import row_of, rows_of

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes


@fits_a_cell("edit sets samples=rows arms", table="arms")
@dataclass(frozen=True, eq=False)
class HeadEvaluation:
    """What a model is answered when head sets are edited, beside the controls that could explain it away.

    Attributes:
        edit: what was done with the heads, see `HeadEdit`.
        sets: the tested sets by name, as (layer, head) pairs, the strongest first.
        arms: a row for each arm, the untouched one first: `arm`, its `role`, the tested set that it is `of`, `heads`
            and how many of them were `edited`; of the main task `accuracy`, `accuracy_change`, `parse_failures` and
            their changes with intervals, `corrected`, `broken` (right before and wrong after) and `net`, how many more
            are right; `chance` and `below_chance`: below chance means broken, not causal; `leans_to`, the answer that
            is said most too often, and by how much of all (`lean`); of the control task `control_accuracy_change`; the
            larger `perplexity_ratio` of control task and texts; `p` against untouched, by sign flips of groups. Tested
            sets have `p_holm`, `p_random_holm` (the larger of that and those against the mean of each random control),
            both by Holm over the tested sets; a `verdict`, see `VERDICTS`, and `why`.
        measures: a row for each task, arm and measure, see `TELLS`: `task`, `arm`, `measure`, `value`, `low`, `high`,
            `samples`, `groups`.
        answers: a row for each task, arm and answer: `gold_share` and `predicted_share`.
        doses: a row for each point of dose curves: `of`, `dose` (`count` or `factor`), `at`, `accuracy` with its
            interval, and of the random sets at the same dose the mean, the least and the most.
        left_out: what can not be told: `arm`, `measure`, `why`.
        rows: a row for each sample and arm, as it was measured.
        settings: what made it, and the seeds, draws and levels of intervals and tests.
    """

    edit: str
    sets: Mapping[str, tuple[tuple[int, int], ...]]
    arms: pd.DataFrame
    measures: pd.DataFrame
    answers: pd.DataFrame
    doses: pd.DataFrame
    left_out: pd.DataFrame
    rows: pd.DataFrame = field(repr=False)
    settings: Mapping[str, Any] = field(repr=False)

    def arm(self, name: str | None = None) -> pd.Series:
        """The row of one arm; of the only tested set where none is named.

        Raises:
            InputError: there is none of that name, or several sets and none is named.
        """
        if name is None and len(self.sets) == 1:
            name = next(iter(self.sets))
        own = rows_of(self.arms, arm=name)
        if own.empty:
            known = ", ".join([*self.sets, "untouched"])
            raise InputError(f"there is no arm {name!r}: use one of {known}, or a name from `arms`")
        return own.iloc[0]

    def verdict(self, name: str | None = None) -> str:
        """The verdict on one tested set; see `VERDICTS`."""
        return str(self.arm(name)["verdict"])

    def row(self, measure: str, arm: str, task: str = MAIN) -> pd.Series:
        """The row of one measure.

        Raises:
            InputError: it is not there; the message says why.
        """
        return row_of(self.measures, self.left_out, measure=measure, arm=arm, task=task)

    def value(self, measure: str, arm: str, task: str = MAIN) -> float:
        """One measure; see `row`."""
        return float(self.row(measure, arm, task)["value"])

    def tells(self, measure: str, arm: str, task: str = MAIN) -> bool:
        """Whether a measure of an arm is there."""
        return bool(len(rows_of(self.measures, measure=measure, arm=arm, task=task)))

    def to_dataframe(self) -> pd.DataFrame:
        """The table of arms: edited sets and their controls in one."""
        return self.arms.copy()

    def by_sample(self) -> pd.DataFrame:
        """A row for each sample and arm: what was said, whether it is right, and the right answer's chance."""
        return self.rows.copy()

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw accuracy with each tested set edited beside untouched, and the band that random sets lie in."""
        from probes.heads.evaluation.figure import plot_sets

        return plot_sets(self.arms, ax, level=self.settings["level"])

    def plot_doses(self, ax: Axes | None = None, *, dose: str = "count") -> Axes:
        """Draw accuracy by dose with the band of random sets.

        Args:
            ax: where to draw; made if None.
            dose: `count`, the number of heads, or `factor`, how strongly they are edited.

        Raises:
            InputError: there is no such curve.
        """
        from probes.heads.evaluation.figure import plot_doses

        before = float(self.arm("untouched")["accuracy"])
        return plot_doses(self.doses, ax, dose=dose, untouched=before, level=self.settings["level"])
