"""Explore: one self-contained page in which the attention of every layer and head can be looked through."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from interp.options import known_options
from interp.page.data import Exploration
from interp.page.gather import gather
from interp.page.page import ExplorePage, page_file, render_page

if TYPE_CHECKING:
    import numpy as np
    from jaxtyping import Bool

    from interp.image.boxes import Box
    from interp.image.photos import ImageSource
    from interp.intervene.base import Intervention
    from interp.model.hooked_vlm import HookedVLM
    from interp.objects.detector import Detector

__all__ = ["Exploration", "ExplorePage", "explore", "render_page"]


@known_options()
def explore(
    vlm: HookedVLM,
    photo: ImageSource,
    question: str,
    *,
    detector: str | Path | Detector | None = None,
    boxes: Iterable[Box] = (),
    intervention: Intervention | None = None,
    neutral: str | None = None,
    sinks: Bool[np.ndarray, "... token"] | None = None,
    prompt: str = "chat",
    max_new_tokens: int = 10,
    also: Sequence[str] = (),
    download: bool = False,
    out: str | Path | None = None,
) -> ExplorePage:
    """Ask a question about a photo and make one HTML page to look through where each layer and head looks.

    The page shows the attention of the last prompt row, whose output is the first answer token, over the image tokens.
    It needs no network and no other file; a link such as `explore.html#layer=17&head=3&norm=keys` opens it there. With
    a model of 32 layers x 32 heads x 576 image tokens it has less than 3 MB, and with further maps more; weights are
    rounded to keep it so, and the page says how far.

    Args:
        vlm: the model.
        photo: path, PIL image or array.
        question: such as `Where is the mug in relation to the table?`.
        detector: a detector to find the objects of the question: what `interp.detect.load_detector` takes (YOLO
            weights, `shapes-detector`, an ONNX file, a model of transformers), or any `Detector`.
        boxes: the objects instead, in pixels of the photo.
        intervention: a second run under it, to compare with.
        neutral: a prompt that asks for nothing in particular, such as `Describe the image.`: one more run, by whose
            attention the others can be divided.
        sinks: image tokens to be taken out by `no-sinks`, [token], [layer token] or [layer head token], such as from
            `interp.maps.sinks.mass_sinks`; by default those that the hidden state tells, where it is wide enough.
        prompt: `chat`, `paper` or `raw`; for the neutral prompt too.
        max_new_tokens: length of the answer at most.
        also: further maps over the image tokens to choose from in the page, some of `gradient`, `gradient-alone`,
            `gradcam` and `lens`, of the untouched run and the first token that it says; see
            `interp.analysis.token_maps.TokenMaps`. They cost about one more run of the language model each, all that
            are of gradients together one.
        download: whether the detector's published weights may be fetched.
        out: an HTML file to write the page to.

    Example:
        >>> page = explore(vlm, "photo.jpg", "Where is the mug in the photo?", detector="yolo11n.pt")
        >>> page.save("explore.html")  # and in a notebook, `page` in the last line of a cell shows it

    Raises:
        SpatialLensError: the photo, question, objects, intervention, neutral prompt or file can not be used.
    """
    if out is not None:
        page_file(out)  # refused now rather than after the model has run
    gathered = gather(
        vlm,
        photo,
        question,
        detector=detector,
        boxes=boxes,
        intervention=intervention,
        neutral=neutral,
        sinks=sinks,
        prompt=prompt,
        max_new_tokens=max_new_tokens,
        also=also,
        download=download,
    )
    page = render_page(gathered)
    if out is not None:
        page.save(out)
    return page
