"""Names that data give lead nowhere but below the folder that they are read from or written to."""

import json

import pytest
from PIL import Image
from rows import photo_bytes, said_as_caption

from interp.datasets import BENCHMARKS, download_dataset, read_dataset, read_folder
from interp.detect import GroundTruth, read_coco_boxes
from interp.errors import InputError
from interp.image.boxes import Box, Boxes
from interp.objects.refusals import all_of, each_row
from interp.store.names import is_plain_name, stays_inside

LEADING_OUT = ("../a.jpg", "b/../../a.jpg", "/etc/a.jpg", "..", "C:\\a.jpg", "c:a.jpg", "\\\\host\\a.jpg", "..\\a.jpg")
NO_PATH = ("", "a\x00.jpg", "a\n.jpg", "a" * 300)


@pytest.mark.parametrize("name", [*LEADING_OUT, *NO_PATH])
def test_a_name_that_leads_out_or_is_none_is_told(name):
    assert not stays_inside(name) and not is_plain_name(name)


@pytest.mark.parametrize("name", ["a.jpg", "beer-bottle_left_of_armchair.jpeg", "Foto 1 (Küche).png", "...jpg", "a..b"])
def test_plain_names_are_plain(name):
    assert stays_inside(name) and is_plain_name(name) and stays_inside(f"images/{name}")
    assert not is_plain_name(f"images/{name}") and not is_plain_name(f"images\\{name}")


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A function that puts rows of Controlled Images A on a made-up Hub, one of which may be changed."""
    import pyarrow as pa
    from pyarrow import parquet

    def put(change=None, at=411):
        options = BENCHMARKS["controlled-a"].options
        golds = [((f"thing {number}", "table"), gold) for number in range(103) for gold in options]
        rows = [
            {
                "image_options": {"bytes": photo_bytes(row), "path": None},
                "caption_options": [said_as_caption(names, gold, photo_of=False), "A wrong one"],
            }
            for row, (names, gold) in enumerate(golds)
        ]
        rows[at] = {**rows[at], **(change or {})}
        prompts = [{"id": row, "question": "q", "answer": [gold]} for row, (_, gold) in enumerate(golds)]
        parquet.write_table(pa.Table.from_pylist(rows), tmp_path / "photos.parquet")
        parquet.write_table(pa.Table.from_pylist(prompts), tmp_path / "prompts.parquet")
        monkeypatch.setattr(
            "interp.datasets.benchmarks.hub._snapshot",
            lambda repository, pattern, revision: [
                tmp_path / ("photos.parquet" if pattern.startswith("data/") else "prompts.parquet")
            ],
        )

    return put


@pytest.mark.parametrize(
    "caption",
    ["A {}/out under a table", "A ../../out under a table", "A ..\\out under a table", "A C:out under a table"],
)
def test_a_caption_that_would_lead_out_of_the_folder_is_refused_before_anything_is_written(hub, tmp_path, caption):
    hub({"caption_options": [caption.format(tmp_path), "A wrong one"]})
    before = set(tmp_path.rglob("*"))
    with pytest.raises(InputError, match="row 411 of .* would be called .*, no file name"):
        download_dataset("controlled-a", tmp_path / "into" / "data")
    assert set(tmp_path.rglob("*")) == before


def test_a_stored_name_that_would_lead_out_is_refused_too(hub, tmp_path):
    change = {"image_options": {"bytes": photo_bytes(0), "path": "a/..\\out_on_table.jpeg"}}
    hub(change)
    with pytest.raises(InputError, match="row 411 .* would be called"):
        download_dataset("controlled-a", tmp_path / "data")
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"image_options": {"bytes": b"%!PS-Adobe", "path": None}}, "neither JPEG nor PNG"),
        ({"caption_options": ["nothing", "A wrong one"]}, "is not of controlled-a"),
        ({"caption_options": []}, "holds no captions"),
        ({"caption_options": ["A thing 0 to the left of a table", "x"]}, "two photos .* would be called"),
    ],
)
def test_the_last_row_is_checked_before_the_first_photo_is_written(hub, tmp_path, change, says):
    hub(change)
    with pytest.raises(InputError, match=says):
        download_dataset("controlled-a", tmp_path / "data")
    assert not (tmp_path / "data").exists()
    hub()
    download_dataset("controlled-a", tmp_path / "data")
    assert len(read_dataset("controlled-a", tmp_path / "data")) == 412


@pytest.mark.parametrize("name", LEADING_OUT)
def test_an_annotation_file_never_names_a_photo_elsewhere(tmp_path, name):
    folder = tmp_path / "data"
    folder.mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "a.jpg")
    row = {"image": name, "caption": "The cat is under the bed.", "label": 1, "relation": "under"}
    (folder / "test.jsonl").write_text(json.dumps(row) + "\n")
    with pytest.raises(InputError, match="row 0 of .* which is no path below a folder"):
        read_dataset("vsr", folder, missing="keep")
    row = {**row, "image": "a.jpg", "local_path": name}
    (folder / "test.jsonl").write_text(json.dumps(row) + "\n")
    with pytest.raises(InputError, match="row 0 of .* which is no path below a folder"):
        read_dataset("vsr", folder)
    (folder / "vg_qa_one_obj.json").write_text(json.dumps([[f"{name}/a", "A cat on the left", "A cat on the right"]]))
    with pytest.raises(InputError, match="row 0 of .* which is no path below a folder"):
        read_dataset("vg-one", folder, missing="keep")


def test_a_table_names_photos_of_its_folder_alone(tmp_path):
    folder = tmp_path / "own"
    (folder / "images").mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(tmp_path / "secret.png")
    Image.new("RGB", (8, 8)).save(folder / "images" / "a.png")
    for name in ("../secret.png", "../../secret.png", str(tmp_path / "secret.png"), "images/../../secret.png"):
        (folder / "questions.csv").write_text(f"image,question,answer\n{name},Where is the cat?,left\n")
        with pytest.raises(InputError, match="row 1 .* lies outside .*put it into that folder"):
            read_folder(folder)
    (folder / "questions.csv").write_text(f"image,question,answer\n{'x' * 5000},Where is the cat?,left\n")
    with pytest.raises(InputError, match="row 1 .* which is neither in") as error:
        read_folder(folder)
    assert len(str(error.value)) < 600
    for name in ("a.png", "images/a.png", f"../{folder.name}/images/a.png", str(folder / "images" / "a.png")):
        (folder / "questions.csv").write_text(f"image,question,answer\n{name},Where is the cat?,left\n")
        assert read_folder(folder)[0].image.samefile(folder / "images" / "a.png")


def test_boxes_name_photos_of_their_folder_alone(tmp_path):
    (tmp_path / "in").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "secret.png")
    content = {
        "images": [{"id": 1, "file_name": "../secret.png", "width": 8, "height": 8}],
        "annotations": [{"image_id": 1, "category_id": 1, "bbox": [0, 0, 4, 4]}],
        "categories": [{"id": 1, "name": "cat"}],
    }
    (tmp_path / "boxes.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match="1 of 1 photo of the file lies outside .*'../secret.png'"):
        read_coco_boxes(tmp_path / "boxes.json", images=tmp_path / "in")
    with pytest.raises(InputError, match="'../secret.png' is no path below the folder"):
        GroundTruth({"../secret.png": Boxes((Box("cat", (0, 0, 4, 4)),))}, images=tmp_path / "in")


def test_all_bad_rows_are_told_at_once_and_none_is_passed_over():
    def make(row):
        if row % 3 == 0:
            raise InputError(f"row {row} is bad: mend it")
        return row

    assert list(each_row([1, 2, 4], make)) == [1, 2, 4]
    for rows, says in (
        ([1, 3], "row 3 is bad: mend it"),
        ([3, 1, 6, 2], "2 of 4 rows can not be used: row 3 .*row 6 "),
    ):
        made = []
        with pytest.raises(InputError, match=f"^{says}"):
            made += each_row(rows, make)
    found = all_of([InputError(f"<{number}>") for number in range(23)], "of 99 rows are bad")
    named = "; ".join(f"<{number}>" for number in range(20))
    assert str(found) == f"23 of 99 rows are bad: {named}; and 3 more"


def test_readers_tell_all_bad_rows(tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    rows = ["a.png,Where is the cat?,left", "a.png,,left", "b.png,Where is the cat?,left", "a.png,where"]
    (tmp_path / "questions.csv").write_text("\n".join(["image,question,answer", *rows]))
    says = r"^3 of 4 rows can not be used: row 2 .*has no question.*row 3 .*'b.png'.*row 4 .*has 2 cells for 3 columns"
    with pytest.raises(InputError, match=says):
        read_folder(tmp_path)
    assert len(read_folder(tmp_path, n=1)) == 1
    item = {"image": "a.png", "caption": "The cat is under the bed.", "label": 1, "relation": "under"}
    lines = [item, {**item, "label": 2}, {**item, "caption": "?"}]
    (tmp_path / "test.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    for name in ("vsr", "vsr-open"):
        with pytest.raises(InputError, match="^2 of 3 rows can not be used: row 1 .*label 2.*row 2 "):
            read_dataset(name, tmp_path)
