"""What a file of weights says of itself: metadata that are odd are told on one line, and nothing in them is run."""

import json

import pytest
from onnx_files import SIZE, ULTRALYTICS, node, red_finder, write_model

from interp.detect import load_detector
from interp.detect.common import LONGEST_NAME, read_class_names
from interp.detect.onnx.detector import OnnxDetector
from interp.errors import DetectorError

NAMES = {
    "deep": "-" * 100_000 + "1",
    "nested lists": "[" * 100_000,
    "no literal": "__import__('os').system('touch ran')",
    "bytes that are no text": b"\xff\xfe",
    "a list as a key": "{[1]: 2}",
    "NUL": "\0",
    "half a letter": "['\\ud800', 'b']",
    "empty": "['', '']",
    "lists as names": "{0: [1], 1: {2: 3}}",
    "longer than any name": repr(["x" * 100_000, "y"]),
    "text that is long": repr("x" * 100_000),
}


@pytest.mark.parametrize("names", NAMES.values(), ids=NAMES)
def test_names_in_an_onnx_file_that_are_none_are_refused_on_one_short_line(tmp_path, monkeypatch, names):
    monkeypatch.chdir(tmp_path)
    path = red_finder(tmp_path / "odd.onnx", "ultralytics", metadata=ULTRALYTICS | {"names": names})
    with pytest.raises(DetectorError, match=r"odd\.onnx can not be used") as refused:
        OnnxDetector(path)
    assert len(str(refused.value)) < 600 and "\n" not in str(refused.value)
    assert not (tmp_path / "ran").exists()


def test_a_note_that_is_no_literal_or_too_deep_counts_as_text(tmp_path):
    odd = {"stride2": "-" * 100_000 + "1", "author": "{[1]: 2}"}
    assert OnnxDetector(red_finder(tmp_path / "a.onnx", "ultralytics", metadata=ULTRALYTICS | odd)).labels


def test_an_input_that_no_memory_holds_is_refused(tmp_path):
    for sides in ("[3200000000, 32]", "[32, 32000000]", "3200000"):
        nodes = [node("Identity", ["images"], "out")]
        meta = ULTRALYTICS | {"imgsz": sides}
        path = write_model(tmp_path / "a.onnx", nodes, inputs=["batch", 3, "h", "w"], metadata=meta)
        with pytest.raises(DetectorError, match="imgsz"):
            OnnxDetector(path)
    assert SIZE  # sides of common size are read, see test_detect_onnx.py


def test_class_names_are_short_texts(tmp_path):
    assert read_class_names(["mug", 3, "杯子"]) == ("mug", "3", "杯子")
    for wrong in ("", "\udcff", None, ["a"], 1.5, "x" * (LONGEST_NAME + 1)):
        with pytest.raises(DetectorError, match="is no name of a class"):
            read_class_names(["mug", wrong])


@pytest.mark.parametrize(
    "names", ['"xxxxxxxxxxxxxxxxxxxxxxxx"', "null", "5", "[" * 100_000, json.dumps(["\ud800"] * 24)]
)
def test_names_in_safetensors_that_are_none_are_refused(tmp_path, names):
    pytest.importorskip("ultralytics")
    from safetensors.torch import load_file, save_file

    from interp.detect.yolo.weights import find_weights

    own = find_weights("shapes-detector")
    save_file(load_file(own), tmp_path / "w.safetensors", {"names": names})
    (tmp_path / "w.yaml").write_text(own.with_suffix(".yaml").read_text())
    with pytest.raises(DetectorError, match="can not be loaded as a detector"):
        load_detector(tmp_path / "w.safetensors")
