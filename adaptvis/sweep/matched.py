"""The matched control: for each sample and alpha, as much attention on the image as under alpha, and no sharpening."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from interp.answers.scoring import score
from interp.errors import InputError
from interp.intervene.base import Intervention, PerSample
from interp.intervene.image_logits import ScaleImageLogits
from interp.model.prefix import Prefix, WholePasses, share_prefill
from interp.study.prompter import batches, prepare_samples

if TYPE_CHECKING:
    import pandas as pd

    from interp.model.hooked_vlm import HookedVLM
    from interp.objects.sample import Sample

TRIED = (-64.0, -16.0, -5.0, 0.0, 5.0, 16.0, 64.0)
"""Constants (nats) under which the image's share is measured first, to find the one that matches."""

ROUNDS = 2  # of looking between the constants on both sides


def ask_matched(
    vlm: HookedVLM,
    samples: Sequence[Sample],
    alphas: Sequence[float],
    *,
    prompt: str = "paper",
    max_new_tokens: int = 10,
    batch: int = 16,
    progress: bool = True,
) -> pd.DataFrame:
    """Answer under a constant added to the image logits that moves as much attention to the image as alpha does.

    Alpha changes two things at once: how much of the attention the image gets, and how sharp it is inside the image.
    The control changes the first alone. Its constant is found for each sample and alpha apart, so that the image's
    share of the last row's attention, mean over layers and heads, is the same; of all that were measured it is the
    nearest one.

    Args:
        vlm: the model.
        samples: what to ask.
        alphas: the factors to match, all but 1.
        prompt: prompt style.
        max_new_tokens: length of an answer at most.
        batch: samples that share one pass.
        progress: show a progress bar.

    Returns:
        One row per sample and alpha: id, relation, group, gold, options, alpha, shift (nats), the image's share
        `untouched`, `scaled` (under alpha) and `matched` (under the control), text, and from `score` whether it is
        right.

    Example:
        >>> ask_matched(vlm, samples, (0.5, 2.0)).groupby("alpha")[["scaled", "matched"]].mean()

    Raises:
        InputError: there is no sample or no alpha, or an alpha is no finite number.
    """
    import pandas as pd

    from interp.store.progress import ProgressBar

    asked = [alpha for alpha in dict.fromkeys(alphas) if alpha != 1]
    if not asked or not samples:
        raise InputError(f"{len(samples)} samples and alphas {list(alphas)}: give some, and an alpha other than 1")
    rows: list[dict[str, Any]] = []
    for places in ProgressBar(list(batches(samples, batch)), desc="control", unit="batch", disable=not progress):
        rows += _ask(vlm, [samples[place] for place in places], asked, prompt, max_new_tokens)
    return score(pd.DataFrame(rows))


def image_shares(
    vlm: HookedVLM, prefix: Prefix | WholePasses, interventions: Sequence[Intervention]
) -> Float[np.ndarray, "intervention sample"]:
    """The image's share of the last prompt row's attention under each intervention, mean over layers and heads."""
    names = [f"blocks.{layer}.attn.hook_pattern" for layer in range(vlm.cfg.n_layers)]
    kept = prefix.step(interventions, capture=names).captured
    shares = np.zeros((len(interventions), len(prefix.inputs)))
    for sample, layout in enumerate(prefix.inputs.layouts):
        own = [kept[name][:, sample, :, 0, layout.image_positions].sum(-1).mean(-1) for name in names]
        shares[:, sample] = np.mean([each.float().cpu().numpy() for each in own], axis=0)
    return shares


def _ask(
    vlm: HookedVLM, samples: Sequence[Sample], alphas: Sequence[float], prompt: str, max_new_tokens: int
) -> list[dict[str, Any]]:
    """One batch under the control of every alpha."""
    inputs = prepare_samples(vlm, samples, prompt)
    prefix = share_prefill(vlm, inputs)
    scaled = image_shares(vlm, prefix, [ScaleImageLogits(alpha) for alpha in alphas])
    first = image_shares(vlm, prefix, [ScaleImageLogits(shift, mode="add") for shift in TRIED])
    known = np.broadcast_to(np.array(TRIED)[:, None, None], (len(TRIED), *scaled.shape))  # [constant alpha sample]
    shares = np.broadcast_to(first[:, None], known.shape)
    for _ in range(ROUNDS):
        between = matching_shifts(known, shares, scaled)
        known = np.concatenate([known, between[None]])
        shares = np.concatenate([shares, image_shares(vlm, prefix, _added(between))[None]])
    nearest = np.abs(shares - scaled).argmin(0)[None]
    shifts, reached = (np.take_along_axis(each, nearest, 0)[0] for each in (known, shares))
    answers = prefix.generate(_added(shifts), max_new_tokens)
    return [
        {
            "id": sample.id,
            "relation": sample.relation,
            "group": sample.group,
            "gold": sample.answer,
            "options": "|".join(sample.options),
            "alpha": alpha,
            "shift": shifts[which, place],
            "untouched": first[TRIED.index(0.0), place],
            "scaled": scaled[which, place],
            "matched": reached[which, place],
            "text": answers[which].texts[place],
        }
        for place, sample in enumerate(samples)
        for which, alpha in enumerate(alphas)
    ]


def matching_shifts(
    known: Float[np.ndarray, "constant alpha sample"],
    shares: Float[np.ndarray, "constant alpha sample"],
    wanted: Float[np.ndarray, "alpha sample"],
) -> Float[np.ndarray, "alpha sample"]:
    """Constants under which the image should get the wanted shares, by its shares under known ones.

    Between two of them the log odds of the share are taken as linear, as in a single layer they are.
    """
    found = np.empty(wanted.shape)
    for place in np.ndindex(wanted.shape):
        own = (slice(None), *place)
        order = np.argsort(known[own], kind="stable")
        rising = np.maximum.accumulate(_log_odds(shares[own][order]))
        found[place] = np.interp(_log_odds(wanted[place]), rising, known[own][order])
    return found


def _log_odds(share: Any) -> Any:
    inside = np.clip(share, 1e-9, 1 - 1e-9)
    return np.log(inside / (1 - inside))


def _added(shifts: Float[np.ndarray, "alpha sample"]) -> list[PerSample]:
    """Each sample's own constant, alpha by alpha."""
    return [PerSample(tuple(ScaleImageLogits(shift, mode="add") for shift in row)) for row in shifts.tolist()]
