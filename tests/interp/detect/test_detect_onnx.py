"""ONNX detectors see what they were trained on and give boxes in photo pixels; other layouts are refused by name."""

from importlib.metadata import version

import numpy as np
import pytest
from onnx_files import SIZE, ULTRALYTICS, anchors_that_say_nothing, constant, node, red_box, red_finder, write_model
from PIL import Image

from interp.detect import COCO_NAMES, Detector, OnnxDetector, YoloDetector, detect_many, load_detector, read_yolo_folder
from interp.detect.agreement import ALL, agreement
from interp.detect.onnx.detector import letterbox
from interp.detect.onnx.outputs import decode, read_layout, suppress
from interp.errors import DetectorError, InputError
from interp.image.boxes import Boxes

pytest.importorskip("onnxruntime", reason="needs the extra 'onnx'")

FILES = {
    "ultralytics": ("ultralytics", ULTRALYTICS, None),
    "end-to-end": ("end-to-end", {**ULTRALYTICS, "end2end": "True"}, None),
    "yolox": ("yolox", {}, ["sky", "red thing"]),
    "yolox decoded": ("yolox decoded", {}, {0: "sky", 1: "red thing"}),
}


def detector(folder, layout, **more):
    kind, metadata, names = FILES[layout]
    path = red_finder(folder / f"{kind}.onnx", kind, metadata=metadata, batch=more.pop("batch", 1))
    return OnnxDetector(path, names=names, **more)


def scene(size, box, colour=(220, 20, 30)):
    """A reddish-grey photo with a rectangle, whose difference of red and green is small and not zero."""
    image = Image.new("RGB", size, (120, 100, 90))
    image.paste(colour, box)
    return image


SCENES = [
    ((300, 200), (30, 40, 150, 160)),
    ((200, 300), (20, 60, 120, 240)),
    ((50, 30), (5, 6, 25, 26)),
    ((96, 64), (8, 8, 40, 32)),
    ((640, 90), (100, 10, 500, 80)),
]


# --- what the model sees, and where its boxes lie in the photo


@pytest.mark.parametrize("layout", FILES)
def test_what_is_red_is_found_in_pixels_of_photos_of_any_shape(tmp_path, layout):
    finder = detector(tmp_path, layout)
    assert isinstance(finder, Detector) and finder.layout == layout
    assert finder.labels == ("sky", "red thing") and finder.name == f"{layout}.onnx"
    for size, box in SCENES:
        (found,) = finder.detect(scene(size, box))
        pixel = 1 / min(SIZE[1] / size[0], SIZE[0] / size[1])  # of the input, in the photo
        np.testing.assert_allclose(found.xyxy, box, atol=1.01 * pixel)
        assert found.label == "red thing" and found.confidence == pytest.approx(1)


@pytest.mark.parametrize("layout", FILES)
def test_what_is_blue_is_not_taken_for_red(tmp_path, layout):
    assert len(detector(tmp_path, layout).detect(scene((300, 200), (30, 40, 150, 160), colour=(30, 20, 220)))) == 0


def test_words_choose_among_what_was_found(tmp_path):
    finder = detector(tmp_path, "yolox")
    image = scene(*SCENES[0])
    assert finder.detect(image, ["the red object"]).labels == ["red thing"]
    assert finder.detect(image, ["sky"]).labels == []


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "1"])
@pytest.mark.parametrize("size", [(1, 1), (3, 2000), (5000, 1)])
def test_photos_of_any_mode_and_size_go_through(tmp_path, mode, size):
    assert len(detector(tmp_path, "yolox").detect(Image.new(mode, size))) == 0


@pytest.mark.parametrize("layout", ["ultralytics", "end-to-end"])
def test_batches_equal_single_detections_whether_the_file_takes_them_or_not(tmp_path, layout):
    images = [scene(size, box) for size, box in SCENES]
    fixed, free = detector(tmp_path, layout), detector(tmp_path, layout, batch="batch")
    single = [fixed.detect(image) for image in images]
    assert fixed.detect_batch(images) == free.detect_batch(images) == single
    assert free.settings != fixed.settings  # it is another file
    assert detect_many(free, images, progress=False, batch=2, cache=tmp_path / "c") == single
    assert free.detect_batch([]) == []


