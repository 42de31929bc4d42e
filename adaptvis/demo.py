"""The demo: the main job on held-out scenes with the embedded models, from attention to a changed answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from adaptvis.demo_figures import draw_figures
from adaptvis.evaluation import Evaluation, evaluate
from adaptvis.metrics import ALL
from adaptvis.sweep import rows_under
from adaptvis.tables import readable
from interp.errors import InputError
from interp.output import OutputFolder, record
from interp.overlap import Overlap, overlap
from interp.overlap_rows import Asking
from interp.provenance import run_record
from interp.report import Section, render_report
from interp.reprs import fits_a_cell
from interp.stats import auroc, shuffled_null
from interp.study import batches
from interp.trajectory import Trajectory, paper_layers, trajectory

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure
    from PIL import Image

    from interp.boxes import Boxes
    from interp.datasets.sample import Sample
    from interp.detect import Detector
    from interp.grid import ImageGrid
    from interp.hooked_vlm import HookedVLM

FEWEST = 200


@fits_a_cell()
@dataclass(frozen=True, eq=False)
class Looked:
    """Where the model looked in one scene: its trajectory, the boxes that were found, and how these agree."""

    sample: Sample
    image: Image.Image
    grid: ImageGrid
    trajectory: Trajectory
    boxes: Boxes
    overlap: Overlap
    missing: tuple[str, ...]


def run_demo(vlm: HookedVLM, out: str, *, scenes: int = 300, seed: int = 0, prompt: str = "paper") -> Evaluation:
    """Measure attention and overlap on held-out scenes, choose the policies on others, and write it all to `out`.

    Args:
        vlm: a model that reads the synthetic scenes, such as `shapes-vlm`.
        out: folder for figures, `results.parquet`, `attention.parquet`, `summary.json` and `report.html`.
        scenes: scenes to report on; the policies are chosen on half as many others.
        seed: seed of the scenes.
        prompt: prompt style.

    Raises:
        InputError: too few scenes, or a folder that can not be written.
    """
    from interp.datasets.shapes import shapes
    from interp.detect import YoloDetector

    if scenes < FEWEST:
        raise InputError(f"{scenes} scenes are too few to say anything: ask for {FEWEST} or more")
    folder, run = OutputFolder(out), run_record()
    detector = YoloDetector("shapes-detector")
    validation = shapes(scenes // 2, split="val", seed=seed, kinds=("relation",))
    test = shapes(scenes, split="test", seed=seed, kinds=("relation",))
    evaluation = evaluate(vlm, test, validation=validation, prompt=prompt, seed=seed)
    looked = look(vlm, test, detector, prompt=prompt)
    settings = record(
        vlm, prompt=prompt, seed=seed, scenes=scenes, validation_scenes=len(validation), detector=detector.name, **run
    )
    write(folder, vlm, evaluation, looked, settings)
    return evaluation


def look(
    vlm: HookedVLM, samples: Sequence[Sample], detector: Detector, *, prompt: str, batch: int = 16
) -> list[Looked]:
    """Capture the last prompt row of every sample, all layers and heads, and compare it with the detector's boxes."""
    from tqdm import tqdm

    from interp.detect import find_many

    found, asking = find_many(samples, detector, batch=batch), Asking(vlm, prompt, max_new_tokens=1)
    looked: dict[int, Looked] = {}
    for places in tqdm(list(batches(samples, batch)), desc="attention", unit="batch"):
        _, rows, inputs = asking.answers([samples[place] for place in places])
        for place, row, grid, image in zip(places, rows, inputs.grids, inputs.images, strict=True):
            sample, boxes = samples[place], found[place].boxes
            measured = trajectory(row.pattern[:, :, 0], row.layout, grid, sample_id=sample.id)
            agreed = overlap(measured, grid, boxes)
            looked[place] = Looked(sample, image, grid, measured, boxes, agreed, found[place].missing)
    return [looked[place] for place in range(len(samples))]


def write(
    folder: OutputFolder, vlm: HookedVLM, evaluation: Evaluation, looked: Sequence[Looked], settings: dict[str, Any]
) -> None:
    """Write tables, figures, summary and report; print what matters."""
    import matplotlib.pyplot as plt
    import pandas as pd

    summary = summarise_demo(evaluation, looked)
    figures, change = draw_figures(vlm, evaluation, looked, prompt=settings["prompt"])
    folder.write_table("results.parquet", evaluation.answers)
    folder.write_table("attention.parquet", pd.concat([_attention_rows(one) for one in looked], ignore_index=True))
    for name, figure in figures.items():
        folder.write_figure(f"{name}.png", figure)
    folder.write_json("summary.json", {**summary, "settings": settings})
    page = render_report(
        "Where does it look, and what changes its mind?",
        _lead(evaluation, settings),
        _sections(evaluation, summary, figures, change),
        settings,
    )
    folder.write_text("report.html", page)
    for figure in figures.values():
        plt.close(figure)
    print(readable(evaluation.summary).to_string(index=False))
    told = ", ".join(str(policy) for name, policy in evaluation.policies.items() if name != "baseline")
    print(f"\nchosen on the validation part: {told}")
    print(
        f"written to {folder.path}: report.html, results.parquet, attention.parquet, summary.json, {len(figures)} PNGs"
    )


