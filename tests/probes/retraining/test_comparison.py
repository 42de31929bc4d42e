"""A comparison of made-up models: its numbers are those of plain loops, and it says what it can not tell."""

from __future__ import annotations

from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pytest
from made_up_models import DRAWS, GROUPS, PROBED, SCENES_OF_A_KIND, made_up_comparison, made_up_runs
from scipy import stats

from interp.errors import InputError
from interp.stats.intervals import spread_ends, wilson
from probes.retraining.comparison import BOTH, SCENES, SEEDS, ArmComparison, compare_arms
from probes.retraining.findings import ONE_RUN, lines_of, sentences, summary_of, table_text, verdict
from probes.retraining.measure import ModelMeasures
from probes.retraining.statistics import Statistic


@pytest.fixture(scope="module")
def models() -> dict[tuple[str, int], ModelMeasures]:
    return made_up_runs()


@pytest.fixture(scope="module")
def found(models: dict[tuple[str, int], ModelMeasures]) -> ArmComparison:
    return made_up_comparison(models)


@pytest.fixture(scope="module")
def of_one_run(models: dict[tuple[str, int], ModelMeasures]) -> ArmComparison:
    return made_up_comparison({key: one for key, one in models.items() if key[1] == 0})


def _relation(model: ModelMeasures, column: str) -> np.ndarray:
    return getattr(model, column)[model.kinds == "relation"].astype(float)


def _psi(model: ModelMeasures) -> float:
    right, lost = _relation(model, "original").mean(), _relation(model, "permuted").mean()
    return (right - lost) / right


def test_a_value_is_the_mean_over_seeds_of_what_each_model_gave(models, found) -> None:
    for arm in found.arms:
        own = [models[arm, seed] for seed in range(3)]
        accuracy = np.mean([_relation(model, "original").mean() for model in own])
        assert found.value(arm, "accuracy", "relation").estimate == pytest.approx(accuracy, rel=1e-5)
        assert found.value(arm, "psi", "relation").estimate == pytest.approx(np.mean(list(map(_psi, own))), rel=1e-5)
        sizes = [model.abs_delta_g_v.mean() for model in own]
        assert found.value(arm, "abs_delta_g_v", "all layers").estimate == pytest.approx(np.mean(sizes), rel=1e-5)
        ratios = [model.ratio[:, 2].mean() for model in own]
        assert found.value(arm, "ratio", "depth 2").estimate == pytest.approx(np.mean(ratios), rel=1e-5)


def test_students_interval_of_a_difference_is_of_the_three_paired_differences(models, found) -> None:
    apart = [_psi(models["normalised", seed]) - _psi(models["plain", seed]) for seed in range(3)]
    told = found.value("normalised", "psi", "relation", against="plain", interval=SEEDS)
    ends = stats.t.interval(0.95, 2, loc=np.mean(apart), scale=stats.sem(apart))
    assert (told.estimate, told.low, told.high) == pytest.approx((np.mean(apart), *ends), rel=1e-4)


def test_the_bootstrap_draws_seeds_and_whole_groups_the_same_for_both_arms(models, found) -> None:
    names = list(dict.fromkeys(GROUPS))
    scenes = np.random.default_rng(0).multinomial(len(names), [1 / len(names)] * len(names), size=DRAWS)
    seeds = np.random.default_rng([0, 2]).multinomial(3, [1 / 3] * 3, size=DRAWS)
    apart = []
    for times, weights in zip(scenes, seeds, strict=True):
        count = np.array([times[names.index(group)] for group in GROUPS])
        means = {key: (_relation(model, "original") * count).sum() / count.sum() for key, model in models.items()}
        apart.append(sum(w * (means["scaled", s] - means["plain", s]) for s, w in enumerate(weights)) / 3)
    told = found.value("scaled", "accuracy", "relation", against="plain")
    gap = np.mean([_relation(models["scaled", s], "original") - _relation(models["plain", s], "original")
                   for s in range(3)])  # fmt: skip
    ends = spread_ends(gap, np.array(apart), 0.95, units=3)
    assert (told.low, told.high) == pytest.approx(tuple(ends), abs=1e-5)
    assert told.low < np.quantile(apart, 0.025) and told.high > np.quantile(apart, 0.975)


