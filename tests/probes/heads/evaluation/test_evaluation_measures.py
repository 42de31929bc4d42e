"""Measures of an evaluation are those of loops over made-up answers, and random edits are seldom called causal."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binom

from probes.heads.evaluation.arms import Arm
from probes.heads.evaluation.measurement import CONTROL, MAIN
from probes.heads.evaluation.measures import (
    TaskAnswers,
    Told,
    count_answers,
    dose_curves,
    measure_arms,
    table_of_arms,
)

ARMS = (
    Arm("untouched", "untouched"),
    Arm("set", "tested", "set", ((0, 0),), 0.0),
    *(Arm(f"set, random {draw}", "random", "set", ((0, 1 + draw),), 0.0, draw=draw) for draw in range(5)),
)
TOLD = Told(direction=-1, seed=0, draws=20, level=0.95, alpha=0.05, margin=0.05)
OPTIONS = ("left", "right")


def rows(task, said, gold, log_prob=None):
    """Rows of one task from what is said, [sample arm] of options or None."""
    told = []
    for sample, (own, right) in enumerate(zip(said, gold, strict=True)):
        for place, (arm, word) in enumerate(zip(ARMS, own, strict=True)):
            told.append(
                {
                    "id": f"{task} {sample}", "task": task, "arm": arm.name, "edits": place > 0, "text": word or "",
                    "predicted": word, "correct": word == right, "parsed": word is not None,
                    "confidence": 0.5 + 0.01 * place, "gold": right, "options": OPTIONS,
                    "log_prob": -1.0 if log_prob is None else log_prob[sample][place], "tokens": 1 + sample % 2,
                }
            )  # fmt: skip
    return pd.DataFrame(told)


def told_of(*tables, told=TOLD):
    """The answers of each task, the measures and the table of arms."""
    tasks = {}
    for table in tables:
        count = table["id"].nunique()
        tasks[table["task"].iloc[0]] = TaskAnswers.of(table, table["task"].iloc[0], len(ARMS), np.arange(count))
    measures, answers = measure_arms(ARMS, tasks, told), count_answers(ARMS, tasks)
    return measures, answers, table_of_arms(ARMS, [len(arm.heads) for arm in ARMS], tasks, measures, answers, told)


def drawn(rng, gold, right):
    """What is said where each answer is right with a probability, [sample arm]."""
    other = {"left": "right", "right": "left"}
    lucky = rng.random((len(gold), len(ARMS))) < right
    return [[word if ok else other[word] for ok in own] for word, own in zip(gold, lucky, strict=True)]


@pytest.fixture
def gold():
    return ["left", "right"] * 20


def test_counts_changes_and_leans_are_those_of_a_loop(gold):
    said = drawn(np.random.default_rng(0), gold, 0.7)
    for sample in range(6):
        said[sample][1] = None
    measures, answers, table = told_of(rows(MAIN, said, gold))
    by = measures.set_index(["arm", "measure"])["value"]
    for place, arm in enumerate(ARMS):
        before = [own[0] == right for own, right in zip(said, gold, strict=True)]
        after = [own[place] == right for own, right in zip(said, gold, strict=True)]
        row = table.iloc[place]
        assert row["accuracy"] == pytest.approx(np.mean(after)) and row["net"] == sum(after) - sum(before)
        assert row["corrected"] == sum(b < a for b, a in zip(before, after, strict=True))
        assert row["broken"] == sum(b > a for b, a in zip(before, after, strict=True))
        assert row["parse_failures"] == pytest.approx(np.mean([own[place] is None for own in said]))
        over = {word: np.mean([own[place] == word for own in said]) - 0.5 for word in OPTIONS}
        assert row["lean"] == pytest.approx(max(over.values())) and over[row["leans_to"]] == max(over.values())
        if place:
            assert by[arm.name, "accuracy_change"] == pytest.approx(np.mean(after) - np.mean(before))
            assert row["confidence"] == pytest.approx(0.5 + 0.01 * place)
    random = np.mean([table["accuracy"].iloc[place] for place in range(2, 7)])
    assert by["set", "beyond_random"] == pytest.approx(table["accuracy"].iloc[1] - random)
    assert answers.query("arm == 'set' and answer == 'none'")["predicted"].tolist() == [6]


def test_perplexity_weighs_tokens_and_its_ratio_is_that_of_both(gold):
    log_prob = -np.random.default_rng(0).random((len(gold), len(ARMS))) * 4
    said = drawn(np.random.default_rng(1), gold, 0.8)
    measures, _, table = told_of(rows(MAIN, said, gold), rows(CONTROL, said, gold, log_prob))
    by = measures[measures["task"] == CONTROL].set_index(["arm", "measure"])["value"]
    tokens = sum(1 + sample % 2 for sample in range(len(gold)))
    for place, arm in enumerate(ARMS):
        own = np.exp(-log_prob[:, place].sum() / tokens)
        assert by[arm.name, "perplexity"] == pytest.approx(own)
        if place:
            assert by[arm.name, "perplexity_ratio"] == pytest.approx(own / by["untouched", "perplexity"])
            assert table["perplexity_ratio"].iloc[place] == pytest.approx(by[arm.name, "perplexity_ratio"])


def test_what_is_right_less_often_than_a_guess_is_below_chance_and_broken(gold):
    other = {"left": "right", "right": "left"}
    said = [[word, other[word], *[word] * 5] for word in gold]
    fine = [[word] * len(ARMS) for word in gold]
    _, _, table = told_of(rows(MAIN, said, gold), rows(CONTROL, fine, gold))
    assert table["below_chance"].tolist() == [False, True, *[False] * 5]
    assert table["verdict"].iloc[1] == "broken" and "below chance means broken, not causal" in table["why"].iloc[1]
    assert table["verdict"].drop(1).eq("").all()


def test_an_edit_that_breaks_the_control_task_or_reading_is_broken_and_else_causal(gold):
    always = [[word, "left", *[word] * 5] for word in gold]
    fine = [[word] * len(ARMS) for word in gold]
    unread = [[word, None, *[word] * 5] for word in gold]
    verdicts = [
        told_of(rows(MAIN, main, gold), rows(CONTROL, control, gold))[2]["verdict"].iloc[1]
        for main, control in ((always, fine), (always, always), (unread, fine))
    ]
    assert verdicts == ["causal", "broken", "broken"]


def test_strengthening_is_causal_where_it_helps_and_not_where_it_harms(gold):
    fine = [[word] * len(ARMS) for word in gold]
    helped = [["left", word, *["left"] * 5] for word in gold]
    harmed = [[word, "left", *[word] * 5] for word in gold]
    up = replace(TOLD, direction=1)
    found = [told_of(rows(MAIN, said, gold), rows(CONTROL, fine, gold), told=up)[2] for said in (helped, harmed)]
    assert [table["verdict"].iloc[1] for table in found] == ["causal", "no effect detected"]


def test_edits_that_are_all_alike_at_random_are_seldom_called_causal(gold):
    rng, times = np.random.default_rng(0), 12
    fine = rows(CONTROL, [[word] * len(ARMS) for word in gold], gold)
    called = 0
    for _ in range(times):
        right = np.concatenate([[0.9], np.clip(rng.normal(0.6, 0.1, len(ARMS) - 1), 0.5, 1)])  # each breaks as it may
        called += told_of(rows(MAIN, drawn(rng, gold, right), gold), fine)[2]["verdict"].iloc[1] == "causal"
    assert called <= binom.ppf(0.995, times, 0.05)


def test_without_doses_there_is_no_curve(gold):
    _, _, table = told_of(rows(MAIN, drawn(np.random.default_rng(0), gold, 0.7), gold))
    curves = dose_curves(ARMS, table)
    assert curves.empty and "random_most" in curves
