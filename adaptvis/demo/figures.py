"""The figures of the demo: what alpha changes and which layers carry it, share and overlap by layer, heat maps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from adaptvis.demo.change import Change
from adaptvis.evaluation.evaluation import Evaluation
from adaptvis.report.before_after import WORDS, draw_under
from adaptvis.sweep.flips import AMOUNT, FROM_ON, ONLY, SHARPENING, UP_TO, Flips
from interp.intervene.image_logits import ScaleImageLogits
from interp.layers import paper_layers
from interp.overlap.figures.by_layer import plot_overlap_by_layer
from interp.plots.accuracy import plot_accuracy_by_alpha, plot_changed_by_alpha
from interp.plots.flips import plot_flips_by_layer, plot_one_flip
from interp.plots.layers import plot_share_by_layer
from interp.plots.maps import plot_heatmaps, plot_photo
from interp.plots.style import cut_wide, figure_of, in_short, new_grid
from interp.plots.written import as_written

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from adaptvis.demo.scene_attention import SceneAttention
    from interp.model.hooked_vlm import HookedVLM

SCENES = 4
CHANCE = 0.25  # four options
PARTS = ("image", "bos", "question", "template")
BEST_BY = "lift"
"""The measure that names the best layer: attention on the objects for their area, so that large ones are no merit."""


def draw_figures(
    vlm: HookedVLM, evaluation: Evaluation, looked: Sequence[SceneAttention], change: Change, *, prompt: str
) -> dict[str, Figure]:
    """All figures of the demo, by file name without ending; where nothing flips there is none of a flip."""
    untouched = evaluation.rows("baseline").set_index("id")
    right = untouched["correct"].astype(bool).to_dict()
    figures = {
        "dose_response": draw_dose(change),
        "share_by_layer": figure_of(plot_share_by_layer([one.trajectory for one in looked], parts=PARTS)),
        "overlap_by_layer": figure_of(plot_overlap_by_layer([one.overlap for one in compared(looked)], correct=right)),
        "heatmaps": draw_scenes(looked, untouched),
    }
    if change.flips is not None:
        one = telling_flip(change.flips, evaluation, looked)
        figures["before_after"] = draw_flip(vlm, change.flips, one, looked, prompt=prompt)
        figures["flip_by_layers"] = draw_layers(change.flips, one)
    return figures


def compared(looked: Sequence[SceneAttention]) -> list[SceneAttention]:
    """The scenes whose attention is compared with boxes: all objects were found, and overlap is defined everywhere."""
    measures = ("cosine", BEST_BY)
    return [
        one
        for one in looked
        if not one.missing and not any(np.isnan(one.overlap.by_layer(name)).any() for name in measures)
    ]


def best_layer(looked: Sequence[SceneAttention]) -> tuple[int, float]:
    """The layer with most attention on the objects for their area, mean over scenes; and how much, even attention 1."""
    density = np.stack([one.overlap.by_layer(BEST_BY) for one in compared(looked)]).mean(axis=0)
    return int(density.argmax()), float(density.max())


@as_written
def draw_dose(change: Change) -> Figure:
    """Accuracy and share of changed answers against alpha, by relation, beside the matched control."""
    import pandas as pd

    left, right = new_grid(2, columns=2, cell=(5.6, 4.6))
    control = pd.concat([change.matched, change.scaled[change.scaled["alpha"] == 1]])  # at 1 they are the same
    plot_accuracy_by_alpha(change.scaled, left, chance=CHANCE, control=control)
    plot_changed_by_alpha(change.scaled, right, control=control)
    return figure_of(left)


@as_written
def draw_scenes(looked: Sequence[SceneAttention], untouched: pd.DataFrame) -> Figure:
    """Some scenes, wrong answers among them, at the paper's layers and the one with most on the objects.

    Wrong answers that name another option go before those that name none.
    """
    right, said, named = (untouched[name].to_dict() for name in ("correct", "text", "parsed"))
    wrong = [one for one in looked if not right[one.sample.id]]
    wrong = sorted(wrong, key=lambda one: not named[one.sample.id])[: SCENES // 2]
    chosen = [one for one in looked if right[one.sample.id]][: SCENES - len(wrong)] + wrong
    best, density = best_layer(looked)
    why = {layer: ["the paper's"] for layer in paper_layers(chosen[0].trajectory.n_layers)}
    why.setdefault(best, []).append(f"most on the objects (mean of all: {density:.1f})")
    layers, columns = sorted(why), 1 + len(why)
    panels = new_grid(len(chosen) * columns, columns=columns, cell=(3.2, 3.5)).reshape(len(chosen), -1)
    for one, row in zip(chosen, panels, strict=True):
        reasons = why if one is chosen[0] else {}
        titles = ["\n".join([_lifted(one, layer), *reasons.get(layer, ())]) for layer in layers]
        maps = [one.trajectory.image_map(layer=layer) for layer in layers]
        plot_heatmaps(one.image, one.grid, maps, boxes=one.boxes, titles=titles, axes=list(row[1:]))
        answer = cut_wide(said[one.sample.id], WORDS)
        title = f"{in_short(one.sample.question, 34, 2)}\nsaid {answer!r}\ngold {one.sample.answer!r}"
        title += "" if named[one.sample.id] else "\n(names no option)"
        plot_photo(one.image, one.grid, row[0], boxes=one.boxes, title=title)
    return figure_of(panels[0, 0])


def _lifted(one: SceneAttention, layer: int) -> str:
    """A layer and how much of its attention is on the scene's own objects; left out where these were not found."""
    lift = one.overlap.by_layer(BEST_BY)[layer]
    where = f"layer {layer}, head mean"
    return where if one.missing or np.isnan(lift) else f"{where}\non the objects: {lift:.1f} times even"


