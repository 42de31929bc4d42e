"""The path of attention between the objects of one photo: a line over it, shares by layer, and an animation."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float
from matplotlib import patheffects
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D

from interp.errors import InputError
from interp.plots.canvas import canvas, draw_boxes, panel_size
from interp.plots.maps import LABELS
from interp.plots.style import (
    INK,
    LABEL,
    PALETTE,
    SEQUENTIAL,
    TICK,
    TITLE,
    figure_of,
    integer_ticks,
    layer_axis,
    legend_below,
    over_photo,
    tidy,
)
from interp.trajectory import normalise, paper_layers

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.image import AxesImage
    from PIL import Image

    from interp.boxes import Box
    from interp.grid import ImageGrid

ROLES = ("first", "second")
NAME_LENGTH = 26  # characters of an object's name in a legend
# A text of Matplotlib's would read pairs of dollar signs as mathematics.
_HEADING: dict[str, Any] = {"fontsize": TITLE - 1, "loc": "left", "color": INK, "parse_math": False}


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
        boxes: of one object; where they overlap they count once.

    Raises:
        InputError: the maps do not fit the grid, or hold what can not be attention.
    """
    mask = grid.union_membership(list(boxes)).astype(np.float64)
    return shares_of(maps, grid).astype(np.float64) @ mask, float(mask.mean())


def plot_attention_path(
    image: Image.Image,
    grid: ImageGrid,
    maps: Float[np.ndarray, "layer token"] | Sequence[np.ndarray],
    first: Sequence[Box],
    second: Sequence[Box] = (),
    *,
    axes: Sequence[Axes] | None = None,
    title: str = "",
) -> np.ndarray:
    """Draw the centroid of attention over the photo, layer after layer, and beside it the mass on both objects.

    Attention is normalised to sum to one over the image tokens. The line is coloured by layer, its ends are numbered,
    and the paper's layers have a ring; dashed lines are what even attention would put on each object.

    Args:
        image: the original photo.
        grid: the geometry of its tokens.
        maps: attention over the image tokens, one row per layer.
        first: boxes of the object that the question names first.
        second: boxes of the other one, if there is one.
        axes: where to draw, two; made if None.
        title: of the photo, such as question and answer.

    Returns:
        The axes of the photo and of the masses, [2].

    Example:
        >>> maps = [measured.image_map(layer=layer) for layer in range(measured.n_layers)]
        >>> plot_attention_path(photo, grid, maps, [mug], [table])[0].figure.savefig("path.png")

    Raises:
        InputError: the photo, maps or axes do not fit, or neither object has a box.
    """
    shares = shares_of(maps, grid)
    objects = check_objects(first, second)
    photo = canvas(image, grid)
    left, right = _two_axes(axes, grid)
    photo.draw(left)
    _draw_line(left, attention_path(shares, grid))
    left.set_title(textwrap.fill(title, 44), **_HEADING)
    note = "line: centroid of the image's attention, head mean"
    left.set_xlabel(f"{note}\n{left.get_xlabel()}".strip(), fontsize=TICK, color=INK)
    _plot_masses(grid, shares, objects, right)
    figure_of(left).draw_without_rendering()
    draw_boxes(left, photo, drawable(box for boxes in objects.values() for box in boxes))
    return np.array([left, right], dtype=object)


def save_path_gif(
    path: str | Path,
    image: Image.Image,
    grid: ImageGrid,
    maps: Float[np.ndarray, "layer token"] | Sequence[np.ndarray],
    first: Sequence[Box],
    second: Sequence[Box] = (),
    *,
    title: str = "",
    milliseconds: int = 600,
    most_bytes: int = 2_000_000,
) -> Path:
    """Save the path of attention as an animated GIF: one frame a layer, from 0 to the last, over and over.

    Each frame has the heat map over the photo on one scale for all layers, the layer's number, and the mass on each
    object. A file that would be larger than `most_bytes` gets fewer colours, then fewer pixels.

    Args:
        path: of the file, ending in `.gif`.
        image: the original photo.
        grid: the geometry of its tokens.
        maps: attention over the image tokens, one row per layer.
        first: boxes of the object that the question names first.
        second: boxes of the other one, if there is one.
        title: above both panels, such as question and answer.
        milliseconds: how long each frame stands, at least 20.
        most_bytes: how large the file may be.

    Example:
        >>> save_path_gif("path.gif", photo, grid, maps, [mug], [table])

    Raises:
        InputError: the photo or maps do not fit, neither object has a box, or the file can not be made so small.
    """
    if milliseconds < 20:
        raise InputError(f"{milliseconds} milliseconds a frame are too few for viewers: give 20 or more")
    film = PathFilm(image, grid, maps, first, second, title=title)
    data = _encode([film.frame(layer) for layer in range(film.n_layers)], milliseconds, most_bytes)
    Path(path).write_bytes(data)
    return Path(path)


