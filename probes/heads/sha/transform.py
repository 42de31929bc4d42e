"""The input of SHA: a photo with objects hidden and boxes drawn, and a question that tells where they are."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool
from PIL import Image, ImageDraw, ImageFont

from interp.errors import InputError
from interp.image.boxes import Box, refuse_outside
from interp.image.photos import ImageSource, load_image, upright_size
from interp.numeric import whole_number
from probes.heads.sha.arms import ARMS, BOXED, BOXES, ELSEWHERE, MASKED, ORIGINAL, PLACEMENTS

if TYPE_CHECKING:
    from interp.objects.sample import Sample

GREY = (128, 128, 128)
MAGENTA = (255, 0, 255)

Colour = tuple[int, int, int]
Area = tuple[int, int, int, int]
"""Left, top, right, bottom in whole pixels; right and bottom are not in it."""


@dataclass(frozen=True)
class ShaView:
    """How SHA shows a photo and asks about it.

    Neither code nor data of the paper are published, and its notes say neither what colour hides an object, nor
    whether boxes are drawn or told, nor whether the masked copy stands in the photo's place. So all of these are
    options, and results name them. Prompts of this library hold one photo, for every family; where the copy is to
    stand beside the photo, both make one photo of twice the width, the photo left.

    Attributes:
        boxes: `drawn` as frames around the objects, `text` before the question, or `both`.
        names: whether the name of each object is drawn at its frame, where it hides nothing; `drawn` and `both` alone.
        fill: the colour of what hides an object, red, green and blue from 0 to 255.
        placement: where the masked copy stands: `in_place` or `beside`.
        width: of a frame, in pixels; it lies around the box, so that it hides nothing inside.
        outline: the colour of frames and names.

    Example:
        >>> shown = ShaView().sample(sample, boxes, "bbox_mask")
        >>> shown.id == sample.id, shown.objects == sample.objects
        (True, True)
    """

    boxes: str = "both"
    names: bool = False
    fill: Colour = GREY
    placement: str = "in_place"
    width: int = 2
    outline: Colour = MAGENTA

    def __post_init__(self) -> None:
        """Refuse what means nothing."""
        for name, known in (("boxes", BOXES), ("placement", PLACEMENTS)):
            if getattr(self, name) not in known:
                raise InputError(f"{name}={getattr(self, name)!r:.60} is not known: use one of {', '.join(known)}")
        if not isinstance(self.names, bool):
            raise InputError(f"names={self.names!r:.40} is not understood: give True or False")
        if self.names and not self.drawn:
            raise InputError("names are drawn at frames, and boxes='text' draws none: use drawn or both, or no names")
        object.__setattr__(self, "width", whole_number(self.width, "width", 1))
        for name in ("fill", "outline"):
            object.__setattr__(self, name, _colour(getattr(self, name), name))

    @property
    def drawn(self) -> bool:
        """Whether boxes are drawn."""
        return self.boxes != "text"

    @property
    def told(self) -> bool:
        """Whether boxes are written before the question."""
        return self.boxes != "drawn"

    def recorded(self) -> dict[str, Any]:
        """All of it, in JSON's own types."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    def sample(
        self, sample: Sample, boxes: Sequence[Box], arm: str, *, image: Image.Image | Path | None = None
    ) -> Sample:
        """A sample as an arm shows it; id, options, answer, objects, relation and group stay.

        Args:
            sample: what is asked.
            boxes: where the objects are, in pixels of its upright photo.
            arm: one of the arms; `original` gives the sample as it is, `elsewhere` needs boxes that were moved.
            image: the photo of the arm where it was made before, such as its file.

        Raises:
            InputError: see `check`.
        """
        if _arm(arm) == ORIGINAL:
            return sample
        size = self.check(upright_size(sample.image), boxes, arm)
        told = [[box.label, *map(float, box.xyxy)] for box in boxes]
        return replace(
            sample,
            image=self.photo(sample.image, boxes, arm) if image is None else image,
            question=self.question(sample.question, boxes, size, arm),
            meta={**sample.meta, "sha": {"arm": arm, "shown": told, **self.recorded()}},
        )

    def photo(self, image: ImageSource, boxes: Sequence[Box], arm: str) -> Image.Image:
        """The photo of an arm: what hides objects first, then frames, then names.

        A pixel is hidden if any part of it lies in a box.

        Raises:
            InputError: see `check`.
        """
        photo = load_image(image)
        if _arm(arm) == ORIGINAL:
            return photo
        self.check(photo.size, boxes, arm)
        made = photo.copy()
        draw = ImageDraw.Draw(made)
        if arm in MASKED:
            for box in boxes:
                left, top, right, bottom = area_of(box, photo.size)
                draw.rectangle((left, top, right - 1, bottom - 1), fill=self.fill)
        if arm in BOXED and self.drawn:
            for box in boxes:
                for left, top, right, bottom in self._frame(box, photo.size):
                    draw.rectangle((left, top, right - 1, bottom - 1), fill=self.outline)
            for box, (left, top, _, _) in zip(boxes, self._names(boxes, photo.size), strict=self.names):
                x, y, _, _ = _font().getbbox(box.label)
                draw.text((left - x, top - y), box.label, fill=self.outline, font=_font())
        if arm not in MASKED or self.placement == "in_place":
            return made
        both = Image.new("RGB", (2 * photo.width, photo.height))
        both.paste(photo, (0, 0))
        both.paste(made, (photo.width, 0))
        return both

    def question(self, question: str, boxes: Sequence[Box], size: tuple[int, int], arm: str) -> str:
        """The question of an arm: where boxes are told, a sentence stands before it.

        Example:
            >>> print(ShaView().question("Where is it?", [Box("mug", (10, 20, 50, 80))], (90, 100), "bbox"))
            In the image of 90 x 100 pixels, mug is at [10, 20, 50, 80] (left, top, right, bottom).
            Where is it?
        """
        if _arm(arm) not in BOXED or not self.told:
            return question
        parts = [f"{box.label} is at [{', '.join(f'{round(own)}' for own in box.xyxy)}]" for box in boxes]
        listed = parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
        half = "left half of the " if arm in MASKED and self.placement == "beside" else ""
        told = f"In the {half}image of {size[0]} x {size[1]} pixels, {listed} (left, top, right, bottom)."
        return f"{told}\n{question}"

    def shown_size(self, size: tuple[int, int], arm: str) -> tuple[int, int]:
        """The width and height of an arm's photo."""
        beside = _arm(arm) in MASKED and self.placement == "beside"
        return (2 * size[0], size[1]) if beside else size

    def check(self, size: tuple[int, int], boxes: Sequence[Box], arm: str) -> tuple[int, int]:
        """Refuse boxes that an arm can not show in a photo of that width and height; gives the size.

        Raises:
            InputError: no boxes, one outside the photo, masks that leave nothing of it, a name without room.
        """
        if _arm(arm) == ORIGINAL:
            return size
        if not boxes:
            raise InputError(f"there is no box for {arm}: give where its objects are, by the data set or a detector")
        refuse_outside(boxes, size)
        for box in boxes:
            area_of(box, size)
        if arm in MASKED and hidden(boxes, size).all():
            raise InputError(
                f"its {len(boxes)} boxes cover the whole photo of {size[0]} x {size[1]} pixels, so that nothing would "
                "be left of it: leave it out, or use smaller boxes"
            )
        if arm in BOXED and self.drawn:
            list(self._names(boxes, size))
        return size

    def _frame(self, box: Box, size: tuple[int, int]) -> Iterator[Area]:
        """The four sides of a frame around a box, cut at the edges of the photo."""
        left, top, right, bottom = area_of(box, size)
        out_left, out_top = max(left - self.width, 0), max(top - self.width, 0)
        out_right, out_bottom = min(right + self.width, size[0]), min(bottom + self.width, size[1])
        sides = (
            (out_left, out_top, out_right, top),
            (out_left, bottom, out_right, out_bottom),
            (out_left, top, left, bottom),
            (right, top, out_right, bottom),
        )
        return (one for one in sides if one[0] < one[2] and one[1] < one[3])

    def _names(self, boxes: Sequence[Box], size: tuple[int, int]) -> Iterator[Area]:
        """Where each name is drawn: above or below its frame, where it lies in the photo and on no box and no name.

        Raises:
            InputError: there is no such place.
        """
        if not self.names:
            return
        taken = [area_of(box, size) for box in boxes]
        for box in boxes:
            left, top, right, bottom = area_of(box, size)
            x0, y0, x1, y1 = (math.ceil(own) for own in _font().getbbox(box.label))
            wide, high = x1 - x0, y1 - y0
            rows = (top - self.width - 1 - high, bottom + self.width + 1)
            columns = (left, right - wide, 0, size[0] - wide)
            places = [(x, y, x + wide, y + high) for y in rows for x in columns]
            free = [one for one in places if _inside(one, size) and not any(_touch(one, other) for other in taken)]
            if not free:
                raise InputError(
                    f"there is no room for the text {box.label!r} of {wide} x {high} pixels beside its box in a photo "
                    f"of {size[0]} x {size[1]}: leave names out, tell boxes by boxes='text', or use a larger photo"
                )
            taken.append(free[0])
            yield free[0]


