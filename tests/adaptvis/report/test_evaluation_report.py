"""The report of an evaluation: its numbers are those of its tables, and no kind of answer leaves it without a page."""

import dataclasses
import json
import re
import warnings
from html import unescape
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tiny
from made_up_evaluation import POLICIES, RELATION, made_up_evaluation, made_up_sweep
from matplotlib.figure import Figure
from PIL import Image

from adaptvis.evaluation.evaluation import _corrected, _line, evaluate
from adaptvis.paper.splits import official_split
from adaptvis.policy.policies import AdaptVis
from adaptvis.report.before_after import draw_under
from adaptvis.report.columns import FILES
from adaptvis.report.figures import draw_telling
from adaptvis.report.measures import frequent, measure_evaluation
from adaptvis.report.tables import main_table
from adaptvis.report.write import write_evaluation
from interp.answers.comparison import compare
from interp.datasets import read_dataset
from interp.datasets.synthetic.shapes import shapes
from interp.intervene.image_logits import ScaleImageLogits
from interp.model.record import record
from interp.prompt.templates import paper_prompt, paper_statement_prompt
from interp.report.numbers import decimal, p_value, percent, points
from interp.store.folder import OutputFolder

PUBLISHED = ("baseline", "adaptvis", "add", "vcd")


def written(folder, evaluation, settings=None, **how):
    """The page and the summary of a report without a model; nothing in it may warn."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        paths = write_evaluation(OutputFolder(folder), None, evaluation, (), settings or {"model": "made-up"}, **how)
    assert all(path.is_file() for path in paths)
    return (folder / "report.html").read_text(), json.loads((folder / "summary.json").read_text())


def cells(page, heading):
    """The table under a heading of a page, as lists of text."""
    section = page.split(f"<h2>{heading}</h2>")[1].split("</section>")[0]
    return [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", unescape(row)) for row in re.findall(r"<tr>(.*?)</tr>", section)]


def headings(page):
    return re.findall(r"<h2>(.*?)</h2>", page)


def test_the_summary_has_holms_correction_of_each_comparison_with_the_baseline(tmp_path):
    evaluation = made_up_evaluation(n=80)
    page, _ = written(tmp_path, evaluation)
    summary = pd.read_csv(tmp_path / "summary.csv").set_index(["policy", "relation"])
    names = [str(policy) for name, policy in evaluation.policies.items() if name != "baseline"]
    assert summary.loc["baseline", "p_holm"].isna().all() and summary.loc[names, "p_holm"].notna().all()
    families = ([(name, "all") for name in names], [(name, of) for name in names for of in RELATION])
    for family in families:
        left = sorted((summary.loc[one, "p"], one) for one in family)
        highest = 0.0
        for place, (p, one) in enumerate(left):  # step by step: the smallest p for all of them, the next for the rest
            highest = max(highest, min(1.0, p * (len(left) - place)))
            assert summary.loc[one, "p_holm"] == pytest.approx(highest)
    shown = dict(zip(*(list(zip(*cells(page, "Main numbers")[1:], strict=True))[at] for at in (0, 4)), strict=True))
    assert shown["AdaptVis"] == p_value(summary.loc[(names[1], "all"), "p_holm"])
    table = cells(page, "Accuracy by relation")
    assert "p Holm" in table[0] and "as p_holm" in page


def test_holms_correction_of_policies_that_change_nothing_finds_something_in_no_more_studies_than_promised():
    found = 0
    for seed in range(60):
        rows = [
            made_up_sweep([None], n=60, seed=seed).assign(
                policy=f"policy {place}",
                branch="",
                correct=np.random.default_rng([seed, place]).random(60) < 0.5,
                correct_paper=False,
            )
            for place in range(6)
        ]
        summary = _corrected(pd.DataFrame([_line(own, rows[0], "all", seed=0) for own in rows]))
        found += bool((summary["p_holm"] <= 0.05).any())
    assert found <= 8, "3 of 60 are promised at most"


@pytest.fixture(autouse=True, scope="module")
def drawn_but_not_rendered():
    """Figures are drawn, and do not become pixels, which takes the most time; tests of the plots see to that."""

    def save(_, target, **__):
        target.write(b"PNG") if hasattr(target, "write") else Path(target).write_bytes(b"PNG")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Figure, "savefig", save)
        yield


@pytest.fixture(scope="module")
def everything(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    evaluation = made_up_evaluation()
    return folder, evaluation, *written(folder, evaluation)


def test_the_page_leads_with_the_accuracies_that_the_answers_give(everything):
    _, evaluation, page, _ = everything
    base = evaluation.rows("baseline")
    adaptive = compare(base, evaluation.rows("adaptvis"))
    assert f"baseline {percent(base['correct'].mean())} % [95 % CI " in page.split("<section>")[0]
    rows = {row[0]: row for row in cells(page, "Main numbers")}
    assert list(rows) == [
        "policy", "baseline", "ScalingVis", "AdaptVis", "additive control", "tempered control", "VCD", "DoLa"
    ]  # fmt: skip
    assert rows["AdaptVis"][1].startswith(percent(adaptive.other))
    assert rows["AdaptVis"][2].startswith(points(adaptive.difference.estimate))
    assert rows["AdaptVis"][3] == p_value(adaptive.p_value) and rows["baseline"][2:5] == ["", "", ""]


def test_every_file_is_there_and_the_summary_repeats_the_tables(everything):
    folder, evaluation, page, summary = everything
    names = {path.name for path in folder.iterdir()}
    assert {
        "answers.parquet",
        "sweep.parquet",
        "validation.parquet",
        "summary.csv",
        "metrics.csv",
        "settings.csv",
    } <= names
    pictures = {
        "gains", "accuracy_by_alpha", "additive", "tempered", "thresholds", "layer_windows", "answers_by_alpha",
        "confusion", "confidence", "reliability",
    }  # fmt: skip
    assert {f"{name}.png" for name in pictures} == {name for name in names if name.endswith("png")}
    assert {name for name in names if "." in name} <= set(FILES["evaluate"])
    assert page.count("<img") == len(pictures) and not re.search(r"(src|href)=\"(?!data:)", page)
    assert len(pd.read_parquet(folder / "answers.parquet")) == len(POLICIES) * 40
    assert len(pd.read_parquet(folder / "sweep.parquet")) == len(evaluation.test)
    assert len(pd.read_csv(folder / "settings.csv")) == summary["tried"]["settings"] == len(evaluation.settings)
    assert summary["policies"]["adaptvis"]["chosen_on"] == "validation"
    assert summary["policies"]["vcd"]["chosen_on"] == "given"
    strict = next(one for one in summary["metrics"] if (one["method"], one["scorer"]) == ("dola", "strict"))
    assert strict["value"] == pytest.approx(evaluation.rows("dola")["correct"].mean())


def test_only_windows_of_layers_with_the_alpha_of_scaling_are_compared(everything):
    _, evaluation, page, summary = everything
    assert [row[0] for row in cells(page, "Which layers carry the change")] == ["layers", "all", "0-2", "3-5", "10-11"]
    for line in summary["layer_windows"]:
        own = evaluation.test[(evaluation.test["layers"] == line["layers"]) & (evaluation.test["alpha"] == 0.5)]
        assert line["accuracy"] == pytest.approx(own[own["mode"] == "mul"]["correct"].mean())


def test_holm_corrects_the_main_table_for_its_policies_and_no_others():
    evaluation = made_up_evaluation(("baseline", "scaling", "adaptvis"), n=200)
    table = main_table(evaluation, measure_evaluation(evaluation)).set_index("policy")
    p = {name: compare(evaluation.rows("baseline"), evaluation.rows(name)).p_value for name in ("scaling", "adaptvis")}
    low, high = sorted(p.values())
    wanted = {low: min(1.0, 2 * low), high: min(1.0, max(2 * low, high))}
    for name, title in (("scaling", "ScalingVis"), ("adaptvis", "AdaptVis")):
        assert table.loc[title, "p Holm, strict"] == p_value(wanted[p[name]])


def test_pairs_and_sets_are_scored_by_both_rules_with_the_ceiling_beside(tmp_path):
    options = ("left", "right", "on", "under")
    names = ("baseline", "scaling", "dola")
    evaluation = made_up_evaluation(names, n=42, options=options, dataset="shapes-a", sets=True, right=True)
    page, summary = written(tmp_path, evaluation)
    head, first, *_ = cells(page, "Pairs and sets")
    row = dict(zip(head, first, strict=True))
    # 42 samples: ten sets and a left-right pair, so 21 of 21 pairs but 10 sets of 10.5
    assert row["pair, paper %"].startswith("100.0") and row["ceiling of pair %"] == "100.0"
    assert row["set, paper %"].startswith("95.2") and row["ceiling of set %"] == "95.2"
    assert row["set, complete only %"].startswith("100.0") and row["complete sets"] == "10"
    assert {(one["method"], one["scorer"]) for one in summary["pairs_and_sets"]} == {
        (name, scorer) for name in names for scorer in ("strict", "paper")
    }


def test_pairs_that_can_not_be_told_apart_are_said_not_guessed(tmp_path):
    evaluation = made_up_evaluation(("baseline",), options=("left", "right", "on", "under"), dataset="shapes-a")
    page, summary = written(tmp_path, evaluation)
    assert "have no group" in page and "have no group" in summary["left_out"]["groups"]


def test_yes_no_answers_get_the_papers_f1_and_the_ordinary_one(tmp_path):
    relations = [f"relation {place}" for place in range(30)]
    names = ("baseline", "vcd")
    evaluation = made_up_evaluation(names, options=("yes", "no"), relations=relations, n=90, dataset="vsr")
    page, summary = written(tmp_path, evaluation)
    head, *rows = cells(page, "Yes and no")
    assert {"the paper's F1 %", "F1 of yes %"} <= set(head) and len(rows) == 2 * len(names)
    assert len(cells(page, "Accuracy by relation")) == 1 + len(names) * (1 + 12)
    assert "Of 30 relations" in page and "Pairs and sets" not in headings(page)
    assert len(summary["accuracy"]) == len(names) * 31


@pytest.mark.parametrize("right", [True, False])
@pytest.mark.parametrize("options", [("left", "right"), ("left", "right", "front", "behind", "above", "below")])
def test_answers_that_are_all_right_or_all_wrong_still_make_a_page(tmp_path, right, options):
    page, summary = written(tmp_path, made_up_evaluation(("baseline", "adaptvis"), options=options, right=right, n=18))
    assert "All answers are of one kind" in page and summary["calibration"]["auroc"]["estimate"] is None
    assert "nan" not in re.sub(r"<img[^>]*>", "", page).lower().split("how this was made")[0]


@pytest.mark.parametrize(
    "names, absent",
    [
        (("baseline",), ["Accuracy against alpha", "Threshold and branches", "Which layers carry the change"]),
        (("baseline", "add"), ["Accuracy against alpha", "Threshold and branches", "What is answered"]),
        (("baseline", "scaling", "vcd"), ["Threshold and branches", "Control: more attention"]),
    ],
)
def test_what_was_not_asked_has_no_section(tmp_path, names, absent):
    page, _ = written(tmp_path, made_up_evaluation(names, tuned=False))
    assert not [one for one in headings(page) if one.startswith(tuple(absent))]
    assert "Nothing was chosen here" in page and not (tmp_path / "validation.parquet").exists()


def test_one_sample_makes_a_page(tmp_path):
    page, _ = written(tmp_path, made_up_evaluation(("baseline", "adaptvis"), n=1, tuned=False))
    assert "1 questions" not in page and "Main numbers" in headings(page)


def test_published_numbers_stand_beside_ours_by_the_papers_rule(tmp_path):
    options = ("left", "right", "on", "under")
    evaluation = made_up_evaluation(PUBLISHED, n=330, options=options, dataset="controlled-a", sets=True)
    evaluation = with_rows(evaluation, official_split(412)[1])
    page, summary = written(tmp_path, evaluation, {"model": "llava-hf/llava-1.5-7b-hf"})
    ours = {(one["source"], one["method"], one["measure"]): one for one in summary["published"]}
    assert ours[("paper", "baseline", "accuracy")]["published"] == pytest.approx(0.603)
    assert ours[("paper", "vcd", "accuracy")]["ours"] == pytest.approx(evaluation.rows("vcd")["correct_paper"].mean())
    assert ("re-run", "adaptvis", "set") in ours and ("paper", "add", "accuracy") not in ours
    assert "do not match" not in page
    notes = {method: ours[("paper", method, "accuracy")]["note"] for method in ("baseline", "adaptvis", "vcd")}
    assert "theirs" not in notes["baseline"] and "the authors' settings are not known" in notes["vcd"]
    assert "ours is AdaptVis(alpha_unsure=0.5, alpha_sure=1.5, threshold=0.6), theirs AdaptVis(" in notes["adaptvis"]


def with_rows(evaluation, rows):
    """The evaluation as one of these rows of the data set's file."""
    each = len(evaluation.answers) // len(rows)
    return dataclasses.replace(evaluation, answers=evaluation.answers.assign(row=list(rows) * each))


