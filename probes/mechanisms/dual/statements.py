"""Statements: what interchange and ablation show about vision encoder and language model, each with its test."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from interp.report.verdicts import NO_INTERVAL, UNCLAIMED
from interp.stats.intervals import APART
from interp.stats.tests import holm
from probes.mechanisms.dual.evidence import ORDER, OVER_CHANCE, Evidence, UntoldError
from probes.mechanisms.interchange.shown import LEAST, SURE, raised
from probes.study.extremes import sharing
from probes.study.picked import picked_ends

LEVEL = SURE
"""Error rate of each statement, all slots that it is about together; and again of both its axes together."""

NOWHERE = -1
"""The slot of a number that is about none."""

COLUMNS = (
    "statement", "axis", "shown", "measure", "value", "low", "high", "p", "slot", "slots", "pairs", "groups",
    "picked_from", "shared_by",
)  # fmt: skip


def state(evidence: Evidence) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The statements of `DualMechanisms`, and those that can not be told and why."""
    told: list[dict[str, Any]] = []
    out: list[dict[str, str]] = []
    for name, make in _STATEMENTS.items():
        for axis in evidence.axes:
            try:
                told.append({"statement": name, "axis": axis, **make(evidence, axis)})
            except UntoldError as error:
                out.append({"measure": name, "axis": axis, "why": str(error)})
    table = pd.DataFrame(told, columns=COLUMNS).astype(dict.fromkeys(("value", "low", "high", "p"), np.float32))
    return table, pd.DataFrame(out, columns=["measure", "axis", "why"])


def _carries(evidence: Evidence, axis: str) -> dict[str, Any]:
    """Strips or the objects in them: of the two, what raises P(place) more; p and interval allow for both."""
    told: list[tuple[str, pd.Series]] = []
    why: list[str] = []
    for name in ("strip", "object"):
        if name in evidence.sweeps or name in evidence.refused:
            try:
                told.append((name, _at_first(evidence.beyond_control(name, axis), name)))
            except UntoldError as error:
                why.append(str(error))
    if not told:
        raise UntoldError(
            "; ".join(dict.fromkeys(why))
            or "neither strips nor objects were swapped at slot 0, where tokens enter the language model"
        )
    corrected = holm([row["p_any"] for _, row in told])
    (name, row), p = max(zip(told, corrected, strict=True), key=lambda one: one[0][1]["value"])
    ends = _for_all(row, len(told), evidence.level)
    return _told(
        f"P(place), {name}s swapped at slot 0, minus control",
        ends,
        p,
        [0],
        picked_from=len(told),
        among=[one["value"] for _, one in told],
    )


def _is_enough(evidence: Evidence, axis: str) -> dict[str, Any]:
    row = evidence.accuracy(ORDER, axis)
    turned = {"value": 0.0 - row["value"], "low": 0.0 - row["high"], "high": 0.0 - row["low"]}
    return _told("accuracy with order kept, minus removed", {**row, **turned}, row["p"])


def _adds(evidence: Evidence, axis: str) -> dict[str, Any]:
    row = evidence.accuracy(OVER_CHANCE, axis)
    return _told("accuracy with order removed, over chance", row, row["p"])


def _builds(evidence: Evidence, axis: str) -> dict[str, Any]:
    own = evidence.beyond_control("backup", axis)
    later = own[own["slot"] > 0]
    if not len(later):
        raise UntoldError("nothing was swapped without order behind slot 0")
    later = _each_for_all(later, evidence.level)
    shown = later[raised(later)]
    among = shown if len(shown) else later
    row = _largest(among)
    at_once = own[(own["slot"] == 0) & raised(own)]
    measure = "P(place), objects swapped without order, minus control"
    told = _told(measure, row, row["p_any"], shown["slot"], picked_from=len(later), among=among["value"])
    return {**told, "shown": told["shown"] and not len(at_once)}


def _is_read(evidence: Evidence, axis: str) -> dict[str, Any]:
    own = _each_for_all(evidence.beyond_control("last", axis), evidence.level)
    shown = own[raised(own)].sort_values("slot")
    row = shown.iloc[0] if len(shown) else _largest(own)
    measure = "P(place), last position patched, minus control"
    return _told(
        measure, row, row["p_any"], shown["slot"], picked_from=len(own), among=() if len(shown) else own["value"]
    )


_STATEMENTS = {
    "encoder_carries": _carries,
    "encoder_is_enough": _is_enough,
    "language_adds": _adds,
    "language_builds": _builds,
    "answer_is_read": _is_read,
}

NAMES = tuple(_STATEMENTS)
"""The statements, in order."""


def _at_first(own: pd.DataFrame, name: str) -> pd.Series:
    """The row of slot 0.

    Raises:
        UntoldError: there is none, or it has no number.
    """
    row = own[own["slot"] == 0]
    if not len(row):
        raise UntoldError(f"{name}s were not swapped at slot 0, where tokens enter the language model")
    return _largest(row)


def _largest(own: pd.DataFrame) -> pd.Series:
    """The row of the largest number.

    Raises:
        UntoldError: no row has a number, as of probabilities that are not finite.
    """
    known = own["value"][np.isfinite(own["value"])]
    if not len(known):
        raise UntoldError("the model's probabilities are not finite")
    return own.loc[known.idxmax()]


def _for_all(row: pd.Series, count: int, level: float) -> pd.Series:
    """A row that was picked from so many, its interval widened until those of all hold together."""
    _, low, high = picked_ends(row, count, level, bounds=APART)
    return pd.Series({**row, "low": low, "high": high})


def _each_for_all(own: pd.DataFrame, level: float) -> pd.DataFrame:
    """The rows, their intervals widened until those of all hold together."""
    ends = np.array([picked_ends(row, len(own), level, bounds=APART) for _, row in own.iterrows()])
    return own.assign(low=ends[:, 1], high=ends[:, 2])


def why_not(row: Mapping[str, Any] | pd.Series) -> str:
    """Why a statement is not shown although its test or its interval alone would show it; else nothing.

    Sign flips are two-sided, and find any change that has one sign, however small.
    """
    if row["shown"]:
        return ""
    if not row["p"] <= LEVEL:
        return UNCLAIMED if row["low"] > _least_of(row["measure"]) else ""
    if np.isnan(row["low"]):
        return NO_INTERVAL
    if row["high"] < 0:
        return "what the test finds lies below 0"
    least = _least_of(row["measure"])
    return "" if row["low"] > least else f"not clearly above {least:g}"


def _least_of(measure: str) -> float:
    """What of a measure counts as none."""
    return LEAST if measure.startswith("P(") else 0.0


def _told(
    measure: str,
    row: Mapping[str, Any] | pd.Series,
    p: float,
    slots: Any = (),
    *,
    picked_from: int = 1,
    among: ArrayLike = (),
) -> dict[str, Any]:
    """A statement; shown where its interval lies above what counts as none, and its test holds.

    `among` are the numbers of which this one is the largest, where it is that.
    """
    ends = {end: float(row[end]) for end in ("value", "low", "high")}
    shown = ends["low"] > _least_of(measure) and float(p) <= LEVEL
    where = {"slot": int(row.get("slot", NOWHERE)), "slots": ",".join(map(str, slots))}
    count = row["pairs"] if "pairs" in row else row["samples"]
    counts = {"pairs": int(count), "groups": int(row["groups"]), "picked_from": picked_from}
    counts["shared_by"] = max(1, sharing(among, ends["value"]))
    return {"shown": shown, "measure": measure, **ends, "p": float(p), **where, **counts}
