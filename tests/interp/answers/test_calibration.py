"""Calibration, confidence and branches against numbers written out by hand, and coverage where it is claimed."""

import numpy as np
import pandas as pd
import pytest

from interp.answers.calibration import (
    branch_fractions,
    calibration,
    confidence_by_relation,
    familiar_against_unfamiliar,
    reliability,
)
from interp.errors import InputError
from interp.stats.auroc import auroc
from interp.stats.intervals import wilson


def right_or_wrong(right, **columns):
    """A table in which only right and wrong are known."""
    right = np.asarray(right, dtype=bool)
    return pd.DataFrame({"id": [f"s{place}" for place in range(len(right))], "correct": right, **columns})


def test_bins_hold_equally_many_and_their_error_is_the_weighted_gap():
    table = right_or_wrong([0, 0, 1, 1, 1, 1], confidence=[0.1, 0.2, 0.5, 0.6, 0.7, 0.9])
    found = reliability(table, bins=3)
    assert found["n"].tolist() == [2, 2, 2] and found["from"].tolist() == [0.1, 0.5, 0.7]
    assert found["accuracy"].tolist() == [0, 1, 1] and found["confidence"].tolist() == pytest.approx([0.15, 0.55, 0.8])
    assert found["low"].tolist() == [wilson(k, 2).low for k in (0, 2, 2)]
    whole = calibration(table, bins=3, n=50)
    assert whole.error == pytest.approx((0.15 + 0.45 + 0.2) / 3)
    assert whole.brier.estimate == pytest.approx((0.01 + 0.04 + 0.25 + 0.16 + 0.09 + 0.01) / 6)
    assert whole.auroc.estimate == 1.0 and whole.bins.equals(found)


def test_equal_confidences_share_a_bin():
    table = right_or_wrong([0, 1, 0, 1, 1, 1], confidence=[0.5] * 5 + [0.9])
    found = reliability(table, bins=3)
    assert found["n"].tolist() == [5, 1] and found["accuracy"].tolist() == [0.6, 1.0]
    turned = right_or_wrong([0, 1, 0, 1, 1, 1], confidence=[0.1] + [0.5] * 5)
    assert reliability(turned, bins=3)["n"].tolist() == [1, 5]
    shuffled = reliability(table.sample(frac=1, random_state=0), bins=3)
    assert shuffled["accuracy"].tolist() == [0.6, 1.0]


def test_the_error_of_calibrated_answers_lies_where_it_is_said_to_lie():
    rng, hits = np.random.default_rng(0), 0
    for trial in range(40):
        sure = rng.random(150)
        found = calibration(right_or_wrong(rng.random(150) < sure, confidence=sure), seed=trial, n=100)
        hits += found.error_if_calibrated.low <= found.error <= found.error_if_calibrated.high
        assert found.error_if_calibrated.estimate > 0.03  # never zero, whatever the confidences
    assert hits >= 34


def test_the_auroc_interval_covers_a_half_where_confidence_says_nothing():
    rng, hits = np.random.default_rng(1), 0
    for trial in range(40):
        table = right_or_wrong(rng.random(80) < 0.6, confidence=rng.random(80))
        found = calibration(table, seed=trial, n=100).auroc
        hits += found.low <= 0.5 <= found.high
        assert found.estimate == auroc(table["confidence"], table["correct"])
    assert hits / 40 >= 0.85


def test_auroc_is_undefined_where_all_are_right_and_the_rest_is_not():
    found = calibration(right_or_wrong([1] * 8, confidence=np.linspace(0.2, 0.9, 8)), n=20)
    assert np.isnan(found.auroc.estimate) and found.auroc.draws == 0 and found.brier.estimate > 0


def test_confidence_that_is_no_probability_is_refused():
    for value in (1.2, -0.1, np.nan):
        with pytest.raises(InputError, match="confidence"):
            calibration(right_or_wrong([1, 0], confidence=[0.5, value]))


RELATIONS = ["left", "left", "right", "on", "on"]


