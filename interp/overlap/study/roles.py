"""Roles: which boxes are those of the first object that a question names, and which those of the second."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from interp.detect.batching import find_many
from interp.detect.loading import loaded
from interp.errors import InputError
from interp.image.boxes import Box
from interp.objects.detector import GROUND_TRUTH
from interp.objects.sample import ROLES
from interp.objects.words import kind_of
from interp.reprs import fits_a_cell

if TYPE_CHECKING:
    from interp.objects.detector import Detector
    from interp.objects.given import GroundTruth
    from interp.objects.sample import Sample
    from interp.objects.words import Found


@fits_a_cell()
@dataclass(frozen=True)
class Roles:
    """The objects of one question.

    Attributes:
        names: what the question asks about, at most two things.
        first: boxes of the first, in pixels of the photo.
        second: boxes of the second.
        absent: whether the question rightly says that what it asks after is not there; then a box is a false find.
        unknown: those of the names for which the detector has no class.

    Example:
        >>> Roles(("mug", "table"), (Box("cup", (10, 20, 50, 80)),), ()).found
        'some'
    """

    names: tuple[str, ...]
    first: tuple[Box, ...] = ()
    second: tuple[Box, ...] = ()
    absent: bool = False
    unknown: tuple[str, ...] = ()

    @property
    def boxes(self) -> dict[str, tuple[Box, ...]]:
        """The boxes of the roles that have any; none where the question rightly says that nothing is there."""
        both = {} if self.absent else dict(zip(ROLES, (self.first, self.second), strict=True))
        return {name: own for name, own in both.items() if own}

    @property
    def found(self) -> str:
        """Of how many of its objects there are boxes: one of `interp.objects.words.KINDS`."""
        return kind_of([self.first, self.second][: len(self.names)], absent=self.absent)

    @property
    def shared(self) -> bool:
        """Whether both objects have the very same boxes, so that nothing tells them apart."""
        return bool(self.boxes) and [box.xyxy for box in self.first] == [box.xyxy for box in self.second]


def find_roles(
    samples: Sequence[Sample],
    detector: Detector | GroundTruth | str | Path,
    *,
    batch: int = 8,
    cache: str | Path | None = None,
    progress: bool = True,
) -> list[Roles]:
    """Look for the first two objects of each question, as the sample names them or else as its question does.

    Args:
        samples: what is asked.
        detector: who looks, its name, or `ground-truth` for the boxes of the samples' own objects.
        batch: photos that are detected in together.
        cache: a folder that keeps what was detected; the samples' own boxes need none.
        progress: show a progress bar.

    Example:
        >>> find_roles(read_dataset("shapes", n=2), "ground-truth")[0].found
        'all'

    Raises:
        InputError: `ground-truth` where no sample has a box, or a photo that can not be read.
        DetectorError: the detector knows none of the objects.
    """
    if isinstance(detector, str) and detector == GROUND_TRUTH:
        refuse_without_boxes(samples)
    found = find_many(samples, loaded(detector), batch=batch, cache=cache, progress=progress)
    return [roles_of(one) for one in found]


def roles_of(found: Found) -> Roles:
    """The first two of the asked words, each with its boxes."""
    names = found.words[:2]
    boxes = [found.of(name).items for name in names] + [(), ()]
    unknown = tuple(name for name in names if name in found.unknown)
    return Roles(names, boxes[0], boxes[1], found.absent, unknown)


def has_boxes(samples: Sequence[Sample]) -> bool:
    """Whether any sample brings a box of an object that it asks about."""
    return any(item.box is not None for sample in samples for item in sample.objects)


def refuse_without_boxes(samples: Sequence[Sample]) -> None:
    """Refuse `ground-truth` where no sample has a box."""
    if not has_boxes(samples):
        raise InputError(
            f"none of the {len(samples)} samples has a box of its own, so there is no {GROUND_TRUTH}: name a detector"
        )


def as_text(roles: Roles) -> str:
    """The boxes of both roles as JSON: a list for each, of [x0, y0, x1, y1, confidence], in pixels."""
    return json.dumps({name: [[*box.xyxy, box.confidence] for box in own] for name, own in roles.boxes.items()})


def digest(roles: Iterable[Roles]) -> str:
    """The SHA-256 of what was found in all samples, which tells whether a study still has the same boxes."""
    content = [[one.names, as_text(one), [box.label for box in (*one.first, *one.second)]] for one in roles]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()
