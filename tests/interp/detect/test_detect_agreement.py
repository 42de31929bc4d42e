"""Coverage and agreement count what a person would count by hand, and say nothing where there is nothing."""

import math
from dataclasses import replace

import numpy as np
import pytest

from interp.detect.agreement import ALL, agreement, box_iou, coverage, match_boxes
from interp.errors import InputError
from interp.image.boxes import Box, Boxes
from interp.objects.words import Found, Match
from interp.stats.clusters import clustered_share
from interp.stats.intervals import wilson

HERE = Boxes((Box("x", (0, 0, 5, 5)),))


def found(**words):
    """What was found: True, False, or None where the detector has no such class."""
    return Found(
        tuple(Match(w, () if hit is None else (w,), HERE if hit else Boxes()) for w, hit in words.items()), "d"
    )


SAMPLES = [
    found(mug=True, table=True),
    found(mug=True, scarf=None),
    found(mug=False, table=False),
    found(Mug=True, table=False),
    found(mug=True),
]


def rows(table, *columns):
    return [tuple(row) for row in table[list(columns)].itertuples(index=False)]


# --- coverage


def test_samples_are_counted_by_how_many_of_their_objects_were_found():
    table = coverage(SAMPLES)
    assert [one.kind for one in SAMPLES] == ["all", "some", "none", "some", "all"]
    assert rows(table, "name", "k", "n", "unknown") == [
        ("all", 2, 5, 1), ("some", 2, 5, 1), ("none", 1, 5, 1), ("absent", 0, 5, 1), ("unread", 0, 5, 1)
    ]  # fmt: skip
    assert table["share"][:3].sum() == pytest.approx(1)
    assert (table["low"][1], table["high"][1]) == (wilson(2, 5).low, wilson(2, 5).high)


def test_what_is_rightly_not_there_and_what_was_not_read_are_no_misses():
    gone = replace(found(mug=True, table=False), absent=True)  # a false find of the mug
    every = [*SAMPLES, gone, replace(found(scarf=False), absent=True), Found((), "d")]
    assert [one.kind for one in every[5:]] == ["absent", "absent", "unread"] and not gone.complete
    assert rows(coverage(every), "name", "k", "n") == [
        ("all", 2, 5), ("some", 2, 5), ("none", 1, 5), ("absent", 2, 8), ("unread", 1, 8)
    ]  # fmt: skip
    for by in ("object", "word"):
        assert coverage(every, by=by).equals(coverage(SAMPLES, by=by))


def test_objects_and_words_are_counted_apart():
    assert rows(coverage(SAMPLES, by="object"), "name", "k", "n", "unknown") == [
        ("first", 4, 5, 0),
        ("second", 1, 4, 1),
    ]
    assert rows(coverage(SAMPLES, by="word"), "name", "k", "n", "unknown") == [
        ("mug", 4, 5, 0),
        ("table", 1, 3, 0),
        ("scarf", 0, 1, 1),
    ]


def test_groups_are_counted_inside_themselves():
    table = coverage(SAMPLES, groups=["left", "left", "on", "on", "on"])
    assert rows(table[table["group"] == "on"], "name", "k", "n") == [
        ("all", 1, 3), ("some", 1, 3), ("none", 1, 3), ("absent", 0, 3), ("unread", 0, 3)
    ]  # fmt: skip
    assert list(table["group"]) == ["left"] * 5 + ["on"] * 5


def test_nothing_asked_is_unread_and_an_object_nobody_asked_for_has_no_share():
    empty = Found((), "d")
    assert empty.kind == "unread"
    table = coverage([empty], by="object")
    assert list(table["n"]) == [0, 0] and all(map(math.isnan, table["share"]))
    assert list(coverage([empty], by="word").columns) == ["name", "k", "n", "share", "low", "high", "unknown"]


