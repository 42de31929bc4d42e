"""All that can not be asked of a data set is one refusal: rows, photos and prompts, each with its id and row."""

import csv
import re

import pytest
import tiny
from PIL import Image

from adaptvis.__main__ import main as adaptvis
from interp.__main__ import main as interp
from interp.datasets import read_folder
from interp.datasets.synthetic.shapes import shapes
from interp.errors import InputError
from interp.objects.refusals import each_row, leaving_out, note_bad, noted, refuse_noted
from interp.study.run import run_study
from interp.study.sample_checks import askable, check_prompts
from probes.__main__ import main as probes

SAMPLES = shapes(10, split="test", seed=5, kinds=("relation",))
SHORT = ["--max-new-tokens", "1", "--model", "tiny-qwen2_5_vl", "--prompt", "paper"]
COMMANDS = {
    "overlap": (interp, ["overlap", "--draws", "1", *SHORT]),
    "probes rope": (probes, ["rope", "--model", "tiny-qwen2_5_vl", "--prompt", "paper"]),
    "probes heads": (probes, ["heads", "collect", *SHORT]),
}
BAD = {
    "gone.png": "neither in",
    "cut": "is broken or cut off",
    "empty": "has no question",
    "video": "the video placeholder '<|video_pad|>'",
    "thin": "pixels",
    "strange": "which is not one of",
    "double": "has the id 'good', as row 1 has",
}
"""Rows that can not be asked, by their ids, and what is said of them."""


@pytest.fixture
def folder(tmp_path):
    """Photos of one's own, in which every kind of row is bad once."""
    place = tmp_path / "own"
    place.mkdir()
    rows = [["id", "image", "question", "answer", "options", "boxes"]]
    for number, (sample, name) in enumerate(zip(SAMPLES, ["good", *BAD, "fine", "well"], strict=True)):
        photo = sample.image if name != "thin" else Image.new("RGB", (2000, 4))
        photo.save(place / f"{number}.png")
        boxes = "; ".join(f"{one.name}={','.join(map(str, one.box.xyxy))}" for one in sample.objects)
        question = {"empty": " ", "video": f"<|video_pad|> {sample.question}"}.get(name, sample.question)
        answer = "north" if name == "strange" else sample.answer
        image = "gone.png" if name == "gone.png" else f"{number}.png"
        own = "good" if name == "double" else name
        rows.append([own, image, question, answer, "|".join(sample.options), "" if name == "thin" else boxes])
    (place / "2.png").write_bytes((place / "2.png").read_bytes()[:200])
    with (place / "questions.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return place


@pytest.mark.parametrize("name", COMMANDS)
def test_rows_photos_and_prompts_are_refused_in_one_error_and_the_advice_works(name, folder, tmp_path, capsys):
    main, asked = COMMANDS[name]
    asked = [*asked, "--dataset", str(folder), "--out", str(tmp_path / "out")]
    assert main(asked) == 2
    said = capsys.readouterr().err
    assert said.count("error: ") == 1 and "7 of 10 samples can not be asked; nothing was asked yet" in said
    for number, (own, why) in enumerate(BAD.items(), 2):
        assert re.search(rf"row {number}\b[^;]*{re.escape(why)}", said), why
        assert repr("good" if own == "double" else own) in said
    assert said.rstrip().endswith("(to go on without what is named: --skip-bad)")
    assert not list(tmp_path.glob("out/**/*.parquet"))
    assert main([*asked, "--skip-bad"]) == 0


def test_twenty_are_named_and_the_others_counted(folder, tmp_path, capsys):
    text = (folder / "questions.csv").read_text().splitlines()
    more = [f"x{number},gone.png,Where?,left,," for number in range(40)]
    (folder / "questions.csv").write_text("\n".join([*text, *more]) + "\n")
    assert interp(["overlap", "--dataset", str(folder), "--out", str(tmp_path / "out"), *SHORT]) == 2
    said = capsys.readouterr().err
    assert "47 of 50 samples" in said and "; and 27 more" in said and len(re.findall(r"\brow \d+ \(line", said)) == 20


def test_a_benchmark_tells_absent_photos_with_bad_ones(tmp_path, capsys):
    import json

    (tmp_path / "vg_images").mkdir()
    rows = [[k, f"A cat on the {side}", f"A cat on the {'left' if side == 'right' else 'right'}"]
            for k, side in enumerate(["left", "right"] * 4)]  # fmt: skip
    for number in range(7):  # the last one is absent
        Image.new("RGB", (50, 50)).save(tmp_path / "vg_images" / f"{number}.jpg")
    (tmp_path / "vg_images" / "2.jpg").write_text("no photo")
    rows[4][1] = "A cat"
    (tmp_path / "vg_qa_one_obj.json").write_text(json.dumps(rows))
    asked = ["evaluate", "--dataset", "vg-one", "--folder", str(tmp_path), "--out", str(tmp_path / "out"), "--quick"]
    assert adaptvis([*asked, "--model", "tiny-llava", "--part", "all", "--split", "by-pair"]) == 2
    said = capsys.readouterr().err
    assert "3 of 8 samples can not be asked" in said and "places no" in said
    assert "'vg-one-00007' (row 7): its image" in said and "'vg-one-00002' (row 2):" in said


def test_what_is_noted_is_refused_by_every_study_and_at_the_latest_at_the_end(folder, tmp_path):
    def nothing(batch):
        pytest.fail("something was measured")

    for use in (
        lambda samples: run_study(samples, nothing, tmp_path / "out", settings={}, progress=False),
        lambda samples: check_prompts(tiny.vlm(), samples, "paper", progress=False),
        lambda samples: None,
    ):
        with pytest.raises(InputError, match="row 2 .*row 4 .*row 7 .*row 8"), leaving_out(asked_for=False):
            use(read_folder(folder))
    assert not (tmp_path / "out").exists() and not noted()


def test_another_error_is_told_with_what_was_noted():
    with pytest.raises(InputError, match="^no such model") as error, leaving_out(asked_for=False):
        note_bad("row 3 has no answer")
        raise InputError("no such model")
    assert error.value.__notes__ == ["Besides, row 3 has no answer"]


def test_outside_of_a_command_rows_are_refused_when_they_are_read(folder):
    with pytest.raises(InputError, match="^4 of 10 rows can not be used: row 2 .*row 4 .*row 7 .*row 8"):
        read_folder(folder)
    assert askable(SAMPLES, tiny.vlm()) == SAMPLES
    refuse_noted()


def test_rows_of_which_none_can_be_used_are_refused_when_they_are_read():
    def bad(row):
        raise InputError(f"row {row} is bad")

    for how in ({"asked_for": False}, None):
        with pytest.raises(InputError, match="^2 of 2 .* row 1 is bad; row 2 is bad"):
            if how is None:
                list(each_row([1, 2], bad))
            else:
                with leaving_out(**how):
                    list(each_row([1, 2], bad))
