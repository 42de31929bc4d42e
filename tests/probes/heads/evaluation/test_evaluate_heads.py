"""Evaluated head sets: planted heads are causal and random ones are not, broken ones are told, and no-ops are exact."""

from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from planted_tasks import COLOUR_HEAD, SPATIAL, apart, colours, fragile, two_tasks, where

from interp.errors import HookError, InputError
from interp.intervene.heads import ScaleHeads
from interp.model.hooked_vlm import HookedVLM
from interp.planted.llava import CUE_HEAD, FETCH_HEAD, OBJECT_HEAD, build_planted, planted_scenes
from interp.store.folder import OutputFolder
from probes import evaluate_heads
from probes.heads.evaluation.arms import LAYERS, RANDOM, Arm
from probes.heads.evaluation.edits import HeadEdit
from probes.heads.evaluation.measurement import CONTROL, MAIN
from probes.heads.evaluation.report import evaluation_findings
from probes.heads.scores import HeadScores
from probes.heads.selection.head_set import HeadSet
from probes.study.findings import write_findings

QUIET = {"progress": False, "prompt": "paper", "draws": 100, "max_new_tokens": 1, "batch": 40}
REMOVED = {**QUIET, "factor": 0.0}
IDLE = ((3, 2), (3, 3))
"""Heads that do nothing."""


@pytest.fixture(scope="module")
def found():
    return evaluate_heads(
        two_tasks(), where(16), {"spatial": SPATIAL, "idle": IDLE, "both": (*SPATIAL, COLOUR_HEAD)},
        control=colours(8), others={"colour": (COLOUR_HEAD,)}, **REMOVED,
    )  # fmt: skip


@pytest.fixture(scope="module")
def dosed():
    sets = {"spatial": SPATIAL, "colour": (COLOUR_HEAD,)}
    return evaluate_heads(two_tasks(), where(8), sets, controls=(RANDOM,), doses=(1, 2), factors=(0.5, 1.0), **REMOVED)


def test_taking_the_planted_heads_away_destroys_the_answer_and_random_ones_do_not(found):
    before, spatial = found.arm("untouched"), found.arm("spatial")
    assert before["accuracy"] == 1.0 and spatial["accuracy"] == 0.5  # one answer is left, which half of them have
    random = found.arms.query("of == 'spatial' and dose == '' and role in ('random', 'same_layers')")
    assert len(random) == 10 and (random["accuracy"] == 1.0).all()
    assert found.verdict("spatial") == "causal"
    assert spatial["p_holm"] == pytest.approx(3 * 2 / 2**8, rel=0.3)  # all eight change one way; three sets are tested
    assert found.value("beyond_random", "spatial") == found.value("beyond_same_layers", "spatial") == -0.5
    assert spatial["broken"] == 8 and spatial["corrected"] == 0 and spatial["net"] == -8
    assert spatial["lean"] == pytest.approx(0.5) and not spatial["below_chance"] and spatial["parse_failures"] == 0


def test_heads_that_do_nothing_and_heads_that_do_everything_are_not_called_causal(found):
    assert found.verdict("idle") == "no effect detected" and found.value("accuracy_change", "idle") == 0
    both = found.arm("both")
    assert both["verdict"] == "broken" and "control task loses" in both["why"]
    assert found.value("accuracy", "both", CONTROL) == 0 and found.value("accuracy", "spatial", CONTROL) == 1
    assert both["perplexity_ratio"] > 2 > found.arm("spatial")["perplexity_ratio"]


def test_where_taking_any_head_away_breaks_everything_no_set_is_causal():
    found = evaluate_heads(
        fragile(), where(16), {"spatial": SPATIAL, "idle": IDLE}, control=colours(8), controls=(RANDOM,), **REMOVED
    )
    assert found.arm("untouched")["accuracy"] == 1.0
    for name in ("spatial", "idle"):
        row = found.arm(name)
        assert row["verdict"] == "broken" and row["below_chance"] and row["parse_failures"] == 1.0
        assert "below chance means broken, not causal" in row["why"]
    assert (found.arms[found.arms["role"] == RANDOM]["accuracy"] == 0).all()
    page = " ".join(evaluation_findings(found).sentences)
    assert "no answer is said more often than it is right" in page and max(map(len, page.split())) < 30


