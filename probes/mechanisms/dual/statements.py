"""Statements: what interchange and ablation show about vision encoder and language model, each with its test."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from interp.errors import InputError
from interp.stats.sign_flips import flip_signs
from probes.mechanisms.ablation.measurement import ABLATED, KEPT

if TYPE_CHECKING:
    import pandas as pd

    from probes.mechanisms.ablation.ordering import OrderingAblation
    from probes.mechanisms.interchange.result import Interchange

LEVEL = 0.05
"""Error rate of each statement, all slots that it is about together."""

LEAST = 0.01
"""Changes of a probability up to this are taken for none: sign flips find any that has one sign, however small."""

PLACE = "place"
"""The outcome that says that places were exchanged."""


def state(
    sweeps: Mapping[str, Interchange],
    ablation: OrderingAblation | None,
    refused: Mapping[str, str] | None = None,
    *,
    seed: int = 0,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The statements of `DualMechanisms`, and those that can not be told and why.

    Args:
        sweeps: by token set, and `backup`.
        ablation: accuracy with order removed.
        refused: by tool, why the model can not be measured by it.
        seed: the seed of the sign flips.
    """
    import pandas as pd

    told: list[dict[str, Any]] = []
    out: list[dict[str, str]] = []
    for name, make in _STATEMENTS.items():
        try:
            told.append({"statement": name, **make(sweeps, ablation, seed)})
        except InputError as error:
            why = next((own for tool, own in (refused or {}).items() if repr(tool) in str(error)), str(error))
            out.append({"measure": name, "why": why})
    columns = ["statement", "shown", "measure", "value", "low", "high", "p", "slots", "pairs"]
    table = pd.DataFrame(told, columns=columns).astype(dict.fromkeys(("value", "low", "high", "p"), np.float32))
    return table, pd.DataFrame(out, columns=["measure", "why"])


def _carries(sweeps: Mapping[str, Interchange], ablation: OrderingAblation | None, seed: int) -> dict[str, Any]:
    """Strips or the objects in them: of the two, what raises P(place) more, its p-value corrected for both."""
    told = []
    for name in ("strip", "object"):
        if name in sweeps:
            own = _beyond_control(sweeps, name)
            told += [(name, row) for _, row in own[own["slot"] == 0].iterrows()]
    if not told:
        raise InputError("neither strips nor objects were swapped at slot 0, where tokens enter the language model")
    name, row = max(told, key=lambda one: one[1]["value"])
    p = min(1.0, len(told) * float(row["p_any"]))
    return _told(f"P(place), {name}s swapped at slot 0, minus control", row, p, "0", row["pairs"], least=LEAST)


def _is_enough(sweeps: Mapping[str, Interchange], ablation: OrderingAblation | None, seed: int) -> dict[str, Any]:
    found = _ablated(ablation)
    row = found.row("difference", "removed - kept")
    kept, removed = (found.right[found.arms.index(arm)].astype(float) for arm in (KEPT, ABLATED))
    turned = {"value": 0.0 - row["value"], "low": 0.0 - row["high"], "high": 0.0 - row["low"]}
    p = flip_signs((kept - removed)[:, None], _groups(found), seed=seed).p[0]
    return _told("accuracy with order kept, minus removed", turned, p, "", row["samples"])


def _adds(sweeps: Mapping[str, Interchange], ablation: OrderingAblation | None, seed: int) -> dict[str, Any]:
    found = _ablated(ablation)
    row = found.row("over_chance", ABLATED)
    over = found.right[found.arms.index(ABLATED)] - found.chance["all"]
    p = flip_signs(over[:, None], _groups(found), seed=seed).p[0]
    return _told("accuracy with order removed, over chance", row, p, "", row["samples"])


def _builds(sweeps: Mapping[str, Interchange], ablation: OrderingAblation | None, seed: int) -> dict[str, Any]:
    own = _beyond_control(sweeps, "backup")
    later = own[own["slot"] > 0]
    shown = later[_holds(later)]
    row = (shown if len(shown) else later).sort_values("value").iloc[-1]
    at_once = own[(own["slot"] == 0) & _holds(own)]
    told = _told(
        "P(place), objects swapped without order, minus control", row, row["p_any"],
        ",".join(map(str, shown["slot"])), row["pairs"], least=LEAST,
    )  # fmt: skip
    return {**told, "shown": told["shown"] and not len(at_once)}


def _is_read(sweeps: Mapping[str, Interchange], ablation: OrderingAblation | None, seed: int) -> dict[str, Any]:
    own = _beyond_control(sweeps, "last")
    shown = own[_holds(own)].sort_values("slot")
    row = (shown if len(shown) else own.sort_values("value", ascending=False)).iloc[0]
    slots = ",".join(map(str, shown["slot"]))
    return _told("P(place), last position patched, minus control", row, row["p_any"], slots, row["pairs"], least=LEAST)


_STATEMENTS = {
    "encoder_carries": _carries,
    "encoder_is_enough": _is_enough,
    "language_adds": _adds,
    "language_builds": _builds,
    "answer_is_read": _is_read,
}


def _holds(own: pd.DataFrame) -> pd.Series:
    """At which slots a change is shown, all slots taken together."""
    return (own["p_any"] <= LEVEL) & (own["low"] > LEAST)


def _told(
    measure: str, row: Mapping[str, Any] | pd.Series, p: float, slots: str, pairs: int, *, least: float = 0.0
) -> dict[str, Any]:
    """A statement; shown where its interval lies above `least` and its test holds."""
    ends = {end: float(row[end]) for end in ("value", "low", "high")}
    shown = ends["low"] > least and float(p) <= LEVEL
    return {"shown": shown, "measure": measure, **ends, "p": float(p), "slots": slots, "pairs": int(pairs)}


def _beyond_control(sweeps: Mapping[str, Interchange], name: str) -> pd.DataFrame:
    """What a swap does to P(place) beyond its control, by slot.

    Raises:
        InputError: it was not measured, or no pair is left of which both sides are right.
    """
    if name not in sweeps:
        raise InputError(f"{name!r} was not measured")
    found = sweeps[name]
    own = found.differences()
    own = own[(own["direction"] == "all") & (own["outcome"] == PLACE)] if len(own) else own
    if not len(own):
        why = found.left_out["why"].tolist()
        raise InputError(f"in {name!r}, {why[0] if why else 'no difference to the control is known'}")
    return own


def _ablated(ablation: OrderingAblation | None) -> OrderingAblation:
    if ablation is None:
        raise InputError("'ablate' was not measured")
    return ablation


def _groups(found: OrderingAblation) -> np.ndarray:
    """The group of each sample, in the order of `right`."""
    own = found.answers.drop_duplicates("id")
    return np.array([group or name for name, group in zip(own["id"], own["group"], strict=True)], dtype=object)
