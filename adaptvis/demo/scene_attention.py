"""Looking: where the attention of each held-out scene lies, and how well it agrees with the objects' boxes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from interp.maps.trajectory import Trajectory, trajectory
from interp.overlap.overlap import Overlap, overlap
from interp.reprs import fits_a_cell
from interp.study.prompter import Prompter, batches

if TYPE_CHECKING:
    from PIL import Image

    from interp.image.boxes import Boxes
    from interp.image.grid import ImageGrid
    from interp.model.hooked_vlm import HookedVLM
    from interp.objects.detector import Detector
    from interp.objects.sample import Sample


@fits_a_cell()
@dataclass(frozen=True, eq=False)
class SceneAttention:
    """Where the model looked in one scene: its trajectory, the boxes that were found, and how these agree."""

    sample: Sample
    image: Image.Image
    grid: ImageGrid
    trajectory: Trajectory
    boxes: Boxes
    overlap: Overlap
    missing: tuple[str, ...]


def look(
    vlm: HookedVLM, samples: Sequence[Sample], detector: Detector, *, prompt: str, batch: int = 16
) -> list[SceneAttention]:
    """Capture the last prompt row of every sample, all layers and heads, and compare it with the detector's boxes."""
    from interp.detect.batching import find_many
    from interp.store.progress import ProgressBar

    found, prompter = find_many(samples, detector, batch=batch), Prompter(vlm, prompt, max_new_tokens=1)
    looked: dict[int, SceneAttention] = {}
    for places in ProgressBar(list(batches(samples, batch)), desc="attention", unit="batch"):
        _, rows, inputs = prompter.answers([samples[place] for place in places])
        for place, row, grid, image in zip(places, rows, inputs.grids, inputs.images, strict=True):
            sample, boxes = samples[place], found[place].boxes
            measured = trajectory(row.pattern[:, :, 0], row.layout, grid, sample_id=sample.id)
            agreed = overlap(measured, grid, boxes)
            looked[place] = SceneAttention(sample, image, grid, measured, boxes, agreed, found[place].missing)
    return [looked[place] for place in range(len(samples))]
