"""Sentences and tables of found heads over made-up scores, contradicting ones too: each is held against its numbers."""

import re
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pytest
from head_scores import made_scores
from said import check_form, check_p, made_up_p
from said_rows import said_shared

from interp.stats.tests import holm
from probes.heads.found.across import agreement, layouts
from probes.heads.found.find import FoundHeads
from probes.heads.found.report import MEASURES, NULLS, called, found_findings
from probes.heads.selection.layout import functions_in_common
from probes.heads.selection.selectors import select_all

NAMES = ("spatial", "math", "recall")
LAYERS, HEADS = 4, 5
RULES = (("elbow", {}), ("top_k", {"k": 3}), ("fdr", {}))
KINDS = ("as measured", "alike", "noise", "p unknown", "left out")
SEEDS = range(15)


def made_up_scores(rng, scorer, functions, kind):
    """Scores whose p-values and draws need not agree with them."""
    shape = (len(functions), LAYERS, HEADS)
    values = {"alike": np.full(shape, 0.5), "noise": rng.normal(size=shape)}.get(kind, rng.exponential(size=shape))
    p = np.reshape([made_up_p(rng) for _ in range(values.size)], shape)
    draws = values + (0 if kind == "alike" else 0.5) * rng.normal(size=(30, *shape))
    p_any = np.full(shape, np.nan) if kind == "p unknown" else np.minimum(1, p * rng.choice([1.0, 4.0]))
    made = made_scores(values, functions, scorer, null=np.full(shape, 0.4), p=p, p_any=p_any)
    untold = ({"function": "gaze", "why": "it has one group"},) if kind == "left out" else ()
    groups = (int(rng.choice([1, 2, 12])),) * len(functions)
    return replace(made, draws=draws.astype(np.float32), groups=groups, left_out=untold)


def made_up(seed):
    """Found heads, put together as `find_heads` does."""
    rng = np.random.default_rng(seed)
    functions, kind, (rule, given) = NAMES[: 1 + seed % 3], KINDS[seed % 5], RULES[seed // 5]
    scorers = ("linear_probe", "joint_network")[: 1 + seed % 2]
    scores = {name: made_up_scores(rng, name, functions, kind) for name in scorers}
    drawing = {"deals": (19, 200)[seed % 2], "seed": seed, "level": float(rng.choice([0.9, 0.95]))}
    untold = []
    sets = {name: select_all(own, rule, **given) for name, own in scores.items()}
    shared = {
        name: functions_in_common(own, rule, **drawing, **given).table
        for name, own in scores.items()
        if len(functions) > 1
    }
    return FoundHeads(
        scores=scores, sets=sets, rule=sets["linear_probe"][0].rule, layout=layouts(scores, drawing, untold),
        in_common=shared, agreement=agreement(scores, rule, {**drawing, **given}, untold), activations="",
        untold=tuple(untold), settings={**drawing, "items": 40},
    )  # fmt: skip


def told_of(seed):
    found = made_up(seed)
    told = found_findings(found)
    for one in told.figures.values():
        plt.close(one.figure)
    return found, told


@pytest.mark.parametrize("seed", SEEDS)
def test_sentences(seed):
    found, told = told_of(seed)
    said = list(told.sentences)
    assert all(one.endswith(".") for one in said)
    for one in [*said, *told.cautions]:
        check_form(one)
        assert not re.search(r"\b0 (of them|heads?|rightly)\b|select 0\b", one), one
    for name in found.scorers:
        masks = np.stack([one.mask() for one in found.sets[name]]).sum(axis=0)
        one = said.pop(0)
        if len(found.functions) == 1:
            assert f"select {int(masks.sum()) or 'none'} for" in one
        elif masks.any():
            assert f"select {(masks > 0).sum()} for any function" in one
            assert f"; {(masks > 1).sum() or 'none'} of them serve" in one
        else:
            assert "select none for any function." in one
    first, scores = found.sets["linear_probe"], found.scores["linear_probe"]
    for own in first:
        one = said.pop(0)
        assert one.startswith(called(own.function))
        if not len(own):
            assert f"no head, as {own.why}" in one
            continue
        place = (scores.place(own.function), *own.heads[0])
        assert f": {len(own)} head{'s' * (len(own) != 1)};" in one and f"head {place[2]} of layer {place[1]}" in one
        shared = said_shared(scores.values[place[0]].ravel(), scores.values[place])
        beside = f"{shared and ', '}{shared}, 0.400 {NULLS['linear_probe']}"
        assert f"with {scores.values[place]:z.3f}{beside}" in one
        check_p(one, [scores.p_any[place]])
        assert "CI" not in one
        assert (f"corrected for {LAYERS * HEADS} heads" in one) == np.isfinite(scores.p_any[place])
    for one in [one for one in said if "not scored" in one]:
        assert one.startswith("gaze is not scored by")
    table = [] if found.agreement is None else [rows for _, rows in found.agreement.groupby("measure", sort=False)]
    known = [own[own["value"].notna()] for own in table if own["value"].notna().any()]
    said = [one for one in said if " agree by " in one]
    assert len(said) == len(known)
    for one, own in zip(said, known, strict=True):
        p = holm(own["p_within"])
        assert f"with {own['value'].astype(float).mean():z.2f} " in one
        if (1 + found.settings["deals"]) * 0.05 < len(own):
            assert "can not be told, as 19 deals" in one
        elif len(own) > 1:
            assert f"in {(p <= 0.05).sum() or 'none'} of them (p ≤ 0.05," in one and f"for {len(own)} by Holm" in one
        else:
            check_p(one, list(p))
            assert ("no difference was detected" in one) == (p[0] > 0.05)


@pytest.mark.parametrize("seed", SEEDS)
def test_tables(seed):
    found, told = told_of(seed)
    level = found.settings["level"]
    by_title = {part.title: part for part in told.sections()}
    for title, table in told.shown.items():
        text = " ".join(table.astype(str).to_numpy().ravel())
        assert not re.search(r"\bnan\b|\bNone\b", text), text
        for value, low, high in re.findall(r"(-?[\d.]+) \[(-?[\d.]+), (-?[\d.]+)\]", text):
            assert float(low) <= float(value) <= float(high), text
        assert by_title[title].text == ((f"Brackets hold confidence intervals of {100 * level:g} %.",) * ("[" in text))
    if "How few heads, and where" in told.shown:
        shown = told.shown["How few heads, and where"]
        rows = told.tables["layout"].query("measure in @MEASURES")
        for cell, row in zip(shown["value"], rows.itertuples(), strict=True):
            ends = [f"{own:z.{MEASURES[row.measure]}f}" for own in (row.value, row.low, row.high)]
            assert cell == (f"{ends[0]} [{ends[1]}, {ends[2]}]" if np.isfinite(row.low) else ends[0]), cell
    for name, table in found.in_common.items():
        shown, rows = told.shown[f"What functions have in common, {name}"], table[table["measure"] == "shared"]
        pairs = len(rows)
        (head,) = [one for one in shown if one.startswith("p,")]
        assert (
            head
            == f"p, heads dealt anew, one-sided, corrected for {pairs} pair{'s' * (pairs > 1)} of functions by Holm"
        )
        p = rows["p_random"].to_numpy()
        wanted = np.full(pairs, np.nan)
        wanted[np.isfinite(p)] = holm(p[np.isfinite(p)])
        for cell, own in zip(shown[head], wanted, strict=True):
            assert cell == ("–" if np.isnan(own) else "<0.0001" if own < 1e-4 else f"{own:.2g}")
