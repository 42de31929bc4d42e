"""SpatialEval, 3DSRBench and Spatial457: rows in their published columns become samples; what does not fit is named."""

import base64
import csv
import json
from io import BytesIO

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import parquet

from interp.__main__ import main
from interp.datasets import BENCHMARKS, check_dataset, download_dataset, read_dataset
from interp.errors import InputError
from interp.study.sample_checks import check_samples

ASKED = "Where is A relative to B? Available options:\nA. Northeast\nB. Northwest\nC. Southwest\nD. Southeast."


def png(shade):
    out = BytesIO()
    Image.new("RGB", (6, 5), (shade, 0, 0)).save(out, "PNG")
    return out.getvalue()


def shade(sample):
    image = sample.image if isinstance(sample.image, Image.Image) else Image.open(sample.image)
    return int(np.asarray(image)[0, 0, 0])


def eval_row(place, *, part="vqa", scene=0, **more):
    row = {"id": f"spatialmap.{part}.{scene}.{place}", "text": ASKED, "image": {"bytes": png(scene), "path": None}}
    return {**row, "oracle_answer": "Southeast", "oracle_option": "D", "oracle_full_answer": "D. Southeast", **more}


def dsr_row(index, *, photo="000000000009.jpg", **more):
    row = {"index": index, "question": "Which is higher?", "A": "mug", "B": "red hat", "C": None, "D": None}
    url = f"http://images.cocodataset.org/train2017/{photo}"
    return {**row, "answer": "B", "category": "height_higher", "image_source": "MS-COCO", "image_url": url, **more}


def put(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        parquet.write_table(pa.Table.from_pylist(rows), path)
    elif path.suffix == ".json":
        path.write_text(json.dumps(rows))
    else:
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]), delimiter="\t")
            writer.writeheader()
            writer.writerows(rows)
    return path


def test_that_spatialeval_gives_its_options_and_pictures(tmp_path):
    rows = [eval_row(0), eval_row(1, scene=7), eval_row(2, scene=7, text="Is it? A. Yes", oracle_option="B")]
    put(tmp_path / "vqa" / "test-00000-of-00001.parquet", rows)
    for given in (tmp_path, tmp_path / "vqa", tmp_path / "vqa" / "test-00000-of-00001.parquet"):
        first, second, third = read_dataset("spatialeval", given)
        assert first.options == ("Northeast", "Northwest", "Southwest", "Southeast") and first.answer == "Southeast"
        assert first.question == ASKED and first.relation == "spatialmap" and first.group == "spatialmap.0"
        assert second.group == third.group == "spatialmap.7" and [shade(one) for one in (first, second)] == [0, 7]
        assert second.image is third.image  # equal pictures are held once
        assert third.options == () and third.answer == "Southeast"
        check_samples([first, second, third], progress=False)
    assert [one.id for one in read_dataset("spatialeval", tmp_path, n=2)] == ["spatialeval-00000", "spatialeval-00001"]


def test_that_the_other_modalities_of_spatialeval_are_not_taken_for_it(tmp_path):
    put(tmp_path / "test-00000-of-00001.parquet", [eval_row(0, part="vtqa")])
    assert len(read_dataset("spatialeval-vtqa", tmp_path)) == 1
    with pytest.raises(InputError, match=r"row 0 of .*is of 'vtqa' and not of vqa"):
        read_dataset("spatialeval", tmp_path)
    text = [{name: cell for name, cell in eval_row(0, part="tqa").items() if name != "image"}]
    with pytest.raises(InputError, match="no image, which SpatialEval"):
        read_dataset("spatialeval", put(tmp_path / "tqa.parquet", text))


@pytest.mark.parametrize("folder", ["coco_images", "train2017", "."])
def test_that_3dsrbench_finds_its_photos_beside_the_parquet_file(tmp_path, folder):
    put(tmp_path / "3dsrbench_v1-00000-of-00001.parquet", [dsr_row(0), dsr_row(1, C="cat", D="dog", answer="D")])
    (tmp_path / folder).mkdir(exist_ok=True)
    (tmp_path / folder / "000000000009.jpg").write_bytes(png(3))
    first, second = read_dataset("3dsrbench", tmp_path)
    assert first.options == ("mug", "red hat") and first.answer == "red hat" and shade(first) == 3
    assert first.question == "Which is higher? Answer with mug or red hat."
    assert second.options == ("mug", "red hat", "cat", "dog") and second.answer == "dog"
    assert first.group == second.group == "000000000009.jpg" and first.relation == "height_higher"
    check_samples([first, second], progress=False)