class PathFilm:
    """The frames of the animation: everything is laid out once, and only what depends on the layer is drawn anew.

    Attributes:
        figure: that all frames are drawn on; pyplot does not know it.
        n_layers: how many frames there are.

    Example:
        >>> PathFilm(photo, grid, maps, [mug], [table]).frame(6).size
        (900, 420)
    """

    def __init__(
        self,
        image: Image.Image,
        grid: ImageGrid,
        maps: Float[np.ndarray, "layer token"] | Sequence[np.ndarray],
        first: Sequence[Box],
        second: Sequence[Box] = (),
        *,
        title: str = "",
    ) -> None:
        """Draw all that stays; see `save_path_gif`."""
        self.shares, objects = shares_of(maps, grid), check_objects(first, second)
        self.n_layers, self.photo = len(self.shares), canvas(image, grid)
        self.masses = {name_object(role, boxes): mass_by_layer(self.shares, grid, boxes)[0]
                       for role, boxes in objects.items()}  # fmt: skip
        width, height = panel_size(grid, width=4.0)
        size = width + 6.2, float(np.clip(height, 4.2, 6.4))
        self.figure = Figure(figsize=size, dpi=100, layout=ConstrainedLayoutEngine(w_pad=0.12))
        self._screen = FigureCanvasAgg(self.figure)
        left, right = self.figure.subplots(1, 2, width_ratios=(width, 5.2))
        self.photo.draw(left)
        self.overlay = self._paint(left)
        _plot_masses(grid, self.shares, objects, right)
        self._heading, self._told = (ax.set_title("", y=1.0, **_HEADING) for ax in (left, right))
        self._cursor, hatches = right.axvline(0, color=INK, linewidth=1.4), len(left.patches)
        if title:
            self.figure.suptitle(textwrap.fill(title, 90), fontsize=TITLE, color=INK, parse_math=False)
        self._say(0)
        self.figure.draw_without_rendering()
        self.figure.set_layout_engine("none")  # nothing may move from frame to frame
        draw_boxes(left, self.photo, drawable(box for boxes in objects.values() for box in boxes))
        outlines = [*left.patches[hatches:], *left.texts]
        self._moving: list[Artist] = [self.overlay, *outlines, self._heading, self._told, self._cursor]
        self._still = self._draw_still()

    def frame(self, layer: int) -> Image.Image:
        """One frame, RGB.

        Raises:
            InputError: there is no such layer.
        """
        if not 0 <= layer < self.n_layers:
            raise InputError(f"layer {layer} does not exist: the film has layers 0 to {self.n_layers - 1}")
        from PIL import Image

        self._screen.restore_region(self._still)
        self.overlay.set_data(self.photo.paint(self.shares[layer]))
        self._say(layer)
        for artist in self._moving:
            self.figure.draw_artist(artist)
        return Image.fromarray(np.asarray(self._screen.buffer_rgba())[..., :3].copy())

    def _draw_still(self) -> Any:
        """What is the same in all frames, drawn once; the outlines are not, as they lie over the heat map."""
        for artist in self._moving:
            artist.set_visible(False)
        self._screen.draw()
        for artist in self._moving:
            artist.set_visible(True)
        return self._screen.copy_from_bbox(self.figure.bbox)

    def _say(self, layer: int) -> None:
        """The layer's number, and the mass on each object."""
        ours = ", the paper's" if layer in paper_layers(self.n_layers) else ""
        self._heading.set_text(f"layer {layer} of 0 to {self.n_layers - 1}{ours}")
        shares = {name: mass[layer] for name, mass in self.masses.items()}
        told = [f"{name}: {share:.1%}" if share == share else f"{name}: no attention" for name, share in shares.items()]
        self._told.set_text("\n".join(told))
        self._cursor.set_xdata([layer, layer])

    def _paint(self, ax: Axes) -> AxesImage:
        """The heat map on the scale of all layers; the few brightest tokens, often sinks, may exceed it."""
        known = self.shares[np.isfinite(self.shares)]
        top = float(np.quantile(known, 0.995)) if known.size else 0.0
        top = top or float(known.max(initial=0)) or 1e-12
        drawn = ax.imshow(
            self.photo.paint(self.shares[0]),
            extent=self.photo.extent,
            cmap=over_photo(SEQUENTIAL),
            norm=Normalize(0, top),
            interpolation="nearest",
        )
        beyond = "max" if known.max(initial=0) > top else "neither"
        bar = self.figure.colorbar(drawn, ax=ax, fraction=0.05, pad=0.02, extend=beyond)
        bar.set_label(f"{LABELS['image']}, head mean", fontsize=TICK, color=INK)
        bar.ax.tick_params(labelsize=TICK - 1, colors=INK)
        return drawn


