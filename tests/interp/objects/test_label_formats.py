"""Label files and names of photos as other tools and systems write them: read as they were meant, or one refusal."""

import json
import time
from unicodedata import normalize

import numpy as np
import pytest
from PIL import Image

from interp.datasets import read_folder
from interp.detect import GroundTruth, read_coco_boxes, read_yolo_folder
from interp.errors import InputError
from interp.image.boxes import Box
from interp.objects.given import read_yolo_labels
from interp.objects.sample import Object, Sample
from interp.study.sample_checks import check_samples

SIZE = (200, 100)
LINE = "0 0.25 0.5 0.2 0.2"
CORNERS = [[30, 40, 70, 60]]


def boxes_of(folder, text, **how):
    (folder / "a.txt").write_text(text, **how)
    return read_yolo_labels(folder / "a.txt", SIZE, ["mug", "dog"])


@pytest.mark.parametrize(
    "text",
    [
        LINE,
        f"\ufeff{LINE}\n",
        f"\ufeff\n{LINE}\r\n\r\n",
        "0.0 0.25 0.5 0.2 0.2",
        "0e0\t2.5e-1 .5 0.2 0.2 \n",
        f"{LINE} 0.93",
        "0 0.15 0.4 0.35 0.4 0.35 0.6 0.15 0.6",
        "0 0.15 0.5 0.25 0.4 0.35 0.5 0.25 0.6 0.2 0.55",
        "0.000000 0.35 0.6 0.15 0.4 0.2 0.5",
    ],
)
def test_a_label_file_is_read_as_tools_write_it(tmp_path, text):
    found = boxes_of(tmp_path, text, encoding="utf-8")
    assert found.labels == ["mug"]
    np.testing.assert_allclose(found.xyxy, CORNERS)
    assert found.items[0].confidence == (0.93 if "0.93" in text else 1.0)


@pytest.mark.parametrize(
    "line",
    [
        "0.5 0.25 0.5 0.2 0.2",  # no class
        "nan 0.25 0.5 0.2 0.2",
        "inf 0.25 0.5 0.2 0.2",
        "7 0.25 0.5 0.2 0.2",
        "-1 0.25 0.5 0.2 0.2",
        f"{LINE} 93",  # a confidence in per cent
        f"{LINE} 17 3",  # a track
        "0 0.25 0.5 0.2",
        "0 0.15 0.4 0.35 0.4 0.35 0.6 0.15",  # half a corner, or a polygon with a confidence
        f"{LINE} " + "0.2 0.5 2 " * 17,  # a person's joints
        "0 0,25 0,5 0,2 0,2",
        "mug 0.25 0.5 0.2 0.2",
    ],
)
def test_a_line_that_is_neither_box_nor_polygon_is_refused_by_its_number(tmp_path, line):
    with pytest.raises(InputError, match=r"a\.txt, line 2: ") as error:
        boxes_of(tmp_path, f"{LINE}\n{line}\n")
    assert "\n" not in str(error.value)


def test_two_hundred_thousand_lines_take_seconds(tmp_path):
    (tmp_path / "labels").mkdir()
    Image.new("RGB", SIZE).save(tmp_path / "a.png")
    (tmp_path / "classes.txt").write_text("mug\ndog\ncat")
    (tmp_path / "labels" / "a.txt").write_text("0 0.2 0.5 0.2 0.2\n1 0.5 0.5 0.2 0.2\n" * 100_000 + "2 0.1 0.5 0.1 0.1")
    started = time.process_time()
    (sample,) = read_folder(tmp_path)
    assert sample.question.startswith("Where is the cat in the photo?")
    assert time.process_time() - started < 20  # minutes, where it grows with the square of the lines


UMLAUT = normalize("NFC", "Küche.png"), normalize("NFD", "Küche.png")
SPELLED = {
    "backslashes": ("rooms\\kitchen.png", "rooms/kitchen.png"),
    "more of them": (".\\images\\rooms\\kitchen.png", "rooms/kitchen.png"),
    "marks apart in the table": (UMLAUT[1], UMLAUT[0]),
    "marks apart on the disk": (UMLAUT[0], UMLAUT[1]),
    "both": (f"rooms\\{UMLAUT[1]}", f"rooms/{UMLAUT[0]}"),
}


