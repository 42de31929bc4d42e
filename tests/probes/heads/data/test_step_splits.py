"""Splits of stepped questions: no main question is torn apart, and leaks are named; the rule of annotations is kept."""

from dataclasses import replace
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interp.errors import InputError
from probes import Step, SteppedQuestion, keep_valid, refuse_leaks, split_by_question, synthetic_steps
from probes.heads.data.splits import of_split


def asked(name, *, group="", text=None, steps=1):
    made = tuple(Step(f"step {n}?", "yes", ("math",)) for n in range(steps))
    return SteppedQuestion(name, "made", (), text or f"question {name}?", "yes", made, group=group)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=4, max_size=40), st.integers(0, 3))
def test_that_groups_and_repeated_questions_stay_on_one_side(keys, seed):
    questions = [asked(f"{n}", group=f"g{group}", text=f"t{text}") for n, (group, text) in enumerate(keys)]
    try:
        train, test = split_by_question(questions, seed=seed)
    except InputError:
        joined = True  # everything hangs together, so no key may set a question apart
        for n, (group, text) in enumerate(keys):
            joined &= any(group == g or text == t for m, (g, t) in enumerate(keys) if m != n)
        assert joined
        return
    assert len(train) + len(test) == len(questions) and train and test
    assert not {one.group for one in train} & {one.group for one in test}
    assert not {one.question for one in train} & {one.question for one in test}
    refuse_leaks(train, test)


def test_that_four_of_five_are_train_and_the_draw_hangs_on_the_seed_alone():
    questions = [asked(f"{n:03d}") for n in range(100)]
    train, test = split_by_question(questions)
    assert (len(train), len(test)) == (80, 20)
    assert {one.split for one in train} == {"train"} and {one.split for one in test} == {"test"}
    assert split_by_question(questions) == (train, test)
    assert split_by_question(questions, seed=1)[0] != train
    backwards = split_by_question(questions[::-1])[0]
    assert {one.id for one in backwards} == {one.id for one in train}
    assert len(split_by_question(questions, share=0.5)[0]) == 50


def test_that_the_same_question_on_the_same_picture_is_one_main_question():
    first, second, third = synthetic_steps(3)
    twice = [first, replace(first, id="again", group="again"), second, third]
    for seed in range(8):
        for side in split_by_question(twice, share=0.5, seed=seed):
            assert ({"again", first.id} <= {one.id for one in side}) or not {"again", first.id} & {
                one.id for one in side
            }


def test_that_what_can_not_be_split_is_refused():
    with pytest.raises(InputError, match="2 questions lie in 1 bundle"):
        split_by_question([asked("a", group="g"), asked("b", group="g")])
    for wrong in ({"share": 0.0}, {"share": 1.0}, {"share": float("nan")}, {"seed": -1}):
        with pytest.raises(InputError):
            split_by_question([asked("a"), asked("b")], **wrong)


def test_that_a_leak_is_refused_with_its_count_and_its_cause():
    train = [asked("a", group="g"), asked("b"), asked("c", text="same?")]
    test = [asked("d", group="g"), asked("b"), asked("e", text="Same? "), asked("f")]
    with pytest.raises(
        InputError, match=r"3 questions of test leak.*group with a.*id with b.*question and image with c"
    ):
        refuse_leaks(train, test)
    refuse_leaks(train, [asked("f")])


def test_that_a_split_without_questions_is_refused_by_those_there_are():
    with pytest.raises(InputError, match="there are test, train"):
        of_split([replace(asked("a"), split="train"), replace(asked("b"), split="test")], "val")
    with pytest.raises(InputError, match="make splits"):
        of_split([asked("a")], "train")


def rule(votes, share=0.6):
    """The rule, written down step by step: None where the question goes, or else the places that stay."""
    steps = len(votes[0])
    for own in votes:
        if len([valid for valid in own if valid]) / steps < share:
            return None
    stay = [place for place in range(steps) if len([1 for own in votes if not own[place]]) < 2]
    return stay if len(stay) / steps >= share else None


def test_that_the_rule_of_sixty_per_cent_is_kept_for_every_vote_of_three():
    for steps in (1, 2, 3):
        for votes in product(product((True, False), repeat=steps), repeat=3):
            made = asked("q", steps=steps)
            kept, wanted = keep_valid([made], {"q": votes}), rule(votes)
            assert [len(one.steps) for one in kept] == ([] if wanted is None else [len(wanted)])
            if wanted is not None:
                assert [one.subquestion for one in kept[0].steps] == [f"step {place}?" for place in wanted]
                assert len(kept.dropped) == steps - len(wanted)
            else:
                assert [one.id for one in kept.dropped] == ["q"] and not kept.dropped[0].subquestion


def test_that_annotations_must_fit():
    made = asked("q", steps=2)
    for wrong in ({}, {"q": []}, {"q": [[True]]}, {"q": [[True, True]], "z": [[True]]}):
        with pytest.raises(InputError):
            keep_valid([made], wrong)
    with pytest.raises(InputError):
        keep_valid([made], {"q": [[True, True]]}, share=1.5)
