"""Analysis: one photo and one question: the answer, where the model looked, and whether the objects are there."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from interp.errors import InputError, RefusedError
from interp.interventions import check_indices
from interp.output import OutputFolder, record
from interp.overlap import HEAD_MEAN, Overlap, overlap
from interp.overlap_vision import TWO_STAGE, VISION, feed_tokens
from interp.provenance import run_record
from interp.reprs import fits_a_cell
from interp.trajectory import Trajectory, default_layers, normalise, paper_layers, trajectory

if TYPE_CHECKING:
    import pandas as pd
    from jaxtyping import Float32
    from PIL import Image

    from interp.boxes import Boxes
    from interp.detect import Detector
    from interp.detect.words import Found
    from interp.explore import ExplorePage
    from interp.grid import ImageGrid
    from interp.hooked_vlm import HookedVLM
    from interp.images import ImageSource
    from interp.inputs import VLMInputs
    from interp.layout import TokenLayout

TOKENS = ("first", "all")
SUMMARY = "summary.json"
ROLLOUT = "rollout"
ALSO = (TWO_STAGE, VISION, ROLLOUT)
"""Maps over the patches of the vision tower that can be made as well, see `VisionMaps`."""


@fits_a_cell("settings.model question answer confidence image layers trajectory found overlap also page")
@dataclass(frozen=True, eq=False)
class Analysis:
    """What was measured of one photo and one question.

    Attributes:
        image: the photo, upright RGB.
        question: as asked.
        answer: the greedy answer; `confidence`: probability of its first token.
        layers: the layers that were chosen to be shown; heat maps add the best one, see `interp.plots.analysis`.
        layout, grid: what each position is, and which pixels each image token saw.
        trajectory: where the rows looked.
        found: the objects of the question; None where no detector was given.
        overlap: attention against their boxes; None where there are none.
        settings: the model and everything else that made this result.
        also: further maps, over the patches of the vision tower, by name; empty where none were asked for.
        page: the page to explore; None where none was asked for.
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
    also: Mapping[str, VisionMaps] = field(default_factory=dict)
    page: ExplorePage | None = None

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
            cosine = self.overlap.by_layer("cosine")
            paper = ", ".join(f"{layer}: {cosine[layer]:.2f}" for layer in paper_layers(len(cosine)))
            known = "" if np.isnan(cosine).all() else f"; the paper's layers {paper}"
            lines.append(f"overlap: {_best_cosine(self.overlap, range(len(cosine)))}{known}")
        lines += [maps.describe() for maps in self.also.values()]
        return "\n".join(lines)

    def save(self, out: str | Path | OutputFolder) -> list[Path]:
        """Write figures (PNG), tables (Parquet), `summary.json` and the page, if there is one; returns their paths.

        What an earlier analysis wrote into the same folder, and this one does not write, is removed.

        Raises:
            InputError: the folder can not be written.
        """
        import matplotlib.pyplot as plt

        from interp.plots.analysis import draw_analysis

        folder = out if isinstance(out, OutputFolder) else OutputFolder(out)
        earlier = _files_of(folder.path / SUMMARY)
        written = [folder.write_table("trajectory.parquet", self.trajectory.to_dataframe())]
        if self.overlap is not None:
            written.append(folder.write_table("overlap.parquet", self.overlap.to_dataframe()))
        for name, maps in self.also.items():
            written.append(folder.write_table(f"{name}.parquet", maps.to_dataframe()))
            if maps.overlap is not None:
                written.append(folder.write_table(f"overlap_{name}.parquet", maps.overlap_table()))
        for name, figure in draw_analysis(self).items():
            written.append(folder.write_figure(f"{name}.png", figure))
            plt.close(figure)
        if self.page is not None:
            written.append(folder.write_text("explore.html", self.page.html))
        names = [path.name for path in written]
        for stale in earlier - set(names):
            (folder.path / stale).unlink(missing_ok=True)
        return [*written, folder.write_json(SUMMARY, {**self.summary(), "files": names})]

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


