"""Sentences of the head tools over made-up results, contradicting ones too: each is held against its numbers."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from said import check_form, check_intervals, check_p, intervals_in, made_up_ends, made_up_p
from said_rows import Rows, places

from interp.stats.clusters import clustered_mean
from interp.stats.tests import holm
from probes.heads.evaluation.report import _verdict
from probes.heads.evaluation.verdicts import CAUSAL, NO_EFFECT, Evidence, judge
from probes.heads.found.collected import _sentences as of_collected
from probes.heads.found.collected import _shown as shown_collected
from probes.heads.found.collected import functions_table
from probes.heads.found.compare import _sentences as of_compared
from probes.heads.sha.arms import BOTH, ELSEWHERE, ORIGINAL
from probes.heads.sha.report import _against_control, _answers_told, _heads_told

SEEDS = range(60)
DISAGREE = "test and interval do not agree"
NONE = "no difference was detected"


@pytest.mark.parametrize("seed", SEEDS)
def test_sha(seed):
    at = places(measure=("accuracy", "parse_failures"), arm=(ORIGINAL, BOTH), function=("all",))
    shares = Rows(seed, at, samples=9)
    held = places(
        measure=("accuracy", "parse_failures"), arm=(BOTH,), function=("all",), baseline=(ORIGINAL, ELSEWHERE)
    )
    apart = Rows([seed, 1], held, samples=9, groups=4)
    p = [made_up_p(shares.rng) for _ in held]
    apart.measures = apart.measures.assign(p=p, p_any=p)
    heads = Rows(
        [seed, 2], places(arm=(ORIGINAL, BOTH), function=("spatial",)), spread=20, of=64, null=2.0, p=p[0], deals=20.0
    )
    held = places(arm=(BOTH,), function=("spatial",), baseline=(ORIGINAL, ELSEWHERE))
    more = Rows([seed, 3], held, spread=9, p=p[1], deals=20.0)
    found = SimpleNamespace(
        accuracy=shares.measures, against_original=apart.measures, heads_against_original=more.measures,
        arms=(ORIGINAL, BOTH, ELSEWHERE), settings={**shares.settings, "scorer": "linear_probe", "rule": "fdr"},
        share=lambda measure, arm, function: shares.get(measure=measure, arm=arm).iloc[0],
        found=lambda arm, function: heads.get(arm=arm).iloc[0],
        against=lambda measure, arm, function, baseline=ORIGINAL: apart.get(measure=measure, baseline=baseline).iloc[0],
    )  # fmt: skip
    for line, baseline in ((_answers_told(found, "all"), ORIGINAL), (_against_control(found, "all"), ELSEWHERE)):
        shares.check(line, extra=apart.known())
        gap = apart.get(measure="accuracy", baseline=baseline).iloc[0]
        check_p(line, [gap.p])
        small, above, below = gap.p < 0.05, gap.low > 0, gap.high < 0
        assert ("): more." in line) == (small and above) and ("): fewer." in line) == (small and below)
        assert (DISAGREE in line) == (small != (above or below)), line
        assert (NONE in line) == (not small and not above and not below)
    said = _heads_told(found, "spatial")
    check_form(said)
    check_intervals(said, more.known(), level=shares.level, all_of=True)
    check_p(said, p)
    assert said.count("labels dealt anew 20 times, one-sided, not corrected") == 4


@pytest.mark.parametrize("seed", range(120))
def test_a_head_set_is_causal_where_test_and_interval_agree(seed):
    rng = np.random.default_rng(seed)
    value, low, high = made_up_ends(rng)
    p = made_up_p(rng)
    given = Evidence(
        edits=True, effect=-value, p=p, p_random=p, random={"random": [0.0] * 6}, control_loss=0.0,
        clear=low > 0 or high < 0,
    )  # fmt: skip
    verdict, why = judge(given)
    small, below = p < 0.05, high < 0
    assert (verdict == CAUSAL) == (small and below), (value, low, high, p)
    assert (verdict == NO_EFFECT) == (not (small and given.clear and value < 0))
    assert (DISAGREE in why) == (value < 0 and small != given.clear)
    row = {
        "factor": 0.0, "heads": 2, "edited": 2, "verdict": verdict, "why": why, "p_holm": p, "accuracy_change": value,
        "accuracy_change_low": low, "accuracy_change_high": high, "accuracy": 0.5, "accuracy_low": 0.25,
        "accuracy_high": 0.75,
    }  # fmt: skip
    found = SimpleNamespace(arm=lambda name: row, edit="scale", sets={"own": ()}, settings={"level": 0.95})
    said = _verdict(found, "own")
    check_form(said)
    check_intervals(said, [(value, low, high), (0.5, 0.25, 0.75)], all_of=True)
    check_p(said, [p])


@pytest.mark.parametrize("seed", SEEDS)
def test_compared_scores(seed):
    rng = np.random.default_rng(seed)
    functions = ["spatial", "math", "recall"][: 1 + seed % 3]
    p = [made_up_p(rng) for _ in functions]
    agreement = pd.DataFrame(
        {"function": functions, "first": "a", "second": "b", "measure": "spearman", "random": 0.1, "within": 0.2,
         "value": rng.uniform(-1, 1, len(functions)), "p_within": p, "p_within_holm": holm(p)}
    )  # fmt: skip
    ends = made_up_ends(rng)
    named = {"function": "math", "scorer": "gaze", "first": "a", "second": "b", "random": 0.1, "p_holm": p[0]}
    models = pd.DataFrame([named | dict(zip(("value", "low", "high"), ends, strict=True))])
    settings = {"level": 0.9, "deals": 999}
    first, second = of_compared(SimpleNamespace(agreement=agreement, models=models, settings=settings))
    check_form(first)
    check_form(second)
    check_intervals(second, [ends], level=0.9, all_of=True)
    check_p(second, p[:1])
    order = np.argsort(p)
    passed = 0  # Holm, step by step
    for place, at in enumerate(order):
        if p[at] * (len(p) - place) > 0.05:
            break
        passed += 1
    if len(p) > 1:
        assert f"more than the latter in {passed or 'none'} of them" in first and f"for {len(p)} by Holm" in first
    else:
        assert ("more than the latter" in first) == bool(passed) != (NONE in first)
        check_p(first, p)
    assert f"on average over {len(functions)} function" in first


@pytest.mark.parametrize("seed", range(20))
def test_collected_items_are_counted_and_both_shares_have_their_intervals(seed):
    rng = np.random.default_rng(seed)
    count, of = int(rng.choice([1, 4, 30])), int(rng.choice([1, 2, 12]))
    groups, right = [f"g{n % of}" for n in range(count)], rng.random(count) < 0.5
    parsed = right | (rng.random(count) < 0.5)
    gone = pd.DataFrame({"id": ["x"] * (seed % 3), "why": "it said nothing"})
    heads = SimpleNamespace(
        functions=[()] * count, groups=groups, correct=right, items=pd.DataFrame({"parsed": parsed}), left_out=gone,
        labels=None, axes=(1 + seed % 2, 4, 8),
    )  # fmt: skip
    found = type("Collected", (), {**vars(heads), "__len__": lambda self: count})()
    table, _ = functions_table(found, seed=0, draws=200, level=0.9)
    said, *more = of_collected(found, table, 0.9)
    check_form(said)
    ends = [clustered_mean(own, groups, seed=0, n=200, level=0.9, bounds=(0, 1)) for own in (right, ~parsed)]
    known = [(one.estimate, one.low, one.high) for one in ends]
    bounded = min(count, of) > 2
    check_intervals(said, known, level=0.9)
    assert len(intervals_in(said)) == 2 * bounded, said
    assert said.startswith(f"{count} item{'s' * (count != 1)}, {1 + seed % 2} layer{'s' * (seed % 2)} of 4 heads, 8 ")
    assert more[0].startswith(("No item", "1 item has no", "2 items have no")[seed % 3])
    assert shown_collected(table)["no option, %"].str.contains(r"\[").all() == bounded
