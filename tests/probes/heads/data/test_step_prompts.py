"""Queries of steps: what is shown of the main question and of earlier steps, whose answers, and as which samples."""

from pathlib import Path

import pytest
from PIL import Image

from interp.errors import InputError
from interp.objects.sample import Object
from interp.study.sample_checks import check_samples
from probes import QueryPrompt, Step, SteppedQuestion, step_queries, step_samples, synthetic_steps
from probes.heads.data.prompts import BARE, TERSE

SKILLS = ("retrieval", "math", "information", "decision")


def question(*images, name="q", skills=SKILLS):
    steps = tuple(Step(f"What is {n}?", f"right {n}", (skill,)) for n, skill in enumerate(skills))
    return SteppedQuestion(name, "made", images, "What is it all?", "all", steps, split="train", group="g")


def lines(place, **how):
    return QueryPrompt(**how).text(question(), place).split("\n")


def test_that_all_earlier_steps_are_shown_with_their_right_answers():
    assert lines(2) == [
        "Main question: What is it all?",
        "Q1: What is 0?",
        "A1: right 0",
        "Q2: What is 1?",
        "A2: right 1",
        "Question: What is 2?",
        TERSE,
    ]
    assert lines(0) == ["Main question: What is it all?", "Question: What is 0?", TERSE]


def test_that_retrieval_alone_is_shown_and_keeps_its_number():
    shown = lines(3, context="retrieval_only")
    assert [line for line in shown if line[0] in "QA" and line[1] in "123"] == [
        "Q1: What is 0?",
        "A1: right 0",
        "Q3: What is 2?",
        "A3: right 2",
    ]
    without = question(skills=("math", "decision"))
    assert "Q1" not in QueryPrompt(context="retrieval_only").text(without, 1)


def test_that_the_bare_prompt_is_the_step_word_for_word():
    assert BARE.text(question(), 3) == "What is 3?"
    assert lines(3, context="none") == ["Main question: What is it all?", "Question: What is 3?", TERSE]
    assert lines(3, context="none", main=False) == ["What is 3?", TERSE]


def test_that_own_answers_stand_where_the_right_ones_stood():
    one = question()
    own = {f"q/step-{n}": f"my\n own  {n}" for n in range(4)}
    for given in (own, lambda of, place: own[f"{of.id}/step-{place}"]):
        text = QueryPrompt().text(one, 2, given)
        assert "A1: my own 0\n" in text and "A2: my own 1\n" in text and "right" not in text
        asked = step_queries([one], given=given)
        assert [query.own for query in asked] == [False, True, True, True]
        assert asked[2].text == text and asked[2].answer == "right 2"


def test_that_answers_can_be_fed_forward_round_by_round():
    several, own = [question(), question(name="r", skills=SKILLS[:2])], {}
    for place in range(4):
        for query in step_queries(several, given=own, place=place):
            assert query.place == place
            own[query.id] = f"mine {query.id}"
    assert len(own) == 6
    assert "A1: mine r/step-0" in step_queries(several[1:], given=own, place=1)[0].text


def test_that_an_answer_that_is_not_given_is_refused_with_its_count():
    with pytest.raises(InputError, match="3 of 4 steps can not be asked: no answer is given to q/step-0"):
        step_queries([question()], given={})
    with pytest.raises(InputError, match="no steps to ask at place 9"):
        step_queries([question()], place=9)
    with pytest.raises(InputError, match="no step 4"):
        QueryPrompt().text(question(), 4)
    with pytest.raises(InputError, match="no context 'some'"):
        QueryPrompt(context="some")


def test_that_samples_pass_the_checks_of_a_study_and_say_what_they_are():
    made = synthetic_steps(4, labels="several")
    samples = step_samples(made)
    check_samples(samples, progress=False)
    assert len(samples) == 32 and {sample.group for sample in samples} == {one.id for one in made}
    for one, sample in zip([each for each in made for _ in each.steps], samples, strict=True):
        step = one.steps[sample.meta["step"]]
        assert (sample.answer, sample.options, sample.image) == (step.answer, step.options, one.images[0])
        assert sample.relation == sample.meta["function"] == step.primary
        assert sample.meta["functions"] == list(step.functions) and sample.meta["main_question"] == one.id
        assert sample.meta["split"] == "train" and sample.meta["earlier_answers"] == "reference"
        assert sample.meta["query"] == {"context": "all", "main": True, "instruction": TERSE}


def test_that_text_alone_is_asked_without_an_image_and_shown_to_a_model_with_a_given_one_only():
    texts = step_queries([question()])
    assert [query.functions for query in texts] == [(skill,) for skill in SKILLS]
    with pytest.raises(InputError, match=r"4 of 4 steps can not be shown.*q/step-0 is text alone"):
        step_samples([question()])
    grey = Image.new("RGB", (8, 8))
    samples = step_samples([question()], image=grey)
    check_samples(samples, progress=False)
    assert all(sample.image is grey and sample.meta["image_of"] == "placeholder" for sample in samples)
    own = step_samples([question(Path("a.png"))], image=grey)
    assert own[0].image == Path("a.png") and own[0].meta["image_of"] == "question"


def test_that_several_images_are_refused():
    with pytest.raises(InputError, match="4 of 8 steps can not be shown.*r/step-0 has 2 images"):
        step_samples([question(Path("a.png")), question(Path("a.png"), Path("b.png"), name="r")])


def test_that_an_object_named_twice_is_one_object():
    step = Step("Where?", "left", ("spatial",), objects=(Object("mug"), Object("mug"), Object("cup")))
    one = SteppedQuestion("q", "made", (Path("a.png"),), "Where?", "left", (step,))
    assert step_samples([one])[0].objects == (Object("mug"), Object("cup"))
    assert step_samples([one])[0].group == "q"
