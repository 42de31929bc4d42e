"""`--prompts` asks the released prompts as they are, says so, keeps resumed runs to them, and refuses other files."""

import hashlib
import json
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from made_up_evaluation import made_up_evaluation
from PIL import Image

from adaptvis.__main__ import main as adaptvis
from adaptvis.paper.splits import official_split
from adaptvis.report.measures import measure_evaluation
from interp.datasets import BENCHMARKS, read_dataset
from interp.datasets.benchmarks.asked import with_prompts
from interp.datasets.benchmarks.prompts import _taken_apart
from interp.errors import InputError
from interp.objects.sample import Sample
from interp.prompt.templates import paper_prompt, where_in_own_words, where_in_relation

SIDES = ("left", "right", "above", "below")
WORDS = {"left": "to the left of", "right": "to the right of", "above": "above", "below": "below"}
FLAGS = ["evaluate", "--dataset", "coco-two", "--policy", "scaling", "--quick", "--max-new-tokens", "1"]
FLAGS += ["--model", "tiny-llava", "--split", "by-pair", "--part", "all"]


def ours():
    return paper_prompt(where_in_relation("dog", "cat", SIDES))


def put(path, prompts):
    rows = [{"id": row, "question": text, "answer": [side.capitalize()]} for row, text, side in prompts]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def folder(tmp_path):
    """Four photos of Coco-two, one for each answer."""
    (tmp_path / "val2017").mkdir()
    rows = []
    for number, side in enumerate(SIDES, 1):
        rng = np.random.default_rng(number)
        Image.fromarray(rng.integers(0, 255, (60, 80, 3), np.uint8)).save(tmp_path / f"val2017/{number:012d}.jpg")
        rows.append([number, f"A photo of a dog {WORDS[side]} a cat", f"A photo of a cat {WORDS[side]} a dog"])
    (tmp_path / "coco_qa_two_obj.json").write_text(json.dumps(rows))
    return tmp_path


def released(folder, name="own.jsonl"):
    """Four prompts, of which two are worded otherwise than ours."""
    texts = [ours(), ours().replace("USER: ", "USER:  "), ours(), ours().replace(" or ", ", or ")]
    return put(folder / name, [(row, text, side) for row, (text, side) in enumerate(zip(texts, SIDES, strict=True))])


