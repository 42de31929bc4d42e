"""Choosing on one part and reporting on the other: exact against brute force."""

from itertools import product

import numpy as np
import pandas as pd
import pytest
import tiny
from truth import Truth

from adaptvis.demo.scene_attention import look
from adaptvis.evaluation.evaluation import evaluate, summarise
from adaptvis.evaluation.selection import choose_adaptvis, choose_scaling
from adaptvis.policy.policies import AdaptVis, Baseline, ScalingVis
from adaptvis.report.tables import readable
from adaptvis.sweep.plan import UNTOUCHED
from adaptvis.sweep.read import rows_under
from interp.answers.metrics import ALL
from interp.datasets.synthetic.shapes import shapes
from interp.detect import GivenBoxes
from interp.errors import InputError
from interp.intervene.image_logits import ScaleImageLogits
from interp.intervene.indices import spell

ALPHAS = (0.5, 1.0, 2.0)


def sweep(n=40, seed=0):
    """A table in which unsure samples are helped by alpha 0.5 and sure ones by alpha 2, mostly."""
    rng = np.random.default_rng(seed)
    rows = []
    for place in range(n):
        sure = float(np.float32(rng.random()))
        for alpha in ALPHAS:
            helped = alpha == (0.5 if sure < 0.6 else 2.0)
            rows.append(
                {
                    "id": f"s{place}",
                    "kind": "relation",
                    "relation": ("left", "above")[place % 2],
                    "gold": "left",
                    "group": f"g{place // 2}",
                    "options": "left|right|above|below",
                    **scaled(alpha),
                    "text": "left",
                    "predicted": "left",
                    "correct": bool(rng.random() < (0.9 if helped else 0.5)),
                    "probability": sure,
                    "confidence": sure,
                }
            )
    table = pd.DataFrame(rows)
    return table.assign(correct_paper=table["correct"], parsed=True)


def scaled(alpha, layers=None, heads=None):
    """The columns of one setting."""
    if alpha == 1.0:
        return {"setting": UNTOUCHED, "mode": "", "alpha": float("nan"), "layers": "", "heads": ""}
    own = ScaleImageLogits(alpha, layers=layers, heads=heads)
    return {"setting": str(own), "mode": "mul", "alpha": alpha, "layers": spell(layers), "heads": spell(heads)}


def test_the_chosen_alpha_has_the_most_right_answers():
    for seed in range(20):
        table = sweep(seed=seed)
        best = choose_scaling(table).alpha
        right = rows_under(table).groupby("alpha")["correct"].sum()
        assert right[best] == right.max()


def test_of_equal_alphas_the_one_that_changes_least_wins():
    table = sweep().assign(correct=True)
    assert choose_scaling(table).alpha == 1.0
    chosen = choose_adaptvis(table)
    assert (chosen.alpha_unsure, chosen.alpha_sure, chosen.threshold) == (1.0, 1.0, 0.0)


def test_the_chosen_adaptvis_is_the_best_of_all_pairs_and_thresholds():
    for seed in range(10):
        table = sweep(n=16, seed=seed)
        sure = table.drop_duplicates("id")["confidence"].to_numpy()
        thresholds = [0.0, 1.0, *(np.sort(sure)[1:] + np.sort(sure)[:-1]) / 2]

        def right(policy, swept=rows_under(table)):  # noqa: B008
            return sum(
                row.correct
                for row in swept.itertuples()
                if row.alpha == (policy.alpha_unsure if row.confidence < policy.threshold else policy.alpha_sure)
            )

        best = max(right(AdaptVis(low, high, t)) for low, high, t in product((0.5, 1.0), (1.0, 2.0), thresholds))
        assert right(choose_adaptvis(table, thresholds=200)) == best


