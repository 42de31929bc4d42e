"""Sets of four: whole, balanced, true to their words by their pixels alone, the same bytes for the same seed."""

import hashlib
from collections import Counter
from itertools import permutations

import numpy as np
import pytest

from interp.datasets.synthetic.quartets import (
    MAX_DROP,
    MAX_HIDDEN,
    MAX_LEAN,
    MAX_TILT,
    MIN_APART,
    MIN_DROP,
    MIN_HIDDEN,
    WORDS,
    arrange,
    choose_pair,
    place_relation,
    quartets,
)
from interp.datasets.synthetic.shapes import (
    COLORS,
    GAP,
    MAX_RADIUS,
    MIN_RADIUS,
    SHAPES,
    SIDE,
    SPLITS,
    covered,
    render,
    scene_rng,
    shapes,
)
from interp.errors import InputError
from interp.image.boxes import Boxes

SETS = 40


@pytest.fixture(scope="module")
def sets():
    """For each kind of words, sets of four samples by relation."""
    samples = {words: quartets(SETS, words=words, split="val", seed=5) for words in WORDS}
    return {words: [_by_answer(all_[i : i + 4]) for i in range(0, len(all_), 4)] for words, all_ in samples.items()}


def _by_answer(four):
    return {sample.answer: sample for sample in four}


def seen(sample):
    """Masks [height width] of what the subject and the reference show, by solving each pixel for its mix of colours.

    A pixel is so much of the one colour, so much of the other, and some grey: three numbers from three channels.
    """
    pixels = np.asarray(sample.image, dtype=float)
    words = [COLORS[item.name.split()[0]] for item in sample.objects]
    near = [(abs(pixels - color) <= 17).all(-1) for color in words]  # the tint of an object and the grain, together
    mixed = np.array([*(np.median(pixels[mask], axis=0) for mask in near), np.ones(3)])
    shares = pixels @ np.linalg.inv(mixed)
    return shares[..., 0] > 0.5, shares[..., 1] > 0.5


def extent(mask):
    rows, columns = np.nonzero(mask)
    return columns.min(), rows.min(), columns.max() + 1, rows.max() + 1


def middle(mask):
    x0, y0, x1, y1 = extent(mask)
    return (x0 + x1) / 2, (y0 + y1) / 2


def gap(above, below):
    """Background pixels between two masks, in the column where they come nearest."""
    both = above.any(0) & below.any(0)
    bottoms, tops = SIDE - above[::-1].argmax(0), below.argmax(0)
    return (tops - bottoms)[both].min()


def every(sets, *relations):
    return [four[relation] for all_ in sets.values() for four in all_ for relation in relations if relation in four]