def test_arms_that_are_one_are_not_apart_by_anything(models) -> None:
    one = {(arm, seed): models["plain", seed] for arm in ("plain", "normalised") for seed in range(3)}
    found = compare_arms(one, n=DRAWS)
    apart = found.measures[found.measures["what"] == "difference"]
    assert len(apart) and (apart["value"] == 0).all()
    ends = apart.set_index(["interval", "measure"])[["low", "high"]]
    bounded = ["accuracy", "delta_alpha_v"]  # differences of which are 1 and 2 at most
    assert ends.loc[SEEDS].isna().all(axis=None) and ends.loc[BOTH].drop(bounded).isna().all(axis=None)
    right, moved = (ends.loc[BOTH].loc[[name]] for name in bounded)  # so far as a share of 20 groups may lie unseen
    assert (right["high"] == -right["low"]).all() and right["high"].between(0.16, 0.17).all()
    assert (moved["high"] == -moved["low"]).all() and moved["high"].gt(0.3).all()
    for line in lines_of(found):
        told = "alike" if line.measure in bounded else "untold"
        assert verdict(found, line, "normalised", "plain") == told
    said = " ".join(sentences(found))
    assert "told apart in no measure by both intervals. There is no interval in" in said


def test_a_single_model_has_an_interval_over_scenes_alone(models, found) -> None:
    rows = found.measures.query("what == 'model'")
    assert set(rows["interval"]) == {SCENES} and set(rows["seeds"]) == {1}
    own = rows.query("arm == 'plain' and seed == '1' and measure == 'accuracy' and part == 'relation'").iloc[0]
    assert own["value"] == pytest.approx(_relation(models["plain", 1], "original").mean())
    assert own["low"] < own["value"] < own["high"] and own["scenes"] == SCENES_OF_A_KIND


def test_one_run_of_each_arm_has_an_interval_over_scenes_alone(models, of_one_run) -> None:
    assert set(of_one_run.measures["interval"]) == {SCENES} and of_one_run.drawn == SCENES
    own = of_one_run.measures.query("arm == 'plain' and against == '' and measure == 'psi' and part == 'relation'")
    assert own["what"].tolist() == ["model", "arm"] and len(own[["value", "low", "high"]].drop_duplicates()) == 1
    for interval in (SEEDS, BOTH):
        with pytest.raises(InputError, match="one run, and an interval over 'scenes' alone"):
            of_one_run.value("plain", "accuracy", "relation", interval=interval)
    assert "; t " not in table_text(of_one_run)
    plt.close(of_one_run.plot()[0].figure)


def test_one_run_of_each_arm_tells_no_arms_apart(found, of_one_run) -> None:
    line = next(line for line in lines_of(of_one_run) if line.measure == "abs_delta_g_v")
    apart = of_one_run.value("normalised", line.measure, line.part, against="plain")
    assert apart.low > 0 and verdict(found, line, "normalised", "plain") == "higher"
    assert {verdict(of_one_run, one, "normalised", "plain") for one in lines_of(of_one_run)} == {ONE_RUN}
    said = " ".join(sentences(of_one_run))
    assert "Normalised beside plain: one run of each says nothing of the arms" in said
    assert not any(word in said for word in ("higher in", "lower in", "No difference was detected", "equally well"))
    assert "(nats, one run of each arm): plain 0.500, normalised 0.500, scaled 0.700." in said


def test_tables_have_no_gaps_and_say_how_many_seeds_and_scenes(found) -> None:
    table = found.to_dataframe()
    alike = table.query("interval == @SEEDS and low != low")  # runs with one value, which have no interval of Student
    assert not table.drop(index=alike.index).isna().any().any() and not found.training.isna().any().any()
    assert len(alike) < 3 and set(alike["measure"]) <= {"accuracy"}
    counts = found.measures.groupby("measure")["scenes"].agg(["min", "max"])
    assert (counts.loc["accuracy"] == SCENES_OF_A_KIND).all() and (counts.loc["ratio"] == PROBED).all()
    assert set(found.measures[found.measures["what"] != "model"]["seeds"]) == {3}


def test_an_index_against_chance_is_left_out_with_its_reason_where_a_model_only_guesses(models) -> None:
    guessing = replace(models["plain", 0], original=np.arange(80) % 4 == 0)
    found = compare_arms({**models, ("plain", 0): guessing}, n=DRAWS)
    assert "psi" in set(found.measures["measure"])
    with pytest.raises(InputError, match="not surely above chance"):
        found.value("plain", "psi_corrected", "relation")
    assert any("not surely above chance" in sentence for sentence in sentences(found))
    assert any("plain of seed 0" in sentence for sentence in sentences(found))


