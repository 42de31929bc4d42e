"""Normalising projectors: image tokens of one length, and of several layers of the vision tower, to train a LLaVA with.

Both are of "Beyond Semantics: Rediscovering Spatial Awareness in Vision-Language Models", where they are trained with
the whole model in both stages of LLaVA-1.5. Put into a trained model without training, they are no method of the paper.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import sqrt
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from interp.errors import InputError, ModelError
from interp.model.loading import read_dtype
from interp.store.checkpoint import refuse_foreign_shards, unasked
from interp.store.names import given_path
from interp.store.parsing import parse_json

if TYPE_CHECKING:
    from transformers import PreTrainedModel

EPS, CLIP, SCALE = 1e-6, 1.22, 0.83
"""The paper's numbers; it calls 0.83 the mean and 1.22 the largest norm of text embeddings."""

PAPER_FEATURES = (12, 16, 20, 24)
"""The layers of CLIP's 24, counted from 1, whose outputs the multi-layer variant reads."""

FILE = "normalized_projector.json"


@dataclass(frozen=True)
class ConstantNorm:
    """What the normalising block does to the length of an image token at one width.

    Attributes:
        d_model: width.
        rms_norm: length after RMSNorm with a weight of one, the square root of the width.
        norm: length of every token that leaves, whatever it holds, where the clip fires.
        always: whether it fires for every token at a weight of one; so it does from width 2 on.
        least_weight: smallest absolute weight of RMSNorm from which on it fires for every token, whatever the others.
    """

    d_model: int
    rms_norm: float
    norm: float
    always: bool
    least_weight: float


def constant_norm(d_model: int) -> ConstantNorm:
    """Say how long image tokens are behind the normalising block.

    RMSNorm with a weight of one makes every token sqrt(d_model) long, 64 at 4,096, so the clip to 1.22 fires whatever
    the token holds, from width 2 (1.41) on, and 0.83 of it is left: 1.22 * 0.83 = 1.0126. The block gives all tokens
    one length; it does not match the distribution of text norms, and 0.83 is no norm that occurs. Two cases fall out: a
    token so near to zero that its mean square is not large against eps (zero stays zero), and weights that have become
    smaller than `least_weight`. Means over several tokens, as of pooling behind the block, can be shorter.

    Args:
        d_model: width of the language model.

    Example:
        >>> found = constant_norm(4096)
        >>> round(found.norm, 4), found.rms_norm, round(found.least_weight, 3)
        (1.0126, 64.0, 0.019)

    Raises:
        InputError: a width below 1.
    """
    if d_model < 1:
        raise InputError(f"a model {d_model} wide can not be: give a width of 1 or more")
    length = sqrt(d_model)
    always = length > CLIP
    return ConstantNorm(d_model, length, SCALE * min(length, CLIP), always, CLIP / length)


class NormalizedProjector(nn.Module):
    """LLaVA's two-layer projector, then RMSNorm with a learned weight, a clip of the length, and a factor.

    With x the output of the projector, of width d, and w the weight of RMSNorm (Beyond Semantics, its "+Normalize"):

        y = w * x / sqrt(mean(x^2) + 1e-6),   z = 0.83 * y * min(1, 1.22 / |y|)

    so that |z| is 1.0126 for nearly every token: see `constant_norm`. No gradient changes the length of a clipped
    token. Parameters are called as the authors call theirs: `projector.0`, `projector.2`, `norm`.

    Example:
        >>> NormalizedProjector(1024, 4096)(torch.randn(2, 576, 1024)).norm(dim=-1).unique(sorted=True)[0]
        tensor(1.0126, grad_fn=<SelectBackward0>)
    """

    def __init__(self, d_in: int, d_model: int, *, bias: bool = True) -> None:
        """Make one with new weights.

        Args:
            d_in: width of the features.
            d_model: width of the language model.
            bias: whether both layers have one.
        """
        super().__init__()
        layers = nn.Linear(d_in, d_model, bias=bias), nn.GELU(), nn.Linear(d_model, d_model, bias=bias)
        self.projector = nn.Sequential(*layers)
        self.norm = nn.RMSNorm(d_model, eps=EPS)

    def forward(self, image_features: Float[Tensor, "*batch token d_in"]) -> Float[Tensor, "*batch token d_model"]:
        """Project and normalise."""
        return shorten(self.norm(self.projector(image_features)))


