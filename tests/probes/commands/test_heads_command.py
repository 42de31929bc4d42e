"""The commands `heads ...`: from drawn steps to found heads and SHA; files are told of, bad options refused early."""

import json
import subprocess
import sys
from dataclasses import replace
from fnmatch import fnmatch
from html import unescape

import numpy as np
import pandas as pd
import pytest

from interp.commands.columns import meaning_of
from interp.errors import InputError
from probes import load_head_activations, save_scores, synthetic_steps, write_steps
from probes.__main__ import build_parser, main
from probes.commands.heads_find import RULES
from probes.commands.heads_items import CONTEXTS
from probes.heads.columns import FILES, NAMES, OWN
from probes.heads.data import prompts
from probes.heads.found.find import SCORERS
from probes.heads.found.saved import load_all_scores
from probes.heads.selection import selectors

SMALL = ["--n", "10", "--batch", "16", "--max-new-tokens", "2"]
COMMANDS = ("collect", "find", "compare", "mask", "steer", "sha")


@pytest.fixture(scope="module")
def collected(tmp_path_factory):
    place = tmp_path_factory.mktemp("heads") / "collected"
    assert main(["heads", "collect", *SMALL, "--out", str(place)]) == 0
    return place


@pytest.fixture(scope="module")
def found(collected, tmp_path_factory):
    place = tmp_path_factory.mktemp("heads") / "found"
    assert main(["heads", "find", str(collected), "--shuffles", "5", "--deals", "20", "--out", str(place)]) == 0
    return place


def check_told(place, command):
    """Every file and column that a command wrote is told of."""
    told = [*FILES[command], *(name.replace(".parquet", ".csv") for name in FILES[command])]
    written = [str(path.relative_to(place)) for path in place.rglob("*") if path.is_file()]
    assert [name for name in written if not any(fnmatch(name, known) for known in told)] == []
    for path in place.glob("*.parquet"):
        table = pd.read_parquet(path)
        assert [column for column in table if meaning_of(column, path.stem, (NAMES, OWN)) is None] == [], path.stem
    page = unescape((place / "report.html").read_text())
    assert "What this does not show" in page
    assert json.loads((place / "summary.json").read_text())["sentence"] in page


def test_steps_are_collected_and_every_file_and_column_is_told_of(collected):
    check_told(collected, "heads-collect")
    heads = load_head_activations(collected)
    assert len(heads) == 80 and set(heads.primary) == {
        "spatial", "relational", "low_level", "high_level", "information", "recall", "math", "decision",
    }  # fmt: skip
    assert heads.settings["questions"] == {"drawn": 10, "split": "train", "context": "bare"}
    functions = pd.read_parquet(collected / "functions.parquet").set_index("function")
    assert functions.loc["all", "items"] == 80
    right = np.array([own == ("spatial",) for own in heads.functions])
    assert functions.loc["spatial", "accuracy"] == pytest.approx(heads.correct[right].mean())


