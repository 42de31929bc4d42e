"""Gradient maps: how the answer's log-probability hangs on the attention of the row that gives it, head by head.

Raw attention says where a head looks, and nothing of whether that is used. Here the same rows are weighted by what
the answer would gain from more of each weight. Rows before the last do not depend on it, so that they run once without
gradients, and the graph holds the last row alone: it costs a forward and a little, and no [row key] matrix is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor

from interp.errors import HookError, InputError, ModelError
from interp.hooks.rows import RowHook
from interp.model.answer_token import AnswerToken, answer_tokens, token_of
from interp.model.frozen import frozen, refuse_quantised
from interp.model.prefix import Prefix
from interp.reprs import fits_a_cell

if TYPE_CHECKING:
    from interp.model.features import ImageFeatures
    from interp.model.hooked_vlm import HookedVLM
    from interp.prompt.inputs import VLMInputs
    from interp.prompt.layout import TokenLayout

GRADIENT, ALONE, GRADCAM = "gradient", "gradient-alone", "gradcam"

KINDS = (GRADIENT, ALONE, GRADCAM)
"""Kinds of maps from attention A of the last prompt row and the gradient g = d log p(answer) / dA, head by head.

`gradient`: A * max(g, 0), after Zhang et al. 2025 (arXiv:2502.17422). `gradient-alone`: max(g, 0), how much the answer
would gain from a weight, whether there is any or not. `gradcam`: A * max(mean of g over the image tokens, 0), one
number for each head (after Selvaraju et al. 2017, arXiv:1610.02391): within a head it is A or nothing, and means over
heads differ; a head that gains as much on one side of the photo as it loses on the other gets nothing.
"""


@fits_a_cell()
@dataclass(frozen=True, eq=False)
class AnswerGradient:
    """How one sample's answer hangs on the attention of its last prompt row.

    Attributes:
        attention: the row after the softmax, as the model had it, float32 [layer head key].
        gradient: d log p(answer) / d attention, with all that layers behind make of it, float32 [layer head key]; zero
            at keys that the row does not see.
        layout: which key is what.
        answer: the token whose log-probability it is.
        log_probability: of that token, in nats.

    Example:
        >>> (found,) = answer_gradient(vlm, vlm.prepare("photo.jpg", "Where is the mug in the photo?"))
        >>> found.answer.text, found.maps("gradient").shape  # layer head image_token
        ('left', (12, 8, 64))
    """

    attention: Float32[np.ndarray, "layer head key"]
    gradient: Float32[np.ndarray, "layer head key"]
    layout: TokenLayout
    answer: AnswerToken
    log_probability: float

    def maps(self, kind: str = GRADIENT) -> Float32[np.ndarray, "layer head image_token"]:
        """Maps over the image tokens, none negative, as `overlap` takes them.

        Args:
            kind: one of `KINDS`.

        Raises:
            InputError: there is no such kind.
        """
        image = self.layout.image_positions
        looked, slope = self.attention[..., image], self.gradient[..., image]
        if kind == GRADIENT:
            return looked * slope.clip(min=0)
        if kind == ALONE:
            return slope.clip(min=0)
        if kind == GRADCAM:
            return looked * slope.mean(axis=-1, keepdims=True).clip(min=0)
        raise InputError(f"a gradient map {kind!r} is not known: use one of {', '.join(KINDS)}")


def answer_gradient(
    vlm: HookedVLM,
    inputs: VLMInputs,
    answer: str | int | Sequence[str | int] | None = None,
    *,
    features: ImageFeatures | None = None,
) -> tuple[AnswerGradient, ...]:
    """Attention of the last prompt row, and the gradient of the answer's log-probability with respect to it.

    In evaluation and with frozen weights, whatever the model is set to, and in whatever context it is called; both are
    put back. It equals what eager attention's own autograd gives. Families of which earlier rows depend on the last one
    (PaliGemma) run the whole prompt with gradients, which costs about three forwards and the memory of a backward pass.

    Args:
        vlm: the model.
        inputs: one batch.
        answer: the word whose first token is looked at, or the number of a token, for all or one for each sample; by
            default what the model itself says first. See `interp.model.answer_token.answer_tokens`.
        features: the photos of this batch, where they are known: the vision tower is not run then.

    Returns:
        One for each sample.

    Raises:
        InputError: a prompt without an image, or an answer that can not be read.
        ModelError: quantised weights, gradients that do not reach a layer, or are no numbers.
        HookError: hooks are on.
    """
    return _run(vlm, inputs, answer, features, whole="prefix" in vlm.family.refusals)


def _run(
    vlm: HookedVLM, inputs: VLMInputs, answer: Any, features: ImageFeatures | None, *, whole: bool
) -> tuple[AnswerGradient, ...]:
    """As `answer_gradient`, in a graph of the whole prompt or of its last row."""
    for sample, layout in enumerate(inputs.layouts):
        if not len(layout.image_positions):
            raise InputError(f"sample {sample} has no image token, so there is no map to make: give a photo")
    refuse_quantised(vlm, "a gradient map")
    wanted = None if answer is None else answer_tokens(vlm, inputs, answer)
    with vlm.turn(), frozen(vlm.model):
        rows = _Rows(vlm.cfg.n_layers)
        logits = (_whole_pass if whole else _last_row)(vlm, inputs, rows.hooks, features)
        chances = logits.to(torch.promote_types(logits.dtype, torch.float32)).log_softmax(-1)
        if wanted is None:
            wanted = tuple(token_of(vlm, said) for said in chances.argmax(-1).tolist())
        own = chances[torch.arange(len(chances)), [one.id for one in wanted]]
        slopes, own = rows.slopes(own.sum()), own.detach()
    return tuple(
        AnswerGradient(rows.patterns_of(sample), slopes[:, sample], layout, wanted[sample], float(own[sample]))
        for sample, layout in enumerate(inputs.layouts)
    )


def _last_row(vlm: HookedVLM, inputs: VLMInputs, hooks: list[Any], features: ImageFeatures | None) -> Tensor:
    """Logits of the last row, all others kept without gradients."""
    return Prefix(vlm, inputs, features=features).last_row(hooks)


def _whole_pass(vlm: HookedVLM, inputs: VLMInputs, hooks: list[Any], features: ImageFeatures | None) -> Tensor:
    """Logits of the last row, in a graph of all rows."""
    if any(point.has_hooks() for point in vlm.hook_dict.values()):
        raise HookError("hooks are on: make gradient maps outside of them")
    if features is None:
        return vlm.run_with_hooks(inputs, fwd_hooks=hooks, logits_to_keep=1).logits[:, -1]
    with features.given_to(inputs) as blind:
        return vlm.run_with_hooks(blind, fwd_hooks=hooks, logits_to_keep=1).logits[:, -1]


class _Rows:
    """The last rows of a pass, marked so that gradients reach them, and which keys each of them sees."""

    def __init__(self, n_layers: int) -> None:
        self.patterns: list[Tensor] = []
        self.unseen: list[Tensor] = []
        self.hooks: list[tuple[str, Callable[..., Any]]] = []
        for layer in range(n_layers):
            self.hooks += [
                (f"blocks.{layer}.attn.hook_attn_scores", RowHook(self._see, "last", reads_only=True)),
                (f"blocks.{layer}.attn.hook_pattern", RowHook(self._mark, "last")),
            ]

    def _see(self, scores: Float[Tensor, "batch head row key"], *, hook: Any) -> None:
        self.unseen.append(scores.detach()[:, :, 0].isneginf())

    def _mark(self, pattern: Float[Tensor, "batch head row key"], *, hook: Any) -> None:
        self.patterns.append(pattern.requires_grad_())

    def slopes(self, score: Tensor) -> Float32[np.ndarray, "layer batch head key"]:
        """The gradient of a score with respect to each layer's rows."""
        found = torch.autograd.grad(score, self.patterns, allow_unused=True)
        slopes = []
        for layer, (slope, unseen) in enumerate(zip(found, self.unseen, strict=True)):
            if slope is None:
                raise ModelError(
                    f"no gradient reaches the attention of layer {layer}: this model's own code cuts it off, and "
                    "gradient maps can not be made"
                )
            own = slope[:, :, 0].masked_fill(unseen, 0)
            if not bool(own.isfinite().all()):
                raise ModelError(
                    f"the gradient at the attention of layer {layer} is no finite number in {score.dtype}: load the "
                    "model with dtype='bfloat16' or 'float32'"
                )
            slopes.append(own.float().cpu().numpy())
        return np.stack(slopes)

    def patterns_of(self, sample: int) -> Float32[np.ndarray, "layer head key"]:
        """The rows of one sample."""
        return np.stack([each.detach()[sample, :, 0].float().cpu().numpy() for each in self.patterns])
