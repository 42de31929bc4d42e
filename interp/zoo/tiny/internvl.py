"""A tiny InternVL: InternViT with its layer scales, tiles and a thumbnail, pixel shuffle, Qwen2."""

from __future__ import annotations

from typing import Any

import torch
from transformers import (
    GotOcr2ImageProcessor,
    InternVLConfig,
    InternVLForConditionalGeneration,
    InternVLProcessor,
    InternVLVideoProcessor,
    InternVLVisionConfig,
    Qwen2Config,
)

from interp.zoo.tiny import parts

SIDE, PATCH, JOINED, MOST = 112, 14, 2, 6


def build_internvl(seed: int) -> tuple[Any, Any]:
    """Up to 6 tiles of 16 image tokens and a thumbnail; queries and keys of the tower are normed."""
    words = parts.tokenizer(
        bos=None,
        eos="<|im_end|>",
        pad="<|endoftext|>",
        special={
            "start_image_token": "<img>",
            "end_image_token": "</img>",
            "context_image_token": "<IMG_CONTEXT>",
            "video_token": "<video>",
        },
        others=("<|im_start|>",),
    )
    size = {"height": SIDE, "width": SIDE}
    tokens = (SIDE // PATCH // JOINED) ** 2
    processor = InternVLProcessor(
        GotOcr2ImageProcessor(size=size, max_patches=MOST),
        words,
        InternVLVideoProcessor(size=size),
        image_seq_length=tokens,
        chat_template=parts.chat_template(
            "<IMG_CONTEXT>\\n",
            system=("<|im_start|>system\\n", "<|im_end|>\\n"),
            user="<|im_start|>user\\n",
            end="<|im_end|>\\n",
            assistant="<|im_start|>assistant\\n",
        ),
    )
    config = InternVLConfig(
        vision_config=InternVLVisionConfig(
            **parts.VISION, image_size=[SIDE, SIDE], patch_size=[PATCH, PATCH], use_qk_norm=True, attention_bias=True
        ),
        text_config=Qwen2Config(**parts.TEXT, vocab_size=len(words), tie_word_embeddings=False),
        image_token_id=words.convert_tokens_to_ids("<IMG_CONTEXT>"),
        image_seq_length=tokens,
        downsample_ratio=1 / JOINED,
        tie_word_embeddings=False,
    )
    model = parts.enliven(InternVLForConditionalGeneration(config), words, seed=seed)
    _draw_scales(model, seed)
    return model, processor


def _draw_scales(model: Any, seed: int) -> None:
    """Layer scales that differ from channel to channel, as they do after training."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for block in model.model.vision_tower.encoder.layer:
            for scale in (block.lambda_1, block.lambda_2):
                scale.uniform_(0.2, 1.5, generator=generator)