@pytest.mark.parametrize("rows", [official_split(412)[0] * 4 + [0, 1], list(range(330))], ids=["others", "the first"])
def test_other_samples_than_the_papers_are_not_set_beside_its_numbers(tmp_path, rows):
    options = ("left", "right", "on", "under")
    evaluation = made_up_evaluation(("baseline",), n=330, options=options, dataset="controlled-a", sets=True)
    _, summary = written(tmp_path, with_rows(evaluation, rows), {"model": "llava-hf/llava-1.5-7b-hf"})
    assert summary["published"] == [] and "whole official test split" in summary["left_out"]["published"]


OTHER_WORDS = {
    "the model's own template": lambda question: f"USER: <image>\n{question} ASSISTANT:",
    "another system": lambda question: f"Be brief. {paper_prompt(question)}",
    "another question": lambda question: paper_prompt(question.replace("Where", "Tell me where")),
    "other options": lambda question: paper_prompt(question.replace("under", "below")),
    "the answer beside it": lambda question: paper_prompt(f"{question}\nA mug on a table"),
}


@pytest.mark.parametrize("words", OTHER_WORDS)
def test_another_wording_never_stands_beside_the_papers_numbers(tmp_path, words):
    how = {"n": 330, "options": ("left", "right", "on", "under"), "dataset": "controlled-a", "sets": True}
    evaluation = with_rows(made_up_evaluation(("baseline",), **how, asked=OTHER_WORDS[words]), official_split(412)[1])
    page, summary = written(tmp_path, evaluation, {"model": "llava-hf/llava-1.5-7b-hf"})
    assert summary["published"] == [] and "are other words" in summary["left_out"]["published"]
    assert summary["left_out"]["published"] in unescape(page)
    untold = dataclasses.replace(evaluation, answers=evaluation.answers.drop(columns="prompt"))
    _, summary = written(tmp_path, untold, {"model": "llava-hf/llava-1.5-7b-hf"})
    assert summary["published"] == [] and "do not say what was asked" in summary["left_out"]["published"]


