"""Evidence: what tools measured, of all pairs and of those on each axis, as numbers that statements are made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Float, Shaped

from interp.answers.metrics import ALL
from interp.errors import InputError
from interp.stats.sign_flips import flip_signs
from probes.mechanisms.ablation.measurement import ABLATED, KEPT
from probes.mechanisms.ablation.ordering import measure_ablation
from probes.study.run import ONE_GROUP

if TYPE_CHECKING:
    import pandas as pd

    from probes.mechanisms.ablation.ordering import OrderingAblation
    from probes.mechanisms.interchange.result import Interchange

PLACE = "place"
"""The outcome that says that places were exchanged."""

ORDER, OVER_CHANCE = ("difference", "removed - kept"), ("over_chance", ABLATED)
"""What is told of accuracies: measure and arm, as in `OrderingAblation`."""


class UntoldError(InputError):
    """Something can not be told of these pairs; the message is why, as a clause of a sentence."""


@dataclass(frozen=True, eq=False)
class Evidence:
    """The results of tools, and the axis of each pair.

    Attributes:
        sweeps: by token set, the interchange; `backup`, that under ablation.
        ablation: accuracy with order removed; None where it was not measured.
        refused: by tool, why the model can not be measured by it.
        of: by pair's id, its axis.
        seed: the seed of the sign flips of accuracies.
        level: nominal coverage of the intervals of all tools.
        known: tables that were made already.
    """

    sweeps: Mapping[str, Interchange] = field(repr=False)
    ablation: OrderingAblation | None = field(repr=False)
    refused: Mapping[str, str]
    of: Mapping[str, str] = field(repr=False)
    seed: int = 0
    level: float = 0.95
    known: dict[tuple[str, bool], pd.DataFrame] = field(default_factory=dict, repr=False)

    @property
    def axes(self) -> tuple[str, ...]:
        """`all`, and each axis where pairs have two."""
        names = tuple(dict.fromkeys(self.of.values()))
        return (ALL, *(names if len(names) > 1 else ()))

    def beyond_control(self, tool: str, axis: str = ALL) -> pd.DataFrame:
        """What a swap does to P(place) beyond its control, by slot; of one axis, tests are corrected for both.

        Raises:
            UntoldError: it was not measured, or too few pairs are left of which both sides are right.
        """
        if tool not in self.sweeps:
            raise self._missing(tool)
        found = self.sweeps[tool]
        if found.p_control is None or PLACE not in found.outcomes:
            raise UntoldError(f"{tool!r} was measured without a control, or without the outcome {PLACE!r}")
        labels = self._labels(found.ids)
        table = self._differences(tool, axis != ALL)
        own = table[(table.iloc[:, 0] == axis) & (table["outcome"] == PLACE)]
        if not len(own):
            kept = found.kept & ((labels == axis) | (axis == ALL))
            right = f"of which the model gets both sides right{' with order removed' if tool == 'backup' else ''}"
            raise UntoldError(
                f"the pairs {right} lie in one group, so that nothing says how sure it is"
                if kept.any()
                else f"there is no pair {right}"
            )
        return own

    def accuracy(self, what: tuple[str, str], axis: str = ALL) -> dict[str, Any]:
        """`ORDER` or `OVER_CHANCE`: ends, `p`, `samples` and `groups`; of one axis, p is corrected for both.

        Raises:
            UntoldError: it was not measured, or can not be told of so few questions or without their options.
        """
        if self.ablation is None:
            raise self._missing("ablate")
        asked = self._asked(axis)
        if not asked.any():
            raise UntoldError("no question was asked")
        measure, arm = what
        told, out = (
            own[(own["relation"] == ALL) & (own["measure"] == measure) & (own["arm"] == arm)]
            for own in self._measured(axis, asked)
        )
        if not len(told):
            why = out["why"].iloc[0]
            raise UntoldError(ONE_GROUP.replace("its samples", "the questions") if why == ONE_GROUP else why)
        row = told.iloc[0]
        return {
            **{name: row[name] for name in ("value", "low", "high", "samples", "groups")},
            "p": self._flipped(what, axis),
        }

    def _differences(self, tool: str, by_axis: bool) -> pd.DataFrame:
        """Patched minus control, by direction or by axis; made once."""
        if (tool, by_axis) not in self.known:
            found = self.sweeps[tool]
            made = found.differences_by(self._labels(found.ids)) if by_axis else found.differences()
            self.known[tool, by_axis] = made
        return self.known[tool, by_axis]

    def _measured(self, axis: str, asked: Bool[np.ndarray, " sample"]) -> tuple[pd.DataFrame, pd.DataFrame]:
        """The measures of the questions on one axis, and what is left out of them."""
        assert self.ablation is not None
        found = self.ablation
        if axis == ALL:
            return found.measures, found.left_out
        how = {name: found.settings[given] for name, given in (("seed", "seed"), ("n", "draws"), ("level", "level"))}
        unnamed = np.array([""] * int(asked.sum()), dtype=object)
        return measure_ablation(found.right[:, asked], _chances(found)[asked], unnamed, _groups(found)[asked], **how)

    def _flipped(self, what: tuple[str, str], axis: str) -> float:
        """The p-value of a mean; of one axis, corrected for both (maxT).

        A question is 0 where it is not of an axis, which changes neither a sum nor its spread under flips.
        """
        assert self.ablation is not None
        found, groups = self.ablation, _groups(self.ablation)
        removed, kept = (found.right[found.arms.index(arm)].astype(float) for arm in (ABLATED, KEPT))
        values = kept - removed if what == ORDER else removed - _chances(found)
        asked = {name: self._asked(name) for name in ((ALL,) if axis == ALL else self.axes[1:])}
        told = {
            name: own for name, own in asked.items() if len(set(groups[own])) > 1 and np.isfinite(values[own]).all()
        }
        cells = np.stack([np.where(own, values, 0) for own in told.values()], axis=1)
        some = np.any(list(told.values()), axis=0)
        return float(flip_signs(cells[some], groups[some], seed=self.seed).p_any[list(told).index(axis)])

    def _asked(self, axis: str) -> Bool[np.ndarray, " sample"]:
        """Which of the questions of the ablation are of an axis."""
        assert self.ablation is not None
        labels = self._labels(tuple(_questions(self.ablation)["id"]))
        return (labels == axis) | (axis == ALL)

    def _labels(self, ids: tuple[str, ...]) -> Shaped[np.ndarray, " pair"]:
        """The axis of each of these pairs."""
        return np.array([self.of.get(name, ALL) for name in ids], dtype=object)

    def _missing(self, tool: str) -> UntoldError:
        """A tool's result is not there: the model can not be measured by it, or it was not asked for."""
        why = self.refused.get(tool)
        if why is None:
            return UntoldError(f"{tool!r} was not measured")
        return UntoldError(f"this model can not be measured by {tool!r}: {why.rstrip('.')}")


def _questions(found: OrderingAblation) -> pd.DataFrame:
    """One row per question, in the order of `right`."""
    return found.answers.drop_duplicates("id")


def _groups(found: OrderingAblation) -> Shaped[np.ndarray, " sample"]:
    """The group of each question, in the order of `right`."""
    own = _questions(found)
    return np.array([group or name for name, group in zip(own["id"], own["group"], strict=True)], dtype=object)


def _chances(found: OrderingAblation) -> Float[np.ndarray, " sample"]:
    """What a blind guess scores on each question; NaN where that is not known."""
    every = found.chance.get(ALL, np.nan)
    relations = _questions(found)["relation"]
    return np.array([found.chance.get(name or "(no relation)", every) for name in relations], dtype=float)
