"""The report of an overlap study: its numbers are those of the study, and its sentences claim no more than they do."""

import json
import re
import warnings
from dataclasses import replace
from html import unescape
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import tiny
from made_up_overlap import made_up_study
from made_up_plots import legend_texts
from matplotlib.figure import Figure
from PIL import Image

from interp.datasets.synthetic.shapes import shapes
from interp.errors import InputError
from interp.overlap.figures.study import plot_lift_by_layer, plot_overlap_by_answer
from interp.overlap.report.sections import NOT_AT_HAND
from interp.overlap.report.sentences import association_says, ended
from interp.overlap.report.write import tables_of, write_overlap_report
from interp.overlap.study.examine import examine_overlap
from interp.overlap.study.means import NULL_LABELS
from interp.overlap.study.run import study_overlap
from interp.stats.clusters import clustered_mean
from interp.store.folder import OutputFolder

HOSTILE = "<script>alert('$x$')</script> & \"more\""
DRAWS = {"n_draws": 200}


def written(folder, study, *, measure="cosine", region="union", analysis=None, **how):
    """The page and the summary of a report; nothing in it may warn."""
    found = analysis or examine_overlap(study, measure=measure, region=region, **DRAWS)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        paths = write_overlap_report(OutputFolder(folder), study, found, **how)
    assert all(path.is_file() for path in paths) and len(set(paths)) == len(paths)
    return (folder / "report.html").read_text(encoding="utf-8"), json.loads((folder / "summary.json").read_text())


def doubled(study):
    """Every sample twice, once right and once wrong: whatever is measured, nothing goes with right answers."""
    ids = [f"{name}-wrong" for name in study.samples["id"]]
    both = [study.samples.assign(right=True), study.samples.assign(right=False, id=ids)]
    measures = {name: np.concatenate([values, values]) for name, values in study.measures.items()}
    return replace(study, samples=pd.concat(both, ignore_index=True), measures=measures)


def headings(page):
    return [unescape(one) for one in re.findall(r"<h2>(.*?)</h2>", page)]


def section(page, heading):
    return unescape(unescape(page).split(f"<h2>{heading}</h2>")[1].split("</section>")[0])


def drawn(folder):
    return {path.stem for path in folder.iterdir() if path.suffix == ".png"}


@pytest.fixture(autouse=True, scope="module")
def drawn_but_not_rendered():
    """Figures are drawn, and do not become pixels, which takes the most time; tests of the plots see to that."""

    def save(_, target, **__):
        target.write(b"PNG") if hasattr(target, "write") else Path(target).write_bytes(b"PNG")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Figure, "savefig", save)
        yield


@pytest.fixture(scope="module")
def strong(tmp_path_factory):
    """Folder, study, analysis, page and summary where the overlap of layer 3 goes with right answers."""
    folder = tmp_path_factory.mktemp("strong")
    study = made_up_study(100, effect=3.0)
    found = examine_overlap(study, **DRAWS)
    return folder, study, found, *written(folder, study, analysis=found)


@pytest.fixture(scope="module")
def null(tmp_path_factory):
    """The same where every right answer has a wrong one with the very same numbers."""
    folder = tmp_path_factory.mktemp("null")
    study = doubled(made_up_study(50))
    found = examine_overlap(study, **DRAWS)
    return folder, study, found, *written(folder, study, analysis=found)


def test_what_is_there_is_said_with_its_layer_interval_null_and_p(strong):
    _, _, found, page, _ = strong
    said = section(page, "Does overlap go with right answers?")
    assert "right answers have a cosine that is higher in layer 3." in said
    for one in (found.pooled, found.within):
        cell = {
            name: float(getattr(one, name)[3, -1]) for name in ("auroc", "low_all", "high_all", "null_low", "null_high")
        }
        assert f"AUROC {ended(cell['auroc'], cell['low_all'], cell['high_all'], level=0.95)}" in said
        assert f"(95 % of shuffles {cell['null_low']:.3f} to {cell['null_high']:.3f})" in said
    assert "no difference was detected" not in said
    assert "right answers have a cosine that is higher in layer 3" in unescape(page).split("<section>")[0]


