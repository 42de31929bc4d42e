"""Scenes of squares in one row or column, on a grid of patches, with their boxes."""

import numpy as np
import tiny
from golden import golden
from PIL import Image
from transformers import LlavaForConditionalGeneration

from interp.image.boxes import Box
from interp.model.hooked_vlm import HookedVLM
from interp.objects.sample import Object, Sample

COLORS = {
    "Red": (255, 0, 0),
    "Green": (0, 255, 0),
    "Blue": (0, 0, 255),
    "Black": (0, 0, 0),
    "Brown": (150, 75, 0),
    "Gray": (128, 128, 128),
}


def row_of_squares(colors, *, axis="horizontal", patch=4, n=8, side=2, gap=1, name="", background=255):
    """A sample: squares of `side` x `side` patches on a canvas of n x n, `gap` patches apart, in the middle row."""
    start = (n - len(colors) * side - (len(colors) - 1) * gap) // 2
    across = (n - side) // 2
    pixels = np.full((n * patch, n * patch, 3), background, dtype=np.uint8)
    boxes = []
    for place, color in enumerate(colors):
        along = start + place * (side + gap)
        col, row = (along, across) if axis == "horizontal" else (across, along)
        x, y = col * patch, row * patch
        pixels[y : y + side * patch, x : x + side * patch] = COLORS[color]
        boxes.append(Box(color, (x, y, x + side * patch, y + side * patch)))
    asked = f"The color of the square to the left of the {colors[1].lower()} square is"
    own = name or f"{axis}-{'-'.join(colors)}"
    things = tuple(Object(box.label, box) for box in boxes)
    return Sample(own, Image.fromarray(pixels), asked, (), colors[0], things, group=own)


def recorded_vlm():
    """The recorded model, hooked, with a processor that makes pixels as they were made for its recordings."""
    folder = golden("tiny") / "tiny_llava"
    model = LlavaForConditionalGeneration.from_pretrained(folder, dtype="float32").requires_grad_(False)
    processor = tiny.processor(side=32, patch=4)
    processor.image_processor.image_mean, processor.image_processor.image_std = [0.5] * 3, [0.25] * 3
    model.config.image_token_id = processor.image_token_id
    return HookedVLM.wrap(model.eval(), processor, self_check=False)
