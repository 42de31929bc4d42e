"""One photo and one question through the command lines: what is written, and what is refused on one line."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tiny
from onnx_files import ULTRALYTICS, red_finder
from PIL import Image

from adaptvis.__main__ import main as adaptvis
from interp.__main__ import main as interp
from interp.analysis.analyze import analyze
from interp.analysis.result import draw_heatmaps, layer_titles
from interp.errors import InputError
from interp.image.boxes import Box
from probes.__main__ import main as probes

QUESTION = "Where is the mug in relation to the table? Answer with left, right, above or below."
BOXES = "mug=5,5,25,25; table=30,20,70,55"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A saved tiny model."""
    path = tmp_path_factory.mktemp("model")
    tiny.model(layers=12, kv_heads=4).save_pretrained(path)
    tiny.processor().save_pretrained(path)
    return str(path)


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "photo.png"
    tiny.photo().save(path)
    return str(path)


def test_analyze_writes_figures_tables_and_a_summary_that_agree(folder, photo, tmp_path, capsys):
    out = tmp_path / "out"
    options = ["--model", folder, "--boxes", BOXES, "--layers", "2,6", "--show-grid", "--tokens", "all"]
    assert interp(["analyze", photo, QUESTION, "--out", str(out), *options]) == 0
    images = {"heatmaps.png", "share_by_layer.png", "overlap_by_layer.png", "tokens.png", "grid.png"}
    tables = {"trajectory.parquet", "overlap.parquet", "summary.json"}
    assert {path.name for path in out.iterdir()} == images | tables
    assert all(Image.open(out / name).size[0] > 200 for name in images)
    summary = json.loads((out / "summary.json").read_text())
    settings = summary["settings"]
    assert settings["self_check"] is True and settings["prompt"] == "chat" and settings["model"] == folder
    assert (settings["max_new_tokens"], settings["layers"], settings["revision"]) == (10, [2, 6], None)
    table = pd.read_parquet(out / "trajectory.parquet")
    shares = table.filter(like="share_").drop(columns=table.filter(like="token_share_").columns).sum(axis=1)
    np.testing.assert_allclose(shares, 1.0, atol=1e-5)
    assert set(table["sample"]) == {"photo"}
    np.testing.assert_allclose(table["share_image"].mean(), summary["image_share"], atol=1e-6)
    assert repr(summary["answer"]) in capsys.readouterr().out


def naive_density(analysis, boxes):
    """Mean attention inside the boxes over mean attention, counted pixel by pixel of the drawn maps [layer]."""
    whole = np.indices(analysis.image.size[::-1]) + 0.5
    inside = np.any(
        [[(x0 < whole[1]) & (whole[1] < x1) & (y0 < whole[0]) & (whole[0] < y1)] for x0, y0, x1, y1 in boxes], 0
    )
    maps = [analysis.grid.to_pixels(analysis.trajectory.image_map(layer=layer)) for layer in range(12)]
    return np.array([np.nanmean(drawn[inside[0]]) / np.nanmean(drawn) for drawn in maps])


@pytest.mark.parametrize("tokens", ["first", "all"])
@pytest.mark.parametrize("layers", [None, (2,), (0, 1, 2)])
def test_heat_maps_always_show_the_layer_with_most_on_the_objects_and_say_why(folder, photo, layers, tokens):
    from interp.detect import GivenBoxes

    boxes = [Box("mug", (5, 5, 25, 25)), Box("table", (30, 20, 70, 55))]
    found = analyze(photo, QUESTION, model=folder, detector=GivenBoxes(boxes), layers=layers, tokens=tokens)
    best = int(naive_density(found, [box.xyxy for box in boxes]).argmax())
    titles = layer_titles(found)
    assert set(titles) == {*found.layers, best}
    assert [layer for layer, title in titles.items() if "most on the objects" in title] == [best]
    assert [layer for layer, title in titles.items() if "the paper's" in title] == [6] * (layers is None)
    panels = [ax.get_title(loc="left") for ax in draw_heatmaps(found).axes]
    assert [panel for panel in panels if panel.startswith("layer")] == list(titles.values())


