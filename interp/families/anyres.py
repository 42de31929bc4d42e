"""The LLaVA-NeXT and LLaVA-OneVision families: the whole photo squeezed into one tile, then a mosaic of tiles."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from einops import rearrange, repeat

from interp.errors import InputError, ModelError
from interp.families import VIEWS_REMARK, Family, Tower
from interp.families.llava import CLIP, ENCODER

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from jaxtyping import Float64, Int

    from interp.image.grid import ImageGrid, View
    from interp.image.patches import Patches
    from interp.image.resizing import Axis

SHRUNK_ABOVE = 1.1
"""How far each side of LLaVA-OneVision's mosaic may exceed the limit before it is shrunk to it, as a factor."""

ANYRES_MAX = "anyres_max_"
"""What the setting of that limit, in tiles, begins with."""


def grid(image_size: tuple[int, int], processor: Any, config: Any) -> ImageGrid:
    """The image tokens of one photo of `image_size` (width, height) in LLaVA-NeXT."""
    return anyres_grid(image_size, processor.image_processor, config)


def onevision_grid(image_size: tuple[int, int], processor: Any, config: Any) -> ImageGrid:
    """The image tokens of one photo of `image_size` (width, height) in LLaVA-OneVision."""
    limit = config.vision_aspect_ratio
    if not limit.removeprefix(ANYRES_MAX).isdigit() or processor.vision_aspect_ratio != limit:
        raise ModelError(
            f"vision_aspect_ratio is {limit!r} in the model and {processor.vision_aspect_ratio!r} in its processor: "
            f"only one and the same {ANYRES_MAX}N is supported"
        )
    return anyres_grid(image_size, processor.image_processor, config, most_tiles=int(limit.removeprefix(ANYRES_MAX)))


