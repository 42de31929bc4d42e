"""The command `ids`: one page of IDs, mirror swap and steering, all files told of, resumed as it was."""

import json
import shutil
from fnmatch import fnmatch
from functools import partial

import pandas as pd
import pytest

from interp.commands.columns import meaning_of
from probes.__main__ import main
from probes.mechanisms.columns import FILES, NAMES, OWN
from probes.mechanisms.scenes.id_scenes import id_scenes

ASKED = ["ids", "--cells", "2", "--shuffles", "9", "--seeds", "1", "--batch", "24"]


@pytest.fixture(autouse=True, scope="module")
def few_shapes():
    """Two shapes in place of six."""
    with pytest.MonkeyPatch.context() as patch:
        few = partial(id_scenes, ("red circle", "blue square"))
        patch.setattr("probes.mechanisms.scenes.id_scenes.id_scenes", few)
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("ids") / "out"
    assert main([*ASKED, "--out", str(place)]) == 0
    return place


def test_every_file_and_column_is_told_of(folder):
    told = [*FILES["ids"], *(name.replace(".parquet", ".csv") for name in FILES["ids"])]
    written = [str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()]
    assert [name for name in written if not any(fnmatch(name, known) for known in told)] == []
    for path in folder.glob("*.parquet"):
        table = pd.read_parquet(path)
        assert [column for column in table if meaning_of(column, path.stem, (NAMES, OWN)) is None] == [], path.stem
        if path.stem == "spatial_ids":  # of two objects, which are too few for an interval
            assert table[["low", "high"]].isna().all(axis=None) and (table["objects"] == 2).all()
        ends = ["low", "high"] if path.stem in ("spatial_ids", "mirror_swap", "steering") else []
        assert not table.drop(columns=ends).isna().any(axis=None), path.stem
    page = (folder / "report.html").read_text()
    assert "belief shift" in page and "random directions of the same length" in page
    assert " 5 pairs" in page and "of 8 right answers" in page


def test_a_run_that_was_cut_off_goes_on_to_the_same_tables(folder, tmp_path):
    place = tmp_path / "out"
    shutil.copytree(folder, place)
    shutil.rmtree(place / "steering")
    assert main([*ASKED, "--out", str(place)]) != 0  # it holds a study
    assert main([*ASKED, "--out", str(place), "--resume"]) == 0
    for name in ("spatial_ids", "mirror_swap", "steering"):
        assert pd.read_parquet(place / f"{name}.parquet").equals(pd.read_parquet(folder / f"{name}.parquet"))


def test_a_model_with_deepstack_has_ids_and_a_sentence_for_what_is_refused(tmp_path):
    place = tmp_path / "out"
    assert main([*ASKED, "--model", "tiny-qwen3_vl", "--out", str(place)]) == 0
    assert not (place / "steering.parquet").exists()
    assert "Nothing was swapped or steered" in (place / "report.html").read_text()
    assert json.loads((place / "summary.json").read_text())["cells"] == 2


@pytest.mark.parametrize(
    ("options", "said"),
    (
        (["--cells", "1"], "cells=1"),
        (["--shuffles", "0"], "--shuffles 0"),
        (["--seeds", "0"], "--seeds 0"),
        (["--scale", "0"], "--scale 0"),
        (["--scale", "nan"], "--scale nan"),
        (["--batch", "0"], "--batch 0"),
        (["--prompt", "raw"], "--prompt raw"),
        (["--seed", "-1"], "seed"),
    ),
)
def test_bad_options_are_refused_before_the_model_is_loaded(options, said, tmp_path, capsys):
    assert main(["ids", *options, "--model", "no-such-model", "--out", str(tmp_path / "out")]) != 0
    assert said in capsys.readouterr().err
