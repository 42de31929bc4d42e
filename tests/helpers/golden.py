"""Values recorded from the papers' own code: the small models that they were recorded on, where they are at hand."""

from pathlib import Path

import numpy as np
import pytest
import tiny
from made_up import square_grid
from safetensors.torch import load_file
from transformers import LlavaForConditionalGeneration

from interp.model.hooked_vlm import HookedVLM
from interp.prompt.inputs import VLMInputs
from interp.prompt.layout import TokenLayout

GOLDEN = Path(__file__).resolve().parents[2].parent / "shared" / "golden"


def golden(folder):
    """The folder of that name; the test is skipped where there is none."""
    if not (GOLDEN / folder).is_dir():
        pytest.skip(f"the recorded values {folder!r} are not on this machine")
    return GOLDEN / folder


def golden_llava(name="tiny_llava"):
    """The recorded model, hooked, and the three photos and prompts of its recordings."""
    folder = golden("tiny")
    model = LlavaForConditionalGeneration.from_pretrained(folder / name, dtype="float32").requires_grad_(False)
    vlm = HookedVLM.wrap(model.eval(), tiny.processor(), self_check=False)
    given = load_file(folder / "inputs.safetensors")
    tensors = {name: given[name] for name in ("input_ids", "pixel_values")}
    tensors["attention_mask"] = tensors["input_ids"].new_ones(tensors["input_ids"].shape)
    layouts = tuple(layout(row, model.config.image_token_id) for row in tensors["input_ids"].tolist())
    photos = tuple(tiny.photo(seed, (32, 32)) for seed in range(len(layouts)))
    grids = (square_grid((32, 32), 8),) * len(layouts)
    return vlm, VLMInputs(tensors, layouts, grids, photos, ("",) * len(layouts), "raw")


def layout(ids, image):
    """BOS, 6 of the system prompt, 3 of the user, 64 of the image, 5 of the user."""
    kinds = np.array(["bos", *["system"] * 6, *["question"] * (len(ids) - 7)], dtype=object)
    kinds[np.array(ids) == image] = "image"
    return TokenLayout(tuple(kinds), tuple(map(str, ids)))