def test_a_control_task_that_is_guessed_can_not_clear_a_set():
    guessed = [replace(one, answer="green") for one in colours(8)]  # the model says red, so that none is right
    found = evaluate_heads(two_tasks(), where(16), SPATIAL, control=guessed, controls=(RANDOM,), **REMOVED)
    assert found.verdict() == "unchecked" and "so that it can not fall" in found.arm()["why"]
    opposite = [replace(one, answer={"left": "right", "right": "left"}[one.answer]) for one in where(8)]
    found = evaluate_heads(two_tasks(), opposite, IDLE, controls=(RANDOM,), **REMOVED)
    assert found.verdict() == "no effect detected" and "there is nothing to take away" in found.arm()["why"]
    assert "broken" not in found.arm()["why"]  # it was below chance before


def test_heads_of_another_function_stand_in_the_same_table(found):
    other = found.arm("spatial, other colour")
    assert other["role"] == "other" and other["accuracy"] == 1.0 and other["heads"] == 1
    assert found.value("beyond_other", "spatial") == -0.5


def test_what_each_arm_is_answered_is_what_a_loop_over_arms_gets(found, dosed):
    for own, samples, sets in (
        (found, where(16), {"spatial": SPATIAL, "idle": IDLE}),
        (dosed, where(8), {"spatial, 1 heads": SPATIAL[:1]}),
    ):
        check_arms(own, samples, sets)


def check_arms(found, samples, sets):
    vlm = two_tasks()
    inputs = vlm.prepare([one.image for one in samples], [one.question for one in samples], prompt="paper")
    rows = found.by_sample().query("task == 'main'")
    for name, heads in sets.items():
        said = vlm.generate(inputs, 1, intervention=ScaleHeads(heads, 0.0))
        own = rows[rows["arm"] == name]
        assert own["text"].tolist() == list(said.texts)
        np.testing.assert_allclose(own["confidence"], said.confidence, atol=1e-4)
        assert (
            own["correct"].to_numpy(bool) == [one.answer == text for one, text in zip(samples, said.texts, strict=True)]
        ).all()


def test_earlier_rows_are_edited_in_passes_of_their_own_with_the_same_answers():
    vlm, samples = two_tasks(), where(8)
    inputs = vlm.prepare([one.image for one in samples], [one.question for one in samples], prompt="paper")
    for positions in ("text", "all"):
        own = evaluate_heads(vlm, samples, SPATIAL, positions=positions, perplexity=False, **REMOVED).by_sample()
        said = vlm.generate(inputs, 1, intervention=ScaleHeads(SPATIAL, 0.0, positions))
        assert own[own["arm"] == "heads"]["text"].tolist() == list(said.texts)
        assert own["log_prob"].isna().all()


def test_a_factor_that_changes_nothing_is_the_untouched_model_to_the_bit(dosed):
    columns = ["text", "confidence", "log_prob", "correct", "predicted"]
    rows = dosed.by_sample()
    before = rows[rows["arm"] == "untouched"][columns].reset_index(drop=True)
    same = rows[rows["arm"] == "spatial, factor 1"][columns].reset_index(drop=True)
    pd.testing.assert_frame_equal(same, before, check_exact=True)
    alone = evaluate_heads(two_tasks(), where(8), SPATIAL, "gain", factor=1, control=colours(4), **QUIET)
    assert alone.verdict() == "edits nothing" and alone.value("accuracy_change", "heads") == 0


@pytest.mark.parametrize(("edit", "more"), [("steer", {"unit": "unit"}), ("bias", {})])
def test_no_strength_is_no_edit_whatever_the_edit(edit, more):
    samples = planted_scenes("planted-distractor", 8)
    train = {} if edit == "bias" else {"train": apart(_training(16), samples)}
    vlm = HookedVLM.wrap(*build_planted("planted-distractor"), self_check=False)
    found = evaluate_heads(vlm, samples, [CUE_HEAD, OBJECT_HEAD], edit, factor=0, **train, **more, **QUIET)
    columns = ["text", "confidence", "log_prob"]
    rows = found.by_sample()
    before = rows[rows["arm"] == "untouched"][columns].to_numpy().tolist()
    for arm in found.arms["arm"]:
        assert rows[rows["arm"] == arm][columns].to_numpy().tolist() == before
    assert found.verdict() == "edits nothing"


def test_redistribution_that_leaves_sinks_their_weight_is_no_edit():
    sinks = np.zeros(64, dtype=bool)
    sinks[7] = True
    found = evaluate_heads(
        two_tasks(), where(8), SPATIAL, "redistribute", factor=1, sinks=sinks, perplexity=False, **QUIET
    )
    assert found.verdict() == "edits nothing"
    with pytest.raises(InputError, match="has 64 image tokens, and sinks are given for 63"):
        evaluate_heads(two_tasks(), where(8), SPATIAL, "redistribute", sinks=sinks[1:], **QUIET)


