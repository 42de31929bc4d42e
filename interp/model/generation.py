"""Generation: answers, greedy unless said otherwise, and the attention row of every token that is generated."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor

from interp.errors import HookError, InputError, ModelError
from interp.hooks.rows import QueryRows, RowHook
from interp.numeric import real, whole_number
from interp.options import ANSWERS, refuse_unknown
from interp.prompt.layout import TokenLayout
from interp.reprs import fits_a_cell

if TYPE_CHECKING:
    from interp.model.hooked import HookedModel
    from interp.prompt.inputs import VLMInputs


NO_PAD, IDS_END = -1, 2**31
"""What some checkpoints write for no padding, and a number above all ids."""


@fits_a_cell("texts tokens first_logits")
@dataclass(frozen=True)
class Generation:
    """What a batch was answered.

    Where several sequences are returned of each prompt, they stand one after another along `batch`.

    Attributes:
        tokens: generated ids [batch step], padded after the end.
        texts: the answers, without special tokens.
        lengths: generated tokens of each sample, its end token included.
        first_logits: float32 logits of the first token [batch vocab].
    """

    tokens: Int[Tensor, "batch step"]
    texts: tuple[str, ...]
    lengths: tuple[int, ...]
    first_logits: Float[Tensor, "batch vocab"]

    @property
    def confidence(self) -> list[float]:
        """Largest probability of each sample's first token, over the whole vocabulary, fp32 and not rounded."""
        return self.first_logits.softmax(-1).amax(-1).tolist()


@fits_a_cell()
@dataclass(frozen=True)
class GeneratedAttention:
    """The attention rows behind one sample's generated tokens.

    Attributes:
        pattern: float32 [layer head step key]; step 0 is the last prompt row, whose output is the first token. A step
            sees the prompt and the tokens before its own; later keys are zero.
        tokens: the text of each step's token.
        layout: the prompt's layout with the generated tokens after it.
    """

    pattern: Float[np.ndarray, "layer head step key"]
    tokens: tuple[str, ...]
    layout: TokenLayout


OURS = ("max_new_tokens", "max_length", "eos_token_id", "pad_token_id", "return_dict_in_generate", "output_logits")
"""Settings of transformers' generate that can not be chosen with the others."""

BESIDE = ("intervention", "fwd_hooks", "query_rows")
"""What `vlm.generate` takes beside settings."""


def greedy_settings(vlm: HookedModel, max_new_tokens: int, **chosen: Any) -> Any:
    """Plain greedy decoding, whatever the checkpoint's own settings say of sampling and penalties.

    Args:
        vlm: the model.
        max_new_tokens: the most tokens that an answer has.
        **chosen: settings of transformers' `GenerationConfig` that are to be others, such as `num_beams=3`.

    Raises:
        InputError: not a positive number of tokens, or settings that do not go together.
        OptionError: a setting that there is not.
        ModelError: the checkpoint's generation settings name ids of an end or of padding that are no ids of tokens.
    """
    from transformers import GenerationConfig

    if isinstance(max_new_tokens, bool) or not isinstance(max_new_tokens, int) or max_new_tokens < 1:
        raise InputError(f"max_new_tokens={max_new_tokens!r}: give a whole number from 1 on")
    eos, pad = _special_ids(vlm)
    ours = {"eos_token_id": eos, "pad_token_id": pad, "return_dict_in_generate": True, "output_logits": True}
    known = [name for name in vars(GenerationConfig()) if not name.startswith("_") and name not in OURS]
    chosen = ANSWERS.without_defaults(chosen)
    refuse_unknown(chosen, [*known, *BESIDE], of="generate", lens=ANSWERS)
    for name in ("num_beams", "num_return_sequences"):
        if chosen.get(name) is not None:
            whole_number(chosen[name], name, 1)
    if (heat := chosen.get("temperature")) is not None and not 0 < real(heat) < math.inf:
        raise InputError(f"temperature={heat!r:.60}: give a number above 0; for the likeliest answer, do_sample=False")
    try:
        settings = GenerationConfig(
            max_new_tokens=max_new_tokens, **ours, **{"do_sample": False, "num_beams": 1, **chosen}
        )
        settings.validate(strict=bool(chosen))  # a temperature without sampling would be nothing
    except (ValueError, TypeError) as error:
        why = " ".join(str(error).split())
        raise InputError(f"these settings of generate are refused by transformers: {why:.300}") from error
    return settings


