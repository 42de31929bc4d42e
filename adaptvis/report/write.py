"""The report of an evaluation: its tables, figures and one page that says what they mean and what they do not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adaptvis.policy.policies import AdaptVis
from adaptvis.report.figures import draw_evaluation, draw_telling
from adaptvis.report.lead import lead
from adaptvis.report.measures import SHORT, EvaluationMeasures, measure_evaluation
from adaptvis.report.sections import sections
from adaptvis.report.setup import RunFacts, chosen_on
from adaptvis.report.tables import CLAIMS, main_rounds, main_table
from interp.answers.metrics import answer_distribution
from interp.numeric import bounded, counted
from interp.report.page import write_report
from interp.report.tables import records, write_csv
from interp.stats.clusters import few_units

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from adaptvis.evaluation.evaluation import Evaluation
    from interp.model.hooked_vlm import HookedVLM
    from interp.objects.sample import Sample
    from interp.store.folder import OutputFolder


def write_evaluation(
    folder: OutputFolder,
    vlm: HookedVLM | None,
    evaluation: Evaluation,
    samples: Sequence[Sample],
    settings: dict[str, Any],
    *,
    pairs: Sequence[tuple[str, str]] | None = None,
    dataset: str | None = None,
) -> list[Path]:
    """Write tables, figures, `summary.json` and a page that needs no other file; print what matters.

    Args:
        folder: where to.
        vlm: the model, for the heat maps before and after; without it these are left out.
        evaluation: what was asked and answered.
        samples: the reported samples.
        settings: the record of the run, see `interp.model.record.record`; `prompt` and `seed` are read from it.
        pairs: the relations that make a pair; those of the data set by default.
        dataset: the name of the data set, for pairs and published numbers; by default as the samples say.

    Returns:
        The paths of all files: `answers.parquet` (one row per sample and policy), `sweep.parquet` (per sample and
        setting) and `validation.parquet` where settings were chosen, `summary.csv` (accuracy, gain and p, plain and
        corrected, by policy and relation), `metrics.csv` (all other measures, with their scorer), `settings.csv` (every
        setting against the untouched run), `summary.json`, figures, `report.html`.

    Example:
        >>> write_evaluation(OutputFolder("out/eval"), vlm, evaluate(vlm, test), test, record(vlm, prompt="paper"))

    Raises:
        InputError: a file can not be written.
    """
    names = sorted(set(evaluation.test["dataset"])) if "dataset" in evaluation.test else []
    run = RunFacts(dataset or (names[0] if len(names) == 1 else ""), str(settings.get("model", "")), settings)
    seed = int(settings.get("seed", 0) or 0)
    measured = measure_evaluation(
        evaluation, dataset=run.dataset, model=run.model, pairs=pairs, seed=seed, released=run.released
    )
    answers = _distribution(evaluation)
    figures = draw_evaluation(evaluation, measured)
    change, telling = _telling(vlm, evaluation, samples, str(settings.get("prompt", "paper")))
    figures |= {} if change is None else {"before_after": change}
    with folder.as_one():
        paths = _write_tables(folder, evaluation, measured, answers)
        paths.append(folder.write_json("summary.json", summary_of(evaluation, measured, answers, run)))
        paths += write_report(
            folder,
            f"Evaluation{f' on {run.dataset}' if run.dataset else ''}",
            lead(evaluation, run),
            sections(evaluation, measured, figures, run, change=telling),
            figures,
            settings,
        )
    _tell(folder, evaluation, measured, run, paths)
    return paths


def summary_of(
    evaluation: Evaluation, measured: EvaluationMeasures, answers: pd.DataFrame, run: RunFacts
) -> dict[str, Any]:
    """All numbers of the report, and what made them, as plain data; shares are fractions."""
    calibration = {name: value for name, value in asdict(measured.calibration).items() if name != "bins"}
    return {
        "dataset": run.dataset,
        "model": run.model,
        "n": len(evaluation.rows("baseline")),
        "policies": policies_of(evaluation, run),
        "accuracy": records(evaluation.summary),
        "metrics": records(measured.metrics),
        "answers": records(answers),
        "pairs_and_sets": records(measured.groups),
        "yes_no": records(measured.yes_no),
        "confidence_by_relation": records(measured.confidence),
        "familiar_against_the_rest": records(measured.familiar),
        "calibration": {**calibration, "bins": records(measured.calibration.bins)},
        "branches": records(measured.branches),
        "layer_windows": records(measured.windows),
        "published": records(measured.published),
        "tried": measured.tried,
        "left_out": measured.left_out,
        "settings": run.settings,
    }


def policies_of(evaluation: Evaluation, run: RunFacts) -> dict[str, dict[str, Any]]:
    """By name what each policy is, its settings, who chose them, and what it does not do although its name says so."""
    return {
        name: {
            "policy": str(policy),
            "settings": asdict(policy),  # type: ignore[call-overload]
            "chosen_on": chosen_on(evaluation, name, run),
            "caveats": list(policy.caveats) if isinstance(policy, AdaptVis) else [],
        }
        for name, policy in evaluation.policies.items()
    }


def _write_tables(
    folder: OutputFolder, evaluation: Evaluation, measured: EvaluationMeasures, answers: pd.DataFrame
) -> list[Path]:
    """The tables; CSV where a person may want to open them."""
    tables: dict[str, pd.DataFrame | None] = {
        "answers": evaluation.answers,
        "sweep": evaluation.test,
        "validation": evaluation.validation,
    }
    paths = [folder.write_table(f"{name}.parquet", table) for name, table in tables.items() if table is not None]
    pages = {"summary": evaluation.summary, "metrics": measured.metrics, "settings": evaluation.settings}
    pages |= {
        "answer_distribution": answers,
        "pairs": measured.groups,
        "yes_no": measured.yes_no,
        "published": measured.published,
    }
    for name, table in pages.items():
        if len(table.columns):
            paths.append(write_csv(folder, name, table))
    return paths


def _distribution(evaluation: Evaluation) -> pd.DataFrame:
    """How often each answer is right and how often it is given, one row per policy and answer."""
    import pandas as pd

    each = [answer_distribution(evaluation.rows(name)).assign(method=name) for name in evaluation.policies]
    return pd.concat(each, ignore_index=True)


def _telling(
    vlm: HookedVLM | None, evaluation: Evaluation, samples: Sequence[Sample], prompt: str
) -> tuple[Figure | None, str]:
    """The heat maps, or why there are none."""
    if vlm is None:
        return None, "Not drawn: the model was not at hand when this report was written."
    return draw_telling(vlm, evaluation, samples, prompt=prompt)


def _tell(
    folder: OutputFolder, evaluation: Evaluation, measured: EvaluationMeasures, run: RunFacts, paths: Sequence[Path]
) -> None:
    """The main numbers and where things lie, on the screen."""
    n = len(evaluation.rows("baseline"))
    by = ", intervals of 95 %" if bounded(measured.metrics["low"]) else ""
    told = f"{counted(n, 'sample')}; right answers in percent, gains in points{by}"
    print("\n".join([*run.settings.get("remarks", ()), told]))
    shown = ["policy", "strict %", "gain, strict", "p, strict", "p Holm, strict", "paper's rule %"]
    print(main_table(evaluation, measured)[shown].to_string(index=False))
    notes = [CLAIMS, main_rounds(measured)] if len(evaluation.policies) > 1 else []
    print("\n".join(filter(None, [*notes, few_units(evaluation.rows("baseline"))])))
    how = run.preset or "given" if evaluation.validation is None else "chosen on the validation part, where they can be"
    lines = [f"{SHORT[name]}: {policy}" for name, policy in evaluation.policies.items() if name != "baseline"]
    print("\n".join([f"\nsettings ({how}):", *(f"  {line}" for line in lines)] if lines else []))
    pictures = sum(path.suffix == ".png" for path in paths)
    others = ", ".join(path.name for path in paths if path.suffix not in (".png", ".html"))
    print(f"\nwritten to {folder.path}: report.html, {pictures} PNGs, {others}")