def test_heads_are_found_without_a_model_and_every_file_and_column_is_told_of(collected, tmp_path, monkeypatch):
    monkeypatch.setattr("interp.cli.load", lambda options: pytest.fail("a model was loaded"))
    out = tmp_path / "out"
    asked = [str(collected), "--shuffles", "5", "--deals", "20", "--rule", "top_percent", "--out", str(out)]
    assert main(["heads", "find", *asked]) == 0
    check_told(out, "heads-find")
    selected = pd.read_parquet(out / "selected.parquet")
    cells = len(pd.read_parquet(out / "scores.parquet").query("function == 'spatial'"))
    assert (selected.groupby("function").size() == max(1, cells // 10)).all()  # ten of a hundred


def test_find_goes_on_with_what_it_scored(collected, found, tmp_path, capsys, monkeypatch):
    asked = ["heads", "find", str(collected), "--shuffles", "5", "--deals", "20", "--out", str(found)]
    assert main(asked) == 2 and "--resume" in capsys.readouterr().err
    monkeypatch.setattr("probes.heads.found.find._score", lambda *given: pytest.fail("scored again"))
    assert main([*asked, "--resume"]) == 0
    assert "are taken" in capsys.readouterr().out


def test_find_replaces_no_results_by_such_that_were_asked_for_otherwise(collected, found, capsys):
    again = ["heads", "find", str(collected), "--shuffles", "5", "--deals", "20", "--out", str(found), "--resume"]
    before = {path: path.read_bytes() for path in found.rglob("*") if path.is_file()}
    for more, said in (
        (["--rule", "elbow"], "rule: was 'fdr', now 'elbow'"),
        (["--deals", "21"], "deals: was 20, now 21"),
        (["--seed", "1"], "seed: was 0, now 1"),
        (["--functions", "spatial,relational"], "functions: was None, now ['spatial', 'relational']"),
        (["--scorers", "linear_probe,joint_network"], "now ['linear_probe', 'joint_network']"),
    ):
        assert main([*again, *more]) == 2 and said in capsys.readouterr().err
    assert main([*again, "--shuffles", "6"]) == 2 and "made otherwise" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in found.rglob("*") if path.is_file()} == before


def test_find_that_fails_before_anything_is_scored_can_be_run_again(collected, tmp_path, capsys, monkeypatch):
    def fails(*given):
        raise InputError("this can not be scored")

    asked = ["heads", "find", str(collected), "--shuffles", "5", "--deals", "20", "--out", str(tmp_path / "out")]
    with monkeypatch.context() as patch:
        patch.setattr("probes.heads.found.find._score", fails)
        assert main(asked) == 2 and "can not be scored" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert main([*asked, "--rule", "elbow"]) == 0


def test_folders_are_compared_and_not_otherwise_in_the_same_folder(collected, found, tmp_path, capsys):
    other, out = tmp_path / "other", tmp_path / "out"
    asked = ["--shuffles", "5", "--deals", "20", "--layer-mean", "--out", str(other)]
    assert main(["heads", "find", str(collected), *asked]) == 0
    assert main(["heads", "compare", str(found), str(other), "--deals", "20", "--out", str(out)]) == 0
    for place, command in ((found, "find"), (out, "compare")):  # each page tells its own command, and its data's
        made = json.loads((place / "summary.json").read_text())["settings"]
        assert made["command"].startswith(f"python -m probes heads {command} ") and made["begun"]
        assert command == "compare" or "heads collect" in made["collected"]["command"]
    check_told(out, "heads-compare")
    table = pd.read_parquet(out / "agreement.parquet")
    again = ["heads", "compare", str(found), str(other), "--deals", "20", "--out", str(out), "--resume"]
    assert main(again) == 0
    capsys.readouterr()
    for more, said in ((["--rule", "elbow"], "rule: was 'top_percent', now 'elbow'"), (["--seed", "1"], "seed: was 0")):
        assert main([*again, *more]) == 2 and said in capsys.readouterr().err
    assert main([*again[:3], str(found), *again[4:]]) == 2 and "two folders are called" in capsys.readouterr().err
    assert set(table["first"]) == {"found/linear_probe"} and set(table["second"]) == {"other/linear_probe"}


def test_sha_asks_four_arms_and_a_control_and_every_file_and_column_is_told_of(tmp_path, capsys):
    out, steps = tmp_path / "out", tmp_path / "steps.json"
    two = [
        replace(one, steps=tuple(step for step in one.steps if step.primary in ("spatial", "low_level")))
        for one in synthetic_steps(10)
    ]
    write_steps(two, steps)
    counted = ["--shuffles", "3", "--deals", "2", "--rule", "elbow"]
    asked = ["--steps", str(steps), "--batch", "20", "--max-new-tokens", "1"]
    assert main(["heads", "sha", *asked, *counted, "--out", str(out)]) == 0
    check_told(out, "heads-sha")
    assert set(pd.read_parquet(out / "heads.parquet")["function"]) == {"spatial", "low_level"}
    arms = pd.read_parquet(out / "accuracy.parquet")["arm"]
    assert set(arms) == {"original", "bbox", "mask", "bbox_mask", "elsewhere"}
    settings = json.loads((out / "summary.json").read_text())["settings"]
    assert settings["view"]["boxes"] == "drawn" and settings["boxes"] == {"source": "data set"}
    page = (out / "report.html").read_bytes()
    for more, said in ((["--rule", "fdr"], "rule: was 'elbow', now 'fdr'"), (["--deals", "3"], "deals: was 2, now 3")):
        assert main(["heads", "sha", *asked, *counted, *more, "--out", str(out), "--resume"]) == 2
        assert said in capsys.readouterr().err and (out / "report.html").read_bytes() == page


@pytest.mark.parametrize(("command", "edit"), (("mask", "scale"), ("steer", "gain")))
def test_heads_that_were_found_are_edited_beside_their_controls(command, edit, found, tmp_path):
    pytest.importorskip("probes.heads.evaluation")
    out = tmp_path / "out"
    asked = [str(found), "--edit", edit, "--control", "recall", "--n", "3", "--max-new-tokens", "1", "--out", str(out)]
    assert main(["heads", command, *asked]) == 0
    check_told(out, f"heads-{command}")
    arms = pd.read_parquet(out / "arms.parquet")
    assert {"untouched", "tested", "random", "lowest"} <= set(arms["role"])


def test_heads_that_were_found_in_another_model_are_refused_before_the_first_pass(found, tmp_path, capsys, monkeypatch):
    for name, own in load_all_scores(found).items():
        other = replace(own, settings={**own.settings, "weights_sha256": "0123456789ab"})
        save_scores(other, tmp_path / "found" / "scores" / f"{name}.npz")
    monkeypatch.setattr("probes.heads.evaluation.evaluate.evaluate_heads", lambda *given, **more: pytest.fail("asked"))
    out = tmp_path / "out"
    assert main(["heads", "mask", str(tmp_path / "found"), "--n", "2", "--out", str(out)]) == 2
    said = capsys.readouterr().err
    assert "weights 0123456789..." in said and "find heads in this one" in said and not out.exists()


def test_steps_of_a_file_are_asked_with_their_context(tmp_path):
    write_steps(synthetic_steps(2), tmp_path / "steps.json")
    out = tmp_path / "out"
    asked = ["--steps", str(tmp_path / "steps.json"), "--context", "all", "--max-new-tokens", "1", "--out", str(out)]
    assert main(["heads", "collect", *asked]) == 0
    heads = load_head_activations(out)
    assert len(heads) == 16 and heads.settings["questions"]["context"] == "all"


NO_MODEL = "probes.commands.heads_items.load"


@pytest.mark.parametrize(
    ("asked", "said"),
    (
        (["collect", "--n", "0"], "--n 0"),
        (["collect", "--steps", "a.json", "--dataset", "shapes"], "--steps is about steps"),
        (["collect", "--dataset", "shapes", "--context", "bare"], "--context is about steps"),
        (["collect", "--folder", "data"], "name --dataset"),
        (["collect", "--images", "photos"], "--images is about --steps"),
        (["collect", "--steps", "no-such.json"], "no-such.json"),
        (["collect", "--prompt", "raw"], "--prompt raw"),
        (["find", "no-such-folder"], "no-such-folder"),
        (["collect", "--k", "0"], "--k 0"),
        (["collect", "--max-new-tokens", "0"], "--max-new-tokens 0"),
        (["find", "FOUND"], "holds found heads, not head activations"),
        (["find", "FOUND", "--rule", "top_k"], "needs --top"),
        (["find", "FOUND", "--percent", "5"], "is about --rule top_percent"),
        (["compare", "no-such-folder", "no-other"], "holds no scores"),
        (["compare", ""], "'' is no path"),
        (["compare", "FOUND", "no-other", "--deals", "0"], "error: deals 0 can not be used"),
        (["compare", "FOUND", "no-other", "--seed", "-5"], "error: seed=-5 is no seed"),
        (["compare", "FOUND", "no-other", "--top", "3"], "--top is about --rule top_k"),
        (["compare", "FOUND", "no-other", "--percent", "0"], "error: percent=0.0: give how many of a hundred"),
        (["sha", "--rule", "top_percent"], "as many heads as it is told"),
        (["sha", "--deals", "0"], "--deals 0"),
        (["sha", "--detector", "nosuch"], "no detector weights 'nosuch'"),
        (["sha", "--fill", "grey"], "--fill 'grey'"),
        (["sha", "--boxes", "text", "--labels"], "draws none"),
        (["sha", "--download"], "--download is about"),
    ),
)
def test_bad_options_are_refused_before_a_model_is_loaded(asked, said, found, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(NO_MODEL, lambda options: pytest.fail("a model was loaded"))
    out = tmp_path / "out"
    asked = [str(found) if word == "FOUND" else word for word in asked]
    assert main(["heads", *asked, "--out", str(out)]) == 2
    assert said in capsys.readouterr().err and not out.exists()


@pytest.mark.parametrize(
    ("asked", "said"),
    (
        (["mask"], "neither a folder nor --heads"),
        (["mask", "FOUND", "--heads", "0.1"], "both a folder and --heads"),
        (["mask", "--heads", "0-1"], "'0-1' is no list of heads"),
        (["mask", "FOUND", "--factor", "2"], "does not make heads smaller"),
        (["steer", "FOUND", "--edit", "gain", "--factors", "2,0.5"], "does not make heads stronger"),
        (["mask", "FOUND", "--doses", "99"], "at most: give smaller ones, or a set of more heads"),
        (["mask", "FOUND", "--sets", "2"], "--sets 2"),
        (["mask", "FOUND", "--function", "gaze"], "no scores of 'gaze'"),
        (["mask", "FOUND", "--scorer", "joint_network"], "no scorer 'joint_network'"),
        (["mask", "FOUND", "--split", "train", "--n", "5"], "40 of 40 questions"),
        (["steer", "FOUND", "--control", "gaze"], "--control gaze"),
    ),
)
def test_heads_that_can_not_be_edited_are_refused_before_a_model_is_loaded(
    asked, said, found, tmp_path, capsys, monkeypatch
):
    pytest.importorskip("probes.heads.evaluation")
    monkeypatch.setattr(NO_MODEL, lambda options: pytest.fail("a model was loaded"))
    asked = [str(found) if word == "FOUND" else word for word in asked]
    assert main(["heads", *asked, "--out", str(tmp_path / "out")]) == 2
    assert said in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_options_name_what_the_library_has():
    assert set(RULES) == set(selectors.RULES) and CONTEXTS == (*prompts.CONTEXTS, "bare")
    help_of = build_parser()._subparsers._group_actions[0].choices["heads"]
    own = help_of._subparsers._group_actions[0].choices
    assert tuple(own) == COMMANDS and all("examples:" in parser.description for parser in own.values())
    assert all(name in own["find"].description for name in (*SCORERS, *RULES))


@pytest.mark.parametrize("command", COMMANDS)
def test_help_teaches_with_examples_and_loads_nothing_heavy(command):
    code = (
        "import sys\nfrom probes.__main__ import main\n"
        f"try:\n    main(['heads', {command!r}, '--help'])\n"
        "except SystemExit:\n    pass\nprint('loaded', *sorted({'numpy', 'torch', 'pandas'} & {*sys.modules}))"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "examples:" in shown and f"python -m probes heads {command}" in shown
    assert shown.splitlines()[-1] == "loaded"


def test_a_split_that_a_file_lacks_is_refused_with_those_that_it_has(tmp_path, capsys):
    write_steps(synthetic_steps(3), tmp_path / "steps.json")
    asked = ["heads", "collect", "--steps", str(tmp_path / "steps.json"), "--out", str(tmp_path / "z")]
    assert main([*asked, "--split", "test"]) == 2
    assert "none of 3 questions is in the split 'test': there are train" in capsys.readouterr().err
