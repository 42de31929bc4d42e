"""The command `interchange`: a page, tables and figures, all told of; bad options before a model is loaded."""

from fnmatch import fnmatch

import pandas as pd
import pytest

from interp.commands.columns import meaning_of
from interp.stats.intervals import FEWEST
from probes.__main__ import main
from probes.mechanisms.columns import FILES, NAMES, OWN


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("interchange") / "out"
    asked = ["--pairs", "2", "--positions", "object", "--slots", "0", "3", "12", "--batch", "8"]
    assert main(["interchange", *asked, "--out", str(place)]) == 0
    return place


def test_every_file_and_column_is_told_of(folder):
    told = [*FILES["interchange"], *(name.replace(".parquet", ".csv") for name in FILES["interchange"])]
    written = [str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()]
    assert [name for name in written if not any(fnmatch(name, known) for known in told)] == []
    for path in folder.glob("*.parquet"):
        table = pd.read_parquet(path)
        assert [column for column in table if meaning_of(column, path.stem, (NAMES, OWN)) is None] == [], path.stem
        few = table[table["groups"] < FEWEST] if "groups" in table else table.iloc[:0]
        assert few.get("low", few).isna().all(axis=None)
        assert not table.drop(few.index).isna().any(axis=None)
    means = pd.read_parquet(folder / "interchange.parquet").query("direction == 'all' and set == 'patched'")
    assert set(means["slot"]) == {0, 3, 12} and set(means["outcome"]) == {"clean", "place"}
    assert "What this does not show" in (folder / "report.html").read_text()


@pytest.mark.parametrize(
    ("options", "said"),
    (
        (["--positions", "stripe"], "'stripe' is no token set"),
        (["--hook", "pattern"], "can not be patched"),
        (["--pairs", "0"], "--pairs 0"),
    ),
)
def test_bad_options_are_refused_before_the_model_is_loaded(options, said, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("probes.commands.scenes.load", lambda options: pytest.fail("the model was loaded"))
    assert main(["interchange", *options, "--out", str(tmp_path / "out")]) != 0
    assert said in capsys.readouterr().err


def test_last_asks_about_five_items(tmp_path, capsys):
    place = tmp_path / "out"
    asked = ["--pairs", "1", "--positions", "last", "--no-control", "--slots", "0", "12", "--all-pairs"]
    assert main(["interchange", *asked, "--out", str(place)]) == 0
    assert "There was no control" in (place / "report.html").read_text()
    pairs = pd.read_parquet(place / "pairs.parquet")
    assert set(pairs["set"]) == {"patched"} and pairs["kept"].all()