def test_a_run_is_asked_in_the_files_words_and_says_so_everywhere(folder, capsys):
    file, out = released(folder), folder / "out"
    flags = [*FLAGS, "--folder", str(folder), "--out", str(out)]
    assert adaptvis([*flags, "--prompts", str(file)]) == 0, capsys.readouterr().err
    wanted = [json.loads(line)["question"] for line in file.read_text().splitlines()]
    assert pd.read_parquet(out / "answers.parquet")["prompt"].drop_duplicates().tolist() == list(dict.fromkeys(wanted))
    told = json.loads((out / "test" / "manifest.json").read_text())["settings"]["prompts"]
    assert told == json.loads((out / "summary.json").read_text())["settings"]["prompts"]
    assert told["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest() and told["released"] is False
    assert (told["rows"], told["differ"], told["reported"], told["reported_differ"]) == (4, 2, 4, 2)
    assert told["why"] == {"double space": 1, "comma before 'or'": 1}
    page = (out / "report.html").read_text()
    assert "Of the 4 reported rows, 2 are worded otherwise" in page and "own.jsonl, letter for letter" in page
    capsys.readouterr()
    assert adaptvis([*flags, "--resume"]) == 2 and "prompts" in capsys.readouterr().err
    assert adaptvis([*flags, "--resume", "--prompts", str(file)]) == 0


def test_without_a_file_the_report_says_whose_words_were_asked(folder):
    assert adaptvis([*FLAGS, "--folder", str(folder), "--out", str(folder / "out")]) == 0
    page = (folder / "out" / "report.html").read_text()
    assert "own template of the paper" in page and "Photos were resized by torchvision" in page


GOOD = [(row, ours(), side) for row, side in enumerate(SIDES)]


@pytest.mark.parametrize(
    "prompts, says",
    [
        (GOOD[:3], r"that are not there, of 4 that are asked: 1 \(rows 3\)"),
        ([*GOOD, GOOD[0]], r"that are there twice: 1 \(rows 0\)"),
        ([*GOOD, (440, ours(), "left")], r"rows that coco-two does not have, which has 440: 1 \(rows 440\)"),
        ([*GOOD[:3], (3, ours(), "left")], r"another answer than the data set: 1 \(rows 3\)"),
        ([(row, text, "left") for row, text, _ in GOOD], r"another answer .*: 3 \(rows 1, 2, 3\)"),
        ([*GOOD[:3], (3, ours().replace("<image>\n", ""), "below")], r"do not hold <image> just once: 1 \(rows 3\)"),
        ([*GOOD[:3], (3, f"<image>{ours()}", "below")], r"do not hold <image> just once: 1 \(rows 3\)"),
    ],
)
def test_rows_that_do_not_fit_are_refused_by_name_before_a_model_is_loaded(folder, prompts, says, monkeypatch, capsys):
    def never(options):
        raise AssertionError("a model was loaded")

    monkeypatch.setattr("adaptvis.commands.evaluate.load", never)
    file = put(folder / "own.jsonl", prompts)
    with pytest.raises(InputError, match=says):
        with_prompts(read_dataset("coco-two", folder), file, "coco-two")
    flags = [*FLAGS, "--folder", str(folder), "--out", str(folder / "out"), "--prompts", str(file)]
    assert adaptvis(flags) == 2 and "can not be asked; prompts" in capsys.readouterr().err


@pytest.mark.parametrize(
    "dataset, more, says",
    [
        ("shapes", [], "no prompts were released for shapes"),
        ("coco-two", ["--prompt", "chat"], "leave prompt='chat' (--prompt) out, or the file"),
        ("coco-two", ["--prompts", "nowhere.jsonl"], "nowhere.jsonl"),
    ],
)
def test_a_file_that_can_not_be_meant_is_refused(folder, capsys, dataset, more, says):
    where = [] if dataset == "shapes" else ["--folder", str(folder)]
    flags = ["evaluate", "--dataset", dataset, *where, "--prompts", str(released(folder)), *more]
    assert adaptvis([*flags, "--out", str(folder / "out")]) == 2
    assert says in capsys.readouterr().err


def test_a_file_of_another_data_set_is_refused_by_its_name(folder):
    file = released(folder, BENCHMARKS["vg-two"].prompts)
    with pytest.raises(InputError, match=r"holds the prompts of vg-two, and coco-two is asked: give COCO_QA_two_obj"):
        with_prompts(read_dataset("coco-two", folder), file, "coco-two")


def test_open_questions_given_to_statements_name_the_data_set_that_asks_them_and_it_does(tmp_path, capsys):
    (tmp_path / "train2017").mkdir()
    rows = [("on", 1), ("on", 0), ("under", 1)]
    lines = [
        {"image": f"{number}.jpg", "caption": f"The dog is {word} the cat.", "label": label, "relation": word}
        for number, (word, label) in enumerate(rows)
    ]
    (tmp_path / "test.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    for line in lines:
        Image.new("RGB", (60, 60), "red").save(tmp_path / "train2017" / line["image"])
    asked = paper_prompt(where_in_own_words("dog", "cat"))
    file = put(tmp_path / "VSR_with_answer.jsonl", [(n, asked, word) for n, (word, label) in enumerate(rows) if label])
    flags = [flag for flag in FLAGS if flag not in ("--dataset", "coco-two")]
    flags += ["--folder", str(tmp_path), "--prompts", str(file), "--out", str(tmp_path / "out")]
    assert adaptvis([*flags, "--dataset", "vsr"]) == 2
    said = capsys.readouterr().err
    assert "holds the prompts of vsr-open, and vsr is asked: ask vsr-open (--dataset vsr-open)" in said
    assert "or leave it out, as none were released for vsr" in said
    named = re.search(r"\(--dataset ([\w-]+)\)", said)[1]
    assert adaptvis([*flags, "--dataset", named]) == 0, capsys.readouterr().err
    assert pd.read_parquet(tmp_path / "out" / "answers.parquet")["prompt"].unique().tolist() == [asked]
    assert adaptvis([*flags, "--dataset", "vsr", "--prompts", str(file.rename(tmp_path / "own.jsonl"))]) == 2
    assert "VSR_with_answer.jsonl holds those of vsr-open, which reads the same files" in capsys.readouterr().err


def test_statements_given_the_prompts_of_other_files_are_not_sent_there(assets):
    samples = read_dataset("vsr", assets / "vsr", missing="keep")
    with pytest.raises(InputError, match="of vg-two, and vsr is asked: leave it out, as none were released for vsr$"):
        with_prompts(samples, assets / "adaptvis-prompts" / BENCHMARKS["vg-two"].prompts, "vsr")


def test_the_released_open_questions_go_onto_all_629_rows_and_27_differ(assets):
    samples = read_dataset("vsr-open", assets / "vsr", missing="keep")
    file = assets / "adaptvis-prompts" / BENCHMARKS["vsr-open"].prompts
    asked, record = with_prompts(samples, file, "vsr-open")
    assert (record["released"], record["rows"], record["differ"]) == (True, 629, 27)
    lines = {row["id"]: row["question"] for row in map(json.loads, file.read_text().splitlines())}
    assert all(sample.meta["paper_prompt"] == lines[sample.meta["row"]] for sample in asked)
    assert [replace(sample, meta={}) for sample in asked] == [replace(sample, meta={}) for sample in samples]


@pytest.mark.parametrize("name, n, differ", [("coco-two", 440, 440 - 68), ("vg-two", 291, 291 - 138)])
def test_the_released_files_count_is_that_of_the_audit(assets, name, n, differ):
    """Annotations that say what the prompts say stand for the data files, which are not here."""
    file = assets / "adaptvis-prompts" / BENCHMARKS[name].prompts
    samples = [sample_of(row, name) for row in map(json.loads, file.read_text().splitlines())]
    asked, record = with_prompts(samples, file, name)
    assert (record["released"], record["rows"], record["differ"]) == (True, n, differ)
    assert sum(Counter(record["why"]).values()) >= differ and len(asked) == n


def sample_of(row, name):
    """What our template would ask about the objects of a released prompt."""
    first, second = _taken_apart(row["question"])[0]
    question = where_in_relation(first, second, BENCHMARKS[name].options)
    gold = row["answer"][0].lower()
    return Sample(str(row["id"]), Path("x.jpg"), question, BENCHMARKS[name].options, gold, meta={"row": row["id"]})


def test_released_words_stand_beside_the_published_numbers_whatever_they_are():
    how = {"n": 233, "options": BENCHMARKS["vg-two"].options, "dataset": "vg-two", "asked": lambda text: f"{text} Hm."}
    evaluation = made_up_evaluation(("baseline", "scaling"), tuned=False, **how)
    by_id = dict(zip(evaluation.test["id"].unique(), official_split(291)[1], strict=True))
    for table in (evaluation.test, evaluation.answers):
        table["row"] = table["id"].map(by_id)
    known = {"dataset": "vg-two", "model": "llava-1.5-7b"}
    assert "other words" in measure_evaluation(evaluation, **known).left_out["published"]
    assert len(measure_evaluation(evaluation, **known, released=True).published) == 4
