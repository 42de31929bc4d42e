"""Order: a data set asked with its image tokens in order, permuted, and pooled, the vision tower run once a photo."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Shaped

from interp.errors import InputError
from interp.stats.draws import check_draws
from interp.stats.intervals import DRAWS
from probes.position.order_answers import ORIGINAL, OrderMeasurement
from probes.position.order_sensitivity import (
    OrderSensitivity,
    count_tokens,
    measure_sensitivity,
    right_in,
)
from probes.study.parts import parts_of
from probes.study.run import groups_of, measure_samples

if TYPE_CHECKING:
    import pandas as pd

    from interp.model.hooked_vlm import HookedVLM
    from interp.objects.sample import Sample


FEWEST_SEEDS = 5
"""Permutations that an index is of at least: how far apart they are is a part of how sure it is."""


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

    Two models to read it by; `OrderSensitivity.references` has them by relation. *Order can not be used*: a bag of
    tokens, whose language model is told nothing by order, answers a permuted photo as the photo: PSI is 0, with every
    seed. *Position alone*: the answer is the slot that some content stands in, and nothing in the content says where
    it was. Permuted, it is right as often as a blind guess where the answers are balanced, so that PSI is
    (Acc - chance) / Acc, and `psi_corrected` 1; where chance is not known, it is left out by name. PSI near 0 does not
    say that a model knows no places: what the vision tower wrote into each token about its own place moves along with
    it, and a model that reads places from there alone loses nothing.

    All photos with one number of tokens are permuted alike under one seed, so that what one permutation happens to do
    is shared by all of them. `OrderSensitivity.spread` tells it, and intervals allow for it as Student's t does: with
    two permutations that lie apart, they say next to nothing, and with one they are of the samples alone.

    Args:
        vlm: the model.
        samples: what to ask, each with an id of its own; `group` says what is drawn together.
        seeds: the seeds of the permutations, five or more.
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
            groups, no draw or no such level, or a folder that can not be used; all before the first pass.
        RefusedError: a model whose prompts can not be shortened, where `sides` asks for it.
        ModelError: what the model says is not finite.
    """
    check_draws(draws, level, seed)
    work = OrderMeasurement.of(vlm, seeds, sides, within=within, prompt=prompt, max_new_tokens=max_new_tokens)
    refuse_few(work.seeds)
    chances, groups = chances_of(samples, chance), groups_of(samples)
    table, settings = measure_samples(
        samples, work, "order", out=out, resume=resume, batch=batch, progress=progress, record=record
    )
    answers = score_orders(table, samples)
    orders = [f"seed {one}" for one in work.seeds]
    pools = [f"side {one}" for one in work.sides]
    original, permuted = right_in(answers, [ORIGINAL], "correct")[:, 0], right_in(answers, orders, "correct")
    relations = np.array([sample.relation for sample in samples], dtype=object)
    measures, left_out = measure_sensitivity(
        original, permuted, right_in(answers, orders, "changed"), chances, relations, groups,
        seed=seed, n=draws, level=level,
    )  # fmt: skip
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
        chance=chance_by_relation(chances, relations),
        settings={**settings, "seed": seed, "draws": draws, "level": level},
    )


def refuse_few(seeds: tuple[int, ...]) -> None:
    """Refuse fewer permutations than an index is of at least.

    Raises:
        InputError: there are fewer.
    """
    if len(seeds) < FEWEST_SEEDS:
        raise InputError(
            f"seeds={seeds}: {len(seeds)} permutations can not say how much the index owes to the draw: give at least "
            f"{FEWEST_SEEDS}, such as range({FEWEST_SEEDS})"
        )


def score_orders(table: pd.DataFrame, samples: Sequence[Sample]) -> pd.DataFrame:
    """The answers of a study with what was right, judged; `changed` where the text is not that with tokens in order."""
    from interp.answers.scoring import score

    of = {sample.id: sample for sample in samples}
    told = [of[name] for name in table["id"]]
    full = table.drop(columns="key").assign(
        gold=[sample.answer for sample in told],
        options=[sample.options for sample in told],
        relation=[sample.relation for sample in told],
        group=[sample.group for sample in told],
    )
    names = [str(sample.meta.get("dataset", "")) for sample in told]
    judged = score(full.assign(dataset=names)).drop(columns="dataset")
    first = judged[judged["order"] == ORIGINAL].set_index("id")["text"]
    return judged.assign(
        changed=judged["text"].to_numpy() != first.loc[judged["id"]].to_numpy(),
        confidence=judged["confidence"].astype(np.float32),
    )


def chances_of(samples: Sequence[Sample], chance: float | None) -> Float[np.ndarray, " sample"]:
    """What a blind guess scores on each sample; NaN where no options are listed."""
    if chance is None:
        return np.array([1 / len(sample.options) if sample.options else np.nan for sample in samples])
    if isinstance(chance, bool) or not isinstance(chance, (int, float)) or not 0 <= chance < 1:
        raise InputError(f"chance={chance!r}: give a share of right answers, from 0 to below 1")
    return np.full(len(samples), float(chance))


def chance_by_relation(
    chances: Float[np.ndarray, " sample"], relations: Shaped[np.ndarray, " sample"]
) -> dict[str, float]:
    """Mean chance over all samples and by relation, where it is known."""
    means = {name: float(chances[own].mean()) for name, own in parts_of(relations).items()}
    return {name: value for name, value in means.items() if np.isfinite(value)}
