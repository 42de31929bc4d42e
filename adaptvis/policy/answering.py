"""Answering: one prefill that says the untouched first token, the policy's choice, and the answer under it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from jaxtyping import Float

from adaptvis.policy.confidence import each_option_tokens, measure
from adaptvis.policy.policies import Baseline, Policy
from interp.errors import InputError
from interp.intervene.base import Intervention, PerSample, Untouched
from interp.model.prefix import share_prefill
from interp.reprs import fits_a_cell

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from adaptvis.policy.policies import Policy
    from interp.image.photos import ImageSource
    from interp.model.hooked_vlm import HookedVLM
    from interp.prompt.inputs import VLMInputs


@fits_a_cell()
@dataclass(frozen=True)
class Answer:
    """What a model answered under a policy.

    Attributes:
        text: the greedy answer under the chosen intervention.
        untouched: the greedy answer of the model as it is; None unless it was asked for.
        confidence: the confidence of the untouched first token, by the policy's measure, fp32.
        branch: which way the policy went.
        policy, intervention: their settings, as text.
        first_token: the first token under the intervention; `probability`: its probability, fp32.
    """

    text: str
    untouched: str | None
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
    keep_untouched: bool = False,
) -> Answer:
    """Answer one question about one photo under a policy.

    Args:
        vlm: the model.
        image: the photo.
        question: what is asked about it.
        policy: which intervention it is answered under; none by default.
        options: the words to choose from, for a policy that goes by them.
        prompt: the style of the prompt; see `interp.prompt.inputs.prepare`.
        max_new_tokens: the most tokens that an answer has.
        keep_untouched: answer as the model is, too: `Answer.untouched`, a second row of every decoding step.

    Example:
        >>> answer(vlm, "photo.jpg", "Where is the mug in the photo?", AdaptVis(0.5, 1.5, 0.4)).text
        'Left'

    Raises:
        SpatialLensError: the photo, the question or the policy can not be used.
    """
    inputs = vlm.prepare(image, question, prompt=prompt)
    (found,) = answer_batch(
        vlm,
        inputs,
        policy or Baseline(),
        options=[options],
        max_new_tokens=max_new_tokens,
        keep_untouched=keep_untouched,
    )
    return found


def answer_batch(
    vlm: HookedVLM,
    inputs: VLMInputs,
    policy: Policy,
    *,
    options: Sequence[Sequence[str]] | None = None,
    max_new_tokens: int = 10,
    keep_untouched: bool = False,
) -> tuple[Answer, ...]:
    """Answer a batch, each sample under the intervention that the policy chooses for it: one prefill for all.

    Settings are those of `answer`, `options` a list for each sample.
    """
    prefix = share_prefill(vlm, inputs)
    listed = [()] * len(inputs) if options is None else options
    confidences = of_policy(policy, vlm.processor.tokenizer, prefix.step([Untouched()]).logits[0], listed)
    chosen = tuple(policy.choose(sure) for sure in confidences)
    wanted: list[Intervention] = [PerSample(chosen)]
    wanted += [Untouched()] if keep_untouched else []
    edited, *untouched = prefix.generate(wanted, max_new_tokens)
    tokens = vlm.processor.tokenizer.convert_ids_to_tokens(edited.tokens[:, 0].tolist())
    return tuple(
        Answer(
            text=edited.texts[sample],
            untouched=untouched[0].texts[sample] if untouched else None,
            confidence=confidences[sample],
            branch=policy.branch(confidences[sample]),
            policy=str(policy),
            intervention=str(chosen[sample]),
            first_token=tokens[sample],
            probability=probability,
        )
        for sample, probability in enumerate(edited.confidence)
    )


def of_policy(
    policy: Policy, tokenizer: Any, logits: Float[Tensor, "batch vocab"], options: Sequence[Sequence[str]]
) -> list[float]:
    """The confidence of each sample that a policy goes by.

    Raises:
        InputError: it goes by the options, and these can not be told apart by their first tokens.
    """
    own = each_option_tokens(tokenizer, options)
    if policy.confidence == "options" and not all(each.distinct for each in own):
        wrong = next(each.options for each in own if not each.distinct)
        raise InputError(
            f"options {list(wrong)} can not be told apart by their first tokens, or there are none: "
            "give options that can, or choose another confidence"
        )
    return [found[policy.confidence] for found in measure(logits, own)]
