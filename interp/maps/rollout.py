"""Roll-out: which patches of the photo feed each image token, by the attention of the vision tower itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Float32

from interp.errors import InputError
from interp.image.patches import Patches
from interp.maps.tower import check_places, feature_depth, photos_of, run_tower
from interp.reprs import fits_a_cell

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor

    from interp.image.grid import ImageGrid
    from interp.model.hooked_vlm import HookedVLM
    from interp.prompt.inputs import VLMInputs


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
        inputs: from `prepare`. The language model does not run.
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
    return tuple(_rolled(vlm, tensors, patches, depth) for tensors, patches in photos_of(vlm, inputs))


def two_stage(weights: Float[np.ndarray, "*axes token"], rolled: Rollout) -> Float[np.ndarray, "*axes patch"]:
    """Weights over image tokens, such as a language row's attention, seen through the vision tower's roll-out.

        weight of patch p = sum over image tokens t of (weight of t) x R[t, p]

    What the tokens had together, the patches have together. The result goes with `rolled.grid`, for `overlap`, heat
    maps and `to_pixels`; where the photo is seen in several views, these paint the mean of the views.

    Args:
        weights: at least zero, one per image token on the last axis.
        rolled: of the same photo.

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


def _rolled(vlm: HookedVLM, tensors: dict[str, Tensor], patches: Patches, depth: int) -> Rollout:
    """The roll-out of one photo, a product that grows while the tower runs."""
    from interp.hooks.exact import exactly

    product: list[Tensor] = []

    def visit(pattern: Tensor, *, hook: Any) -> None:
        check_places(pattern, patches)
        step = pattern.mean(1)
        step.diagonal(dim1=1, dim2=2).add_(1)
        step /= step.sum(-1, keepdim=True)
        with exactly(step):
            product[:] = [step @ product[0].to(step) if product else step]

    run_tower(vlm, tensors, dict.fromkeys(range(depth), visit))
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
