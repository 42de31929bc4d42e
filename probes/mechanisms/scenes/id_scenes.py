"""Scenes for spatial IDs: coloured shapes, each of them in every cell of a grid, asked about in relation to another."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from interp.datasets.synthetic.shapes import (
    COLORS,
    MIN_RADIUS,
    SHAPES,
    SIDE,
    Scene,
    SceneObject,
    draw_rgb,
    relation_between,
    render,
    scene_rng,
    shape_at,
)
from interp.errors import InputError
from interp.objects.sample import Object, Sample
from interp.prompt.templates import OPTIONS_IN_RELATION, where_in_relation

FAMILY = (69,)
"""Of the scenes' random streams; see `scene_rng`."""

NAMES = tuple(f"{color} {SHAPES[place % len(SHAPES)]}" for place, color in enumerate(COLORS))
"""One shape of each colour."""

MOST_CELLS = SIDE // (2 * MIN_RADIUS + 2)
"""Cells along a side in which a shape has room."""


def id_scenes(names: Sequence[str] = NAMES, *, cells: int = 4, seed: int = 0) -> list[Sample]:
    """Scenes of two shapes in cells of a grid, in which each shape of a list lies in every cell.

    Questions are in the words of `shapes-vlm`: "Where is the red circle in relation to the green square?". The other
    shape lies where the answer is clear. There are as many scenes as shapes times cells.

    Args:
        names: colour and shape of each; no two with one colour and one shape alone.
        cells: cells along a side.
        seed: the seed of partners, places and colours.

    Raises:
        InputError: a shape that is not known, fewer than two that can stand beside each other, or too many cells.

    Example:
        >>> len(id_scenes()), id_scenes()[0].question
        (96, 'Where is the red circle in relation to the yellow cross? Answer with left, right, above or below.')
    """
    if isinstance(cells, bool) or not isinstance(cells, int) or not 2 <= cells <= MOST_CELLS:
        raise InputError(f"cells={cells!r}: give 2 to {MOST_CELLS} along a side of {SIDE} pixels")
    parts = [tuple(name.split()) for name in names]
    for name, own in zip(names, parts, strict=True):
        if len(own) != 2 or own[0] not in COLORS or own[1] not in SHAPES:
            raise InputError(f"{name!r} is no shape of these scenes: give a colour of {', '.join(COLORS)} and a shape "
                             f"of {', '.join(SHAPES)}")  # fmt: skip
        if not any(own[0] != other[0] and own[1] != other[1] for other in parts):
            raise InputError(f"{name!r} has no other of another colour and another shape beside it: name more")
    whole = [(name, cell) for name in parts for cell in range(cells * cells)]
    return [_scene(name, cell, parts, cells, seed, number) for number, (name, cell) in enumerate(whole)]


def _scene(
    name: tuple[str, ...], cell: int, names: Sequence[tuple[str, ...]], cells: int, seed: int, number: int
) -> Sample:
    rng = scene_rng("test", seed, number, family=FAMILY)
    others = [other for other in names if other[0] != name[0] and other[1] != name[1]]
    other = others[int(rng.integers(len(others)))]
    own = _shape(name, cell, cells, rng)
    beside = [_shape(other, place, cells, rng) for place in rng.permutation(cells * cells) if place != cell]
    partner = next(one for one in beside if relation_between(own, one) is not None)
    scene = Scene(render((own, partner), rng), (own, partner))
    relation = relation_between(own, partner) or ""
    return Sample(
        id=f"id-{number}",
        image=scene.image,
        question=where_in_relation(own.name, partner.name),
        options=OPTIONS_IN_RELATION,
        answer=relation,
        objects=(Object(own.name, own.box), Object(partner.name, partner.box)),
        relation=relation,
        group=own.name,
    )


def _shape(name: tuple[str, ...], cell: int, cells: int, rng: np.random.Generator) -> SceneObject:
    row, col = divmod(int(cell), cells)
    x, y = (int((place + 0.5) * SIDE / cells * 2) / 2 for place in (col, row))
    return shape_at((x, y), color=name[0], shape=name[1], rgb=draw_rgb(rng, name[0]), radius=float(MIN_RADIUS))