@pytest.mark.parametrize("centred", [True, False])
@pytest.mark.parametrize("shape", [(200, 300), (301, 97), (64, 96), (7, 1000), (1000, 7), (33, 50), (1, 1)])
def test_a_letterbox_holds_the_photo_and_grey_and_maps_its_corners_back(shape, centred):
    pixels = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    boxed = letterbox(pixels, SIZE, centred=centred)
    height, width = boxed.scale[1] * shape[0], boxed.scale[0] * shape[1]
    inside = np.array([[boxed.left, boxed.top, boxed.left + width, boxed.top + height]])
    np.testing.assert_allclose(boxed.to_photo(inside), [[0, 0, shape[1], shape[0]]])
    rest = np.ones(SIZE, dtype=bool)
    rest[boxed.top : boxed.top + round(height), boxed.left : boxed.left + round(width)] = False
    assert (boxed.canvas[rest] == 114).all()
    assert (boxed.left, boxed.top) == (0, 0) or centred


@pytest.mark.parametrize("shape", [(200, 300), (301, 97), (64, 96), (480, 641), (37, 50)])
def test_a_centred_letterbox_is_that_of_ultralytics(shape):
    pytest.importorskip("ultralytics", reason="needs the extra 'yolo'")
    from interp.detect.yolo.containment import contained

    pixels = np.random.default_rng(1).integers(0, 256, (*shape, 3), dtype=np.uint8)
    with contained():
        from ultralytics.data.augment import LetterBox

        theirs = LetterBox(SIZE, auto=False)(image=pixels)
    assert np.abs(letterbox(pixels, SIZE, centred=True).canvas.astype(int) - theirs).max() <= 1


# --- from output to boxes


def brute_force(xyxy, sure, classes, iou):
    """Take the surest box, drop those of its class that it overlaps, and again."""
    left, kept = sorted(range(len(sure)), key=lambda place: -sure[place]), []
    while left:
        best, *others = left
        kept.append(best)
        left = [place for place in others if classes[place] != classes[best] or overlap(xyxy, best, place) <= iou]
    return kept


def overlap(xyxy, a, b):
    low, high = np.maximum(xyxy[a, :2], xyxy[b, :2]), np.minimum(xyxy[a, 2:], xyxy[b, 2:])
    common = np.prod(np.clip(high - low, 0, None))
    return common / (np.prod(xyxy[a, 2:] - xyxy[a, :2]) + np.prod(xyxy[b, 2:] - xyxy[b, :2]) - common)


@pytest.mark.parametrize("iou", [0.0, 0.45, 1.0])
def test_suppression_equals_brute_force(iou):
    rng = np.random.default_rng(3)
    for n in (0, 1, 2, 40, 120):
        low = rng.random((n, 2)) * 60
        xyxy = np.hstack([low, low + 5 + rng.random((n, 2)) * 30])
        sure, classes = rng.permutation(n) / max(n, 1), rng.integers(0, 3, n)
        assert suppress(xyxy, sure, classes, iou=iou).tolist() == brute_force(xyxy, sure, classes, iou)


def test_a_box_in_two_classes_stays_in_both_and_twins_of_one_class_do_not():
    xyxy = np.array([[0.0, 0, 10, 10]] * 3)
    assert suppress(xyxy, np.array([0.5, 0.9, 0.7]), np.array([0, 0, 1]), iou=0.45).tolist() == [1, 2]


