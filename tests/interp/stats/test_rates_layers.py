"""Intervals of layer choice hold what they promise, and no confounder passes for an effect: measured rates."""

import pytest


@pytest.fixture(scope="module")
def measured(repo):
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(repo / "docs" / "scripts"))
        import rates_layers

        yield rates_layers


def fits(rate):
    """Whether a rate is what is promised or on the safe side, within three Monte-Carlo errors."""
    slack = 3 * rate.error
    return (
        rate.measured <= rate.nominal + slack if "false alarms" in rate.name else rate.measured >= rate.nominal - slack
    )


SHORT = (
    "no layer knows",
    "no layer knows, 5 of 100 wrong",
    "no layer knows, six groups",
    "all layers know alike, reversed",
    "all layers know alike, 50 groups of four",
    "the paper's and another know alike",
    "another alone knows, reversed, 60 of 300 wrong",
    "another alone knows, ten groups",
)


@pytest.mark.parametrize("name", SHORT)
def test_intervals_of_layers_hold_their_level_and_no_difference_is_seldom_found(measured, name):
    for rate in measured.layer_rates(name, 120):
        assert fits(rate), rate


@pytest.mark.parametrize("name", ["relation", "relation, groups of four", "relation, few groups"])
def test_the_relation_is_no_effect_beside_itself_and_a_false_alarm_without(measured, name):
    beside, without = measured.beside_rates(name, 100)
    assert fits(beside), beside
    assert without.measured > 0.5 or "few" in name, without


@pytest.mark.parametrize("name", ["confidence", "area"])
def test_confidence_and_area_are_held_fixed_in_the_form_that_right_answers_follow(measured, name):
    right, bent = measured.beside_rates(name, 150)
    assert fits(right), right
    assert bent.measured > bent.nominal + 3 * bent.error, bent


def test_a_chosen_setting_keeps_its_luck_on_the_official_split_and_not_by_pair(measured):
    official, by_pair = (measured.leak(how, 150) for how in ("official", "by-pair"))
    assert official.measured > 4 * official.error, official
    assert abs(by_pair.measured) < 3 * by_pair.error, by_pair
    assert official.measured - by_pair.measured > 0.5, "points"
