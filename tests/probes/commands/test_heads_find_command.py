"""The command `heads find` by scorers that ask the model: the options of `heads collect`, told of, refused early."""

import json
from fnmatch import fnmatch

import pandas as pd
import pytest

from interp.commands.columns import meaning_of
from probes import load_scores
from probes.__main__ import main
from probes.commands.heads_find import ASKED, BY_NUMBERS, FIND
from probes.heads.columns import FILES, NAMES, OWN
from probes.heads.found import asked

SMALL = ["--n", "10", "--deals", "20"]
SHORT = ["--shuffles", "5"]


@pytest.fixture(scope="module")
def collected(tmp_path_factory):
    place = tmp_path_factory.mktemp("heads") / "collected"
    assert main(["heads", "collect", "--n", "10", "--max-new-tokens", "2", "--out", str(place)]) == 0
    return place


def test_scorers_of_both_kinds_agree_on_the_questions_that_were_collected(collected, tmp_path):
    out = tmp_path / "out"
    assert (
        main(["heads", "find", str(collected), "--scorers", "linear_probe,gaze", *SMALL, *SHORT, "--out", str(out)])
        == 0
    )
    told = [*FILES["heads-find"], *(name.replace(".parquet", ".csv") for name in FILES["heads-find"])]
    written = [str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()]
    assert [name for name in written if not any(fnmatch(name, known) for known in told)] == []
    for path in out.glob("*.parquet"):
        table = pd.read_parquet(path)
        assert [column for column in table if meaning_of(column, path.stem, (NAMES, OWN)) is None] == [], path.stem
    agreement = pd.read_parquet(out / "agreement.parquet")
    assert set(agreement["first"]) == {"linear_probe"} and set(agreement["second"]) == {"gaze"}
    kept = [load_scores(out / "scores" / f"{name}.npz").settings for name in ("linear_probe", "gaze")]
    assert kept[0]["weights_sha256"] == kept[1]["weights_sha256"]
    assert kept[0]["main_questions"] == kept[1]["main_questions"]
    assert json.loads((out / "summary.json").read_text())["settings"]["questions"]["drawn"] == 10


@pytest.mark.parametrize(
    ("given", "said"),
    (
        (["--n", "5"], "--n is about scorers that ask the model, and linear_probe do not"),
        (["--scorers", "gaze", "--n", "10"], "gaze need no activations"),
        (["--scorers", "linear_probe,gaze", "--n", "10", "--seed", "1"], "80 are of no activations"),
        (["--scorers", "gazes"], "scorers are gazes"),
        (["--functions", ""], "functions are none: name some of spatial,"),
        (["--functions", "spatial"], "spatial is alone: name two functions or more"),
        (["--functions", "math,math", "--variant", "cogvision"], "math is alone: name two functions or more"),
        (["--deals", "0"], "deals 0 can not be used"),
        (["--rule", "top_k", "--top", "0"], "k 0 can not be used"),
        (["--rule", "top_k", "--top", "49"], "k=49 of 48 heads: ask for fewer"),
        (["--rule", "top_percent", "--percent", "101"], "percent=101.0: give how many of a hundred heads"),
        (["--rule", "top_percent", "--percent", "nan"], "percent=nan: give how many of a hundred heads"),
        (["--rule", "threshold", "--above", "inf"], "above=inf is no threshold"),
        (["--rule", "top_percent", "--top", "3"], "--top is about --rule top_k, and --rule top_percent is asked"),
        (["--epochs", "4"], "--epochs is about joint_network, which --scorers does not name"),
        (["--loss", "bce", "--network-shuffles", "0"], "--loss, --network-shuffles is about joint_network"),
        (["--scorers", "joint_network", "--layer-mean"], "--layer-mean is about linear_probe, which"),
        (["--scorers", "joint_network", "--shuffles", "0"], "--shuffles is about linear_probe, which"),
    ),
)
def test_what_does_not_fit_the_activations_is_refused_before_a_model_is_loaded(
    collected, given, said, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr("probes.commands.heads_items.load", lambda options: pytest.fail("a model was loaded"))
    assert main(["heads", "find", str(collected), *given, "--out", str(tmp_path / "out")]) == 2
    assert said in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_another_model_than_that_of_the_activations_is_refused(collected, tmp_path, capsys):
    given = ["--scorers", "linear_probe,gaze", "--n", "10", "--model", "tiny-llava", "--context", "bare"]
    assert main(["heads", "find", str(collected), *given, "--out", str(tmp_path / "out")]) == 2
    assert "collect them from this model" in capsys.readouterr().err


def test_too_few_questions_are_refused_before_a_model_is_loaded(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("probes.commands.heads_items.load", lambda options: pytest.fail("a model was loaded"))
    assert main(["heads", "find", "--out", str(tmp_path / "out")]) == 2
    assert "reads collected activations, and none are named" in capsys.readouterr().err
    assert main(["heads", "find", "--scorers", "gaze", "--n", "5", "--out", str(tmp_path / "out")]) == 2
    assert "no function can be scored: spatial: 5 of its 5" in capsys.readouterr().err


def test_the_command_knows_every_scorer_and_the_defaults_of_the_questions():
    from probes.__main__ import build_parser

    assert BY_NUMBERS == asked.BY_NUMBERS
    assert all(name in FIND for name in asked.SCORERS)
    options = build_parser().parse_args(["heads", "find", "out"])
    assert all(getattr(options, name) == value for name, value in ASKED.items())


def test_more_heads_than_the_model_has_are_refused_before_it_is_asked(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("probes.heads.found.find.score_by_model", lambda *_, **__: pytest.fail("heads were scored"))
    given = ["--scorers", "gaze", "--n", "12", "--rule", "top_k", "--top", "49", "--out", str(tmp_path / "out")]
    assert main(["heads", "find", *given]) == 2
    assert "k=49 of 48 heads: ask for fewer" in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_deals_that_no_test_can_pass_with_are_told_before_scores_are_compared(collected, tmp_path, capsys, monkeypatch):
    for name, more in (("one", []), ("other", ["--recipe", "logistic"])):
        given = [str(collected), "--shuffles", "2", "--deals", "5", *more, "--out", str(tmp_path / name)]
        assert main(["heads", "find", *given]) == 0
    folders = [str(tmp_path / "one"), str(tmp_path / "other")]
    tests = len(load_scores(tmp_path / "one" / "scores" / "linear_probe.npz").functions)
    least = 20 * tests - 1
    for deals, few in ((least - 1, True), (least, False)):
        out = tmp_path / f"compared-{deals}"
        capsys.readouterr()
        assert main(["heads", "compare", *folders, "--deals", str(deals), "--out", str(out)]) == 0
        said = capsys.readouterr()
        told = f"as {deals} deals of heads are too few for {tests} tests, and {least} are enough (--deals {least})"
        assert (told in said.err and told in said.out) is few
        assert (f"corrected for {tests} by Holm" in said.out) is not few
