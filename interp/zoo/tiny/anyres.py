"""Tiny LLaVA-NeXT (CLIP tower, Mistral) and LLaVA-OneVision (SigLIP tower, Qwen2): a mosaic of tiles of the photo."""

from __future__ import annotations

from typing import Any

from transformers import (
    CLIPVisionConfig,
    LlavaNextConfig,
    LlavaNextForConditionalGeneration,
    LlavaNextImageProcessor,
    LlavaNextProcessor,
    LlavaOnevisionConfig,
    LlavaOnevisionForConditionalGeneration,
    LlavaOnevisionImageProcessor,
    LlavaOnevisionProcessor,
    LlavaOnevisionVideoProcessor,
    MistralConfig,
    Qwen2Config,
    SiglipVisionConfig,
)

from interp.zoo.tiny import parts

SIDE, PATCH = 56, 14
SHAPES = ((1, 2), (2, 1), (2, 2), (3, 1), (1, 3))
"""Rows and columns of tiles that LLaVA-NeXT's mosaic may have."""

ONEVISION_SIDE = 60
"""Of this tile, four pixels are left over after the last patch, as six of 384 are in the real one."""
LIMIT = "anyres_max_4"


def build_llava_next(seed: int) -> tuple[Any, Any]:
    """16 image tokens of the whole photo, then up to 64 of the mosaic with a row end after each row."""
    words = parts.tokenizer(bos="<s>", eos="</s>", pad="<pad>", special={"image_token": "<image>"})
    pinpoints = [[rows * SIDE, cols * SIDE] for rows, cols in SHAPES]
    processor = LlavaNextProcessor(
        image_processor=LlavaNextImageProcessor(
            size={"shortest_edge": SIDE},
            crop_size={"height": SIDE, "width": SIDE},
            image_grid_pinpoints=pinpoints,
        ),
        tokenizer=words,
        patch_size=PATCH,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=parts.chat_template(
            "<image>\\n", system=("<<SYS>>\\n", "\\n<</SYS>>\\n\\n"), user="[INST] ", end=" [/INST]", assistant=""
        ),
    )
    config = LlavaNextConfig(
        vision_config=CLIPVisionConfig(**parts.VISION, image_size=SIDE, patch_size=PATCH),
        text_config=MistralConfig(**parts.TEXT, sliding_window=None, vocab_size=len(words)),
        image_token_index=words.convert_tokens_to_ids("<image>"),
        image_grid_pinpoints=pinpoints,
        image_seq_length=(SIDE // PATCH) ** 2,
    )
    return parts.enliven(LlavaNextForConditionalGeneration(config), words, seed=seed), processor


def build_llava_onevision(seed: int) -> tuple[Any, Any]:
    """16 image tokens of the whole photo, then up to 77 of the mosaic, shrunk, with a row end after each row."""
    words = parts.tokenizer(
        bos=None,
        eos="<|im_end|>",
        pad="<|endoftext|>",
        special={"image_token": "<image>", "video_token": "<video>"},
        others=("<|im_start|>",),
    )
    lengths = [tiles * ONEVISION_SIDE for tiles in range(1, 7)]
    pinpoints = [[height, width] for height in lengths for width in lengths]
    processor = LlavaOnevisionProcessor(
        image_processor=LlavaOnevisionImageProcessor(
            size={"height": ONEVISION_SIDE, "width": ONEVISION_SIDE}, image_grid_pinpoints=pinpoints
        ),
        tokenizer=words,
        video_processor=LlavaOnevisionVideoProcessor(),
        num_image_tokens=(ONEVISION_SIDE // PATCH) ** 2,
        vision_feature_select_strategy="full",
        vision_aspect_ratio=LIMIT,
        chat_template=parts.chat_template(
            "<image>\\n",
            system=("<|im_start|>system \\n", "<|im_end|>"),
            user="<|im_start|>user ",
            end="<|im_end|>",
            assistant="<|im_start|>assistant\\n",
        ),
    )
    config = LlavaOnevisionConfig(
        vision_config=SiglipVisionConfig(
            **parts.VISION, image_size=ONEVISION_SIDE, patch_size=PATCH, vision_use_head=False
        ),
        text_config=Qwen2Config(**parts.TEXT, vocab_size=len(words)),
        image_token_index=words.convert_tokens_to_ids("<image>"),
        video_token_index=words.convert_tokens_to_ids("<video>"),
        image_grid_pinpoints=pinpoints,
        vision_aspect_ratio=LIMIT,
    )
    return parts.enliven(LlavaOnevisionForConditionalGeneration(config), words, seed=seed), processor
