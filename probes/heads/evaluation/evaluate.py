"""Evaluate heads: a data set asked with head sets removed, patched, strengthened or steered, beside controls."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from interp.errors import InputError
from interp.numeric import listed, real, whole_number
from interp.stats.draws import check_draws
from interp.stats.intervals import DRAWS
from interp.study.keys import check_ids, content_key
from probes.heads.evaluation.arms import (
    FEWEST,
    LOWEST,
    OTHER,
    RANDOM,
    ArmPlan,
    lowest_heads,
    read_controls,
    read_counts,
    read_sets,
)
from probes.heads.evaluation.donors import collect_donors, refuse_shared
from probes.heads.evaluation.edits import CONTROLS_OF, EDITS, FACTORS, LEARNED, HeadEdit, read_factor
from probes.heads.evaluation.measurement import CONTROL, MAIN, TEXTS, HeadEvaluationMeasurement
from probes.heads.evaluation.measures import (
    TaskAnswers,
    Told,
    count_answers,
    dose_curves,
    measure_arms,
    table_of_arms,
)
from probes.heads.evaluation.result import HeadEvaluation
from probes.heads.evaluation.verdicts import MARGIN
from probes.heads.evaluation.where import check_positions
from probes.study.run import check_asked, check_how, check_model, groups_of, measure_samples

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from jaxtyping import Shaped

    from interp.hooks.shape import ModelShape
    from interp.intervene.head_sets import Head
    from interp.model.hooked_vlm import HookedVLM
    from interp.objects.sample import Sample
    from probes.heads.scores import HeadScores


def evaluate_heads(
    vlm: HookedVLM,
    samples: Sequence[Sample],
    heads: Any,
    edit: str = "scale",
    *,
    factor: float | None = None,
    arms: Mapping[str, Any] | None = None,
    controls: Iterable[str] | None = None,
    sets: int = FEWEST,
    scores: HeadScores | None = None,
    others: Mapping[str, Any] | None = None,
    control: Sequence[Sample] = (),
    texts: Sequence[Sample] = (),
    doses: Iterable[int] = (),
    factors: Iterable[float] = (),
    train: Sequence[Sample] = (),
    positions: str = "last",
    scope: str = "both",
    unit: str = "raw",
    sinks: Any = None,
    perplexity: bool = True,
    max_new_tokens: int = 10,
    prompt: str = "chat",
    batch: int = 16,
    out: str | Path | None = None,
    resume: bool = False,
    progress: bool = True,
    seed: int = 0,
    draws: int = DRAWS,
    level: float = 0.95,
    alpha: float = 0.05,
    margin: float = MARGIN,
    record: Mapping[str, Any] | None = None,
) -> HeadEvaluation:
    """Ask a data set untouched, with head sets edited, and with their controls edited alike; and judge each set.

    A set is called `causal` only where accuracy changes the way that it should beyond every random control, answers can
    still be read, and a control task holds; see `judge`, which says how often that happens by chance. Whether answers
    are right is told by the strict rule.

    An arm that edits nothing (a factor of 1, alpha 0) is the untouched model, to the bit. With `positions="last"` all
    arms share one prefill; others are a run of the language model each, the tower run once.

    Args:
        vlm: the model.
        samples: what the heads should serve, each with an id of its own; at least two groups.
        heads: a `HeadSet`, (layer, head) pairs, the strongest first, or several of these by name.
        edit: what is done with them, see `HeadEdit`: `scale`, `mean`, `resample`, `gain`, `steer`, `bias` or
            `redistribute`.
        factor: how strongly: the factor of `scale` and `gain`, alpha of `steer`, the bias, or what `redistribute`
            leaves of the weight of sinks; by default that of `FACTORS`.
        arms: more tested sets, by name.
        controls: of `CONTROLS`; by default all that the edit has and that what is given allows.
        sets: draws of each random control, five at least.
        scores: scores that the lowest heads are told by; of the function that a set is named by, or the only one.
        others: heads of other functions, by name.
        control: questions of a task that these heads should not serve, at least two groups.
        texts: samples whose answers are texts that are only read, at least two groups: their perplexity is measured.
        doses: numbers of heads, from the strongest on, of a dose curve.
        factors: strengths of a dose curve.
        train: training samples, which `mean`, `resample` and `steer` are made of; none of them may be tested.
        positions: where in the prompt, by a word, see `ScaleHeads`, or `objects`: the words of each question that name
            its objects, see `interp.object_words`.
        scope: `prompt`, `decode` or `both`; with `decode`, the first token of an answer never changes.
        unit: of `steer`, whether directions are `raw` or of length one (`unit`).
        sinks: of `redistribute`, bool [image_token] or [layer image_token].
        perplexity: whether right answers are forced too, which takes a pass for each arm.
        max_new_tokens: the most tokens of an answer.
        prompt: prompt style, see `HookedVLM.prepare`.
        batch: samples that are asked together.
        out: a folder that keeps what was measured, so that it can be resumed; see `run_study`.
        resume: go on with what the folder holds.
        progress: show a progress bar.
        seed: the seed of all draws.
        draws: draws of the bootstrap.
        level: nominal coverage.
        alpha: the level of tests.
        margin: more parse failures, or less accuracy in the control task, by so much mean broken.
        record: more to record beside the settings, such as the data set.

    Example:
        >>> spatial = select_heads(scores, "spatial", "top_k", k=10)
        >>> found = evaluate_heads(vlm, samples, spatial, scores=scores, control=colours, doses=(1, 2, 5))
        >>> found.verdict(), found.plot()

    Raises:
        InputError: samples, heads, settings or controls that mean nothing or lack what they need, samples that leak
            from train, or a folder that can not be used; all before the first pass. Before the first pass of what is
            tested, and after those of training samples: a folder that holds another study, where it is to be gone on
            with, and training samples that are all answered right, or all wrong.
        HookError: a head that the model does not have.
    """
    check_model(vlm)
    check_draws(draws, level, seed)
    strength = read_factor(edit, factor)
    work = HeadEdit(edit, positions, scope, unit, sinks, int(seed))
    plan = _plan(vlm.cfg, heads, arms, edit, strength, controls, sets, scores, others, doses, factors, int(seed))
    told = Told(EDITS[edit], int(seed), int(draws), float(level), *_levels(alpha, margin))
    planned, out_of = plan.arms(vlm.cfg)
    tasks = _tasks(samples, control, texts)
    groups = {task: _groups(task, own) for task, own in tasks.items()}
    every = [sample for own in tasks.values() for sample in own]
    named = {sample.id: task for task, own in tasks.items() for sample in own}
    check_ids(every)
    batch = check_how(out=out, resume=resume, batch=batch, progress=progress, record=record)
    key = _check_train(vlm, train, every, edit, prompt, progress)
    how: dict[str, Any] = {"prompt": prompt, "max_new_tokens": max_new_tokens, "perplexity": perplexity}
    measured = HeadEvaluationMeasurement(vlm, work, planned, named, train=key, **how)
    if edit in LEARNED:
        measured.check(every, progress=progress)
        check_positions(positions, vlm, train, prompt)
        used = {head for arm in planned for head in arm.heads}
        donors = collect_donors(
            vlm, train, sorted(used), answers=edit == "steer", positions=positions, prompt=prompt,
            max_new_tokens=max_new_tokens, batch=batch,
        )  # fmt: skip
        if edit == "steer":
            donors.check_sides()
        work = replace(work, donors=donors)
        measured = replace(measured, edit=work)
    table, settings = measure_samples(
        every, measured, "heads", out=out, resume=resume, batch=batch, progress=progress, record=record
    )
    table = _with_samples(table, every)
    answered = {task: TaskAnswers.of(table, task, len(planned), groups[task]) for task in tasks}
    measures = measure_arms(planned, answered, told)
    answers = count_answers(planned, answered)
    edited = [work.edited(arm) for arm in planned]
    of_arms = table_of_arms(planned, edited, answered, measures, answers, told)
    return HeadEvaluation(
        edit=edit,
        sets=dict(plan.sets),
        arms=of_arms,
        measures=measures,
        answers=answers,
        doses=dose_curves(planned, of_arms),
        left_out=_left_out(out_of, tasks, edit, measured.perplexity, plan),
        rows=table,
        settings={
            **settings, "seed": int(seed), "draws": int(draws), "level": level, "alpha": alpha, "margin": margin,
            "chance_of_first": 1 / (plan.draws + 1),
        },
    )  # fmt: skip


def _plan(
    shape: ModelShape,
    heads: Any,
    arms: Any,
    edit: str,
    factor: float,
    controls: Any,
    sets: Any,
    scores: HeadScores | None,
    others: Any,
    doses: Any,
    factors: Any,
    seed: int,
) -> ArmPlan:
    """What arms are asked for.

    Raises:
        InputError: something that means nothing.
    """
    tested = read_sets(heads, arms)
    missing = {
        **({} if scores is not None else {LOWEST: "scores=..."}),
        **({} if others else {OTHER: "others={'math': heads, ...}"}),
    }
    asked = read_controls(controls, CONTROLS_OF[edit], missing=missing)
    if whole_number(sets, "sets", 1) < FEWEST:
        raise InputError(f"sets={sets}: give {FEWEST} draws of each random control or more")
    strengths = tuple(sorted({read_factor(edit, one) for one in listed(factors, "factors")}))
    if strengths and edit not in FACTORS:
        raise InputError(f"edit={edit!r} has no strength to make a dose curve of: leave factors out")
    counts = read_counts(doses)
    if (counts or strengths) and RANDOM not in asked:
        raise InputError(f"dose curves stand beside random sets: leave {RANDOM!r} among the controls")
    if most := [count for count in counts if count > max(map(len, tested.values()))]:
        raise InputError(f"a dose of {most[0]} heads is more than any set has: give smaller ones")
    return ArmPlan(
        tested, factor, asked, int(sets), counts, strengths,
        lowest=None if scores is None or LOWEST not in asked else _lowest(scores, tested, shape),
        others=None if not others else read_sets(others),
        seed=seed,
    )  # fmt: skip


def _lowest(scores: HeadScores, tested: Mapping[str, Any], shape: ModelShape) -> dict[str, tuple[Head, ...]]:
    """By tested set, all heads from the lowest score up, of its own function where scores know it.

    Raises:
        InputError: scores of another model, or of several functions none of which names the set.
    """
    if scores.values.shape[1:] != (shape.n_layers, shape.n_heads):
        raise InputError(
            f"scores are of {scores.values.shape[1]} layers of {scores.values.shape[2]} heads, and the model has "
            f"{shape.n_layers} of {shape.n_heads}: give scores of this model"
        )
    found = {}
    for name in tested:
        if name not in scores.functions and len(scores.functions) > 1:
            raise InputError(
                f"scores of {', '.join(scores.functions)} do not tell which the set {name!r} serves: name it so, such "
                f"as heads={{{scores.functions[0]!r}: heads}}, or leave scores out"
            )
        found[name] = lowest_heads(scores, name if name in scores.functions else None)
    return found


def _levels(alpha: Any, margin: Any) -> tuple[float, float]:
    if not 0 < real(alpha) < 0.5 or not 0 <= real(margin) < 1:
        raise InputError(f"alpha={alpha!r:.40}, margin={margin!r:.40}: give a level below 0.5 and a share below 1")
    return float(alpha), float(margin)


def _tasks(samples: Any, control: Any, texts: Any) -> dict[str, Sequence[Sample]]:
    """The samples of each task that there is."""
    given = {MAIN: samples, CONTROL: control, TEXTS: texts}
    for task, own in given.items():
        if not isinstance(own, Sequence):
            raise InputError(f"the {task} samples are a {type(own).__name__}: give list(...) of them")
    return {task: own for task, own in given.items() if len(own) or task == MAIN}


def _groups(task: str, samples: Sequence[Sample]) -> Shaped[np.ndarray, " sample"]:
    """The groups of a task's samples.

    Raises:
        InputError: see `groups_of`; it names the task.
    """
    try:
        return groups_of(samples)
    except InputError as error:
        raise InputError(f"of the {task} task: {error}") from error


def _check_train(
    vlm: HookedVLM, train: Sequence[Sample], samples: Sequence[Sample], edit: str, prompt: str, progress: bool
) -> str:
    """Refuse training samples that an edit lacks, does not use, or shares with what is tested; what tells them apart.

    Raises:
        InputError: see above.
    """
    if edit not in LEARNED:
        if len(train):
            raise InputError(f"edit={edit!r} learns nothing from training samples: leave train out")
        return ""
    if len(train) < 2:
        raise InputError(f"edit={edit!r} is made of training samples, and {len(train)} are given: give train=...")
    check_asked(vlm, train, prompt, progress=progress)
    refuse_shared(train, samples)
    known: dict[Path, str] = {}
    return hashlib.sha256("\n".join(content_key(sample, known) for sample in train).encode()).hexdigest()


def _with_samples(table: pd.DataFrame, samples: Sequence[Sample]) -> pd.DataFrame:
    """What was measured, with the right answer, the options and the group of each sample."""
    by = {sample.id: sample for sample in samples}
    own = [by[name] for name in table["id"]]
    return table.assign(
        gold=[sample.answer for sample in own],
        options=[tuple(sample.options) for sample in own],
        group=[sample.group for sample in own],
    )


def _left_out(
    missing: Sequence[Mapping[str, str]], tasks: Mapping[str, Any], edit: str, perplexity: bool, plan: ArmPlan
) -> pd.DataFrame:
    """What can not be told, and why."""
    import pandas as pd

    rows = list(missing)
    for name in plan.sets:
        if CONTROL not in tasks:
            why = "no control task was given, so that no set can be called causal"
            rows.append({"arm": name, "measure": "control_accuracy_change", "why": why})
        if not perplexity:
            rows.append({"arm": name, "measure": "perplexity", "why": "it was not asked for"})
        elif CONTROL not in tasks and TEXTS not in tasks:
            why = "neither a control task nor texts were given"
            rows.append({"arm": name, "measure": "perplexity_ratio", "why": why})
        for role in CONTROLS_OF[edit]:
            if role not in plan.controls:
                why = "it was not asked for, or what it is taken from was not given"
                rows.append({"arm": name, "measure": f"beyond_{role}", "why": why})
    return pd.DataFrame(rows, columns=["arm", "measure", "why"])
