"""Sentences of the dual mechanisms: over made-up results, contradictory and missing ones too, each says its numbers."""

import re
from dataclasses import replace
from itertools import product
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from interp.report.numbers import decimal, p_said, points
from probes.mechanisms.dual.report import SAID, _statements, dual_sentences
from probes.mechanisms.dual.statements import COLUMNS, NAMES
from probes.mechanisms.dual.study import DualMechanisms
from probes.mechanisms.interchange.report import spans

AXES = ("all", "horizontal", "vertical")
REASONS = ("there is no pair of which the model gets both sides right", "this model can not be measured by 'last': no")
SLOTS = {"last": range(7), "backup": range(7)}
OF_SLOTS = {"language_builds": "1,2,5", "answer_is_read": "4,5,6"}
PICKED_FROM = {"encoder_carries": 2, "language_builds": 6, "answer_is_read": 7}
MEASURES = {
    "encoder_carries": tuple(f"P(place), {one}s swapped at slot 0, minus control" for one in ("strip", "object")),
    "encoder_is_enough": ("accuracy with order kept, minus removed",),
    "language_adds": ("accuracy with order removed, over chance",),
    "language_builds": ("P(place), objects swapped without order, minus control",),
    "answer_is_read": ("P(place), last position patched, minus control",),
}


def made_up(seed, axes=AXES):
    """Each statement of each axis shown, not shown or missing, whatever the others are."""
    rng = np.random.default_rng(seed)
    rows, out = [], []
    for name, axis in product(NAMES, axes):
        state = rng.choice(["shown", "not", "missing"])
        if state == "missing":
            out.append({"measure": name, "axis": axis, "why": str(rng.choice(REASONS))})
            continue
        slots = {"encoder_carries": "0"}.get(name, "")
        if name in OF_SLOTS and (state == "shown" or name == "language_builds" and rng.random() < 0.3):
            slots = str(rng.choice([OF_SLOTS[name], "3"]))
        first = -1 if name.startswith(("encoder_is", "language_adds")) else int((slots or "6").split(",")[0])
        low, value, high = np.sort(rng.normal(size=3))
        p = float(rng.choice([0.00002, 0.0312, 0.4]))
        told = (name, axis, state == "shown", str(rng.choice(MEASURES[name])), value, low, high, p, first, slots)
        groups = int(rng.choice([2, 5, 30]))
        ends = (low, high) if groups > 2 else (np.nan, np.nan)
        told = (*told[:5], *ends, *told[7:])
        same = int(rng.integers(1, 3)) if name in PICKED_FROM else 1
        counts = (int(rng.integers(2, 99)), groups, PICKED_FROM.get(name, 1), same)
        rows.append(dict(zip(COLUMNS, (*told, *counts), strict=True)))
    return DualMechanisms(
        statements=pd.DataFrame(rows, columns=COLUMNS),
        left_out=pd.DataFrame(out, columns=["measure", "axis", "why"]),
        probes={},
        sweeps={name: SimpleNamespace(slots=tuple(slots)) for name, slots in SLOTS.items()},
        ablation=None,
        axis_of=dict(zip("ab", axes[1:] if len(axes) > 1 else ("vertical",) * 2, strict=True)),
        refused={"background": "not with this tower."} if seed % 2 else {},
        settings={},
    )


def number(row):
    """How a row is said: number, test and count, and why a small p shows nothing."""
    ends = [row[end] for end in ("value", "low", "high")]
    of_accuracy = row["measure"].startswith("accuracy")
    least = 0 if of_accuracy else 0.01
    why = "; what the test finds lies below 0" if row["high"] < 0 else f"; not clearly above {least:g}"
    small = not row["shown"] and row["p"] <= 0.05 and row["low"] <= least
    if not row["shown"] and row["p"] > 0.05:
        small, why = row["low"] > least, "; test and interval do not agree, so nothing is claimed"
    if not row["shown"] and np.isnan(row["low"]):
        small, why = row["p"] <= 0.05, "; there is no interval, so nothing is claimed"
    corrected = {(True, True): "", (True, False): ", maxT over axes", (False, True): ", maxT over slots"}
    test = "sign flips" + corrected.get((of_accuracy, row["axis"] == "all"), ", maxT over slots and axes")
    test += ", Holm over what was swapped" * (row["statement"] == "encoder_carries")
    return (
        points(*ends, level=0.95) if of_accuracy else decimal(*ends, level=0.95),
        f"({p_said(row['p'])}, {test}; {row['pairs']} {'questions' if of_accuracy else 'pairs'}{small * why})",
    )


