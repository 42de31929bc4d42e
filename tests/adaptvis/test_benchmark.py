"""A benchmark is split, tuned and reported as asked, and what would tune on the reported part is refused."""

import json
from dataclasses import replace

import pandas as pd
import pytest
import tiny

from adaptvis.__main__ import main as adaptvis
from adaptvis.benchmark import evaluate_dataset, layer_windows, with_preset
from adaptvis.evaluation.settings import Settings
from adaptvis.paper.published import PRESETS
from adaptvis.paper.splits import OFFICIAL_SIZES, split
from adaptvis.policy.policies import AdaptVis, ScalingVis
from adaptvis.sweep.plan import UNTOUCHED, Plan, grid
from adaptvis.sweep.run import run_sweep
from interp.datasets import read_dataset
from interp.errors import InputError
from interp.intervene.image_logits import ScaleImageLogits
from interp.study.prompter import prepare_samples


@pytest.fixture(scope="module")
def vlm():
    return tiny.vlm()  # it knows the words on and under


def small(vlm, **settings):
    asked = {"n": 40, "ablations": False, "max_new_tokens": 2, "progress": False, **settings}
    return evaluate_dataset(vlm, asked.pop("dataset", "shapes-a"), **asked)


def test_settings_are_chosen_on_whole_groups_that_are_not_reported(vlm):
    found = small(vlm, select=True, alphas=(0.5, 2.0))
    tuned, reported = set(found.validation["group"]), set(found.test["group"])
    assert tuned and reported and not tuned & reported
    assert len(tuned) + len(reported) == 10, "ten sets of four"
    samples = read_dataset("shapes-a", n=40)
    assert set(found.test["id"]) == {sample.id for sample in split(samples, "by-pair", "test")}
    right = found.validation[found.validation["setting"] != UNTOUCHED].groupby("alpha")["correct"].sum()
    chosen = found.policies["scaling"]
    assert isinstance(chosen, ScalingVis) and right.get(chosen.alpha, right.max()) == right.max()
    assert isinstance(found.policies["adaptvis"], AdaptVis)


def test_without_ablations_only_what_the_policies_need_is_asked(vlm):
    found = small(vlm, settings=Settings(alpha=0.8, alpha_unsure=0.5, alpha_sure=1.2, threshold=0.9))
    assert set(found.test["setting"]) == {UNTOUCHED, *(str(ScaleImageLogits(alpha)) for alpha in (0.8, 0.5, 1.2))}
    assert found.validation is None and list(found.policies) == ["baseline", "scaling", "adaptvis"]


def test_ablations_ask_all_strengths_and_windows_of_the_policies_that_are_there(vlm):
    found = small(vlm, n=8, ablations=True, part="all", policies=("scaling", "add"), alphas=(0.5, 2.0))
    scaled = found.test[found.test["mode"] == "mul"]
    assert set(scaled[scaled["layers"] == "all"]["alpha"]) == {0.5, 2.0}
    assert set(scaled["layers"]) == {"all", "0", "1", "2"}
    assert set(found.test["mode"]) == {"", "mul", "add"} and len(found.settings) == found.test["setting"].nunique() - 1


@pytest.mark.parametrize(
    "settings, says",
    [
        ({"select": "test"}, "chosen on 'val' only"),
        ({"select": "all"}, "chosen on 'val' only"),
        ({"select": True, "part": "val"}, "report them on 'test'"),
        ({"select": True, "part": "all"}, "report them on 'test'"),
        ({"select": True, "preset": "paper"}, "ask for one of the two"),
        ({"preset": "paper"}, "no preset 'paper' for 'shapes-a'"),
        ({"how": "official"}, "length of data set 'shapes-a' is unknown"),
        ({"policies": ("scaling", "magic")}, "policy 'magic' is not known"),
        ({"dataset": "shapes-z"}, "shapes-z"),
        ({"dataset": "shapes-b"}, "no words for front, behind"),
    ],
    ids=str,
)
def test_what_can_not_be_meant_is_refused_before_the_model_runs(vlm, monkeypatch, settings, says):
    def never(*given, **rest):
        raise AssertionError("the model was run")

    monkeypatch.setattr("adaptvis.evaluation.evaluation.ask_checked", never)
    with pytest.raises(InputError, match=says):
        small(vlm, **settings)