@pytest.fixture(params=SPELLED)
def spelled(request, tmp_path):
    """A folder, the name of a photo in a table, and the photo's own."""
    name, own = SPELLED[request.param]
    (tmp_path / "images" / own).parent.mkdir(parents=True)
    Image.new("RGB", SIZE).save(tmp_path / "images" / own)
    return tmp_path, name, own


def test_a_photo_is_found_by_a_name_from_another_system(spelled):
    folder, name, own = spelled
    (folder / "questions.csv").write_text(f'image,question,answer\n"{name}",Where is the mug?,left\n')
    (sample,) = read_folder(folder)
    assert sample.image.samefile(folder / "images" / own)
    check_samples([sample], progress=False)


def test_its_label_file_and_its_entry_in_a_coco_file_are_found_too(spelled):
    folder, name, own = spelled
    asked = name.removeprefix(".\\images\\")
    other = asked.replace("\\", "/").replace(".png", ".txt")
    (folder / "labels" / other).parent.mkdir(parents=True)
    (folder / "labels" / other).write_text(LINE)
    assert read_yolo_folder(folder / "images", folder / "labels", ["mug"])[own].labels == ["mug"]
    content = {
        "images": [{"id": 1, "file_name": asked, "width": SIZE[0], "height": SIZE[1]}],
        "annotations": [{"image_id": 1, "category_id": 1, "bbox": [30, 40, 40, 20]}],
        "categories": [{"id": 1, "name": "mug"}],
    }
    (folder / "coco.json").write_text(json.dumps(content))
    found = read_coco_boxes(folder / "coco.json", images=folder / "images")
    assert list(found) == [own] and found[own].xyxy.tolist() == CORNERS
    truth = GroundTruth(read_coco_boxes(folder / "coco.json"))
    sample = Sample("s", folder / "images" / own, "Where is the mug?", (), "left")
    assert truth.for_sample(sample).boxes.xyxy.tolist() == CORNERS


def test_an_address_in_a_table_is_told_as_one(tmp_path):
    (tmp_path / "questions.csv").write_text("image,question,answer\nhttps://example.org/a.jpg,Where?,left\n")
    with pytest.raises(InputError, match="row 1 .*'https://example.org/a.jpg', which is an address: download it"):
        read_folder(tmp_path)


def coco(folder, *boxes):
    content = {
        "images": [{"id": 1, "file_name": "a.png", "width": SIZE[0], "height": SIZE[1]}],
        "annotations": [{"id": 5 + k, "image_id": 1, "category_id": 1, "bbox": box} for k, box in enumerate(boxes)],
        "categories": [{"id": 1, "name": "mug"}],
    }
    (folder / "coco.json").write_text(json.dumps(content))
    return folder / "coco.json"


@pytest.mark.parametrize("box", [None, [], "1,2,3,4", {"x": 1}, [None] * 4, [1, 2, 3], [True, 1, 2, 3], 7])
def test_a_coco_box_that_is_none_is_refused_by_its_annotation(tmp_path, box):
    with pytest.raises(InputError, match="annotation 6 of .* has the bbox .*: give four numbers"):
        read_coco_boxes(coco(tmp_path, [1, 2, 3, 4], box))


def test_a_coco_file_of_fractions_is_refused_and_one_small_box_is_not(tmp_path):
    with pytest.raises(InputError, match="so they are fractions: give x, y, width and height in pixels"):
        read_coco_boxes(coco(tmp_path, [0.1, 0.2, 0.3, 0.4], [0.5, 0.5, 0.5, 0.5]))
    assert len(read_coco_boxes(coco(tmp_path, [0.1, 0.2, 0.3, 0.4], [20, 20, 5, 5]))["a.png"]) == 2


def test_a_sample_whose_box_is_in_fractions_is_named_before_the_first_pass():
    thing = Object("mug", Box("mug", (0.1, 0.2, 0.5, 0.9)))
    samples = [Sample(name, Image.new("RGB", SIZE), "Where?", (), "left", (thing,) * (name == "b")) for name in "ab"]
    with pytest.raises(InputError, match="^sample 'b': box 'mug' .*which are fractions"):
        check_samples(samples, progress=False)
