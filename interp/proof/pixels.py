"""Boxes proved: change the pixels inside a token's box, and see which image tokens move."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from interp.proof.samples import SIZES, noise

if TYPE_CHECKING:
    from interp.image.grid import ImageGrid
    from interp.model.hooked_vlm import HookedVLM

N_TOKENS = 24
"""Tokens of each photo whose pixels are changed."""

LEAST = 40
"""Boxes that have to be large enough to be tried, over all photos; fewer prove too little."""

AT_ONCE = 8
"""Photos that go through the tower together."""


def token_boxes(vlm: HookedVLM) -> tuple[float, str]:
    """Mistakes over photos of many shapes: tokens that do not move with their pixels, or move with those of others."""
    mistakes = tried = views = 0
    for seed, size in enumerate(SIZES):
        grid, wrong, changed = check_photo(vlm, noise(size, seed))
        mistakes, tried, views = mistakes + wrong, tried + changed, max(views, len(np.unique(grid.view)))
    if tried < LEAST:
        return float("inf"), f"only {tried} boxes are larger than twice the reach of the resampling filter"
    return float(mistakes), f"{tried} boxes on {len(SIZES)} photos, up to {views} views"


def check_photo(vlm: HookedVLM, photo: np.ndarray) -> tuple[ImageGrid, int, int]:
    """The grid of one photo, how many tokens moved wrongly, and how many boxes were tried.

    The vision blocks' attention and MLP outputs are set to zero, so that no token sees another. The colours inside a
    box, shrunk by the reach of the resampling filter, are turned over. Every token whose box, shrunk in the same way,
    shares pixels with them has to move, which is one in each view that covers them whole; and no token may move whose
    box, grown by its reach, shares none.
    """
    grid = vlm.prepare(photo, "Where?", prompt="paper").grids[0]
    inner = _inner(grid)
    whole = inner[(inner[:, 2] > inner[:, 0]) & (inner[:, 3] > inner[:, 1])]
    regions = whole[np.unique(np.linspace(0, len(whole) - 1, N_TOKENS).round().astype(int))] if len(whole) else whole
    mistakes = 0
    for start in range(0, len(regions), AT_ONCE):
        part = regions[start : start + AT_ONCE]
        for region, moved in zip(part, _moved(vlm, photo, part, grid), strict=True):
            must = _share_pixels(inner, region)
            may = _share_pixels(grid.boxes + np.hstack([-grid.reach, grid.reach]), region)
            mistakes += int((must & ~moved).sum() + (moved & ~may).sum())
    return grid, mistakes, len(regions)


def _inner(grid: ImageGrid) -> np.ndarray:
    """Whole pixels [token 4] inside each box, away from its edges by the reach of the filter."""
    start = np.ceil(grid.boxes[:, :2] + grid.reach)
    end = np.floor(grid.boxes[:, 2:] - grid.reach)
    return np.hstack([start, end]).astype(int)


def _share_pixels(boxes: np.ndarray, region: np.ndarray) -> np.ndarray:
    """Whether each box has area in common with the region."""
    width = np.minimum(boxes[:, 2], region[2]) - np.maximum(boxes[:, 0], region[0])
    height = np.minimum(boxes[:, 3], region[3]) - np.maximum(boxes[:, 1], region[1])
    return (width > 0) & (height > 0) & (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])


def _moved(vlm: HookedVLM, photo: np.ndarray, regions: np.ndarray, grid: ImageGrid) -> np.ndarray:
    """Which image tokens, as the language model gets them, change with a region's colours, [region token]."""
    photos = [photo]
    for x0, y0, x1, y1 in regions:
        turned = photo.copy()
        turned[y0:y1, x0:x1] = 255 - turned[y0:y1, x0:x1]
        photos.append(turned)
    inputs = vlm.prepare(photos, ["Where?"] * len(photos), prompt="paper")
    blind = [(_adds(vlm), lambda tensor, hook: torch.zeros_like(tensor))]
    with torch.no_grad():
        _, cache = vlm.run_with_cache(inputs, names_filter="blocks.0.hook_resid_pre", fwd_hooks=blind)
    stream = cache["blocks.0.hook_resid_pre"]
    features = torch.stack(
        [row[layout.image_positions.tolist()] for row, layout in zip(stream, inputs.layouts, strict=True)]
    )
    apart = (features[1:] - features[:1]).abs().amax(-1)
    return np.asarray(apart > 1e-6 * _size(features))


def _adds(vlm: HookedVLM) -> Any:
    """A filter for all that the vision blocks add to the residual stream."""
    return lambda name: name.startswith("vision.") and name.endswith(("hook_attn_out", "hook_mlp_out"))


def _size(features: Tensor) -> float:
    return float(features.abs().max())