def test_a_study_of_nothing_says_that_nothing_was_found(null):
    folder, _, found, page, summary = null
    assert (found.pooled.p_max >= 0.05).all() and (found.within.p_max >= 0.05).all()
    said = section(page, "Does overlap go with right answers?")
    assert said.count("no difference was detected") == 2
    for where in ("over all pairs", "inside relations"):
        assert "no difference was detected in any: no corrected p" in section(page, f"Single heads, {where}")
    assert "no difference was detected in the cosine of right and wrong" in section(page, "Other things equal")
    assert "right answers have" not in unescape(page) and "predict right answers" not in unescape(page)
    assert min(row["p_max"] for row in summary["association"] if row["p_max"] is not None) >= 0.05


def test_every_file_is_there_and_the_page_needs_no_other(strong):
    folder, _, _, page, _ = strong
    tables = {"samples", "coverage", "means", "above_nulls", "association", "layer_choice", "partial_effect"}
    names = {path.name for path in folder.iterdir()}
    assert {f"{name}.{kind}" for name in tables for kind in ("csv", "parquet")} <= names
    assert {"overlap.parquet", "summary.json", "report.html"} <= names
    assert drawn(folder) == {
        "coverage", "overlap_by_answer", "lift", "auroc", "auroc_by_head", "auroc_by_head_within", "overlap_by_head",
        "partial_effect",
    }  # fmt: skip
    assert page.count("<img") == 8 and not re.search(r"(src|href)=\"(?!data:)", page)


def test_tables_are_the_numbers_of_study_and_analysis(strong):
    folder, study, found, _, summary = strong
    cells = pd.read_parquet(folder / "association.parquet")
    assert len(cells) == 2 * 6 * 4
    mean = cells[(cells["compared"] == "inside relations") & (cells["head"] == -1)]
    assert mean["auroc"].to_numpy() == pytest.approx(found.within.auroc[:, -1])
    assert pd.read_csv(folder / "association.csv")["p_max"].to_numpy() == pytest.approx(cells["p_max"].to_numpy())
    whole = pd.read_parquet(folder / "overlap.parquet")
    one = whole[(whole["region"] == "union") & (whole["normalisation"] == "image") & (whole["layer"] == 3)]
    assert one["cosine"].to_numpy() == pytest.approx(study.values("cosine")[:, 3, -1])
    assert len(whole) == 100 * 2 * 4 * 6 and (whole["head"] == -1).all()
    assert summary["accuracy"]["estimate"] == pytest.approx(study.right.mean())
    assert len(summary["coverage"]) == 5 and summary["coverage"][0]["n"] == 100
    above = pd.read_parquet(folder / "above_nulls.parquet")
    gain = above[(above["null"] == "moved") & (above["layer"] == 2)].iloc[0]
    expected = (study.values("cosine") - study.values("cosine_moved"))[:, 2, -1]
    assert (
        gain["estimate"] == pytest.approx(expected.mean(), rel=1e-5) and gain["low"] < gain["estimate"] < gain["high"]
    )


def test_the_table_of_means_has_every_measure_with_intervals_over_groups(strong):
    folder, study, _, _, _ = strong
    means = pd.read_csv(folder / "means.csv")
    assert set(means["measure"]) == {"cosine", "mass", "lift", "hit", "auroc", "distance", "peaks"}
    for measure, layer in (("mass", 2), ("peaks", 5)):
        row = means[(means["measure"] == measure) & (means["answers"] == "wrong") & (means["layer"] == layer)].iloc[0]
        values = study.values(measure)[~study.right, layer, -1].astype(float)
        exact = clustered_mean(values, study.samples["group"][~study.right].to_numpy(), seed=0)
        assert row["n"] == len(values) and row["mean"] == pytest.approx(values.mean())
        assert (row["low"], row["high"]) == pytest.approx((exact.low, exact.high))


def test_the_figure_the_table_and_the_sentence_have_the_same_interval_to_the_bit():
    study = made_up_study(60, right=True, missing=3)
    study.measures["mass_even"][:] = np.where(np.isnan(study.measures["mass"]), np.nan, 0)  # above is the mean itself
    analysis = examine_overlap(study, measure="mass", seed=5, n_draws=20)
    table = tables_of(study, analysis)["means"].query("measure == 'mass' and answers == 'right'")
    drawn = plot_overlap_by_answer(study, Figure().subplots(), measure="mass", seed=5)
    corners = drawn.collections[0].get_paths()[0].vertices
    for row in table.to_dict("records"):
        here = corners[corners[:, 0] == row["layer"], 1]
        told = analysis.above["even"]
        assert (row["low"], row["high"]) == (told.low[row["layer"]], told.high[row["layer"]])
        assert (row["low"], row["high"]) == (here.min(), here.max())


