"""Evaluation: policies on a data set, their settings given or chosen on a validation part, with paired statistics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adaptvis.evaluation.request import SHIFTS as SHIFTS
from adaptvis.evaluation.request import EvaluateRequest
from adaptvis.evaluation.selection import choose_adaptvis, choose_scaling
from adaptvis.evaluation.settings import Settings
from adaptvis.policy.confidence import option_tokens
from adaptvis.policy.policies import AdaptVis, Policy, ScalingVis
from adaptvis.sweep.plan import UNTOUCHED, Decoder
from adaptvis.sweep.read import policy_rows
from adaptvis.sweep.run import ask_checked
from interp.answers.comparison import compare, compare_grid
from interp.answers.metrics import ALL, accuracy
from interp.errors import InputError
from interp.model.provenance import run_record
from interp.numeric import agree, counted
from interp.reprs import fits_a_cell
from interp.stats.tests import holm
from interp.study.requests import takes
from interp.study.sample_checks import check_prompts, check_samples

if TYPE_CHECKING:
    import pandas as pd

    from interp.model.hooked_vlm import HookedVLM
    from interp.objects.sample import Sample


@fits_a_cell("policies answers test validation settings", table="summary")
@dataclass(frozen=True, eq=False)
class Evaluation:
    """What a model does under each policy.

    Attributes:
        policies: the policies by name, the baseline first.
        validation: the sweep that chose the settings, one row per sample and setting; None where they were given.
        test: the sweep that is reported.
        answers: one row per reported sample and policy.
        summary: one row per policy and relation (`all` first): n, accuracy with its interval, mean confidence,
            share of samples taken as unsure, and against the baseline the paired difference with its bootstrap
            interval, samples gained and lost, the exact p, and p_holm: Holm's correction of it, in the rows of `all`
            for the number of policies, and in the others for that of policies and relations together. All these are
            NaN, counts missing, for the baseline, which is not compared with itself. Which `test` p is of, and over
            how many `groups` (see `Comparison`), is the samples' own and stands in all rows.
        settings: one row per setting of the reported sweep against the untouched run, with corrected p-values.
    """

    policies: dict[str, Policy | Decoder]
    validation: pd.DataFrame | None
    test: pd.DataFrame
    answers: pd.DataFrame
    summary: pd.DataFrame
    settings: pd.DataFrame

    def rows(self, name: str) -> pd.DataFrame:
        """One policy's answers, one row per sample, by the name that the policy has in `policies`."""
        return self.answers[self.answers["policy"] == str(self.policies[name])]


@takes(EvaluateRequest)
def evaluate(vlm: HookedVLM, test: Sequence[Sample], *, request: EvaluateRequest) -> Evaluation:
    """Report policies on `test`, with the settings that do best on a validation part where that is given.

    Args:
        vlm: the model.
        test: the samples to report on.
        request: which policies, and how to ask, in the place of these fields of it as keywords.

    Example:
        >>> evaluate(vlm, test, validation=validation).summary[["policy", "relation", "accuracy", "difference"]]

    Raises:
        InputError: the parts share a sample, one is empty, two samples have one id, or a policy is not known.
    """
    validation, settings, out = request.validation, request.settings, request.out
    _check_parts(test, validation)
    for part in (test, validation or ()):
        check_samples(part, progress=request.progress)
        check_prompts(vlm, part, request.prompt, progress=request.progress)
    _check_words(vlm, [*test, *(validation or ())])
    chosen = request.chosen()
    record = {**run_record(), **(request.record or {})}
    how: dict[str, Any] = {"batch": request.batch, "resume": request.resume, "progress": request.progress}
    tuned = None
    if validation is not None:
        own = {**how, "settings": {**record, "part": "val", "samples": len(validation)}}
        tuned = ask_checked(vlm, validation, request.tuning_plan(), out=_inside(out, "validation"), **own)
        chosen = {name: _choose(name, policy, tuned, settings) for name, policy in chosen.items()}
    table = ask_checked(vlm, test, request.plan(chosen), out=_inside(out, "test"), settings=record, **how)
    answers, summary = summarise(table, list(chosen.values()), seed=request.seed)
    return Evaluation(chosen, tuned, table, answers, summary, _against(table, request.seed))


