"""With --skip-bad a command goes on without the rows that can not be asked, and manifest and report tell which."""

import csv
import json
import shutil
from dataclasses import replace

import pytest
import tiny
from PIL import Image

from adaptvis.__main__ import build_parser as adaptvis_parser
from adaptvis.__main__ import main as adaptvis
from interp.__main__ import build_parser as interp_parser
from interp.__main__ import main as interp
from interp.datasets import read_dataset, read_folder
from interp.datasets.synthetic.shapes import shapes
from interp.errors import InputError
from interp.image.boxes import Box
from interp.objects.refusals import leaving_out
from interp.objects.sample import Object
from interp.study.sample_checks import askable, check_samples
from probes.__main__ import build_parser as probes_parser
from probes.__main__ import main as probes

SAMPLES = shapes(12, split="test", seed=3, kinds=("relation",))
SHORT = ["--max-new-tokens", "1"]
OUTSIDE = Object("mug", Box("mug", (500.0, 500.0, 600.0, 600.0)))
BAD = {3: "north", 5: "is broken or cut off", 7: "holds the image placeholder"}
"""Rows that can not be asked, from 0 on, and what is said of them."""


@pytest.fixture
def folder(tmp_path):
    """Photos of one's own, of which three rows can not be asked: an answer, a photo, a question."""
    place = tmp_path / "own"
    place.mkdir()
    rows = [["image", "question", "answer", "options", "boxes"]]
    for number, sample in enumerate(SAMPLES):
        sample.image.save(place / f"{number}.png")
        boxes = "; ".join(f"{one.name}={','.join(map(str, one.box.xyxy))}" for one in sample.objects)
        question = f"{'<image> ' if number == 7 else ''}{sample.question}"
        answer = "north" if number == 3 else sample.answer
        rows.append([f"{number}.png", question, answer, "|".join(sample.options), boxes])
    (place / "5.png").write_bytes((place / "5.png").read_bytes()[:200])
    with (place / "questions.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return place


def skipped_of(manifest):
    return json.loads(manifest.read_text())["settings"]["skipped"]


COMMANDS = {
    "overlap": (interp, ["overlap", "--draws", "1", "--model", "tiny-llava", *SHORT]),
    "probes norms": (probes, ["norms", "--model", "tiny-llava", "--prompt", "paper"]),
    "probes rope": (probes, ["rope", "--model", "tiny-llava", "--prompt", "paper"]),
    "probes heads": (probes, ["heads", "collect", "--model", "tiny-llava", "--prompt", "paper", *SHORT]),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_goes_on_without_what_can_not_be_asked(name, folder, tmp_path, capsys):
    main, asked = COMMANDS[name]
    asked = [*asked, "--dataset", str(folder), "--out", str(tmp_path / "out")]
    assert main(asked) == 2
    assert capsys.readouterr().err.rstrip().endswith("(to go on without what is named: --skip-bad)")
    assert not list(tmp_path.glob("out/**/manifest.json"))
    assert main([*asked, "--skip-bad"]) == 0
    assert "3 rows can not be asked" not in capsys.readouterr().err
    (manifest,) = tmp_path.glob("out/**/manifest.json")
    told = skipped_of(manifest)
    assert json.loads(manifest.read_text())["samples"] == 9
    assert [why for why, one in zip(BAD.values(), told, strict=True) if why in one["why"]] == [*BAD.values()]
    assert [one["row"] for one in told[1:]] == [6, 8]
    for page in tmp_path.glob("out/**/report.html"):
        assert "3 rows can not be asked and are skipped" in page.read_text()


def test_a_run_with_rows_left_out_is_another_than_one_without(folder, tmp_path, capsys):
    asked = ["norms", "--model", "tiny-llava", "--prompt", "paper", "--dataset", str(folder), "--out"]
    asked += [str(tmp_path / "out"), "--skip-bad"]
    assert probes(asked) == 0 and probes([*asked, "--resume"]) == 0
    assert "3 rows can not be asked and are skipped" in capsys.readouterr().out
    SAMPLES[5].image.save(folder / "5.png")
    assert probes([*asked, "--resume"]) == 2
    assert "samples: was 9, now 10" in capsys.readouterr().err


def test_a_benchmark_is_evaluated_without_them(tmp_path, capsys):
    (tmp_path / "vg_images").mkdir()
    rows = [[k, f"A cat on the {side}", f"A cat on the {'left' if side == 'right' else 'right'}"]
            for k, side in enumerate(["left", "right"] * 4)]  # fmt: skip
    for number in range(7):  # the last one is absent
        Image.new("RGB", (50, 50)).save(tmp_path / "vg_images" / f"{number}.jpg")
    (tmp_path / "vg_images" / "2.jpg").write_text("no photo")
    rows[4][1] = "A cat"
    (tmp_path / "vg_qa_one_obj.json").write_text(json.dumps(rows))
    asked = ["evaluate", "--dataset", "vg-one", "--folder", str(tmp_path), "--out", str(tmp_path / "out"), "--quick"]
    asked += ["--model", "tiny-llava", "--part", "all", "--split", "by-pair", *SHORT]
    assert adaptvis(asked) == 2 and "--skip-bad" in capsys.readouterr().err
    assert adaptvis([*asked, "--skip-bad"]) == 0
    told = skipped_of(tmp_path / "out" / "test" / "manifest.json")
    assert [("places no" in one["why"], one["sample"]) for one in told] == [
        (True, None), (False, "vg-one-00007"), (False, "vg-one-00002"),
    ]  # fmt: skip
    assert "3 rows can not be asked and are skipped" in (tmp_path / "out" / "report.html").read_text()
    assert "skipped" in json.loads((tmp_path / "out" / "summary.json").read_text())["settings"]


def commands_of(parser, name=""):
    """All commands below a parser, with their options."""
    below = [action.choices for action in parser._actions if action.dest == "==SUPPRESS==" and action.choices]
    if not below:
        yield name, {flag for action in parser._actions for flag in action.option_strings}
    for key, one in (below[0] if below else {}).items():
        yield from commands_of(one, f"{name} {key}")


def test_every_command_that_takes_a_data_set_has_the_option():
    every = [one for make in (interp_parser, adaptvis_parser, probes_parser) for one in commands_of(make())]
    takes = {name: flags for name, flags in every if "--dataset" in flags or {"--scenes", "--boxes"} <= flags}
    assert len(takes) >= 18 and not [name for name, flags in takes.items() if "--skip-bad" not in flags]


def test_label_files_that_can_not_be_read_cost_their_photos_alone(folder):
    (folder / "labels").mkdir()
    (folder / "classes.txt").write_text("mug")
    for number in range(12):
        (folder / "labels" / f"{number}.txt").write_text("0 0.5 0.5 0.2 0.2\n" + "0 0.5\n" * (number in (2, 9)))
    text = (folder / "questions.csv").read_text().replace(",boxes\n", ",notes\n").replace(",north,", ",left,")
    (folder / "questions.csv").write_text(text)
    with pytest.raises(InputError, match=r"^2 of 12 rows can not be used: .*2\.txt, line 2.*9\.txt, line 2"):
        read_folder(folder)
    with leaving_out() as left_out:
        assert len(askable(read_folder(folder), progress=False)) == 9
    assert len(left_out.told) == 5  # both files, their rows, and the photo that is cut off


@pytest.mark.parametrize(
    "change",
    [{"question": " "}, {"objects": (OUTSIDE,)}, {"answer": ""}, {"image": "gone.png"}, {"options": ("a", "a")}],
)
def test_samples_are_left_out_where_that_was_asked_for_and_refused_elsewhere(change):
    samples = [*SAMPLES[:3], replace(SAMPLES[3], **change)]
    assert askable(samples, progress=False) == samples
    with leaving_out() as left_out:
        assert askable(samples, tiny.vlm(), prompt="paper", progress=False) == samples[:3]
        with pytest.raises(InputError):
            check_samples(samples, progress=False)
    assert [one["sample"] for one in left_out.told] == [samples[3].id]
    with leaving_out(), pytest.raises(InputError, match="2 of 2 samples can not be asked"):
        askable([samples[3], replace(samples[3], id="b", relation=3)], progress=False)


def test_a_folder_of_good_rows_is_read_as_without_it(tmp_path):
    shutil.rmtree(tmp_path)
    with leaving_out() as left_out:
        kept = askable(read_dataset("shapes", n=4), tiny.vlm(), prompt="paper", progress=False)
    assert [one.id for one in kept] == [one.id for one in read_dataset("shapes", n=4)] and not left_out.told
