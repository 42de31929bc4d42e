"""Interchange over pairs: what was put in comes out, with control and intervals; a study goes on where it was."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from interchange_pairs import noisy_pair
from matplotlib.axes import Axes

from interp.errors import InputError
from interp.model.hooked_vlm import HookedVLM
from interp.store.folder import OutputFolder
from probes.mechanisms.interchange.measurement import InterchangeMeasurement
from probes.mechanisms.interchange.report import interchange_findings, spans
from probes.mechanisms.interchange.result import Interchange
from probes.mechanisms.interchange.sweep import interchange
from probes.study.findings import write_findings

SLOTS = (0, 1, 2, 3)


def made(*, pairs=12, effect=0.8, seed=0, control=True, right=None, directions=("left", "right")):
    """A result with a known effect on `place` at slots 0 to 2, and none of the control."""
    rng = np.random.default_rng(seed)
    clean = np.tile([0.9, 0.05], (pairs, 1))
    other = np.tile([0.05, 0.95], (pairs, 1))
    patched = clean[:, None].repeat(4, axis=1) + rng.normal(0, 0.01, (pairs, 4, 2))
    beside = clean[:, None].repeat(4, axis=1) + rng.normal(0, 0.01, (pairs, 4, 2))
    patched[:, :3] += np.array([-effect, effect])
    right = np.ones(pairs, bool) if right is None else np.array(right)
    return Interchange(
        positions="strip",
        control="random_same_size" if control else "",
        hook="resid_pre",
        slots=SLOTS,
        outcomes=("clean", "place"),
        ids=tuple(map(str, range(pairs))),
        groups=np.arange(pairs),
        directions=np.array([directions[place % len(directions)] for place in range(pairs)], dtype=object),
        p_clean=clean.astype(np.float32),
        p_counterfactual=other.astype(np.float32),
        p_patched=patched.clip(0, 1).astype(np.float32),
        p_control=beside.clip(0, 1).astype(np.float32) if control else None,
        right_clean=right,
        right_counterfactual=np.ones(pairs, bool),
        settings={"seed": 0, "draws": 200, "level": 0.95},
    )


def line(table, **where):
    for name, value in where.items():
        table = table[table[name] == value]
    assert len(table) == 1
    return table.iloc[0]


def test_means_intervals_and_deviations_are_those_of_the_pairs_kept():
    found = made(right=[True] * 10 + [False] * 2)
    table = found.to_dataframe()
    assert set(table["direction"]) == {"all", "left", "right"} and not table.isna().any(axis=None)
    one = line(table, direction="all", set="patched", slot=1, outcome="place")
    own = found.p_patched[:10, 1, 1].astype(float)
    assert np.isclose(one.value, own.mean()) and np.isclose(one["std"], own.std()) and one.pairs == 10
    assert one.low < one.value < one.high and one.high - one.low < 0.03
    assert line(found.both_right(), direction="all").dropped == 2
    assert line(found.both_right(), direction="left").clean_wrong == 1
    assert np.isclose(line(found.runs(), direction="all", run="clean", outcome="clean").value, 0.9)


def test_what_a_patch_does_beyond_its_control_is_told_over_all_slots_together():
    own = made().differences().query("direction == 'all' and outcome == 'place'")
    assert (own["p_any"] <= 0.05).tolist() == [True, True, True, False]
    assert own["p"].iloc[3] < own["p_any"].iloc[3]  # which looks at all four slots
    assert np.allclose(own["value"], [0.8, 0.8, 0.8, 0.0], atol=0.02) and (own["p"] <= own["p_any"]).all()
    nothing = [made(effect=0, seed=seed).differences() for seed in range(20)]
    alarms = [(own.query("direction == 'all' and outcome == 'place'")["p_any"] <= 0.05).any() for own in nothing]
    assert np.mean(alarms) <= 0.15
    with pytest.raises(InputError, match="there is no control"):
        made(control=False).differences()


def test_a_change_that_is_nil_is_said_and_drawn_as_none_however_small_its_p_is():
    found = made()
    for size, said in ((0.001, False), (0.2, True)):
        for sign, told in ((1, "It raises 'place' beyond"), (-1, "the control raises 'place' more")):
            far = replace(found, p_patched=found.p_control + np.float32(sign * size))
            own = far.differences().query("direction == 'all' and outcome == 'place'")
            assert (own["p_any"] <= 0.05).all()
            assert any(told in one for one in interchange_findings(far).sentences) == said
            full = far.plot_differences().collections[1]  # behind the band
            assert len(full.get_offsets()) == (len(own) if said else 0)
    page = interchange_findings(replace(found, p_patched=found.p_control + np.float32(0.001)))
    assert any("by more than 0.01" in one for one in page.sentences)
    assert "more than 0.01" in page.figures["beyond_control"].caption


def test_restoration_is_the_share_of_the_way_and_clamped_on_request():
    found = made(effect=0.9)
    score = found.restoration().query("direction == 'all' and set == 'patched'")
    assert np.allclose(score["value"], [1, 1, 1, 0], atol=0.02)
    above = replace(found, p_patched=np.ones_like(found.p_patched))
    assert above.restoration()["value"].max() > 1.01 and above.restoration(clamp=True)["value"].max() == 1
    with pytest.raises(InputError, match="outcome='middle' was not measured: use one of clean, place"):
        found.restoration("middle")


def test_what_can_not_be_told_is_left_out_and_named():
    close = replace(made(), p_counterfactual=made().p_clean)
    assert not len(close.restoration()) and "differ by 0.1" in close.left_out["why"].iloc[0]
    nobody = made(right=[False] * 12)
    whole = made()
    for table in ("to_dataframe", "runs", "differences", "restoration", "by_pair", "both_right"):
        empty, full = (getattr(found, table)() for found in (nobody, whole))
        assert (empty.dtypes == full.dtypes).all() and list(empty) == list(full), table
    assert not len(nobody.to_dataframe()) and "gets both sides right" in nobody.left_out["why"].iloc[0]
    assert "Nothing can be told" in interchange_findings(nobody).sentences[0]
    few = made(right=[True, False, True, True] + [False] * 8)
    assert set(few.to_dataframe()["direction"]) == {"all", "left"}
    assert "fewer than three groups" in line(few.left_out, direction="right").why
    with pytest.raises(InputError, match="direction='up' can not be told"):
        few.plot(direction="up")


def test_sentences_say_what_was_chosen_from_many_and_figures_can_be_drawn(tmp_path):
    found = made()
    told = interchange_findings(found)
    assert "the largest of 4 slots; " in told.sentences[0] and "all 4 together" in told.sentences[0]
    assert "beyond the control at slots 0 to 2" in " ".join(told.sentences)
    assert "12 of 12 pairs were kept" in told.sentences[1]
    assert "most at " in " ".join(told.sentences) and "'place', what is right if" in told.sentences[2]
    assert "asked: left" in found.plot(direction="left").get_title("left") and "asked" not in told.title
    inside = interchange_findings(replace(found, hook="attn_out"))
    assert "(layer 0, the largest of 4 layers" in inside.sentences[0] and "at layers 0 to 2" in " ".join(
        inside.sentences
    )
    assert "By layer" in inside.shown and "slot" not in " ".join(inside.sentences)
    nothing = interchange_findings(made(right=[False] * 12))
    assert "By slot" not in nothing.shown and any("could not be told" in one.title for one in nothing.sections())
    assert isinstance(found.plot(), Axes) and isinstance(found.plot(band="interval", direction="left"), Axes)
    paths = write_findings(OutputFolder(tmp_path), told)
    assert {
        "report.html",
        "interchange.png",
        "beyond_control.csv",
        "pairs.parquet",
        "restoration.parquet",
        "runs.parquet",
    } <= {path.name for path in paths}
    bare = interchange_findings(made(control=False))
    for page, drawn in ((told, True), (bare, False)):
        own = page.figures["interchange"]
        labels = [text.get_text() for text in own.figure.axes[0].get_legend().get_texts()]
        assert ("Dashes" in own.caption) == ("control, same outcome" in labels) == drawn
    assert "There was no control" in bare.cautions[-1] and "beyond_control" not in bare.tables
    assert "is it shown to raise" in " ".join(interchange_findings(made(effect=0)).sentences)
    less = made(effect=-0.04)  # the control does more
    assert "At slots 0 to 2 the control raises 'place' more" in " ".join(interchange_findings(less).sentences)
    assert spans([0, 2, 4, 8], (0, 2, 4, 6, 8)) == "0 to 4, 8"


def test_a_study_that_was_broken_off_goes_on_and_equals_one_that_was_not(tmp_path, monkeypatch):
    vlm = HookedVLM.from_pretrained("tiny-llava", self_check=False)
    pairs = [noisy_pair(number) for number in range(4)]
    how = {"batch": 2, "progress": False, "draws": 50}
    whole = interchange(vlm, pairs, "strip", **how, out=tmp_path / "whole")
    done, measure = [], InterchangeMeasurement.measure

    def breaks(self, own):
        if done:
            raise KeyboardInterrupt
        done.append(own)
        return measure(self, own)

    monkeypatch.setattr(InterchangeMeasurement, "measure", breaks)
    with pytest.raises(KeyboardInterrupt):
        interchange(vlm, pairs, "strip", **how, out=tmp_path / "broken")
    monkeypatch.setattr(InterchangeMeasurement, "measure", measure)
    resumed = interchange(vlm, pairs, "strip", **how, out=tmp_path / "broken", resume=True)
    assert np.array_equal(resumed.p_patched, whole.p_patched) and np.array_equal(resumed.p_control, whole.p_control)
    assert resumed.ids == whole.ids and whole.p_patched.shape == (4, 4, 3)
    settings = json.loads((tmp_path / "whole" / "manifest.json").read_text())["settings"]
    assert settings["positions"] == "strip" and settings["slots"] == [0, 1, 2, 3]
    with pytest.raises(InputError):
        interchange(vlm, pairs, "object", **how, out=tmp_path / "broken", resume=True)
    assert isinstance(whole.to_dataframe(), pd.DataFrame)


def test_rows_of_pairs_hold_what_was_measured_of_each_and_restoration_is_told_of_every_outcome():
    found = made(pairs=5, right=[True, True, False, True, True])
    found = replace(found, p_clean=found.p_clean + np.float32(0.01) * np.arange(10, dtype=np.float32).reshape(5, 2))
    table = found.by_pair()
    for pair, slot, outcome in np.ndindex(5, 4, 2):
        for name, values in (("patched", found.p_patched), ("control", found.p_control)):
            row = line(table, id=str(pair), set=name, slot=SLOTS[slot], outcome=found.outcomes[outcome])
            assert row.p == values[pair, slot, outcome] and row.p_clean == found.p_clean[pair, outcome]
            assert row.p_counterfactual == found.p_counterfactual[pair, outcome]
            assert (row.direction, row.group, row.kept) == (found.directions[pair], pair, pair != 2)
    score = made(effect=0.85).restoration("clean").query("direction == 'all' and set == 'patched'")
    assert np.allclose(score["value"], [1, 1, 1, 0], atol=0.02)


def test_of_one_direction_all_pairs_are_told_and_nothing_is_left_out():
    found = made(directions=("left",))
    assert set(found.to_dataframe()["direction"]) == {"all"} and found.left_out.empty
    assert found.both_right()["direction"].tolist() == ["all", "left"]
