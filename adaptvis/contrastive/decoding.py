"""Contrastive decoding: VCD and DoLa, the two methods that ScalingVis and AdaptVis are compared with."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from numbers import Real
from typing import TYPE_CHECKING, Any

from jaxtyping import Float, Int

from adaptvis.contrastive.contrast import NOISE_STEPS, divergence, noised_pixels, plausible_only
from interp.compat import CACHE_NAMES, cache_in, cache_name
from interp.errors import InputError
from interp.intervene.image_logits import MOST
from interp.intervene.indices import check_indices, spell, spell_number
from interp.intervene.prompts import check_image_there
from interp.model.generation import as_generation, greedy_settings, own_settings, same_positions

if TYPE_CHECKING:
    from torch import Tensor

    from interp.model.generation import Generation
    from interp.model.hooked_vlm import HookedVLM
    from interp.prompt.inputs import VLMInputs

Scorer = Callable[["Tensor"], "Tensor"]
"""Gives the next token's scores [batch vocab] after all ids so far [batch pos]; called once a step."""

BUCKET = 20
"""DoLa's `low` and `high` are halves of the model, or so many layers of a deeper one."""


@dataclass(frozen=True)
class VCD:
    """Visual contrastive decoding: prefer what the photo says over what a noised photo says too (arXiv 2311.16922).

    A token's score is `(1 + strength) * logits - strength * logits_of_the_noised_photo`, among the plausible tokens;
    the largest one is taken. Both photos have a KV cache of their own and are decoded side by side, so that hook
    functions hear every step twice, the true photo first, and interventions act on both.

    Attributes:
        strength: the strength of the contrast; 0 is plain greedy decoding.
        plausibility: tokens stay if the true photo gives them at least so many times the largest probability.
        noise_step: the step of the forward diffusion, from 0 (hardly any noise) to 999, on the processor's pixels.
        seed: the seed of the noise; see `adaptvis.contrastive.contrast.noised_pixels`.

    Example:
        >>> vlm = HookedVLM.from_pretrained("shapes-vlm")
        >>> VCD().generate(vlm, vlm.prepare("photo.jpg", "Where is the mug in the photo?")).texts
        ('left',)
    """

    strength: float = 1.0
    plausibility: float = 0.1
    noise_step: int = 500
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse numbers that mean nothing."""
        _check_numbers(self)
        for name in ("noise_step", "seed"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int):
                raise InputError(f"{name}={value!r}: give a whole number")
        if not 0 <= self.noise_step < NOISE_STEPS:
            raise InputError(f"noise_step={self.noise_step}: the diffusion has steps from 0 to {NOISE_STEPS - 1}")

    def generate(self, vlm: HookedVLM, inputs: VLMInputs, max_new_tokens: int = 10) -> Generation:
        """Answer a batch.

        Returns:
            The answers. Their `first_logits` are the first token's scores, float32, minus infinity outside of the
            plausible tokens; `confidence` is then its probability among these.

        Raises:
            InputError: not a positive number of tokens, or a prompt without a photo.
            ModelError: the model was unwrapped, or its pixels are laid out in a way that is not known.
        """
        check_image_there(inputs.layouts, self)
        frames = getattr(vlm.model.config.vision_config, "temporal_patch_size", 1)
        pixels = noised_pixels(inputs, self.noise_step, seed=self.seed, frames=frames)

        def scorer(model: Any, state: dict[str, Any]) -> Scorer:
            # transformers may have encoded the photo already, and taken away what only the vision tower needs
            other = {**inputs.tensors, **state, "pixel_values": pixels}
            shared = ("input_ids", "mm_encoder_outputs", *CACHE_NAMES)
            other = {name: value for name, value in other.items() if name not in shared}
            other[cache_name(model)] = copy.deepcopy(cache_in(state))
            true, noised = _Run(model, state), _Run(model, other)

            def score(ids: Tensor) -> Tensor:
                logits = true.next_logits(ids)
                scores = (1 + self.strength) * logits - self.strength * noised.next_logits(ids)
                return plausible_only(scores, logits, self.plausibility)

            return score

        return _answer(vlm, inputs, max_new_tokens, scorer)

    def __str__(self) -> str:
        """Its settings, for results."""
        return f"VCD({_numbers(self)}, noise_step={self.noise_step}, seed={self.seed})"


@dataclass(frozen=True)
class DoLa:
    """Decoding by contrasting layers: prefer what late layers add to what an early layer says (arXiv 2309.03883).

    At each step and for each sample, of some early layers the one is taken whose distribution of the next token is
    farthest from the final one, by Jensen-Shannon divergence. A token's score is
    `log_softmax(final) - strength * log_softmax(early)`, among the plausible tokens; the largest one is taken.

    Attributes:
        strength: the strength of the contrast; 1 is the paper's, 0 is plain greedy decoding.
        plausibility: tokens stay if the final layer gives them at least so many times the largest probability.
        layers: the early layers, by the number of blocks that ran before: 0 is the embedding, and layer l is what block
            l is given (`blocks.{l}.hook_resid_pre`), as in the paper. `low` are the even ones of the first half, `high`
            every second one of the last half, of 20 layers at most; where the unembedding is the embedding itself,
            `low` leaves out layers 0 and 1. `high` is advised for short answers, `low` for long ones.
        norm: whether an early layer goes through the model's final norm before its unembedding (a logit lens). The
            authors' code does without.

    Example:
        >>> print(DoLa())
        DoLa(strength=1, plausibility=0.1, layers=high, norm=True)
    """

    strength: float = 1.0
    plausibility: float = 0.1
    layers: str | tuple[int, ...] = "high"
    norm: bool = True

    def __post_init__(self) -> None:
        """Refuse settings that mean nothing, and keep layers as a sorted tuple."""
        _check_numbers(self)
        if not isinstance(self.norm, bool):
            raise InputError(f"norm={self.norm!r}: give True or False")
        if self.layers not in ("low", "high"):
            object.__setattr__(self, "layers", _read_layers(self.layers))

    def candidates(self, vlm: HookedVLM) -> tuple[int, ...]:
        """The early layers of a model that one is chosen from at each step.

        Raises:
            HookError: a layer that the model does not have.
        """
        n_layers = vlm.cfg.n_layers
        if not isinstance(self.layers, str):
            return check_indices(self.layers, n_layers, "layers")
        if self.layers == "high":
            return tuple(range(max(n_layers // 2, n_layers - BUCKET), n_layers, 2))
        tied = vlm.model.get_output_embeddings().weight is vlm.model.get_input_embeddings().weight
        half = min(n_layers // 2, BUCKET)
        return tuple(range(2 if tied else 0, half, 2)) or (half,)

    def generate(self, vlm: HookedVLM, inputs: VLMInputs, max_new_tokens: int = 10) -> Generation:
        """Answer a batch.

        Returns:
            The answers. Their `first_logits` are the first token's scores, float32, minus infinity outside of the
            plausible tokens; `confidence` is then its probability among these.

        Raises:
            InputError: not a positive number of tokens.
            HookError: a layer that the model does not have.
            ModelError: the model was unwrapped.
        """
        rows = [_LastRow(f"blocks.{layer}.hook_resid_pre") for layer in self.candidates(vlm)]
        read = _early_logits(vlm, norm=self.norm)

        def scorer(model: Any, state: dict[str, Any]) -> Scorer:
            run = _Run(model, state)

            def score(ids: Tensor) -> Tensor:
                logits = run.next_logits(ids)
                final, early = logits.log_softmax(-1), read([row.kept for row in rows])
                scores = final - self.strength * _farthest(final, early)
                return plausible_only(scores, logits, self.plausibility)

            return score

        with vlm.hooks([(row.name, row) for row in rows]):
            return _answer(vlm, inputs, max_new_tokens, scorer)

    def __str__(self) -> str:
        """Its settings, for results."""
        layers = self.layers if isinstance(self.layers, str) else spell(self.layers)
        return f"DoLa({_numbers(self)}, layers={layers}, norm={self.norm})"


# the loop that both share ---------------------------------------------------------------------------------------


def _answer(
    vlm: HookedVLM, inputs: VLMInputs, max_new_tokens: int, scorer: Callable[[Any, dict[str, Any]], Scorer]
) -> Generation:
    """Take the token with the largest score, step after step, as transformers' greedy search does with logits."""
    import torch

    def decode(
        model: Any,
        input_ids: Tensor,
        *,
        logits_processor: Any,  # empty: our settings have no penalties
        stopping_criteria: Any,
        generation_config: Any,
        **state: Any,
    ) -> tuple[Tensor, Tensor]:
        score, pad = scorer(model, state), generation_config._pad_token_tensor
        ids, going, first = input_ids, torch.ones_like(input_ids[:, 0], dtype=torch.bool), None
        while first is None or bool(going.any()):
            scores = score(ids)
            first = scores if first is None else first
            following = scores.argmax(-1).to(ids.device)
            if pad is not None:
                following = torch.where(going, following, pad.to(ids.device))
            ids = torch.cat([ids, following[:, None]], 1)
            going &= ~stopping_criteria(ids, None)
        return ids[:, input_ids.shape[1] :], first

    vlm.check_wrapped()
    settings = greedy_settings(vlm, max_new_tokens)
    with vlm.turn(), torch.no_grad(), own_settings(vlm.model, settings), same_positions(vlm.model):
        vlm.check_batch(inputs)
        tokens, first = vlm.model.generate(**inputs.tensors, generation_config=settings, custom_generate=decode)
    return as_generation(vlm, tokens, settings, first)


