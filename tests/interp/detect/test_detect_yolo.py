"""YOLO is kept from unpickling, phoning home and writing, and its boxes are ultralytics' own, in photo pixels."""

import json
import os
import pickle
import subprocess
import sys
import zipfile
from importlib.metadata import version

import numpy as np
import pytest
import torch
from PIL import Image

from interp.detect import Detector, YoloDetector, find_objects, read_yolo_labels
from interp.detect.yolo.containment import contained
from interp.errors import DetectorError, InputError
from interp.image.digests import file_digest
from interp.training.yolo.train import CONFIG, build_model

pytest.importorskip("ultralytics", reason="needs the extra 'yolo'")

TINY = [[-1, 1, "Conv", [8, 3, 2]], [-1, 1, "Conv", [16, 3, 2]]]


@pytest.fixture(scope="module")
def yolo11n(assets):
    path = assets / "yolo11n" / "yolo11n_dequant.pt"
    if not path.is_file():
        pytest.skip(f"needs the YOLO11n weights, and {path} is absent")
    return path


@pytest.fixture(scope="module")
def detector(yolo11n):
    return YoloDetector(yolo11n)


def untrained(folder, name="net.pt", task="detect"):
    """A tiny untrained checkpoint as ultralytics saves one."""
    with contained():
        from ultralytics.nn.tasks import ClassificationModel, DetectionModel

        head = [[-1, 1, "Classify", ["nc"]]] if task == "classify" else [[[1], 1, "Detect", ["nc"]]]
        kind = ClassificationModel if task == "classify" else DetectionModel
        model = kind({"nc": 3, "backbone": TINY, "head": head, "ch": 3}, verbose=False)
    path = folder / name
    torch.save({"model": model, "train_args": {"imgsz": 64}}, path)
    return path


class Evil:
    """Unpickling it makes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


def one_line(error):
    return "\n" not in str(error.value)


def run_fresh(code, tmp_path, **environment):
    """Run code in a new process whose home is empty and whose every connection fails; give its last line as JSON."""
    home = tmp_path / "home"
    home.mkdir(exist_ok=True)
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("YOLO_", "ULTRALYTICS_", "XDG_"))}
    guard = (
        "import socket\n"
        "def refuse(*a, **k): raise SystemExit('a connection was tried')\n"
        "socket.socket.connect = socket.getaddrinfo = socket.create_connection = refuse\n"
    )
    env = {**kept, "HOME": str(home), "PYTHONPATH": os.getcwd(), **environment}
    done = subprocess.run([sys.executable, "-c", guard + code], capture_output=True, text=True, cwd=home, env=env)
    assert done.returncode == 0, done.stderr + done.stdout
    return json.loads(done.stdout.strip().splitlines()[-1]), home


# --- the process stays as it was

STATE = """
import json, os, sys, warnings
import cv2, numpy, torch
from PIL import Image

def state():
    return {
        "numpy print": str(sorted(numpy.get_printoptions().items(), key=str)),
        "torch print": str(sorted(vars(torch._tensor_str.PRINT_OPTS).items())),
        "torch.save": id(torch.save), "Image.open": id(Image.open), "cv2": [id(cv2.imread), id(cv2.imshow)],
        "cv2 threads": cv2.getNumThreads(), "torch threads": torch.get_num_threads(),
        "warnings": str(warnings.filters), "environment": dict(os.environ), "hook": id(sys.excepthook),
        "gradients": torch.is_grad_enabled(), "dtype": str(torch.get_default_dtype()),
    }

numpy.set_printoptions(precision=3); torch.set_printoptions(precision=7); torch.set_num_threads(2)
before = state()
"""


def test_loading_and_detecting_leaves_process_home_and_network_alone(tmp_path):
    path = untrained(tmp_path)
    code = f"""{STATE}
