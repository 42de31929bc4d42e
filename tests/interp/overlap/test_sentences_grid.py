"""Sentences of an overlap study over made-up results, contradicting ones included: each is held against its numbers."""

import re
from collections import defaultdict
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from made_up_overlap import made_up_study
from said import check_form, check_intervals, check_p, intervals_in, made_up_ends, made_up_p, named_layers

from interp.overlap.report.sections import Photos, _surviving, cautions_of, lead, sections
from interp.overlap.report.sentences import association_says, layers_say, null_says, partial_says
from interp.overlap.report.write import tables_of
from interp.overlap.study.examine import OverlapAnalysis, examine_overlap
from interp.stats.intervals import Interval, wilson
from interp.stats.layer_choice import TEST

SEEDS = range(150)
DISAGREE = "test and interval do not agree"


def made_up_association(rng, n_layers):
    """An association of layers and two heads, whose parts need not agree."""
    shape = (n_layers, 3)
    rows = np.array([made_up_ends(rng, around=0.5, spread=0.5) for _ in range(3 * n_layers)]).reshape(*shape, 3)
    gone = rng.random(shape) < rng.choice([0, 0.3, 1], p=[0.6, 0.3, 0.1])
    rows[gone] = np.nan
    auroc, low, high = np.moveaxis(rows, -1, 0)
    p = np.array([made_up_p(rng) for _ in range(3 * n_layers)]).reshape(shape)
    null = np.sort(rng.uniform(0.3, 0.7, (*shape, 3)))
    n_right, n_wrong = (int(count) for count in rng.integers(1, 40, 2))
    found = SimpleNamespace(
        auroc=auroc, low_all=low, high_all=high, p=p, p_max=np.where(gone, np.nan, p), null_low=null[..., 0],
        null_mean=null[..., 1], null_high=null[..., 2], n=rng.integers(1, n_right + n_wrong + 1, shape),
        n_right=n_right, n_wrong=n_wrong, level=float(rng.choice([0.9, 0.95])),
    )  # fmt: skip
    layer, head = (axis.ravel() for axis in np.indices(shape))
    names = ("auroc", "low_all", "high_all", "p", "p_max", "null_low", "null_mean", "null_high")
    columns = {name: getattr(found, name).ravel() for name in names}
    found.to_dataframe = lambda: pd.DataFrame({"layer": layer, "head": np.where(head == 2, -1, head), **columns})
    return found


def claims_of(found):
    """Of the head mean: layers that are higher, lower, and those in which test and interval do not agree."""
    auroc, low, high, p = (getattr(found, name)[:, -1] for name in ("auroc", "low_all", "high_all", "p_max"))
    higher = {layer for layer in range(len(p)) if p[layer] < 0.05 and low[layer] > 0.5}
    lower = {layer for layer in range(len(p)) if p[layer] < 0.05 and high[layer] < 0.5}
    apart = {layer for layer in range(len(p)) if low[layer] > 0.5 or high[layer] < 0.5}
    small = {layer for layer in range(len(p)) if p[layer] < 0.05}
    return higher, lower, small, apart, int(np.nanargmax(np.abs(auroc - 0.5)))


@pytest.mark.parametrize("seed", SEEDS)
def test_an_association_claims_where_its_corrected_test_and_its_interval_agree(seed):
    rng = np.random.default_rng([seed, 0])
    found = made_up_association(rng, int(rng.choice([1, 2, 6])))
    said = association_says(found, "inside relations", "mass")
    check_form(said)
    if np.isnan(found.auroc[:, -1]).all():
        assert f"{found.n_right} right, {found.n_wrong} wrong" in said and "nothing can be said" in said
        return
    higher, lower, small, apart, layer = claims_of(found)
    assert named_layers(said, "higher in") == higher and named_layers(said, "lower in") == lower, said
    assert ("no difference was detected" in said) == (not higher and not lower)
    row = tuple(getattr(found, name)[layer, -1] for name in ("auroc", "low_all", "high_all"))
    check_intervals(said, [row], level=found.level, all_of=True)
    assert f"is layer {layer}: " in said
    assert f"over {found.n[layer, -1]} of {found.n_right + found.n_wrong} answers" in said
    check_p(said, [found.p_max[layer, -1]])
    mean, start, end = (getattr(found, f"null_{name}")[layer, -1] for name in ("mean", "low", "high"))
    assert f"{mean:.3f} ({100 * found.level:g} % of shuffles {start:.3f} to {end:.3f})" in said
    split = (small - apart) | ({layer} if (layer in small) != (layer in apart) else set())
    told = re.findall(rf"In layers? ([^a-z]+?) {DISAGREE}", said)
    assert bool(told) == bool(split) and (not split or named_layers(said, "In") == split), said