class _Run:
    """One prompt batch on its way through the model, with a KV cache of its own."""

    def __init__(self, model: Any, state: dict[str, Any]) -> None:
        """Remember what transformers prepared for the model: `state` is what its generate hands to a decoding loop."""
        self.model, self.state, self.begun = model, dict(state), False

    def next_logits(self, ids: Int[Tensor, "batch pos"]) -> Float[Tensor, "batch vocab"]:
        """Run what is new in `ids` [batch pos]: the prompt at first, then one token; float32 logits [batch vocab]."""
        taken = self.model.prepare_inputs_for_generation(
            ids,
            next_sequence_length=1 if self.begun else None,
            is_first_iteration=not self.begun,
            **self.state,
        )
        output = self.model(**taken, return_dict=True)
        self.state = self.model._update_model_kwargs_for_generation(output, self.state)
        self.begun = True
        return output.logits[:, -1].float()


# early layers ---------------------------------------------------------------------------------------------------


class _LastRow:
    """A hook function that keeps the last position of what it sees [batch d_model], and never edits."""

    reads_only = True

    def __init__(self, name: str) -> None:
        self.name = name
        self.kept: Tensor

    def __call__(self, tensor: Tensor, *, hook: object) -> None:
        self.kept = tensor[:, -1].clone()


