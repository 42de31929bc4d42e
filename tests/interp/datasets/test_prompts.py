"""Released prompts: how many are ours letter for letter, why the others are not, and which of them are defective."""

import hashlib
import json

import pytest

from interp.__main__ import main
from interp.datasets import BENCHMARKS, compare_prompts, read_dataset, summarize_prompts
from interp.datasets.benchmarks.prompts import describe_prompts
from interp.errors import InputError
from interp.prompt.templates import is_or_are, paper_prompt, where_in_relation

RELEASED = [name for name, one in BENCHMARKS.items() if one.prompts]


@pytest.fixture(scope="module")
def tables(assets):
    return {name: compare_prompts(None, assets / "adaptvis-prompts" / BENCHMARKS[name].prompts) for name in RELEASED}


def rows_of(table, reason):
    return table.loc[[reason in why.split("; ") for why in table["why"]], "row"].tolist()


@pytest.mark.parametrize(
    ("name", "agree"),
    [
        ("controlled-a", 411),
        ("controlled-b", 408),
        ("coco-one", 2223),
        ("coco-two", 68),
        ("vg-one", 1060),
        ("vg-two", 138),
        ("vsr-open", 629),
    ],
)
def test_that_our_template_gives_the_released_prompts_where_they_are_regular(tables, name, agree):
    table = tables[name]
    assert len(table) == BENCHMARKS[name].n and int(table["agrees"].sum()) == agree
    assert (table["agrees"] == (table["prompt"] == table["ours"])).all()
    assert (table["agrees"] == (table["why"] == "")).all()  # every difference has a reason
    assert not {"other wording", "unknown form"} & set(summarize_prompts(table)["why"])


def test_that_the_known_defects_are_found(tables):
    two = tables["vg-two"]
    assert two.loc[two["leaks"], "row"].tolist() == rows_of(two, "states the answer") == [84, 215]
    assert two.loc[~two["offered"], "row"].tolist() == [56]
    assert len(rows_of(two, "offers left, right, front, behind, top or bottom")) == 6
    assert len(rows_of(two, "empty line before the answer")) == 80
    assert len(rows_of(tables["coco-one"], "double space")) == 11
    assert len(rows_of(tables["coco-two"], "double space")) == 155
    assert len(rows_of(tables["vg-one"], "double full stop")) == 94
    assert rows_of(tables["vg-one"], "offers behind or front") == [201, 1003]
    for name in RELEASED:
        if name != "vg-two":
            assert not tables[name]["leaks"].any() and tables[name]["offered"].all()


def test_that_the_answers_are_distributed_as_the_catalogue_says(tables):
    for name in RELEASED:
        if name != "vsr-open":
            assert summarize_prompts(tables[name])["labels"] == BENCHMARKS[name].labels
    assert tables["vsr-open"]["gold"].value_counts().to_dict()["under"] == 57


def test_that_the_checksums_are_those_of_the_released_files(assets):
    for name in RELEASED:
        content = (assets / "adaptvis-prompts" / BENCHMARKS[name].prompts).read_bytes()
        assert hashlib.sha256(content).hexdigest() == BENCHMARKS[name].prompts_sha256


def test_that_the_released_open_questions_cut_the_handbag_and_ours_do_not(assets):
    samples = read_dataset("vsr-open", assets / "vsr", missing="keep")
    table = compare_prompts(samples, assets / "adaptvis-prompts" / "VSR_with_answer.jsonl")
    assert len(table) == 629 and table["same_answer"].all()
    differ = table[~table["agrees"]]
    assert len(differ) == 27 and differ["names"].str.startswith("andbag|").all()
    assert differ["ours"].str.contains("Where is the handbag in").all()


def prompt(row, text, answer):
    return {"id": row, "question": text, "answer": answer}


