"""Selectors: the elbow's recorded places, counts and thresholds, and no more null models than the level allows."""

import numpy as np
import pytest
from head_scores import made_scores
from planted_heads import FUNCTIONS, planted

from interp.errors import InputError
from interp.stats.shuffles import pooled_p
from probes.heads.scorers.linear_probe import linear_probe
from probes.heads.selection.head_set import HeadSet
from probes.heads.selection.selectors import check_selection, elbow, select_all, select_heads

FALLING = (10, 8, 2, 1, 0.5, 0.25, 0.1, 0)
CLIFF = (1, 0.9, 0.8, 0.1, 0.05, 0.02, 0.01, 0.005, 0.002, 0.001)
SQUARE = [[0.1, 0.9, 0.4], [0.8, 0.4, 0.2]]


@pytest.mark.parametrize(("values", "wanted"), [(FALLING, 2), (CLIFF, 3), (tuple(1e-3 * np.array(FALLING)), 2)])
def test_the_elbow_is_where_the_sheet_has_it(values, wanted):
    rng = np.random.default_rng(0)
    signs = rng.choice([-1, 1], size=len(values))
    assert elbow(rng.permutation(np.array(values) * signs)) == wanted


def test_the_elbow_is_farthest_from_the_chord_also_by_the_right_angle():
    """Written as distances of points from a line; the perpendicular gap and the vertical one peak together."""
    rng = np.random.default_rng(0)
    for _ in range(50):
        sizes = np.sort(rng.exponential(size=12))[::-1]
        points = np.stack([np.arange(12), sizes], axis=1)
        along = (points[-1] - points[0]) / np.linalg.norm(points[-1] - points[0])
        apart = points - points[0]
        distance = np.abs(apart[:, 0] * along[1] - apart[:, 1] * along[0])
        assert elbow(sizes) == distance.argmax()


@pytest.mark.parametrize("values", [[3, 2, 1, 0], [5, 5, 5, 5], [0, 0, 0, 0], list(np.linspace(1e-3, 0.7, 48))])
def test_a_straight_line_has_no_elbow_and_says_so(values):
    found = select_heads(made_scores(np.reshape(values, (2, -1))))
    assert len(found) == 0 and found.heads == () and "straight line, which has no elbow" in found.why
    assert not found.mask().any() and found.to_dataframe().empty


def test_heads_stand_in_the_order_of_their_scores():
    found = select_heads(made_scores(SQUARE), rule="top_k", k=4)
    assert found.heads == ((0, 1), (1, 0), (0, 2), (1, 1))  # of equal ones the earlier first
    assert found.rule == "top_k, k=4" and found.values == pytest.approx((0.9, 0.8, 0.4, 0.4))
    assert list(found) == list(found.heads) and (1, 0) in found and found.why == ""
    np.testing.assert_array_equal(found.mask(), [[False, True, True], [True, True, False]])
    table = found.to_dataframe()
    assert table["rank"].tolist() == [0, 1, 2, 3] and table["layer"].tolist() == [0, 1, 0, 1]


def test_the_elbow_ranks_by_size_and_keeps_the_sign():
    found = select_heads(made_scores([[-10, 2, -1, 0.5], [8, 0.25, 0.1, 0]]))
    assert found.heads == ((0, 0), (1, 0)) and found.values == (-10, 8)


@pytest.mark.parametrize(("percent", "count"), [(10, 5), (9.9, 4), (1, 1), (100, 50), (58, 29)])
def test_percents_are_of_all_heads_rounded_down_and_one_at_least(percent, count):
    assert len(select_heads(made_scores(np.arange(50).reshape(5, 10)), rule="top_percent", percent=percent)) == count


def test_a_threshold_is_strict_and_an_empty_set_says_what_the_largest_is():
    scores = made_scores(SQUARE)
    assert select_heads(scores, rule="threshold", above=0.8).heads == ((0, 1),)
    none = select_heads(scores, rule="threshold", above=2)
    assert len(none) == 0 and none.why == "no score lies above 2; the largest is 0.9"


def test_heads_without_a_score_are_never_selected_and_counted():
    values = np.array(SQUARE)
    values[0, 1] = np.nan
    for rule, given in {"top_percent": {"percent": 100}, "threshold": {"above": -1}}.items():
        found = select_heads(made_scores(values), rule=rule, **given)
        assert len(found) == 5 and (0, 1) not in found and found.left_out == 1
    none = select_heads(made_scores(values), rule="top_k", k=6)
    assert len(none) == 0 and none.left_out == 1 and none.why == "k=6 of 5 heads with a score: ask for fewer"


def test_against_chance_heads_pass_by_their_corrected_p():
    p = np.array([[0.001, 0.02, 0.5], [0.03, 0.9, 0.024]])
    scores = made_scores(1 - p, p=p, p_any=p * 3)
    assert select_heads(scores, rule="fdr").heads == ((0, 0), (0, 1), (1, 2), (1, 0))
    assert select_heads(scores, rule="fdr", level=0.01).heads == ((0, 0),)
    assert select_heads(scores, rule="max_t").heads == ((0, 0),)
    none = select_heads(scores, rule="max_t", level=0.001)
    assert none.why == "no p-value, corrected by maxT for 6 heads, is 0.001 or less; the least is 0.003"
    with pytest.raises(InputError, match="gave no p, so that heads can not be held against chance"):
        select_heads(made_scores(SQUARE), rule="fdr")


