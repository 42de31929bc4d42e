"""The figures of an evaluation's report, by file name; what was not asked is not drawn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from adaptvis.policy.policies import AdaptVis
from adaptvis.report.before_after import draw_before_after, telling_sample
from adaptvis.report.measures import SHORT, EvaluationMeasures, frequent, swept
from adaptvis.sweep.plan import UNTOUCHED
from adaptvis.sweep.read import confidence_of, rows_under
from interp.answers.metrics import ALL, confusion, guessing
from interp.errors import SpatialLensError
from interp.intervene.indices import spell
from interp.layers import paper_layers
from interp.plots.accuracy import plot_accuracy_by_alpha, plot_accuracy_by_threshold
from interp.plots.answers import (
    plot_answers_by_alpha,
    plot_confidence_by_relation,
    plot_confusion,
    plot_gains,
    plot_reliability,
)
from interp.plots.style import figure_of, new_grid

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from adaptvis.evaluation.evaluation import Evaluation
    from interp.model.hooked_vlm import HookedVLM
    from interp.objects.sample import Sample

MOST_RELATIONS = 8  # with a line of their own
MOST_ANSWERS = 12  # in a confusion matrix
_CURVES = {"accuracy_by_alpha": ("mul", ("scaling", "adaptvis")), "additive": ("add", ("add",)),
           "tempered": ("temper", ("temper",))}  # fmt: skip


def draw_evaluation(evaluation: Evaluation, measured: EvaluationMeasures) -> dict[str, Figure]:
    """All figures that need no model, by file name without ending."""
    untouched = evaluation.rows("baseline")
    relations = frequent(untouched, MOST_RELATIONS)
    draws: dict[str, Callable[[], Figure | None]] = {
        "gains": lambda: _gains(evaluation),
        **{name: partial(_curve, evaluation, *asked) for name, asked in _CURVES.items()},
        "thresholds": lambda: _thresholds(evaluation),
        "layer_windows": lambda: _windows(measured),
        "answers_by_alpha": lambda: _answers(evaluation),
        "confusion": lambda: _confusions(evaluation),
        "confidence": lambda: figure_of(plot_confidence_by_relation(measured.confidence, relations=relations)),
        "reliability": lambda: figure_of(plot_reliability(measured.calibration.bins)),
    }
    made = {name: draw() for name, draw in draws.items()}
    return {name: figure for name, figure in made.items() if figure is not None}


def draw_telling(
    vlm: HookedVLM, evaluation: Evaluation, samples: Sequence[Sample], *, prompt: str
) -> tuple[Figure | None, str]:
    """Attention before and after in the paper's layers, for the sample that tells most; or None and why not."""
    scalings = [name for name in ("adaptvis", "scaling", "temper", "add") if name in evaluation.policies]
    name = next((name for name in scalings if changes_something(evaluation, name)), None)
    if name is None:
        return None, "Not drawn: no policy here changes the attention in any sample."
    chosen, sentence = telling_sample(evaluation, name)
    sample = next((sample for sample in samples if sample.id == chosen), None)
    if sample is None:
        return None, f"Sample {chosen!r} is not among those given to the report."
    boxes = [item.box for item in sample.objects if item.box is not None]
    layers = paper_layers(vlm.cfg.n_layers)
    try:
        figure = draw_before_after(vlm, evaluation, sample, policy=name, layers=layers, prompt=prompt, boxes=boxes)
    except SpatialLensError as error:
        return None, f"Not drawn: {error}"
    return (
        figure,
        f"{sentence} It is {chosen}, under {SHORT[name]}: {sample.question} The right answer is {sample.answer!r}.",
    )


def changing_policy(evaluation: Evaluation) -> str | None:
    """The policy that the baseline is set beside: AdaptVis, or else the first that was asked."""
    others = [name for name in evaluation.policies if name != "baseline"]
    return "adaptvis" if "adaptvis" in others else (others[0] if others else None)


def changes_something(evaluation: Evaluation, name: str) -> bool:
    """Whether a policy does anything in any sample; a strength of no change may have been the best one."""
    return bool((evaluation.rows(name)["setting"] != UNTOUCHED).any())


