"""Analysis: one photo and one question: the answer, where the model looked, and whether the objects are there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from interp.errors import InputError
from interp.interventions import check_indices
from interp.output import OutputFolder, record
from interp.overlap import Overlap, overlap
from interp.trajectory import Trajectory, paper_layers, trajectory

if TYPE_CHECKING:
    from PIL import Image

    from interp.detect import Detector
    from interp.detect.words import Found
    from interp.grid import ImageGrid
    from interp.hooked_vlm import HookedVLM
    from interp.images import ImageSource
    from interp.layout import TokenLayout

TOKENS = ("first", "all")


@dataclass(frozen=True, eq=False)
class Analysis:
    """What was measured of one photo and one question.

    Attributes:
        image: the photo, upright RGB.
        question: as asked.
        answer: the greedy answer; `confidence`: probability of its first token.
        layers: the layers that figures show.
        layout, grid: what each position is, and which pixels each image token saw.
        trajectory: where the rows looked.
        found: the objects of the question; None where no detector was given.
        overlap: attention against their boxes; None where there are none.
        settings: the model and everything else that made this result.
    """

    image: Image.Image
    question: str
    answer: str
    confidence: float
    layers: tuple[int, ...]
    layout: TokenLayout
    grid: ImageGrid
    trajectory: Trajectory
    found: Found | None
    overlap: Overlap | None
    settings: dict[str, Any]

    def describe(self) -> str:
        """Say in a few lines what was found."""
        shares = self.trajectory.share_overall("image")
        tokens = self.trajectory.token_share("image")
        steps = f", and {self.trajectory.n_steps} answer tokens" if self.trajectory.generated else ""
        lines = [
            f"answer: {self.answer!r} (first token {self.confidence:.1%})",
            f"image: {np.mean(shares):.1%} of the attention on {np.mean(tokens):.1%} of the positions "
            f"(mean over layers and heads{steps})",
            self.grid.describe(),
        ]
        if self.found is None:
            lines.append("objects: no detector was given, so attention was not compared with boxes")
        else:
            lines.append(f"objects: {self.found.describe()}")
        if self.overlap is not None:
            lines.append(self._describe_overlap(self.overlap))
        return "\n".join(lines)

    def save(self, out: str | Path | OutputFolder) -> list[Path]:
        """Write figures (PNG), tables (Parquet) and `summary.json` into a folder; returns their paths.

        Raises:
            InputError: the folder can not be written.
        """
        import matplotlib.pyplot as plt

        from interp.plots.analysis import draw_analysis

        folder = out if isinstance(out, OutputFolder) else OutputFolder(out)
        written = [folder.write_table("trajectory.parquet", self.trajectory.to_dataframe())]
        if self.overlap is not None:
            written.append(folder.write_table("overlap.parquet", self.overlap.to_dataframe()))
        for name, figure in draw_analysis(self).items():
            written.append(folder.write_figure(f"{name}.png", figure))
            plt.close(figure)
        return [*written, folder.write_json("summary.json", self.summary())]

    def summary(self) -> dict[str, Any]:
        """The result as plain data."""
        boxes = (
            []
            if self.found is None
            else [
                {"word": match.word, "label": box.label, "xyxy": list(box.xyxy), "confidence": box.confidence}
                for match in self.found.matches
                for box in match.boxes
            ]
        )
        return {
            "question": self.question,
            "answer": self.answer,
            "confidence": self.confidence,
            "image_share": float(np.mean(self.trajectory.share_overall("image"))),
            "image_token_share": float(np.mean(self.trajectory.token_share("image"))),
            "unseen_share": self.grid.unseen_share,
            "seen": list(self.grid.seen),
            "boxes": boxes,
            "missing": [] if self.found is None else list(self.found.missing),
            "settings": self.settings,
        }

    def _describe_overlap(self, found: Overlap) -> str:
        cosine, best = found.by_layer("cosine"), found.best_layer("cosine")
        if best is None:
            return "overlap: undefined, as no box lies in what the model saw"
        even = found.even_score("cosine")
        paper = ", ".join(f"{layer}: {cosine[layer]:.2f}" for layer in paper_layers(len(cosine)))
        return (
            f"overlap: cosine with the boxes {cosine[best]:.2f} in layer {best}, the highest; "
            f"even attention would have {even:.2f}; the paper's layers {paper}"
        )


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
    out: str | Path | None = None,
    download: bool = False,
    device: str | None = None,
    dtype: Any = "auto",
    revision: str | None = None,
    sample_id: str | None = None,
) -> Analysis:
    """Ask a question about a photo and measure where the model looks.

    Args:
        photo: path, PIL image or array.
        question: such as `Where is the mug in relation to the table?`.
        model: hub name, folder, embedded model, or a `HookedVLM` (then without device, dtype, revision).
        detector: YOLO weights, an embedded detector, or any `Detector`; none by default.
        layers: 0-based layers that the heat maps show; by default the paper's and some before and after.
        tokens: `first` measures the row behind the first answer token, `all` those behind every answer token.
        prompt: `chat`, `paper` or `raw`.
        max_new_tokens: length of the answer at most.
        out: a folder to save figures and tables in.
        download: whether the detector's published weights may be fetched.
        device: where a model that is loaded here goes.
        dtype: its type.
        revision: its revision on the hub.
        sample_id: what tables call this photo; by default the name of its file, without the ending.

    Example:
        >>> analyze("photo.jpg", "Where is the mug in the photo?", detector="yolo11n.pt").answer
        'Left'

    Raises:
        SpatialLensError: the photo, question, model, detector, layers or folder can not be used.
    """
    from interp.detect import YoloDetector, find_objects
    from interp.hooked_vlm import HookedVLM
    from interp.images import load_image

    if tokens not in TOKENS:
        raise InputError(f"tokens={tokens!r} is not known: use one of {', '.join(TOKENS)}")
    image = load_image(photo)
    folder = None if out is None else OutputFolder(out)
    if isinstance(detector, (str, Path)):
        detector = YoloDetector(detector, download=download)
    if isinstance(model, HookedVLM):
        if (device, dtype, revision) != (None, "auto", None):
            raise InputError("device, dtype and revision are for loading: this model is loaded already, leave them out")
    else:
        model = HookedVLM.from_pretrained(model, device_map=device, dtype=dtype, revision=revision)
    shown = (
        check_indices(layers, model.cfg.n_layers, "layer") if layers is not None else default_layers(model.cfg.n_layers)
    )
    if not shown:
        raise InputError("layers is empty, so no heat map would be drawn: name some, or leave it out")
    inputs = model.prepare(image, question, prompt=prompt)
    found = None if detector is None else find_objects(image, question, detector)
    rows = "last" if tokens == "first" else "generated"
    generation, (kept,) = model.generate_with_cache(inputs, max_new_tokens, query_rows=rows)
    looked = trajectory(
        kept.pattern if tokens == "all" else kept.pattern[:, :, 0],
        kept.layout,
        inputs.grids[0],
        tokens=kept.tokens,
        sample_id=sample_id if sample_id is not None else Path(photo).stem if isinstance(photo, (str, Path)) else "",
    )
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
        overlap=overlap(looked, inputs.grids[0], found.boxes) if found is not None and len(found.boxes) else None,
        settings=record(
            model,
            prompt=prompt,
            tokens=tokens,
            max_new_tokens=max_new_tokens,
            layers=shown,
            detector=getattr(detector, "name", None),
        ),
    )
    if folder is not None:
        analysis.save(folder)
    return analysis


def default_layers(n_layers: int) -> tuple[int, ...]:
    """The layers that a figure shows unless told otherwise: the paper's, and the quarters before and after."""
    around = {0, n_layers // 4, (3 * n_layers) // 4, n_layers - 1}
    return tuple(sorted(around | set(paper_layers(n_layers))))
