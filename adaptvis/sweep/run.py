"""Sweep: ask every sample under every setting, one prefill a batch; policies are then read off the table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from adaptvis.policy.confidence import each_option_tokens, measure
from adaptvis.sweep.plan import PAPER_ALPHAS, UNTOUCHED, Plan, grid
from interp.answers.scoring import score
from interp.intervene.base import Untouched
from interp.intervene.image_logits import ScaleImageLogits
from interp.intervene.indices import spell
from interp.model.prefix import share_prefill
from interp.study.prompter import prepare_samples
from interp.study.sample_checks import check_prompts, check_samples

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

    from interp.model.generation import Generation
    from interp.model.hooked_vlm import HookedVLM
    from interp.objects.sample import Sample


def run_sweep(
    vlm: HookedVLM,
    samples: Sequence[Sample],
    plan: Plan,
    *,
    out: str | Path | None = None,
    batch: int = 16,
    resume: bool = False,
    settings: dict[str, Any] | None = None,
    progress: bool = True,
) -> pd.DataFrame:
    """Answer every sample under every setting of a plan, greedily.

    Args:
        vlm: the model.
        samples: what to ask.
        plan: the settings.
        out: a folder that keeps what was asked, so that a run that breaks off can be resumed; in memory by default.
        batch: samples that share one pass; samples of like length go together.
        resume: go on with what lies in `out`.
        settings: what else the manifest of `out` has to say.
        progress: show a progress bar.

    Returns:
        One row per sample and setting: id, dataset, kind, row (in the data set's file; -1 if unknown), relation, group,
        question, gold, options, prompt (all of it, with one image placeholder), setting, mode, alpha, layers, heads,
        rows (of the prompt that are edited), text, probability (of the first token), the measures of confidence in the
        untouched first token (`confidence`, `confidence_options`, ...) and the probability `gold_probability` that it
        gives the right option; and from `score`: predicted, correct, correct_paper, parsed.

    Raises:
        InputError: no samples, samples that can not be asked (all are looked at before the first pass), or a folder
            that can not be used.
    """
    check_samples(samples, progress=progress)
    check_prompts(vlm, samples, plan.prompt, progress=progress)
    return ask_checked(vlm, samples, plan, out=out, batch=batch, resume=resume, settings=settings, progress=progress)


def ask_checked(
    vlm: HookedVLM,
    samples: Sequence[Sample],
    plan: Plan,
    *,
    out: str | Path | None,
    batch: int,
    resume: bool,
    settings: dict[str, Any] | None,
    progress: bool,
) -> pd.DataFrame:
    """`run_sweep` of samples that `check_samples` and `check_prompts` have looked at."""
    from interp.model.record import record, refuse_recorded
    from interp.study.run import run_study

    asked = {"prompt": plan.prompt, "max_new_tokens": plan.max_new_tokens, "interventions": plan.settings}
    recorded = {**record(vlm), **asked}
    refuse_recorded(settings, recorded)
    table = run_study(
        samples,
        _SweepMeasurement(vlm, plan, chunk=4 * batch),
        out,
        settings={**recorded, **(settings or {})},
        batch=batch,
        resume=resume,
        progress=progress,
    )
    return score(table)


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
    """`run_sweep` over strengths of one mode in one window of layers.

    Example:
        >>> sweep_alphas(vlm, samples, (0.5, 1.5)).groupby("setting")["correct"].mean()
    """
    plan = Plan(grid(alphas, mode=mode, windows=(layers,), heads=heads), prompt=prompt, max_new_tokens=max_new_tokens)
    return run_sweep(vlm, samples, plan, batch=batch, progress=progress)


@dataclass(frozen=True, eq=False)
class _SweepMeasurement:
    """What a study calls with each batch of samples."""

    vlm: HookedVLM
    plan: Plan
    chunk: int

    def __call__(self, samples: Sequence[Sample]) -> list[list[dict[str, Any]]]:
        inputs = prepare_samples(self.vlm, samples, self.plan.prompt)
        prefix = share_prefill(self.vlm, inputs, chunk=self.chunk)
        answers = prefix.generate([Untouched(), *self.plan.scalings], self.plan.max_new_tokens)
        answers += [each.generate(self.vlm, inputs, self.plan.max_new_tokens) for each in self.plan.decoders]
        settings = [_setting(None), *map(_setting, self.plan.scalings)]
        settings += [{**_setting(None), "setting": str(each)} for each in self.plan.decoders]
        known = [{**_known(sample), "prompt": asked} for sample, asked in zip(samples, inputs.prompts, strict=True)]
        sure = _confidences(self.vlm, samples, answers[0])
        probabilities = [answer.confidence for answer in answers]
        return [
            [
                {**known[place], **setting, "text": answer.texts[place], "probability": chance[place], **sure[place]}
                for setting, answer, chance in zip(settings, answers, probabilities, strict=True)
            ]
            for place in range(len(samples))
        ]


def _known(sample: Sample) -> dict[str, Any]:
    """What a sample says of itself."""
    return {
        "dataset": str(sample.meta.get("dataset", "")),
        "kind": str(sample.meta.get("kind", "")),
        "row": sample.meta.get("row", -1),
        "relation": sample.relation,
        "group": sample.group,
        "question": sample.question,
        "gold": sample.answer,
        "options": "|".join(sample.options),
    }


def _setting(scaling: ScaleImageLogits | None) -> dict[str, Any]:
    """The columns that name a setting."""
    if scaling is None:
        return {"setting": UNTOUCHED, "mode": "", "alpha": float("nan"), "layers": "", "heads": "", "rows": ""}
    where = {"layers": spell(scaling.layers), "heads": spell(scaling.heads), "rows": _rows(scaling)}
    return {"setting": str(scaling), "mode": scaling.mode, "alpha": scaling.alpha, **where}


def _rows(scaling: ScaleImageLogits) -> str:
    """The query rows that are edited, and what else tells two settings of one strength, layers and heads apart."""
    rows = scaling.rows if isinstance(scaling.rows, str) else str(list(scaling.rows))
    tokens = "" if scaling.image_tokens is None else f", image_tokens={spell(scaling.image_tokens)}"
    return f"{rows}{', decode' if scaling.decode else ''}{tokens}"


def _confidences(vlm: HookedVLM, samples: Sequence[Sample], untouched: Generation) -> list[dict[str, float]]:
    """The measures of confidence as columns."""
    own = each_option_tokens(vlm.processor.tokenizer, [sample.options for sample in samples])
    found = []
    for place, (sample, measures) in enumerate(zip(samples, measure(untouched.first_logits, own), strict=True)):
        columns = {f"confidence_{name.replace('-', '_')}": value for name, value in measures.items()}
        del columns["confidence_probability_rounded"]
        columns = {"confidence": columns.pop("confidence_probability"), **columns}
        index = sample.options.index(sample.answer) if sample.answer in sample.options else None
        shares = own[place].probabilities(untouched.first_logits[place]) if own[place].distinct else []
        columns["gold_probability"] = float("nan") if index is None or not shares else shares[index]
        found.append(columns)
    return found
