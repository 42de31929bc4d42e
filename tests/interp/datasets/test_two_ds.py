"""2DS-style scenes: every answer is read off the boxes again, all categories are balanced, and nothing leans."""

from collections import Counter
from itertools import product

import numpy as np
import pytest

from interp.datasets import read_dataset
from interp.datasets.synthetic.outlines import FULL, cover_at, extent_at
from interp.datasets.synthetic.two_ds import (
    CATEGORIES,
    MARGIN,
    MIN_CANVAS,
    N_SCENES,
    SIDES,
    WORDS,
    outermost,
    plan,
    two_ds,
)
from interp.errors import InputError
from interp.study.sample_checks import check_samples

PLANS = {words: [plan(number, words=words) for number in range(N_SCENES)] for words in WORDS}
FAR = {"top": lambda x, y: -y, "bottom": lambda x, y: y, "left": lambda x, y: -x, "right": lambda x, y: x}


@pytest.fixture(scope="module", params=[("shapes", 336), ("all", 336), ("shapes", 112)], ids=str)
def drawn(request):
    words, side = request.param
    return two_ds(40 * len(CATEGORIES), words=words, side=side, seed=2, split="val"), side


def told(box, attribute):
    """What a question on one attribute says of an object."""
    color, shape = box.label.split()
    return {"color": color, "shape": shape, "shape-color": box.label}[attribute]


def test_what_is_at_a_side_is_the_outermost_box_by_the_margin(drawn):
    samples, side = drawn
    asked = [sample for sample in samples if sample.relation.endswith("absolute")]
    assert len(asked) == 3 * 40
    for sample in asked:
        where = sample.question.partition("?")[0].split()[-1]
        far = sorted(sample.meta["boxes"], key=lambda box: FAR[where](*box.centre))
        assert FAR[where](*far[-1].centre) - FAR[where](*far[-2].centre) >= MARGIN * side / 336 - 1
        assert sample.answer == told(far[-1], sample.relation.removesuffix("-absolute"))
        assert [(item.name, item.box) for item in sample.objects] == [(far[-1].label, far[-1])]


def test_relations_are_those_of_the_boxes_and_each_object_can_be_told(drawn):
    samples, side = drawn
    for sample in (sample for sample in samples if sample.relation.endswith("relative")):
        attribute = sample.relation.removesuffix("-relative")
        boxes, (first, second) = list(sample.meta["boxes"]), sample.objects
        said = Counter(told(box, attribute) for box in boxes)
        for item in sample.objects:
            name = told(item.box, attribute)
            assert item.name == item.box.label and item.box in boxes and said[name] == 1
            assert f"the {name}" in sample.question
        assert sample.question.index(told(first.box, attribute)) < sample.question.index(told(second.box, attribute))
        across, down = np.subtract(first.box.centre, second.box.centre)
        assert max(abs(across), abs(down)) >= (1.5 if side == 336 else 1.35) * min(abs(across), abs(down))
        wide = abs(across) > abs(down)
        assert sample.answer == (["left", "right"][int(across > 0)] if wide else ["above", "below"][int(down > 0)])


def test_a_box_is_the_extent_of_the_pixels_nearer_to_a_colour_than_to_white(drawn):
    samples, _ = drawn
    for sample in samples[:: 6 * 5]:
        pixels = 255 - np.asarray(sample.image).astype(int)
        for box in sample.meta["boxes"]:
            x0, y0, x1, y1 = (int(edge) for edge in box.xyxy)
            around = pixels[y0 - 2 : y1 + 2, x0 - 2 : x1 + 2].sum(-1)
            rows, columns = np.nonzero(2 * around > around.max())
            assert (columns.min(), rows.min(), columns.max(), rows.max()) == (2, 2, x1 - x0 + 1, y1 - y0 + 1)


def test_shapes_lie_inside_and_apart_and_no_two_look_alike(drawn):
    samples, side = drawn
    for sample in samples[::6]:
        boxes = list(sample.meta["boxes"])
        assert 2 <= len(boxes) == sample.meta["n_objects"] <= 6 and len({box.label for box in boxes}) == len(boxes)
        for number, box in enumerate(boxes):
            x0, y0, x1, y1 = box.xyxy
            assert min(x0, y0) > 0 and max(x1, y1) < side and 30 <= max(x1 - x0, y1 - y0) * 336 / side <= 68
            for a0, b0, a1, b1 in (other.xyxy for other in boxes[:number]):
                assert x1 < a0 or a1 < x0 or y1 < b0 or b1 < y0