def test_questions_about_one_photo_are_worth_as_many_as_go_their_own_way():
    photos = np.repeat([f"photo {number}" for number in range(12)], 4)
    seen = [found(mug=place // 4 % 2 == 0) for place in range(48)]
    for by, name in (("sample", "all"), ("object", "first"), ("word", "mug")):
        alone, together = (coverage(seen, by=by, together=own).set_index("name").loc[name] for own in (None, photos))
        assert (alone["low"], alone["high"]) == (wilson(24, 48).low, wilson(24, 48).high)
        share = clustered_share(np.arange(48) // 4 % 2 == 0, photos)
        assert (together["low"], together["high"]) == (share.low, share.high) and share.low < alone["low"] - 0.05
    few = coverage(seen[:8], together=photos[:8])
    assert few["k"].tolist()[:1] == [4] and np.isnan(few["low"].iloc[0])
    halves = coverage(seen, groups=["a", "b"] * 24, together=photos)
    assert halves["low"].iloc[0] == clustered_share(np.arange(24) // 2 % 2 == 0, photos[::2]).low


@pytest.mark.parametrize("wrong", [dict(by="layer"), dict(groups=["left"]), dict(groups=[]), dict(together=["x"])])
def test_wrong_requests_are_refused(wrong):
    with pytest.raises(InputError):
        coverage(SAMPLES, **wrong)
    with pytest.raises(InputError):
        coverage([])


# --- agreement


def boxes(*items):
    """Boxes of 10 x 10 pixels: (label, left edge, confidence)."""
    return Boxes(tuple(Box(label, (x, 0, x + 10, 10), sure) for label, x, sure in items))


def test_iou_equals_the_count_of_pixels():
    rng = np.random.default_rng(0)
    low = rng.integers(0, 12, (30, 2))
    corners = np.hstack([low, low + rng.integers(1, 9, (30, 2))]).astype(float)
    masks = np.zeros((30, 24, 24), dtype=bool)
    for mask, (x0, y0, x1, y1) in zip(masks, corners.astype(int), strict=True):
        mask[y0:y1, x0:x1] = True
    either = (masks[:, None] | masks[None]).sum((2, 3))
    np.testing.assert_allclose(box_iou(corners, corners), (masks[:, None] & masks[None]).sum((2, 3)) / either)


def test_the_surest_box_takes_the_object_and_the_next_one_is_left_over():
    truth, seen = boxes(("a", 0, 1), ("a", 50, 1)), boxes(("a", 1, 0.4), ("a", 2, 0.9), ("a", 90, 0.8), ("b", 50, 0.9))
    assert match_boxes(seen, truth) == [(1, 0, pytest.approx(8 / 12))]
    table = agreement([seen], [truth])
    assert rows(table, "label", "n_truth", "n_found", "n_matched") == [(ALL, 2, 4, 1), ("a", 2, 3, 1), ("b", 0, 1, 0)]
    assert rows(table, "recall", "precision", "mean_iou")[:2] == [
        (0.5, 0.25, pytest.approx(2 / 3)),
        (0.5, pytest.approx(1 / 3), pytest.approx(2 / 3)),
    ]
    assert math.isnan(table["recall"][2]) and table["precision"][2] == 0 and math.isnan(table["mean_iou"][2])
    assert np.isnan(table[["recall_low", "recall_high", "precision_low"]].iloc[0]).all(), "boxes of a single photo"
    assert table["precision_high"][2] == wilson(0, 1).high, "one box shares its photo with no other of its name"


def test_a_box_prefers_the_object_it_overlaps_most():
    truth = boxes(("a", 0, 1), ("a", 4, 1))
    assert [pair[:2] for pair in match_boxes(boxes(("a", 3, 0.9), ("a", 1, 0.8)), truth, iou=0.3)] == [(0, 1), (1, 0)]


def test_matching_equals_a_search_by_hand():
    rng = np.random.default_rng(1)
    for _ in range(50):
        sides = [rng.integers(0, 30, n) for n in rng.integers(0, 6, 2)]
        truth = boxes(*[(rng.choice(["a", "b"]), float(x), 1.0) for x in sides[0]])
        seen = boxes(*[(rng.choice(["a", "b"]), float(x), float(rng.random())) for x in sides[1]])
        free, expected = list(range(len(truth))), []
        for place in np.argsort([-box.confidence for box in seen], kind="stable"):
            mine = seen.items[place]
            scores = {
                other: max(0.0, 10 - abs(mine.xyxy[0] - truth.items[other].xyxy[0]))
                for other in free
                if truth.items[other].label == mine.label
            }
            best = max(scores, key=scores.get, default=None)
            if best is not None and scores[best] / (20 - scores[best]) >= 0.5:
                free.remove(best)
                expected.append((place, best))
        assert [pair[:2] for pair in match_boxes(seen, truth)] == expected


def test_another_name_of_the_same_thing_counts_as_it_and_a_kind_does_not():
    truth = boxes(("couch", 0, 1), ("tv", 50, 1), ("person", 90, 1))
    table = agreement([boxes(("sofa", 0, 0.9), ("tvmonitor", 50, 0.9), ("man", 90, 0.9))], [truth])
    assert rows(table, "label", "n_matched") == [(ALL, 2), ("couch", 1), ("tv", 1), ("person", 0), ("man", 0)]


def test_labels_that_nobody_marked_can_be_left_out():
    table = agreement([boxes(("a", 0, 1), ("z", 0, 1))], [boxes(("a", 0, 1))], labels=["a"])
    assert rows(table, "label", "precision") == [(ALL, 1.0), ("a", 1.0)]


def test_photos_are_kept_apart():
    table = agreement([boxes(("a", 0, 1)), Boxes()], [Boxes(), boxes(("a", 0, 1))])
    assert rows(table, "n_truth", "n_found", "n_matched")[0] == (1, 1, 0)


def test_boxes_of_one_photo_or_group_count_for_as_many_as_go_their_own_way():
    """Photos with all boxes found and with none: recall is that of photos, not of boxes."""
    truth = [boxes(("a", 0, 1), ("a", 30, 1), ("b", 60, 1))] * 20
    seen = [one if place % 2 else Boxes() for place, one in enumerate(truth)]
    table = agreement(seen, truth).set_index("label")
    share = clustered_share(np.repeat(np.arange(20) % 2 == 1, 3), np.repeat(np.arange(20), 3))
    assert tuple(table.loc[ALL, ["recall_low", "recall_high"]]) == (share.low, share.high)
    assert share.low < wilson(30, 60).low - 0.05
    assert tuple(table.loc["b", ["recall_low", "recall_high"]]) == (wilson(10, 20).low, wilson(10, 20).high)
    pairs = agreement(seen, truth, together=[f"pair {place // 4}" for place in range(20)]).set_index("label")
    b = clustered_share(np.arange(20) % 2 == 1, np.arange(20) // 4)
    assert tuple(pairs.loc["b", ["recall_low", "recall_high"]]) == (b.low, b.high)
    assert np.isnan(agreement(seen, truth, together=["x", "y"] * 10)["recall_low"]).all()


def test_recall_over_photos_that_are_hard_or_easy_holds_its_level():
    held = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        easy = rng.beta(1, 1, size=30)  # the share of each photo's five boxes that are found; half in the mean
        hits = rng.random((30, 5)) < easy[:, None]
        truth = [boxes(*[("a", 20.0 * place, 1) for place in range(5)])] * 30
        seen = [boxes(*[("a", 20.0 * place, 1) for place in np.flatnonzero(own)]) for own in hits]
        row = agreement(seen, truth).iloc[0]
        held += row["recall_low"] <= 0.5 <= row["recall_high"]
    assert held / 200 >= 0.95 - 3 * math.sqrt(0.05 * 0.95 / 200)


def test_boxes_of_other_photos_agree_no_better_than_chance():
    """Under the null: the truth of one photo against the boxes of the next."""
    rng = np.random.default_rng(2)
    truth = [boxes(*[("a", float(x), 1.0) for x in rng.choice(np.arange(0, 1000, 20), 3, False)]) for _ in range(200)]
    own, others = agreement(truth, truth), agreement([*truth[1:], truth[0]], truth)
    assert own["recall"][0] == 1.0
    assert others["recall_low"][0] < 3 / 50 < others["recall_high"][0]  # 3 of 50 places are taken


def test_wrong_comparisons_are_refused():
    one, ious = ([Boxes()], [Boxes()]), (dict(iou=0), dict(iou=2), dict(together=["a", "b"]), dict(together="a"))
    for wrong in (([], []), ([Boxes()], []), *((*one, given) for given in ious)):
        with pytest.raises(InputError):
            agreement(wrong[0], wrong[1], **(wrong[2] if len(wrong) > 2 else {}))


def test_nothing_found_where_nothing_is_gives_no_numbers():
    table = agreement([Boxes()], [Boxes()])
    assert rows(table, "label", "n_truth", "n_found") == [(ALL, 0, 0)]
    assert math.isnan(table["recall"][0]) and math.isnan(table["precision"][0])
