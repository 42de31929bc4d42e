"""The report of an overlap study: its tables, figures, and one page that says what they show and do not show."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from interp.errors import InputError, SpatialLensError
from interp.layers import paper_layers
from interp.maps.trajectory import trajectory
from interp.numeric import mean_of_known
from interp.overlap.map_measures import MAP_MEASURES
from interp.overlap.measures import bounds_of
from interp.overlap.overlap import LESS_IS_BETTER
from interp.overlap.regions import UNION
from interp.overlap.report.sections import NOT_AT_HAND, Photos, cautions_of, lead, sections
from interp.overlap.study.agreement import boxes_by_role, detector_agreement
from interp.overlap.study.means import above_null
from interp.report.page import write_report
from interp.report.tables import records, write_csv
from interp.report.verdicts import SIGNIFICANT

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure
    from PIL import Image

    from interp.image.boxes import Box
    from interp.image.grid import ImageGrid
    from interp.model.hooked_vlm import HookedVLM
    from interp.objects.sample import Sample
    from interp.overlap.study.examine import OverlapAnalysis
    from interp.overlap.study.result import OverlapStudy
    from interp.plots.gallery import Case
    from interp.store.folder import OutputFolder


def write_overlap_report(
    folder: OutputFolder,
    study: OverlapStudy,
    analysis: OverlapAnalysis,
    *,
    samples: Sequence[Sample] | None = None,
    vlm: HookedVLM | None = None,
    out_of_domain: str | None = None,
) -> list[Path]:
    """Write tables, figures, `summary.json` and a page that needs no other file; print what matters.

    Args:
        folder: where to.
        study: what was measured.
        analysis: what it says, from `examine_overlap`.
        samples: what was asked, for the photos of the gallery and of the path; without them these are left out.
        vlm: the model, for the same.
        out_of_domain: why the model may not know such photos or questions, if so: a sentence for the top of the page.

    Returns:
        The paths of all files: `report.html`, `summary.json`, figures as PNG, `path.gif`, `overlap.parquet` (head mean,
        one row per sample, layer, region and normalisation; of further maps, `overlap_two-stage.parquet` and
        `overlap_vision.parquet`), and as Parquet and CSV `samples`, `coverage`, `agreement` (of the detector with the
        data set's own boxes, where it has some), `means`, `above_nulls`, `association`, `layer_choice` and
        `partial_effect`. None of them appears before all are there.

    Example:
        >>> write_overlap_report(OutputFolder("out/overlap"), study, examine_overlap(study), samples=samples, vlm=vlm)

    Raises:
        InputError: the study is empty, or a file can not be written.
    """
    if not len(study.samples):
        raise InputError("the study has no sample, so there is nothing to report: give one that was run")
    with folder.as_one():
        return _write_all(folder, study, analysis, samples, vlm, out_of_domain)


def _write_all(
    folder: OutputFolder,
    study: OverlapStudy,
    analysis: OverlapAnalysis,
    samples: Sequence[Sample] | None,
    vlm: HookedVLM | None,
    out_of_domain: str | None,
) -> list[Path]:
    """All files; what matters is printed before figures are drawn, which may fail."""
    tables = tables_of(study, analysis)
    cautions = cautions_of(study, analysis, out_of_domain)
    paths = _write_tables(folder, study, tables)
    paths.append(folder.write_json("summary.json", summary_of(analysis, tables, cautions, study.settings)))
    print("\n".join([*cautions, study.describe(), analysis.describe()]))
    photos, drawn, film = _draw_photos(study, analysis, samples, vlm)
    figures = draw_overlap_study(study, analysis) | drawn
    paths += write_report(
        folder,
        "Does attention on the objects go with right answers?",
        lead(study, analysis),
        sections(study, analysis, tables, figures, cautions=cautions, photos=photos),
        figures,
        study.settings,
    )
    if film is not None:
        paths.append(folder.write("path.gif", film))
    print(f"written to {folder.path}: report.html and {len(paths) - 1} more")
    return paths


def draw_overlap_study(study: OverlapStudy, analysis: OverlapAnalysis) -> dict[str, Figure]:
    """All figures that need no model, by file name without ending; what the data do not allow is not drawn.

    Example:
        >>> sorted(draw_overlap_study(study, examine_overlap(study)))[:3]
        ['auroc', 'auroc_by_head', 'coverage']
    """
    from interp import plots
    from interp.overlap.figures.study import name_axis
    from interp.plots.style import figure_of

    asked: dict[str, Any] = {"region": analysis.region, "normalisation": analysis.normalisation}
    words = " ".join(name_axis(analysis.measure, analysis.normalisation).split())
    score = f"{analysis.measure}, {analysis.region}, {analysis.normalisation}; head mean"
    scores = study.values(analysis.measure, **asked)
    figures: dict[str, Any] = {
        "coverage": plots.plot_coverage(study.samples),
        "auroc": plots.plot_auroc_pooled_and_within(analysis.pooled, analysis.within, score=score)[0],
    }
    if not np.isnan(analysis.pooled.auroc).all():
        for name, found in (("auroc_by_head", analysis.pooled), ("auroc_by_head_within", analysis.within)):
            figures[name] = plots.plot_layer_by_head(
                found.auroc,
                label=f"AUROC, right against wrong answers\n({score.split(';')[0]})",
                null=0.5,
                marked=found.p_max < SIGNIFICANT,
                title="Over all pairs" if name == "auroc_by_head" else "Inside relations",
            )
    if np.isfinite(scores[..., -1]).any():
        figures["overlap_by_answer"] = plots.plot_overlap_by_answer(
            study, measure=analysis.measure, seed=analysis.seed, **asked
        )
    if np.isfinite(scores).any():
        null = 0.0 if "minus" in analysis.region else None
        mean = mean_of_known(scores)
        figures["overlap_by_head"] = plots.plot_layer_by_head(mean, label=words, null=null, title="Mean over samples")
    ratio = analysis.above_measure if analysis.above_measure in ("cosine", "mass") else "mass"
    if analysis.region != "first minus second" and np.isfinite(study.values(ratio, **asked)[..., -1]).any():
        figures["lift"] = plots.plot_lift_by_layer(study, measure=ratio, seed=analysis.seed, **asked)
    if analysis.partial is not None and np.isfinite(analysis.partial.unadjusted.log_odds).any():
        figures["partial_effect"] = plots.plot_partial_effect(analysis.partial, score=score)
    return {name: figure_of(ax) for name, ax in figures.items()}


def tables_of(study: OverlapStudy, analysis: OverlapAnalysis) -> dict[str, pd.DataFrame]:
    """The tables of a report by file name without ending; layers are 0-based, head -1 is the head mean.

    Where the study has further maps, the column `maps` says of which a row is.
    """
    import pandas as pd

    every = {analysis.maps: analysis, **analysis.further}
    parts = [_tables_of_maps(study.of(maps), own) for maps, own in every.items()]
    named = {
        name: [part[name].assign(maps=maps) for maps, part in zip(every, parts, strict=True) if name in part]
        for name in dict.fromkeys(name for part in parts for name in part)
    }
    tables = {"samples": study.samples, "coverage": study.coverage()}
    if (agreed := detector_agreement(study)) is not None:
        tables["agreement"] = agreed
    tables |= {name: pd.concat(several) for name, several in named.items()}
    return {name: table.reset_index(drop=True) for name, table in tables.items()}


def _tables_of_maps(study: OverlapStudy, analysis: OverlapAnalysis) -> dict[str, pd.DataFrame]:
    """The tables that each kind of map has."""
    import pandas as pd

    found = {"all pairs": analysis.pooled, "inside relations": analysis.within}
    ends = ("estimate", "low", "high")
    asked = {"region": analysis.region, "normalisation": analysis.normalisation}
    above = [
        pd.DataFrame({"null": null, "measure": analysis.above_measure, "layer": np.arange(study.n_layers)})
        .assign(n=np.isfinite(above_null(study, analysis.above_measure, null, **asked)).sum(axis=0))
        .assign(**{name: getattr(gain, name) for name in ends})
        for null, gain in analysis.above.items()
    ]  # fmt: skip
    tables = {
        "means": _means(study, analysis),
        "above_nulls": pd.concat(above) if above else None,
        "association": pd.concat([one.to_dataframe().assign(compared=name) for name, one in found.items()]),
        "layer_choice": None if analysis.layers is None else analysis.layers.to_dataframe(),
        "partial_effect": None if analysis.partial is None else analysis.partial.to_dataframe(),
    }
    return {name: table for name, table in tables.items() if table is not None}


def summary_of(
    analysis: OverlapAnalysis, tables: dict[str, pd.DataFrame], cautions: Sequence[str], settings: dict[str, Any]
) -> dict[str, Any]:
    """All numbers of the report but those of single samples, as plain data; shares are fractions."""
    kept = {name: records(table) for name, table in tables.items() if name != "samples"}
    layers = analysis.layers
    return {
        "measure": analysis.measure,
        "region": analysis.region,
        "normalisation": analysis.normalisation,
        "accuracy": asdict(analysis.accuracy),
        "cautions": list(cautions),
        "not_done": list(analysis.not_done),
        "strata_without_pairs": list(analysis.within.skipped),
        "paper_layers_against_best": None if layers is None else {
            name: getattr(layers, name) for name in _OF_LAYERS
        } | {name: asdict(getattr(layers, name)) for name in ("chosen", "best", "difference")},
        **kept,
        "settings": settings,
    }  # fmt: skip


_OF_LAYERS = (
    "chosen_layers", "width", "p", "chosen_reversed", "best_reversed", "apparent", "apparent_reversed",
    "apparent_layers",
)  # fmt: skip


def _write_tables(folder: OutputFolder, study: OverlapStudy, tables: dict[str, pd.DataFrame]) -> list[Path]:
    """Every table as Parquet and as CSV, and the measures of the head mean as Parquet."""
    paths = []
    for maps, own in {"": study, **study.further}.items():
        # Of one head that stands for the mean: the whole table would have a row for every head.
        mean = replace(own, measures={name: values[..., -1:] for name, values in own.measures.items()}, n_heads=0)
        paths.append(folder.write_table(f"overlap{maps and '_'}{maps}.parquet", mean.to_dataframe()))
    for name, table in tables.items():
        paths.append(folder.write_table(f"{name}.parquet", table))
        paths.append(write_csv(folder, name, table))
    return paths


def _means(study: OverlapStudy, analysis: OverlapAnalysis) -> pd.DataFrame:
    """Every measure of the head mean by layer, for right and wrong answers, with intervals over groups.

    A sample counts in every layer where it has a value; `n` says how many do. Answers without any value have no row.
    """
    import pandas as pd

    from interp.overlap.figures.study import MEASURES
    from interp.stats.clusters import group_names, mean_over_groups

    rows = []
    for name in (name for name in MEASURES if name in study.measures):
        region = UNION if name in MAP_MEASURES else analysis.region
        values = study.values(name, region, analysis.normalisation)[..., -1].astype(np.float64)
        known, groups = np.isfinite(values), group_names(study.samples)
        bounds = bounds_of(name, region, analysis.normalisation)
        for answers, own in (("right", study.right), ("wrong", ~study.right)):
            around = mean_over_groups(values[own], groups[own], seed=analysis.seed, bounds=bounds)
            counts = known[own].sum(axis=0)
            for layer in study.layers if counts.any() else ():
                ends = {end: getattr(around, key)[layer] for end, key in _ENDS.items()}
                place = {"measure": name, "region": region, "answers": answers, "layer": layer}
                rows.append({**place, "n": int(counts[layer]), **ends})
    return pd.DataFrame(rows, columns=["measure", "region", "answers", "layer", "n", *_ENDS])


_ENDS = {"mean": "estimate", "low": "low", "high": "high"}


@dataclass(frozen=True, eq=False)
class _Seen:
    """What the model saw of one sample: attention of the head mean [layer token], and the boxes by role."""

    image: Image.Image
    grid: ImageGrid
    maps: np.ndarray
    boxes: dict[str, tuple[Box, ...]]


def _draw_photos(
    study: OverlapStudy, analysis: OverlapAnalysis, samples: Sequence[Sample] | None, vlm: HookedVLM | None
) -> tuple[Photos, dict[str, Figure], Callable[[Path], Any] | None]:
    """What the figures of photos are, or why there are none; the figures; and what writes the film."""
    from interp.plots.gallery import choose_cases
    from interp.plots.path import plot_attention_path
    from interp.plots.style import figure_of

    layer = _named_layer(study)
    scores = study.values(analysis.measure, analysis.region, analysis.normalisation)[:, layer, -1]
    if vlm is None or samples is None or not np.isfinite(scores).any():
        nowhere = f"Not drawn: in no sample is the {analysis.measure} ({analysis.region}) defined in layer {layer}."
        return Photos(NOT_AT_HAND if np.isfinite(scores).any() else nowhere), {}, None
    less_is_better = analysis.measure in LESS_IS_BETTER
    cases = choose_cases(study.samples, -scores if less_is_better else scores)
    try:
        seen = {case.id: _look(vlm, study, samples, case.id) for case in cases}
    except SpatialLensError as error:
        return Photos(f"Not drawn: {error}"), {}, None
    measure = f"{'minus ' if less_is_better else ''}{analysis.measure} ({analysis.region}, {analysis.normalisation})"
    figures = {"gallery": _gallery(cases, seen, layer, measure)}
    case = next((case for case in cases if any(seen[case.id].boxes.values())), None)
    if case is None:
        return Photos("", layer, measure), figures, None
    one, title = seen[case.id], f"{case.kind}: said {case.answer!r}, gold {case.gold!r}"
    given = (one.image, one.grid, one.maps, one.boxes.get("first", ()), one.boxes.get("second", ()))
    figures["path"] = figure_of(plot_attention_path(*given, heads="head mean", title=title, question=case.question)[0])
    film = partial(_write_film, given, title, case.question)
    return Photos("", layer, measure, f"{case.id}: {case.kind}"), figures, film


def _write_film(given: tuple[Any, ...], title: str, question: str, path: Path) -> None:
    from interp.plots.film import save_path_gif

    save_path_gif(path, *given, heads="head mean", title=title, question=question)


def _gallery(cases: Sequence[Case], seen: dict[str, _Seen], layer: int, measure: str) -> Figure:
    from interp.plots.gallery import Look, plot_gallery
    from interp.plots.style import figure_of

    looks = {
        name: Look(one.image, one.grid, one.maps[layer], tuple(box for boxes in one.boxes.values() for box in boxes))
        for name, one in seen.items()
    }
    return figure_of(plot_gallery(cases, looks, layer=layer, heads="head mean", measure=measure)[0])


def _named_layer(study: OverlapStudy) -> int:
    """The layer of the gallery: the first of the paper's that was measured, which no number of this study picked."""
    return next((layer for layer in paper_layers(study.n_layers) if layer in study.layers), study.layers[0])


def _look(vlm: HookedVLM, study: OverlapStudy, samples: Sequence[Sample], name: str) -> _Seen:
    """One sample as the study asked it.

    Raises:
        InputError: it is not among the samples.
    """
    from interp.study.prompter import prepare_samples

    sample = next((sample for sample in samples if sample.id == name), None)
    if sample is None:
        raise InputError(f"sample {name!r} is not among the {len(samples)} that were given: give those of the study")
    inputs = prepare_samples(vlm, [sample], str(study.settings.get("prompt", "paper")))
    _, (rows,) = vlm.generate_with_cache(inputs, 1, query_rows="last")
    looked = trajectory(rows.pattern[:, :, 0], rows.layout, inputs.grids[0], sample_id=name)
    maps = np.stack([looked.image_map(layer=layer) for layer in range(looked.n_layers)])
    return _Seen(inputs.images[0], inputs.grids[0], maps, boxes_by_role(study.samples.set_index("id").loc[name]))