def test_an_older_wording_never_stands_beside_the_numbers_of_vsr(tmp_path):
    how = {"n": 978, "options": ("yes", "no"), "dataset": "vsr"}
    statement = "The cat is under the bed."
    old = f"User: <image>\nIs this sentence true of the photo? Answer with yes or no. {statement} Assistant:"
    for asked, shown in ((paper_statement_prompt(statement), True), (old, False)):
        evaluation = made_up_evaluation(("baseline",), **how, asked=lambda _, asked=asked: asked)
        evaluation = with_rows(evaluation, official_split(1222)[1])
        _, summary = written(tmp_path, evaluation, {"model": "llava-hf/llava-1.5-7b-hf"})
        assert bool(summary["published"]) == shown


def test_an_unknown_model_is_told_in_one_sentence(everything):
    _, _, page, summary = everything
    assert summary["published"] == [] and summary["left_out"]["published"] in unescape(page)


def test_the_most_frequent_relations_keep_the_order_of_the_table():
    rows = pd.DataFrame({"relation": ["b", "a", "c", "a", "c", "a"]})
    assert frequent(rows, 2) == ["a", "c"] and frequent(rows, 9) == ["b", "a", "c"]


def test_numbers_are_written_as_they_are_read():
    assert percent(0.5, 0.25, 0.75) == "50.0 [25.0, 75.0]" and points(-0.021) == "-2.1"
    assert percent(float("nan")) == "–" and percent(0.5, float("nan"), float("nan")) == "50.0"
    assert p_value(1.0) == "1" and p_value(0.00004) == "<0.0001" and decimal(0.456) == "0.46"


