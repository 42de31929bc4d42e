"""Ablation: how much the right answer loses when one head, at the last position, says nothing or what others say."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float32

from interp.errors import InputError
from interp.intervene.base import Intervention, Untouched
from interp.intervene.head_patch import PatchHeads
from interp.intervene.head_sets import Head, all_heads
from interp.intervene.heads import ScaleHeads
from interp.model.answer_token import answer_tokens
from interp.model.prefix import share_prefill
from interp.stats.intervals import DRAWS
from interp.study.prompter import prepare_samples
from probes.heads.activations.z_rows import last_z
from probes.heads.scorers.measured import as_row, check_gold, measure_heads
from probes.heads.scorers.sampled import FLIPS, Drawing
from probes.study.finite import refuse_overflow
from probes.study.run import check_asked, check_model

if TYPE_CHECKING:
    from interp.model.hooked_vlm import HookedVLM
    from interp.objects.sample import Sample
    from interp.prompt.inputs import VLMInputs
    from probes.heads.scores import HeadScores

STUDY = "head ablation"
"""What the study is called in its record."""

INSTEAD = ("zero", "mean_of_others")
"""What a head puts out when it is ablated: nothing, or the mean of what the other heads of its layer put out."""

ROWS = 64
"""Rows (heads times samples) that run together, to bound memory."""


def ablation_scores(
    vlm: HookedVLM,
    samples: Sequence[Sample],
    *,
    instead: str = "zero",
    prompt: str = "chat",
    seed: int = 0,
    draws: int = DRAWS,
    level: float = 0.95,
    flips: int = FLIPS,
    out: str | Path | None = None,
    resume: bool = False,
    batch: int = 8,
    progress: bool = True,
    record: Mapping[str, Any] | None = None,
) -> dict[str, HeadScores]:
    """What the probability of the right answer's first token loses when each head alone is ablated, one pass for each.

    Heads are ablated at the last prompt position, where the prompt is shared by all passes, see
    `interp.model.prefix.Prefix`. Three scores, after V-SEAM (EMNLP 2025, arXiv 2509.14837), who ablate all positions:

    * `ablation`: p - p without the head, mean over all samples; its null is 0.
    * `ablation_positive`: the mean of what p loses, gains counted as 0, over samples that are answered rightly; its
      null is what p gains in the same samples.
    * `ablation_negative`: the mean of what p gains, losses counted as 0, over samples that are answered wrongly: heads
      that stand in the way; its null is what p loses.

    In all three a head that only makes noise loses as often as it gains, and that is what signs are flipped for. A
    sample is answered rightly where the right answer's first token is the likeliest of all. Where too few are rightly
    or wrongly answered, the score has no function, and `left_out` says why. Answers that are not balanced make heads
    that favour the frequent one look important.

    Args:
        vlm: the model.
        samples: as in `attention_scores`; no boxes are needed.
        instead: one of `INSTEAD`.
        prompt: prompt style.
        seed: the seed of all draws.
        draws: draws of the bootstrap.
        level: nominal coverage.
        flips: flips of signs, for p-values.
        out: a folder that keeps what was measured.
        resume: go on with what the folder holds.
        batch: samples that are asked together.
        progress: show a progress bar.
        record: more to record, such as the data set.

    Raises:
        InputError: samples that can not be asked, too few of them, or answers that the model can not say; before the
            first pass.

    Example:
        >>> ablation_scores(vlm, samples)["ablation"].of("relational").argmax()
    """
    drawing = Drawing(seed, draws, level, flips)
    work = AblationMeasurement(vlm, instead, prompt)
    how: dict[str, Any] = {"out": out, "resume": resume, "batch": batch, "progress": progress, "record": record}
    found = measure_heads(samples, work, STUDY, drawing=drawing, **how)
    drop = found.columns["drop"]
    loss, gain = drop.clip(min=0), (-drop).clip(min=0)
    right = found.table["right"].to_numpy(dtype=bool)[:, None, None]

    def side(name: str, values: np.ndarray, null: np.ndarray, own: np.ndarray) -> HeadScores:
        given: dict[str, Any] = {"null": np.where(own, null, np.nan), "may_be_empty": True, "instead": instead}
        return found.scores(name, np.where(own, values, np.nan), **given)

    return {
        "ablation": found.scores("ablation", drop, null=np.zeros_like(drop), instead=instead),
        "ablation_positive": side("ablation_positive", loss, gain, right),
        "ablation_negative": side("ablation_negative", gain, loss, ~right),
    }


@dataclass(frozen=True)
class AblationMeasurement:
    """What is measured of each batch: what the right answer loses without each head, and whether it is given.

    Attributes:
        vlm: the model.
        instead: one of `INSTEAD`.
        prompt: prompt style.

    Raises:
        InputError: something means nothing, or there is no other head to take the mean of.
    """

    vlm: HookedVLM
    instead: str = "zero"
    prompt: str = "chat"

    def __post_init__(self) -> None:
        """Refuse what means nothing."""
        check_model(self.vlm)
        if self.instead not in INSTEAD:
            raise InputError(f"instead={self.instead!r:.60} is not known: use one of {', '.join(INSTEAD)}")
        if self.instead != "zero" and self.vlm.cfg.n_heads < 2:
            raise InputError("layers of this model have one head, so that there is no mean of others: use 'zero'")

    def recorded(self) -> dict[str, Any]:
        """What the numbers depend on besides the model and the samples."""
        return {"instead": self.instead, "positions": "last", "prompt": self.prompt}

    def check(self, samples: Sequence[Sample], *, progress: bool = True) -> None:
        """Refuse samples that can not be asked, before the first pass.

        Raises:
            InputError: some can not be asked, or the model can not say an answer.
        """
        check_asked(self.vlm, samples, self.prompt, progress=progress)
        check_gold(self.vlm, samples, self.prompt)

    def __call__(self, samples: list[Sample]) -> list[list[dict[str, Any]]]:
        """One row for each sample: `drop`, the probability `p` of the right answer, and whether it is `right`.

        Raises:
            ModelError: probabilities that are not finite.
        """
        inputs = prepare_samples(self.vlm, samples, self.prompt)
        gold = [one.id for one in answer_tokens(self.vlm, inputs, [sample.answer for sample in samples])]
        chances, says = self._chances(inputs, gold)
        for sample, own in zip(samples, chances.T, strict=True):
            refuse_overflow(own, sample.id, "probabilities")
        axes = (self.vlm.cfg.n_layers, self.vlm.cfg.n_heads)
        drops = (chances[0] - chances[1:]).T.reshape(len(samples), *axes)
        return [
            [as_row({"drop": own}, p=float(p), right=said == token)]
            for own, p, said, token in zip(drops, chances[0], says, gold, strict=True)
        ]

    def _chances(self, inputs: VLMInputs, gold: Sequence[int]) -> tuple[Float32[np.ndarray, "run sample"], list[int]]:
        """The probability of each right answer, untouched and without each head; and what is said untouched."""
        prefix = share_prefill(self.vlm, inputs, chunk=ROWS)
        edits = list(self._edits(inputs))
        many = max(ROWS // len(inputs), 1)
        found: list[np.ndarray] = []
        says: list[int] = []
        for start in range(0, len(edits), many):
            logits = prefix.step(edits[start : start + many]).logits
            index = torch.tensor(gold, device=logits.device).expand(len(logits), -1)[:, :, None]
            chosen = logits.gather(2, index)[:, :, 0] - logits.logsumexp(-1)
            found.append(chosen.exp().cpu().numpy())
            says = says or logits[0].argmax(-1).tolist()
        return np.concatenate(found), says

    def _edits(self, inputs: VLMInputs) -> Iterator[Intervention]:
        """Nothing, then each head ablated at the last position."""
        yield Untouched()
        heads = all_heads(self.vlm.cfg)
        if self.instead == "zero":
            yield from (ScaleHeads((head,), 0, positions="last", scope="prompt") for head in heads)
            return
        others = mean_of_others(last_z(self.vlm, inputs))
        yield from (_patched(head, others) for head in heads)


def mean_of_others(
    z: Float32[np.ndarray, "sample layer head d_head"],
) -> Float32[np.ndarray, "sample layer head d_head"]:
    """For each head the mean of the other heads of its layer."""
    heads = z.shape[2]
    return ((z.sum(axis=2, keepdims=True, dtype=np.float64) - z) / (heads - 1)).astype(np.float32)


def _patched(head: Head, others: Float32[np.ndarray, "sample layer head d_head"]) -> PatchHeads:
    layer, number = head
    values = torch.from_numpy(np.ascontiguousarray(others[:, layer, number][:, None]))
    return PatchHeads((head,), values, positions="last", scope="prompt")
