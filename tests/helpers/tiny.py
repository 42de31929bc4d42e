"""Tiny random LLaVA models with a real processor, made in memory, for tests."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np
import torch
from PIL import Image
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    CLIPImageProcessor,
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    MistralConfig,
    PreTrainedTokenizerFast,
    SiglipImageProcessor,
    SiglipVisionConfig,
    SmolLM3Config,
)

from interp.model.hooked_vlm import HookedVLM
from interp.prompt.inputs import VLMInputs
from interp.proof import ROOM, TOLERANCE
from interp.proof.attention import own_rounding

WORDS = (
    "<unk> <s> </s> <pad> <image> USER : ASSISTANT Where is the mug table dog red in relation to photo ? Answer with "
    "left right above below top bottom on under , or . A"
).split()


@cache
def tokenizer() -> PreTrainedTokenizerFast:
    """A word-level tokenizer that writes BOS, as Llama's does."""
    vocabulary = {word: place for place, word in enumerate(WORDS)}
    raw = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    raw.pre_tokenizer = pre_tokenizers.Whitespace()
    raw.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return PreTrainedTokenizerFast(
        tokenizer_object=raw,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        unk_token="<unk>",
        additional_special_tokens=["<image>"],
    )


def processor(tower: str = "clip", side: int = 28, patch: int = 7) -> LlavaProcessor:
    """A LLaVA processor over tiny images."""
    if tower == "clip":
        images: Any = CLIPImageProcessor(size={"shortest_edge": side}, crop_size={"height": side, "width": side})
        strategy, extra = "default", 1
    else:
        images = SiglipImageProcessor(size={"height": side, "width": side})
        strategy, extra = "full", 0
    template = (
        "{% for message in messages %}USER: {% for part in message['content'] %}"
        "{% if part['type'] == 'image' %}<image>\n{% else %}{{ part['text'] }}{% endif %}{% endfor %}\n"
        "{% endfor %}{% if add_generation_prompt %}ASSISTANT:{% endif %}"
    )
    return LlavaProcessor(
        image_processor=images,
        tokenizer=copy.deepcopy(tokenizer()),
        patch_size=patch,
        vision_feature_select_strategy=strategy,
        num_additional_image_tokens=extra,
        image_token="<image>",
        chat_template=template,
    )


def model(
    *,
    seed: int = 0,
    tower: str = "clip",
    heads: int = 4,
    kv_heads: int = 2,
    layers: int = 3,
    attention: str = "sdpa",
    window: int | None = None,
) -> LlavaForConditionalGeneration:
    """A random LLaVA with distinct key heads and lively attention; `window` makes it see only so many keys."""
    torch.manual_seed(seed)
    sizes = {"hidden_size": 24, "intermediate_size": 48, "num_hidden_layers": 3}
    sizes |= {"num_attention_heads": 3, "image_size": 28}
    vision: Any = (
        CLIPVisionConfig(**sizes, patch_size=7) if tower == "clip" else SiglipVisionConfig(**sizes, patch_size=7)
    )
    language: dict[str, Any] = {
        "vocab_size": len(WORDS),
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "max_position_embeddings": 512,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": 3,
    }
    text = MistralConfig(**language, sliding_window=window) if window else LlamaConfig(**language)
    config = LlavaConfig(
        vision_config=vision,
        text_config=text,
        image_token_id=4,
        vision_feature_layer=-2,
        vision_feature_select_strategy="default" if tower == "clip" else "full",
        image_seq_length=16,
    )
    config._attn_implementation = attention
    built = LlavaForConditionalGeneration._from_config(config, attn_implementation=attention)
    with torch.no_grad():
        for name, weight in built.named_parameters():
            if "q_proj" in name or "k_proj" in name:
                weight.normal_(0, 0.5)
            elif weight.ndim > 1:
                weight.normal_(0, 0.2)
        for name, gain in built.named_parameters():  # which trained models do not have at one
            if gain.ndim == 1 and "norm" in name and name.endswith("weight"):
                gain.uniform_(0.5, 1.1)
        built.lm_head.weight[[2, 3, 4]] = 0.0  # so that it never says end, padding or image of itself
    built.generation_config.eos_token_id = 2
    built.generation_config.pad_token_id = 3
    return built.eval()


