"""The figures of one analysis: share and overlap by layer, heat maps, answer tokens, patches, token grid."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from interp.boxes import Boxes
from interp.plots.canvas import panel_size
from interp.plots.layers import plot_overlap_by_layer, plot_share_by_layer
from interp.plots.maps import PER_TOKEN, plot_heatmaps, plot_photo
from interp.plots.style import INK, TITLE, figure_of, new_grid
from interp.plots.tokens import plot_token_grid
from interp.trajectory import default_layers, paper_layers

if TYPE_CHECKING:
    from jaxtyping import Bool
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from interp.analysis import Analysis, VisionMaps
    from interp.explore import ExplorePage
    from interp.grid import ImageGrid
    from interp.layout import TokenLayout

BEST_BY = "lift"
"""The measure that names the best layer of a photo."""

_PER_PATCH = {
    "two-stage": "attention per patch, seen through\nroll-out over the vision tower",
    "vision": "attention per patch within the\nvision tower, mean over image tokens",
    "rollout": "attention roll-out per patch over the\nvision tower, mean over image tokens",
}
"""What the values of each further map are."""


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
    return figures | {name: draw_patches(analysis, maps) for name, maps in analysis.also.items()}


def draw_heatmaps(analysis: Analysis) -> Figure:
    """The photo, and the first answer token's attention over it, head mean, one map per chosen layer."""
    shown = layer_titles(analysis)
    maps = [analysis.trajectory.image_map(layer=layer) for layer in shown]
    return _beside_photo(analysis, analysis.grid, maps, list(shown.values()), PER_TOKEN)


def layer_titles(analysis: Analysis) -> dict[int, str]:
    """The layers that heat maps show, and what their titles say of why: the chosen ones, and the best one.

    The best layer is the one whose head mean has most of the image's attention on the objects, per area: against what
    even attention puts into the same boxes, so that large boxes are no merit. Without boxes there is none.
    """
    n, density = analysis.trajectory.n_layers, _density(analysis)
    places = {n // 4: "a quarter in", 3 * n // 4: "three quarters in", n - 1: "the last", 0: "the first"}
    chosen_here = analysis.layers == default_layers(n)
    why = {layer: [places[layer] if chosen_here and layer in places else ""] for layer in analysis.layers}
    for layer in set(paper_layers(n)) & set(why):
        why[layer] = ["the paper's"]
    if density is not None:
        best = int(np.nanargmax(density))
        why.setdefault(best, []).append(f"most on the objects: {density[best]:.1f} times even")
    return {layer: "\n".join([f"layer {layer}, first token", *filter(None, why[layer])]) for layer in sorted(why)}


def _density(analysis: Analysis) -> np.ndarray | None:
    """Attention per area on the objects over that of even attention, of the first answer token [layer], if known."""
    if analysis.overlap is None:
        return None
    lift = analysis.overlap.values(BEST_BY)[:, -1].reshape(analysis.trajectory.n_layers, -1)[:, 0]
    return None if np.isnan(lift).all() else lift


def draw_tokens(analysis: Analysis) -> Figure:
    """One map per answer token, head mean of the first of the paper's layers."""
    layer = paper_layers(analysis.trajectory.n_layers)[0]
    maps = [analysis.trajectory.image_map(layer=layer, step=step) for step in range(analysis.trajectory.n_steps)]
    titles = [f"layer {layer}, row before {token!r}" for token in analysis.trajectory.tokens or ()]
    panels = plot_heatmaps(analysis.image, analysis.grid, maps, boxes=_boxes(analysis), titles=titles, columns=4)
    return figure_of(panels[0])


def draw_patches(analysis: Analysis, maps: VisionMaps) -> Figure:
    """The photo, and maps over the patches of the vision tower, head mean: the chosen layers, or some of the tower."""
    last = maps.layers[-1]
    chosen = layer_titles(analysis)
    shown, titles = tuple(chosen), list(chosen.values())
    if maps.name != "two-stage":
        shown = tuple(sorted({0, last // 4, last // 2, 3 * last // 4, last} & set(maps.layers)))
        titles = [f"{'up to ' if maps.name == 'rollout' else ''}layer {layer} of the tower" for layer in shown]
    weights = [maps.weights[maps.layers.index(layer), 0] for layer in shown]
    return _beside_photo(analysis, maps.grid, weights, titles, _PER_PATCH[maps.name])


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


def draw_page(
    analysis: Analysis, layout: TokenLayout, sinks: Bool[np.ndarray, "layer head token"] | None, sinks_said: str
) -> ExplorePage:
    """The page to explore, of what was measured of the row behind the first answer token.

    Args:
        analysis: what was measured.
        layout: of the prompt alone.
        sinks: image tokens that are sinks; None where it is not known.
        sinks_said: where they are from, or why they are not known.
    """
    from interp.explore.data import BEFORE, Exploration, Run, with_head_mean
    from interp.explore.gather import roles_of
    from interp.explore.page import render_page

    found, looked = analysis.found, analysis.trajectory
    boxes = Boxes() if found is None else found.boxes
    run = Run(
        name=BEFORE,
        change="untouched",
        answer=analysis.answer,
        confidence=analysis.confidence,
        weights=with_head_mean(looked.image_attention[:, :, 0]),
        shares=with_head_mean(looked.shares[:, :, 0]),
    )
    shown = Exploration(
        image=analysis.image,
        question=analysis.question,
        layout=layout,
        grid=analysis.grid,
        boxes=boxes,
        roles=() if found is None else roles_of(boxes, found.words),
        missing=() if found is None else found.missing,
        runs=(run,),
        sinks=sinks,
        sinks_said=sinks_said,
        neutral=None,
        neutral_prompt=None,
        settings=analysis.settings,
    )
    return render_page(shown)


def _beside_photo(
    analysis: Analysis, grid: ImageGrid, maps: list[np.ndarray], titles: list[str], values_are: str
) -> Figure:
    """The photo in its own colours, and maps beside it."""
    panels = new_grid(1 + len(maps), columns=_columns(1 + len(maps)), cell=panel_size(grid, width=3.0))
    photo, boxes = analysis.image, _boxes(analysis)
    plot_heatmaps(photo, grid, maps, boxes=boxes, titles=titles, values_are=values_are, axes=list(panels[1:]))
    plot_photo(photo, grid, panels[0], boxes=boxes)
    return figure_of(panels[0])


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
