"""Sweep: ask every sample under every alpha, one prefill a batch; policies are then read off the table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from adaptvis.policies import AdaptVis, Baseline, ScalingVis
from adaptvis.scoring import first_option
from interp.errors import InputError
from interp.interventions import ScaleImageLogits, spell
from interp.prefix import share_prefill

if TYPE_CHECKING:
    import pandas as pd

    from interp.datasets.sample import Sample
    from interp.generation import Generation
    from interp.hooked_vlm import HookedVLM

PAPER_ALPHAS = (0.0, 0.5, 0.8, 1.0, 1.2, 1.5, 2.0)
"""The alphas that the authors list for LLaVA-1.5, and the untouched 1."""


def sweep_alphas(
    vlm: HookedVLM,
    samples: Sequence[Sample],
    alphas: Sequence[float] = PAPER_ALPHAS,
    *,
    mode: str = "mul",
    layers: tuple[int, ...] | None = None,
    heads: tuple[int, ...] | None = None,
    prompt: str = "paper",
    batch: int = 16,
    max_new_tokens: int = 10,
    progress: bool = True,
) -> pd.DataFrame:
    """Answer every sample under every alpha, greedily.

    Args:
        vlm: the model.
        samples: what to ask.
        alphas: strengths of `ScaleImageLogits`; the one that changes nothing is always among the rows.
        mode: of `ScaleImageLogits`: `mul`, `add` or `temper`.
        layers: that are scaled; all by default.
        heads: that are scaled; all by default.
        prompt: prompt style, see `HookedVLM.prepare`.
        batch: samples that share one pass; samples of like length go together.
        max_new_tokens: length of an answer at most.
        progress: show a progress bar.

    Returns:
        One row per sample and alpha: id, kind, relation, gold, alpha, mode, layers, heads, text, predicted (an option
        or None), correct, probability (of the first token) and confidence (of the untouched first token).

    Raises:
        InputError: no samples, or an alpha that is not a finite number.
    """
    import pandas as pd
    from tqdm import tqdm

    if not samples:
        raise InputError("there are no samples to ask: give at least one")
    plans = [ScaleImageLogits(alpha, mode=mode, layers=layers, heads=heads) for alpha in (_neutral(mode), *alphas)]
    interventions = sorted(dict.fromkeys(plans), key=lambda plan: plan.alpha)
    strengths = [plan.alpha for plan in interventions]
    rows: list[dict[str, object]] = []
    with tqdm(total=len(samples), desc=f"alphas ({mode})", unit="sample", disable=not progress) as bar:
        for own in batches(samples, batch):
            inputs = vlm.prepare([item.image for item in own], [item.question for item in own], prompt=prompt)
            answers = share_prefill(vlm, inputs, chunk=4 * batch).generate(interventions, max_new_tokens)
            sure = answers[strengths.index(_neutral(mode))].confidence
            for plan, generation in zip(interventions, answers, strict=True):
                rows += _rows(own, generation, sure, plan)
            bar.update(len(own))
    order = {sample.id: place for place, sample in enumerate(samples)}
    table = pd.DataFrame(rows)
    return table.sort_values(["id", "alpha"], key=lambda column: column.map(order) if column.name == "id" else column)


def batches(samples: Sequence[Sample], size: int) -> Iterator[list[Sample]]:
    """Samples in batches, those with questions of like length together."""
    order = sorted(samples, key=lambda sample: len(sample.question))
    for start in range(0, len(order), size):
        yield order[start : start + size]


def policy_rows(table: pd.DataFrame, policy: Baseline | ScalingVis | AdaptVis) -> pd.DataFrame:
    """The rows that a policy takes from a sweep, one per sample, with the `branch` it went.

    A threshold costs nothing: the confidence of the untouched token is in the table.

    Raises:
        InputError: the sweep has no rows for an alpha of the policy, or was made with another mode, layers or heads.
    """
    sure = table["confidence"].to_numpy(np.float64)
    if not isinstance(policy, Baseline):
        wanted = ("mul", spell(policy.layers), spell(policy.heads))
        made = set(zip(table["mode"], table["layers"], table["heads"], strict=True))
        if made != {wanted}:
            raise InputError(
                f"the sweep was made with mode, layers, heads {sorted(made)} and {policy} needs {wanted}: sweep again"
            )
    if isinstance(policy, AdaptVis):
        alpha = np.where(sure < policy.threshold, policy.alpha_unsure, policy.alpha_sure)
        needed = {policy.alpha_unsure, policy.alpha_sure}
    else:
        only = policy.alpha if isinstance(policy, ScalingVis) else _neutral(table["mode"].iloc[0])
        alpha, needed = np.full(len(table), only), {only}
    missing = sorted(needed - set(table["alpha"]))
    if missing:
        raise InputError(f"the sweep has no rows for alpha {missing}: add them to its alphas")
    chosen = (table["alpha"] == alpha).to_numpy()
    return table[chosen].assign(branch=[policy.branch(float(value)) for value in sure[chosen]], policy=str(policy))


def _neutral(mode: str) -> float:
    """The strength that changes nothing."""
    return 0.0 if mode == "add" else 1.0


def _rows(
    samples: Sequence[Sample], generation: Generation, sure: Sequence[float], plan: ScaleImageLogits
) -> list[dict[str, object]]:
    probabilities = generation.confidence
    rows: list[dict[str, object]] = []
    for place, sample in enumerate(samples):
        predicted = first_option(generation.texts[place], sample.options)
        rows.append(
            {
                "id": sample.id,
                "kind": str(sample.meta.get("kind", "")),
                "relation": sample.relation,
                "gold": sample.answer,
                "alpha": plan.alpha,
                "mode": plan.mode,
                "layers": spell(plan.layers),
                "heads": spell(plan.heads),
                "text": generation.texts[place],
                "predicted": predicted,
                "correct": predicted == sample.answer,
                "probability": np.float32(probabilities[place]),
                "confidence": np.float32(sure[place]),
            }
        )
    return rows