def test_what_costs_nothing_is_checked_before_a_model_is_loaded(monkeypatch, tmp_path, capsys):
    def never(options):
        raise AssertionError("a model was loaded")

    monkeypatch.setattr("adaptvis.commands.evaluate.load", never)
    (tmp_path / "test").mkdir()
    (tmp_path / "test" / "manifest.json").write_text("{}")
    for flags in (["--dataset", "nonsense"], ["--dataset", "shapes", "--alphas", "x"], ["--dataset", "shapes"]):
        assert adaptvis(["evaluate", *flags, "--out", str(tmp_path)]) == 2
        assert capsys.readouterr().err.startswith("error: ")


def test_a_preset_lets_answers_be_as_long_as_the_authors_do(monkeypatch):
    asked = []

    def kept(vlm, test, **settings):
        asked.append(settings["request"].max_new_tokens)
        raise InputError("enough")

    monkeypatch.setattr("adaptvis.benchmark.evaluate", kept)
    monkeypatch.setitem(PRESETS, "shapes-a", PRESETS["controlled-a"])
    for preset in (None, "paper"):
        with pytest.raises(InputError, match="enough"):
            evaluate_dataset(tiny.vlm(), "shapes-a", n=8, preset=preset, part="all")
    assert asked == [10, 100]


def test_where_the_paper_has_rows_settings_are_still_chosen_on_other_pairs_and_given_ones_reported_on_its_rows(
    monkeypatch, capsys
):
    asked = []

    def kept(vlm, test, **settings):
        asked.append((settings["request"].record["split"], test, settings["request"].validation))
        raise InputError("enough")

    def read(name, *given, n, **rest):
        found = read_dataset("shapes-a", n=n)
        return [replace(one, meta={**one.meta, "dataset": name, "row": row}) for row, one in enumerate(found)]

    monkeypatch.setattr("adaptvis.benchmark.evaluate", kept)
    monkeypatch.setattr("interp.datasets.benchmarks.reading.read_dataset", read)
    monkeypatch.setitem(OFFICIAL_SIZES, "controlled-a", 40)
    for settings in ({"select": True}, {"select": True, "how": "official"}, {"preset": "paper"}, {}):
        with pytest.raises(InputError, match="enough"):
            evaluate_dataset(tiny.vlm(), "controlled-a", n=40, progress=False, **settings)
    assert [how for how, *_ in asked] == ["by-pair", "official", "official", "official"]
    shared = [{one.group for one in test} & {one.group for one in val} for _, test, val in asked[:2]]
    assert not shared[0] and shared[1]
    assert "note:" not in capsys.readouterr().err, "all name their groups"


def test_the_preset_holds_the_authors_numbers():
    own = with_preset(Settings(layers=(3,)), "paper", "controlled-b")
    assert (own.alpha, own.alpha_unsure, own.alpha_sure, own.threshold) == (0.8, 0.5, 1.5, 0.35)
    assert own.layers == (3,) and own.policy("adaptvis") == AdaptVis(0.5, 1.5, 0.35, layers=(3,))