def anyres_grid(
    image_size: tuple[int, int], image_processor: Any, config: Any, *, most_tiles: int | None = None
) -> ImageGrid:
    """The grid of a model that sees the photo twice: squeezed into one tile, and fitted into a mosaic of tiles.

    View 0 is the squeezed photo. View 1 is the mosaic, row after row across all tiles, with a placeholder for a row end
    after each row. The model cuts it to as many rows or columns of patches as the photo fills, rounded by its own
    rule, so that up to half a patch on either side is lost, or is padding.

    Args:
        image_size: (width, height) of the photo in pixels.
        image_processor: LLaVA-NeXT's or LLaVA-OneVision's of transformers.
        config: the model's configuration.
        most_tiles: shrink a mosaic of more patches than so many tiles have; None to leave it as it is.

    Raises:
        InputError: a mosaic that the model would shrink to nothing.
        ModelError: settings that the model or its processor do not run with, or that do not fit together.
    """
    import numpy as np

    from interp.image.grid import ImageGrid, grid_of_views

    _check_settings(image_processor, config)
    side, patch = config.vision_config.image_size, config.vision_config.patch_size
    whole = grid_of_views(image_size, [_squeezed(image_size, image_processor, side, patch)])
    axes = _mosaic(image_size, image_processor)
    cells = tuple(axis.length // side * (side // patch) for axis in axes)
    kept = _unpadded(image_size, cells)
    counts = _shrunk((len(kept[0]), len(kept[1])), most_tiles and most_tiles * (side // patch) ** 2)
    columns, lines = (
        Lanes.of_patches(axis, side, patch, own, count) for axis, own, count in zip(axes, kept, counts, strict=True)
    )
    rows, cols = rearrange(np.indices((counts[1], counts[0])), "index row col -> index (row col)")
    boxes = np.vstack(
        [whole.boxes, np.stack([columns.start[cols], lines.start[rows], columns.end[cols], lines.end[rows]], 1)]
    )
    return ImageGrid(
        image_size=image_size,
        boxes=boxes,
        rows=np.concatenate([whole.rows, rows]),
        cols=np.concatenate([whole.cols, cols]),
        view=np.repeat([0, 1], [len(whole), len(rows)]),
        seen=(*boxes[:, :2].min(0).tolist(), *boxes[:, 2:].max(0).tolist()),
        slots=np.concatenate([whole.slots, len(whole) + rows * (counts[0] + 1) + cols]),
        n_slots=len(whole) + counts[1] * (counts[0] + 1),
        reach=np.vstack([whole.reach, np.stack([columns.reach[cols], lines.reach[rows]], 1)]),
    )


def anyres_patches(grid: ImageGrid, processor: Any, config: Any) -> Patches:
    """The patches of the squeezed photo (view 0), then those of each tile (views from 1 on, row after row of tiles).

    A token of the mosaic is a patch, or a bilinear mix of up to four where the mosaic was shrunk. What the model cuts
    off at the mosaic's sides is in no token, and the other patches of a tile attend to it all the same.
    """
    import numpy as np

    from interp.image.grid import View, grid_of_views
    from interp.image.patches import Patches

    side, patch = config.vision_config.image_size, config.vision_config.patch_size
    across, per_tile = side // patch, (side // patch) ** 2
    x, y = _mosaic(grid.image_size, processor.image_processor)
    corners = [(left, top) for top in range(0, y.length, side) for left in range(0, x.length, side)]
    tiles = [
        View.of_axes(x.moved(-left, side), y.moved(-top, side), (patch, patch), number=number)
        for number, (left, top) in enumerate(corners, start=1)
    ]
    whole = _squeezed(grid.image_size, processor.image_processor, side, patch)
    kept = _unpadded(grid.image_size, (x.length // side * across, y.length // side * across))
    own = grid.view == 1
    (cols, col_shares), (rows, row_shares) = (
        _mixed(patches, lines[own]) for patches, lines in zip(kept, (grid.cols, grid.rows), strict=True)
    )
    rows, cols = rows[:, :, None], cols[:, None, :]
    tile = 1 + rows // across * (x.length // side) + cols // across
    mosaic = tile * per_tile + rows % across * across + cols % across
    shares = row_shares[:, :, None] * col_shares[:, None, :]
    by_token = "token down across -> token (down across)"
    return Patches(
        grid=grid_of_views(grid.image_size, [whole, *tiles]),
        sources=np.vstack([repeat(np.arange(per_tile), "patch -> patch 4"), rearrange(mosaic, by_token)]),
        shares=np.vstack(
            [repeat(np.array([1.0, 0, 0, 0]), "part -> patch part", patch=per_tile), rearrange(shares, by_token)]
        ),
    )


def _mixed(kept: range, lines: np.ndarray) -> tuple[Int[np.ndarray, "token 2"], Float64[np.ndarray, "token 2"]]:
    """The patches that bilinear interpolation mixes into tokens on these lines along one axis, and what each counts."""
    import numpy as np

    count = int(lines.max(initial=0)) + 1
    place = (2 * lines + 1) * len(kept) / (2 * count) - 0.5
    first = np.floor(place).astype(np.int64)
    both = np.stack([first, np.minimum(first + 1, len(kept) - 1)], axis=1)
    return kept.start + both, np.stack([first + 1 - place, place - first], axis=1)


def _squeezed(image_size: tuple[int, int], image_processor: Any, side: int, patch: int) -> View:
    """The whole photo as one tile."""
    from interp.image.grid import View
    from interp.image.resizing import Axis, filter_radius

    radius = filter_radius(image_processor)
    x, y = (Axis(length, length).resized(side, radius) for length in image_size)
    return View.of_axes(x, y, (patch, patch))


def _mosaic(image_size: tuple[int, int], image_processor: Any) -> tuple[Axis, Axis]:
    """The axes of the photo in the mosaic, with padding on both sides."""
    from interp.image.resizing import Axis, filter_radius

    radius = filter_radius(image_processor)
    canvas = _best_canvas(image_size, image_processor.image_grid_pinpoints)
    x, y = (
        _centred(Axis(length, length).resized(new, radius), full)
        for length, new, full in zip(image_size, _fitted(image_size, canvas), canvas, strict=True)
    )
    return x, y


@dataclass(frozen=True, eq=False)
class Lanes:
    """The columns of a mosaic, or its rows, in pixels of the photo.

    Attributes:
        start: where each begins.
        end: where each ends; the next may begin later, as patches need not fill a tile to its end.
        reach: how far each may have seen beyond that.
    """

    start: Float64[np.ndarray, " lane"]
    end: Float64[np.ndarray, " lane"]
    reach: Float64[np.ndarray, " lane"]

    @classmethod
    def of_patches(cls, axis: Axis, side: int, patch: int, kept: range, count: int) -> Lanes:
        """Share the patches `kept` of a mosaic of tiles evenly among `count` tokens.

        Bilinear interpolation mixes a token from the two patches next to its centre, or takes the one that is there.
        These reach beyond the token's share, or leave out some of it: `reach` is the larger of the two. Where patches
        leave pixels over at the end of a tile, a share across it has a hole that no number tells of, and `reach` is at
        least half of it, so that nothing inside is claimed.
        """
        import numpy as np

        taps = list(_taps(len(kept), count))
        share = Fraction(len(kept), count or 1)
        starts = [kept.start + place * share for place in range(count)]
        start = axis.to_photo(_begin(place, side, patch) for place in starts)
        end = axis.to_photo(_finish(place + share, side, patch) for place in starts)
        first = axis.to_photo(_begin(Fraction(kept.start + tap.start), side, patch) for tap in taps)
        last = axis.to_photo(_finish(Fraction(kept.start + tap.stop), side, patch) for tap in taps)
        reach = np.maximum(abs(start - first), abs(end - last))
        if side % patch:
            across = [place // (side // patch) != _last_tile(place + share, side // patch) for place in starts]
            reach = np.maximum(reach, np.where(across, (end - start) / 2, 0.0))
        return cls(start, end, reach + float(axis.reach))


def _taps(length: int, count: int) -> Iterator[range]:
    """The patches, out of `length`, that bilinear interpolation to `count` tokens mixes into each of them."""
    for token in range(count):
        place = Fraction(2 * token + 1, 2) * length / count - Fraction(1, 2)
        yield range(math.floor(place), math.ceil(place) + 1)


def _begin(place: Fraction, side: int, patch: int) -> Fraction:
    """The pixel of the mosaic where what comes after a place, counted in patches, begins."""
    before, within = divmod(place, side // patch)
    return before * side + within * patch


def _finish(place: Fraction, side: int, patch: int) -> Fraction:
    """The pixel of the mosaic where what comes before a place, counted in patches, ends."""
    before = _last_tile(place, side // patch)
    return before * side + (place - before * (side // patch)) * patch


def _last_tile(place: Fraction, patches: int) -> int:
    """The tile of so many patches in which what comes before a place ends."""
    return math.ceil(place / patches) - 1


def _best_canvas(image_size: tuple[int, int], pinpoints: list[list[int]]) -> tuple[int, int]:
    """Width and height of the mosaic, as the processor chooses it."""
    from transformers.image_processing_utils import select_best_resolution

    height, width = select_best_resolution(image_size[::-1], pinpoints)
    return width, height


def _fitted(image_size: tuple[int, int], canvas: tuple[int, int]) -> tuple[int, int]:
    """Width and height of the photo in the mosaic: as large as fits, parts of a pixel rounded up."""
    scales = [full / length for full, length in zip(canvas, image_size, strict=True)]
    tight = 0 if scales[0] < scales[1] else 1
    loose = 1 - tight
    other = min(math.ceil(image_size[loose] * scales[tight]), canvas[loose])
    return (canvas[0], other) if tight == 0 else (other, canvas[1])


def _centred(axis: Axis, length: int) -> Axis:
    """Pad both sides alike, the end by one more where the padding is odd."""
    return axis.moved((length - axis.length) // 2, length)


def _unpadded(image_size: tuple[int, int], cells: tuple[int, ...]) -> tuple[range, range]:
    """The columns and rows of patches that are left when the model takes the padding off, as it rounds it."""
    (width, height), (cols, rows) = image_size, cells
    across = width / height > cols / rows
    length, tight, loose, full = (height, width, rows, cols) if across else (width, height, cols, rows)
    margin = (loose - int(round(length * (full / tight), 7))) // 2
    left = range(margin, loose - margin)
    return (range(cols), left) if across else (left, range(rows))


def _shrunk(kept: tuple[int, int], most: int | None) -> tuple[int, int]:
    """Columns and rows of tokens that are made of those of patches, where at most so many are allowed."""
    factor = math.sqrt(kept[0] * kept[1] / most) if most else 1.0
    if factor <= SHRUNK_ABOVE:
        return kept
    cols, rows = (int(length // factor) for length in kept)
    if not cols * rows:
        raise InputError(
            f"the photo is so narrow that the model would shrink its {kept[0]} x {kept[1]} patches to {cols} x {rows}: "
            "crop it to the part that matters"
        )
    return cols, rows


def _check_settings(image_processor: Any, config: Any) -> None:
    """Refuse settings with which the model does not run, or whose geometry is another one.

    Raises:
        ModelError: there are such, by name.
    """
    from interp.image.resizing import check_steps

    check_steps(image_processor, "LlavaNextImageProcessor", "LlavaOnevisionImageProcessor")
    side = config.vision_config.image_size
    sizes = {name: dict(getattr(image_processor, name) or {}) for name in ("size", "crop_size")}
    if any(length not in (None, side) for size in sizes.values() for length in size.values()):
        raise ModelError(
            f"the image processor makes tiles by size {sizes['size']} and crop_size {sizes['crop_size']}, and the "
            f"vision tower takes {side} x {side} pixels: only tiles that are neither resized nor cropped are supported"
        )
    pinpoints = [list(each) for each in image_processor.image_grid_pinpoints]
    if pinpoints != [list(each) for each in config.image_grid_pinpoints]:
        raise ModelError("image_grid_pinpoints of the image processor and of the model differ: use the model's own")
    if any(length % side for each in pinpoints for length in each):
        raise ModelError(f"image_grid_pinpoints {pinpoints} are not made of whole tiles of {side} pixels")
    drops_first = config.vision_feature_select_strategy == "default"
    if drops_first != (config.vision_config.model_type == "clip_vision_model"):
        raise ModelError(
            f"vision_feature_select_strategy {config.vision_feature_select_strategy!r} does not leave one feature for "
            f"each patch of {config.vision_config.model_type!r}, so the model can not lay its tiles out"
        )


_SCALED = Tower("model.language_model.layers", gains=("residual_multiplier", "residual_multiplier"))

LLAVA_NEXT = Family(
    name="llava_next",
    model_types=("llava_next",),
    texts={"granite": _SCALED},
    vision={"clip_vision_model": CLIP, "siglip_vision_model": ENCODER},
    grid=grid,
    remarks=VIEWS_REMARK,
    patches=anyres_patches,
)

LLAVA_ONEVISION = Family(
    name="llava_onevision",
    model_types=("llava_onevision",),
    vision={"clip_vision_model": CLIP, "siglip_vision_model": ENCODER},
    grid=onevision_grid,
    remarks=VIEWS_REMARK,
    patches=anyres_patches,
)

FAMILIES = (LLAVA_NEXT, LLAVA_ONEVISION)