def test_a_sample_without_a_value_in_one_layer_counts_in_the_others_of_figures_tables_and_sentences():
    study, missing, lacking = made_up_study(60, missing=3), (7, 20, 33), (11,)
    study.measures["mass"][missing, ..., 2, :] = np.nan
    study.measures["mass_moved"][lacking, ..., 4, :] = np.nan
    analysis, values = examine_overlap(study, measure="mass", n_draws=20), study.values("mass")[..., -1].astype(float)
    tables = tables_of(study, analysis)
    drawn = plot_overlap_by_answer(study, Figure().subplots(), measure="mass", seed=analysis.seed)
    for place, (answers, own) in enumerate({"right": study.right, "wrong": ~study.right}.items()):
        table = tables["means"].query("measure == 'mass' and answers == @answers")
        assert table["n"].tolist() == np.isfinite(values[own]).sum(axis=0).tolist() and table["n"].nunique() == 2
        np.testing.assert_allclose(table["mean"], np.nanmean(values[own], axis=0))
        marks = [line for line in drawn.lines if line.get_marker() == "o" and len(line.get_xdata())][place]
        np.testing.assert_array_equal(marks.get_ydata(), table["mean"])
        least, most = table["n"].min(), table["n"].max()
        assert any(f"{answers} answers (n = {least} to {most} by layer, " in text for text in legend_texts(drawn))
    chance = study.values("mass_moved")[..., -1].astype(float)
    above = tables["above_nulls"].query("null == 'moved'")
    assert above["n"].tolist() == [57, 57, 54, 57, 56, 57]
    np.testing.assert_allclose(above["estimate"], np.nanmean(values - chance, axis=0))
    null = next(line for line in drawn.lines if line.get_label() == NULL_LABELS["moved"])
    np.testing.assert_allclose(null.get_ydata(), np.nanmean(np.where(np.isfinite(values), chance, np.nan), axis=0))
    lift = plot_lift_by_layer(study, Figure().subplots(), measure="mass")
    both = np.isfinite(values) & np.isfinite(chance)
    ratio = np.where(both, values, 0).sum(axis=0) / np.where(both, chance, 0).sum(axis=0)
    line = next(line for line in lift.lines if line.get_label() == f"against {NULL_LABELS['moved']}")
    np.testing.assert_allclose(line.get_ydata(), ratio)
    assert "(n = 54 to 57 by layer, 3 to 6 undefined left out)" in lift.get_title(loc="left")


def test_samples_of_one_group_have_no_interval_in_the_table_nor_in_the_sentence():
    study = made_up_study(24, group="the only one")
    analysis = examine_overlap(study, measure="mass", n_draws=20)
    assert np.isnan(analysis.above["even"].low).all() and np.isfinite(analysis.above["even"].estimate).all()
    assert tables_of(study, analysis)["means"]["low"].isna().all()


def test_further_maps_are_told_apart_in_the_page_the_tables_and_the_summary(tmp_path):
    rows = made_up_study(60, effect=3.0)
    tower = made_up_study(60, n_layers=4, n_heads=2, layers=(0, 1, 2), normalisations=("image",))
    through = made_up_study(60, effect=3.0, layer=2, settings={"through": 3})
    further = {
        name: replace(one, samples=rows.samples, maps=name) for name, one in (("two-stage", through), ("vision", tower))
    }
    study = replace(rows, further=further)
    found = examine_overlap(study, **DRAWS)
    page, summary = written(tmp_path, study, analysis=found)
    titles = {"two-stage": "The rows seen through the vision tower", "vision": "Where the vision tower looks"}
    for maps, title in titles.items():
        within, said = found.further[maps].within, section(page, title)
        for layer in further[maps].layers:
            assert ended(within.auroc[layer, -1], within.low_all[layer, -1], within.high_all[layer, -1]) in said
        assert association_says(within, "inside relations", "cosine") in said and "3 blocks" in said
        cells = pd.read_parquet(tmp_path / "association.parquet").query(
            "maps == @maps and compared == 'inside relations'"
        )
        mean = cells[cells["head"] == -1]["auroc"].to_numpy()
        np.testing.assert_allclose(mean, within.auroc[:, -1])
        whole = pd.read_parquet(tmp_path / f"overlap_{maps}.parquet")
        assert sorted(set(whole["layer"])) == list(further[maps].layers)
    assert "right answers have a cosine that is higher in layer 2." in section(page, titles["two-stage"])
    for name in ("means", "above_nulls", "association", "partial_effect"):
        assert {line["maps"] for line in summary[name]} == {"rows", *titles}
    assert {line["maps"] for line in summary["layer_choice"]} == {"rows", "two-stage"}
    rest = written(tmp_path / "rest", rows)[0]
    assert not set(titles.values()) & set(headings(rest)) and set(titles.values()) <= set(headings(page))


