"""Planted models for order: one whose answer is the slot of a token alone, one whose image tokens are all alike."""

import math

import numpy as np
import torch
from PIL import Image

from interp.datasets.synthetic.shapes import SIDE
from interp.model.hooked_vlm import HookedVLM
from interp.objects.sample import Sample
from interp.planted import llava as planted
from interp.planted.build import GRID, IMAGE_TOKENS, PATCH, build_processor
from interp.planted.parts import D_HEAD, blank_model
from interp.prompt.templates import where_in_photo

OPTIONS = ("left", "right")  # the words that a planted model can say: left is the lower half here, right the upper one
QUESTION = where_in_photo("red square", OPTIONS)
STEEP = 40.0  # logits between two neighbouring slots
HEAD = (2, 2)


def slot_vlm():
    """A model that says right where the red token stands in the first half of the slots, and left in the second.

    Its only working head weighs BOS, by a fixed logit, against red tokens, whose logit grows with their distance from
    the last row: half-split rotary positions turn a query in one half of a pair, and a key in the other, into the sine
    of an angle for each position between them. No place of a token is in its content.
    """
    vlm = HookedVLM.wrap(blank(), build_processor(), self_check=False)
    layout = vlm.prepare(photo(0), QUESTION, prompt="paper").layouts[0]
    first, last = int(layout.image_positions[0]), layout.last
    turn = planted_theta() ** (-2 / D_HEAD)
    strength = STEEP / turn
    middle = strength * math.sin(turn * (last - (first + IMAGE_TOKENS / 2 - 0.5)))
    head, attention = HEAD[1] * D_HEAD, vlm.model.model.language_model.layers[HEAD[0]].self_attn
    places, half = planted._PLACES, D_HEAD // 2
    with torch.no_grad():
        attention.q_proj.weight[head + 1, places["last"]] = strength * D_HEAD**0.5
        attention.k_proj.weight[head + 1 + half, places["red"]] = 1.0
        attention.q_proj.weight[head + 2, places["last"]] = middle * D_HEAD**0.5
        attention.k_proj.weight[head + 2, places["bos"]] = 1.0
        for slot, (source, gain) in enumerate((("red", 1.0), ("bos", -1.0))):
            attention.v_proj.weight[head + slot, places[source]] = 1.0
            attention.o_proj.weight[places["right"], head + slot] = gain
    return vlm


def blank():
    """A planted model that does nothing but see colours and know words."""
    model = blank_model(planted.N_LAYERS)
    with torch.no_grad():
        planted._set_tower(model, blind=False)
        planted._set_words(model)
        places = [planted._PLACES[name] for name in ("across", "down", "sink", "cue")]
        model.model.multi_modal_projector.linear_1.weight[places] = 0.0  # nothing of where a token was
    return model.eval().requires_grad_(False)


def planted_theta():
    return float(blank_model(planted.N_LAYERS).config.text_config.rope_parameters["rope_theta"])


def photo(slot):
    """A grey photo with one red token."""
    pixels = np.full((SIDE, SIDE, 3), 128, dtype=np.uint8)
    row, col = divmod(slot, GRID)
    pixels[row * PATCH : (row + 1) * PATCH, col * PATCH : (col + 1) * PATCH] = (255, 0, 0)
    return Image.fromarray(pixels)


def slot_samples(slots=range(IMAGE_TOKENS)):
    """One sample for each slot of the grid."""
    return [Sample(f"slot-{slot}", photo(slot), QUESTION, OPTIONS, upper(slot), relation=upper(slot)) for slot in slots]


def upper(slot):
    """What is right to say of a token in this slot."""
    return "right" if slot < IMAGE_TOKENS // 2 else "left"


def make_alike(model):
    """Let the projector of a LLaVA give the same for every token, whatever it sees."""
    with torch.no_grad():
        model.model.multi_modal_projector.linear_2.weight.zero_()
