"""Sentences of the probes over made-up results, contradicting ones too: each is held against its numbers."""

from functools import partial
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from said import check_form, check_intervals, check_p, made_up_ends, made_up_p
from said_rows import Rows as AnyRows
from said_rows import check_picked, check_shared, for_all, picked, places

from interp.report.verdicts import NO_INTERVAL
from interp.stats.intervals import Interval
from probes.mechanisms.ablation.ordering import ABLATED
from probes.mechanisms.ablation.report import _sentences as of_ablation
from probes.mechanisms.amplify.measures import DIFFERENCE, RANDOM
from probes.mechanisms.amplify.report import _of_best, _of_gain
from probes.mechanisms.knockout.arms import OBJECT as CUT
from probes.mechanisms.knockout.report import _sentences as of_knockout
from probes.mechanisms.knockout.study import NO_WINDOW
from probes.mechanisms.knockout.study import UNTOUCHED as NOTHING_CUT
from probes.mechanisms.lens.report import _of_objects, _of_words
from probes.mechanisms.lens.rows import IMAGE, OBJECT, OTHER, OUTSIDE, PROBABILITY, SHARE
from probes.mechanisms.lens.study import ALL as ALL_OBJECTS
from probes.mechanisms.lens.study import BEYOND
from probes.mechanisms.probe.report import _more as more_of_probe
from probes.mechanisms.probe.report import accuracy_sentence
from probes.position.balance_arms import DIFFERENCE as APART
from probes.position.balance_measurement import KEPT, STRIPPED
from probes.position.dose_answers import UNTOUCHED, Dose
from probes.position.report.balance import _more as more_of_balance
from probes.position.report.balance import balance_sentence
from probes.position.report.dose import _more as more_of_dose
from probes.position.report.dose import dose_sentence
from probes.position.report.norms import _more as more_of_norms
from probes.position.report.norms import norms_sentence
from probes.position.report.order import _by_relation, order_sentence
from probes.position.report.order import _more as more_of_order
from probes.position.report.rope import _more as more_of_rope
from probes.position.report.rope import rope_sentence

SEEDS = range(60)
DISAGREE = "test and interval do not agree"
NONE = "no difference was detected"
Rows = partial(AnyRows, few=True, ties=True)


@pytest.mark.parametrize("seed", SEEDS)
def test_order(seed):
    kinds = ["all", "left", "above"][: 1 + seed % 3]
    names = ("accuracy", "permuted", "psi", "drop", "changed", "psi_corrected")
    rows = Rows(seed, places(measure=names, relation=kinds), samples=8)
    found = rows.object(seeds=(0, 1), original=range(8))
    told = [order_sentence(found), *more_of_order(found)]
    drop = rows.get(measure="drop", relation="all").iloc[0]
    own = rows.get(measure="psi")
    own = own[own["relation"] != "all"]
    wide = [picked(row, len(own), rows.level, (-np.inf, 1)) for _, row in own.iterrows()]
    rows.check(*told, extra=[(-drop.value, -drop.high, -drop.low), *wide])
    if len(own):
        most, least = (own.loc[own["value"].idxmax()], own.loc[own["value"].idxmin()])
        said = next(line for line in told if line.startswith("PSI "))
        if len(own) > 1 and most.value == least.value:
            check_intervals(said, own[["value", "low", "high"]].dropna().to_numpy(), level=rows.level)
            assert said.startswith(f"PSI is the same for all {len(own)} relations, {most.value:z.2f}")
            assert said.count("CI") == bool(np.isfinite(most.low)) and "picked" not in said
            return
        ends = [picked(row, len(own), rows.level, (-np.inf, 1)) for row in (most, least)[: len(own)]]
        check_picked(said, *ends, count=len(own))
        check_shared(said, *((own["value"], row.value) for row in (most, least)))
        assert (f"largest for {most.relation}, " in said) == (len(own) > 1) and "(n = 8)" in said
        assert (f"smallest for {least.relation}, " in said) == (len(own) > 1)


RELATIONS = ("left", "above", "behind", "near", "under")


def of_psi(*rows):
    """What is said of relations with these values, ends and numbers of groups."""
    numbers = pd.DataFrame(rows, columns=["value", "low", "high", "groups"])
    return _by_relation(numbers.assign(relation=RELATIONS[: len(rows)], samples=8), 0.95)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0), (1, 0, 2)])
