"""Answer lens: how probable the answer's word would be if the model ended at an image token, layer by layer.

Each image token's residual stream, behind each block, goes through the model's own final norm and unembedding (the
"logit lens"). What comes out says what is written there, and not whether any row reads it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor

from interp.errors import InputError
from interp.model.answer_token import answer_tokens, token_of
from interp.model.readout import readout

if TYPE_CHECKING:
    from interp.model.answer_token import AnswerToken
    from interp.model.features import ImageFeatures
    from interp.model.hooked_vlm import HookedVLM
    from interp.prompt.inputs import VLMInputs

VALUES = ("probability", "logit")
"""What can be read of the answer's token: its probability over the vocabulary, or its logit."""

NUMBERS = 2**22
"""Logits that are held at once: so many rows of the vocabulary are read at a time, whatever the photo."""


def answer_lens(
    vlm: HookedVLM,
    inputs: VLMInputs,
    answer: str | int | Sequence[str | int] | None = None,
    *,
    value: str = "probability",
    features: ImageFeatures | None = None,
) -> tuple[tuple[AnswerToken, Float32[np.ndarray, "layer image_token"]], ...]:
    """What each image token says of the answer behind each block, from one run.

    Args:
        vlm: the model.
        inputs: one batch.
        answer: the word whose first token is read, or the number of a token, for all or one for each sample; by default
            what the model itself says first, at the price of one more run. See
            `interp.model.answer_token.answer_tokens`.
        value: one of `VALUES`.
        features: the photos of this batch, where they are known: the vision tower is not run then.

    Returns:
        For each sample the token, and float32 [layer image_token]: layer l is what leaves block l.

    Example:
        >>> ((token, chance),) = answer_lens(vlm, inputs, "left")
        >>> chance.shape  # layer image_token
        (12, 64)

    Raises:
        InputError: a prompt without an image, an answer that can not be read, or a value that is not known.
    """
    if value not in VALUES:
        raise InputError(f"value={value!r} is not known: use one of {', '.join(VALUES)}")
    for sample, layout in enumerate(inputs.layouts):
        if not len(layout.image_positions):
            raise InputError(f"sample {sample} has no image token, so there is no map to make: give a photo")
    with vlm.turn(), torch.no_grad():
        tokens = _own(vlm, inputs, features) if answer is None else answer_tokens(vlm, inputs, answer)
        reader = _Reader(vlm, inputs, tokens, value)
        names = [f"blocks.{layer}.hook_resid_post" for layer in range(vlm.cfg.n_layers)]
        _pass(vlm, inputs, features, [(names, reader)])
    maps = [np.stack(own) for own in reader.maps]
    return tuple(zip(tokens, maps, strict=True))


def _own(vlm: HookedVLM, inputs: VLMInputs, features: ImageFeatures | None) -> tuple[AnswerToken, ...]:
    """What the model says first of each sample."""
    said = _pass(vlm, inputs, features, []).logits[:, -1].argmax(-1).tolist()
    return tuple(token_of(vlm, number) for number in said)


def _pass(vlm: HookedVLM, inputs: VLMInputs, features: ImageFeatures | None, hooks: list[Any]) -> Any:
    if features is None:
        return vlm.run_with_hooks(inputs, fwd_hooks=hooks, logits_to_keep=1)
    with features.given_to(inputs) as blind:
        return vlm.run_with_hooks(blind, fwd_hooks=hooks, logits_to_keep=1)


class _Reader:
    """A hook function that reads the answer's token at the image tokens of each sample, and never edits."""

    reads_only = True

    def __init__(self, vlm: HookedVLM, inputs: VLMInputs, tokens: Sequence[AnswerToken], value: str) -> None:
        self.read, self.value, self.tokens = readout(vlm), value, tokens
        self.places = [torch.from_numpy(layout.image_positions) for layout in inputs.layouts]
        self.at_once = max(1, NUMBERS // vlm.cfg.d_vocab)
        self.maps: list[list[Float32[np.ndarray, " image_token"]]] = [[] for _ in tokens]

    def __call__(self, stream: Float[Tensor, "batch pos d_model"], *, hook: Any) -> None:
        for sample, (token, places) in enumerate(zip(self.tokens, self.places, strict=True)):
            rows = stream[sample, places.to(stream.device)]
            parts = [self._of(self.read(part).float(), token.id) for part in rows.split(self.at_once)]
            self.maps[sample].append(torch.cat(parts).cpu().numpy())

    def _of(self, logits: Float[Tensor, "row vocab"], token: int) -> Float[Tensor, " row"]:
        return logits.softmax(-1)[:, token] if self.value == "probability" else logits[:, token].clone()
