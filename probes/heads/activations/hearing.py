"""Hearing: what every head puts out where an answer is said, in the passes that make it or in one pass over it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor

from interp.model.forced import said_chances, with_answers
from interp.model.generation import end_tokens, generate_scored, greedy_settings
from interp.reprs import fits_a_cell

if TYPE_CHECKING:
    from interp.model.hooked_vlm import HookedVLM
    from interp.prompt.inputs import VLMInputs


@fits_a_cell("tokens finished")
@dataclass(frozen=True, eq=False)
class HeardAnswers:
    """The answers of a batch, and what heads put out while they were said.

    State 0 is the last position of the prompt, from which token 0 is predicted; state j + 1 is token j itself, from
    which token j + 1 is predicted.

    Attributes:
        tokens: of each sample, the tokens of its answer without the one that ends it.
        log_probs: of each sample, the log-probability of each of these tokens.
        finished: whether each answer came to its end.
        states: by layer and state, what the heads put out [batch head d_head]; states that were not asked for are None.
    """

    tokens: tuple[tuple[int, ...], ...]
    log_probs: tuple[Float32[np.ndarray, " token"], ...]
    finished: tuple[bool, ...]
    states: Sequence[Sequence[Tensor | None]] = field(repr=False)

    def mean(self, sample: int, states: Sequence[int]) -> Float[Tensor, "layer head d_head"]:
        """The mean over some states of one sample, float32, where the model keeps its activations."""
        device = _of(self.states[0], states[0]).device  # layers may lie on several
        layers = [
            torch.stack([_of(kept, state)[sample] for state in states]).float().mean(0).to(device)
            for kept in self.states
        ]
        return torch.stack(layers)


def hear_own(
    vlm: HookedVLM,
    inputs: VLMInputs,
    max_new_tokens: int,
    *,
    at_tokens: bool = True,
    only_first: bool = False,
) -> HeardAnswers:
    """Let a model answer greedily, and keep what every head puts out at the last row of each pass.

    The tokens are those of `vlm.generate`. Held are states x layers x batch x heads x d_head numbers, and no more.

    Args:
        vlm: the model.
        inputs: the batch.
        max_new_tokens: the most tokens that an answer has.
        at_tokens: whether the state at an answer's last token is wanted too: where an answer is cut off, this takes one
            more pass than `vlm.generate` makes.
        only_first: keep the states of the first token alone.
    """
    greedy_settings(vlm, max_new_tokens)
    kept: list[list[Tensor | None]] = [[] for _ in range(vlm.cfg.n_layers)]
    most = (2 if at_tokens else 1) if only_first else None
    hooks = [(name, _LastRow(own, most)) for name, own in zip(z_points(vlm), kept, strict=True)]
    with vlm.hooks(hooks):
        answer, chances = generate_scored(vlm, inputs, max_new_tokens + at_tokens)
    ends, rows = set(end_tokens(greedy_settings(vlm, max_new_tokens))), answer.tokens.tolist()
    lengths = [next((at for at, token in enumerate(row) if token in ends), len(row)) for row in rows]
    cut = [min(length, max_new_tokens) for length in lengths]
    finished = [length <= max_new_tokens and length < len(row) for length, row in zip(lengths, rows, strict=True)]
    own_chances = chances.cpu().numpy()
    return HeardAnswers(
        tuple(tuple(row[:length]) for row, length in zip(rows, cut, strict=True)),
        tuple(own[:length] for own, length in zip(own_chances, cut, strict=True)),
        tuple(finished),
        kept,
    )


def hear_forced(vlm: HookedVLM, inputs: VLMInputs, answers: Sequence[Sequence[int]]) -> HeardAnswers:
    """Run prompts with given answers behind them once, and keep what every head puts out at the answers' rows.

    Raises:
        InputError: not one answer for each sample, or an empty one.
    """
    start, length = inputs.input_ids.shape[1] - 1, max(map(len, answers)) + 1
    kept: list[list[Tensor | None]] = [[] for _ in range(vlm.cfg.n_layers)]
    hooks = [(name, _Rows(own, start)) for name, own in zip(z_points(vlm), kept, strict=True)]
    with torch.no_grad():
        output = vlm.run_with_hooks(with_answers(vlm, inputs, answers), fwd_hooks=hooks, logits_to_keep=length)
    chances = [own.cpu().numpy() for own in said_chances(output.logits[:, -length:], answers)]
    return HeardAnswers(tuple(map(tuple, answers)), tuple(chances), (True,) * len(answers), kept)


def z_points(vlm: HookedVLM) -> list[str]:
    """The hook points of what heads put out, by layer."""
    return [f"blocks.{layer}.attn.hook_z" for layer in range(vlm.cfg.n_layers)]


class _LastRow:
    """A hook function that keeps the last row of each pass, of the first `most` passes where that is given."""

    reads_only = True

    def __init__(self, kept: list[Tensor | None], most: int | None) -> None:
        self.kept, self.most = kept, most

    def __call__(self, tensor: Float[Tensor, "batch pos head d_head"], *, hook: Any) -> None:
        wanted = self.most is None or len(self.kept) < self.most
        self.kept.append(tensor.detach()[:, -1].clone() if wanted else None)


class _Rows:
    """A hook function that keeps the rows from a position on."""

    reads_only = True

    def __init__(self, kept: list[Tensor | None], start: int) -> None:
        self.kept, self.start = kept, start

    def __call__(self, tensor: Float[Tensor, "batch pos head d_head"], *, hook: Any) -> None:
        self.kept.extend(tensor.detach()[:, self.start :].clone().unbind(1))


def _of(kept: Sequence[Tensor | None], state: int) -> Float[Tensor, "batch head d_head"]:
    """A state that was kept."""
    found = kept[state]
    assert found is not None
    return found
