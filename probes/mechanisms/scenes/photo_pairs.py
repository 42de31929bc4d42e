"""Pairs of photos: real ones mirrored, and two of What'sUp stitched in the middle with their objects exchanged."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import permutations
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageOps

from interp.errors import InputError
from interp.image.boxes import Box, Boxes
from interp.image.photos import load_image
from interp.numeric import agree, counted
from interp.objects.sample import Object, Sample
from interp.prompt.templates import OPTIONS_IN_RELATION, where_in_relation
from interp.study.keys import check_ids
from probes.mechanisms.scenes.line_pairs import FORMS, ONE_WORD
from probes.mechanisms.scenes.pairs import MIRRORED, Pair
from probes.mechanisms.scenes.sides import OPPOSITE, SIDES

if TYPE_CHECKING:
    from pathlib import Path

    from interp.image.photos import ImageSource

ACROSS = SIDES["horizontal"]


@dataclass(frozen=True)
class Reference:
    """Where What'sUp's photos show what lies on the floor beside a piece of furniture, as shares of a square.

    Attributes:
        rows: top and bottom, of both sides.
        left: left and right edge of what lies on the left.
        right: the same on the right.
    """

    rows: tuple[float, float]
    left: tuple[float, float]
    right: tuple[float, float]

    def box(self, name: str, side: str, pixels: int) -> Box:
        """The box of an object on a side of a square picture."""
        (x0, x1), (y0, y1) = getattr(self, side), self.rows
        return Box(name, (x0 * pixels, y0 * pixels, x1 * pixels, y1 * pixels))


REFERENCES: Mapping[str, Reference] = {
    "chair": Reference((0.75, 0.94), (0.19, 0.375), (0.625, 0.81)),
    "table": Reference((0.625, 0.94), (0.125, 0.25), (0.75, 0.87)),
    "armchair": Reference((0.8125, 0.94), (0.125, 0.3125), (0.6875, 0.87)),
}
"""Those of the paper's position probes; table and armchair as near as its token sets tell them."""


def mirrored_pairs(samples: Sequence[Sample], *, n: int | None = None) -> tuple[list[Pair], dict[str, int]]:
    """Pairs of a photo and its mirror image, of questions about two objects that are answered by left or right.

    The question stays, so the mirrored photo's answer is the other side. Boxes are mirrored with it. Letters in a photo
    are mirrored too, which a model may see.

    Args:
        samples: such as those of COCO-spatial (`read_dataset("coco-two", folder)`), with boxes or without.
        n: only the first so many of each answer; all by default. Mirrored photos are kept in memory.

    Returns:
        Pairs, those answered by left first, and by reason how many samples make none.

    Raises:
        InputError: none makes a pair, or an `n` below 1.

    Example:
        >>> pairs, left_out = mirrored_pairs(read_dataset("coco-two", folder))
        >>> pairs[0].outcomes
        {'clean': 'left', 'place': 'right'}
    """
    if n is not None and (isinstance(n, bool) or not isinstance(n, int) or n < 1):
        raise InputError(f"n={n!r} pairs for each answer: give a whole number of 1 or more")
    check_ids(samples)
    left_out = Counter(filter(None, map(_not_mirrored, samples)))
    fitting = [sample for sample in samples if not _not_mirrored(sample)]
    kept = [[sample for sample in fitting if sample.answer == side] for side in ACROSS]
    pairs = [_mirrored_pair(sample) for own in kept for sample in own[:n]]
    if not pairs:
        told = "; ".join(f"{count} {why}" for why, count in left_out.items()) or "there are none"
        raise InputError(f"no sample makes a pair with its mirror image: {told}")
    return pairs, dict(left_out)