@pytest.mark.parametrize("rule", ["fdr", "max_t"])
def test_of_200_null_score_sets_no_more_pass_than_the_level_says(rule):
    """Scores of 40 heads on the same made-up labels, 19 deals: what heads share, such as the labels, is in all."""
    rng, passed, level = np.random.default_rng(0), 0, 0.1
    for _ in range(200):
        drawn = rng.normal(size=(20, 4, 10)) + 0.5 * rng.normal(size=(20, 1, 1)) + 0.5 * rng.normal(size=(20, 4, 1))
        p, p_any = pooled_p(drawn[0].ravel(), drawn[1:].reshape(19, -1))
        passed += len(select_heads(made_scores(drawn[0], p=p, p_any=p_any), rule=rule, level=level)) > 0
    assert passed <= 32  # 20 of 200, and 99.8 % of the binomial


def test_probes_of_noise_pass_no_more_often_than_the_level_says():
    options = {"functions": FUNCTIONS, "shuffles": 19, "draws": 1, "progress": False}
    passed = 0
    for seed in range(25):
        found = linear_probe(*planted(seed=seed, questions=20), seed=seed, **options)
        passed += sum(len(one) > 0 for one in select_all(found, "fdr", level=0.1))
    assert passed <= 16  # 7.5 of 75


def test_planted_heads_pass_and_their_neighbours_do_not():
    found = linear_probe(
        *planted((("spatial", 1, 2), ("math", 0, 1))), functions=FUNCTIONS, shuffles=39, draws=1, progress=False
    )
    carriers = {"spatial": (1, 2), "math": (0, 1)}
    for one in select_all(found, "fdr"):
        # What is of one function is not of another, so that the other's head tells that too.
        assert set(one) <= set(carriers.values()) and one.heads[:1] != ((1, 1),)
        assert one.function not in carriers or one.heads[0] == carriers[one.function]
    assert [one.function for one in select_all(found, "fdr")] == list(FUNCTIONS)


def test_head_sets_sort_and_are_keys():
    sets = [HeadSet("b", "s", "r", ((0, 1),)), HeadSet("a", "s", "r", ((1, 0),)), HeadSet("a", "s", "r", ((0, 2),))]
    assert [one.heads for one in sorted(sets)] == [((0, 2),), ((1, 0),), ((0, 1),)]
    assert len({*sets, sets[0]}) == 3


@pytest.mark.parametrize(
    ("rule", "given", "said"),
    [
        ("best", {}, "rule='best' is not known: use one of elbow, top_k"),
        ("top_k", {}, "rule 'top_k' needs k: give k="),
        ("elbow", {"k": 3}, "rule 'elbow' has no k: it takes nothing"),
        ("top_k", {"k": 3, "level": 0.1}, "rule 'top_k' has no level: it takes k"),
        ("top_k", {"k": 0}, "k 0 can not be used"),
        ("top_k", {"k": 7}, "k=7 of 6 heads"),
        ("top_percent", {"percent": 0}, "percent=0"),
        ("top_percent", {"percent": "ten"}, "percent='ten'"),
        ("threshold", {"above": float("nan")}, "is no threshold"),
        ("fdr", {"level": 1}, "level=1"),
    ],
)
def test_what_a_rule_can_not_use_is_refused(rule, given, said):
    with pytest.raises(InputError, match=said):
        select_heads(made_scores(SQUARE, p=[[0.5] * 3] * 2), rule=rule, **given)


@pytest.mark.parametrize(
    ("rule", "given", "said"),
    [
        ("top_k", {"k": -1}, "k -1 can not be used"),
        ("top_percent", {"percent": float("nan")}, "percent=nan"),
        ("threshold", {"above": float("inf")}, "is no threshold"),
        ("max_t", {"level": 0}, "level=0"),
    ],
)
def test_a_value_that_no_scores_could_use_is_refused_before_there_are_any(rule, given, said):
    with pytest.raises(InputError, match=said):
        check_selection(rule, **given)


def test_a_function_without_scores_is_refused_by_name():
    with pytest.raises(InputError, match="no scores of 'math': use one of f0, f1"):
        select_heads(made_scores(np.zeros((2, 2, 2))), "math")


def test_more_heads_than_there_are_are_refused_and_more_than_have_a_score_select_none():
    scores = made_scores([[0.1, np.nan, 0.4], [0.8, 0.4, 0.2]])
    with pytest.raises(InputError, match="k=7 of 6 heads: ask for fewer"):
        select_heads(scores, rule="top_k", k=7)
    assert len(select_heads(scores, rule="top_k", k=5)) == 5
    none = select_heads(scores, rule="top_k", k=6)
    assert len(none) == 0 and none.why == "k=6 of 5 heads with a score: ask for fewer"
