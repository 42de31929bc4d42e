"""Position probes: planted places are found with their controls, studies go on, and what can not be told is refused."""

import hashlib
import json
import tracemalloc
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import tiny
from broken_off import break_second
from golden import golden
from PIL import Image
from rows_of_squares import COLORS, recorded_vlm, row_of_squares
from towers_seen import tower_runs

from interp.errors import InputError
from interp.image.boxes import Box, Boxes
from interp.image.grid import View, grid_of_views
from interp.model.hooked_vlm import HookedVLM
from interp.objects.sample import Object, Sample
from interp.planted.llava import build_planted
from interp.stats.linear_probe import fit_probe
from interp.store.folder import OutputFolder
from interp.study.run import read_study
from probes.__main__ import main
from probes.mechanisms.columns import FILES, NAMES, OWN
from probes.mechanisms.probe import position
from probes.mechanisms.probe.measurements import ProbeTask, Readout, TrainingTokens
from probes.mechanisms.probe.position import _commonest, _dealt, position_probe
from probes.mechanisms.probe.report import position_probe_findings
from probes.mechanisms.probe.saved import load_probes, save_probes
from probes.mechanisms.probe.strips import strip_chance
from probes.mechanisms.tokens.object_tokens import object_tokens, strip_weights
from probes.study.findings import write_findings

QUIET = {"progress": False, "prompt": "paper", "draws": 200}


def grid_of(n=8, patch=4):
    edges = np.arange(0.0, n * patch + 1, patch)
    return grid_of_views((n * patch, n * patch), [View(edges, edges)])


def scenes(count, **options):
    """So many rows of squares, colours dealt."""
    rng = np.random.default_rng(0)
    colors = [[str(one) for one in rng.permutation(list(COLORS))[:3]] for _ in range(count)]
    return [row_of_squares(own, name=f"scene {place}", **options) for place, own in enumerate(colors)]


@pytest.fixture(scope="module")
def planted():
    """The planted model whose tokens say where they are, and the colours there."""
    vlm = HookedVLM.wrap(*build_planted("planted-object"), self_check=False)
    return vlm, position_probe(vlm, scenes(48, patch=14, background=128), **QUIET)


def test_a_model_whose_tokens_say_where_they_are_shows_strips_that_a_photo_of_nothing_shows_too(planted):
    _, found = planted
    assert found.names == ("vision.blocks.0", "projector", "blocks.0", "blocks.1", "blocks.2", "blocks.3")
    for site in found.names:
        assert found.value("accuracy", site) > 0.97 and found.value("position", site) == 1
        assert found.value("beyond_position", site) <= 0
        assert found.row("strip", site)["low"] > 0.2 < found.value("strip_position", site)
        assert found.row("selectivity", site)["low"] > 0.3
    assert (found.strips()["p_corrected"] < 0.05).all() and found.chance == pytest.approx(1 / 3)
    assert (found.n_train, found.n_test) == (36, 12) and len(found.left_out) == 0
    columns = found.map("projector").mean(axis=1)  # class col
    assert columns[:, [0, 1]].argmax(axis=0).tolist() == [0, 0] and columns[:, [6, 7]].argmax(axis=0).tolist() == [2, 2]


def test_along_the_other_axis_a_row_of_squares_has_no_order(planted):
    vlm, _ = planted
    with pytest.raises(InputError, match="lie at one place along the vertical axis"):
        position_probe(vlm, scenes(8, patch=14), axis="vertical", **QUIET)
    found = position_probe(vlm, scenes(16, patch=14, axis="vertical"), axis="vertical", sites="projector", **QUIET)
    assert found.value("accuracy") == 1 and found.value("strip") > 0.2
    assert found.map()[0, 0].mean() > 0.5 > found.map()[0, 7].mean()


def test_the_tower_runs_once_a_photo_and_once_for_the_photo_of_nothing(planted):
    vlm, _ = planted
    with tower_runs(vlm) as calls:
        position_probe(vlm, scenes(12, patch=14), batch=3, **QUIET)
    assert len(calls) == 3 + 1 + 1