def test_order_of_relations_in_groups_of_their_own(order):
    known, none, other = (0.7, 0.6, 0.8, 30), (0.2, np.nan, np.nan, 2), (0.4, 0.3, 0.5, 12)
    rows = [(known, none, other)[place] for place in order]
    (said,) = of_psi(*rows)
    names = [RELATIONS[rows.index(one)] for one in (known, none)]
    assert f"largest for {names[0]}, 0.70 [" in said and f"smallest for {names[1]}, 0.20 (n = 8)" in said, said
    check_picked(said, for_all(known[:3], 3, 30, 0.95, (-np.inf, 1)), (0.2, np.nan, np.nan), count=3)


def test_order_of_relations_that_are_alike():
    wide, narrow, none = (0.5, 0.2, 0.8, 9), (0.5, 0.4, 0.6, 9), (0.5, np.nan, np.nan, 2)
    same = "PSI is the same for all"
    ends = {wide: "0.50 [95 % CI 0.20, 0.80]", narrow: "0.50 [95 % CI 0.40, 0.60]", none: "0.50"}
    for one in ends:
        assert of_psi(one, one) == [f"{same} 2 relations, {ends[one]}."]
        for other in ends:
            if other != one:
                told = f"left, {ends[one]} (n = 8); above, {ends[other]} (n = 8)"
                assert of_psi(one, other) == [f"{same} 2 relations: {told}."]
    assert of_psi(*[wide] * 4, narrow) == [f"{same} 5 relations, 0.50; each has an interval of its own, in the table."]
    (said,) = of_psi(none, (np.nan, np.nan, np.nan, 2))
    assert said == "PSI for left, 0.50 (n = 8)." and of_psi((np.nan, np.nan, np.nan, 2)) == []


@pytest.mark.parametrize("seed", SEEDS)
def test_balance(seed):
    names = (
        "share_image_masked", "image_heads", "changed", "entropy_produced", "entropy_consumed", "share_system",
        "share_image", "share_text", "share_image_authors",
    )  # fmt: skip
    arms = (KEPT, STRIPPED, APART)
    rows = Rows(seed, places(measure=names, arm=arms), spread=20 if seed % 2 else 0.5)
    found = rows.object(
        row=lambda measure, arm=KEPT: rows.get(measure=measure, arm=arm).iloc[0], value=lambda name: 0.5, n=9,
        tells=lambda *asked: True, heads=16, arms=arms, balance={KEPT: SimpleNamespace(surely_over_even=3)},
    )  # fmt: skip
    told = [balance_sentence(found), *more_of_balance(found)]
    for line in told:
        check_form(line)
    if not seed % 2:
        heads = rows.get(measure="image_heads")  # a number of heads is told without decimals
        check_intervals(told[1], rows.known(), level=rows.level)
        assert len(heads) == 3
    assert "3 of all look" in told[0] and f"Holm over 16 heads at {100 * (1 - rows.level):g} %" in told[0]


@pytest.mark.parametrize("seed", SEEDS)
def test_dose(seed):
    doses = [UNTOUCHED, Dose("scale", 0.5), Dose("clip", 2.0)][: 1 + seed % 3]
    names = ("accuracy", "psi", "abs_delta_g_v", "confidence")
    at = [{"kind": dose.kind, "dose": dose.value, "relation": "all"} for dose in doses]
    rows = Rows(seed, [{**place, "measure": name} for place in at for name in names])
    apart = Rows([seed, 1], [{**place, "measure": name} for place in at[1:] for name in names])
    changes = apart.measures if len(at) > 1 else pd.DataFrame(columns=[*rows.measures.columns])
    left_out = pd.DataFrame(columns=["relation", "kind", "dose", "why"])
    found = rows.object(changes=changes, samples=8, left_out=left_out, doses=doses)
    told = [dose_sentence(found), *more_of_dose(found)]
    for line, name in zip(told, names, strict=False):
        own = apart.get(measure=name) if len(at) > 1 else ()
        if len(own):
            bounds = (-1, 1) if name in ("accuracy", "confidence") else (-np.inf, np.inf)
            most = picked(own.loc[own["value"].abs().idxmax()], len(own), rows.level, bounds)
            before = rows.get(measure=name, kind="scale", dose=1.0).iloc[0]
            check_form(line)
            ends = tuple(before[["value", "low", "high"]])
            check_picked(line, ends, most, count=len(own), interval=np.isfinite(most[1]))
            check_shared(line, (own["value"].abs(), abs(most[0])))
            assert (NONE in line) == (most[1] <= 0 <= most[2]), line
        else:
            rows.check(line)


