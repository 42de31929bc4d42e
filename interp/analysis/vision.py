"""Maps of the vision tower for one photo: rows seen through its roll-out, its own attention, what feeds each token."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from interp.errors import InputError, RefusedError
from interp.layers import HEAD_MEAN
from interp.maps.tower_attention import tower_attention
from interp.maps.trajectory import Trajectory, normalise
from interp.overlap.overlap import Overlap, overlap
from interp.overlap.study.vision import TWO_STAGE, VISION
from interp.reprs import fits_a_cell

if TYPE_CHECKING:
    import pandas as pd
    from jaxtyping import Float32

    from interp.image.boxes import Boxes
    from interp.image.grid import ImageGrid
    from interp.model.hooked_vlm import HookedVLM
    from interp.prompt.inputs import VLMInputs

ROLLOUT = "rollout"
ALSO = (TWO_STAGE, VISION, ROLLOUT)
"""Maps over the patches of the vision tower that can be made as well, see `VisionMaps`."""


@fits_a_cell()
@dataclass(frozen=True, eq=False)
class VisionMaps:
    """Maps of one photo over the patches of the vision tower, by attention alone, and so hypotheses as it is.

    * `two-stage`: the rows of the language model, in all its layers, seen through the tower's attention roll-out, see
      `interp.maps.rollout.two_stage`.
    * `vision`: what the patches that image tokens are made of look at, in all layers of the tower before the projector
      reads it; mean over the tokens.
    * `rollout`: which patches feed the image tokens, by roll-out over all these layers; mean over the tokens.

    Attributes:
        name: one of `ALSO`.
        weights: the head mean's weights, as shares of one over the patches, float32 [layer step patch].
        layers: the number of each layer, 0-based: of the language model for `two-stage`, else of the tower; of
            `rollout` the last one that it goes through.
        grid: the geometry of the patches.
        overlap: the maps against the boxes, with the same layer axis; None where there are none.
        sample_id: which photo.

    Example:
        >>> analyze(photo, question, also=["two-stage"]).also["two-stage"].weights.shape  # layer step patch
        (12, 1, 64)
    """

    name: str
    weights: Float32[np.ndarray, "layer step patch"]
    layers: tuple[int, ...]
    grid: ImageGrid
    overlap: Overlap | None
    sample_id: str = ""

    def describe(self) -> str:
        """Say in one line what they lie over, and how well they agree with the boxes."""
        said = f"{self.name}: maps over {len(self.grid)} patches"
        tower = "" if self.name == TWO_STAGE else " of the tower"
        return said if self.overlap is None else f"{said}; {best_cosine(self.overlap, self.layers, tower)}"

    def to_dataframe(self) -> pd.DataFrame:
        """One row per layer, step and patch: `sample, maps, layer, step, patch, view, row, col, weight`, head mean."""
        import pandas as pd

        layer, step, patch = (axis.ravel().astype(np.int32) for axis in np.indices(self.weights.shape))
        columns: dict[str, Any] = {"sample": self.sample_id, "maps": self.name}
        columns |= {"layer": np.array(self.layers, np.int32)[layer], "step": step, "patch": patch}
        places = {"view": self.grid.view, "row": self.grid.rows, "col": self.grid.cols}
        columns |= {place: np.asarray(values, dtype=np.int32)[patch] for place, values in places.items()}
        return pd.DataFrame(columns | {"weight": self.weights.ravel()})

    def overlap_table(self) -> pd.DataFrame:
        """The table of `Overlap.to_dataframe` with the layers' own numbers; of `rollout` the head mean alone.

        Raises:
            InputError: there were no boxes.
        """
        if self.overlap is None:
            raise InputError("these maps were compared with no boxes: give analyze a detector that finds some")
        table = self.overlap.to_dataframe()
        table = table[table["head"] == HEAD_MEAN] if self.name == ROLLOUT else table
        return table.assign(layer=np.array(self.layers, np.int32)[table["layer"]], maps=self.name)


def check_tower(vlm: HookedVLM, inputs: VLMInputs) -> None:
    """Refuse now, rather than after the model has run, what can not show its vision tower."""
    from interp.maps.tower import feature_depth, patch_grid

    vlm.require("vision")
    patch_grid(vlm, inputs)
    try:
        feature_depth(vlm)
    except RefusedError as error:
        error.add_note("That is for interp.maps.rollout.rollout from Python; further maps have no such setting.")
        raise


def further_maps(
    vlm: HookedVLM, inputs: VLMInputs, looked: Trajectory, names: Sequence[str], boxes: Boxes | None
) -> dict[str, VisionMaps]:
    """Run the vision tower again, of whose attention nothing was kept, and make its maps [layer head (step) patch]."""
    from interp.maps.rollout import two_stage

    (fed,) = tower_attention(vlm, inputs)
    depth, rows = len(fed.attention), looked.image_attention
    made: dict[str, VisionMaps] = {}
    for name in dict.fromkeys(names):
        layers = tuple(range(looked.n_layers if name == TWO_STAGE else depth))
        if name == TWO_STAGE:
            maps = two_stage(rows if looked.generated else rows[:, :, 0], fed.rolled)
        elif name == VISION:
            maps = fed.attention
        else:
            maps, layers = fed.rolled.weights.mean(axis=0)[None, None], (depth - 1,)
        mean = normalise(maps.mean(axis=1, dtype=np.float64), "image")
        found = None if boxes is None else overlap(maps, fed.rolled.grid, boxes, sample_id=looked.sample_id)
        weights = mean if mean.ndim == 3 else mean[:, None]
        made[name] = VisionMaps(name, weights, layers, fed.rolled.grid, found, looked.sample_id)
    return made


def best_cosine(found: Overlap, layers: Sequence[int], tower: str = "", *, normalisation: str = "image") -> str:
    """How high the cosine with the boxes is at most, in which layer of how many, and what even attention would have."""
    cosine = found.by_layer("cosine", normalisation=normalisation)
    best = found.best_layer("cosine", normalisation=normalisation)
    if best is None:
        return "undefined, as no box lies in what the model saw"
    even = found.even_score("cosine", normalisation=normalisation)
    where = f" in layer {layers[best]}{tower}, the highest of {len(layers)}" if len(layers) > 1 else ""
    return f"cosine with the boxes {cosine[best]:.2f}{where}; even attention would have {even:.2f}"
