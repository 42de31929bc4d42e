"""An ONNX file's weights in other files count as its own: they are found wherever it names them."""

import sys

import numpy as np
import pytest
from onnx_files import SIZE, ULTRALYTICS, constant, external, message, node, red_box, red_finder, write_model
from PIL import Image

from interp.detect import OnnxDetector
from interp.detect.onnx.external import external_files
from interp.errors import DetectorError

pytest.importorskip("onnx", reason="needs the extra 'onnx'")


def write_outside(path, location, threshold):
    """A detector of red whose threshold lies in another file, in which a lower one finds less red things too."""
    nodes = [one for one in red_box(0, 0.5) if one != constant("threshold", np.float32(0.5))]
    nodes += [external("threshold", np.float32(0.5), location), node("Sub", ["any", "any"], "zero")]
    nodes += [node("Concat", ["x centre", "y centre", "x length", "y length", "zero", "any"], "row", axis=1)]
    nodes += [constant("last", np.array([2])), node("Unsqueeze", ["row", "last"], "out")]
    (path.parent / location).parent.mkdir(exist_ok=True)
    (path.parent / location).write_bytes(np.float32(threshold).tobytes())
    return write_model(path, nodes, metadata=ULTRALYTICS, inputs=[1, 3, *SIZE])


@pytest.mark.parametrize("location", ["yolo[1].onnx.data", "weights.bin", "deep/any"])
def test_the_digest_follows_weights_in_other_files_under_any_name(tmp_path, location):
    pytest.importorskip("onnxruntime", reason="needs the extra 'onnx'")
    path = tmp_path / "yolo[1].onnx"
    faint = Image.new("RGB", (96, 64), (120, 100, 90))
    faint.paste((200, 100, 90), (8, 8, 40, 32))
    found, settings, files = [], [], set()
    for threshold in (0.5, 0.25, 0.5):
        detector = OnnxDetector(write_outside(path, location, threshold))
        found.append(len(detector.detect(faint)))
        settings.append(detector.settings)
        files.add(path.read_bytes())
    assert found == [0, 1, 0] and len(files) == 1
    assert settings[0] == settings[2] != settings[1]


def tensor(location):
    return external("w", np.zeros(3, np.float32), location)[1]


def inside(*numbers):
    """A tensor of another file in a message in a message ..., of these fields of the ones around them."""
    data = tensor("w.bin")
    for number in reversed(numbers):
        data = message((number, data), (99, "after"))
    return data


@pytest.mark.parametrize(
    "fields",
    [
        (7, 5),
        (7, 15, 1),
        (7, 15, 2),
        (7, 1, 5, 5),
        (7, 1, 5, 10),
        (7, 1, 5, 22, 1),
        (7, 1, 5, 6, 5),
        (7, 1, 5, 11, 1, 5, 5),
        (25, 7, 5, 5),
        (20, 1, 5),
    ],
)
def test_tensors_are_looked_for_wherever_a_model_may_hold_them(tmp_path, fields):
    path = tmp_path / "a.onnx"
    path.write_bytes(inside(*fields))
    with pytest.raises(DetectorError, match=r"a\.onnx keeps weights in .*w\.bin', which is not there"):
        external_files(path)
    (tmp_path / "w.bin").touch()
    assert external_files(path) == [tmp_path / "w.bin"]
    path.write_bytes(message((7, message((5, tensor("z")), (5, tensor("w.bin")), (5, tensor("w.bin"))))))
    (tmp_path / "z").touch()
    assert external_files(path) == [tmp_path / "w.bin", tmp_path / "z"]


@pytest.mark.parametrize("location", ["../w.bin", "//ww.bin", "a/../../w.bin"])
def test_weights_outside_the_files_folder_are_never_read(tmp_path, location):
    inside = "w" * len(location)
    path = write_outside(tmp_path / "a.onnx", inside, threshold=0.5)
    assert external_files(path) == [tmp_path / inside]
    path.write_bytes(path.read_bytes().replace(inside.encode(), location.encode()))
    with pytest.raises(DetectorError, match="outside its folder"):
        external_files(path)


def test_files_that_hold_all_of_their_weights_name_no_other(tmp_path, assets):
    assert external_files(red_finder(tmp_path / "a.onnx", "yolox")) == []
    said = message((8, "w"), (13, message((1, "location"), (2, "gone"))))  # but its data lie inside
    (tmp_path / "b.onnx").write_bytes(message((7, message((5, said)))))
    assert external_files(tmp_path / "b.onnx") == []
    half = [message((8, "w"), (13, message(entry)), (14, 1)) for entry in ((1, "location"), (2, "w.bin"))]
    no_text = message((8, "w"), (13, message((1, "location"), (2, b"\xff"))), (14, 1))
    deep = message((5, tensor("w.bin")))
    for _ in range(2000):
        deep = message((1, message((5, message((6, deep))))))
    inside = [message((7, message((5, one)))) for one in (*half, no_text)]
    for broken in (b"\x3a\xff\x01ab", b"\x3a", b"\x3c\x00", b"no model", *inside, message((7, deep))):
        (tmp_path / "c.onnx").write_bytes(broken)
        with pytest.raises(DetectorError, match="can not be read as an ONNX file"):
            external_files(tmp_path / "c.onnx")
    if (assets / "yolox-nano" / "yolox_nano.onnx").is_file():
        assert external_files(assets / "yolox-nano" / "yolox_nano.onnx") == []


def test_a_file_is_read_as_onnx_whatever_its_name_ends_in(tmp_path):
    for name in ("a.json", "a.textproto", "a.onnxtxt"):
        (tmp_path / name).write_bytes(message((7, message((5, tensor("../w.bin"))))))
        with pytest.raises(DetectorError, match="outside its folder"):
            external_files(tmp_path / name)


def test_without_the_package_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(DetectorError, match=r"need onnx.*spatial-lens\[onnx\]"):
        external_files(red_finder(tmp_path / "a.onnx", "yolox"))
