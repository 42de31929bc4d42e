"""Image features: what the language model receives of a batch's photos, kept, so that only it runs again.

The vision tower and the projector run once; every further pass is given no pixels, and gets what they made, at
`projector.hook_out` and where a model with DeepStack adds more of the photo. Positions stay the model's own: sizes of
the photo that they are taken from are still given.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from interp.errors import InputError, RefusedError
from interp.hooks.batches import Batch, OfBatch
from interp.hooks.cache import Keep
from interp.intervene.image_hooks import IMAGE_POINT, Photos, image_points
from interp.intervene.image_pooling import PoolImageTokens
from interp.prompt.inputs import VLMInputs
from interp.prompt.layout import TokenLayout
from interp.reprs import fits_a_cell

if TYPE_CHECKING:
    from interp.hooks.cache import VLMCache
    from interp.intervene.base import Intervention
    from interp.model.generation import Generation
    from interp.model.hooked_vlm import HookedVLM

PIXELS = ("pixel_values", "pixel_attention_mask", "image_sizes", "batch_num_images")
"""What the vision tower takes, and nothing else does."""

STREAMS = "image_grid_thw"
"""What models take rotary positions from that count the rows and columns of a photo."""

Result = TypeVar("Result")


@fits_a_cell("vlm.origin.model inputs values")
@dataclass(frozen=True, eq=False)
class ImageFeatures:
    """The photos of one batch as the language model receives them.

    What runs from here equals the run with pixels, to the bit, at the price of the language model alone.

    Attributes:
        vlm: the model.
        inputs: the batch; of a pooled one, with the shorter prompts.
        values: [image_token d_model], as `projector.hook_out` shows them.
        deepstack: [image_token d_model] for each block behind which the model adds more of the photo, as
            `projector.deepstack.{k}.hook_out` shows it; none in models without DeepStack.

    Example:
        >>> features = ImageFeatures.capture(vlm, inputs)  # the tower runs
        >>> permuted = [permute_image_tokens(inputs.grids, seed) for seed in range(5)]
        >>> [features.generate(intervention=each).texts for each in permuted]  # and not once more
    """

    vlm: HookedVLM = field(repr=False)
    inputs: VLMInputs
    values: Float[Tensor, "image_token d_model"]
    deepstack: tuple[Float[Tensor, "image_token d_model"], ...] = ()

    @classmethod
    def capture(cls, vlm: HookedVLM, inputs: VLMInputs) -> ImageFeatures:
        """Run the model once and keep what its projector gives.

        Raises:
            InputError: a prompt without an image; before the run.
        """
        return cls.captured(vlm, inputs, lambda: vlm(inputs, logits_to_keep=1))[1]

    @classmethod
    def with_answers(
        cls, vlm: HookedVLM, inputs: VLMInputs, max_new_tokens: int = 10
    ) -> tuple[Generation, ImageFeatures]:
        """Answer greedily, and keep what the projector gave on the way; see `capture`."""
        return cls.captured(vlm, inputs, lambda: vlm.generate(inputs, max_new_tokens))

    @classmethod
    def captured(cls, vlm: HookedVLM, inputs: VLMInputs, run: Callable[[], Result]) -> tuple[Result, ImageFeatures]:
        """What a run of this batch gives, and what its projector gave on the way; see `capture`."""
        for sample, layout in enumerate(inputs.layouts):
            if not len(layout.image_positions):
                raise InputError(f"sample {sample} has no image token, so there are no features to keep: give a photo")
        kept: dict[str, Tensor] = {}
        points = image_points(vlm.cfg)
        with torch.no_grad(), vlm.hooks([(points, Keep(kept))]):
            result = run()
        return result, cls(vlm, inputs, kept[IMAGE_POINT], tuple(kept[name] for name in points[1:]))

    def forward(self, *, intervention: Intervention | None = None, **kwargs: Any) -> Any:
        """Run the language model, under an intervention if given; returns Hugging Face's output."""
        features, edit = self._under(intervention)
        with features.given():
            return features.vlm.run_with_hooks(features._blind, intervention=edit, **kwargs)

    def run_with_cache(self, *, intervention: Intervention | None = None, **kwargs: Any) -> tuple[Any, VLMCache]:
        """Run the language model and keep activations; see `HookedVLM.run_with_cache`."""
        features, edit = self._under(intervention)
        with features.given():
            return features.vlm.run_with_cache(features._blind, intervention=edit, **kwargs)

    def generate(self, max_new_tokens: int = 10, *, intervention: Intervention | None = None) -> Generation:
        """Answer greedily, under an intervention if given."""
        features, edit = self._under(intervention)
        with features.given():
            return features.vlm.generate(features._blind, max_new_tokens, intervention=edit)

    def tokens(self) -> list[Float[Tensor, "token d_model"]]:
        """The image tokens of each photo, in the order of its grid: without the row ends that some families have."""
        counts = [len(layout.placeholders) for layout in self.inputs.layouts]
        photos = zip(self.values.split(counts), self.inputs.layouts, strict=True)
        return [own[np.searchsorted(layout.placeholders, layout.image_positions)] for own, layout in photos]

    def pooled(self, side: int) -> ImageFeatures:
        """The same photos with `side` x `side` image tokens a view, and prompts as much shorter.

        Raises:
            InputError: a side that does not fit.
            RefusedError: a family for which a shorter prompt would not be one of its own; see `PoolImageTokens`.
        """
        pool, inputs = PoolImageTokens(side), self.inputs
        kept = kept_in_prompts(self.vlm, inputs, pool)
        values, *deepstack = (self._pooled(each, pool) for each in (self.values, *self.deepstack))
        grids = tuple(pool.grid(grid) for grid in inputs.grids)
        shorter = replace(_shortened(self.vlm, inputs, kept), grids=grids)
        return ImageFeatures(self.vlm, shorter, values, tuple(deepstack))

    @contextmanager
    def given(self) -> Iterator[None]:
        """Give the features to all runs of this batch meanwhile, in place of whatever stands at the image tokens."""
        batch, layouts = Batch(self.inputs, "ImageFeatures", lambda: True), self.inputs.layouts
        each = zip(image_points(self.vlm.cfg), (self.values, *self.deepstack), strict=True)
        with self.vlm.hooks([(name, OfBatch(_Give(values, layouts), batch)) for name, values in each]):
            yield

    @contextmanager
    def under(self, intervention: Intervention | None = None) -> Iterator[VLMInputs]:
        """Give the features, and keep an intervention on, to what runs the batch that this hands out, without pixels.

        Example:
            >>> with features.under(ScaleImageNorms(scale=0.5)) as inputs:
            ...     found = rope_sensitivity(vlm, inputs)
        """
        features, edit = self._under(intervention)
        with features.given(), features.vlm.hooks(intervention=edit, inputs=features._blind):
            yield features._blind

    @contextmanager
    def given_to(self, inputs: VLMInputs) -> Iterator[VLMInputs]:
        """Give the features to a batch about the same photos, with other words or not; hands it out without pixels."""
        with replace(self, inputs=inputs).under() as blind:
            yield blind

    def _pooled(
        self, tokens: Float[Tensor, "image_token d_model"], pool: PoolImageTokens
    ) -> Float[Tensor, "pooled d_model"]:
        """What is left of the tokens of all photos, one photo after another."""
        counts = [len(layout.placeholders) for layout in self.inputs.layouts]
        photos = zip(tokens.split(counts), self.inputs.grids, strict=True)
        return torch.cat([pool.tokens(own, grid) for own, grid in photos])

    @property
    def _blind(self) -> VLMInputs:
        """The batch without pixels: only under `given` does it mean the photos."""
        tensors = {name: value for name, value in self.inputs.tensors.items() if name not in PIXELS}
        return replace(self.inputs, tensors=tensors)

    def _under(self, intervention: Intervention | None) -> tuple[ImageFeatures, Intervention | None]:
        """What runs under an intervention: pooling makes other features, and is then done."""
        if isinstance(intervention, PoolImageTokens):
            return self.pooled(intervention.side), None
        return self, intervention


