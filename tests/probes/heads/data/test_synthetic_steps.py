"""Synthetic steps: their answers follow from the scene, no function is told by one answer, word or place."""

import json
import re
from collections import Counter, defaultdict
from importlib.resources import files

import numpy as np
import pytest

from interp import HookedVLM
from interp.datasets.synthetic.shapes import COLORS, SHAPES, SIDE
from interp.errors import InputError
from probes import step_samples, synthetic_steps
from probes.heads.data.prompts import BARE
from probes.heads.data.wording import CUES, OPTIONS
from probes.heads.functions import FUNCTIONS

N = 120


@pytest.fixture(scope="module", params=["which", "yes_no"])
def made(request):
    return synthetic_steps(N, decide=request.param)


@pytest.fixture(scope="module")
def steps(made):
    return [step for one in made for step in one.steps]


def centre(thing):
    x0, y0, x1, y1 = thing.box.xyxy
    return np.array([(x0 + x1) / 2, (y0 + y1) / 2])


def side_of(vector, names):
    """The axis on which a vector is longer, and its sign there, as one of left, right, top, bottom."""
    axis = int(abs(vector[1]) > abs(vector[0]))
    return names[2 * axis + int(vector[axis] > 0)]


def everything(one):
    return next(step.objects for step in one.steps if step.primary == "math")


def test_that_every_question_has_one_step_of_each_function(made):
    for one in made:
        assert sorted(step.primary for step in one.steps) == sorted(FUNCTIONS)
        assert all(step.answer in step.options and len(step.functions) == 1 for step in one.steps)
        assert one.answer == next(step.answer for step in one.steps if step.primary == "decision")
        assert one.answer in one.options and one.split == "train" and one.group == one.id


def test_that_answers_follow_from_the_boxes(made):
    for one in made:
        for step in one.steps:
            named = [thing.name for thing in step.objects]
            if step.primary == "math":
                assert step.answer == str(len(set(named))) == str(len(named))
            if step.primary == "spatial":
                off = centre(step.objects[0]) - SIDE / 2
                assert (
                    step.answer == side_of(off, ("left", "right", "top", "bottom")) and np.abs(off).max() > 0.15 * SIDE
                )
            if step.primary == "relational":
                first, second = map(centre, step.objects)
                assert step.answer == side_of(first - second, ("left", "right", "above", "below"))
                assert step.subquestion.find(named[0]) >= 0 and step.subquestion.find(named[1]) >= 0
            if step.primary == "low_level":
                assert f"{step.answer} {named[0].split()[1]}" == named[0] and named[0].split()[1] in step.subquestion
            if step.primary == "high_level":
                assert f"{named[0].split()[0]} {step.answer}" == named[0] and named[0].split()[0] in step.subquestion


def test_that_a_colour_or_shape_asked_for_is_in_the_scene_once(made):
    for one in made:
        names = [thing.name.split() for thing in everything(one)]
        assert len({color for color, _ in names}) == len({shape for _, shape in names}) == len(names)


def test_that_pixels_at_each_box_have_its_colour(made):
    for one in made[:30]:
        pixels = np.asarray(one.images[0]).astype(float)
        for thing in everything(one):
            color, shape = thing.name.split()
            x, y = centre(thing)
            y += 4 * (shape == "triangle")
            inside = pixels[int(y) - 1 : int(y) + 2, int(x) - 1 : int(x) + 2].mean(axis=(0, 1))
            assert min(COLORS, key=lambda name: np.abs(np.array(COLORS[name]) - inside).sum()) == color


def test_that_the_main_question_is_answered_by_the_boxes(made):
    for one in made:
        boxes = {thing.name: centre(thing) for thing in everything(one)}
        names = re.findall(rf"(?:{'|'.join(COLORS)}) (?:{'|'.join(SHAPES)})", one.question)
        (asked,) = [word for word in ("left", "right", "above", "below") if f" {word}" in one.question]
        lies = side_of(boxes[names[0]] - boxes[names[1]], ("left", "right", "above", "below"))
        if one.options == ("yes", "no"):
            assert one.answer == ("yes" if lies == asked else "no")
        else:
            opposite = {"left": "right", "right": "left", "above": "below", "below": "above"}
            assert lies in (asked, opposite[asked])
            assert one.answer == (names[0] if lies == asked else names[1]).split()[1]


def test_that_information_is_read_off_the_main_question_and_recall_off_the_bank(made):
    for one in made:
        names = re.findall(rf"({'|'.join(COLORS)}) ({'|'.join(SHAPES)})", one.question)
        for step in one.steps:
            kind = str(step.meta["kind"]).partition(" ")[2]
            if step.primary == "information":
                assert one.question in step.subquestion and not step.objects
                if kind == "side":
                    assert f" {step.answer}" in one.question
                else:
                    place = "second" in step.subquestion.replace(one.question, "")
                    assert step.answer == names[place][kind == "shape"]
            if step.primary == "recall":
                assert any(cue in step.subquestion for cue in CUES[kind][step.answer]) and not step.objects


def right_by_one_word(steps):
    """How often the best single word is right, for each function and list of options, and how often chance is."""
    of = defaultdict(list)
    for step in steps:
        key = tuple(sorted(step.options)) if step.primary != "decision" or "yes" in step.options else SHAPES
        of[step.primary, key].append(step.answer)
    return {key: (max(Counter(own).values()) / len(own), 1 / len(set(key[1])), len(own)) for key, own in of.items()}


