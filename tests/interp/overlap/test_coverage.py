"""Coverage counts each kind of question beside what it is a part of; studies of earlier versions are read so too."""

import numpy as np
import pandas as pd
import pytest

from interp.errors import InputError
from interp.overlap.report.coverage import coverage_cautions
from interp.overlap.study.coverage import coverage_of, coverage_says, covered, kinds_as_now
from interp.stats.intervals import wilson


def samples(**counts):
    """Rows by kind: `one_all=3` are three questions about one object whose box is known."""
    objects = {"one": "mug", "two": "mug|cup", "no": ""}
    rows = [name.split("_") for name, count in counts.items() for _ in range(count)]
    table = pd.DataFrame(
        {"objects": [objects[number] for number, _ in rows], "found": [kind for _, kind in rows], "relation": "left"}
    )
    return table.assign(n_first=(table["found"] == "all").astype(int), n_second=0, no_class="")


def test_each_number_is_a_part_of_the_one_beside_it():
    table = samples(one_all=9, one_none=3, two_all=8, two_some=4, two_none=2, one_absent=5, no_absent=1, no_unread=6)
    table.loc[table["found"] == "absent", "n_first"] = [2, 0, 1, 0, 0, 0]
    table.loc[table["found"] == "some", "no_class"] = ["cup", "cup", "", ""]
    found = coverage_of(table)
    assert found[["relation", "objects", "n", "absent", "unread", "looked_for"]].values.tolist() == [
        ["all", "any", 38, 6, 6, 26],
        ["all", "one", 17, 5, 0, 12],
        ["all", "two", 14, 0, 0, 14],
        ["left", "any", 38, 6, 6, 26],
    ]
    for row in found.itertuples():
        assert row.n == row.absent + row.unread + row.looked_for and row.looked_for == row.all + row.some + row.none
        exact = wilson(row.all, row.looked_for)
        assert (row.share, row.low, row.high) == (exact.estimate, exact.low, exact.high)
    assert found["absent_with_box"].tolist() == [2, 2, 0, 2] and found["no_class"].tolist() == [2, 0, 2, 2]
    says = coverage_says(table)
    for part in (
        "6 of 38 questions rightly say",
        "in 2 of these",
        "read off 6 of 38 questions",
        "17 of 26 questions whose",
    ):
        assert part in says
    for part in (
        "Of these, 12 are about one object: found in 9, not found in 3.",
        "Of these, 14 are about two objects: both found in 8, one in",
    ):
        assert part in says
    assert "In 2 of these 26 the detector has no class" in says


def test_a_study_without_such_questions_says_nothing_of_them():
    says = coverage_says(samples(two_all=9, two_none=1))
    assert says == "All objects have boxes in 9 of 10 questions, 90.0 % [95 % CI 59.6, 98.2]; some in 0, none in 1."
    assert coverage_cautions(samples(two_all=9, two_none=1)) == []


def test_questions_after_nothing_are_no_misses_in_the_caution():
    pope = samples(one_all=5, one_absent=5)
    complete, looked_for, share = covered(pope)
    assert (complete, looked_for, share.estimate) == (5, 5, 1.0)
    (caution,) = coverage_cautions(pope)
    assert "in only 5 of 10 questions" in caution and "selection" not in caution
    (caution,) = coverage_cautions(samples(one_all=5, one_none=5))
    assert "only 5 have boxes" in caution and "10 questions" in caution
    assert "no question whose objects" in coverage_says(samples(no_unread=3))


def test_tables_that_say_another_word_are_refused():
    for table in (samples(one_both=1), samples(one_all=1).drop(columns="objects")):
        with pytest.raises(InputError, match="all, some, none, absent, unread"):
            coverage_of(table)


def test_rows_of_an_earlier_version_are_read_as_now():
    before = pd.DataFrame(
        [
            ("mug|cup", "both", True, "Where is the mug?", "left", ""),
            ("mug|cup", "one", False, "Where is the mug?", "left", ""),
            ("mug", "one", True, "Where is the mug?", "left", ""),
            ("mug", "none", False, "Where is the mug?", "left", ""),
            ("", "none", False, "Is it day?", "no", ""),
            ("dog", "one", True, "Is there a dog?", "no", "{}"),
            ("dog", "one", True, "Is there a dog?", "no", '{"first": [[0, 0, 1, 1, 1]]}'),
        ],
        columns=["objects", "found", "complete", "question", "gold", "true_boxes"],
    ).assign(boxes='{"first": []}')
    now, absent = kinds_as_now(before)
    assert now["found"].tolist() == ["all", "some", "all", "none", "unread", "absent", "all"]
    assert now["complete"].tolist() == [True, False, True, False, False, False, True]
    assert absent.tolist() == [False] * 5 + [True, False] and now["boxes"][5] == "{}"
    again, gone = kinds_as_now(now)
    assert again.equals(now) and not gone.any()
    assert not kinds_as_now(before, has_boxes=True)[1].any()  # boxes of the data set are of what is there
    mixed = pd.concat([now.iloc[:2], before.iloc[2:]])
    assert kinds_as_now(mixed)[0]["found"].tolist() == now["found"].tolist()
    assert np.array_equal(kinds_as_now(mixed)[1], absent)