@pytest.mark.parametrize("seed", SEEDS)
def test_rope_and_norms(seed):
    rng = np.random.default_rng(seed)
    level, depth, units = float(rng.choice([0.9, 0.95])), int(rng.choice([2, 4])), int(rng.choice([2, 3, 30]))
    every = []

    def interval(n=None):
        own = np.array([made_up_ends(rng, around=1.0) for _ in range(n or 1)])
        own[:, 1:] *= 1 if units > 2 else np.nan
        if rng.random() < 0.3:
            own = own[rng.integers(min(2, len(own)), size=len(own))]
        every.extend(tuple(row) for row in own)
        return Interval(*(own.T if n else map(float, own[0])), level)

    def axis(name):
        return SimpleNamespace(
            axis=name, abs_delta_g_v_over_all=interval(), delta_alpha_v_over_all=interval(),
            alpha_v=np.full((depth, 2), 0.3), abs_delta_g_v_by_layer=interval(depth),
            delta_alpha_v_by_layer=interval(depth),
        )  # fmt: skip

    axes = {name: axis(name) for name in ("all", "x", "y")[: 1 + 2 * (seed % 2)]}
    found = SimpleNamespace(
        of=axes.get, axes=tuple(axes), delta=1.0, n=7, settings={"level": level}, sample_groups=np.arange(units),
        largest_residual=dict.fromkeys(axes, 0.01),
    )  # fmt: skip
    said, *others = more_of_rope(found)
    for line in (rope_sentence(found), *others):
        check_form(line)
        check_intervals(line, every, level=level)
    curve, signed = (getattr(axes["all"], f"{name}_by_layer") for name in ("abs_delta_g_v", "delta_alpha_v"))
    places = np.argmax(curve.estimate), np.argmin(curve.estimate), np.argmax(np.abs(signed.estimate))
    bounds = (0, np.inf), (0, np.inf), (-1, 1)
    ends = [
        for_all(tuple(float(end[at]) for end in (own.estimate, own.low, own.high)), depth, units, level, most)
        for own, at, most in zip((curve, curve, signed), places, bounds, strict=True)
    ]
    check_form(said)
    check_picked(said, *ends, count=depth)
    curve = curve.estimate
    sizes = np.abs(signed.estimate)
    check_shared(said, (curve, curve.max()), (curve, curve.min()), (sizes, sizes.max()))
    assert f"largest in layer {int(np.argmax(curve))} of 0 to {depth - 1}, " in said
    assert f"smallest in layer {int(np.argmin(curve))}, " in said
    residual = SimpleNamespace(ratio=interval(depth), normalized_ratio=interval())
    median = dict(zip(("image", "text"), ((20.0, 19.0, 21.0), (1.0, 0.9, 1.1)), strict=True))
    tokens = SimpleNamespace(median=median.get, groups=("image", "text"), tokens=np.array([96, 40]))
    found = SimpleNamespace(
        residual=residual, n=7, tokens=lambda name: tokens, settings={"level": level}, sample_groups=np.arange(units)
    )
    told = [norms_sentence(found), *more_of_norms(found)]
    for line in (told[0], *told[2:]):
        check_form(line)
        check_intervals(line, [*every, *median.values()], level=level)
    ratio, final = residual.ratio, residual.normalized_ratio
    ends = [
        for_all(
            tuple(float(end[at]) for end in (ratio.estimate, ratio.low, ratio.high)), depth, units, level, (0, np.inf)
        )
        for at in (np.argmax(ratio.estimate), np.argmin(ratio.estimate))
    ]
    check_form(told[1])
    check_picked(told[1], *ends, (final.estimate, final.low, final.high), count=depth)
    check_shared(told[1], (ratio.estimate, ratio.estimate.max()), (ratio.estimate, ratio.estimate.min()))
    assert "half of the 96 image tokens" in told[-1] and "half of the 40 tokens of words" in told[-1]