def test_steering_the_head_that_reads_the_cue_restores_what_it_misread():
    samples = planted_scenes("planted-distractor", 24)
    wrong = [not one.meta["reads_asked"] for one in samples]
    found = evaluate_heads(
        two_tasks("planted-distractor"), samples, [CUE_HEAD], "steer", factor=1.0,
        train=apart(_training(32), samples), control=colours(8), **QUIET,
    )  # fmt: skip
    assert found.arm("untouched")["accuracy"] == pytest.approx(1 - np.mean(wrong)) and 0 < np.mean(wrong) < 1
    steered = found.arm("heads")
    assert steered["accuracy"] == 1.0 and steered["corrected"] == sum(wrong) and steered["broken"] == 0
    assert found.row("beyond_random", "heads")["low"] > 0
    assert {"random", "same_layers", "directions"} <= set(found.arms["role"])
    assert steered["verdict"] == "causal"  # with three draws of the same layer, which are all that there are
    assert (
        "there are only 3 different sets to draw"
        in found.left_out.set_index("measure").loc["beyond_same_layers", "why"]
    )
    idle = found.arms[found.arms["edited"] < found.arms["heads"]]
    assert (idle["accuracy"] == found.arm("untouched")["accuracy"]).all()  # heads that say nothing can not be steered


@pytest.mark.parametrize("edit", ["mean", "resample"])
def test_a_mean_and_another_samples_activation_take_away_what_heads_tell(edit):
    vlm, samples = two_tasks(), where(16)
    train = apart(where(16, seed=9, name="train"), samples)
    found = evaluate_heads(vlm, samples, SPATIAL, edit, train=train, controls=(RANDOM,), **QUIET)
    assert found.value("accuracy_change", "heads") < -0.2
    assert (found.arms[found.arms["role"] == RANDOM]["accuracy"] == 1.0).all()


def test_removing_what_never_helped_is_no_effect_in_the_null_model():
    vlm = HookedVLM.wrap(*build_planted("planted-null"), self_check=False)
    samples = planted_scenes("planted-null", 16)
    names = {"set": [(2, 1), (2, 2)], "fetch": [FETCH_HEAD]}
    found = evaluate_heads(vlm, samples, names, controls=(RANDOM,), **REMOVED)
    assert found.arm("untouched")["accuracy"] < 0.9  # it answers from the colour word alone
    assert not {"causal", "unchecked", "broken"} & set(found.arms["verdict"])


def test_guessing_is_not_below_chance_and_the_wrong_way_round_is():
    vlm, samples = two_tasks(), where(16)
    how = {**REMOVED, "controls": (RANDOM,), "perplexity": False}
    assert not evaluate_heads(vlm, samples, [OBJECT_HEAD], **how).arm()["below_chance"]
    opposite = [replace(one, answer={"left": "right", "right": "left"}[one.answer]) for one in samples]
    assert evaluate_heads(vlm, opposite, [OBJECT_HEAD], **how).arm("untouched")["below_chance"]  # it is right in none


def test_without_a_control_task_nothing_is_called_causal():
    found = evaluate_heads(two_tasks(), where(16), SPATIAL, perplexity=False, **REMOVED)
    assert found.verdict() == "unchecked" and "no control task" in found.arm()["why"]
    assert {"control_accuracy_change", "perplexity", "beyond_lowest"} <= set(found.left_out["measure"])


def test_texts_are_read_and_not_asked():
    texts = [
        replace(one, id=f"text-{place}", question="Describe the photo.", options=(), answer=answer, relation="")
        for place, (one, answer) in enumerate(zip(where(2), ("red square at left", "circle"), strict=True))
    ]
    found = evaluate_heads(two_tasks(), where(8), SPATIAL, texts=texts, **REMOVED)
    rows = found.by_sample().query("task == 'texts'")
    assert rows["text"].isna().all() and rows["correct"].isna().all() and set(rows["tokens"]) == {4, 1}
    for arm, own in rows.groupby("arm"):
        wanted = np.exp(-own["log_prob"].sum() / 5)
        assert found.value("perplexity", arm, "texts") == pytest.approx(wanted)
    assert not found.tells("accuracy", "heads", "texts") and found.tells("accuracy", "heads")
    assert found.arm()["perplexity_ratio"] == found.value("perplexity_ratio", "heads", "texts")


