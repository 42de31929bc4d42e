"""The command `mechanisms`: what it prints is kept, refusals and what is left out too; files and columns are known."""

import json
from fnmatch import fnmatch

import pandas as pd
import pytest

from interp.commands.columns import meaning_of
from interp.errors import RefusedError
from probes.__main__ import main
from probes.mechanisms.columns import FILES, NAMES, OWN


@pytest.fixture(scope="module")
def asked(tmp_path_factory):
    """The folder, and what was printed, of a model that one tool can not measure."""
    place = tmp_path_factory.mktemp("mechanisms") / "out"

    def refuse(*given, **options):
        raise RefusedError("not with this tower.")

    with pytest.MonkeyPatch.context() as patch:
        printed = []
        patch.setattr("builtins.print", lambda *told: printed.extend(told))
        patch.setattr("probes.mechanisms.ablation.ordering.ablate_ordering", refuse)
        assert main(["mechanisms", "--pairs", "2", "--tools", "object,last,ablate", "--out", str(place)]) == 0
    return place, "\n".join(printed)


def test_what_is_refused_and_what_is_left_out_is_printed_and_kept(asked):
    place, printed = asked
    summary = json.loads((place / "summary.json").read_text())
    assert summary["refused"] == {"ablate": "not with this tower."}
    assert "'ablate' was not measured: not with this tower." in printed.splitlines()
    assert all(sentence in printed for sentence in summary["sentences"])
    kept = [(name, row["why"]) for name, own in summary.items() if "left_out" in own for row in own["left_out"]]
    assert {name for name, _ in kept} >= {"statements"}
    for name, why in kept:
        assert f"{name} leaves out {kept.count((name, why))}: {why}" in printed.splitlines()
    assert summary["statements"]["by_axis"].keys() == {"horizontal", "vertical"}
    page = (place / "report.html").read_text()
    assert "not with this tower" in page and "By axis" in page


def test_every_file_and_column_of_the_statements_is_told_of(asked):
    place, _ = asked
    written = [str(path.relative_to(place)) for path in place.rglob("*") if path.is_file()]
    assert [name for name in written if not any(fnmatch(name, known) for known in FILES["mechanisms"])] == []
    for path in (place / "statements").glob("*.parquet"):
        table = pd.read_parquet(path)
        assert [column for column in table if meaning_of(column, path.stem, (NAMES, OWN)) is None] == [], path.stem
        assert not table.isna().any(axis=None)
