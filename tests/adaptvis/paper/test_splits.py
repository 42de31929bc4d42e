"""The official split is the released code's, row for row, and the split by pair keeps every group whole."""

import random
from dataclasses import replace

import pytest

from adaptvis.paper.splits import OFFICIAL_SIZES, official_split, split, split_by_group, usual_split
from interp.errors import InputError
from interp.objects.sample import Sample

# Data set: validation and test rows, from the tables of the fact sheet.
PARTS = {
    "controlled-a": (82, 330),
    "controlled-b": (81, 327),
    "coco-one": (449, 1798),
    "coco-two": (88, 352),
    "vg-one": (232, 928),
    "vg-two": (58, 233),
    "vsr": (244, 978),
}


def samples(rows, dataset="controlled-a", per_group=4):
    return [
        Sample(
            id=f"{dataset}-{row:05d}",
            image="absent.png",
            question="",
            options=("left", "right"),
            answer="left",
            group=f"thing {row // per_group}",
            meta={"dataset": dataset, "row": row},
        )
        for row in rows
    ]


def rows_of(found):
    return [sample.meta["row"] for sample in found]


@pytest.mark.parametrize("dataset, sizes", PARTS.items())
def test_the_official_split_has_the_published_sizes_and_takes_every_row_once(dataset, sizes):
    validation, test = official_split(OFFICIAL_SIZES[dataset])
    assert (len(validation), len(test)) == sizes
    assert sorted(validation + test) == list(range(sum(sizes)))
    assert validation == sorted(validation) and test == sorted(test)


def test_the_first_validation_rows_of_controlled_a_are_the_published_ones():
    assert official_split(412)[0][:12] == [1, 4, 11, 13, 14, 15, 17, 32, 48, 51, 52, 60]


def test_the_official_split_draws_as_a_seeded_global_generator_would_and_leaves_it_alone():
    random.seed(77)
    before = random.getstate()
    found = official_split(291)
    assert random.getstate() == before
    random.seed(1)
    assert found[0] == sorted(random.sample(range(291), int(0.2 * 291)))


@pytest.mark.parametrize("n, share", [(0, 0.2), (4, 0.2), (10, 0.0), (10, 1.0), (10, -0.5)])
def test_a_split_with_an_empty_part_is_refused(n, share):
    with pytest.raises(InputError, match="empty"):
        official_split(n, share=share)


def test_the_official_split_of_samples_goes_by_rows_even_when_some_are_absent_or_out_of_order():
    validation, test = official_split(412)
    present = [row for row in reversed(range(412)) if row % 7]
    found = split(samples(present), part="test")
    assert rows_of(found) == [row for row in present if row in test]
    assert rows_of(split(samples(present), part="val")) == [row for row in present if row in validation]
    assert split(samples(present), part="all") == samples(present)


def test_the_official_split_of_an_unknown_data_set_needs_its_length():
    own = samples(range(40), "mine")
    with pytest.raises(InputError, match="n_total"):
        split(own)
    assert rows_of(split(own, n_total=50)) == [row for row in official_split(50)[1] if row < 40]


def test_a_row_beyond_the_data_set_is_refused():
    with pytest.raises(InputError, match="412"):
        split(samples(range(413)))


def test_samples_without_row_or_of_two_data_sets_have_no_official_split():
    one = samples(range(10))
    bare = Sample(id="bare", image="a.png", question="", options=(), answer="", meta={"dataset": "controlled-a"})
    for wrong in ([*one, bare], one + samples(range(10), "controlled-b"), []):
        with pytest.raises(InputError):
            split(wrong)


@pytest.mark.parametrize("how, part", [("random", "test"), ("official", "train")])
def test_unknown_splits_and_parts_are_refused(how, part):
    with pytest.raises(InputError, match="give one of"):
        split(samples(range(20)), how, part)


def test_the_split_by_pair_keeps_groups_whole_and_takes_the_share_of_groups():
    own = samples(range(412))
    validation, test = split(own, "by-pair", "val"), split(own, "by-pair", "test")
    sides = [{sample.group for sample in part} for part in (validation, test)]
    assert not sides[0] & sides[1] and [len(side) for side in sides] == [21, 82]
    assert len(validation) + len(test) == 412


def test_the_split_by_group_does_not_depend_on_the_order_and_changes_with_the_seed():
    groups = [f"g{place % 50}" for place in range(200)]
    mixed = random.Random(0).sample(groups, len(groups))
    one, other = ({names[place] for place in split_by_group(names)[0]} for names in (groups, mixed))
    assert one == other and len(one) == 10
    assert one != {groups[place] for place in split_by_group(groups, seed=2)[0]}


def test_an_absent_group_moves_at_most_one_other():
    groups = [f"g{place}" for place in range(100)]
    whole = {groups[place] for place in split_by_group(groups)[0]}
    for absent in groups[:20]:
        rest = [name for name in groups if name != absent]
        assert len({rest[place] for place in split_by_group(rest)[0]} ^ (whole - {absent})) <= 1


@pytest.mark.parametrize(
    "groups, share, says",
    [
        (["a", ""], 0.5, "2 samples with 1 group, 1 without one, can not be split at 0.5"),
        (["a"], 0.5, "1 sample with 1 group, 0 without one, can not be split"),
        (["a", "a"], 0.5, "2 samples with 1 group, 0 without"),
        (["", ""], 0.5, "2 samples with 0 groups, 2 without"),
        ([], 0.5, "0 samples with 0 groups"),
        (["a", "b"], 1.0, "2 samples with 2 groups, 0 without one, can not be split at 1.0"),
    ],
)
def test_groups_that_can_not_be_split_are_refused(groups, share, says):
    with pytest.raises(InputError, match=says):
        split_by_group(groups, share=share)


def test_either_side_of_few_groups_has_at_least_one():
    assert [len(side) for side in split_by_group(["a", "b"], share=0.01)] == [1, 1]
    assert [len(side) for side in split_by_group(["a", "b"], share=0.99)] == [1, 1]


def test_settings_are_chosen_on_other_pairs_unless_no_group_is_named_and_that_is_said():
    own = samples(range(412))
    assert usual_split(own, chooses=False) == ("official", "") and usual_split(own, chooses=True) == ("by-pair", "")
    others = samples(range(40), "mine")
    assert {usual_split(others, chooses=chooses) for chooses in (True, False)} == {("by-pair", "")}
    nameless = [replace(sample, group="") if row < 3 else sample for row, sample in enumerate(own)]
    how, why = usual_split(nameless, chooses=True)
    assert how == "official" and why.startswith("3 of 412 samples name no group")
    alone = [replace(sample, group="one") for sample in own]
    assert usual_split(alone, chooses=True)[1].startswith("all samples are of one group")
    assert usual_split(alone, chooses=False) == ("official", "")
