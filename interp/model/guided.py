"""Guided generation: answers that end at given texts, and given answers scored token by token as they are decoded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from interp.errors import InputError
from interp.model.generation import end_tokens, generated_length, greedy_settings, own_settings

if TYPE_CHECKING:
    from interp.intervene.base import Intervention
    from interp.model.hooked import HookedModel
    from interp.prompt.inputs import VLMInputs


def generate_until(
    vlm: HookedModel,
    inputs: VLMInputs,
    stops: Sequence[str],
    *,
    max_new_tokens: int,
    intervention: Intervention | None = None,
) -> tuple[str, ...]:
    """Answer greedily up to the first of some texts, which is left out, or to the end token.

    Args:
        vlm: the model.
        inputs: one batch.
        stops: the texts; none is searched for where it is empty.
        max_new_tokens: the most tokens that an answer has.
        intervention: what the answers are given under.

    Returns:
        The answers, without special tokens, white space around them left out.

    Raises:
        InputError: a stop that is no text or empty.
    """
    from transformers import StoppingCriteriaList

    if isinstance(stops, str) or not all(isinstance(stop, str) and stop for stop in stops):
        raise InputError(f"stops={stops!r:.80}: give a list of texts that are not empty")
    settings = greedy_settings(vlm, max_new_tokens)
    settings.output_logits = False
    prompt, words = inputs.input_ids.shape[1], vlm.processor.tokenizer
    criteria = StoppingCriteriaList([_Stops(words, prompt, tuple(stops))] if stops else [])  # type: ignore[list-item]
    with _running(vlm, inputs, intervention, settings):
        made = vlm.model.generate(**inputs.tensors, generation_config=settings, stopping_criteria=criteria)
    rows = made.sequences[:, prompt:].tolist()
    return tuple(_text(words, row[: generated_length(row, end_tokens(settings))], stops) for row in rows)


def score_answers(
    vlm: HookedModel,
    inputs: VLMInputs,
    answers: Sequence[Sequence[int]],
    *,
    intervention: Intervention | None = None,
) -> tuple[list[Float[Tensor, " token"]], list[bool]]:
    """The log-probability of each token of given answers, decoded one by one as if the model had chosen them.

    An intervention does in each step what it does in a generation; of one on the last prompt row, that is the first
    token's alone.

    Args:
        vlm: the model.
        inputs: one batch.
        answers: the tokens of each sample's answer, see `interp.model.forced.forced_tokens`.
        intervention: what they are scored under.

    Returns:
        The log-probabilities of each answer, float32, and whether it is the one that the model would choose greedily.

    Raises:
        InputError: not one answer for each sample, or an empty one.
    """
    from transformers import LogitsProcessorList

    if len(answers) != len(inputs) or not all(len(own) for own in answers):
        raise InputError(f"{len(answers)} answers for {len(inputs)} samples: give one for each, not empty")
    settings = greedy_settings(vlm, max(map(len, answers)))
    settings.output_logits, settings.eos_token_id = False, None  # the answers say where they end
    guide = _Guide(answers)
    with _running(vlm, inputs, intervention, settings):
        steering = LogitsProcessorList([guide])  # type: ignore[list-item]
        vlm.model.generate(**inputs.tensors, generation_config=settings, logits_processor=steering)
    chances, best = torch.stack(guide.chances, 1).cpu(), torch.stack(guide.best, 1).cpu()
    own = [len(answer) for answer in answers]
    return [row[:length] for row, length in zip(chances, own, strict=True)], [
        bool(row[:length].all()) for row, length in zip(best, own, strict=True)
    ]


@contextmanager
def _running(vlm: HookedModel, inputs: VLMInputs, intervention: Intervention | None, settings: Any) -> Iterator[None]:
    """All that a generation runs under."""
    with vlm.hooks(intervention=intervention, inputs=inputs), vlm.turn(), torch.no_grad():
        vlm.check_batch(inputs)
        with own_settings(vlm.model, settings):
            yield


class _Stops:
    """Ends each answer in which one of the texts stands."""

    def __init__(self, words: Any, prompt: int, stops: tuple[str, ...]) -> None:
        self.words, self.prompt, self.stops = words, prompt, stops

    def __call__(self, input_ids: Tensor, scores: Any, **kwargs: Any) -> Bool[Tensor, " batch"]:
        texts = [self.words.decode(row) for row in input_ids[:, self.prompt :].tolist()]
        over = [any(stop in text for stop in self.stops) for text in texts]
        return torch.tensor(over, device=input_ids.device)


class _Guide:
    """Has the model say given tokens, and notes what it thought of them."""

    def __init__(self, answers: Sequence[Sequence[int]]) -> None:
        self.answers = answers
        self.chances: list[Tensor] = []
        self.best: list[Tensor] = []

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        step, exact = len(self.chances), scores.float()
        wanted = [own[step] if step < len(own) else own[-1] for own in self.answers]
        index = torch.tensor(wanted, device=scores.device)[:, None]
        self.chances.append(exact.gather(1, index)[:, 0] - exact.logsumexp(-1))
        self.best.append(exact.argmax(-1) == index[:, 0])
        return torch.full_like(scores, -torch.inf).scatter(1, index, 0.0)


def _text(words: Any, tokens: list[int], stops: Sequence[str]) -> str:
    """The answer up to the first stop."""
    if stops:
        length = next(
            (n for n in range(1, len(tokens) + 1) if any(stop in words.decode(tokens[:n]) for stop in stops)),
            len(tokens),
        )
        tokens = tokens[:length]
    text = str(words.decode(tokens, skip_special_tokens=True))
    places = [place for stop in stops if (place := text.find(stop)) >= 0]
    return text[: min(places, default=len(text))].strip()
