"""What the page of limits measures of every scene: where the last row looks, and what is lost without what it sees."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from einops import einsum, rearrange, repeat

from interp import HookedVLM, PerSample, Prefix, Sample, ScaleImageLogits, Untouched
from interp.maps.trajectory import trajectory
from interp.overlap.overlap import overlap

SEED = 7
OUT = -50.0
"""What is added to a logit to take its key out of sight: the weight becomes e^-50 of what it was."""


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
                    "rank": rank_correlation(plain, weighed),
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


def batches(vlm: HookedVLM, scenes: Sequence[Sample], *, size: int = 40) -> Iterator[tuple[Sequence[Sample], Any]]:
    """Samples and their prompts, as the paper writes them."""
    for start in range(0, len(scenes), size):
        part = scenes[start : start + size]
        yield part, vlm.prepare([one.image for one in part], [one.question for one in part], prompt="paper")


def token_of(vlm: HookedVLM, sample: Sample) -> int:
    """The token of the right word."""
    return int(vlm.processor.tokenizer.convert_tokens_to_ids(sample.answer))


def rank_correlation(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Spearman's correlation over the last axis; ties do not occur in floats that were measured."""
    ranks = [np.argsort(np.argsort(values, axis=-1), axis=-1).astype(float) for values in (first, second)]
    a, b = (values - values.mean(-1, keepdims=True) for values in ranks)
    return (a * b).sum(-1) / np.sqrt((a**2).sum(-1) * (b**2).sum(-1))
