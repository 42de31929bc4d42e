"""Tiny detectors of transformers: one of fixed classes and one of any words, random weights, and photos of noise."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers import (
    BertConfig,
    BertTokenizer,
    GroundingDinoConfig,
    GroundingDinoForObjectDetection,
    GroundingDinoImageProcessor,
    GroundingDinoProcessor,
    RTDetrConfig,
    RTDetrForObjectDetection,
    RTDetrImageProcessor,
    RTDetrResNetConfig,
    SwinConfig,
)

SIZES = [(90, 60), (50, 120), (90, 60), (64, 64)]


def photo(size: tuple[int, int], seed: int = 0) -> Image.Image:
    """A photo of noise."""
    width, height = size
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


PHOTOS = [photo(size, seed) for seed, size in enumerate(SIZES)]


def loud(model: Any) -> Any:
    """Random heads that say something different of every query."""
    torch.manual_seed(0)
    for name, weight in model.named_parameters():
        if "class_embed" in name or "bbox_embed" in name or "score_head" in name or "text_projection" in name:
            torch.nn.init.normal_(weight, std=0.5)
    return model.eval()


def save_closed(folder: Path) -> Path:
    """A tiny RT-DETR of random weights and three classes, in a folder."""
    torch.manual_seed(0)
    backbone = RTDetrResNetConfig(
        embedding_size=8,
        hidden_sizes=[8, 12, 16, 24],
        depths=[1, 1, 1, 1],
        layer_type="basic",
        out_features=["stage2", "stage3", "stage4"],
    )
    config = RTDetrConfig(
        backbone_config=backbone,
        encoder_hidden_dim=32,
        encoder_in_channels=[12, 16, 24],
        encoder_ffn_dim=32,
        encoder_attention_heads=2,
        d_model=32,
        num_queries=30,
        decoder_in_channels=[32, 32, 32],
        decoder_ffn_dim=32,
        decoder_layers=2,
        decoder_attention_heads=2,
        num_denoising=0,
        id2label={0: "cat", 1: "sofa", 2: "tvmonitor"},
        label2id={"cat": 0, "sofa": 1, "tvmonitor": 2},
    )
    loud(RTDetrForObjectDetection(config)).save_pretrained(folder)
    RTDetrImageProcessor(size={"height": 64, "width": 64}).save_pretrained(folder)
    return folder


WORDS = ("mug", "dining", "table", "cat", "red")


def tokenizer() -> BertTokenizer:
    """BERT's tokenizer with the numbers that Grounding DINO has built in for the signs, and a few words."""
    fixed = {"[PAD]": 0, "[UNK]": 100, "[CLS]": 101, "[SEP]": 102, "[MASK]": 103, ".": 1012, "?": 1029}
    vocabulary = fixed | {word: 1030 + number for number, word in enumerate(WORDS)}
    return BertTokenizer(vocab=vocabulary)


def save_opened(folder: Path) -> Path:
    """A tiny Grounding DINO of random weights, in a folder."""
    torch.manual_seed(0)
    config = GroundingDinoConfig(
        backbone_config=SwinConfig(
            image_size=64,
            window_size=7,
            embed_dim=8,
            depths=[1, 1, 1, 1],
            num_heads=[1, 1, 1, 1],
            out_features=["stage2", "stage3", "stage4"],
        ),
        text_config=BertConfig(
            vocab_size=1040,
            hidden_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=16,
            max_position_embeddings=64,
        ),
        d_model=32,
        encoder_layers=1,
        decoder_layers=2,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=32,
        decoder_ffn_dim=32,
        num_queries=25,
        encoder_n_points=2,
        decoder_n_points=2,
        max_text_len=16,
    )
    loud(GroundingDinoForObjectDetection(config)).save_pretrained(folder)
    images = GroundingDinoImageProcessor(size={"shortest_edge": 72, "longest_edge": 144})
    GroundingDinoProcessor(images, tokenizer()).save_pretrained(folder)
    return folder