def test_a_policy_that_changes_nothing_is_said_to_and_not_drawn(tmp_path, monkeypatch):
    monkeypatch.setitem(POLICIES, "adaptvis", AdaptVis(1.0, 1.0, 0.0))
    evaluation = made_up_evaluation(("baseline", "adaptvis"))
    page, _ = written(tmp_path, evaluation)
    assert "AdaptVis as it is set leaves every sample untouched, and is the baseline itself." in page
    assert "untouched in every sample under AdaptVis" in page and "on both sides of its threshold" in page
    figure, told = draw_telling(None, evaluation, (), prompt="paper")
    assert figure is None and "no policy here changes" in told


def test_a_model_draws_attention_before_and_after(tmp_path, capsys):
    vlm = tiny.vlm()
    test = shapes(4, kinds=("relation",))
    evaluation = evaluate(vlm, test, alphas=(0.5,), policies=("scaling",), max_new_tokens=2, progress=False)
    settings = record(vlm, prompt="paper", seed=0)
    paths = write_evaluation(OutputFolder(tmp_path), vlm, evaluation, test, settings)
    assert (tmp_path / "before_after.png") in paths
    told = capsys.readouterr().out
    assert "ScalingVis(alpha=0.5)" in told and str(tmp_path) in told and "settings (given)" in told


