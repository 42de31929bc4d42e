"""Maps of the vision tower for an overlap study: rows seen through its roll-out, and the tower's own attention."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from interp.maps.rollout import two_stage
from interp.maps.tower_attention import TowerAttention, tower_attention
from interp.objects.sample import ROLES
from interp.overlap.even import even_scores
from interp.overlap.map_measures import MAP_MEASURES, measure_maps
from interp.overlap.measures import measure_regions
from interp.overlap.normalised import MAPS_AT_ONCE
from interp.overlap.nulls import RoleBoxes, null_column
from interp.overlap.regions import regions_of
from interp.reprs import fits_a_cell

if TYPE_CHECKING:
    from interp.image.grid import ImageGrid
    from interp.maps.rollout import Rollout
    from interp.model.hooked_vlm import HookedVLM
    from interp.prompt.inputs import VLMInputs

ROWS, TWO_STAGE, VISION = "rows", "two-stage", "vision"

ALSO = (TWO_STAGE, VISION)
"""Maps over the patches that a study can measure beside the rows of the language model, which lie over image tokens.

`two-stage`: each normalised map of the rows, seen through the tower's attention roll-out (`interp.maps.rollout`). It
has the layers, heads and normalisations of the rows. What evenly spread attention would score is told of patches.

`vision`: where the tower itself looks, by its own layers and heads: the attention of the patches that image tokens are
made of, mean over image tokens, normalised as `image` over the patches. The tower knows nothing of the question.
"""


def tower_settings(vlm: HookedVLM, inputs: VLMInputs) -> dict[str, dict[str, Any]]:
    """What of a study's settings differs in each further map, found by a run of the tower on one photo.

    Of `vision`, only the blocks before what the projector reads are measured: no other feeds the image tokens.

    Raises:
        RefusedError: the family can not show its tower, or the model reads several of its layers.
        ModelError: what the tower attends over is not the patches that its family says.
    """
    vlm.require("vision")
    (fed,) = tower_attention(vlm, inputs, through=1)
    depth, heads = fed.attention.shape[:2]
    tower = {"n_layers": len(vlm.vision.blocks), "n_heads": heads, "layers": list(range(depth))}
    return {TWO_STAGE: {"through": depth}, VISION: {**tower, "normalisations": ["image"]}}


@fits_a_cell()
@dataclass(frozen=True, eq=False)
class PatchMaps:
    """Maps over the patches (or image tokens) of one photo, head mean last, in one normalisation after the other.

    Attributes:
        maps: [layer head+1 patch] each.
        even_mass: what evenly spread attention would put on the whole photo in each.
        grid: the geometry of the patches.
    """

    maps: list[Float[np.ndarray, "layer head_and_mean patch"]]
    even_mass: list[float]
    grid: ImageGrid

    def measured(self, boxes: RoleBoxes) -> dict[str, Float[np.ndarray, "normalisation ..."]]:
        """All measures, and what evenly spread attention scores (`mass_even` and so on), as `overlap` has them.

        Those against boxes are [normalisation region layer head+1], in the regions of `interp.overlap.nulls.REGIONS`,
        those of the map alone [normalisation layer head+1], and those of even attention [normalisation region].
        """
        places = regions_of((), {role: list(boxes.get(role, ())) for role in ROLES}, ROLES, self.grid)
        several = []
        for maps, even_mass in zip(self.maps, self.even_mass, strict=True):
            many = max(1, MAPS_AT_ONCE // maps.shape[1])
            parts = [
                measure_regions(some, places, self.grid, even_mass=even_mass) | measure_maps(some, self.grid)
                for some in np.split(maps, range(many, len(maps), many))
            ]
            found = {name: np.concatenate([part[name] for part in parts], axis=-2) for name in parts[0]}
            even = even_scores(places, self.grid, even_mass=even_mass)
            found |= {null_column(name, "even"): values for name, values in even.items()}
            for name in found.keys() - set(MAP_MEASURES):
                found[name][-1] = found[name][0] - found[name][1]
            several.append(found)
        return {name: np.stack([one[name] for one in several]) for name in several[0]}


def patch_maps(
    fed: TowerAttention,
    rows: Mapping[str, np.ndarray],
    *,
    visible_keys: int,
    also: Sequence[str],
) -> dict[str, PatchMaps]:
    """The further maps of one photo by name.

    Args:
        fed: what the tower did with it.
        rows: the maps of the language model's rows by normalisation, [layer head+1 token] each.
        visible_keys: how many positions the rows see, for `keys`.
        also: some of `ALSO`.
    """
    made = {}
    if TWO_STAGE in also:
        whole = {"keys": len(fed.rolled.weights) / visible_keys}
        seen = [_through(maps, fed.rolled) for maps in rows.values()]
        made[TWO_STAGE] = PatchMaps(seen, [whole.get(name, 1.0) for name in rows], fed.rolled.grid)
    if VISION in also:
        heads = np.concatenate([fed.attention, fed.attention.mean(axis=1, keepdims=True)], axis=1, dtype=np.float64)
        maps = (heads / heads.sum(axis=-1, keepdims=True)).astype(np.float32)
        made[VISION] = PatchMaps([maps], [1.0], fed.rolled.grid)
    return {name: made[name] for name in also}


def _through(maps: Float[np.ndarray, "*axes token"], rolled: Rollout) -> Float[np.ndarray, "*axes patch"]:
    """Normalised maps through a roll-out; one that is not defined, for want of weight on the image, stays so."""
    undefined = np.isnan(maps).any(axis=-1, keepdims=True)
    return np.where(undefined, np.float32(np.nan), two_stage(np.where(undefined, np.float32(0), maps), rolled))