def test_a_study_that_was_broken_off_goes_on_to_the_same_table(planted, tmp_path, monkeypatch):
    vlm, _ = planted
    samples, options = scenes(12, patch=14), {"batch": 1, "sites": ["projector", "blocks.1"], **QUIET}
    whole = position_probe(vlm, samples, **options)
    for part, work in (("train", TrainingTokens), ("test", Readout)):
        with monkeypatch.context() as patch:
            break_second(patch, work, "__call__")
            with pytest.raises(KeyboardInterrupt):
                position_probe(vlm, samples, out=tmp_path, resume=part == "test", **options)
    again = position_probe(vlm, samples, out=tmp_path, resume=True, **options)
    pd.testing.assert_frame_equal(again.measures, whole.measures)
    assert np.array_equal(again.maps, whole.maps)
    with pytest.raises(InputError, match="shuffles"):
        position_probe(vlm, samples, out=tmp_path, resume=True, shuffles=3, **options)


def test_the_papers_recipe_on_the_recorded_model_says_what_was_recorded_of_like_probes():
    case = np.load(golden("position_probe") / "cases.npz")
    vlm = recorded_vlm()
    split = json.loads((golden("position_probe") / "split.json").read_text())["horizontal"]
    samples = [row_of_squares(own) for own in (*split["train"][:45], *split["test"][:15])]
    found = position_probe(vlm, samples, sites="projector", recipe="paper", **QUIET)
    assert (found.n_train, found.n_test) == (45, 15)
    assert found.value("accuracy") == pytest.approx(float(case["horizontal.acc"]), abs=0.15)  # another split and start


def test_the_strip_score_is_what_it_says():
    own = object_tokens(row_of_squares(["Red", "Green", "Blue"]), grid_of(), axis="horizontal")
    assert own.strips.tolist() == [[k <= col < k + 2 for col in range(8)] for k in (0, 3, 6)]
    rng = np.random.default_rng(0)
    chances = rng.dirichlet(np.ones(3), size=64)
    each = []
    for k in range(3):
        inside = [p for p in range(64) if own.strips[k, p % 8] and own.background[p]]
        outside = [p for p in range(64) if not own.strips[k, p % 8] and own.background[p]]
        each.append(chances[inside, k].mean() - chances[outside, k].mean())
    assert (chances * strip_weights(own)).sum() == pytest.approx(np.mean(each))
    score, p_value, corrected = strip_chance(chances[None, None], [own], deals=19)
    assert np.array_equal(p_value, corrected)  # of a single site
    assert score[0] == pytest.approx(np.mean(each)) and 0.05 <= p_value[0] <= 1
    perfect = np.stack([own.strips[k, own.lines] for k in range(3)], axis=1).astype(float)
    assert (perfect * strip_weights(own)).sum() == pytest.approx(1)
    assert (np.full((64, 3), 1 / 3) * strip_weights(own)).sum() == pytest.approx(0)


def test_over_200_null_models_strips_are_found_as_often_as_is_stated():
    """Tokens that are noise, new in each photo, or the same noise at each place in all photos."""
    samples = scenes(8)
    own = [object_tokens(sample, grid_of(), axis="horizontal") for sample in samples]
    inside, labels = own[0].inside, own[0].labels[own[0].inside]
    beyond = {"new": [], "fixed": []}
    for number in range(200):
        rng = np.random.default_rng(number)
        for kind in beyond:
            tokens = rng.normal(size=(len(own), 64, 12)).astype(np.float32)
            if kind == "fixed":
                tokens[:] = tokens[0]
            probe = fit_probe(tokens[:4, inside].reshape(-1, 12), np.tile(labels, 4))
            _, p_value, _ = strip_chance(probe.probabilities(tokens[4:])[:, None], own[4:], deals=39, seed=number)
            beyond[kind].append(p_value[0] <= 0.05)
    for kind, found in beyond.items():
        assert np.mean(found) <= 0.1, kind  # 0.05 + 3 standard errors


def test_lines_of_a_grid_are_shared_by_objects():
    boxes = [Box(f"{row}{col}", (16 * col, 16 * row, 16 * col + 8, 16 * row + 8)) for row in (0, 1) for col in (0, 1)]
    sample = Sample("grid", Image.new("RGB", (32, 32)), "", (), "", meta={"boxes": Boxes(tuple(boxes))})
    own = object_tokens(sample, grid_of(), axis="vertical", labels="line")
    assert own.n_classes == 2 and sorted(set(own.labels[own.lines < 2])) == [-1, 0]
    with pytest.raises(InputError, match="use labels='line'"):
        object_tokens(sample, grid_of(), axis="vertical")


