"""Heads found by asking a model: the scorers' own numbers, kept and told of; refused before the first pass."""

from dataclasses import replace
from functools import cache

import numpy as np
import pandas as pd
import pytest
import tiny
from looking import planted_vlm, scenes
from planted_activations import planted_activations

from interp.errors import InputError
from interp.planted.llava import FETCH_HEAD, OBJECT_HEAD
from probes import ablation_scores, attention_scores, find_heads, load_scores
from probes.heads.found.asked import BY_NUMBERS, SCORERS
from probes.heads.found.by_model import BY_MODEL
from probes.heads.found.report import CAUTIONED, NULLS, found_findings

ASKED = ("pointing", "gaze", "gradient", "ablation", "ablation_negative", "divergence")
HOW = {"prompt": "paper", "draws": 50, "deals": 30, "progress": False, "rule": "max_t"}


@cache
def items():
    """Half of them are of another function as well."""
    return [
        replace(scene, meta={**scene.meta, "functions": ["spatial", "decision"][: 1 + place % 2]})
        for place, scene in enumerate(scenes())
    ]


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """The folder, and heads by several scorers."""
    place = tmp_path_factory.mktemp("found") / "out"
    return place, find_heads(None, ASKED, vlm=planted_vlm(), items=items(), out=place, **HOW)


def test_the_planted_head_is_found_by_every_scorer(found):
    _, told = found
    assert told.functions == ("spatial", "decision")
    for name in ("pointing", "gaze", "gradient", "divergence"):
        assert told.of("spatial", name).heads[0] == OBJECT_HEAD, name
    assert set(told.of("spatial", "ablation").heads) == {OBJECT_HEAD, FETCH_HEAD}


def test_scores_are_the_scorers_own_and_each_has_a_file(found):
    place, told = found
    own = {**attention_scores(planted_vlm(), items(), ("pointing", "gaze"), prompt="paper", draws=50, progress=False)}
    own |= ablation_scores(planted_vlm(), items(), prompt="paper", draws=50, progress=False, batch=16)
    for name in ("pointing", "gaze", "ablation"):
        np.testing.assert_array_equal(told.scores[name].values, own[name].values)
        np.testing.assert_array_equal(told.scores[name].p_any, own[name].p_any)
    for name in told.scorers:
        again = load_scores(place / "scores" / f"{name}.npz")
        np.testing.assert_array_equal(again.values, told.scores[name].values)
        assert again.settings["weights_sha256"] and again.settings["main_questions"][0] == "g0"


def test_pairs_of_scorers_have_their_agreement_beside_heads_dealt_anew(found):
    _, told = found
    pairs = set(map(tuple, told.agreement[["first", "second"]].to_numpy()))
    assert len(pairs) == 10 and ("pointing", "gaze") in pairs
    assert np.isfinite(told.agreement.query("measure == 'spearman'")[["random", "within", "p_random"]]).all(axis=None)


def test_a_scorer_that_scores_nothing_is_told_and_does_not_stop_the_others(found):
    _, told = found
    assert "ablation_negative" not in told.scorers
    rows = told.left_out().query("scorer == 'ablation_negative'")
    assert set(rows["function"]) == {"spatial", "decision"} and rows["why"].str.contains("have a number").all()
    assert any("not scored by ablation_negative" in sentence for sentence in found_findings(told).sentences)
    with pytest.raises(InputError, match="no function can be scored: spatial by ablation_negative: 0 of its 24"):
        find_heads(None, "ablation_negative", vlm=planted_vlm(), items=items(), **HOW)


def test_kept_scores_are_taken_without_a_pass_and_others_are_refused(found):
    place, whole = found
    vlm, how = planted_vlm(), {**HOW, "out": place, "resume": True}
    with tiny.passes(vlm) as shapes:
        again = find_heads(None, ASKED[:4], vlm=vlm, items=items(), **how)
        with pytest.raises(InputError, match="made otherwise"):
            find_heads(None, ASKED[:4], vlm=vlm, items=items()[:20], **how)
    assert not shapes
    assert again.sets == {name: whole.sets[name] for name in ASKED[:4]}


