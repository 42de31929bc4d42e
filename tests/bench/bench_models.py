"""Models of real shapes with random weights, and what they are asked, for the benchmarks."""

from __future__ import annotations

import copy

import numpy as np
import tiny
import torch
from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

from interp import HookedVLM, VLMInputs
from interp.zoo.tiny import build_tiny

PATTERNS = lambda name: name.startswith("blocks.") and name.endswith("attn.hook_pattern")  # noqa: E731
"""The rows of attention of all layers of the language model."""


def random_llava(*, tokens: int, device: str, dtype: torch.dtype, layers: int = 16, heads: int = 16, width: int = 1024):
    """A random LLaVA of a real model's shape, behind a light vision tower so that the language model is what counts."""
    torch.manual_seed(0)
    side = round(tokens**0.5)
    vision = CLIPVisionConfig(
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=2,
        num_attention_heads=4,
        patch_size=14,
        image_size=14 * side,
    )
    text = LlamaConfig(
        vocab_size=4096,
        hidden_size=width,
        intermediate_size=int(2.6875 * width),
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        max_position_embeddings=4096,
        pad_token_id=3,
    )
    config = LlavaConfig(vision_config=vision, text_config=text, image_token_id=4, image_seq_length=side * side)
    with torch.device(device):
        model = LlavaForConditionalGeneration._from_config(config, dtype=dtype, attn_implementation="sdpa")
    model.generation_config.pad_token_id = 3
    return model.eval().requires_grad_(False), tiny.processor(side=14 * side, patch=14)


def larger(name: str, *, layers: int = 16, heads: int = 16, kv_heads: int, width: int, vision: dict, **text: object):
    """A tiny model's family with a language model of a real shape and random weights, on the CPU in fp32."""
    model, processor = build_tiny(name)
    config = copy.deepcopy(model.config)
    config.vision_config.update(vision)
    config.get_text_config().update(
        {
            "hidden_size": width,
            "intermediate_size": int(2.6875 * width),
            "num_hidden_layers": layers,
            "num_attention_heads": heads,
            "num_key_value_heads": kv_heads,
            "head_dim": width // heads,
            "layer_types": ["full_attention"] * layers,
            **text,
        }
    )
    torch.manual_seed(0)
    built = type(model)._from_config(config, dtype=torch.float32, attn_implementation="sdpa")
    built.generation_config = model.generation_config
    return built.eval().requires_grad_(False), processor


def random_qwen() -> tuple[object, object]:
    """Qwen2.5-VL: 1,024 wide, 16 heads on 2 key heads, windowed vision attention."""
    vision = {"hidden_size": 128, "num_heads": 4, "intermediate_size": 256, "depth": 4, "out_hidden_size": 1024}
    vision |= {"window_size": 112, "fullatt_block_indexes": [3]}
    rope = {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [8, 12, 12]}
    model, processor = larger("tiny-qwen2_5_vl", kv_heads=2, width=1024, vision=vision, rope_parameters=rope)
    processor.image_processor.size = {"shortest_edge": 56 * 56, "longest_edge": 28 * 28 * 4096}
    return model, processor


def random_llava_next() -> tuple[object, object]:
    """LLaVA-NeXT with tiles of 336 pixels: 2,928 image tokens for a square photo; 512 wide, 8 heads."""
    vision = {"hidden_size": 128, "num_attention_heads": 4, "intermediate_size": 256, "image_size": 336}
    model, processor = larger("tiny-llava_next", heads=8, kv_heads=8, width=512, vision=vision)
    pinpoints = [[336 * rows, 336 * cols] for rows, cols in ((1, 2), (2, 1), (2, 2), (3, 1), (1, 3))]
    model.config.image_grid_pinpoints = processor.image_processor.image_grid_pinpoints = pinpoints
    processor.image_processor.size = {"shortest_edge": 336}
    processor.image_processor.crop_size = {"height": 336, "width": 336}
    return model, processor


ASKED = "Where is the red mug in relation to the table? Answer with left, right, above or below."


def prepared(vlm: HookedVLM, batch: int = 1, *, side: int = 336, question: str = ASKED) -> VLMInputs:
    """A batch of noise photos with a question, about two objects where nothing else is said."""
    rng = np.random.default_rng(0)
    photos = [rng.integers(0, 255, (side, side, 3), dtype=np.uint8) for _ in range(batch)]
    return vlm.prepare(photos, [question] * batch, prompt="paper")


def with_1100_tokens(vlm: HookedVLM, seed: int) -> VLMInputs:
    """A noise photo of 448 pixels with a long question: 1,095 positions behind a tower of 1,024 tokens."""
    photo = np.random.default_rng(seed).integers(0, 255, (448, 448, 3), dtype=np.uint8)
    return vlm.prepare(photo, "Where is the red mug in relation to the table? " * 6, prompt="paper")
