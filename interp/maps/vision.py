"""Vision maps: which patches of the photo feed each image token, by the attention of the vision tower itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from inspect import signature
from typing import TYPE_CHECKING, Any

import numpy as np
from einops import rearrange, repeat
from jaxtyping import Float, Float32

from interp.errors import InputError, ModelError, RefusedError
from interp.image.patches import Patches
from interp.intervene.indices import check_indices
from interp.maps.tower_patches import patches_of
from interp.reprs import fits_a_cell

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor

    from interp.image.grid import ImageGrid
    from interp.model.hooked_vlm import HookedVLM
    from interp.prompt.inputs import VLMInputs

HEADS = ("mean", "each")
"""Whether patterns are kept as the mean over heads, on a head axis of one, or head by head."""


def rollout(vlm: HookedVLM, inputs: VLMInputs, *, through: int | None = None) -> tuple[Rollout, ...]:
    """Which patches feed each image token, by attention roll-out through the vision tower, one result per photo.

    With A_l the head mean of layer l's pattern, which sums to one over keys (Abnar and Zuidema 2020,
    arXiv:2005.00928):

        R_l = norm(A_l + I) R_(l-1),  R_0 = I

    where norm divides each row by its sum, and I stands for the residual stream. A row of the image tokens is then the
    mean of the rows of R of the patches that the model joins into it, weighted as `interp.image.patches` says. What
    lies on special tokens (CLIP's class token), which show no part of the photo, is told apart and taken out: `weights`
    sum to one over patches.

    Roll-out follows attention alone. It knows nothing of values and MLPs, and what a patch carries after the tower
    can be another thing than what stood there: a map through it is a hypothesis, as attention itself is.

    Photos and layers go one by one. While a layer runs, its patterns are there at once, as up to three float32 arrays
    of [view head place place]; all that is kept is one product [view place place] and a result [image_token patch]. For
    CLIP-L at 336 pixels an array is 21 MB; for Qwen2.5-VL with 5,000 patches and 16 heads it is 1.6 GB, so
    make large photos smaller first.

    Args:
        vlm: the model; hooks that are on it are felt.
        inputs: what `prepare` gave. The language model does not run.
        through: how many blocks of the tower to go through; by default those before the layer that the projector
            reads, which is all but the last in LLaVA-1.5. Qwen3-VL hands the language model what stands after some
            earlier blocks too (DeepStack), which the default does not follow: name these for it.

    Example:
        >>> (rolled,) = rollout(vlm, vlm.prepare("photo.jpg", "Where is the mug?"))
        >>> rolled.weights.shape  # image_token patch
        (64, 64)

    Raises:
        InputError: the tower has no so many blocks.
        RefusedError: the family can not show its tower, or the model reads several of its layers and none is named.
        ModelError: what the tower attends over is not the patches that its family says.
    """
    vlm.require("vision")
    blocks = len(vlm.vision.blocks)
    depth = feature_depth(vlm) if through is None else through
    if not 1 <= depth <= blocks:
        raise InputError(f"through={depth}: the vision tower has {blocks} blocks, so give 1 to {blocks}")
    return tuple(_rolled(vlm, tensors, patches, depth) for tensors, patches in _photos(vlm, inputs))


def two_stage(weights: Float[np.ndarray, "*axes token"], rolled: Rollout) -> Float[np.ndarray, "*axes patch"]:
    """Weights over image tokens, such as a language row's attention, seen through the vision tower's roll-out.

        weight of patch p = sum over image tokens t of (weight of t) x R[t, p]

    What the tokens had together, the patches have together. The result goes with `rolled.grid`, for `overlap`, heat
    maps and `to_pixels`; where the photo is seen in several views, these paint the mean of the views.

    Args:
        weights: weights of at least zero, one per image token on the last axis.
        rolled: the roll-out of the same photo.

    Example:
        >>> seen = two_stage(measured.image_attention, rolled)  # [layer head step token] to [layer head step patch]
        >>> overlap(seen, rolled.grid, boxes).values("mass").shape
        (12, 9)

    Raises:
        InputError: another number of tokens, or weights that are negative or not finite.
    """
    given = np.asarray(weights)
    if not given.ndim or given.shape[-1] != len(rolled.weights):
        raise InputError(
            f"weights of shape {given.shape} for {len(rolled.weights)} image tokens: the last axis must be the token, "
            "and the roll-out that of the same photo"
        )
    if not np.isfinite(given).all() or (given < 0).any():
        raise InputError("weights over image tokens are negative, infinite or NaN: give attention after softmax")
    return given.astype(np.result_type(given, np.float32)) @ rolled.weights


@fits_a_cell()
@dataclass(frozen=True, eq=False)
class Rollout:
    """Which patches feed each image token of one photo.

    Attributes:
        weights: float32 [image_token patch]; sums to one over patches.
        special_shares: the share of each token's whole row that lay on special tokens, float32 [image_token special].
        patches: the patches, and which of them each token is made of.
        through: how many blocks of the tower the roll-out went through.

    Example:
        >>> rolled.grid.to_pixels(rolled.weights[12]).shape  # what feeds image token 12, over the photo
        (480, 640)
    """

    weights: Float32[np.ndarray, "image_token patch"]
    special_shares: Float32[np.ndarray, "image_token special"]
    patches: Patches
    through: int

    @property
    def grid(self) -> ImageGrid:
        """The geometry of the patches."""
        return self.patches.grid

    @property
    def specials(self) -> tuple[str, ...]:
        """Names of the special tokens."""
        return self.patches.specials

    @property
    def own_share(self) -> Float32[np.ndarray, " image_token"]:
        """Weight of the patches that each token is made of: 1 where none sees another, float32 [image_token]."""
        own = np.take_along_axis(self.weights, self.patches.sources, axis=1)
        return np.where(self.patches.shares > 0, own, np.float32(0)).sum(axis=1)

    def to_dataframe(self) -> pd.DataFrame:
        """One row per image token: its number, `own_share`, `patches_seen` and `share_<special>`.

        `patches_seen` is the exponential of the row's entropy: so many patches with even weights would be as spread.
        """
        import pandas as pd

        rows = self.weights.astype(np.float64)
        entropy = -(rows * np.log(np.where(rows > 0, rows, 1))).sum(axis=1)
        columns: dict[str, Any] = {"token": np.arange(len(rows), dtype=np.int32), "own_share": self.own_share}
        columns["patches_seen"] = np.exp(entropy).astype(np.float32)
        for place, name in enumerate(self.specials):
            columns[f"share_{name}"] = self.special_shares[:, place]
        return pd.DataFrame(columns)


def vision_attention(
    vlm: HookedVLM, inputs: VLMInputs, *, layers: Sequence[int] | None = None, heads: str = "mean"
) -> tuple[VisionAttention, ...]:
    """The vision tower's attention patterns, one result per photo, windows stitched and patches in rows.

    Photos go one by one, and of each layer only what is returned is kept: float32 of views x layers x places squared,
    times the heads where each is kept. For CLIP-L at 336 pixels that is 1.3 MB a layer, and 21 MB with each of its
    heads; for Qwen2.5-VL with 5,000 patches it is 100 MB a layer: name the layers there.

    Args:
        vlm: the model; hooks that are on it are felt.
        inputs: what `prepare` gave. The language model does not run.
        layers: the layers of the tower, 0-based; all by default, also those behind the layer that the projector reads.
        heads: `mean` keeps the mean over heads, `each` every head.

    Example:
        >>> (seen,) = vision_attention(vlm, inputs, layers=[3], heads="each")
        >>> seen.between_patches().shape  # layer head query_patch key_patch
        (1, 4, 64, 64)

    Raises:
        HookError: a layer that does not exist.
        InputError: `heads` is not known, or no layer is named.
        RefusedError: the family can not show its tower.
        ModelError: what the tower attends over is not the patches that its family says.
    """
    vlm.require("vision")
    if heads not in HEADS:
        raise InputError(f"heads={heads!r} is not known: use one of {', '.join(HEADS)}")
    chosen = tuple(dict.fromkeys(check_indices(layers, len(vlm.vision.blocks), "vision layer")))
    if not chosen:
        raise InputError("layers is empty: name layers of the vision tower, or leave it out for all")
    return tuple(_kept(vlm, tensors, patches, chosen, heads) for tensors, patches in _photos(vlm, inputs))


@fits_a_cell()
@dataclass(frozen=True, eq=False)
class VisionAttention:
    """Where the vision tower looks in one photo.

    Attributes:
        patterns: after softmax, float32 [view layer head place place], query before key. Places are the special tokens,
            then the patches row after row. The head axis has one entry where the mean was kept.
        layers: the layers of the tower, 0-based.
        heads: `mean` or `each`.
        patches: the patches, with their geometry and the names of views and special tokens.

    Example:
        >>> seen.on_special("class").shape, seen.between_patches()[-1, 0, 12].shape  # what patch 12 looks at
        ((24, 1, 576), (576,))
    """

    patterns: Float32[np.ndarray, "view layer head place place"]
    layers: tuple[int, ...]
    heads: str
    patches: Patches

    def between_patches(self, *, view: int | None = None) -> Float32[np.ndarray, "layer head query_patch key_patch"]:
        """Attention of patches on patches in one view; below one in sum where there are special tokens.

        Raises:
            InputError: there is no such view, or there are several and none is named.
        """
        start = len(self.patches.specials)
        return self.patterns[self.patches.view_place(view)][..., start:, start:]

    def on_special(self, name: str, *, view: int | None = None) -> Float32[np.ndarray, "layer head query_patch"]:
        """Attention of patches on a special token.

        Raises:
            InputError: there is no such token or view.
        """
        place, start = self._special(name), len(self.patches.specials)
        return self.patterns[self.patches.view_place(view)][..., start:, place]

    def of_special(self, name: str, *, view: int | None = None) -> Float32[np.ndarray, "layer head key_patch"]:
        """Attention of a special token on patches.

        Raises:
            InputError: there is no such token or view.
        """
        place, start = self._special(name), len(self.patches.specials)
        return self.patterns[self.patches.view_place(view)][..., place, start:]

    def _special(self, name: str) -> int:
        if name not in self.patches.specials:
            known = ", ".join(self.patches.specials) or "none"
            raise InputError(f"special token {name!r} is not in this vision tower: it has {known}")
        return self.patches.specials.index(name)


def patch_grid(vlm: HookedVLM, inputs: VLMInputs) -> tuple[ImageGrid, ...]:
    """The geometry of the vision tower's patches, one grid per photo; nothing is run.

    Example:
        >>> (grid,) = patch_grid(vlm, vlm.prepare("photo.jpg", "Where is the mug?"))  # Qwen2-VL
        >>> len(grid)
        140
    """
    return tuple(patches_of(vlm, grid).grid for grid in inputs.grids)


def feature_depth(vlm: HookedVLM) -> int:
    """After how many blocks of the vision tower the projector reads it.

    Raises:
        RefusedError: it reads several layers, of which none is the one to go through.
    """
    layer = getattr(vlm.model.config, "vision_feature_layer", -1)
    layers = list(layer) if isinstance(layer, (list, tuple)) else [layer]
    if len(layers) > 1:
        raise RefusedError(
            f"roll-out is not offered by default for this model of the {vlm.family.name} family: its projector joins "
            f"the vision tower's layers {layers}; say how many blocks to go through, such as "
            f"through={len(vlm.vision.blocks)}"
        )
    return layers[0] + len(vlm.vision.blocks) + 1 if layers[0] < 0 else layers[0]


def _photos(vlm: HookedVLM, inputs: VLMInputs) -> Iterator[tuple[dict[str, Tensor], Patches]]:
    """What the tower takes of each photo alone, with the photo's patches."""
    taken = signature(vlm.model.model.get_image_features).parameters
    tensors = {name: value for name, value in inputs.tensors.items() if name in taken}
    found = [patches_of(vlm, grid) for grid in inputs.grids]
    for place, patches in enumerate(found):
        yield {name: _own_part(name, value, found, place) for name, value in tensors.items()}, patches


def _own_part(name: str, tensor: Tensor, found: list[Patches], place: int) -> Tensor:
    """The rows of one photo in a tensor that has one for each photo, for each view, or for each patch."""
    for counts in ([1] * len(found), [len(each.views) for each in found], [len(each.grid) for each in found]):
        if sum(counts) == len(tensor):
            return tensor[sum(counts[:place]) : sum(counts[: place + 1])]
    raise ModelError(
        f"{name} has {len(tensor)} rows for {len(found)} photos of {sum(len(each.views) for each in found)} views and "
        f"{sum(len(each.grid) for each in found)} patches: which rows are whose is not known"
    )


def _run_tower(vlm: HookedVLM, tensors: dict[str, Tensor], visitors: dict[int, Any]) -> None:
    """Run the vision tower as far as the projector; visitors by layer are shown its patterns, and edit nothing."""
    import torch

    from interp.hooks.rows import RowHook

    hooks = [
        (f"vision.blocks.{layer}.attn.hook_pattern", RowHook(visit, "all", reads_only=True))
        for layer, visit in visitors.items()
    ]
    with torch.no_grad(), vlm.hooks(hooks):
        vlm.model.model.get_image_features(**tensors, return_dict=True)


def _check_places(pattern: Tensor, patches: Patches) -> None:
    """Refuse a pattern [view head place place] that is not over the patches that the family says."""
    views, places = pattern.shape[0], pattern.shape[-1]
    if (views, places) != (len(patches.views), patches.length):
        raise ModelError(
            f"the vision tower attends over {places} places in {views} views, and the photo has {patches.per_view} "
            f"patches and {len(patches.specials)} special tokens in each of {len(patches.views)} views: the model's "
            "settings do not fit its family's"
        )


def _rolled(vlm: HookedVLM, tensors: dict[str, Tensor], patches: Patches, depth: int) -> Rollout:
    """The roll-out of one photo, a product that grows while the tower runs."""
    product: list[Tensor] = []

    def visit(pattern: Tensor, *, hook: Any) -> None:
        _check_places(pattern, patches)
        step = pattern.mean(1)
        step.diagonal(dim1=1, dim2=2).add_(1)
        step /= step.sum(-1, keepdim=True)
        product[:] = [step @ product[0].to(step) if product else step]

    _run_tower(vlm, tensors, dict.fromkeys(range(depth), visit))
    whole, specials = _in_tokens(product[0], patches)
    weights = whole / whole.sum(-1, keepdim=True)
    return Rollout(weights.float().cpu().numpy(), specials.float().cpu().numpy(), patches, depth)


def _in_tokens(product: Tensor, patches: Patches) -> tuple[Tensor, Tensor]:
    """A roll-out [view place place] joined into image tokens: [image_token patch] and [image_token special]."""
    import torch

    places = torch.as_tensor(patches.places, device=product.device)
    n_tokens, n_specials, per_view = len(patches.sources), len(patches.specials), patches.per_view
    whole = product.new_zeros(n_tokens, len(patches.grid))
    specials = product.new_zeros(n_tokens, n_specials)
    for view, rows in enumerate(product):
        own = slice(view * per_view, (view + 1) * per_view)
        tokens, parts = np.nonzero((patches.sources // per_view == view) & (patches.shares > 0))
        sources = torch.as_tensor(patches.sources[tokens, parts], device=product.device)
        shares = torch.as_tensor(patches.shares[tokens, parts], device=product.device).to(product)
        found = shares[:, None] * rows[places[sources]]
        numbers = torch.as_tensor(tokens, device=product.device)
        joined = product.new_zeros(n_tokens, rows.shape[-1]).index_add_(0, numbers, found)
        whole[:, own] += joined[:, places[own]]
        specials += joined[:, :n_specials]
    return whole, specials


def _kept(
    vlm: HookedVLM, tensors: dict[str, Tensor], patches: Patches, layers: tuple[int, ...], heads: str
) -> VisionAttention:
    """The patterns of one photo, each put into rows as it comes."""
    views, length = len(patches.views), patches.length
    specials = repeat(np.arange(len(patches.specials)), "special -> view special", view=views)
    orders = np.hstack([specials, rearrange(patches.places, "(view patch) -> view patch", view=views)])
    made: list[np.ndarray] = []

    def visit(place: int, pattern: Tensor, *, hook: Any) -> None:
        _check_places(pattern, patches)
        chosen = (pattern if heads == "each" else pattern.mean(1, keepdim=True)).float().cpu().numpy()
        if not made:
            made.append(np.empty((views, len(layers), chosen.shape[1], length, length), dtype=np.float32))
        for view, order in enumerate(orders):
            made[0][view, place] = chosen[view][:, order[:, None], order]

    _run_tower(vlm, tensors, {layer: partial(visit, place) for place, layer in enumerate(layers)})
    return VisionAttention(made[0], layers, heads, patches)