@pytest.mark.parametrize("size", [(100, 100), (60, 240)])
@pytest.mark.parametrize(
    "text", ["The mug is left of the table. " * 9, "W" * 99, "杯子" * 50, "$x^2$\n\n$\\frac{$" * 9, ""]
)
def test_a_long_answer_is_cut_in_the_title_and_stays_above_its_panel(text, size):
    (sample,) = read_dataset("shapes-a", n=1)
    sample = dataclasses.replace(sample, image=Image.new("RGB", size, "red"))
    how = {"name": "untouched too", "said": (text, text), "layers": (0, 1), "prompt": "paper"}
    figure = draw_under(tiny.vlm(), sample, ScaleImageLogits(0.5), **how)
    figure.canvas.draw()
    titled = [ax for ax in figure.axes if ax.get_title(loc="left")]
    for ax, layer in zip((titled[place] for place in (0, 1, 3, 4)), (0, 0, 1, 1), strict=True):
        assert ax.get_title(loc="left").startswith(f"layer {layer}, head mean\nuntouched"), "what the map is of"
    for left, right in ((row, row + 1) for row in (0, 1, 3, 4)):
        ends, begins = titled[left]._left_title.get_window_extent().x1, titled[right]._left_title.get_window_extent().x0
        assert ends < begins, f"{titled[left].get_title(loc='left')!r} runs into the next"
    for upper, lower in zip(titled[:3], titled[3:], strict=True):
        assert lower._left_title.get_window_extent().y1 < upper.get_window_extent().y0
