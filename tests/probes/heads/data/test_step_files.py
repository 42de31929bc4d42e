"""Files of stepped questions: what is written is read back; what is dirty is mended by name or refused by place."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from interp.errors import InputError
from interp.image.boxes import Box
from interp.objects.sample import Object
from probes import Step, SteppedQuestion, check_steps, read_steps, synthetic_steps, write_steps
from probes.heads.data.names import OWN_TITLES, VOCABULARIES, function_of, title_of
from probes.heads.functions import FUNCTIONS, TITLES

COGQA = [
    {
        "question": "Lee mows a lawn for $33 and mowed 16.\\nHow much did he earn?",
        "answer": "33 * 16 = $528.\n",
        "generated": [
            {"subquestion": "What is the price?", "answer": "$33", "cognitive_skill": "Retrieval"},
            {"subquestion": "What is a lawn?", "answer": "grass", "cognitive_skill": "Semantic Understanding"},
            {"subquestion": "What is 33 \u00d7 16?", "answer": "$528", "cognitive_skill": "Math Calculation"},
            {"subquestion": "Which is it?", "answer": "$528", "cognitive_skill": "Decision-making"},
        ],
    }
]


def question(**more):
    step = Step("Where is the mug?", "left", ("spatial",))
    made = {"id": "one", "source": "VSR", "images": (), "question": "Is it?", "answer": "yes", "steps": (step,)}
    return SteppedQuestion(**{**made, "group": "one", **more})


def put(folder, items, name="steps.json"):
    (folder / name).write_text(json.dumps(items), encoding="utf-8")
    return folder / name


def an_item(**more):
    step = {"subquestion": "Where is it?", "answer": "left", "cognitive_skill": ["Spatial Perception"]}
    return {"id": "a", "question": "Is it?", "answer": "yes", "generated": [step], **more}


@pytest.mark.parametrize("name", ["steps.json", "steps.jsonl"])
def test_that_what_is_read_and_written_again_is_the_same_to_the_byte(tmp_path, name):
    write_steps(synthetic_steps(5, labels="several", decide="yes_no"), tmp_path / "first" / name)
    once = read_steps(tmp_path / "first" / name)
    again = write_steps(once, tmp_path / "first" / f"again-{name}")
    assert again.read_bytes() == (tmp_path / "first" / name).read_bytes()
    assert read_steps(again).questions == once.questions


def test_that_a_question_keeps_everything_but_that_its_picture_is_a_file(tmp_path):
    made = synthetic_steps(3)
    read = read_steps(write_steps(made, tmp_path / "steps.json"))
    for before, after in zip(made, read, strict=True):
        with Image.open(after.images[0]) as image:
            assert np.array_equal(np.asarray(image), np.asarray(before.images[0]))
        for name in ("id", "source", "question", "answer", "steps", "options", "split", "group"):
            assert getattr(after, name) == getattr(before, name)
    assert not read.dropped and not read.repaired


def test_that_every_field_of_a_record_survives(tmp_path):
    for name in ("a.png", "b.png"):
        Image.new("RGB", (4, 4)).save(tmp_path / name)
    box = Object("mug", Box("mug", (0.5, 1.0, 3.0, 4.0)))
    steps = (
        Step("Wo ist die Tüte?", "links", ("spatial", "high_level"), ("links", "rechts"), (box, Object("Tüte"))),
        Step("How many?", "2", ("math",), meta={"from": "hand", "sure": True}),
    )
    images = (tmp_path / "a.png", tmp_path / "b.png")
    made = question(images=images, steps=steps, options=("yes", "no"), split="test", group="mugs")
    assert read_steps(write_steps([made], tmp_path / "steps.jsonl")).questions == (made,)


def test_that_a_file_of_cogqa_is_read_with_its_own_functions_and_written_as_it_was(tmp_path):
    path = tmp_path / "cogqa.json"
    path.write_text(json.dumps(COGQA, indent=4))
    read = read_steps(path)
    assert [step.functions for step in read[0].steps] == [("retrieval",), ("semantic",), ("math",), ("decision",)]
    assert read[0].images == () and read[0].id == read[0].group == "cogqa-00000" and read[0].source == "cogqa"
    assert write_steps(read, tmp_path / "again.json", form="cogqa").read_bytes() == path.read_bytes()


def test_that_one_name_means_what_its_vocabulary_says(tmp_path):
    path = put(tmp_path, COGQA)
    assert read_steps(path, names="cogvision", unknown="keep")[0].steps[1].functions == ("information",)
    assert read_steps(path, names="cogqa")[0].steps[1].functions == ("semantic",)


@pytest.mark.parametrize("vocabulary", VOCABULARIES)
def test_that_every_function_is_read_back_from_its_title(vocabulary):
    for name in FUNCTIONS:
        assert function_of(title_of(name, vocabulary), vocabulary) == function_of(name, vocabulary) == name
        assert function_of(TITLES[name].upper().replace("-", "_"), vocabulary) == name
    own = {
        "cogqa": "retrieval semantic syntactic inference logical",
        "cogvision": "inference vision_recall language_recall",
    }
    for name in own.get(vocabulary, " ".join(OWN_TITLES)).split():
        assert function_of(title_of(name, vocabulary), vocabulary) == name
    for short in ("Spatial", "Relational", "Low-Level", "High-Level", "Info", "Recall", "Math", "Decision"):
        assert function_of(short, vocabulary) in FUNCTIONS


def test_that_the_primary_label_is_first_whatever_its_place_in_the_list(tmp_path):
    step = {"subquestion": "Where?", "answer": "left", "cognitive_skill": ["Math", "High-Level", "Spatial"]}
    read = read_steps(put(tmp_path, [an_item(generated=[{**step, "primary": "Spatial"}, step], source="VSR")]))
    assert [one.functions for one in read[0].steps] == [
        ("spatial", "math", "high_level"),
        ("math", "high_level", "spatial"),
    ]


def test_that_answers_that_are_numbers_are_read_and_counted(tmp_path):
    step = {"subquestion": "What is 6 to the 4th?", "answer": 1296, "cognitive_skill": "Math Calculation"}
    read = read_steps(put(tmp_path, [an_item(generated=[step, {**step, "answer": 0.5}])]))
    assert [step.answer for step in read[0].steps] == ["1296", "0.5"]
    assert read.repaired == {"answer that is a number, read as text": 2}
    assert "mended 2" in read.describe()


def dirty(tmp_path):
    step = {"subquestion": "Why?", "answer": "so"}
    steps = [{**step, "cognitive_skill": label} for label in ("Inference", "Induction", "Self-Evaluation")]
    other = {**step, "cognitive_skill": ["Induction", "Math"], "primary": "Induction"}
    return put(
        tmp_path, [an_item(generated=steps), an_item(id="b", generated=steps[1:2]), an_item(id="c", generated=[other])]
    )


def test_that_unknown_functions_are_refused_with_their_count_and_place(tmp_path):
    with pytest.raises(
        InputError, match=r"4 fields.*item 0 of .*steps\.json.*generated\[1\]\.cognitive_skill has 'Induction'"
    ):
        read_steps(dirty(tmp_path))


def test_that_dropping_says_what_went_and_keeps_the_rest(tmp_path):
    read = read_steps(dirty(tmp_path), unknown="drop")
    assert [(one.id, [step.functions for step in one.steps]) for one in read] == [
        ("a", [("inference",)]),
        ("c", [("math",)]),
    ]
    assert Counter(one.why for one in read.dropped) == {
        "unknown function 'Induction'": 3,
        "unknown function 'Self-Evaluation'": 1,
        "none of its labels is a known function": 3,
        "no step was left": 1,
    }
    assert "left out 3: unknown function 'Induction' (the first in a)" in read.describe()


def test_that_kept_functions_are_named_and_survive(tmp_path):
    read = read_steps(dirty(tmp_path), unknown="keep")
    assert [step.primary for step in read[0].steps] == ["inference", "induction", "self_evaluation"]
    assert read[2].steps[0].functions == ("induction", "math")
    assert read.repaired["unknown function 'Induction' kept as 'induction'"] == 3
    again = write_steps(read, tmp_path / "again.json")
    assert read_steps(again, unknown="keep").questions == read.questions


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"question": None}, "question is missing"),
        ({"question": "  "}, "question is empty"),
        ({"answer": True}, "answer is True, no text"),
        ({"answer": "maybe", "options": ["yes", "no"]}, "answer is 'maybe', which is none of its options"),
        ({"options": ["yes", "yes"]}, "names an option twice"),
        ({"generated": []}, r"generated is \[\], no list of steps"),
        ({"generated": "x"}, "generated is 'x'"),
        ({"generated": [7]}, r"generated\[0\] is 7"),
        ({"split": "dev"}, "split is 'dev'"),
        ({"image": "../a.png"}, "image is '../a.png', which is no path below"),
        ({"image": ["a.png", 3]}, r"image\[1\] is 3"),
        ({"image": 7}, "image is 7"),
        ({"image": "a.png"}, "is not there"),
        ({"question": "\ud800"}, "broken letters"),
    ],
)
def test_that_the_checker_names_item_and_field(tmp_path, change, field):
    path = put(tmp_path, [an_item(), {**an_item(id="b"), **change}])
    found = check_steps(path)
    assert [one.item for one in found] == [1] and found[0].file == str(path)
    with pytest.raises(InputError, match=field):
        read_steps(path)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"subquestion": ""}, r"generated\[0\]\.subquestion is empty"),
        ({"answer": None}, r"generated\[0\]\.answer is missing"),
        ({"cognitive_skill": None}, r"generated\[0\]\.cognitive_skill is None"),
        ({"cognitive_skill": []}, r"cognitive_skill is \[\], no label"),
        ({"cognitive_skill": ["Math", 3]}, "no label"),
        ({"primary": "Math"}, r"generated\[0\]\.primary is 'Math', which is none of its labels"),
        ({"options": ["x", "y"]}, r"generated\[0\]\.answer is 'left', which is none of its options"),
        ({"objects": [{"box": None}]}, r"generated\[0\]\.objects\[0\] is .*no name"),
        ({"objects": [{"name": "mug", "box": [3, 0, 1, 2]}]}, r"objects\[0\]\.box is \[3, 0, 1, 2\]"),
        ({"objects": [{"name": "mug", "box": [0, 0, 1]}]}, r"objects\[0\]\.box is \[0, 0, 1\]"),
        ({"objects": [{"name": "mug", "box": "0 0 1 1"}]}, r"objects\[0\]\.box"),
        ({"meta": 3}, r"generated\[0\]\.meta is 3"),
    ],
)
def test_that_the_checker_names_the_step_too(tmp_path, change, field):
    step = {**an_item()["generated"][0], **change}
    path = put(tmp_path, [an_item(generated=[step])])
    assert len(check_steps(path)) == 1
    with pytest.raises(InputError, match=field):
        read_steps(path)


def test_that_equal_ids_and_questions_in_two_splits_are_found(tmp_path):
    path = put(tmp_path, [an_item(split="train"), an_item(), an_item(id="b", split="test")])
    found = check_steps(path)
    assert [(one.item, one.field) for one in found] == [(1, "id"), (2, "split")]
    assert "shares its question and image with a, of 'train'" in found[1].what


def test_that_all_problems_of_a_file_are_told_at_once(tmp_path):
    path = put(tmp_path, [an_item(id=f"{n}", answer=None) for n in range(22)])
    with pytest.raises(InputError, match=r"22 fields can not be used: item 0.*item 1.*item 19.*and 2 more"):
        read_steps(path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{}", "holds dict where a list"),
        ("[]", "is a list without rows"),
        ("not json", "is no JSON"),
        ('[{"a": 1}', "is no JSON"),
    ],
)
def test_that_a_file_that_is_no_list_or_holds_nothing_is_refused(tmp_path, text, said):
    (tmp_path / "steps.json").write_text(text)
    with pytest.raises(InputError, match=rf"steps\.json' {said}"):
        read_steps(tmp_path / "steps.json")


def test_that_arguments_that_mean_nothing_are_refused(tmp_path):
    path = put(tmp_path, [an_item()])
    for wrong in ({"unknown": "x"}, {"missing": "skip"}, {"names": "x"}, {"images": tmp_path / "no"}):
        with pytest.raises(InputError):
            read_steps(path, **wrong)
    with pytest.raises(InputError, match="no file"):
        read_steps(tmp_path / "absent.json")


def test_that_images_may_lie_elsewhere_and_may_be_absent(tmp_path):
    (tmp_path / "photos").mkdir()
    Image.new("RGB", (4, 4)).save(tmp_path / "photos" / "a.png")
    path = put(tmp_path, [an_item(image="a.png")])
    assert read_steps(path, images=tmp_path / "photos")[0].images == (tmp_path / "photos" / "a.png",)
    assert read_steps(path, missing="keep")[0].images == (tmp_path / "a.png",)


def test_that_nothing_is_written_of_what_can_not_be(tmp_path):
    for wrong, form in (
        ([question(images=(Path("/elsewhere/a.png"),))], "cogvsr"),
        ([question(id="a/b", images=(Image.new("RGB", (2, 2)),))], "cogvsr"),
        ([question(options=("yes", "no"))], "cogqa"),
        ([], "cogvsr"),
        ([question()], "csv"),
    ):
        with pytest.raises(InputError):
            write_steps(wrong, tmp_path / "out" / "steps.json", form=form)
    assert not list(tmp_path.rglob("*"))
