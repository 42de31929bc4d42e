"""A study of RoPE sensitivity: rows of the one-photo function, axes one by one, resuming, refusals, its page."""

import json
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import tiny
from broken_off import break_second

from interp.errors import InputError
from interp.model.hooked_vlm import HookedVLM
from interp.objects.sample import Sample
from probes.__main__ import main
from probes.position.report.rope import rope_findings, rope_sentence
from probes.position.rope import rope_sensitivity
from probes.position.rope_study import RopeMeasurement, study_rope
from probes.position.rope_summary import AVERAGED, CURVES, mean_rope_sensitivity

QUIET = {"progress": False, "prompt": "paper"}
GROUPS = ["photo 0", "photo 0", "photo 1", "photo 2"]


def samples(count=4, *, group=""):
    asked = [tiny.QUESTIONS[place % 3] for place in range(count)]
    return [
        Sample(f"s{place}", tiny.photo(place), question, (), "left", group=group or f"photo {max(place - 1, 0)}")
        for place, question in enumerate(asked)
    ]


@pytest.fixture(scope="module")
def vlm():
    return tiny.vlm(self_check=False)


@pytest.fixture(scope="module")
def three_streams():
    return HookedVLM.from_pretrained("tiny-qwen2_5_vl", self_check=False)


def one_by_one(vlm, count=4, **asked):
    for sample in samples(count):
        inputs = vlm.prepare(sample.image, sample.question, prompt="paper")
        yield from rope_sensitivity(vlm, inputs, **asked)


@pytest.mark.parametrize("name", ["tiny-qwen2_5_vl", "tiny-gemma3"])
def test_rows_are_what_the_function_for_one_photo_gives_of_each_sample(name):
    vlm = HookedVLM.from_pretrained(name, self_check=False)
    axes = (None, "time", "height", "width") if "qwen" in name else (None,)
    work = RopeMeasurement.of(vlm, delta=2, query_row="appended_eos", axis="each" if axes[1:] else None, prompt="paper")
    with tiny.passes(vlm) as passes:
        rows = work(samples(2))
    assert len(passes) == len(axes)
    for place, axis in enumerate(axes):
        for sample, one in enumerate(one_by_one(vlm, 2, delta=2, query_row="appended_eos", axis=axis)):
            row = rows[sample][place]
            assert row["axis"] == (axis or "all")
            for measure in AVERAGED:
                assert row[measure] == pytest.approx(getattr(one, measure).ravel(), rel=1e-3, abs=1e-5)
            assert row["largest_residual"] == pytest.approx(np.abs(one.residual).max(), rel=1e-3, abs=1e-5)


def test_a_study_is_the_mean_of_its_samples_with_whole_groups_drawn(vlm):
    found = study_rope(vlm, samples(), delta=0.5, batch=3, **QUIET)
    wanted = mean_rope_sensitivity(
        (replace(one, query_row="last") for one in one_by_one(vlm, delta=0.5)), groups=GROUPS
    )
    for measure in CURVES:
        for over in ("by_head", "by_layer", "over_all"):
            for end in ("estimate", "low", "high"):
                own, other = (getattr(getattr(one, f"{measure}_{over}"), end) for one in (found.of("all"), wanted))
                assert own == pytest.approx(other, rel=1e-3, abs=1e-5)
    alone = study_rope(vlm, [replace(one, group="") for one in samples()], delta=0.5, batch=3, **QUIET)
    assert not np.allclose(alone.of().abs_delta_g_v_by_layer.low, found.of().abs_delta_g_v_by_layer.low)
    assert found.n == 4 and found.axes == ("all",) and found.delta == 0.5
    for table in (found.to_dataframe(), found.by_layer(), found.over_all()):
        assert not table.isna().any(axis=None) and table.columns[0] == "axis"
    assert len(found.to_dataframe()) == vlm.cfg.n_layers * vlm.cfg.n_heads


def test_each_axis_is_that_axis_alone_and_all_of_them_as_one(three_streams):
    found = study_rope(three_streams, samples(), axis="each", **QUIET)
    assert found.axes == ("all", "time", "height", "width")
    for axis in found.axes:
        alone = study_rope(three_streams, samples(), axis=axis, **QUIET)
        own = found.to_dataframe().query("axis == @axis").reset_index(drop=True)
        pd.testing.assert_frame_equal(own, alone.to_dataframe())
    sizes = found.over_all().set_index("axis")["abs_delta_g_v"]
    assert sizes.nunique() == 4
    panels = found.plot_axes()
    assert [line.get_label() for line in panels[0].lines[:4]] == list(found.axes)
    assert panels[0].lines[2].get_ydata() == pytest.approx(found.of("height").curve("abs_delta_g_v").estimate)
    assert len(panels[0].collections) == 4
    with pytest.raises(InputError, match="was not measured"):
        found.of("depth")


