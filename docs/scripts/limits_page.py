"""The page on what an attention map does not show: each reason with a measurement on an embedded or planted model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from adaptvis_page import weights
from limits_measures import OUT, SEED, SceneMeasures, batches, look, lose_sight, rank_correlation, token_of
from site_pages import render

from interp import HookedVLM, PerSample, Prefix, Sample, ScaleImageLogits, Untouched, paper_layers
from interp.datasets.synthetic.shapes import shapes
from interp.overlap.figures.association import strongest
from interp.planted.llava import OBJECT_HEAD, SINK_HEAD, build_planted, planted_scenes
from interp.plots.style import PALETTE, layer_axis, legend_below, mean_with_band, tidy
from interp.report.numbers import decimal, p_said, p_value
from interp.stats.association import association
from interp.stats.intervals import APART, Interval, bootstrap, wilson
from interp.stats.sign_flips import flip_signs
from interp.stats.tests import shuffled_null

N = 120


def write_limits(page: Path, picture: Path) -> Path:
    """Measure, draw the figure, and write the page."""
    vlm = HookedVLM.from_pretrained("shapes-vlm", dtype="float32")
    scenes = shapes(N, split="test", seed=SEED, kinds=("relation",))
    looked = look(vlm, scenes)
    lost = lose_sight(vlm, scenes)
    draw(looked, lost, picture)
    layer = paper_layers(vlm.cfg.n_layers)[0]
    values = {
        "n": N,
        "weights": weights(),
        "layer": layer,
        "planted": planted_table(),
        "by_layer": layer_table(looked, lost),
        **lost_told(looked, lost),
        "heads": head_table(looked, layer),
        "values": value_table(looked),
        "least_rank": f"{looked.rank.mean((0, 2)).min():.3f}",
        "most_moved": f"{100 * looked.moved_top.mean((0, 2)).max():.0f}",
        "sight": sight_table(vlm, scenes),
        **place_table(looked),
        "association": association_table(looked, scenes),
    }
    page.write_text(render("limits.md.jinja", **values), encoding="utf-8")
    return page


def layer_table(looked: SceneMeasures, lost: np.ndarray) -> pd.DataFrame:
    """Looking beside losing, by layer."""
    beyond = bootstrap((lost[0] - lost[1]).T, seed=SEED)
    return pd.DataFrame(
        {
            "layer": range(looked.share.shape[1]),
            "share of the image": _spelled(looked.share.mean(0)),
            "of that in the boxes": _spelled(looked.mass.mean(0)),
            "cosine with the boxes": _spelled(looked.cosine.mean(0)),
            "lost without the objects": _spelled(lost[0].mean(1), 3),
            "lost without as many others": _spelled(lost[1].mean(1), 3),
            "beyond them": _between(beyond, 3),
        }
    )


def lost_told(looked: SceneMeasures, lost: np.ndarray) -> dict[str, str]:
    """In which layers more is lost than without other tokens, and whether looking and losing have one order."""
    beyond = (lost[0] - lost[1]).T
    p = flip_signs(beyond, np.arange(len(beyond)), seed=SEED).p_any
    shown = np.flatnonzero((p <= 0.05) & (beyond.mean(0) > 0))
    both = np.stack([looked.mass, beyond], axis=-1)
    found = bootstrap(both, lambda draw: rank_correlation(*draw.mean(0).T), seed=SEED, bounds=APART)
    return {
        "shown": f"layer{'s' * (len(shown) > 1)} {', '.join(map(str, shown))}" if len(shown) else "",
        "least_p": p_value(p.min()),
        "agreement": _between(found)[0],
    }


def head_table(looked: SceneMeasures, layer: int) -> pd.DataFrame:
    """One layer's heads, and their mean as the paper takes it."""
    share, mass = looked.head_share[:, layer].mean(0), looked.head_mass[:, layer].mean(0)
    weight = looked.head_share[:, layer] / looked.head_share[:, layer].sum(1, keepdims=True)
    names = [*map(str, range(len(share))), "head mean"]
    return pd.DataFrame(
        {
            "head": names,
            "share of the image": _spelled([*share, looked.share[:, layer].mean()]),
            "of that in the boxes": _spelled([*mass, looked.mass[:, layer].mean()]),
            "part in the head mean's map": [*_spelled(weight.mean(0)), ""],
        }
    )


def value_table(looked: SceneMeasures) -> pd.DataFrame:
    """How attention and what it moves agree, mean over samples and heads, by layer."""
    return pd.DataFrame(
        {
            "layer": range(looked.rank.shape[1]),
            "rank correlation": _spelled(looked.rank.mean((0, 2)), 3),
            "another strongest token": [f"{100 * part:.0f} %" for part in looked.moved_top.mean((0, 2))],
        }
    )