def test_without_boxes_no_layer_is_the_best(folder, photo):
    found = analyze(photo, QUESTION, model=folder, layers=(2, 3))
    assert layer_titles(found) == {layer: f"layer {layer}, head mean, first token" for layer in (2, 3)}


def test_an_analysis_leaves_nothing_of_an_earlier_one_beside_it(folder, photo, tmp_path):
    out = tmp_path / "out"
    (out / "own.txt").parent.mkdir()
    (out / "own.txt").write_text("mine")
    asked = ["analyze", photo, QUESTION, "--model", folder, "--layers", "2", "--out", str(out)]
    assert interp([*asked, "--boxes", BOXES, "--html"]) == 0
    assert (out / "explore.html").is_file() and (out / "overlap.parquet").is_file()
    assert interp(asked) == 0
    listed = {*json.loads((out / "summary.json").read_text())["files"], "summary.json", "own.txt"}
    assert {path.name for path in out.iterdir()} == listed and "overlap.parquet" not in listed


def test_boxes_beyond_the_photo_are_refused(folder, photo, tmp_path, capsys):
    asked = ["analyze", photo, QUESTION, "--model", folder, "--out", str(tmp_path / "out")]
    assert interp([*asked, "--boxes", "mug=5,5,2500,25"]) == 2
    assert "box 'mug' has corners (5, 5, 2500, 25)" in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_the_embedded_model_says_that_it_knows_no_photos(capsys):
    from interp.cli import note_domain

    note_domain("shapes-vlm")
    assert "about photos" in capsys.readouterr().err
    note_domain("shapes-vlm", "drawn squares")
    told = capsys.readouterr().err
    assert "drawn squares" in told and "photo" not in told
    note_domain("llava-hf/llava-1.5-7b-hf")
    assert not capsys.readouterr().err


def test_what_would_be_ignored_is_refused(folder, photo, tmp_path):
    vlm = tiny.vlm()
    for ignored in ({"device": "cpu"}, {"dtype": "float32"}, {"revision": "main"}):
        with pytest.raises(InputError, match="loaded already"):
            analyze(photo, QUESTION, model=vlm, **ignored)
    with pytest.raises(InputError, match="layers is empty"):
        analyze(photo, QUESTION, model=vlm, layers=())
    assert interp(["analyze", photo, QUESTION, "--model", folder, "--download", "--out", str(tmp_path / "out")]) == 2


def test_a_model_may_be_a_path_and_the_record_says_how_it_was_loaded(folder, photo):
    found = analyze(photo, QUESTION, model=Path(folder), revision="main", max_new_tokens=1)
    assert (found.settings["model"], found.settings["revision"]) == (folder, "main")


def test_any_kind_of_detector_can_look_for_the_objects(folder, tmp_path):
    pytest.importorskip("onnxruntime", reason="needs the extra 'onnx'")
    weights = red_finder(tmp_path / "red.onnx", "ultralytics", metadata=ULTRALYTICS)
    path, out = tmp_path / "photo.png", tmp_path / "out"
    photo = Image.new("RGB", (96, 64), (120, 100, 90))
    photo.paste((220, 20, 30), (8, 8, 40, 32))
    photo.save(path)
    options = ["--model", folder, "--detector", str(weights), "--max-new-tokens", "1", "--out", str(out)]
    assert interp(["analyze", str(path), "Where is the red thing in the photo?", *options]) == 0
    summary = json.loads((out / "summary.json").read_text())
    assert summary["settings"]["detector"] == "red.onnx" and [box["label"] for box in summary["boxes"]] == ["red thing"]
    np.testing.assert_allclose(summary["boxes"][0]["xyxy"], (8, 8, 40, 32), atol=1.01)