def summarise_demo(evaluation: Evaluation, looked: Sequence[Looked]) -> dict[str, Any]:
    """The numbers of the report as plain data."""
    right = evaluation.answers[evaluation.answers["policy"] == "baseline"].set_index("id")["correct"]
    cosine, lift = (np.stack([one.overlap.by_layer(name) for one in looked]) for name in ("cosine", "lift"))
    known = ~np.isnan(cosine).any(axis=1) & np.array([not one.missing for one in looked])
    if not known.any():
        raise InputError("the detector found both objects in no scene, so there is nothing to compare attention with")
    marks = np.array([bool(right[one.sample.id]) for one in looked])[known]
    relations = np.array([one.sample.relation for one in looked])[known]
    layers = []
    for layer in range(cosine.shape[1]):
        null = shuffled_null(
            cosine[known, layer], marks, partial(auroc, groups=relations), seed=0, n=500, within=relations
        )
        layers.append(
            {
                "layer": layer,
                "cosine": float(cosine[known, layer].mean()),
                "lift": float(lift[known, layer].mean()),
                "auroc": auroc(cosine[known, layer], marks),
                "auroc_within_relation": null.observed,
                "null_low": null.low,
                "null_high": null.high,
                "p": null.p_value,
            }
        )
    return {
        "scaling": str(evaluation.policies["scaling"]),
        "adaptvis": str(evaluation.policies["adaptvis"]),
        "accuracy": evaluation.summary.to_dict("records"),
        "accuracy_by_alpha": rows_under(evaluation.test).groupby("alpha")["correct"].mean().to_dict(),
        "image_share": float(np.mean([one.trajectory.share_overall("image") for one in looked])),
        "image_token_share": float(np.mean([one.trajectory.token_share("image") for one in looked])),
        "cosine_even": float(
            np.mean([one.overlap.even_score("cosine") for one, keep in zip(looked, known, strict=True) if keep])
        ),
        "scenes_in_overlap": int(known.sum()),
        "paper_layers": list(paper_layers(cosine.shape[1])),
        "overlap_by_layer": layers,
        "scenes_with_all_objects_found": float(np.mean([not one.missing for one in looked])),
    }


def _attention_rows(one: Looked) -> pd.DataFrame:
    """Share and overlap of one scene, one row per layer and head."""
    shares = one.trajectory.to_dataframe()[["sample", "layer", "head", "share_image", "share_bos", "image_entropy"]]
    table = one.overlap.to_dataframe()
    union = table[(table["region"] == "union") & (table["head"] >= 0)]
    measures = ["layer", "head", "cosine", "mass", "lift", "hit", "area_share", "cosine_even"]
    return shares.merge(union[measures], on=["layer", "head"], validate="one_to_one")


def _lead(evaluation: Evaluation, settings: dict[str, Any]) -> str:
    lines = evaluation.summary[evaluation.summary["relation"] == ALL].set_index("policy")["accuracy"]
    told = ", ".join(f"{name} {100 * value:.1f} %" for name, value in lines.items())
    return (
        f"{settings['scenes']} synthetic scenes that the model has never seen, one question each about how two objects "
        f"lie to each other. Right answers: {told}. Alphas and threshold were chosen on "
        f"{settings['validation_scenes']} other scenes."
    )


def _sections(
    evaluation: Evaluation, summary: dict[str, Any], figures: dict[str, Figure], change: str
) -> list[Section]:
    best, densest = (max(summary["overlap_by_layer"], key=lambda line: line[name]) for name in ("cosine", "lift"))
    return [
        Section(
            "What the interventions change",
            (
                "ScalingVis multiplies the last prompt row's attention logits on the image by alpha, in all layers. "
                "AdaptVis takes one alpha where the untouched first token is unsure and another where it is sure.",
                "Intervals are 95 %: Wilson for accuracies, paired bootstrap for gains; p is McNemar's exact test "
                "against the baseline on the same scenes, and beside it Holm's correction: over all scenes for the "
                "number of policies, by relation for all policies and relations together.",
            ),
            table=readable(evaluation.summary),
        ),
        Section(
            "Accuracy against alpha",
            (f"Chosen on the validation part: {summary['scaling']} and {summary['adaptvis']}.",),
            figures["accuracy_by_alpha"],
            "Right answers on the test part by relation; alpha 1 is the untouched model. Bands are Wilson intervals.",
        ),
        Section(
            "How much it looks at the image",
            (
                f"Image tokens are {summary['image_token_share']:.0%} of the positions and get "
                f"{summary['image_share']:.0%} of the last row's attention, mean over layers and heads.",
            ),
            figures["share_by_layer"],
            "Attention share of the last prompt row by part of the prompt; dashed, the share of positions.",
        ),
        Section(
            "Whether it looks at the objects",
            (
                "Cosine between head-averaged attention over the image and the boxes of the two objects: highest in "
                f"layer {best['layer']} ({best['cosine']:.2f}); attention spread evenly would have "
                f"{summary['cosine_even']:.2f}.",
                "The cosine punishes attention that picks a few patches of an object. Per area the boxes get most "
                f"attention in layer {densest['layer']}: {densest['lift']:.1f} times what even attention gives them.",
                f"The detector found both objects in {summary['scenes_with_all_objects_found']:.1%} of the scenes; "
                f"the other scenes are left out, {summary['scenes_in_overlap']} remain.",
            ),
            figures["overlap_by_layer"],
            "Right and wrong answers apart, with bootstrap bands over scenes.",
        ),
        Section("Some scenes", (), figures["heatmaps"], "The paper's layers and the layer of the highest overlap."),
        Section(
            "Before and after",
            (change, "The second map is the changed run's own."),
            figures["before_after"],
            "Attention over the image before and after, on one scale, and the difference.",
        ),
    ]
