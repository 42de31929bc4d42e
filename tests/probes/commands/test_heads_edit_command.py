"""The commands `heads mask` and `heads steer` where objects are named and lie: what can not be edited so is told of."""

import json
from dataclasses import replace

import pandas as pd
import pytest

from interp.image.boxes import Box
from probes import synthetic_steps, write_steps
from probes.__main__ import build_parser, main

SHORT = ["--heads", "3.1,7.2", "--max-new-tokens", "1"]


@pytest.fixture
def shrunk(tmp_path):
    """Steps of which one spatial and one low-level question are about an object of two pixels."""
    questions = synthetic_steps(4)
    first = tuple(replace(step, objects=tuple(map(_small, step.objects))) for step in questions[0].steps)
    write_steps([replace(questions[0], steps=first), *questions[1:]], tmp_path / "steps.json")
    return str(tmp_path / "steps.json")


def _small(thing):
    return replace(thing, box=Box(thing.name, (50, 50, 52, 52)))


def test_heads_are_removed_at_object_words_and_control_questions_without_any_are_left_out_counted(tmp_path, capsys):
    out = tmp_path / "out"
    asked = [
        "heads",
        "mask",
        *SHORT,
        "--function",
        "relational",
        "--positions",
        "objects",
        "--n",
        "3",
        "--out",
        str(out),
    ]
    assert main(asked) == 0
    told = capsys.readouterr().out
    assert "15 of 15 control questions are left out, the first is " in told
    assert "none is left, so what else the edit changes is not measured: name functions whose questions name" in told
    settings = json.loads((out / "summary.json").read_text())["settings"]
    assert settings["positions"] == "objects" and len(settings["questions_left_out"]["control"]) == 15
    assert json.loads((out / "manifest.json").read_text())["settings"]["positions"] == "objects"
    assert main([*asked, "--resume"]) == 0
    capsys.readouterr()
    assert main([*asked, "--resume", "--positions", "all"]) == 2
    assert "positions: was 'objects', now 'all'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("asked", "said"),
    (
        (["--function", "low_level"], "3 of 3 samples have no object words; "),
        (
            ["--function", "relational", "--control", "recall"],
            "names no object: name functions whose questions name",
        ),
        (["--function", "relational", "--scope", "decode"], "scope='decode' edits nothing"),
    ),
    ids=str,
)
def test_questions_that_name_no_object_are_refused_with_counts(asked, said, tmp_path, capsys):
    command = ["heads", "mask", *SHORT, "--positions", "objects", "--n", "3", *asked, "--out", str(tmp_path / "out")]
    assert main(command) == 2
    assert said.rstrip("; ") in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_bias_leaves_out_questions_with_too_small_boxes_and_says_how_many(shrunk, tmp_path, capsys):
    out = tmp_path / "out"
    asked = ["heads", "steer", *SHORT, "--steps", shrunk, "--edit", "bias", "--function", "spatial", "--out", str(out)]
    assert main([*asked, "--control", "low_level,recall"]) == 0
    told = capsys.readouterr().out
    assert "1 of 4 tested questions are left out" in told and "so small are they" in told
    assert "5 of 8 control questions are left out" in told  # recall has no boxes at all
    samples = pd.read_parquet(out / "samples.parquet")
    assert samples.groupby("task")["id"].nunique().to_dict() == {"control": 3, "main": 3}
    gone = json.loads((out / "summary.json").read_text())["settings"]["questions_left_out"]
    assert {task: len(own) for task, own in gone.items()} == {"tested": 1, "control": 5}
    assert main([*asked[:-1], str(tmp_path / "no"), "--control", "recall"]) == 2
    assert "no control question is left" in capsys.readouterr().err


def test_bias_without_any_box_that_it_could_use_is_refused(tmp_path, capsys):
    none = [replace(one, steps=tuple(replace(step, objects=()) for step in one.steps)) for one in synthetic_steps(3)]
    write_steps(none, tmp_path / "steps.json")
    asked = ["heads", "steer", *SHORT, "--steps", str(tmp_path / "steps.json"), "--edit", "bias"]
    assert main([*asked, "--out", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert "no tested question is left: 3 of 3" in said and "no object with a box" in said


@pytest.mark.parametrize("command", ["mask", "steer"])
@pytest.mark.parametrize(
    ("asked", "said"),
    (
        (["--rule", "fdr"], "--rule is about a folder of `heads find`, and heads are given by hand"),
        (["--percent", "5"], "--percent is about a folder of `heads find`, and heads are given by hand"),
        (["--rule", "top_k", "--top", "3"], "--rule is about a folder of `heads find`"),
        (["--top", "3"], "--top is about --rule top_k, and --rule top_percent is asked: name that rule, or leave"),
        (["--scorer", "gaze"], "--scorer is about a folder of `heads find`"),
        (["--function", ""], "--function is empty: name one"),
    ),
    ids=str,
)
def test_options_that_would_do_nothing_are_refused_before_questions_are_drawn(command, asked, said, tmp_path, capsys):
    assert main(["heads", command, *SHORT, *asked, "--out", str(tmp_path / "out")]) == 2
    assert said in capsys.readouterr().err and not (tmp_path / "out").exists()


@pytest.mark.parametrize("command", ["mask", "steer"])
def test_the_help_says_what_positions_objects_are(command):
    own = build_parser()._subparsers._group_actions[0].choices["heads"]._subparsers._group_actions[0].choices[command]
    assert "the words of each question that name its objects" in " ".join(own.format_help().split())