def test_a_study_without_trouble_has_no_cautions(strong):
    _, _, _, page, summary = strong
    assert "Read this first" not in headings(page) and summary["cautions"] == []


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"missing": 40}, "only 17 have boxes of all"),
        ({"right": True}, "No answer is wrong"),
        ({"right": False}, "No answer is right"),
        ({"missing": 60}, "none has boxes of all, 0.0 %"),
        ({"right": [True] * 57 + [False] * 3}, "Only 3 answers are wrong"),
    ],
)
def test_trouble_is_said_at_the_top(tmp_path, how, said):
    marks = how.pop("right", None)
    study = made_up_study(60, right=marks if isinstance(marks, bool) else None, **how)
    if isinstance(marks, list):
        study.samples["right"] = marks
    page, summary = written(tmp_path, study)
    assert headings(page)[0] == "Read this first"
    assert said in section(page, "Read this first") and any(said in one for one in summary["cautions"])
    told = re.sub(r"<img[^>]*>", "", page).lower().split("how this was made")[0]
    assert not re.search(r"\bnan\b", told)


@pytest.mark.parametrize("right", [True, False])
def test_answers_of_one_kind_claim_nothing_and_draw_what_can_be_drawn(tmp_path, right):
    page, summary = written(tmp_path, made_up_study(40, right=right))
    assert "so nothing can be said" in section(page, "Does overlap go with right answers?")
    assert "auroc_by_head" not in drawn(tmp_path) and "overlap_by_head" in drawn(tmp_path)
    assert all(row["auroc"] is None for row in summary["association"])


def test_a_model_out_of_its_domain_is_said_first(tmp_path, capsys):
    page, summary = written(tmp_path, made_up_study(20), out_of_domain="it was trained on drawn scenes.")
    first = "The model is out of its domain: it was trained on drawn scenes."
    assert summary["cautions"][0] == first and first in section(page, "Read this first")
    assert capsys.readouterr().out.startswith(first)


def test_layers_that_were_not_measured_are_left_out_and_said(tmp_path):
    page, summary = written(tmp_path, made_up_study(60, layers=(2, 3)))
    assert "not all layers were measured" in section(page, "The paper's layers and the best ones")
    assert summary["paper_layers_against_best"] is None and not (tmp_path / "layer_choice.csv").exists()
    assert set(pd.read_csv(tmp_path / "means.csv")["layer"]) == {2, 3}


@pytest.mark.parametrize(
    ("measure", "region"),
    [("auroc", "union"), ("distance", "first"), ("mass", "first minus second"), ("peaks", "union")],
)
def test_every_kind_of_measure_and_region_makes_a_page(tmp_path, measure, region):
    page, _ = written(tmp_path, made_up_study(40), measure=measure, region=region)
    where = "alone, without boxes" if measure == "peaks" else f"'{region}'"
    assert where in unescape(page) and f"the {measure} of" in unescape(page)
    assert ("lift" in drawn(tmp_path)) == (region != "first minus second")


def test_words_of_strangers_stay_words(tmp_path):
    relations = [HOSTILE, "left"] * 20
    study = made_up_study(
        40, relation=relations, text=HOSTILE, gold=HOSTILE, settings={"model": HOSTILE, "dataset": HOSTILE}
    )
    page, _ = written(tmp_path, study, out_of_domain=HOSTILE)
    assert "<script" not in page and unescape(page).count(HOSTILE) >= 4


def test_without_model_or_photos_the_page_says_why_there_are_none(strong):
    assert NOT_AT_HAND in section(strong[3], "Telling samples")