@pytest.mark.parametrize("seed", SEEDS)
def test_the_short_form_says_the_same_of_the_farthest_layer(seed):
    rng = np.random.default_rng([seed, 0])
    found = made_up_association(rng, int(rng.choice([1, 2, 6])))
    share = wilson(found.n_right, found.n_right + found.n_wrong)
    gain = [made_up_ends(rng) for _ in range(3)]
    analysis = SimpleNamespace(
        accuracy=share, pooled=found, within=found, measure="mass", region="union", normalisation="image",
        layers=made_up_choice(rng), above={"even": Interval(*np.array(gain).T)}, above_measure="mass", not_done=(),
        further={},
    )  # fmt: skip
    first, pooled, within, layers, above = OverlapAnalysis.describe(analysis).splitlines()
    for line in (first, pooled, within, layers, above):
        check_form(line)
    check_intervals(first, [(share.estimate, share.low, share.high)], all_of=True)
    assert f"of {found.n_right + found.n_wrong} answers" in first
    assert within.partition("inside relations")[2] == pooled.partition("over all pairs")[2]
    ends = [(one.estimate, one.low, one.high) for one in vars(analysis.layers).values() if isinstance(one, Interval)]
    check_intervals(layers, ends, all_of=not np.isnan(analysis.layers.difference.estimate))
    values = [one[0] for one in gain]
    check_intervals(above, [gain[int(np.argmin(values))], gain[int(np.argmax(values))]], all_of=True)
    if np.isnan(found.auroc[:, -1]).all():
        assert "no right answer can be compared" in pooled
        return
    higher, lower, small, apart, layer = claims_of(found)
    row = tuple(getattr(found, name)[layer, -1] for name in ("auroc", "low_all", "high_all"))
    check_intervals(pooled, [row], level=found.level, all_of=True)
    check_p(pooled, [found.p_max[layer, -1]])
    assert ("higher in right answers" in pooled) == (layer in higher)
    assert ("lower in right answers" in pooled) == (layer in lower)
    assert (DISAGREE in pooled) == ((layer in small) != (layer in apart))
    assert ("no difference was detected" in pooled) == (layer not in small | apart)


@pytest.mark.parametrize("seed", SEEDS)
def test_of_a_null_each_layers_interval_says_more_or_less(seed):
    rng = np.random.default_rng([seed, 1])
    n_layers, of = int(rng.choice([1, 2, 6])), 30
    rows = np.array([made_up_ends(rng) for _ in range(n_layers)])
    rows[rng.random(n_layers) < 0.3] = np.nan
    counts = rng.integers(1, of + 1, n_layers) if rng.random() < 0.5 else np.full(n_layers, 27)
    shown = list(range(0, n_layers, 2))
    said = null_says("moved", Interval(*rows.T, 0.9), shown, counts, of)
    check_form(said)
    known = np.isfinite(rows[:, 0])
    if not known.any():
        assert "not defined in any layer" in said
        return
    more, less = set(np.flatnonzero(rows[:, 1] > 0)), set(np.flatnonzero(rows[:, 2] < 0))
    assert named_layers(said, "more in") == more and named_layers(said, "less in") == less, said
    assert ("no difference was detected" in said) == (not more and not less)
    told = [layer for layer in shown if known[layer]]
    check_intervals(said, [tuple(rows[layer]) for layer in told], level=0.9, all_of=True)
    assert all(f"layer {layer} " in said for layer in told)
    fewest, most = counts[known].min(), counts[known].max()
    assert (f"({most} of 30 samples)" if fewest == most else f"({fewest} to {most}, by layer, of 30 samples)") in said


def made_up_choice(rng):
    """A comparison of the paper's layers with the best, whose parts need not agree."""
    gain = made_up_ends(rng, spread=0.3) if rng.random() < 0.9 else (np.nan, np.nan, np.nan)
    chosen, best = (Interval(*made_up_ends(rng, around=0.5, spread=0.4)) for _ in range(2))
    return SimpleNamespace(
        difference=Interval(*gain), chosen=chosen, best=best, p=made_up_p(rng), width=int(rng.choice([1, 2])),
        chosen_layers=(17, 18), chosen_reversed=float(rng.choice([0, 0.25, 1])),
        best_reversed=float(rng.choice([0, 0.75, 1])), apparent=float(rng.choice([0.499, 0.8, best.estimate])),
        apparent_reversed=bool(rng.random() < 0.5), apparent_layers=(5,), n_right=int(rng.integers(1, 99)),
        n_wrong=int(rng.integers(1, 99)),
    )  # fmt: skip


