"""Three equal squares in a row or column, aligned to a grid of tokens, and the same the other way around: pairs."""

import numpy as np
from PIL import Image

from interp.image.boxes import Box
from interp.objects.sample import Object, Sample
from probes.mechanisms.scenes.pairs import Pair

COLOURS = {
    "red": (255, 0, 0),
    "green": (0, 255, 0),
    "blue": (0, 0, 255),
    "black": (0, 0, 0),
    "gray": (128, 128, 128),
    "brown": (150, 75, 0),
    "orange": (255, 165, 0),
}
ACROSS = {"left": "horizontal", "right": "horizontal", "above": "vertical", "below": "vertical"}


def scene(names, axis, *, n, side, gap, px):
    """A white photo of n x n tokens of px pixels, and the objects in it with their boxes, in the order of the axis."""
    start, cross = (n - 3 * side - 2 * gap) // 2, (n - side) // 2
    canvas, objects = np.full((n * px, n * px, 3), 255, dtype=np.uint8), []
    for place, name in enumerate(names):
        along = start + place * (side + gap)
        col, row = (along, cross) if axis == "horizontal" else (cross, along)
        x, y, width = col * px, row * px, side * px
        canvas[y : y + width, x : x + width] = COLOURS[name.lower()]
        objects.append(Object(name, Box(name, (x, y, x + width, y + width))))
    return Image.fromarray(canvas), tuple(objects)


def question_about(names, direction):
    side = {"left": "to the left of", "right": "to the right of"}.get(direction, direction)
    return f"The color of the square {side} the {names[1]} square is"


def reversed_pair(names, direction, *, n=8, side=2, gap=1, px=4, name=None):
    """Three squares, asked about an outer one, and the same three the other way around."""
    axis = ACROSS[direction]
    first = direction in ("left", "above")
    answer, other = (names[0], names[2]) if first else (names[2], names[0])
    samples = []
    for order, right in ((names, answer), (names[::-1], other)):
        image, objects = scene(order, axis, n=n, side=side, gap=gap, px=px)
        by_name = sorted(objects, key=lambda thing: names.index(thing.name))
        question = question_about(names, direction)
        said = name or f"{direction} {' '.join(names)}"
        samples.append(Sample(said, image, question, tuple(names), right, tuple(by_name), direction, said))
    outcomes = {"clean": answer, "place": other, "middle": names[1]}
    return Pair(samples[0], samples[1], outcomes, axis)
