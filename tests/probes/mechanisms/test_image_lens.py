"""Image lens: squares say their word from the planted slot on, readouts are the model's own, and studies resume."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import tiny
import torch
from broken_off import break_second
from planted_lines import load

from interp.errors import InputError, ModelError
from interp.image.boxes import Box
from interp.image.grid import View, grid_of_views
from interp.model.hooked_vlm import HookedVLM
from interp.objects.sample import Object, Sample
from interp.planted.lines import BUILT_IN, N_LAYERS, line_scenes
from interp.stats.intervals import FEWEST
from interp.study.prompter import prepare_samples
from interp.zoo.tiny import build_tiny
from probes.__main__ import main
from probes.mechanisms.columns import FILES, NAMES, OWN
from probes.mechanisms.lens import measurement as lens_measurement
from probes.mechanisms.lens.measurement import LensMeasurement, WordReader
from probes.mechanisms.lens.report import lens_findings
from probes.mechanisms.lens.rows import LookedFor, rows_of
from probes.mechanisms.lens.study import ALL, image_lens

QUIET = {"progress": False, "prompt": "paper", "draws": 200}
FOUR = ("tiny-llava", "tiny-qwen2_5_vl", "tiny-pixtral", "tiny-llava_next", "tiny-paligemma2")


@pytest.fixture(scope="module")
def encoder():
    return load("planted-encoder")


@pytest.fixture(scope="module")
def found(encoder):
    return image_lens(encoder, line_scenes(6, side="left"), words=("yellow", "left"), top=1, batch=3, **QUIET)


def test_squares_say_their_word_from_the_planted_slot_on_and_nothing_else_does(found):
    there = np.arange(N_LAYERS + 1) >= BUILT_IN["planted-encoder"].named_from
    assert found.share[there] == pytest.approx(1)
    assert (found.curve()["samples"] == 6).all(), "of each sample several objects"
    for where in ("outside", "other"):
        assert found.curve("probability", where)["value"].to_numpy()[there] == pytest.approx(0, abs=0.25)
    own = found.curve("probability", "object")["value"].to_numpy()
    assert (own[there] > 0.9).all() and own[~there] == pytest.approx(0.2, abs=1e-3)
    beyond = found.curve("probability", "object - other")
    assert (beyond["low"].to_numpy()[there] > 0.8).all() and beyond["value"].to_numpy()[~there] == pytest.approx(
        0, abs=1e-5
    )


def test_a_word_that_is_named_is_looked_for_in_all_tokens(found):
    yellow = found.curve("probability", "image", "yellow")["value"].to_numpy()
    assert yellow[0] == pytest.approx(0.2, abs=1e-3)
    assert found.curve("probability", "image", "left")["value"].to_numpy() == pytest.approx(0, abs=1e-6)
    assert set(found.measures["what"]) == {ALL, "yellow", "left"}


@pytest.mark.parametrize("name", FOUR)
def test_every_slot_is_what_norm_and_unembedding_give_and_the_last_is_the_model_s_own(name):
    vlm = HookedVLM.wrap(*build_tiny(name), self_check=False)
    work = LensMeasurement.of(vlm, (), top=3, prompt="paper")
    inputs = vlm.prepare(tiny.photo(0), tiny.QUESTIONS[0], prompt="paper")
    (own,) = work.look(inputs)
    with torch.no_grad():
        output, cache = vlm.run_with_cache(inputs, names_filter=work.points, output_hidden_states=True)
    where = inputs.layouts[0].image_positions
    chance = output.logits[0, where].float().softmax(-1)
    assert own.top_probability[-1] == pytest.approx(chance.topk(3).values.numpy(), abs=1e-5)
    cap = getattr(vlm.model.config.get_text_config(), "final_logit_softcapping", None)
    for slot in (0, 1):
        state = cache[work.points[slot]][0, where]
        logits = vlm.model.get_output_embeddings()(vlm.model.get_submodule(vlm.family.final_norm)(state)).float()
        logits = logits if cap is None else cap * torch.tanh(logits / cap)
        assert own.top_probability[slot] == pytest.approx(logits.softmax(-1).topk(3).values.detach().numpy(), abs=1e-5)


def test_a_few_rows_at_a_time_give_the_same_and_padding_moves_nothing(encoder, monkeypatch):
    scenes = line_scenes(4)
    work = LensMeasurement.of(encoder, ("red",), prompt="paper")
    together = work.look(prepare_samples(encoder, scenes, "paper"), scenes)
    monkeypatch.setattr(lens_measurement, "NUMBERS", 300)
    for scene, own in zip(scenes, together, strict=True):
        (alone,) = work.look(prepare_samples(encoder, [scene], "paper"), [scene])
        assert alone.words == own.words and (alone.rank == own.rank).mean() > 0.99  # equal tokens may change places
        assert alone.probability == pytest.approx(own.probability, abs=1e-5)


def test_the_rank_of_a_word_is_one_and_those_that_are_more_probable(encoder):
    scene = line_scenes(1)[0]
    work = LensMeasurement.of(encoder, ("red", "left"), top=2, prompt="paper")
    (own,) = work.look(encoder.prepare(scene.image, scene.question, prompt="paper"), [scene])
    assert set(own.words) >= {"red", "left"} and own.rank.min() == 1
    at = own.words.index(scene.answer)
    says = own.top[-1, :, 0] == scene.answer
    assert (own.rank[-1, says, at] == 1).all() and says.sum() >= 4
    table = own.to_dataframe()
    assert len(table) == (N_LAYERS + 1) * 64 * 2 and set(table["place"]) == {0, 1}
    assert len(own.words_to_dataframe()) == own.rank.size


def test_what_means_nothing_is_refused_by_name_before_the_first_pass(encoder, monkeypatch):
    monkeypatch.setattr(encoder, "forward", lambda *a, **k: pytest.fail("a pass was run"))
    scenes = line_scenes(3)
    for wrong, said in (
        ({"words": ("leftmost",)}, "leftmost"),
        ({"words": ("red", "red")}, "once"),
        ({"top": 0}, "top 0 can not"),
        ({"at_least": 0}, "at_least"),
    ):
        with pytest.raises(InputError, match=said):
            image_lens(encoder, scenes, **wrong, **QUIET)
    with pytest.raises(InputError, match="no words are named"):
        image_lens(encoder, [replace(one, objects=()) for one in scenes], **QUIET)


def test_objects_without_boxes_and_names_of_many_tokens_are_left_out_by_name(encoder):
    scenes = line_scenes(6, side="left")
    odd = replace(scenes[0], objects=(Object("red square"), Object("gramophone", scenes[0].objects[0].box)))
    found = image_lens(encoder, [odd, *scenes[1:]], **QUIET)
    said = found.left_out.set_index("what")["why"].to_dict()
    assert said["red square"] == "it has no box" and said["gramophone"] == "none of its words is one token"
    told = found.measures
    assert not told["value"].isna().any() and (told["groups"] >= FEWEST).any()
    assert (told[["low", "high"]].isna().to_numpy() == (told["groups"] < FEWEST).to_numpy()[:, None]).all()


def test_a_model_that_does_more_than_is_read_out_is_refused(encoder, monkeypatch):
    work = LensMeasurement.of(encoder, ("red",), prompt="paper")
    own = work.reader
    object.__setattr__(work, "reader", lambda rows: own(rows) + torch.arange(own(rows).shape[-1]))
    scene = line_scenes(1)[0]
    with pytest.raises(ModelError, match="own logits"):
        work.look(encoder.prepare(scene.image, scene.question, prompt="paper"))


def test_a_study_that_was_broken_off_goes_on_to_the_same_numbers(encoder, found, tmp_path, monkeypatch):
    asked = dict(words=("yellow", "left"), top=1, batch=3, **QUIET)
    scenes = line_scenes(6, side="left")
    with monkeypatch.context() as broken:
        break_second(broken, LensMeasurement)
        with pytest.raises(KeyboardInterrupt):
            image_lens(encoder, scenes, out=tmp_path / "s", **asked)
    again = image_lens(encoder, scenes, out=tmp_path / "s", resume=True, **asked)
    assert again.measures.equals(found.measures)
    assert json.dumps(again.settings)


def test_figures_are_drawn(encoder, found):
    assert len(found.plot().lines) >= 3
    scene = line_scenes(1)[0]
    (own,) = LensMeasurement.of(encoder, (), prompt="paper").look(
        encoder.prepare(scene.image, scene.question, prompt="paper"), [scene]
    )
    texts = {text.get_text() for text in own.plot_words(scene.image, 2).texts}
    assert {thing.name.split()[0] for thing in scene.objects} <= texts
    assert own.plot().get_legend()


def test_the_page_tells_the_best_slot_as_one_that_was_chosen_and_what_controls_have(found):
    told = lens_findings(found)
    assert "The numbers are of 6 groups" in told.few[0]
    assert "picked after the fact" in told.sentences[0] and "100.0 %" in told.sentences[0]
    assert "outside all boxes" in told.sentences[0] and "other objects" in told.sentences[0]
    best, last = told.sentences[0].split()[2], len(found.share) - 1
    assert sum("At the last slot" in one for one in told.sentences) == (int(best) != last)
    assert set(told.figures) == {"lens", "probability", "rank"} and len(told.sections()) >= 5


def test_the_command_writes_the_files_that_are_declared(tmp_path, capsys):
    photo = tmp_path / "photo.png"
    line_scenes(1)[0].image.save(photo)
    asked = ["lens", str(photo), "Where is the red square?", "--words", "red", "left", "--slot", "6"]
    assert main([*asked, "--out", str(tmp_path / "one")]) == 0
    assert {path.name for path in (tmp_path / "one").iterdir()} == set(FILES["lens"])
    assert "'red': most probable at slot" in capsys.readouterr().out
    for name in ("lens", "words"):
        assert set(pd.read_parquet(tmp_path / "one" / f"{name}.parquet")) <= {*OWN[name], "sample"}
    study = ["lens", "--dataset", "shapes", "--n", "4", "--words", "left", "--out", str(tmp_path / "many")]
    assert main(study) == 0
    declared = {name for name in FILES["lens-study"] if not name.startswith("shards")}
    there = {path.name for path in (tmp_path / "many").iterdir()}
    assert declared <= there and there - declared <= {"shards", *(name.replace("parquet", "csv") for name in declared)}
    assert set(pd.read_parquet(tmp_path / "many" / "lens.parquet")) <= {*OWN["lens"], *NAMES}
    assert main([*study, "--resume", "--slot", "3"]) != 0


WORDS = ("red", "square", "circle", "blue")
BOXES = {"red square": (0, 0, 16, 8), "red circle": (12, 0, 24, 8), "blue square": (0, 16, 8, 24)}


def test_rows_are_those_of_loops_over_overlapping_objects_that_share_words():
    edges, rng = np.arange(0.0, 33, 4), np.random.default_rng(0)
    grid = grid_of_views((32, 32), [View(edges, edges)])
    seen = SimpleNamespace(
        grid=grid, words=WORDS, rank=rng.integers(1, 6, (2, 64, 4)), probability=rng.random((2, 64, 4))
    )
    things = tuple(Object(name, Box(name, xyxy)) for name, xyxy in BOXES.items())
    sample = Sample("one", tiny.photo(0, (32, 32)), "Where?", (), "left", things)
    rows = rows_of(LookedFor(("blue",), lambda name: tuple(name.split()), 2, 0.5), seen, sample)
    at = {name: {t for t in range(64) if grid.membership(Box(name, xyxy))[t] >= 0.5} for name, xyxy in BOXES.items()}
    assert at["red square"] & at["red circle"]
    own = {"red square": ("red", "square"), "red circle": ("circle",), "blue square": ("blue",)}
    outside, found = set(range(64)) - set.union(*at.values()), 0
    for row in rows:
        words = own.get(row["what"], (row["what"],))
        if row["kind"] == "left out":
            assert (row["what"], row["where"]) == ("red square", "other") and "another name" in row["why"]
            continue
        others = [at[name] for name in BOXES if name != row["what"] and not set(name.split()) & set(words)]
        tokens = {
            "object": at.get(row["what"], set.union(*at.values())),
            "outside": outside,
            "other": set.union(set(), *others) - at.get(row["what"], set()),
            "image": set(range(64)),
        }[row["where"]]
        columns, found = [WORDS.index(word) for word in words], found + 1
        for slot in (0, 1):
            ranks = [min(seen.rank[slot, token, word] for word in columns) for token in sorted(tokens)]
            chances = [max(seen.probability[slot, token, word] for word in columns) for token in sorted(tokens)]
            assert row["share"][slot] == pytest.approx(np.mean([rank <= 2 for rank in ranks]))
            assert row["reciprocal_rank"][slot] == pytest.approx(np.mean([1 / rank for rank in ranks]))
            assert row["probability"][slot] == pytest.approx(np.mean(chances)) and row["tokens"] == len(tokens)
    assert found == 11 and len(rows) == 12


def test_a_word_of_several_spellings_is_as_probable_as_all_and_ranks_as_its_best():
    logits = torch.tensor([[0.4, 0.3, 0.2, 0.1]]).log()
    found = WordReader(lambda rows: rows, 2, ((1, 3), (2,)))(logits)
    assert found["probability"][0] == pytest.approx([0.4, 0.2]) and found["rank"][0].tolist() == [2, 3]
    assert found["ids"][0].tolist() == [0, 1]
