"""Overlap studies made up without a model: numbers of known association, for tests of figures and reports."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd

from interp.overlap.study.result import OverlapStudy

REGIONS = ("first", "second", "union", "first minus second")
MEASURES = ("cosine", "mass", "lift", "hit", "auroc", "distance")
NULLED = ("cosine", "mass", "auroc")
NULLS = ("even", "shuffled", "moved", "centre", "heads")
RELATIONS = ("left", "right", "above", "below")
BOXES = json.dumps({"first": [[5, 5, 12, 14, 1.0]], "second": [[15, 10, 26, 24, 0.5]]})


def made_up_study(
    n: int = 60,
    *,
    n_layers: int = 6,
    n_heads: int = 3,
    effect: float = 0.0,
    layer: int = 3,
    missing: int = 0,
    right: bool | None = None,
    normalisations: tuple[str, ...] = ("image", "keys"),
    layers: tuple[int, ...] | None = None,
    seed: int = 0,
    settings: dict[str, object] | None = None,
    **changes: object,
) -> OverlapStudy:
    """A study in which the overlap of one layer is `effect` higher where the answer is right, and nothing else is.

    Args:
        n: samples; two of them share a group.
        n_layers: layers of the model.
        n_heads: heads of the model.
        effect: what a right answer adds to the overlap of `layer`, in units of its spread.
        layer: which one.
        missing: of how many samples no object was found.
        right: whether all answers are right, or all wrong; mixed by default.
        normalisations: of the attention.
        layers: that were measured; all by default.
        seed: of the numbers.
        settings: to replace or add.
        changes: columns of the samples to replace.
    """
    rng = np.random.default_rng(seed)
    marks = rng.random(n) < 0.6 if right is None else np.full(n, right)
    lost = np.arange(n) < missing
    relations = np.array(RELATIONS, dtype=object)[np.arange(n) % 4]
    areas = rng.uniform(0.05, 0.3, size=(n, 2)).astype(np.float32)
    found = np.where(lost, "none", np.where(rng.random(n) < 0.1, "some", "all"))
    samples = pd.DataFrame(
        {
            "id": [f"s-{place:03d}" for place in range(n)],
            "dataset": "made-up",
            "relation": relations,
            "group": [f"pair {place // 2}" for place in range(n)],
            "gold": relations,
            "options": "left|right|above|below",
            "text": np.where(marks, relations, "none of these"),
            "predicted": np.where(marks, relations, None),
            "right": marks,
            "confidence": rng.uniform(0.3, 1.0, size=n),
            "objects": "mug|table",
            "no_class": "",
            "found": found,
            "complete": found == "all",
            "visible": True,
            "n_first": 1,
            "n_second": 1,
            "area_first": areas[:, 0],
            "area_second": areas[:, 1],
            "area_union": areas.sum(axis=1),
            "boxes": BOXES,
        }
    ).assign(**changes)
    shape = (n, len(normalisations), len(REGIONS), n_layers, n_heads + 1)
    measures = {}
    for name in MEASURES:
        noise = rng.normal(0.4, 0.1, size=shape)
        noise[:, :, :, layer] += 0.1 * effect * marks[:, None, None, None]
        measures[name] = np.clip(noise, 0.01, None).astype(np.float32)
    for name in NULLED:
        for null in NULLS:
            measures[f"{name}_{null}"] = rng.uniform(0.15, 0.3, size=shape).astype(np.float32)
    measures["peaks"] = rng.integers(1, 9, size=shape)[:, :, 0].astype(np.float32)
    measured = tuple(range(n_layers)) if layers is None else layers
    for values in measures.values():
        values[lost] = np.nan
        values[..., np.setdiff1d(np.arange(n_layers), measured), :] = np.nan
    known = {"model": "made-up", "dataset": "made-up", "detector": "by hand", "prompt": "paper", "seed": 0}
    known |= {"layers": list(measured), "nulls": list(NULLS[1:]), "draws": 3, **(settings or {})}
    return OverlapStudy(samples, measures, normalisations, REGIONS, n_layers, n_heads, known)
