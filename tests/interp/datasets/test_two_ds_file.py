"""The Parquet file of 2DS: its questions become samples with pictures, and what does not fit is said with its row."""

from io import BytesIO

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from interp.__main__ import main
from interp.answers.words import word_scores
from interp.datasets import check_dataset, download_dataset, read_dataset
from interp.datasets.reading import read_samples
from interp.datasets.synthetic.two_ds import two_ds
from interp.errors import InputError
from interp.study.sample_checks import check_samples

FILE = "train-00000-of-00001.parquet"


def png(image):
    out = BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


def rows_of(n_scenes=4):
    """Rows in the published columns, made of our own scenes."""
    samples = two_ds(6 * n_scenes)
    scenes = [samples[start : start + 6] for start in range(0, len(samples), 6)]
    return [
        {
            "entry_id": number,
            "test_category": f"test {number % 2}",
            "image_filename": {"bytes": png(scene[0].image), "path": f"{number}.png"},
            "objects": [
                {"shape": box.label.split()[1], "color": box.label.split()[0]} for box in scene[0].meta["boxes"]
            ],
            "qa_pairs": [
                {"question": one.question.partition("?")[0] + "?", "answer": one.answer, "qa_category": one.relation}
                for one in scene
            ],
        }
        for number, scene in enumerate(scenes)
    ]


def put(folder, rows, name=FILE):
    folder.mkdir(parents=True, exist_ok=True)
    parquet.write_table(pa.Table.from_pylist(rows), folder / name)
    return folder


@pytest.mark.parametrize("layout", ["the Hub's", "another name", "the file itself", "lists of fields", "plain bytes"])
def test_that_every_layout_gives_the_same_samples(tmp_path, layout):
    rows, made = rows_of(), two_ds(24)
    if layout == "lists of fields":
        for row in rows:
            row["qa_pairs"] = {name: [pair[name] for pair in row["qa_pairs"]] for name in row["qa_pairs"][0]}
    if layout == "plain bytes":
        for row in rows:
            row["image_filename"] = row["image_filename"]["bytes"]
    put(tmp_path / "data", rows, "my.parquet" if layout == "another name" else FILE)
    given = {"the file itself": tmp_path / "data" / FILE, "another name": tmp_path / "data"}.get(layout, tmp_path)
    samples = read_dataset("2ds", given)
    assert [(s.answer, s.relation, s.options) for s in samples] == [(s.answer, s.relation, ()) for s in made]
    assert all(np.array_equal(np.asarray(s.image), np.asarray(o.image)) for s, o in zip(samples, made, strict=True))
    assert len({s.id for s in samples}) == 24 and len({s.group for s in samples}) == 4
    check_samples(samples, progress=False)
    assert [s.id for s in read_samples("2ds", given, n=7)] == [s.id for s in samples[:7]]


def test_that_both_category_fields_are_kept_apart(tmp_path):
    samples = read_dataset("2ds", put(tmp_path, rows_of()))
    assert [s.meta["test_category"] for s in samples] == [f"test {s.meta['row'] % 2}" for s in samples]
    assert all(s.meta["qa_category"] == s.relation != s.meta["test_category"] for s in samples)
    assert samples[7].meta["entry_id"] == 1 and samples[7].meta["pair"] == 1
    assert samples[0].meta["scene_objects"][0].keys() == {"shape", "color"} and samples[0].objects == ()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"entry_id": None}, "entry_id None"),
        ({"test_category": " "}, "test_category ' '"),
        ({"image_filename": {"bytes": None, "path": "1.png"}}, "NoneType and no picture"),
        ({"image_filename": {"bytes": b"no picture", "path": "1.png"}}, "can not be read"),
        ({"qa_pairs": []}, "no list of questions"),
        ({"qa_pairs": [{"question": "Which?", "answer": "", "qa_category": "x"}]}, "answer '' in question 0"),
        ({"qa_pairs": [{"question": None, "answer": "red", "qa_category": "x"}]}, "question None in question 0"),
    ],
)
def test_that_a_row_which_does_not_fit_is_named(tmp_path, change, says):
    rows = rows_of()
    rows[2] = {**rows[2], **change}
    folder = put(tmp_path, rows)
    with pytest.raises(InputError, match=rf"row 2 of '.*{FILE}' has .*{says}"):
        read_dataset("2ds", folder)
    assert len(read_dataset("2ds", folder, n=12)) == 12


def test_that_another_file_is_refused_with_its_columns(tmp_path):
    put(tmp_path / "other", [{"entry_id": 1, "question": "Which?"}])
    with pytest.raises(InputError, match="columns entry_id, question and no test_category, image_filename, objects"):
        read_dataset("2ds", tmp_path / "other")
    (tmp_path / FILE).write_text("not a parquet file")
    with pytest.raises(InputError, match="no Parquet file that can be read"):
        read_dataset("2ds", tmp_path)
    with pytest.raises(InputError, match="no folder"):
        read_dataset("2ds", tmp_path / "absent")
    with pytest.raises(InputError, match="name their folder"):
        read_dataset("2ds")
    with pytest.raises(InputError, match="n=0"):
        read_dataset("2ds", put(tmp_path / "good", rows_of(1)), n=0)
    with pytest.raises(InputError, match="user074/2DSyntheticDataset"):
        download_dataset("2ds", tmp_path / "new")


def test_that_the_check_counts_scenes_and_questions(tmp_path, capsys):
    found = check_dataset("2ds", put(tmp_path, rows_of()))
    assert (found.rows, found.images, found.missing, found.complete) == (24, 4, (), False)
    assert "24 samples where 3000" in found.describe() and "Parquet file of user074" in found.describe()
    assert main(["datasets", "2ds"]) == 0
    assert "free" in (said := capsys.readouterr().out) and "--folder takes it" in said


def test_that_free_answers_are_scored_by_words_with_chance_by_category(tmp_path):
    import pandas as pd

    samples = read_dataset("2ds", put(tmp_path, rows_of()))
    table = pd.DataFrame(
        [{"id": s.id, "gold": s.answer, "relation": s.relation, "text": f"The answer is: {s.answer}!"} for s in samples]
    )
    scores = word_scores(table).set_index("category")
    assert scores["accuracy_words"].eq(1).all() and scores.loc["all", "n"] == 24
    assert scores.loc["color-relative", "even"] == 1 / len(
        {s.answer for s in samples if s.relation == "color-relative"}
    )