def test_confidence_of_each_relation_is_split_by_right_and_wrong():
    table = right_or_wrong([1, 0, 1, 0, 0], confidence=[0.9, 0.5, 0.8, 0.3, 0.1], relation=RELATIONS)
    found = confidence_by_relation(table, n=50).set_index(["measure", "relation"])
    counts = {name: own.droplevel(0).to_dict() for name, own in found["n"].groupby(level=0)}
    assert counts["accuracy"] == counts["confidence"] == {"all": 5, "left": 2, "right": 1, "on": 2}
    assert counts["confidence where right"] == {"all": 2, "left": 1, "right": 1, "on": 0}
    assert counts["confidence where wrong"] == {"all": 3, "left": 1, "right": 0, "on": 2}
    assert found.loc[("accuracy", "left"), ["value", "low"]].tolist() == [0.5, wilson(1, 2).low]
    assert found.loc[("confidence", "left"), "value"] == pytest.approx(0.7)
    assert found.loc[("confidence where wrong", "all"), "value"] == pytest.approx(0.3)
    assert found.loc[("confidence where wrong", "right"), ["value", "low", "high"]].isna().all()
    assert found.loc[("confidence", "right"), ["low", "high"]].isna().all()  # one sample has no interval


def test_the_right_options_probability_is_a_mean_over_the_samples_where_it_is_known():
    table = right_or_wrong([1, 0, 1, 0, 0], confidence=[0.9, 0.5, 0.8, 0.3, 0.1], relation=RELATIONS)
    known = table.assign(gold_probability=[0.9, 0.2, np.nan, 0.1, 0.3])
    found = confidence_by_relation(known, n=50).set_index(["measure", "relation"]).loc["right option's probability"]
    assert found["n"].to_dict() == {"all": 4, "left": 2, "right": 0, "on": 2}
    assert found.loc["all", "value"] == pytest.approx(1.5 / 4) and np.isnan(found.loc["right", "value"])
    unknown = confidence_by_relation(table.assign(gold_probability=np.nan), n=50)
    assert "right option's probability" not in set(unknown["measure"])


def test_familiar_relations_are_set_against_the_rest():
    table = right_or_wrong([1, 0, 1, 0, 0], confidence=[0.9, 0.5, 0.8, 0.3, 0.1], relation=RELATIONS)
    found = familiar_against_unfamiliar(table, n=200).set_index("measure")
    assert found["difference"].to_dict() == pytest.approx({"accuracy": 2 / 3, "confidence": 2.2 / 3 - 0.2})
    assert (found["n_familiar"] == 3).all() and (found["n_unfamiliar"] == 2).all()
    for familiar in (("above",), ("left", "right", "on")):
        with pytest.raises(InputError, match="familiar"):
            familiar_against_unfamiliar(table, familiar)


def test_the_gap_between_relations_covers_zero_where_there_is_none():
    rng, hits = np.random.default_rng(2), 0
    for trial in range(40):
        right, sure = rng.random(100) < 0.6, rng.random(100)
        table = right_or_wrong(right, confidence=sure, relation=np.resize(["left", "right", "on", "under"], 100))
        found = familiar_against_unfamiliar(table, seed=trial, n=120)
        hits += int((found["low"] <= 0).mul(found["high"] >= 0).sum())
    assert hits / 80 >= 0.87


def test_branches_have_their_share_and_their_accuracy():
    table = right_or_wrong([1, 0, 1, 0, 0], branch=["sure", "unsure", "sure", "sure", "sure"], relation=RELATIONS)
    found = branch_fractions(table).set_index("branch")
    assert found["share"].to_dict() == {"sure": 0.8, "unsure": 0.2} and found["accuracy"].to_dict()["sure"] == 0.5
    assert (found.loc["sure", "low"], found.loc["sure", "high"]) == (wilson(4, 5).low, wilson(4, 5).high)
    each = branch_fractions(table, by="relation").set_index(["relation", "branch"])
    assert each["share"].to_dict() == {
        ("left", "sure"): 0.5,
        ("left", "unsure"): 0.5,
        ("right", "sure"): 1.0,
        ("on", "sure"): 1.0,
    }
