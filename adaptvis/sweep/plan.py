"""The plan of a sweep: which settings every sample is asked under."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Protocol

from adaptvis.paper.published import SCALING_ALPHAS
from interp.intervene.base import Untouched
from interp.intervene.image_logits import ScaleImageLogits
from interp.reprs import fits_a_cell

if TYPE_CHECKING:
    from interp.model.generation import Generation
    from interp.model.hooked_vlm import HookedVLM
    from interp.prompt.inputs import VLMInputs

PAPER_ALPHAS = tuple(sorted({*SCALING_ALPHAS, 1.0}))
"""The alphas that the authors list for LLaVA-1.5, and the untouched 1."""

UNTOUCHED = str(Untouched())
"""The setting of the rows of the model as it is, which every sweep has."""


class Decoder(Protocol):
    """Another way of decoding, such as `VCD` or `DoLa`; its `str()` goes into results."""

    def generate(self, vlm: HookedVLM, inputs: VLMInputs, max_new_tokens: int) -> Generation:
        """Answer a batch."""
        ...


@fits_a_cell()
@dataclass(frozen=True)
class Plan:
    """What every sample is asked under.

    Attributes:
        scalings: interventions on the image logits; the untouched run is always added.
        decoders: other ways of decoding.
        prompt: prompt style, see `HookedVLM.prepare`.
        max_new_tokens: length of an answer at most.

    Example:
        >>> plan = Plan(grid((0.5, 1.5)) + grid((1.0, 2.0), mode="add"), decoders=(VCD(),))
    """

    scalings: tuple[ScaleImageLogits, ...] = ()
    decoders: tuple[Decoder, ...] = ()
    prompt: str = "paper"
    max_new_tokens: int = 10

    def __post_init__(self) -> None:
        """Keep each setting once; what changes nothing is the untouched run."""
        kept = dict.fromkeys(each for each in self.scalings if not each.changes_nothing)
        object.__setattr__(self, "scalings", tuple(kept))
        object.__setattr__(self, "decoders", tuple(dict.fromkeys(self.decoders)))

    @property
    def settings(self) -> list[str]:
        """The names of all settings, as in the column `setting`."""
        return [UNTOUCHED, *map(str, self.scalings), *map(str, self.decoders)]


def grid(
    alphas: Sequence[float],
    *,
    mode: str = "mul",
    windows: Sequence[tuple[int, ...] | None] = (None,),
    heads: tuple[int, ...] | None = None,
) -> tuple[ScaleImageLogits, ...]:
    """Every strength in every window of layers.

    Raises:
        InputError: an alpha that is not a finite number, or windows and heads that mean nothing.
    """
    return tuple(
        ScaleImageLogits(alpha, mode=mode, layers=layers, heads=heads) for layers, alpha in product(windows, alphas)
    )
