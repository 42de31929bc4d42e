"""Answering: one prefill, the untouched first token, the policy's choice, and the answer under it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from adaptvis.confidence import of_policy
from adaptvis.policies import Baseline, Policy
from interp.interventions import PerSample, Untouched
from interp.prefix import share_prefill
from interp.reprs import fits_a_cell

if TYPE_CHECKING:
    from collections.abc import Sequence

    from interp.hooked_vlm import HookedVLM
    from interp.images import ImageSource
    from interp.inputs import VLMInputs


@fits_a_cell()
@dataclass(frozen=True)
class Answer:
    """What a model answered under a policy.

    Attributes:
        text: the greedy answer under the chosen intervention.
        untouched: the greedy answer of the model as it is.
        confidence: of the untouched first token, by the policy's measure, fp32.
        branch: which way the policy went.
        policy, intervention: their settings, as text.
        first_token: the first token under the intervention; `probability`: its probability, fp32.
    """

    text: str
    untouched: str
    confidence: float
    branch: str
    policy: str
    intervention: str
    first_token: str
    probability: float


def answer(
    vlm: HookedVLM,
    image: ImageSource,
    question: str,
    policy: Policy | None = None,
    *,
    options: Sequence[str] = (),
    prompt: str = "chat",
    max_new_tokens: int = 10,
) -> Answer:
    """Answer one question about one photo under a policy; `options` are for a policy that goes by them.

    Example:
        >>> answer(vlm, "photo.jpg", "Where is the mug in the photo?", AdaptVis(0.5, 1.5, 0.4)).text
        'Left'

    Raises:
        SpatialLensError: the photo, the question or the policy can not be used.
    """
    inputs = vlm.prepare(image, question, prompt=prompt)
    return answer_batch(vlm, inputs, policy or Baseline(), options=[options], max_new_tokens=max_new_tokens)[0]


def answer_batch(
    vlm: HookedVLM,
    inputs: VLMInputs,
    policy: Policy,
    *,
    options: Sequence[Sequence[str]] | None = None,
    max_new_tokens: int = 10,
) -> tuple[Answer, ...]:
    """Answer a batch, each sample under the intervention that the policy chooses for it: one prefill for all."""
    prefix = share_prefill(vlm, inputs)
    listed = [()] * len(inputs) if options is None else options
    confidences = of_policy(policy, vlm.processor.tokenizer, prefix.step([Untouched()]).logits[0], listed)
    chosen = tuple(policy.choose(sure) for sure in confidences)
    untouched, edited = prefix.generate([Untouched(), PerSample(chosen)], max_new_tokens)
    tokens = vlm.processor.tokenizer.convert_ids_to_tokens(edited.tokens[:, 0].tolist())
    return tuple(
        Answer(
            text=edited.texts[sample],
            untouched=untouched.texts[sample],
            confidence=confidences[sample],
            branch=policy.branch(confidences[sample]),
            policy=str(policy),
            intervention=str(chosen[sample]),
            first_token=tokens[sample],
            probability=probability,
        )
        for sample, probability in enumerate(edited.confidence)
    )
