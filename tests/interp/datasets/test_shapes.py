"""Synthetic scenes: boxes count pixels, questions are clear and balanced, seeds give the same bytes, splits differ."""

from collections import Counter

import numpy as np
import pytest

from interp.datasets.synthetic.shapes import (
    COLORS,
    GAP,
    MIN_OFF_CENTRE,
    MIN_RATIO,
    SHAPES,
    SIDE,
    covered,
    draw_scene,
    place,
    questions,
    render,
    scene_rng,
    shapes,
)
from interp.errors import InputError


def scenes(n, n_objects=3):
    return [draw_scene(scene_rng("val", 5, index), n_objects=n_objects) for index in range(n)]


def test_a_box_is_the_extent_of_the_pixels_that_changed_colour():
    rng = scene_rng("val", 1, 0)
    for _ in range(40):
        (item,) = place(rng, 1)
        with_it, without = (render(objects, scene_rng("val", 2, 0)).astype(int) for objects in ((item,), ()))
        target = np.array(item.rgb)
        # a pixel is covered by more than half when it is nearer to the object's colour than to the background
        moved, whole = np.abs(with_it - without).sum(-1), np.abs(target - without).sum(-1)
        rows, columns = np.nonzero(moved > 0.55 * whole)
        x0, y0, x1, y1 = item.box.xyxy
        assert abs(x0 - columns.min()) <= 1 and abs(x1 - columns.max() - 1) <= 1
        assert abs(y0 - rows.min()) <= 1 and abs(y1 - rows.max() - 1) <= 1


def test_a_box_is_exactly_the_extent_of_the_mask():
    for scene in scenes(20):
        for item in scene.objects:
            rows, columns = np.nonzero(covered(item))
            assert item.box.xyxy == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)


def test_objects_lie_inside_apart_and_differ_in_colour_and_shape():
    for scene in scenes(60, 4):
        assert len({item.color for item in scene.objects}) == len({item.shape for item in scene.objects}) == 4
        for number, item in enumerate(scene.objects):
            x0, y0, x1, y1 = item.box.xyxy
            assert min(x0, y0) >= GAP and max(x1, y1) <= SIDE - GAP
            for other in scene.objects[:number]:
                a0, b0, a1, b1 = other.box.xyxy
                assert x1 + GAP <= a0 or a1 + GAP <= x0 or y1 + GAP <= b0 or b1 + GAP <= y0


def test_only_clear_placements_are_asked_about():
    asked = Counter()
    for scene in scenes(100):
        for question in questions(scene.objects):
            asked[question.kind] += 1
            if question.kind == "relation":
                (x, y), (u, v) = (item.box.centre for item in question.objects)
                across, down = x - u, y - v
                large, small = sorted((abs(across), abs(down)), reverse=True)
                assert large >= MIN_RATIO * small
                horizontal = ("left" if across < 0 else "right") if abs(across) > abs(down) else None
                assert question.answer == (horizontal or ("above" if down < 0 else "below"))
            elif question.kind == "photo":
                across, down = (value - SIDE / 2 for value in question.objects[0].box.centre)
                assert max(abs(across), abs(down)) >= MIN_OFF_CENTRE * SIDE
                horizontal = ("left" if across < 0 else "right") if abs(across) > abs(down) else None
                assert question.answer == (horizontal or ("top" if down < 0 else "bottom"))
    assert asked["color"] == asked["shape"] == 300 and asked["relation"] > 100 and asked["photo"] > 100


def test_swapping_subject_and_reference_turns_the_answer_round():
    turned = {"left": "right", "right": "left", "above": "below", "below": "above"}
    for scene in scenes(30):
        answers = {q.objects: q.answer for q in questions(scene.objects, ("relation",))}
        assert all(answers[second, first] == turned[answer] for (first, second), answer in answers.items())


def test_the_answers_of_every_kind_are_balanced():
    for kind, options in (("relation", 4), ("photo", 4), ("color", len(COLORS)), ("shape", len(SHAPES))):
        counts = Counter(sample.answer for sample in shapes(12 * 4, kinds=(kind,)))
        assert len(counts) == options and len(set(counts.values())) == 1


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others():
    first, again, other = (shapes(20, seed=seed) for seed in (3, 3, 4))
    assert [s.image.tobytes() for s in first] == [s.image.tobytes() for s in again]
    assert [(s.question, s.answer, s.objects) for s in first] == [(s.question, s.answer, s.objects) for s in again]
    assert not {s.image.tobytes() for s in first} & {s.image.tobytes() for s in other}


def test_no_scene_of_one_split_is_in_another():
    pictures = [{s.image.tobytes() for s in shapes(60, split=split)} for split in ("train", "val", "test")]
    assert sum(map(len, pictures)) == len(set().union(*pictures)) == 180


def test_a_question_names_its_objects_in_order_and_carries_their_boxes():
    for sample in shapes(12, kinds=("relation",)):
        subject, reference = sample.objects
        assert sample.question.startswith(f"Where is the {subject.name} in relation to the {reference.name}?")
        boxes = {box.label: box for box in sample.meta["boxes"]}
        assert boxes[subject.name] == subject.box and boxes[reference.name] == reference.box
        assert sample.answer in sample.options


@pytest.mark.parametrize(
    "call",
    [
        lambda: scene_rng("nope", 0, 0),
        lambda: scene_rng("test", -1, 0),
        lambda: draw_scene(0, n_objects=5),
        lambda: shapes(2, kinds=("size",)),
        lambda: shapes(2, kinds=("relation",), n_objects=(1, 2)),
        lambda: shapes(2, kinds=()),
    ],
)
def test_what_does_not_exist_is_refused(call):
    with pytest.raises(InputError):
        call()