class MultilayerProjector(NormalizedProjector):
    """The normalising projector behind several layers of the vision tower, side by side.

    The features are those that LLaVA hands over when its `vision_feature_layer` is a list: outputs of the layers, class
    token dropped, one behind the other. Each goes through the tower's own last norm first (which LLaVA itself never
    uses), then all through the projector (Beyond Semantics, its "+Normalize+Multilayer").
    """

    def __init__(self, post_layernorm: nn.Module, d_vision: int, n_layers: int, d_model: int, *, bias: bool = True):
        """Make one with new weights.

        Args:
            post_layernorm: the last norm of the tower, which stays the tower's: it is not among these parameters.
            d_vision: width of the tower.
            n_layers: how many of its layers are read.
            d_model: width of the language model.
            bias: whether both layers have one.
        """
        super().__init__(n_layers * d_vision, d_model, bias=bias)
        self.n_layers = n_layers
        self._of_the_tower = (post_layernorm,)  # in a tuple, so that it is not registered, nor saved, twice

    def forward(self, image_features: Float[Tensor, "*batch token d_in"]) -> Float[Tensor, "*batch token d_model"]:
        """Normalise each layer, project, normalise."""
        return super().forward(self.features(image_features))

    def features(self, image_features: Float[Tensor, "*batch token d_in"]) -> Float[Tensor, "*batch token d_in"]:
        """What the projector reads: each layer behind the tower's last norm."""
        apart = rearrange(image_features, "... (layer d) -> ... layer d", layer=self.n_layers)
        return rearrange(self._of_the_tower[0](apart), "... layer d -> ... (layer d)")


def shorten(tokens: Float[Tensor, "*batch d_model"]) -> Float[Tensor, "*batch d_model"]:
    """Clip the length of tokens to 1.22 and multiply them by 0.83; zero stays zero."""
    exact = torch.promote_types(tokens.dtype, torch.float32)
    length = tokens.to(exact).norm(dim=-1, keepdim=True).clamp_min(torch.finfo(exact).tiny)
    return tokens * (SCALE * (CLIP / length).clamp_max(1.0)).to(tokens.dtype)


def with_normalized_projector(model: PreTrainedModel, *, layers: Sequence[int] | None = None) -> PreTrainedModel:
    """Put a normalising projector in the place of a LLaVA's own, to train the model with it.

    Without `layers`, the weights of both layers of the projector are the model's own, and RMSNorm begins at one. With
    layers, the first of both is new, as it reads more features. All of it can be trained. `save_normalized` and
    `load_normalized` keep such a model; transformers alone would load it without the block, and is told so by names.

    Args:
        model: a LLaVA-1.5 of transformers; changed in place, or not at all where this is refused.
        layers: layers of the vision tower counted from 1, such as `PAPER_FEATURES`; the multi-layer variant.

    Returns:
        The model.

    Example:
        >>> model = with_normalized_projector(model, layers=PAPER_FEATURES)
        >>> vlm = HookedVLM.wrap(model, processor)

    Raises:
        ModelError: it is no LLaVA-1.5, or its vision tower has no class token and last norm where these are needed.
        InputError: layers that the tower does not have.
    """
    projector = _new_projector(model, None if layers is None else tuple(layers))
    model.model.multi_modal_projector = projector
    if layers is not None:
        model.config.vision_feature_layer = list(layers)
        model.config.vision_feature_select_strategy = "default"
    return model


def save_normalized(model: PreTrainedModel, folder: str | Path) -> Path:
    """Save a model with a normalising projector: what `save_pretrained` writes, and a small file about the projector.

    Raises:
        ModelError: it has no normalising projector.
    """
    projector = getattr(getattr(model, "model", None), "multi_modal_projector", None)
    if not isinstance(projector, NormalizedProjector):
        raise ModelError(
            f"{type(model).__name__} has no normalising projector: put one in with with_normalized_projector(model)"
        )
    path = given_path(folder)
    model.save_pretrained(path)
    layers = list(model.config.vision_feature_layer) if isinstance(projector, MultilayerProjector) else None
    (path / FILE).write_text(json.dumps(asdict(_Settings(layers)), indent=2) + "\n", encoding="utf-8")
    return path


def load_normalized(folder: str | Path, *, dtype: Any = "auto") -> tuple[PreTrainedModel, Any]:
    """Load what `save_normalized` saved, ready to run: in eval mode, parameters frozen.

    Args:
        folder: where model and processor were saved.
        dtype: a torch dtype or its name.

    Example:
        >>> vlm = HookedVLM.wrap(*load_normalized("out/normalized"))

    Raises:
        ModelError: the folder holds no such model, its numbers are others, or weights do not fit.
    """
    from transformers import AutoConfig, AutoModelForImageTextToText, AutoProcessor

    path = given_path(folder)
    settings = _read_settings(path)
    try:
        with unasked():
            refuse_foreign_shards(str(path), AutoConfig.from_pretrained(path), {})
            model, report = AutoModelForImageTextToText.from_pretrained(
                path, dtype=read_dtype(dtype), use_safetensors=True, output_loading_info=True
            )
            processor = AutoProcessor.from_pretrained(path)
    except (OSError, ValueError) as error:
        raise ModelError(f"{str(path)!r} could not be loaded ({str(error)[:200]}): save it again") from error
    absent = sorted(name for name in report["missing_keys"] if _PART not in name)
    if absent or report["mismatched_keys"]:
        unfit = [*absent, *map(str, report["mismatched_keys"])]
        raise ModelError(f"{str(path)!r} lacks {len(unfit)} weights, such as {unfit[0]}: its files are not complete")
    model = with_normalized_projector(model, layers=settings.layers)
    _fill(model.model.multi_modal_projector, path)
    model.eval().requires_grad_(False)
    return model, processor


