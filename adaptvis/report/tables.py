"""Readable tables: the numbers of an evaluation as a person reads them, in percent and points with intervals."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from adaptvis.policy.policies import AdaptVis
from adaptvis.report.measures import SHORT, frequent
from interp.answers.comparison import MCNEMAR
from interp.answers.metrics import ALL, accuracy
from interp.report.numbers import NOTHING, p_value, percent, points, probability
from interp.report.verdicts import SIGNIFICANT
from interp.stats.tests import holm

if TYPE_CHECKING:
    import pandas as pd

    from adaptvis.evaluation.evaluation import Evaluation
    from adaptvis.report.measures import EvaluationMeasures

CLAIMS = (
    "A difference is claimed where both say so, its interval, by leaving out 0, and its corrected p, by lying below "
    f"{SIGNIFICANT:g}; one without the other claims nothing."
)
"""What decides where the bootstrap's interval and the exact test of a gain disagree."""

MOST_ROWS = 12
"""Relations in a table."""

PUBLISHED_DIGITS = {"paper": 1, "re-run": 2}
"""With how many digits each source has its percents."""


def test_of(rows: pd.DataFrame | pd.Series) -> str:
    """The test that gave p, as the rows themselves say, each test once; McNemar's where they do not say."""
    test = rows.get("test", "")
    named = [test] if isinstance(test, str) else list(dict.fromkeys(test.dropna()))
    return " or ".join(name for name in named if name) or MCNEMAR


def readable(evaluation: Evaluation, summary: pd.DataFrame) -> pd.DataFrame:
    """The accuracy table by policy and relation; accuracy, gain and p, plain and corrected, are by the strict rule.

    Args:
        evaluation: what was asked and answered.
        summary: the lines of its summary that are shown.
    """
    import pandas as pd

    base_name, adaptive, rows = str(evaluation.policies["baseline"]), _adaptive(evaluation), []
    for line in summary.itertuples():
        base = line.policy == base_name
        answers = evaluation.answers[evaluation.answers["policy"] == line.policy]
        own = answers if line.relation == ALL else answers[answers["relation"] == line.relation]
        paper = accuracy(own, "correct_paper")
        rows.append(
            {
                "policy": line.policy,
                "relation": line.relation,
                "n": line.n,
                "accuracy %": percent(line.accuracy, line.low, line.high),
                "by the paper's rule %": percent(paper.estimate, paper.low, paper.high),
                "gain, points": "" if base else points(line.difference, line.difference_low, line.difference_high),
                "p": "" if base else p_value(line.p),
                "test": "" if base else line.test,
                "p Holm": "" if base else p_value(line.p_holm),
                "confidence": probability(line.confidence),
                "unsure %": percent(line.unsure) if line.policy in adaptive else "",
            }
        )
    return pd.DataFrame(rows)


def main_table(evaluation: Evaluation, measured: EvaluationMeasures) -> pd.DataFrame:
    """One line per policy, by both scorers; Holm's correction is for the number of policies, scorer by scorer."""
    import pandas as pd

    table = measured.metrics.set_index(["method", "scorer", "measure"])
    others = [name for name in evaluation.policies if name != "baseline"]
    corrected = {
        scorer: dict(zip(others, holm([table.loc[(name, scorer, "gain"), "p"] for name in others]), strict=True))
        for scorer in ("strict", "paper")
        if others
    }
    rows = []
    for name in evaluation.policies:
        cells = {"policy": SHORT[name]}
        for scorer, title in (("strict", "strict"), ("paper", "paper's rule")):
            share = table.loc[(name, scorer, "accuracy")]
            gain = table.loc[(name, scorer, "gain")] if name in others else None
            cells[f"{title} %"] = percent(share["value"], share["low"], share["high"])
            cells[f"gain, {title}"] = "" if gain is None else points(gain["value"], gain["low"], gain["high"])
            cells[f"p, {title}"] = "" if gain is None else p_value(gain["p"])
            cells[f"p Holm, {title}"] = "" if gain is None else p_value(corrected[scorer][name])
        rows.append(cells)
    return pd.DataFrame(rows)


def adds_up(before: float, after: float, difference: float, digits: int = 1) -> bool:
    """Whether two shares, as `percent` prints them, differ by their difference, as `points` prints it.

    `digits` are those of the first; with more than one it may differ by what these say more.

    Example:
        >>> adds_up(0.712, 0.725, 0.013), adds_up(0.7124, 0.7246, 0.0122)
        (True, False)
    """
    first = float(f"{100 * before:.{digits}f}")
    second, apart = (float(f"{100 * value:.1f}") for value in (after, difference))
    return abs(second - first - apart) < (0.05 if digits == 1 else 0.1)