def summarise(
    table: pd.DataFrame, policies: Sequence[Policy | Decoder], *, seed: int = 0
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Answers by policy, and the summary by policy and relation; the first policy is the reference of the others."""
    import pandas as pd

    taken = [policy_rows(table, policy) for policy in policies]
    relations = [ALL, *dict.fromkeys(table["relation"])]
    lines = [_line(rows, taken[0], relation, seed=seed) for rows in taken for relation in relations]
    summary = pd.DataFrame(lines).astype({"gained": "Int64", "lost": "Int64"})
    itself = summary["policy"] == summary["policy"].iloc[0]
    summary.loc[itself, ["difference", "difference_low", "difference_high", "p"]] = float("nan")
    summary.loc[itself, ["gained", "lost"]] = pd.NA
    return pd.concat(taken, ignore_index=True), _corrected(summary)


def _choose(name: str, policy: Policy | Decoder, table: pd.DataFrame, settings: Settings) -> Policy | Decoder:
    """The policy with the settings that do best in a sweep."""
    where: dict[str, Any] = {"layers": settings.layers, "heads": settings.heads}
    if isinstance(policy, AdaptVis):
        return choose_adaptvis(table, confidence=policy.confidence, **where)
    return choose_scaling(table, mode=policy.mode, **where) if isinstance(policy, ScalingVis) else policy


def _against(table: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Every setting of a sweep against the untouched run; empty where there is no other."""
    import pandas as pd

    own = {name: rows for name, rows in table.groupby("setting", sort=False) if name != UNTOUCHED}
    return compare_grid(table[table["setting"] == UNTOUCHED], own, seed=seed) if own else pd.DataFrame()


def _line(rows: pd.DataFrame, reference: pd.DataFrame, relation: str, *, seed: int) -> dict[str, object]:
    """One policy on one relation."""
    own, before = (part if relation == ALL else part[part["relation"] == relation] for part in (rows, reference))
    share, paper = accuracy(own), accuracy(own, "correct_paper")
    gain = compare(before, own, seed=seed)
    return {
        "policy": own["policy"].iloc[0],
        "relation": relation,
        "n": len(own),
        **share.cells("accuracy"),
        "accuracy_paper": paper.estimate,
        "confidence": float(own["confidence"].mean()),
        "unsure": float((own["branch"] == "unsure").mean()),
        "difference": gain.difference.estimate,
        "difference_low": gain.difference.low,
        "difference_high": gain.difference.high,
        "gained": gain.gained,
        "lost": gain.lost,
        "p": gain.p_value,
        "test": gain.test,
        "groups": gain.groups,
    }


def _corrected(summary: pd.DataFrame) -> pd.DataFrame:
    """The summary with p_holm, over all samples and by relation apart, as the one repeats the other."""
    others, whole = summary["policy"] != summary["policy"].iloc[0], summary["relation"] == ALL
    corrected = summary.assign(p_holm=float("nan"))
    for family in (others & whole, others & ~whole):
        corrected.loc[family, "p_holm"] = holm(summary.loc[family, "p"])
    return corrected


def _check_parts(test: Sequence[Sample], validation: Sequence[Sample] | None) -> None:
    """Refuse parts that are empty, hold an id twice, or share a sample."""
    for name, part in (("test", test), ("validation", validation)):
        if part is not None and (not part or len({sample.id for sample in part}) < len(part)):
            raise InputError(f"the {name} part has {len(part)} samples: give some, each with an id of its own")
    shared = {sample.id for sample in test} & {sample.id for sample in validation or ()}
    if shared:
        are = agree(len(shared), "is", "are")
        raise InputError(
            f"{counted(len(shared), 'sample')}, such as {min(shared)!r}, {are} in both parts: tune and report apart"
        )


def _check_words(vlm: HookedVLM, samples: Sequence[Sample]) -> None:
    """Refuse a question whose options a model of few words can not say."""
    for options in {sample.options for sample in samples}:
        found = option_tokens(vlm.processor.tokenizer, options)
        unknown = [option for option, ids in zip(options, found.ids, strict=True) if not ids]
        if unknown:
            raise InputError(
                f"the model's tokenizer has no words for {', '.join(unknown)}, so it can not answer with them: "
                "choose another data set or model"
            )


def _inside(out: str | Path | None, name: str) -> Path | None:
    """The folder of one part."""
    return None if out is None else Path(out) / name