@pytest.mark.parametrize(
    "detector, says",
    [
        ("ground-truth", "a photo alone carries none"),
        ("no/such-model", "no/such-model"),
        ("/no/such/file.onnx", "file.onnx"),
    ],
)
def test_a_detector_that_can_not_look_is_refused_before_a_model_is_loaded(photo, tmp_path, capsys, detector, says):
    out = tmp_path / "out"
    options = ["--model", "/no/such/model", "--detector", detector, "--out", str(out)]
    assert interp(["analyze", photo, QUESTION, *options]) == 2
    assert says in capsys.readouterr().err.splitlines()[-1] and not out.exists()


@pytest.mark.parametrize("size", [(1, 1), (900, 7), (7, 900)], ids=str)
def test_any_shape_of_photo_goes_through(folder, tmp_path, size):
    path = tmp_path / "photo.png"
    Image.new("RGBA", size, (200, 10, 10, 128)).save(path)
    assert interp(["analyze", str(path), QUESTION, "--model", folder, "--out", str(tmp_path / "out")]) == 0


def test_answer_under_alpha_one_is_the_untouched_answer(folder, photo, tmp_path):
    out = tmp_path / "out"
    options = ["--model", folder, "--policy", "scaling", "--alpha", "1", "--out", str(out)]
    assert adaptvis(["answer", photo, QUESTION, *options]) == 0
    found = json.loads((out / "answer.json").read_text())
    assert found["text"] == found["untouched"]
    assert found["probability"] == pytest.approx(found["confidence"], abs=1e-6)


def test_balance_is_written(folder, photo, tmp_path):
    out = tmp_path / "out"
    assert probes(["balance", photo, QUESTION, "--model", folder, "--out", str(out)]) == 0
    table = pd.read_parquet(out / "balance.parquet")
    assert len(table) == 12 * 4 and table["balance"].between(0, 1).all()


@pytest.mark.parametrize(
    "change, says",
    [
        ({"photo": "/no/such/photo.jpg"}, "photo.jpg"),
        ({"question": " "}, "question is empty"),
        ({"--layers": "99"}, "layer [99] does not exist"),
        ({"--layers": "x"}, "no list of numbers"),
        ({"--model": "/no/such/model"}, "no model folder"),
        ({"--boxes": "dog=1,1,9,9"}, "none of the boxes given is of mug or table; they are of dog: name each as the"),
        ({"--boxes": "mug=9,9,1,1"}, "mug"),
        ({"--dtype": "int7"}, "dtype"),
        ({"--out": "/proc/nowhere"}, "can not be written"),
        ({"--also": "saliency"}, "two-stage, vision, rollout"),
    ],
    ids=str,
)
def test_bad_input_gives_one_line_and_exit_code_2_and_no_file(folder, photo, tmp_path, capsys, change, says):
    out = tmp_path / "out"
    given = {"photo": photo, "question": QUESTION, "--model": folder, "--boxes": BOXES, "--out": str(out), **change}
    flags = [part for name, value in given.items() if name.startswith("--") for part in (name, value)]
    assert interp(["analyze", given["photo"], given["question"], *flags]) == 2
    errors = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("Loading weights")]
    (error,) = [line for line in errors if line]
    assert says in error and error.startswith("error: ")
    assert not out.exists() or not list(out.iterdir())


@pytest.mark.parametrize(
    "flags",
    [["--alpha", "nan", "--policy", "scaling"], ["--alpha", "2"], ["--threshold", "7"], ["--layers", "40"]],
    ids=str,
)
def test_a_policy_that_means_nothing_is_refused(folder, photo, capsys, flags):
    assert adaptvis(["answer", photo, QUESTION, "--model", folder, *flags]) == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith("error: ")


def test_debug_shows_the_traceback(folder, tmp_path):
    with pytest.raises(InputError):
        interp(["analyze", str(tmp_path / "none.png"), QUESTION, "--model", folder, "--debug"])