from interp.detect import YoloDetector
boxes = YoloDetector({str(path)!r}, confidence=0).detect(Image.new("RGB", (64, 48)))
import ultralytics
from ultralytics.utils.events import events
after = state()
print(json.dumps({{
    "changed": [key for key in before if before[key] != after[key]], "events": events.enabled,
    "sync": ultralytics.settings["sync"], "config": str(ultralytics.settings.file), "boxes": len(boxes),
    "outside": torch.tensor([1.23456789]).__repr__(),
}}))
"""
    seen, home = run_fresh(code, tmp_path)
    assert seen["changed"] == []
    assert seen["boxes"] > 0 and not seen["events"] and not seen["sync"]
    assert seen["outside"] == "tensor([1.2345679])"
    assert [str(file) for file in home.rglob("*")] == []
    assert not os.path.exists(seen["config"])  # the settings lived in a folder that went with the process


def test_a_process_that_imported_ultralytics_first_is_no_less_safe(tmp_path):
    marker, bad = tmp_path / "executed", tmp_path / "bad.pt"
    torch.save({"model": Evil(marker)}, bad)
    code = f"""
import json, ultralytics
from ultralytics.nn import tasks
from interp.detect import YoloDetector
from interp.errors import DetectorError
try:
    YoloDetector({str(bad)!r}); refused = False
except DetectorError:
    refused = True