def test_above_chance_is_judged_by_whole_groups_and_by_the_chance_of_the_scenes(models) -> None:
    """Two scenes of a group are right or wrong together, so that 16 of 40 are no more than 8 of 20 groups."""
    places = np.tile(np.arange(SCENES_OF_A_KIND), 2) // 2
    own = {key: replace(one, original=places % 20 < 8) for key, one in models.items()}
    table = compare_arms(own, n=DRAWS).measures
    low = table.query("what == 'model' and measure == 'accuracy' and part == 'relation'")["low"].iloc[0]
    singly = wilson(16, SCENES_OF_A_KIND).low
    assert low < singly
    between = (low + singly) / 2
    chance = np.where(models["plain", 0].kinds == "relation", between, 1 / 6)
    found = compare_arms({key: replace(one, chance=chance) for key, one in own.items()}, n=DRAWS)
    with pytest.raises(InputError, match=f"not surely above chance .{between:.3f}."):
        found.value("plain", "psi_corrected", "relation")
    assert found.settings["chance"] == pytest.approx({"relation": between, "color": 1 / 6})
    assert any(f"Of 9 models, none answers relation questions above chance ({100 * between:.1f} %)" in sentence
               for sentence in sentences(found))  # fmt: skip


def test_an_index_is_left_out_where_nothing_was_right(models) -> None:
    blind = replace(models["plain", 0], original=np.zeros(80, dtype=bool))
    found = compare_arms({**models, ("plain", 0): blind}, n=DRAWS)
    with pytest.raises(InputError, match="nothing to lose"):
        found.value("plain", "psi", "relation")


def test_sentences_judge_by_both_intervals(found) -> None:
    line = next(line for line in lines_of(found) if line.measure == "abs_delta_g_v")
    assert verdict(found, line, "normalised", "plain") == "higher"
    said = " ".join(sentences(found))
    assert (
        "Normalised beside plain: higher in" in said
        and "Scaled - plain: +0.200, there is no interval, so nothing is claimed" in said
    )
    assert "Of 9 models, 9 answer relation questions above chance" in said


@pytest.mark.parametrize(
    ("both", "student", "expected"),
    [
        ((0.1, 0.3), (0.05, 0.4), "higher"),
        ((-0.3, -0.1), (-0.4, -0.05), "lower"),
        ((-0.1, 0.3), (-0.2, 0.4), "alike"),
        ((0.1, 0.3), (-0.2, 0.4), "unsure"),
        ((-0.3, -0.1), (-0.4, 0.2), "unsure"),
        ((0.1, 0.3), (-0.4, -0.1), "unsure"),
    ],
)
def test_arms_are_apart_only_where_both_intervals_lie_on_one_side_of_zero(found, both, student, expected) -> None:
    assert verdict(_with_difference(found, both, student), lines_of(found)[0], "scaled", "plain") == expected


def _with_difference(found: ArmComparison, both: tuple[float, float], student: tuple[float, float]) -> ArmComparison:
    """The comparison with other intervals of the difference in the first line."""
    line, table = lines_of(found)[0], found.measures.copy()
    own = (table["what"] == "difference") & (table["measure"] == line.measure) & (table["part"] == line.part)
    for interval, ends in ((BOTH, both), (SEEDS, student)):
        table.loc[own & (table["interval"] == interval), ["low", "high"]] = np.float32(ends)
    return replace(found, measures=table)


def test_the_summary_says_each_difference_with_both_intervals(found) -> None:
    numbers = summary_of(found)["numbers"]
    own = [row for row in numbers if row["measure"] == "psi" and row["against"] == "plain" and row["arm"] == "scaled"]
    assert {row["interval"] for row in own} == {BOTH, SEEDS}


def test_the_table_has_a_row_for_each_measure_and_a_column_for_each_pair(found) -> None:
    head, _, *rows = table_text(found).splitlines()
    assert (
        head == "| measure [95 % CI, seeds and scenes; t: over seeds, Student's] | plain | normalised | scaled "
        "| normalised - plain | scaled - plain | scaled - normalised |"
    )
    assert len(rows) == len(lines_of(found)) and all(row.count("|") == head.count("|") for row in rows)
    assert rows[0].startswith("| accuracy, relation (%) |")


def test_the_figure_draws_every_arm(found) -> None:
    axes = found.plot()
    assert [line.get_label() for line in axes[2].get_lines() if not line.get_label().startswith("_")] == list(
        found.arms
    )
    plt.close(axes[0].figure)
    with pytest.raises(InputError, match="give four"):
        found.plot(axes[:3])


@pytest.mark.parametrize(
    ("both", "student", "expected"),
    [
        ((0.1, 0.3), (0.05, 0.4), "Scaled and plain did not learn relation questions equally well, so PSI and RoPE"),
        ((-0.3, -0.1), (-0.4, -0.05), "Scaled and plain did not learn relation questions equally well, so PSI and"),
        ((0.1, 0.3), (-0.2, 0.4), "Whether scaled and plain learned relation questions equally well is open"),
        ((-0.1, 0.3), (-0.2, 0.4), ""),
    ],
)
def test_models_are_said_to_be_of_unequal_skill_only_where_that_is_shown(found, both, student, expected) -> None:
    said = sentences(_with_difference(found, both, student))
    own = [sentence for sentence in said if "equally well" in sentence and "caled and plain" in sentence]
    assert own == [sentence for sentence in own if expected and sentence.startswith(expected)]
    assert len(own) == bool(expected)