_PART = "multi_modal_projector."


@dataclass(frozen=True)
class _Settings:
    """The small file: which variant, and its numbers, which are not to be changed there."""

    layers: list[int] | None = None
    eps: float = EPS
    clip: float = CLIP
    scale: float = SCALE


def _read_settings(path: Path) -> _Settings:
    """What the small file says."""
    file = path / FILE
    if not file.is_file():
        raise ModelError(
            f"{str(path)!r} holds no {FILE}: load it with HookedVLM.from_pretrained, or name another folder"
        )
    try:
        settings = _Settings(**parse_json(file.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise ModelError(f"{str(file)!r} is no file of save_normalized ({error}): save the model again") from error
    if settings != _Settings(settings.layers):
        raise ModelError(f"{str(file)!r} has other numbers than {asdict(_Settings(settings.layers))}: save it again")
    return settings


def _fill(projector: NormalizedProjector, path: Path) -> None:
    """Load the weights of the projector alone, which transformers does not know."""
    from safetensors import safe_open

    found: dict[str, Tensor] = {}
    for file in sorted(path.glob("*.safetensors")):
        with safe_open(file, "pt") as tensors:
            names = [name for name in tensors.keys() if _PART in name]
            found |= {name.partition(_PART)[2]: tensors.get_tensor(name) for name in names}
    try:
        projector.load_state_dict(found)
    except RuntimeError as error:
        raise ModelError(f"the projector's weights in {str(path)!r} do not fit ({str(error)[:200]})") from error


def _new_projector(model: PreTrainedModel, layers: tuple[int, ...] | None) -> NormalizedProjector:
    """The projector for a model, with as many of its weights as fit."""
    old = _own_projector(model)
    d_model, bias = old.linear_2.out_features, old.linear_2.bias is not None
    if layers is None:
        new = NormalizedProjector(old.linear_1.in_features, d_model, bias=bias)
        new.projector[0].load_state_dict(old.linear_1.state_dict())
    else:
        norm, width = _last_norm(model, layers)
        new = MultilayerProjector(norm, width, len(layers), d_model, bias=bias)
    new.projector[2].load_state_dict(old.linear_2.state_dict())
    return new.to(old.linear_2.weight.device, old.linear_2.weight.dtype).train(model.training)


def _own_projector(model: PreTrainedModel) -> Any:
    """The projector of a LLaVA-1.5; refuses other models, and one that normalises already."""
    kind = getattr(getattr(model, "config", None), "model_type", type(model).__name__)
    old: Any = getattr(getattr(model, "model", None), "multi_modal_projector", None)
    if kind != "llava" or not isinstance(old, nn.Module):
        raise ModelError(f"a normalising projector is for LLaVA-1.5, and this is a {kind!r} model: load a LLaVA-1.5")
    if isinstance(old, NormalizedProjector):
        raise ModelError("the model has a normalising projector already: load it anew to make another one")
    if not isinstance(old.act, nn.Module) or type(old.act).__name__ not in ("GELUActivation", "GELU"):
        raise ModelError(f"the projector has {type(old.act).__name__} between its layers, not GELU: load a LLaVA-1.5")
    return old


def _last_norm(model: PreTrainedModel, layers: tuple[int, ...]) -> tuple[nn.Module, int]:
    """The last norm of the vision tower and its width; refuses towers without, and layers that are not there."""
    vision = model.config.vision_config
    norms = [part for name, part in model.model.vision_tower.named_modules() if name.endswith("post_layernorm")]
    if vision.model_type != "clip_vision_model" or len(norms) != 1:
        raise ModelError(f"the multi-layer variant reads CLIP, and the vision tower is {vision.model_type!r}")
    depth = vision.num_hidden_layers
    if not layers or len(set(layers)) < len(layers) or not all(isinstance(i, int) and 1 <= i <= depth for i in layers):
        raise InputError(f"layers {list(layers)} are not different ones of 1 to {depth}, the tower's: name such")
    return norms[0], vision.hidden_size
