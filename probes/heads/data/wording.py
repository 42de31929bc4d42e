"""Wording: what synthetic steps ask, at least two ways for each function, and which of them were trained on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from interp.datasets.synthetic.shapes import COLORS, SHAPES
from interp.prompt.templates import OPTIONS_IN_PHOTO, OPTIONS_IN_RELATION, list_options


class Wording(NamedTuple):
    """One way to ask, and whether `shapes-vlm` was trained on questions of this form."""

    text: str
    trained: bool = False


_PHOTO, _RELATION = list_options(OPTIONS_IN_PHOTO), list_options(OPTIONS_IN_RELATION)
_COLORS, _SHAPES = list_options(tuple(COLORS)), list_options(SHAPES)

OPPOSITE = {"left": "right", "right": "left", "above": "below", "below": "above"}

SIDES = {"left": "on the left", "right": "on the right", "above": "above", "below": "below"}
"""How a main question says where one of two objects lies."""

OF = {"left": "left of", "right": "right of", "above": "above", "below": "below"}
"""How it says where one lies in relation to another."""

MAIN: Mapping[str, tuple[str, ...]] = {
    "which": (
        "What object is {side}, the {first} or the {second}?",
        "Of the {first} and the {second}, what is {side}?",
        "The {first} or the {second}: what object is {side}?",
    ),
    "yes_no": (
        "Is the {first} {of} the {second}?",
        "In the photo, is the {first} {of} the {second}?",
        "Is it true that the {first} is {of} the {second}?",
    ),
}
"""Main questions, by what is decided in the end."""

STEPS: Mapping[str, tuple[Wording, ...]] = {
    "spatial": (
        Wording(f"Where is the {{name}} in the photo? Answer with {_PHOTO}.", trained=True),
        Wording(f"At what side of the photo is the {{name}}? Answer with {_PHOTO}."),
        Wording(f"What part of the photo is the {{name}} in? Answer with {_PHOTO}."),
    ),
    "relational": (
        Wording(f"Where is the {{first}} in relation to the {{second}}? Answer with {_RELATION}.", trained=True),
        Wording(f"What is the relation of the {{first}} to the {{second}}? Answer with {_RELATION}."),
        Wording(f"Seen from the {{second}}, where is the {{first}}? Answer with {_RELATION}."),
    ),
    "low_level": (
        Wording(f"What color is the {{shape}}? Answer with {_COLORS}.", trained=True),
        Wording(f"What is the color of the {{shape}} in the photo? Answer with {_COLORS}."),
        Wording(f"The {{shape}} in the photo is of what color? Answer with {_COLORS}."),
    ),
    "high_level": (
        Wording(f"What shape is the {{color}} object? Answer with {_SHAPES}.", trained=True),
        Wording(f"What is the {{color}} object in the photo? Answer with {_SHAPES}."),
        Wording(f"What shape does the {{color}} one in the photo have? Answer with {_SHAPES}."),
    ),
    "math": (
        Wording("How many objects are in the photo? Answer with 2, 3 or 4."),
        Wording("What is the number of objects in the photo? Answer with 2, 3 or 4."),
        Wording("Count the shapes in the photo. What is the count? Answer with one digit."),
    ),
    "decision": (
        Wording("What is the answer in the end? {main} Answer with {options}."),
        Wording("Choose: {main} Answer with {options}."),
        Wording("{main} Answer with one word."),
    ),
}
"""What a step asks of the scene, by its function."""

INFORMATION: Mapping[str, tuple[str, ...]] = {
    "color": (
        f'The question is "{{main}}" What color is named {{place}} in it? Answer with {_COLORS}.',
        f'What color comes {{place}} in the words "{{main}}"? Answer with {_COLORS}.',
    ),
    "shape": (
        f'The question is "{{main}}" What shape is named {{place}} in it? Answer with {_SHAPES}.',
        f'What shape comes {{place}} in the words "{{main}}"? Answer with {_SHAPES}.',
    ),
    "side": (
        f'The question is "{{main}}" What side is named in it? Answer with {_RELATION}.',
        f'What side do the words "{{main}}" ask for? Answer with {_RELATION}.',
    ),
}
"""What a step asks of the main question's own words; no image is needed."""

RECALL: Mapping[str, tuple[str, ...]] = {
    "opposite": (
        f"What is the opposite of {{cue}}? Answer with {_RELATION}.",
        f"The word that means the reverse of {{cue}} is what? Answer with {_RELATION}.",
    ),
    "edge": (
        f"What is the opposite of {{cue}}? Answer with {_PHOTO}.",
        f"The word that means the reverse of {{cue}} is what? Answer with {_PHOTO}.",
    ),
    "color": (
        f"What color is {{cue}}, as a rule? Answer with {_COLORS}.",
        f"Most people know the color of {{cue}}. What is it? Answer with {_COLORS}.",
    ),
    "shape": (
        f"What shape is {{cue}}, as a rule? Answer with {_SHAPES}.",
        f"Most people know the shape of {{cue}}. What is it? Answer with {_SHAPES}.",
    ),
}
"""What a step asks of common knowledge; no image is needed."""

CUES: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "opposite": {answer: (cue,) for cue, answer in OPPOSITE.items()},
    "edge": {"left": ("right",), "right": ("left",), "top": ("bottom",), "bottom": ("top",)},
    "color": {
        "red": ("blood", "a ripe tomato", "a stop sign"),
        "green": ("grass", "a leaf in summer", "spinach"),
        "blue": ("a clear sky by day", "the deep sea", "a sapphire"),
        "yellow": ("a ripe banana", "a lemon", "a chick"),
        "purple": ("an eggplant", "lavender", "an amethyst"),
        "orange": ("a carrot", "a pumpkin", "a ripe mandarin"),
    },
    "shape": {
        "circle": ("a wheel", "a coin", "a full moon"),
        "square": ("one face of a die", "one field of a chess board", "one side of a cube"),
        "triangle": ("a slice of pizza", "one side of a pyramid", "the sail of a dinghy"),
        "cross": ("a plus sign", "the sign on the flag of Switzerland", "the sign of a pharmacy"),
    },
}
"""What recall is asked about, by kind and answer."""

OPTIONS: Mapping[str, tuple[str, ...]] = {
    "spatial": OPTIONS_IN_PHOTO,
    "relational": OPTIONS_IN_RELATION,
    "low_level": tuple(COLORS),
    "high_level": SHAPES,
    "math": ("2", "3", "4"),
    "side": OPTIONS_IN_RELATION,
    "opposite": OPTIONS_IN_RELATION,
    "edge": OPTIONS_IN_PHOTO,
    "color": tuple(COLORS),
    "shape": SHAPES,
}
"""The answers to choose from, by function or by kind."""
