"""What the figures share: axes, colours, the layer axis with the paper's layers, legends beside the data."""

from __future__ import annotations

import textwrap
from itertools import accumulate
from typing import TYPE_CHECKING, Any
from unicodedata import east_asian_width

import numpy as np
from jaxtyping import Bool, Float
from matplotlib import colormaps
from matplotlib.patches import Patch
from matplotlib.ticker import Formatter, MaxNLocator
from matplotlib.transforms import ScaledTranslation

from interp.errors import InputError
from interp.layers import PAPER_LAYERS, paper_layers
from interp.numeric import bounded, mean_of_known
from interp.plots.legend import drawn_handles
from interp.plots.written import drawable
from interp.stats.intervals import FEWEST, bootstrap

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure
    from matplotlib.legend import Legend

SEQUENTIAL = "viridis"
DIVERGING = "RdBu_r"
INK, SHADE = "#222222", "#e4e4e4"
# Okabe and Ito's colours, told apart by colour-blind readers; the yellow, weak on white, is left out.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
TITLE, LABEL, TICK = 11, 10, 9  # points
BAND = 0.2  # how opaque the band of an interval is
_DEPTH = "spatial-lens-layers-"  # begins the name of the shade behind a model's layers; their number ends it
WIDE = "<>+\N{REPLACEMENT CHARACTER}"  # wide in the default font; the first three write the number of a sign
BELOW = 0.52  # inches from axes to the legend: a row of ticks and a label


def new_axes(ax: Axes | None, size: tuple[float, float], *, n_layers: int | None = None) -> Axes:
    """The given axes, or new ones on a figure of `size` inches.

    Args:
        ax: the axes that were given.
        size: inches, for new ones.
        n_layers: how many layers will lie along x, if they will.

    Raises:
        InputError: layers of a model of another depth lie along x already.
    """
    if ax is not None:
        if there := _depths(ax) - {n_layers, None}:
            raise InputError(
                f"the axes show a model of {there.pop()} layers, and one of {n_layers} was given: layers of one number "
                "are not at one depth, so give each model axes of its own"
            )
        return ax
    import matplotlib.pyplot as plt

    return plt.subplots(figsize=size, layout="compressed")[1]  # compressed: room kept by axes of fixed shape closes