@pytest.mark.parametrize("seed", SEEDS)
def test_knockout(seed):
    windows = dict.fromkeys(("early", "late", "all")[: 1 + seed % 3], (0, 1))
    arms = (CUT, "image->last")[: 1 + seed % 2]
    rows = Rows(seed, places(measure=("effect", "accuracy_change"), arm=arms, window=tuple(windows)), samples=9)
    beyond = ("beyond_random_image", "beyond_random_text")
    controls = Rows([seed, 1], places(measure=beyond, arm=(CUT,), window=tuple(windows)), samples=9)
    nothing = Rows([seed, 2], [{"measure": "accuracy", "arm": NOTHING_CUT, "window": NO_WINDOW}], samples=9)
    rows.measures.loc[rows.measures["measure"] == "effect", ["value", "low", "high"]] *= 100  # kept in percent
    controls.measures[["value", "low", "high"]] *= 100
    table = pd.concat([rows.measures, controls.measures, nothing.measures], ignore_index=True)

    def row(measure, arm, window):
        return table.query("measure == @measure and arm == @arm and window == @window").iloc[0]

    found = SimpleNamespace(
        measures=table, windows=windows, arms=arms, settings=rows.settings, row=row,
        tells=lambda measure, arm, *_: bool(len(table.query("measure == @measure and arm == @arm"))),
        left_out=pd.DataFrame(columns=["measure", "why"]),
    )  # fmt: skip
    told = of_knockout(found)
    every = [tuple(one) for one in table[["value", "low", "high"]].to_numpy()]
    for line in told[1:]:
        check_form(line)
        check_intervals(line, every, level=rows.level)
    own = table[table["measure"] == "effect"]
    check_form(told[0])
    check_picked(told[0], picked(own.loc[own["value"].idxmin()], len(own), rows.level, (-100, np.inf)), count=len(own))
    check_shared(told[0], (own["value"], own["value"].min()))
    assert ("loses most by" in told[0]) == bool(own["value"].min() < 0)
    assert "9 samples that are right" in told[0]
    for name, line in zip(beyond, told[-2:], strict=True):
        each = table[table["measure"] == name]
        if each["low"].isna().any():
            assert NO_INTERVAL in line and "In none" not in line
            continue
        clear, turned = int((each["high"] < 0).sum()), int((each["low"] > 0).sum())
        assert (f"in {clear} of {len(each)} window{'s' * (len(each) > 1)} by" in line) == bool(clear)
        assert ("In none of" in line) == (not clear) and (f"in {turned} random" in line) == (not clear), line
        assert ("picked after the fact" in line) == (clear > 1) and ("CI" in line) == (clear == 1)
        assert not clear or f"{each['value'][each['high'] < 0].min():+.1f}" in line
        below = each["value"][each["high"] < 0]
        check_shared(line, (below, below.min()))


@pytest.mark.parametrize("seed", SEEDS)
def test_lens(seed):
    slots = tuple(range(1 + seed % 3))
    where = (OBJECT, OUTSIDE, OTHER, *BEYOND)
    rows = Rows(seed, places(what=(ALL_OBJECTS,), measure=(SHARE,), where=where, slot=slots), samples=5)
    words = Rows([seed, 1], places(what=("cat",), measure=(PROBABILITY,), where=(IMAGE,), slot=slots), samples=5)
    told = _of_objects(rows.object(top=5))
    rows.check(*told[3:])
    (named,) = _of_words(words.measures, rows.level)
    best = words.measures.loc[words.measures["value"].idxmax()]
    check_form(named)
    check_picked(named, picked(best, len(slots), rows.level, (0, 1)), count=len(slots))
    check_shared(named, (words.measures["value"], best["value"]))
    check_shared(told[0], (rows.get(where=OBJECT)["value"], rows.get(where=OBJECT)["value"].max()))
    assert "(5 samples" in told[0] and "(5 samples" in named
    best = rows.get(where=OBJECT).set_index("slot")["value"].idxmax()
    ends = {name: picked(rows.get(where=name, slot=best).iloc[0], len(slots), rows.level, (0, 1)) for name in where[:3]}
    check_form(told[0])
    check_picked(told[0], *(ends[name] for name in where[:3]), count=len(slots))
    for line, name in zip(told[1:3], BEYOND, strict=True):
        apart = picked(rows.get(where=name, slot=best).iloc[0], len(slots), rows.level, (-1, 1))
        check_form(line)
        check_picked(line, apart, count=1)
        assert (NONE in line) == (apart[1] <= 0 <= apart[2]), line


