"""Planted models of lines, wrapped, and their scenes as pairs."""

from interp.datasets.synthetic.line_items import squares
from interp.model.hooked_vlm import HookedVLM
from interp.planted.lines import COLORS, SIDES, build_line_model, line_scene, line_scenes, reversed_line
from probes.mechanisms.scenes.geometry import geometry_of
from probes.mechanisms.scenes.line_pairs import Setting, line_pairs
from probes.mechanisms.scenes.pairs import Pair

OPPOSITE = {"left": "right", "right": "left", "above": "below", "below": "above"}


def load(name, **options):
    return HookedVLM.wrap(*build_line_model(name, **options), self_check=False)  # heads that do nothing would fail it


def axis_of(side):
    return "horizontal" if SIDES[side][0] else "vertical"


def reversed_pairs(count, side="left", seed=0):
    """Lines and the same lines reversed, under the same question: `swapped` is said where the order moved."""
    return [
        Pair(clean, turned, {"clean": clean.answer, "swapped": turned.answer}, axis_of(side))
        for clean in line_scenes(count, side=side, seed=seed)
        for turned in [reversed_line(clean)]
    ]


def five_items(side):
    """A line, and another one of other squares beside the same middle, asked for the opposite side."""
    first, middle, last, other, unseen = COLORS
    words, others = [first, middle, last], [unseen, middle, other]
    if sum(SIDES[side]) > 0:
        words, others = words[::-1], others[::-1]
    return line_scene(words, side, id="clean"), line_scene(others, OPPOSITE[side], id="counterfactual")


def prepared(vlm, samples):
    return vlm.prepare([one.image for one in samples], [one.question for one in samples], prompt="paper")


def lines_and_reverse(vlm, n, **options):
    """Lines of squares in the planted colours and their reverse, with all that ablations need."""
    rgb = {word: tuple(255 if channel > 0 else 0 for channel in own) for word, own in COLORS.items()}
    setting = Setting("planted", squares(rgb), "The color of the square {where} the middle square is")
    return line_pairs(setting, geometry_of(vlm), form="item", n=n, **options)