@fits_a_cell()
@dataclass(frozen=True, eq=False)
class VisionMaps:
    """Maps of one photo over the patches of the vision tower, by attention alone, and so hypotheses as it is.

    * `two-stage`: the rows of the language model, in all its layers, seen through the tower's attention roll-out, see
      `interp.vision_maps.two_stage`.
    * `vision`: what the patches that image tokens are made of look at, in all layers of the tower before the projector
      reads it; mean over the tokens.
    * `rollout`: which patches feed the image tokens, by roll-out over all these layers; mean over the tokens.

    Attributes:
        name: one of `ALSO`.
        weights: of the head mean, as shares of one over the patches, float32 [layer step patch].
        layers: the number of each layer, 0-based: of the language model for `two-stage`, else of the tower; of
            `rollout` the last one that it goes through.
        grid: the geometry of the patches.
        overlap: the maps against the boxes, with the same layer axis; None where there are none.
        sample_id: which photo.

    Example:
        >>> analyze(photo, question, also=["two-stage"]).also["two-stage"].weights.shape  # layer step patch
        (12, 1, 64)
    """

    name: str
    weights: Float32[np.ndarray, "layer step patch"]
    layers: tuple[int, ...]
    grid: ImageGrid
    overlap: Overlap | None
    sample_id: str = ""

    def describe(self) -> str:
        """Say in one line what they lie over, and how well they agree with the boxes."""
        said = f"{self.name}: maps over {len(self.grid)} patches"
        tower = "" if self.name == TWO_STAGE else " of the tower"
        return said if self.overlap is None else f"{said}; {_best_cosine(self.overlap, self.layers, tower)}"

    def to_dataframe(self) -> pd.DataFrame:
        """One row per layer, step and patch: `sample, maps, layer, step, patch, view, row, col, weight`, head mean."""
        import pandas as pd

        layer, step, patch = (axis.ravel().astype(np.int32) for axis in np.indices(self.weights.shape))
        columns: dict[str, Any] = {"sample": self.sample_id, "maps": self.name}
        columns |= {"layer": np.array(self.layers, np.int32)[layer], "step": step, "patch": patch}
        places = {"view": self.grid.view, "row": self.grid.rows, "col": self.grid.cols}
        columns |= {place: np.asarray(values, dtype=np.int32)[patch] for place, values in places.items()}
        return pd.DataFrame(columns | {"weight": self.weights.ravel()})

    def overlap_table(self) -> pd.DataFrame:
        """The table of `Overlap.to_dataframe` with the layers' own numbers; of `rollout` the head mean alone.

        Raises:
            InputError: there were no boxes.
        """
        if self.overlap is None:
            raise InputError("these maps were compared with no boxes: give analyze a detector that finds some")
        table = self.overlap.to_dataframe()
        table = table[table["head"] == HEAD_MEAN] if self.name == ROLLOUT else table
        return table.assign(layer=np.array(self.layers, np.int32)[table["layer"]], maps=self.name)


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
        html: make the page to explore, as `interp.explore.explore` does, of what is measured here. Where hidden states
            are wide enough to tell sinks by, the prompt runs once more for them.
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
    from interp.detect import find_objects
    from interp.explore.gather import photo_detector, untouched_sinks
    from interp.images import load_image
    from interp.plots.analysis import draw_page

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
        _check_tower(vlm, inputs)
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
        also=_further_maps(vlm, inputs, looked, also, boxes) if also else {},
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


def _files_of(summary: Path) -> set[str]:
    """What an earlier analysis says that it wrote, names only; nothing where there is none."""
    try:
        told = json.loads(summary.read_text(encoding="utf-8")).get("files", [])
    except (OSError, ValueError, AttributeError):
        return set()
    return {name for name in told if isinstance(name, str) and name == Path(name).name}


def _load_model(model: str | Path | HookedVLM, how: dict[str, Any]) -> HookedVLM:
    """The model, loaded unless it is already."""
    from interp.hooked_vlm import HookedVLM

    if not isinstance(model, HookedVLM):
        return HookedVLM.from_pretrained(model, **how)
    if tuple(how.values()) != (None, "auto", None, False):
        raise InputError("device, dtype and revision are for loading: this model is loaded already, leave them out")
    return model


def _check_tower(vlm: HookedVLM, inputs: VLMInputs) -> None:
    """Refuse now, rather than after the model has run, what can not show its vision tower."""
    from interp.vision_maps import feature_depth, patch_grid

    vlm.require("vision")
    patch_grid(vlm, inputs)
    try:
        feature_depth(vlm)
    except RefusedError as error:
        error.add_note("That is for interp.vision_maps.rollout from Python; further maps have no such setting.")
        raise


def _further_maps(
    vlm: HookedVLM, inputs: VLMInputs, looked: Trajectory, names: Sequence[str], boxes: Boxes | None
) -> dict[str, VisionMaps]:
    """Run the vision tower again, of whose attention nothing was kept, and make its maps [layer head (step) patch]."""
    from interp.vision_maps import two_stage

    (fed,) = feed_tokens(vlm, inputs)
    depth, rows = len(fed.attention), looked.image_attention
    made: dict[str, VisionMaps] = {}
    for name in dict.fromkeys(names):
        layers = tuple(range(looked.n_layers if name == TWO_STAGE else depth))
        if name == TWO_STAGE:
            maps = two_stage(rows if looked.generated else rows[:, :, 0], fed.rolled)
        elif name == VISION:
            maps = fed.attention
        else:
            maps, layers = fed.rolled.weights.mean(axis=0)[None, None], (depth - 1,)
        mean = normalise(maps.mean(axis=1, dtype=np.float64), "image")
        found = None if boxes is None else overlap(maps, fed.rolled.grid, boxes, sample_id=looked.sample_id)
        weights = mean if mean.ndim == 3 else mean[:, None]
        made[name] = VisionMaps(name, weights, layers, fed.rolled.grid, found, looked.sample_id)
    return made


def _best_cosine(found: Overlap, layers: Sequence[int], tower: str = "") -> str:
    """How high the cosine with the boxes is at most, in which layer, and what even attention would have."""
    cosine, best = found.by_layer("cosine"), found.best_layer("cosine")
    if best is None:
        return "undefined, as no box lies in what the model saw"
    even = found.even_score("cosine")
    where = f" in layer {layers[best]}{tower}, the highest" if len(layers) > 1 else ""
    return f"cosine with the boxes {cosine[best]:.2f}{where}; even attention would have {even:.2f}"
