"""Dose: a data set asked with its image tokens made longer and shorter, which needs no training."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from interp.numeric import agree
from interp.stats.draws import check_draws
from interp.stats.intervals import DRAWS
from probes.position.dose_answers import STATES, Dose, DoseMeasurement, read_doses
from probes.position.dose_measures import AtDose, DoseResponse, measure_doses
from probes.position.order import chance_by_relation, chances_of, refuse_few, score_orders
from probes.position.order_answers import ORIGINAL
from probes.position.order_sensitivity import right_in
from probes.study.run import groups_of, measure_samples

if TYPE_CHECKING:
    import pandas as pd

    from interp.model.hooked_vlm import HookedVLM
    from interp.objects.sample import Sample

SCALES = (0.25, 0.5, 1.0, 2.0, 4.0)


def dose_response(
    vlm: HookedVLM,
    samples: Sequence[Sample],
    scales: Iterable[float] = SCALES,
    *,
    clips: Iterable[float] = (),
    target_norms: Iterable[float] = (),
    seeds: Iterable[int] = range(5),
    within: str = "all",
    prompt: str = "chat",
    max_new_tokens: int = 10,
    chance: float | None = None,
    batch: int = 16,
    out: str | Path | None = None,
    resume: bool = False,
    progress: bool = True,
    seed: int = 0,
    draws: int = DRAWS,
    level: float = 0.95,
    record: Mapping[str, Any] | None = None,
) -> DoseResponse:
    """Make image tokens longer and shorter in a trained model, and see what it costs: a knob that needs no training.

    This is no method of "Beyond Semantics". The paper trains whole models with a projector whose tokens are short, and
    holds their shorter tokens to be why those models heed positions more. Here nothing is trained, so that what is seen
    is what length alone does to a model that never met such tokens: the control that the paper does not have. A model
    that gets worse at a dose was not trained for it; this says nothing of one that is.

    At each dose the image tokens are changed where they enter the language model (`ScaleImageNorms`), and the samples
    are asked with the tokens in order and permuted, as in `psi`; RoPE sensitivity (`rope_sensitivity`, of the last
    prompt row, by one position) is that of the model at this dose. Dose 1 is the untouched model, to the bit. The
    vision tower runs once a batch. What a model adds to the tokens behind its first blocks (DeepStack) keeps its
    length; permuted, it moves along.

    A dose can leave the range of the model's number type: float16 ends at 65,504. A sample that does so, in its tokens
    or in what the model makes of them, has no rows at that dose, and the dose is left out, by name and with how many
    samples left; the others are measured as if it had not been asked.

    Args:
        vlm: the model.
        samples: what to ask, each with an id of its own; `group` says what is drawn together.
        scales: factors of every token's length, above 0. 1, which all are compared with, is added where it is missing.
        clips: lengths that longer tokens are cut to.
        target_norms: lengths that every token is brought to.
        seeds: the seeds of the permutations, five or more.
        within: among which image tokens contents change places, see `permute_image_tokens`.
        prompt: prompt style, see `HookedVLM.prepare`.
        max_new_tokens: the most tokens that an answer has.
        chance: share of right answers of a blind guess; by default, of each sample, one over its number of options.
        batch: samples that are asked together.
        out: a folder that keeps what was measured, so that it can be resumed; see `run_study`.
        resume: go on with what the folder holds.
        progress: show a progress bar.
        seed: the seed of the bootstrap.
        draws: draws of the bootstrap.
        level: nominal coverage.
        record: more to record beside the settings, such as the data set.

    Example:
        >>> found = dose_response(vlm, read_dataset("shapes", n=100), scales=(0.5, 1, 2))
        >>> found.differences().query("measure == 'accuracy' and relation == 'all'")

    Raises:
        InputError: no dose besides 1, one that is no number above 0, one twice, or what `psi` refuses; all before the
            first pass.
        RefusedError: a decoder without RoPE in all of its layers.
        ModelError: what the untouched model itself says is not finite.
    """
    import pandas as pd

    check_draws(draws, level, seed)
    doses = read_doses(scales, clips, target_norms)
    work = DoseMeasurement.of(vlm, doses, seeds, within=within, prompt=prompt, max_new_tokens=max_new_tokens)
    refuse_few(work.order.seeds)
    chances, groups = chances_of(samples, chance), groups_of(samples)
    table, settings = measure_samples(
        samples, work, "normalise", out=out, resume=resume, batch=batch, progress=progress, record=record
    )
    parts = [table[(table["kind"] == dose.kind) & (table["dose"] == dose.value)] for dose in doses]
    missing = [len(samples) - own["id"].nunique() for own in parts]
    answers = [score_orders(own.drop(columns=list(STATES)), samples) for own in parts]
    states = [_states(own) for own in parts]
    orders = [f"seed {one}" for one in work.order.seeds]
    whole = [place for place, gone in enumerate(missing) if not gone]
    found = [_at_dose(doses[place], answers[place], states[place], orders) for place in whole]
    range_of = f"the range of {str(vlm.dtype).removeprefix('torch.')}"
    beyond = {
        dose: f"{gone} of {len(samples)} samples {agree(gone, 'leaves', 'leave')} {range_of}, so that there is "
        "nothing to pair"
        for dose, gone in zip(doses, missing, strict=True)
        if gone
    }
    relations = np.array([sample.relation for sample in samples], dtype=object)
    measures, changes, left_out = measure_doses(
        found, chances, relations, groups, beyond=beyond, seed=seed, n=draws, level=level
    )
    return DoseResponse(
        doses=doses,
        seeds=work.order.seeds,
        measures=measures,
        changes=changes,
        left_out=left_out,
        answers=pd.concat([own for own in answers if len(own)], ignore_index=True),  # empty ones would change types
        states=pd.concat([own for own in states if len(own)], ignore_index=True),
        chance=chance_by_relation(chances, relations),
        settings={**settings, "seed": seed, "draws": draws, "level": level},
    )


def _states(part: pd.DataFrame) -> pd.DataFrame:
    """What one dose does to the image tokens of each sample: a row for each, in order."""
    own = part.loc[part["order"] == ORIGINAL, ["id", "kind", "dose", *STATES]]
    return own.astype(dict.fromkeys(STATES, np.float32))


def _at_dose(dose: Dose, answers: pd.DataFrame, states: pd.DataFrame, orders: list[str]) -> AtDose:
    """What was found at one dose, as arrays over samples."""
    return AtDose(
        dose,
        original=right_in(answers, [ORIGINAL], "correct")[:, 0],
        permuted=right_in(answers, orders, "correct"),
        changed=right_in(answers, orders, "changed"),
        confidence=answers.loc[answers["order"] == ORIGINAL, "confidence"].to_numpy(),
        states=states[list(STATES)].to_numpy(),
    )