def telling_flip(flips: Flips, evaluation: Evaluation, looked: Sequence[SceneAttention]) -> SceneAttention:
    """The flip that was answered most surely before, of those whose objects were found; of all where there is none."""
    sure = evaluation.rows("baseline").set_index("id")["confidence"]
    ids = set(flips.answers["id"])
    flipped = [one for one in looked if one.sample.id in ids]
    found = [one for one in flipped if not one.missing]
    return max(found or flipped, key=lambda one: float(sure[one.sample.id]))


@as_written
def draw_flip(
    vlm: HookedVLM, flips: Flips, one: SceneAttention, looked: Sequence[SceneAttention], *, prompt: str
) -> Figure:
    """Attention before and after in the scene, at the paper's layers and the one with most on the objects."""
    layers = sorted({*paper_layers(vlm.cfg.n_layers), best_layer(looked)[0]})
    answers = flips.answers.set_index("id").loc[one.sample.id]
    return draw_under(
        vlm,
        one.sample,
        ScaleImageLogits(flips.alpha),
        name=f"alpha {flips.alpha:g}",
        said=(answers["before"], answers["after"]),
        layers=layers,
        prompt=prompt,
        boxes=one.boxes,
    )


@as_written
def draw_layers(flips: Flips, one: SceneAttention) -> Figure:
    """Which layers carry the change, over the scenes that flip and in one of them."""
    import matplotlib.pyplot as plt

    figure, (top, bottom) = plt.subplots(2, 1, figsize=(8.4, 8.2), layout="constrained", height_ratios=(5, 2))
    carried = flips.carried()
    kinds = [ONLY, UP_TO, FROM_ON]
    references = {name.removesuffix(", all layers"): flips.of(name) for name in (AMOUNT, SHARPENING)}
    plot_flips_by_layer(carried[carried["kind"].isin(kinds)], top, references=references)
    answers = flips.answers.set_index("id").loc[one.sample.id]
    own = flips.windows[flips.windows["id"] == one.sample.id]
    own = own.assign(said=own["predicted"].fillna(own["text"]))
    texts = {kind: own[own["kind"] == kind].sort_values("layer")["said"].tolist() for kind in kinds}
    title = f"One of them: {in_short(one.sample.question, 90, 1)}"
    plot_one_flip(texts, answers["before"], answers["after"], bottom, title=title)
    return figure
