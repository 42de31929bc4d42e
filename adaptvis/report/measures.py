"""The numbers of an evaluation's report: every measure with its scorer and interval, and what can not be measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from adaptvis.evaluation.selection import THRESHOLDS, thresholds_of
from adaptvis.paper.published import METHODS, PRESETS, compare_with_published
from adaptvis.paper.splits import OFFICIAL_SIZES, official_split
from adaptvis.policy.policies import AdaptVis, ScalingVis
from adaptvis.sweep.plan import UNTOUCHED
from adaptvis.sweep.read import confidence_of, rows_under
from interp.answers.calibration import (
    Calibration,
    branch_fractions,
    calibration,
    confidence_by_relation,
    familiar_against_unfamiliar,
)
from interp.answers.comparison import compare
from interp.answers.groups import PAIRS, pair_set_scores
from interp.answers.metrics import accuracy, summary
from interp.answers.scoring import YES_NO
from interp.answers.yesno import yes_no_scores
from interp.datasets.benchmarks.prompts import in_papers_words
from interp.errors import InputError
from interp.intervene.indices import spell
from interp.reprs import fits_a_cell
from interp.stats.intervals import Interval

if TYPE_CHECKING:
    import pandas as pd

    from adaptvis.evaluation.evaluation import Evaluation

SCORERS = {"strict": "correct", "paper": "correct_paper"}
"""The column of each scorer: the first option that is named, and the gold word anywhere in the answer."""

SHORT = {
    "baseline": "baseline",
    "scaling": "ScalingVis",
    "adaptvis": "AdaptVis",
    "add": "additive control",
    "temper": "tempered control",
    "vcd": "VCD",
    "dola": "DoLa",
}
"""How a reader is told of a policy."""


@fits_a_cell(table="metrics")
@dataclass(frozen=True, eq=False)
class EvaluationMeasures:
    """What an evaluation comes to, besides its summary; a table is empty where it does not apply.

    Attributes:
        metrics: one row per method, scorer and measure: method, policy, scorer, measure, value, low, high, n;
            of gains, which the baseline has none of, p and test too, see `Comparison`.
        groups: pair and set scores by method and scorer, see `pair_set_scores`.
        yes_no: yes/no scores by method, see `yes_no_scores`.
        confidence: confidence by relation of the untouched model, see `confidence_by_relation`.
        familiar: left and right against the other relations, see `familiar_against_unfamiliar`.
        calibration: the calibration of the untouched model, by the strict rule.
        branches: the branches of AdaptVis, see `branch_fractions`.
        windows: the gain of ScalingVis in windows of layers.
        published: published numbers beside these, see `compare_with_published`.
        tried: how many settings were tried, and how many differ from the untouched run.
        left_out: why a table is empty, by its name.
    """

    metrics: pd.DataFrame
    groups: pd.DataFrame
    yes_no: pd.DataFrame
    confidence: pd.DataFrame
    familiar: pd.DataFrame
    calibration: Calibration
    branches: pd.DataFrame
    windows: pd.DataFrame
    published: pd.DataFrame
    tried: dict[str, Any]
    left_out: dict[str, str] = field(default_factory=dict)


def measure_evaluation(
    evaluation: Evaluation,
    *,
    dataset: str = "",
    model: str = "",
    pairs: Sequence[tuple[str, str]] | None = None,
    seed: int = 0,
    released: bool = False,
) -> EvaluationMeasures:
    """Measure all that the answers allow; what they do not is left empty, with the reason.

    Args:
        evaluation: what was asked and answered.
        dataset: its name, for pairs and published numbers.
        model: a name that says the version, for published numbers.
        pairs: the relations that make a pair; those of the data set by default, see `groups.PAIRS`.
        seed: the seed of all bootstraps.
        released: whether every question was asked in the authors' released words, to the letter.
    """
    left_out: dict[str, str] = {}
    untouched = evaluation.rows("baseline")
    sets = pairs or PAIRS.get(dataset)

    def attempt(name: str, make: Callable[[], pd.DataFrame]) -> pd.DataFrame:
        import pandas as pd

        try:
            return make()
        except InputError as error:
            left_out[name] = str(error)
            return pd.DataFrame()

    def by_scorer(rows: pd.DataFrame) -> pd.DataFrame:
        if sets is None:
            raise InputError(f"data set {dataset!r} has no pairs of relations")
        return _stack({(name,): pair_set_scores(rows, sets, column=SCORERS[name]) for name in SCORERS}, "scorer")

    groups = attempt("groups", lambda: _each(evaluation, by_scorer))
    yes_no = attempt("yes_no", lambda: _each(evaluation, lambda rows: _yes_no(rows, seed)))
    found = EvaluationMeasures(
        metrics=_metrics(evaluation, seed),
        groups=groups,
        yes_no=yes_no,
        confidence=confidence_by_relation(untouched, seed=seed),
        familiar=attempt("familiar", lambda: familiar_against_unfamiliar(untouched, seed=seed)),
        calibration=calibration(untouched, seed=seed),
        branches=attempt("branches", lambda: _branches(evaluation)),
        windows=attempt("windows", lambda: _windows(evaluation)),
        published=attempt(
            "published", lambda: _published(evaluation, (dataset, model), groups, yes_no, released=released)
        ),
        tried=_tried(evaluation),
        left_out=left_out,
    )
    return found


def swept(evaluation: Evaluation, mode: str) -> pd.DataFrame | None:
    """The reported rows over the strengths of a mode, in its policy's layers and heads; None where there are none."""
    policies = evaluation.policies.values()
    modes = {getattr(each, "mode", "mul"): each for each in policies if isinstance(each, (ScalingVis, AdaptVis))}
    if mode not in modes:
        return None
    rows = rows_under(evaluation.test, mode=mode, layers=spell(modes[mode].layers), heads=spell(modes[mode].heads))
    return rows if rows["alpha"].nunique() > 1 else None


