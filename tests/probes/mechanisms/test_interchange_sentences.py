"""Sentences of an interchange over made-up results, contradicting and empty ones too, each against its table."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from said import check_form, check_intervals, check_p, intervals_in, made_up_p
from said_rows import Rows, check_picked, check_shared, picked, places

from probes.mechanisms.interchange.report import (
    BOTH_RIGHT,
    WRONG_TOO,
    _beyond,
    _more,
    interchange_findings,
    main_sentence,
)
from probes.mechanisms.interchange.result import RESTORED, Interchange

SEEDS = range(60)
NUMBERS = ["value", "low", "high"]


def made_up(seed):
    """Pairs in one group or more, kept or none of them, patched beyond a control or less, by chance or alike."""
    rng = np.random.default_rng(seed)
    pairs, slots = 12, int(rng.integers(1, 5))
    outcomes = ("clean", "place", "content")[: int(rng.integers(1, 4))]
    groups = int(rng.choice([1, 2, 3, 12]))
    shape = (pairs, slots, len(outcomes))
    clean, other = rng.random((2, pairs, len(outcomes)))
    effect = rng.choice([-0.4, 0.0, 0.4])
    beside = rng.uniform(0.3, 0.6, shape) if rng.random() < 0.7 else np.full(shape, 0.5)
    patched = (beside + effect + rng.choice([0.0, 0.2]) * rng.normal(size=shape)).clip(0, 1)
    if rng.random() < 0.3:  # the same at some slots
        same = rng.integers(min(2, slots), size=slots)
        patched, beside = patched[:, same], beside[:, same]
    if rng.random() < 0.2:
        other = clean  # no pair whose runs differ
    right = rng.random((2, pairs)) < rng.choice([0.0, 0.2, 0.9, 1.0])
    control = bool(rng.random() < 0.8)
    settings = {"seed": 0, "draws": 60, "level": float(rng.choice([0.9, 0.95])), "keep_wrong": bool(rng.random() < 0.3)}
    p_clean, p_other, p_patched, p_control = (np.float32(part) for part in (clean, other, patched, beside))
    hook = str(rng.choice(["resid_pre", "attn_out"]))
    return Interchange(
        positions="strip", control="random_same_size" if control else "", hook=hook,
        slots=tuple(range(slots)), outcomes=outcomes, ids=tuple(map(str, range(pairs))),
        groups=np.arange(pairs) % groups, directions=np.array(["left", "right"] * (pairs // 2), dtype=object),
        p_clean=p_clean, p_counterfactual=p_other, p_patched=p_patched, p_control=p_control if control else None,
        right_clean=right[0], right_counterfactual=right[1], settings=settings,
    )  # fmt: skip


@pytest.mark.parametrize("seed", SEEDS)
def test_the_main_sentence_says_the_largest_with_an_interval_for_all_slots_and_what_stands_beside_it(seed):
    found = made_up(seed)
    said, table = main_sentence(found), found.to_dataframe()
    check_form(said)
    name = "place" if "place" in found.outcomes else "clean"
    own = table[(table["direction"] == "all") & (table["outcome"] == name)]
    unit = "slot" if found.hook == "resid_pre" else "layer"
    if own.empty:
        kept = int(found.kept.sum())
        assert said.startswith("Nothing can be told of patching 'strip': ") and f"({kept} of 12 kept)" in said
        assert ("no pair of which the model gets both sides right" in said) == (kept == 0)
        assert not intervals_in(said)
        return
    level, count = found.settings["level"], len(found.slots)
    patched = own[own["set"] == "patched"]
    best = patched.loc[patched["value"].idxmax()]
    beside = own[(own["set"] == "control") & (own["slot"] == best["slot"])]
    runs = found.runs()
    (clean,) = runs[(runs["direction"] == "all") & (runs["outcome"] == name) & (runs["run"] == "clean")].to_dict(
        "records"
    )
    ends = [picked(best, count, level, (0, 1)), *(picked(row, count, level, (0, 1)) for _, row in beside.iterrows())]
    check_picked(said, *ends, tuple(clean[end] for end in NUMBERS), count=count)
    check_shared(said, (patched["value"], best["value"]))
    assert f"{unit} {best['slot']}, the largest of {count} {unit}" in said and f"{int(best['pairs'])} pairs" in said
    assert f"{best['value']:.2f}" in said and f"untouched {clean['value']:.2f}" in said
    assert ("random image tokens" in said) == (found.p_control is not None)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_other_sentences_count_pairs_and_tell_restoration_as_its_table_has_it(seed):
    found = made_up(seed)
    tables = {} if found.p_control is None else {"beyond_control": found.differences()}
    if "place" in found.outcomes:
        tables["restoration"] = found.restoration()
    told = _more(found, tables)
    for line in told:
        check_form(line)
    wrong = [int((~side).sum()) for side in (found.right_clean, found.right_counterfactual)]
    assert told[0].startswith(f"{int(found.kept.sum())} of 12 pairs ")
    assert f"wrongly in {wrong[0]}, the counterfactual side in {wrong[1]}." in told[0]
    assert all(repr(name) in told[1] for name in found.outcomes)
    score = tables.get("restoration", ())
    rows = score[(score["direction"] == "all") & (score["set"] == "patched")] if len(score) else score
    lines = [line for line in told if line.startswith("It restores")]
    assert len(lines) == (len(rows) > 0)
    if lines:
        best, count = rows.loc[rows["value"].idxmax()], len(rows)
        check_picked(lines[0], picked(best, count, found.settings["level"], RESTORED), count=count)
        check_shared(lines[0], (rows["value"], best["value"]))
        assert ("restores nothing" in lines[0]) == (best["value"] <= 0) and f"{int(best['pairs'])} pairs" in lines[0]
    changes = tables.get("beyond_control", ())
    tells = len(changes) and len(changes[(changes["direction"] == "all") & (changes["outcome"] == "place")])
    assert any("beyond the control" in line for line in told) == bool(tells)


@pytest.mark.parametrize("seed", SEEDS)
def test_what_is_raised_beyond_the_control_has_a_small_p_and_an_interval_above_the_least(seed):
    slots = tuple(range(1 + seed % 4))
    rows = Rows(seed, places(slot=slots, outcome=("place",)), few=True, pairs=11)
    table = rows.measures.assign(p_any=[made_up_p(rows.rng) for _ in slots])
    told = _beyond(SimpleNamespace(hook="resid_pre", slots=slots, settings=rows.settings), table)
    for line in told:
        check_form(line)
        check_intervals(line, [], level=rows.level)
    small = table["p_any"] <= 0.05
    above, below = table[small & (table["low"] > 0.01)], table[small & (table["high"] < -0.01)]
    assert told[0].startswith("It raises 'place' beyond the control at ") == bool(len(above))
    assert told[0].startswith("At none of ") == (not len(above))
    assert any("the control raises 'place' more" in line for line in told) == bool(len(below))
    if len(above):
        most = above.loc[above["value"].idxmax()]
        check_p(told[0], [above["p_any"].max()])
        assert f"by {most['value']:.2f} (11 pairs)" in told[0]
        assert (f"most at {most['slot']}, picked after the fact:" in told[0]) == (len(above) > 1)


def test_a_page_says_which_pairs_count():
    for seed in (place for place in SEEDS if made_up(place).to_dataframe().size):
        found = made_up(seed)
        if len(found.slots) > 1:
            continue
        said = interchange_findings(found).cautions
        keep = found.settings["keep_wrong"]
        assert (WRONG_TOO in said) == keep and (BOTH_RIGHT in said) != keep


@pytest.mark.parametrize("seed", SEEDS[:20])
def test_probabilities_that_are_not_finite_are_not_told(seed):
    found = replace(made_up(seed), p_control=None, control="")
    nothing = np.full_like(found.p_patched, np.nan)
    page = interchange_findings(replace(found, p_patched=nothing))
    for line in page.sentences:
        check_form(line)
    kept = len(found.to_dataframe()) > 0
    assert ("the model's probabilities are not finite" in page.sentences[0]) == kept
    assert not any(line.startswith("It restores") for line in page.sentences)
    nothing[:, 0] = found.p_patched[:, 0]
    first = main_sentence(replace(found, p_patched=nothing))
    check_form(first)
    assert (f"the largest of 1 {'slot' if found.hook == 'resid_pre' else 'layer'}" in first) == kept, first