def _special_ids(vlm: HookedModel) -> tuple[list[int] | int | None, int | None]:
    """The ids that end an answer and that fill a batch: the checkpoint's own, or the tokenizer's."""
    own, words = vlm.model.generation_config, vlm.processor.tokenizer
    eos = words.eos_token_id if own.eos_token_id is None else own.eos_token_id
    ends = list(eos) if isinstance(eos, (list, tuple)) else [] if eos is None else [eos]
    pads = [one for one in (own.pad_token_id, words.pad_token_id, *ends) if one is not None and one != NO_PAD]
    for name, ids in (("eos_token_id", ends), ("pad_token_id", pads[:1])):
        if wrong := [one for one in ids if type(one) is not int or not 0 <= one < IDS_END]:
            raise ModelError(
                f"the generation settings of this model have {name} {wrong[0]!r:.60}, which is no id of a token: mend "
                "its generation_config.json, or vlm.model.generation_config"
            )
    return eos, next(iter(pads), None)


def end_tokens(settings: Any) -> list[int]:
    """The ids that end an answer."""
    eos = settings.eos_token_id
    return [] if eos is None else list(eos) if isinstance(eos, (list, tuple)) else [int(eos)]


def generate(vlm: HookedModel, inputs: VLMInputs, max_new_tokens: int, **chosen: Any) -> Generation:
    """Answer, greedily unless other settings are chosen; the tokens are those of Hugging Face's `generate`.

    Args:
        vlm: the model.
        inputs: one batch.
        max_new_tokens: the most tokens that an answer has.
        **chosen: see `greedy_settings`.

    Raises:
        InputError: see `greedy_settings`.
    """
    settings = greedy_settings(vlm, max_new_tokens, **chosen)
    prompt = inputs.input_ids.shape[1]
    with vlm.turn(), torch.no_grad(), own_settings(vlm.model, settings):
        vlm.check_batch(inputs)
        made = vlm.model.generate(**inputs.tensors, generation_config=settings)
    first, returned = made.logits[0].float(), len(made.sequences) // len(inputs)
    of_each = rearrange(first, "(prompt copy) vocab -> prompt copy vocab", prompt=len(inputs))[:, :returned]
    return as_generation(vlm, made.sequences[:, prompt:], settings, of_each.flatten(0, 1))


def generate_scored(
    vlm: HookedModel, inputs: VLMInputs, max_new_tokens: int
) -> tuple[Generation, Float[Tensor, "batch step"]]:
    """Answer greedily as `generate` does, and tell the log-probability of each token, float32; 0 behind an end."""
    from transformers import LogitsProcessorList

    settings, heard = greedy_settings(vlm, max_new_tokens), _Heard()
    settings.output_logits = False  # one number of each step is kept in their place
    prompt, noting = inputs.input_ids.shape[1], LogitsProcessorList([heard])  # type: ignore[list-item]
    with vlm.turn(), torch.no_grad(), own_settings(vlm.model, settings):
        made = vlm.model.generate(**inputs.tensors, generation_config=settings, logits_processor=noting)
    answer = as_generation(vlm, made.sequences[:, prompt:], settings, heard.first)
    chances = torch.stack(heard.chances, 1)[:, : answer.tokens.shape[1]]
    steps = torch.arange(chances.shape[1], device=chances.device)
    lengths = torch.tensor(answer.lengths, device=chances.device)
    return answer, chances.masked_fill(steps >= lengths[:, None], 0.0)


class _Heard:
    """What a greedy answer is chosen by, noted step by step: the first logits, and the chance of each choice."""

    def __init__(self) -> None:
        self.first: Tensor
        self.chances: list[Tensor] = []

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        exact = scores.float()
        if not self.chances:
            self.first = exact.clone()
        self.chances.append(exact.amax(-1) - exact.logsumexp(-1))
        return scores


