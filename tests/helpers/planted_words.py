"""The planted relation model, whose colour words hold how far right their square lies, on scenes of two squares."""

import numpy as np
from PIL import Image

from interp.datasets.synthetic.shapes import SIDE
from interp.image.boxes import Box
from interp.model.hooked_vlm import HookedVLM
from interp.objects.sample import Object, Sample
from interp.planted.build import PATCH
from interp.planted.llava import build_planted
from interp.planted.parts import COLORS
from interp.prompt.templates import where_in_relation

OPTIONS = ("left", "right")
HELD_FROM = 2  # the slot behind the layer whose head writes the place into colour words


def load():
    return HookedVLM.wrap(*build_planted("planted-relation"), self_check=False)


def scene(names, cells, number=0):
    """Two squares of two by two tokens in cells of a grid of 4 x 4, asked for by their colours alone."""
    pixels = np.full((SIDE, SIDE, 3), 128, dtype=np.uint8)
    things = []
    for name, cell in zip(names, cells, strict=True):
        row, col = divmod(cell, 4)
        x, y = 2 * col * PATCH, 2 * row * PATCH
        pixels[y : y + 2 * PATCH, x : x + 2 * PATCH] = [255 if channel > 0 else 0 for channel in COLORS[name]]
        things.append(Object(name, Box(name, (x, y, x + 2 * PATCH, y + 2 * PATCH))))
    answer = OPTIONS[cells[0] % 4 > cells[1] % 4]
    asked = where_in_relation(*names, OPTIONS)
    return Sample(f"two-{number}", Image.fromarray(pixels), asked, OPTIONS, answer, tuple(things), answer, names[0])


def everywhere(names=("red", "green", "blue")):
    """Each colour in every cell, the next one in another column."""
    whole = [(name, cell) for name in names for cell in range(16)]
    beside = [names[(names.index(name) + 1) % len(names)] for name, _ in whole]
    return [
        scene((name, other), (cell, (cell + 1) % 4 + 4 * (cell // 4)), number)
        for number, ((name, cell), other) in enumerate(zip(whole, beside, strict=True))
    ]