def put(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


OURS = paper_prompt(where_in_relation("dog", "cat"))


def test_that_prompts_are_paired_with_samples_by_row(tmp_path):
    rows = [
        [1, "A photo of a dog above a cat", "A photo of a dog below a cat"],
        [2, "A photo of a dog to the left of a cat", "A photo of a dog to the right of a cat"],
        [3, "A photo of a cow to the left of a cat", "A photo of a cow to the right of a cat"],
    ]
    (tmp_path / "coco_qa_two_obj.json").write_text(json.dumps(rows))
    samples = read_dataset("coco-two", tmp_path, missing="keep")
    file = put(
        tmp_path / "own.jsonl", [prompt(2, OURS, ["Left"]), prompt(0, OURS, ["Below"]), prompt(9, OURS, ["Left"])]
    )
    table = compare_prompts(samples, file)
    assert table["row"].tolist() == [2, 0]
    assert table["why"].tolist() == ["other names than the data file", ""]
    assert table["same_answer"].tolist() == [True, False]
    assert summarize_prompts(table)["other_answer"] == [0]
    with pytest.raises(InputError, match="no prompt of .* belongs to one of the samples"):
        compare_prompts(samples[1:2], file)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (OURS, ""),
        (OURS.replace("USER: ", "USER:  "), "double space"),
        (OURS.replace("? ", "?\n"), "line break before the options"),
        (OURS.replace(" or ", ", or "), "comma before 'or'"),
        (OURS.replace("below.", "below.."), "double full stop"),
        (OURS.replace("above or below", "top or bottom"), "offers left, right, top or bottom"),
        (OURS.replace("\nASSIS", "\nA dog on the left.\nASSIS"), "states the answer"),
        (OURS.replace("\nASSIS", "\nA dog on the right.\nASSIS"), "text after the question"),
        (OURS.replace("Where is", "Where are"), "says are of a singular"),
        (OURS.replace("Where is", "Tell me where is"), "unknown form"),
        (
            OURS.replace("below.\n", "below.\n\n").replace("USER: ", "USER:  "),
            "double space; empty line before the answer",
        ),
    ],
)
def test_that_every_way_to_differ_is_named(tmp_path, text, why):
    table = compare_prompts(None, put(tmp_path / "own.jsonl", [prompt(0, text, ["Left"])]), name="coco-two")
    assert table["why"].tolist() == [why]
    assert table["agrees"].tolist() == [why == ""]


@pytest.mark.parametrize(
    ("rows", "name", "says"),
    [
        ([prompt(0, OURS, ["Left", "Right"])], "coco-two", "row 0 .*one answer"),
        ([prompt("0", OURS, ["Left"])], "coco-two", "row 0 .*not id"),
        ([prompt(0, OURS, ["Left"])], None, "no released prompt file"),
        ([prompt(0, OURS, ["Left"])], "vsr", "no prompts were released for vsr"),
        ([prompt(0, OURS, ["Left"])], "nothing", "no data set 'nothing'"),
    ],
)
def test_that_what_can_not_be_compared_is_refused(tmp_path, rows, name, says):
    with pytest.raises(InputError, match=says):
        compare_prompts(None, put(tmp_path / "own.jsonl", rows), name=name)


def test_that_plurals_get_the_verb_that_the_released_prompts_give_them(tables):
    """The only names that they use with both verbs, or against the rule, are scissors."""
    against = {
        names.split("|")[0]
        for name in RELEASED
        if name != "vsr-open"
        for names, text in zip(tables[name]["names"], tables[name]["prompt"], strict=True)
        if f"Where {is_or_are(names.split('|')[0])} the" not in text
    }
    assert against == {"scissors"}


def test_that_the_command_reports_the_comparison(assets, tables, capsys):
    file = str(assets / "adaptvis-prompts" / BENCHMARKS["vg-two"].prompts)
    assert main(["datasets", "vg-two", "--prompts", file]) == 0
    said = capsys.readouterr().out
    assert said.strip() == describe_prompts(tables["vg-two"])
    assert (
        "138 of 291" in said
        and "states the answer: rows 84, 215" in said
        and "do not offer the answer: rows 56" in said
    )
    assert main(["datasets", "vg-two", "--prompts", file, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["prompts"]["leaks"] == [84, 215]
