"""All tools over one data set: one page, one sentence a tool, each kept so that it can be resumed."""

import json
import re

import pandas as pd
import pytest
import tiny

from interp.datasets.synthetic.shapes import shapes
from interp.errors import InputError
from interp.model.hooked_vlm import HookedVLM
from interp.stats.intervals import FEWEST
from probes import examine_position
from probes.__main__ import main
from probes.commands.position import OWN
from probes.position.report.position import TOOLS

SCENES = ["--dataset", "shapes", "--n", "8", "--batch", "4"]


def test_one_page_has_a_sentence_of_each_tool_and_each_has_its_own(tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["position", *SCENES, "--out", str(out)]) == 0
    said, page = json.loads((out / "summary.json").read_text()), (out / "report.html").read_text()
    assert len(said["sentences"]) == 5 and said["refused"] == {}
    printed, few = capsys.readouterr().out, {}
    for name, sentence in zip(TOOLS, said["sentences"], strict=True):
        assert said[name]["sentence"] == sentence and sentence in printed and sentence in page
        assert sentence in (out / name / "report.html").read_text()
        assert "[" in sentence and f"{name}/report.html" in page
        own = (out / name / "report.html").read_text()
        few.setdefault(re.search(r"The numbers are of (?:\d to )?8 groups, which are few", own)[0], []).append(name)
    for line, names in few.items():
        told = f"{', '.join(names).capitalize()}: {line}"
        assert told in page and told in printed
    assert page.count("which are few") == len(few)
    assert main(["position", *SCENES, "--out", str(out)]) == 2 and "resume" in capsys.readouterr().err


def test_a_run_that_broke_off_goes_on_and_a_tool_that_is_done_is_not_run_again(tmp_path, monkeypatch):
    vlm = HookedVLM.from_pretrained("shapes-vlm")
    scenes, quiet = shapes(8, split="test", seed=1, kinds=("relation",)), {"progress": False, "batch": 4}
    whole = examine_position(vlm, scenes, ("norms", "rope"), **quiet)
    broken = {**TOOLS, "rope": lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt)}
    with monkeypatch.context() as patch:
        patch.setattr("probes.position.report.position.TOOLS", broken)
        with pytest.raises(KeyboardInterrupt):
            examine_position(vlm, scenes, ("norms", "rope"), out=tmp_path, **quiet)
    with tiny.passes(vlm) as passes:
        again = examine_position(vlm, scenes, ("norms", "rope"), out=tmp_path, resume=True, **quiet)
    assert again.sentences() == whole.sentences()
    assert len(passes) == 2  # those of RoPE alone


def test_what_a_model_can_not_be_measured_by_is_said_by_name_and_the_rest_is_measured():
    found = examine_position(tiny.without_rope(), shapes(4, kinds=("relation",)), progress=False)
    assert set(found.refused) == {"rope", "normalise"} and set(found.found) == {"norms", "balance", "order"}
    table = found.to_dataframe()
    assert table["tool"].tolist() == list(TOOLS) and table["measured"].tolist() == [True, True, False, True, False]
    assert table["sentence"][~table["measured"]].str.contains("SmolLM3Attention").all()


def test_a_model_with_deepstack_is_measured_by_every_tool():
    vlm = HookedVLM.from_pretrained("tiny-qwen3_vl")
    found = examine_position(vlm, shapes(4, kinds=("relation",)), progress=False)
    assert found.to_dataframe()["measured"].all() and not found.refused


def test_what_can_not_be_asked_is_refused_before_the_first_pass(tmp_path, capsys):
    vlm = tiny.vlm(self_check=False)
    scenes = shapes(4, kinds=("relation",))
    with tiny.passes(vlm) as passes:
        for samples, tools, message in [
            (scenes, ("norm",), "no tool 'norm'"),
            (scenes, (), "use some of"),
            ([], ("norms",), "no samples"),
            (scenes[:1], ("norms",), "two groups"),
        ]:
            with pytest.raises(InputError, match=message):
                examine_position(vlm, samples, tools, out=tmp_path / "out", progress=False)
    assert not passes and not (tmp_path / "out").exists()
    (tmp_path / "mine.txt").write_text("mine")
    assert main(["position", *SCENES, "--out", str(tmp_path)]) == 2 and "no study" in capsys.readouterr().err


def test_the_data_set_that_is_asked_by_itself_is_one_the_model_knows():
    assert OWN == {True: "shapes", False: "2ds-style"}


def test_every_table_of_every_tool_is_without_gaps_in_what_it_measures(tmp_path):
    assert main(["position", *SCENES, "--tools", "norms,rope,order", "--out", str(tmp_path / "out")]) == 0
    for path in (tmp_path / "out").glob("*/*.parquet"):
        table = pd.read_parquet(path)
        if path.stem == "norm_quartiles":  # those of tokens which are the same in every prompt have no interval
            assert table.loc[table["group"] == "image", "low"].notna().all()
            table = table.drop(columns=["low", "high"])
        if "groups" in table:
            few = table["groups"] < FEWEST
            assert table.loc[few, ["low", "high"]].isna().all(axis=None), path
            table = table[~few]
        assert path.stem in ("left_out", "answers") or not table.isna().any(axis=None), path
