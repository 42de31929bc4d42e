"""Samples of lines and grids: pictures of items whose places are known, for probes that are asked nothing."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import numpy as np

from interp.datasets.synthetic.line_items import Item, compatible
from interp.datasets.synthetic.lines import ITEMS, Line, LineGeometry, check_axis, draw_grid, draw_line
from interp.errors import InputError
from interp.objects.sample import Object, Sample
from probes.mechanisms.scenes.line_pairs import Setting, draw_items

if TYPE_CHECKING:
    from collections.abc import Sequence

NEUTRAL = "Describe the image."
"""What such samples ask, as the paper does where it reads embeddings."""


def line_samples(
    setting: Setting, geometry: LineGeometry, *, axis: str, n: int = 120, seed: int = 0, question: str = NEUTRAL
) -> list[Sample]:
    """Draw lines of three items along an axis; 120 are all orders of six items, as in the paper.

    Args:
        setting: the pool of items.
        geometry: where items lie.
        axis: `horizontal` or `vertical`.
        n: how many, drawn without repetition.
        seed: of the draws.
        question: what they ask.

    Returns:
        Samples whose objects are the three items with boxes, and whose `meta` holds `items`, `words`, `axis`, `slots`
        (0, 1, 2), `geometry` and `boxes`. Lines of the same three items are one group.

    Raises:
        InputError: an axis that is not known, or fewer lines than were asked for.

    Example:
        >>> samples = line_samples(setting_of("shapes"), PAPER_GEOMETRIES["qwen2vl"], axis="vertical")
        >>> len(samples), samples[0].meta["slots"]
        (120, [0, 1, 2])
    """
    check_axis(axis)
    rng = np.random.default_rng([seed, ("horizontal", "vertical").index(axis), ITEMS])
    samples = []
    for place, items in enumerate(draw_items(setting.items, "reversed", n, rng)):
        line = draw_line(items, axis, geometry, canvas=setting.canvas)
        name = f"{setting.name}-{axis}-{seed}-{place:04d}"
        samples.append(_sample(name, setting, geometry, items, line, question, axis=axis, slots=list(range(ITEMS))))
    return samples


def grid_samples(
    setting: Setting, geometry: LineGeometry, k: int, *, n: int = 90, seed: int = 0, question: str = NEUTRAL
) -> list[Sample]:
    """Draw grids of k x k items, such as the 2 x 2 and 3 x 3 of the paper's appendix.

    Items of a grid differ while there are enough of them; where there are not, each occurs as often as any other, to
    one.

    Args:
        setting: the pool of items.
        geometry: where items lie.
        k: items along a side.
        n: how many grids.
        seed: of the draws.
        question: what they ask.

    Returns:
        Samples with one object for each item, row after row, and `meta` with `items`, `words`, `rows` and `columns`
        (the place of each item), `geometry` and `boxes`. Each grid is a group.

    Raises:
        InputError: numbers below 1 or a canvas that is too small.

    Example:
        >>> samples = grid_samples(setting_of("squares"), PAPER_GEOMETRIES["qwen2vl"], 3)
        >>> len(samples), samples[0].meta["rows"]
        (90, [0, 0, 0, 1, 1, 1, 2, 2, 2])
    """
    if isinstance(n, bool) or not isinstance(n, int) or n < 1:
        raise InputError(f"n={n!r} grids: give a whole number of 1 or more")
    cells = geometry.cells(k)
    rows, columns = (values.ravel().tolist() for values in np.indices((k, k)))
    samples = []
    for place in range(n):
        items = _strewn(setting, len(cells), np.random.default_rng([seed, k, place]))
        grid = draw_grid(items, k, geometry, canvas=setting.canvas)
        name = f"{setting.name}-grid-{k}-{seed}-{place:04d}"
        samples.append(_sample(name, setting, geometry, items, grid, question, rows=rows, columns=columns))
    return samples


def _strewn(setting: Setting, count: int, rng: np.random.Generator) -> list[Item]:
    """So many items in a random order: the whole pool as often as it goes into them, then some that differ."""
    pool = setting.items
    whole, left = divmod(count, len(pool))
    for _ in range(1000):
        some = [pool[place] for place in rng.permutation(len(pool))[:left]]
        if whole or compatible(some):
            break
    items = [*pool * whole, *some]
    return [items[place] for place in rng.permutation(count)]


def _sample(
    name: str,
    setting: Setting,
    geometry: LineGeometry,
    items: Sequence[Item],
    drawn: Line,
    question: str,
    **places: object,
) -> Sample:
    words = [item.word for item in items]
    line = "axis" in places
    return Sample(
        id=name,
        image=drawn.image,
        question=question,
        options=(),
        answer=", ".join(words),
        objects=tuple(Object(box.label, box) for box in drawn.boxes),
        relation=str(places.get("axis", "grid")),
        group=f"{setting.name}-" + "|".join(sorted(item.name for item in items)) if line else name,
        meta={
            "dataset": f"lines-{setting.name}",
            "items": [item.name for item in items],
            "words": words,
            "geometry": asdict(geometry),
            "boxes": drawn.boxes,
            **places,
        },
    )