def with_boxes(samples: Sequence[Sample], boxes: Mapping[str, Boxes]) -> list[Sample]:
    """Samples whose objects have the largest box of their name that a file of labels gives for the photo.

    Args:
        samples: samples whose photos are files.
        boxes: by the path of the photo, as `interp.objects.label_files.read_coco_boxes` reads them.

    Returns:
        All samples; an object of which the file knows nothing has no box.

    Raises:
        InputError: a photo that is no file, or of which the file does not know.

    Example:
        >>> samples = with_boxes(samples, read_coco_boxes("annotations/instances_val2017.json"))
    """
    from interp.objects.given import GroundTruth
    from interp.objects.words import match_words

    truth = GroundTruth(boxes)
    found = []
    for sample in samples:
        given = truth.for_sample(sample)
        labels = match_words([thing.name for thing in sample.objects], given.labels)
        things = tuple(Object(thing.name, _largest(given.boxes, labels[thing.name])) for thing in sample.objects)
        found.append(replace(sample, objects=things))
    return found


def stitched_pairs(
    samples: Sequence[Sample],
    side: int,
    *,
    words: Sequence[str] | None = None,
    form: str = "item",
    directions: Sequence[str] = ACROSS,
    n: int = 50,
    seed: int = 0,
) -> list[Pair]:
    """Pairs of composites of What'sUp's controlled photos: one object on each side of a chair, table or armchair.

    A composite of X and Y is the left half of the photo of X on the left of a reference, and the right half of that of
    Y on the right, both resized to a square. The counterfactual has X and Y exchanged, and the question stays.

    Args:
        samples: those of What'sUp (`read_dataset("controlled-a", folder)`).
        side: the side of a composite in pixels, such as that of `geometry_of(vlm).size`.
        words: only objects of these names, such as those of `single_token_words`; all by default.
        form: `item` ("The object on the floor to the left of the chair is a(n)") or `relation`, see `line_pairs`.
        directions: what is asked, left and right or one of them.
        n: pairs for each direction, drawn without repetition.
        seed: of the draws.

    Returns:
        Pairs, direction after direction. Objects have the boxes of the paper's `REFERENCES`, which are the same in
        every photo of a reference. Pairs of the same objects beside the same reference are one group.

    Raises:
        InputError: a form or direction that is not known, a side or number below 1, or fewer composites than pairs.

    Example:
        >>> pairs = stitched_pairs(read_dataset("controlled-a", folder), 336, n=10)
        >>> pairs[0].clean.question
        'Reply with one word. The object on the floor to the left of the chair is a(n)'
    """
    strange = [direction for direction in directions if direction not in ACROSS]
    if strange or not directions or form not in FORMS:
        raise InputError(f"form={form!r}, directions={tuple(directions)}: use {' or '.join(FORMS)}, and left or right")
    for name, value in {"side": side, "n": n}.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise InputError(f"{name}={value!r} of stitched photos: give a whole number of 1 or more")
    photos = _by_reference(samples, words)
    every = [(reference, x, y) for reference, own in photos.items() for x, y in permutations(own, 2)]
    if len(every) < n:
        raise InputError(
            f"{counted(len(samples), 'sample')} {agree(len(samples), 'makes', 'make')} "
            f"{counted(len(every), 'composite')} of two objects beside a {', '.join(REFERENCES)}, and "
            f"{counted(n, 'pair')} a direction {agree(n, 'was', 'were')} asked for: give all photos of What'sUp's "
            f"controlled images A{', or ask for fewer' if every else ''}"
        )
    pairs = []
    for direction in directions:
        rng = np.random.default_rng([seed, ACROSS.index(direction)])
        for place, drawn in enumerate(rng.permutation(len(every))[:n]):
            reference, x, y = every[drawn]
            name = f"whatsup-reversed-{form}-{direction}-{seed}-{place:04d}"
            pairs.append(_stitched_pair(photos[reference], (reference, x, y), direction, form, side, name))
    return pairs


