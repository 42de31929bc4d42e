"""What an analysis holds: the answer, attention and overlap of one photo and question, as tables, figures and files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from interp.analysis.token_maps import RELATIVE, TokenMaps, overlap_by_map
from interp.analysis.token_page import draw_tokens
from interp.analysis.vision import best_cosine
from interp.errors import InputError
from interp.layers import default_layers, paper_layers
from interp.maps.trajectory import PARTS, Trajectory
from interp.numeric import percentage
from interp.overlap.figures.by_layer import plot_overlap_by_layer
from interp.overlap.figures.by_map import plot_overlap_by_map
from interp.overlap.overlap import EVEN_COLUMNS, LESS_IS_BETTER, Overlap
from interp.overlap.study.token_maps import LENS
from interp.page.further import VALUES_ARE
from interp.plots.canvas import panel_size
from interp.plots.layers import plot_share_by_layer
from interp.plots.maps import PER_TOKEN, plot_heatmaps, plot_photo
from interp.plots.style import INK, TITLE, figure_of, join_words, new_grid
from interp.plots.tokens import plot_token_grid
from interp.plots.written import as_written
from interp.reprs import fits_a_cell
from interp.store.folder import OutputFolder
from interp.store.names import is_plain_name, is_text
from interp.store.parsing import read_json

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure
    from PIL import Image

    from interp.analysis.vision import VisionMaps
    from interp.image.grid import ImageGrid
    from interp.objects.words import Found
    from interp.page.page import ExplorePage
    from interp.prompt.layout import TokenLayout

SUMMARY = "summary.json"

BEST_BY = "lift"
"""The measure that names the best layer of a photo."""

_PER_PATCH = {
    "two-stage": "attention per patch, seen through\nroll-out over the vision tower",
    "vision": "attention per patch within the\nvision tower, mean over image tokens",
    "rollout": "attention roll-out per patch over the\nvision tower, mean over image tokens",
}
"""What the values of each further map over patches are."""

_PER_TOKEN = {**VALUES_ARE, RELATIVE: PER_TOKEN}
"""What the values of each further map over image tokens are."""


@fits_a_cell("settings.model question answer confidence image layers trajectory found overlap also page")
@dataclass(frozen=True, eq=False)
class Analysis:
    """What was measured of one photo and one question.

    Attributes:
        image: the photo, upright RGB.
        question: the question as it was asked.
        answer: the greedy answer; `confidence`: probability of its first token.
        layers: the layers that were chosen to be shown; heat maps add the best one, see `layer_titles`.
        layout, grid: what each position is, and which pixels each image token saw.
        trajectory: where the rows looked.
        found: the objects of the question; None where no detector was given.
        overlap: attention against their boxes; None where there are none.
        settings: the model and everything else that made this result; `remarks` tells why it may mean nothing.
        also: further maps by name, over the patches of the vision tower or over the image tokens; empty where none were
            asked for.
        page: the page to explore; None where none was asked for.
    """

    image: Image.Image
    question: str
    answer: str
    confidence: float
    layers: tuple[int, ...]
    layout: TokenLayout
    grid: ImageGrid
    trajectory: Trajectory
    found: Found | None
    overlap: Overlap | None
    settings: dict[str, Any]
    also: Mapping[str, VisionMaps | TokenMaps] = field(default_factory=dict)
    page: ExplorePage | None = None

    def describe(self) -> str:
        """Say in a few lines what was found."""
        shares = self.trajectory.share_overall("image")
        tokens = self.trajectory.token_share("image")
        steps = f", and {self.trajectory.n_steps} answer tokens" if self.trajectory.generated else ""
        lines = [
            *self.settings.get("remarks", ()),
            f"answer: {self.answer!r} (first token {percentage(self.confidence)}%)",
            f"image: {percentage(np.mean(shares))}% of the attention on {percentage(np.mean(tokens))}% of the "
            f"positions (mean over layers and heads{steps})",
            self.grid.describe(),
        ]
        if self.found is None:
            lines.append("objects: no detector was given, so attention was not compared with boxes")
        else:
            lines.append(f"objects: {self.found.describe()}")
        if self.overlap is not None:
            cosine = self.overlap.by_layer("cosine")
            paper = ", ".join(f"{layer}: {cosine[layer]:.2f}" for layer in paper_layers(len(cosine)))
            known = "" if np.isnan(cosine).all() else f"; the paper's layers {paper}"
            lines.append(f"overlap: {best_cosine(self.overlap, range(len(cosine)))}{known}")
        lines += [maps.describe() for maps in self.also.values()]
        return "\n".join(lines)

    def best_heads(self, by: str = "cosine", *, n: int = 5) -> pd.DataFrame:
        """The heads that agree best with the boxes, and how much of its attention each of them gives to the image.

        A map over the image looks as clear where its head gives the image next to nothing, so `image_share` tells
        which of these maps matter. All numbers are of the row that gave the first answer token.

        Args:
            by: one of `interp.overlap.measures.MEASURES`.
            n: how many heads.

        Returns:
            One row per head, the best first: `layer`, `head`, the measure, what even attention scores in it, and
            `image_share`.

        Example:
            >>> analysis.best_heads(n=3)["image_share"].round(2).tolist()
            [0.99, 0.97, 0.04]

        Raises:
            InputError: the objects have no boxes, or the measure is not known.
        """
        import pandas as pd

        if self.overlap is None:
            raise InputError("no object has a box, so heads can not be compared with any: give a detector or boxes")
        values = self.overlap.values(by)[:, :-1].reshape(self.trajectory.n_layers, -1, self.trajectory.n_steps)[..., 0]
        even = self.overlap.even_score(by)
        share = self.trajectory.shares[:, :, 0, PARTS.index("image")]
        layer, head = (axis.ravel() for axis in np.indices(values.shape))
        columns = {
            "layer": layer,
            "head": head,
            by: values.ravel(),
            EVEN_COLUMNS[by]: even,
            "image_share": share.ravel(),
        }
        table = pd.DataFrame(columns).sort_values(by, ascending=by in LESS_IS_BETTER, kind="stable", na_position="last")
        return table.head(n).reset_index(drop=True)

    @property
    def token_maps(self) -> dict[str, TokenMaps]:
        """Those of `also` that lie over the image tokens."""
        return {name: maps for name, maps in self.also.items() if isinstance(maps, TokenMaps)}

    def overlap_by_map(self) -> pd.DataFrame | None:
        """Raw attention and the maps over image tokens under the same measures; None without boxes or such maps.

        See `interp.analysis.token_maps.overlap_by_map`.
        """
        return overlap_by_map(self.overlap, self.token_maps) if self.overlap is not None and self.token_maps else None

    def save(self, out: str | Path | OutputFolder) -> list[Path]:
        """Write figures (PNG), tables (Parquet), `summary.json` and the page, if there is one; returns their paths.

        What an earlier analysis wrote into the same folder, and this one does not write, is removed.

        Raises:
            InputError: the folder can not be written.
        """
        folder = out if isinstance(out, OutputFolder) else OutputFolder(out)
        earlier = _files_of(folder.path / SUMMARY)
        with folder.as_one():
            written = self._write(folder)
            names = [path.name for path in written]
            written.append(folder.write_json(SUMMARY, {**self.summary(), "files": names}))
        for stale in earlier - set(names):
            if (folder.path / stale).is_file():
                (folder.path / stale).unlink(missing_ok=True)
        return written

    def _write(self, folder: OutputFolder) -> list[Path]:
        """Write all files but the summary."""
        import matplotlib.pyplot as plt

        written = [folder.write_table("trajectory.parquet", self.trajectory.to_dataframe())]
        if self.overlap is not None:
            written.append(folder.write_table("overlap.parquet", self.overlap.to_dataframe()))
        for name, maps in self.also.items():
            written.append(folder.write_table(f"{name}.parquet", maps.to_dataframe()))
            if maps.overlap is not None:
                written.append(folder.write_table(f"overlap_{name}.parquet", maps.overlap_table()))
        if (table := self.overlap_by_map()) is not None:
            written.append(folder.write_table("overlap_by_map.parquet", table))
        for name, figure in draw_analysis(self).items():
            written.append(folder.write_figure(f"{name}.png", figure))
            plt.close(figure)
        if self.page is not None:
            written.append(folder.write_text("explore.html", self.page.html))
        return written

    def summary(self) -> dict[str, Any]:
        """The result as plain data."""
        boxes = (
            []
            if self.found is None
            else [
                {"word": match.word, "label": box.label, "xyxy": list(box.xyxy), "confidence": box.confidence}
                for match in self.found.matches
                for box in match.boxes
            ]
        )
        return {
            "question": self.question,
            "answer": self.answer,
            "confidence": self.confidence,
            "image_share": float(np.mean(self.trajectory.share_overall("image"))),
            "image_token_share": float(np.mean(self.trajectory.token_share("image"))),
            "unseen_share": self.grid.unseen_share,
            "seen": list(self.grid.seen),
            "boxes": boxes,
            "missing": [] if self.found is None else list(self.found.missing),
            "settings": self.settings,
        }


def _files_of(summary: Path) -> set[str]:
    """What an earlier analysis says that it wrote, as far as an analysis writes such; nothing where there is none."""
    try:
        listed = list(read_json(summary).get("files", []))
    except (OSError, ValueError, AttributeError, TypeError):
        return set()
    names = {name for name in listed if isinstance(name, str) and is_text(name) and is_plain_name(name)}
    return {name for name in names if name.endswith((".parquet", ".png", ".html"))}


def draw_analysis(analysis: Analysis) -> dict[str, Figure]:
    """All figures of an analysis, by file name without ending."""
    figures = {
        "share_by_layer": figure_of(plot_share_by_layer(analysis.trajectory)),
        "heatmaps": draw_heatmaps(analysis),
    }
    if analysis.overlap is not None and not np.isnan(analysis.overlap.values("cosine")).all():
        figures["overlap_by_layer"] = figure_of(plot_overlap_by_layer(analysis.overlap))
    if analysis.trajectory.generated:
        boxes = _boxes(analysis)
        figures["tokens"] = draw_tokens(analysis.image, analysis.grid, analysis.trajectory, boxes=boxes)
    table = analysis.overlap_by_map()
    if table is not None and not table["lift"].isna().all():
        figures["overlap_by_map"] = figure_of(plot_overlap_by_map(table)[0])
    return figures | {
        name: draw_token_maps(analysis, maps) if isinstance(maps, TokenMaps) else draw_patches(analysis, maps)
        for name, maps in analysis.also.items()
    }


@as_written
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
        why.setdefault(best, []).append(f"of {n} layers most on the objects:\n{density[best]:.1f} times even")
    return {
        layer: "\n".join([f"layer {layer}, head mean, first token", *filter(None, why[layer])]) for layer in sorted(why)
    }


def _density(analysis: Analysis) -> np.ndarray | None:
    """Attention per area on the objects over that of even attention, of the first answer token [layer], if known."""
    if analysis.overlap is None:
        return None
    lift = analysis.overlap.values(BEST_BY)[:, -1].reshape(analysis.trajectory.n_layers, -1)[:, 0]
    return None if np.isnan(lift).all() else lift


@as_written
def draw_patches(analysis: Analysis, maps: VisionMaps) -> Figure:
    """The photo, and maps over the patches of the vision tower, head mean: the chosen layers, or some of the tower."""
    last = maps.layers[-1]
    chosen = layer_titles(analysis)
    shown, titles = tuple(chosen), list(chosen.values())
    if maps.name != "two-stage":
        shown = tuple(sorted({0, last // 4, last // 2, 3 * last // 4, last} & set(maps.layers)))
        upto = "up to " if maps.name == "rollout" else ""
        titles = [f"{upto}layer {layer} of the tower, head mean" for layer in shown]
    weights = [maps.weights[maps.layers.index(layer), 0] for layer in shown]
    return _beside_photo(analysis, maps.grid, weights, titles, _PER_PATCH[maps.name])


@as_written
def draw_token_maps(analysis: Analysis, maps: TokenMaps) -> Figure:
    """The photo, and maps over the image tokens, in the layers of the heat maps and in their own best one.

    They are those of the head mean, but for the lens, which has no heads. Titles say how much of the map lies on the
    objects, per area, over what an even map has there.
    """
    lift = None
    if maps.overlap is not None:
        lift = maps.overlap.values(BEST_BY, normalisation=maps.normalisation)[:, -1].reshape(len(maps.layers), -1)[:, 0]
    shown = set(layer_titles(analysis))
    if lift is not None and not np.isnan(lift).all():
        shown.add(int(np.nanargmax(lift)))
    weights = {layer: maps.weights[layer, 0] for layer in sorted(shown)}
    heads = "" if maps.name == LENS else "head mean"
    titles = [
        _title_of(
            join_words(f"layer {layer}", heads, "first token"), own, np.nan if lift is None else float(lift[layer])
        )
        for layer, own in weights.items()
    ]
    values_are = _PER_TOKEN[maps.name].format(of=repr("" if maps.answer is None else maps.answer.text))
    shares_are = None if maps.name == RELATIVE else "share of the whole map"
    return _beside_photo(
        analysis, maps.grid, [*weights.values()], titles, values_are, shares_are, normalisation=maps.normalisation
    )


def _title_of(where: str, weights: np.ndarray, lift: float) -> str:
    """The title of one map over the image tokens; `lift` is NaN where it is not known."""
    if not np.isfinite(weights).all():
        return f"{where}\nnothing"
    return where if np.isnan(lift) else f"{where}\non the objects: {lift:.1f} times even"


@as_written
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


def _beside_photo(
    analysis: Analysis,
    grid: ImageGrid,
    maps: list[np.ndarray],
    titles: list[str],
    values_are: str,
    shares_are: str | None = None,
    *,
    normalisation: str = "image",
) -> Figure:
    """The photo in its own colours, and maps beside it."""
    panels = new_grid(1 + len(maps), columns=_columns(1 + len(maps)), cell=panel_size(grid, width=3.0))
    photo, boxes = analysis.image, _boxes(analysis)
    shown: dict[str, Any] = {"boxes": boxes, "titles": titles, "values_are": values_are, "shares_are": shares_are}
    plot_heatmaps(photo, grid, maps, **shown, normalisation=normalisation, axes=list(panels[1:]))
    plot_photo(photo, grid, panels[0], boxes=boxes)
    return figure_of(panels[0])


def _columns(n: int) -> int:
    """As many panels in a row, 3 to 5, as leave the fewest places empty."""
    return n if n <= 5 else min((4, 3, 5), key=lambda columns: -n % columns)


def _boxes(analysis: Analysis) -> tuple:
    return () if analysis.found is None else tuple(analysis.found.boxes)