def _gains(evaluation: Evaluation) -> Figure | None:
    """The gain of every policy by relation."""
    names = {str(policy): SHORT[name] for name, policy in evaluation.policies.items() if name != "baseline"}
    lines = evaluation.summary[evaluation.summary["policy"].isin(list(names))]
    lines = lines[lines["relation"].isin([ALL, *frequent(evaluation.rows("baseline"), MOST_RELATIONS)])]
    if lines.empty:
        return None
    table = lines.assign(policy=lines["policy"].map(names), low=lines["difference_low"], high=lines["difference_high"])
    return figure_of(plot_gains(table, label="relation", group="policy", title="Gain over the baseline, strict rule"))


def _curve(evaluation: Evaluation, mode: str, policies: Sequence[str]) -> Figure | None:
    """Accuracy against the strength of one mode, with the policies as lines."""
    rows = swept(evaluation, mode)
    if rows is None:
        return None
    kept = frequent(rows, MOST_RELATIONS)
    if len(kept) < rows["relation"].nunique():
        rows = rows.drop(columns="relation")
    lines = evaluation.summary[evaluation.summary["relation"] == ALL].set_index("policy")["accuracy"]
    asked = [name for name in policies if name in evaluation.policies]
    references = {SHORT[name]: float(lines[str(evaluation.policies[name])]) for name in asked}
    chance = guessing(evaluation.rows("baseline"))["chance"]
    drawn = plot_accuracy_by_alpha(rows, mode=mode, chance=chance if chance == chance else None, references=references)
    return figure_of(drawn)


def _thresholds(evaluation: Evaluation) -> Figure | None:
    """Accuracy against the threshold of AdaptVis, on the part that it was chosen on (if any) and the reported one."""
    policy = evaluation.policies.get("adaptvis")
    if not isinstance(policy, AdaptVis) or policy.alpha_unsure == policy.alpha_sure:
        return None
    parts = {"validation part": evaluation.validation, "reported part": evaluation.test}
    tables = {name: _adaptive(table, policy) for name, table in parts.items() if table is not None}
    axes = new_grid(len(tables), columns=len(tables), cell=(6.0, 4.6))
    for ax, (name, rows) in zip(axes, tables.items(), strict=True):
        base = {"baseline": float(rows[rows["alpha"] == 1.0]["correct"].mean())}
        plot_accuracy_by_threshold(
            rows, policy.alpha_unsure, policy.alpha_sure, ax, threshold=policy.threshold, references=base
        )
        below = f"alpha {policy.alpha_unsure:g} below, {policy.alpha_sure:g} from it on"
        ax.set_title(f"{name.capitalize()}: {below}", fontsize=11, loc="left")
    return figure_of(axes[0])


def _adaptive(table: pd.DataFrame, policy: AdaptVis) -> pd.DataFrame:
    """A sweep's rows under alpha in the layers of AdaptVis, with the confidence that it goes by."""
    rows = rows_under(table, layers=spell(policy.layers), heads=spell(policy.heads))
    return rows.assign(confidence=confidence_of(rows, policy.confidence))


def _windows(measured: EvaluationMeasures) -> Figure | None:
    """The gain of ScalingVis by window of layers."""
    if measured.windows.empty:
        return None
    table = measured.windows.assign(layers=[_layers(name) for name in measured.windows["layers"]])
    return figure_of(plot_gains(table, label="layers", title="Gain of ScalingVis by layers, strict rule"))


def _layers(name: str) -> str:
    """A window in words."""
    return "all layers" if name == "all" else f"layers {name}"


def _answers(evaluation: Evaluation) -> Figure | None:
    """What is answered at each alpha."""
    rows = swept(evaluation, "mul")
    return None if rows is None else figure_of(plot_answers_by_alpha(rows, x="alpha (1: untouched)"))


def _confusions(evaluation: Evaluation) -> Figure | None:
    """Confusion matrices of the baseline and the policy beside it."""
    names = [name for name in ("baseline", changing_policy(evaluation)) if name is not None]
    matrices = [confusion(evaluation.rows(name)) for name in names]
    if max(matrices[0].shape) > MOST_ANSWERS:
        return None
    height, width = matrices[0].shape
    axes = new_grid(len(names), columns=len(names), cell=(1.8 + 0.62 * width, 1.6 + 0.5 * height))
    for ax, name, matrix in zip(axes, names, matrices, strict=True):
        plot_confusion(matrix, ax, title=SHORT[name])
    return figure_of(axes[0])