def test_that_3dsrbench_reads_pictures_of_a_tsv_file_and_those_of_another_row(tmp_path):
    picture = base64.b64encode(png(9)).decode()
    rows = [
        {**dsr_row(0), "qid": "V", "image": picture},
        {**dsr_row(1, answer="A"), "qid": "V-1", "image": "0"},
        {**dsr_row(2), "qid": "V-flip", "image": picture},
    ]
    samples = read_dataset("3dsrbench", put(tmp_path / "3dsrbench_v1_vlmevalkit.tsv", rows))
    assert [shade(one) for one in samples] == [9, 9, 9] and samples[0].image is samples[1].image is samples[2].image
    assert [one.answer for one in samples] == ["red hat", "mug", "red hat"]
    assert {one.group for one in samples} == {"000000000009.jpg"} and samples[2].meta["qid"] == "V-flip"
    rows[1]["image"] = "5"
    with pytest.raises(InputError, match=r"row 1 of .*the picture of index 5, which no row before it has"):
        read_dataset("3dsrbench", put(tmp_path / "3dsrbench_v1_vlmevalkit.tsv", rows))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"answer": "C"}, "has the answer 'C' and the options"),
        ({"B": "mug"}, "do not fit"),
        ({"category": " "}, "has category ' ', no text"),
        ({"image_url": None}, "has image_url None, no text"),
    ],
)
def test_that_a_bad_row_of_3dsrbench_is_named(tmp_path, change, says):
    path = put(tmp_path / "a.parquet", [dsr_row(0), dsr_row(1), dsr_row(2, **change)])
    with pytest.raises(InputError, match=rf"row 2 of .*{says}"):
        read_dataset("3dsrbench", path, missing="keep")


def test_that_the_raw_annotations_of_3dsrbench_are_refused_by_what_to_name(tmp_path):
    with pytest.raises(InputError, match="without options: name its Parquet or TSV file"):
        read_dataset("3dsrbench", put(tmp_path / "3dsrbench_v1.csv", [dsr_row(0)]))


@pytest.mark.parametrize("wrapped", [True, False])
def test_that_spatial457_gives_truths_as_yes_and_no_and_all_else_free(tmp_path, wrapped):
    rows = [
        {
            "image_filename": "s_1.png",
            "question": "Is the car red?",
            "answer": answer,
            "question_index": 0,
            "program": [],
        }
        for answer in (True, "False", 3, "red")
    ]
    put(tmp_path / "questions" / "L1_single.json", {"info": {}, "questions": rows} if wrapped else rows)
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "s_1.png").write_bytes(png(4))
    samples = read_dataset("spatial457-single", tmp_path)
    assert [(one.answer, one.options) for one in samples] == [
        ("yes", ("yes", "no")),
        ("no", ("yes", "no")),
        ("3", ()),
        ("red", ()),
    ]
    assert samples[0].question == "Is the car red? Answer with yes or no." and shade(samples[0]) == 4
    assert samples[3].question.endswith("Answer with one word or number.")
    assert {(one.relation, one.group) for one in samples} == {("L1_single", "s_1.png")}
    check_samples(samples, progress=False)
    with pytest.raises(InputError, match=r"questions/L2_objects\.json"):
        read_dataset("spatial457-objects", tmp_path)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ('{"scenes": []}', "holds no list of questions"),
        ("[", "is no JSON"),
        ("[3]", "row 0 of .*is 3, no object"),
        ('[{"image_filename": "a.png", "question": "?", "answer": null}]', "has answer None"),
        ('[{"image_filename": "../a.png", "question": "?", "answer": 1}]', "no path below a folder"),
    ],
)
def test_that_a_bad_file_of_spatial457_is_named(tmp_path, content, says):
    (tmp_path / "L4_occ.json").write_text(content)
    with pytest.raises(InputError, match=says):
        read_dataset("spatial457-occlusion", tmp_path, missing="keep")


@pytest.mark.parametrize("name", [name for name, one in BENCHMARKS.items() if one.kind == "choices"])
def test_that_nothing_is_fetched_and_the_catalogue_says_where_to_get_it(tmp_path, capsys, name):
    with pytest.raises(InputError, match=f"{name} is read from a file of your own: fetch .* of {BENCHMARKS[name].hub}"):
        download_dataset(name, tmp_path)
    with pytest.raises(InputError, match=f"holds no .*python -m interp datasets {name}"):
        read_dataset(name, tmp_path)
    assert main(["datasets", name]) == 0
    assert BENCHMARKS[name].hub in capsys.readouterr().out


def test_that_a_check_of_a_set_of_unknown_size_counts_and_does_not_complain(tmp_path):
    put(tmp_path / "3dsrbench_v1-00000-of-00001.parquet", [dsr_row(0)])
    found = check_dataset("3dsrbench", tmp_path)
    assert found.rows == 1 and found.expected == 0 and [word for word in found.problems if "published" in word] == []
    assert "1 of 1 photo is missing" in found.problems[0] and "an unknown number" in found.describe()