def stitched(left: ImageSource, right: ImageSource, side: int) -> Image.Image:
    """The left half of one photo and the right half of another, both resized to a square of `side` pixels."""
    first, second = (load_image(photo).resize((side, side), Image.Resampling.BICUBIC) for photo in (left, right))
    first.paste(second.crop((side // 2, 0, side, side)), (side // 2, 0))
    return first


Photos = dict[str, dict[str, "Image.Image | Path"]]
"""By object: its photos, by side."""


def _mirrored_pair(sample: Sample) -> Pair:
    photo, other = load_image(sample.image), OPPOSITE[sample.answer]
    counterfactual = replace(
        sample,
        id=f"{sample.id}-counterfactual",
        image=ImageOps.mirror(photo),
        answer=other,
        relation=other,
        objects=tuple(Object(thing.name, _mirrored(thing.box, photo.width)) for thing in sample.objects),
        meta={**sample.meta, MIRRORED: True},
    )
    clean = replace(sample, relation=sample.answer)
    return Pair(clean, counterfactual, {"clean": sample.answer, "place": other}, "horizontal")


def _stitched_pair(photos: Photos, what: tuple[str, str, str], direction: str, form: str, side: int, name: str) -> Pair:
    """The pair of composites of x and y, and of y and x, asked for what lies in a direction."""
    reference, x, y = what
    asked, other = (x, y) if direction == "left" else (y, x)

    def sample(left: str, right: str, own: str) -> Sample:
        boxes = {thing: REFERENCES[reference].box(thing, at, side) for thing, at in ((left, "left"), (right, "right"))}
        options: tuple[str, ...] = (left, right)
        if form == "item":
            question = f"{ONE_WORD}The object on the floor to the {direction} of the {reference} is a(n)"
            answer = {"left": left, "right": right}[direction]
        else:
            question, options = where_in_relation(asked, other), OPTIONS_IN_RELATION
            answer = "left" if asked == left else "right"
        return Sample(
            id=own,
            image=stitched(photos[left]["left"], photos[right]["right"], side),
            question=question,
            options=options,
            answer=answer,
            objects=tuple(Object(thing, boxes[thing]) for thing in (asked, other)),
            relation=direction,
            group=f"whatsup-{reference}-" + "|".join(sorted((x, y))),
            meta={
                "dataset": "whatsup-stitched",
                "items": [left, right],
                "words": [left, right],
                "reference": reference,
                "form": form,
                "kind": "reversed",
                "direction": direction,
                "axis": "horizontal",
                "boxes": Boxes(tuple(boxes[thing] for thing in (left, right)), source="reference"),
            },
        )

    clean, counterfactual = sample(x, y, name), sample(y, x, f"{name}-counterfactual")
    return Pair(clean, counterfactual, {"clean": clean.answer, "place": counterfactual.answer}, "horizontal")


def _by_reference(samples: Iterable[Sample], words: Sequence[str] | None) -> dict[str, Photos]:
    """The objects that have a photo on both sides of a reference."""
    found: dict[str, Photos] = {reference: {} for reference in REFERENCES}
    for sample in samples:
        names = [thing.name for thing in sample.objects]
        if len(names) == 2 and names[1] in found and sample.answer in ACROSS and (words is None or names[0] in words):
            found[names[1]].setdefault(names[0], {})[sample.answer] = sample.image
    return {
        reference: {name: own for name, own in photos.items() if len(own) == len(ACROSS)}
        for reference, photos in found.items()
    }


def _not_mirrored(sample: Sample) -> str:
    """Why a sample makes no pair; nothing where it does."""
    if len(sample.objects) != 2:
        return f"of {len(sample.objects)} objects"
    if sample.answer not in ACROSS:
        return f"answered by {sample.answer!r}, which a mirror does not change"
    return "" if OPPOSITE[sample.answer] in sample.options else "without the other side among the options"


def _mirrored(box: Box | None, width: int) -> Box | None:
    if box is None:
        return None
    x0, y0, x1, y1 = box.xyxy
    return replace(box, xyxy=(width - x1, y0, width - x0, y1))


def _largest(boxes: Iterable[Box], labels: Sequence[str]) -> Box | None:
    own = [box for box in boxes if box.label in labels]
    return max(own, key=lambda box: box.area, default=None)
