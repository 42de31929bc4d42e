"""Every detector reads a photo as all else does: by its path, as an array, turned by a phone, with clear pixels."""

import numpy as np
import pytest
from onnx_files import ULTRALYTICS, red_finder
from PIL import Image

from interp.datasets.synthetic.shapes import shapes
from interp.detect import GivenBoxes, GroundTruth, OnnxDetector, YoloDetector, find_objects
from interp.errors import InputError
from interp.image.boxes import Box, Boxes
from interp.image.photos import load_image

SCENE = shapes(1, split="test", seed=11, kinds=("relation",))[0]


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """The same kind of scene as people have it."""
    folder = tmp_path_factory.mktemp("photos")
    wide = SCENE.image.crop((0, 20, 112, 100))
    exif = Image.Exif()
    exif[0x0112] = 6
    wide.rotate(90, expand=True).save(folder / "phone.jpg", exif=exif, quality=98)
    pixels = np.asarray(SCENE.image)
    ground = np.abs(pixels.astype(int) - 167).sum(-1) < 60
    clear = np.dstack([np.where(ground[..., None], 0, pixels), np.where(ground, 0, 255)]).astype(np.uint8)
    grey = np.asarray(SCENE.image.convert("L")).astype(np.uint16) * 257
    Image.fromarray(clear).save(folder / "clear.png")
    Image.fromarray(grey).save(folder / "grey.png")
    Image.fromarray(np.asarray(SCENE.image.convert("L")).astype(np.int32)).save(folder / "wide.tiff")
    opened = {name: Image.open(folder / name) for name in ("phone.jpg", "clear.png", "grey.png", "wide.tiff")}
    return {**opened, "path": folder / "phone.jpg", "string": str(folder / "clear.png"), "array": pixels}


def red(folder):
    return OnnxDetector(red_finder(folder / "red.onnx", "ultralytics", metadata=ULTRALYTICS))


KINDS = ("phone.jpg", "clear.png", "grey.png", "wide.tiff", "path", "string", "array")


@pytest.mark.parametrize("kind", KINDS)
def test_a_detector_sees_what_load_image_reads(sources, kind, tmp_path):
    pytest.importorskip("ultralytics")
    source = sources[kind]
    photo = load_image(source)
    for finder in (YoloDetector("shapes-detector", confidence=0.05), red(tmp_path)):
        seen, expected = finder.detect(source), finder.detect(photo)
        assert [(box.label, box.xyxy) for box in seen] == [(box.label, box.xyxy) for box in expected]
        assert all(x1 <= photo.width and y1 <= photo.height for _, _, x1, y1 in seen.xyxy)
    words = [item.name for item in SCENE.objects]
    yolo = YoloDetector("shapes-detector")
    assert find_objects(source, words, yolo) == find_objects(photo, words, yolo)


@pytest.mark.parametrize("kind", KINDS)
def test_boxes_that_are_known_are_given_in_upright_pixels(sources, kind, tmp_path):
    source = sources[kind]
    photo = load_image(source)
    whole = Box("scene", (0.0, 0.0, 500.0, 500.0))
    assert GivenBoxes([whole]).detect(source).xyxy.tolist() == [[0, 0, *photo.size]]
    photo.save(tmp_path / "photo.png")
    truth = GroundTruth({"photo.png": Boxes((whole,))}, images=tmp_path)
    assert truth.detect(source).xyxy.tolist() == [[0, 0, *photo.size]]


def test_what_is_no_photo_is_refused_by_every_detector(tmp_path):
    (tmp_path / "photo.jpg").write_text("no photo")
    for finder in (GivenBoxes.parse("mug=1,2,3,4"), red(tmp_path)):
        with pytest.raises(InputError, match="no image of a format that can be read"):
            finder.detect(tmp_path / "photo.jpg")