def test_yolox_is_decoded_over_its_three_grids():
    output = anchors_that_say_nothing(decoded=False)[0]
    output = np.vstack([[[0.5, 0.5, 0, 0, 0, 0, 0]], output]).astype(np.float32)
    output[97] = [0.25, 0.75, np.log(2), np.log(3), 0.5, 0.1, 0.8]  # the second cell of the grid of stride 16
    layout, n_classes = read_layout(output, SIZE, {})
    assert (layout, n_classes) == ("yolox", 2)
    xyxy, sure, classes = decode(output, layout, SIZE)
    np.testing.assert_allclose(xyxy[97], [20 - 16, 12 - 24, 20 + 16, 12 + 24], rtol=1e-6)
    assert (sure[97], classes[97]) == (pytest.approx(0.4), 1)
    np.testing.assert_allclose(xyxy[0], [0, 0, 8, 8])
    np.testing.assert_allclose(xyxy[-1], [64, 32, 96, 64])


def test_a_class_without_a_name_is_refused(tmp_path):
    path = red_finder(tmp_path / "a.onnx", "end-to-end", metadata={**ULTRALYTICS, "end2end": "True"})
    finder = OnnxDetector(path, names=["sky"])
    with pytest.raises(DetectorError, match="gives class 1 and has 1 names"):
        finder.detect(scene(*SCENES[0]))


# --- layouts, names and files that are refused


@pytest.mark.parametrize(
    ("shape", "metadata", "layout"),
    [
        ((8400, 85), {}, "yolox"),
        ((8400, 6), {}, "yolox"),
        ((84, 8400), {}, "ultralytics"),
        ((6, 8400), {"names": {0: "a", 1: "b"}, "stride": 32}, "ultralytics"),
        ((6, 33600), {"names": {0: "a", 1: "b"}, "stride": 64}, "ultralytics"),
        ((300, 6), {"names": {0: "a"}, "stride": 32}, "end-to-end"),
        ((8400, 6), {"end2end": True}, "yolox"),
        ((8400, 6), {"names": {0: "a"}, "stride": 32, "end2end": True}, "end-to-end"),
    ],
)
def test_layouts_are_told_apart(shape, metadata, layout):
    assert read_layout(np.zeros(shape, np.float32), (640, 640), metadata)[0] == layout


@pytest.mark.parametrize(
    ("shape", "metadata"),
    [
        ((25200, 85), {}),  # three anchors a cell
        ((300, 84), {"names": dict(enumerate(COCO_NAMES)), "stride": 32}),
        ((116, 8400), {"names": dict(enumerate(COCO_NAMES)), "stride": 32}),
        ((116, 8400), {"names": dict(enumerate(COCO_NAMES)), "stride": 32, "task": "segment"}),
        ((84, 8400), {"names": dict(enumerate(COCO_NAMES)), "stride": 32, "head": "RTDETRDecoder"}),
        ((300, 6), {}),  # such as DETR's, whose boxes are centres in fractions of the image
        ((300, 6), {"names": {0: "a"}}),
        ((300, 6), {"end2end": True}),
        ((8400, 5), {}),
        ((1000, 1), {}),
    ],
)
def test_other_layouts_are_refused_with_what_was_found(shape, metadata):
    with pytest.raises(DetectorError) as error:
        read_layout(np.zeros(shape, np.float32), (640, 640), metadata)
    text = str(error.value)
    assert "\n" not in text
    assert f"[batch {shape[0]} {shape[1]}]" in text or "segment" in text or "RTDETRDecoder" in text


def test_an_end_to_end_output_of_another_exporter_is_refused_even_with_names(tmp_path):
    path = red_finder(tmp_path / "detr.onnx", "end-to-end")
    with pytest.raises(DetectorError, match=r"detr\.onnx can not be used .*\[batch 2 6\].*names and the stride"):
        OnnxDetector(path, names=["sky", "red thing"])


