"""The sections of an evaluation's report: what was measured in plain sentences, with its table and figure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from adaptvis.policy.policies import AdaptVis
from adaptvis.report import tables
from adaptvis.report.confidence import calibration_section, confidence_section
from adaptvis.report.figures import MOST_ANSWERS, MOST_RELATIONS, changing_policy
from adaptvis.report.lead import LEVEL
from adaptvis.report.measures import SHORT, frequent
from adaptvis.report.setup import RunFacts, asked_section, chosen_section
from adaptvis.sweep.plan import UNTOUCHED
from interp.answers.comparison import named_test
from interp.answers.metrics import ALL, NONE, accuracy
from interp.numeric import agree, bounded, counted, named_level
from interp.report.numbers import NOTHING
from interp.report.page import Section
from interp.stats.clusters import few_units
from interp.stats.intervals import FEW, FEWEST

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from adaptvis.evaluation.evaluation import Evaluation
    from adaptvis.report.measures import EvaluationMeasures

_PAIRED = "with paired bootstrap intervals of 95 %"
Figures = Mapping[str, "Figure"]


def sections(
    evaluation: Evaluation, measured: EvaluationMeasures, figures: Figures, run: RunFacts, *, change: str
) -> list[Section]:
    """All sections, in order; what was not asked has none.

    Args:
        evaluation: what was asked.
        measured: what it comes to.
        figures: the figures by file name, see `draw_evaluation`; `before_after` too.
        run: the data set, model, settings.
        change: what the sample of `before_after` is, or why it is not there.
    """
    found = [
        Section("Read this first", tuple(remarks)) if (remarks := run.settings.get("remarks", ())) else None,
        _main(evaluation, measured),
        chosen_section(evaluation, measured, run),
        asked_section(run),
        _relations(evaluation, figures),
        _published(measured),
        _pairs(measured),
        _yes_no(measured),
        _others(evaluation, measured),
        *_curves(evaluation, figures),
        _thresholds(evaluation, measured, figures),
        _windows(evaluation, measured, figures),
        _answers(figures),
        _confusion(evaluation, figures),
        confidence_section(evaluation, measured, figures),
        calibration_section(evaluation, measured, figures),
        Section("Attention before and after", (change,), figures.get("before_after"), _BEFORE_AFTER),
        _failures(evaluation),
        _tried(evaluation, measured),
    ]
    return [section for section in found if section is not None]


_BEFORE_AFTER = (
    "Attention of the last prompt row over the photo, mean over heads, in the layers that correspond to the paper's: "
    "untouched, in the changed run (whose earlier layers are changed too), and the difference."
)
_CURVES = {
    "accuracy_by_alpha": (
        "Accuracy against alpha",
        "The image logits of the last prompt row are multiplied by alpha: above 1 sharpens the attention over the "
        "image, below 1 smooths it, and either also changes how much of it the image gets in all.",
        "Right answers (strict) on the reported samples; alpha 1 is the untouched model.",
    ),
    "additive": (
        "Control: more attention to the image without sharpening",
        "A constant is added to all image logits of the last prompt row. It changes how much attention the image gets, "
        "and not how that is spread over the image.",
        "Right answers (strict) on the reported samples; the constant 0 is the untouched model.",
    ),
    "tempered": (
        "Control: sharpening without more attention to the image",
        "The attention over the image is sharpened or smoothed as by alpha, and then weighted so that the image gets "
        "as much attention in all as in the same row untouched.",
        "Right answers (strict) on the reported samples; alpha 1 is the untouched model.",
    ),
}


def _main(evaluation: Evaluation, measured: EvaluationMeasures) -> Section:
    others, first = len(evaluation.policies) - 1, evaluation.summary[evaluation.summary["relation"] == ALL].iloc[0]
    tests = (
        f"{named_test(first['test'], first['groups'])}. Holm's correction is for "
        f"{counted(others, 'policy', 'policies')}, for each rule by itself."
        if others
        else "No policy was asked besides the baseline, so there is no gain and no p."
    )
    text = [
        f"{_brackets(evaluation, measured)}{tables.CLAIMS}",
        "Strict: the option that an answer names first, as a whole word, has to be the right one. Paper's rule: the "
        "right word has to stand anywhere in the answer, which also counts answers that name two options.",
        f"In percent, gains in points, both against the baseline on the same samples. {_intervals(evaluation)}{tests}",
        tables.main_rounds(measured),
    ]
    text.append(few_units(evaluation.rows("baseline")))
    return Section("Main numbers", tuple(filter(None, text)), table=tables.main_table(evaluation, measured))


def _brackets(evaluation: Evaluation, measured: EvaluationMeasures) -> str:
    """What brackets in tables are, where there are any."""
    every = (evaluation.summary, measured.metrics, measured.groups, measured.yes_no, measured.confidence)
    if not any(bounded(table["low"]) for table in every if "low" in table):
        return ""
    return f"In tables, brackets hold confidence intervals of {named_level(LEVEL)}, each of one number by itself. "


def _intervals(evaluation: Evaluation) -> str:
    """Of which kind the intervals of shares and of gains are, where they have some."""
    kinds = {
        "low": "Wilson's for shares, of as many samples as those of groups are worth",
        "difference_low": "a bootstrap for gains, of whole groups where samples share them",
    }
    told = [words for column, words in kinds.items() if bounded(evaluation.summary[column])]
    return f"Intervals: {', and '.join(told)}. " if told else ""


def _relations(evaluation: Evaluation, figures: Figures) -> Section:
    n = evaluation.rows("baseline")["relation"].nunique()
    more = (
        f" Of {n} relations, the {tables.MOST_ROWS} most frequent; all are in summary.csv."
        if n > tables.MOST_ROWS
        else ""
    )
    text = (
        "Accuracy, gain and p are by the strict rule. p is not corrected: with so many rows, some lie below 0.05 "
        "by chance. Holm's correction of it is for the number of policies in the rows of all samples, and in the "
        "others for all policies and relations together, also those that are not shown; summary.csv has it as "
        "p_holm. Where no two samples of a row share a group, they are taken as independent, and its test is "
        f"McNemar's.{more}",
        tables.CLAIMS if len(evaluation.policies) > 1 else "",
        tables.gains_round(tables.shown_relations(evaluation, tables.MOST_ROWS)),
        _few_in_rows(evaluation),
    )
    by = f", {_PAIRED}" if bounded(tables.shown_relations(evaluation, tables.MOST_ROWS)["difference_low"]) else ""
    caption = f"Gain over the baseline by relation (strict rule){by}."
    if n > MOST_RELATIONS:
        caption += f" The {MOST_RELATIONS} most frequent relations."
    table = tables.relation_table(evaluation, tables.MOST_ROWS)
    return Section("Accuracy by relation", tuple(filter(None, text)), figures.get("gains"), caption, table)


def _few_in_rows(evaluation: Evaluation) -> str:
    """Which rows are of few samples, or groups, where those of all relations are many."""
    untouched = evaluation.rows("baseline")
    if few_units(untouched):
        return ""
    shown = frequent(untouched, tables.MOST_ROWS)
    few = [name for name in shown if few_units(untouched[untouched["relation"] == name])]
    return (
        f"In {len(few)} of the {counted(len(shown), 'relation')} below, samples, or the groups that they share, are "
        f"fewer than {FEW}: {agree(len(few), 'its', 'their')} intervals are to be taken with care, and a gain of fewer "
        f"than {FEWEST} has none."
        if few
        else ""
    )


def _published(measured: EvaluationMeasures) -> Section:
    title = "Beside the published numbers"
    if measured.published.empty:
        return Section(title, (f"No comparison: {measured.left_out['published']}.",))
    same = (measured.published["n"] == measured.published["n_published"]).all()
    text = [
        "All by the paper's rule. The paper's numbers are those of the authors' project page; the re-run is another "
        "group's run of the released code. An item is a right answer, pair or set.",
    ]
    if measured.published["inside"].notna().any():
        text.append(
            "A published number inside our interval is compatible with ours; that is weak evidence where the interval "
            "is wide."
        )
    text.append(tables.published_round(measured.published))
    if not same:
        text.append("The samples differ in number from those of the published test split, so the items do not match.")
    return Section(title, tuple(filter(None, text)), table=tables.published_table(measured.published))


def _pairs(measured: EvaluationMeasures) -> Section | None:
    if measured.groups.empty:
        reason = measured.left_out["groups"]
        return None if "has no pairs" in reason else Section("Pairs and sets", (f"Not computed: {reason}.",))
    text: tuple[str, ...] = (
        "A pair is right when both opposite relations of one pair of objects are answered rightly, a set when all "
        "relations are.",
        "The paper divides by a half and a quarter of the samples, although a split by samples leaves pairs and sets "
        "incomplete; these can not be right, so the score has a ceiling, the share of complete ones. The corrected "
        "score divides by the complete ones."
        + (
            " Intervals are Wilson's of the complete ones, pairs of one set counted together; with the paper's "
            "denominators they are these times the ceiling."
            if bounded(measured.groups["low"])
            else ""
        ),
    )
    complete = measured.groups[measured.groups["denominator"] == "complete"].drop_duplicates("score")
    text += tuple(
        f"No {score} has all its questions here, so that none can be right: 0 says nothing of the answers."
        for score in complete[complete["of"] == 0]["score"]
    )
    return Section("Pairs and sets", text, table=tables.group_table(measured.groups))


def _yes_no(measured: EvaluationMeasures) -> Section | None:
    if measured.yes_no.empty:
        return None
    text = (
        "What the paper calls F1 is the harmonic mean of the shares of right answers where the statement holds and "
        "where it does not; the ordinary F1 of yes stands beside it."
        + (
            " Intervals are Wilson's for shares, of as many samples as those of groups are worth; what is made of two "
            "has a bootstrap's, no narrower than both shares make it."
            if bounded(measured.yes_no["low"])
            else ""
        ),
    )
    return Section("Yes and no", text, table=tables.yes_no_table(measured.yes_no))


def _others(evaluation: Evaluation, measured: EvaluationMeasures) -> Section:
    both = measured.metrics[measured.metrics["measure"].isin(["balanced_accuracy", "macro_f1"])]
    drawn = ", both with bootstrap intervals, no narrower than those of each answer make them"
    by = drawn if bounded(both["low"]) else ""
    text = (
        "By the strict rule. Balanced accuracy is the mean over right answers of the share that is found, macro-F1 the "
        f"mean of their F1{by}. The last two columns need no photo: always the commonest right answer, and a blind "
        "choice among each question's options.",
    )
    return Section("Other measures", text, table=tables.metric_table(measured, list(evaluation.policies)))


def _curves(evaluation: Evaluation, figures: Figures) -> list[Section]:
    """The three modes, as far as they were swept."""
    found = []
    lines = evaluation.summary[evaluation.summary["policy"] == str(evaluation.policies["baseline"])]
    lines = lines if len(lines) <= MOST_RELATIONS + 1 else lines[lines["relation"] == ALL]
    for name, (title, text, caption) in _CURVES.items():
        if name in figures:
            by = "Bands are Wilson intervals of 95 %, of as many samples as those of groups are worth; flat"
            flat = f"{by if bounded(lines['low']) else 'Flat'} lines are the policies with their own settings."
            bands = f"{caption} {flat}"
            found.append(Section(title, (text, _NO_CHOICE), figures[name], bands))
    return found


_NO_CHOICE = (
    "These are the reported samples: the highest point of the curve was not chosen beforehand, and overstates what its "
    "setting would reach on new samples."
)


def _thresholds(evaluation: Evaluation, measured: EvaluationMeasures, figures: Figures) -> Section | None:
    policy = evaluation.policies.get("adaptvis")
    if not isinstance(policy, AdaptVis):
        return None
    if "thresholds" not in figures:
        same = f"AdaptVis takes alpha {policy.alpha_sure:g} on both sides of its threshold, which thus changes nothing."
        return Section("Threshold and branches", (same,))
    by = "probability of its first token" if policy.confidence == "probability" else f"confidence ({policy.confidence})"
    text = (
        f"AdaptVis takes alpha {policy.alpha_unsure:g} where the untouched model's {by} lies below "
        f"{policy.threshold:g}, and {policy.alpha_sure:g} elsewhere. The accuracies in the table are those of "
        "AdaptVis, strict.",
    )
    parts = [part for part in (evaluation.validation, evaluation.test) if part is not None]
    known = any(not math.isnan(accuracy(part[part["setting"] == UNTOUCHED]).low) for part in parts)
    caption = (
        "What other thresholds would have given with the same two alphas: accuracy (strict)"
        f"{' with its Wilson band' if known else ''}, and the share of samples taken as unsure."
    )
    relations = frequent(evaluation.rows("baseline"), tables.MOST_ROWS)
    table = tables.branch_table(measured.branches, evaluation.rows("adaptvis"), relations)
    return Section("Threshold and branches", text, figures["thresholds"], caption, table)


def _windows(evaluation: Evaluation, measured: EvaluationMeasures, figures: Figures) -> Section | None:
    if "layer_windows" not in figures:
        return None
    text = (
        f"ScalingVis with alpha {measured.windows['alpha'].iloc[0]:g} in some layers only, against the baseline, "
        "strict. Windows of different width are not comparable, and gains of windows need not add up. p "
        f"({tables.test_of(measured.windows)}) is plain, and corrected for all settings of the sweep.",
        tables.CLAIMS,
        tables.gains_round(measured.windows),
    )
    by = f" {_PAIRED}" if bounded(measured.windows["low"]) else ""
    caption = f"Gain over the baseline{by}; layers are counted from 0."
    table = tables.gain_table(measured.windows, evaluation.test, "layers")
    return Section("Which layers carry the change", tuple(filter(None, text)), figures["layer_windows"], caption, table)


def _answers(figures: Figures) -> Section | None:
    if "answers_by_alpha" not in figures:
        return None
    text = (
        "A gain in one relation that another one pays for is a change of preference among the options, not better "
        "sight. The bar `gold` is how often each option is right.",
    )
    caption = f"Which option is named first, by alpha; {NONE}: an answer that names no option."
    return Section("What is answered", text, figures["answers_by_alpha"], caption)


def _confusion(evaluation: Evaluation, figures: Figures) -> Section:
    other = changing_policy(evaluation)
    names = "the baseline" + ("" if other is None else f" and {SHORT[other]}")
    if "confusion" not in figures:
        return Section("Confusions", (f"Not drawn: more than {MOST_ANSWERS} different answers.",))
    caption = f"Samples of {names} by right answer and by the option named first; colour is the share of the row."
    return Section("Confusions", (), figures["confusion"], caption)


def _failures(evaluation: Evaluation) -> Section:
    """Answers that name no option, with some of them as they are."""
    import pandas as pd

    rows = []
    for name in evaluation.policies:
        own = evaluation.rows(name)
        lost = own[own["predicted"].isna()]
        shown = "; ".join(repr(text[:60]) for text in list(dict.fromkeys(lost["text"]))[:3])
        rows.append({"policy": SHORT[name], "n": len(lost), "such as": shown or NOTHING})
    if not any(row["n"] for row in rows):
        return Section("Answers that name no option", ("Every answer names an option.",))
    text = ("Such answers count as wrong by the strict rule.",)
    return Section("Answers that name no option", text, table=pd.DataFrame(rows))


_CHOSEN_ELSEWHERE = (
    " Those that were chosen on the validation part were picked on other samples, but the parts may share object pairs "
    "or photos (see what was chosen), and then they still come out a little too good."
)


def _tried(evaluation: Evaluation, measured: EvaluationMeasures) -> Section:
    """How much was tried on the reported samples."""
    tried = measured.tried
    if not tried["settings"]:
        return Section("How many settings were tried", ("No setting but the untouched run.",))
    plain = tried["below_5_percent_uncorrected"]
    chosen = "" if evaluation.validation is None else _CHOSEN_ELSEWHERE
    text: tuple[str, ...] = (
        f"{counted(tried['settings'], 'setting')} {agree(tried['settings'], 'was', 'were')} run on the reported "
        f"samples besides the untouched one. Without correction, {plain or 'none'} of them "
        f"{'have' if plain > 1 else 'has'} p below 0.05 "
        f"({tables.test_of(evaluation.settings)}); if none changed anything, up to about "
        f"{tried['below_5_percent_by_chance']:.1f} would. Left after Holm's correction (any false alarm at "
        f"all): {tried['below_5_percent_holm']}; after Benjamini and Hochberg's (share of false alarms): "
        f"{tried['below_5_percent_benjamini_hochberg']}.",
        "The best of a grid looks better on the samples that it was picked on than it will on others, and its interval "
        f"does not know of the picking: so it is with settings read off the table below.{chosen} One split and greedy "
        "decoding: no p-value here speaks of another split, prompt or model.",
        tables.CLAIMS,
        tables.gains_round(evaluation.settings),
    )
    table = tables.gain_table(evaluation.settings, evaluation.test, "setting")
    return Section("How many settings were tried", tuple(filter(None, text)), table=table)
