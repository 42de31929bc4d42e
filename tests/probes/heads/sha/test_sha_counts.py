"""Counts of heads: the planted ones are counted, dealt labels find few, and a rule of a fixed number is refused."""

import numpy as np
import pytest
from planted_heads import FUNCTIONS, planted

from interp.errors import InputError
from probes import count_heads, linear_probe, select_heads
from probes.heads.sha.arms import ARMS, BOTH, BOX, ELSEWHERE, MASK, ORIGINAL
from probes.heads.sha.measures import measure_counts

HOW = {"functions": FUNCTIONS, "options": {"shuffles": 20}, "draws": 60, "progress": False}


def counted(carriers, rule="fdr", deals=5, **more):
    features, labels, groups = planted(carriers, **more)
    return count_heads(features, labels, groups, rule=rule, deals=deals, **HOW)


def test_the_planted_heads_are_counted_beside_what_dealt_labels_give():
    carriers = [("spatial", 0, 1), ("spatial", 1, 2)]
    found = counted(carriers)
    told = found.told("spatial", 0.95)
    assert {(0, 1), (1, 2)} <= set(found.sets[0].heads) and told["value"] == len(found.sets[0]) >= 2
    assert told["of"] == 6 and told["null"] < 1 and told["p"] == pytest.approx(1 / 6) and told["deals"] == 5
    assert told["low"] < told["value"] < told["high"] and found.null.shape == (5, 3)


def test_the_null_is_what_the_same_rule_finds_with_dealt_labels_one_deal_after_another():
    features, labels, groups = planted([("math", 1, 0)])
    together = count_heads(features, labels, groups, rule="threshold", given={"above": 0.5}, deals=3, **HOW)

    def scorer(*given, **more):  # not the function itself, so that it is asked deal by deal
        return linear_probe(*given, **more)

    apart = count_heads(features, labels, groups, rule="threshold", given={"above": 0.5}, deals=3, scorer=scorer, **HOW)
    np.testing.assert_array_equal(together.null, apart.null)
    assert together.heads.tolist() == apart.heads.tolist()


def test_a_number_in_draws_is_that_of_the_rule_in_each_draw():
    features, labels, groups = planted([("spatial", 0, 1)])
    found = count_heads(features, labels, groups, rule="threshold", given={"above": 0.6}, deals=1, **HOW)
    np.testing.assert_array_equal(found.drawn, (found.scores.draws > np.float32(0.6)).sum(axis=(2, 3)))
    fdr = count_heads(features, labels, groups, rule="fdr", deals=1, **HOW)
    for place, own in enumerate(fdr.sets):
        cut = min(own.values) if own.values else np.nextafter(fdr.scores.values[place].max(), np.inf)
        naive = [(draw[place] >= np.float32(cut)).sum() for draw in fdr.scores.draws]
        np.testing.assert_array_equal(fdr.drawn[:, place], naive)


def test_the_upper_end_of_what_dealt_labels_give_is_that_of_the_level():
    features, labels, groups = planted([("spatial", 0, 1)])
    found = count_heads(features, labels, groups, rule="threshold", given={"above": 0.5}, deals=7, **HOW)
    ends = {level: found.told("spatial", level)["null_high"] for level in (0.5, 0.95)}
    assert ends == pytest.approx({level: np.quantile(found.null[:, 0], (1 + level) / 2) for level in ends})
    assert ends[0.5] < ends[0.95]


def test_more_heads_in_one_arm_than_in_another_are_told_with_the_same_draws_and_deals():
    less, more = counted([("spatial", 0, 1)]), counted([("spatial", 0, 1), ("spatial", 1, 0), ("spatial", 1, 2)])
    told = more.told_against(less, "spatial", 0.95)
    assert told["value"] == len(more.sets[0]) - len(less.sets[0]) >= 1
    same = less.told_against(less, "spatial", 0.95)
    assert same["value"] == same["null"] == 0 and same["p"] == 1
    assert np.isnan(same["low"]) and np.isnan(same["high"])  # the same in all draws, which tell nothing


@pytest.mark.parametrize(
    ("rule", "given", "said"),
    (
        ("top_k", {"k": 3}, "as many heads as it is told"),
        ("top_percent", {"percent": 10}, "as many heads as it is told"),
        ("best", {}, "is not known"),
        ("threshold", {}, "needs above"),
    ),
)
def test_rules_whose_number_says_nothing_are_refused(rule, given, said):
    features, labels, groups = planted()
    with pytest.raises(InputError, match=said):
        count_heads(features, labels, groups, functions=FUNCTIONS, rule=rule, given=given)


def test_the_selection_is_that_of_select_heads():
    found = counted([("relational", 1, 1)])
    for own in found.sets:
        assert own.heads == select_heads(found.scores, own.function, "fdr").heads


def test_planted_heads_that_boxes_wake_are_counted_in_that_arm_alone_and_held_against_original_and_control():
    idle, awake = [("spatial", 0, 1)], [("spatial", 0, 1), ("spatial", 1, 0), ("spatial", 1, 2)]
    counts = {arm: counted(awake if arm == BOTH else idle, "max_t", deals=19) for arm in (*ARMS, ELSEWHERE)}
    heads, more, left_out = measure_counts(counts, 0.95, "")
    spatial = heads.query("function == 'spatial'").set_index("arm")
    assert spatial["value"].to_dict() == {ORIGINAL: 1, BOX: 1, MASK: 1, BOTH: 3, ELSEWHERE: 1}
    assert (spatial["p"] <= 0.101).all() and (spatial["null"] < 0.5).all() and (spatial["of"] == 6).all()
    for baseline in (ORIGINAL, ELSEWHERE):
        (row,) = more.query(f"arm == '{BOTH}' and baseline == '{baseline}' and function == 'spatial'").itertuples()
        assert row.value == 2 and row.low > 0 and row.p == pytest.approx(1 / 20)
    others = more[(more["arm"] != BOTH) & (more["function"] == "spatial")]
    assert set(others["arm"]) == {BOX, MASK, ELSEWHERE} and (others["value"] == 0).all()
    assert others[["low", "high"]].isna().all(axis=None)  # the same heads in all draws
    assert (others["p"] == 1).all() and left_out.empty
