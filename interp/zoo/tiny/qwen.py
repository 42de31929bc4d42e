"""Tiny Qwen-VL models: photos of any shape, rotary positions in three streams, and what each generation added."""

from __future__ import annotations

from typing import Any

from transformers import (
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2_5_VLProcessor,
    Qwen2VLConfig,
    Qwen2VLForConditionalGeneration,
    Qwen2VLImageProcessor,
    Qwen2VLProcessor,
    Qwen2VLVideoProcessor,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
    Qwen3VLProcessor,
    Qwen3VLVideoProcessor,
)

from interp.zoo.tiny import parts

ROPE = {"rope_type": "default", "rope_theta": 100.0, "mrope_section": [2, 1, 1]}
"""Turns of a head of width 8: two for the order of the text, one each for row and column. Slower ones would hardly show
in prompts this short."""

VISION = {"depth": parts.VISION["num_hidden_layers"] + 1, "num_heads": parts.VISION["num_attention_heads"]}
OUT = parts.TEXT["hidden_size"]
SYSTEM = "You are a helpful assistant."


def build_qwen2_vl(seed: int) -> tuple[Any, Any]:
    """Full attention in the vision tower, tokens of 28 pixels."""
    processor = _processor(Qwen2VLProcessor, Qwen2VLVideoProcessor, patch=14, system=SYSTEM)
    vision = {**VISION, "embed_dim": parts.VISION["hidden_size"], "hidden_size": OUT, "mlp_ratio": 2}
    config = Qwen2VLConfig(vision_config=vision, text_config=_text(processor), **_ids(processor))
    return parts.enliven(Qwen2VLForConditionalGeneration(config), processor.tokenizer, seed=seed), processor


def build_qwen2_5_vl(seed: int) -> tuple[Any, Any]:
    """Attention in windows of 2 x 2 tokens in the first and the last vision layer, and full in between."""
    processor = _processor(Qwen2_5_VLProcessor, Qwen2VLVideoProcessor, patch=14, system=SYSTEM)
    vision = {**VISION, **_sizes(), "window_size": 56, "fullatt_block_indexes": [1]}
    config = Qwen2_5_VLConfig(vision_config=vision, text_config=_text(processor), **_ids(processor))
    return parts.enliven(Qwen2_5_VLForConditionalGeneration(config), processor.tokenizer, seed=seed), processor


def build_qwen3_vl(seed: int) -> tuple[Any, Any]:
    """Two vision layers feed two language layers, heads wider than their share, queries and keys normalised."""
    processor = _processor(Qwen3VLProcessor, Qwen3VLVideoProcessor, patch=16, system="")
    vision = {
        **VISION,
        **_sizes(),
        "patch_size": 16,
        "num_position_embeddings": 16,
        "deepstack_visual_indexes": [0, 1],
    }
    rope = {**ROPE, "mrope_section": [4, 2, 2], "mrope_interleaved": True}
    text = {**_text(processor), "head_dim": 16, "rope_parameters": rope}
    config = Qwen3VLConfig(vision_config=vision, text_config=text, **_ids(processor))
    return parts.enliven(Qwen3VLForConditionalGeneration(config), processor.tokenizer, seed=seed), processor


def _processor(kind: Any, video: Any, *, patch: int, system: str) -> Any:
    """The processor of one generation; photos become at most 40 tokens."""
    words = parts.tokenizer(
        bos=None,
        eos="<|im_end|>",
        pad="<|endoftext|>",
        special={
            "image_token": "<|image_pad|>",
            "video_token": "<|video_pad|>",
            "vision_start_token": "<|vision_start|>",
            "vision_end_token": "<|vision_end|>",
        },
        others=("<|im_start|>",),
    )
    token = (2 * patch) ** 2
    size = {"shortest_edge": 4 * token, "longest_edge": 40 * token}
    template = parts.chat_template(
        "<|vision_start|><|image_pad|><|vision_end|>",
        system=("<|im_start|>system\\n", "<|im_end|>\\n"),
        default=system,
        user="<|im_start|>user\\n",
        end="<|im_end|>\\n",
        assistant="<|im_start|>assistant\\n",
    )
    images = Qwen2VLImageProcessor(size=size, patch_size=patch)
    return kind(images, words, video(size=size, patch_size=patch), chat_template=template)


def _text(processor: Any) -> dict[str, Any]:
    """The language model's sizes."""
    return {
        **parts.TEXT,
        "vocab_size": len(processor.tokenizer),
        "rope_parameters": ROPE,
        "bos_token_id": None,
        "eos_token_id": processor.tokenizer.eos_token_id,
    }


def _sizes() -> dict[str, int]:
    """The vision tower's widths, as the later generations name them."""
    names = ("hidden_size", "intermediate_size")
    return {**{name: parts.VISION[name] for name in names}, "out_hidden_size": OUT}


def _ids(processor: Any) -> dict[str, int]:
    """The ids of the special tokens, as the configuration names them."""
    names = {"image": "<|image_pad|>", "video": "<|video_pad|>"}
    names |= {"vision_start": "<|vision_start|>", "vision_end": "<|vision_end|>"}
    return {f"{name}_token_id": processor.tokenizer.convert_tokens_to_ids(token) for name, token in names.items()}
