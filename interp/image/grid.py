"""ImageGrid: which pixels of the original photo each image token saw, with resize, crop and padding undone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from einops import einsum, rearrange

from interp.errors import InputError
from interp.image.boxes import Box, Boxes
from interp.numeric import percentage, real
from interp.reprs import fits_a_cell

if TYPE_CHECKING:
    from jaxtyping import Float32, Float64, Int, Real

    from interp.image.resizing import Axis

AnyBox = Box | Sequence[float]
"""A `Box`, or its corners (x0, y0, x1, y1) in pixels of the photo."""


@fits_a_cell("image_size seen boxes rows cols view")
@dataclass(frozen=True, eq=False)
class ImageGrid:
    """The geometry of one photo's image tokens.

    All coordinates are pixels of the original photo: x to the right, y down, (0, 0) the top left corner of the top left
    pixel. A token's box is what falls into its patch; resampling lets it see a few pixels around that, more faintly.

    Attributes:
        image_size: (width, height) of the photo in pixels.
        boxes: corners (x0, y0, x1, y1) of what each token saw, clipped to the photo, in the order of the prompt. A
            token that saw nothing but padding has a box without area.
        rows: row of each token in its view.
        cols: column of each token in its view.
        view: 0 for the view of the whole photo, 1 and up for tiles.
        seen: corners of the part of the photo that the model saw.
        slots: the image placeholder of the prompt that each token fills, int64 [token]; some families fill others with
            row ends. One after another by default.
        n_slots: how many image placeholders the prompt has; as many as there are tokens by default.
        reach: how far beyond its box, to the sides and up and down, resampling lets a token see at most, in pixels
            (x, y) [token 2]; 0 by default.

    Example:
        >>> from interp.families.llava import llava_grid
        >>> grid = llava_grid((640, 480), processor.image_processor, patch_size=14, tower_size=336)
        >>> grid.seen, len(grid)
        ((80.0, 0.0, 560.0, 480.0), 576)
        >>> print(grid.membership(Box("mug", (80, 0, 90, 10)))[0])  # the first token covers 20 x 20 pixels
        0.25
    """

    image_size: tuple[int, int]
    boxes: Float64[np.ndarray, "token 4"]
    rows: Int[np.ndarray, " token"]
    cols: Int[np.ndarray, " token"]
    view: Int[np.ndarray, " token"]
    seen: tuple[float, float, float, float]
    slots: Any = None
    n_slots: int = 0
    reach: Any = 0.0

    def __post_init__(self) -> None:
        """Refuse parts that do not fit together, and keep read-only copies."""
        boxes = np.array(self.boxes, dtype=np.float64).reshape(-1, 4)
        if not _all_inside(np.vstack([boxes, self.seen]), self.image_size) or not _area(self.seen) > 0:
            raise InputError(f"token boxes leave the photo of {self.image_size} pixels, or nothing was seen: clip them")
        if self.slots is None:
            object.__setattr__(self, "slots", np.arange(len(boxes)))
            object.__setattr__(self, "n_slots", len(boxes))
        parts = {name: np.array(getattr(self, name), dtype=np.int64) for name in ("rows", "cols", "view", "slots")}
        reach = np.array(self.reach, dtype=np.float64)
        reach = np.tile(reach, (len(boxes), 2)) if reach.ndim == 0 else reach
        for name, array in {"boxes": boxes, "reach": reach, **parts}.items():
            if not len(boxes) == len(array) > 0:
                raise InputError(f"{name} has {len(array)} entries for {len(boxes)} tokens: give one for each token")
            array.setflags(write=False)
            object.__setattr__(self, name, array)
        if (np.diff(self.slots) <= 0).any() or self.slots[0] < 0 or self.slots[-1] >= self.n_slots:
            raise InputError(f"slots are not ascending places among {self.n_slots} placeholders: number them in order")

    def __len__(self) -> int:
        """Count the tokens."""
        return len(self.boxes)

    @property
    def unseen_share(self) -> float:
        """Fraction of the photo's area that the model never saw, in [0, 1]."""
        width, height = self.image_size
        return 1.0 - _area(self.seen) / (width * height)

    def describe(self) -> str:
        """Say in one sentence what the model saw of the photo.

        Example:
            >>> grid.describe()
            'The model saw x 80 to 560 and y 0 to 480 of the photo of 640 x 480 pixels, through 24 rows x 24 columns
            of tokens; it never saw 25.0 % of it (left, right).'
        """
        width, height = self.image_size
        x0, y0, x1, y1 = self.seen
        views = len(np.unique(self.view))
        shape = f"{self.rows.max() + 1} rows x {self.cols.max() + 1} columns of tokens"
        tokens = shape if views == 1 else f"{len(self)} tokens in {views} views"
        cut = {"left": x0, "right": width - x1, "top": y0, "bottom": height - y1}
        sides = ", ".join(side for side, pixels in cut.items() if pixels > 1e-6)
        if not sides:
            return f"The model saw the whole photo of {width} x {height} pixels, through {tokens}."
        return (
            f"The model saw x {x0:.0f} to {x1:.0f} and y {y0:.0f} to {y1:.0f} of the photo of {width} x {height} "
            f"pixels, through {tokens}; it never saw {percentage(self.unseen_share)} % of it ({sides})."
        )

    def membership(self, box: AnyBox) -> Float32[np.ndarray, " token"]:
        """Share of each token's own area that lies inside the box, in [0, 1].

        A box smaller than a token gets a small share, never nothing; what lies outside the photo, or in a part that was
        not seen, counts for nothing. A token that saw only padding gets 0.

        Raises:
            InputError: corners that are not finite or not in order.
        """
        return self.union_membership([box])

    def union_membership(self, boxes: Boxes | Iterable[AnyBox]) -> Float32[np.ndarray, " token"]:
        """Share of each token's own area covered by the boxes together; where they overlap they count once."""
        covered = _covered_area(self.boxes, _corners(boxes))
        own = _areas(self.boxes)
        share = np.divide(covered, own, out=np.zeros(len(self)), where=own > 0)
        return share.clip(0.0, 1.0).astype(np.float32)

    def tokens_in(self, boxes: AnyBox | Boxes | Iterable[AnyBox], *, at_least: float = 0.5) -> tuple[int, ...]:
        """Numbers of the tokens of which the boxes cover this share or more, such as an intervention is aimed at.

        Args:
            boxes: one box, or several that count together.
            at_least: share of a token's own area, above 0 and up to 1; a lower one takes smaller boxes too.

        Example:
            >>> grid.tokens_in((80, 0, 120, 20))  # two tokens of 20 x 20 pixels
            (0, 1)

        Raises:
            InputError: no token is covered so far, or the share is not above 0 and up to 1.
        """
        if not 0 < real(at_least) <= 1:
            raise InputError(f"at_least={at_least!r}: give a share of a token's area, above 0 and up to 1")
        found = np.flatnonzero(self.union_membership(_corners(boxes).tolist()) >= at_least - 1e-6)
        if not len(found):
            raise InputError(
                f"no image token has {at_least:.0%} or more of its area in the boxes, so small are they: widen them"
            )
        return tuple(found.tolist())

    def area_share(self, boxes: AnyBox | Boxes | Iterable[AnyBox]) -> float:
        """Share of the seen area that the boxes cover together, in [0, 1].

        It is the chance level: what attention spread evenly over the seen area would put in them.
        """
        covered = _covered_area(np.array([self.seen]), _corners(boxes))
        return float(covered[0] / _area(self.seen))

    def seen_share(self, box: AnyBox) -> float:
        """Share of the box's own area that the model saw, in [0, 1]; below 1 where crop or photo cut it off."""
        corners = _corners(box)
        return float(_covered_area(np.array([self.seen]), corners)[0] / _areas(corners)[0])

    def as_grid(
        self, values: Real[np.ndarray, "*axes token"], *, view: int | None = None
    ) -> Real[np.ndarray, "*axes row col"]:
        """Lay values per token out in rows and columns: of one view, which has to be named where there are several.

        Raises:
            InputError: several views and none named, a view that is not there, or another number of values than tokens.
        """
        values = self._per_token(values)
        own = self.view == (self.view[0] if view is None else view)
        if not own.any() or (view is None and not own.all()):
            raise InputError(f"the grid has views {np.unique(self.view).tolist()}: name one of them, such as view=0")
        rows, cols = self.rows[own], self.cols[own]
        laid_out = np.full((*values.shape[:-1], rows.max() + 1, cols.max() + 1), np.nan, dtype=values.dtype)
        laid_out[..., rows, cols] = values[..., own]
        return laid_out

    def to_pixels(
        self, values: Real[np.ndarray, " token"], *, max_side: int | None = None
    ) -> Float32[np.ndarray, "height width"]:
        """Paint values per token over the photo.

        Each pixel gets the value of the token in whose box its centre lies, the mean over views where there are
        several, and NaN where the model saw nothing.

        Args:
            values: one number per token.
            max_side: draw the map smaller, so that neither side has more pixels than this. It covers the same photo.

        Raises:
            InputError: another number of values than tokens, or a `max_side` below 1.
        """
        values = self._per_token(values).astype(np.float32)
        if values.ndim != 1:
            raise InputError(
                f"values have shape {values.shape}: give one number per token, one head and layer at a time"
            )
        width, height = self._raster_size(max_side)
        total, views = np.zeros((height, width), dtype=np.float32), np.zeros((height, width), dtype=np.uint8)
        scale = np.array([width, height] * 2) / np.array(self.image_size * 2)
        spans = np.ceil(self.boxes * scale - 0.5).astype(int)  # pixel i is painted if x0 <= i + 0.5 < x1
        for value, (x0, y0, x1, y1) in zip(values, spans, strict=True):
            total[y0:y1, x0:x1] += value
            views[y0:y1, x0:x1] += 1
        np.divide(total, views, out=total, where=views > 0)
        total[views == 0] = np.nan
        return total

    def _per_token(self, values: Any) -> np.ndarray:
        values = np.asarray(values)
        if not values.ndim or values.shape[-1] != len(self):
            raise InputError(
                f"values of shape {values.shape} for {len(self)} image tokens: the last axis must be the token"
            )
        return values if np.issubdtype(values.dtype, np.floating) else values.astype(np.float32)

    def _raster_size(self, max_side: int | None) -> tuple[int, int]:
        if max_side is not None and max_side < 1:
            raise InputError(f"max_side is {max_side}: give at least 1 pixel")
        width, height = self.image_size
        shrink = 1.0 if max_side is None else min(1.0, max_side / max(width, height))
        return max(1, round(width * shrink)), max(1, round(height * shrink))