def check(said, row, why, named):
    """A part of a sentence against the row that it is of, or the reason why there is none."""
    if row is None:
        assert why in said and "p =" not in said and "shown" not in said
        return
    assert all(part in said for part in number(row)), said
    assert named not in ("", None) and (named in said)
    count = PICKED_FROM.get(row["statement"], 1)
    assert ("picked after the fact" in said) == (count > 1), said
    assert (f"its interval one for all {count} together" in said) == (count > 1 and np.isfinite(row["low"])), said
    assert ("the largest of 2 swaps" in said) == (row["statement"] == "encoder_carries")
    assert ("shared by 2" in said) == (row["shared_by"] > 1), said
    slots = [int(slot) for slot in row["slots"].split(",") if slot]
    if row["statement"] in OF_SLOTS:
        assert f"at slot {row['slot']}," in said
        assert ("the largest of" in said) == (not slots or len(slots) > 1 and row["statement"] == "language_builds")
        assert (f"of slots {spans(slots, range(7))} at which" in said) == (len(slots) > 1)
        assert ("at slot 0, where nothing can have been built" in said) == (bool(slots) and not row["shown"])
        assert ("at none of which" in said) == (not slots)
        assert ("the only one of" in said) == (len(slots) == 1)
    else:
        assert "of which it is shown" not in said


def row_of(found, name, axis):
    rows = found.statements.query("statement == @name and axis == @axis").to_dict("records")
    why = found.left_out.query("measure == @name and axis == @axis")["why"].tolist()
    return (rows[0], "") if rows else (None, why[0])


@pytest.mark.parametrize("seed", range(300))
def test_every_sentence_says_what_its_row_says(seed):
    found = made_up(seed)
    first, *told = dual_sentences(found)
    for name, sentence in zip(NAMES, told, strict=False):
        row, why = row_of(found, name, "all")
        whole, _, axes = sentence.partition(" By axis: ")
        said = SAID[name]
        if row is None:
            assert whole == f"It can not be told whether {said}, as {why}."
        else:
            begun = f"{said[0].upper()}{said[1:]}: " if row["shown"] else f"It is not shown that {said}: "
            assert whole.startswith(f"{begun}{row['measure']}, is {number(row)[0]}")
            check(whole, row, why, row["measure"])
        parts = dict(re.findall(r"(horizontal|vertical) axis, (.*?)(?=; vertical axis|\.$)", axes))
        for axis in AXES[1:]:
            own, other = row_of(found, name, axis)
            if own is None and other == why:
                assert axis not in parts, "a reason that all of them have is said once"
                continue
            begun = "not told, as " if own is None else "shown, " if own["shown"] else "not shown, "
            assert parts[axis].startswith(begun)
            differs = own is not None and (row is None or row["measure"] != own["measure"])
            check(parts[axis], own, other, own and number(own)[0])
            assert own is None or (own["measure"] in parts[axis]) == differs
    assert told[5:] == (["'background' was not measured: not with this tower."] if seed % 2 else [])
    for axis in AXES[1:]:
        assert f"{axis} axis, {found.verdict(axis)}" in first
    for sentence in (first, *told):
        assert sentence.endswith(".") and sentence.count("(") == sentence.count(")")
        assert not re.search(r"nan|None|\.\.|,,|;;|: :|  | [.,;:]|[,;:]\.|= <|of 0|\{|\}", sentence), sentence


def test_the_first_sentence_says_of_both_mechanisms_what_the_verdict_says():
    seen = set()
    for seed in range(300):
        found = made_up(seed, ("all",))
        first = dual_sentences(found)[0]
        told = found.mechanisms()
        seen.add(tuple(told.values()))
        assert "By axis" not in first
        positive = {
            "both": "both the vision encoder and the language model are shown",
            "neither": "neither the vision encoder nor the language model is shown",
        }
        if found.verdict() in positive:
            assert positive[found.verdict()] in first
            continue
        for name, own in told.items():
            untold = (
                f"of the {name} it can not be told" in first or "it can not be told whether the vision enc" in first
            )
            assert untold == (own is None), first
            assert (f"the {name} is shown to find" in first) == (own is True), first
            denied = f"the {name} is not shown to find" in first or f"and the {name} is not." in first
            assert denied == (own is False), first
    assert len(seen) == 9, "all that can be was seen"


def test_what_was_measured_on_photos_is_not_said_of_lines(monkeypatch):
    monkeypatch.setattr(DualMechanisms, "beyond_control", lambda self, axis: {})
    found = made_up(3)
    photos = replace(found, settings={"pairs_of": "photos"})
    assert dual_sentences(found)[0].startswith("In these lines, ")
    assert dual_sentences(photos)[0].startswith("In these photos, ")
    for own, said in ((found, "Lines of three items"), (photos, "Pairs of photos are what")):
        cautions = _statements(own).cautions
        assert cautions[0].startswith(said) and "empty canvas" not in " ".join(cautions[1:])
