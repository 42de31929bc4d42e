"""Evaluation: choose alphas and threshold on a validation part, report on the rest, with intervals and paired tests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from adaptvis.policies import AdaptVis, Baseline, ScalingVis
from adaptvis.sweep import PAPER_ALPHAS, policy_rows, sweep_alphas
from interp.cli import numbers
from interp.errors import InputError
from interp.stats import bootstrap_difference, mcnemar, wilson

if TYPE_CHECKING:
    import pandas as pd

    from interp.datasets.sample import Sample
    from interp.hooked_vlm import HookedVLM

ALL = "all"
"""The relation name of the rows over all relations."""


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What a model does under each policy on samples that had no part in choosing it.

    Attributes:
        scaling, adaptvis: the policies chosen on the validation part.
        validation, test: the sweeps, one row per sample and alpha.
        answers: one row per test sample and policy.
        summary: one row per policy and relation (`all` first): n, accuracy with its Wilson interval, mean confidence,
            share of samples taken as unsure, and against the baseline the paired difference with its bootstrap
            interval and McNemar's exact p.
    """

    scaling: ScalingVis
    adaptvis: AdaptVis
    validation: pd.DataFrame
    test: pd.DataFrame
    answers: pd.DataFrame
    summary: pd.DataFrame


def evaluate(
    vlm: HookedVLM,
    validation: Sequence[Sample],
    test: Sequence[Sample],
    *,
    alphas: Sequence[float] = PAPER_ALPHAS,
    prompt: str = "paper",
    batch: int = 16,
    seed: int = 0,
    progress: bool = True,
) -> Evaluation:
    """Choose ScalingVis and AdaptVis on `validation` and report them, and the baseline, on `test`.

    Raises:
        InputError: the parts share a sample, one is empty, or two samples have one id.
    """
    for name, part in (("validation", validation), ("test", test)):
        if not part or len({sample.id for sample in part}) < len(part):
            raise InputError(f"the {name} part has {len(part)} samples: give some, each with an id of its own")
    shared = {sample.id for sample in validation} & {sample.id for sample in test}
    if shared:
        raise InputError(f"{len(shared)} samples, such as {min(shared)!r}, are in both parts: tune and report apart")
    chosen_on = sweep_alphas(vlm, validation, alphas, prompt=prompt, batch=batch, progress=progress)
    reported = sweep_alphas(vlm, test, alphas, prompt=prompt, batch=batch, progress=progress)
    scaling, adaptvis = choose_scaling(chosen_on), choose_adaptvis(chosen_on)
    return Evaluation(
        scaling, adaptvis, chosen_on, reported, *summarise(reported, [Baseline(), scaling, adaptvis], seed=seed)
    )


def choose_scaling(table: pd.DataFrame) -> ScalingVis:
    """The alpha with the most right answers; of equals the one nearest to 1.

    Raises:
        InputError: the sweep was not made with mode `mul`.
    """
    right = table.groupby("alpha")["correct"].sum()
    return ScalingVis(
        float(max(right.index, key=lambda alpha: (right[alpha], -abs(alpha - 1.0), alpha))), **_where(table)
    )


def choose_adaptvis(table: pd.DataFrame, *, thresholds: int = 20) -> AdaptVis:
    """The pair of alphas (one at most 1, one at least 1) and the threshold with the most right answers.

    Thresholds are tried at the middle between neighbouring confidences, `thresholds` of them by quantile, and at 0 and
    1; of equals the alphas nearest to 1 win, then the lower threshold.
    """
    wide = table.pivot(index="id", columns="alpha", values="correct").astype(bool)
    sure = table.drop_duplicates("id").set_index("id")["confidence"].reindex(wide.index).to_numpy(np.float64)
    levels = np.unique(np.sort(sure))
    middles = (levels[1:] + levels[:-1]) / 2
    tried = np.unique([0.0, 1.0, *np.quantile(middles, np.linspace(0, 1, thresholds))] if len(middles) else [0.0, 1.0])
    tried = np.unique(tried.round(6))  # as many digits as results show
    below = [alpha for alpha in wide.columns if alpha <= 1.0]
    above = [alpha for alpha in wide.columns if alpha >= 1.0]

    def merit(setting: tuple[float, float, float]) -> tuple[float, float, float]:
        low, high, threshold = setting
        right = np.where(sure < threshold, wide[low], wide[high]).sum()
        return right, -abs(low - 1.0) - abs(high - 1.0), -threshold

    low, high, threshold = max(product(below, above, tried.tolist()), key=merit)
    return AdaptVis(float(low), float(high), float(threshold), **_where(table))


def summarise(
    table: pd.DataFrame, policies: Sequence[Baseline | ScalingVis | AdaptVis], *, seed: int = 0
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Answers by policy, and the summary by policy and relation; the first policy is the reference of the others."""
    import pandas as pd

    taken = [policy_rows(table, policy).set_index("id", drop=False) for policy in policies]
    relations = [ALL, *dict.fromkeys(table["relation"])]
    summary = [_line(rows, taken[0], relation, seed=seed) for rows in taken for relation in relations]
    return pd.concat(taken, ignore_index=True), pd.DataFrame(summary)


def _where(table: pd.DataFrame) -> dict[str, tuple[int, ...] | None]:
    """Layers and heads of a sweep."""
    if set(table["mode"]) != {"mul"}:
        raise InputError(
            f"policies multiply, and the sweep was made with mode {sorted(set(table['mode']))}: sweep again"
        )
    texts = {name: table[name].iloc[0] for name in ("layers", "heads")}
    return {name: None if text == "all" else numbers(text) for name, text in texts.items()}


def _line(rows: pd.DataFrame, reference: pd.DataFrame, relation: str, *, seed: int) -> dict[str, object]:
    """One policy on one relation."""
    own = rows if relation == ALL else rows[rows["relation"] == relation]
    paired = reference.loc[own.index]
    right, before = own["correct"].to_numpy(bool), paired["correct"].to_numpy(bool)
    share = wilson(int(right.sum()), len(right))
    gain = bootstrap_difference(before, right, seed=seed)
    return {
        "policy": own["policy"].iloc[0],
        "relation": relation,
        "n": len(own),
        "accuracy": share.estimate,
        "low": share.low,
        "high": share.high,
        "confidence": float(own["confidence"].mean()),
        "unsure": float((own["branch"] == "unsure").mean()),
        "difference": gain.estimate,
        "difference_low": gain.low,
        "difference_high": gain.high,
        "p": mcnemar(before, right).p_value,
    }