def gains_round(lines: pd.DataFrame) -> str:
    """A sentence where rounded accuracies do not give the rounded gain of one of these lines; nothing where all do.

    Args:
        lines: of a summary, or settings: accuracy, and difference to the untouched run.
    """
    before = (lines["accuracy"] - lines["difference"]).round(12)  # as it was before the difference was taken
    return _rounding_says(zip(before, lines["accuracy"], lines["difference"], strict=True), "Gains")


def published_round(published: pd.DataFrame) -> str:
    """The same of published numbers, as `published_table` shows them."""
    digits = published["source"].map(PUBLISHED_DIGITS)
    shown = (published["published"], published["ours"], published["difference"], digits)
    return _rounding_says(zip(*shown, strict=True), "Differences")


def _rounding_says(rows: Iterable[tuple[Any, ...]], what: str) -> str:
    known = [row for row in rows if np.isfinite(row).all()]
    if all(adds_up(*row) for row in known):
        return ""
    return f"{what} are of shares before rounding, and some differ by 0.1 from what the rounded ones give."


def main_rounds(measured: EvaluationMeasures) -> str:
    """`gains_round` of the main table, both scorers."""
    table = measured.metrics
    wide = table[table["measure"].isin(["accuracy", "gain"])].pivot(
        index=["method", "scorer"], columns="measure", values="value"
    )
    gains = wide.assign(difference=wide["gain"]) if "gain" in wide else wide.assign(difference=np.nan)
    return gains_round(gains)


def relation_table(evaluation: Evaluation, most: int) -> pd.DataFrame:
    """Accuracy, gain and p by policy and relation, for the most frequent relations."""
    lines = shown_relations(evaluation, most)
    names = {str(policy): SHORT[name] for name, policy in evaluation.policies.items()}
    table = readable(evaluation, lines)
    table = table.assign(policy=[names[policy] for policy in lines["policy"]])
    table.insert(6, "gained / lost", [
        "" if line.policy == "baseline" else f"{line.gained} / {line.lost}" for line in lines.itertuples()
    ])  # fmt: skip
    table = table.drop(columns="confidence")
    return table if set(lines["policy"]) & _adaptive(evaluation) else table.drop(columns="unsure %")


def shown_relations(evaluation: Evaluation, most: int) -> pd.DataFrame:
    """The lines of the summary that `relation_table` shows."""
    kept = [ALL, *frequent(evaluation.rows("baseline"), most)]
    return evaluation.summary[evaluation.summary["relation"].isin(kept)]


def metric_table(measured: EvaluationMeasures, methods: Sequence[str]) -> pd.DataFrame:
    """The other overall measures, one line per policy."""
    import pandas as pd

    wanted = {
        "balanced_accuracy": "balanced accuracy %",
        "macro_f1": "macro-F1 %",
        "parse_failures": "names no option %",
        "majority": "always the commonest %",
        "chance": "blind choice %",
    }
    table = measured.metrics
    rows = []
    for name in methods:
        cells = {"policy": SHORT[name]}
        for measure, title in wanted.items():
            found = table[(table["method"] == name) & (table["measure"] == measure)].iloc[0]
            cells[title] = percent(found["value"], found["low"], found["high"])
        rows.append(cells)
    return pd.DataFrame(rows)


def group_table(groups: pd.DataFrame) -> pd.DataFrame:
    """Pair and set scores: one line per policy and scorer, the ceiling beside the paper's denominators."""
    import pandas as pd

    rows = []
    for (method, scorer), own in groups.groupby(["method", "scorer"], sort=False):
        cells = {"policy": SHORT[str(method)], "scorer": "strict" if scorer == "strict" else "paper's rule"}
        for line in own.itertuples():
            name = f"{line.score}, {'paper' if line.denominator == 'paper' else 'complete only'} %"
            cells[name] = percent(line.value, line.low, line.high)
            if line.denominator == "paper":
                cells[f"ceiling of {line.score} %"] = percent(line.ceiling)
            else:
                cells[f"complete {line.score}s"] = f"{line.of:.0f}"
        rows.append(cells)
    return pd.DataFrame(rows)


