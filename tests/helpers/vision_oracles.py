"""Oracles for the vision tower: the family's own eager attention, roll-out in plain loops, patches that are changed."""

import sys
from contextlib import contextmanager
from functools import cache
from inspect import signature

import numpy as np
import pytest
import torch

from interp.maps.tower_patches import patches_of
from interp.model.hooked_vlm import HookedVLM
from interp.proof.samples import noise
from interp.zoo.tiny import build_tiny

THROWS_WEIGHTS_AWAY = ("qwen2_vl", "qwen2_5_vl", "qwen3_vl", "glm4v")
"""Families whose vision attention returns no weights, so that `output_attentions` has nothing to give."""


@cache
def tiny(name):
    """A tiny model in double precision, with its family's own eager attention."""
    model, processor = build_tiny(name)
    model = model.double()
    model.set_attn_implementation("eager")
    return HookedVLM.wrap(model, processor, self_check=False)


def ask(vlm, size=(200, 130), seed=0):
    return vlm.prepare(noise(size, seed), "Where is the mug?", prompt="paper")


@contextmanager
def attending(vlm, make):
    """Every head of the tower has the pattern `make(n)` [place place]."""

    def planted(pattern, hook):
        return make(pattern.shape[-1]).to(pattern).expand_as(pattern)

    names = [f"vision.blocks.{layer}.attn.hook_pattern" for layer in range(len(vlm.vision.blocks))]
    with vlm.hooks([(names, planted)], query_rows="all"):
        yield


def eager_patterns(vlm, inputs):
    """By layer, what the family's own eager attention had, [view head place place] in the order of the tower."""
    with vlm.paused() as model, torch.no_grad():
        features = model.model.get_image_features
        tensors = {name: inputs.tensors[name] for name in signature(features).parameters if name in inputs.tensors}
        if vlm.family.name not in THROWS_WEIGHTS_AWAY:
            return features(**tensors, return_dict=True, output_attentions=True).attentions
        blocks, kept = model.model.visual.blocks, {}
        module = sys.modules[type(blocks[0].attn).__module__]
        plain = module.eager_attention_forward

        def keeping(attention, *args, **kwargs):
            out, weights = plain(attention, *args, **kwargs)
            kept.setdefault(attention, []).append(weights)
            return out, weights

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, "eager_attention_forward", keeping)
            features(**tensors)
    return [stitched(kept[block.attn]) for block in blocks]


def stitched(windows):
    heads = range(windows[0].shape[1])
    return torch.stack([torch.block_diag(*(window[0, head] for window in windows)) for head in heads])[None]


def naive_rollout(patterns, depth):
    """Roll-out of each view, [place place], heads and rows in loops of their own."""
    products = []
    for view in range(len(patterns[0])):
        product = np.eye(patterns[0].shape[-1])
        for pattern in patterns[:depth]:
            mean = sum(pattern[view, head].numpy() for head in range(pattern.shape[1])) / pattern.shape[1]
            mixed = mean + np.eye(len(mean))
            product = np.stack([row / row.sum() for row in mixed]) @ product
        products.append(product)
    return products


def naive_tokens(products, patches):
    """Shares of every patch and special token in every image token, one token after the other."""
    weights = np.zeros((len(patches.sources), len(patches.grid)))
    specials = np.zeros((len(patches.sources), len(patches.specials)))
    for token in range(len(weights)):
        for source, share in zip(patches.sources[token], patches.shares[token], strict=True):
            view = source // patches.per_view
            row = share * products[view][patches.places[source]]
            specials[token] += row[: len(patches.specials)]
            for patch in range(view * patches.per_view, (view + 1) * patches.per_view):
                weights[token, patch] += row[patches.places[patch]]
    return weights, specials


def misplaced(vlm, photo):
    """How many patches move wrongly where the tower receives them when pixels of the photo change, and boxes tried.

    As the self-check's pixel oracle, for patches: colours inside a box, shrunk by the filter's reach, are turned over.
    Every patch whose shrunk box shares pixels with them has to move, at its place, and none whose grown box does not.
    """
    inputs = vlm.prepare(photo, "Where?", prompt="paper")
    patches = patches_of(vlm, inputs.grids[0])
    grid, before = patches.grid, received(vlm, inputs)
    inner = np.hstack([np.ceil(grid.boxes[:, :2] + grid.reach), np.floor(grid.boxes[:, 2:] - grid.reach)]).astype(int)
    outer = grid.boxes + np.hstack([-grid.reach, grid.reach])
    has_area = (grid.boxes[:, 2:] > grid.boxes[:, :2]).all(1)
    whole = np.flatnonzero((inner[:, 2:] > inner[:, :2]).all(1))
    tried = np.unique(whole[np.linspace(0, len(whole) - 1, 6).round().astype(int)])
    mistakes = 0
    for region in inner[tried]:
        x0, y0, x1, y1 = region
        turned = photo.copy()
        turned[y0:y1, x0:x1] = 255 - turned[y0:y1, x0:x1]
        after = received(vlm, vlm.prepare(turned, "Where?", prompt="paper"))
        moved = ((after - before).abs().amax(-1) > 1e-6 * before.abs().max()).numpy()
        at_places = moved[np.arange(len(grid)) // patches.per_view, patches.places]
        must, may = share_pixels(inner, region), share_pixels(outer, region) & has_area
        mistakes += int((must & ~at_places).sum() + (at_places & ~may).sum() + moved[:, : len(patches.specials)].sum())
    return mistakes, len(tried)


def received(vlm, inputs):
    """What the first block of the tower is given, [view place d_model]."""
    name = "vision.blocks.0.hook_resid_pre"
    with torch.no_grad():
        return vlm.run_with_cache(inputs, names_filter=name)[1][name]


def share_pixels(boxes, region):
    x0, y0, x1, y1 = boxes.T
    across = np.minimum(x1, region[2]) - np.maximum(x0, region[0])
    down = np.minimum(y1, region[3]) - np.maximum(y0, region[1])
    return (across > 0) & (down > 0) & (x1 > x0) & (y1 > y0)


def image_tokens(vlm, inputs, fwd_hooks):
    """What the language model receives of one photo, [image_token d_model], under hooks."""
    with torch.no_grad():
        cache = vlm.run_with_cache(inputs, names_filter="projector.hook_out", fwd_hooks=fwd_hooks)[1]
    return cache["projector.hook_out"][inputs.grids[0].slots]


def token_changes(vlm, inputs, patches, changed):
    """How image tokens move, [patch token d_model], with each of these patches, while no block adds anything."""
    silent = [
        (f"vision.blocks.{layer}.hook_{part}_out", lambda tensor, hook: torch.zeros_like(tensor))
        for layer in range(len(vlm.vision.blocks))
        for part in ("attn", "mlp")
    ]
    push = torch.randn(8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)

    def pushed(patch):
        def function(stream, hook):
            moved = stream.clone()
            moved[patch // patches.per_view, patches.places[patch], :8] += push
            return moved

        return "vision.blocks.0.hook_resid_pre", function

    before = image_tokens(vlm, inputs, silent)
    return torch.stack([image_tokens(vlm, inputs, [*silent, pushed(patch)]) - before for patch in changed]).numpy()