def test_names_come_from_the_file_or_the_user_and_must_fit(tmp_path):
    bare = red_finder(tmp_path / "bare.onnx", "yolox")
    with pytest.raises(DetectorError, match="no names for 2 classes"):
        OnnxDetector(bare)
    with pytest.raises(DetectorError, match="3 names for 2 classes"):
        OnnxDetector(bare, names=["a", "b", "c"])
    with pytest.raises(DetectorError, match="names for 2 classes"):
        OnnxDetector(bare, names={1: "a", 2: "b"})
    named = red_finder(tmp_path / "named.onnx", "ultralytics", metadata=ULTRALYTICS)
    assert OnnxDetector(named, names=["a", "b"]).labels == ("a", "b")


def empty_model(path, inputs=(1, 3, 64, 96), outputs=1, **more):
    """A file that gives its own input back: four axes, no detector's output."""
    given = {f"out{number}": inputs for number in range(outputs)}
    return write_model(path, [node("Identity", ["images"], n) for n in given], inputs=inputs, outputs=given, **more)


@pytest.mark.parametrize(
    ("more", "match"),
    [
        ({}, "outputs have the shapes"),
        ({"outputs": 2}, "outputs have the shapes"),
        ({"inputs": (1, 1, 64, 96)}, "one input of floats"),
        ({"inputs": (1, 3, 64)}, "one input of floats"),
        ({"inputs": (4, 3, 64, 96)}, "batches of exactly 4"),
        ({"inputs": (1, 3, 60, 96)}, "multiples of 32"),
        ({"inputs": (1, 3, "h", "w")}, "multiples of 32"),
        ({"inputs": (1, 3, "h", "w"), "metadata": {"imgsz": "no"}}, "multiples of 32"),
    ],
)
def test_files_that_take_or_give_something_else_are_refused_by_name(tmp_path, more, match):
    with pytest.raises(DetectorError, match=match) as error:
        OnnxDetector(empty_model(tmp_path / "it.onnx", **more))
    assert "it.onnx" in str(error.value) and "\n" not in str(error.value)


def test_sides_that_are_free_come_from_the_metadata(tmp_path):
    nodes = red_box(0, 0.5) + [node("Sub", ["any", "any"], "zero"), constant("last", np.array([2]))]
    nodes += [node("Concat", ["x centre", "y centre", "x length", "y length", "zero", "any"], "row", axis=1)]
    nodes += [node("Unsqueeze", ["row", "last"], "out")]
    path = write_model(tmp_path / "free.onnx", nodes, metadata=ULTRALYTICS, inputs=["batch", 3, "h", "w"])
    size, box = SCENES[0]
    (found,) = OnnxDetector(path).detect(scene(size, box))
    np.testing.assert_allclose(found.xyxy, box, atol=1.01 * size[0] / SIZE[1])


def test_files_that_are_none_are_refused(tmp_path):
    with pytest.raises(DetectorError, match="there are no detector weights"):
        OnnxDetector(tmp_path / "absent.onnx")
    (tmp_path / "broken.onnx").write_bytes(b"no model")
    with pytest.raises(DetectorError, match="can not be loaded") as error:
        OnnxDetector(tmp_path / "broken.onnx")
    assert "\n" not in str(error.value)
    path = red_finder(tmp_path / "a.onnx", "ultralytics", metadata=ULTRALYTICS)
    with pytest.raises(DetectorError, match="device 'nowhere'"):
        OnnxDetector(path, device="nowhere")
    for wrong in (dict(confidence=2), dict(nms_iou=-1)):
        with pytest.raises(InputError, match="between 0 and 1"):
            OnnxDetector(path, **wrong)


def test_settings_follow_the_file_the_names_and_the_thresholds(tmp_path):
    path = red_finder(tmp_path / "a.onnx", "ultralytics", metadata=ULTRALYTICS)
    settings = OnnxDetector(path).settings
    assert settings == load_detector(path).settings
    assert [settings[name] for name in ("onnxruntime", "torch")] == [version("onnxruntime"), version("torch")]
    for more in (dict(confidence=0.5), dict(nms_iou=0.6), dict(names=["a", "b"])):
        assert OnnxDetector(path, **more).settings != settings