def test_sentences_say_how_many_differences_are_told_of_and_that_nothing_corrects_for_it(found, of_one_run) -> None:
    for one in (found, of_one_run):
        count = 3 * len(lines_of(one))
        cells = [cell for row in table_text(one).splitlines()[2:] for cell in row.strip("| ").split(" | ")[4:]]
        assert len(cells) == count
        said = f"{count} differences are told of, each with its own intervals at 95 %, and nothing corrects"
        assert any(sentence.startswith(said) for sentence in summary_of(one)["findings"])
    alone = replace(found, arms=("plain",), measures=found.measures[found.measures["arm"] == "plain"])
    assert not any("nothing corrects" in sentence for sentence in sentences(alone))


def test_the_curve_of_training_has_a_line_for_each_run_and_one_for_each_arm(found) -> None:
    ax = found.plot_training(measure="answer")
    assert len(ax.get_lines()) == 3 + 9
    assert ax.get_lines()[0].get_ydata() == pytest.approx([0.9, 0.51])
    plt.close(ax.figure)
    with pytest.raises(InputError, match="there is answer, right_relation"):
        found.plot_training(measure="loss")


def test_sentences_say_when_a_run_first_answered_half(found) -> None:
    assert any("plain 4, 4, 4; normalised 4, 4, 4" in sentence for sentence in sentences(found))
    slow = found.training.copy()
    slow.loc[(slow["measure"] == "right_relation") & (slow["arm"] == "plain"), "value"] = 0.3
    assert any("plain never, never, never;" in sentence for sentence in sentences(replace(found, training=slow)))


@pytest.mark.parametrize("spoil", ["absent", "scenes", "chance", "layers", "nothing"])
def test_what_can_not_be_compared_is_refused(models, spoil: str) -> None:
    own = dict(models)
    if spoil == "absent":
        del own["scaled", 2]
    elif spoil == "scenes":
        own["scaled", 2] = replace(own["scaled", 2], groups=own["scaled", 2].groups[::-1])
    elif spoil == "chance":
        own["scaled", 2] = replace(own["scaled", 2], chance=own["scaled", 2].chance / 2)
    elif spoil == "layers":
        own["scaled", 2] = replace(own["scaled", 2], ratio=own["scaled", 2].ratio[:, :-1])
    else:
        own = {}
    message = {
        "absent": "scaled of seed 2",
        "scenes": "other scenes",
        "chance": "other scenes",
        "layers": "other layers",
        "nothing": "every model",
    }
    with pytest.raises(InputError, match=message[spoil]):
        compare_arms(own, n=DRAWS)


def test_two_runs_have_students_interval_alone_and_tell_no_arms_apart(models) -> None:
    found = made_up_comparison({key: one for key, one in models.items() if key[1] < 2})
    told = found.value("normalised", "abs_delta_g_v", "all layers", against="plain")
    assert np.isnan(told.low) and np.isnan(told.high)
    student = found.value("normalised", "abs_delta_g_v", "all layers", against="plain", interval=SEEDS)
    assert student.low < student.estimate < student.high
    said = " ".join(sentences(found))
    assert {verdict(found, line, "normalised", "plain") for line in lines_of(found)} <= {"alike", "unsure"}
    assert "told apart in no measure by both intervals" in said and "nan" not in table_text(found) + said
    plt.close(found.plot()[0].figure)


def test_an_interval_over_runs_and_scenes_holds_the_truth_as_often_as_it_says() -> None:
    """Runs and scenes each move an accuracy; a bootstrap of three runs that nothing spreads misses far more often."""
    runs, scenes, several = 3, 40, 150
    inside, plainly = [], []
    for seed in range(several):
        rng = np.random.default_rng(seed)
        values = rng.normal(size=runs) + rng.normal(size=(scenes, 1)) + rng.normal(size=(scenes, runs))
        counts = rng.multinomial(scenes, np.full(scenes, 1 / scenes), size=300) / scenes
        weights = rng.multinomial(runs, np.full(runs, 1 / runs), size=300) / runs
        own = Statistic(values.mean(axis=0), counts @ values, scenes, scenes)
        drawn = (own.drawn * weights).sum(axis=1)
        low, high = own.ends(own.here.mean(), drawn, 0.95, runs=runs)
        inside.append(low <= 0 <= high)
        low, high = np.quantile(drawn, [0.025, 0.975])
        plainly.append(low <= 0 <= high)
    assert np.mean(inside) >= 0.95 - 3 * np.sqrt(0.95 * 0.05 / several) and np.mean(plainly) < 0.8