def area_of(box: Box, size: tuple[int, int]) -> Area:
    """The pixels that any part of a box lies in.

    Raises:
        InputError: there are none in the photo.
    """
    x0, y0, x1, y1 = box.xyxy
    area = max(math.floor(x0), 0), max(math.floor(y0), 0), min(math.ceil(x1), size[0]), min(math.ceil(y1), size[1])
    if area[0] >= area[2] or area[1] >= area[3]:
        raise InputError(
            f"box {box.label!r} has no pixel in the photo of {size[0]} x {size[1]}: give corners inside it"
        )
    return area


def hidden(boxes: Sequence[Box], size: tuple[int, int]) -> Bool[np.ndarray, "height width"]:
    """Which pixels lie in any box, bool [height width]."""
    out = np.zeros((size[1], size[0]), dtype=bool)
    for box in boxes:
        left, top, right, bottom = area_of(box, size)
        out[top:bottom, left:right] = True
    return out


def boxes_elsewhere(
    boxes: Sequence[Box], size: tuple[int, int], rng: np.random.Generator, *, tries: int = 200
) -> tuple[Box, ...]:
    """As many boxes of the same sizes and names, at places that are drawn; of the draws, where they hide least objects.

    Args:
        boxes: where the objects are.
        size: width and height of the photo.
        rng: what draws.
        tries: how many places are drawn for each box; the first that touches no object and no box before it is taken.
    """
    objects, taken = hidden(boxes, size), np.zeros((size[1], size[0]), dtype=bool)
    out = []
    for box in boxes:
        left, top, right, bottom = area_of(box, size)
        wide, high = right - left, bottom - top
        best: tuple[int, int, int] | None = None
        for _ in range(tries):
            x, y = int(rng.integers(size[0] - wide + 1)), int(rng.integers(size[1] - high + 1))
            part = np.s_[y : y + high, x : x + wide]
            touched = int(objects[part].sum()) + int(taken[part].sum())
            if best is None or touched < best[0]:
                best = touched, x, y
            if not touched:
                break
        assert best is not None
        _, x, y = best
        taken[y : y + high, x : x + wide] = True
        out.append(Box(box.label, (float(x), float(y), float(x + wide), float(y + high)), box.confidence))
    return tuple(out)


