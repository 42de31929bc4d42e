"""The path of attention between the objects of one photo: a line over it, and shares by layer."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float
from matplotlib import patheffects
from matplotlib.collections import LineCollection
from matplotlib.colors import Normalize
from matplotlib.lines import Line2D

from interp.errors import InputError
from interp.layers import paper_layers
from interp.maps.trajectory import normalise
from interp.objects.sample import ROLES
from interp.plots.canvas import canvas, draw_boxes, panel_size
from interp.plots.style import (
    INK,
    LABEL,
    PALETTE,
    SEQUENTIAL,
    TICK,
    TITLE,
    cut_wide,
    figure_of,
    headline,
    in_percent,
    integer_ticks,
    join_words,
    layer_axis,
    legend_below,
    new_axes,
    tidy,
)
from interp.plots.written import as_written, write_out

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from PIL import Image

    from interp.image.boxes import Box
    from interp.image.grid import ImageGrid

LAYERS, STEPS = "layer", "answer token"  # what a path or film goes along
NAME_LENGTH = 26  # characters of an object's name in a legend
# A text of Matplotlib's would read pairs of dollar signs as mathematics.
HEADING: dict[str, Any] = {"fontsize": TITLE - 1, "loc": "left", "color": INK, "parse_math": False}


def attention_path(
    maps: Float[np.ndarray, "layer token"] | Sequence[np.ndarray], grid: ImageGrid
) -> Float[np.ndarray, "layer 2"]:
    """Where the attention's centroid lies in each layer, (x, y) in pixels of the photo.

    The mean of the centres of what the tokens saw, weighted by attention within the image; weight on padding is left
    out, and a layer without any is NaN. Even attention has its centroid near the middle of the seen part, so a path
    that stays there says little.

    Args:
        maps: attention over the image tokens, one row per layer, such as rows of `Trajectory.image_map`.
        grid: the geometry of the tokens.

    Example:
        >>> attention_path([measured.image_map(layer=layer) for layer in range(12)], grid).shape
        (12, 2)

    Raises:
        InputError: the maps do not fit the grid, or hold what can not be attention.
    """
    centres, sides = (grid.boxes[:, :2] + grid.boxes[:, 2:]) / 2, grid.boxes[:, 2:] - grid.boxes[:, :2]
    placed = shares_of(maps, grid) * (sides.min(axis=1) > 0)
    return normalise(placed, "image").astype(np.float64) @ centres


def mass_by_layer(
    maps: Float[np.ndarray, "layer token"] | Sequence[np.ndarray], grid: ImageGrid, boxes: Iterable[Box]
) -> tuple[Float[np.ndarray, " layer"], float]:
    """Share of the image's attention in some boxes, by layer, and what even attention would put there.

    Args:
        maps: attention over the image tokens, one row per layer.
        grid: the geometry of the tokens.
        boxes: the boxes of one object; where they overlap they count once.

    Raises:
        InputError: the maps do not fit the grid, or hold what can not be attention.
    """
    mask = grid.union_membership(list(boxes)).astype(np.float64)
    return shares_of(maps, grid).astype(np.float64) @ mask, float(mask.mean())


@as_written
def plot_attention_path(
    image: Image.Image,
    grid: ImageGrid,
    maps: Float[np.ndarray, "layer token"] | Sequence[np.ndarray],
    first: Sequence[Box],
    second: Sequence[Box] = (),
    *,
    axes: Sequence[Axes] | None = None,
    heads: str = "",
    title: str = "",
    question: str = "",
    answer: str = "",
) -> np.ndarray:
    """Draw the centroid of attention over the photo, layer after layer, and beside it the mass on both objects.

    Attention is normalised to sum to one over the image tokens. The line is coloured by layer, its ends are numbered,
    and the paper's layers have a ring; dashed lines are what even attention would put on each object.

    Args:
        image: the original photo.
        grid: the geometry of its tokens.
        maps: attention over the image tokens, one row for each layer of the model.
        first: boxes of the object that the question names first.
        second: boxes of the other one, if there is one.
        axes: where to draw, two; made if None.
        heads: the heads that the maps are of, in words, such as `head mean` or `head 3`; titles say no more than that.
        title: the title of the photo.
        question: what was asked; it stands above the photo up to its question mark.
        answer: what was said.

    Returns:
        The axes of the photo and of the masses, [2].

    Example:
        >>> maps = [measured.image_map(layer=layer) for layer in range(measured.n_layers)]
        >>> plot_attention_path(photo, grid, maps, [mug], [table], heads="head mean", question=question)

    Raises:
        InputError: the photo, maps or axes do not fit, or neither object has a box.
    """
    shares = shares_of(maps, grid)
    objects = check_objects(first, second)
    photo = canvas(image, grid)
    left, right = _two_axes(axes, grid, len(shares))
    photo.draw(left)
    _draw_line(left, attention_path(shares, grid))
    left.set_title(headline(title, question, answer, 44), **HEADING)
    note = join_words("line: centroid of the image's attention", heads)
    left.set_xlabel(f"{note}\n{left.get_xlabel()}".strip(), fontsize=TICK, color=INK)
    plot_masses(grid, shares, objects, right, heads=heads)
    write_out(figure_of(left))
    figure_of(left).draw_without_rendering()
    draw_boxes(left, photo, [box for boxes in objects.values() for box in boxes])
    return np.array([left, right], dtype=object)


def shares_of(maps: Float[np.ndarray, "layer token"] | Sequence[np.ndarray], grid: ImageGrid) -> np.ndarray:
    """Maps [layer token] that sum to one over the image; NaN rows where there is no attention.

    Raises:
        InputError: another shape, no layer, or weights that are negative or infinite.
    """
    values = np.asarray(maps, dtype=np.float32)
    if values.ndim != 2 or not len(values) or values.shape[1] != len(grid):
        raise InputError(f"maps have shape {values.shape} and the grid has {len(grid)} tokens: give [layer token]")
    if np.isinf(values).any() or (values < 0).any():
        raise InputError("maps hold negative weights or infinities: give attention over the image tokens")
    return normalise(values, "image")


def check_objects(first: Sequence[Box], second: Sequence[Box]) -> dict[str, Sequence[Box]]:
    """Boxes by role, of the roles that have some.

    Raises:
        InputError: neither has a box.
    """
    if not (found := objects_of(first, second)):
        raise InputError("neither object has a box, so there is nothing to set the attention against: give one")
    return found


def objects_of(first: Sequence[Box], second: Sequence[Box]) -> dict[str, Sequence[Box]]:
    """Boxes by role, of the roles that have some."""
    return {role: boxes for role, boxes in zip(ROLES, (first, second), strict=True) if len(boxes)}


def name_object(role: str, boxes: Sequence[Box]) -> str:
    """How an object is called in a legend: its label, cut short, and its role."""
    return f"{cut_wide(boxes[0].label, NAME_LENGTH) or 'object'} ({role})"


def _two_axes(axes: Sequence[Axes] | None, grid: ImageGrid, n_layers: int) -> list[Axes]:
    """The given two axes, or new ones: the photo in its shape, and curves."""
    if axes is not None:
        given = list(np.array(axes, dtype=object).ravel())
        if len(given) != 2:
            raise InputError(f"{len(given)} axes were given: give two, for the photo and for the masses, or none")
        return [given[0], new_axes(given[1], (4.2, 4.2), n_layers=n_layers)]
    import matplotlib.pyplot as plt

    width, height = panel_size(grid, width=4.2)
    size = (width + 5.2, min(max(height, 3.6), 6.0))
    return list(plt.subplots(1, 2, figsize=size, layout="compressed", width_ratios=(width, 4.2))[1])


def plot_masses(
    grid: ImageGrid,
    maps: np.ndarray,
    objects: dict[str, Sequence[Box]],
    ax: Axes,
    *,
    along: str = LAYERS,
    heads: str = "",
) -> None:
    """The share of the image's attention on each object by layer, with what even attention would put there.

    Args:
        grid: the geometry of the tokens.
        maps: shares of the image's attention, [layer token] or [step token].
        objects: boxes by role.
        ax: where to draw.
        along: what x is, `LAYERS` or `STEPS`.
        heads: the heads that the maps are of, in words.
    """
    layers = np.arange(len(maps))
    for (role, boxes), colour in zip(objects.items(), PALETTE, strict=False):
        mass, even = mass_by_layer(maps, grid, boxes)
        ax.plot(layers, mass, color=colour, linewidth=1.8, marker="o", markersize=3.2, label=name_object(role, boxes))
        ax.axhline(even, color=colour, linewidth=1.1, linestyle="--")
    ends: list[Any] = [Line2D([], [], color=INK, linewidth=1.1, linestyle="--", label="even attention")]
    if along == LAYERS:
        ends.append(layer_axis(ax, len(maps)))
    else:
        ax.set_xlim(-0.5, len(maps) - 0.5)
        integer_ticks(ax.xaxis, len(maps))
    ax.set_ylim(bottom=0)
    in_percent(ax.yaxis)
    x = f"{along} (0-based, of {len(maps)})"
    tidy(ax, title=join_words("On each object", heads), x=x, y="share of the image's attention")
    for text in legend_below(ax, *ends).get_texts():
        text.set_parse_math(False)


def _draw_line(ax: Axes, points: np.ndarray) -> None:
    """The centroids as a line coloured by layer, with a colour bar, numbered ends, and rings at the paper's layers."""
    last = len(points) - 1
    norm = Normalize(-0.5 if last == 0 else 0, max(last, 0.5))
    casing: dict[str, Any] = {"path_effects": [patheffects.withStroke(linewidth=3.4, foreground="white")]}
    steps = list(np.stack([points[:-1], points[1:]], axis=1))
    line = LineCollection(steps, cmap=SEQUENTIAL, norm=norm, linewidth=1.8, capstyle="round", **casing)
    line.set_array((np.arange(last) + 0.5) if last else np.array([]))
    ax.add_collection(line, autolim=False)
    dots: dict[str, Any] = {"cmap": SEQUENTIAL, "norm": norm, "s": 14, "edgecolors": "white", "linewidths": 0.6}
    ax.scatter(points[:, 0], points[:, 1], c=np.arange(last + 1), zorder=3, **dots)
    paper = points[list(paper_layers(len(points)))]
    ax.scatter(paper[:, 0], paper[:, 1], s=60, facecolors="none", edgecolors=INK, linewidths=1.3, zorder=4)
    for layer in sorted({0, last}):
        if np.isfinite(points[layer]).all():
            ax.annotate(
                str(layer),
                points[layer],
                xytext=(5, 5),
                textcoords="offset points",
                fontsize=TICK,
                color=INK,
                path_effects=[patheffects.withStroke(linewidth=2.4, foreground="white")],
                zorder=5,
            )
    bar = ax.figure.colorbar(line, ax=ax, fraction=0.05, pad=0.02)
    bar.set_label(f"layer (0-based, of {last + 1}); ring: the paper's", fontsize=LABEL - 1, color=INK)
    bar.ax.tick_params(labelsize=TICK - 1, colors=INK)
    integer_ticks(bar.ax.yaxis, last + 1)
