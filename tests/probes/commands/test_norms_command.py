"""The command `norms` writes what the functions measure."""

import json

import pandas as pd
import pytest
import tiny

from interp.model.hooked_vlm import HookedVLM
from probes.__main__ import main
from probes.position.residual_norms import residual_norms
from probes.position.token_norms import token_norms

QUESTION = "Where is the mug?"


def test_norms_are_written(tmp_path, capsys):
    photo, out = tmp_path / "photo.png", tmp_path / "out"
    tiny.photo().save(photo)
    assert main(["norms", str(photo), QUESTION, "--model", "tiny-llava", "--out", str(out)]) == 0
    vlm = HookedVLM.from_pretrained("tiny-llava", self_check=False)
    inputs = vlm.prepare(photo, QUESTION)
    ((tokens,), (stream,)) = token_norms(vlm, inputs), residual_norms(vlm, inputs)
    kept = {path.stem: pd.read_parquet(path) for path in out.glob("*.parquet")}
    pd.testing.assert_frame_equal(kept["token_norms"], tokens.to_dataframe(), rtol=1e-5)
    pd.testing.assert_frame_equal(kept["token_norm_quartiles"], tokens.quartiles(), rtol=1e-5)
    pd.testing.assert_frame_equal(kept["residual_norms"], stream.to_dataframe(), rtol=1e-5)
    pd.testing.assert_frame_equal(kept["norm_ratios"], stream.ratios_to_dataframe(), rtol=1e-5)
    summary = json.loads((out / "summary.json").read_text())
    assert summary["ratio_by_depth"] == pytest.approx(stream.image_over_text().tolist(), rel=1e-5)
    assert summary["ratio_by_depth_paper"] == pytest.approx(stream.image_over_text("paper").tolist(), rel=1e-5)
    assert summary["after_final_norm"] == pytest.approx(stream.after_final_norm, rel=1e-5)
    assert {path.name for path in out.glob("*.png")} == {"token_norms.png", "residual_norms.png"}
    said = capsys.readouterr().out
    assert "median norm of a token" in said and f"{stream.image_over_text()[0]:.3g} at depth 0" in said


def test_a_question_that_is_empty_is_refused(tmp_path, capsys):
    photo = tmp_path / "photo.png"
    tiny.photo().save(photo)
    assert main(["norms", str(photo), " ", "--model", "tiny-llava", "--out", str(tmp_path / "out")]) != 0
    assert "question is empty" in capsys.readouterr().err