def overlap_of(moved: Sequence[Box], boxes: Sequence[Box], size: tuple[int, int]) -> float:
    """The share of the objects' pixels that boxes which were moved lie on."""
    objects = hidden(boxes, size)
    return float((objects & hidden(moved, size)).sum() / objects.sum())


def _arm(arm: str) -> str:
    if arm not in (*ARMS, ELSEWHERE):
        raise InputError(f"there is no arm {arm!r:.40}: use one of {', '.join((*ARMS, ELSEWHERE))}")
    return arm


def _colour(given: Any, name: str) -> Colour:
    """Three whole numbers from 0 to 255."""
    try:
        own = tuple(whole_number(one, name, 0) for one in given)
    except TypeError:
        own = ()
    if len(own) != 3 or max(own) > 255:
        raise InputError(f"{name}={given!r:.60} is no colour: give red, green and blue from 0 to 255")
    return own[0], own[1], own[2]


def _font() -> Any:
    """The font of names: Pillow's own."""
    return ImageFont.load_default()


def _inside(area: Area, size: tuple[int, int]) -> bool:
    return area[0] >= 0 and area[1] >= 0 and area[2] <= size[0] and area[3] <= size[1]


def _touch(first: Area, second: Area) -> bool:
    return first[0] < second[2] and second[0] < first[2] and first[1] < second[3] and second[1] < first[3]