@pytest.mark.parametrize("seed", SEEDS)
def test_probe(seed):
    sites = ("projector", "layer 0", "layer 1")[: 1 + seed % 3]
    names = ("accuracy", "position", "control", "strip", "strip_position", "strip_beyond_position")
    rows = Rows(seed, places(measure=names, site=sites), samples=6)
    p = np.float32([made_up_p(rows.rng) for _ in sites])
    strips = pd.DataFrame({"site": sites, "p_value": p, "p_corrected": np.minimum(2 * p, 1)})
    found = rows.object(
        names=sites, axis="horizontal", n_train=10, n_test=6, chance=0.5, strips=lambda: strips,
        row=lambda measure, site: rows.get(measure=measure, site=site).iloc[0],
    )  # fmt: skip
    told = [accuracy_sentence(found), *more_of_probe(found)]
    rows.check(*told[: 2 if len(sites) == 1 else 3])
    if len(sites) > 1:
        own = rows.get(measure="accuracy")
        check_form(told[3])
        check_picked(told[3], picked(own.loc[own["value"].idxmax()], len(sites), rows.level, (0, 1)), count=len(sites))
        check_shared(told[3], (own["value"], own["value"].max()))
    known = rows.measures
    found.measures = known[~known["measure"].isin(("strip_position", "strip_beyond_position"))]
    alone = more_of_probe(found)
    rows.check(*alone[:2])
    assert "6 photos" in alone[0] and alone[0].endswith("what a place says by itself can not be told.")
    assert alone[1:] == told[2:]
    found.measures = known
    check_p(told[1], [float(p[0])])
    more = rows.get(measure="strip_beyond_position", site="projector").iloc[0]
    assert ("more than what a place" in told[1]) == (more.low > 0)
    assert ("less than what a place" in told[1]) == (more.high < 0) and "6 photos" in told[1]
    if len(sites) > 1:
        low = rows.get(measure="strip").set_index("site")["low"]
        small = {site for site, own in zip(sites, strips["p_corrected"], strict=True) if own <= np.float32(0.05)}
        holds = {site for site in small if low[site] > 0}
        assert f"at {len(holds)} of {len(sites)} sites" in told[2] and all(site in told[2] for site in holds)
        assert (f"At {len(small - holds)} of them {DISAGREE}" in told[2]) == bool(small - holds)


@pytest.mark.parametrize("seed", SEEDS)
def test_amplify(seed):
    names = ("accuracy", "corrected", "broken", "net")
    rows = Rows(seed, places(source=("probe", RANDOM, DIFFERENCE)[: 2 + seed % 2], measure=names))
    alphas = (0.5, 2.0, 4.0)[: 1 + seed % 3]
    at = [{"axis": "all", "source": "probe", "measure": "net", "alpha": alpha} for alpha in alphas]
    at.append({"axis": "all", "source": "untouched", "measure": "accuracy", "alpha": np.nan})
    every = Rows([seed, 1], at)
    net, p = rows.get(source="probe", measure="net").iloc[0], made_up_p(rows.rng)
    small = p < 1 - rows.level
    gain = {"over_untouched": net.low > 0 and small, "beyond_random": bool(seed % 2), "p": p}
    chosen = pd.DataFrame({"source": ["probe"] * 2, "alpha": [0.5, 2.0]})
    found = SimpleNamespace(
        held_out=rows.measures, measures=every.measures, gain=gain, chosen=chosen, ids=range(12), seeds=(0, 1, 2),
        settings=rows.settings,
    )  # fmt: skip
    first, second, best = *_of_gain(found), _of_best(found)
    rows.check(first, second, extra=every.known())
    own = every.get(measure="net")
    ends = [
        picked(own.loc[place], len(own), rows.level, (-1, 1))
        for place in (own["value"].idxmax(), own["value"].idxmin())
    ]
    check_form(best)
    worst = own["value"].min() < own["value"].max()
    check_picked(best, *ends[: 1 + worst], count=len(own))
    values = own["value"]
    check_shared(best, (values, values.max()), *([(values, values.min())] if worst else []))
    check_p(first, [p])
    apart = net.low > 0 or net.high < 0
    assert first.startswith("Amplification helps: ") == (net.low > 0 and small)
    assert first.startswith(f"Of a gain by amplification {DISAGREE}") == (small != apart)
    assert first.startswith("No gain by amplification was detected") == (small == apart and not (net.low > 0 and small))
    assert "of 12 items corrected" in first and ("The worst is" in best) == worst


@pytest.mark.parametrize("seed", SEEDS)
def test_ablation(seed):
    apart = ("removed - untouched", "kept - untouched", "removed - kept", "random - untouched")
    at = [*places(measure=("difference",), arm=apart), *places(measure=("accuracy",), arm=("untouched", ABLATED))]
    rows = Rows(seed, [*at, {"measure": "over_chance", "arm": ABLATED}], samples=9)
    found = rows.object(
        row=lambda measure, arm: rows.get(measure=measure, arm=arm).iloc[0], chance={"all": 0.5} if seed % 3 else {}
    )
    told = of_ablation(found)
    rows.check(*told)
    for name, line in zip(apart, told[1:5], strict=True):
        row = rows.get(arm=name).iloc[0]
        assert (NONE in line) == (row.low <= 0 <= row.high), line
    if seed % 3:
        over = rows.get(measure="over_chance").iloc[0]
        assert ("more than a guess by itself" in told[5]) == (over.low > 0)
        assert ("less than a guess scores" in told[5]) == (over.high < 0)
        assert (NONE in told[5]) == (over.low <= 0 <= over.high)
        assert (NO_INTERVAL in told[5]) == np.isnan(over.low)