def sight_table(vlm: HookedVLM, scenes: Sequence[Sample]) -> pd.DataFrame:
    """How many answers are right when some rows, in some layers, can not see the image."""
    depth = vlm.cfg.n_layers
    plans: dict[str, dict[str, Any] | None] = {
        "none": None,
        "the last row": {},
        "the rows between the image and the last one": {"rows": "between"},
        "every row behind the image": {"rows": "after_image"},
        **{
            f"every row behind the image, from layer {first} on": {
                "rows": "after_image",
                "layers": tuple(range(first, depth)),
            }
            for first in (depth // 4, depth // 2, 3 * depth // 4)
        },
    }
    right = {
        name: np.concatenate([_right(vlm, *batch, plan) for batch in batches(vlm, scenes)])
        for name, plan in plans.items()
    }
    sides = np.array([sample.answer in ("left", "right") for sample in scenes])
    return pd.DataFrame(
        [
            {
                "rows that can not see the image": name,
                "right": _percent(own),
                "left and right": _percent(own[sides]),
                "above and below": _percent(own[~sides]),
            }
            for name, own in right.items()
        ]
    )


def _right(vlm: HookedVLM, part: Sequence[Sample], inputs: Any, plan: dict[str, Any] | None) -> np.ndarray:
    """Which first words are right under a plan [sample]."""
    hooks = []
    if plan is not None and plan.get("rows") == "between":
        between = [tuple(layout.after_image[:-1].tolist()) for layout in inputs.layouts]
        aimed = PerSample(tuple(ScaleImageLogits(OUT, mode="add", **{**plan, "rows": rows}) for rows in between))
        hooks = aimed.hooks(vlm.cfg, inputs.layouts)
    elif plan is not None:
        hooks = ScaleImageLogits(OUT, mode="add", **plan).hooks(vlm.cfg, inputs.layouts)
    with torch.no_grad(), vlm.hooks(hooks):
        said = vlm(inputs).logits[:, -1].argmax(-1).tolist()
    return np.array([word == token_of(vlm, sample) for word, sample in zip(said, part, strict=True)])


def place_table(looked: SceneMeasures) -> dict[str, Any]:
    """The cosine of each map with its own boxes, with other scenes' boxes, and with other scenes' mean map."""
    maps, masks = looked.maps.astype(np.float64), looked.masks.astype(np.float64)
    n = len(maps)
    others = np.mean([_cosines(maps, np.roll(masks, shift, axis=0)[:, None]) for shift in range(1, 21)], axis=0)
    rest = (maps.sum(0) - maps) / (n - 1)
    own, even = _cosines(maps, masks[:, None]), _cosines(np.ones_like(maps), masks[:, None])
    table = pd.DataFrame(
        {
            "layer": range(maps.shape[1]),
            "own boxes": _spelled(own.mean(0)),
            "other scenes' boxes": _spelled(others.mean(0)),
            "own less others'": _between(bootstrap(own - others, seed=SEED)),
            "even attention": _spelled(even.mean(0)),
            "mean map of the other scenes": _spelled(_cosines(maps, rest).mean(0)),
        }
    )
    return {"places": table, "below_even": int((own.mean(0) < even.mean(0)).sum())}


def association_table(looked: SceneMeasures, scenes: Sequence[Sample]) -> dict[str, Any]:
    """How well some scores tell right answers from wrong ones, pooled and within relation."""
    relation = np.array([sample.relation for sample in scenes])
    rate = {name: looked.right[relation == name].mean() for name in np.unique(relation)}
    layer = paper_layers(looked.cosine.shape[1])[0]
    every = association(looked.cosine, looked.right, strata=relation, seed=SEED)
    best = strongest(every.auroc)
    scores = {
        "how often this relation is answered rightly": np.array([rate[name] for name in relation]),
        f"cosine with the boxes, layer {layer} (the paper's)": looked.cosine[:, layer],
        f"cosine with the boxes, layer {best} (the farthest from 0.5 within relation)": looked.cosine[:, best],
        "probability of the first word": looked.sure,
    }
    rows = []
    for name, score in scores.items():
        null = shuffled_null(score, looked.right, seed=SEED, within=relation)
        within = association(score, looked.right, strata=relation, seed=SEED)
        ends = decimal(within.auroc, within.low, within.high)
        cells = {"pooled": f"{null.observed:.2f}", "pooled, shuffled": f"{null.low:.2f} to {null.high:.2f}"}
        rows.append({"score": name, **cells, "within relation": ends, "p": p_value(within.p)})
    accuracy = pd.DataFrame(
        [{"relation": name, "right": _percent(looked.right[relation == name])} for name in dict.fromkeys(relation)]
    )
    return {
        "table": pd.DataFrame(rows),
        "accuracy": accuracy,
        "picked": decimal(every.auroc[best], every.low_all[best], every.high_all[best]),
        "p_picked": p_said(every.p_max[best]),
        "picked_of": len(every.auroc),
        "both": sum(right > 0 and wrong > 0 for right, wrong in every.strata.values()),
    }


def planted_table() -> pd.DataFrame:
    """Heads whose part is known: where they look, and what is lost without it."""
    vlm = HookedVLM.wrap(*build_planted("planted-object"), self_check=False)  # idle heads would fail the check
    scenes = planted_scenes("planted-object", 48)
    ((part, inputs),) = batches(vlm, scenes, size=48)
    heads = {"a sink on the border": SINK_HEAD, "the object": OBJECT_HEAD, "everything evenly": (3, 0)}
    names = sorted({f"blocks.{layer}.attn.hook_pattern" for layer, _ in heads.values()})
    # its logits are as large as a hundred and eighty, so that -50 would leave the object in sight
    settings = [
        ScaleImageLogits(20 * OUT, mode="add", layers=(layer,), heads=(head,)) for layer, head in heads.values()
    ]
    with torch.no_grad():
        _, cache = vlm.run_with_cache(inputs, names_filter=names)
    said = Prefix(vlm, inputs).step([Untouched(), *settings]).logits
    gold = [token_of(vlm, sample) for sample in part]
    right = (said.argmax(-1) == torch.tensor(gold)).numpy()
    rows = []
    for (what, (layer, head)), own_right in zip(heads.items(), right[1:], strict=True):
        weights_of = cache["pattern", layer][:, head, 0].numpy()
        looks = np.stack([own[layout.image_positions] for own, layout in zip(weights_of, inputs.layouts, strict=True)])
        boxes = np.stack([inputs.grids[0].membership(sample.objects[0].box) for sample in part])  # type: ignore[arg-type]
        rows.append(
            {
                "head": f"{layer}.{head}",
                "looks at": what,
                "weight of its strongest image token": f"{looks.max(1).mean():.2f}",
                "weight in the object's box": f"{(looks * boxes).sum(1).mean():.2f}",
                "right when it can not see the image": _percent(own_right),
            }
        )
    untouched = {"head": "none", "right when it can not see the image": _percent(right[0])}
    return pd.DataFrame([*rows, untouched]).fillna("")


def draw(looked: SceneMeasures, lost: np.ndarray, path: Path) -> None:
    """Looking and losing by layer, side by side."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(10.5, 3.9), layout="constrained")
    layers = np.arange(looked.share.shape[1])
    panels = (
        (
            left,
            {"share of the image": looked.share, "of that in the boxes": looked.mass},
            "Where the last row looks",
            "share",
        ),
        (
            right,
            {"both objects": lost[0].T, "as many others": lost[1].T},
            "What is lost without them",
            "lost log-probability",
        ),
    )
    for ax, lines, title, label in panels:
        for (name, values), colour in zip(lines.items(), PALETTE, strict=False):
            mean_with_band(ax, layers, values, colour=colour, label=name, seed=SEED, level=0.95)
        shade = layer_axis(ax, len(layers))
        tidy(
            ax,
            title=f"{title}, {N} scenes, bands of 95 %",
            x="layer (0-based)",
            y=f"{label} (head mean,\nnormalisation image)" if ax is left else f"{label} (nats)",
        )
        legend_below(ax, shade)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=90, metadata={"Software": None})
    plt.close(figure)


def _cosines(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return (first * second).sum(-1) / (np.linalg.norm(first, axis=-1) * np.linalg.norm(second, axis=-1))


def _percent(right: np.ndarray) -> str:
    found = wilson(int(right.sum()), len(right))
    return f"{100 * found.estimate:.0f} [{100 * found.low:.0f}, {100 * found.high:.0f}] %"


def _between(found: Interval, digits: int = 2) -> list[str]:
    ends = [np.atleast_1d(own) for own in (found.estimate, found.low, found.high)]
    return [decimal(*own, digits=digits) for own in zip(*ends, strict=True)]


def _spelled(values: Sequence[float] | np.ndarray, digits: int = 2) -> list[str]:
    return [f"{value:z.{digits}f}" for value in values]