@pytest.mark.parametrize("words", WORDS)
def test_that_a_set_is_one_pair_asked_about_once_in_each_relation(sets, words):
    for number, four in enumerate(sets[words]):
        assert tuple(four) == WORDS[words]
        group = f"shapes-{words}-val-5-{number:05d}"
        assert {sample.group for sample in four.values()} == {group}
        assert len({tuple(item.name for item in sample.objects) for sample in four.values()}) == 1
        assert len({sample.question for sample in four.values()}) == 1
        for turn, (relation, sample) in enumerate(four.items()):
            subject, reference = (item.name for item in sample.objects)
            assert sample.id == f"{group}-{relation}" and sample.relation == relation
            assert sample.options == WORDS[words]
            assert sample.question.startswith(
                f"Where is the {subject} in relation to the {reference}? Answer with left"
            )
            assert sample.question.endswith(" on or under." if words == "a" else " front or behind.")
            assert sample.meta["pair"] == ("left-right", "on-under" if words == "a" else "front-behind")[turn // 2]
            assert (sample.meta["dataset"], sample.meta["kind"]) == (f"shapes-{words}", "relation")
            assert (sample.meta["set"], sample.meta["row"]) == (number, 4 * number + turn)
            assert sample.image.size == (SIDE, SIDE)


def test_that_each_relation_is_the_answer_equally_often(sets):
    for words, all_ in sets.items():
        counts = Counter(answer for four in all_ for answer in four)
        assert counts == dict.fromkeys(WORDS[words], SETS)


def test_that_an_object_left_or_right_lies_level_and_apart_by_its_pixels(sets):
    for sample in every(sets, "left", "right"):
        subject, reference = seen(sample)
        first, second = (subject, reference) if sample.answer == "left" else (reference, subject)
        assert extent(second)[0] - extent(first)[2] >= MIN_APART - 1
        assert abs(middle(subject)[1] - middle(reference)[1]) <= MAX_TILT + 1


def test_that_an_object_on_or_under_touches_by_its_pixels_with_centres_one_above_the_other(sets):
    for sample in every(sets, "on", "under"):
        subject, reference = seen(sample)
        above, below = (subject, reference) if sample.answer == "on" else (reference, subject)
        assert 0 <= gap(above, below) <= 1  # two halves of a pixel of the edge may look like background
        assert middle(below)[1] - middle(above)[1] >= 2 * MIN_RADIUS * 7 / 8 - 1
        assert abs(middle(subject)[0] - middle(reference)[0]) <= MAX_LEAN + 1


def test_that_the_one_in_front_is_whole_and_lower_and_hides_a_quarter_to_three_fifths_by_its_pixels(sets):
    for four in sets["b"]:
        whole = [mask.sum() for mask in seen(four["left"])]
        for relation in ("front", "behind"):
            front, back = (0, 1) if relation == "front" else (1, 0)
            masks = seen(four[relation])
            share = 1 - masks[back].sum() / whole[back]
            assert abs(masks[front].sum() / whole[front] - 1) < 0.02  # its edge is blended with another colour
            assert MIN_HIDDEN - 0.04 < share < MAX_HIDDEN + 0.04
            assert abs(share - four[relation].meta["occluded"]) < 0.04
            assert extent(masks[front])[3] - extent(masks[back])[3] >= MIN_DROP - 1
            assert middle(masks[front])[1] > middle(masks[back])[1] + MIN_DROP


def test_that_nothing_is_hidden_in_the_other_relations(sets):
    for sample in every(sets, "left", "right", "on", "under"):
        assert sample.meta["occluded"] == 0
        assert sample.meta["full_boxes"] == sample.meta["boxes"]


def test_that_boxes_are_the_extent_of_the_pixels_that_can_be_seen(sets):
    for sample in every(sets, "left", "right", "on", "under", "front", "behind"):
        assert sample.meta["boxes"].items == tuple(item.box for item in sample.objects)
        for item, mask in zip(sample.objects, seen(sample), strict=True):
            assert item.box.label == item.name
            assert np.abs(np.subtract(item.box.xyxy, extent(mask))).max() <= 1


def test_that_full_boxes_have_the_size_of_the_whole_objects_and_hold_what_can_be_seen(sets):
    for all_ in sets.values():
        for four in all_:
            sizes = [np.diff(sample.meta["full_boxes"].xyxy.reshape(2, 2, 2), axis=1) for sample in four.values()]
            assert all((size == sizes[0]).all() for size in sizes)
    for sample in every(sets, "front", "behind"):
        part, full = sample.meta["boxes"].xyxy, sample.meta["full_boxes"].xyxy
        hidden = 1 if sample.answer == "front" else 0
        assert (part[1 - hidden] == full[1 - hidden]).all()
        assert (part[hidden, :2] >= full[hidden, :2]).all() and (part[hidden, 2:] <= full[hidden, 2:]).all()


def test_that_everything_lies_inside_the_canvas(sets):
    for sample in every(sets, "left", "right", "on", "under", "front", "behind"):
        corners = sample.meta["full_boxes"].xyxy
        assert corners.min() >= GAP and corners.max() <= SIDE - GAP
        pixels = np.asarray(sample.image, dtype=int)
        assert all((np.ptp(edge, axis=-1) == 0).all() for edge in (pixels[[0, -1]], pixels[:, [0, -1]]))  # grey


def test_that_the_background_of_a_set_stays_the_same(sets):
    for all_ in sets.values():
        for four in all_:
            grey = [np.ptp(np.asarray(sample.image, dtype=int), axis=-1) == 0 for sample in four.values()]
            first, *others = [np.asarray(sample.image) for sample in four.values()]
            for mask, other in zip(grey[1:], others, strict=True):
                shared = mask & grey[0]
                assert shared.sum() > SIDE * SIDE / 2 and (first[shared] == other[shared]).all()


def test_that_the_offset_across_tells_nothing_of_front_and_behind_or_of_on_and_under():
    leans = Counter()
    for words in WORDS:
        for number in range(400):
            rng = scene_rng("val", 1, number, family=(9,))
            pair = choose_pair(rng, words)
            placed = [arrange(rng, pair, relation) for relation in WORDS[words][2:]]
            across = {item.subject.centre[0] - item.reference.centre[0] for item in placed}
            assert len(across) == 1 and abs(min(across)) <= MAX_LEAN + 0.5
            leans[np.sign(min(across))] += 1
    assert abs(leans[1] - leans[-1]) < 3 * (leans[1] + leans[-1]) ** 0.5


@pytest.mark.parametrize("words", WORDS)
def test_that_every_pair_of_shapes_can_be_placed_in_every_relation(words):
    rng, pairs = scene_rng("val", 2, 0, family=(9,)), set()
    for turn in range(400):
        relation = WORDS[words][turn % 4]
        subject, reference, order = placed = place_relation(rng, words, relation)
        pairs.add((subject.shape, reference.shape))
        assert subject.color != reference.color and set(order) == {subject, reference}
        assert all(MIN_RADIUS <= item.radius <= MAX_RADIUS for item in order)
        assert render(order, rng).shape == (SIDE, SIDE, 3)
        shared = (covered(subject) & covered(reference)).sum()
        if relation in ("front", "behind"):
            back, front = order
            assert front == (subject if relation == "front" else reference)
            assert MIN_HIDDEN <= placed.hidden_share <= MAX_HIDDEN
            # Pixels that the one covers by just more than half, and the other by nearly half, show little of either.
            assert -1e-9 < placed.hidden_share - shared / covered(back).sum() < 0.04
            assert MIN_DROP <= front.centre[1] - back.centre[1] <= MAX_DROP + 0.5
        else:
            assert shared == placed.hidden_share == 0
        if relation in ("on", "under"):
            above, below = (subject, reference) if relation == "on" else (reference, subject)
            assert gap(covered(above), covered(below)) == 0
    assert pairs == set(permutations(SHAPES, 2))


def digest(samples):
    """Hash of the pictures and of all that is said of them."""
    out = hashlib.sha256()
    for sample in samples:
        meta = {name: one.items if isinstance(one, Boxes) else one for name, one in sample.meta.items()}
        said = (sample.id, sample.question, sample.answer, sample.objects, sorted(meta.items()))
        out.update(sample.image.tobytes() + repr(said).encode())
    return out.hexdigest()[:16]


def test_that_a_seed_gives_the_same_bytes_whatever_the_number_of_sets_and_another_seed_others():
    first, longer, other = quartets(4, seed=3), quartets(6, seed=3), quartets(4, seed=4)
    assert digest(first) == digest(longer[:16]) != digest(other)
    assert not {sample.image.tobytes() for sample in first} & {sample.image.tobytes() for sample in other}


def test_that_sets_and_scenes_are_drawn_as_they_ever_were():
    assert digest(quartets(5, words="a", seed=1)) == "d06321e1f6a13927"
    assert digest(quartets(5, words="b", seed=1)) == "7aae1a1bc1aa7a10"
    scenes = shapes(24, seed=1, n_objects=(2, 3, 4), kinds=("relation", "photo", "color", "shape"))
    assert digest(scenes) == "562296d6161e9399"


def test_that_no_picture_of_one_split_or_of_one_kind_of_words_is_in_another():
    drawn = [{s.image.tobytes() for s in quartets(15, words=words, split=split)} for words in WORDS for split in SPLITS]
    assert sum(map(len, drawn)) == len(set().union(*drawn)) == 6 * 60


def test_that_streams_of_sets_never_meet_each_other_nor_those_of_scenes(monkeypatch):
    states = Counter()

    def watched(*key, **more):
        rng = scene_rng(*key, **more)
        states[rng.bit_generator.state["state"]["state"]] += 1
        return rng

    monkeypatch.setattr("interp.datasets.synthetic.quartets.scene_rng", watched)
    keys = [(split, seed, index) for split in SPLITS for seed in range(3) for index in range(4)]
    for split, seed in {key[:2] for key in keys}:
        for words in WORDS:
            quartets(4, words=words, split=split, seed=seed)
    assert len(states) == 2 * len(keys)
    for key in keys:
        watched(*key)
    assert len(states) == 3 * len(keys) and set(states.values()) == {1}


@pytest.mark.parametrize("call", [lambda n: quartets(n), lambda n: quartets(n, words="b")])
@pytest.mark.parametrize("n_sets", [0, -1])
def test_that_no_sets_are_refused(call, n_sets):
    with pytest.raises(InputError, match=f"{n_sets} sets"):
        call(n_sets)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: quartets(1, words="c"), "words 'c'"),
        (lambda: quartets(1, split="nope"), "split 'nope'"),
        (lambda: quartets(1, seed=-1), "seed -1"),
        (lambda: place_relation(scene_rng("val", 0, 0), "c", "left"), "words 'c'"),
        (lambda: place_relation(scene_rng("val", 0, 0), "a", "front"), "relation 'front'"),
        (lambda: place_relation(scene_rng("val", 0, 0), "b", "under"), "relation 'under'"),
    ],
)
def test_that_what_does_not_exist_is_refused(call, message):
    with pytest.raises(InputError, match=message):
        call()
