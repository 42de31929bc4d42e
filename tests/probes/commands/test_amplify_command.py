"""The command `amplify`: samples without directions are left out, and nothing is trained for what is refused."""

import json

import numpy as np
import pandas as pd
import pytest

from probes import save_directions
from probes.__main__ import main


def test_samples_of_an_axis_without_directions_are_left_out_and_counted(tmp_path, capsys):
    file = save_directions(tmp_path / "axes.npz", {"horizontal": np.ones((128, 2))}, [])
    line = f"amplify --dataset shapes --n 16 --directions {file} --alphas 1 --seeds 1 --out {tmp_path / 'out'}"
    assert main(line.split()) == 0
    told = capsys.readouterr().out
    answers = pd.read_parquet(tmp_path / "out" / "answers.parquet")
    gone = 8 - answers["id"].nunique()  # of 16, half ask about two things
    assert f"{gone} of 8 samples are left out, as directions are for the horizontal axis alone" in told
    kept = json.loads((tmp_path / "out" / "summary.json").read_text())["settings"]["not_measured"]
    assert [row["left_out"] for row in kept] == [8, gone] and 0 < gone < 8


def test_too_few_groups_for_two_halves_are_counted_as_they_were_given(tmp_path, capsys):
    assert main(f"amplify --dataset shapes --n 6 --out {tmp_path / 'out'}".split()) == 2
    assert "3 samples lie in 3 groups: one half of the groups trains directions" in capsys.readouterr().err


@pytest.mark.parametrize("asked", ("--alphas 0", "--alphas 1 1", "--axes both --n 4", "--model tiny-qwen3_vl"))
def test_no_directions_are_trained_for_what_is_refused(asked, tmp_path, monkeypatch):
    monkeypatch.setattr("probes.mechanisms.probe.axis.axis_probe", lambda *given, **how: pytest.fail("was trained"))
    monkeypatch.setattr("probes.mechanisms.probe.axis.box_tokens", lambda *given: ((), "they are not seen"))
    assert main(f"amplify --dataset shapes --n 16 --out {tmp_path / 'out'} {asked}".split()) == 2
    assert not list((tmp_path / "out").rglob("manifest.json"))