# --- real detectors on real photos


def truth_of(assets, n):
    """The first photos of COCO128 and what people marked on them."""
    folder = assets / "coco128"
    if not (folder / "images").is_dir():
        pytest.skip(f"needs COCO128, and {folder} is absent")
    boxes = read_yolo_folder(folder / "images", folder / "labels")
    names = sorted(boxes)[:n]
    return [folder / "images" / name for name in names], [boxes[name] for name in names]


@pytest.mark.filterwarnings("ignore:2 label files")
def test_yolox_finds_what_people_marked_on_coco_photos(assets):
    path = assets / "yolox-nano" / "yolox_nano.onnx"
    if not path.is_file():
        pytest.skip(f"needs YOLOX-Nano, and {path} is absent")
    finder = OnnxDetector(path)
    assert finder.layout == "yolox" and finder.labels == COCO_NAMES
    photos, truth = truth_of(assets, 48)
    found = detect_many(finder, photos, progress=False)
    measured = agreement(found, truth).set_index("label").loc[ALL]
    others = agreement([*found[1:], found[0]], truth).set_index("label").loc[ALL]
    assert measured["recall"] > 0.2 and measured["precision"] > 0.5
    assert others["recall"] < 0.05  # the boxes of the next photo


@pytest.mark.filterwarnings("ignore:2 label files", "ignore::torch.jit.TracerWarning")
def test_an_exported_yolo11n_agrees_with_its_checkpoint(assets, tmp_path, monkeypatch):
    pytest.importorskip("ultralytics", reason="needs the extra 'yolo'")
    weights = assets / "yolo11n" / "yolo11n_dequant.pt"
    if not weights.is_file():
        pytest.skip(f"needs the YOLO11n weights, and {weights} is absent")
    checkpoint = YoloDetector(weights)
    path = export(checkpoint, tmp_path / "yolo11n.onnx", monkeypatch)
    finder = OnnxDetector(path, names=COCO_NAMES, nms_iou=0.7)
    assert finder.layout == "ultralytics"
    photos, _ = truth_of(assets, 12)
    found, expected = (detect_many(one, photos, progress=False) for one in (finder, checkpoint))
    table = agreement(found, expected, iou=0.8).set_index("label").loc[ALL]
    assert table["recall"] > 0.9 and table["precision"] > 0.9 and table["mean_iou"] > 0.95


def export(detector, path, monkeypatch):
    """Write a checkpoint of ultralytics as ONNX by the exporter of torch, without the packages that it asks for."""
    import copy

    import torch

    from interp.detect.yolo.containment import contained

    try:
        from torch.onnx._internal.torchscript_exporter import onnx_proto_utils
    except ImportError:
        pytest.skip("this torch has no exporter that works without the package onnx")
    monkeypatch.setattr(onnx_proto_utils, "_add_onnxscript_fn", lambda model, custom: model)  # there are none
    network = copy.deepcopy(detector._model.model).eval().float()
    head = network.model[-1]
    head.export, head.format = True, "onnx"
    image, names = torch.zeros(1, 3, 640, 640), {"input_names": ["images"], "output_names": ["output0"]}
    with contained():  # so that ultralytics installs nothing
        network(image)
        try:
            torch.onnx.export(network, image, str(path), dynamo=False, opset_version=17, **names)
        except (ImportError, torch.onnx.errors.OnnxExporterError) as error:
            if not isinstance(error.__cause__ or error, ImportError):
                raise
            pytest.skip(f"this torch exports to ONNX only with packages that are absent: {error}")
    return path


def test_the_detectors_of_one_photo_are_told_apart_by_name(tmp_path):
    first, second = detector(tmp_path, "yolox"), detector(tmp_path, "ultralytics")
    assert first.detect(scene(*SCENES[0])).source != second.detect(scene(*SCENES[0])).source
    assert first.detect(Image.new("RGB", (9, 9))) == Boxes(source="yolox.onnx")