def test_a_row_from_the_end_is_the_same_token_of_each_sample(vlm):
    found = study_rope(vlm, samples(), query_row=-2, batch=4, **QUIET)
    wanted = mean_rope_sensitivity(replace(one, query_row=-2) for one in one_by_one(vlm, query_row=-2))
    assert found.query_row == -2 and found.of().delta_alpha_v == pytest.approx(wanted.delta_alpha_v, abs=1e-5)
    last = study_rope(vlm, samples(), batch=4, **QUIET)
    assert not np.allclose(last.of().delta_alpha_v, found.of().delta_alpha_v, atol=1e-4)


def test_a_study_that_was_broken_off_goes_on_to_the_same_result(vlm, tmp_path, monkeypatch):
    whole = study_rope(vlm, samples(), batch=2, **QUIET)
    calls = break_second(monkeypatch, RopeMeasurement)
    with pytest.raises(KeyboardInterrupt):
        study_rope(vlm, samples(), batch=2, out=tmp_path, **QUIET)
    resumed = study_rope(vlm, samples(), batch=2, out=tmp_path, resume=True, **QUIET)
    assert len(calls) == 3
    for table in ("to_dataframe", "by_layer", "over_all"):
        pd.testing.assert_frame_equal(getattr(resumed, table)(), getattr(whole, table)(), check_exact=True)
    with pytest.raises(InputError, match="delta"):
        study_rope(vlm, samples(), batch=2, out=tmp_path, resume=True, delta=2, **QUIET)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"samples": []}, "no samples"),
        ({"samples": samples(4, group="one")}, "at least two groups"),
        ({"delta": float("nan")}, "no number of positions"),
        ({"delta": "far"}, "no number of positions"),
        ({"query_row": "first"}, "query_row='first' is not known"),
        ({"query_row": 30}, "another token in each sample"),
        ({"query_row": -500}, "sample 's0': query_row=-500 lies outside"),
        ({"axis": "height"}, "not one of this model's"),
        ({"axis": "each"}, "has no axes"),
        ({"draws": 0}, "at least one draw"),
        ({"vlm": None}, "HookedVLM.from_pretrained"),
    ],
    ids=str,
)
def test_what_means_nothing_is_refused_before_the_first_pass(vlm, given, message):
    with tiny.passes(vlm) as passes, pytest.raises(InputError, match=message):
        study_rope(**{"vlm": vlm, "samples": samples(), **QUIET, **given})
    assert not passes


def test_a_row_before_the_image_of_one_sample_is_refused_before_the_first_pass(vlm):
    short = vlm.prepare(tiny.photo(2), tiny.QUESTIONS[2], prompt="paper").layouts[0]
    row = int(short.image_positions[0]) - 1 - short.length
    with tiny.passes(vlm) as passes, pytest.raises(InputError, match="sample 's2'.*before the image"):
        study_rope(vlm, samples(), query_row=row, **QUIET)
    assert not passes


def test_the_sentence_has_the_numbers_over_all_with_their_intervals(vlm):
    found = study_rope(vlm, samples(), delta=-3, **QUIET)
    size, change = found.of().abs_delta_g_v_over_all, found.of().delta_alpha_v_over_all
    said = rope_sentence(found)
    assert "by -3 positions" in said and "4 samples" in said and rope_findings(found).sentences[0] == said
    numbers = [float(text) for text in re.findall(r"(?<![\w.])[-+]?\d+\.?\d*", said)]
    for own in (size, change):
        ends = own.estimate, own.low, own.high
        for value in ends:
            assert min(abs(value - number) for number in numbers) <= 0.006 * max(map(abs, ends))


def test_the_command_writes_every_file_and_the_sentence(tmp_path, capsys):
    out = tmp_path / "out"
    asked = ["rope", "--dataset", "shapes", "--n", "4", "--model", "tiny-qwen2_vl", "--out", str(out)]
    assert main([*asked, "--axis", "each", "--query-row", "-1", "--delta", "0.5"]) == 0
    said, page = json.loads((out / "summary.json").read_text()), (out / "report.html").read_text()
    assert said["sentence"].replace("|", "") in page.replace("|", "") and said["sentence"] in capsys.readouterr().out
    assert list(said["axes"]) == ["all", "time", "height", "width"] and said["settings"]["query_row"] == -1
    for name in ("rope", "layers", "axes"):
        table = pd.read_parquet(out / f"{name}.parquet")
        assert not table.isna().any(axis=None) and table["axis"].nunique() == 4
    assert {path.stem for path in out.glob("*.png")} == {"rope", "axes"}
    assert main(asked) == 2 and "--resume" in capsys.readouterr().err