QUESTIONS = (
    "Where is the mug in the photo? Answer with left or right.",
    "Where is the red mug in relation to the table? Answer with left, right, above or below.",
    "Where is the dog?",
)


def photo(seed: int = 0, size: tuple[int, int] = (80, 60)) -> Image.Image:
    """A photo of noise, `size` as (width, height)."""
    noise = np.random.default_rng(seed).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(noise)


def vlm(*, dtype: torch.dtype = torch.float32, self_check: bool = True, **options: Any) -> HookedVLM:
    """A hooked tiny model; options as in `model`."""
    plain = model(**options).to(dtype).requires_grad_(False)
    return HookedVLM.wrap(plain, processor(options.get("tower", "clip")), self_check=self_check)


def without_rope() -> HookedVLM:
    """A hooked tiny model whose decoder turns keys by positions in some of its layers alone."""
    config = model().config
    text = config.text_config.to_dict()
    kept = {name: text[name] for name in _SIZES}
    config.text_config = SmolLM3Config(**kept, bos_token_id=1, eos_token_id=2, pad_token_id=3, no_rope_layers=[1, 0, 1])
    plain = LlavaForConditionalGeneration._from_config(config, attn_implementation="sdpa").eval()
    with torch.no_grad():
        plain.lm_head.weight[[2, 3, 4]] = 0.0  # as above
    return HookedVLM.wrap(plain.requires_grad_(False), processor(), self_check=False)


_SIZES = ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")
_SIZES += ("num_key_value_heads", "max_position_embeddings")


def inputs(hooked: HookedVLM, samples: int = 1, *, ragged: bool = True, **options: Any) -> VLMInputs:
    """A batch of questions, of different lengths if `ragged`, each about a photo of its own."""
    questions = list(QUESTIONS[:samples]) if ragged else [QUESTIONS[0]] * samples
    return hooked.prepare([photo(seed) for seed in range(samples)], questions, **options)


def rounding(hooked: Any) -> float:
    """How far fp32 logits may be apart that another kernel, or another order of a sum, has made.

    It is what transformers' own eager and SDPA attention are apart on this model, with the room that the proof allows.
    """
    return max(TOLERANCE, ROOM * own_rounding(hooked)[0])


@contextmanager
def passes(hooked: HookedVLM) -> Iterator[list[tuple[int, ...]]]:
    """The shapes [batch position] of the ids of every run of the model meanwhile."""
    shapes: list[tuple[int, ...]] = []
    note = hooked.model.register_forward_pre_hook(
        lambda module, args, kwargs: shapes.append(tuple(kwargs["input_ids"].shape)), with_kwargs=True
    )
    try:
        yield shapes
    finally:
        note.remove()


MODELS = (("clip", 2, "sdpa"), ("clip", 4, "eager"), ("siglip", 4, "sdpa"), ("siglip", 2, "eager"))
"""Tower, key heads (of four query heads) and previous attention implementation: each kind of both, in four models."""


@cache
def case(
    tower: str, kv_heads: int, attention: str, dtype: torch.dtype = torch.float64, samples: int = 2
) -> tuple[HookedVLM, VLMInputs, torch.Tensor]:
    """A hooked model, a batch and its untouched logits; in double precision, so that oracles agree closely.

    The batch is ragged, but for eager attention in double precision: transformers makes NaN of padding rows there.
    """
    hooked = vlm(tower=tower, kv_heads=kv_heads, attention=attention, dtype=dtype)
    batch = inputs(hooked, samples, ragged=(attention, dtype) != ("eager", torch.float64))
    return hooked, batch, hooked(batch).logits


def with_ids(inputs: VLMInputs, ids: torch.Tensor) -> dict[str, Any]:
    """The tensors of a prompt that goes on to these ids, with nothing but text behind it."""
    more = ids.shape[1] - inputs.input_ids.shape[1]
    text = {
        name: torch.nn.functional.pad(own, (0, more), value=int(name == "attention_mask"))
        for name, own in inputs.tensors.items()
        if own.shape == inputs.input_ids.shape
    }
    return {**inputs.tensors, **text, "input_ids": ids}