def test_more_scorers_are_added_to_a_folder_and_the_model_runs_for_those_alone(tmp_path):
    vlm, how = planted_vlm(), {**HOW, "out": tmp_path, "resume": True}
    find_heads(None, ("gaze", "ablation"), vlm=vlm, items=items(), **how)
    with tiny.passes(vlm) as shapes:
        more = find_heads(None, ("gaze", "pointing", "ablation_positive"), vlm=vlm, items=items(), **how)
    assert len(shapes) == 2 and more.scorers == ("gaze", "pointing", "ablation_positive")  # batches of pointing
    assert {path.parent.name for path in tmp_path.glob("measured/*/manifest.json")} == {
        "looks-gaze", "looks-pointing", "ablation",
    }  # fmt: skip


def test_functions_can_be_named_and_questions_without_any_are_of_all():
    some = find_heads(None, "gaze", vlm=planted_vlm(), items=items(), functions=("decision",), **HOW)
    assert some.functions == ("decision",) and some.scores["gaze"].samples == (12,) and some.settings["items"] == 12
    bare = [replace(item, meta={}) for item in items()]
    every = find_heads(None, "gaze", vlm=planted_vlm(), items=bare, **HOW)
    assert every.functions == ("all",) and every.of("all").heads[0] == OBJECT_HEAD
    assert "All questions" in "".join(found_findings(every).sentences)


def test_every_scorer_says_what_its_null_is():
    assert set(NULLS) == set(SCORERS) == {*BY_NUMBERS, *BY_MODEL}
    assert all(any(name.startswith(kind) for name in SCORERS) for kind in CAUTIONED)


def test_what_can_not_be_found_is_refused_before_the_model_runs():
    vlm, asked = planted_vlm(), items()
    bare = [replace(item, objects=()) for item in asked]
    asking = {"vlm": vlm, "items": asked}
    cases = [
        ("gaze", {"vlm": vlm}, "gaze asks a model, and there is none"),
        ("gaze", {"items": asked}, "give vlm=... and items="),
        ("linear_probe", asking, "reads collected activations, and none are named"),
        ("gaze, mass", asking, "scorers are gaze, mass: name some of"),
        (("ablation", "pointing"), {**asking, "items": bare}, "pointing: 0 of 24 samples have any box"),
        (("ablation", "gaze"), {**asking, "items": asked[:8]}, "no function can be scored: spatial: 8 of its 8"),
        (("gaze", "id_write"), asking, "id_write needs axes"),
        ("id_write", {**asking, "items": bare}, "none of 24 questions names an object"),
        (
            "gradient",
            {**asking, "options": {"gradient": {"deal": 3}}},
            "has no option 'deal': it takes answer",
        ),
        (("ablation", "gaze"), {**asking, "options": {"gaze": {"by": "half"}}}, "gaze has no option 'by'"),
        (
            ("spatial_entropy", "selection_frequency"),
            {**asking, "options": {"spatial_entropy": {"lowest": 3}}},
            "are of one measurement: give them the same options",
        ),
        ("gaze", {**asking, "functions": "math"}, "no item is labelled 'math': there are spatial 24, decision 12"),
    ]
    with tiny.passes(vlm) as shapes:
        for scorers, given, message in cases:
            with pytest.raises(InputError, match=message):
                find_heads(None, scorers, **{**HOW, **given})
    assert not shapes


def test_questions_that_are_not_those_of_the_activations_are_refused_with_counts():
    heads = planted_activations()
    heads = replace(heads, z=heads.z[:24], table=heads.table[:24], groups=heads.groups[:24])
    object.__setattr__(heads, "left_out", pd.DataFrame({"id": [], "why": []}))
    with pytest.raises(InputError, match=r"24 are of no activations, such as .*; 24 with activations are not asked"):
        find_heads(heads, ("linear_probe", "gaze"), vlm=planted_vlm(), items=items(), **HOW)
    same = [replace(item, id=name) for item, name in zip(items(), heads.ids, strict=True)]
    with pytest.raises(InputError, match="labelled otherwise there"):
        find_heads(heads, ("linear_probe", "gaze"), vlm=planted_vlm(), items=same, **HOW)
    with pytest.raises(InputError, match="gaze need no activations"):
        find_heads(heads, "gaze", vlm=planted_vlm(), items=same, **HOW)
