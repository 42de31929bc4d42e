"""Further maps of an analysis: what was asked for, refused before the model runs, and made after it has."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from interp.analysis import token_maps, vision
from interp.errors import InputError
from interp.model.features import ImageFeatures

if TYPE_CHECKING:
    from PIL import Image

    from interp.analysis.request import AnalyzeRequest
    from interp.analysis.token_maps import TokenMaps
    from interp.analysis.vision import VisionMaps
    from interp.image.boxes import Boxes
    from interp.maps.trajectory import Trajectory
    from interp.model.answer_token import AnswerToken
    from interp.model.hooked_vlm import HookedVLM
    from interp.prompt.inputs import VLMInputs

Result = TypeVar("Result")


@dataclass
class FurtherMaps:
    """The maps that are made beside raw attention, and what they are made of.

    Attributes:
        names: which, in the order in which they were asked for.
        over_patches: those over the patches of the vision tower.
        over_tokens: those over the image tokens.
        answer: the token that was asked for; None for what the model says.
        neutral: the photo under the neutral prompt, where a map needs it.
        features: the photo as the language model receives it, where a map needs it, once `run` has run.
    """

    vlm: HookedVLM
    inputs: VLMInputs
    names: tuple[str, ...]
    over_patches: list[str]
    over_tokens: list[str]
    answer: AnswerToken | None
    neutral: VLMInputs | None
    features: ImageFeatures | None = None

    @classmethod
    def checked(
        cls, vlm: HookedVLM, inputs: VLMInputs, image: Image.Image, question: str, request: AnalyzeRequest
    ) -> FurtherMaps:
        """Read what is asked for.

        Raises:
            SpatialLensError: this model can not show its tower or give gradients, an answer that can not be read, or a
                neutral prompt that is the question.
        """
        names = tuple(dict.fromkeys(request.also))
        over_patches = [name for name in names if name in vision.ALSO]
        over_tokens = [name for name in names if name in token_maps.ALSO]
        if over_patches:
            vision.check_tower(vlm, inputs)
        answer = token_maps.check_token_maps(vlm, inputs, over_tokens, request.answer)
        neutral = None
        if token_maps.RELATIVE in names:
            if request.neutral_prompt.strip() == question.strip():
                raise InputError(
                    "the neutral prompt is the question itself, so 'relative' would be even everywhere: give another"
                )
            neutral = vlm.prepare(image, request.neutral_prompt, prompt=request.prompt)
        return cls(vlm, inputs, names, over_patches, over_tokens, answer, neutral)

    def run(self, run: Callable[[], Result]) -> Result:
        """The analysis's own run of the model, of which the photo's features are kept where a map needs them."""
        if not self.over_tokens:
            return run()
        result, self.features = ImageFeatures.captured(self.vlm, self.inputs, run)
        return result

    def maps(self, looked: Trajectory, boxes: Boxes | None, said: int) -> dict[str, VisionMaps | TokenMaps]:
        """Make them.

        Args:
            looked: the raw attention.
            boxes: the objects.
            said: the first token that the model said.
        """
        made: dict[str, VisionMaps | TokenMaps] = {}
        if self.over_patches:
            made |= vision.further_maps(self.vlm, self.inputs, looked, self.over_patches, boxes)
        if self.features is not None:
            made |= token_maps.token_maps(
                self.vlm,
                self.inputs,
                looked,
                self.over_tokens,
                boxes,
                answer=said if self.answer is None else self.answer,
                neutral=self.neutral,
                features=self.features,
            )
        return {name: made[name] for name in self.names}