def _encode(frames: Sequence[Image.Image], milliseconds: int, most: int) -> bytes:
    """The frames as a looping GIF of one palette, in the best quality that is small enough."""
    for colours, scale in ((192, 1.0), (96, 1.0), (48, 1.0), (64, 0.75), (32, 0.5)):
        width, height = (round(side * scale) for side in frames[0].size)
        sized = [frame.resize((width, height)) if scale < 1 else frame for frame in frames]
        data = _as_gif(sized, colours, milliseconds)
        if len(data) <= most:
            return data
    raise InputError(f"{len(frames)} frames take {len(data):,} bytes at the least: allow more than {most:,}")


def _as_gif(frames: Sequence[Image.Image], colours: int, milliseconds: int) -> bytes:
    """A GIF in which a colour means the same in every frame: dithering or palettes of their own would flicker."""
    from PIL import Image

    few = [np.asarray(frames[place]) for place in np.unique(np.linspace(0, len(frames) - 1, 6).round().astype(int))]
    palette = Image.fromarray(np.concatenate(few)).quantize(colours)
    plain = [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
    out = io.BytesIO()
    plain[0].save(out, "GIF", save_all=True, append_images=plain[1:], duration=milliseconds, loop=0, optimize=False)
    return out.getvalue()


def shares_of(maps: Float[np.ndarray, "layer token"] | Sequence[np.ndarray], grid: ImageGrid) -> np.ndarray:
    """Maps [layer token] that sum to one over the image; NaN rows where there is no attention.

    Raises:
        InputError: another shape, no layer, or weights that are negative or infinite.
    """
    values = np.asarray(maps, dtype=np.float32)
    if values.ndim != 2 or not len(values) or values.shape[1] != len(grid):
        raise InputError(f"maps have shape {values.shape} and the grid has {len(grid)} tokens: give [layer token]")
    if np.isinf(values).any() or (values < 0).any():
        raise InputError("maps hold negative weights or infinities: give attention over the image tokens, head mean")
    return normalise(values, "image")


def check_objects(first: Sequence[Box], second: Sequence[Box]) -> dict[str, Sequence[Box]]:
    """Boxes by role, of the roles that have some.

    Raises:
        InputError: neither has a box.
    """
    if not (found := {role: boxes for role, boxes in zip(ROLES, (first, second), strict=True) if len(boxes)}):
        raise InputError("neither object has a box, so there is nothing to set the attention against: give one")
    return found


def name_object(role: str, boxes: Sequence[Box]) -> str:
    """How an object is called in a legend: its label, cut short, and its role."""
    return f"{textwrap.shorten(boxes[0].label, NAME_LENGTH, placeholder='...') or 'object'} ({role})"


def drawable(boxes: Iterable[Box]) -> list[Box]:
    """The boxes with labels in which dollar signs are no mathematics."""
    return [replace(box, label=box.label.replace("$", r"\$")) for box in boxes]


def _two_axes(axes: Sequence[Axes] | None, grid: ImageGrid) -> list[Axes]:
    """The given two axes, or new ones: the photo in its shape, and curves."""
    if axes is not None:
        given = list(np.array(axes, dtype=object).ravel())
        if len(given) != 2:
            raise InputError(f"{len(given)} axes were given: give two, for the photo and for the masses, or none")
        return given
    import matplotlib.pyplot as plt

    width, height = panel_size(grid, width=4.2)
    size = (width + 5.2, min(max(height, 3.6), 6.0))
    return list(plt.subplots(1, 2, figsize=size, layout="compressed", width_ratios=(width, 4.2))[1])


def _plot_masses(grid: ImageGrid, maps: np.ndarray, objects: dict[str, Sequence[Box]], ax: Axes) -> None:
    """The share of the image's attention on each object by layer, with what even attention would put there."""
    layers = np.arange(len(maps))
    for (role, boxes), colour in zip(objects.items(), PALETTE, strict=False):
        mass, even = mass_by_layer(maps, grid, boxes)
        ax.plot(layers, mass, color=colour, linewidth=1.8, marker="o", markersize=3.2, label=name_object(role, boxes))
        ax.axhline(even, color=colour, linewidth=1.1, linestyle="--")
    shade = layer_axis(ax, len(maps))
    ax.set_ylim(bottom=0)
    ax.yaxis.set_major_formatter("{x:.0%}")
    tidy(ax, title="On each object", x=f"layer (0-based, of {len(maps)})", y="share of the image's attention")
    even_line = Line2D([], [], color=INK, linewidth=1.1, linestyle="--", label="even attention")
    for text in legend_below(ax, even_line, shade).get_texts():
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
            ax.annotate(str(layer), points[layer], xytext=(5, 5), textcoords="offset points", fontsize=TICK,
                        color=INK, path_effects=[patheffects.withStroke(linewidth=2.4, foreground="white")],
                        zorder=5)  # fmt: skip
    bar = ax.figure.colorbar(line, ax=ax, fraction=0.05, pad=0.02)
    bar.set_label(f"layer (0-based, of {last + 1}); ring: the paper's", fontsize=LABEL - 1, color=INK)
    bar.ax.tick_params(labelsize=TICK - 1, colors=INK)
    integer_ticks(bar.ax.yaxis, last + 1)
