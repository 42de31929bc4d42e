"""A tiny GLM-4V: packed patches, learned positions that are resampled, heads turned in part, four norms per layer."""

from __future__ import annotations

from typing import Any

from transformers import (
    Glm4vConfig,
    Glm4vForConditionalGeneration,
    Glm4vImageProcessor,
    Glm4vProcessor,
    Glm4vVideoProcessor,
)

from interp.zoo.tiny import parts

PATCH = 14
ROPE = {"rope_type": "default", "rope_theta": 100.0, "partial_rotary_factor": 0.75, "mrope_section": [1, 1, 1]}
"""Turns of three quarters of a head of width 8: one for the order of the text, one each for row and column."""

NAMES = ("image", "video", "image_start", "image_end", "video_start", "video_end")
TOKENS = (
    *("<|image|>", "<|video|>", "<|begin_of_image|>", "<|end_of_image|>"),
    *("<|begin_of_video|>", "<|end_of_video|>"),
)


def build_glm4v(seed: int) -> tuple[Any, Any]:
    """At most 40 image tokens of 28 pixels."""
    processor = _processor()
    words = processor.tokenizer
    ids = {f"{name}_token_id": words.convert_tokens_to_ids(token) for name, token in zip(NAMES, TOKENS, strict=True)}
    text = {**parts.TEXT, "vocab_size": len(words), "rope_parameters": ROPE}
    vision = {
        "depth": parts.VISION["num_hidden_layers"],
        "num_heads": parts.VISION["num_attention_heads"],
        "hidden_size": parts.VISION["hidden_size"],
        "intermediate_size": parts.VISION["intermediate_size"],
        "out_hidden_size": text["hidden_size"],
        "patch_size": PATCH,
        "image_size": 4 * PATCH,
    }
    model = Glm4vForConditionalGeneration(Glm4vConfig(vision_config=vision, text_config=text, **ids))
    return parts.enliven(model, words, seed=seed), processor


def _processor() -> Any:
    words = parts.tokenizer(
        bos=None,
        eos="<|endoftext|>",
        pad="<|endoftext|>",
        special={"image_token": TOKENS[0], "video_token": TOKENS[1]},
        others=(*TOKENS[2:], "[gMASK]", "<sop>", "<|user|>", "<|assistant|>"),
    )
    template = parts.chat_template(
        "<|begin_of_image|><|image|><|end_of_image|>",
        head="[gMASK]<sop>",
        system=("<|system|>\\n", ""),
        user="<|user|>\\n",
        end="",
        assistant="<|assistant|>\\n",
    )
    frames = 2 * (2 * PATCH) ** 2  # sizes count the pixels of two frames
    size = {"shortest_edge": 4 * frames, "longest_edge": 40 * frames}
    images = Glm4vImageProcessor(size=size, patch_size=PATCH)
    videos = Glm4vVideoProcessor(size=size, patch_size=PATCH)
    return Glm4vProcessor(images, words, videos, chat_template=template)
