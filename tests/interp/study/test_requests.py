"""A request and its keywords say the same, the command line has its defaults, and what can not be is refused early."""

import importlib
import json
from dataclasses import MISSING, fields
from inspect import getdoc, signature

import numpy as np
import pytest
import tiny

from adaptvis import EvaluateRequest, evaluate
from adaptvis.benchmark import BenchmarkRequest, evaluate_dataset
from interp import AnalyzeRequest, OverlapRequest, analyze, study_overlap
from interp.datasets.synthetic.shapes import shapes
from interp.errors import InputError, OptionError

JOBS = {
    AnalyzeRequest: analyze,
    OverlapRequest: study_overlap,
    EvaluateRequest: evaluate,
    BenchmarkRequest: evaluate_dataset,
}
COMMANDS = {
    AnalyzeRequest: ("interp", "analyze", ["photo.png", "Where?"], {"neutral_prompt", "out", "sample_id"}),
    OverlapRequest: (
        "interp",
        "overlap",
        ["--dataset", "shapes"],
        {"detector", "nulls", "neutral_prompt", "out", "progress", "record"},
    ),
    BenchmarkRequest: ("adaptvis", "evaluate", ["--dataset", "shapes"], {"out", "progress"}),
}
"""By request: package, command, what must be given, and fields with no option, or whose option has no such default."""


def asked(kind, *more):
    """The request that a command line makes, and the options that its parser knows."""
    package, command, needed, _ = COMMANDS[kind]
    options = importlib.import_module(f"{package}.__main__").build_parser().parse_args([command, *needed, *more])
    return importlib.import_module(f"{package}.commands.{command}").request_of(options), vars(options)


@pytest.mark.parametrize("kind", COMMANDS)
def test_every_field_has_one_default_in_code_and_on_the_command_line(kind):
    found, options = asked(kind)
    spelled = {"how": "split", "policies": "policy", "settings": "alpha", "ablations": "quick"}
    for one in fields(kind):
        if one.name not in COMMANDS[kind][3]:
            assert getattr(found, one.name) == one.default, one.name
            assert spelled.get(one.name, one.name) in options, f"{one.name} has no option"


@pytest.mark.parametrize("kind", JOBS)
def test_help_shows_every_field_with_its_default_and_meaning(kind):
    shown = signature(JOBS[kind]).parameters
    for one in fields(kind):
        default = shown[one.name].empty if one.default is MISSING else one.default
        assert shown[one.name].default == default and f"\n    {one.name}: " in getdoc(JOBS[kind]), one.name


@pytest.mark.parametrize("kind", [AnalyzeRequest, OverlapRequest])
def test_what_is_recorded_goes_to_json_and_back(kind):
    found = kind(detector="shapes-detector", layers=[1, 2], also=["two-stage"])
    kept = json.loads(json.dumps(found.recorded()))
    assert kept == found.recorded() and kind(**kept) == found


@pytest.mark.parametrize("kind", JOBS)
def test_a_request_with_keywords_beside_it_or_of_another_kind_is_refused(kind):
    request = kind(detector="ground-truth") if kind is OverlapRequest else kind()
    with pytest.raises(InputError, match="max_new_tokens beside it"):
        JOBS[kind](None, None, request=request, max_new_tokens=3)
    with pytest.raises(InputError, match=f"give one of {kind.__name__}"):
        JOBS[kind](None, None, request={"max_new_tokens": 3})
    with pytest.raises(OptionError, match="has no option 'max_tokens': did you mean .*max_new_tokens"):
        JOBS[kind](None, None, request=request, max_tokens=3)
    with pytest.raises(TypeError, match="has no option 'no_such_option'"):
        JOBS[kind](None, None, no_such_option=3)