def kept_in_prompts(vlm: HookedVLM, inputs: VLMInputs, pool: PoolImageTokens) -> list[Int[np.ndarray, " position"]]:
    """The positions that are left of each prompt when image tokens are pooled.

    Raises:
        InputError: a side that does not fit.
        RefusedError: a family for which a shorter prompt would not be one of its own.
    """
    if STREAMS in inputs.tensors:
        raise RefusedError(
            f"{vlm.family.name} family: {pool} is refused: its positions count the rows and columns of the photo, and "
            "those of a photo with fewer tokens would be another photo's"
        )
    try:
        return [pool.kept(layout, grid) for layout, grid in zip(inputs.layouts, inputs.grids, strict=True)]
    except RefusedError as error:
        raise RefusedError(f"{vlm.family.name} family: {error}") from None


class _Give:
    """A hook function that gives each photo's features to its sample, or to all copies of it."""

    query_rows = "image"

    def __init__(self, values: Tensor, layouts: Sequence[TokenLayout]) -> None:
        self.values, self.photos = values, Photos(layouts)
        if sum(self.photos.counts) != len(values):
            raise InputError(
                f"{len(values)} image features for prompts with {sum(self.photos.counts)} image tokens: "
                "use the inputs that they were captured from"
            )

    def __call__(
        self, tensor: Float[Tensor, "image_token d_model"], *, hook: Any
    ) -> Float[Tensor, "image_token d_model"]:
        known = self.values.split(self.photos.counts)
        return torch.cat([known[sample] for sample, _ in self.photos.each(tensor, hook)])


def _shortened(vlm: HookedVLM, inputs: VLMInputs, kept: Sequence[np.ndarray]) -> VLMInputs:
    """The batch with these positions of each prompt, padded on the left to one length."""
    length = max(map(len, kept))
    pads = [length - len(own) for own in kept]
    fill = {"input_ids": vlm.processor.tokenizer.pad_token_id or 0}
    places = torch.stack([torch.from_numpy(np.pad(own, (pad, 0))) for own, pad in zip(kept, pads, strict=True)])
    padding = torch.arange(length)[None] < torch.tensor(pads)[:, None]
    tensors = {
        name: value.gather(1, places.to(value.device)).masked_fill(padding.to(value.device), fill.get(name, 0))
        if value.shape == inputs.input_ids.shape
        else value
        for name, value in inputs.tensors.items()
    }
    pad_token = str(vlm.processor.tokenizer.pad_token or "")
    layouts = tuple(
        TokenLayout(
            ("pad",) * pad + tuple(layout.kinds[place] for place in own),
            (pad_token,) * pad + tuple(layout.tokens[place] for place in own),
        )
        for layout, own, pad in zip(inputs.layouts, kept, pads, strict=True)
    )
    return replace(inputs, tensors=tensors, layouts=layouts)