@contextmanager
def own_settings(model: Any, settings: Any) -> Iterator[None]:
    """Put the checkpoint's settings aside: transformers would fill whatever ours leave open with them."""
    before, model.generation_config = model.generation_config, settings
    try:
        yield
    finally:
        model.generation_config = before


@contextmanager
def same_positions(model: Any) -> Iterator[None]:
    """Put aside, and back, what some models remember of their last prompt's positions: it is another run's matter."""
    inner: Any = getattr(model, "model", None)
    before = getattr(inner, "rope_deltas", None)
    try:
        if hasattr(inner, "rope_deltas"):
            inner.rope_deltas = None
        yield
    finally:
        if hasattr(inner, "rope_deltas"):
            inner.rope_deltas = before


def as_generation(vlm: HookedModel, tokens: Tensor, settings: Any, first_logits: Tensor) -> Generation:
    """Texts and lengths of generated ids [batch step]."""
    lengths = tuple(generated_length(row, end_tokens(settings)) for row in tokens.tolist())
    texts = tuple(
        vlm.processor.tokenizer.decode(row[:length], skip_special_tokens=True).strip()
        for row, length in zip(tokens.tolist(), lengths, strict=True)
    )
    return Generation(tokens[:, : max(lengths)], texts, lengths, first_logits)


def generate_with_cache(
    vlm: HookedModel, inputs: VLMInputs, max_new_tokens: int, *, query_rows: QueryRows = "generated"
) -> tuple[Generation, tuple[GeneratedAttention, ...]]:
    """Answer greedily and keep the pattern of each generated token's row, all layers and heads.

    Args:
        vlm: the model.
        inputs: one batch.
        max_new_tokens: the most tokens that an answer has.
        query_rows: `generated`, or `last` for the first token's row alone.

    Returns:
        The answers, and for each sample the rows [layer head step key] with each step's token.

    Raises:
        HookError: other rows are asked for.
    """
    if query_rows not in ("generated", "last"):
        raise HookError(f"query_rows={query_rows!r}: generate_with_cache keeps 'generated' rows, or 'last'")
    kept: list[list[Tensor]] = [[] for _ in range(vlm.cfg.n_layers)]
    saving = [
        (f"blocks.{layer}.attn.hook_pattern", RowHook(_Append(kept[layer]), query_rows, reads_only=True))
        for layer in range(vlm.cfg.n_layers)
    ]
    with vlm.hooks(saving):
        answer = generate(vlm, inputs, max_new_tokens)
    rows = tuple(_of_sample(vlm, inputs, answer, kept, sample) for sample in range(len(inputs)))
    return answer, rows


class _Append:
    """A hook function that keeps each pass's rows [batch head row key] on the CPU."""

    def __init__(self, kept: list[Tensor]) -> None:
        self.kept = kept

    def __call__(self, tensor: Tensor, *, hook: object) -> None:
        self.kept.append(tensor.detach().to("cpu", torch.float32, copy=True))


def _of_sample(
    vlm: HookedModel, inputs: VLMInputs, answer: Generation, kept: list[list[Tensor]], sample: int
) -> GeneratedAttention:
    """The rows of one sample, steps after its end left out."""
    steps = min(answer.lengths[sample], len(kept[0]))
    keys = inputs.input_ids.shape[1] + steps - 1
    pattern = np.zeros((len(kept), vlm.cfg.n_heads, steps, keys), dtype=np.float32)
    for layer, passes in enumerate(kept):
        for step in range(steps):
            row = passes[step][sample, :, 0].numpy()
            pattern[layer, :, step, : row.shape[-1]] = row
    tokens = tuple(vlm.processor.tokenizer.convert_ids_to_tokens(answer.tokens[sample, :steps].tolist()))
    return GeneratedAttention(pattern, tokens, inputs.layouts[sample].extended(tokens[: steps - 1]))


def generated_length(row: list[int], ends: list[int]) -> int:
    """Tokens up to and with the first end token."""
    return next((place + 1 for place, token in enumerate(row) if token in ends), len(row))