@pytest.mark.parametrize(
    "kind, given, says",
    [
        (AnalyzeRequest, {"tokens": "last"}, "tokens='last' is not known"),
        (AnalyzeRequest, {"also": "vision"}, "give a list"),
        (AnalyzeRequest, {"layers": ()}, "layers is empty"),
        (OverlapRequest, {"detector": "ground-truth", "nulls": ("even",)}, "nulls even"),
        (OverlapRequest, {"detector": "ground-truth", "layers": []}, "layers is empty"),
        (OverlapRequest, {"detector": "ground-truth", "resume": True}, "name the folder"),
        (EvaluateRequest, {"policies": ("guess",)}, "policy 'guess' is not known"),
        (EvaluateRequest, {"alphas": (float("nan"),)}, "nan"),
        (EvaluateRequest, {"batch": 0}, "batch 0 can not be used"),
        (EvaluateRequest, {"batch": 1.5}, "batch 1.5 can not be used"),
        (EvaluateRequest, {"seed": -1}, "seed -1 can not be used"),
        (EvaluateRequest, {"alphas": 0.5}, "alphas=0.5 is no list"),
        (EvaluateRequest, {"policies": "scaling"}, "policies='scaling' is no list"),
        (EvaluateRequest, {"settings": {"alpha": 1}}, "settings are a dict"),
        (EvaluateRequest, {"prompt": "bad"}, "prompt style 'bad' is not known"),
        (BenchmarkRequest, {"seed": -1}, "seed -1 can not be used"),
        (BenchmarkRequest, {"n": 0}, "n 0 can not be used"),
        (BenchmarkRequest, {"part": "zzz"}, "part='zzz'"),
        (BenchmarkRequest, {"missing": "ignore"}, "missing='ignore'"),
        (AnalyzeRequest, {"layers": "12"}, "layers='12' is no list"),
        (AnalyzeRequest, {"layers": (1.5,)}, "a layer 1.5 can not be used"),
        (AnalyzeRequest, {"also": None}, "also=None is no list"),
        (AnalyzeRequest, {"max_new_tokens": 0}, "max_new_tokens 0 can not be used"),
        (OverlapRequest, {"detector": "ground-truth", "draws": True}, "draws True can not be used"),
        (OverlapRequest, {"detector": "ground-truth", "layers": (1, 1)}, "layers 1, 1: give each once"),
        (OverlapRequest, {"detector": None}, "detector=None"),
        (OverlapRequest, {"detector": "ground-truth", "record": {"seed": 3}}, "record has seed"),
        (BenchmarkRequest, {"select": "test"}, "chosen on 'val' only"),
        (BenchmarkRequest, {"max_new_tokens": 0}, "max_new_tokens 0 can not be used"),
    ],
)
def test_a_request_refuses_what_no_model_is_needed_to_refuse(kind, given, says):
    with pytest.raises(InputError, match=says):
        kind(**given)


def test_what_can_be_read_once_is_kept():
    assert AnalyzeRequest(also=(name for name in ["two-stage"]), layers=iter([np.int64(3)])).also == ("two-stage",)
    assert OverlapRequest(detector="ground-truth", nulls=iter(["shuffled"]), draws=np.int64(3)).draws == 3


@pytest.mark.parametrize("name", ["model", "prompt", "interventions", "weights", "device", "boxes", "study"])
def test_a_record_says_nothing_that_the_manifest_says_itself(name, tmp_path):
    vlm, samples = tiny.vlm(), shapes(2)
    how = {"record": {name: "mine"}, "out": tmp_path / "out", "progress": False}
    if name not in ("boxes", "study"):
        with pytest.raises(InputError, match=f"record has {name}"):
            evaluate(vlm, samples, **how)
    if name != "interventions":
        with pytest.raises(InputError, match=f"record has {name}"):
            study_overlap(vlm, samples, detector="ground-truth", **how)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("given", [{"policies": ("guess",)}, {"alphas": (float("nan"),)}, {"batch": 0}], ids=str)
def test_a_benchmark_refuses_it_before_the_model_is_loaded(given):
    with pytest.raises(InputError):
        evaluate_dataset(lambda: pytest.fail("a model was loaded"), "shapes-a", n=8, progress=False, **given)


def test_both_ways_of_calling_give_the_same():
    vlm, photo = tiny.vlm(), tiny.photo()
    how = {"model": vlm, "max_new_tokens": 2, "tokens": "all"}
    one, two = (
        analyze(photo, "Where is the mug ?", **how),
        analyze(photo, "Where is the mug ?", request=AnalyzeRequest(**how)),
    )
    assert one.answer == two.answer and one.trajectory.to_dataframe().equals(two.trajectory.to_dataframe())
    how = {"policies": ("scaling",), "alphas": (0.5,), "max_new_tokens": 2, "progress": False}
    samples = shapes(4)
    one, two = evaluate(vlm, samples, **how), evaluate(vlm, samples, request=EvaluateRequest(**how))
    assert one.answers.equals(two.answers) and one.summary.equals(two.summary)
