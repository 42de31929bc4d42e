"""Arms: what stands between the frozen vision tower and the language model, which is all that tells two runs apart."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import LlavaForConditionalGeneration

from interp.errors import InputError, ModelError
from interp.training.vlm.losses import image_tokens
from probes.position.normalized_projector import constant_norm, save_normalized, with_normalized_projector


@dataclass(frozen=True)
class Arm:
    """One way of handing image tokens over.

    Attributes:
        name: what it is called.
        words: what it is, in a few words.
        prepare: changes a fresh model in place, given pictures; see `prepare_arm`.
    """

    name: str
    words: str
    prepare: Callable[[LlavaForConditionalGeneration, np.ndarray], None]


class ScaledProjector(nn.Module):
    """LLaVA's projector, and behind it one factor that is never trained: z = c P(x).

    It is what tells scale from normalising: on the mean it makes image tokens as long as the normalising projector does
    at the start, but they keep their differences of length, and the length may grow and shrink in training.
    """

    linear_1: nn.Linear
    act: nn.Module
    linear_2: nn.Linear
    factor: Tensor

    def __init__(self, projector: Any, factor: float) -> None:
        """Take over both layers of a projector.

        Args:
            projector: LLaVA's own.
            factor: what its output is multiplied by.
        """
        super().__init__()
        self.linear_1, self.act, self.linear_2 = projector.linear_1, projector.act, projector.linear_2
        self.register_buffer("factor", torch.tensor(factor))

    def forward(self, image_features: Float[Tensor, "*batch token d_in"]) -> Float[Tensor, "*batch token d_model"]:
        """Project and scale."""
        return self.linear_2(self.act(self.linear_1(image_features))) * self.factor


def prepare_arm(name: str, model: LlavaForConditionalGeneration, pixels: np.ndarray) -> LlavaForConditionalGeneration:
    """Put the projector of an arm into a fresh model; both of its layers begin as the model's own, in every arm.

    Args:
        name: one of `ARMS`.
        model: a LLaVA with a plain projector; changed in place.
        pixels: uint8 [picture height width rgb], over which lengths at the start are taken.

    Returns:
        The model.

    Raises:
        InputError: there is no such arm.
    """
    find_arm(name).prepare(model, pixels)
    return model


def find_arm(name: str) -> Arm:
    """The arm of a name.

    Raises:
        InputError: there is none.
    """
    if name not in ARMS:
        raise InputError(f"there is no arm {name!r}: use some of {', '.join(ARMS)}")
    return ARMS[name]


def save_arm(name: str, model: LlavaForConditionalGeneration, folder: Path) -> Path:
    """Save a trained model so that `load_arm` gives it back.

    The factor of the scaled arm goes into the last layer of its projector, so that what is saved is a plain LLaVA.
    """
    if name == "normalised":
        return save_normalized(model, folder)
    projector: Any = model.model.multi_modal_projector
    if isinstance(projector, ScaledProjector):
        plain = _new_projector(model)
        with torch.no_grad():
            plain.linear_1.load_state_dict(projector.linear_1.state_dict())
            plain.linear_2.load_state_dict(projector.linear_2.state_dict())
            for weight in plain.linear_2.parameters():
                weight.mul_(projector.factor)
        model.model.multi_modal_projector = plain
    model.save_pretrained(folder)
    return folder


def load_arm(name: str, folder: Path) -> tuple[Any, Any]:
    """Model and processor of a folder of `save_arm`, in float32, ready to run.

    Raises:
        ModelError: the folder holds none.
    """
    from transformers import AutoProcessor

    from probes.position.normalized_projector import load_normalized

    if not (folder / "config.json").is_file():
        raise ModelError(f"no trained model lies in {str(folder)!r}: train it with python -m probes retrain")
    if name == "normalised":
        return load_normalized(folder, dtype="float32")
    model = LlavaForConditionalGeneration.from_pretrained(folder, dtype=torch.float32, use_safetensors=True)
    processor = AutoProcessor.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    return model.eval().requires_grad_(False), processor


@torch.no_grad()
def mean_length(model: LlavaForConditionalGeneration, pixels: np.ndarray) -> float:
    """Mean length of the image tokens that the language model receives of some pictures."""
    return float(image_tokens(model, pixels).norm(dim=-1).mean())


def word_lengths(model: LlavaForConditionalGeneration) -> tuple[float, float]:
    """Mean and largest length of the embeddings of the model's words."""
    lengths = model.get_input_embeddings().weight.detach().norm(dim=-1)
    return float(lengths.mean()), float(lengths.max())


def _new_projector(model: LlavaForConditionalGeneration) -> Any:
    """A new plain projector for a model."""
    from transformers.models.llava.modeling_llava import LlavaMultiModalProjector

    return LlavaMultiModalProjector(model.config)


def _keep(model: LlavaForConditionalGeneration, pixels: np.ndarray) -> None:
    """LLaVA's projector as it is."""


def _normalise(model: LlavaForConditionalGeneration, pixels: np.ndarray) -> None:
    with_normalized_projector(model)


def _scale(model: LlavaForConditionalGeneration, pixels: np.ndarray) -> None:
    width = model.config.text_config.hidden_size
    factor = constant_norm(width).norm / mean_length(model, pixels)
    model.model.multi_modal_projector = ScaledProjector(model.model.multi_modal_projector, factor)


ARMS = {
    arm.name: arm
    for arm in (
        Arm("plain", "LLaVA's projector as it is", _keep),
        Arm("normalised", "the normalising projector of the paper", _normalise),
        Arm("scaled", "LLaVA's projector times one constant, as long on the mean as the normalised arm", _scale),
    )
}
"""All arms, by name; the first is what the others are set against."""
