"""Heat maps of attention over the photo: several side by side, and before against after."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float
from matplotlib.colors import Normalize

from interp.errors import InputError
from interp.plots.canvas import canvas, draw_boxes, panel_size
from interp.plots.overlay import colour_bar, lay_over
from interp.plots.style import DIVERGING, INK, TITLE, new_axes, new_grid, wrap_wide
from interp.plots.written import as_written

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from PIL import Image

    from interp.image.boxes import Box
    from interp.image.grid import ImageGrid

PER_TOKEN = "attention per token"
SHARES = {
    "image": "share of the image's attention",
    "keys": "share of all attention",
    "no-sinks": "share of the image's attention, sinks out",
    "relative": "share of one, relative to a neutral prompt",
}
"""What the values of a map are shares of, by normalisation."""

LABELS = {name: f"{PER_TOKEN},\n{share}" for name, share in SHARES.items()}
"""What the colour bar of a map over image tokens says, by normalisation."""

WIDTH, LETTERS = 3.0, 33  # of a map on axes of our own, in inches and in letters of its title
ONE_SCALE = "one scale for these {} maps"
_SUM_TO_ONE = ("image", "relative")  # over all tokens, so that it is known what an even map has


@as_written
def plot_heatmaps(
    image: Image.Image,
    grid: ImageGrid,
    maps: Float[np.ndarray, "map token"] | Sequence[np.ndarray],
    *,
    boxes: Iterable[Box] = (),
    titles: Sequence[str] | None = None,
    normalisation: str = "image",
    values_are: str = PER_TOKEN,
    shares_are: str | None = None,
    scale: str = "shared",
    columns: int | None = None,
    axes: Sequence[Axes] | None = None,
) -> np.ndarray:
    """Draw attention maps over the photo, with the boxes in its own pixels.

    Colours start at zero and are never stretched per map unless `scale` is `each`; the line in a colour bar marks
    evenly spread attention (one over the number of tokens; for `keys` and `no-sinks` it is not known here).

    Args:
        image: the original photo.
        grid: the geometry of its tokens.
        maps: one value per image token, [map token], such as rows of `Trajectory.image_map`.
        boxes: objects to outline.
        titles: one per map, such as `layer 17 (0-based), head mean`.
        normalisation: what the values are shares of, one of `interp.maps.trajectory.NORMALISATIONS`. It names the
            colour bar; nothing is rescaled.
        values_are: the first words of the colour bar, such as `attention per patch` for maps over patches.
        shares_are: the rest of them, for maps of something else than attention; by default as the normalisation says.
        scale: `shared`, one scale for all maps; or `each`, one for each.
        columns: how many maps stand in a row.
        axes: where to draw, one per map; made if None.

    Returns:
        The axes, [map].

    Example:
        >>> maps = [measured.image_map(layer=layer) for layer in (5, 6)]
        >>> plot_heatmaps(photo, grid, maps, boxes=boxes, titles=["layer 5", "layer 6"]).shape
        (2,)

    Raises:
        InputError: numbers of maps, titles, axes or tokens do not fit, or a word is not known.
    """
    values = _check_maps(maps, grid)
    photo = canvas(image, grid)
    label = _label(normalisation, values_are, shares_are)
    if scale not in ("shared", "each"):
        raise InputError(f"colour scale {scale!r} is not known: use 'shared' or 'each'")
    panels = _panels(len(values), grid, axes, columns)
    names = _check_titles(titles, len(values), own=axes is None)
    tops = _tops(values, scale)
    drawn = []
    for ax, shares, name, top in zip(panels, values, names, tops, strict=True):
        drawn.append(lay_over(ax, photo, shares, Normalize(0, top)))
        ax.set_title(name, fontsize=TITLE - 1, loc="left", color=INK, parse_math=False)
    even = 1 / len(grid) if normalisation in _SUM_TO_ONE else None
    groups = [list(panels)] if scale == "shared" else [[ax] for ax in panels]
    said = "" if len(values) == 1 else ONE_SCALE.format(len(values)) if scale == "shared" else "scale of this map alone"
    for mappable, group in zip(drawn, groups, strict=False):
        colour_bar(mappable, group, label, scale=said, even=even)
    every = list(boxes)
    for ax in panels:
        draw_boxes(ax, photo, every)
    return panels


@as_written
def plot_photo(
    image: Image.Image, grid: ImageGrid, ax: Axes | None = None, *, boxes: Iterable[Box] = (), title: str = "the photo"
) -> Axes:
    """Draw the photo in its own colours, with boxes, as the neighbour of attention maps.

    Args:
        image: the original photo.
        grid: the geometry of its tokens; what they do not cover is hatched.
        ax: where to draw; made if None.
        boxes: objects to outline.
        title: the title of the panel.

    Example:
        >>> plot_photo(photo, grid, boxes=boxes)

    Raises:
        InputError: the photo is not the one that the grid was made for.
    """
    drawn = canvas(image, grid)
    ax = new_axes(ax, panel_size(grid, width=WIDTH))
    drawn.draw(ax, plain=True)
    ax.set_title(title, fontsize=TITLE - 1, loc="left", color=INK, parse_math=False)
    draw_boxes(ax, drawn, boxes)
    return ax


@as_written
def plot_before_after(
    image: Image.Image,
    grid: ImageGrid,
    before: Float[np.ndarray, " token"],
    after: Float[np.ndarray, " token"],
    *,
    boxes: Iterable[Box] = (),
    titles: tuple[str, str] = ("before", "after"),
    normalisation: str = "image",
    values_are: str = PER_TOKEN,
    axes: Sequence[Axes] | None = None,
) -> np.ndarray:
    """Draw two maps on one scale, and their difference in colours that are centred on zero.

    Args:
        image: the original photo.
        grid: the geometry of its tokens.
        before: one value per image token.
        after: the same tokens, from the run that was changed.
        boxes: objects to outline.
        titles: the titles of the two maps.
        normalisation: what the values are shares of, one of `interp.maps.trajectory.NORMALISATIONS`.
        values_are: the first words of the colour bar, such as `attention per patch` for maps over patches.
        axes: where to draw, three; made if None.

    Returns:
        The axes of before, after and the difference, [3].

    Example:
        >>> plot_before_after(photo, grid, untouched, scaled, titles=("alpha 1", "alpha 0.5"))

    Raises:
        InputError: numbers of tokens, titles or axes do not fit, or the normalisation is not known.
    """
    values = _check_maps([before, after], grid)
    photo = canvas(image, grid)
    label = _label(normalisation, values_are)
    names = _check_titles(titles, 2, own=axes is None)
    panels = _panels(3, grid, axes, 3)
    top = _tops(values, "shared")[0]
    difference = values[1] - values[0]
    reach = float(np.nanmax(np.abs(difference), initial=0)) or 1e-12
    drawn = [lay_over(ax, photo, shares, Normalize(0, top)) for ax, shares in zip(panels, values, strict=False)]
    changed = lay_over(panels[2], photo, difference, Normalize(-reach, reach), DIVERGING)
    for ax, name in zip(panels, [*names, "difference: second minus first"], strict=True):
        ax.set_title(name, fontsize=TITLE - 1, loc="left", color=INK, parse_math=False)
    even = 1 / len(grid) if normalisation in _SUM_TO_ONE else None
    colour_bar(drawn[0], list(panels[:2]), label, scale=ONE_SCALE.format(2), even=even)
    colour_bar(changed, [panels[2]], "change in " + label)
    every = list(boxes)
    for ax in panels:
        draw_boxes(ax, photo, every)
    return panels


def _panels(n: int, grid: ImageGrid, axes: Sequence[Axes] | None, columns: int | None) -> np.ndarray:
    """The given axes, or new ones in the shape of the photo."""
    if axes is None:
        return new_grid(n, columns=min(n, columns or 4), cell=panel_size(grid, width=WIDTH))
    panels = np.array(axes, dtype=object).ravel()
    if len(panels) != n:
        raise InputError(f"{len(panels)} axes were given for {n} maps: give one per map, or none")
    return panels


def _check_maps(maps: Float[np.ndarray, "map token"] | Sequence[np.ndarray], grid: ImageGrid) -> np.ndarray:
    """Maps as float32 [map token]; refuses other shapes."""
    values = np.asarray(maps, dtype=np.float32)
    if values.ndim != 2 or not len(values) or values.shape[1] != len(grid):
        raise InputError(f"maps have shape {values.shape} but the grid has {len(grid)} tokens: give [map token]")
    return values


def _check_titles(titles: Sequence[str] | None, n: int, *, own: bool) -> list[str]:
    """One title per map, empty by default; on axes of our own, of known width, none is wider than its map."""
    names = list(titles) if titles is not None else [""] * n
    if len(names) != n:
        raise InputError(f"{len(names)} titles were given for {n} maps: give one per map")
    if not own:
        return names
    return ["\n".join("\n".join(wrap_wide(line, LETTERS)) for line in name.split("\n")) for name in names]


def _label(normalisation: str, values_are: str, shares_are: str | None = None) -> str:
    """What the colour bar says."""
    if normalisation not in SHARES:
        raise InputError(f"normalisation {normalisation!r} is not known: use one of {', '.join(SHARES)}")
    return f"{values_are},\n{SHARES[normalisation] if shares_are is None else shares_are}"


def _tops(values: np.ndarray, scale: str) -> list[float]:
    """The upper end of each map's scale; a map of nothing gets a scale all the same."""
    own = [float(np.nanmax(row, initial=0)) or 1e-12 for row in values]
    return own if scale == "each" else [max(own)] * len(own)
