"""What a command of the probes is asked about: one photo or one data set, and anything else is refused unread."""

import json

import numpy as np
import pandas as pd
import pytest
import tiny

from probes.__main__ import main
from probes.position.columns import FILES

QUESTION = "Where is the mug?"


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "photo.png"
    tiny.photo(0).save(path)
    return str(path)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ([], "no photo and no --dataset"),
        (["PHOTO"], "no question"),
        (["PHOTO", QUESTION, "--dataset", "shapes"], "both"),
        (["PHOTO", QUESTION, "--n", "4"], "--n is about a data set"),
        (["PHOTO", QUESTION, "--resume"], "--resume is about a data set"),
        (["PHOTO", QUESTION, "--within", "boxes"], "no boxes"),
        (["--dataset", "no-such-set"], "no-such-set"),
        (["--dataset", "shapes", "--n", "8", "--seeds", "0"], "at least 1"),
    ],
)
def test_what_is_not_one_photo_or_one_data_set_is_refused_before_a_model_is_loaded(
    asked, message, photo, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr("probes.commands.asking.load", lambda options: pytest.fail("a model was loaded"))
    asked = [photo if word == "PHOTO" else word for word in asked]
    assert main(["order", *asked, "--out", str(tmp_path / "out")]) == 2
    assert message in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_a_data_set_is_asked_and_told_of_in_files_a_page_and_a_sentence(tmp_path, capsys):
    out = tmp_path / "out"
    asked = ["order", "--dataset", "shapes", "--n", "12", "--sides", "2", "--max-new-tokens", "2", "--out", str(out)]
    assert main([*asked, "--batch", "6"]) == 0
    written = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    told = set(FILES["order-study"]) - {"shards/*.parquet"}
    assert {name for name in written if not name.endswith((".csv", ".parquet"))} == {
        name for name in told if not name.endswith(".parquet")
    }
    assert {name for name in told if name.endswith(".parquet")} <= written
    summary, answers = json.loads((out / "summary.json").read_text()), pd.read_parquet(out / "answers.parquet")
    first = answers[answers["order"] == "original"]
    assert summary["n"] == 12 and summary["measures"]["accuracy"] == pytest.approx(first["correct"].mean())
    permuted = answers[answers["order"].str.startswith("seed")]["correct"].mean()
    assert summary["measures"]["permuted"] == pytest.approx(permuted)
    said = capsys.readouterr().out
    assert summary["sentence"] in said and summary["sentence"] in (out / "report.html").read_text()
    assert f"{permuted:.1%}".replace("%", " %") in summary["sentence"]
    assert summary["settings"]["dataset"] == "shapes" and summary["settings"]["seeds"] == list(range(5))

    assert main(asked) == 2 and "resume" in capsys.readouterr().err
    assert main([*asked, "--batch", "6", "--resume"]) == 0
    assert np.array_equal(pd.read_parquet(out / "answers.parquet")["text"], answers["text"])