@pytest.mark.parametrize("words", WORDS)
def test_the_answers_of_500_scenes_are_balanced_in_every_category_and_at_every_side(words):
    plans, (colors, shapes) = PLANS[words], WORDS[words]
    absolute = zip(("color", "shape", "both"), (colors, shapes, list(product(colors, shapes))), strict=True)
    for place, (name, answers) in enumerate(absolute):
        counts = Counter(getattr(one, name) for one in plans)
        uneven = 2 if (name, words) == ("both", "all") else 1
        assert set(counts) == set(answers) and max(counts.values()) - min(counts.values()) <= uneven
        at = Counter((one.sides[place], getattr(one, name)) for one in plans)
        assert len(at) == 4 * len(answers) and max(at.values()) - min(at.values()) <= 1
        assert set(Counter(one.sides[place] for one in plans).values()) == {125}
        assert set(Counter(one.directions[place] for one in plans).values()) == {125}
    assert Counter(one.n_objects for one in plans) == dict.fromkeys(range(2, 7), 100)
    assert all(one.color != one.both[0] and len(set(one.sides)) == 3 for one in plans)


def test_one_answer_tells_no_other_of_the_same_scene():
    plans = PLANS["shapes"]
    for first, second in ((0, 1), (0, 2), (1, 2)):
        joint = Counter((one.directions[first], one.directions[second]) for one in plans if one.n_objects > 2)
        assert len(joint) == 16 and max(joint.values()) < 45  # 25 each
    joint = Counter((one.color, one.both[1]) for one in plans)
    assert len(joint) == 24 and max(joint.values()) < 45


def test_a_scene_has_six_questions_and_the_set_500_scenes():
    samples = two_ds(6 * 7 + 2)
    assert [sample.relation for sample in samples[:6]] == list(CATEGORIES) == [s.meta["category"] for s in samples[:6]]
    assert len(samples) == 44 and samples[42].meta["scene"] == 7 and samples[43].meta["row"] == 43
    assert len({sample.id for sample in samples}) == 44 and len({sample.group for sample in samples}) == 8
    assert all(sample.image is samples[0].image for sample in samples[:6])
    assert two_ds.__defaults__ == (N_SCENES * 6,) == (3000,)


def test_scenes_are_the_same_whatever_the_number_and_the_canvas_and_others_with_another_seed_or_split():
    few, more, small = two_ds(12), two_ds(30), two_ds(12, side=112)
    assert [sample.image.tobytes() for sample in few] == [sample.image.tobytes() for sample in more[:12]]
    for sample, other in zip(few, small, strict=True):
        assert (sample.question, sample.answer, sample.options) == (other.question, other.answer, other.options)
        assert np.allclose(sample.meta["boxes"].xyxy / 3, other.meta["boxes"].xyxy, atol=1.5)
    others = [few, two_ds(12, seed=1), two_ds(12, split="train"), two_ds(12, words="all"), small]
    pictures = [{sample.image.tobytes() for sample in one} for one in others]
    assert len(set().union(*pictures)) == 10


def test_that_samples_can_be_asked_and_the_embedded_model_knows_all_their_words():
    from tokenizers import Tokenizer

    from interp.zoo import embedded_path

    words = Tokenizer.from_file(str(embedded_path("shapes-vlm") / "tokenizer.json"))
    known = two_ds(24)
    check_samples([*known, *two_ds(24, words="all", seed=1)], progress=False)
    unknown = words.token_to_id("<unk>")
    assert not any(unknown in words.encode(f"{s.question} {s.answer}").ids for s in known)
    for word in ("black", "star"):
        assert words.encode(word, add_special_tokens=False).ids == [unknown]


def test_that_the_set_is_read_by_its_name():
    samples = read_dataset("2ds-style", n=8)
    assert [s.id for s in samples] == [s.id for s in two_ds(8)] and samples[0].meta["dataset"] == "2ds-style"


def test_a_star_has_five_tips_on_its_circle_and_valleys_between_them():
    cover, left, top = cover_at("star", 100.0, (200.0, 200.0))
    y, x = np.indices(cover.shape)
    x, y = x + left + 0.5 - 200, y + top + 0.5 - 200
    turn, far, inside = np.degrees(np.arctan2(x, -y)) % 72, np.hypot(x, y), 2 * cover > FULL
    tip, valley = np.minimum(turn, 72 - turn) < 1, np.abs(turn - 36) < 1
    assert 95 <= far[inside & tip].max() <= 100 and far[inside & valley].max() == pytest.approx(38.2, abs=1.5)
    assert inside[far < 37].all() and not inside[far > 101].any()
    assert extent_at("star", 100.0, (200.0, 200.0)) == pytest.approx((105, 100, 295, 281), abs=2)


def test_the_outermost_is_none_where_the_runner_up_is_near():
    centres = np.array([[50.0, 200], [60, 20], [80, 100]])
    assert [outermost(centres, side) for side in SIDES] == [1, None, 0, None]


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"n": 0}, "n=0"),
        ({"words": "many"}, "words 'many'"),
        ({"side": MIN_CANVAS - 1}, "83 pixels"),
        ({"side": 112.5}, "112.5 pixels"),
        ({"split": "dev"}, "split 'dev'"),
        ({"seed": -1}, "seed -1"),
    ],
)
def test_what_can_not_be_is_refused(settings, says):
    with pytest.raises(InputError, match=says):
        two_ds(**{"n": 6, **settings})
