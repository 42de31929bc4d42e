"""The figures of one analysis: share by layer, overlap by layer, heat maps, one map per answer token, token grid."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from interp.plots.canvas import panel_size
from interp.plots.layers import plot_overlap_by_layer, plot_share_by_layer
from interp.plots.maps import plot_heatmaps, plot_photo
from interp.plots.style import INK, TITLE, figure_of, new_grid
from interp.plots.tokens import plot_token_grid
from interp.trajectory import paper_layers

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from interp.analysis import Analysis


def draw_analysis(analysis: Analysis) -> dict[str, Figure]:
    """All figures of an analysis, by file name without ending."""
    figures = {
        "share_by_layer": figure_of(_say_steps(plot_share_by_layer(analysis.trajectory), analysis)),
        "heatmaps": draw_heatmaps(analysis),
    }
    if analysis.overlap is not None and not np.isnan(analysis.overlap.values("cosine")).all():
        figures["overlap_by_layer"] = figure_of(_say_steps(plot_overlap_by_layer(analysis.overlap), analysis))
    if analysis.trajectory.generated:
        figures["tokens"] = draw_tokens(analysis)
    return figures


def draw_heatmaps(analysis: Analysis) -> Figure:
    """The photo, and the first answer token's attention over it, head mean, one map per chosen layer."""
    maps = [analysis.trajectory.image_map(layer=layer) for layer in analysis.layers]
    paper = paper_layers(analysis.trajectory.n_layers)
    titles = [f"layer {layer}{' (paper)' if layer in paper else ''}, first token" for layer in analysis.layers]
    panels = new_grid(1 + len(maps), columns=_columns(1 + len(maps)), cell=panel_size(analysis.grid, width=3.0))
    photo, grid, boxes = analysis.image, analysis.grid, _boxes(analysis)
    plot_heatmaps(photo, grid, maps, boxes=boxes, titles=titles, axes=list(panels[1:]))
    plot_photo(photo, grid, panels[0], boxes=boxes)
    return figure_of(panels[0])


def draw_tokens(analysis: Analysis) -> Figure:
    """One map per answer token, head mean of the first of the paper's layers."""
    layer = paper_layers(analysis.trajectory.n_layers)[0]
    maps = [analysis.trajectory.image_map(layer=layer, step=step) for step in range(analysis.trajectory.n_steps)]
    titles = [f"layer {layer}, row before {token!r}" for token in analysis.trajectory.tokens or ()]
    panels = plot_heatmaps(analysis.image, analysis.grid, maps, boxes=_boxes(analysis), titles=titles, columns=4)
    return figure_of(panels[0])


def draw_grid(analysis: Analysis) -> Figure:
    """Which pixels of the photo each image token saw; tiles beside the view of the whole photo, if there are both."""
    tiles = sorted(set(analysis.grid.view.tolist()) - {0})
    if not tiles:
        return figure_of(plot_token_grid(analysis.image, analysis.grid))
    panels = new_grid(2, columns=2, cell=panel_size(analysis.grid, width=6.0))
    for ax, views in zip(panels, ([0], tiles), strict=True):
        plot_token_grid(analysis.image, analysis.grid, ax, views=views)
    figure = figure_of(panels[0])
    figure.suptitle(analysis.grid.describe(), fontsize=TITLE, color=INK)
    return figure


def _columns(n: int) -> int:
    """As many panels in a row, 3 to 5, as leave the fewest places empty."""
    return n if n <= 5 else min((4, 3, 5), key=lambda columns: -n % columns)


def _say_steps(ax: Axes, analysis: Analysis) -> Axes:
    """Name in the title which answer tokens a curve is the mean of."""
    if analysis.trajectory.generated:
        said = f"{ax.get_title(loc='left')}, mean over {analysis.trajectory.n_steps} answer tokens"
        ax.set_title(said, fontsize=TITLE, loc="left", color=INK)
    return ax


def _boxes(analysis: Analysis) -> tuple:
    return () if analysis.found is None else tuple(analysis.found.boxes)
