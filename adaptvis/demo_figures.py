"""The figures of the demo: share and overlap by layer, accuracy against alpha, heat maps, before and after."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from adaptvis.before_after import draw_before_after, telling_sample
from adaptvis.evaluation import Evaluation
from adaptvis.metrics import ALL
from adaptvis.sweep import rows_under
from interp.plots import (
    plot_accuracy_by_alpha,
    plot_heatmaps,
    plot_overlap_by_layer,
    plot_photo,
    plot_share_by_layer,
)
from interp.plots.style import figure_of, new_grid
from interp.trajectory import paper_layers

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from adaptvis.demo import Looked
    from interp.hooked_vlm import HookedVLM

SCENES = 4
CHANCE = 0.25  # four options
PARTS = ("image", "bos", "question", "template")


def draw_figures(
    vlm: HookedVLM, evaluation: Evaluation, looked: Sequence[Looked], *, prompt: str
) -> tuple[dict[str, Figure], str]:
    """All figures of the demo, by file name without ending, and what the scene of `before_after` is."""
    answers = evaluation.answers
    untouched = answers[answers["policy"] == "baseline"].set_index("id")
    right = untouched["correct"].astype(bool).to_dict()
    lines = evaluation.summary[evaluation.summary["relation"] == ALL].set_index("policy")["accuracy"]
    adaptive = {"AdaptVis": float(lines[str(evaluation.policies["adaptvis"])])}
    complete = [one for one in looked if not one.missing]
    best = int(np.nanargmax(np.nanmean([one.overlap.by_layer("cosine") for one in complete], axis=0)))
    swept = rows_under(evaluation.test)
    change, told = draw_change(vlm, evaluation, looked, prompt=prompt, layer=best)
    figures = {
        "accuracy_by_alpha": figure_of(plot_accuracy_by_alpha(swept, chance=CHANCE, references=adaptive)),
        "share_by_layer": figure_of(plot_share_by_layer([one.trajectory for one in looked], parts=PARTS)),
        "overlap_by_layer": figure_of(plot_overlap_by_layer([one.overlap for one in complete], correct=right)),
        "heatmaps": draw_scenes(looked, right, untouched["text"].to_dict(), best=best),
        "before_after": change,
    }
    return figures, told


def draw_scenes(looked: Sequence[Looked], right: dict[str, bool], said: dict[str, str], *, best: int) -> Figure:
    """Some scenes, wrong answers among them, at the paper's layers and the one of the highest overlap."""
    wrong = [one for one in looked if not right[one.sample.id]][: SCENES // 2]
    chosen = [one for one in looked if right[one.sample.id]][: SCENES - len(wrong)] + wrong
    layers = sorted({*paper_layers(chosen[0].trajectory.n_layers), best})
    columns = 1 + len(layers)
    panels = new_grid(len(chosen) * columns, columns=columns, cell=(3.2, 3.2)).reshape(len(chosen), -1)
    for one, row in zip(chosen, panels, strict=True):
        told = f"said {said[one.sample.id]!r}, gold {one.sample.answer!r}"
        titles = [f"layer {layer}" for layer in layers]
        maps = [one.trajectory.image_map(layer=layer) for layer in layers]
        plot_heatmaps(one.image, one.grid, maps, boxes=one.boxes, titles=titles, axes=list(row[1:]))
        plot_photo(one.image, one.grid, row[0], boxes=one.boxes, title=told)
    return figure_of(panels[0, 0])


def draw_change(
    vlm: HookedVLM, evaluation: Evaluation, looked: Sequence[Looked], *, prompt: str, layer: int
) -> tuple[Figure, str]:
    """Attention before and after AdaptVis in a scene whose answer it changed, or else the least sure one; and which."""
    name, told = telling_sample(evaluation, "adaptvis")
    one = next(one for one in looked if one.sample.id == name)
    return draw_before_after(vlm, evaluation, one.sample, layers=(layer,), prompt=prompt, boxes=one.boxes), told