def bare(**changes):
    first = row_of_squares(["Red", "Green", "Blue"])
    return Sample(**{**vars(first), **changes})


@pytest.mark.parametrize(
    ("change", "options", "says"),
    [
        ({"objects": ()}, {}, "has 0 boxes"),
        ({"objects": (Object("a", Box("a", (0, 0, 8, 8))), Object("b"))}, {}, "has 1 boxes"),
        (
            {"objects": tuple(Object(str(x), Box(str(x), (x, 0, x + 1, 1))) for x in (0, 9))},
            {},
            "no image token has 50% or more of its area in the box of '0'",
        ),
        ({}, {"axis": "diagonal"}, "axis='diagonal'"),
        ({}, {"labels": "colour"}, "labels='colour'"),
        ({}, {"at_least": 0}, "at_least=0"),
    ],
)
def test_a_photo_whose_objects_have_no_places_is_refused_by_name(change, options, says):
    with pytest.raises(InputError, match=says):
        object_tokens(bare(**change), grid_of(), **{"axis": "horizontal", **options})


def test_what_can_not_be_probed_is_refused_before_the_first_pass(planted):
    vlm, _ = planted
    samples = scenes(8, patch=14)
    wide = row_of_squares(["Red", "Green"], patch=14, name="two")
    one = [Sample(**{**vars(sample), "group": "all"}) for sample in samples]
    with tower_runs(vlm) as calls:
        for given, options, says in (
            ([], {}, "no samples"),
            (one, {}, "in 1 group"),
            (samples[:3], {}, "3 groups, of which 1 is held out"),
            ([*samples, wide], {}, "3 places along the axis, and those of 'two' 2"),
            (samples, {"recipe": "svm"}, "recipe='svm'"),
            (samples, {"blank": (0, 0, 256)}, "no colour"),
            (samples, {"sites": "blocks.9"}, "not in this model"),
            (samples, {"shuffles": 0}, "no control"),
            (samples, {"test_share": 1.0}, "between 0 and 1"),
            (samples, {"draws": 0}, "at least one draw"),
        ):
            with pytest.raises(InputError, match=says):
                position_probe(vlm, given, **{**QUIET, **options})
    assert not calls
    with pytest.raises(InputError, match="load it with"):
        position_probe("shapes-vlm", samples, **QUIET)


def test_photos_of_different_grids_are_refused():
    vlm = HookedVLM.from_pretrained("tiny-qwen2_vl", self_check=False)
    samples = scenes(8, patch=28)
    flat = Sample(**{**vars(samples[0]), "id": "flat", "image": samples[0].image.crop((0, 0, 224, 140))})
    samples.append(flat)
    with pytest.raises(InputError, match="'flat' have .* rows and columns"):
        position_probe(vlm, samples, **QUIET)


def test_the_page_and_its_sentences_say_what_was_found(planted, tmp_path):
    _, found = planted
    said = position_probe_findings(found)
    more = found.row("strip_beyond_position")
    beyond = "more than" if more["low"] > 0 else "less than" if more["high"] < 0 else "not told from"
    assert "chance 33.3 %" in said.sentences[0] and f"{beyond} what a place says by itself" in said.sentences[1]
    assert any("picked after the fact" in one for one in said.sentences) and said.summary["site"] == "projector"
    paths = {path.name for path in write_findings(OutputFolder(tmp_path), said)}
    assert {"probe.csv", "strips.csv", "accuracy.png", "strips.png", "report.html", "summary.json"} <= paths


def test_the_command_draws_scenes_probes_them_and_keeps_the_probes(tmp_path, capsys):
    out = tmp_path / "out"
    asked = ["probe", "--model", "shapes-vlm", "--sites", "projector", "--shuffles", "1"]
    asked += ["--pairs", "6", "--out", str(out)]
    assert main(asked) == 0
    assert "At the projector a linear probe" in capsys.readouterr().out
    names = {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file() and "shards" not in path.parts}
    assert {"probes.safetensors", "report.html", "train/manifest.json", "test/manifest.json"} <= names
    described = [name.replace("_*", "") for name in FILES["probe-study"]]
    assert {Path(name).name.replace(".csv", ".parquet") for name in names} <= {Path(name).name for name in described}
    table = pd.read_parquet(out / "probe.parquet")
    assert set(table) <= set(NAMES) | set(OWN["probe"]) and not table.isna().any().any()
    assert main(asked) == 2  # the folder is begun, and nothing says to go on


