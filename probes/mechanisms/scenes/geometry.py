"""Scene geometry: canvas, items and gaps that lie exactly on whole image tokens of a model at hand."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from interp.datasets.synthetic.lines import AXES, ITEMS, PAPER_GEOMETRIES, LineGeometry
from interp.errors import InputError, RefusedError, SpatialLensError

if TYPE_CHECKING:
    from interp.image.grid import ImageGrid
    from interp.model.hooked_vlm import HookedVLM

LARGEST = 1024
"""Pixels of a side of the largest canvas that is tried."""

USUAL = 12
"""Tokens along a side that are aimed at where a model takes canvases of any size: those of Qwen2-VL in the paper."""


def geometry_of(vlm: HookedVLM, *, canvas: int | None = None) -> LineGeometry:
    """Where three items lie on a square canvas so that each covers whole image tokens of this model.

    What the model makes of a canvas is asked of its grid, for one side after another; nothing is run. Only sides that
    the image processor leaves as they are count. Of a model that sees a canvas whole and in tiles, which resizes it for
    one of the two or both, tokens are those of the whole, and each item covers whole tokens of all views. The paper's
    own geometries are kept where they hold, and otherwise the canvas has about as many tokens as there: items are then
    about a sixth of the tokens along a side, two at least where they fit, and as far apart.

    Args:
        vlm: the hooked model.
        canvas: the side of the canvas in pixels, to choose items and gap for that one alone.

    Raises:
        InputError: a canvas that can not be, or of which the model makes no whole tokens.
        RefusedError: there is none for this family; the message says why.

    Example:
        >>> geometry_of(vlm).describe()  # the embedded model
        'items of 2 x 2 tokens, 1 apart, on 8 x 8 tokens of 14 pixels (a canvas of 112 x 112)'
    """
    if canvas is not None:
        if isinstance(canvas, bool) or not isinstance(canvas, int) or canvas < ITEMS:
            raise InputError(f"canvas={canvas!r}: give the side in pixels, a whole number of {ITEMS} or more")
        found = _laid_out(vlm, canvas)
        if isinstance(found, str):
            raise InputError(f"on a canvas of {canvas} x {canvas} pixels items can not lie on whole tokens: {found}")
        return found
    tried = [_laid_out(vlm, side) for side in _sides(vlm)]
    fitting = [one for one in tried if not isinstance(one, str)]
    if not fitting:
        reasons = [one for one in tried if isinstance(one, str)]
        raise RefusedError(
            f"no canvas of up to {LARGEST} pixels lets items lie on whole tokens of the family {vlm.family.name}: "
            f"{_commonest(reasons)}; use another family"
        )
    return min(fitting, key=_rank)


def line_of(tokens: int) -> tuple[int, int] | None:
    """Item and gap, in tokens, for so many tokens along a side; None where three items do not fit.

    Example:
        >>> [line_of(tokens) for tokens in (24, 16, 12, 8, 4)]
        [(4, 4), (3, 3), (2, 2), (2, 1), (1, 0)]
    """
    for item in range(max(2, round(tokens / 6)), 0, -1):
        gap = min(item, (tokens - ITEMS * item) // (ITEMS - 1))
        if gap >= 1:
            return item, gap
    return (1, 0) if tokens >= ITEMS else None


def _laid_out(vlm: HookedVLM, side: int) -> LineGeometry | str:
    """The geometry on a canvas of this side, or why there is none."""
    try:
        grid = vlm.grid_of((side, side))
    except SpatialLensError as error:
        return str(error)
    base = grid.view == 0
    if not base.any():
        return "it sees a canvas in tiles alone, without a view of the whole"
    tokens = int(grid.cols[base].max()) + 1
    if (seen := float(grid.boxes[base].max())) < side - 1e-6:
        return f"its tokens show {seen:.3g} of {side} pixels along a side, and do not divide a canvas evenly"
    if not base.all() and side % tokens:
        shown = f"{side} x {side} pixels whole and in tiles, whole in {tokens} x {tokens} tokens"
        return f"it sees {shown}: of no whole pixels"
    token = _token(vlm) if base.all() else side // tokens
    if unfit := _unfit(grid, side, token):
        return unfit
    geometry = _geometry(tokens, token)
    return geometry if base.all() else _cut(grid, geometry) or geometry


def _token(vlm: HookedVLM) -> int:
    """Side of an image token, in pixels of what the vision tower takes."""
    patch = vlm.model.config.vision_config.patch_size
    return int(patch if isinstance(patch, int) else patch[0]) * vlm.family.merged(vlm.model.config)


def _unfit(grid: ImageGrid, side: int, token: int) -> str:
    """Why the view of the whole canvas is not made of whole square tokens; nothing where it is."""
    base = grid.view == 0
    lines, columns_of = grid.rows[base], grid.cols[base]
    rows, columns = int(lines.max()) + 1, int(columns_of.max()) + 1
    corners = np.stack([columns_of, lines, columns_of + 1, lines + 1], axis=1) * token
    if rows * token != side or columns * token != side or not np.allclose(grid.boxes[base], corners, atol=1e-6):
        return f"it makes {rows} x {columns} tokens of {side} x {side} pixels, none of {token} pixels: it is resized"
    return "" if line_of(rows) else f"{rows} x {columns} tokens are too few for {ITEMS} items"


def _cut(grid: ImageGrid, geometry: LineGeometry) -> str:
    """Why items do not lie on whole tokens of all tiles, as many each; nothing where they do."""
    slots = [slot for axis in AXES for slot in geometry.slots(axis)]
    shares = np.stack([grid.membership(slot) for slot in slots])
    whole = shares > 1 - 1e-6
    if (whole != (shares > 1e-6)).any():
        return "it sees a canvas whole and in tiles, and tokens of tiles are cut by the edges of items"
    counts = whole[:, grid.view > 0].sum(axis=1)
    return "" if (counts == counts[0]).all() else "it sees a canvas whole and in tiles, which show items in other parts"


def _geometry(tokens: int, patch_px: int) -> LineGeometry:
    for known in PAPER_GEOMETRIES.values():
        if (known.rows, known.patch_px) == (tokens, patch_px):
            return known
    item, gap = line_of(tokens) or (1, 0)
    return LineGeometry(tokens, tokens, patch_px, item=item, gap=gap)


def _rank(geometry: LineGeometry) -> tuple[bool, int]:
    """Least is best: the paper's own, then as many tokens as usual."""
    return geometry not in PAPER_GEOMETRIES.values(), abs(geometry.rows - USUAL)


def _sides(vlm: HookedVLM) -> range:
    """Sides of a canvas to try: whole tokens."""
    return range(_token(vlm) * ITEMS, max(LARGEST, _token(vlm) * ITEMS) + 1, _token(vlm))


def _commonest(reasons: list[str]) -> str:
    """The reason that most sides were unfit for, whatever numbers it names; as the first of them tells it."""
    kinds = [re.sub(r"[\d.]+", "#", one) for one in reasons]
    return reasons[kinds.index(max(dict.fromkeys(kinds), key=kinds.count))]
