"""Found heads: planted heads are found by every scorer and told of, scores come back as they were, runs go on."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from planted_activations import planted_activations

from interp.commands.columns import meaning_of
from interp.errors import InputError
from interp.store.folder import OutputFolder
from probes import compare_heads, find_heads, linear_probe, load_scores, read_scores_of, save_scores, scorer_agreement
from probes.heads.columns import FILES, NAMES, OWN
from probes.heads.found.compare import compared_findings
from probes.heads.found.report import found_findings
from probes.heads.found.saved import begin_folder
from probes.study.findings import write_findings

CARRIERS = (("spatial", 0, 1), ("relational", 1, 0), ("math", 1, 2))
QUIET = {"draws": 40, "deals": 30, "progress": False}
SHORT = {"linear_probe": {"shuffles": 20}, "joint_network": {"shuffles": 2, "epochs": 2, "batch": 16}}


@pytest.fixture(scope="module")
def heads():
    return planted_activations(CARRIERS)


@pytest.fixture(scope="module")
def found(heads, tmp_path_factory):
    """The folder, and heads by both scorers."""
    place = tmp_path_factory.mktemp("found") / "out"
    both = ("linear_probe", "joint_network")
    return place, find_heads(heads, both, rule="max_t", options=SHORT, out=place, **QUIET)


def test_the_planted_head_is_the_strongest_of_its_function(found):
    _, heads = found
    for name, layer, head in CARRIERS:
        assert heads.of(name).heads[0] == (layer, head)
        assert heads.scores["linear_probe"].of(name).argmax() == layer * 3 + head
    assert heads.counts["spatial"] == len(heads.of("spatial")) and heads.rule.startswith("max_t")
    table = heads.to_dataframe()
    chosen = table[table["selected"] & (table["scorer"] == "linear_probe")]
    assert len(chosen) == sum(heads.counts.values()) and len(table) == 2 * 3 * 6
    with pytest.raises(InputError, match="no scorer 'gaze'"):
        heads.of("spatial", "gaze")


def test_scores_are_those_of_the_scorer_and_agreement_that_of_the_scorers(heads, found):
    _, told = found
    labels = heads.labels(heads.names)
    own = linear_probe(heads.z, labels, heads.groups, functions=heads.names, shuffles=20, draws=40, progress=False)
    np.testing.assert_array_equal(told.scores["linear_probe"].values, own.values)
    table = scorer_agreement(list(told.scores.values()), "max_t", deals=30).table
    pd.testing.assert_frame_equal(told.agreement, table)


def test_saved_scores_come_back_as_they_were(found, tmp_path):
    place, told = found
    for name, own in told.scores.items():
        again = load_scores(place / "scores" / f"{name}.npz")
        assert (again.scorer, again.functions, again.samples) == (own.scorer, own.functions, own.samples)
        for table in ("values", "low", "high", "null", "p", "p_any", "draws"):
            np.testing.assert_array_equal(getattr(again, table), getattr(own, table))
        assert again.settings["weights_sha256"] == "planted" and "q0" in again.settings["main_questions"]
    (tmp_path / "broken.npz").write_bytes(b"no")
    np.savez(tmp_path / "other.npz", values=np.zeros(3))
    for name, said in (("broken.npz", "no scores"), ("other.npz", "no scores"), ("gone.npz", "can not be read")):
        with pytest.raises(InputError, match=said):
            load_scores(tmp_path / name)
    with pytest.raises(InputError, match=r"end it in \.npz"):
        save_scores(told.scores["linear_probe"], tmp_path / "scores.json")


def test_kept_scores_are_taken_and_not_made_again_and_others_are_refused(heads, found, monkeypatch):
    place, whole = found
    lines: list[str] = []
    monkeypatch.setattr("probes.heads.found.find._score", lambda *given: pytest.fail("scored again"))
    both = ("linear_probe", "joint_network")
    how = {"rule": "max_t", "options": SHORT, "out": place, "resume": True, **QUIET}
    again = find_heads(heads, both, tell=lines.append, **how)
    assert again.sets == whole.sets and len(lines) == 2
    with pytest.raises(InputError, match="made otherwise .*seed: was 0, now 1"):
        find_heads(heads, both, seed=1, **how)
    other = replace(heads, z=heads.z, groups=tuple(f"x{name}" for name in heads.groups))
    with pytest.raises(InputError, match="made otherwise"):
        find_heads(other, both, **how)


def test_kept_scores_that_are_damaged_are_made_again_once_they_are_deleted(heads, tmp_path):
    how = {"options": SHORT, "out": tmp_path, "resume": True, **QUIET}
    whole, kept = find_heads(heads, **how), tmp_path / "scores" / "linear_probe.npz"
    kept.write_bytes(kept.read_bytes()[:500])
    with pytest.raises(InputError, match="delete that file"):
        find_heads(heads, **how)
    kept.unlink()
    assert find_heads(heads, **how).sets == whole.sets and kept.is_file()


def test_every_file_and_column_of_the_page_is_told_of(found, tmp_path):
    _, told = found
    assert "Those of the smallest part are of 7 groups" in found_findings(told).few[0]
    write_findings(OutputFolder(tmp_path), found_findings(told))
    page = (tmp_path / "report.html").read_text()
    assert "Spatial Perception" in page and "What this does not show" in page
    for path in tmp_path.glob("*.parquet"):
        assert path.name in FILES["heads-find"], path.name
        table = pd.read_parquet(path)
        assert [column for column in table if meaning_of(column, path.stem, (NAMES, OWN)) is None] == [], path.stem
    assert (tmp_path / "functions_linear_probe.png").is_file() and (tmp_path / "functions_joint_network.png").is_file()


def test_numbers_of_heads_have_no_more_decimals_than_they_can_mean(found):
    table = found_findings(found[1]).shown["How few heads, and where"].set_index("measure")
    assert {len(one.partition(".")[2]) for one in table.loc["effective_heads", "all heads alike"]} == {1}
    assert {len(one.partition(".")[2]) for one in table.loc["gini", "all heads alike"]} == {3}


def test_scores_of_noise_select_no_head_and_the_page_says_so():
    found = find_heads(planted_activations(), options=SHORT, rule="max_t", **QUIET)
    assert sum(found.counts.values()) <= 1
    told = [sentence for sentence in found_findings(found).sentences if "no head, as" in sentence]
    assert len(told) == sum(not count for count in found.counts.values())
    assert set(found.left_out()["table"]) == {"selected"}


def test_some_functions_alone_are_scored_on_their_own_items(heads):
    found = find_heads(heads, functions=("spatial", "math"), options=SHORT, **QUIET)
    assert found.functions == ("spatial", "math")
    assert found.settings["items"] == int(heads.labels(("spatial", "math")).any(axis=1).sum())


def test_scores_of_one_model_are_held_head_against_head_and_others_layer_against_layer(found, tmp_path):
    place, told = found
    deep = planted_activations([("spatial", 0, 1), ("spatial", 3, 2)], layers=4, seed=2)
    deep = replace(deep, settings={"weights": {"sha256": "deep"}})
    flat = planted_activations([("spatial", 0, 1)], layers=3, seed=3)
    for name, own in (("deep", deep), ("flat", flat)):
        find_heads(own, options=SHORT, out=tmp_path / name, **QUIET)
    every = read_scores_of([place, tmp_path / "deep", tmp_path / "flat"])
    compared = compare_heads({name: every[name] for name in ("deep/linear_probe", "flat/linear_probe")}, deals=30)
    assert compared.agreement.empty and set(compared.models["function"]) == {"spatial", "relational", "math"}
    same = compare_heads(read_scores_of([place]), rule="max_t", deals=30)
    assert same.agreement[["function", "measure"]].equals(told.agreement[["function", "measure"]])
    np.testing.assert_allclose(same.agreement["value"], told.agreement["value"])  # whichever is named first
    whole = compare_heads(every, given={"percent": 30}, deals=30)
    assert len(whole.left_out) and whole.left_out["why"].str.len().gt(0).all()
    told = compared_findings(whole)
    write_findings(OutputFolder(tmp_path / "out"), told)
    for path in (tmp_path / "out").glob("*.parquet"):
        table = pd.read_parquet(path)
        assert path.name in FILES["heads-compare"], path.name
        assert [column for column in table if meaning_of(column, path.stem, (NAMES, OWN)) is None] == [], path.stem


def test_what_can_not_be_compared_is_refused(found, tmp_path):
    place, told = found
    with pytest.raises(InputError, match="holds no scores"):
        read_scores_of([tmp_path])
    with pytest.raises(InputError, match="two folders are called"):
        read_scores_of([place, place])
    with pytest.raises(InputError, match="give two or more"):
        compare_heads({"one": told.scores["linear_probe"]})


@pytest.mark.parametrize(
    ("changes", "said"),
    (
        ({"scorers": "gazes"}, "scorers are gazes"),
        ({"scorers": "gaze"}, "gaze asks a model, and there is none"),
        ({"scorers": ("linear_probe", "linear_probe")}, "each once"),
        ({"rule": "best"}, "rule='best'"),
        ({"rule": "top_k"}, "needs k"),
        ({"rule": "fdr", "given": {"level": 0.1}}, "level=0.1"),
        ({"functions": ("spatial", "gaze")}, "labelled 'gaze': there are"),
        ({"draws": 0}, "0 draws"),
    ),
)
def test_bad_options_are_refused_before_anything_is_scored(heads, changes, said, monkeypatch):
    monkeypatch.setattr("probes.heads.found.find._score", lambda *given: pytest.fail("scored"))
    with pytest.raises(InputError, match=said):
        find_heads(heads, **{**QUIET, **changes})


def test_items_without_functions_are_refused(heads):
    bare = replace(heads, table=np.zeros_like(heads.table))
    with pytest.raises(InputError, match="none of the 160 items"):
        find_heads(bare, **QUIET)


def test_a_folder_is_begun_once_and_is_not_that_of_another_study(tmp_path):
    folder = OutputFolder(tmp_path / "out")
    begin_folder(folder, "found heads", resume=False)
    with pytest.raises(InputError, match="--resume"):
        begin_folder(folder, "found heads", resume=False)
    begin_folder(folder, "found heads", resume=True)
    with pytest.raises(InputError, match="another study"):
        begin_folder(folder, "compared heads", resume=True)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match="no study"):
        begin_folder(OutputFolder(tmp_path / "mine"), "found heads", resume=True)