@pytest.mark.parametrize("seed", SEEDS)
def test_the_best_layers_are_better_where_test_and_interval_agree_and_too_high_where_they_are_higher(seed):
    found = made_up_choice(np.random.default_rng([seed, 2]))
    said = layers_say(found, "mass")
    check_form(said)
    gain = found.difference
    if np.isnan(gain.estimate):
        assert "can not be set against the best" in said
        return
    check_intervals(said, [(one.estimate, one.low, one.high) for one in (found.chosen, found.best, gain)], all_of=True)
    check_p(said, [found.p])
    small, above, below = found.p < 0.05, gain.low > 0, gain.high < 0
    assert ("predict right answers better" in said) == (small and above)
    assert ("predict right answers worse" in said) == (small and below)
    assert (DISAGREE in said) == (small != (above or below))
    assert ("no difference was detected" in said) == (not small and not above and not below)
    assert f"over {found.n_right} right and {found.n_wrong} wrong answers" in said
    assert f", {TEST}, over" in said
    for one in (found.chosen, found.best):
        words = "which holds on" if one.low > 0.5 else "which turns round on" if one.high < 0.5 else "can not be told"
        assert words in said
    holds = sum(one.low > 0.5 for one in (found.chosen, found.best))
    assert said.count("which holds on other samples") == holds
    more = round(round(found.apparent, 3) - round(found.best.estimate, 3), 3)
    assert f"would seem to have {found.apparent:.3f}{' (' if found.apparent != 0.5 else ':'}" in said
    assert said.endswith(
        f"): {more:.3f} more than on other samples." if more > 0 else "): no more than on other samples."
    )
    assert "too high" not in said


def test_of_0_499_beside_0_503_nobody_says_too_high():
    found = made_up_choice(np.random.default_rng(3))
    found.difference, found.apparent = Interval(0.0, -0.1, 0.1), 0.499
    found.best = Interval(0.503, 0.4, 0.6)
    assert layers_say(found, "mass").endswith("answers): no more than on other samples.")


@pytest.mark.parametrize("seed", SEEDS)
def test_beside_covariates_an_effect_is_said_where_test_and_interval_agree_and_the_data_hold_it(seed):
    rng = np.random.default_rng([seed, 4])
    n_layers = int(rng.choice([1, 2, 6]))
    rows = np.array([made_up_ends(rng) for _ in range(n_layers)])
    p = np.array([made_up_p(rng) for _ in range(n_layers)])
    gone = rng.random(n_layers) < rng.choice([0, 0.5, 1], p=[0.7, 0.2, 0.1])
    rows[gone], p[gone] = np.nan, np.nan
    held = (rng.random(n_layers) < 0.3) & ~gone
    own = SimpleNamespace(log_odds=rows[:, 0], low=rows[:, 1], high=rows[:, 2], p_bh=p, separated=held)
    n, left_out = np.full(n_layers, 40), np.full(n_layers, 2)
    found = SimpleNamespace(
        adjusted=own, beside=("confidence",), skipped=("relation=left",) * bool(seed % 2), test="likelihood ratio",
        n=n, left_out=left_out, constant=("area",) * bool(seed % 3), unadjusted=own,
    )  # fmt: skip
    said = partial_says(found, "mass")
    assert ("the same in all samples: area" in said) == bool(seed % 3)
    check_form(said)
    if gone.all():
        assert "no effect of the mass can be told, as of the 40 answers that are left" in said
        assert ("relation=left" in said) == bool(seed % 2)
        return
    small, above, below = p < 0.05, rows[:, 1] > 0, rows[:, 2] < 0
    right, wrong = (set(np.flatnonzero(small & side & ~held)) for side in (above, below))
    assert named_layers(said, "goes with right answers in") == right, said
    assert named_layers(said, "goes with wrong answers in") == wrong, said
    assert ("no difference was detected" in said) == (not right and not wrong)
    split = set(np.flatnonzero(small & ~above & ~below & ~held))
    assert (DISAGREE in said) == bool(split) and ("only the penalty" in said) == bool(held.any())
    assert "(likelihood ratio, corrected for a false discovery rate" in said and "40 of 42 answers" in said
    assert ("relation=left" in said) == bool(seed % 2)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_cells_that_survive_are_counted_and_those_whose_interval_disagrees_apart(seed):
    found = made_up_association(np.random.default_rng([seed, 5]), 3)
    said, table = _surviving(found)
    check_form(said)
    kept = found.p_max < 0.05
    split = int((kept & ~(found.low_all > 0.5) & ~(found.high_all < 0.5)).sum())
    assert f"Of {int(np.isfinite(found.auroc).sum())} layers and heads" in said
    assert ("no difference was detected in any" in said) == (not kept.any()) == (table is None)
    if kept.any():
        assert f", {int(kept.sum())} {'has' if kept.sum() == 1 else 'have'} a corrected p below 0.05" in said
        assert (f"In {split} of these {DISAGREE}" in said) == bool(split)
        nulls = [name for name in table if name.startswith("with shuffled answers")]
        assert len(nulls) == 1 and not table[nulls[0]].str.contains(r"\[").any(), "a null's range is no interval"


