"""Sweep: ask every sample under every setting, one prefill a batch; policies are then read off the table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any, Protocol

from adaptvis.confidence import each_option_tokens, measure
from adaptvis.policies import Policy, is_policy
from adaptvis.published import SCALING_ALPHAS
from interp.errors import InputError
from interp.interventions import ScaleImageLogits, Untouched, spell
from interp.prefix import share_prefill
from interp.reprs import fits_a_cell
from interp.sample_checks import check_prompts, check_samples
from interp.scoring import score
from interp.study import prepare_samples

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

    from interp.datasets.sample import Sample
    from interp.generation import Generation
    from interp.hooked_vlm import HookedVLM
    from interp.inputs import VLMInputs

PAPER_ALPHAS = tuple(sorted({*SCALING_ALPHAS, 1.0}))
"""The alphas that the authors list for LLaVA-1.5, and the untouched 1."""

UNTOUCHED = str(Untouched())
"""The setting of the rows of the model as it is, which every sweep has."""


class Decoder(Protocol):
    """Another way of decoding, such as `VCD` or `DoLa`; its `str()` goes into results."""

    def generate(self, vlm: HookedVLM, inputs: VLMInputs, max_new_tokens: int) -> Generation:
        """Answer a batch."""
        ...


@fits_a_cell()
@dataclass(frozen=True)
class Plan:
    """What every sample is asked under.

    Attributes:
        scalings: interventions on the image logits; the untouched run is always added.
        decoders: other ways of decoding.
        prompt: prompt style, see `HookedVLM.prepare`.
        max_new_tokens: length of an answer at most.

    Example:
        >>> plan = Plan(grid((0.5, 1.5)) + grid((1.0, 2.0), mode="add"), decoders=(VCD(),))
    """

    scalings: tuple[ScaleImageLogits, ...] = ()
    decoders: tuple[Decoder, ...] = ()
    prompt: str = "paper"
    max_new_tokens: int = 10

    def __post_init__(self) -> None:
        """Keep each setting once; what changes nothing is the untouched run."""
        kept = dict.fromkeys(each for each in self.scalings if not each.changes_nothing)
        object.__setattr__(self, "scalings", tuple(kept))
        object.__setattr__(self, "decoders", tuple(dict.fromkeys(self.decoders)))

    @property
    def settings(self) -> list[str]:
        """The names of all settings, as in the column `setting`."""
        return [UNTOUCHED, *map(str, self.scalings), *map(str, self.decoders)]


def grid(
    alphas: Sequence[float],
    *,
    mode: str = "mul",
    windows: Sequence[tuple[int, ...] | None] = (None,),
    heads: tuple[int, ...] | None = None,
) -> tuple[ScaleImageLogits, ...]:
    """Every strength in every window of layers.

    Raises:
        InputError: an alpha that is not a finite number, or windows and heads that mean nothing.
    """
    return tuple(
        ScaleImageLogits(alpha, mode=mode, layers=layers, heads=heads) for layers, alpha in product(windows, alphas)
    )


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
        text, probability (of the first token), the measures of confidence in the untouched first token (`confidence`,
        `confidence_options`, ...) and the probability `gold_probability` that it gives the right option; and from
        `score`: predicted, correct, correct_paper, parsed.

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
    from interp.output import record
    from interp.study import run_study

    asked = {"prompt": plan.prompt, "max_new_tokens": plan.max_new_tokens, "interventions": plan.settings}
    table = run_study(
        samples,
        _Asking(vlm, plan, chunk=4 * batch),
        out,
        settings={**record(vlm), **asked, **(settings or {})},
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


def rows_under(table: pd.DataFrame, *, mode: str = "mul", layers: str = "all", heads: str = "all") -> pd.DataFrame:
    """A sweep's rows of one mode and window over alpha, the untouched ones among them at the alpha of no change."""
    own = (table["mode"] == mode) & (table["layers"] == layers) & (table["heads"] == heads)
    neutral = 0.0 if mode == "add" else 1.0
    base = table[table["setting"] == UNTOUCHED].assign(alpha=neutral, mode=mode, layers=layers, heads=heads)
    import pandas as pd

    return pd.concat([base, table[own]]).sort_values("alpha", kind="stable")


def policy_rows(table: pd.DataFrame, policy: Policy | Decoder) -> pd.DataFrame:
    """The rows that a policy takes from a sweep, one per sample, with the `branch` it went and the `policy`'s name.

    A threshold costs nothing: the confidence of the untouched token is in the table.

    Raises:
        InputError: the sweep has no rows for a setting of the policy.
    """
    base = table[table["setting"] == UNTOUCHED]
    if is_policy(policy):
        sure = confidence_of(base, policy.confidence).tolist()
        wanted = [_name(policy.choose(value)) for value in sure]
        branches = [policy.branch(value) for value in sure]
    else:
        wanted, branches = [str(policy)] * len(base), ["decoded"] * len(base)
    missing = sorted(set(wanted) - set(table["setting"]))
    if missing:
        raise InputError(f"the sweep has no rows for {missing[0]}, which {policy} needs: add it to the plan")
    chosen = table.set_index(["id", "setting"], drop=False).loc[list(zip(base["id"], wanted, strict=True))]
    return chosen.reset_index(drop=True).assign(branch=branches, policy=str(policy))


def confidence_of(table: pd.DataFrame, name: str) -> pd.Series:
    """One measure of confidence, by the name that policies give it.

    Raises:
        InputError: the options of a sample can not be told apart by their first tokens.
    """
    if name == "probability-rounded":
        return table["confidence"].round(2)
    values = table["confidence" if name == "probability" else f"confidence_{name.replace('-', '_')}"]
    if values.isna().any():
        raise InputError(
            f"{int(values.isna().sum())} of {len(values)} samples have no confidence by {name!r}, as their options can "
            "not be told apart by their first tokens: choose another confidence"
        )
    return values


@dataclass(frozen=True, eq=False)
class _Asking:
    """What a study calls with each batch of samples."""

    vlm: HookedVLM
    plan: Plan
    chunk: int

    def __call__(self, samples: Sequence[Sample]) -> list[list[dict[str, Any]]]:
        inputs = prepare_samples(self.vlm, samples, self.plan.prompt)
        prefix = share_prefill(self.vlm, inputs, chunk=self.chunk)
        answers = prefix.generate([Untouched(), *self.plan.scalings], self.plan.max_new_tokens)
        answers += [each.generate(self.vlm, inputs, self.plan.max_new_tokens) for each in self.plan.decoders]
        told = [_setting(None), *map(_setting, self.plan.scalings)]
        told += [{**_setting(None), "setting": str(each)} for each in self.plan.decoders]
        known = [{**_known(sample), "prompt": asked} for sample, asked in zip(samples, inputs.prompts, strict=True)]
        sure = _confidences(self.vlm, samples, answers[0])
        probabilities = [answer.confidence for answer in answers]
        return [
            [
                {**known[place], **setting, "text": answer.texts[place], "probability": chance[place], **sure[place]}
                for setting, answer, chance in zip(told, answers, probabilities, strict=True)
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
        return {"setting": UNTOUCHED, "mode": "", "alpha": float("nan"), "layers": "", "heads": ""}
    where = {"layers": spell(scaling.layers), "heads": spell(scaling.heads)}
    return {"setting": str(scaling), "mode": scaling.mode, "alpha": scaling.alpha, **where}


def _name(intervention: Any) -> str:
    """The setting that an intervention's rows have."""
    return UNTOUCHED if getattr(intervention, "changes_nothing", False) else str(intervention)


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
