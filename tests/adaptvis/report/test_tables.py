"""The readable tables go by what a policy is and by counts, not by what a name looks like or a share rounds to."""

from dataclasses import dataclass, replace

import pandas as pd
import pytest
from made_up_evaluation import made_up_evaluation

from adaptvis.policy.policies import AdaptVis, ScalingVis
from adaptvis.report.measures import measure_evaluation
from adaptvis.report.tables import branch_table, gain_table, readable, relation_table
from interp.report.numbers import percent
from interp.stats.intervals import wilson


@dataclass(frozen=True)
class Disguised(ScalingVis):
    """ScalingVis under a name that begins like another one's."""

    def __str__(self):
        return "AdaptVis in name alone"


@dataclass(frozen=True)
class Renamed(AdaptVis):
    """AdaptVis under a name of its own."""

    def __str__(self):
        return "two strengths"


def under(evaluation, name, policy):
    """The evaluation with one policy in the place of another, its answers the same."""
    before, now = str(evaluation.policies[name]), str(policy)
    tables = {key: getattr(evaluation, key).replace({"policy": {before: now}}) for key in ("answers", "summary")}
    return replace(evaluation, policies={**evaluation.policies, name: policy}, **tables)


def test_that_who_is_unsure_is_told_by_the_kind_of_policy():
    evaluation = under(made_up_evaluation(n=40), "scaling", Disguised(0.5))
    evaluation = under(evaluation, "adaptvis", Renamed(0.5, 1.5, 0.6))
    table = readable(evaluation, evaluation.summary).set_index("policy")["unsure %"]
    assert set(table["AdaptVis in name alone"]) == {""} and "" not in set(table["two strengths"])
    assert "unsure %" in relation_table(evaluation, 12)
    lines = evaluation.summary[evaluation.summary["policy"] != "two strengths"]
    others = {name: policy for name, policy in evaluation.policies.items() if name != "adaptvis"}
    assert "unsure %" not in relation_table(replace(evaluation, policies=others, summary=lines), 12)


def counted(rows, column="correct"):
    found = wilson(int(rows[column].sum()), len(rows))
    return percent(found.estimate, found.low, found.high)


def test_that_every_accuracy_is_of_the_answers_that_were_counted():
    evaluation = made_up_evaluation(n=40)
    measured = measure_evaluation(evaluation, dataset="shapes")
    for line in readable(evaluation, evaluation.summary).to_dict("records"):
        rows = evaluation.answers[evaluation.answers["policy"] == line["policy"]]
        rows = rows if line["relation"] == "all" else rows[rows["relation"] == line["relation"]]
        assert line["by the paper's rule %"] == counted(rows, "correct_paper")
    gains = gain_table(evaluation.settings, evaluation.test, "setting")
    for line in gains.to_dict("records"):
        assert line["accuracy %"] == counted(evaluation.test[evaluation.test["setting"] == line["setting"]])
    answers = evaluation.rows("adaptvis")
    branches = branch_table(measured.branches, answers, ["left", "right"])
    assert set(branches["relation"]) == {"all", "left", "right"}
    for line in branches.to_dict("records"):
        own = answers[answers["branch"] == line["branch"]]
        own = own if line["relation"] == "all" else own[own["relation"] == line["relation"]]
        assert line["accuracy there %"] == counted(own)


@pytest.mark.parametrize("change", [1e-9, 0.3])
def test_that_a_share_which_is_not_exact_moves_no_count(change):
    evaluation = made_up_evaluation(n=40)
    off = evaluation.settings.assign(accuracy=evaluation.settings["accuracy"] - change)
    pd.testing.assert_frame_equal(
        gain_table(off, evaluation.test, "setting"), gain_table(evaluation.settings, evaluation.test, "setting")
    )
