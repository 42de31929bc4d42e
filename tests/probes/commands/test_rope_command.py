"""The command `rope` writes what `rope_sensitivity` finds, and refuses what that refuses."""

import json

import pandas as pd
import pytest
from tiny import photo

from probes.__main__ import main


def test_the_command_writes_its_table_its_figure_and_a_summary(tmp_path, capsys):
    picture = tmp_path / "photo.png"
    photo().save(picture)
    asked = [str(picture), "Where is the mug?", "--model", "tiny-qwen2_vl", "--out", str(tmp_path / "out")]
    assert main(["rope", *asked, "--axis", "height", "--delta", "-2", "--query-row", "appended_eos"]) == 0
    table = pd.read_parquet(tmp_path / "out" / "rope.parquet")
    said = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert set(table["axis"]) == {"height"} and set(table["delta"]) == {-2.0}
    assert said["abs_delta_g_v"] == pytest.approx(table["delta_g_v"].abs().mean(), rel=1e-5)
    assert said["settings"]["query_row"] == "appended_eos" and (tmp_path / "out" / "rope.png").stat().st_size
    assert "written to" in capsys.readouterr().out
    assert main(["rope", *asked, "--axis", "depth"]) == 2