def frequent(rows: pd.DataFrame, most: int) -> list[str]:
    """The relations with the most samples, `most` of them, in the order in which they occur."""
    kept = set(rows["relation"].value_counts().index[:most])
    return [name for name in dict.fromkeys(rows["relation"]) if name in kept]


def _each(evaluation: Evaluation, make: Callable[[pd.DataFrame], pd.DataFrame]) -> pd.DataFrame:
    """A table of every policy's answers, one below the other, with the policy's name and settings first."""
    made = {(name, str(policy)): make(evaluation.rows(name)) for name, policy in evaluation.policies.items()}
    return _stack(made, "method", "policy")


def _stack(tables: Mapping[Any, pd.DataFrame], *names: str) -> pd.DataFrame:
    """Tables one below the other, their keys as first columns."""
    import pandas as pd

    parts = [
        table.assign(**dict(zip(names, key, strict=True)))[[*names, *table.columns]] for key, table in tables.items()
    ]
    return pd.concat(parts, ignore_index=True)


def _metrics(evaluation: Evaluation, seed: int) -> pd.DataFrame:
    """Overall measures of every policy, and its gains by both scorers."""
    import pandas as pd

    untouched = evaluation.rows("baseline")

    def of(rows: pd.DataFrame) -> pd.DataFrame:
        found = summary(rows, seed=seed)
        strict = found["measure"].isin(["accuracy", "balanced_accuracy", "macro_f1", "parse_failures"])
        found.insert(0, "scorer", strict.map({True: "strict", False: ""}))
        found.loc[found["measure"] == "accuracy_paper", ["scorer", "measure"]] = ["paper", "accuracy"]
        gains = [
            {"scorer": name, "measure": "gain", **_gain(untouched, rows, column, seed)}
            for name, column in SCORERS.items()
            if rows["policy"].iloc[0] != untouched["policy"].iloc[0]
        ]
        return pd.concat([found, pd.DataFrame(gains)], ignore_index=True) if gains else found

    return _each(evaluation, of)


def _gain(before: pd.DataFrame, after: pd.DataFrame, column: str, seed: int) -> dict[str, float | str]:
    """The difference to the untouched answers as cells of a row."""
    found = compare(before, after, column=column, seed=seed)
    return {**found.difference.cells("value"), "n": found.n, "p": found.p_value, "test": found.test}