print(json.dumps({{"refused": refused, "safe load": tasks.SAFE_LOAD}}))
"""
    seen, _ = run_fresh(code, tmp_path, YOLO_CONFIG_DIR=str(tmp_path), YOLO_OFFLINE="1")
    assert seen == {"refused": True, "safe load": False}  # and their own setting is as they left it
    assert not marker.exists()


def test_an_exception_inside_restores_too():
    before = torch.save, Image.open, torch.get_num_threads(), dict(os.environ)
    with pytest.raises(ZeroDivisionError), contained():
        os.environ["LEFT_BEHIND"] = "1"
        torch.save = Image.open = print
        raise ZeroDivisionError
    assert before == (torch.save, Image.open, torch.get_num_threads(), dict(os.environ))


def test_without_ultralytics_the_error_names_the_extra(tmp_path, monkeypatch):
    path = untrained(tmp_path)
    monkeypatch.setitem(sys.modules, "ultralytics", None)
    with pytest.raises(DetectorError, match=r"pip install 'spatial-lens\[yolo\]'") as error:
        YoloDetector(path)
    assert one_line(error)


# --- weights that are refused


def test_a_pickle_with_a_payload_is_refused_and_not_executed(tmp_path):
    marker = tmp_path / "executed"
    zipped, plain, hidden = tmp_path / "zipped.pt", tmp_path / "plain.pt", tmp_path / "hidden.pt"
    torch.save({"model": Evil(marker), "train_args": {}}, zipped)
    plain.write_bytes(pickle.dumps(Evil(marker)))
    good = torch.load(untrained(tmp_path), weights_only=False)
    good["model"].extra = Evil(marker)
    torch.save(good, hidden)
    marker.unlink(missing_ok=True)
    for path in (zipped, plain, hidden):
        with pytest.raises(DetectorError, match=path.name) as error:
            YoloDetector(path)
        assert one_line(error)
    assert not marker.exists()


def make_garbage(folder):
    path = untrained(folder)
    whole = path.read_bytes()
    torch.save(torch.nn.Linear(2, 2).state_dict(), folder / "state.pt")
    torch.save([1, 2], folder / "list.pt")
    (folder / "empty.pt").write_bytes(b"")
    (folder / "text.pt").write_text("not weights\n")
    (folder / "cut.pt").write_bytes(whole[: len(whole) // 2])
    with zipfile.ZipFile(folder / "zip.pt", "w") as archive:
        archive.writestr("readme.txt", "hello")
    (folder / "weights.onnx").write_bytes(b"x")
    (folder / "lonely.safetensors").write_bytes(b"x")
    torch.jit.script(torch.nn.Linear(2, 2)).save(str(folder / "script.pt"))


@pytest.mark.parametrize(
    "name",
    [
        *("empty.pt", "text.pt", "cut.pt", "zip.pt", "state.pt", "list.pt", "script.pt", "weights.onnx"),
        *("lonely.safetensors", ".", "not-there.pt", "yolo11n", "http://localhost/yolo11n.pt", ""),
    ],
)
def test_what_is_no_detector_is_refused_in_one_line(tmp_path, name, monkeypatch):
    make_garbage(tmp_path)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DetectorError) as error:
        YoloDetector(name)
    assert one_line(error)


def test_a_classifier_is_refused_by_its_kind(tmp_path):
    with pytest.raises(DetectorError, match="ClassificationModel"):
        YoloDetector(untrained(tmp_path, task="classify"))


def test_a_file_without_permission_is_refused(tmp_path, monkeypatch):
    path = untrained(tmp_path)
    monkeypatch.setattr(os, "access", lambda *_: False)  # permissions do not bind every user who runs tests
    with pytest.raises(DetectorError, match="permissions"):
        YoloDetector(path)


def test_settings_name_the_weights_and_what_computes_the_boxes(tmp_path):
    settings = YoloDetector(untrained(tmp_path)).settings
    assert [settings[name] for name in ("ultralytics", "torch")] == [version("ultralytics"), version("torch")]
    assert settings["weights"] == file_digest(tmp_path / "net.pt")


@pytest.mark.parametrize("device", ["cuda:99", "abacus"])
def test_a_device_that_is_not_there_is_refused(tmp_path, device):
    with pytest.raises(DetectorError, match="device"):
        YoloDetector(untrained(tmp_path), device=device)


@pytest.mark.parametrize("confidence", [-0.1, 1.1, float("nan")])
def test_a_confidence_out_of_range_is_refused(tmp_path, confidence):
    with pytest.raises(InputError, match="between 0 and 1"):
        YoloDetector(untrained(tmp_path), confidence=confidence)


def test_safetensors_of_another_network_are_refused(tmp_path):
    from safetensors.torch import save_file

    path = tmp_path / "net.safetensors"
    (tmp_path / "net.yaml").write_text(CONFIG.read_text())
    save_file({"a": torch.zeros(2)}, path, metadata={"names": json.dumps(["x"] * 24)})
    with pytest.raises(DetectorError, match="weights are missing"):
        YoloDetector(path)
    state = {k: v for k, v in build_model().state_dict().items() if v.is_floating_point()}
    save_file(state, path, metadata={"names": json.dumps(["x"] * 3)})
    with pytest.raises(DetectorError, match="class names .* are no list of 24"):
        YoloDetector(path)
    save_file(state, path)
    with pytest.raises(DetectorError):
        YoloDetector(path)


# --- names that ultralytics publishes


def test_a_published_name_is_downloaded_only_when_told(tmp_path, monkeypatch):
    from ultralytics.utils import downloads

    source = untrained(tmp_path)
    calls = []

    def fetch(target):
        if os.path.exists(target):
            return target
        calls.append(target)
        with open(target, "wb") as file:
            file.write(source.read_bytes())
        return target

    monkeypatch.setattr(downloads, "attempt_download_asset", fetch)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DetectorError, match="--download") as error:
        YoloDetector("yolo11n.pt")
    assert one_line(error) and calls == []
    assert YoloDetector("yolo11n.pt", download=True).name == "yolo11n.pt"
    assert YoloDetector("yolo11n.pt").name == "yolo11n.pt" and len(calls) == 1  # from the cache
    assert [path.name for path in (tmp_path / "cache").rglob("*") if path.is_file()] == ["yolo11n.pt"]


def test_a_download_that_fails_leaves_no_half_file(tmp_path, monkeypatch):
    from ultralytics.utils import downloads

    def fetch(target):
        with open(target, "wb") as file:
            file.write(b"half")
        raise ConnectionError("gone")

    monkeypatch.setattr(downloads, "attempt_download_asset", fetch)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(DetectorError, match="could not be downloaded \\(gone\\)"):
        YoloDetector("yolo11n.pt", download=True)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("name", ["yolov5n.pt", "it's mine.pt", " net .pt"])
def test_file_names_that_ultralytics_would_rewrite_are_loaded_as_they_are(tmp_path, name):
    assert YoloDetector(untrained(tmp_path, name)).name == name


# --- boxes


MODES = [(mode, size) for mode in ("RGB", "L", "RGBA", "P", "1") for size in [(1, 1), (640, 200), (3, 2000)]]


@pytest.mark.parametrize(("mode", "size"), [*MODES, ("RGB", (5000, 1)), ("RGB", (1, 5000)), ("RGB", (4000, 3000))])
def test_boxes_lie_inside_images_of_any_size_and_mode(tmp_path_factory, mode, size):
    detector = any_boxes(tmp_path_factory)
    boxes = detector.detect(Image.new(mode, size))
    assert isinstance(detector, Detector)
    assert (boxes.xyxy >= 0).all() and (boxes.xyxy[:, 2:] <= np.array(size)).all()
    sure = [box.confidence for box in boxes]
    assert sure == sorted(sure, reverse=True)


_SHARED = {}


def any_boxes(factory):
    """An untrained detector that keeps every box."""
    if not _SHARED:
        _SHARED["detector"] = YoloDetector(untrained(factory.mktemp("weights")), confidence=0)
    return _SHARED["detector"]


def photo(assets, number):
    return Image.open(assets / "coco128" / "images" / f"{number:012d}.jpg").convert("RGB")


def test_boxes_equal_those_of_plain_ultralytics(detector, yolo11n, assets):
    with contained() as ultralytics:
        plain = ultralytics.YOLO(str(yolo11n))
        for number in (9, 25, 36):
            (theirs,) = plain.predict(photo(assets, number), verbose=False)
            ours = detector.detect(photo(assets, number))
            assert ours.labels == [plain.names[int(i)] for i in theirs.boxes.cls]
            np.testing.assert_array_equal(ours.xyxy.astype(np.float32), theirs.boxes.xyxy.numpy())


def test_yolo11n_finds_what_people_marked_on_coco_photos(detector, assets):
    marked = hit = 0
    for number in (9, 25, 30, 34, 36, 42, 49, 72, 77):
        image = photo(assets, number)
        truth = read_yolo_labels(assets / "coco128" / "labels" / f"{number:012d}.txt", image.size, detector.labels)
        found = detector.detect(image)
        for box in truth:
            if box.area > 0.1 * image.width * image.height:
                marked += 1
                hit += any(iou(box, other) > 0.5 for other in found.named([box.label]))
    assert marked >= 12
    assert hit >= 0.9 * marked


def test_boxes_follow_the_photo_when_it_is_padded(detector, assets):
    image = photo(assets, 25)  # a giraffe
    wide = Image.new("RGB", (image.width + 400, image.height), "grey")
    wide.paste(image, (300, 0))
    (plain,), (moved,) = detector.detect(image, ["giraffes"]), detector.detect(wide, ["giraffes"])
    np.testing.assert_allclose(np.array(moved.xyxy) - [300, 0, 300, 0], plain.xyxy, atol=15)


def test_a_mug_on_a_table_is_found_by_the_words_of_the_question(detector, assets):
    image = Image.open(assets / "whatsup-figures" / "crops" / "mug_on_table.jpg")
    found = find_objects(image, "Where is the mug in relation to the table?", detector)
    assert found.complete and found.boxes.labels == ["cup", "dining table"]


def iou(first, second):
    from interp.training.yolo.evaluate import _iou

    return _iou(first, second)
