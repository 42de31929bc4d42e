"""Sensitivity: the formulas by loops and recorded cases, intervals under the null, and what can not be told."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from golden import golden
from interval_coverage import RUNS, check_coverage
from matplotlib.figure import Figure
from scipy.stats import t as student

from interp.errors import InputError
from interp.plots.style import PALETTE
from interp.stats.intervals import quantiles
from probes.position.figures.order import plot_accuracy_in_order, plot_answers, plot_compression, plot_psi
from probes.position.order_sensitivity import (
    MEASURES,
    NO_ORDER,
    POSITION_ALONE,
    OrderSensitivity,
    drawn_measures,
    measure_sensitivity,
    references_of,
)
from probes.study.parts import UNNAMED

RNG = np.random.default_rng(0)
N = 60
RELATIONS = np.array(["left", "right", ""], dtype=object)[np.arange(N) % 3]
GROUPS = np.array([f"pair {place // 4}" for place in range(N)], dtype=object)
ORIGINAL, PERMUTED, CHANGED = RNG.random(N) < 0.8, RNG.random((N, 5)) < 0.5, RNG.random((N, 5)) < 0.4
CHANCE = np.full(N, 0.25)


def measured(original, permuted, *, chance=0.25, groups=None, relations=None, **options):
    """Tables of right answers alone, every sample a group of its own and of one relation by default."""
    count = len(original)
    return measure_sensitivity(
        np.asarray(original, dtype=bool),
        np.asarray(permuted, dtype=bool),
        np.asarray(permuted) != np.asarray(original)[:, None],
        np.full(count, chance),
        np.full(count, "", dtype=object) if relations is None else relations,
        np.arange(count).astype(str) if groups is None else groups,
        **options,
    )


def cell(table, measure, relation="all"):
    (row,) = table.query("measure == @measure and relation == @relation").to_dict("records")
    return row


def test_measures_of_each_relation_are_those_of_a_loop():
    table, out = measure_sensitivity(ORIGINAL, PERMUTED, CHANGED, CHANCE, RELATIONS, GROUPS, n=200)
    assert not len(out) and not table["value"].isna().any()
    for relation in ("all", "left", "right", UNNAMED):
        own = [place for place in range(N) if relation == "all" or (RELATIONS[place] or UNNAMED) == relation]
        accuracy = sum(ORIGINAL[place] for place in own) / len(own)
        each = [sum(PERMUTED[place, seed] for place in own) / len(own) for seed in range(5)]
        lost = sum(each) / 5
        wanted = {
            "accuracy": accuracy,
            "permuted": lost,
            "drop": accuracy - lost,
            "changed": sum(CHANGED[place].sum() for place in own) / len(own) / 5,
            "psi": (accuracy - lost) / accuracy,
            "psi_corrected": (accuracy - lost) / (accuracy - 0.25),
            "psi_position_alone": (accuracy - 0.25) / accuracy,
        }
        assert list(wanted) == list(MEASURES)
        for measure, value in wanted.items():
            found = cell(table, measure, relation)
            assert found["value"] == pytest.approx(value) and found["samples"] == len(own)
            assert found["low"] < found["high"] and found["low"] <= found["value"] <= found["high"]
    assert cell(table, "psi")["groups"] == 15
    assert {str(table[name].dtype) for name in ("value", "low", "high")} == {"float32"}


def test_the_index_is_that_of_the_recorded_cases():
    for case in json.loads((golden("psi") / "cases.json").read_text()):
        scale = 100 if case["orig"] > 1 else 1
        original = np.arange(10_000) < round(case["orig"] / scale * 10_000)
        permuted = (np.arange(10_000) < round(case["perm"] / scale * 10_000))[:, None]
        table, out = measured(original, permuted, n=2)
        if case["psi"] is None:
            assert "no answer is right" in out.set_index("measure").loc["psi", "why"]
        else:
            assert cell(table, "psi")["value"] == pytest.approx(case["psi"], abs=1e-6)


def test_intervals_are_paired_and_draw_groups_whole():
    right = np.arange(40) % 2 == 0
    table = measured(right, np.stack([right] * 3, 1))[0]
    same, least = cell(table, "psi"), cell(table, "accuracy")["low"]
    reach = 1 - 0.025 ** (1 / 20)  # no draw differs, where unpaired ones would; only the 20 right ones divide
    assert same["value"] == 0 and same["high"] == pytest.approx(reach)
    assert same["low"] == pytest.approx(reach * (1 - 1 / least))  # as low as the least accuracy lets it be
    lost = right & (np.arange(40) % 4 == 0)
    alone = cell(measured(right, lost[:, None])[0], "drop")
    groups = np.array([f"half {place % 4 // 2}-{place // 20}" for place in range(40)])  # what is lost is lost together
    together = cell(measured(right, lost[:, None], groups=groups)[0], "drop")
    assert together["high"] - together["low"] > 1.5 * (alone["high"] - alone["low"])


def by_ease_alone(rng, ease, original):
    """An answer is right by how easy its photo is, whatever the order."""
    return rng.random((len(ease), 5)) < ease[:, None]


def half_kept(rng, ease, original):
    """A permutation keeps half of the right answers, each by a draw of its own."""
    return original[:, None] & (rng.random((len(ease), 5)) < 0.5)


def half_kept_in_common(rng, ease, original):
    """A permutation keeps half of the right answers on the whole, but each permutation a share of its own."""
    return original[:, None] & (rng.random((len(ease), 5)) < rng.normal(0.5, 0.08, size=5).clip(0, 1))


@pytest.mark.parametrize(
    ("permute", "psi", "pairs"),
    [(by_ease_alone, 0.0, 60), (half_kept, 0.5, 60), (half_kept_in_common, 0.5, 150)],
    ids=lambda given: getattr(given, "__name__", str(given)),
)
def test_intervals_hold_the_truth_as_often_as_they_say(permute, psi, pairs):
    """Photos come in pairs that share how easy they are; three in four are rightly answered, one in four by chance.

    Seen in 200 tables: 186 to 196 of the first, 191 to 198 of the second, 182 and 183 of the third. Were permutations
    drawn as groups are, it would be up to 199 of `half_kept`, and 173 of `half_kept_in_common`.
    """
    rng, held, groups = np.random.default_rng(5), [], np.repeat(np.arange(pairs), 2).astype(str)
    truth = {"permuted": 0.75 * (1 - psi), "drop": 0.75 * psi, "psi": psi, "psi_corrected": 1.5 * psi}
    for run in range(RUNS):
        ease = np.repeat(rng.beta(6, 2, size=pairs), 2)
        original = rng.random(2 * pairs) < ease
        permuted = permute(rng, ease, original)
        table = measured(original, permuted, groups=groups, seed=run, n=1000)[0].set_index("measure")
        held.append([table.loc[name, "low"] <= value <= table.loc[name, "high"] for name, value in truth.items()])
    for measure in np.array(held).T:
        check_coverage(measure, most=198)


@pytest.mark.parametrize(
    ("shared", "wide"), [(False, 0.08), (True, 0.08), (False, 0.0)], ids=["own effects", "shared effects", "no effects"]
)
def test_intervals_of_a_difference_of_two_models_hold_the_truth_as_often_as_they_say(shared, wide):
    """Two models get the same permutations, which do to both the same, or to each another thing.

    Seen in 200 tables: 187 to 190 with effects of their own, 194 to 199 with shared ones, where intervals are rather
    wide, and 188 to 194 where permutations do the same. Were both moved by one number, it would be 125 to 158 of the
    first.
    """
    rng, held, pairs = np.random.default_rng(7), [], 150
    groups, chance = np.repeat(np.arange(pairs), 2).astype(str), np.full(2 * pairs, 0.25)
    for run in range(RUNS):
        ease = np.repeat(rng.beta(6, 2, size=pairs), 2)
        effects = rng.normal(0, wide, size=(2, 5))
        found = []
        for share, effect in zip((0.6, 0.4), effects[[0, 0]] if shared else effects, strict=True):
            original, change = rng.random(2 * pairs) < ease, rng.random((2 * pairs, 5))
            permuted = original[:, None] & (change < (share + effect).clip(0, 1))
            changed = change >= (share + effect).clip(0, 1)
            found.append(drawn_measures(original, permuted, changed, chance, groups, seed=run, n=1000))
        told = []
        for name, truth in {"permuted": 0.15, "drop": -0.15, "changed": -0.2, "psi": -0.2}.items():
            low, high = quantiles(found[0][name][1] - found[1][name][1], 0.95)
            told.append(low <= truth <= high)
        held.append(told)
    for measure in np.array(held).T:
        check_coverage(measure, most=RUNS)


def test_what_permutations_move_is_students_t_of_one_model_and_nothing_between_two_that_they_move_alike():
    """Every sample has the same fate under a permutation, so that draws of groups move nothing."""
    shares = np.array([0.3, 0.45, 0.5, 0.6, 0.4])
    places = np.arange(4000)
    alike = np.stack([places % 20 < 20 * share for share in shares], axis=1)
    groups = (places // 20).astype(str)

    def draws(permuted):
        right = np.ones(len(places), dtype=bool)
        return drawn_measures(right, permuted, permuted, np.full(len(places), 0.25), groups, seed=3, n=20_000)

    one, less, turned = draws(alike), draws(alike & (places % 20 >= 2)[:, None]), draws(alike[:, ::-1])
    wanted = shares.mean() + student.ppf([0.025, 0.25, 0.75, 0.975], 4) * shares.std(ddof=1) / 5**0.5
    assert np.quantile(one["permuted"][1], [0.025, 0.25, 0.75, 0.975]) == pytest.approx(wanted, abs=0.006)
    inside = (less["permuted"][1] > 0) & (one["permuted"][1] < 1)  # shares end there
    assert np.ptp((one["permuted"][1] - less["permuted"][1])[inside]) < 1e-9  # all lose the same two of twenty
    assert np.ptp((one["permuted"][1] - turned["permuted"][1])[inside]) > 0.2


def test_one_permutation_moves_nothing_and_two_that_lie_apart_tell_next_to_nothing():
    right = np.arange(80) % 4 > 0
    apart = np.stack([right, right & (np.arange(80) % 4 == 1)], 1)
    one, two = (cell(measured(right, permuted)[0], "permuted") for permuted in (apart[:, 1:], apart))
    assert one["high"] - one["low"] < 0.25 and (two["low"], two["high"]) == (0, 1)


def test_the_spread_between_permutations_is_that_of_a_loop_by_relation():
    answers = pd.DataFrame({"order": "original", "relation": RELATIONS})
    found = OrderSensitivity(
        ORIGINAL, PERMUTED, tuple(range(5)), PERMUTED[:, :0], (), np.ones(1), None, None, answers, {}, {}
    )
    for relation in ("all", "left", UNNAMED):
        own = [place for place in range(N) if relation == "all" or (RELATIONS[place] or UNNAMED) == relation]
        each = [sum(PERMUTED[place, seed] for place in own) / len(own) for seed in range(5)]
        wanted = (sum((one - sum(each) / 5) ** 2 for one in each) / 4) ** 0.5
        assert found.spread(relation) == pytest.approx(wanted)
    with pytest.raises(InputError, match="no spread of 'under': use one of all, left, right"):
        found.spread("under")
    with pytest.raises(InputError, match="a spread needs two"):
        replace(found, seeds=(0,), permuted=PERMUTED[:, :1]).spread()


NOTHING = dict.fromkeys(("psi", "psi_position_alone"), "no answer is right")


def test_references_are_what_bags_and_positions_alone_would_lose_by_relation():
    table, _ = measured(ORIGINAL, PERMUTED, groups=GROUPS, relations=RELATIONS, chance=0.25)
    known = references_of(table)
    assert known["relation"].drop_duplicates().tolist() == ["all", "left", "right", UNNAMED] and len(known) == 16
    for row in known.itertuples():
        own = cell(table, "psi_position_alone", row.relation)
        alone = own if row.measure == "psi" else dict.fromkeys(("value", "low", "high"), 1)
        wanted = {NO_ORDER: dict.fromkeys(("value", "low", "high"), 0), POSITION_ALONE: alone}[row.reference]
        assert (row.value, row.low, row.high) == tuple(wanted[name] for name in ("value", "low", "high"))
        assert row.low <= row.value <= row.high
    unknown, _ = measured(ORIGINAL, PERMUTED, chance=np.nan)
    (left,) = references_of(unknown).to_dict("records")
    assert (left["reference"], left["measure"], left["value"]) == (NO_ORDER, "psi", 0)


def test_what_can_not_be_told_is_named_with_the_reason():
    right, none = np.arange(20) < 10, np.zeros(20)
    for original, permuted, chance, told in (
        (none, none, 0.25, {**NOTHING, "psi_corrected": "is not surely above chance"}),
        (right, none, 0.5, {"psi_corrected": "is not surely above chance (0.500)"}),
        (right, none, 0.4, {"psi_corrected": "is not surely above chance (0.400)"}),  # above, but not surely
        (right, none, np.nan, dict.fromkeys(("psi_corrected", "psi_position_alone"), "list no options")),
    ):
        table, out = measured(original, np.stack([permuted] * 2, 1), chance=chance)
        assert dict(zip(out["measure"], out["why"], strict=True)).keys() == told.keys()
        for measure, why in told.items():
            assert why in out.set_index("measure").loc[measure, "why"]
        assert set(table["measure"]) == set(MEASURES) - set(told) and not table["value"].isna().any()
    surely, _ = measured(right, np.stack([none] * 2, 1), chance=0.1)
    assert cell(surely, "psi_corrected")["value"] == pytest.approx(1.25)


def test_a_relation_of_one_group_is_left_out_by_name_and_a_single_group_refused():
    groups = np.where(RELATIONS == "left", "one", GROUPS)
    table, out = measured(ORIGINAL, PERMUTED, groups=groups, relations=RELATIONS)
    assert (
        set(out["relation"]) == {"left"}
        and out["why"].str.contains("fewer than three groups").all()
        and len(out) == len(MEASURES)
    )
    assert "left" not in set(table["relation"])
    with pytest.raises(InputError, match="at least two groups"):
        measured(ORIGINAL, PERMUTED, groups=np.full(N, "one"))
    with pytest.raises(InputError, match="draws at level"):
        measured(ORIGINAL, PERMUTED, level=1.0)


def test_figures_draw_what_the_table_says():
    table, _ = measured(ORIGINAL, PERMUTED, groups=GROUPS, relations=RELATIONS, chance=0.25)
    ax = plot_accuracy_in_order(table, Figure().subplots(), chance={"all": 0.25, "left": 0.3})
    assert [label.get_text() for label in ax.get_xticklabels()] == ["all", "left", "right", UNNAMED]
    shown = [box.lines[0].get_ydata().tolist() for box in ax.containers]
    names = ["all", "left", "right", UNNAMED]
    assert shown == [[cell(table, one, name)["value"] for name in names] for one in ("accuracy", "permuted")]
    shown = [box.lines[0].get_ydata().tolist() for box in plot_psi(table, Figure().subplots()).containers]
    assert shown == [[cell(table, one, name)["value"] for name in names] for one in ("psi", "psi_corrected")]
    known = references_of(table)
    ax = plot_psi(table, Figure().subplots(), references=known)
    for name, colour in ((NO_ORDER, PALETTE[1]), (POSITION_ALONE, PALETTE[2])):
        marks = [line.get_ydata()[0] for line in ax.get_lines() if line.get_color() == colour]
        assert marks == known.loc[known["reference"] == name, "value"].tolist()
    assert {NO_ORDER, POSITION_ALONE} < {text.get_text() for text in ax.get_legend().get_texts()}
    bars = plot_answers(["original", "seed 0", "side 2"], ["left", "", "right"], np.array([0.9, 0.5, 0.7], np.float32))
    assert [patch.get_width() for patch in bars.patches] == pytest.approx([0.9, 0.5, 0.7])
    assert [text.get_text() for text in bars.texts] == ["left", "(nothing)", "right"]
    with pytest.raises(InputError, match="to draw"):
        plot_psi(table.query("measure == 'drop'"))
    curve = pd.DataFrame({"relation": ["all"], "image_tokens": [16.0], "accuracy": [1.0]})
    with pytest.raises(InputError, match="one number of image tokens"):
        plot_compression(curve)


def test_curves_that_lie_on_each_other_are_all_seen_and_the_whole_alone_has_a_band():
    cells = {"accuracy": [0.5, 1.0], "low": [0.4, 0.9], "high": [0.6, 1.0], "samples": 9}
    names = ("all", "left", "right", "above")
    curve = pd.concat([pd.DataFrame({"relation": name, "image_tokens": [4, 64], **cells}) for name in names])
    ax = plot_compression(curve)
    lines = {line.get_label(): line for line in ax.get_lines()}
    assert list(lines) == [f"{name} (n = 9)" for name in names] and len(ax.collections) == 1
    drawn = [line._dash_pattern for line in list(lines.values())[1:]]
    assert len(set(map(str, drawn))) == 3 and drawn[0][1] is None  # the lowest is whole
    bottom, top = ax.get_ylim()
    assert bottom < 0 and top > 1  # a dot at either end is whole


def test_names_of_many_relations_stand_aslant_and_the_legend_beside_them():
    names = [f"shape-color-{place}" for place in range(7)]
    table = pd.DataFrame({"relation": names, "measure": "psi", "value": 0.1, "low": 0.0, "high": 0.2})
    ax = plot_psi(table)
    assert {label.get_rotation() for label in ax.get_xticklabels()} == {30.0}
    ax.figure.canvas.draw()
    assert ax.get_legend().get_window_extent().x0 >= ax.get_window_extent().x1
    few = plot_psi(table[:3].assign(relation=["left", "right", "on"]))
    assert {label.get_rotation() for label in few.get_xticklabels()} == {0.0}