def test_that_no_single_word_is_right_more_often_than_chance(steps):
    for key, (best, chance, n) in right_by_one_word(steps).items():
        assert best <= chance + 3.5 / n, key


def test_that_saying_yes_is_no_spatial_answer(steps):
    right = Counter(step.primary for step in steps if step.answer == "yes")
    assert set(right) <= {"decision"} and right["decision"] in (0, N // 2)


def test_that_always_naming_the_first_of_two_is_right_half_of_the_time(made):
    first = sum(one.answer == one.options[0] for one in made)
    assert first == N // 2


def test_that_answers_of_one_step_do_not_tell_those_of_another(made):
    told = defaultdict(Counter)
    for one in made:
        answers = {step.primary: step.answer for step in one.steps}
        told["relational", "spatial"][answers["relational"], answers["spatial"]] += 1
        told["math", "relational"][answers["math"], answers["relational"]] += 1
    for pair, counted in told.items():
        rows, columns = (sorted({key[side] for key in counted}) for side in (0, 1))
        table = np.array([[counted[row, column] for column in columns] for row in rows], dtype=float)
        expected = table.sum(1, keepdims=True) * table.sum(0) / table.sum()
        # 27.9 is the 99.9 % point of 9 degrees of freedom; blocks of four against blocks of four spread 4/3 as much
        assert ((table - expected) ** 2 / expected).sum() < 27.9 * 4 / 3, pair


def words_of(step):
    return set(re.findall(r"[a-z0-9]+", step.subquestion.lower()))


def test_that_no_function_is_told_by_one_word_of_its_own(steps):
    for function in FUNCTIONS:
        own = set.intersection(*(words_of(step) for step in steps if step.primary == function))
        other = set.union(*(words_of(step) for step in steps if step.primary != function))
        assert own <= other, (function, own - other)
        assert len({step.meta["template"] for step in steps if step.primary == function}) >= 2


def test_that_every_list_of_options_but_the_digits_is_shared_by_two_functions():
    lists = defaultdict(set)
    for function in ("spatial", "relational", "low_level", "high_level", "math"):
        lists[OPTIONS[function]].add(function)
    for kind, functions in (("side", "information"), ("opposite", "recall")):
        lists[OPTIONS[kind]].add(functions)
    for kind in ("color", "shape"):
        lists[OPTIONS[kind]] |= {"information", "recall"}
    lists[OPTIONS["edge"]].add("recall")
    assert lists.pop(OPTIONS["math"]) == {"math"}
    assert all(len(functions) >= 2 for functions in lists.values())


def test_that_no_function_has_a_place_of_its_own_but_that_the_decision_follows_the_relation(made):
    places = defaultdict(Counter)
    for one in made:
        order = [step.primary for step in one.steps]
        assert order.index("decision") > order.index("relational")
        for place, function in enumerate(order):
            places[function][place] += 1
    for function in set(FUNCTIONS) - {"decision", "relational"}:
        assert len(places[function]) == 8 and max(places[function].values()) < 0.3 * N


def test_that_the_same_seed_gives_the_same_and_a_larger_set_begins_with_the_smaller():
    few, more = synthetic_steps(5), synthetic_steps(9)
    for one, same in zip(few, more, strict=False):
        assert (one.id, one.question, one.steps) == (same.id, same.question, same.steps)
        assert one.images[0].tobytes() == same.images[0].tobytes()
    assert synthetic_steps(5, seed=1)[0].images[0].tobytes() != few[0].images[0].tobytes()


def test_that_splits_share_no_scene():
    pictures = [
        {one.images[0].tobytes() for one in synthetic_steps(20, split=split, seed=seed)}
        for split, seed in (("train", 0), ("test", 0), ("val", 0), ("train", 1))
    ]
    assert len(set.union(*pictures)) == 80


def test_that_answers_are_single_tokens_of_the_embedded_model(steps):
    vocabulary = json.loads(files("interp.zoo.vlm").joinpath("weights/tokenizer.json").read_text())["model"]["vocab"]
    outside = {word for step in steps for word in step.options} - set(vocabulary)
    assert outside in (set(), {"yes", "no"})


def test_that_several_labels_keep_the_primary_one_first():
    step = {one.primary: one for one in synthetic_steps(1, labels="several")[0].steps}
    assert step["spatial"].functions == ("spatial", "high_level") and step["math"].functions == ("math",)
    assert step["decision"].functions == ("decision", "relational")


def test_that_what_does_not_exist_is_refused():
    for wrong in ({"n": 0}, {"decide": "maybe"}, {"labels": "two"}, {"split": "dev"}, {"seed": -1}):
        with pytest.raises(InputError):
            synthetic_steps(**{"n": 2, **wrong})


def test_that_the_embedded_model_answers_the_forms_it_was_trained_on():
    vlm = HookedVLM.from_pretrained("shapes-vlm", self_check=False)
    asked = [sample for sample in step_samples(synthetic_steps(24, split="test"), BARE) if sample.meta["trained_form"]]
    inputs = vlm.prepare([sample.image for sample in asked], [sample.question for sample in asked])
    said = [text.strip() for text in vlm.generate(inputs, 1).texts]
    right = defaultdict(list)
    for sample, word in zip(asked, said, strict=True):
        familiar = sample.relation != "relational" or sample.answer in ("left", "right")  # above and below were rare
        right[sample.relation] += [word == sample.answer] * familiar
    assert set(right) == {"spatial", "relational", "low_level", "high_level"}
    assert min(map(len, right.values())) >= 3 and min(map(np.mean, right.values())) > 0.7
