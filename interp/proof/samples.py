"""What proofs share: photos of noise in many shapes, questions of different lengths, the largest of differences."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from interp.model.hooked_vlm import HookedVLM
    from interp.prompt.inputs import VLMInputs

QUESTIONS = (
    "Where is the mug?",
    "Where is the mug in the photo? Answer with left or right.",
    "Is the mug left of the plate?",
    "Where is the red mug in relation to the table? Answer with left, right, on or under.",
)
SIZES = ((200, 130), (120, 120), (90, 210), (300, 100))
"""(width, height) of the photos, in pixels."""


def noise(size: tuple[int, int], seed: int = 0) -> np.ndarray:
    """A photo of noise [height width 3] uint8, away from black and white, so that its colours can be turned over."""
    return np.random.default_rng(seed).integers(20, 110, (size[1], size[0], 3), dtype=np.uint8)


def one_prompt(vlm: HookedVLM) -> VLMInputs:
    """A batch of one."""
    return vlm.prepare(noise(SIZES[0]), QUESTIONS[1], prompt="paper")


def four_prompts(vlm: HookedVLM) -> tuple[VLMInputs, list[VLMInputs]]:
    """A ragged batch of four, photos and questions all different, and the same four one by one."""
    photos = [noise(size, seed) for seed, size in enumerate(SIZES)]
    singles = [vlm.prepare(photo, asked, prompt="paper") for photo, asked in zip(photos, QUESTIONS, strict=True)]
    return vlm.prepare(photos, list(QUESTIONS), prompt="paper"), singles


def largest(differences: Iterable[Tensor]) -> float:
    """The largest absolute value; NaN, which nothing holds with, if any is no number."""
    return float(torch.stack([part.float().abs().max().cpu() for part in differences]).max())