def _early_logits(vlm: HookedVLM, *, norm: bool) -> Callable[[list[Tensor]], Tensor]:
    """A function from rows of the residual stream to logits [layer batch vocab]."""
    import torch

    from interp.model.readout import readout

    read = readout(vlm, norm=norm)
    return lambda rows: read(torch.stack([row.to(rows[-1].device) for row in rows]))


def _farthest(
    final: Float[Tensor, "batch vocab"], early: Float[Tensor, "layer batch vocab"]
) -> Float[Tensor, "batch vocab"]:
    """Log probabilities [batch vocab] of the early layer that is farthest from the final one, sample by sample.

    Layer after layer, since all of them in fp32 at once would take much memory; of equals the earliest.

    Args:
        final: log probabilities [batch vocab].
        early: logits [layer batch vocab].
    """
    import torch

    chosen, largest = final, torch.full_like(final[:, 0], -math.inf)
    for logits in early:
        log_early = logits.to(final).log_softmax(-1)
        distance = divergence(final, log_early)
        chosen = torch.where((distance > largest)[:, None], log_early, chosen)
        largest = torch.maximum(distance, largest)
    return chosen


# settings -------------------------------------------------------------------------------------------------------


def _check_numbers(method: VCD | DoLa) -> None:
    """Refuse a strength or a plausibility that means nothing, and keep both as floats."""
    for name, most, wanted in (
        ("strength", MOST, f"a number from 0 to {MOST:g}"),
        ("plausibility", 1.0, "a number from 0 to 1"),
    ):
        value: Any = getattr(method, name)
        number = isinstance(value, Real) and not isinstance(value, bool)
        if not number or not 0 <= value <= most:
            raise InputError(f"{name}={value!r}: give {wanted}")
        object.__setattr__(method, name, float(value))


def _read_layers(layers: Any) -> tuple[int, ...]:
    """Layers as a sorted tuple.

    Raises:
        InputError: neither a word that is known nor different whole numbers from 0 on.
    """
    chosen = list(layers) if isinstance(layers, (list, tuple, range)) else []
    whole = all(isinstance(layer, int) and not isinstance(layer, bool) and layer >= 0 for layer in chosen)
    if not chosen or not whole or len(set(chosen)) < len(chosen):
        raise InputError(f"layers={layers!r}: give 'low', 'high' or different layers from 0 on, such as (16, 18, 20)")
    return tuple(sorted(chosen))


def _numbers(method: VCD | DoLa) -> str:
    """The settings that both have."""
    return f"strength={spell_number(method.strength)}, plausibility={spell_number(method.plausibility)}"