def test_samples_of_another_study_are_not_drawn_and_that_is_said(tmp_path):
    page, _ = written(tmp_path, made_up_study(20), samples=[], vlm=SimpleNamespace())
    assert "is not among the 0 that were given" in section(page, "Telling samples")


def test_a_study_without_samples_is_refused(tmp_path):
    study = made_up_study(4)
    empty = SimpleNamespace(samples=study.samples.head(0))
    with pytest.raises(InputError, match="no sample"):
        write_overlap_report(OutputFolder(tmp_path / "out"), empty, None)
    assert not (tmp_path / "out").exists()


def test_a_model_gives_the_gallery_the_path_and_the_film(tmp_path):
    vlm = tiny.vlm()
    scenes = shapes(12, kinds=("relation",), seed=3)
    how = {"detector": "ground-truth", "draws": 2, "max_new_tokens": 2, "progress": False}
    study = study_overlap(vlm, scenes, **how)
    page, _ = written(tmp_path, study, samples=scenes, vlm=vlm)
    assert {"gallery", "path"} <= drawn(tmp_path)
    with Image.open(tmp_path / "path.gif") as film:
        assert film.n_frames == vlm.cfg.n_layers
    said = section(page, "Telling samples")
    assert "Chosen by cosine (union, image) in layer" in said and "(0-based)" in said
    path = section(page, "The path of attention in one photo")
    assert any(f"{scene.id}: " in path for scene in scenes)


def test_a_layer_whose_overlap_goes_with_wrong_answers_is_the_best_one_and_the_page_says_so(tmp_path):
    study = made_up_study(120, effect=-3.0, n_layers=8, layer=6)
    found = examine_overlap(study, **DRAWS)
    assert found.layers.times_chosen.argmax() == 6 and found.layers.best.low > 0.5 and found.layers.best_reversed == 1
    said = section(written(tmp_path, study, analysis=found)[0], "The paper's layers and the best ones")
    assert "a higher cosine goes with wrong answers (which holds on other samples). Difference" in said
    assert "chosen ones predict right answers better" in said
    for line in found.describe().splitlines()[1:3]:
        assert "in layer 6, the farthest from one half" in line and line.endswith(": lower in right answers")
    assert "taken so that a higher cosine goes with wrong answers; difference" in found.describe()


@pytest.mark.parametrize(("photos", "named"), [(1, False), (2, False), (12, True)])
def test_no_interval_is_named_where_there_is_none(tmp_path, photos, named):
    study = made_up_study(60)
    study.samples["group"] = np.arange(60) % photos
    page, _ = written(tmp_path, study)
    assert ("Wilson" in section(page, "What was asked")) == named
    assert ("Wilson" in section(page, "Were the objects found?")) == named


def test_a_difference_between_relations_is_no_effect_beside_them_and_what_can_not_enter_is_said(tmp_path):
    """Relations differ in difficulty and in overlap, and inside a relation overlap says nothing."""
    found = []
    for seed in range(8):
        study = made_up_study(160, seed=seed)
        hard = np.isin(study.samples["relation"], ("above", "below"))
        rng = np.random.default_rng(seed)
        right = (rng.random(160) < np.where(hard, 0.4, 0.8)) | (study.samples["relation"] == "left").to_numpy()
        study.samples["right"] = right
        study.measures["cosine"][~hard] += 0.2
        found.append(examine_overlap(study, n_draws=20).partial)
    rejected = np.mean([one.adjusted.p <= 0.05 for one in found])
    alone = np.mean([one.unadjusted.p <= 0.05 for one in found])
    assert rejected <= 0.15 and alone > 0.7, "eight studies of six layers each"
    assert all(one.skipped == ("relation=left",) for one in found)
    page, _ = written(tmp_path, study)
    said = section(page, "Other things equal")
    assert "Beside logit of confidence, log of the boxes" in said and " area, relation, " in said
    assert "Left out, as their answers are all right or all wrong: relation=left." in said


def test_a_regression_with_too_few_answers_for_its_columns_is_refused_with_the_number(tmp_path):
    study = made_up_study(60)
    study.samples["right"] = np.arange(60) % 4 != np.arange(60) // 4 % 4  # 15 wrong, in all four relations
    page, _ = written(tmp_path, study)
    said = section(page, "Other things equal")
    assert "15 are of the rarer kind, and a regression with 6 columns needs 24 or more" in said