def test_a_preset_run_says_so_in_summary_report_and_on_the_screen(monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(PRESETS, "shapes-a", PRESETS["controlled-a"])
    for preset, how in ((None, "given"), ("paper", "preset paper")):
        out = tmp_path / str(preset)
        how_asked = {"preset": preset, "part": "all", "policies": ("scaling", "add"), "out": out}
        small(tiny.vlm(), n=8, **how_asked)
        summary = json.loads((out / "summary.json").read_text())
        assert summary["settings"]["settings"] == how and summary["policies"]["scaling"]["chosen_on"] == how
        assert summary["policies"]["add"]["chosen_on"] == "given", "the preset has no constant"
        page = (out / "report.html").read_text()
        said = ("with the numbers of preset paper" in page, ">preset paper</td>" in page)
        assert said == (preset is not None, preset is not None)
        assert f"settings ({how}):" in capsys.readouterr().out


@pytest.mark.parametrize("n_layers, n", [(12, 4), (32, 4), (28, 4), (3, 4), (1, 4), (40, 8)])
def test_windows_cut_every_layer_into_one_and_name_the_papers(n_layers, n):
    windows = layer_windows(n_layers, n)
    cut, paper = windows[: min(n, n_layers)], windows[-1]
    assert [layer for window in cut for layer in window] == list(range(n_layers))
    assert all(0 <= layer < n_layers for layer in paper)
    assert max(map(len, cut)) - min(map(len, cut)) <= 1


def test_a_sample_with_a_prompt_of_its_own_is_asked_with_that(assets):
    vlm = tiny.vlm()
    folder = assets / "vsr"
    (sample, *_) = read_dataset("vsr", folder / "vsr_on_coco128.jsonl", images=assets / "coco128" / "images")
    (usual,) = read_dataset("shapes-a", n=1)
    inputs = prepare_samples(vlm, [sample, usual], "paper")
    assert inputs.prompts[0] == sample.meta["paper_prompt"] and inputs.prompts[0].startswith("User: <image>")
    assert inputs.prompts[1] == f"<image>\nUSER: {usual.question}\nASSISTANT:"
    assert prepare_samples(vlm, [sample, usual], "chat").style == "chat"


def test_a_sweep_that_breaks_off_goes_on_and_equals_one_that_did_not(tmp_path, monkeypatch):
    vlm, samples, plan = tiny.vlm(), read_dataset("shapes-a", n=12), Plan(grid((0.5, 2.0)), max_new_tokens=2)
    whole = run_sweep(vlm, samples, plan, batch=2, progress=False)
    calls = []
    usual = vlm.prepare

    def breaks_off(*given, **rest):
        calls.append(given)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return usual(*given, **rest)

    monkeypatch.setattr(vlm, "prepare", breaks_off)
    with pytest.raises(KeyboardInterrupt):
        run_sweep(vlm, samples, plan, out=tmp_path / "out", batch=2, progress=False)
    resumed = run_sweep(vlm, samples, plan, out=tmp_path / "out", batch=2, resume=True, progress=False)
    assert len(calls) == 4 + 3, "three batches were kept, one broke off, three were left"
    pd.testing.assert_frame_equal(resumed, whole, check_exact=True)
    with pytest.raises(InputError, match="max_new_tokens"):
        run_sweep(vlm, samples, replace(plan, max_new_tokens=3), out=tmp_path / "out", batch=2, resume=True)


def test_the_command_writes_everything_and_resumes_without_asking_again(tmp_path, capsys, monkeypatch):
    out = tmp_path / "out"
    flags = ["--dataset", "shapes", "--n", "40", "--out", str(out), "--max-new-tokens", "2", "--select", "--quick"]
    asked = ["evaluate", *flags, "--policy", "scaling,adaptvis", "--alphas", "0.5,2"]
    assert adaptvis(asked) == 0
    names = {path.name for path in out.iterdir()}
    assert {"report.html", "summary.json", "answers.parquet", "summary.csv", "validation", "test"} <= names
    summary = json.loads((out / "summary.json").read_text())
    answers = pd.read_parquet(out / "answers.parquet")
    untouched = answers[answers["policy"] == "baseline"]
    assert len(untouched) == untouched["id"].nunique() == 32 and "baseline" in json.dumps(summary)
    manifests = {part: json.loads((out / part / "manifest.json").read_text()) for part in ("validation", "test")}
    assert {part: (found["settings"]["part"], found["samples"]) for part, found in manifests.items()} == {
        "validation": ("val", 8),
        "test": ("test", 32),
    }
    assert adaptvis(asked) == 2 and "--resume" in capsys.readouterr().err

    def never(*given, **rest):
        raise AssertionError("asked again")

    monkeypatch.setattr("adaptvis.sweep.run.share_prefill", never)
    assert adaptvis([*asked, "--resume"]) == 0
    pd.testing.assert_frame_equal(pd.read_parquet(out / "answers.parquet"), answers)


@pytest.mark.parametrize(
    "flags, says",
    [
        (["--select", "--alpha", "0.5"], "--select or --preset decides --alpha"),
        (["--preset", "paper", "--threshold", "0.5"], "--select or --preset decides --threshold"),
        (["--policy", "scaling", "--threshold", "0.3", "--confidence", "margin"], "takes --confidence, --threshold"),
        (["--select", "test"], "chosen on 'val' only"),
        (["--split", "official"], "length of data set 'shapes' is unknown"),
        (["--policy", "scaling,magic"], "policy 'magic' is not known"),
        (["--policy", ""], "--policy names none"),
        (["--alphas", "a,b"], "no list of numbers"),
        (["--alphas", ""], "no list of numbers"),
        (["--threshold", "2"], "not a probability"),
        (["--confidence", "hope"], "confidence='hope' is not known"),
        (["--layers", "99"], "layer [99] does not exist"),
        (["--heads", "4"], "head [4] does not exist"),
        (["--policy", "vcd", "--layers", "3"], "leave --layers out"),
        (["--max-new-tokens", "0"], "max_new_tokens 0"),
        (["--dataset", "controlled-a"], "folder"),
        (["--dataset", "controlled-a", "--folder", "/no/such"], "/no/such"),
    ],
    ids=str,
)
def test_bad_options_give_one_line_and_exit_code_2(tmp_path, capsys, flags, says):
    out = tmp_path / "out"
    assert adaptvis(["evaluate", "--dataset", "shapes", "--n", "8", "--out", str(out), *flags]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: ") and says in error
    assert not out.exists()
