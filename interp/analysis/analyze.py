"""Analysis: one photo and one question: the answer, where the model looked, and whether the objects are there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from interp.analysis.further import FurtherMaps
from interp.analysis.request import AnalyzeRequest
from interp.analysis.result import Analysis
from interp.intervene.indices import check_indices
from interp.layers import default_layers
from interp.maps.trajectory import trajectory
from interp.model.provenance import run_record
from interp.model.record import record
from interp.overlap.overlap import overlap
from interp.prompt.pieces import pieces
from interp.store.folder import OutputFolder
from interp.study.requests import takes
from interp.zoo.domain import remarks_on

if TYPE_CHECKING:
    from interp.image.photos import ImageSource
    from interp.model.hooked_vlm import HookedVLM


@takes(AnalyzeRequest)
def analyze(photo: ImageSource, question: str, *, request: AnalyzeRequest) -> Analysis:
    """Ask a question about a photo and measure where the model looks.

    Args:
        photo: path, PIL image or array.
        question: such as `Where is the mug in relation to the table?`.
        request: how to ask and what to measure, in the place of these fields of it as keywords.

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
    image = load_image(photo)
    folder = None if request.out is None else OutputFolder(request.out)
    device = "cpu" if request.device in (None, "auto") else str(request.device)
    finder = photo_detector(request.detector, download=request.download, device=device)
    vlm = _load_model(request)
    n_layers, tokens = vlm.cfg.n_layers, request.tokens
    shown = default_layers(n_layers) if request.layers is None else check_indices(request.layers, n_layers, "layer")
    inputs = vlm.prepare(image, question, prompt=request.prompt)
    further = FurtherMaps.checked(vlm, inputs, image, question, request)
    found = None if finder is None else find_objects(image, question, finder)
    rows = "last" if tokens == "first" else "generated"
    generation, (kept,) = further.run(lambda: vlm.generate_with_cache(inputs, request.max_new_tokens, query_rows=rows))
    looked = trajectory(
        kept.pattern if tokens == "all" else kept.pattern[:, :, 0],
        kept.layout,
        inputs.grids[0],
        tokens=pieces(vlm.processor.tokenizer, generation.tokens[0, : len(kept.tokens)].tolist()),
        sample_id=_name_of(photo) if request.sample_id is None else request.sample_id,
    )
    remarks = remarks_on(vlm.origin.get("model", ""), image)
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
        also=further.maps(looked, boxes, int(generation.tokens[0, 0])),
        settings=record(
            vlm,
            **{**request.recorded(), "layers": shown, "detector": getattr(finder, "name", None)},
            **({"remarks": remarks} if remarks else {}),
            **run,
        ),
    )
    if request.html:
        analysis = replace(analysis, page=draw_page(analysis, inputs.layouts[0], *untouched_sinks(vlm, inputs)))
    if folder is not None:
        analysis.save(folder)
    return analysis


def _load_model(request: AnalyzeRequest) -> HookedVLM:
    """The model, loaded unless it is already."""
    from interp.model.hooked_vlm import HookedVLM

    if isinstance(request.model, HookedVLM):
        return request.model
    return HookedVLM.from_pretrained(
        request.model,
        device_map=request.device,
        dtype=request.dtype,
        revision=request.revision,
        trust_remote_code=request.trust_remote_code,
        processor_options=request.processor_options,
        image_backend=request.image_backend,
    )


def _name_of(photo: ImageSource) -> str:
    """What tables call a photo that was given no other name."""
    return Path(photo).stem if isinstance(photo, (str, Path)) else ""
