"""The page on what an attention map does not show: each reason with a measurement on an embedded or planted model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from adaptvis_page import weights
from einops import einsum, rearrange, repeat
from site_pages import render

from interp import HookedVLM, PerSample, Prefix, Sample, ScaleImageLogits, Untouched, paper_layers
from interp.datasets.synthetic.shapes import shapes
from interp.maps.trajectory import trajectory
from interp.overlap.figures.association import strongest
from interp.overlap.overlap import overlap
from interp.planted.llava import OBJECT_HEAD, SINK_HEAD, build_planted, planted_scenes
from interp.plots.style import PALETTE, layer_axis, legend_below, mean_with_band, tidy
from interp.stats.auroc import auroc
from interp.stats.intervals import wilson
from interp.stats.tests import shuffled_null

N, SEED = 120, 7
OUT = -50.0
"""What is added to a logit to take its key out of sight: the weight becomes e^-50 of what it was."""


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
        "agreement": _rank_correlation(looked.mass.mean(0), (lost[0] - lost[1]).mean(1)),
        "heads": head_table(looked, layer),
        "values": value_table(looked),
        "sight": sight_table(vlm, scenes),
        "places": place_table(looked),
        "association": association_table(looked, scenes),
    }
    page.write_text(render("limits.md.jinja", **values), encoding="utf-8")
    return page


@dataclass(frozen=True, eq=False)
class SceneMeasures:
    """What the last prompt row did in every scene.

    Attributes:
        share: of the image, head mean [sample layer]; `cosine` and `mass` with both boxes, likewise.
        maps: attention over the image tokens, head mean, summing to one [sample layer token].
        masks: share of each token that lies in the boxes [sample token].
        head_share, head_mass: share of the image, and of that in the boxes [sample layer head].
        rank, moved_top: of attention against attention times the length of what it moves: rank correlation over image
            tokens, and whether the strongest token is another one [sample layer head].
        right, sure: whether the first word is right, and its probability [sample].
    """

    share: np.ndarray
    cosine: np.ndarray
    mass: np.ndarray
    maps: np.ndarray
    masks: np.ndarray
    head_share: np.ndarray
    head_mass: np.ndarray
    rank: np.ndarray
    moved_top: np.ndarray
    right: np.ndarray
    sure: np.ndarray


def look(vlm: HookedVLM, scenes: Sequence[Sample]) -> SceneMeasures:
    """Ask every scene and measure where its last row looks."""
    layers = range(vlm.cfg.n_layers)
    names = [f"blocks.{layer}.attn.hook_{what}" for layer in layers for what in ("pattern", "v")]
    rows: list[dict[str, Any]] = []
    for part, inputs in batches(vlm, scenes):
        with torch.no_grad():
            output, cache = vlm.run_with_cache(inputs, names_filter=names)
        chance = output.logits[:, -1].softmax(-1)
        patterns = torch.stack([cache["pattern", layer][:, :, 0] for layer in layers], 1)
        moved = patterns * torch.stack([moved_lengths(vlm, cache["v", layer], layer) for layer in layers], 1)
        for place, sample in enumerate(part):
            image = inputs.layouts[place].image_positions
            measured = trajectory(patterns[place].numpy(), inputs.layouts[place], inputs.grids[place])
            boxes = [thing.box for thing in sample.objects if thing.box is not None]
            found = overlap(measured, inputs.grids[place], boxes)
            plain, weighed = patterns[place][..., image].numpy(), moved[place][..., image].numpy()
            rows.append(
                {
                    "share": measured.share_by_layer("image"),
                    "cosine": found.by_layer("cosine"),
                    "mass": found.by_layer("mass"),
                    "maps": np.stack([measured.image_map(layer=layer) for layer in layers]),
                    "masks": inputs.grids[place].union_membership(boxes),
                    "head_share": measured.share("image"),
                    "head_mass": found.values("mass")[:, :-1],
                    "rank": _rank_correlation(plain, weighed),
                    "moved_top": plain.argmax(-1) != weighed.argmax(-1),
                    "right": int(chance[place].argmax()) == token_of(vlm, sample),
                    "sure": float(chance[place].max()),
                }
            )
    return SceneMeasures(**{name: np.stack([row[name] for row in rows]) for name in rows[0]})


def moved_lengths(vlm: HookedVLM, values: torch.Tensor, layer: int) -> torch.Tensor:
    """The length of what each head would write for each key, per unit of weight [batch head key].

    That is |W_O v| for the head's part of the output projection (Kobayashi et al. 2020, arXiv:2004.10102).
    """
    heads = vlm.cfg.n_heads
    groups = heads // values.shape[2]
    values = repeat(values, "batch key kv_head d_head -> batch key (kv_head group) d_head", group=groups)
    out = vlm.model.model.language_model.layers[layer].self_attn.o_proj.weight
    out = rearrange(out, "d_model (head d_head) -> d_model head d_head", head=heads)
    moved = "batch key head d_head, d_model head d_head -> batch head key d_model"
    return einsum(values.float(), out.float(), moved).norm(dim=-1)


def lose_sight(vlm: HookedVLM, scenes: Sequence[Sample]) -> np.ndarray:
    """What the right word loses in log-probability when the last row can not see some tokens in one layer.

    Returns:
        [which layer sample]: 0 the tokens of both objects, 1 as many others, drawn at random.
    """
    rng = np.random.default_rng(SEED)
    parts = []
    for part, inputs in batches(vlm, scenes):
        objects = [
            grid.tokens_in([thing.box for thing in sample.objects if thing.box is not None])
            for sample, grid in zip(part, inputs.grids, strict=True)
        ]
        others = [tuple(range(len(inputs.grids[0]))) for _ in part]
        others = [
            tuple(rng.permutation(sorted({*every} - {*own}))[: len(own)].tolist())
            for every, own in zip(others, objects, strict=True)
        ]
        settings = [
            PerSample(tuple(ScaleImageLogits(OUT, mode="add", layers=(layer,), image_tokens=own) for own in aims))
            for aims in (objects, others)
            for layer in range(vlm.cfg.n_layers)
        ]
        said = Prefix(vlm, inputs).step([Untouched(), *settings]).logits.log_softmax(-1)
        gold = said[:, list(range(len(part))), [token_of(vlm, sample) for sample in part]]
        losses = rearrange(gold[0] - gold[1:], "(which layer) sample -> which layer sample", which=2)
        parts.append(losses.numpy())
    return np.concatenate(parts, axis=-1)


def layer_table(looked: SceneMeasures, lost: np.ndarray) -> pd.DataFrame:
    """Looking beside losing, by layer."""
    return pd.DataFrame(
        {
            "layer": range(looked.share.shape[1]),
            "share of the image": _spelled(looked.share.mean(0)),
            "of that in the boxes": _spelled(looked.mass.mean(0)),
            "cosine with the boxes": _spelled(looked.cosine.mean(0)),
            "lost without the objects": _spelled(lost[0].mean(1), 3),
            "lost without as many others": _spelled(lost[1].mean(1), 3),
        }
    )


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
            "rank correlation": _spelled(looked.rank.mean((0, 2))),
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


def place_table(looked: SceneMeasures) -> pd.DataFrame:
    """The cosine of each map with its own boxes, with other scenes' boxes, and with other scenes' mean map."""
    maps, masks = looked.maps.astype(np.float64), looked.masks.astype(np.float64)
    n = len(maps)
    others = np.mean([_cosines(maps, np.roll(masks, shift, axis=0)[:, None]) for shift in range(1, 21)], axis=0)
    rest = (maps.sum(0) - maps) / (n - 1)
    return pd.DataFrame(
        {
            "layer": range(maps.shape[1]),
            "own boxes": _spelled(_cosines(maps, masks[:, None]).mean(0)),
            "other scenes' boxes": _spelled(others.mean(0)),
            "even attention": _spelled(_cosines(np.ones_like(maps), masks[:, None]).mean(0)),
            "mean map of the other scenes": _spelled(_cosines(maps, rest).mean(0)),
        }
    )


def association_table(looked: SceneMeasures, scenes: Sequence[Sample]) -> dict[str, Any]:
    """How well some scores tell right answers from wrong ones, pooled and within relation."""
    relation = np.array([sample.relation for sample in scenes])
    rate = {name: looked.right[relation == name].mean() for name in np.unique(relation)}
    layer = paper_layers(looked.cosine.shape[1])[0]
    pooled = [auroc(own, looked.right) for own in looked.cosine.T]
    best = strongest(np.array(pooled))
    scores = {
        "how often this relation is answered rightly": np.array([rate[name] for name in relation]),
        f"cosine with the boxes, layer {layer} (the paper's)": looked.cosine[:, layer],
        f"cosine with the boxes, layer {best} (the farthest from 0.5 of {len(pooled)})": looked.cosine[:, best],
        "probability of the first word": looked.sure,
    }
    rows = []
    for name, score in scores.items():
        null = shuffled_null(score, looked.right, seed=SEED, n=1000, within=relation)
        within = auroc(score, looked.right, groups=relation)
        cells = {"pooled": f"{auroc(score, looked.right):.2f}", "within relation": f"{within:.2f}"}
        null_ends = f"{null.low:.2f} to {null.high:.2f}"
        rows.append({"score": name, **cells, "pooled, shuffled within relation": null_ends, "p": f"{null.p_value:.3f}"})
    accuracy = pd.DataFrame(
        [{"relation": name, "right": _percent(looked.right[relation == name])} for name in dict.fromkeys(relation)]
    )
    return {"table": pd.DataFrame(rows), "accuracy": accuracy}


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
    rows = []
    for (what, (layer, head)), logits in zip(heads.items(), said[1:], strict=True):
        weights_of = cache["pattern", layer][:, head, 0].numpy()
        looks = np.stack([own[layout.image_positions] for own, layout in zip(weights_of, inputs.layouts, strict=True)])
        boxes = np.stack([inputs.grids[0].membership(sample.objects[0].box) for sample in part])  # type: ignore[arg-type]
        right = (logits.argmax(-1) == torch.tensor(gold)).numpy()
        rows.append(
            {
                "head": f"{layer}.{head}",
                "looks at": what,
                "weight of its strongest image token": f"{looks.max(1).mean():.2f}",
                "weight in the object's box": f"{(looks * boxes).sum(1).mean():.2f}",
                "right when it can not see the image": _percent(right),
            }
        )
    return pd.DataFrame(rows)


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
            title=f"{title}, {N} scenes",
            x="layer (0-based)",
            y=f"{label} (head mean, normalisation image)" if ax is left else f"{label} (nats)",
        )
        legend_below(ax, shade)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=90, metadata={"Software": None})
    plt.close(figure)


def batches(vlm: HookedVLM, scenes: Sequence[Sample], *, size: int = 40) -> Iterator[tuple[Sequence[Sample], Any]]:
    """Samples and their prompts, as the paper writes them."""
    for start in range(0, len(scenes), size):
        part = scenes[start : start + size]
        yield part, vlm.prepare([one.image for one in part], [one.question for one in part], prompt="paper")


def token_of(vlm: HookedVLM, sample: Sample) -> int:
    """The token of the right word."""
    return int(vlm.processor.tokenizer.convert_tokens_to_ids(sample.answer))


def _cosines(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return (first * second).sum(-1) / (np.linalg.norm(first, axis=-1) * np.linalg.norm(second, axis=-1))


def _rank_correlation(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Spearman's correlation over the last axis; ties do not occur in floats that were measured."""
    ranks = [np.argsort(np.argsort(values, axis=-1), axis=-1).astype(float) for values in (first, second)]
    a, b = (values - values.mean(-1, keepdims=True) for values in ranks)
    return (a * b).sum(-1) / np.sqrt((a**2).sum(-1) * (b**2).sum(-1))


def _percent(right: np.ndarray) -> str:
    found = wilson(int(right.sum()), len(right))
    return f"{100 * found.estimate:.0f} [{100 * found.low:.0f}, {100 * found.high:.0f}] %"


def _spelled(values: Sequence[float] | np.ndarray, digits: int = 2) -> list[str]:
    return [f"{value:.{digits}f}" for value in values]