STUDIES = {
    "no effect": dict(n=60),
    "five wrong": dict(n=40, right=[place >= 5 for place in range(40)]),
    "all right": dict(n=40, right=True),
    "two photos": dict(n=40, effect=1.5, group=[f"photo {place % 2}" for place in range(40)]),
    "one photo": dict(n=40, group=["photo"] * 40),
    "few groups": dict(n=20, group=[f"pair {place % 4}" for place in range(20)]),
}


@pytest.mark.parametrize("name", STUDIES)
def test_every_sentence_of_a_page_has_its_form(name):
    how = dict(STUDIES[name])
    study = made_up_study(how.pop("n"), **how)
    found = examine_overlap(study, n_draws=100)
    tables, figures = tables_of(study, found), defaultdict(lambda: None)
    cautions = cautions_of(study, found, "it was trained on drawn scenes.")
    parts = sections(study, found, tables, figures, cautions=cautions, photos=Photos("not drawn."))
    told = [lead(study, found), *cautions, *(line for part in parts for line in part.text)]
    assert len(told) > 20
    for line in told:
        check_form(line)
    shared = set(study.samples["group"])
    assert bool(intervals_in(told[0])) == (len(shared) > 2), "the first paragraph has the share of right answers"


@pytest.mark.parametrize("groups", (1, 2))
def test_samples_of_fewer_than_three_groups_have_no_interval_and_nothing_is_claimed(groups):
    study = made_up_study(40, effect=1.5, seed=4, group=[f"photo {place % groups}" for place in range(40)])
    found = examine_overlap(study, n_draws=200)
    parts = sections(
        study,
        found,
        tables_of(study, found),
        defaultdict(lambda: None),
        cautions=(cautions := cautions_of(study, found, None)),
        photos=Photos("not drawn."),
    )
    assert (
        f"Samples lie in {groups} group{'s' * (groups > 1)}: what is drawn by group has no interval of fewer than 3."
        in cautions
    )
    assert np.isnan(found.accuracy.low)
    told = [lead(study, found), found.describe(), *(line for part in parts for line in part.text)]
    for line in told:
        assert "for all layers and heads together" not in line and DISAGREE not in line, line
    assert "by the interval of each layer alone" not in found.describe()
    [nulls] = [part.text[1:] for part in parts if part.title == "Does attention lie on the objects?"]
    assert all("there is no interval, so nothing is claimed" in line for line in nulls)
    assert not any("no difference was detected" in line for line in nulls)
    text, table = _surviving(found.pooled)
    assert table is None or f"In {len(table)} of these there is no interval" in text


def test_a_choice_of_layers_counts_those_answers_alone_that_have_a_partner():
    study = made_up_study(80)
    right = np.arange(80) % 4 != 0
    right[:16:4] = True  # of `left` both kinds, of the other relations right ones alone
    study = type(study)(study.samples.assign(right=right), *list(vars(study).values())[1:])
    found = examine_overlap(study, n_draws=50)
    assert (found.layers.n_right, found.layers.n_wrong) == (4, 16)
    assert found.layers.n_right + found.layers.n_wrong == found.within.n[3, -1]
    assert "over 4 right and 16 wrong answers" in layers_say(found.layers, "cosine")
