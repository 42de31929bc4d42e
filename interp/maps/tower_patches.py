"""The patches of a model's vision tower for one prepared photo."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from interp.image.grid import ImageGrid
from interp.image.patches import Patches, squares_of_patches

if TYPE_CHECKING:
    from jaxtyping import Int

    from interp.families import Tower
    from interp.model.hooked_vlm import HookedVLM


def patches_of(vlm: HookedVLM, grid: ImageGrid) -> Patches:
    """The patches of one photo in the vision tower, by its family's rule, from the grid of its image tokens.

    Raises:
        ModelError: the family's tokens can not be taken apart.
    """
    from interp.hooks.towers import vision_tower

    family, config = vlm.family, vlm.model.config
    tower = vision_tower(vlm.model, family)
    if family.patches is None:
        made = squares_of_patches(grid, family.merged(config))
    else:
        made = family.patches(grid, vlm.processor, config)
    return replace(made, specials=tower.specials, places=_places(made, tower, config))


def _places(made: Patches, tower: Tower, config: Any) -> Int[np.ndarray, " patch"]:
    """Where each patch stands in the sequence of its view, in the order that the tower says."""
    parts = []
    for view in made.views:
        own = made.grid.view == view
        rows, cols = int(made.grid.rows[own].max()) + 1, int(made.grid.cols[own].max()) + 1
        parts.append(np.arange(rows * cols) if tower.order is None else tower.order(rows, cols, config))
    return len(tower.specials) + np.concatenate(parts)
