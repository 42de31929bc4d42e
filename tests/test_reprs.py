"""Printing a result fills a line, showing one in a notebook a small table; what is equal stays equal."""

import dataclasses
import importlib
import inspect
import itertools
import pkgutil
import re
from html.parser import HTMLParser
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import pytest
import tiny
import torch
from made_up_models import made_up_comparison, made_up_measures
from planted_activations import planted_activations
from planted_heads import FUNCTIONS, planted
from rows_of_squares import row_of_squares

import adaptvis
import interp
import probes
from adaptvis import AdaptVis, Plan, answer, evaluate
from adaptvis.demo.change import Change, WrongAnswers
from adaptvis.demo.scene_attention import look
from adaptvis.paper.published import compare_with_published
from adaptvis.report.measures import measure_evaluation
from adaptvis.sweep.flips import Flips
from adaptvis.sweep.plan import grid
from interp import Box, Boxes, GivenBoxes, HookedVLM, Object, Prefix, Sample, Untouched, analyze, examine_overlap
from interp.answers.calibration import calibration
from interp.answers.comparison import compare
from interp.datasets.benchmarks.check import check_dataset
from interp.datasets.synthetic.shapes import draw_scene, shapes
from interp.hooks.shared_keys import KeyValues, SharedKeyValues
from interp.image.grid import View
from interp.maps.gradients import answer_gradient
from interp.maps.tower_attention import tower_attention
from interp.maps.tower_patches import patches_of
from interp.maps.trajectory import Trajectory
from interp.maps.vision import vision_attention
from interp.model.features import ImageFeatures
from interp.model.kept_run import KeptRun
from interp.overlap.overlap import overlap
from interp.overlap.regions import region_of
from interp.overlap.study.roles import find_roles
from interp.overlap.study.run import study_overlap
from interp.overlap.study.vision import PatchMaps
from interp.page.explore import explore
from interp.page.further import further_map
from interp.plots.gallery import Look
from interp.report.page import Section
from interp.reprs import LARGE, LINE, ROWS, fits_a_cell
from interp.stats.partial import partial_effect
from interp.stats.probe_accuracy import probe_accuracy
from interp.stats.sign_flips import flip_signs
from probes.heads.activations.hearing import hear_own
from probes.heads.activations.positions import SaidAnswer
from probes.heads.data.prompts import BARE
from probes.heads.data.record import SteppedQuestions
from probes.mechanisms.scenes.line_pairs import line_pairs, setting_of
from probes.mechanisms.tokens.token_sets import sides_of, token_set

KEPT = {
    "what is asked": "Site Benchmark Source ReleasedPrompt Settings RunFacts Prompter OverlapMeasurement "
    "OrderMeasurement NormsMeasurement RopeMeasurement BalanceMeasurement DoseMeasurement Prompt Claim Preset "
    "Place Arm AskedData AskedPairs ProbeTask TrainingTokens Readout BoxMeans AblationMeasurement AmplifyMeasurement "
    "IdsMeasurement InterchangeMeasurement KnockoutMeasurement LensMeasurement MirrorMeasurement SteeringMeasurement "
    "LookedFor LostOrdering Evidence QueryPrompt HeadMeasurement Asked",
    "a few numbers or words": "Box Object SceneObject Question Pair McNemar Null YesNo Finding SinkDimensions Case "
    "ConstantNorm Line Item Reference BuiltIn AnswerToken Step Dropped",
    "data of a family or of the model": "Tower Family ModelShape Capture Lanes Axis Letterbox OptionTokens",
    "inside of a function": "LeftOut Choice Pass EditedRows Draft PhotoBoxes PackedMaps NormalisedMaps "
    "Note Photos Canvas TurnedRow Rotary AtDose Attended Head PositionEdit Batch "
    "Swept Side WordReader Turn Judged Amplification FurtherMaps Row Labelled Verdicts",
    "inside of statistics": "Answers AurocSpread CellSamples Statistic BalanceArm ReadPhotos PairedDraws SharedPattern "
    "FoldProbes Items Parts CrossFit",
    "geometry": "Lattice MapsOnRegions ObjectTokens Photo LineGeometry",
    "requests": "Request AnalyzeRequest OverlapRequest EvaluateRequest BenchmarkRequest TrainingPlan Budget Scenes",
    "an installation": "Part",
    "a page": "Findings Drawn",
    "hook points": "ModelPoints",
    "scorers of heads that need the model": "Drawing Labels MeasuredHeads HeadLook PlacedWords ImageMass "
    "SpatialEntropy BoxOverlap BoxPointing Gaze HitRate LookMeasurement GradientMeasurement DivergenceMeasurement "
    "IdWriteMeasurement Partners",
    "edited heads": "ArmPlan HeadEdit HeadEvaluationMeasurement Donors TaskAnswers Told",
    "heads over items": "AskedItems AskedModel ShaView",
}
"""Public dataclasses that keep the repr of dataclasses, and why."""

