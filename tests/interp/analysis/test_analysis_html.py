"""What an analysis makes besides: the page to explore, and maps over the patches of the vision tower."""

import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import tiny
from PIL import Image

from interp.__main__ import main as interp
from interp.analysis.analyze import analyze
from interp.analysis.vision import ALSO
from interp.detect import GivenBoxes
from interp.errors import InputError, RefusedError
from interp.layers import HEAD_MEAN
from interp.maps.rollout import rollout, two_stage
from interp.maps.trajectory import normalise
from interp.maps.vision import vision_attention
from interp.overlap.overlap import overlap
from interp.page.explore import explore

QUESTION = "Where is the mug in relation to the table? Answer with left, right, above or below."
BOXES = GivenBoxes.parse("mug=5,5,25,25; table=30,20,70,55")


@pytest.fixture(scope="module")
def vlm():
    return tiny.vlm()


@pytest.fixture(scope="module", params=["first", "all"])
def analysis(vlm, request):
    """Everything that can be made of one photo."""
    settings = {"detector": BOXES, "tokens": request.param, "sample_id": "one"}
    return analyze(tiny.photo(), QUESTION, model=vlm, also=ALSO, html=True, **settings)


# --- the page


def test_the_page_holds_what_a_pass_of_its_own_would_have_captured(vlm, analysis):
    page, wanted = analysis.page.exploration, explore(vlm, tiny.photo(), QUESTION, detector=BOXES).exploration
    (run,), (other,) = page.runs, wanted.runs
    assert (run.name, run.change, run.answer) == (other.name, other.change, other.answer)
    np.testing.assert_allclose(run.weights, other.weights, atol=1e-6)
    np.testing.assert_allclose(run.shares, other.shares, atol=1e-6)
    assert run.confidence == pytest.approx(other.confidence, abs=1e-6)
    for name in ("boxes", "roles", "missing", "layout", "question", "normalisations", "visible_keys", "sinks_said"):
        assert getattr(page, name) == getattr(wanted, name), name
    assert (page.sinks is None) == (wanted.sinks is None) and page.roles == ("first", "second")


def test_the_page_is_one_file_that_reaches_no_network(tmp_path, vlm):
    out = tmp_path / "out"
    analysis = analyze(tiny.photo(), QUESTION, model=vlm, html=True, out=out, max_new_tokens=1)
    html = (out / "explore.html").read_text(encoding="utf-8")
    assert html == analysis.page.html and not analysis.page.exploration.boxes
    assert not re.findall(r"""(?:src|href|url\()\s*=?\s*["']?(?:https?:)?//""", html)
    assert re.findall(r'src="(?!data:)[^"]', html) == []


def test_there_is_no_page_unless_it_is_asked_for(vlm, tmp_path):
    assert analyze(tiny.photo(), QUESTION, model=vlm, max_new_tokens=1, out=tmp_path / "out").page is None
    assert not (tmp_path / "out" / "explore.html").exists()


# --- further maps


def test_further_maps_are_those_of_the_vision_tower(vlm, analysis):
    inputs = vlm.prepare(tiny.photo(), QUESTION)
    rows = analysis.trajectory.image_attention.mean(axis=1, dtype=np.float64)  # layer step token
    (rolled,), (seen,) = rollout(vlm, inputs), vision_attention(vlm, inputs)
    tower = seen.between_patches()[:2, 0].mean(axis=1)  # LLaVA's projector reads the third layer's input
    wanted = {
        "two-stage": (normalise(two_stage(rows, rolled), "image"), (0, 1, 2)),
        "vision": (normalise(tower, "image")[:, None], (0, 1)),
        "rollout": (rolled.weights.mean(axis=0)[None, None], (1,)),
    }
    assert tuple(analysis.also) == tuple(wanted) == ALSO
    for name, (weights, layers) in wanted.items():
        found = analysis.also[name]
        np.testing.assert_allclose(found.weights, weights, atol=1e-6)
        assert found.layers == layers and np.array_equal(found.grid.boxes, rolled.grid.boxes)


