"""Analysis: one photo and one question: the answer, where the model looked, and whether the objects are there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from interp.analysis.result import Analysis
from interp.analysis.vision import ALSO, check_tower, further_maps
from interp.errors import InputError
from interp.intervene.indices import check_indices
from interp.layers import default_layers
from interp.maps.trajectory import trajectory
from interp.model.provenance import run_record
from interp.model.record import record
from interp.overlap.overlap import overlap
from interp.store.folder import OutputFolder

if TYPE_CHECKING:
    from interp.image.photos import ImageSource
    from interp.model.hooked_vlm import HookedVLM
    from interp.objects.detector import Detector

TOKENS = ("first", "all")


def analyze(
    photo: ImageSource,
    question: str,
    *,
    model: str | Path | HookedVLM = "shapes-vlm",
    detector: str | Path | Detector | None = None,
    layers: Sequence[int] | None = None,
    tokens: str = "first",
    prompt: str = "chat",
    max_new_tokens: int = 10,
    also: Sequence[str] = (),
    html: bool = False,
    out: str | Path | None = None,
    download: bool = False,
    device: str | None = None,
    dtype: Any = "auto",
    revision: str | None = None,
    trust_remote_code: bool = False,
    sample_id: str | None = None,
) -> Analysis:
    """Ask a question about a photo and measure where the model looks.

    Args:
        photo: path, PIL image or array.
        question: such as `Where is the mug in relation to the table?`.
        model: hub name, folder, embedded model, or a `HookedVLM` (then without what is for loading).
        detector: what `interp.detect.load_detector` takes (YOLO weights, `shapes-detector`, an ONNX file, a model of
            transformers), or any `Detector`; none by default.
        layers: 0-based layers that the heat maps show; by default the paper's and some before and after. The layer that
            has most attention on the objects, per area, is always added.
        tokens: `first` measures the row behind the first answer token, `all` those behind every answer token.
        prompt: `chat`, `paper` or `raw`.
        max_new_tokens: length of the answer at most.
        also: further maps to make, some of `ALSO`: they lie over the patches of the vision tower, see `VisionMaps`, and
            cost one more run of it.
        html: make the page to explore, as `interp.page.explore.explore` does, of what is measured here. Where hidden
            states are wide enough to tell sinks by, the prompt runs once more for them.
        out: a folder to save figures and tables in.
        download: whether the detector's published weights may be fetched.
        device: where a model that is loaded here goes.
        dtype: its type.
        revision: its revision on the hub.
        trust_remote_code: whether code that comes with it may run.
        sample_id: what tables call this photo; by default the name of its file, without the ending.

    Example:
        >>> analyze("photo.jpg", "Where is the mug in the photo?", detector="yolo11n.pt").answer
        'Left'

    Raises:
        SpatialLensError: the photo, question, model, detector, layers or folder can not be used.
    """
    from interp.analysis.page import draw_page
    from interp.detect.loading import photo_detector
    from interp.image.photos import load_image
    from interp.maps.hidden_sinks import untouched_sinks
    from interp.objects.words import find_objects

    run = run_record()
    if tokens not in TOKENS:
        raise InputError(f"tokens={tokens!r} is not known: use one of {', '.join(TOKENS)}")
    unknown = [name for name in also if name not in ALSO]
    if isinstance(also, str) or unknown:
        raise InputError(f"further maps {also!r} are not known: give a list of some of {', '.join(ALSO)}")
    image = load_image(photo)
    folder = None if out is None else OutputFolder(out)
    finder = photo_detector(detector, download=download, device="cpu" if device in (None, "auto") else str(device))
    how = {"device_map": device, "dtype": dtype, "revision": revision, "trust_remote_code": trust_remote_code}
    vlm = _load_model(model, how)
    shown = check_indices(layers, vlm.cfg.n_layers, "layer") if layers is not None else default_layers(vlm.cfg.n_layers)
    if not shown:
        raise InputError("layers is empty, so no heat map would be drawn: name some, or leave it out")
    inputs = vlm.prepare(image, question, prompt=prompt)
    if also:
        check_tower(vlm, inputs)
    found = None if finder is None else find_objects(image, question, finder)
    rows = "last" if tokens == "first" else "generated"
    generation, (kept,) = vlm.generate_with_cache(inputs, max_new_tokens, query_rows=rows)
    looked = trajectory(
        kept.pattern if tokens == "all" else kept.pattern[:, :, 0],
        kept.layout,
        inputs.grids[0],
        tokens=kept.tokens,
        sample_id=sample_id if sample_id is not None else Path(photo).stem if isinstance(photo, (str, Path)) else "",
    )
    boxes = found.boxes if found is not None and len(found.boxes) else None
    analysis = Analysis(
        image=image,
        question=question,
        answer=generation.texts[0],
        confidence=generation.confidence[0],
        layers=shown,
        layout=kept.layout,
        grid=inputs.grids[0],
        trajectory=looked,
        found=found,
        overlap=None if boxes is None else overlap(looked, inputs.grids[0], boxes),
        also=further_maps(vlm, inputs, looked, also, boxes) if also else {},
        settings=record(
            vlm,
            prompt=prompt,
            tokens=tokens,
            max_new_tokens=max_new_tokens,
            layers=shown,
            detector=getattr(finder, "name", None),
            also=list(also),
            **run,
        ),
    )
    if html:
        analysis = replace(analysis, page=draw_page(analysis, inputs.layouts[0], *untouched_sinks(vlm, inputs)))
    if folder is not None:
        analysis.save(folder)
    return analysis


def _load_model(model: str | Path | HookedVLM, how: dict[str, Any]) -> HookedVLM:
    """The model, loaded unless it is already."""
    from interp.model.hooked_vlm import HookedVLM

    if not isinstance(model, HookedVLM):
        return HookedVLM.from_pretrained(model, **how)
    if tuple(how.values()) != (None, "auto", None, False):
        raise InputError("device, dtype and revision are for loading: this model is loaded already, leave them out")
    return model