HOSTILE = "<script>alert('x')</script>\n\x1b[31m" + "&amp;" * 400


class Tables(HTMLParser):
    """Counts rows, and keeps every tag and every text."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.texts = [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)

    def handle_data(self, data):
        self.texts.append(data)


def public_dataclasses():
    """Every public dataclass of the packages, but for those of models that are made."""
    for package in (interp, adaptvis, probes):
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not {"zoo", "training"} & set(found.name.split(".")) and not found.name.endswith("__main__"):
                for name, thing in vars(importlib.import_module(found.name)).items():
                    own = inspect.isclass(thing) and thing.__module__ == found.name and not name.startswith("_")
                    if own and dataclasses.is_dataclass(thing):
                        yield thing


def of_mechanisms(vlm, scenes, inputs):
    """A result of every tool of the mechanisms, and what they are asked about."""
    quick = {"progress": False, "draws": 20}
    lines = line_pairs(setting_of("known"), probes.geometry_of(vlm), form="relation", directions=("left",), n=2)
    sides = [dataclasses.replace(one, options=("left", "right")) for one in scenes if one.answer in ("left", "right")]
    across = {"horizontal": np.random.default_rng(0).normal(size=(vlm.cfg.d_model, 2))}
    dual = probes.dual_mechanisms(vlm, lines, ("last", "ablate"), **quick)
    cells = probes.id_scenes(("red circle", "green square", "blue triangle"), cells=2)
    ids = probes.spatial_ids(vlm, cells, cells=2, shuffles=3, **quick)
    both = [sides_of(vlm, vlm.prepare(one.image, one.question), [one])[0] for one in (lines[0].clean,) * 2]
    spelled = probes.single_token_words(vlm, ("left", "right"), after=inputs.prompts[0])
    return (
        dual, dual.sweeps["last"], dual.ablation, lines[0], setting_of("known"), probes.keep_both_right(vlm, lines),
        probes.photo_of_line(lines[0].clean, both[0].grid), token_set("last", lines[0], *both), spelled,
        probes.study_knockout(vlm, scenes, {"all": range(12)}, arms=("image->last",), **quick),
        probes.amplify(vlm, sides, across, alphas=(1,), seeds=(0, 1), **quick),
        probes.image_lens(vlm, scenes, **quick), probes.LensMeasurement.of(vlm, ("left",)).look(inputs)[0],
        ids, probes.steer_ids(vlm, cells[::5], ids, seeds=(0,), **quick),
        probes.mirror_swap(vlm, probes.mirrored_pairs(sides)[0][:2], **quick),
        KeptRun.capture(vlm, inputs, (0,)), flip_signs(np.ones((4, 1)), np.arange(4), seed=0),
    )  # fmt: skip


def of_heads(vlm, scenes, inputs):
    """Stepped questions, what is asked of a step and said, and a result of every tool of functional heads."""
    questions = probes.synthetic_steps(3)
    quick = {"functions": FUNCTIONS, "shuffles": 3, "draws": 60, "progress": False}
    linear = probes.linear_probe(*planted([("math", 1, 2)]), **quick)
    joint = probes.joint_network(*planted([("math", 1, 2)]), epochs=1, batch=8, **quick)
    said = SaidAnswer.of([1, 2, 3], lambda ids: "on the left"[: 3 * len(ids) + 2])
    sample = Sample("one", inputs.images[0], "Where is it?", ("left", "right"), "left", meta={"functions": ["spatial"]})
    with TemporaryDirectory() as folder:
        how = {"answers": "reference", "tokens": "full", "progress": False}
        collected = probes.collect_heads(vlm, [sample], out=folder, **how)
        check(collected)
        probes_of = probes.select_heads(linear, "math", "top_k", k=2)
        asked = probes.step_samples(questions, BARE)
        few = {"draws": 60, "deals": 2, "options": {"shuffles": 3}, "progress": False}
        sha = probes.study_sha(vlm, asked, out=f"{folder}/sha", view=probes.ShaView("drawn"), rule="elbow", **few)
        dealt = planted_activations([("math", 1, 2)])
        return (
            SteppedQuestions(tuple(questions)), questions[0], probes.step_queries(questions)[0], said, collected,
            hear_own(vlm, inputs, 2), linear, joint, probes_of, probes.head_layout(linear, top_k=2, deals=20),
            probes.scorer_agreement([linear, joint], deals=20), sha,
            probes.count_heads(*planted([("math", 1, 2)]), functions=FUNCTIONS, rule="elbow", deals=2, progress=False),
            probes.find_heads(dealt, options={"linear_probe": {"shuffles": 3}}, draws=60, deals=20, progress=False),
            probes.compare_heads({"one": linear, "other": joint}, deals=20),
            probes.evaluate_heads(vlm, scenes[:4], [(1, 2)], factor=0.0, draws=60, progress=False),
        )  # fmt: skip


@pytest.fixture(scope="module")
def made():
    """An object of every class of results, by the name of its class, from the embedded model and from tiny ones."""
    vlm = HookedVLM.from_pretrained("shapes-vlm")
    scenes = shapes(12, kinds=("relation",))
    one = scenes[0]
    boxes = GivenBoxes(tuple(thing.box for thing in one.objects))
    analysis = analyze(one.image, one.question, model=vlm, detector=boxes, prompt="paper", also=("two-stage", "lens"))
    inputs = vlm.prepare([each.image for each in scenes[:2]], [each.question for each in scenes[:2]])
    _, cache = vlm.run_with_cache(inputs)
    generation, attention = vlm.generate_with_cache(inputs, 2)
    prefix, stream = Prefix(vlm, inputs), probes.residual_norms(vlm, inputs)
    study = study_overlap(vlm, scenes, detector="ground-truth", progress=False)
    found = examine_overlap(study)
    evaluation = evaluate(vlm, scenes, policies=("scaling",), alphas=(0.5,), progress=False)
    base = evaluation.rows("baseline")
    (fed, *_), map_grid = tower_attention(vlm, inputs), inputs.grids[0]
    scores = np.random.default_rng(0).normal(size=(60, 3))
    truth = np.random.default_rng(1).random(60) > 0.5
    effect = partial_effect(scores, truth, pd.DataFrame({"x": scores[:, 1]}))
    keys = KeyValues(torch.zeros(1, 2, 5, 4), torch.zeros(1, 2, 5, 4))
    rows = [row_of_squares(own, patch=14, n=8) for own in itertools.permutations(("Red", "Green", "Blue"))]
    rows += [row_of_squares(own, patch=14, n=8) for own in itertools.permutations(("Black", "Green", "Blue"))]
    several = [
        analysis.also["lens"], answer_gradient(vlm, inputs)[0],
        probes.token_norms(vlm, inputs)[0], stream[0], probes.mean_residual_norms(stream),
        vlm, analysis, analysis.trajectory, analysis.overlap, analysis.layout, analysis.grid, analysis.found,
        analysis.found.matches[0], analysis.found.boxes, analysis.also["two-stage"], inputs, cache, generation,
        attention[0], prefix, prefix.step([Untouched()]), study, found, found.pooled, found.layers, effect,
        effect.adjusted, found.accuracy, evaluation, answer(vlm, one.image, one.question), one, fed, fed.rolled,
        calibration(base), compare(base, base), measure_evaluation(evaluation, dataset="shapes", model="shapes-vlm"),
        compare_with_published(198 / 330, 330, "controlled-a", "llava-1.5", "baseline"), Plan(grid((0.5, 1.5))),
        check_dataset("controlled-a", "nowhere"), find_roles([one], "ground-truth", progress=False)[0],
        region_of(boxes.boxes, map_grid), patches_of(vlm, map_grid), keys, SharedKeyValues(keys, keys),
        vision_attention(vlm, inputs)[0], PatchMaps([np.zeros((1, 2, 64))], [1.0], map_grid),
        draw_scene(1, n_objects=2),
        View(np.arange(3.0), np.arange(3.0)), Look(one.image, map_grid, np.zeros(64)), Section("a title"),
        Flips(0.0, base, base), Change(base, base, evaluation.summary, base, None),
        WrongAnswers(base.assign(named_another=base["text"] == "left", named_none=False)),
        probes.modality_shares(attention[0].pattern, attention[0].layout), probes.attention_entropy(attention[0]),
        look(vlm, scenes[:1], boxes, prompt="paper")[0], explore(vlm, one.image, one.question).exploration,
        probes.cross_modality_balance(attention[0].pattern, attention[0].layout),
        *(moved := probes.rope_sensitivity(vlm, inputs)), probes.mean_rope_sensitivity(moved),
        ImageFeatures.capture(vlm, inputs), probes.psi(vlm, scenes, range(5), progress=False),
        probes.OrderMeasurement.of(vlm, [0]).ask(inputs)[0],
        norms := probes.study_norms(vlm, scenes, progress=False), norms.received,
        probes.study_rope(vlm, scenes, progress=False),
        balance := probes.study_balance(vlm, scenes, progress=False), balance.balance["kept"],
        probes.mean_shares([probes.modality_shares(attention[0].pattern, attention[0].layout)] * 2),
        probes.dose_response(vlm, scenes, (1, 2), progress=False),
        probes.DoseMeasurement.of(vlm, probes.read_doses((1, 2), (), ()), [0]).ask(inputs)[0],
        probes.examine_position(vlm, scenes, ["norms"], progress=False),
        made_up_measures(0), made_up_comparison(), probe_accuracy(scores, truth.astype(int), np.arange(60)),
        placed := probes.position_probe(vlm, rows, sites="projector", progress=False), placed.probes["projector"],
        probes.axis_probe(vlm, scenes, progress=False),
        *of_mechanisms(vlm, scenes, inputs), *of_heads(vlm, scenes, inputs),
    ]  # fmt: skip
    several.append(next(one for one in several if hasattr(one, "runs")).runs[0])
    several.append(further_map("lens", np.ones((3, 1, 16)), "left"))
    return {type(result).__name__: result for result in several}


def check(result):
    """The bounds of a line and of a table; returns the text of both."""
    line, page = repr(result), result._repr_html_()
    assert len(line) <= LINE and line.isprintable() and line.startswith(f"{type(result).__name__}("), line
    parsed = Tables(page)
    assert set(parsed.tags) <= {"div", "p", "code", "table", "thead", "tbody", "tr", "th", "td"}, parsed.tags
    assert parsed.tags.count("tr") <= ROWS + 1 and len(page) < 20_000
    assert re.search(r"\d+ of \d+ rows; ", parsed.texts[-1]), parsed.texts[-1]
    return line, " ".join(parsed.texts)


def test_every_class_of_results_fits_a_cell_says_its_name_or_is_named_as_small(made):
    kept = {name for names in KEPT.values() for name in names.split()}
    found = set(public_dataclasses())  # classes, as two of them may share a name
    fits = {cls for cls in found if hasattr(cls, "_repr_html_")}
    named = {cls for cls in found if "__str__" in vars(cls)}  # as results call it, on one line
    assert len(found) > 80 and kept == {cls.__name__ for cls in found - fits - named}
    assert {cls.__name__ for cls in fits} - set(made) == {"ExplorePage"}  # the page shows itself


def test_results_fill_a_line_and_a_small_table(made):
    for result in made.values():
        check(result)


def test_a_line_names_the_axes_and_the_table_says_how_to_get_all(made):
    line, text = check(made["Trajectory"])
    shape = made["Trajectory"].image_attention.shape
    names = ("layer", "head", "step", "token")
    assert ", ".join(f"{name} {size}" for name, size in zip(names, shape, strict=True)) in line
    assert f"{ROWS} of {len(made['Trajectory'].to_dataframe())} rows; all: .to_dataframe()" in text
    line, text = check(made["OverlapStudy"])
    assert "model='shapes-vlm'" in line and "samples=12 rows" in line and "12 of 12 rows; all: .samples" in text
    line, text = check(made["VLMCache"])
    assert "hook_resid_pre" in text and f"12 of {len(made['VLMCache'])} rows" in text
    assert "model='shapes-vlm', family='llava', n_layers=12" in repr(made["HookedVLM"])


def hostile(result):
    """The same with every text, and every name, replaced by one that would be a script in a page."""
    if isinstance(result, str):
        return HOSTILE
    if isinstance(result, dict):
        return {**result, HOSTILE: HOSTILE, **{f"{HOSTILE}{place}": 1 for place in range(99)}}
    if isinstance(result, pd.DataFrame):
        texts = result.astype(object).map(lambda value: HOSTILE if isinstance(value, str) else value)
        return texts.rename(columns=dict.fromkeys(result.columns[:1], HOSTILE))
    if isinstance(result, tuple) and result and isinstance(result[0], str):
        return tuple(HOSTILE for _ in result) * 40
    return result


def test_names_that_are_scripts_stay_texts(made):
    for result in made.values():
        if dataclasses.is_dataclass(result):
            twin = object.__new__(type(result))
            for field in dataclasses.fields(result):
                object.__setattr__(twin, field.name, hostile(getattr(result, field.name)))
            line, page = repr(twin), twin._repr_html_()
            assert len(line) <= LINE and line.isprintable()
            assert "<script" not in page and "\x1b" not in page
            check(twin)


def test_what_is_empty_or_not_whole_has_a_repr_too(made):
    study, tables = made["OverlapStudy"], made["Evaluation"]
    none = {name: values[:0] for name, values in study.measures.items()}
    nothing = dataclasses.replace(study, samples=study.samples[:0], measures=none)
    empty = dataclasses.replace(tables, answers=tables.answers[:0], summary=pd.DataFrame(), policies={})
    for result in (nothing, empty, Boxes(), Plan(), interp.TokenLayout((), ())):
        check(result)
    for result in made.values():  # as in an error in the middle of __init__
        bare = object.__new__(type(result))
        assert len(repr(bare)) <= LINE and " rows; " in bare._repr_html_()


def test_what_is_huge_is_not_turned_into_a_table():
    n_layers, n_heads, n_steps, n_tokens = 64, 64, 8, 576
    one = np.broadcast_to(np.float32(0), (n_layers, n_heads, n_steps, n_tokens))
    steps = one[..., 0]
    huge = Trajectory("a", one[..., :8], one[0, 0, :, :8], one, steps, steps, np.ones(n_steps, int))
    assert huge.image_attention.size > LARGE
    _, text = check(huge)
    assert "image_attention" in text and ".to_dataframe()" in text


def test_a_study_of_many_layers_is_shown_at_once(made, monkeypatch):
    monkeypatch.setattr(type(made["OverlapStudy"]), "to_dataframe", lambda *_: pytest.fail("the whole table was made"))
    check(made["OverlapStudy"])


def test_equality_and_hash_are_those_of_the_fields():
    one, same = (Sample("a", tiny.photo(), "where?", ("left",), "left", (Object("mug"),)) for _ in range(2))
    assert one == same and one != dataclasses.replace(one, id="b")
    boxes = [Boxes((Box("mug", (0, 0, 1, 1)),)) for _ in range(2)]
    assert boxes[0] == boxes[1] and len(set(boxes)) == 1
    assert repr(AdaptVis(0.5, 1.5, 0.4)).startswith("AdaptVis(alpha_unsure=0.5") and str(Untouched()) == "untouched"


def test_a_label_a_path_and_what_is_missing():
    @fits_a_cell("settings.model size=values length", table="settings")
    @dataclasses.dataclass(frozen=True)
    class Result:
        values: np.ndarray
        settings: dict

    made = Result(np.zeros((2, 3), np.float32), {"model": "m"})
    assert repr(made) == "Result(model='m', size=float32 [2, 3])"
    assert "1 of 1 rows; all: .settings" in check(made)[1]


def test_overlap_of_generated_tokens_fits_too(made):
    looked = dataclasses.replace(made["Trajectory"], tokens=(HOSTILE,))
    check(looked)
    check(overlap(looked, made["ImageGrid"], [Box(HOSTILE, (0, 0, 50, 50))]))