def test_further_maps_are_compared_with_the_boxes_head_by_head(vlm, analysis):
    (rolled,) = rollout(vlm, vlm.prepare(tiny.photo(), QUESTION))
    rows = analysis.trajectory.image_attention
    through = two_stage(rows if analysis.trajectory.generated else rows[:, :, 0], rolled)
    wanted = overlap(through, rolled.grid, analysis.found.boxes)
    np.testing.assert_allclose(analysis.also["two-stage"].overlap.values("mass"), wanted.values("mass"), atol=1e-6)
    for maps in analysis.also.values():
        mask = maps.grid.union_membership(analysis.found.boxes).astype(np.float64)
        np.testing.assert_allclose(maps.overlap.by_layer("mass"), (maps.weights @ mask).mean(axis=1), atol=1e-6)


def test_tables_of_further_maps_say_of_which_layer_and_patch_each_number_is(analysis, tmp_path):
    written = {path.name for path in analysis.save(tmp_path)}
    assert {"explore.html"} | {f"{name}.png" for name in ALSO} <= written
    for name, maps in analysis.also.items():
        table, against = (pd.read_parquet(tmp_path / f"{front}{name}.parquet") for front in ("", "overlap_"))
        np.testing.assert_allclose(table.groupby(["layer", "step"])["weight"].sum(), 1, atol=1e-5)
        one = table[(table["layer"] == maps.layers[-1]) & (table["step"] == 0)]
        assert np.array_equal(one["weight"], maps.weights[-1, 0])
        assert np.array_equal(one[["row", "col"]].to_numpy().T, [maps.grid.rows, maps.grid.cols])
        mean = against[(against["head"] == HEAD_MEAN) & (against["region"] == "union")]
        profile = mean.groupby("layer")["cosine"].mean()
        np.testing.assert_allclose(profile, maps.overlap.by_layer("cosine"), atol=1e-6)
        assert tuple(profile.index) == maps.layers and set(table["sample"]) == set(against["sample"]) == {"one"}
        assert set(table["maps"]) == set(against["maps"]) == {name}
        assert Image.open(tmp_path / f"{name}.png").size[0] > 200
        assert f"{name}: maps over {len(maps.grid)} patches; cosine" in analysis.describe()


def test_without_boxes_there_is_nothing_to_compare(vlm, tmp_path):
    found = analyze(tiny.photo(), QUESTION, model=vlm, also=["rollout"], max_new_tokens=1, out=tmp_path)
    assert found.also["rollout"].overlap is None and not list(tmp_path.glob("overlap_*.parquet"))
    with pytest.raises(InputError, match="no boxes"):
        found.also["rollout"].overlap_table()


def test_a_family_that_can_not_show_its_tower_is_refused_before_it_is_asked(tmp_path, monkeypatch):
    vlm, out = tiny.vlm(), tmp_path / "out"
    monkeypatch.setattr(vlm, "generate_with_cache", lambda *_, **__: pytest.fail("the model ran"))
    vlm.model.config.vision_feature_layer = [-2, -1]
    with pytest.raises(RefusedError, match="joins the vision tower's layers"):
        analyze(tiny.photo(), QUESTION, model=vlm, also=["two-stage"], out=out)
    vlm.family = replace(vlm.family, refusals={"vision": "its attention is hidden"})
    with pytest.raises(RefusedError, match="its attention is hidden"):
        analyze(tiny.photo(), QUESTION, model=vlm, also=["vision"], out=out)
    assert not out.exists()


@pytest.mark.parametrize("also", ["two-stage", ["saliency"], ["vision", ""]], ids=str)
def test_maps_that_are_not_known_are_refused(vlm, also):
    with pytest.raises(InputError, match="two-stage, vision, rollout|is no list"):
        analyze(tiny.photo(), QUESTION, model=vlm, also=also)


# --- the command


def test_the_command_writes_the_page_and_further_maps(tmp_path, capsys):
    photo, out = tmp_path / "photo.png", tmp_path / "out"
    tiny.photo().save(photo)
    options = ["--model", "tiny-llava", "--max-new-tokens", "1", "--html", "--also", "two-stage, rollout"]
    assert interp(["analyze", str(photo), QUESTION, "--out", str(out), *options]) == 0
    assert {"explore.html", "two-stage.png", "rollout.parquet"} <= {path.name for path in out.iterdir()}
    assert "explore.html" in capsys.readouterr().out
