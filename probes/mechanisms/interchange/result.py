"""Interchange, over pairs: how probable each outcome is after a patch at every slot, beside its control."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Float32, Shaped

from interp.errors import InputError
from interp.reprs import fits_a_cell
from interp.stats.clusters import mean_over_groups
from interp.stats.intervals import APART, SHARE
from interp.stats.sign_flips import flip_signs
from probes.study.parts import ALL, parts_of, rows_of
from probes.study.run import ONE_GROUP

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from interp.stats.intervals import Bounds, Interval

SMALLEST_EFFECT = 0.1
"""A restoration score is of pairs whose two runs differ by so much in the probability of the outcome, or more."""

RESTORED = (1 - 1 / SMALLEST_EFFECT, 1 / SMALLEST_EFFECT)
"""The least and the most that a restoration score can be: the two runs and the patched one are probabilities."""

CELLS = ("value", "low", "high", "std", "pairs", "groups")
"""What each mean over pairs has: itself, its interval, and what it is of."""

WRONG = "no pair of which the model gets both sides right"
TOO_CLOSE = f"no pair kept whose runs differ by {SMALLEST_EFFECT} or more in the probability of this outcome"


@fits_a_cell("positions hook slots outcomes kept")
@dataclass(frozen=True, eq=False)
class Interchange:
    """What the model says when activations of the clean run are those of the counterfactual run, slot by slot.

    Attributes:
        positions: the token set that was patched.
        control: the token set beside it; empty for none.
        hook: what was patched; `resid_pre` is the residual stream at layer slots (0 is the input of block 0, l the
            output of block l - 1), all else lies inside layers.
        slots: the slots, or 0-based layers.
        outcomes: what the words mean that were looked for; `clean` first.
        ids: of the pairs.
        groups: what is drawn together.
        directions: what was asked of each pair, its clean sample's relation.
        p_clean: probability of each outcome's word after the clean prompt, summed over its spellings.
        p_counterfactual: the same after the counterfactual prompt.
        p_patched: the same after the clean prompt with tokens patched.
        p_control: the same with the control's tokens patched; None for none.
        right_clean: whether the likeliest token is the clean sample's answer.
        right_counterfactual: the same of the counterfactual sample.
        settings: the record of what made it, with `seed`, `draws` and `level` of the intervals.

    Example:
        >>> found = interchange(vlm, pairs, "strip")
        >>> found.differences().query("outcome == 'place' and direction == 'all'")
    """

    positions: str
    control: str
    hook: str
    slots: tuple[int, ...]
    outcomes: tuple[str, ...]
    ids: tuple[str, ...] = field(repr=False)
    groups: Shaped[np.ndarray, " pair"] = field(repr=False)
    directions: Shaped[np.ndarray, " pair"] = field(repr=False)
    p_clean: Float32[np.ndarray, "pair outcome"]
    p_counterfactual: Float32[np.ndarray, "pair outcome"]
    p_patched: Float32[np.ndarray, "pair slot outcome"]
    p_control: Float32[np.ndarray, "pair slot outcome"] | None
    right_clean: Bool[np.ndarray, " pair"]
    right_counterfactual: Bool[np.ndarray, " pair"]
    settings: dict[str, Any] = field(repr=False)

    @property
    def kept(self) -> Bool[np.ndarray, " pair"]:
        """Pairs that all numbers are of: those of which the model gets both sides right, unless all were asked for."""
        both = self.right_clean & self.right_counterfactual
        return np.ones_like(both) if self.settings.get("keep_wrong") else both

    def both_right(self) -> pd.DataFrame:
        """How many pairs were kept and dropped, by direction; one row for each, and one for `all`."""
        import pandas as pd

        rows = []
        for direction, own in parts_of(self.directions, alone=True).items():
            kept = int((own & self.kept).sum())
            wrong = {
                "clean_wrong": int((own & ~self.right_clean).sum()),
                "counterfactual_wrong": int((own & ~self.right_counterfactual).sum()),
            }
            rows.append(
                {"direction": direction, "pairs": int(own.sum()), "kept": kept, "dropped": own.sum() - kept} | wrong
            )
        return pd.DataFrame(rows)

    def to_dataframe(self) -> pd.DataFrame:
        """One row per direction, set, slot and outcome: mean probability with its interval, and std over pairs."""
        parts = [("patched", self.p_patched)] + ([] if self.p_control is None else [("control", self.p_control)])
        rows = (
            {"direction": direction, "set": name, "slot": slot, "outcome": outcome, **cells}
            for direction, own in self._parts()
            for name, values in parts
            for slot, outcome, cells in self._means(values, own)
        )
        return _table(rows, ("direction", "set", "slot", "outcome", *CELLS))

    def by_pair(self) -> pd.DataFrame:
        """One row per pair, set, slot and outcome: the probability after the patch, and without it on both sides."""
        import pandas as pd

        parts = [("patched", self.p_patched)] + ([] if self.p_control is None else [("control", self.p_control)])
        axes = {
            "id": self.ids,
            "set": [name for name, _ in parts],
            "slot": self.slots,
            "outcome": self.outcomes,
        }
        table = pd.MultiIndex.from_product(list(axes.values()), names=list(axes)).to_frame(index=False)
        table["p"] = np.stack([values for _, values in parts], axis=1).ravel()
        shape = (len(self.ids), len(parts), len(self.slots), len(self.outcomes))
        for name, values in (("p_clean", self.p_clean), ("p_counterfactual", self.p_counterfactual)):
            table[name] = np.broadcast_to(values[:, None, None], shape).ravel()
        each = len(table) // max(len(self.ids), 1)
        for name, values in (("direction", self.directions), ("group", self.groups), ("kept", self.kept)):
            table[name] = np.repeat(values, each)
        return table

    def runs(self) -> pd.DataFrame:
        """One row per direction, run (`clean`, `counterfactual`) and outcome, of the runs without a patch."""
        parts = {"clean": self.p_clean, "counterfactual": self.p_counterfactual}
        rows = (
            {"direction": direction, "run": name, "outcome": outcome, **cells}
            for direction, own in self._parts()
            for name, values in parts.items()
            for _, outcome, cells in self._means(values[:, None], own)
        )
        return _table(rows, ("direction", "run", "outcome", *CELLS))

    def differences(self) -> pd.DataFrame:
        """Patched minus control, pair by pair, at every slot: mean, interval, and p-values of sign flips.

        `p` is of one slot; `p_any` is corrected for all slots of one direction and outcome (maxT). A change is told
        of where its interval leaves out all up to 0.01, too: sign flips find any that has one sign, however small.

        Raises:
            InputError: nothing was measured beside the set.
        """
        apart = self._beyond_control()
        rows = (row for direction, own in self._parts() for row in self._tested(apart, {direction: own}, "direction"))
        return _table(rows, ("direction", "slot", "outcome", *CELLS, "p", "p_any"))

    def differences_by(self, labels: Shaped[np.ndarray, " pair"]) -> pd.DataFrame:
        """Patched minus control of the pairs kept of each label, as `differences`, with `part` for `direction`.

        `p` is of one slot and part; `p_any` is corrected for all slots of all parts together (maxT), so that whichever
        part stands out is not taken for one that was named before. A part whose pairs lie in one group is left out.

        Args:
            labels: which part each pair belongs to, such as its axis.

        Raises:
            InputError: nothing was measured beside the set, or there is not one label for each pair.
        """
        apart, named = self._beyond_control(), np.asarray(labels)
        if named.shape != self.kept.shape:
            raise InputError(f"labels of shape {named.shape} for {len(self.kept)} pairs: give one for each")
        parts = {name: self.kept & (named == name) for name in dict.fromkeys(named.tolist())}
        told = {name: own for name, own in parts.items() if len(set(self.groups[own])) > 1}
        return _table(self._tested(apart, told, "part"), ("part", "slot", "outcome", *CELLS, "p", "p_any"))

    def restoration(self, outcome: str = "place", *, clamp: bool = False) -> pd.DataFrame:
        """How far a patch goes from the clean to the counterfactual run, 0 to 1, at every slot.

            (P_patched - P_clean) / (P_counterfactual - P_clean)

        of the outcome's word, pair by pair; the mean over pairs kept whose denominator is `SMALLEST_EFFECT` or more in
        size, which says what of it can be told. Below 0 and above 1 are possible, unless they are clamped.

        Args:
            outcome: which.
            clamp: bring each pair's score into 0 to 1 before the mean.

        Raises:
            InputError: there is no such outcome.
        """
        at = self._outcome(outcome)
        rows = []
        whole, bounds = (self.p_counterfactual - self.p_clean)[:, at].astype(np.float64), SHARE if clamp else RESTORED
        sets = {"patched": self.p_patched} | ({} if self.p_control is None else {"control": self.p_control})
        for direction, own in self._parts():
            told = own & (np.abs(whole) >= SMALLEST_EFFECT)
            if len(set(self.groups[told])) < 2:
                continue
            for name, values in sets.items():
                score = (values[told, :, at] - self.p_clean[told, None, at]) / whole[told, None]
                score = score.clip(0, 1) if clamp else score
                for slot, cells in zip(self.slots, self._cells(score, told, bounds), strict=True):
                    rows.append({"direction": direction, "set": name, "slot": slot, "outcome": outcome, **cells})
        return _table(rows, ("direction", "set", "slot", "outcome", *CELLS))

    @property
    def left_out(self) -> pd.DataFrame:
        """What can not be told, and why: one row per direction and measure."""
        import pandas as pd

        rows = []
        told = {direction for direction, _ in self._parts()}
        for direction, part in parts_of(self.directions).items():
            own = self.kept & part
            if direction not in told:
                rows.append({"direction": direction, "measure": ALL, "why": ONE_GROUP if own.any() else WRONG})
            elif "place" in self.outcomes:
                at = self._outcome("place")
                far = own & (np.abs((self.p_counterfactual - self.p_clean)[:, at]) >= SMALLEST_EFFECT)
                if len(set(self.groups[far])) < 2:
                    why = ONE_GROUP if far.any() else TOO_CLOSE
                    rows.append({"direction": direction, "measure": "restoration", "why": why})
        if first := self.settings.get("first_slot", 0):
            why = "the model adds features of its own photo to image tokens behind these slots (DeepStack)"
            rows.append({"direction": ALL, "measure": f"slots below {first}", "why": why})
        return pd.DataFrame(rows, columns=["direction", "measure", "why"])

    @property
    def slot_label(self) -> str:
        """What the axis of slots is called."""
        if self.hook == "resid_pre":
            return "layer slot (0: input of block 0, l: output of block l - 1)"
        return f"layer (0-based), {self.hook}"

    def plot(self, ax: Axes | None = None, *, direction: str = ALL, band: str = "std") -> Axes:
        """Draw the probability of each outcome over slots, in the paper's form; see `plot_outcomes`."""
        from probes.mechanisms.interchange.figure import plot_outcomes

        how: dict[str, Any] = {"outcomes": self.outcomes, "named": self.positions, "slots": self.slot_label}
        how["asked"] = "" if direction == ALL else direction
        return plot_outcomes(_of(self.to_dataframe(), direction), ax, **how, band=band, level=self.settings["level"])

    def plot_differences(self, ax: Axes | None = None, *, outcome: str = "place", direction: str = ALL) -> Axes:
        """Draw patched minus control over slots; see `plot_beyond_control`."""
        from probes.mechanisms.interchange.figure import plot_beyond_control

        table = _of(self.differences(), direction)
        return plot_beyond_control(table, ax, outcome=outcome, slots=self.slot_label, level=self.settings["level"])

    def _outcome(self, outcome: str) -> int:
        if outcome not in self.outcomes:
            raise InputError(f"outcome={outcome!r} was not measured: use one of {', '.join(self.outcomes)}")
        return self.outcomes.index(outcome)

    def _beyond_control(self) -> Float32[np.ndarray, "pair slot outcome"]:
        """Patched minus control.

        Raises:
            InputError: nothing was measured beside the set.
        """
        if self.p_control is None:
            raise InputError("there is no control to compare with: measure one, control='random_same_size'")
        return self.p_patched - self.p_control

    def _tested(
        self,
        apart: Float32[np.ndarray, "pair slot outcome"],
        parts: dict[str, Bool[np.ndarray, " pair"]],
        column: str,
    ) -> Iterator[dict[str, Any]]:
        """The rows of each part, tests corrected for all slots of all of them together.

        A pair is 0 where it is not in a part, which changes neither a sum nor its spread under flips.
        """
        some = np.any([np.zeros_like(self.kept), *parts.values()], axis=0)
        cells = [np.where(own[some, None, None], apart[some].astype(np.float64), 0) for own in parts.values()]
        tests = [
            flip_signs(np.hstack([own[..., at] for own in cells]), self.groups[some], seed=self.settings["seed"])
            for at in range(len(self.outcomes) if parts else 0)
        ]
        for number, (name, own) in enumerate(parts.items()):
            for place, (slot, outcome, told) in enumerate(self._means(apart, own, APART)):
                at, step = place % len(self.outcomes), number * len(self.slots) + place // len(self.outcomes)
                p = {"p": tests[at].p[step], "p_any": tests[at].p_any[step]}
                yield {column: name, "slot": slot, "outcome": outcome, **told, **p}

    def _parts(self) -> Iterator[tuple[str, Bool[np.ndarray, " pair"]]]:
        """The pairs kept: all, and of each direction; where they lie in two groups or more."""
        for direction, part in parts_of(self.directions).items():
            own = self.kept & part
            if len(set(self.groups[own])) > 1:
                yield direction, own

    def _means(
        self,
        values: Float32[np.ndarray, "pair slot outcome"],
        own: Bool[np.ndarray, " pair"],
        bounds: Bounds = SHARE,
    ) -> Iterator[tuple[int, str, dict[str, Any]]]:
        """Slot, outcome and the cells of each mean over pairs."""
        flat = values[own].reshape(int(own.sum()), -1)
        slots = self.slots if values.shape[1] == len(self.slots) else (0,)
        names = [(slot, outcome) for slot in slots for outcome in self.outcomes]
        for (slot, outcome), cells in zip(names, self._cells(flat, own, bounds), strict=True):
            yield slot, outcome, cells

    def _cells(self, values: np.ndarray, own: Bool[np.ndarray, " pair"], bounds: Bounds) -> Iterator[dict[str, Any]]:
        """Mean, interval and standard deviation over pairs of each column of values [pair column]."""
        values, groups = values.astype(np.float64), self.groups[own]
        how = {"seed": self.settings["seed"], "n": self.settings["draws"], "level": self.settings["level"]}
        found: Interval = mean_over_groups(values, groups, **how, bounds=bounds)
        count = {"pairs": len(values), "groups": len(set(groups))}
        for place, spread in enumerate(values.std(axis=0)):
            ends = {"value": found.estimate[place], "low": found.low[place], "high": found.high[place]}
            yield {**ends, "std": spread, **count}


def _table(rows: Iterable[dict[str, Any]], columns: Sequence[str]) -> pd.DataFrame:
    """A table with these columns, whether it has rows or not."""
    import pandas as pd

    kinds: dict[str, Any] = dict.fromkeys(("value", "low", "high", "std", "p", "p_any"), np.float32)
    kinds |= dict.fromkeys(("slot", "pairs", "groups"), np.int64)
    table = pd.DataFrame(list(rows), columns=list(columns))
    text = pd.Series([""]).dtype  # whatever pandas takes texts for
    return table.astype({name: kinds.get(name, text) for name in columns if name in kinds or not len(table)})


def _of(table: pd.DataFrame, direction: str) -> pd.DataFrame:
    """The rows of one direction.

    Raises:
        InputError: there are none.
    """
    found = rows_of(table, direction=direction)
    if found.empty:
        known = ", ".join(dict.fromkeys(table["direction"])) or "none"
        raise InputError(f"direction={direction!r} can not be told (known: {known}): see left_out")
    return found