def new_grid(n: int, *, columns: int, cell: tuple[float, float]) -> np.ndarray:
    """`n` axes on one figure, [n], left to right and top to bottom; `cell` is the size of one in inches."""
    import matplotlib.pyplot as plt

    rows = -(-n // columns)
    size = (cell[0] * columns + 1.1, cell[1] * rows + 0.5)
    axes = plt.subplots(rows, columns, figsize=size, layout="compressed", squeeze=False)[1].ravel()
    for ax in axes[n:]:
        ax.remove()
    return axes[:n]


def line_colours(n: int) -> list[str | tuple[float, ...]]:
    """`n` colours that can be told apart; evenly spaced on viridis when the palette is too short."""
    return list(PALETTE[:n]) if n <= len(PALETTE) else [colormaps[SEQUENTIAL](x) for x in np.linspace(0, 0.92, n)]


def tidy(ax: Axes, *, title: str = "", x: str = "", y: str = "") -> None:
    """Name the axes, and leave only the lines that carry something."""
    ax.set_title(title, fontsize=TITLE, loc="left", color=INK)
    ax.set_xlabel(x, fontsize=LABEL, color=INK)
    ax.set_ylabel(y, fontsize=LABEL, color=INK)
    ax.tick_params(labelsize=TICK, colors=INK)
    ax.spines[["top", "right"]].set_visible(False)
    ax.yaxis.grid(True, color=SHADE, linewidth=0.8)
    ax.set_axisbelow(True)


def integer_ticks(axis: Axis, n: int) -> None:
    """Ticks on whole numbers from 0 to n - 1 only."""
    axis.set_major_locator(MaxNLocator(nbins=min(n, 12), integer=True, steps=[1, 2, 4, 5, 10], min_n_ticks=1))


class _Percent(Formatter):
    """Shares in percent, with as few decimals as tell every tick from the next."""

    _digits = 0

    def format_ticks(self, values: Any) -> list[str]:
        """All ticks."""
        ticks = 100 * np.unique(np.asarray(values, dtype=float))
        near = 1e-3 * float(np.diff(ticks).min() if len(ticks) > 1 else np.abs(ticks).max(initial=0.0))
        self._digits = next((n for n in range(9) if (np.abs(ticks.round(n) - ticks) <= near).all()), 9)
        return [self(value) for value in values]

    def __call__(self, x: float, pos: int | None = None) -> str:
        """One tick, as exact as all of them need."""
        return f"{100 * x:z.{self._digits}f}%"


def in_percent(axis: Axis) -> None:
    """Ticks of shares in percent, exact however close they lie."""
    axis.set_major_formatter(_Percent())


def layer_axis(ax: Axes, n_layers: int) -> Artist:
    """Make x the layers of the model, shade the paper's, and return what names the shade in a legend."""
    here = paper_layers(n_layers)
    if n_layers not in _depths(ax):
        ax.axvspan(here[0] - 0.5, here[-1] + 0.5, color=SHADE, linewidth=0, zorder=0, gid=f"{_DEPTH}{n_layers}")
    ax.set_xlim(-0.5, n_layers - 0.5)
    integer_ticks(ax.xaxis, n_layers)
    return Patch(facecolor=SHADE, label=name_paper_layers(n_layers))


def _depths(ax: Axes) -> set[int]:
    """How many layers the models have whose layers lie along x."""
    marks = [str(patch.get_gid()) for patch in ax.patches]
    return {int(mark.removeprefix(_DEPTH)) for mark in marks if mark.startswith(_DEPTH)}


def name_paper_layers(n_layers: int) -> str:
    """How the shaded layers are called.

    Example:
        >>> name_paper_layers(12)
        "paper's layers 17-18 of 32 = here 6 of 12"
    """
    here, paper = (
        f"{layers[0]}-{layers[-1]}" if len(layers) > 1 else f"{layers[0]}"
        for layers in (paper_layers(n_layers), PAPER_LAYERS)
    )
    return f"paper's layers {paper} of 32" + ("" if n_layers == 32 else f" = here {here} of {n_layers}")


def name_count(known: Bool[np.ndarray, "sample layer"]) -> str:
    """How many samples have a value, and how many were left out, as a legend has it; a range where layers differ.

    Example:
        >>> name_count(np.array([[True, True], [True, False], [False, False]]))
        'n = 1 to 2 by layer, 1 to 2 undefined left out'
    """
    counts = known.sum(axis=0)
    least, most = int(counts.min(initial=len(known))), int(counts.max(initial=0))
    if least < most:
        return f"n = {least} to {most} by layer, {len(known) - most} to {len(known) - least} undefined left out"
    return f"n = {most}" + (f", {len(known) - most} undefined left out" if most < len(known) else "")


def mean_with_band(
    ax: Axes, x: np.ndarray, table: np.ndarray, *, colour: str | tuple[float, ...], label: str, seed: int, level: float
) -> np.ndarray:
    """Draw the mean of `table` [sample x] with its bootstrap interval, at each x over the samples that have a value.

    Returns:
        Where the band begins, [x]; NaN where there is none, as of one sample or two.
    """
    ax.plot(x, mean_of_known(table), color=colour, linewidth=1.8, marker="o", markersize=3.2, label=label)
    if len(table) < FEWEST:
        return np.full(len(x), np.nan)
    around = bootstrap(table, mean_of_known, seed=seed, level=level)
    if bounded(around.low):
        ax.fill_between(x, around.low, around.high, color=colour, alpha=BAND, linewidth=0)
    return np.asarray(around.low, dtype=np.float64)


def cut_short(text: str, most: int) -> str:
    """A text on one line, of at most so many characters; what is cut ends in dots."""
    whole = " ".join(text.split())
    return whole if len(whole) <= most else whole[: most - 3].rstrip() + "..."


def cut_wide(text: str, most: int) -> str:
    """`cut_short` by width on paper: signs that take the place of two letters, such as Chinese ones, count as two.

    A sign that no installed font has counts as its number, which is drawn in its place.

    Example:
        >>> cut_wide("左边的杯子", 8), cut_wide("the mug", 8)
        ('左边...', 'the mug')
    """
    return _cut_drawn(drawable(" ".join(text.split())), most)


def name_token(token: str, most: int) -> str:
    """A token of an answer in quotes, cut by width; of a letter that takes several tokens only the last one shows it.

    Example:
        >>> name_token(" left", 20), name_token("", 20)
        ("' left'", 'part of a letter')
    """
    return _cut_drawn(drawable(repr(token)), most) if token else "part of a letter"


def _cut_drawn(whole: str, most: int) -> str:
    """The beginning of a text that is at most so wide; what is cut ends in dots."""
    ends = list(accumulate(map(_width, whole), initial=0))
    if ends[-1] <= most:
        return whole
    return whole[: sum(end <= most - 3 for end in ends[1:])].rstrip() + "..."


def _width(sign: str) -> int:
    """How many letters' place a sign takes on paper."""
    return 2 if east_asian_width(sign) in "WF" or sign in WIDE else 1


def wrap_wide(text: str, width: int) -> list[str]:
    """Lines of a text, none of them wider on paper than so many letters; see `cut_wide`.

    Example:
        >>> wrap_wide("where is the mug", 12), wrap_wide("左边的杯子", 6)
        (['where is the', 'mug'], ['左边的', '杯子'])
    """
    spaced = "".join(sign + "\0" * (_width(sign) - 1) for sign in drawable(text))  # a wide sign is two for textwrap
    return [line.replace("\0", "") for line in textwrap.wrap(spaced, width)]


def join_words(*words: str) -> str:
    """Words of a title or label with commas between them; empty ones are left out.

    Example:
        >>> join_words("line: centroid", ""), join_words("layer 17 (0-based)", "head 3")
        ('line: centroid', 'layer 17 (0-based), head 3')
    """
    return ", ".join(filter(None, words))


def in_short(question: str, width: int, lines: int = 3) -> str:
    """A question up to its question mark, wrapped to lines of `width` characters, at most so many of them.

    Example:
        >>> in_short("Where is the mug? Answer with left, right, on or under.", 30)
        'Where is the mug?'
    """
    asked = " ".join(question.split())
    return _few_lines(asked[: asked.find("?") + 1] or asked, width, lines)


def headline(title: str, question: str, answer: str, width: int) -> str:
    """What stands above a figure of one sample: the question, the answer and a title, each on lines of its own."""
    said = _few_lines(f"said {answer!r}" if answer else "", width, 3)
    return "\n".join(filter(None, [in_short(question, width), said, *wrap_wide(title, width)]))


def _few_lines(text: str, width: int, lines: int) -> str:
    """A text on so many lines at most; what is cut ends in dots."""
    wrapped = wrap_wide(text, width)
    return "\n".join(wrapped[:lines]) + ("..." if len(wrapped) > lines else "")


def legend_below(ax: Axes, *extra: Artist, columns: int = 2, below: float = BELOW) -> Legend:
    """A legend under the axes and their labels, where it can hide no data, of what draws something."""
    handles = [*drawn_handles(ax), *extra]
    lower = ScaledTranslation(0, -below, ax.figure.dpi_scale_trans)
    return ax.legend(
        handles=handles,
        loc="upper center",
        bbox_to_anchor=(0.5, 0),
        bbox_transform=ax.transAxes + lower,
        ncols=columns,
        fontsize=TICK,
        frameon=False,
        labelcolor=INK,
    )


def heads_map(
    values: Float[np.ndarray, "layer head"], ax: Axes | None, *, title: str, label: str, **colours: Any
) -> Axes:
    """Draw a heat map with layers down and heads across, and the label at its colour bar.

    Args:
        values: the values, NaN left white.
        ax: the axes to draw on; made if None, as large as the layers and heads need.
        title: the title of the axes.
        label: the label of the colour bar.
        colours: the options of `imshow` that say the colours and their ends: `cmap`, `vmin`, `vmax`.
    """
    n_layers, n_heads = values.shape
    ax = new_axes(ax, (min(2.6 + 0.22 * n_heads, 9), min(1.6 + 0.2 * n_layers, 8)))
    drawn = ax.imshow(values, origin="upper", aspect="auto", interpolation="nearest", **colours)
    ax.set_title(title, fontsize=TITLE, loc="left", color=INK)
    ax.set_xlabel("head (0-based)", fontsize=LABEL, color=INK)
    ax.set_ylabel("layer (0-based)", fontsize=LABEL, color=INK)
    integer_ticks(ax.xaxis, n_heads)
    integer_ticks(ax.yaxis, n_layers)
    ax.tick_params(labelsize=TICK, colors=INK)
    bar = ax.figure.colorbar(drawn, ax=ax)
    bar.set_label(label, fontsize=TICK, color=INK)
    bar.ax.tick_params(labelsize=TICK, colors=INK)
    return ax


def figure_of(ax: Axes) -> Figure:
    """The whole figure that the axes are drawn on."""
    figure = ax.get_figure(root=True)
    if figure is None:
        raise InputError("these axes belong to no figure any more: draw again")
    return figure


def draw_band(
    ax: Axes,
    layers: np.ndarray,
    ends: tuple[np.ndarray, np.ndarray],
    colour: Any,
    *,
    alpha: float = BAND,
    width: float = 1.3,
    label: str | None = None,
) -> None:
    """An interval by layer as a band; as a bar in a layer whose neighbours have none."""
    low, high = ends
    some = np.isfinite(low) & np.isfinite(high)
    ax.fill_between(layers, low, high, where=some, color=colour, alpha=alpha, linewidth=0, label=label)
    beside = np.concatenate([[False], some[:-1]]) | np.concatenate([some[1:], [False]])
    alone = some & ~beside
    if alone.any():
        ax.vlines(layers[alone], low[alone], high[alone], color=colour, linewidth=width)


def name_layers(n_layers: int) -> str:
    """What the layer axis is called."""
    return f"layer (0-based, of {n_layers})"
