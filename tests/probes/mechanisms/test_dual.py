"""Dual mechanisms: planted models are told apart with the right slots, the blind one is not; bad input is named."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import tiny
from matplotlib.axes import Axes
from planted_lines import lines_and_reverse, load

from interp.errors import InputError, RefusedError
from interp.planted.lines import BUILT_IN
from interp.store.folder import OutputFolder
from probes.mechanisms.dual import study as dual
from probes.mechanisms.dual.report import dual_sentences, dual_tools
from probes.mechanisms.dual.study import dual_mechanisms, folders_of
from probes.study.tools import write_tools

SWAPS = ("strip", "object", "last", "ablate", "backup")


def of(name, tools=SWAPS, **options):
    vlm = load(name)
    return dual_mechanisms(vlm, lines_and_reverse(vlm, 4), tools, progress=False, draws=200, **options)


@pytest.fixture(scope="module")
def encoder():
    return of("planted-encoder")


@pytest.fixture(scope="module")
def language():
    return of("planted-language")


@pytest.fixture(scope="module")
def blind():
    return of("planted-blind", ("object", "last", "ablate", "backup"))


def row(found, statement, axis="all"):
    (own,) = found.statements.query("statement == @statement and axis == @axis").to_dict("records")
    return own


def slots(found, statement):
    return [int(slot) for slot in row(found, statement)["slots"].split(",")]


def test_a_model_whose_tower_writes_the_order_is_told_as_such(encoder):
    assert encoder.verdict() == "vision encoder"
    carries = row(encoder, "encoder_carries")
    assert carries["shown"] and carries["value"] > 0.9 and carries["slots"] == "0" and carries["p"] <= 0.05
    assert encoder.shows("encoder_is_enough") and row(encoder, "encoder_is_enough")["value"] > 0.5
    assert encoder.shows("language_adds") is False and encoder.shows("language_builds") is None
    why = encoder.left_out.query("measure == 'language_builds'")["why"].iloc[0]
    assert "both sides right" in why, "without the tower's order it gets no pair right, which is said"
    assert encoder.axes == ("all", "horizontal", "vertical")
    for axis in encoder.axes[1:]:
        own = row(encoder, "encoder_carries", axis)
        assert own["value"] > 0.9 and own["pairs"] == carries["pairs"] // 2 and own["p"] > carries["p"]


def test_a_model_whose_language_model_makes_the_order_is_told_with_the_slots_at_which_it_does(language):
    truth = BUILT_IN["planted-language"]
    assert language.verdict() == "language model"
    assert slots(language, "language_builds") == list(range(truth.order_from, truth.answered_from))
    assert row(language, "language_builds")["value"] > 0.9
    assert language.shows("encoder_carries") is False and abs(row(language, "encoder_carries")["value"]) < 0.02
    assert language.shows("encoder_is_enough") is False and row(language, "encoder_is_enough")["value"] == 0
    assert language.shows("language_adds") and row(language, "language_adds")["value"] == pytest.approx(2 / 3)


def test_where_the_last_position_has_read_the_answer_is_told_of_both(encoder, language):
    for name, found in (("planted-encoder", encoder), ("planted-language", language)):
        assert slots(found, "answer_is_read") == list(range(BUILT_IN[name].answered_from, 7))
        assert row(found, "answer_is_read")["value"] > 0.9


def test_of_a_model_that_sees_nothing_it_is_said_that_nothing_can_be_told_and_why(blind):
    assert blind.verdict() == "not told" and not blind.statements["shown"].any()
    assert blind.mechanisms() == {"vision encoder": None, "language model": False}
    assert set(blind.left_out["measure"]) == {"encoder_carries", "language_builds", "answer_is_read"}
    told = dual_sentences(blind)
    assert "the language model is not shown to find where things are; of the vision encoder it can not be" in told[0]
    assert (
        told[1].startswith("It can not be told whether order is in the image tokens") and "both sides right" in told[1]
    )


def test_the_page_says_each_statement_and_keeps_each_tool(tmp_path, encoder):
    told = dual_sentences(encoder)
    assert len(told) == 6 and "[" in told[1] and "p = " in told[1]
    tools = dual_tools(encoder)
    assert list(tools.found) == ["statements", "strip", "object", "last", "backup", "ablate"]
    paths = write_tools(OutputFolder(tmp_path), tools, encoder.settings, title="T", sentences=told)
    assert (tmp_path / "report.html").exists() and len(paths) > 6
    assert isinstance(encoder.plot(), Axes)


def test_statements_whose_tools_were_not_asked_for_are_left_out_by_name():
    found = of("planted-encoder", ("object",))
    assert found.statements["statement"].unique().tolist() == ["encoder_carries"]
    assert "'ablate' was not measured" in found.left_out["why"].tolist()
    assert found.mechanisms() == {"vision encoder": True, "language model": None}
    assert "is shown to find where things are; of the language model it can not be told" in dual_sentences(found)[0]
    assert found.verdict() == "vision encoder" and found.ablation is None
    assert folders_of(("probe", "strip"))[-1] == "strip" and "probe-vertical/test" in folders_of(("probe",))


def test_a_tool_that_this_model_refuses_is_named_and_the_others_run(monkeypatch):
    from probes.mechanisms.ablation import ordering as ablation

    def refuse(*args, **options):
        raise RefusedError("not with this tower")

    monkeypatch.setattr(ablation, "ablate_ordering", refuse)
    found = of("planted-encoder", ("object", "ablate"))
    assert found.refused == {"ablate": "not with this tower"} and found.shows("encoder_carries")
    assert "not with this tower" in dual_tools(found).refused["ablate"]
    assert dual_sentences(found)[6:] == ("'ablate' was not measured: not with this tower.",)
    with pytest.raises(RefusedError, match="ablate: not with this tower"):
        of("planted-encoder", ("ablate",))


def test_what_can_not_be_measured_is_refused_before_the_first_pass():
    vlm = load("planted-encoder")
    pairs = lines_and_reverse(vlm, 2)
    other = [replace(pair, outcomes={"clean": pair.outcomes["clean"], "swapped": "red"}) for pair in pairs]
    asked = [replace(pair, counterfactual=replace(pair.counterfactual, question="Where?")) for pair in pairs]
    with tiny.passes(vlm) as ran:
        for given, tools, says in (
            (other, SWAPS, "is no line and its reverse under one question"),
            (asked, SWAPS, "is no line and its reverse under one question"),
            (pairs[:1], SWAPS, "at least two groups"),
            (pairs, ("strips",), "strips"),
            ([], SWAPS, "there are no"),
        ):
            with pytest.raises(InputError, match=says):
                dual_mechanisms(vlm, given, tools, progress=False)
        assert not ran


def test_every_tool_has_a_folder(monkeypatch, tmp_path):
    seen = []
    monkeypatch.setattr(dual, "_runs", lambda *given: iter([("strip", seen.append)]))
    with pytest.raises(Exception, match="."):
        of("planted-encoder", ("strip",), out=tmp_path)
    assert seen == [tmp_path / "strip"]


@pytest.mark.parametrize(
    ("carries", "adds", "builds", "verdict"),
    [
        (True, True, True, "both"),
        (True, True, False, "vision encoder"),
        (True, None, True, "vision encoder"),
        (True, False, None, "vision encoder"),
        (False, True, True, "language model"),
        (None, True, True, "language model"),
        (False, False, True, "neither"),
        (False, True, False, "neither"),
        (False, False, None, "neither"),
        (False, None, False, "neither"),
        (False, None, True, "not told"),
        (False, True, None, "not told"),
        (None, False, False, "not told"),
        (None, None, None, "not told"),
    ],
)
def test_a_verdict_needs_each_statement_that_it_rests_on(encoder, carries, adds, builds, verdict):
    shown = {"encoder_carries": carries, "language_adds": adds, "language_builds": builds}
    rows = [{"statement": name, "axis": "vertical", "shown": own} for name, own in shown.items() if own is not None]
    found = replace(encoder, statements=pd.DataFrame(rows, columns=["statement", "axis", "shown"]))
    assert found.verdict("vertical") == verdict and found.verdict() == "not told" == found.verdict("horizontal")


def test_other_statements_and_axes_are_refused_by_name(encoder):
    with pytest.raises(InputError, match="no statement 'encoder': use one of encoder_carries"):
        encoder.shows("encoder")
    for ask in (encoder.verdict, encoder.beyond_control, lambda axis: encoder.plot(axis=axis)):
        with pytest.raises(InputError, match="axis='diagonal' .* use one of all, horizontal, vertical"):
            ask("diagonal")
    alone = replace(encoder, axis_of=dict.fromkeys(encoder.axis_of, "vertical"))
    assert alone.axes == ("all",)
    with pytest.raises(InputError, match="use one of all"):
        alone.shows("encoder_carries", "vertical")


def test_each_axis_is_drawn_by_itself(encoder):
    lines = {axis: encoder.plot(axis=axis).get_lines()[0].get_ydata() for axis in encoder.axes}
    assert np.allclose((lines["horizontal"] + lines["vertical"]) / 2, lines["all"], atol=1e-5)
    assert "vertical axis" in encoder.plot(axis="vertical").get_title(loc="left")
    figures = dual_tools(encoder).found["statements"].figures
    assert list(figures) == ["sweeps", "sweeps_horizontal", "sweeps_vertical"]