def test_scores_name_the_lowest_heads_and_a_set_of_heads_names_itself():
    values = np.random.default_rng(0).random((2, 4, 4)).astype(np.float32)
    values[:, 3, 3], values[:, 3, 2], values[1, 0, 3] = -1.0, -0.5, -2.0
    scores = HeadScores("made_up", ("spatial", "math"), values, (10, 10), (5, 5))
    spatial = HeadSet("spatial", "made_up", "top_k, k=2", SPATIAL, shape=(4, 4))
    found = evaluate_heads(two_tasks(), where(8), spatial, scores=scores, perplexity=False, **REMOVED)
    (lowest,) = (line for line in found.plot().lines if line.get_marker() == "v")
    assert (lowest.get_xdata() < 0).all()  # left of the bar's middle, as other functions stand on its right
    plt.close("all")
    assert found.settings["arms"][-1] == {
        "name": "spatial, lowest", "role": "lowest", "of": "spatial", "heads": [[3, 3], [3, 2]], "factor": 0.0,
        "dose": "", "draw": None,
    }  # fmt: skip
    with pytest.raises(InputError, match="do not tell which the set 'heads' serves"):
        evaluate_heads(two_tasks(), where(8), SPATIAL, scores=scores, **REMOVED)


def test_dose_curves_go_over_heads_and_factors_with_random_sets_beside_each_point(dosed):
    assert list(dict.fromkeys(dosed.doses["of"])) == ["spatial", "colour"]  # as they were named
    own = dosed.doses.query("of == 'spatial'")
    count, factor = own[own["dose"] == "count"], own[own["dose"] == "factor"]
    assert count["at"].tolist() == [1, 2] and factor["at"].tolist() == [0.0, 0.5, 1.0]
    assert (own["sets"] == 5).all() and factor["accuracy"].iloc[[0, 2]].tolist() == [0.5, 1.0]
    assert (own["random"] == 1.0).all()
    for draw in range(5):
        part = dosed.settings["arms"]
        heads = {one["name"]: {tuple(head) for head in one["heads"]} for one in part}
        assert heads[f"spatial, 1 heads, random {draw}"] < heads[f"spatial, random {draw}"]


def test_what_is_told_can_be_written_drawn_and_looked_up(found, tmp_path):
    findings = evaluation_findings(found)
    assert "Those of the smallest part are of 8 groups" in findings.few[0]
    paths = write_findings(OutputFolder(tmp_path), findings)
    names = {path.name for path in paths}
    assert {"report.html", "arms.parquet", "sets.png", "summary.json"} <= names
    assert (
        "With the 2 heads of 'spatial' scaled by 0, accuracy changes by -50.0 points [95 % CI " in findings.sentences[0]
    )
    assert findings.sentences[0].endswith(": causal.")
    text = (tmp_path / "report.html").read_text()
    assert "below chance means broken, not causal" in text and "Do these heads make the answers?" in text
    axes = found.plot()
    assert [label.get_text() for label in axes.get_xticklabels()] == [
        "spatial\ncausal", "idle\nno effect detected", "both\nbroken",
    ]  # fmt: skip
    assert "perplexity of control and texts, times" in findings.shown["Sets and their controls"]
    plt.close("all")
    with pytest.raises(InputError, match="there is no arm 'math'"):
        found.arm("math")
    with pytest.raises(InputError, match="or several sets and none|there is no arm None"):
        found.verdict()
    assert found.row("accuracy", "spatial", MAIN)["samples"] == 16


def test_dose_curves_are_drawn(dosed):
    assert {"sets", "dose_count", "dose_factor"} == set(evaluation_findings(dosed).figures)
    axes = dosed.plot_doses(dose="factor")
    lines = {own.get_label(): own.get_xydata() for own in axes.get_lines()}
    for name in ("spatial", "colour"):
        np.testing.assert_allclose(lines[f"{name}: random sets"], [[0, 1], [0.5, 1], [1, 1]], atol=0.01)
    assert (lines["spatial: random sets"][:, 0] < lines["colour: random sets"][:, 0]).all()  # none hides another
    plt.close("all")


def test_a_study_is_gone_on_with_and_not_mixed_with_another(tmp_path):
    how = {**REMOVED, "out": tmp_path / "kept"}
    first = evaluate_heads(two_tasks(), where(8), SPATIAL, **how)
    again = evaluate_heads(two_tasks(), where(8), SPATIAL, resume=True, **how)
    pd.testing.assert_frame_equal(first.arms, again.arms, check_exact=True)
    with pytest.raises(InputError):
        evaluate_heads(two_tasks(), where(8), SPATIAL, resume=True, **{**how, "factor": 0.5})
    with pytest.raises(InputError):
        evaluate_heads(two_tasks(), where(8), SPATIAL, **how)