def _yes_no(rows: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Yes/no scores; refuses other answers before anything is drawn."""
    if not set(rows["gold"]) <= set(YES_NO):
        raise InputError("the answers are not yes and no")
    return yes_no_scores(rows, seed=seed).rename(columns={"rule": "scorer"})


def _branches(evaluation: Evaluation) -> pd.DataFrame:
    """How many samples AdaptVis takes as unsure, over all and by relation."""
    import pandas as pd

    if "adaptvis" not in evaluation.policies:
        raise InputError("AdaptVis was not asked")
    rows = evaluation.rows("adaptvis")
    parts = [branch_fractions(rows).assign(relation="all"), branch_fractions(rows, by="relation")]
    return pd.concat(parts, ignore_index=True)


def _windows(evaluation: Evaluation) -> pd.DataFrame:
    """ScalingVis in each window of layers against the untouched run, all its layers first, then from the first on."""
    scaling = evaluation.policies.get("scaling")
    if not isinstance(scaling, ScalingVis):
        raise InputError("ScalingVis was not asked")
    table, own = evaluation.test, spell(scaling.layers)
    scaled = table[(table["mode"] == "mul") & (table["heads"] == spell(scaling.heads))]
    elsewhere = scaled[scaled["layers"] != own]
    if elsewhere.empty:
        raise InputError("no window of layers was asked")
    alpha = elsewhere["alpha"].iloc[0]
    layers = scaled[scaled["alpha"] == alpha].drop_duplicates("setting").set_index("setting")["layers"]
    rows = evaluation.settings[evaluation.settings["setting"].isin(layers.index)]
    rows = rows.assign(layers=rows["setting"].map(layers), alpha=alpha)
    return rows.sort_values("layers", key=lambda names: names.map(lambda name: _first_layer(name, own)), kind="stable")


def _first_layer(name: str, own: str) -> int:
    """Where a window begins; -1 for the layers of the policy itself."""
    return -1 if name in (own, "all") else int(name.replace("-", ",").split(",")[0])


def _published(
    evaluation: Evaluation, of: tuple[str, str], groups: pd.DataFrame, yes_no: pd.DataFrame, *, released: bool
) -> pd.DataFrame:
    """Published numbers beside those of the policies that have any.

    Refuses what is not the official test split, or was not asked in the words that the numbers were had with.
    """
    import pandas as pd

    (dataset, model), rows = of, evaluation.rows("baseline")
    if dataset in OFFICIAL_SIZES and set(rows.get("row", ())) != set(official_split(OFFICIAL_SIZES[dataset])[1]):
        raise InputError("the published numbers are of the whole official test split, and these are of other samples")
    tables, reason = [], "no policy was asked that has published numbers"
    for name in evaluation.policies:
        if name in METHODS:
            rows, others = evaluation.rows(name), _others(name, groups, yes_no)
            others["accuracy"] = accuracy(rows, "correct_paper")
            share = float(rows["correct_paper"].mean())
            found = compare_with_published(share, len(rows), dataset, model, name, others=others)
            tables += [_with_settings(found.rows, evaluation.policies[name], dataset)] if len(found.rows) else []
            reason = found.reason or reason
    if not tables:
        raise InputError(reason)
    if not released:
        _refuse_other_words(dataset, evaluation.rows("baseline"))
    return pd.concat(tables, ignore_index=True)


def _refuse_other_words(dataset: str, rows: pd.DataFrame) -> None:
    """Refuse samples that were asked otherwise than the AdaptVis evaluation asks a data set."""
    if "prompt" not in rows:
        raise InputError(
            "the published numbers are of the paper's prompts, and these answers do not say what was asked"
        )
    others = [text for text in rows["prompt"].unique() if not in_papers_words(dataset, str(text))]
    if others:
        raise InputError(
            f"the published numbers are of the paper's prompts, and {len(others)} of these are other words, such as "
            f"{others[0][:120]!r}: ask with prompt='paper' (--prompt paper) and the questions of the data set"
        )


def _with_settings(rows: pd.DataFrame, policy: object, dataset: str) -> pd.DataFrame:
    """The rows, whose note says where ours had other settings than the authors', or theirs are not known."""
    theirs = PRESETS[dataset].policies().get(rows["method"].iloc[0])
    if theirs == policy:
        return rows
    added = "the authors' settings are not known" if theirs is None else f"ours is {policy}, theirs {theirs}"
    return rows.assign(note=[f"{note}; {added}" if note else added for note in rows["note"]])


def _others(name: str, groups: pd.DataFrame, yes_no: pd.DataFrame) -> dict[str, Interval]:
    """The measures besides accuracy that are published, by the paper's rule."""
    found: dict[str, Interval] = {}
    if len(groups):
        paper = (groups["scorer"] == "paper") & (groups["denominator"] == "paper") & (groups["method"] == name)
        found |= {row.score: Interval(row.value, row.low, row.high) for row in groups[paper].itertuples()}
    if len(yes_no):
        paper = (yes_no["scorer"] == "paper") & (yes_no["measure"] == "paper_f1") & (yes_no["method"] == name)
        found |= {row.measure: Interval(row.value, row.low, row.high) for row in yes_no[paper].itertuples()}
    return found


def _tried(evaluation: Evaluation) -> dict[str, Any]:
    """How much was tried, and how much of it differs from the untouched run on the reported samples."""
    settings, n = evaluation.settings, len(evaluation.settings)
    counts: dict[str, Any] = {"settings": n, "below_5_percent_by_chance": 0.05 * n}
    for name, column in (("uncorrected", "p"), ("holm", "p_holm"), ("benjamini_hochberg", "p_bh")):
        counts[f"below_5_percent_{name}"] = int((settings[column] < 0.05).sum()) if n else 0
    table, policy = evaluation.validation, evaluation.policies.get("adaptvis")
    if table is not None:
        counts["settings_on_validation"] = int((table["setting"].unique() != UNTOUCHED).sum())
        if isinstance(policy, AdaptVis):
            rows = rows_under(table, layers=spell(policy.layers), heads=spell(policy.heads))
            alphas, base = rows["alpha"].unique(), table[table["setting"] == UNTOUCHED]
            tried = len(thresholds_of(confidence_of(base, policy.confidence).to_numpy(dtype=float), THRESHOLDS))
            counts["adaptvis_settings_on_validation"] = int((alphas <= 1).sum() * (alphas >= 1).sum() * tried)
    return counts