@fits_a_cell()
@dataclass(frozen=True, eq=False)
class View:
    """One lattice of tokens over the pixels that a tower took.

    Attributes:
        xs: edges of its columns, in pixels of the photo, ascending.
        ys: edges of its rows, in pixels of the photo, ascending.
        number: 0 for the view of the whole photo, 1 and up for tiles.
        reach: how far beyond its box a token may have seen, in pixels of the photo, (x, y).
    """

    xs: Float64[np.ndarray, " col_edge"]
    ys: Float64[np.ndarray, " row_edge"]
    number: int = 0
    reach: tuple[float, float] = (0.0, 0.0)

    @classmethod
    def of_axes(cls, x: Axis, y: Axis, token: tuple[int, int], *, number: int = 0) -> View:
        """Cut the pixels that a tower took, followed by `x` and `y`, into tokens of (width, height) of those pixels."""
        edges = (range(0, axis.length // side * side + 1, side) for axis, side in zip((x, y), token, strict=True))
        xs, ys = (axis.to_photo(places) for axis, places in zip((x, y), edges, strict=True))
        return cls(xs, ys, number, (float(x.reach), float(y.reach)))


def grid_of_views(
    image_size: tuple[int, int], views: Sequence[View], *, slots: Sequence[int] | None = None, n_slots: int = 0
) -> ImageGrid:
    """The grid of one photo whose image tokens come view after view, each view row after row.

    Args:
        image_size: (width, height) of the photo in pixels.
        views: the views in the order of the prompt.
        slots: the placeholder that each token fills, where others (row ends) lie between them; see `ImageGrid`.
        n_slots: how many placeholders there are then.
    """
    shapes = [(len(view.ys) - 1, len(view.xs) - 1) for view in views]
    places = [rearrange(np.indices(shape), "index row col -> index (row col)") for shape in shapes]
    boxes = [
        np.stack([view.xs[cols], view.ys[rows], view.xs[cols + 1], view.ys[rows + 1]], axis=1)
        for view, (rows, cols) in zip(views, places, strict=True)
    ]
    rows, cols = np.concatenate(places, axis=1)
    counts = [len(part) for part in boxes]
    number = np.repeat([view.number for view in views], counts)
    reach = np.repeat([view.reach for view in views], counts, axis=0)
    edges_x, edges_y = np.concatenate([view.xs for view in views]), np.concatenate([view.ys for view in views])
    seen = (float(edges_x.min()), float(edges_y.min()), float(edges_x.max()), float(edges_y.max()))
    return ImageGrid(image_size, np.concatenate(boxes), rows, cols, number, seen, slots, n_slots, reach)


def _corners(boxes: AnyBox | Boxes | Iterable[AnyBox]) -> Float64[np.ndarray, "box 4"]:
    """Corners of one box or several, each checked."""
    if isinstance(boxes, Boxes):
        return boxes.xyxy
    several: list[Any] = [boxes] if isinstance(boxes, Box) else list(boxes)
    if len(several) == 4 and all(np.isscalar(corner) for corner in several):
        several = [several]  # the corners of one box
    checked = [box if isinstance(box, Box) else _box_of_corners(box) for box in several]
    return np.array([box.xyxy for box in checked], dtype=np.float64).reshape(-1, 4)


def _box_of_corners(corners: Any) -> Box:
    values = np.asarray(corners, dtype=np.float64)
    if values.shape != (4,):
        raise InputError(f"a box was given as {corners!r}: give (x0, y0, x1, y1) in pixels of the image")
    x0, y0, x1, y1 = values.tolist()
    return Box("box", (x0, y0, x1, y1))


def _covered_area(
    regions: Real[np.ndarray, "region 4"], boxes: Float64[np.ndarray, "box 4"]
) -> Float64[np.ndarray, " region"]:
    """Area of each region that the boxes cover together, exact.

    The edges of the boxes cut the plane into cells that are wholly inside or outside each box; the area is then a sum
    over covered cells of the region's overlap along x times that along y.
    """
    xs, ys = np.unique(boxes[:, 0::2]), np.unique(boxes[:, 1::2])
    along_x = (boxes[:, 0, None] <= xs[:-1]) & (xs[1:] <= boxes[:, 2, None])  # [box cell]
    along_y = (boxes[:, 1, None] <= ys[:-1]) & (ys[1:] <= boxes[:, 3, None])
    covered = einsum(along_x.astype(np.float64), along_y.astype(np.float64), "box x, box y -> x y") > 0
    inside_x, inside_y = _overlap(regions[:, 0], regions[:, 2], xs), _overlap(regions[:, 1], regions[:, 3], ys)
    return ((inside_x @ covered) * inside_y).sum(axis=1)


def _overlap(start: np.ndarray, end: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Length of each interval inside each cell between two edges, [interval cell]."""
    return (np.minimum(end[:, None], edges[1:]) - np.maximum(start[:, None], edges[:-1])).clip(min=0.0)


def _all_inside(boxes: np.ndarray, image_size: tuple[int, int]) -> bool:
    """Whether corners are in order, and none outside the photo."""
    start, end = boxes[:, :2], boxes[:, 2:]
    return bool((start >= 0).all() and (start <= end).all() and (end <= image_size).all())


def _areas(boxes: np.ndarray) -> np.ndarray:
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])


def _area(corners: tuple[float, float, float, float]) -> float:
    x0, y0, x1, y1 = corners
    return (x1 - x0) * (y1 - y0)
