"""The request of an analysis: how a photo is asked about, what is measured, and where it goes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from interp.analysis import token_maps, vision
from interp.errors import InputError
from interp.overlap.study.request import NEUTRAL_PROMPT
from interp.study.requests import Request

if TYPE_CHECKING:
    from interp.model.hooked_vlm import HookedVLM
    from interp.objects.detector import Detector

TOKENS = ("first", "all")
ALSO = (*vision.ALSO, *token_maps.ALSO)
"""Further maps: over the patches of the vision tower, see `VisionMaps`, and over the image tokens, see `TokenMaps`."""
LOADING = {
    "device": None,
    "dtype": "auto",
    "revision": None,
    "trust_remote_code": False,
    "processor_options": None,
    "image_backend": None,
}
"""The fields that say how a model is loaded, and what they are where nothing was said."""


@dataclass(frozen=True, kw_only=True)
class AnalyzeRequest(Request):
    """How to ask about a photo, and what to measure: what `interp.analyze` takes.

    Attributes:
        model: hub name, folder, embedded model, or a `HookedVLM` (then without what is for loading).
        detector: what `interp.detect.load_detector` takes (YOLO weights, `shapes-detector`, an ONNX file, a model of
            transformers), or any `Detector`; none by default.
        layers: 0-based layers that the heat maps show; by default the paper's and some before and after. The layer that
            has most attention on the objects, per area, is always added.
        tokens: `first` measures the row behind the first answer token, `all` those behind every answer token.
        prompt: `chat`, `paper` or `raw`.
        max_new_tokens: length of the answer at most.
        also: further maps to make, some of `ALSO`. Those over the patches of the vision tower cost one more run of it,
            see `VisionMaps`; those over the image tokens stand beside raw attention under the same measures, and cost
            about one more run of the language model each, all that are of gradients together one, see `TokenMaps`.
        answer: the word whose first token `gradient`, `gradient-alone`, `gradcam` and `lens` are of, as it would follow
            the prompt; by default the first token that the model says.
        neutral_prompt: what is asked for `relative` beside the question.
        html: make the page to explore, as `interp.page.explore.explore` does, of what is measured here. Where hidden
            states are wide enough to tell sinks by, the prompt runs once more for them.
        out: a folder to save figures and tables in.
        download: whether the detector's published weights may be fetched.
        device: where a model that is loaded here goes.
        dtype: its type.
        revision: its revision on the hub.
        trust_remote_code: whether code that comes with it may run.
        processor_options: settings of its processor by name, such as `max_pixels`.
        image_backend: what resizes the photo, `pil` or `torchvision`.
        sample_id: what tables call this photo; by default the name of its file, without the ending.

    Example:
        >>> analyze("photo.jpg", question, request=AnalyzeRequest(detector="yolo11n.pt", layers=(17, 18)))

    Raises:
        InputError: tokens or further maps that are not known, no layers, or a model that is loaded already beside what
            is for loading.
    """

    model: str | Path | HookedVLM = "shapes-vlm"
    detector: str | Path | Detector | None = None
    layers: Sequence[int] | None = None
    tokens: str = "first"
    prompt: str = "chat"
    max_new_tokens: int = 10
    also: Sequence[str] = ()
    answer: str | None = None
    neutral_prompt: str = NEUTRAL_PROMPT
    html: bool = False
    out: str | Path | None = None
    download: bool = False
    device: str | None = None
    dtype: Any = "auto"
    revision: str | None = None
    trust_remote_code: bool = False
    processor_options: Mapping[str, Any] | None = None
    image_backend: str | None = None
    sample_id: str | None = None

    UNRECORDED: ClassVar[frozenset[str]] = frozenset({"model", *LOADING, "html", "out", "download", "sample_id"})

    def __post_init__(self) -> None:
        """Refuse what no model is needed to refuse."""
        if self.tokens not in TOKENS:
            raise InputError(f"tokens={self.tokens!r} is not known: use one of {', '.join(TOKENS)}")
        self._keep_tuples("also")
        self._keep_layers()
        if any(name not in ALSO for name in self.also):
            raise InputError(f"further maps {self.also!r} are not known: give a list of some of {', '.join(ALSO)}")
        self._check_answer()
        self._keep_whole(max_new_tokens=1)
        self._check_prompt()
        loads = isinstance(self.model, (str, Path))
        if not loads and any(getattr(self, name) != usual for name, usual in LOADING.items()):
            raise InputError(
                "device, dtype, revision, processor_options and image_backend are for loading: this model is loaded "
                "already, leave them out"
            )

    def _check_answer(self) -> None:
        """Refuse a word or a neutral prompt that is none, or that no map is made of."""
        if self.answer is not None and not isinstance(self.answer, str):
            raise InputError(f"answer={self.answer!r:.60} is no text: give a word")
        if self.answer is not None and not set(self.also) & set(token_maps.OF_ANSWER):
            raise InputError(
                f"answer={self.answer!r} would change nothing: it goes with the further maps "
                f"{', '.join(token_maps.OF_ANSWER)}"
            )
        asked = self.neutral_prompt
        if not isinstance(asked, str) or not asked.strip():
            raise InputError(
                f"neutral_prompt={asked!r:.60}: give a prompt that asks for nothing in particular, as text"
            )
        if asked != NEUTRAL_PROMPT and token_maps.RELATIVE not in self.also:
            raise InputError(f"neutral_prompt={asked!r} would change nothing: it goes with the further map 'relative'")
