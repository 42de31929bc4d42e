"""Numbers and names in COCO files that no box or question can have are refused by name, and so is depth."""

import json

import pytest

from interp.errors import InputError
from interp.objects.label_files import read_coco_boxes

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
