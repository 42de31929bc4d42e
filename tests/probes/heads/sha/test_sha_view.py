"""What SHA shows: every pixel and word of every arm by hand, ids and boxes kept; what can not be shown is refused."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from PIL import Image

from interp.errors import InputError
from interp.image.boxes import Box
from interp.objects.sample import Object, Sample
from probes import ShaView, known_boxes, step_samples, synthetic_steps
from probes.heads.sha.arms import ARMS, BOTH, BOX, ELSEWHERE, MASK, ORIGINAL
from probes.heads.sha.boxes import moved_by_item, refuse_unshown
from probes.heads.sha.transform import boxes_elsewhere, hidden, overlap_of

SIZE = (40, 30)  # width, height
BOXES = (Box("mug", (5.0, 6.0, 12.0, 11.0)), Box("red dog", (20.4, 15.2, 29.6, 30.0)))
FRAMES = ShaView("drawn")


def photo(size=SIZE):
    values = np.random.default_rng(0).integers(0, 256, size=(size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(values)


def by_hand(arm, view=FRAMES, boxes=BOXES, size=SIZE):
    """The pixels of an arm, one after another."""
    out = np.array(photo(size)).copy()
    for y, x in product(range(size[1]), range(size[0])):
        inside, around = False, False
        for box in boxes:
            x0, y0, x1, y1 = box.xyxy
            inside |= x + 1 > x0 and x < x1 and y + 1 > y0 and y < y1  # any part of the pixel
            left, top, right, bottom = np.floor(x0), np.floor(y0), np.ceil(x1), np.ceil(y1)
            wide = view.width
            near = left - wide <= x < right + wide and top - wide <= y < bottom + wide
            around |= near and not (left <= x < right and top <= y < bottom)
        if inside and arm in (MASK, BOTH):
            out[y, x] = view.fill
        if around and arm in (BOX, BOTH):
            out[y, x] = view.outline
    return out


@pytest.mark.parametrize("view", (FRAMES, ShaView("both", fill=(1, 2, 3), width=1, outline=(9, 8, 7))))
@pytest.mark.parametrize("arm", ARMS)
def test_every_pixel_of_every_arm_is_that_of_a_loop(arm, view):
    np.testing.assert_array_equal(np.array(view.photo(photo(), BOXES, arm)), by_hand(arm, view))


def test_boxes_that_are_told_are_not_drawn_and_the_masked_photo_is_the_same_without_frames():
    told = ShaView("text")
    np.testing.assert_array_equal(np.array(told.photo(photo(), BOXES, BOX)), np.array(photo()))
    np.testing.assert_array_equal(np.array(told.photo(photo(), BOXES, BOTH)), by_hand(MASK))


def test_beside_the_photo_stands_its_masked_copy_and_the_photo_itself_is_whole():
    view = ShaView("drawn", placement="beside")
    both = np.array(view.photo(photo(), BOXES, BOTH))
    np.testing.assert_array_equal(both[:, : SIZE[0]], np.array(photo()))
    np.testing.assert_array_equal(both[:, SIZE[0] :], by_hand(BOTH))
    assert view.shown_size(SIZE, BOTH) == both.shape[1::-1] == (80, 30) and view.shown_size(SIZE, BOX) == SIZE
    np.testing.assert_array_equal(np.array(view.photo(photo(), BOXES, BOX)), by_hand(BOX))


def test_names_are_drawn_outside_all_boxes_and_change_nothing_else():
    size = (120, 90)
    boxes = (Box("mug", (5.0, 26.0, 42.0, 41.0)), Box("dog", (60.4, 50.2, 99.6, 70.0)))
    plain = np.array(FRAMES.photo(photo(size), boxes, BOX))
    named = np.array(replace(FRAMES, names=True).photo(photo(size), boxes, BOX))
    changed = (plain != named).any(axis=2)
    assert changed.any() and not (changed & hidden(boxes, size)).any()
    areas = list(replace(FRAMES, names=True)._names(boxes, size))
    allowed = np.zeros(changed.shape, bool)
    for left, top, right, bottom in areas:
        allowed[max(top - 1, 0) : bottom + 1, max(left - 1, 0) : right + 1] = True
    assert len(areas) == 2 and not (changed & ~allowed).any()


def test_the_question_tells_each_box_by_name_and_is_kept_word_for_word():
    view, asked = ShaView("text"), "Where is the mug?"
    told = view.question(asked, BOXES, SIZE, BOTH)
    assert told == (
        "In the image of 40 x 30 pixels, mug is at [5, 6, 12, 11] and red dog is at [20, 15, 30, 30] "
        "(left, top, right, bottom).\nWhere is the mug?"
    )
    assert view.question(asked, BOXES, SIZE, MASK) == view.question(asked, BOXES, SIZE, ORIGINAL) == asked
    assert FRAMES.question(asked, BOXES, SIZE, BOTH) == asked
    beside = ShaView("text", placement="beside")
    assert "left half of the image" in beside.question(asked, BOXES, SIZE, BOTH)
    assert "left half" not in beside.question(asked, BOXES, SIZE, BOX)


@pytest.mark.parametrize("arm", (*ARMS, ELSEWHERE))
def test_id_answer_options_objects_and_group_stay_and_the_arm_is_recorded(arm):
    things = tuple(Object(box.label, box) for box in BOXES)
    sample = Sample(
        "a", photo(), "Where?", ("left", "right"), "left", things, "spatial", "g", {"functions": ["spatial"]}
    )
    shown = ShaView().sample(sample, BOXES, arm)
    for name in ("id", "options", "answer", "objects", "relation", "group"):
        assert getattr(shown, name) == getattr(sample, name)
    assert shown.meta["functions"] == ["spatial"]
    if arm == ORIGINAL:
        assert shown is sample
    else:
        assert shown.meta["sha"]["arm"] == arm and shown.meta["sha"]["shown"][0] == ["mug", 5.0, 6.0, 12.0, 11.0]
        assert shown.meta["sha"]["boxes"] == "both"
        assert shown.meta["sha"]["placement"] == "in_place" and shown.meta["sha"]["fill"] == [128, 128, 128]


def test_all_questions_of_a_photo_are_shown_the_same_boxes():
    items = step_samples(synthetic_steps(3, seed=1))
    boxes = known_boxes(items)
    for group in {item.group for item in items}:
        own = [item for item in items if item.group == group]
        assert len({boxes[item.id] for item in own}) == 1
        carried = {thing.box for item in own for thing in item.objects if thing.box}
        assert set(boxes[own[0].id]) == carried and len(carried) >= 2
    assert any(not item.objects and boxes[item.id] for item in items)  # recall asks of no object


def test_the_control_has_the_same_sizes_and_hides_no_object_where_there_is_room():
    boxes = (Box("a", (2.0, 2.0, 10.0, 9.0)), Box("b", (60.0, 50.0, 71.5, 70.0)))
    moved = boxes_elsewhere(boxes, (112, 112), np.random.default_rng(3))
    sizes = [(box.xyxy[2] - box.xyxy[0], box.xyxy[3] - box.xyxy[1]) for box in moved]
    assert sizes == [(8, 7), (12, 20)] and [box.label for box in moved] == ["a", "b"]
    assert overlap_of(moved, boxes, (112, 112)) == 0 and hidden(moved, (112, 112)).sum() == 8 * 7 + 12 * 20
    full = (Box("a", (0.0, 0.0, 100.0, 112.0)),)
    assert 0 < overlap_of(boxes_elsewhere(full, (112, 112), np.random.default_rng(0)), full, (112, 112)) <= 1


def test_the_control_is_the_same_for_all_questions_of_a_photo_and_hangs_on_the_seed_alone():
    items = step_samples(synthetic_steps(2))
    boxes = known_boxes(items)
    moved = moved_by_item(items, boxes, seed=0)
    assert moved == moved_by_item(items[::-1], boxes, seed=0) != moved_by_item(items, boxes, seed=1)
    assert len({moved[item.id] for item in items}) == 2


@pytest.mark.parametrize(
    ("boxes", "view", "said"),
    (
        ((), FRAMES, "there is no box for bbox"),
        ((Box("mug", (5.0, 6.0, 60.0, 11.0)),), FRAMES, "40 x 30 pixels"),
        ((Box("mug", (-0.9, 0.0, -0.1, 5.0)),), FRAMES, "has no pixel"),
        ((Box("mug", (0.0, 0.0, 40.0, 30.0)),), FRAMES, "cover the whole photo"),
        ((Box("a very long name of a thing", (5.0, 6.0, 12.0, 11.0)),), ShaView("drawn", True), "no room for the text"),
    ),
)
def test_what_can_not_be_shown_is_refused_by_name_with_counts(boxes, view, said):
    items = [Sample(name, photo(), "Where?", ("left", "right"), "left") for name in "ab"]
    with pytest.raises(InputError, match=said) as refused:
        refuse_unshown(items, dict.fromkeys("ab", boxes), view)
    assert "item 'a'" in str(refused.value) and "2 of 2 items" in str(refused.value)
    with pytest.raises(InputError, match="'c'"):
        refuse_unshown(items, dict.fromkeys("abc", BOXES), FRAMES)


def size(box):
    x0, y0, x1, y1 = box.xyxy
    return box.label, x1 - x0, y1 - y0


def test_boxes_that_items_of_a_photo_do_not_share_are_moved_each_in_their_own_size():
    items = [Sample(name, photo(), "Where?", ("left", "right"), "left") for name in "abc"]
    own = {"a": (Box("mug", (1, 1, 5, 4)),), "b": (Box("mug", (1, 1, 9, 3)), Box("cup", (0, 6, 2, 8)))}
    moved = moved_by_item(items, own | {"c": own["a"]}, seed=0)
    for name, boxes in own.items():
        assert [size(box) for box in moved[name]] == [size(box) for box in boxes]
    assert moved["c"] == moved["a"]


@pytest.mark.parametrize(
    ("changes", "said"),
    (
        ({"boxes": "circled"}, "boxes='circled'"),
        ({"placement": "above"}, "placement='above'"),
        ({"fill": (0, 0, 256)}, "fill"),
        ({"fill": "grey"}, "fill"),
        ({"width": 0}, "width 0"),
        ({"names": "yes"}, "names='yes'"),
        ({"boxes": "text", "names": True}, "draws none"),
    ),
)
def test_options_that_mean_nothing_are_refused(changes, said):
    with pytest.raises(InputError, match=said):
        ShaView(**changes)


def test_an_arm_that_does_not_exist_is_refused():
    with pytest.raises(InputError, match="no arm 'blur'"):
        ShaView().photo(photo(), BOXES, "blur")
