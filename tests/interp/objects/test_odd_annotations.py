"""Numbers and names in COCO files that no box or question can have are refused by name, and so is depth."""

import json

import pytest

from interp.errors import InputError
from interp.image.boxes import Boxes
from interp.objects.given import GroundTruth, read_yolo_labels
from interp.objects.label_files import read_coco_boxes, read_yolo_folder

WHOLE = {
    "images": [{"id": 1, "file_name": "a.png", "width": 90, "height": 60}],
    "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [0, 0, 20, 20]}],
    "categories": [{"id": 1, "name": "mug"}],
}
BOX = WHOLE["annotations"][0]
ODD = {
    "a number beyond all floats": {"annotations": [BOX | {"bbox": [10**400, 0, 1, 1]}]},
    "a photo wider than that": {"images": [WHOLE["images"][0] | {"width": 10**400}]},
    "half a letter": {"categories": [{"id": 1, "name": "\ud800"}]},
    "a list as an id": {"annotations": [BOX | {"image_id": [1]}]},
}


@pytest.mark.parametrize("changes", ODD.values(), ids=ODD)
def test_odd_annotations_are_refused(tmp_path, changes):
    (tmp_path / "a.json").write_text(json.dumps(WHOLE))
    assert read_coco_boxes(tmp_path / "a.json")["a.png"].labels == ["mug"]
    (tmp_path / "a.json").write_text(json.dumps(WHOLE | changes))
    with pytest.raises(InputError, match=r"a\.json"):
        read_coco_boxes(tmp_path / "a.json")


def test_a_file_that_is_nested_without_end_is_refused(tmp_path):
    (tmp_path / "a.json").write_text("[" * 100_000)
    with pytest.raises(InputError, match="nested too deeply"):
        read_coco_boxes(tmp_path / "a.json")


@pytest.mark.parametrize("path", ["~nobody_of_that_name/a", "a\0", "", None])
def test_what_no_file_can_be_called_is_refused_by_all_readers_of_labels(tmp_path, path):
    reads = [
        lambda: read_coco_boxes(path),
        lambda: read_yolo_folder(path, tmp_path),
        lambda: read_yolo_folder(tmp_path, path),
        lambda: read_yolo_labels(path, (90, 60), ["mug"]),
    ]
    if path is not None:
        reads.append(lambda: GroundTruth({"a.png": Boxes(())}, images=path))
    for read in reads:
        with pytest.raises(InputError, match="is no path|no path can|there is no user"):
            read()
