"""Sample: one question about one image, with what is known of its answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from interp.image.boxes import Box
from interp.reprs import fits_a_cell

if TYPE_CHECKING:
    from PIL import Image

ROLES = ("first", "second")
"""What the objects that a question names are called, in its order."""


@dataclass(frozen=True)
class Object:
    """Something the question speaks of: its name, and its box where the data set gives one."""

    name: str
    box: Box | None = None


@fits_a_cell()
@dataclass(frozen=True)
class Sample:
    """One question about one image.

    Attributes:
        id: unique inside its data set; stable between runs.
        image: the photo, or the path of its file.
        question: the question with its list of options, without image placeholder or role words.
        options: the answers to choose from, in the order in which the question lists them.
        answer: the right option.
        objects: what the question speaks of, in the question's order.
        relation: the group of the answer for per-relation tables (often the answer itself).
        group: what belongs together in pair and set scores and in splits (an image, an object pair).
        meta: anything else that the data set says.
    """

    id: str
    image: Image.Image | Path
    question: str
    options: tuple[str, ...]
    answer: str
    objects: tuple[Object, ...] = ()
    relation: str = ""
    group: str = ""
    meta: Mapping[str, object] = field(default_factory=dict)
