"""Order: a data set asked with its image tokens in order, permuted, and pooled, the vision tower run once a photo."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from interp.errors import InputError
from interp.stats.intervals import DRAWS
from probes.position.order_answers import ORIGINAL, OrderMeasurement
from probes.position.order_sensitivity import (
    OrderSensitivity,
    count_tokens,
    measure_sensitivity,
    right_in,
    split_by_relation,
)

if TYPE_CHECKING:
    import pandas as pd

    from interp.model.hooked_vlm import HookedVLM
    from interp.objects.sample import Sample


def psi(
    vlm: HookedVLM,
    samples: Sequence[Sample],
    seeds: Iterable[int] = range(5),
    *,
    sides: Iterable[int] = (),
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
) -> OrderSensitivity:
    """The position sensitivity index of "Beyond Semantics": what accuracy is lost when image tokens are permuted.

        PSI = (Acc - Acc_perm) / Acc

    0 where order does not matter, 1 where all is lost, negative where permuting helps. The paper draws once, without a
    seed, and samples its answers; here they are greedy and judged by the strict rule of `interp.answers.scoring`, the
    permutations are several and seeded, and the index has an interval. Its upper end in practice is
    (Acc - chance) / Acc: `psi_corrected`, which is not the paper's, divides by Acc - chance.

    Two models to read it by. *A bag of tokens*, whose language model is told nothing by order, answers a permuted photo
    as the photo: PSI is 0, with every seed. *Position alone*: the answer is the slot that some content stands in, and
    nothing in the content says where it was. Permuted, it is right as often as a blind choice of slots, so that
    `psi_corrected` is 1 where the answers are balanced. PSI near 0 does not say that a model knows no places: what the
    vision tower wrote into each token about its own place moves along with it, and a model that reads places from
    there alone loses nothing.

    All photos with one number of tokens are permuted alike under one seed, so that what one permutation happens to do
    is shared by all of them. `spread` tells it, and intervals allow for it as Student's t does: with two permutations
    that lie apart, they say next to nothing, and with one they are of the samples alone.

    Args:
        vlm: the model.
        samples: what to ask, each with an id of its own; `group` says what is drawn together.
        seeds: the seeds of the permutations; five by default.
        sides: pool the grid to so many rows and columns, too, for `OrderSensitivity.compression`; see
            `PoolImageTokens`.
        within: among which image tokens contents change places, see `permute_image_tokens`; `boxes` and `outside` are
            those of the samples' objects.
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
        >>> found = psi(vlm, read_dataset("shapes", n=100), sides=(4, 2, 1))
        >>> found.value("psi"), found.plot()

    Raises:
        InputError: no samples, samples that can not be asked, seeds, sides or boxes that mean nothing, fewer than two
            groups, or a folder that can not be used; all before the first pass.
        RefusedError: a model with DeepStack, or one whose prompts can not be shortened, where `sides` asks for it.
    """
    from interp.model.provenance import run_record
    from interp.model.record import record as record_of
    from interp.model.record import refuse_recorded
    from interp.store.folder import plain
    from interp.study.run import run_study, with_runs

    run = run_record()
    work = OrderMeasurement.of(vlm, seeds, sides, within=within, prompt=prompt, max_new_tokens=max_new_tokens)
    work.check(samples, progress=progress)
    chances, groups = _chances(samples, chance), _groups(samples)
    settings = record_of(vlm, study="order", **work.recorded(), **run)
    refuse_recorded(record, settings)
    settings |= record or {}
    table = run_study(samples, work, out, settings=settings, batch=batch, resume=resume, progress=progress)
    answers = _scored(table, samples)
    orders = [f"seed {one}" for one in work.seeds]
    pools = [f"side {one}" for one in work.sides]
    original, permuted = right_in(answers, [ORIGINAL], "correct")[:, 0], right_in(answers, orders, "correct")
    relations = np.array([sample.relation for sample in samples], dtype=object)
    measures, left_out = measure_sensitivity(
        original, permuted, right_in(answers, orders, "changed"), chances, relations, groups,
        seed=seed, n=draws, level=level,
    )  # fmt: skip
    told = {name: float(chances[own].mean()) for name, own in split_by_relation(relations)}
    kept = settings if out is None else with_runs(settings, out)
    return OrderSensitivity(
        original=original,
        permuted=permuted,
        seeds=work.seeds,
        pooled=right_in(answers, pools, "correct"),
        sides=work.sides,
        image_tokens=count_tokens(answers, [*pools, ORIGINAL]),
        measures=measures,
        left_out=left_out,
        answers=answers,
        chance={name: value for name, value in told.items() if np.isfinite(value)},
        settings={**plain(kept), "seed": seed, "draws": draws, "level": level},
    )


def _scored(table: pd.DataFrame, samples: Sequence[Sample]) -> pd.DataFrame:
    """The answers with what was right, judged; `changed` where the text is not that of the untouched model."""
    from interp.answers.scoring import score

    of = {sample.id: sample for sample in samples}
    told = [of[name] for name in table["id"]]
    full = table.drop(columns="key").assign(
        gold=[sample.answer for sample in told],
        options=[sample.options for sample in told],
        relation=[sample.relation for sample in told],
        group=[sample.group for sample in told],
    )
    judged = score(full)
    first = judged[judged["order"] == ORIGINAL].set_index("id")["text"]
    return judged.assign(
        changed=judged["text"].to_numpy() != first.loc[judged["id"]].to_numpy(),
        confidence=judged["confidence"].astype(np.float32),
    )


def _chances(samples: Sequence[Sample], chance: float | None) -> np.ndarray:
    """What a blind guess scores on each sample; NaN where no options are listed."""
    if chance is None:
        return np.array([1 / len(sample.options) if sample.options else np.nan for sample in samples])
    if isinstance(chance, bool) or not isinstance(chance, (int, float)) or not 0 <= chance < 1:
        raise InputError(f"chance={chance!r}: give a share of right answers, from 0 to below 1")
    return np.full(len(samples), float(chance))


def _groups(samples: Sequence[Sample]) -> np.ndarray:
    """What is drawn together.

    Raises:
        InputError: there are fewer than two groups.
    """
    import pandas as pd

    from interp.stats.clusters import group_names

    groups = group_names(pd.DataFrame({"group": [sample.group for sample in samples]}))
    if len(set(groups)) < 2:
        raise InputError(f"{len(samples)} samples lie in {len(set(groups))} group: give at least two groups")
    return groups