def test_the_summary_counts_what_the_rows_say():
    table = sweep()
    policies = [Baseline(), ScalingVis(2.0), AdaptVis(0.5, 2.0, 0.6)]
    answers, summary = summarise(table, policies)
    assert len(answers) == 3 * 40 and list(dict.fromkeys(summary["relation"])) == [ALL, "left", "above"]
    untouched = table[table["setting"] == UNTOUCHED]
    line = summary[(summary["policy"] == "baseline") & (summary["relation"] == "above")].iloc[0]
    assert line["accuracy"] == pytest.approx(untouched[untouched["relation"] == "above"]["correct"].mean())
    assert line["low"] <= line["accuracy"] <= line["high"]
    compared = ["difference", "difference_low", "difference_high", "gained", "lost", "p", "p_holm"]
    assert line[compared].isna().all(), "nothing is compared with itself"
    assert summary[summary["policy"] != "baseline"][compared].notna().all(axis=None)
    adaptive = summary[(summary["policy"] == str(policies[2])) & (summary["relation"] == ALL)].iloc[0]
    assert adaptive["unsure"] == pytest.approx((untouched["confidence"] < 0.6).mean())
    assert adaptive["difference"] == pytest.approx(adaptive["accuracy"] - untouched["correct"].mean())


def test_a_table_of_chance_shows_no_gain():
    """Under the null, intervals of the gain hold zero about as often as they promise."""
    held = 0
    for seed in range(40):
        rng = np.random.default_rng(1000 + seed)
        table = sweep(n=60, seed=seed).assign(correct=lambda t, rng=rng: rng.random(len(t)) < 0.5)
        line = summarise(table, [Baseline(), ScalingVis(2.0)])[1].iloc[3]
        held += line["difference_low"] <= 0 <= line["difference_high"]
    assert held >= 35


def test_policies_are_chosen_for_the_layers_and_heads_that_were_swept():
    table = sweep()
    columns = pd.DataFrame([scaled(1.0 if np.isnan(alpha) else alpha, (3, 4), (0, 2)) for alpha in table["alpha"]])
    table = table.assign(**columns)
    where = {"layers": (3, 4), "heads": (0, 2)}
    assert choose_scaling(table, **where) == ScalingVis(choose_scaling(sweep()).alpha, **where)
    assert choose_adaptvis(table, **where).layers == (3, 4)
    for wrong in ({}, {"mode": "add", **where}, {"layers": (3,), "heads": (0, 2)}):
        with pytest.raises(InputError, match="add them to its plan"):
            choose_scaling(table, **wrong)


@pytest.mark.parametrize("validation, test", [(0, 2), (2, 0)])
def test_an_empty_part_is_refused(validation, test):
    with pytest.raises(InputError, match="has 0 samples"):
        evaluate(tiny.vlm(), shapes(test), validation=shapes(validation, split="val"))


def test_two_samples_of_one_id_are_refused():
    own = shapes(2, split="val")
    with pytest.raises(InputError, match="id of its own"):
        evaluate(tiny.vlm(), shapes(2), validation=[own[0], own[0]])


def test_parts_that_share_a_sample_are_refused():
    own = shapes(3, split="val")
    with pytest.raises(InputError, match="both parts"):
        evaluate(tiny.vlm(), own[:1], validation=own)


@pytest.fixture(scope="module")
def ran():
    vlm = tiny.vlm()
    validation, test = (shapes(n, split=split, kinds=("relation",)) for n, split in ((4, "val"), (8, "test")))
    evaluation = evaluate(vlm, test, validation=validation, alphas=(0.5, 2.0), progress=False)
    return vlm, test, evaluation, look(vlm, test, Truth(test), prompt="paper", batch=4)


def test_looking_in_batches_equals_looking_one_by_one(ran):
    from interp import analyze

    vlm, test, _, looked = ran
    assert [one.sample.id for one in looked] == [sample.id for sample in test]
    for one in looked[:3]:
        boxes = GivenBoxes(tuple(one.boxes))
        alone = analyze(one.sample.image, one.sample.question, model=vlm, detector=boxes, prompt="paper")
        for measure in ("cosine", "mass", "hit"):
            np.testing.assert_allclose(
                one.overlap.values(measure).ravel(), alone.overlap.values(measure).ravel(), atol=2e-5
            )


def test_the_readable_table_says_gains_in_points(ran):
    table = readable(ran[2], ran[2].summary)
    assert (table[table["policy"] == "baseline"]["gain, points"] == "").all()
    assert table["accuracy %"].str.contains(r"\d+\.\d \[\d+\.\d, \d+\.\d\]").all()