@pytest.mark.parametrize(
    ("heads", "edit", "more", "match"),
    [
        ([(9, 0)], "scale", {}, "does not exist"),
        ([], "scale", {}, "names no head"),
        (HeadSet("spatial", "s", "fdr", (), why="none passes"), "scale", {}, "is empty.*none passes"),
        ({"a,b": SPATIAL}, "scale", {}, "can not name a set"),
        (SPATIAL, "remove", {}, "is not known"),
        (SPATIAL, "scale", {"factor": 2.0}, "use edit='gain'"),
        (SPATIAL, "gain", {"factor": 0.5}, "use edit='scale'"),
        (SPATIAL, "scale", {"sets": 4}, "give 5 draws"),
        (SPATIAL, "scale", {"controls": "lowest"}, "needs scores"),
        (SPATIAL, "scale", {"controls": ("random", "weather")}, "name each once"),
        (SPATIAL, "scale", {"doses": (1,), "controls": (LAYERS,)}, "stand beside random sets"),
        (SPATIAL, "scale", {"doses": (3,)}, "more than any set has"),
        (SPATIAL, "scale", {"positions": (3, 4)}, "of a data set"),
        (SPATIAL, "scale", {"scope": "sometimes"}, "scope"),
        (SPATIAL, "scale", {"sinks": np.ones(64, bool)}, "no other edit has any"),
        (SPATIAL, "redistribute", {}, "needs them"),
        (SPATIAL, "mean", {}, "is made of training samples"),
        (SPATIAL, "mean", {"factor": 0.5}, "has no strength"),
        (SPATIAL, "scale", {"alpha": 0.7}, "a level below 0.5"),
        (SPATIAL, "scale", {"draws": 0}, "at least one draw"),
    ],
)
def test_what_means_nothing_is_refused_before_the_first_pass(heads, edit, more, match, monkeypatch):
    vlm = two_tasks()
    monkeypatch.setattr(type(vlm), "forward", _never)
    given = {**QUIET, **more}
    with pytest.raises((InputError, HookError), match=match):
        evaluate_heads(vlm, where(8), heads, edit, **given)


def test_training_samples_that_are_tested_too_are_refused():
    vlm, samples = two_tasks(), where(8)
    for shared, what in (
        (samples[:2], "shares its id"),
        ([replace(one, id=f"other {one.id}") for one in samples[:2]], "shares its question and photo"),
    ):
        with pytest.raises(InputError, match=f"2 of 8 samples leak from train.*{what}"):
            evaluate_heads(vlm, samples, SPATIAL, "mean", train=shared, **QUIET)
    grouped = [replace(one, group=f"pair {place // 2}") for place, one in enumerate(samples)]
    others = apart(where(16, seed=9, name="train"), samples)[:8]
    train = [replace(one, group="pair 0") for one in others]
    with pytest.raises(InputError, match="2 of 8 samples leak from train.*shares its group"):
        evaluate_heads(vlm, grouped, SPATIAL, "mean", train=train, **QUIET)
    with pytest.raises(InputError, match="learns nothing"):
        evaluate_heads(vlm, samples, SPATIAL, train=others, **QUIET)
    with pytest.raises(InputError, match="8 of 8 training samples are answered right"):
        evaluate_heads(vlm, samples, SPATIAL, "steer", train=others, **QUIET)


def test_samples_without_boxes_can_not_turn_heads():
    bare = [replace(one, objects=()) for one in where(8)]
    with pytest.raises(InputError, match="8 of 8 samples have no region .* it has no object with a box"):
        evaluate_heads(two_tasks(), bare, SPATIAL, "bias", **QUIET)


def test_regions_are_as_large_as_the_boxes_and_elsewhere():
    vlm, samples = two_tasks(), where(4)
    inputs = vlm.prepare([one.image for one in samples], [one.question for one in samples], prompt="paper")
    edit = HeadEdit("bias")
    towards = edit.of_batch(Arm("set", "tested", "set", SPATIAL, 5.0), samples, inputs, "last")
    away = edit.of_batch(Arm("set, regions 0", "regions", "set", SPATIAL, 5.0, draw=0), samples, inputs, "last")
    for own, other, grid, sample in zip(towards.towards, away.towards, inputs.grids, samples, strict=True):
        assert own == grid.tokens_in([sample.objects[0].box]) and len(own) == len(other)
        assert not set(own) & set(other)


def _training(count):
    drawn = planted_scenes("planted-distractor", count, seed=7)
    return [replace(one, id=f"train-{place}") for place, one in enumerate(drawn)]


def _never(*given, **more):
    raise AssertionError("a pass was run")
