"""The demo: the main job on held-out scenes with the embedded models, from attention to a changed answer."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from adaptvis.demo.change import Change, measure_change
from adaptvis.demo.figures import BEST_BY, compared, draw_figures
from adaptvis.demo.scene_attention import SceneAttention, look
from adaptvis.demo.words import lead, sections, tell
from adaptvis.evaluation.evaluation import Evaluation, evaluate
from adaptvis.sweep.read import rows_under
from interp.errors import InputError
from interp.layers import paper_layers
from interp.model.provenance import run_record
from interp.model.record import record
from interp.numeric import agree, counted
from interp.report.page import render_report
from interp.report.tables import records
from interp.stats.auroc import auroc
from interp.stats.intervals import DRAWS, Interval, bootstrap
from interp.stats.picked import level_of_each
from interp.stats.tests import shuffled_null
from interp.store.folder import OutputFolder

if TYPE_CHECKING:
    import pandas as pd

    from interp.model.hooked_vlm import HookedVLM

FEWEST = 200


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
    from interp.datasets.synthetic.shapes import shapes
    from interp.detect.yolo.detector import YoloDetector

    if scenes < FEWEST:
        raise InputError(
            f"{counted(scenes, 'scene')} {agree(scenes, 'is', 'are')} too few to say anything: ask for {FEWEST} or more"
        )
    folder, run = OutputFolder(out), run_record()
    detector = YoloDetector("shapes-detector")
    validation = shapes(scenes // 2, split="val", seed=seed, kinds=("relation",))
    test = shapes(scenes, split="test", seed=seed, kinds=("relation",))
    evaluation = evaluate(vlm, test, validation=validation, prompt=prompt, seed=seed)
    looked = look(vlm, test, detector, prompt=prompt)
    change = measure_change(vlm, evaluation, test, prompt=prompt)
    settings = record(
        vlm, prompt=prompt, seed=seed, scenes=scenes, validation_scenes=len(validation), detector=detector.name, **run
    )
    write(folder, vlm, evaluation, looked, change, settings)
    return evaluation


def write(
    folder: OutputFolder,
    vlm: HookedVLM,
    evaluation: Evaluation,
    looked: Sequence[SceneAttention],
    change: Change,
    settings: dict[str, Any],
) -> None:
    """Write tables, figures, summary and report; print what matters."""
    import matplotlib.pyplot as plt
    import pandas as pd

    summary = {**summarise_demo(evaluation, looked), **change.summary()}
    figures = draw_figures(vlm, evaluation, looked, change, prompt=settings["prompt"])
    page = render_report(
        "Where does it look, and what changes its mind?",
        lead(evaluation, looked, summary, change),
        sections(evaluation, looked, summary, change, figures),
        settings,
    )
    with folder.as_one():
        folder.write_table("results.parquet", evaluation.answers)
        folder.write_table("attention.parquet", pd.concat([_attention_rows(one) for one in looked], ignore_index=True))
        for name, figure in figures.items():
            folder.write_figure(f"{name}.png", figure)
        folder.write_json("summary.json", {**summary, "settings": settings})
        folder.write_text("report.html", page)
    for figure in figures.values():
        plt.close(figure)
    print(tell(evaluation, change))
    print(f"Open {folder.path / 'report.html'}; {len(figures)} pictures, tables and summary.json lie beside it.")


def summarise_demo(evaluation: Evaluation, looked: Sequence[SceneAttention]) -> dict[str, Any]:
    """The numbers of the report as plain data."""
    right = evaluation.answers[evaluation.answers["policy"] == "baseline"].set_index("id")["correct"]
    known = compared(looked)
    if not known:
        raise InputError("the detector found both objects in no scene, so there is nothing to compare attention with")
    cosine, lift = (np.stack([one.overlap.by_layer(name) for one in known]) for name in ("cosine", BEST_BY))
    mean_cosine, mean_lift = cosine.mean(axis=0), lift.mean(axis=0)
    marks = np.array([bool(right[one.sample.id]) for one in known])
    relations = np.array([one.sample.relation for one in known])
    depth, spread = cosine.shape[1], means_at_once(lift)
    layers = []
    for layer in range(depth):
        null = shuffled_null(cosine[:, layer], marks, partial(auroc, groups=relations), seed=0, n=500, within=relations)
        layers.append(
            {
                "layer": layer,
                "cosine": float(mean_cosine[layer]),
                "lift": float(mean_lift[layer]),
                "lift_low": float(spread.low[layer]),
                "lift_high": float(spread.high[layer]),
                "auroc": auroc(cosine[:, layer], marks),
                "auroc_within_relation": null.observed,
                "null_low": null.low,
                "null_high": null.high,
                "p": null.p_value,
            }
        )
    return {
        "scaling": str(evaluation.policies["scaling"]),
        "adaptvis": str(evaluation.policies["adaptvis"]),
        "accuracy": records(evaluation.summary),
        "accuracy_by_alpha": rows_under(evaluation.test).groupby("alpha")["correct"].mean().to_dict(),
        "image_share": float(np.mean([one.trajectory.share_overall("image") for one in looked])),
        "image_token_share": float(np.mean([one.trajectory.token_share("image") for one in looked])),
        "cosine_even": float(np.mean([one.overlap.even_score("cosine") for one in known])),
        "scenes_in_overlap": len(known),
        "paper_layers": list(paper_layers(depth)),
        "overlap_by_layer": layers,
        "scenes_with_all_objects_found": float(np.mean([not one.missing for one in looked])),
    }


def means_at_once(values: Float[np.ndarray, "scene layer"], *, level: float = 0.95) -> Interval:
    """The mean of each layer over scenes, whose intervals hold for all layers at once, so that the best can be picked.

    Each is a bootstrap's, of `level_of_each`.

    Args:
        values: the measure.
        level: nominal coverage of all intervals together.
    """
    depth = values.shape[1]
    return bootstrap(values, seed=0, n=max(DRAWS, 400 * depth), level=level_of_each(level, depth))


def _attention_rows(one: SceneAttention) -> pd.DataFrame:
    """Share and overlap of one scene, one row per layer and head."""
    shares = one.trajectory.to_dataframe()[["sample", "layer", "head", "share_image", "share_bos", "image_entropy"]]
    table = one.overlap.to_dataframe()
    union = table[(table["region"] == "union") & (table["head"] >= 0)]
    measures = ["layer", "head", "cosine", "mass", "lift", "hit", "area_share", "cosine_even"]
    return shares.merge(union[measures], on=["layer", "head"], validate="one_to_one")