@pytest.mark.parametrize("name", ["tiny-qwen2_5_vl", "tiny-pixtral", "tiny-llava_next", "tiny-gemma3"])
def test_other_families_are_probed_row_breaks_tiles_and_windows_too(name):
    vlm = HookedVLM.from_pretrained(name, self_check=False)
    side = max(vlm.prepare(tiny.photo(0, (256, 256)), "Where?", prompt="paper").grids[0].cols) + 1
    samples = scenes(16, n=8, patch=32) if side >= 4 else []
    found = position_probe(vlm, samples, at_least=0.2, shuffles=2, **QUIET)
    assert found.maps.shape[:2] == (len(found.sites), 3) and np.allclose(found.maps.sum(axis=1), 1, atol=1e-5)
    assert set(found.measures["measure"]) >= {"accuracy", "control", "selectivity", "position"}


def test_probes_are_read_back_to_the_bit(planted, tmp_path):
    _, found = planted
    again = load_probes(found.save(tmp_path / "probes.safetensors"))
    assert list(again) == sorted(found.names) or set(again) == set(found.names)
    for name, probe in found.probes.items():
        assert np.array_equal(again[name].weights, probe.weights) and again[name].recipe == probe.recipe
    (tmp_path / "other").write_text("no probes")
    with pytest.raises(InputError, match="can not be read as safetensors"):
        load_probes(tmp_path / "other")
    save_probes(tmp_path / "none", {})
    assert load_probes(tmp_path / "none") == {}


def test_figures_show_every_site_and_every_place(planted):
    _, found = planted
    ax = found.plot()
    assert {line.get_label() for line in ax.get_lines()} >= {"probe", "photo of nothing", "shuffled labels", "chance"}
    assert found.plot(measure="strip").get_ylabel() == "strip score over background"
    assert [panel.get_title(loc="left") for panel in found.plot_strips("blocks.0")] == [
        "place 1, leftmost",
        "place 2",
        "place 3, rightmost",
    ]
    with pytest.raises(InputError, match="not drawn"):
        found.plot(measure="gain")
    with pytest.raises(InputError, match="was not probed"):
        found.plot_strips("blocks.7")
    with pytest.raises(InputError, match="use one of accuracy"):
        found.value("gain")


def test_what_is_read_of_a_photo_is_that_of_loops_each_probe_by_its_own_labels():
    own = object_tokens(row_of_squares(["Red", "Green", "Blue"]), grid_of(), axis="horizontal")
    tokens = np.random.default_rng(0).normal(size=(64, 6)).astype(np.float32)
    labels = own.labels[own.inside]
    dealt = np.stack([labels, (labels + 1) % 3, (labels + 2) % 3])
    probes = tuple(fit_probe(tokens[own.inside], row) for row in dealt)
    row = Readout(None, {}, {"here": probes}, {"one": dealt}, {})._read("here", "one", own, tokens)
    told = [(row["right"], row["strip"]), *zip(row["control"], row["control_strip"], strict=True)]
    for probe, wanted, said in zip(probes, dealt, told, strict=True):
        strip = (probe.probabilities(tokens) * strip_weights(own)).sum()
        assert said == pytest.approx(((probe.predict(tokens[own.inside]) == wanted).sum(), strip))
    assert (row["control"] > 8).all() and (probes[1].predict(tokens[own.inside]) == labels).sum() < 4


def test_training_tokens_are_those_of_the_whole_photo_where_tiles_come_first():
    vlm = HookedVLM.from_pretrained("tiny-idefics3", self_check=False)
    (sample,) = scenes(1, n=8, patch=32)
    task = ProbeTask.of(vlm, sites="blocks.0", at_least=0.2, prompt="paper")
    known = task.tokens_of([sample])
    own = known[sample.id]
    (rows,) = TrainingTokens(task, known)([sample])
    inputs = vlm.prepare([sample.image], [sample.question], prompt="paper")
    _, cache = vlm.run_with_cache(inputs, names_filter="blocks.0.hook_resid_post")
    at = inputs.layouts[0].image_positions[own.places[own.inside]]
    assert own.places[0] > 0 and [row["token"] for row in rows] == own.inside.tolist()
    seen = cache["blocks.0.hook_resid_post"][0, at].detach().numpy()
    assert np.allclose([row["blocks.0"] for row in rows], seen, atol=1e-5)


