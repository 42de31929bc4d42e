"""Nouns: what a question about a photo can name, sorted into things, parts of things, and places; and COCO's names."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import NamedTuple

from interp.objects.synonyms import known_names

COCO_NAMES: tuple[str, ...] = (
    *("person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat", "traffic light"),
    *("fire hydrant", "stop sign", "parking meter", "bench", "bird", "cat", "dog", "horse", "sheep", "cow"),
    *("elephant", "bear", "zebra", "giraffe", "backpack", "umbrella", "handbag", "tie", "suitcase", "frisbee"),
    *("skis", "snowboard", "sports ball", "kite", "baseball bat", "baseball glove", "skateboard", "surfboard"),
    *("tennis racket", "bottle", "wine glass", "cup", "fork", "knife", "spoon", "bowl", "banana", "apple"),
    *("sandwich", "orange", "broccoli", "carrot", "hot dog", "pizza", "donut", "cake", "chair", "couch"),
    *("potted plant", "bed", "dining table", "toilet", "tv", "laptop", "mouse", "remote", "keyboard", "cell phone"),
    *("microwave", "oven", "toaster", "sink", "refrigerator", "book", "clock", "vase", "scissors", "teddy bear"),
    *("hair drier", "toothbrush"),
)
"""The 80 classes of COCO's instances (Lin et al. 2014, arXiv:1405.0312), in the order that detectors number them."""


class Nouns(NamedTuple):
    """Names in the singular, by what they are of: things, parts of things and of bodies, places and what lies there."""

    things: frozenset[str]
    parts: frozenset[str]
    places: frozenset[str]


@cache
def nouns() -> Nouns:
    """The nouns that a question is searched for: those of `nouns.txt`, of the synonym table, and COCO's.

    Example:
        >>> "zebra" in nouns().things, "hair" in nouns().parts, "field" in nouns().places
        (True, True, True)
    """
    parts = files("interp.objects").joinpath("nouns.txt").read_text(encoding="utf-8").split("[")[1:]
    listed = dict(part.split("]") for part in parts)
    read = {name: frozenset(" ".join(one.split()) for one in text.split(",")) for name, text in listed.items()}
    things = read["things"] | known_names() | frozenset(COCO_NAMES)
    return Nouns(things, read["parts"] - things, read["places"] - things)
