"""Interchange: activations of a clean run replaced by those of its counterfactual, at every layer slot."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from einops import rearrange

from interp.numeric import read_flag
from interp.stats.draws import check_draws
from interp.stats.intervals import DRAWS
from probes.mechanisms.interchange.measurement import CONTROL, InterchangeMeasurement
from probes.mechanisms.interchange.result import Interchange
from probes.mechanisms.tokens.token_sets import Positions
from probes.study.run import groups_of, measure_samples

if TYPE_CHECKING:
    from interp.model.hooked_vlm import HookedVLM
    from probes.mechanisms.scenes.pairs import Pair


def interchange(
    vlm: HookedVLM,
    pairs: Sequence[Pair],
    positions: Positions = "strip",
    *,
    slots: Iterable[int] | None = None,
    hook: str = "resid_pre",
    control: str | None = CONTROL,
    keep_wrong: bool = False,
    prompt: str = "chat",
    batch: int = 16,
    out: str | Path | None = None,
    resume: bool = False,
    progress: bool = True,
    seed: int = 0,
    draws: int = DRAWS,
    level: float = 0.95,
    record: Mapping[str, Any] | None = None,
) -> Interchange:
    """Where is it computed? Patch the clean run from the counterfactual run, one layer slot after another.

        y = f(x; h_l <- h_l(x'))

    the interchange intervention of "The Dual Mechanisms of Spatial Reasoning in Vision-Language Models" (Cui et al.
    2026, section 4): the run of the clean prompt x goes on with what the run of the counterfactual x' had at chosen
    tokens and one slot. What is measured is how probable the word of each outcome then is at the last position, summed
    over its spellings {lower, Capital} x {bare, behind a space}; only pairs count of which the model gets both sides
    right (its likeliest token is the answer). The paper calls the mean over pairs IIA.

    Beside it, in the same run, as many random image tokens are patched from random ones, which the paper does not do:
    that a patch at a set does something says nothing of the set unless other tokens do less.

    One run of the counterfactual serves the sweep, the vision tower runs once a photo, and a patch at slot l costs the
    blocks from l on. The residual stream of the batch is kept at all slots: ask with a smaller batch where that is too
    much.

    Args:
        vlm: the model.
        pairs: what to ask, each with an id of its own; the group of the clean sample says what is drawn together.
        positions: which tokens, by name, or positions; see `token_set`.
        slots: layer slots, 0 for the input of block 0, l for the output of block l - 1; all by default. Of hooks inside
            layers, 0-based layers.
        hook: `resid_pre`, the residual stream at slots, or inside layers `resid_mid`, `attn_out`, `mlp_out`, `q`, `k`,
            `v`, `z`.
        control: the set beside it; None for none, which leaves it open what other tokens would do.
        keep_wrong: let all numbers be of all pairs, also of those that the model gets wrong on a side.
        prompt: prompt style, see `HookedVLM.prepare`.
        batch: pairs that are measured together.
        out: a folder that keeps what was measured, so that it can be resumed; see `run_study`.
        resume: go on with what the folder holds.
        progress: show a progress bar.
        seed: the seed of the bootstrap, of the sign flips, and of the control's tokens.
        draws: draws of the bootstrap.
        level: nominal coverage.
        record: more to record beside the settings, such as the data set.

    Example:
        >>> found = interchange(vlm, pairs, "strip")
        >>> found.differences().query("outcome == 'place' and direction == 'all'").nlargest(1, "value")

    Raises:
        InputError: no pairs or too few groups, pairs that can not be patched (an empty set, sides of different size,
            another grid), words that are no token; all before the first pass.
        RefusedError: a patch that the model would add features of the photo to (DeepStack).
        ModelError: probabilities that are not finite.
    """
    check_draws(draws, level, seed)
    options: dict[str, Any] = {"control": control, "slots": slots, "hook": hook, "prompt": prompt, "seed": seed}
    work = InterchangeMeasurement.of(vlm, pairs, positions, **options)
    how: dict[str, Any] = {"out": out, "resume": resume, "batch": batch, "progress": progress, "record": record}
    return sweep(work, "interchange", seed=seed, draws=draws, level=level, keep_wrong=keep_wrong, **how)


def sweep(
    work: InterchangeMeasurement, study: str, *, seed: int, draws: int, level: float, keep_wrong: bool, **how: Any
) -> Interchange:
    """Measure all pairs, and read the rows as arrays over pairs, slots and outcomes.

    Args:
        work: what is measured of which pairs.
        study: the name of the study, for its record.
        seed: the seed of the bootstrap and of the sign flips.
        draws: draws of the bootstrap.
        level: nominal coverage.
        keep_wrong: let all numbers be of all pairs.
        **how: the others of `measure_samples`.

    Raises:
        InputError: pairs that can not be measured, or a folder that can not be used; all before the first pass.
    """
    keep_wrong = read_flag(keep_wrong, "keep_wrong")
    pairs = list(work.pairs.values())
    samples = [pair.as_sample() for pair in pairs]
    groups = groups_of(samples)
    table, settings = measure_samples(samples, work, study, **how)
    outcomes = tuple(pairs[0].outcomes)
    own = dict(iter(table.groupby("set", sort=False)))
    first = own["patched"]
    whole = first.iloc[:: len(outcomes)]

    def patched(name: str) -> np.ndarray:
        found = np.stack(own[name]["p_patched"].to_list()).astype(np.float32)
        return rearrange(found, "(pair outcome) slot -> pair slot outcome", outcome=len(outcomes))

    def column(name: str) -> np.ndarray:
        return rearrange(first[name].to_numpy(np.float32), "(pair outcome) -> pair outcome", outcome=len(outcomes))

    return Interchange(
        positions=work.positions if isinstance(work.positions, str) else "positions",
        control=work.control or "",
        hook=work.hook,
        slots=work.slots,
        outcomes=outcomes,
        ids=tuple(whole["id"]),
        groups=groups,
        directions=np.array([pair.clean.relation or pair.axis for pair in pairs], dtype=object),
        p_clean=column("p_clean"),
        p_counterfactual=column("p_counterfactual"),
        p_patched=patched("patched"),
        p_control=patched("control") if "control" in own else None,
        right_clean=whole["clean_right"].to_numpy(bool),
        right_counterfactual=whole["counterfactual_right"].to_numpy(bool),
        settings={
            **settings, "seed": seed, "draws": draws, "level": level, "keep_wrong": keep_wrong,
            "first_slot": work.first_slot,
        },
    )  # fmt: skip
