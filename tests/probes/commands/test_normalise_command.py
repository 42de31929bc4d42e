"""The command `normalise` writes what doses find, of a photo and of a data set, and says that nothing is trained."""

import inspect
import json

import numpy as np
import pandas as pd
import pytest
import tiny

from probes.__main__ import main
from probes.commands.normalise import SCALES
from probes.position.columns import FILES, NAMES, OWN
from probes.position.dose import dose_response

QUESTION = "Where is the mug?"


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "photo.png"
    tiny.photo(0).save(path)
    return str(path)


def told(command):
    """The files of a command but for its shards, `*` as the kind of a dose."""
    return {name.replace("*", "scale") for name in FILES[command] if not name.startswith("shards/*")}


def test_a_photo_is_asked_at_every_dose(photo, tmp_path, capsys):
    where = ["normalise", photo, QUESTION, "--out", str(tmp_path / "out"), "--model", "tiny-llava"]
    assert main([*where, "--scales", "0.5", "2", "--seeds", "2", "--max-new-tokens", "2"]) == 0
    table = pd.read_parquet(tmp_path / "out" / "normalise.parquet")
    assert table["dose"].tolist() == [0.5, 1, 2] and not table.isna().any(axis=None)
    assert set(table) <= {*NAMES, *OWN["normalise"]}
    assert {path.name for path in (tmp_path / "out").iterdir()} == told("normalise")
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["answer"] == table["text"][1] and summary["settings"]["seeds"] == [0, 1]
    changed = table.loc[table["text"] != summary["answer"], "dose"]
    assert summary["changed_at"] == [f"scale {dose:g}" for dose in changed]
    said = capsys.readouterr().out
    assert "no method of the paper" in said and f"scale 1 (untouched): {summary['answer']!r}" in said
    assert np.allclose(table["median_norm"] / table["median_norm"][1], [0.5, 1, 2])


def test_a_data_set_is_asked_at_every_dose_and_told_of_on_a_page(tmp_path, capsys):
    out = tmp_path / "out"
    asked = [
        "normalise",
        "--dataset",
        "shapes",
        "--n",
        "8",
        "--scales",
        "2",
        "--max-new-tokens",
        "2",
        "--out",
        str(out),
    ]
    assert main(asked) == 0
    written = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    assert {name for name in written if not name.endswith((".csv", ".parquet"))} == {
        name for name in told("normalise-study") if not name.endswith(".parquet")
    }
    assert {name for name in told("normalise-study") if name.endswith(".parquet")} <= written
    summary, answers = json.loads((out / "summary.json").read_text()), pd.read_parquet(out / "answers.parquet")
    right = answers[answers["order"] == "original"].groupby("dose")["correct"].mean()
    for dose in (1, 2):
        assert summary["measures"][f"scale {dose}"]["accuracy"] == pytest.approx(right[dose])
    page, said = (out / "report.html").read_text(), capsys.readouterr().out
    assert summary["sentence"] in said and summary["sentence"] in page and "no method of the paper" in page
    assert f"accuracy is {100 * right[1]:.1f} %" in summary["sentence"]
    for name in ("normalise", "differences", "left_out", "answers", "states"):
        table = pd.read_parquet(out / f"{name}.parquet")
        assert set(table) <= {*NAMES, *OWN.get(name, {})}
    assert main([*asked, "--resume"]) == 0


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (["--scales", "0"], "a dose of scale is 0"),
        (["--scales", "nan"], "nan: give a finite number"),
        (["--scales"], "no dose is given"),
        (["--clips", "2", "2"], "clip 2 is given twice"),
        (["--seeds", "0"], "at least 1"),
    ],
)
def test_what_means_nothing_is_refused_before_a_model_is_loaded(asked, message, photo, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("probes.commands.asking.load", lambda options: pytest.fail("a model was loaded"))
    assert main(["normalise", photo, QUESTION, *asked, "--out", str(tmp_path / "out")]) == 2
    assert message in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_the_help_names_the_knob_for_what_it_is_and_its_doses_are_those_of_the_function(capsys):
    with pytest.raises(SystemExit):
        main(["normalise", "--help"])
    said = " ".join(capsys.readouterr().out.split())
    assert "no method of the paper" in said and f"default: {' '.join(f'{scale:g}' for scale in SCALES)}" in said
    assert inspect.signature(dose_response).parameters["scales"].default == SCALES