def test_labels_are_dealt_among_the_objects_of_all_photos_and_the_commonest_class_is_chance():
    own = object_tokens(row_of_squares(["Red", "Green", "Blue"]), grid_of(), axis="horizontal")
    dealt = [row for part in _dealt([own] * 4, 5, (0, 0)) for row in part[1:]]
    assert any(set(np.bincount(row, minlength=3)) != {4} for row in dealt)  # two objects of a photo have one label
    wide = [Box("a", (0, 0, 8, 8)), Box("b", (12, 0, 24, 8))]
    uneven = object_tokens(bare(objects=tuple(Object(box.label, box) for box in wide)), grid_of(), axis="horizontal")
    assert _commonest([uneven]) == pytest.approx(6 / 10) and _commonest([own]) == pytest.approx(1 / 3)


def test_maps_are_means_over_photos_and_the_record_says_what_probes_were_trained_on(planted, monkeypatch):
    vlm, _ = planted
    seen, chances = [], position._chances
    monkeypatch.setattr(position, "_chances", lambda *given: seen.append(chances(*given)) or seen[-1])
    options = {"sites": "projector", "shuffles": 1, **QUIET}
    found = [position_probe(vlm, scenes(8, patch=14), seed=seed, **options) for seed in (0, 1)]  # split otherwise
    assert found[0].maps.reshape(3, 64).T == pytest.approx(seen[0].mean(axis=0)[0], abs=1e-6) and len(seen[0]) == 2
    digests = {own.settings["trained_on"] for own in found}
    assert len(digests) == 2 and all(digests)


WIDE = 256
"""How many times as wide training features are made, so that what is held stands out."""


def test_no_more_than_one_site_of_training_tokens_is_in_memory(planted, monkeypatch):
    vlm, _ = planted
    whole, fit, held, sizes = TrainingTokens.__call__, position._fit_or_count, [], []

    def wide(work, samples):
        return [
            [
                {name: np.tile(own, WIDE) if isinstance(own, np.ndarray) else own for name, own in row.items()}
                for row in rows
            ]
            for rows in whole(work, samples)
        ]

    def seen(features, *given, **options):
        if features.shape[1] % WIDE == 0:
            held.append(tracemalloc.get_traced_memory()[0] + pa.total_allocated_bytes())
            sizes.append(features.nbytes)
            features = features[:, : features.shape[1] // WIDE]
        return fit(features, *given, **options)

    monkeypatch.setattr(TrainingTokens, "__call__", wide)
    monkeypatch.setattr(position, "_fit_or_count", seen)
    samples = scenes(24, patch=14)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0] + pa.total_allocated_bytes()
        found = position_probe(vlm, samples, batch=4, **QUIET)
    finally:
        tracemalloc.stop()
    assert len(held) == len(found.sites) == 6 and sum(sizes) > 5 * max(sizes)
    assert max(held) - before < 2.5 * max(sizes), (np.array(held) - before) / max(sizes)


def test_probes_of_sites_read_one_by_one_are_those_of_all_read_at_once(planted, tmp_path):
    vlm, _ = planted
    found = position_probe(vlm, scenes(12, patch=14), batch=3, out=tmp_path, **QUIET)
    table, _ = read_study(tmp_path / "train")
    assert len(list((tmp_path / "train" / "shards").glob("*.parquet"))) == 3, "each batch is written as it comes"
    digest = hashlib.sha256(table["label"].to_numpy(np.int64).tobytes())
    for name in found.names:
        features = np.stack(list(table[name]))
        digest.update(features.tobytes())
        own = fit_probe(features, table["label"].to_numpy())
        assert all(np.array_equal(part, own.arrays()[key]) for key, part in found.probes[name].arrays().items())
    assert found.settings["trained_on"] == digest.hexdigest()
    kept = read_study(tmp_path / "train", columns=["projector"])[0]
    assert list(kept) == ["id", "key", "projector"] and all(map(np.array_equal, kept["projector"], table["projector"]))
    with pytest.raises(InputError, match="has no column 'blocks.9': use some of token, unit, label, vision.blocks.0"):
        read_study(tmp_path / "train", columns=["blocks.9"])
