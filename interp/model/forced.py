"""Forced answers: prompts with given answers behind them, so that one pass shows what a model makes of each token."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from interp.errors import InputError, RefusedError
from interp.model.answer_token import following_ids
from interp.prompt.layout import TokenLayout

if TYPE_CHECKING:
    from interp.model.hooked import HookedModel
    from interp.prompt.inputs import VLMInputs


def forced_tokens(vlm: HookedModel, prompt: str, answer: str) -> tuple[int, ...]:
    """All tokens by which a text goes on as the answer to a prompt, as `answer_token` has the first of them.

    Args:
        vlm: the model.
        prompt: the prompt as text, with its one image placeholder, as in `VLMInputs.prompts`.
        answer: what is answered; white space around it is left out.

    Example:
        >>> forced_tokens(vlm, inputs.prompts[0], "left")
        (27,)

    Raises:
        InputError: the answer is empty.
    """
    if not answer.strip():
        raise InputError(f"the answer {answer!r} is empty, so that it has no token: give a text")
    return tuple(following_ids(vlm, prompt, answer.strip()))


def with_answers(vlm: HookedModel, inputs: VLMInputs, answers: Sequence[Sequence[int]]) -> VLMInputs:
    """A batch with answers behind its prompts, padded on the right to the longest one.

    Every token of an answer sees the prompt and the tokens before its own, as where the model says them.

    Args:
        vlm: the model.
        inputs: the batch.
        answers: the tokens of each sample's answer, see `forced_tokens`.

    Raises:
        InputError: not one answer for each sample, or an empty one.
        RefusedError: a family of which it can not be said that its answers do not see what comes behind.
    """
    if len(answers) != len(inputs) or not all(len(own) for own in answers):
        lengths = ", ".join(str(len(own)) for own in answers)
        raise InputError(
            f"{len(answers)} answers of {lengths} tokens for {len(inputs)} samples: give one for each, not empty"
        )
    prefix = vlm.cfg.two_way == "prompt"
    if prefix and "token_type_ids" not in inputs.tensors:
        raise RefusedError(f"{vlm.family.name} family: its processor does not tell prompts from answers")
    longest = max(map(len, answers))
    pad = vlm.processor.tokenizer.pad_token_id or 0
    ids = torch.tensor([[*own, *[pad] * (longest - len(own))] for own in answers])
    there = torch.tensor([[1] * len(own) + [0] * (longest - len(own)) for own in answers])
    added = {"input_ids": ids, "attention_mask": there, "token_type_ids": torch.full_like(ids, int(prefix))}
    tensors = {
        name: torch.cat([value, added.get(name, torch.zeros_like(ids)).to(value)], 1)
        if value.shape == inputs.input_ids.shape
        else value
        for name, value in inputs.tensors.items()
    }
    words, padding = vlm.processor.tokenizer, str(vlm.processor.tokenizer.pad_token or "")
    layouts = []
    for layout, own in zip(inputs.layouts, answers, strict=True):
        longer, rest = layout.extended(words.convert_ids_to_tokens(list(own))), longest - len(own)
        layouts.append(TokenLayout(longer.kinds + ("pad",) * rest, longer.tokens + (padding,) * rest))
    return replace(inputs, tensors=tensors, layouts=tuple(layouts))


def said_chances(
    logits: Float[Tensor, "batch state vocab"], answers: Sequence[Sequence[int]]
) -> list[Float[Tensor, " token"]]:
    """The log-probability of each token of forced answers, float32.

    Args:
        logits: those of the last prompt row and of every answer row, the padding on the right included: what a run of
            `with_answers` gives with `logits_to_keep` one more than the longest answer.
        answers: the tokens of each answer.
    """
    found = []
    for own, said in zip(logits, answers, strict=True):  # one by one, as a batch of vocabularies is large
        exact = own[: len(said)].float()
        index = torch.tensor(list(said), device=exact.device)[:, None]
        found.append(exact.gather(1, index)[:, 0] - exact.logsumexp(-1))
    return found