def yes_no_table(scores: pd.DataFrame) -> pd.DataFrame:
    """Yes/no scores, one line per policy and scorer."""
    import pandas as pd

    names = {
        "accuracy": "accuracy %",
        "paper_f1": "the paper's F1 %",
        "f1": "F1 of yes %",
        "balanced_accuracy": "balanced accuracy %",
        "true_positive_rate": "right where it holds %",
        "true_negative_rate": "right where it does not %",
        "precision": "precision of yes %",
    }
    rows = []
    for (method, scorer), own in scores.groupby(["method", "scorer"], sort=False):
        found = own.set_index("measure")
        cells = {title: percent(*found.loc[name, ["value", "low", "high"]]) for name, title in names.items()}
        rows.append(
            {"policy": SHORT[str(method)], "scorer": "strict" if scorer == "strict" else "paper's rule"} | cells
        )
    return pd.DataFrame(rows)


def confidence_table(measured: EvaluationMeasures, untouched: pd.DataFrame, most: int) -> pd.DataFrame:
    """Accuracy (strict) and confidence of the untouched model, by relation."""
    import pandas as pd

    kept = [ALL, *frequent(untouched, most)]
    rows: dict[str, dict[str, object]] = {}
    for line in measured.confidence.itertuples():
        if line.relation not in kept:
            continue
        cells = rows.setdefault(line.relation, {"relation": line.relation, "n": line.n})
        if line.measure == "accuracy":
            cells["accuracy %"] = percent(line.value, line.low, line.high)
        else:
            cells[line.measure] = probability(line.value, line.low, line.high)
    return pd.DataFrame(list(rows.values()))


def branch_table(branches: pd.DataFrame, answers: pd.DataFrame, relations: Sequence[str]) -> pd.DataFrame:
    """How many samples AdaptVis takes as unsure and as sure, and the accuracy there."""
    import pandas as pd

    order = [ALL, *relations]
    kept = branches[branches["relation"].isin(order)].sort_values("branch", ascending=False)  # unsure, then sure
    kept = kept.sort_values("relation", key=lambda names: names.map(order.index), kind="stable")
    rows = [
        {
            "relation": line.relation,
            "branch": line.branch,
            "n": line.n,
            "share %": percent(line.share, line.low, line.high),
            "accuracy there %": _accuracy(_taken(answers, line.relation, line.branch)),
        }
        for line in kept.itertuples()
    ]
    return pd.DataFrame(rows)


def gain_table(rows: pd.DataFrame, sweep: pd.DataFrame, label: str) -> pd.DataFrame:
    """Settings against the untouched run, with raw and corrected p-values.

    Args:
        rows: the settings.
        sweep: the answers under each of them, one row per sample and setting.
        label: the column that a reader knows a setting by.
    """
    import pandas as pd

    answers = dict(iter(sweep.groupby("setting")))
    return pd.DataFrame(
        [
            {
                label: getattr(line, label),
                "accuracy %": _accuracy(answers[line.setting]),
                "gain, points": points(line.difference, line.low, line.high),
                "gained / lost": f"{line.gained} / {line.lost}",
                "p": p_value(line.p),
                "p Holm": p_value(line.p_holm),
                "p Benjamini-Hochberg": p_value(line.p_bh),
            }
            for line in rows.itertuples()
        ]
    )


def published_table(published: pd.DataFrame) -> pd.DataFrame:
    """Published numbers beside ours."""
    import pandas as pd

    measures = {"accuracy": "accuracy", "pair": "pairs", "set": "sets", "paper_f1": "the paper's F1"}
    return pd.DataFrame(
        [
            {
                "policy": SHORT[line.method],
                "source": line.source,
                "measure": measures[line.measure],
                "published %": percent(line.published, digits=PUBLISHED_DIGITS[line.source]),
                "ours %": percent(line.ours, line.low, line.high),
                "inside our interval": NOTHING if pd.isna(line.inside) else "yes" if line.inside else "no",
                "ours minus theirs": points(line.difference),
                "in items": NOTHING if pd.isna(line.items) else f"{line.items:+d}",
                "n, ours / theirs": f"{line.n} / {line.n_published}",
                "note": line.note,
            }
            for line in published.itertuples()
        ]
    )


def _adaptive(evaluation: Evaluation) -> set[str]:
    """The policies that take some samples as unsure, as the tables name them."""
    return {str(policy) for policy in evaluation.policies.values() if isinstance(policy, AdaptVis)}


def _taken(answers: pd.DataFrame, relation: str, branch: str) -> pd.DataFrame:
    """The answers of a relation, or of all, that took a branch."""
    own = answers[answers["branch"] == branch]
    return own if relation == ALL else own[own["relation"] == relation]


def _accuracy(rows: pd.DataFrame) -> str:
    """The accuracy of answers with its interval."""
    found = accuracy(rows)
    return percent(found.estimate, found.low, found.high)
