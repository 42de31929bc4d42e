"""Image hooks: edits of what the language model receives of each photo of a batch, as it passes the projector."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from interp.errors import RefusedError
from interp.hooks.rows import copies_of_each, refuse_other_prompt
from interp.hooks.shape import ModelShape
from interp.prompt.layout import TokenLayout

IMAGE_POINT = "projector.hook_out"
"""Where the image tokens of a whole batch pass, one photo after another, [image_token d_model]."""


def image_points(shape: ModelShape) -> tuple[str, ...]:
    """All points where the language model receives something of the photo, each [image_token d_model].

    The first is `IMAGE_POINT`; behind it those where models with DeepStack add more at the same tokens.
    """
    return IMAGE_POINT, *(f"projector.deepstack.{block}.hook_out" for block in range(shape.n_deepstack))


Edit = Callable[[Float[Tensor, "token d_model"]], Float[Tensor, "token d_model"]]
"""What is done with the image tokens of one photo, in the order of its grid."""


class ImageHook:
    """A hook function for one of `image_points` that edits each photo by itself, also where beams are copies of it.

    Row ends, which some families keep among the image placeholders, are no image tokens and stay as they are.

    Attributes:
        edits: what is done with each photo, one after another.
        query_rows: `image`: prompt rows before the last one are edited, which no shared prefill allows.
    """

    query_rows = "image"

    def __init__(self, edits: Sequence[Sequence[Edit]], layouts: Sequence[TokenLayout]) -> None:
        """Remember the edits of each photo, and where its image tokens are among its placeholders."""
        self.edits = tuple(tuple(own) for own in edits)
        self.photos = Photos(layouts)
        self.places = [np.searchsorted(layout.placeholders, layout.image_positions) for layout in layouts]

    def __call__(
        self, tensor: Float[Tensor, "image_token d_model"], *, hook: Any
    ) -> Float[Tensor, "image_token d_model"]:
        """Edit the image tokens of every photo of a batch."""
        edited = [self._edit(own, sample) for sample, own in self.photos.each(tensor, hook)]
        return torch.cat(edited)

    def _edit(self, photo: Tensor, sample: int) -> Tensor:
        places = torch.from_numpy(self.places[sample]).to(photo.device)
        for edit in self.edits[sample]:
            photo = photo.index_copy(0, places, edit(photo[places]).to(photo))
        return photo

    def __repr__(self) -> str:
        """Name the edits."""
        return f"ImageHook({self.edits!r})"


def image_tokens_of(every: Shaped[Tensor, "image_token ..."], layouts: Sequence[TokenLayout]) -> list[Tensor]:
    """What passes one of `image_points`, parted into the image tokens of each photo, row ends left out.

    Args:
        every: what passes, or something else with an entry for each of it, such as its lengths.
        layouts: the batch, each prompt once.
    """
    parts = every.split([len(layout.placeholders) for layout in layouts])
    places = (np.searchsorted(layout.placeholders, layout.image_positions) for layout in layouts)
    return [part[torch.from_numpy(own).to(part.device)] for part, own in zip(parts, places, strict=True)]


def refuse_deepstack(shape: ModelShape, what: str) -> None:
    """Refuse what edits the projector's tokens alone in a model that adds more of the photo behind them.

    Raises:
        RefusedError: the model does so.
    """
    if shape.n_deepstack:
        raise RefusedError(
            f"{what} is not offered for models with DeepStack, such as Qwen3-VL: after the first {shape.n_deepstack} "
            "blocks they add features of the photo at its tokens, which would stay as they are"
        )


class Photos:
    """How the image tokens of a batch are parted into its photos."""

    def __init__(self, layouts: Sequence[TokenLayout]) -> None:
        """Count the placeholders of each photo."""
        self.counts = [len(layout.placeholders) for layout in layouts]
        self.length = len(layouts[0])

    def each(self, tensor: Float[Tensor, "image_token d_model"], hook: Any) -> Iterator[tuple[int, Tensor]]:
        """The number of each row's sample and its tokens [slot d_model]; beams are copies, one after another.

        Raises:
            HookError: the tokens are not those of the prompts that this was made for.
        """
        refuse_other_prompt(hook, self.length, "image tokens")
        copies = copies_of_each(hook.now, len(tensor), sum(self.counts), hook.name)
        for number, own in enumerate(tensor.split([count for count in self.counts for _ in range(copies)])):
            yield number // copies, own
